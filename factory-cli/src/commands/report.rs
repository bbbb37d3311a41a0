//! `cargo factory report`: a page about a search or a sealed kernel.

use crate::arguments::Report;
use crate::error::Error;
use crate::package::{self, Kernel};
use crate::print::Output;
use crate::report::{ReportError, Source, gather, page};
use factory_build::cache::Cache;
use factory_build::package::State;
use factory_search::log::{LogEvent, LogRead, LogReader, logs};
use factory_spec::{BoundSpec, Sealed};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Serialize)]
struct Written {
    kernel: String,
    key: Option<String>,
    page: PathBuf,
    bytes: usize,
    candidates: usize,
    sealed: bool,
}

pub(crate) fn run(dir: &Path, report: &Report, output: Output) -> Result<ExitCode, Error> {
    let (spec, sealed) = match subject(dir, report) {
        Err(error) if report.evidence.is_some() && is_elsewhere(&error, report) => (None, None),
        subject => subject?,
    };
    let key = spec.as_ref().map(BoundSpec::key).or(sealed.as_ref().map(|sealed| sealed.certificate.key));
    let key = key.map(|key| key.to_string()).unwrap_or_default();
    let source = match (&report.evidence, &report.records, &report.run) {
        (Some(path), ..) => Source::Evidence {
            path: path.clone(),
            kernel: report.kernel.clone(),
            device: report.device.clone(),
        },
        (None, Some(path), _) => Source::Records(path.clone()),
        (None, None, Some(run)) => Source::Log(find_log(run)?),
        (None, None, None) => newest_log(&key).map_or(Source::None, Source::Log),
    };
    if sealed.is_none() && matches!(source, Source::None) {
        let kernel = spec.map_or_else(String::new, |spec| spec.name);
        return Err(ReportError::Nothing { kernel }.into());
    }
    let mut facts = gather(spec, sealed, &source)?;
    facts.notes.splice(0..0, report.note.iter().cloned());
    facts.commands.extend(commands(report, &facts.name, facts.search.seed, facts.sealed.is_some()));
    let html = page(&facts)?;
    let path = report.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.html", facts.name)));
    fs::write(&path, &html).map_err(|source| Error::Write { path: path.clone(), source })?;
    let written = Written {
        kernel: facts.name,
        key: facts.key,
        page: path,
        bytes: html.len(),
        candidates: facts.candidates.len(),
        sealed: facts.sealed.is_some(),
    };
    output.show(&written, |written| {
        println!(
            "{}: {} candidates, {} KB, in {}",
            written.kernel,
            written.candidates,
            written.bytes.div_ceil(1000),
            written.page.display()
        );
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the kernel is not of this package, so that evidence alone has to say what there is to say of it.
fn is_elsewhere(error: &Error, report: &Report) -> bool {
    match error {
        Error::UnknownKernel { .. } | Error::NoPackage { .. } | Error::NoKernels { .. } => true,
        // The file may be of one.
        Error::Report(ReportError::Several { .. }) => report.kernel.is_none(),
        _ => false,
    }
}

/// The spec and the sealed kernel, as far as they are there.
fn subject(dir: &Path, report: &Report) -> Result<(Option<BoundSpec>, Option<Sealed>), Error> {
    let folder =
        report.kernel.as_ref().map(PathBuf::from).filter(|path| path.join(Sealed::CERTIFICATE).is_file());
    if let Some(path) = folder {
        let sealed = Sealed::read(&path).map_err(|error| ReportError::Sealed { path, error })?;
        // The package may know the spec; without it, what a page can say of sizes and bytes is less.
        let kernels = package::choose(dir, &[]).unwrap_or_default();
        let spec = kernels.into_iter().find(|kernel| kernel.key == sealed.certificate.key);
        return Ok((spec.map(|kernel| kernel.spec), Some(sealed)));
    }
    let names: Vec<String> = report.kernel.iter().cloned().collect();
    let mut kernels: Vec<Kernel> = package::choose(dir, &names)?;
    let kernel = match kernels.len() {
        1 => kernels.remove(0),
        _ => {
            let names =
                kernels.iter().map(|kernel| format!("`{}` ({})", kernel.spec.name, kernel.key.short()));
            return Err(ReportError::Several { names: names.collect() }.into());
        }
    };
    let sealed = match package::read(dir).ok().map(|package| package.state_of(&kernel.spec, &kernel.key)) {
        Some(State::Sealed(sealed) | State::Cached(sealed)) => Some(*sealed),
        _ => None,
    };
    Ok((Some(kernel.spec), sealed))
}

/// The log that a name, the beginning of a name, or a path means.
fn find_log(run: &str) -> Result<PathBuf, Error> {
    let path = PathBuf::from(run);
    if path.is_file() {
        return Ok(path);
    }
    let folder = Cache::of_user().ok_or(Error::NoCache)?.logs();
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let there = logs(&folder);
    let found: Vec<&PathBuf> = there.iter().filter(|path| name(path).starts_with(run)).collect();
    match found.as_slice() {
        [path] => Ok((*path).clone()),
        [] => {
            let known: Vec<String> = there.iter().rev().take(5).map(name).collect();
            let known = match known.is_empty() {
                true => "there are no logs; `cargo factory tune` leaves one".to_owned(),
                false => format!("the newest are {}", known.join(", ")),
            };
            Err(ReportError::NoRun { run: run.to_owned(), folder, known }.into())
        }
        several => {
            let known = format!("it begins the names of {} logs; give more of the name", several.len());
            Err(ReportError::NoRun { run: run.to_owned(), folder, known }.into())
        }
    }
}

/// The newest log of a search for that key.
fn newest_log(key: &str) -> Option<PathBuf> {
    let folder = Cache::of_user()?.logs();
    logs(&folder).into_iter().rev().find(|path| {
        let first = LogReader::open(path).and_then(|mut reader| reader.read()).unwrap_or_default();
        matches!(first.first(), Some(LogRead::Line { line, .. }) if matches!(&line.event, LogEvent::Start(start) if start.key == key))
    })
}

/// What brings the same about again.
fn commands(report: &Report, name: &str, seed: Option<u64>, sealed: bool) -> Vec<String> {
    let kernel =
        report.kernel.clone().filter(|kernel| kernel.ends_with(".toml")).unwrap_or_else(|| name.to_owned());
    let seed = seed.map_or_else(String::new, |seed| format!(" --seed {seed}"));
    let mut commands = vec![format!("cargo factory tune {kernel}{seed} --records records.json")];
    if sealed {
        commands.push(format!("cargo factory verify {name}{seed}"));
    }
    let mut page = vec!["cargo factory report".to_owned()];
    page.extend(report.kernel.clone());
    page.extend(report.run.iter().map(|run| format!("--run {run}")));
    page.extend(report.records.iter().map(|path| format!("--records {}", path.display())));
    page.extend(report.evidence.iter().map(|path| format!("--evidence {}", path.display())));
    page.extend(report.device.iter().map(|device| format!("--device {}", quoted(device))));
    page.extend(report.note.iter().map(|note| format!("--note {}", quoted(note))));
    commands.push(page.join(" "));
    commands
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
