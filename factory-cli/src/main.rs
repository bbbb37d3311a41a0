//! `cargo factory`: start, tune, check, verify and explain kernels.
//!
//! One binary that needs neither cargo nor a CUDA toolkit. What it prints for people goes to standard output as text;
//! with `--json` the same facts go there as JSON and nothing else does. Progress goes to standard error. The exit
//! status is 0 when everything asked for holds, 1 when it does not, and 2 when the command line is wrong.

mod arguments;
mod commands;
mod error;
mod package;
mod print;
mod progress;
mod seal;

use arguments::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = arguments::parse();
    let output = print::Output { json: arguments.json };
    let result = match &arguments.command {
        Command::New(new) => commands::new::run(&arguments.dir, new, output),
        Command::Tune(tune) => commands::tune::run(&arguments.dir, tune, output),
        Command::Status => commands::status::run(&arguments.dir, output),
        Command::Verify(verify) => commands::verify::run(&arguments.dir, verify, output),
        Command::Check => commands::check::run(&arguments.dir, output),
        Command::Explain(explain) => commands::explain::run(&arguments.dir, explain, output),
        Command::Doctor => commands::doctor::run(output),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            error.report();
            ExitCode::FAILURE
        }
    }
}
