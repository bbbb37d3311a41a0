//! A search that keeps evidence: what it finds out, together with what was asked and what it was judged with.

use std::sync::OnceLock;
use std::time::Duration;

use factory_spec::BoundSpec;

use super::error::EvidenceError;
use super::note::SpecText;
use super::store::{Evidence, insert_note, insert_spec, judgement};
use crate::candidate::Candidate;
use crate::learn::{Experience, Memory, Outcome, Task};
use crate::observer::Event;
use crate::options::SearchOptions;
use crate::toolchain::Ptxas;

/// How long a note waits for the file once it was locked for longer than anybody has use for.
const IMPATIENCE: Duration = Duration::from_millis(100);

/// One search's memory. It keeps what an [`Evidence`] by itself does not know: the spec's text, the driver and the assembler.
#[derive(Debug)]
pub struct Run<'a> {
    evidence: &'a Evidence,
    spec: SpecText,
    assembler: Option<String>,
    /// The device of the clock and its driver, once the clock has said so.
    clock: OnceLock<(String, String)>,
}

impl Evidence {
    /// The memory of one search. Its observer hands on what happens to [`Run::hears`], from which it knows the driver.
    pub fn run(&self, spec: &BoundSpec, options: &SearchOptions) -> Run<'_> {
        // A tool that was asked for and does not work is the search's to refuse.
        let ptxas = Ptxas::find(&options.ptxas).ok().and_then(Result::ok);
        Run {
            evidence: self,
            spec: SpecText::of(spec),
            assembler: ptxas.map(|ptxas| ptxas.version().to_owned()),
            clock: OnceLock::new(),
        }
    }
}

impl Run<'_> {
    /// Something happened in the search.
    pub fn hears(&self, event: &Event<'_>) {
        if let Event::Timed { timing, .. } = event {
            let environment = &timing.environment;
            self.clock.get_or_init(|| (environment.device.clone(), environment.driver.clone()));
        }
    }
}

impl Memory for Run<'_> {
    fn known(&self, task: &Task, candidate: &Candidate, device: &str) -> Option<Outcome> {
        self.evidence.known(task, candidate, device)
    }

    fn experiences(&self, device: &str) -> Result<Vec<Experience>, String> {
        self.evidence.experiences(device)
    }

    fn record(
        &self,
        task: &Task,
        candidate: &Candidate,
        device: Option<&str>,
        outcome: &Outcome,
        samples: &[f64],
        experience: Option<&Experience>,
    ) -> Result<(), String> {
        let mut note = judgement(task, candidate, device, outcome, samples, experience);
        note.assembler.clone_from(&self.assembler);
        note.driver = match (device, self.clock.get()) {
            (Some(device), Some((known, driver))) if device == known => Some(driver.clone()),
            _ => None,
        };
        let kept = note.check().map_err(|message| EvidenceError::Note { message }).and_then(|()| {
            self.evidence.write(|transaction| {
                if note.task.meaning == self.spec.meaning {
                    insert_spec(transaction, &self.spec)?;
                }
                insert_note(transaction, &note)
            })
        });
        if let Err(EvidenceError::Locked { .. }) = &kept {
            // Every further note would wait as long: the search goes on, and says at its end that something is missing.
            let _ = self.evidence.wait(IMPATIENCE);
        }
        kept.map(drop).map_err(|error| error.to_string())
    }
}
