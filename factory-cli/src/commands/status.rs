//! `cargo factory status`: where each annotated kernel's code comes from.

use crate::error::Error;
use crate::package;
use crate::print::{self, Output};
use factory_build::package::State;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

#[derive(Serialize)]
struct Row {
    name: String,
    key: String,
    /// `sealed`, `cached`, `stale`, `missing` or `refused`
    state: &'static str,
    detail: String,
    /// Signatures that ask for it, as `file:line:column`
    places: Vec<String>,
}

pub(crate) fn run(dir: &Path, output: Output) -> Result<ExitCode, Error> {
    let package = package::read(dir)?;
    let rows: Vec<Row> = package
        .kernels()
        .iter()
        .map(|kernel| {
            let (state, detail) = describe(&package.state(kernel));
            Row {
                name: kernel.spec.name.clone(),
                key: kernel.key.short(),
                state,
                detail,
                places: kernel.places.iter().map(ToString::to_string).collect(),
            }
        })
        .collect();
    output.show(&rows, |rows| {
        if rows.is_empty() {
            println!("no annotated kernels in {}; `cargo factory new NAME` starts one", dir.display());
            return;
        }
        let cells: Vec<[String; 5]> = rows
            .iter()
            .map(|row| {
                let first = row.detail.lines().next().unwrap_or_default().to_owned();
                [row.name.clone(), row.key.clone(), row.state.to_owned(), row.places.join(" "), first]
            })
            .collect();
        print::table(["kernel", "key", "state", "asked for at", ""], &cells);
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The state in a word, and what to know about it.
pub(crate) fn describe(state: &State) -> (&'static str, String) {
    match state {
        State::Sealed(sealed) => ("sealed", sealed.certificate.measured()),
        State::Cached(sealed) => {
            ("cached", format!("{}; `cargo factory tune` seals it", sealed.certificate.measured()))
        }
        State::Stale { sealed } => (
            "stale",
            format!(
                "sealed under {} alone: the spec changed since; `cargo factory tune` searches again",
                sealed.join(", ")
            ),
        ),
        State::Missing => ("missing", "`cargo factory tune` searches and seals".to_owned()),
        State::Refused(cause) => ("refused", cause.to_string()),
        _ => ("unknown", "made by a newer version".to_owned()),
    }
}
