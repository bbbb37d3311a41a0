//! The clock's arithmetic: what follows from samples, without a device.

use factory_spec::{BinaryOp, BoundSpec, Op, ReduceOp, Reference, SizeValues};
use serde::{Deserialize, Serialize};

use super::paired::Paired;
use crate::model::{Target, compulsory_bytes};
use crate::verdict::Reason;

/// The memory's own rate is at most this much above what a plain copy reaches, and so with operations.
const CEILING: f64 = 1.15;
/// Share of the multiplications of a contraction that no algorithm avoids at these sizes.
const OPERATIONS_SHARE: f64 = 0.7;

/// The middle value; of an even number the mean of the two in the middle.
pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// One candidate measured against itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Seconds of one execution, in turns.
    pub sides: [Vec<f64>; 2],
    /// How far the two sides are apart, relative: the median over the rounds, whatever the turn in a round makes of it
    /// taken off.
    pub difference: f64,
    /// Differences up to this are none: the end of the interval for `difference` that is farther from none, so the largest
    /// difference of equals that this run leaves possible. The interval holds the median in 95 of 100 runs or more (98.8
    /// with the usual eleven rounds, of which it reaches from the second least to the second greatest). It is that of the
    /// sign test, which assumes no distribution: David and Nagaraja, "Order Statistics", 2003, section 7.1. Of fewer than six
    /// rounds there is none; then this is the farthest of all of them.
    pub floor: f64,
}

impl Noise {
    pub(super) fn of(sides: [Vec<f64>; 2]) -> Option<Noise> {
        let paired = Paired::new(&sides[0], &sides[1])?;
        Some(Noise { sides, difference: paired.median.abs(), floor: paired.largest() })
    }
}

/// Positions of those that nothing tells from the best, which is the one with the least time: those that take longer by more
/// than the floor, and certainly so by samples that were taken in the same rounds, are not among them. Neither are those
/// without a time.
pub(super) fn ties(measured: &[Option<(f64, &[f64])>], floor: f64) -> Vec<usize> {
    let best = measured.iter().flatten().min_by(|a, b| a.0.total_cmp(&b.0));
    let Some((_, best)) = best else { return Vec::new() };
    // Those that were not measured in the same rounds are told apart by nothing.
    let longer =
        |samples: &[f64]| Paired::new(samples, best).is_some_and(|paired| paired.is_longer(floor.max(0.0)));
    let good = |entry: &Option<(f64, &[f64])>| entry.is_some_and(|(_, samples)| !longer(samples));
    measured.iter().enumerate().filter(|(_, entry)| good(entry)).map(|(index, _)| index).collect()
}

/// Turns of a round: in order in even rounds and in reversed order in odd ones, so that a drift favours nobody.
pub(super) fn turns(round: usize, order: &[usize]) -> Vec<usize> {
    let mut order = order.to_vec();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// Sides of an A/A run in the turns of a round: A B, then B A.
pub(super) fn pair(round: usize) -> [usize; 2] {
    [round % 2, (1 + round) % 2]
}

/// Windows of each that run before a measurement begins, so that clocks are what they will be.
const WARM_WINDOWS: usize = 3;

/// Who runs, one window each, before a measurement begins: a few are enough to warm the device for all.
pub(super) fn warm_up(racing: &[usize]) -> Vec<usize> {
    racing[..racing.len().min(3)].repeat(WARM_WINDOWS)
}

/// What samples say of a candidate at some sizes: their median, unless that is impossible.
pub(super) fn believed(samples: &[f64], bound: &Bound, sizes: &str) -> Result<f64, Reason> {
    let (seconds, bound) = (median(samples), bound.seconds);
    if samples.is_empty() {
        Err(Reason::Infrastructure { message: "it was not timed".to_owned() })
    } else if seconds < bound {
        Err(Reason::ImpossiblyFast { sizes: sizes.to_owned(), seconds, bound })
    } else {
        Ok(seconds)
    }
}

/// Which of those that race stay: whose best sample is within `hopeless` of the leader's median. Before everyone has two
/// samples nobody goes.
pub(super) fn survivors(samples: &[&[f64]], hopeless: f64) -> Vec<bool> {
    if samples.iter().any(|samples| samples.len() < 2) {
        return vec![true; samples.len()];
    }
    let leader = samples.iter().map(|samples| median(samples)).fold(f64::INFINITY, f64::min);
    let best = |samples: &[f64]| samples.iter().copied().fold(f64::INFINITY, f64::min);
    samples.iter().map(|samples| best(samples) <= leader * hopeless).collect()
}

/// Seconds below which a time is not believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// What the compulsory bytes take at the memory's own rate.
    pub bytes_seconds: f64,
    /// What the operations of contractions take on the fastest units that the device has.
    pub operations_seconds: f64,
    /// The larger of the two.
    pub seconds: f64,
}

