//! What samples that were taken side by side in rounds say of a difference.
//!
//! Two series of a round share what the device did meanwhile, so that they are compared round by round. Turns are reversed
//! every other round; what the turn alone costs is half of what the medians of even and odd rounds are apart, as in a
//! crossover trial, and is taken off (Hills and Armitage, "The two-period cross-over clinical trial", 1979). What remains has a median, and
//! an interval for it between two of its own sorted values, which assumes nothing about how errors are distributed (David
//! and Nagaraja, "Order Statistics", 2003, section 7.1). A window that somebody disturbed is one value at the end of the
//! order, however long it took.

use super::figures::median;

/// How often an interval holds the median that it is for, at least; more where there are few rounds, because an interval ends at
/// a sample.
const CONFIDENCE: f64 = 0.95;

/// Rounds from which on the least and the greatest difference are [`CONFIDENCE`] apart.
pub(super) const LEAST_ROUNDS: usize = 6;

/// How much more one series takes than another, relative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Paired {
    /// The median of all rounds.
    pub(super) median: f64,
    /// Where the interval for the median begins.
    pub(super) low: f64,
    /// Where it ends.
    pub(super) high: f64,
    /// Whether rounds are enough for an interval; otherwise it is from the least difference to the greatest.
    pub(super) enough: bool,
}

impl Paired {
    /// `None` where there is nothing to compare, or the two were not measured in the same rounds.
    pub(super) fn new(samples: &[f64], others: &[f64]) -> Option<Paired> {
        if samples.is_empty() || samples.len() != others.len() {
            return None;
        }
        // Logarithms: so a turn costs one of the two as much as it gains the other.
        let differences: Vec<f64> =
            samples.iter().zip(others).map(|(sample, other)| (sample / other).ln()).collect();
        let mut sorted = without_turns(&differences);
        sorted.sort_by(f64::total_cmp);
        let outside = outside(sorted.len());
        let cut = outside.unwrap_or(0);
        Some(Paired {
            median: median(&sorted).exp_m1(),
            low: sorted[cut].exp_m1(),
            high: sorted[sorted.len() - 1 - cut].exp_m1(),
            enough: outside.is_some(),
        })
    }

    /// The largest difference, either way, that these samples leave possible.
    pub(super) fn largest(&self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    /// Whether the first series certainly takes longer, by more than `floor`.
    pub(super) fn is_longer(&self, floor: f64) -> bool {
        self.enough && self.low > 0.0 && self.median > floor
    }
}

/// Differences of rounds less what the turn makes of them.
fn without_turns(differences: &[f64]) -> Vec<f64> {
    let of = |parity: usize| median(&differences.iter().copied().skip(parity).step_by(2).collect::<Vec<_>>());
    if differences.len() < 2 {
        return differences.to_vec();
    }
    let turn = (of(0) - of(1)) / 2.0;
    let sign = |round: usize| if round.is_multiple_of(2) { 1.0 } else { -1.0 };
    differences.iter().enumerate().map(|(round, difference)| difference - sign(round) * turn).collect()
}

/// How many of so many sorted values lie outside of the interval, on either side: as many as a fair coin shows heads at most
/// in all but `CONFIDENCE` of the cases. `None` where there are too few for any interval.
fn outside(count: usize) -> Option<usize> {
    let miss = (1.0 - CONFIDENCE) / 2.0;
    // Logarithms, since the first terms of many rounds are less than any number.
    let mut exactly = -(count as f64) * std::f64::consts::LN_2;
    let mut at_most = exactly.exp();
    let mut heads = 0;
    while at_most <= miss && heads < count / 2 {
        heads += 1;
        exactly += ((count + 1 - heads) as f64 / heads as f64).ln();
        at_most += exactly.exp();
    }
    heads.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of the binomial distribution, as in those of the sign test.
    #[test]
    fn the_interval_ends_where_tables_of_the_sign_test_say() {
        let table = [(5, None), (6, Some(0)), (8, Some(0)), (9, Some(1)), (11, Some(1)), (12, Some(2))];
        for (count, outside) in table.into_iter().chain([
            (15, Some(3)),
            (20, Some(5)),
            (25, Some(7)),
            (100, Some(39)),
            (2000, Some(955)),
        ]) {
            assert_eq!(super::outside(count), outside, "{count} rounds");
        }
        assert!(outside(LEAST_ROUNDS).is_some() && outside(LEAST_ROUNDS - 1).is_none());
        assert!(outside(0).is_none());
    }

    fn around(level: f64) -> Vec<f64> {
        [0.2, -0.4, 0.1, 0.5, -0.3, -0.1, 0.4, -0.2, 0.3, -0.5, 0.0]
            .map(|error| level + error * 1e-3)
            .to_vec()
    }

    #[test]
    fn a_difference_beyond_the_scatter_is_told_and_one_within_is_not() {
        let level = vec![1.0; 11];
        let paired = |samples: &[f64]| Paired::new(samples, &level).expect("pairs");
        assert!(paired(&around(1.01)).is_longer(0.0));
        assert!(!paired(&around(1.01)).is_longer(0.02), "nor is what the clock itself gets wrong");
        assert!(!paired(&around(1.0001)).is_longer(0.0) && !paired(&around(0.99)).is_longer(0.0));
        let same = paired(&around(1.0));
        assert!(
            same.low < 0.0 && same.high > 0.0 && same.largest() > 3e-4 && same.largest() < 6e-4,
            "{same:?}"
        );
    }

    #[test]
    fn one_disturbed_window_changes_nothing_two_do() {
        let others = vec![1.0; 11];
        let mut samples = around(1.01);
        samples[4] = 0.5;
        assert!(Paired::new(&samples, &others).expect("pairs").is_longer(0.002));
        samples[7] = 0.5;
        assert!(!Paired::new(&samples, &others).expect("pairs").is_longer(0.002));
    }

    #[test]
    fn whose_turn_it_is_does_not_count() {
        let turns = |favoured: usize| -> Vec<f64> {
            around(1.0)
                .iter()
                .enumerate()
                .map(|(round, s)| s + if round % 2 == favoured { 0.05 } else { 0.0 })
                .collect()
        };
        let equal = Paired::new(&turns(0), &turns(1)).expect("pairs");
        assert!(!equal.is_longer(0.0) && equal.largest() < 2e-3, "{equal:?}");
        let slower: Vec<f64> = turns(0).iter().map(|sample| sample * 1.01).collect();
        assert!(Paired::new(&slower, &turns(1)).expect("pairs").is_longer(equal.largest()));
    }

    #[test]
    fn what_is_no_pair_or_too_little_is_told_apart_by_nobody() {
        assert!(Paired::new(&[], &[]).is_none());
        assert!(Paired::new(&[1.0, 2.0], &[1.0]).is_none());
        let few = Paired::new(&[2.0; 5], &[1.0; 5]).expect("pairs");
        assert!(!few.enough && !few.is_longer(0.0));
        assert!(Paired::new(&[2.0; 6], &[1.0; 6]).expect("pairs").is_longer(0.0));
        assert!((Paired::new(&[2.0], &[1.0]).expect("a pair").median - 1.0).abs() < 1e-12);
    }
}
