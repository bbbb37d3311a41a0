//! `cargo factory run`: one launch of a PTX kernel on the machine.

use std::process::ExitCode;

use factory_ptx::machine::{Checks, Counters, Kernel, Launch, Options};
use serde::Serialize;

use crate::arguments::{CheckLevel, LaunchArguments, Run};
use crate::error::Error;
use crate::machine::LaunchError;
use crate::machine::fault::{FaultFacts, render_unsupported};
use crate::machine::npy;
use crate::machine::operand::{self, Destination, Operand, Value};
use crate::machine::program::{Execution, Program, check_arity, execute};
use crate::print::Output;

/// A launch that the command line describes, ready to run.
pub(crate) struct Prepared {
    pub(crate) program: Program,
    pub(crate) kernel: Kernel,
    pub(crate) launch: Launch,
    pub(crate) operands: Vec<Operand>,
}

/// Reads what the command line names. Unsupported forms are shown in their place.
pub(crate) fn prepare(arguments: &LaunchArguments) -> Result<Prepared, Error> {
    let program = Program::read(&arguments.file, arguments.entry.as_deref())?;
    let kernel = match program.kernel() {
        Ok(kernel) => kernel,
        Err(LaunchError::Unsupported(error)) if error.line > 0 => {
            return Err(Error::Shown { text: render_unsupported(&program, &error) });
        }
        Err(error) => return Err(error.into()),
    };
    let launch = Launch {
        grid: arguments.grid,
        block: arguments.block.or(kernel.required_block()).ok_or(LaunchError::NoBlock)?,
        cluster: arguments.cluster.or(kernel.required_cluster()).unwrap_or([1, 1, 1]),
        shared_bytes: arguments.shared,
        params: Vec::new(),
    };
    let operands = operand::parse(&arguments.arg, arguments.seed)?;
    check_arity(&kernel, &operands)?;
    Ok(Prepared { program, kernel, launch, operands })
}

#[derive(Serialize)]
struct Facts {
    entry: String,
    /// `ok` or `fault`
    status: &'static str,
    fault: Option<FaultFacts>,
    warp_instructions: u64,
    thread_instructions: u64,
    blocks: u64,
    /// Families of instructions that ran and that no hardware has confirmed.
    not_compared: Vec<&'static str>,
    results: Vec<ResultFacts>,
}

#[derive(Serialize)]
struct ResultFacts {
    parameter: String,
    dtype: &'static str,
    shape: Vec<u64>,
    file: Option<String>,
    /// The first bytes that nobody wrote, as start and end.
    unwritten: Option<[usize; 2]>,
}

pub(crate) fn run(run: &Run, output: Output) -> Result<ExitCode, Error> {
    let prepared = prepare(&run.launch)?;
    let options = Options {
        checks: match run.checks {
            CheckLevel::All => Checks::all(),
            CheckLevel::Fast => Checks::fast(),
        },
        instruction_budget: run.launch.budget,
        seed: run.launch.seed,
        threads: run.threads,
        ..Options::default()
    };
    let done = execute(&prepared.kernel, &prepared.launch, &prepared.operands, &options)?;
    let fault = match &done.result {
        Ok(_) => None,
        Err(fault) => Some(FaultFacts::new(fault, &prepared.kernel, &prepared.program)),
    };
    let counters =
        done.result.as_ref().map_or_else(|_| Counters::default(), |report| report.counters.clone());
    let mut facts = Facts {
        entry: prepared.program.entry.clone(),
        status: if fault.is_some() { "fault" } else { "ok" },
        fault,
        warp_instructions: counters.warp_instructions,
        thread_instructions: counters.thread_instructions,
        blocks: counters.blocks,
        not_compared: done.result.as_ref().map_or_else(|_| Vec::new(), |report| report.not_compared.clone()),
        results: Vec::new(),
    };
    if facts.fault.is_none() {
        facts.results = write_results(&prepared, &done, output)?;
    }
    output.show(&facts, |facts| match &facts.fault {
        Some(fault) => {
            eprintln!("{}", fault.render(&prepared.program, ""));
            eprintln!("no results were written");
        }
        None => {
            println!(
                "{}: {} blocks, {} thread-instructions, no fault",
                facts.entry, facts.blocks, facts.thread_instructions
            );
            if !facts.not_compared.is_empty() {
                println!("not compared with hardware: {}", facts.not_compared.join(", "));
            }
            for result in &facts.results {
                if let Some([start, end]) = result.unwritten {
                    eprintln!("warning: nobody wrote bytes {start} to {end} of `{}`", result.parameter);
                }
            }
        }
    })?;
    Ok(if facts.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes .npy files, prints what is to be printed, and says what it did.
fn write_results(prepared: &Prepared, done: &Execution, output: Output) -> Result<Vec<ResultFacts>, Error> {
    let mut results = Vec::new();
    for (index, (operand, param)) in prepared.operands.iter().zip(prepared.kernel.params()).enumerate() {
        let (Value::Buffer(buffer), Some(bytes)) = (&operand.value, &done.after[index]) else { continue };
        let file = match &buffer.destination {
            Some(Destination::File(path)) => {
                npy::write(path, buffer.element, &buffer.shape, bytes)?;
                Some(path.display().to_string())
            }
            Some(Destination::Print) if !output.json => {
                let values: Vec<String> = bytes
                    .chunks(buffer.element.size())
                    .take(1024)
                    .map(|value| buffer.element.show(value))
                    .collect();
                let more = if bytes.len() / buffer.element.size() > values.len() { " …" } else { "" };
                println!("{} = {}{more}", param.name, values.join(" "));
                None
            }
            _ => None,
        };
        results.push(ResultFacts {
            parameter: param.name.clone(),
            dtype: buffer.element.name(),
            shape: buffer.shape.clone(),
            file,
            unwritten: done.unwritten[index].as_ref().map(|range| [range.start, range.end]),
        });
    }
    Ok(results)
}
