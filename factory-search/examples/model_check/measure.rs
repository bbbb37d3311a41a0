//! Times what was prepared, on the first GPU.

use crate::specs::{Subject, size_values};
use crate::{Prepared, Sample, Samples};
use factory_search::Candidate;
use factory_search::gpu::{Gpu, MeasureOptions, time_candidates};
use factory_spec::Arch;
use std::time::Instant;

pub(crate) fn measure(from: &str, to: &str, seconds: f64) -> Result<(), String> {
    let started = Instant::now();
    let prepared: Vec<Prepared> = crate::read(from)?;
    let mut gpu = Gpu::open(0)?;
    let mut all =
        Samples { gpu: gpu.name().to_owned(), driver: gpu.driver().to_owned(), samples: Vec::new() };
    let mut groups: Vec<&[Prepared]> =
        prepared.chunk_by(|a, b| a.spec == b.spec && a.sizes == b.sizes).collect();
    let count = groups.len();
    for (position, group) in groups.drain(..).enumerate() {
        let left = seconds - started.elapsed().as_secs_f64();
        let label = format!("{} {:?}", group[0].spec, group[0].sizes);
        if left < 2.0 {
            println!("{label}: not measured, {seconds} s are up");
            continue;
        }
        let before = Instant::now();
        let share = left / (count - position) as f64;
        match time_group(&mut gpu, group, share) {
            Ok(samples) => {
                let good = samples.iter().filter(|sample| sample.refused.is_none()).count();
                println!("{label}: {good} of {} in {:.1} s", group.len(), before.elapsed().as_secs_f64());
                all.samples.extend(samples);
            }
            Err(message) => println!("{label}: {message}"),
        }
        crate::write(to, &serde_json::to_string(&all).map_err(|error| error.to_string())?)?;
    }
    println!("{} candidates in {:.0} s", all.samples.len(), started.elapsed().as_secs_f64());
    Ok(())
}

fn time_group(gpu: &mut Gpu, group: &[Prepared], seconds: f64) -> Result<Vec<Sample>, String> {
    let spec = Subject::named(&group[0].spec)?.spec()?;
    let sizes = size_values(&spec, &group[0].sizes)?;
    let candidates: Vec<Candidate> = group
        .iter()
        .map(|prepared| Candidate {
            image: None,
            id: prepared.id.clone(),
            proposer: "generator",
            origin: Default::default(),
            tunables: prepared.tunables.clone(),
            arch: Arch::Sm90,
            ptx: prepared.ptx.clone(),
            variant: prepared.variant.clone(),
        })
        .collect();
    // Nobody is dropped: slow candidates tell as much about the model as fast ones.
    let options = MeasureOptions {
        rounds: 7,
        final_rounds: 1,
        finalists: 1,
        hopeless: f64::INFINITY,
        seconds: Some(seconds),
        ..MeasureOptions::default()
    };
    let references: Vec<&Candidate> = candidates.iter().collect();
    let timing = time_candidates(gpu, &spec, &sizes, &references, &options)?;
    Ok(group
        .iter()
        .zip(timing.candidates)
        .map(|(prepared, timed)| Sample {
            spec: prepared.spec.clone(),
            sizes: prepared.sizes.clone(),
            id: prepared.id.clone(),
            tunables: prepared.tunables.clone(),
            profiles: prepared.profiles.clone(),
            guessed_registers: prepared.guessed_registers.clone(),
            compulsory: prepared.compulsory,
            samples: timed.samples,
            registers: timed.registers,
            refused: timed.outcome.err().map(|rejection| rejection.to_string()),
        })
        .collect())
}