impl Bound {
    /// `held` bytes of an execution's may still be in L2.
    pub(super) fn new(spec: &BoundSpec, sizes: &SizeValues, target: &Target, held: f64) -> Bound {
        let bytes = (compulsory_bytes(spec, sizes) - held).max(0.0);
        let bytes_seconds = bytes / (target.memory_bandwidth * CEILING);
        let fastest = target.tensor.iter().copied().fold(0.0, f64::max);
        let operations_seconds = operations(spec, sizes) * OPERATIONS_SHARE / (fastest * CEILING);
        Bound { bytes_seconds, operations_seconds, seconds: bytes_seconds.max(operations_seconds) }
    }
}

/// Multiplications and additions that a program cannot do without: those of sums over products of two values neither of
/// which has every size of the product. (Other operations may be shared, hoisted or folded, so they are not counted.)
pub(super) fn operations(spec: &BoundSpec, sizes: &SizeValues) -> f64 {
    let Reference::Program(program) = &spec.reference else { return 0.0 };
    let mut total = 0.0;
    for node in &program.nodes {
        let Op::Reduce { op: ReduceOp::Sum | ReduceOp::Mean, over, input } = &node.op else { continue };
        let product = program.node(*input);
        let Op::Binary(BinaryOp::Mul, a, b) = &product.op else { continue };
        let lacks = |id| program.node(id).dims.len() < product.dims.len();
        let reduced = over.iter().all(|size| product.dims.contains(size));
        if lacks(*a) && lacks(*b) && reduced {
            total += 2.0 * product.dims.iter().map(|size| sizes[*size] as f64).product::<f64>();
        }
    }
    total
}

/// Sets of buffers that a window rotates over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Executions of a window, each on a set of its own.
    pub sets: usize,
    /// Bytes of one set.
    pub set_bytes: usize,
    /// Bytes of L2.
    pub l2_bytes: usize,
    /// Whether all sets together are more than four times L2, so that a set is cold when its turn comes again.
    pub cold: bool,
}

/// Least bytes that all sets have together, in multiples of L2.
const ROTATION: usize = 4;
/// Most sets: a window of so many short kernels is long enough for the events around it.
const MOST_SETS: usize = 128;
/// Most sets where that many are needed to be cold.
const MOST_COLD_SETS: usize = 1024;
/// Bytes that a window of short kernels moves at least: about half a millisecond of an H200.
pub(super) const WINDOW_BYTES: usize = 2 << 30;

impl Rotation {
    /// As many sets as the rotation asks for, `window_bytes` need and `free` bytes hold.
    pub(super) fn new(set_bytes: usize, l2_bytes: usize, free: usize, window_bytes: usize) -> Rotation {
        let set_bytes = set_bytes.max(256);
        // Scratch and a copy of the outputs need room as well.
        let fits = (free.saturating_sub(set_bytes) / set_bytes).max(1);
        let cold = (ROTATION * l2_bytes).div_ceil(set_bytes) + 1;
        let wanted = cold.max(window_bytes.div_ceil(set_bytes)).max(2);
        let sets = wanted.min(MOST_SETS.max(cold.min(MOST_COLD_SETS))).min(fits);
        Rotation { sets, set_bytes, l2_bytes, cold: sets * set_bytes > ROTATION * l2_bytes }
    }

    /// Bytes of an execution's that L2 may still hold of the window before: a time is not bounded by those.
    pub(super) fn held(&self) -> f64 {
        2.0 * self.l2_bytes as f64 / self.sets as f64
    }
}

/// What a window costs besides its executions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// Seconds between the two events of a window that has no kernel's work in it: taken off every window.
    pub window_seconds: f64,
    /// Seconds that one more empty kernel adds to a graph. Not taken off: back-to-back executions pay it too.
    pub kernel_seconds: f64,
    /// Seconds of host time to launch a window's graph, beside the window.
    pub graph_launch_seconds: f64,
    /// Seconds of host time to launch one kernel without a graph.
    pub launch_seconds: f64,
}

impl Overhead {
    /// From graphs with one and with `many` empty kernels.
    pub(super) fn of(one: &[f64], all: &[f64], many: usize) -> (f64, f64) {
        let (one, all) = (median(one), median(all));
        let kernel = ((all - one) / (many.max(2) - 1) as f64).max(0.0);
        ((one - kernel).max(0.0), kernel)
    }

    /// Seconds of one execution out of a window's.
    pub(super) fn share(&self, window: f64, executions: usize) -> f64 {
        // An overhead that is most of a window is a mistake, and what is left of the window would be noise.
        (window - self.window_seconds.min(window / 2.0)) / executions.max(1) as f64
    }
}

