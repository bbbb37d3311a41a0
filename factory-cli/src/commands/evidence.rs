//! `cargo factory evidence`: look at what searches found out, exchange it, and remove some.

use crate::arguments::{EvidenceArguments, EvidenceCommand};
use crate::error::Error;
use crate::print::{self, Output};
use factory_build::cache::Cache;
use factory_build::evidence::Place;
use factory_search::evidence::{Evidence, EvidenceError, Filter, Prune, Table};
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The evidence file that a command works with: the one that was named, else that of the variable, else that of the cache
/// folder, which can be looked at while searches are told to leave it alone.
pub(crate) fn path(named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let place = match Place::of_user() {
        Place::Off => Place::Cache,
        place => place,
    };
    place.path(Cache::of_user().as_ref()).ok_or(Error::NoCacheFolder)
}

/// Opens it; says when a damaged one had to be moved aside.
pub(crate) fn open(path: &Path) -> Result<Evidence, EvidenceError> {
    let (evidence, warning) = Evidence::for_search(path)?;
    if let Some(warning) = warning {
        eprintln!("warning: {warning}");
    }
    Ok(evidence)
}

pub(crate) fn run(arguments: &EvidenceArguments, output: Output) -> Result<ExitCode, Error> {
    let path = path(arguments.file.as_deref())?;
    match &arguments.command {
        EvidenceCommand::Path => {
            output.show(&path.display().to_string(), |path| println!("{path}"))?;
        }
        EvidenceCommand::Summary => {
            output.show(&Evidence::read_only(&path)?.summary()?, |kernels| {
                let rows: Vec<[String; 6]> = kernels
                    .iter()
                    .map(|row| {
                        [
                            row.kernel.clone(),
                            row.sizes.clone(),
                            row.measured.to_string(),
                            row.refused.to_string(),
                            row.best.map_or_else(String::new, print::seconds),
                            row.best_candidate.clone().unwrap_or_default(),
                        ]
                    })
                    .collect();
                print::table(["kernel", "sizes", "measured", "refused", "best", "candidate"], &rows);
            })?;
        }
        EvidenceCommand::List { kernel, gate, verdict, device, limit } => {
            let filter = Filter {
                kernel: kernel.clone(),
                gate: gate.clone(),
                verdict: verdict.clone(),
                device: device.clone(),
                limit: Some(*limit),
            };
            output.show(&Evidence::read_only(&path)?.list(&filter)?, show)?;
        }
        EvidenceCommand::Query { sql } => {
            output.show(&Evidence::read_only(&path)?.query(sql)?, show)?;
        }
        EvidenceCommand::Export { to, kernel } => {
            let evidence = Evidence::read_only(&path)?;
            let count = match to {
                Some(to) => {
                    let write = |source| Error::Write { path: to.clone(), source };
                    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
                    let mut file =
                        tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(write)?;
                    let count = evidence.export(kernel.as_deref(), &mut io::BufWriter::new(&mut file))?;
                    // A file that is there is replaced by a whole one or not at all.
                    file.persist(to).map_err(|error| write(error.error))?;
                    count
                }
                None => evidence.export(kernel.as_deref(), &mut io::stdout().lock())?,
            };
            eprintln!("{count} lines");
        }
        EvidenceCommand::Import { files } => {
            let evidence = open(&path)?;
            for file in files {
                report(file, evidence.import(file)?, output)?;
            }
        }
        EvidenceCommand::Merge { files } => {
            let evidence = open(&path)?;
            for file in files {
                report(file, evidence.merge(&Evidence::read_only(file)?)?, output)?;
            }
        }
        EvidenceCommand::Prune { kernel, older_than_days, other_versions, all } => {
            if kernel.is_none() && older_than_days.is_none() && !other_versions && !all {
                return Err(Error::PruneNothing);
            }
            let what = Prune {
                kernel: kernel.clone(),
                older_than_days: *older_than_days,
                other_harness: *other_versions,
            };
            let removed = open(&path)?.prune(&what)?;
            output.show(&Removed { removed }, |removed| println!("removed {} notes", removed.removed))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Removed {
    removed: usize,
}

fn report(file: &Path, imported: factory_search::evidence::Imported, output: Output) -> Result<(), Error> {
    output.show(&imported, |imported| {
        println!("{}: {} new, {} known already", file.display(), imported.added, imported.known);
    })
}

/// Columns as wide as they must be, long cells cut.
fn show(table: &Table) {
    const MOST: usize = 60;
    let cut = |cell: &String| -> String {
        let line: String = cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match line.char_indices().nth(MOST) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    };
    let rows: Vec<Vec<String>> =
        std::iter::once(&table.columns).chain(&table.rows).map(|row| row.iter().map(cut).collect()).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let mut out = io::stdout().lock();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        // A pipe that was closed, as by `head`, wants no more lines.
        if writeln!(out, "{}", cells.join("  ").trim_end()).is_err() {
            return;
        }
    }
}
