//! What a measurement comes back with: data for the record.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::figures::{Bound, LagLimits, Noise, Overhead, Rotation, WINDOW_BYTES};
use super::memory::Protection;
use super::state::{DisturbanceLimits, Watched};
use crate::candidate::Candidate;
use crate::verdict::{Gate, Reason, Rejection};

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureOptions {
    /// Seed of the data of the first measurement. The second one draws its own from the system.
    pub seed: u64,
    /// Rounds of the first measurement.
    pub rounds: usize,
    /// Rounds of the second one, of the A/A run too.
    pub final_rounds: usize,
    /// How many candidates are measured a second time; 0: the first measurement is all there is.
    pub finalists: usize,
    /// A candidate is dropped when its best sample is so many times the leader's median.
    pub hopeless: f64,
    /// Seconds after which no further round begins. Three rounds of the first measurement are always made, and six of the
    /// second one.
    pub seconds: Option<f64>,
    /// Seconds for which each finalist runs on end to read its energy from the device's counter; `None`: no energy.
    pub energy_seconds: Option<f64>,
    /// From when on a change of the device's state disturbs the measurement.
    pub disturbed: DisturbanceLimits,
    /// Whether a second measurement that was disturbed is an error. Otherwise it is marked.
    pub refuse_disturbed: bool,
    /// How long the device may seem to work beyond the end of a window.
    pub lag: LagLimits,
    /// Bytes of arguments that a window goes over at least, however short its kernels are. Where that is less than the
    /// rotation needs to be cold, the rotation decides.
    pub window_bytes: usize,
}

/// Part of the time limit that the first measurement may take.
const RACE_SHARE: f64 = 0.6;

impl MeasureOptions {
    /// For the first measurement.
    pub(crate) fn race(&self) -> MeasureOptions {
        MeasureOptions { seconds: self.seconds.map(|limit| limit * RACE_SHARE), ..*self }
    }

    /// For the second one, when the first began at `started`.
    pub(crate) fn finale(&self, started: Instant) -> MeasureOptions {
        let left = |limit: f64| (limit - started.elapsed().as_secs_f64()).max(0.0);
        MeasureOptions { seconds: self.seconds.map(left), ..*self }
    }
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            rounds: 9,
            final_rounds: 11,
            finalists: 3,
            hopeless: 1.05,
            seconds: None,
            energy_seconds: None,
            disturbed: DisturbanceLimits::default(),
            refuse_disturbed: false,
            lag: LagLimits::default(),
            window_bytes: WINDOW_BYTES,
        }
    }
}

/// Why nothing could be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The device, its memory or the oracle failed, or the GPU is lost.
    #[error("{message}")]
    Failed {
        /// What failed.
        message: String,
    },
    /// A candidate cost this process its context, and another process has to go on without it.
    #[error("{rejection}")]
    Lost {
        /// Its position.
        candidate: usize,
        /// What it did.
        rejection: Box<Rejection>,
    },
    /// The device's state changed while finalists were measured, and that was to be an error.
    #[error("the measurement was disturbed: {what}; measure again when the device is left alone")]
    Disturbed {
        /// What happened.
        what: String,
    },
}

impl From<MeasureError> for String {
    fn from(error: MeasureError) -> String {
        error.to_string()
    }
}

/// Energy of one execution, from the device's own counter, over a long run of back-to-back windows. What the device
/// needs when idle is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// Joules of one execution.
    pub joules: f64,
    /// Watts on average.
    pub watts: f64,
    /// Seconds between the two readings.
    pub seconds: f64,
    /// Executions between them.
    pub executions: u64,
}

/// What became of one candidate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CandidateTiming {
    /// The candidate's name.
    pub id: String,
    /// Seconds of one execution: the median of the second measurement for finalists, else of the first.
    pub outcome: Result<f64, Rejection>,
    /// Samples of the first measurement: seconds of one execution, averaged over one window each, less the window's own
    /// overhead.
    pub samples: Vec<f64>,
    /// Samples of the second measurement; empty for those that were no finalists.
    pub final_samples: Vec<f64>,
    /// Whether it was dropped before the first measurement ended.
    pub dropped: bool,
    /// Registers a thread, as the driver's compiler gave them (the most of all launches).
    pub registers: u32,
    /// Energy of one execution, where it was asked for and the device tells it.
    pub energy: Option<Energy>,
}

impl CandidateTiming {
    /// A time that was taken before and is told again.
    pub fn recorded(id: &str, outcome: Result<f64, Rejection>) -> CandidateTiming {
        CandidateTiming {
            id: id.to_owned(),
            samples: outcome.iter().copied().collect(),
            outcome,
            final_samples: Vec::new(),
            dropped: false,
            registers: 0,
            energy: None,
        }
    }

    pub(crate) fn refused(candidate: &Candidate, rejection: Rejection) -> CandidateTiming {
        CandidateTiming {
            id: candidate.id.clone(),
            outcome: Err(rejection),
            samples: Vec::new(),
            final_samples: Vec::new(),
            dropped: false,
            registers: 0,
            energy: None,
        }
    }

