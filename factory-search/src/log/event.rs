//! What a line of a log says.

use std::collections::BTreeMap;

use factory_spec::BoundSpec;
use serde::{Deserialize, Serialize};

use super::write::FORMAT;
use crate::candidate::Tunables;
use crate::found::{CandidateRecord, Found};
use crate::launch;
use crate::observer::Event;
use crate::options::SearchOptions;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, in seconds since 1970.
    pub time: f64,
    /// When, in seconds since the search began.
    pub elapsed: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: LogEvent,
}

/// What happened: the [`Event`]s of a search, its beginning and its end. Names are strings, so that those of another
/// version pass through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogEvent {
    /// The first line.
    Start(LogStart),
    /// A phase begins.
    Phase {
        /// Its name.
        phase: String,
        /// Verdicts that may follow in it.
        total: usize,
    },
    /// Configurations were listed.
    Enumerated {
        /// The target.
        arch: String,
        /// The sizes.
        sizes: String,
        /// Configurations in the space.
        configurations: usize,
        /// How many of them the budget allows.
        considered: usize,
    },
    /// A candidate passed or failed.
    Verdict {
        /// In which phase.
        phase: String,
        /// What is known of it by now.
        candidate: LogCandidate,
    },
    /// A candidate is the best so far for its sizes.
    Best {
        /// Its name.
        id: String,
        /// Its target.
        arch: String,
        /// Its sizes.
        sizes: String,
        /// Its time.
        seconds: f64,
        /// Whether a GPU measured it.
        measured: bool,
    },
    /// Candidates were timed.
    Timed {
        /// The sizes.
        sizes: String,
        /// What a person would want to know of it: that nothing tells several apart, that it waited. A sentence each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
        /// Everything that the clock says: raw samples, noise, overheads, the device before and after. As JSON, since a
        /// reader shows it and does not compute with it.
        timing: serde_json::Value,
    },
    /// A gate will not run.
    NotRun {
        /// The gate.
        gate: String,
        /// The reason.
        reason: String,
    },
    /// Something that a person would want to know.
    Note {
        /// One sentence.
        message: String,
    },
    /// The last line. A log without it is of a search that still runs or was killed.
    End(LogOutcome),
    /// Something that a newer version writes.
    #[serde(other)]
    Unknown,
}

/// What is searched for, and with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogStart {
    /// The version of the log's format.
    pub format: u32,
    /// The kernel's name.
    pub kernel: String,
    /// The spec's key.
    pub key: String,
    /// Who searches: `build`, `tune`.
    pub by: String,
    /// The version of Kernel Factory.
    pub version: String,
    /// The process.
    pub process: u32,
    /// The seed.
    pub seed: u64,
    /// The budget: configurations for each target.
    pub candidates: usize,
    /// The budget: seconds.
    pub seconds: Option<f64>,
    /// The targets.
    pub targets: Vec<String>,
    /// The entries of `better.over`.
    pub over: Vec<String>,
}

impl LogStart {
    /// What the first line says of this search.
    pub fn new(spec: &BoundSpec, options: &SearchOptions, by: &str) -> LogStart {
        let targets = if options.arches.is_empty() { &spec.targets } else { &options.arches };
        LogStart {
            format: FORMAT,
            kernel: spec.name.clone(),
            key: spec.key().to_string(),
            by: by.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            seed: options.seed,
            candidates: options.budget.candidates,
            seconds: options.budget.seconds,
            targets: targets.iter().map(ToString::to_string).collect(),
            over: spec.better.over.iter().map(|sizes| launch::label(spec, sizes)).collect(),
        }
    }
}

/// What is known of a candidate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogCandidate {
    /// Its name.
    pub id: String,
    /// Who proposed it.
    pub proposer: String,
    /// Its target.
    pub arch: String,
    /// The sizes that it was proposed for.
    pub sizes: String,
    /// What it was made from.
    #[serde(default)]
    pub tunables: Tunables,
    /// The last gate that it went through.
    pub gate: String,
    /// The verdict's name.
    pub verdict: String,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The model's seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modelled: Option<f64>,
    /// The measured seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// Registers a thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registers: Option<u32>,
}

impl LogCandidate {
    /// Whether a gate refused it.
    pub fn refused(&self) -> bool {
        self.verdict != "pass"
    }
}

impl From<&CandidateRecord> for LogCandidate {
    fn from(record: &CandidateRecord) -> LogCandidate {
        LogCandidate {
            id: record.id.clone(),
            proposer: record.proposer.to_string(),
            arch: record.arch.to_string(),
            sizes: record.sizes.clone(),
            tunables: record.tunables.clone(),
            gate: record.gate.name().to_owned(),
            verdict: record.verdict.name().to_owned(),
            reason: record.rejection.as_ref().map(|rejection| rejection.reason.to_string()),
            modelled: record.modelled.as_ref().map(|time| time.seconds),
            measured: record.measured.as_ref().map(|time| time.seconds),
            registers: record.registers,
        }
    }
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogOutcome {
    /// With a kernel.
    Found {
        /// The winners' names.
        winners: Vec<String>,
        /// Candidates that were considered.
        considered: u64,
        /// Those that were refused, by gate.
        refused: BTreeMap<String, u64>,
        /// Whether the order came from a model.
        modelled: bool,
    },
    /// Without one.
    Failed {
        /// Why.
        message: String,
    },
}

impl LogOutcome {
    /// What the last line says of this result.
    pub fn new<E: std::fmt::Display>(result: &Result<Found, E>) -> LogOutcome {
        match result {
            Ok(found) => LogOutcome::Found {
                winners: found.winners.clone(),
                considered: found.sealed.certificate.candidates.considered,
                refused: found.sealed.certificate.candidates.refused.clone(),
                modelled: found.modelled,
            },
            Err(error) => LogOutcome::Failed { message: error.to_string() },
        }
    }
}

impl From<&Event<'_>> for LogEvent {
    fn from(event: &Event<'_>) -> LogEvent {
        match event {
            Event::Phase { phase, total } => {
                LogEvent::Phase { phase: phase.name().to_owned(), total: *total }
            }
            Event::Enumerated { arch, sizes, configurations, considered } => LogEvent::Enumerated {
                arch: arch.to_string(),
                sizes: (*sizes).to_owned(),
                configurations: *configurations,
                considered: *considered,
            },
            Event::Verdict { phase, record } => {
                LogEvent::Verdict { phase: phase.name().to_owned(), candidate: (*record).into() }
            }
            Event::Best { record, seconds, measured } => LogEvent::Best {
                id: record.id.clone(),
                arch: record.arch.to_string(),
                sizes: record.sizes.clone(),
                seconds: *seconds,
                measured: *measured,
            },
            Event::Timed { sizes, timing } => LogEvent::Timed {
                sizes: (*sizes).to_owned(),
                notes: timing.notes(),
                timing: serde_json::to_value(timing).unwrap_or_default(),
            },
            Event::NotRun { gate, reason } => {
                LogEvent::NotRun { gate: gate.name().to_owned(), reason: (*reason).to_owned() }
            }
            Event::Note { message } => LogEvent::Note { message: (*message).to_owned() },
        }
    }
}
