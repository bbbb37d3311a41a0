//! `cargo factory doctor`: what this machine has, and what that means.

use crate::error::Error;
use crate::print::Output;
use factory_search::PtxasPolicy;
use factory_search::toolchain::Ptxas;
use serde::Serialize;
use std::process::ExitCode;

#[derive(Serialize)]
struct Health {
    version: &'static str,
    /// One entry a GPU that works, or why there is none.
    gpus: Vec<String>,
    no_gpu: Option<String>,
    ptxas: Option<Tool>,
    no_ptxas: Option<String>,
    /// What compiles templates.
    compiler: Option<Tool>,
    no_compiler: Option<String>,
    cache: Cache,
    /// `KERNEL_FACTORY*` variables that are set.
    variables: Vec<(String, String)>,
    cores: usize,
}

#[derive(Serialize)]
struct Tool {
    path: String,
    version: String,
}

#[derive(Serialize)]
struct Cache {
    folder: Option<String>,
    kernels: usize,
    problem: Option<String>,
}

pub(crate) fn run(output: Output) -> Result<ExitCode, Error> {
    let health = examine();
    output.show(&health, |health| {
        println!("kernel factory   {}", health.version);
        match &health.no_gpu {
            Some(reason) => {
                println!("gpu              none: {}", reason.lines().next().unwrap_or_default());
                println!(
                    "                 kernels run on the PTX machine; a search orders candidates by a model"
                );
            }
            None => {
                for gpu in &health.gpus {
                    println!("gpu              {gpu}");
                }
            }
        }
        match (&health.ptxas, &health.no_ptxas) {
            (Some(ptxas), _) => println!("ptxas            {} ({})", ptxas.version, ptxas.path),
            (None, reason) => {
                println!("ptxas            none: {}", reason.as_deref().unwrap_or("not found"));
                println!("                 the `assemble` gate will not run, and certificates will say so");
            }
        }
        match (&health.compiler, &health.no_compiler) {
            (Some(compiler), _) => println!("compiler         {} ({})", compiler.version, compiler.path),
            (None, reason) => {
                println!("compiler         none: {}", reason.as_deref().unwrap_or("not found"));
                println!("                 templates in CUDA C++ cannot be searched");
            }
        }
        let cache = &health.cache;
        match (&cache.folder, &cache.problem) {
            (Some(folder), None) => println!("cache            {folder}, {} kernels", cache.kernels),
            (Some(folder), Some(problem)) => {
                println!("cache            {folder}: {problem}; builds work without it, but search again")
            }
            (None, _) => println!("cache            none: no home folder; set KERNEL_FACTORY_CACHE_DIR"),
        }
        println!("cores            {}", health.cores);
        for (name, value) in &health.variables {
            println!("{name} = {value}");
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn examine() -> Health {
    let (gpus, no_gpu) = gpus();
    let (ptxas, no_ptxas) = ptxas();
    let (compiler, no_compiler) = compiler();
    let mut variables: Vec<(String, String)> =
        std::env::vars().filter(|(name, _)| name.starts_with("KERNEL_FACTORY")).collect();
    variables.sort();
    Health {
        version: env!("CARGO_PKG_VERSION"),
        gpus,
        no_gpu,
        ptxas,
        no_ptxas,
        compiler,
        no_compiler,
        cache: cache(),
        variables,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Every GPU that answers, or why the first does not.
fn gpus() -> (Vec<String>, Option<String>) {
    let mut found = Vec::new();
    loop {
        match factory_runtime::Device::cuda(found.len()) {
            Ok(device) => found.push(device.description()),
            Err(error) if found.is_empty() => return (found, Some(error.to_string())),
            Err(_) => return (found, None),
        }
    }
}

/// The assembler that a search would use, or what is wrong with the one that was named.
fn ptxas() -> (Option<Tool>, Option<String>) {
    match Ptxas::find(&PtxasPolicy::Find) {
        Ok(Ok(found)) => (
            Some(Tool { path: found.path().display().to_string(), version: found.version().to_owned() }),
            None,
        ),
        Ok(Err(reason)) => (None, Some(reason)),
        Err(error) => (None, Some(error.to_string())),
    }
}

/// The compiler that a search would use for templates.
fn compiler() -> (Option<Tool>, Option<String>) {
    match factory_search::compile::Compiler::find() {
        Ok(found) => (
            Some(Tool { path: found.path().display().to_string(), version: found.identity().to_owned() }),
            None,
        ),
        Err(reason) => (None, Some(reason)),
    }
}

fn cache() -> Cache {
    match factory_build::cache::Cache::of_user() {
        Some(cache) => {
            let problem = cache.check_writable().err().map(|error| error.to_string());
            Cache { folder: Some(cache.root().display().to_string()), kernels: cache.keys().len(), problem }
        }
        None => Cache { folder: None, kernels: 0, problem: Some("there is no folder for caches".to_owned()) },
    }
}
