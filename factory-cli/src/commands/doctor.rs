//! `cargo factory doctor`: what this machine has, and what that means.

use crate::error::Error;
use crate::print::Output;
use serde::Serialize;
use std::process::ExitCode;

#[derive(Serialize)]
struct Health {
    version: &'static str,
    /// One entry a GPU that works, or why there is none.
    gpus: Vec<String>,
    no_gpu: Option<String>,
    ptxas: Option<Tool>,
    nvcc: Option<Tool>,
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
    writable: bool,
    problem: Option<String>,
}

pub(crate) fn run(output: Output) -> Result<ExitCode, Error> {
    let health = examine();
    output.show(&health, |health| {
        println!("kernel factory   {}", health.version);
        match &health.no_gpu {
            Some(reason) => {
                println!("gpu              none: {}", reason.lines().next().unwrap_or_default());
                println!("                 kernels run on the PTX machine; a search orders candidates by a model");
            }
            None => {
                for gpu in &health.gpus {
                    println!("gpu              {gpu}");
                }
            }
        }
        tool("ptxas", health.ptxas.as_ref(), "the `assemble` gate will not run, and certificates will say so");
        tool("nvcc", health.nvcc.as_ref(), "not needed: generated kernels are PTX");
        let cache = &health.cache;
        match (&cache.folder, &cache.problem) {
            (Some(folder), None) => println!("cache            {folder}, {} kernels", cache.kernels),
            (Some(folder), Some(problem)) => println!("cache            {folder}: {problem}; builds work without it, but search again"),
            (None, _) => println!("cache            none: no home folder; set KERNEL_FACTORY_CACHE_DIR"),
        }
        println!("cores            {}", health.cores);
        for (name, value) in &health.variables {
            println!("{name} = {value}");
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn tool(name: &str, tool: Option<&Tool>, without: &str) {
    match tool {
        Some(tool) => println!("{name:<16} {} ({})", tool.version, tool.path),
        None => println!("{name:<16} none: {without}"),
    }
}

fn examine() -> Health {
    let (gpus, no_gpu) = gpus();
    let mut variables: Vec<(String, String)> =
        std::env::vars().filter(|(name, _)| name.starts_with("KERNEL_FACTORY")).collect();
    variables.sort();
    Health {
        version: env!("CARGO_PKG_VERSION"),
        gpus,
        no_gpu,
        ptxas: factory_search::tools::find_ptxas().map(|tool| Tool { path: tool.path.display().to_string(), version: tool.version }),
        nvcc: factory_search::tools::find_nvcc().map(|tool| Tool { path: tool.path.display().to_string(), version: tool.version }),
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

fn cache() -> Cache {
    match factory_build::cache::Cache::open_default() {
        Ok(cache) => {
            let problem = cache.probe().err().map(|error| error.to_string());
            Cache {
                folder: Some(cache.root().display().to_string()),
                kernels: cache.keys().len(),
                writable: problem.is_none(),
                problem,
            }
        }
        Err(error) => Cache { folder: None, kernels: 0, writable: false, problem: Some(error.to_string()) },
    }
}