/// Windows after which work beyond the end event counts: a host that was busy makes one window look so, not all.
const LAG_WINDOWS: usize = 3;

/// How long the device worked beyond the end events of a candidate's windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lag {
    least: f64,
    windows: usize,
}

impl Lag {
    /// Before the first window.
    pub(super) const NONE: Lag = Lag { least: f64::INFINITY, windows: 0 };

    /// Takes one more window of `window` seconds into account. The least lag, if the candidate hid work there.
    pub(super) fn add(&mut self, lag: f64, window: f64, limits: &LagLimits) -> Option<f64> {
        *self = Lag { least: self.least.min(lag), windows: self.windows + 1 };
        (self.windows >= LAG_WINDOWS && outlives(self.least, window, limits)).then_some(self.least)
    }
}

/// Whether a device that worked `lag` seconds beyond the end event of a window, in the best of all windows, hid work there.
fn outlives(lag: f64, window: f64, limits: &LagLimits) -> bool {
    lag > limits.seconds + limits.share * window
}

/// How long the device may seem to work beyond the event that ends a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LagLimits {
    /// Seconds that a host needs to see it.
    pub seconds: f64,
    /// Share of the window.
    pub share: f64,
}

impl Default for LagLimits {
    fn default() -> Self {
        Self { seconds: 60e-6, share: 0.02 }
    }
}

