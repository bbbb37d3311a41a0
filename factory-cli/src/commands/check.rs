//! `cargo factory check`: would a build that may not search find everything it needs?

use crate::error::Error;
use crate::package;
use crate::print::Output;
use factory_build::package::State;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

#[derive(Serialize)]
struct Verdict {
    sealed: usize,
    /// What is wrong, a kernel each
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    name: String,
    key: String,
    state: &'static str,
    detail: String,
    places: Vec<String>,
}

pub(crate) fn run(dir: &Path, output: Output) -> Result<ExitCode, Error> {
    let package = package::read(dir)?;
    let mut verdict = Verdict { sealed: 0, problems: Vec::new() };
    for kernel in package.kernels() {
        let state = package.state(kernel);
        if matches!(state, State::Sealed(_)) {
            verdict.sealed += 1;
            continue;
        }
        let (word, detail) = super::status::describe(&state);
        verdict.problems.push(Problem {
            name: kernel.spec.name.clone(),
            key: kernel.key.short(),
            state: word,
            detail,
            places: kernel.places.iter().map(ToString::to_string).collect(),
        });
    }
    output.show(&verdict, |verdict| {
        for problem in &verdict.problems {
            eprintln!(
                "error: kernel `{}` ({}) is {}: {}",
                problem.name, problem.key, problem.state, problem.detail
            );
            for place in &problem.places {
                eprintln!("  asked for at {place}");
            }
        }
        println!("{} sealed, {} not", verdict.sealed, verdict.problems.len());
    })?;
    Ok(if verdict.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
