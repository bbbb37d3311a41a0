//! What is known of a sealed kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Arch, DType, JsonError, Key, json};

/// What was checked, where, and what was measured: the file `certificate.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Version of this format: [`Certificate::SCHEMA`]
    pub schema: u32,
    /// The kernel's name
    pub name: String,
    /// The spec's key
    pub key: Key,
    /// The digest of what is correct
    pub meaning: Key,
    /// The dtype of each dtype variable
    pub bindings: BTreeMap<String, DType>,
    /// The spec's canonical text, which the key is the digest of
    pub spec: String,
    /// Versions of what took part, by name: `kernel-factory`, `ptxas`, …
    pub versions: BTreeMap<String, String>,
    /// The seed of everything that was drawn
    pub seed: u64,
    /// How many candidates there were
    pub candidates: CandidateCounts,
    /// Every gate, run or not
    pub gates: Vec<GateRecord>,
    /// What was measured or modelled
    pub figures: Vec<Figure>,
    /// SHA-256 of every other file of the folder, by name
    pub files: BTreeMap<String, String>,
}

/// How many candidates there were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateCounts {
    /// Those that were looked at
    pub considered: u64,
    /// Those that a gate refused, by gate
    pub refused: BTreeMap<String, u64>,
}

/// What became of one gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateRecord {
    /// The gate's name: `parse`, `policy`, `assemble`, `machine`, `device`, `time`, …
    pub gate: String,
    /// The architecture it was run for; none: it does not depend on one
    pub target: Option<Arch>,
    /// What came out
    pub outcome: Outcome,
}

/// What came out of a gate. There is no failure here: a candidate that fails is not sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Outcome {
    /// It was run and passed
    Passed {
        /// How many cases it looked at
        cases: u32,
        /// What it looked at, in words
        detail: String,
    },
    /// It was not run
    NotRun {
        /// Why, in words
        reason: String,
    },
}

/// One figure of one kernel at some sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The architecture
    pub target: Arch,
    /// The sizes, by name
    pub sizes: BTreeMap<String, u64>,
    /// The variant that serves them
    pub variant: String,
    /// Time of one call, in seconds
    pub seconds: Option<f64>,
    /// The least time that the bytes and operations allow, in seconds
    pub roofline_seconds: Option<f64>,
    /// Where the time is from
    pub basis: Basis,
}

/// Where a figure is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Basis {
    /// Computed from a model of the device
    Modelled,
    /// Measured on a device
    Measured {
        /// The device's name
        device: String,
        /// The driver's version
        driver: String,
    },
}

impl Certificate {
    /// The version of the format that this crate writes.
    pub const SCHEMA: u32 = 1;

    /// Reads what [`Certificate::to_json`] writes.
    pub fn parse(text: &str) -> Result<Certificate, JsonError> {
        json::parse(text, Certificate::SCHEMA)
    }

    /// As JSON: the same certificate gives the same bytes.
    pub fn to_json(&self) -> String {
        json::print(self)
    }

    /// Names of the gates that passed for everything they were asked for, without repetition, in order.
    pub fn gates_passed(&self) -> Vec<&str> {
        let failed = self.gates_not_run();
        self.names(|record| {
            matches!(record.outcome, Outcome::Passed { .. }) && !failed.contains(&record.gate.as_str())
        })
    }

    /// Names of the gates that were not run for something they were asked for, without repetition, in order.
    pub fn gates_not_run(&self) -> Vec<&str> {
        self.names(|record| matches!(record.outcome, Outcome::NotRun { .. }))
    }

    /// What was measured on: `NVIDIA H200 (driver 570.1)`, several joined by commas; or `modelled`.
    pub fn measured(&self) -> String {
        let mut devices: Vec<String> = Vec::new();
        for figure in &self.figures {
            if let Basis::Measured { device, driver } = &figure.basis {
                let device = format!("{device} (driver {driver})");
                if !devices.contains(&device) {
                    devices.push(device);
                }
            }
        }
        if devices.is_empty() { "modelled".to_owned() } else { devices.join(", ") }
    }

    fn names(&self, accept: impl Fn(&GateRecord) -> bool) -> Vec<&str> {
        let mut names = Vec::new();
        for record in self.gates.iter().filter(|record| accept(record)) {
            if !names.contains(&record.gate.as_str()) {
                names.push(record.gate.as_str());
            }
        }
        names
    }
}
