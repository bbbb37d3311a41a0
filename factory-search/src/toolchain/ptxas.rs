//! The assembler: where it is, and what it says about a module.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use factory_spec::Arch;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::find::cuda_tools;
use crate::error::SearchError;
use crate::image::Image;
use crate::options::PtxasPolicy;

/// What ptxas says about one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EntryResources {
    /// Registers a thread.
    pub registers: u32,
    /// Bytes of stack frame a thread.
    pub stack_bytes: u32,
    /// Bytes that are spilled, stores and loads together.
    pub spill_bytes: u32,
    /// Static shared memory in bytes.
    pub shared_bytes: u32,
}

/// What ptxas says about each entry of a module, by name.
pub type Resources = BTreeMap<String, EntryResources>;

/// Why a module was not assembled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssembleError {
    /// ptxas refused the module; its own words.
    Refused(String),
    /// ptxas could not be run; nothing is known about the module.
    NotRun(String),
}

type Outcome = Result<Resources, AssembleError>;

/// A ptxas that answered to `--version`.
#[derive(Debug)]
pub struct Ptxas {
    path: PathBuf,
    version: String,
    seen: Mutex<HashMap<[u8; 32], Outcome>>,
}

impl Ptxas {
    /// Finds the assembler that `policy` asks for; the reason in words when there is none.
    ///
    /// # Errors
    /// The file that was named does not run.
    pub fn find(policy: &PtxasPolicy) -> Result<Result<Ptxas, String>, SearchError> {
        let named = |path: &Path| {
            Ptxas::at(path)
                .map_err(|message| SearchError::Ptxas { path: path.display().to_string(), message })
        };
        match policy {
            PtxasPolicy::Off => Ok(Err("it was switched off".to_owned())),
            PtxasPolicy::At(path) => named(path).map(Ok),
            PtxasPolicy::Find => {
                if let Some(path) = env::var_os("KERNEL_FACTORY_PTXAS").filter(|value| !value.is_empty()) {
                    return named(Path::new(&path)).map(Ok);
                }
                for path in cuda_tools().ptxas {
                    if let Ok(ptxas) = Ptxas::at(&path) {
                        return Ok(Ok(ptxas));
                    }
                }
                Ok(Err(
                    "no ptxas was found (looked in `PATH`, `CUDA_HOME`, `/usr/local/cuda`, pip's wheels and what `cargo factory toolchain install` fetches)"
                        .to_owned(),
                ))
            }
        }
    }

    /// Asks the file for its version.
    fn at(path: &Path) -> Result<Ptxas, String> {
        let output = Command::new(path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .lines()
            .filter_map(|line| line.split_once(", V").map(|(_, version)| version.trim().to_owned()))
            .next()
            .ok_or_else(|| "it does not answer to `--version` as ptxas does".to_owned())?;
        Ok(Ptxas { path: path.to_owned(), version, seen: Mutex::default() })
    }

    /// The version, such as `13.0.88`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Assembles a module for `arch`. The same text is assembled once.
    ///
    /// # Errors
    /// ptxas refuses the text, or cannot be run.
    pub fn assemble(&self, ptx: &str, arch: Arch) -> Outcome {
        self.once(ptx, arch, |_| ())
    }

    /// The same, with the machine code; `None` when this text was assembled before, since machine code is not kept.
    ///
    /// # Errors
    /// ptxas refuses the text, or cannot be run.
    pub fn assemble_to_image(
        &self,
        ptx: &str,
        arch: Arch,
    ) -> Result<(Resources, Option<Image>), AssembleError> {
        let mut image = None;
        let resources = self.once(ptx, arch, |bytes| image = Some(Image::new(ptx, bytes)))?;
        Ok((resources, image))
    }

    fn once(&self, ptx: &str, arch: Arch, made: impl FnOnce(Vec<u8>)) -> Outcome {
        let key =
            Sha256::new().chain_update(arch.name()).chain_update([0]).chain_update(ptx).finalize().into();
        if let Some(outcome) = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(&key) {
            return outcome.clone();
        }
        let outcome = self.run(ptx, arch).map(|(resources, bytes)| {
            made(bytes);
            resources
        });
        // A tool that could not run now may run the next time.
        if !matches!(outcome, Err(AssembleError::NotRun(_))) {
            self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(key, outcome.clone());
        }
        outcome
    }

    fn run(&self, ptx: &str, arch: Arch) -> Result<(Resources, Vec<u8>), AssembleError> {
        let not_run = |error: std::io::Error| AssembleError::NotRun(error.to_string());
        let folder = tempfile::tempdir().map_err(not_run)?;
        let input = folder.path().join("kernel.ptx");
        std::fs::write(&input, ptx).map_err(not_run)?;
        let output = Command::new(&self.path)
            .arg("-v")
            .arg(format!("-arch={arch}"))
            .arg("-o")
            .arg(folder.path().join("kernel.cubin"))
            .arg(&input)
            .stdin(Stdio::null())
            .output()
            .map_err(not_run)?;
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            let image = std::fs::read(folder.path().join("kernel.cubin")).map_err(not_run)?;
            return Ok((read_resources(&text), image));
        }
        if output.status.code().is_none() {
            return Err(AssembleError::NotRun(format!("ptxas was killed: {}", output.status)));
        }
        let name = input.display().to_string();
        let message: Vec<String> = text
            .lines()
            .filter(|line| line.contains("error") || line.contains("fatal"))
            .take(4)
            // The folder differs from run to run and says nothing.
            .map(|line| line.replace(&name, "kernel.ptx").trim().to_owned())
            .collect();
        Err(AssembleError::Refused(if message.is_empty() {
            text.trim().to_owned()
        } else {
            message.join("; ")
        }))
    }
}