/// Position of the first word in which two lists differ; lists of different lengths differ at once.
pub(super) fn first_difference(a: &[u64], b: &[u64]) -> Option<usize> {
    if a.len() != b.len() {
        return Some(0);
    }
    a.iter().zip(b).position(|(a, b)| a != b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[1.0, 1.0, 1.0, 1e9]), 1.0, "one bad sample does not count");
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_floor_is_the_difference_of_equals_and_never_less_than_chance() {
        let noise = Noise::of([vec![1.0; 7], vec![1.02; 7]]).expect("samples");
        assert!((noise.difference - 0.0196).abs() < 1e-3 && noise.floor >= noise.difference, "{noise:?}");
        // Medians that agree by chance while samples scatter do not make a floor of 0.
        let wide = vec![0.9, 0.95, 1.0, 1.05, 1.1, 0.98, 1.02];
        let lucky = Noise::of([wide, vec![1.0; 7]]).expect("samples");
        assert!(lucky.difference < 0.03 && lucky.floor > 0.05 && lucky.floor < 0.2, "{lucky:?}");
        let still = Noise::of([vec![1.0; 5], vec![1.0; 5]]).expect("samples");
        assert_eq!(still.floor, 0.0);
        assert!(Noise::of([vec![1.0], vec![]]).is_none());
    }

    #[test]
    fn who_is_not_certainly_slower_by_more_than_the_floor_is_as_good() {
        let samples = |level: f64| -> Vec<f64> {
            let errors = [0.2, -0.4, 0.1, 0.5, -0.3, -0.1, 0.4, -0.2, 0.3, -0.5, 0.0];
            errors.iter().map(|error| level + error * 1e-4).collect()
        };
        let all = [1.004, 1.0, 1.006, 1.00001].map(samples);
        let level = [1.0; 11];
        let measured = [
            Some((1.004, &all[0][..])),
            None,
            Some((1.0, &level[..])),
            Some((1.006, &all[2][..])),
            Some((1.00001, &all[3][..])),
        ];
        assert_eq!(ties(&measured, 0.005), [0, 2, 4]);
        assert_eq!(ties(&measured, 0.0), [2, 4], "what scatters around it is as good without any floor");
        assert_eq!(ties(&measured, 0.01), [0, 2, 3, 4]);
        assert_eq!(ties(&[None, None], 0.1), [0usize; 0]);
        // Other rounds, or too few of them, tell nothing.
        let (short, few): ([f64; 10], [f64; 5]) = ([2.0; 10], [2.0; 5]);
        assert_eq!(ties(&[Some((1.0, &level[..])), Some((2.0, &short[..]))], 0.0), [0, 1]);
        assert_eq!(ties(&[Some((1.0, &level[..5])), Some((2.0, &few[..]))], 0.0), [0, 1]);
    }

    #[test]
    fn who_cannot_win_any_more_leaves_and_nobody_else() {
        let samples: [&[f64]; 4] = [&[1.0, 1.02], &[1.04, 1.2], &[1.2, 1.3], &[1.1, 1.0]];
        assert_eq!(survivors(&samples, 1.05), [true, true, false, true]);
        assert_eq!(survivors(&samples, f64::INFINITY), [true; 4]);
        let early: [&[f64]; 2] = [&[1.0, 1.0], &[9.0]];
        assert_eq!(survivors(&early, 1.05), [true, true], "one sample is no reason");
    }

    #[test]
    fn sets_are_more_than_four_times_l2_or_say_that_they_are_not() {
        let l2 = 50 << 20;
        let large = Rotation::new(512 << 20, l2, 100 << 30, WINDOW_BYTES);
        assert!(large.cold && large.sets >= 2, "{large:?}");
        let middle = Rotation::new(16 << 20, l2, 100 << 30, WINDOW_BYTES);
        assert!(middle.cold && middle.sets == 128, "{middle:?}");
        let small = Rotation::new(300 << 10, l2, 100 << 30, WINDOW_BYTES);
        assert!(small.cold && small.sets * small.set_bytes > 4 * l2, "{small:?}");
        let tiny = Rotation::new(4 << 10, l2, 100 << 30, WINDOW_BYTES);
        assert!(!tiny.cold && tiny.sets == MOST_COLD_SETS, "{tiny:?}");
        let full = Rotation::new(64 << 20, l2, 130 << 20, WINDOW_BYTES);
        assert!(!full.cold && full.sets == 1, "{full:?}");
        // Exactly four times is not more than four times.
        let edge = Rotation { sets: 4, set_bytes: l2, l2_bytes: l2, cold: false };
        assert_eq!(Rotation::new(l2, l2, 5 * l2, WINDOW_BYTES), edge);
    }

    #[test]
    fn what_surrounds_a_window_is_taken_off_once() {
        let (window, kernel) = Overhead::of(&[5e-6, 5e-6, 9e-6], &[68e-6, 68e-6, 68e-6], 64);
        assert!((kernel - 1e-6).abs() < 1e-12 && (window - 4e-6).abs() < 1e-12, "{window} {kernel}");
        let overhead = Overhead { window_seconds: window, kernel_seconds: kernel, ..Overhead::default() };
        assert!((overhead.share(104e-6, 100) - 1e-6).abs() < 1e-12);
        assert!(overhead.share(2e-6, 1) >= 1e-6, "never less than half of what was measured");
        assert_eq!(Overhead::of(&[5e-6], &[4e-6], 64).1, 0.0);
    }

    #[test]
    fn work_beyond_the_window_is_seen_and_a_slow_host_is_not_work() {
        let limits = LagLimits::default();
        assert!(!outlives(10e-6, 1e-3, &limits));
        assert!(outlives(500e-6, 1e-3, &limits));
        assert!(!outlives(500e-6, 1.0, &limits), "2% of a long window");
    }

    fn spec(program: &str) -> BoundSpec {
        let text = format!(
            "[kernel]\nname = \"t\"\n[sizes]\nm = {{ min = 1 }}\nn = {{ min = 1 }}\nk = {{ min = 1 }}\n\
             [[arg]]\nname = \"a\"\ndtype = \"bf16\"\nshape = [\"m\", \"k\"]\n[[arg]]\nname = \"b\"\ndtype = \"bf16\"\nshape = [\"k\", \"n\"]\n\
             [[arg]]\nname = \"c\"\ndtype = \"bf16\"\nshape = [\"m\", \"n\"]\nrole = \"out\"\n\
             [reference]\nprogram = \"{program}\"\n[targets]\narch = [\"sm_90\"]\n"
        );
        let spec = factory_spec::Spec::parse(std::path::Path::new("t.toml"), &text).expect("a spec");
        spec.bind(&BTreeMap::new()).expect("no types to bind")
    }

    #[test]
    fn a_product_of_matrices_is_bounded_by_its_operations() {
        let product = spec("c = sum(a * b, k)");
        let sizes = [("m", 8192u64), ("n", 8192), ("k", 8192)];
        let sizes = product
            .size_values(&sizes.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
            .expect("sizes");
        assert_eq!(operations(&product, &sizes), 2.0 * 8192f64.powi(3));
        let bound = Bound::new(&product, &sizes, &Target::H200, 0.0);
        assert!(
            bound.operations_seconds > bound.bytes_seconds && bound.seconds == bound.operations_seconds,
            "{bound:?}"
        );
        // The device's own dense peak for bf16 is honest; half of the bound is not.
        assert!(2.0 * 8192f64.powi(3) / 989.4e12 > bound.seconds);
        // A row's mean of squares is no contraction: nothing is charged for it but its bytes.
        let row = spec("c = sum(a * a, k) + sum(b, k)");
        assert_eq!(operations(&row, &sizes), 0.0);
        let bound = Bound::new(&row, &sizes, &Target::H200, 1e18);
        assert_eq!(bound.seconds, 0.0, "what L2 holds is not charged");
    }

    #[test]
    fn fingerprints_of_another_number_differ() {
        assert_eq!(first_difference(&[1, 2], &[1, 2]), None);
        assert_eq!(first_difference(&[1, 2], &[1, 3]), Some(1));
        assert_eq!(first_difference(&[1, 2], &[1]), Some(0));
    }
}
