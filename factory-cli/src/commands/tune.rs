//! `cargo factory tune`: search, and seal the winners into `kernels/`.

use crate::arguments::Tune;
use crate::error::Error;
use crate::package::{self, Kernel};
use crate::print::{self, Output};
use crate::progress::Progress;
use factory_build::evidence::Place;
use factory_search::evidence::Evidence;
use factory_search::learn::Memory;
use factory_search::log::{EventLog, LogOutcome, LogStart};
use factory_search::{
    Event, Found, HostProgram, Means, Observer as _, Proposers, SearchOptions, WorkerOptions,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Serialize)]
struct Summary {
    name: String,
    key: String,
    considered: u64,
    refused: BTreeMap<String, u64>,
    winners: Vec<String>,
    /// Whether the order came from the cost model, not from a GPU
    modelled: bool,
    measured: String,
    gates_passed: Vec<String>,
    gates_not_run: Vec<String>,
    /// What each gate said of each target
    gates: Vec<factory_spec::GateRecord>,
    figures: Vec<factory_spec::Figure>,
    /// Of the winners, where their energy was read
    energies: Vec<EnergyOf>,
    seconds: f64,
    sealed_in: Option<PathBuf>,
    log: Option<PathBuf>,
    /// What memory contributed, where something measured
    memory: Option<factory_search::Learned>,
}

#[derive(Serialize)]
struct EnergyOf {
    id: String,
    sizes: String,
    #[serde(flatten)]
    energy: factory_search::gpu::Energy,
}

pub(crate) fn run(dir: &Path, tune: &Tune, output: Output) -> Result<ExitCode, Error> {
    let kernels = package::choose(dir, &tune.kernels)?;
    let evidence = evidence(tune, &kernels)?;
    let mut results = Vec::new();
    let mut records = BTreeMap::new();
    for kernel in &kernels {
        let start = Instant::now();
        let (found, log) = search(kernel, tune, evidence.as_ref(), output)?;
        let sealed_in = if tune.no_seal { None } else { Some(seal(dir, &found)?) };
        records.insert(format!("{} {}", kernel.spec.name, kernel.key.short()), found.candidates.clone());
        results.push(summary(kernel, &found, start.elapsed().as_secs_f64(), sealed_in, log));
    }
    if let Some(path) = &tune.records {
        let json = serde_json::to_string_pretty(&records).map_err(Error::Json)?;
        fs::write(path, json).map_err(|source| Error::Write { path: path.clone(), source })?;
    }
    output.show(&results, |results| results.iter().for_each(print))?;
    Ok(ExitCode::SUCCESS)
}

/// What earlier searches on this machine found out, and what is committed beside the kernels. A search without it is slower,
/// not wrong, so that trouble is told and no reason to stop.
fn evidence(tune: &Tune, kernels: &[Kernel]) -> Result<Option<Evidence>, Error> {
    if tune.no_evidence {
        return Ok(None);
    }
    if tune.evidence.is_none() && Place::of_user() == Place::Off {
        return Ok(None);
    }
    let opened = super::evidence::path(tune.evidence.as_deref())
        .and_then(|path| super::evidence::open(&path).map_err(Error::from));
    let evidence = match opened {
        Ok(evidence) => evidence,
        // A file that was named is wanted.
        Err(error) if tune.evidence.is_some() => return Err(error),
        Err(error) => {
            eprintln!("warning: searching without memory: {error}");
            return Ok(None);
        }
    };
    for kernel in kernels {
        if let Err(error) = evidence.import_beside(&kernel.spec_path, &kernel.spec.name) {
            eprintln!("warning: {error}");
        }
    }
    Ok(Some(evidence))
}

/// What was found, and where the log of the search is.
fn search(
    kernel: &Kernel,
    tune: &Tune,
    evidence: Option<&Evidence>,
    output: Output,
) -> Result<(Found, Option<PathBuf>), Error> {
    let mut options = SearchOptions { seed: tune.seed, threads: tune.threads, ..SearchOptions::default() };
    options.ptxas = tune.ptxas.clone();
    options.gpu = tune.gpu;
    options.budget.seconds = tune.seconds;
    options.templates = templates(kernel, tune)?;
    options.workers = workers(tune).map_err(Error::Workers)?;
    options.energy_seconds = tune.energy;
    if let Some(candidates) = tune.candidates {
        options.budget.candidates = candidates;
    }
    let mut progress = Progress::new(&kernel.spec.name, output.json);
    progress.budget(options.budget.seconds);
    let mut log = log(kernel, &options);
    let memory = evidence.map(|evidence| evidence.run(&kernel.spec, &options));
    let mut observer = |event: &Event<'_>| {
        if let Some(memory) = &memory {
            memory.hears(event);
        }
        progress.event(event);
        if let Some(log) = &mut log {
            log.event(event);
        }
    };
    let proposers = match tune.no_generator {
        true => Proposers::of_templates(&kernel.spec, &options.templates),
        false => Proposers::of(&kernel.spec, &options.templates, &mut observer),
    };
    let found = proposers.and_then(|proposers| {
        let memory = memory.as_ref().map(|memory| memory as &dyn Memory);
        let means = Means { memory, ..Means::new(&proposers) };
        factory_search::search_by(&kernel.spec, &options, means, &mut observer)
    });
    progress.finish();
    if let Some(log) = &mut log {
        log.finish(LogOutcome::new(&found));
        if let Some(trouble) = log.trouble() {
            eprintln!("warning: the log `{}` breaks off: {trouble}", log.path().display());
        }
    }
    Ok((found?, log.map(|log| log.path().to_owned())))
}