/// Reads what `ptxas -v` prints. Device functions that are not entries have properties too and are left out.
fn read_resources(text: &str) -> Resources {
    let mut resources = Resources::new();
    let mut entry: Option<String> = None;
    let mut properties_of: Option<String> = None;
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            if let Some((name, _)) = rest.split_once('\'') {
                resources.insert(name.to_owned(), EntryResources::default());
                entry = Some(name.to_owned());
            }
        } else if let Some((_, name)) = line.split_once("Function properties for ") {
            properties_of = Some(name.trim().to_owned());
        } else if line.contains("bytes stack frame") {
            if let Some(found) = properties_of.as_ref().and_then(|name| resources.get_mut(name)) {
                for part in line.split(',') {
                    let count = leading_number(part);
                    if part.contains("stack frame") {
                        found.stack_bytes = count;
                    } else if part.contains("spill") {
                        found.spill_bytes += count;
                    }
                }
            }
        } else if let Some((_, rest)) = line.split_once("Used ")
            && let Some(found) = entry.as_ref().and_then(|name| resources.get_mut(name))
        {
            found.registers = leading_number(rest);
            for part in rest.split(',') {
                if part.contains("bytes smem") {
                    found.shared_bytes = leading_number(part);
                }
            }
        }
    }
    resources
}

fn leading_number(text: &str) -> u32 {
    text.trim_start()
        .chars()
        .map_while(|c| c.to_digit(10))
        .fold(0, |sum: u32, digit| sum.saturating_mul(10) + digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_for_each_entry() {
        let text = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_90'
ptxas info    : Function properties for first
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 16 bytes cumulative stack size, 1024 bytes smem
ptxas info    : Function properties for helper
    4 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Compiling entry function 'second' for 'sm_90'
ptxas info    : Function properties for second
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers
";
        let resources = read_resources(text);
        assert_eq!(resources.len(), 2);
        assert_eq!(
            resources["first"],
            EntryResources { registers: 40, stack_bytes: 16, spill_bytes: 20, shared_bytes: 1024 }
        );
        assert_eq!(resources["second"].registers, 255);
        assert_eq!(resources["second"].shared_bytes, 0);
    }

    #[test]
    fn a_named_file_that_is_no_ptxas_is_an_error() {
        let error =
            Ptxas::find(&PtxasPolicy::At(PathBuf::from("/nowhere/ptxas"))).expect_err("there is none");
        assert!(matches!(error, SearchError::Ptxas { .. }));
        assert!(Ptxas::find(&PtxasPolicy::Off).expect("no error").is_err());
    }
}
