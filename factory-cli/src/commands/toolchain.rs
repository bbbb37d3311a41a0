//! `cargo factory toolchain`: NVIDIA's tools, found and fetched.

use crate::arguments::Toolchain;
use crate::error::Error;
use crate::print::Output;
use factory_search::PtxasPolicy;
use factory_search::compile::{CompileCache, Compiler, Usage};
use factory_search::toolchain::{self, Ptxas};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Serialize)]
struct Tools {
    ptxas: Vec<PathBuf>,
    nvcc: Vec<PathBuf>,
    nvrtc: Vec<PathBuf>,
    /// What a search would use
    assembler: Used,
    compiler: Used,
    /// Where `install` puts its tools, and whether they are there
    folder: Option<PathBuf>,
    installed: bool,
}

/// A tool, or why there is none.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Used {
    Found { what: String, path: PathBuf },
    None { reason: String },
}

pub(crate) fn run(what: Toolchain, output: Output) -> Result<ExitCode, Error> {
    match what {
        Toolchain::Install => {
            let folder = toolchain::install()?;
            output.show(&folder, |folder| println!("the CUDA tools are in {}", folder.display()))?;
        }
        Toolchain::Remove => {
            let removed = toolchain::remove()?;
            output.show(&removed, |removed| {
                println!("{}", if *removed { "removed" } else { "nothing was installed" });
            })?;
        }
        Toolchain::List => output.show(&tools(), print)?,
        Toolchain::Compiled { empty } => {
            let cache = CompileCache::of_user().ok_or(Error::NoCacheFolder)?;
            output.show(&compiled(&cache, empty), print_compiled)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What compilers said, as the cache keeps it.
#[derive(Serialize)]
struct Kept {
    folder: PathBuf,
    /// What is there now
    kept: Usage,
    /// What was there and was removed
    removed: Usage,
    /// Bytes from which on a search removes what was used longest ago
    limit_bytes: Option<u64>,
    /// What is wrong with the limit that was asked for, so that the default holds
    wrong_limit: Option<String>,
}

fn compiled(cache: &CompileCache, empty: bool) -> Kept {
    let removed = if empty { cache.clear() } else { Usage::default() };
    let folder = cache.root().to_owned();
    let limit = CompileCache::limit();
    let wrong_limit = limit.as_ref().err().cloned();
    Kept { folder, kept: cache.usage(), removed, limit_bytes: limit.ok(), wrong_limit }
}

fn print_compiled(kept: &Kept) {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let said = |usage: &Usage| format!("{} compiled units, {}", usage.entries, mib(usage.bytes));
    if kept.removed.entries > 0 {
        println!("removed     {}", said(&kept.removed));
    }
    println!("kept        {} in {}", said(&kept.kept), kept.folder.display());
    match (kept.limit_bytes, &kept.wrong_limit) {
        (Some(bytes), _) => println!("limit       {}", mib(bytes)),
        (None, message) => println!("limit       the default: {}", message.as_deref().unwrap_or_default()),
    }
}

fn tools() -> Tools {
    let found = toolchain::cuda_tools();
    let assembler = match Ptxas::find(&PtxasPolicy::Find) {
        Ok(Ok(ptxas)) => {
            Used::Found { what: format!("ptxas {}", ptxas.version()), path: ptxas.path().to_owned() }
        }
        Ok(Err(reason)) => Used::None { reason },
        Err(error) => Used::None { reason: error.to_string() },
    };
    let compiler = match Compiler::find() {
        Ok(compiler) => {
            Used::Found { what: compiler.identity().to_owned(), path: compiler.path().to_owned() }
        }
        Err(reason) => Used::None { reason },
    };
    let folder = toolchain::installed_folder();
    let installed = folder.as_ref().is_some_and(|folder| folder.is_dir());
    Tools { ptxas: found.ptxas, nvcc: found.nvcc, nvrtc: found.nvrtc, assembler, compiler, folder, installed }
}

fn print(tools: &Tools) {
    for (name, used) in [("assembler", &tools.assembler), ("compiler", &tools.compiler)] {
        match used {
            Used::Found { what, path } => println!("{name:<12}{what} ({})", path.display()),
            Used::None { reason } => println!("{name:<12}none: {reason}"),
        }
    }
    for (name, paths) in [("ptxas", &tools.ptxas), ("nvcc", &tools.nvcc), ("nvrtc", &tools.nvrtc)] {
        for path in paths {
            println!("found       {name:<8}{}", path.display());
        }
    }
    match (&tools.folder, tools.installed) {
        (Some(folder), true) => println!("installed   {}", folder.display()),
        (Some(folder), false) => {
            println!(
                "installed   no; `cargo factory toolchain install` fetches {} wheels into {}",
                toolchain::PACKAGES.len(),
                folder.display()
            );
        }
        (None, _) => println!("installed   no, and there is no folder for caches"),
    }
}
