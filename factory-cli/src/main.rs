//! `cargo factory`: start, tune, check, verify and explain kernels.
//!
//! One binary that needs neither cargo nor a CUDA toolkit. What it prints for people goes to standard output as text;
//! with `--json` the same facts go there as JSON and nothing else does. Progress goes to standard error. The exit
//! status is 0 when everything asked for holds, 1 when it does not, and 2 when the command line is wrong. Commands that run
//! kernels on the machine end with 1 for a fault of the kernel and with 2 for everything else.

mod arguments;
mod commands;
mod error;
mod gates;
mod machine;
mod package;
mod print;
mod progress;
mod report;
mod seal;
mod watched;

use arguments::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A search starts this program again to compile with NVRTC, where it can be stopped.
    factory_search::serve_if_asked();
    let arguments = arguments::parse();
    let output = print::Output { json: arguments.json };
    let result = match &arguments.command {
        Command::New(new) => commands::new::run(&arguments.dir, new, output),
        Command::Tune(tune) => commands::tune::run(&arguments.dir, tune, output),
        Command::Watch(watch) => commands::watch::run(watch, output),
        Command::Report(report) => commands::report::run(&arguments.dir, report, output),
        Command::Status => commands::status::run(&arguments.dir, output),
        Command::Verify(verify) => commands::verify::run(&arguments.dir, verify, output),
        Command::Check => commands::check::run(&arguments.dir, output),
        Command::Explain(explain) => commands::explain::run(&arguments.dir, explain, output),
        Command::Run(run) => commands::run::run(run, output),
        Command::Sanitize(sanitize) => commands::sanitize::run(sanitize, output),
        Command::Profile(profile) => commands::profile::run(&arguments.dir, profile, output),
        Command::Toolchain(what) => commands::toolchain::run(*what, output),
        Command::Evidence(evidence) => commands::evidence::run(evidence, output),
        Command::Doctor => commands::doctor::run(output),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            error.report();
            error.code()
        }
    }
}
