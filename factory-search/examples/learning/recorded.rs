//! Recorded times, from several kinds of file.

use crate::specs::{Subject, size_values};
use factory_search::Tunables;
use factory_search::learn::{Experience, Task, View};
use factory_search::model::{Estimate, LaunchProfile, Target, estimate_variant};
use factory_spec::Variant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A candidate that is to be measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Prepared {
    pub(crate) spec: String,
    pub(crate) sizes: BTreeMap<String, u64>,
    pub(crate) id: String,
    pub(crate) tunables: Tunables,
    pub(crate) ptx: String,
    pub(crate) variant: Variant,
    pub(crate) profiles: Vec<LaunchProfile>,
    pub(crate) compulsory: f64,
}

/// What became of it; the form that `model_check` writes too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) spec: String,
    pub(crate) sizes: BTreeMap<String, u64>,
    pub(crate) id: String,
    pub(crate) tunables: Tunables,
    pub(crate) profiles: Vec<LaunchProfile>,
    pub(crate) compulsory: f64,
    pub(crate) samples: Vec<f64>,
    pub(crate) registers: u32,
    pub(crate) refused: Option<String>,
}

/// A whole sweep.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Samples {
    pub(crate) gpu: String,
    pub(crate) driver: String,
    pub(crate) samples: Vec<Sample>,
}

/// One shape of `rmsnorm-forward.json`.
#[derive(Deserialize)]
struct Shape {
    m: u64,
    n: u64,
    candidates: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    id: String,
    tunables: Tunables,
    modelled: Option<Seconds>,
    measured: Option<Seconds>,
    registers: Option<u32>,
}

#[derive(Deserialize)]
struct Seconds {
    seconds: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Samples(Samples),
    Shapes(Vec<Shape>),
}

/// The experiences in a file, in groups of one task each, and where they are from.
pub(crate) fn experiences(path: &str) -> Result<(String, Vec<Vec<Experience>>), String> {
    match crate::read(path)? {
        File::Samples(samples) => {
            let device = format!("{}, driver {}", samples.gpu, samples.driver);
            let mut groups: BTreeMap<(String, String), Vec<Experience>> = BTreeMap::new();
            for sample in &samples.samples {
                let Some(experience) = of_sample(sample)? else { continue };
                let task = (experience.task.kernel.clone(), experience.task.sizes.clone());
                groups.entry(task).or_default().push(experience);
            }
            Ok((device, groups.into_values().collect()))
        }
        File::Shapes(shapes) => {
            let groups: Result<Vec<_>, String> = shapes.iter().map(of_shape).collect();
            Ok((format!("`{path}`"), groups?))
        }
    }
}

fn of_sample(sample: &Sample) -> Result<Option<Experience>, String> {
    let task = task(&sample.spec, &sample.sizes)?;
    let Some(estimate) = estimate_variant(&sample.profiles, sample.compulsory, &Target::H200) else {
        return Ok(None);
    };
    let view = View::new(&sample.id, &sample.tunables, &sample.profiles, &estimate);
    let measured = sample.refused.is_none() && !sample.samples.is_empty();
    Ok(Some(Experience { task, view, seconds: measured.then(|| median(&sample.samples)) }))
}

/// Those that were measured: what the others would have taken is not known. They have no profiles.
fn of_shape(shape: &Shape) -> Result<Vec<Experience>, String> {
    let sizes = BTreeMap::from([("m".to_owned(), shape.m), ("n".to_owned(), shape.n)]);
    let task = task("rmsnorm", &sizes)?;
    let measured = shape.candidates.iter().filter_map(|record| {
        let (modelled, measured) = (record.modelled.as_ref()?.seconds, record.measured.as_ref()?.seconds);
        let estimate = Estimate {
            seconds: modelled,
            bandwidth: 0.0,
            l2: 0.0,
            issue: 0.0,
            latency: 0.0,
            overhead: 0.0,
            occupancy: 0,
        };
        let mut view = View::new(&record.id, &record.tunables, &[], &estimate);
        view.figures.clear();
        if let Some(registers) = record.registers {
            view.figures.insert("registers".to_owned(), f64::from(registers));
        }
        Some(Experience { task: task.clone(), view, seconds: Some(measured) })
    });
    Ok(measured.collect())
}

fn task(name: &str, sizes: &BTreeMap<String, u64>) -> Result<Task, String> {
    let spec = Subject::named(name)?.spec()?;
    Ok(Task::of(&spec, &size_values(&spec, sizes)?))
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}
