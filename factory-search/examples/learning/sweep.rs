//! Times everything that was prepared, on the first GPU.

use crate::recorded::{Prepared, Sample, Samples};
use crate::specs::{Subject, size_values};
use factory_search::Candidate;
use factory_search::gpu::{Gpu, MeasureOptions, time_candidates};
use factory_spec::Arch;
use std::time::Instant;

/// Candidates that take turns. All of a task at once would keep as many modules and graphs on the device.
const TOGETHER: usize = 48;

pub(crate) fn sweep(from: &str, to: &str, seconds: f64) -> Result<(), String> {
    let started = Instant::now();
    let prepared: Vec<Prepared> = crate::read(from)?;
    let mut gpu = Gpu::open(0)?;
    let mut all =
        Samples { gpu: gpu.name().to_owned(), driver: gpu.driver().to_owned(), samples: Vec::new() };
    let parts: Vec<&[Prepared]> = prepared
        .chunk_by(|a, b| a.spec == b.spec && a.sizes == b.sizes)
        .flat_map(|task| task.chunks(TOGETHER))
        .collect();
    let count = parts.len();
    for (position, part) in parts.into_iter().enumerate() {
        let left = seconds - started.elapsed().as_secs_f64();
        let label = format!("{} {:?}", part[0].spec, part[0].sizes);
        if left < 1.0 {
            println!("{label}: {} candidates not measured, {seconds} s are up", part.len());
            continue;
        }
        let before = Instant::now();
        match time(&mut gpu, part, 2.0 * left / (count - position) as f64) {
            Ok(samples) => {
                let good = samples.iter().filter(|sample| sample.refused.is_none()).count();
                println!("{label}: {good} of {} in {:.1} s", part.len(), before.elapsed().as_secs_f64());
                all.samples.extend(samples);
            }
            Err(message) => println!("{label}: {message}"),
        }
        crate::write(to, &all)?;
    }
    println!("{} candidates in {:.0} s", all.samples.len(), started.elapsed().as_secs_f64());
    Ok(())
}

fn time(gpu: &mut Gpu, part: &[Prepared], seconds: f64) -> Result<Vec<Sample>, String> {
    let spec = Subject::named(&part[0].spec)?.spec()?;
    let sizes = size_values(&spec, &part[0].sizes)?;
    let candidates: Vec<Candidate> = part
        .iter()
        .map(|prepared| Candidate {
            image: None,
            id: prepared.id.clone(),
            origin: Default::default(),
            proposer: "generator",
            tunables: prepared.tunables.clone(),
            arch: Arch::Sm90,
            ptx: prepared.ptx.clone(),
            variant: prepared.variant.clone(),
        })
        .collect();
    // A candidate that is twice as slow as the best needs no more samples than two to be known as such.
    let options = MeasureOptions {
        rounds: 7,
        final_rounds: 1,
        finalists: 1,
        hopeless: 2.0,
        seconds: Some(seconds),
        ..MeasureOptions::default()
    };
    let references: Vec<&Candidate> = candidates.iter().collect();
    let timing = time_candidates(gpu, &spec, &sizes, &references, &options)?;
    Ok(part
        .iter()
        .zip(timing.candidates)
        .map(|(prepared, timed)| Sample {
            spec: prepared.spec.clone(),
            sizes: prepared.sizes.clone(),
            id: prepared.id.clone(),
            tunables: prepared.tunables.clone(),
            profiles: prepared.profiles.clone(),
            compulsory: prepared.compulsory,
            samples: timed.samples,
            registers: timed.registers,
            refused: timed.outcome.err().map(|rejection| rejection.to_string()),
        })
        .collect())
}
