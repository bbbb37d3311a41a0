//! The model against a GPU: how well modelled times order candidates that were really measured.
//!
//! Three steps, because the machine with the GPU needs to have neither cargo nor a ptxas:
//!
//! ```text
//! cargo run -p factory-search --example model_check -- prepare candidates.json
//! cargo run -p factory-search --example model_check -- measure candidates.json samples.json --seconds 200
//! cargo run -p factory-search --example model_check -- report samples.json
//! ```
//!
//! `prepare` draws candidates of several specs at several sizes and profiles each on the PTX machine; `measure` times them
//! with the clock of a search (cold, outputs checked); `report` computes modelled times from the profiles that the samples
//! hold, so that a change of the model is judged on the same measurements, and prints the report as Markdown. After a change
//! of what is profiled, `reprofile candidates.json samples.json` replaces the profiles of samples by those of candidates that
//! were prepared again.

mod measure;
mod prepare;
mod report;
mod specs;
mod statistics;

use factory_search::Tunables;
use factory_search::model::LaunchProfile;
use factory_spec::Variant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A candidate that is to be measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Prepared {
    spec: String,
    sizes: BTreeMap<String, u64>,
    id: String,
    tunables: Tunables,
    ptx: String,
    variant: Variant,
    /// With the registers and spills that ptxas says.
    profiles: Vec<LaunchProfile>,
    /// Registers that the model guesses where there is no ptxas, one a launch.
    guessed_registers: Vec<u32>,
    /// Bytes that must move.
    compulsory: f64,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sample {
    spec: String,
    sizes: BTreeMap<String, u64>,
    id: String,
    tunables: Tunables,
    profiles: Vec<LaunchProfile>,
    guessed_registers: Vec<u32>,
    compulsory: f64,
    /// Seconds of one execution, one a window.
    samples: Vec<f64>,
    /// Registers a thread that the driver's compiler gave.
    registers: u32,
    /// Why there are no samples.
    refused: Option<String>,
}

/// A run of `measure`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Samples {
    gpu: String,
    driver: String,
    samples: Vec<Sample>,
}

fn read<T: for<'de> Deserialize<'de>>(path: &str) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("`{path}`: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("`{path}`: {error}"))
}

fn write(path: &str, text: &str) -> Result<(), String> {
    std::fs::write(Path::new(path), text).map_err(|error| format!("`{path}`: {error}"))
}

fn main() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["prepare", to] => prepare::prepare(to),
        ["measure", from, to] => measure::measure(from, to, 200.0),
        ["measure", from, to, "--seconds", seconds] => {
            let seconds = seconds.parse().map_err(|error| format!("`{seconds}`: {error}"))?;
            measure::measure(from, to, seconds)
        }
        ["reprofile", candidates, samples] => prepare::reprofile(candidates, samples),
        ["report", from] => report::report(from),
        _ => Err("usage: model_check prepare TO | measure FROM TO [--seconds S] | reprofile CANDIDATES SAMPLES | report SAMPLES".to_owned()),
    }
}
