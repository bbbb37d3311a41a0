//! How much of a template's space a search needs, on an exhaustive sweep of it.
//!
//! ```text
//! cargo run --release -p factory-search --example swept -- examples/templated/kernels/rms_norm.toml \
//!     examples/templated/kernels/rms_norm/rows.cu benches/results/kernel-tuner-h100/sweep-rms_norm.csv --seeds 3
//! ```
//!
//! The search is the real one, with the template's candidates compiled and run on the PTX machine; in place of the GPU stands
//! the sweep's table, which has the time of every configuration. So the clock's noise is that of the sweep, and what the
//! search may consider is a share of the space.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use factory_search::cases::Cases;
use factory_search::gpu::{CandidateTiming, MeasureOptions, Timing};
use factory_search::{
    Budget, Candidate, Gate, GpuPolicy, Means, Measurer, Proposers, PtxasPolicy, Reason, Rejection,
    SearchOptions, Silent, search_by,
};
use factory_spec::{Arch, BoundSpec, SizeValues, Spec};

const USAGE: &str = "usage: swept SPEC TEMPLATE SWEEP.csv [--seeds N] [--share 0.1]";

/// The sweep's times by configuration, as `A=1 B=2` in the order of names.
struct Swept {
    seconds: BTreeMap<String, f64>,
    asked: BTreeSet<String>,
}

impl Swept {
    fn read(path: &PathBuf) -> Result<Swept, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let time = names
            .iter()
            .position(|name| *name == "milliseconds")
            .ok_or("there is no column `milliseconds`")?;
        let mut seconds = BTreeMap::new();
        for line in lines {
            let values: Vec<&str> = line.split(',').collect();
            let named = names.iter().zip(&values).take(time).map(|(name, value)| format!("{name}={value}"));
            if let Some(Ok(milliseconds)) = values.get(time).map(|text| text.parse::<f64>()) {
                seconds.insert(named.collect::<Vec<_>>().join(" "), milliseconds * 1e-3);
            }
        }
        Ok(Swept { seconds, asked: BTreeSet::new() })
    }

    fn best(&self) -> f64 {
        self.seconds.values().copied().fold(f64::INFINITY, f64::min)
    }
}

impl Measurer for Swept {
    fn name(&self) -> &str {
        "a sweep"
    }

    fn driver(&self) -> &str {
        "none"
    }

    fn capability(&self) -> (u32, u32) {
        (9, 0)
    }

    fn check_and_time(
        &mut self,
        _spec: &BoundSpec,
        _cases: &Cases,
        _sizes: &SizeValues,
        candidates: &[&Candidate],
        _options: &MeasureOptions,
    ) -> Result<Timing, String> {
        let timings = candidates.iter().map(|candidate| {
            let named = candidate.tunables.iter().map(|(name, value)| format!("{name}={value}"));
            let key = named.collect::<Vec<_>>().join(" ");
            let unknown = || {
                let message = format!("`{key}` is not in the sweep");
                Rejection::new(Gate::Time, Reason::Infrastructure { message })
            };
            let outcome = self.seconds.get(&key).copied().ok_or_else(unknown);
            self.asked.insert(key);
            CandidateTiming::recorded(&candidate.id, outcome)
        });
        Ok(Timing::recorded(timings.collect(), "a sweep", "none"))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    factory_search::serve_if_asked();
    let mut files = Vec::new();
    let (mut seeds, mut share) = (3u64, 0.1);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => seeds = words.next().ok_or(USAGE)?.parse()?,
            "--share" => share = words.next().ok_or(USAGE)?.parse()?,
            _ => files.push(PathBuf::from(word)),
        }
    }
    let [spec, template, sweep] = &files[..] else { return Err(USAGE.into()) };
    let spec = Spec::read(spec)?.bind(&BTreeMap::new())?;
    let space = Swept::read(sweep)?.seconds.len();
    println!("{}: {space} configurations, of which a search may consider {:.1} %", spec.name, share * 100.0);
    for seed in 1..=seeds {
        let mut swept = Swept::read(sweep)?;
        let options = SearchOptions {
            seed,
            budget: Budget { candidates: (space as f64 * share) as usize, seconds: None },
            arches: vec![Arch::Sm90],
            ptxas: PtxasPolicy::Off,
            gpu: GpuPolicy::Off,
            templates: vec![template.clone()],
            ..SearchOptions::default()
        };
        let proposers = Proposers::of_templates(&spec, &options.templates)?;
        let started = Instant::now();
        let means = Means { measurer: Some(&mut swept), ..Means::new(&proposers) };
        let found = search_by(&spec, &options, means, &mut Silent)?;
        let best = swept
            .asked
            .iter()
            .filter_map(|key| swept.seconds.get(key))
            .copied()
            .fold(f64::INFINITY, f64::min);
        println!(
            "seed {seed}: {} considered ({:.1} %), {} timed ({:.1} %); best {:.3} us, {:.2} % above the space's best; {:.0} s",
            found.candidates.len(),
            100.0 * found.candidates.len() as f64 / space as f64,
            swept.asked.len(),
            100.0 * swept.asked.len() as f64 / space as f64,
            best * 1e6,
            100.0 * (best / swept.best() - 1.0),
            started.elapsed().as_secs_f64(),
        );
    }
    Ok(())
}