    /// One of which nothing is known, because our own tools failed.
    pub(crate) fn untimed(candidate: &Candidate, message: String) -> CandidateTiming {
        CandidateTiming::refused(candidate, Rejection::new(Gate::Time, Reason::Infrastructure { message }))
    }

    /// One for each candidate, in their order: the refusals, and between them what was measured of the others.
    ///
    /// # Errors
    /// Not as many were measured as were not refused; in words.
    pub(crate) fn all(
        candidates: &[&Candidate],
        refused: Vec<Option<Rejection>>,
        measured: Vec<CandidateTiming>,
    ) -> Result<Vec<CandidateTiming>, String> {
        let alive = refused.iter().filter(|refused| refused.is_none()).count();
        if measured.len() != alive {
            return Err(format!("{} of {alive} candidates were timed", measured.len()));
        }
        let mut measured = measured.into_iter();
        let turns = candidates.iter().zip(refused);
        Ok(turns
            .filter_map(|(candidate, refused)| match refused {
                Some(rejection) => Some(CandidateTiming::refused(candidate, rejection)),
                None => measured.next(),
            })
            .collect())
    }
}

/// What a measurement was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The device's name.
    pub device: String,
    /// The driver's version.
    pub driver: String,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of L2 set aside for persisting lines: 0 where all is well; `None` where the device has no such thing.
    pub persisting_l2: Option<usize>,
    /// How buffers were protected.
    pub protection: Protection,
    /// What the clock is: nothing else was mixed in.
    pub clock: String,
}

/// Where the time of a measurement went, in seconds of the wall's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// The device gate for all candidates, where the same call made it.
    #[serde(default)]
    pub checking: f64,
    /// Buffers, their data, and what the oracle says of it.
    pub buffers: f64,
    /// Loading the candidates and running each on every set, until all were right.
    pub readying: f64,
    /// Of that, waiting for somebody to compare outputs.
    pub comparing: f64,
    /// The rounds.
    pub racing: f64,
}

/// A measurement of several candidates at some sizes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// One for each candidate, in their order.
    pub candidates: Vec<CandidateTiming>,
    /// The best candidate against itself; `None` when there was no time for it, or nobody to do it with.
    pub noise: Option<Noise>,
    /// The sets of buffers of a window.
    pub rotation: Rotation,
    /// Seconds below which a time is not believed.
    pub bound: Bound,
    /// What a window costs by itself.
    pub overhead: Overhead,
    /// What it was measured with.
    pub environment: Environment,
    /// The device around the first measurement.
    pub race: Watched,
    /// The device around the second one.
    pub finale: Watched,
    /// Seed of the second measurement's data, drawn by the system.
    pub final_seed: Option<u64>,
    /// Where the time went.
    #[serde(default)]
    pub spent: Spent,
}

impl Timing {
    /// Times that were taken before and are told again: nothing is known of the circumstances but the device.
    pub fn recorded(candidates: Vec<CandidateTiming>, device: &str, driver: &str) -> Timing {
        Timing {
            candidates,
            noise: None,
            rotation: Rotation { sets: 0, set_bytes: 0, l2_bytes: 0, cold: false },
            bound: Bound::default(),
            overhead: Overhead::default(),
            environment: Environment {
                device: device.to_owned(),
                driver: driver.to_owned(),
                multiprocessors: 0,
                persisting_l2: None,
                protection: Protection::Bands { reason: "nothing ran".to_owned() },
                clock: "a record".to_owned(),
            },
            race: Watched::default(),
            finale: Watched::default(),
            final_seed: None,
            spent: Spent::default(),
        }
    }

    /// How far two equal candidates may come out apart, relative: see [`Noise::floor`].
    pub fn floor(&self) -> Option<f64> {
        self.noise.as_ref().map(|noise| noise.floor)
    }

