//! A measurer that answers with times of the past.

use std::collections::BTreeMap;

use factory_spec::{BoundSpec, SizeValues};

use super::{Experience, Task};
use crate::candidate::Candidate;
use crate::cases::Cases;
use crate::gpu::{CandidateTiming, MeasureOptions, Timing};
use crate::measurer::Measurer;
use crate::verdict::{Gate, Reason, Rejection};

/// Times that were recorded before, by the names of candidates: a whole search on them needs no GPU. A candidate that is not
/// in the record was not measured, which says nothing about it.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    device: String,
    driver: String,
    capability: (u32, u32),
    times: BTreeMap<(String, String, String), Option<f64>>,
    asked: Vec<String>,
}

impl Recorded {
    /// An empty record of a device.
    pub fn new(device: &str, driver: &str, capability: (u32, u32)) -> Recorded {
        Recorded { device: device.to_owned(), driver: driver.to_owned(), capability, ..Recorded::default() }
    }

    /// Adds what became of a candidate.
    pub fn add(&mut self, experience: &Experience) {
        let Experience { task, view, seconds } = experience;
        self.times.insert((task.meaning.clone(), task.sizes.clone(), view.id.clone()), *seconds);
    }

    /// The names of all candidates that were asked for, in order, as often as they were.
    pub fn asked(&self) -> &[String] {
        &self.asked
    }
}

impl Measurer for Recorded {
    fn name(&self) -> &str {
        &self.device
    }

    fn driver(&self) -> &str {
        &self.driver
    }

    fn capability(&self) -> (u32, u32) {
        self.capability
    }

    fn check_and_time(
        &mut self,
        spec: &BoundSpec,
        _cases: &Cases,
        sizes: &SizeValues,
        candidates: &[&Candidate],
        _options: &MeasureOptions,
    ) -> Result<Timing, String> {
        let Task { meaning, sizes, .. } = Task::of(spec, sizes);
        let mut answer = |candidate: &&Candidate| {
            self.asked.push(candidate.id.clone());
            let infrastructure = |message: &str| {
                Err(Rejection::new(Gate::Time, Reason::Infrastructure { message: message.to_owned() }))
            };
            let outcome = match self.times.get(&(meaning.clone(), sizes.clone(), candidate.id.clone())) {
                Some(Some(seconds)) => Ok(*seconds),
                Some(None) => infrastructure("the record holds no time of it"),
                None => infrastructure("it is not in the record"),
            };
            CandidateTiming::recorded(&candidate.id, outcome)
        };
        let candidates = candidates.iter().map(&mut answer).collect();
        Ok(Timing::recorded(candidates, &self.device, &self.driver))
    }
}
