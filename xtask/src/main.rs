//! What contributors run: `cargo xtask ci` is what CI runs, and each of its steps is a command of its own.

mod bench;
mod browser;
mod kit;
mod shell;
mod slurm;
mod steps;
mod tidy;
mod tools;

use clap::{Parser, Subcommand};
use shell::Failure;
use std::process::ExitCode;

/// Tasks of Kernel Factory's contributors.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that a change must pass: format, tidy, deny, clippy, tests, examples, docs
    Ci,
    /// Run every test, with the CUDA compiler that `tools` installs
    Test,
    /// Check formatting, lints and the rules of the house
    Lint,
    /// Build and run the examples as a user would
    Examples,
    /// Check licences, sources and duplicates of the dependencies with cargo-deny
    Deny,
    /// Try the report's page in Chromium, which is installed if need be: both widths, light and dark, pictures in `target/browser`
    Browser,
    /// Search on two nodes of a Slurm cluster that is started on this machine for it, and installed if need be (as root)
    Slurm,
    /// Build the documentation, warnings denied
    Doc,
    /// Check what no lint checks: file lengths, stray words, missing licences
    Tidy,
    /// Install the CUDA compiler and cargo-deny below `target/tools`, from PyPI and crates.io
    Tools,
    /// Pack release binaries into `target/kit`, for a machine with a GPU and without cargo
    Kit,
    /// Measure what the README gives numbers for, and print them beside their targets
    Bench {
        /// Measure these alone: build, clean, oracle, machine, search, launch, parse
        only: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Failure> {
    match task {
        Task::Ci => steps::ci(),
        Task::Test => steps::test(),
        Task::Lint => steps::lint(),
        Task::Examples => steps::examples(),
        Task::Deny => steps::deny(),
        Task::Browser => browser::test(),
        Task::Slurm => slurm::show(),
        Task::Doc => steps::doc(),
        Task::Tidy => tidy::check(),
        Task::Tools => tools::install().map(|_| ()),
        Task::Kit => kit::pack(),
        Task::Bench { only } => bench::run_all(&only),
    }
}
