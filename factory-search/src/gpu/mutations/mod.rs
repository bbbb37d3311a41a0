//! The clock broken on purpose, one rule at a time, on a device that does not exist: see [`device`].
//!
//! With the rules of [`super::figures`], [`super::state`] and [`super::timing`] as they are, the verdict is right; with one of
//! them replaced, a kernel that only seems fast wins, or one that is fast does not.

mod device;
mod harness;

use self::device::{Habit, Kernel, PLACE, Place, STILL};
use self::harness::{Rules, Trial, Verdict, WHOLE, judge};
use super::figures::{self, Bound, Lag, LagLimits, Overhead, Rotation, first_difference, median};
use super::graph::head_start;
use super::state::{DeviceState, DisturbanceLimits, Watched};
use super::timing::{MeasureOptions, Timing};

/// Runs of each, with other noise.
const RUNS: u64 = 40;

/// A rule replaced, and a trial whose verdict is wrong then.
struct Mutation {
    /// What is broken, with the row of the catalogue.
    what: &'static str,
    rules: Rules,
    trial: Trial,
    winners: &'static [&'static str],
    refused: &'static [&'static str],
    /// Whether the measurement has to be refused as a whole.
    disturbed: bool,
    /// Seconds of the winner, where it matters that they are right.
    seconds: Option<f64>,
}

impl Mutation {
    fn is_right(&self, verdict: &Verdict) -> bool {
        verdict.winners == self.winners
            && verdict.refused == self.refused
            && verdict.disturbed == self.disturbed
            && self.seconds.is_none_or(|seconds| (verdict.seconds / seconds - 1.0).abs() < 0.03)
    }

    /// How many runs end with the right verdict, and one that does not.
    fn right(&self, rules: &Rules, runs: u64) -> (u64, Option<Verdict>) {
        let verdicts = (0..runs).map(|run| judge(rules, &self.trial, 0x5eed + run));
        let (right, wrong): (Vec<Verdict>, Vec<Verdict>) =
            verdicts.partition(|verdict| self.is_right(verdict));
        (right.len() as u64, wrong.into_iter().next())
    }
}

/// The faster of two honest kernels, and one that is worth a second measurement beside it.
const FAST: Kernel = Kernel::honest("fast", 4.0e-6);
const SLOWER: Kernel = Kernel::honest("slower", 4.1e-6);

/// Reads everything once, or a part again and again.
const STREAMS: Kernel = Kernel { name: "streams", cold: 4.0e-6, warm: 3.2e-6, habit: Habit::Honest };
const READS_AGAIN: Kernel = Kernel { name: "reads again", cold: 5.0e-6, warm: 2.8e-6, habit: Habit::Honest };

/// Keeps lines for its next window.
const KEEPS_LINES: Kernel =
    Kernel { name: "keeps lines", cold: 4.1e-6, warm: 0.8e-6, habit: Habit::KeepsLines };

const fn cheat(habit: Habit) -> Kernel {
    Kernel::with("cheat", 4.2e-6, habit)
}

fn options() -> MeasureOptions {
    MeasureOptions::default()
}

fn trial<const COUNT: usize>(kernels: [Kernel; COUNT]) -> Trial {
    Trial { place: PLACE, kernels: kernels.to_vec(), options: options() }
}

