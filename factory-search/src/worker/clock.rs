//! The clock of several workers: one of them measures.

use std::sync::{Arc, PoisonError};

use factory_spec::{BoundSpec, SizeValues};

use super::patience::Patience;
use super::pool::{DEATHS, Slot, Workers};
use super::process::Lost;
use super::protocol::{Measure, Reply, Request, ShippedCandidate};
use crate::candidate::Candidate;
use crate::gpu::{CandidateTiming, LocalJudge, MeasureError, MeasureOptions, Timing};
use crate::launch;
use crate::measurer::Measurer as _;
use crate::verdict::{Gate, Reason, Rejection};

impl Workers {
    /// A measurement by one worker, again without the candidate that cost it its process, until one ends.
    fn measure<T>(
        &self,
        slot: &mut Slot,
        what: &What<'_>,
        request: impl Fn(Measure) -> Request,
        reply: impl Fn(Reply) -> Option<Result<T, MeasureError>>,
    ) -> Result<Outcome<T>, Stop> {
        let What { spec, sizes, candidates, options } = *what;
        let label = launch::label(spec, sizes);
        let mut refused: Vec<Option<Rejection>> = vec![None; candidates.len()];
        let mut deaths = vec![0; candidates.len()];
        let mut alone = 0;
        let patience = Patience::new(options.seconds);
        loop {
            if let Some(reason) = patience.over() {
                for unrun in refused.iter_mut().filter(|refused| refused.is_none()) {
                    *unrun = Some(Rejection::new(Gate::Time, reason.clone()));
                }
            }
            let alive: Vec<usize> = (0..candidates.len()).filter(|&index| refused[index].is_none()).collect();
            if alive.is_empty() {
                return Ok(Outcome { measured: None, refused });
            }
            let judge = LocalJudge::that_knows(spec, Arc::clone(&slot.windows));
            let shipped = alive.iter().map(|&index| ShippedCandidate::from(candidates[index])).collect();
            let measure = Measure { sizes: sizes.0.clone(), options, candidates: shipped };
            let place = |at: Option<usize>| at.and_then(|at| alive.get(at).copied());
            let outcome = slot.ask(self.limits, spec, &request(measure), Some(&judge));
            let (guilty, reason) = match outcome.map(&reply) {
                Ok(Some(Ok(measured))) => {
                    return Ok(Outcome { measured: Some(measured), refused });
                }
                Ok(Some(Err(MeasureError::Lost { candidate, rejection }))) => {
                    slot.end();
                    (place(Some(candidate)), rejection.reason)
                }
                // Whatever it is, the next measurement is not to suffer from it.
                Ok(Some(Err(error))) => {
                    slot.end();
                    return Err(Stop::Failed(error.to_string()));
                }
                Ok(None) => {
                    let message = "the worker gave an answer to another question".to_owned();
                    return Err(Stop::Failed(message));
                }
                Err(Lost::NotStarted(message)) => return Err(Stop::NotStarted(message)),
                Err(Lost::Failed(message)) => return Err(Stop::Failed(message)),
                Err(Lost::Hung { at }) => {
                    patience.hung();
                    (place(at), self.hang(label.clone()))
                }
                Err(Lost::Died { at, message }) => {
                    let died = place(at).map(|index| {
                        deaths[index] += 1;
                        deaths[index]
                    });
                    if died.is_some_and(|deaths| deaths < DEATHS) {
                        continue;
                    }
                    (place(at), Reason::Crashed { sizes: label.clone(), message })
                }
            };
            match guilty {
                Some(index) => refused[index] = Some(Rejection::new(Gate::Time, reason)),
                // Nobody had run yet.
                None => {
                    alone += 1;
                    if alone >= DEATHS {
                        return Err(Stop::Failed(reason.to_string()));
                    }
                }
            }
        }
    }

