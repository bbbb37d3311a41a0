//! `cargo factory sanitize`: every check, under several orders of blocks and warps, and whether the order shows.

use std::process::ExitCode;

use factory_ptx::machine::{Checks, Options};
use serde::Serialize;

use super::run::{Prepared, prepare};
use crate::arguments::Sanitize;
use crate::error::Error;
use crate::machine::fault::FaultFacts;
use crate::machine::operand::Value;
use crate::machine::program::{Execution, execute};
use crate::print::Output;

#[derive(Serialize)]
struct Facts {
    entry: String,
    /// `clean`, `faults` or `order_dependent`
    status: &'static str,
    /// Each seed chooses one order of blocks and warps.
    seeds: Vec<u64>,
    /// Different faults, each with the seeds that ran into it.
    faults: Vec<Found>,
    /// Results that two seeds do not agree on.
    differences: Vec<Difference>,
    /// Outputs that were not written whole: not wrong by itself.
    unwritten: Vec<Unwritten>,
}

#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    fault: FaultFacts,
    seeds: Vec<u64>,
}

#[derive(Serialize)]
struct Difference {
    parameter: String,
    /// Of the first element that differs.
    index: Vec<u64>,
    /// The two seeds, and what each gave.
    seeds: [u64; 2],
    values: [String; 2],
    /// Elements that differ.
    count: u64,
}

#[derive(Serialize)]
struct Unwritten {
    parameter: String,
    bytes: [usize; 2],
}

pub(crate) fn run(sanitize: &Sanitize, output: Output) -> Result<ExitCode, Error> {
    let prepared = prepare(&sanitize.launch)?;
    let first = sanitize.launch.seed;
    let seeds: Vec<u64> =
        (0..u64::from(sanitize.seeds.max(1))).map(|step| first.wrapping_add(step)).collect();
    let mut faults: Vec<Found> = Vec::new();
    let mut reference: Option<(u64, Execution)> = None;
    let mut differences: Vec<Difference> = Vec::new();
    let mut unwritten: Vec<Unwritten> = Vec::new();
    for &seed in &seeds {
        let options = Options {
            checks: Checks::all(),
            instruction_budget: sanitize.launch.budget,
            seed,
            threads: sanitize.threads,
            ..Options::default()
        };
        let done = execute(&prepared.kernel, &prepared.launch, &prepared.operands, &options)?;
        if let Err(fault) = &done.result {
            let fault = FaultFacts::new(fault, &prepared.kernel, &prepared.program);
            match faults
                .iter_mut()
                .find(|known| known.fault.kind == fault.kind && known.fault.line == fault.line)
            {
                Some(known) => known.seeds.push(seed),
                None => faults.push(Found { fault, seeds: vec![seed] }),
            }
            continue;
        }
        match &reference {
            Some((before, expected)) => {
                for difference in differ(&prepared, *before, expected, seed, &done) {
                    if !differences.iter().any(|known| known.parameter == difference.parameter) {
                        differences.push(difference);
                    }
                }
            }
            None => {
                for (param, range) in prepared.kernel.params().iter().zip(&done.unwritten) {
                    if let Some(range) = range {
                        unwritten.push(Unwritten {
                            parameter: param.name.clone(),
                            bytes: [range.start, range.end],
                        });
                    }
                }
                reference = Some((seed, done));
            }
        }
    }
    let status = match (faults.is_empty(), differences.is_empty()) {
        (false, _) => "faults",
        (true, false) => "order_dependent",
        (true, true) => "clean",
    };
    let facts =
        Facts { entry: prepared.program.entry.clone(), status, seeds, faults, differences, unwritten };
    output.show(&facts, |facts| show(&prepared, facts))?;
    Ok(if facts.status == "clean" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The outputs on which two executions do not agree, bit for bit.
fn differ(prepared: &Prepared, before: u64, a: &Execution, now: u64, b: &Execution) -> Vec<Difference> {
    let mut found = Vec::new();
    for (index, (operand, param)) in prepared.operands.iter().zip(prepared.kernel.params()).enumerate() {
        let (Value::Buffer(buffer), Some(left), Some(right)) =
            (&operand.value, &a.after[index], &b.after[index])
        else {
            continue;
        };
        let size = buffer.element.size();
        let pairs = || left.chunks(size).zip(right.chunks(size));
        let Some(first) = pairs().position(|(left, right)| left != right) else { continue };
        let mut rest = first as u64;
        let mut place: Vec<u64> = Vec::new();
        for extent in buffer.shape.iter().rev() {
            place.insert(0, rest % (*extent).max(1));
            rest /= (*extent).max(1);
        }
        let value = |bytes: &[u8]| buffer.element.show(&bytes[first * size..(first + 1) * size]);
        found.push(Difference {
            parameter: param.name.clone(),
            index: place,
            seeds: [before, now],
            values: [value(left), value(right)],
            count: pairs().filter(|(left, right)| left != right).count() as u64,
        });
    }
    found
}

fn show(prepared: &Prepared, facts: &Facts) {
    let list = |seeds: &[u64]| seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    for found in &facts.faults {
        let seeds =
            format!("; with {} of {} seeds: {}", found.seeds.len(), facts.seeds.len(), list(&found.seeds));
        println!("{}", found.fault.render(&prepared.program, &seeds));
    }
    for difference in &facts.differences {
        let index = difference.index.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        println!(
            "order-dependent: `{}[{index}]` is {} with seed {} and {} with seed {}; {} elements differ",
            difference.parameter,
            difference.values[0],
            difference.seeds[0],
            difference.values[1],
            difference.seeds[1],
            difference.count
        );
    }
    for unwritten in &facts.unwritten {
        let [start, end] = unwritten.bytes;
        println!("note: nobody wrote bytes {start} to {end} of `{}`", unwritten.parameter);
    }
    println!(
        "{}: {} seeds, {} different faults, {} results that depend on the order",
        facts.entry,
        facts.seeds.len(),
        facts.faults.len(),
        facts.differences.len()
    );
}