    /// Positions of the winners: the fastest finalist and those that nothing tells from it, because they are within the floor
    /// or are not slower in nearly every round. Two that are equal both win in 95 of 100 measurements or more. Where nobody
    /// was measured twice, the fastest of all.
    pub fn winners(&self) -> Vec<usize> {
        let time = |candidate: &CandidateTiming| candidate.outcome.as_ref().ok().copied();
        let finalist = |candidate: &CandidateTiming| !candidate.final_samples.is_empty();
        if self.candidates.iter().any(finalist) {
            let measured = |candidate| Some((time(candidate)?, candidate.final_samples.as_slice()));
            let measured: Vec<Option<(f64, &[f64])>> = self
                .candidates
                .iter()
                .map(|candidate| Some(candidate).filter(|candidate| finalist(candidate)).and_then(measured))
                .collect();
            return super::figures::ties(&measured, self.floor().unwrap_or(0.0));
        }
        let timed = self.candidates.iter().enumerate().filter_map(|(index, c)| Some((index, time(c)?)));
        timed.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index).into_iter().collect()
    }

    /// What a person would want to know: ties, and waiting for other searches. A sentence each.
    pub fn notes(&self) -> Vec<String> {
        let turn = |watched: &Watched| watched.turn.as_ref().and_then(|turn| turn.note());
        [turn(&self.race), turn(&self.finale), self.tie()].into_iter().flatten().collect()
    }

    /// One sentence, where nothing tells several finalists apart.
    fn tie(&self) -> Option<String> {
        let winners = self.winners();
        let (last, others) = winners.split_last()?;
        let name = |index: &usize| format!("`{}`", self.candidates[*index].id);
        let others: Vec<String> = others.iter().map(name).collect();
        let floor =
            self.floor().map_or_else(String::new, |floor| format!(" (A/A floor {:.2} %)", floor * 100.0));
        (!others.is_empty()).then(|| {
            format!(
                "{} and {} differ by no more than equals do by chance{floor}",
                others.join(", "),
                name(last)
            )
        })
    }
}

/// The second measurement of a few candidates, on data that none of them saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FinalMeasurement {
    /// One for each candidate, in their order; `final_samples` and `outcome` are of this measurement.
    pub candidates: Vec<CandidateTiming>,
    /// The best of them against itself.
    pub noise: Option<Noise>,
    /// The sets of buffers of a window.
    pub rotation: Rotation,
    /// Seconds below which a time is not believed.
    pub bound: Bound,
    /// What a window costs by itself.
    pub overhead: Overhead,
    /// What it was measured with.
    pub environment: Environment,
    /// The device around it.
    pub finale: Watched,
    /// Seed of the data, drawn by the system.
    pub seed: u64,
}

impl FinalMeasurement {
    /// Itself, unless the device was disturbed and the options refuse that.
    pub(super) fn accepted(self, options: &MeasureOptions) -> Result<FinalMeasurement, MeasureError> {
        match self.finale.disturbances.first() {
            Some(first) if options.refuse_disturbed => {
                Err(MeasureError::Disturbed { what: first.to_string() })
            }
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(seconds: f64, finalist: bool) -> CandidateTiming {
        CandidateTiming {
            id: seconds.to_string(),
            outcome: Ok(seconds),
            samples: vec![seconds],
            final_samples: if finalist { vec![seconds; 7] } else { Vec::new() },
            dropped: false,
            registers: 32,
            energy: None,
        }
    }

    fn timing(candidates: Vec<CandidateTiming>, noise: Option<Noise>) -> Timing {
        Timing {
            candidates,
            noise,
            rotation: Rotation::new(1 << 20, 1 << 20, 1 << 30, WINDOW_BYTES),
            bound: Bound::default(),
            overhead: Overhead::default(),
            environment: Environment {
                device: "none".to_owned(),
                driver: "none".to_owned(),
                multiprocessors: 1,
                persisting_l2: Some(0),
                protection: Protection::Pages { page: 2 << 20, read_only: true },
                clock: "none".to_owned(),
            },
            race: Watched::default(),
            finale: Watched::default(),
            final_seed: None,
            spent: Spent::default(),
        }
    }

    #[test]
    fn winners_are_finalists_within_the_floor() {
        let noise = Noise { sides: [vec![1.0], vec![1.0]], difference: 0.01, floor: 0.01 };
        // The fastest of the first measurement was no finalist: its time is not reported, so it does not win.
        let all =
            vec![candidate(0.9, false), candidate(1.0, true), candidate(1.005, true), candidate(1.02, true)];
        assert_eq!(timing(all.clone(), Some(noise.clone())).winners(), [1, 2]);
        let said = timing(all.clone(), Some(noise)).tie().expect("a tie");
        assert_eq!(said, "`1` and `1.005` differ by no more than equals do by chance (A/A floor 1.00 %)");
        assert_eq!(timing(all.clone(), None).tie(), None);
        assert_eq!(timing(all, None).winners(), [1]);
        assert_eq!(timing(vec![candidate(2.0, false), candidate(1.0, false)], None).winners(), [1]);
        assert!(timing(Vec::new(), None).winners().is_empty());
    }

    #[test]
    fn a_timing_is_data() {
        let noise = Noise { sides: [vec![1.0], vec![1.0]], difference: 0.0, floor: 0.0 };
        let text = serde_json::to_string(&timing(vec![candidate(1.0, true)], Some(noise))).expect("data");
        for word in
            ["final_samples", "persisting_l2", "bytes_seconds", "window_seconds", "disturbances", "l2_bytes"]
        {
            assert!(text.contains(word), "{word}: {text}");
        }
        let options = MeasureOptions { energy_seconds: Some(2.0), ..MeasureOptions::default() };
        let text = serde_json::to_string(&options).expect("data");
        assert_eq!(serde_json::from_str::<MeasureOptions>(&text).expect("the same data"), options);
    }
}