/// The workers that the environment asks for, and over that the command line.
fn workers(tune: &Tune) -> Result<WorkerOptions, String> {
    let mut workers = WorkerOptions::of_environment()?;
    if let Some(line) = &tune.launcher {
        workers.launcher =
            factory_search::launcher_words(line).map_err(|message| format!("--launcher: {message}"))?;
    }
    workers.gpus = tune.workers.unwrap_or(workers.gpus);
    workers.machines = tune.provers.unwrap_or(workers.machines);
    if let Some(path) = &tune.worker_program {
        workers.program = Some(HostProgram { path: path.clone(), arguments: Vec::new() });
    }
    Ok(workers)
}

/// A log in the user's cache. Where none can be written that is said, and the search goes on.
fn log(kernel: &Kernel, options: &SearchOptions) -> Option<EventLog> {
    let folder = factory_build::cache::Cache::of_user()?.logs();
    match EventLog::create(&folder, &LogStart::new(&kernel.spec, options, "tune")) {
        Ok(log) => Some(log),
        Err(error) => {
            eprintln!("warning: no log of this search: `{}`: {error}", folder.display());
            None
        }
    }
}

/// The templates that lie beside the kernel's spec and those that were named. One that names another kernel is left to
/// that kernel, as long as there is one in this run.
fn templates(kernel: &Kernel, tune: &Tune) -> Result<Vec<PathBuf>, Error> {
    let mut found = factory_search::template::beside(&kernel.spec_path, &kernel.spec.name)?;
    for path in &tune.template {
        let template = factory_search::template::Template::read(path)?;
        let other = template.spec().is_some_and(|name| name != kernel.spec.name);
        if !(found.contains(path) || (other && tune.kernels.len() != 1)) {
            found.push(path.clone());
        }
    }
    Ok(found)
}

/// Writes the sealed folder and the lock's entry, and takes the kernel into the cache too.
fn seal(dir: &Path, found: &Found) -> Result<PathBuf, Error> {
    let folder = crate::seal::seal(&dir.join("kernels"), &found.sealed)?;
    // The cache only saves work: a folder that cannot be written is no reason to lose a sealed kernel.
    if let Some(cache) = factory_build::cache::Cache::of_user() {
        let _ = cache.store(&found.sealed.certificate.key, &found.sealed);
    }
    Ok(folder)
}

fn summary(
    kernel: &Kernel,
    found: &Found,
    seconds: f64,
    sealed_in: Option<PathBuf>,
    log: Option<PathBuf>,
) -> Summary {
    let certificate = &found.sealed.certificate;
    let strings = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    Summary {
        name: kernel.spec.name.clone(),
        key: kernel.key.to_string(),
        considered: certificate.candidates.considered,
        refused: certificate.candidates.refused.clone(),
        winners: found.winners.clone(),
        modelled: found.modelled,
        measured: certificate.measured(),
        gates_passed: strings(certificate.gates_passed()),
        gates_not_run: strings(certificate.gates_not_run()),
        gates: certificate.gates.clone(),
        figures: certificate.figures.clone(),
        energies: found
            .candidates
            .iter()
            .filter(|record| found.winners.contains(&record.id))
            .filter_map(|record| {
                let (id, sizes) = (record.id.clone(), record.sizes.clone());
                record.energy.map(|energy| EnergyOf { id, sizes, energy })
            })
            .collect(),
        seconds,
        sealed_in,
        log,
        memory: found.learned.clone(),
    }
}

fn print(result: &Summary) {
    let refused: Vec<String> = result.refused.iter().map(|(gate, count)| format!("{gate} {count}")).collect();
    println!("{} {}", result.name, &result.key[..12]);
    println!(
        "  {} candidates in {:.1} s; refused: {}",
        result.considered,
        result.seconds,
        if refused.is_empty() { "none".to_owned() } else { refused.join(", ") }
    );
    for line in crate::gates::lines(&result.gates, &result.gates_passed) {
        println!("  {line}");
    }
    let rows: Vec<[String; 5]> = result
        .figures
        .iter()
        .map(|figure| {
            let share = match (figure.seconds, figure.roofline_seconds) {
                (Some(seconds), Some(roofline)) if seconds > 0.0 => {
                    format!("{:.0}%", 100.0 * roofline / seconds)
                }
                _ => String::new(),
            };
            [
                format!("  {}", figure.target),
                print::sizes(&figure.sizes),
                figure.seconds.map_or_else(String::new, print::seconds),
                share,
                figure.variant.clone(),
            ]
        })
        .collect();
    print::table(["  target", "sizes", "time", "of roofline", "variant"], &rows);
    if result.modelled {
        println!("  these times are modelled, not measured: no GPU took part");
    } else {
        println!("  measured on {}", result.measured);
    }
    for EnergyOf { id, sizes, energy } in &result.energies {
        println!(
            "  energy at {sizes}: {:.3} mJ an execution at {:.0} W on average ({id})",
            energy.joules * 1e3,
            energy.watts
        );
    }
    if let Some(memory) = &result.memory {
        println!("  {memory}");
    }
    match &result.sealed_in {
        Some(folder) => println!("  sealed in {}", folder.display()),
        None => println!("  not sealed (--no-seal)"),
    }
    if let Some(log) = &result.log {
        println!("  log: {}", log.display());
    }
}
