//! `cargo factory toolchain`: NVIDIA's tools, found and fetched.

use crate::arguments::Toolchain;
use crate::error::Error;
use crate::print::Output;
use factory_search::PtxasPolicy;
use factory_search::compile::Compiler;
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
    }
    Ok(ExitCode::SUCCESS)
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