    /// The clock alone: a race, and the second measurement of the best by a new process.
    ///
    /// # Errors
    /// Nothing could be measured at all; in words.
    pub fn time(
        &mut self,
        spec: &BoundSpec,
        sizes: &SizeValues,
        candidates: &[&Candidate],
        options: &MeasureOptions,
    ) -> Result<Timing, String> {
        // The same one as long as it can be had: times that are compared are of one device.
        let first = self.clock;
        let mut trouble = String::new();
        for turn in 0..self.slots.len() {
            let index = (first + turn) % self.slots.len();
            match self.time_with(index, spec, sizes, candidates, options) {
                Ok(timing) => {
                    self.clock = index;
                    return Ok(timing);
                }
                Err(Stop::NotStarted(message)) => trouble = message,
                Err(Stop::Failed(message)) => return Err(message),
            }
        }
        Err(trouble)
    }

    /// The same by the worker of this place.
    fn time_with(
        &self,
        index: usize,
        spec: &BoundSpec,
        sizes: &SizeValues,
        candidates: &[&Candidate],
        options: &MeasureOptions,
    ) -> Result<Timing, Stop> {
        let started = std::time::Instant::now();
        let mut slot = self.slots[index].lock().unwrap_or_else(PoisonError::into_inner);
        let place = slot.place.clone();
        let others =
            self.slots.iter().enumerate().filter(|(other, _)| *other != index).filter(|(_, other)| {
                let other = other.lock().unwrap_or_else(PoisonError::into_inner);
                other.worker.is_some() && other.place == place
            });
        let mut options = *options;
        // Other workers of this search hold the GPU too, and do nothing meanwhile.
        options.disturbed.other_processes += others.count() as u32;
        let raced = |reply| match reply {
            Reply::Raced(outcome) => Some(*outcome),
            _ => None,
        };
        let what = What { spec, sizes, candidates, options: options.race() };
        let Outcome { measured, refused } = self.measure(&mut slot, &what, Request::Race, raced)?;
        let mut timing = measured.unwrap_or_else(|| Timing::recorded(Vec::new(), self.name(), self.driver()));
        timing.candidates =
            CandidateTiming::all(candidates, refused, std::mem::take(&mut timing.candidates))?;
        let finalists = timing.finalists(options.finalists);
        if finalists.is_empty() {
            return Ok(timing);
        }
        // Nothing that a candidate did in the race is left.
        slot.end();
        let chosen: Vec<&Candidate> = finalists.iter().map(|&index| candidates[index]).collect();
        let finished = |reply| match reply {
            Reply::Measured(outcome) => Some(*outcome),
            _ => None,
        };
        let what = What { spec, sizes, candidates: &chosen, options: options.finale(started) };
        let outcome = self.measure(&mut slot, &what, Request::Finale, finished);
        let Outcome { measured, refused } = match outcome {
            Ok(outcome) => outcome,
            // What the race found out stands; those that were to be measured again have no result.
            Err(Stop::NotStarted(message) | Stop::Failed(message)) => {
                for &index in &finalists {
                    let message = format!("the second measurement did not happen: {message}");
                    timing.candidates[index] = CandidateTiming::untimed(candidates[index], message);
                }
                return Ok(timing);
            }
        };
        match measured {
            Some(mut finale) => {
                finale.candidates =
                    CandidateTiming::all(&chosen, refused, std::mem::take(&mut finale.candidates))?;
                timing.conclude(&finalists, finale);
            }
            None => {
                for (index, rejection) in finalists.into_iter().zip(refused) {
                    if let Some(rejection) = rejection {
                        timing.candidates[index] = CandidateTiming::refused(candidates[index], rejection);
                    }
                }
            }
        }
        Ok(timing)
    }
}

/// Why nothing was measured.
enum Stop {
    /// There is no worker at this place.
    NotStarted(String),
    /// There is one, and it could not.
    Failed(String),
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop::Failed(message)
    }
}

/// What is to be measured, and how.
#[derive(Clone, Copy)]
struct What<'a> {
    spec: &'a BoundSpec,
    sizes: &'a SizeValues,
    candidates: &'a [&'a Candidate],
    options: MeasureOptions,
}

/// What came of a measurement.
struct Outcome<T> {
    /// `None` where no candidate was left.
    measured: Option<T>,
    /// For each candidate why it is not among those that were measured.
    refused: Vec<Option<Rejection>>,
}
