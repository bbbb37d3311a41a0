//! How an entry of `better.over` divides its time between rounds and finals.

/// Candidates that are timed again, all together, when the rounds are over, if there is time.
pub(super) const FINALISTS: usize = 4;
/// Finals take at most this part of the time: without rounds there is nobody worth a final.
const MOST: f64 = 1.0 / 3.0;

/// When what must end, in seconds of the search; `None`: it need not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    /// The rounds.
    pub(super) rounds: Option<f64>,
    /// The finals.
    pub(super) finals: Option<f64>,
    /// Seconds that a finalist takes, where there was one before.
    pace: Option<f64>,
}

impl Share {
    /// That of an entry that has `whole` seconds from `now` on, if there is a limit. `pace` is how long a finalist of the entry
    /// before took, to be proved and timed.
    pub(super) fn new(now: f64, whole: Option<f64>, pace: Option<f64>) -> Share {
        let finals = |whole: f64| pace.map_or(whole, |pace| pace * FINALISTS as f64).min(whole * MOST);
        Share {
            rounds: whole.map(|whole| now + whole - finals(whole)),
            finals: whole.map(|whole| now + whole),
            pace,
        }
    }

    /// How many finalists there is time for: one at least, since who was not measured twice is no winner.
    pub(super) fn finalists(&self, now: f64) -> usize {
        match (self.finals, self.pace) {
            (Some(end), _) if now > end => 1,
            (Some(end), Some(pace)) if pace > 0.0 => (((end - now) / pace) as usize).clamp(1, FINALISTS),
            _ => FINALISTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finals_have_time_of_their_own() {
        // The first entry knows nothing of finals, and leaves them a third.
        let first = Share::new(10.0, Some(3.0), None);
        assert_eq!((first.rounds, first.finals), (Some(12.0), Some(13.0)));
        assert_eq!(first.finalists(12.0), FINALISTS);
        // Later ones leave what finalists took, all of them.
        let later = Share::new(10.0, Some(3.0), Some(0.1));
        assert_eq!(later.rounds, Some(13.0 - 0.4));
        assert_eq!((later.finalists(12.61), later.finalists(12.65), later.finalists(12.95)), (3, 3, 1));
        // Where they take long, fewer of them, and rounds keep two thirds.
        let slow = Share::new(0.0, Some(3.0), Some(0.45));
        assert_eq!((slow.rounds, slow.finalists(2.0)), (Some(2.0), 2));
    }

    #[test]
    fn somebody_is_measured_twice_whatever_the_time() {
        assert_eq!(Share::new(5.0, Some(0.0), None).finalists(5.1), 1);
        assert_eq!(Share::new(5.0, Some(1.0), Some(10.0)).finalists(5.7), 1);
        let free = Share::new(5.0, None, Some(10.0));
        assert_eq!((free.rounds, free.finals, free.finalists(1e9)), (None, None, FINALISTS));
    }
}
