//! `cargo factory tune`: search, and seal the winners into `kernels/`.

use crate::arguments::Tune;
use crate::error::Error;
use crate::package::{self, Kernel};
use crate::print::{self, Output};
use crate::progress::Progress;
use factory_search::{Found, SearchOptions};
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
    figures: Vec<factory_spec::Figure>,
    seconds: f64,
    sealed_in: Option<PathBuf>,
}

pub(crate) fn run(dir: &Path, tune: &Tune, output: Output) -> Result<ExitCode, Error> {
    let kernels = package::choose(dir, &tune.kernels)?;
    let mut results = Vec::new();
    let mut records = BTreeMap::new();
    for kernel in &kernels {
        let start = Instant::now();
        let found = search(kernel, tune, output)?;
        let sealed_in = if tune.no_seal { None } else { Some(seal(dir, &found)?) };
        records.insert(format!("{} {}", kernel.spec.name, kernel.key.short()), found.candidates.clone());
        results.push(summary(kernel, &found, start.elapsed().as_secs_f64(), sealed_in));
    }
    if let Some(path) = &tune.records {
        let json = serde_json::to_string_pretty(&records).map_err(Error::Json)?;
        fs::write(path, json).map_err(|source| Error::Write { path: path.clone(), source })?;
    }
    output.show(&results, |results| results.iter().for_each(print))?;
    Ok(ExitCode::SUCCESS)
}

fn search(kernel: &Kernel, tune: &Tune, output: Output) -> Result<Found, Error> {
    let mut options = SearchOptions { seed: tune.seed, threads: tune.threads, ..SearchOptions::default() };
    options.ptxas = tune.ptxas.clone();
    options.gpu = tune.gpu;
    options.budget.seconds = tune.seconds;
    if let Some(candidates) = tune.candidates {
        options.budget.candidates = candidates;
    }
    let mut progress = Progress::new(&kernel.spec.name, output.json);
    let found = factory_search::search(&kernel.spec, &options, &mut progress);
    progress.finish();
    Ok(found?)
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

fn summary(kernel: &Kernel, found: &Found, seconds: f64, sealed_in: Option<PathBuf>) -> Summary {
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
        figures: certificate.figures.clone(),
        seconds,
        sealed_in,
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
    println!("  gates passed: {}", result.gates_passed.join(", "));
    if !result.gates_not_run.is_empty() {
        println!("  gates not run: {}", result.gates_not_run.join(", "));
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
    match &result.sealed_in {
        Some(folder) => println!("  sealed in {}", folder.display()),
        None => println!("  not sealed (--no-seal)"),
    }
}