fn mutation(what: &'static str, rules: Rules, trial: Trial, winners: &'static [&'static str]) -> Mutation {
    Mutation { what, rules, trial, winners, refused: &[], disturbed: false, seconds: None }
}

/// Samples as rows of a table, for rules that want them so.
fn rows(samples: &[Vec<f64>]) -> Vec<&[f64]> {
    samples.iter().map(Vec::as_slice).collect()
}

/// Mutations of what a window is.
fn windows() -> Vec<Mutation> {
    let one_set: fn(usize, usize, usize) -> Rotation = |set, l2, free| Rotation {
        sets: 1,
        cold: false,
        ..Rotation::new(set, l2, free, figures::WINDOW_BYTES)
    };
    vec![
        mutation(
            "M1: a window over one set, which stays in L2",
            Rules { rotation: one_set, ..WHOLE },
            trial([READS_AGAIN, STREAMS]),
            &["streams"],
        ),
        mutation(
            "M2: a window that touches the first two sets alone",
            Rules { set: |execution| execution % 2, ..WHOLE },
            trial([READS_AGAIN, STREAMS]),
            &["streams"],
        ),
        Mutation {
            seconds: Some(STREAMS.warm + PLACE.launch),
            ..mutation(
                "M6: what a window costs by itself is not taken off",
                Rules { share: |_, window, sets| Overhead::default().share(window, sets), ..WHOLE },
                Trial { place: Place { free: 64 << 20, ..PLACE }, ..trial([STREAMS]) },
                &["streams"],
            )
        },
        Mutation {
            seconds: Some(FAST.cold + PLACE.launch),
            ..mutation(
                "M18: the host is not ahead of the device",
                Rules { head_start: |_| head_start(0.0), ..WHOLE },
                Trial { place: Place { host: 1e-3, ..PLACE }, ..trial([SLOWER, FAST]) },
                &["fast"],
            )
        },
        mutation(
            "K40: what was kept in L2 is not put out before a window",
            Rules { drops_kept_lines: false, ..WHOLE },
            trial([FAST, KEEPS_LINES]),
            &["fast"],
        ),
        mutation(
            "K28: outputs are not poisoned before a window",
            Rules { poison: |_| None, ..WHOLE },
            trial([FAST, cheat(Habit::Keeps { part: 0.9 })]),
            &["fast"],
        ),
        Mutation {
            refused: &["cheat"],
            ..mutation(
                "C2: fingerprints of the first set alone are compared",
                Rules { differ: |a, b| first_difference(&a[..1], &b[..1]), ..WHOLE },
                trial([FAST, cheat(Habit::FirstSetAlone { part: 0.9 })]),
                &["fast"],
            )
        },
        Mutation {
            refused: &["cheat"],
            ..mutation(
                "K29: outputs of the first round alone are compared",
                Rules { checked: |round| round == 0, ..WHOLE },
                trial([FAST, cheat(Habit::RightAtFirst { windows: 4, part: 0.9 })]),
                &["fast"],
            )
        },
        Mutation {
            refused: &["cheat"],
            ..mutation(
                "K42: nobody looks whether the device works on after a window",
                Rules {
                    lag: |lag, seconds, window, _| {
                        lag.add(seconds, window, &LagLimits { seconds: f64::INFINITY, share: 0.0 })
                    },
                    ..WHOLE
                },
                trial([FAST, Kernel::with("cheat", 3.6e-6, Habit::WorksOn(200e-6))]),
                &["fast"],
            )
        },
        mutation(
            "K42: one window in which the host was busy is enough",
            Rules {
                lag: |_, seconds, window, limits| {
                    let mut lag = Lag::NONE;
                    (0..3).filter_map(|_| lag.add(seconds, window, limits)).last()
                },
                ..WHOLE
            },
            Trial {
                place: Place {
                    lag: |moment| if moment.kernel == 0 && moment.own == 6 { 1e-3 } else { 10e-6 },
                    ..PLACE
                },
                ..trial([FAST, SLOWER])
            },
            &["fast"],
        ),
        mutation(
            "K42: the first window is enough",
            Rules {
                lag: |lag, seconds, window, limits| {
                    (0..3).filter_map(|_| lag.add(seconds, window, limits)).last()
                },
                ..WHOLE
            },
            Trial {
                place: Place {
                    lag: |moment| if moment.kernel == 0 && moment.own == 3 { 1e-3 } else { 10e-6 },
                    ..PLACE
                },
                ..trial([FAST, SLOWER])
            },
            &["fast"],
        ),
    ]
}

/// Somebody else computes in the window of the faster kernel that is the first to count.
const HIT_AT_FIRST: Place =
    Place { slowness: |moment| if moment.kernel == 0 && moment.own == 3 { 1.5 } else { 1.0 }, ..PLACE };

/// Every other window is slower.
const ALTERNATES: Place = Place { slowness: |moment| 1.0 + 0.02 * (moment.all % 2) as f64, ..PLACE };

/// Mutations of how many samples become a number, and of who takes his turn when.
fn samples() -> Vec<Mutation> {
    let even = MeasureOptions { rounds: 10, final_rounds: 12, ..options() };
    vec![
        mutation(
            "M13: the mean instead of the median",
            Rules {
                believed: |samples, bound, sizes| {
                    let mean = samples.iter().sum::<f64>() / samples.len() as f64;
                    figures::believed(&[mean], bound, sizes)
                },
                ..WHOLE
            },
            Trial {
                place: Place {
                    slowness: |moment| if moment.kernel == 0 && moment.own == 6 { 10.0 } else { 1.0 },
                    ..PLACE
                },
                ..trial([FAST, SLOWER])
            },
            &["fast"],
        ),
        mutation(
            "M19: the least sample instead of the median",
            Rules {
                believed: |samples, bound, sizes| {
                    let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
                    figures::believed(&[least], bound, sizes)
                },
                ..WHOLE
            },
            trial([FAST, cheat(Habit::StartsFast { windows: 4, part: 0.93 })]),
            &["fast"],
        ),
        mutation(
            "M10: the same order in every round",
            Rules { turns: |_, order| figures::turns(0, order), ..WHOLE },
            Trial {
                place: ALTERNATES,
                kernels: vec![Kernel::honest("slower", 4.047e-6), FAST],
                options: even,
            },
            &["fast"],
        ),
        mutation(
            "M10: the same order in every round of the A/A run",
            Rules { pair: |_| figures::pair(0), ..WHOLE },
            Trial {
                place: ALTERNATES,
                kernels: vec![Kernel::honest("slower", 4.06e-6), FAST],
                options: even,
            },
            &["fast"],
        ),
        mutation(
            "M9: no windows before those that count",
            Rules { warm_up: |_| Vec::new(), ..WHOLE },
            Trial {
                place: Place { slowness: |moment| 1.0 + 0.3 * 0.4f64.powi(moment.all as i32), ..PLACE },
                kernels: vec![Kernel::honest("slower", 4.05e-6), FAST],
                options: MeasureOptions { rounds: 3, final_rounds: 6, ..options() },
            },
            &["fast"],
        ),
        mutation(
            "M14: one sample is enough to drop a candidate",
            Rules {
                survivors: |samples, hopeless| {
                    let twice: Vec<Vec<f64>> = samples.iter().map(|samples| samples.repeat(2)).collect();
                    figures::survivors(&rows(&twice), hopeless)
                },
                ..WHOLE
            },
            Trial { place: HIT_AT_FIRST, ..trial([FAST, SLOWER]) },
            &["fast"],
        ),
        mutation(
            "M14: a candidate is dropped by its median, not by its best sample",
            Rules {
                survivors: |samples, hopeless| {
                    let middles: Vec<Vec<f64>> =
                        samples.iter().map(|samples| vec![median(samples); samples.len()]).collect();
                    figures::survivors(&rows(&middles), hopeless)
                },
                ..WHOLE
            },
            Trial { place: HIT_AT_FIRST, ..trial([FAST, SLOWER]) },
            &["fast"],
        ),
        mutation(
            "M19: candidates are dropped by the leader's best sample, not by its median",
            Rules {
                survivors: |samples, hopeless| {
                    let best = samples.iter().copied().flatten().copied().fold(f64::INFINITY, f64::min);
                    let leader = [best; 2];
                    let all: Vec<&[f64]> = samples.iter().copied().chain([&leader[..]]).collect();
                    figures::survivors(&all, hopeless)
                },
                ..WHOLE
            },
            Trial {
                place: Place {
                    slowness: |moment| if moment.kernel == 1 && moment.own == 3 { 0.9 } else { 1.0 },
                    ..PLACE
                },
                ..trial([FAST, SLOWER])
            },
            &["fast"],
        ),
    ]
}

/// Mutations of what is made of the numbers.
fn verdicts() -> Vec<Mutation> {
    let knows = cheat(Habit::Knows { seed: options().seed, part: 0.93 });
    let shared = || Trial {
        place: Place {
            slowness: |moment| if moment.kernel == 0 && moment.second { 1.2 } else { 1.0 },
            after: DeviceState { other_processes: Some(1), ..STILL },
            ..PLACE
        },
        kernels: vec![FAST, SLOWER],
        options: MeasureOptions { refuse_disturbed: true, ..options() },
    };
    vec![
        mutation(
            "M11: the number of the first measurement instead of the second",
            Rules {
                conclude: |timing, finalists, finale| {
                    let first: Vec<_> =
                        timing.candidates.iter().map(|timing| timing.outcome.clone()).collect();
                    timing.conclude(finalists, finale);
                    for (timing, first) in timing.candidates.iter_mut().zip(first) {
                        timing.outcome = first;
                    }
                },
                ..WHOLE
            },
            trial([FAST, knows]),
            &["fast"],
        ),
        mutation(
            "C13: the second measurement uses the data of the first",
            Rules { final_seed: |seed| seed, ..WHOLE },
            trial([FAST, knows]),
            &["fast"],
        ),
        mutation(
            "M11: numbers of the first measurement beside those of the second",
            Rules {
                winners: |timing| {
                    let mut timing: Timing = timing.clone();
                    for candidate in &mut timing.candidates {
                        candidate.final_samples = candidate.samples.clone();
                    }
                    timing.winners()
                },
                ..WHOLE
            },
            Trial {
                place: Place { slowness: |moment| if moment.second { 1.05 } else { 1.0 }, ..PLACE },
                kernels: vec![FAST, SLOWER],
                options: MeasureOptions { finalists: 1, ..options() },
            },
            &["fast"],
        ),
        Mutation {
            refused: &["cheat"],
            ..mutation(
                "M16: times that cannot be are believed",
                Rules {
                    believed: |samples, _, sizes| figures::believed(samples, &Bound::default(), sizes),
                    ..WHOLE
                },
                trial([FAST, Kernel::honest("cheat", 1e-6)]),
                &["fast"],
            )
        },
        mutation(
            "M17: bytes that L2 still holds are charged to memory",
            Rules { held: |_| 0.0, ..WHOLE },
            Trial {
                place: Place { free: 48 << 20, ..PLACE },
                ..trial([Kernel { name: "fast", cold: 4.0e-6, warm: 2.0e-6, habit: Habit::Honest }])
            },
            &["fast"],
        ),
        Mutation {
            disturbed: true,
            ..mutation(
                "M14: nobody looks who else computes on the device",
                Rules {
                    watched: |before, after, limits| {
                        let limits = DisturbanceLimits { other_processes: u32::MAX, ..*limits };
                        Watched::between(before, after, &limits)
                    },
                    ..WHOLE
                },
                shared(),
                &[],
            )
        },
        Mutation {
            disturbed: true,
            ..mutation(
                "M14: a disturbance that was to be an error is none",
                Rules {
                    accepted: |finale, options| {
                        finale.accepted(&MeasureOptions { refuse_disturbed: false, ..*options })
                    },
                    ..WHOLE
                },
                shared(),
                &[],
            )
        },
    ]
}

#[test]
fn each_rule_of_the_clock_is_needed() {
    let mut wrong = Vec::new();
    for mutation in windows().into_iter().chain(samples()).chain(verdicts()) {
        if let (_, Some(verdict)) = mutation.right(&WHOLE, RUNS) {
            wrong.push(format!("{}: wrong with every rule in place: {verdict:?}", mutation.what));
        }
        let (right, _) = mutation.right(&mutation.rules, RUNS);
        if right > 0 {
            wrong.push(format!("{}: right all the same, {right} times of {RUNS}", mutation.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How many of so many measurements end with these winners, and the floor on average.
fn rate(rules: &Rules, place: Place, kernels: &[Kernel], winners: &[&str], runs: u32) -> (u32, f64) {
    let trial = Trial { place, kernels: kernels.to_vec(), options: options() };
    let verdicts: Vec<Verdict> = (0..runs).map(|run| judge(rules, &trial, 0x5eed + u64::from(run))).collect();
    let right = verdicts.iter().filter(|verdict| verdict.winners == winners).count();
    (right as u32, verdicts.iter().map(|verdict| verdict.floor).sum::<f64>() / f64::from(runs))
}

/// A window's time scatters by one per cent.
const NOISY: Place = Place { noise: 0.01, ..PLACE };

/// Ten times as slow in one window of the fastest.
const NOISY_AND_HIT: Place =
    Place { slowness: |moment| if moment.kernel == 0 && moment.own == 8 { 10.0 } else { 1.0 }, ..NOISY };

/// Kernels that take as long as [`FAST`].
const EQUALS: [Kernel; 3] =
    [FAST, Kernel::honest("as fast", FAST.cold), Kernel::honest("as fast too", FAST.cold)];

#[test]
fn equals_are_ties_in_nearly_all_measurements_and_a_real_difference_is_told() {
    let runs = 1000;
    let (two, floor) = rate(&WHOLE, NOISY, &EQUALS[..2], &["fast", "as fast"], runs);
    let (three, _) = rate(&WHOLE, NOISY, &EQUALS, &["fast", "as fast", "as fast too"], runs);
    let seconds = (FAST.cold + PLACE.launch) * (1.0 + 3.0 * floor) - PLACE.launch;
    let apart = |place| rate(&WHOLE, place, &[FAST, Kernel::honest("slower", seconds)], &["fast"], runs).0;
    let (told, hit) = (apart(NOISY), apart(NOISY_AND_HIT));
    let (hit_equals, _) = rate(&WHOLE, NOISY_AND_HIT, &EQUALS[..2], &["fast", "as fast"], runs);
    println!(
        "of {runs}: two equals are ties {two} times, three {three} times, two with a disturbed window {hit_equals} times; a \
         difference of three times the floor ({floor}) is told {told} times, with a disturbed window {hit} times"
    );
    assert!(
        two >= 980 && three >= 970 && hit_equals >= 970,
        "M12: {two}, {three}, {hit_equals} ties of {runs}"
    );
    assert!(told >= 970 && hit >= 940, "M12: {told} and {hit} of {runs} told apart");
}

#[test]
fn equals_have_a_winner_without_the_rule_for_ties() {
    fn medians(timing: &Timing, floor: f64) -> Vec<usize> {
        let time = |index: usize| median(&timing.candidates[index].final_samples);
        let best = (0..2).map(time).fold(f64::INFINITY, f64::min);
        (0..2).filter(|&index| time(index) <= best * (1.0 + floor)).collect()
    }
    let ties = |winners: fn(&Timing) -> Vec<usize>| {
        rate(&Rules { winners, ..WHOLE }, NOISY, &EQUALS[..2], &["fast", "as fast"], 400).0
    };
    let none = ties(|timing| medians(timing, 0.0));
    assert_eq!(none, 0, "M12: the least median wins");
    let lucky = ties(|timing| medians(timing, timing.noise.as_ref().map_or(0.0, |noise| noise.difference)));
    assert!(lucky < 300, "M12: {lucky} ties of 400 by what the A/A run's sides are apart");
}

/// Whoever has the first of four windows and the last is slower, which reversed turns do not even out.
#[test]
fn what_the_clock_gets_wrong_about_one_candidate_is_no_difference_of_two() {
    let place = Place {
        slowness: |moment| if moment.all % 4 == 0 || moment.all % 4 == 3 { 1.01 } else { 1.0 },
        ..PLACE
    };
    let ties = |rules| rate(&rules, place, &EQUALS[..2], &["fast", "as fast"], 100).0;
    let whole = ties(WHOLE);
    assert!(whole >= 95, "{whole} ties of 100");
    assert_eq!(ties(Rules { noise: |_| None, ..WHOLE }), 0, "M12: nobody is measured against himself");
}

/// A hole that is known: the second measurement gives the right number, but nobody is left to compare it with.
#[test]
fn who_is_much_faster_in_the_race_alone_drives_the_others_out() {
    let knows = cheat(Habit::Knows { seed: options().seed, part: 0.8 });
    let verdict = judge(&WHOLE, &trial([FAST, knows]), 1);
    assert_eq!(verdict.winners, ["cheat"]);
    assert!((verdict.seconds / (knows.cold + PLACE.launch) - 1.0).abs() < 0.01, "{verdict:?}");
}
