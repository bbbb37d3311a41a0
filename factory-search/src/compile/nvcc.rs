//! nvcc.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::watched::{self, Ended};
use super::{CompileError, CompileLimits, Compiled, Unit, include_folders};
use crate::toolchain::CudaTools;

/// An nvcc that answered to `--version`.
#[derive(Debug)]
pub struct Nvcc {
    path: PathBuf,
    identity: String,
    host_compiler: Option<PathBuf>,
    includes: Vec<PathBuf>,
}

impl Nvcc {
    /// The nvcc that `KERNEL_FACTORY_NVCC` names, or the first that works.
    ///
    /// # Errors
    /// None works; in words.
    pub fn find(tools: &CudaTools) -> Result<Self, String> {
        let mut last = None;
        for path in &tools.nvcc {
            match Self::at(path, tools) {
                Ok(nvcc) => return Ok(nvcc),
                Err(message) => last = Some(format!("`{}` does not run as nvcc: {message}", path.display())),
            }
        }
        Err(last.unwrap_or_else(|| {
            "no CUDA C++ compiler was found; `cargo factory toolchain install` fetches one, or name an nvcc in `KERNEL_FACTORY_NVCC`".to_owned()
        }))
    }

    /// The nvcc at `path`.
    ///
    /// # Errors
    /// It does not answer as nvcc does, or there is no host compiler for it.
    pub fn at(path: &Path, tools: &CudaTools) -> Result<Self, String> {
        let output = Command::new(path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .lines()
            .find_map(|line| line.split_once(", V").map(|(_, version)| version.trim().to_owned()))
            .ok_or_else(|| "it does not answer to `--version` as nvcc does".to_owned())?;
        // nvcc preprocesses with the system's C++ compiler; cc knows how to find that (and `CXX`) on every system.
        let host_compiler = host_compiler()?;
        // Its headers are the compiled source's too.
        let identity = match host_compiler.as_deref().and_then(host_version) {
            Some(host) => format!("nvcc {version} with {host}"),
            None => format!("nvcc {version}"),
        };
        Ok(Self { path: path.to_owned(), identity, host_compiler, includes: include_folders(tools, path) })
    }

    /// nvcc and its host compiler with their versions.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn compile(&self, unit: &Unit, limits: &CompileLimits) -> Result<Compiled, CompileError> {
        let not_run = |error: std::io::Error| CompileError::NotRun(format!("nvcc could not be run: {error}"));
        let folder = tempfile::Builder::new().prefix("kernel-factory-").tempdir().map_err(not_run)?;
        let sources = folder.path().join("source");
        fs::create_dir(&sources).map_err(not_run)?;
        for (path, text) in &unit.headers {
            let file = sources.join(path);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent).map_err(not_run)?;
            }
            fs::write(file, text).map_err(not_run)?;
        }
        fs::write(sources.join(&unit.file), instantiated(unit)).map_err(not_run)?;
        let messages = folder.path().join("messages");
        let log = fs::File::create(&messages).map_err(not_run)?;
        let output = folder.path().join("out.ptx");

        let mut command = watched::command(&self.path, limits);
        // Relative names alone: what a mangled name makes of its file must not depend on where we happen to work.
        command.current_dir(&sources).arg("-ptx").args(unit.options());
        command.arg("-allow-unsupported-compiler");
        if let Some(compiler) = &self.host_compiler {
            command.arg("-ccbin").arg(compiler);
        }
        for include in &self.includes {
            command.arg("-isystem").arg(include);
        }
        command.arg("-o").arg("../out.ptx").arg(&unit.file);
        command.env("TMPDIR", folder.path());
        // Flags from outside would change what comes out without anybody being told.
        for variable in
            ["NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", "CPATH", "CPLUS_INCLUDE_PATH", "C_INCLUDE_PATH"]
        {
            command.env_remove(variable);
        }
        command.stdout(log.try_clone().map_err(not_run)?).stderr(log);
        let ended = watched::run(&mut command, limits.time).map_err(not_run)?;
        let text = String::from_utf8_lossy(&fs::read(&messages).unwrap_or_default()).into_owned();
        match ended {
            Ended::Late => {
                Err(CompileError::Limit(format!("nvcc was stopped after {} s", limits.time.as_secs_f64())))
            }
            Ended::Exited(status) if status.success() => {
                let ptx = fs::read_to_string(&output).map_err(not_run)?;
                Ok(Compiled { ptx: reproducible(&ptx, &unit.key(&self.identity)), names: Default::default() })
            }
            Ended::Exited(status) => {
                let message = messages_of(&text, unit);
                let fell = [
                    "Segmentation fault",
                    "bad_alloc",
                    "out of memory",
                    "Killed",
                    "catastrophic error: out of",
                ]
                .iter()
                .any(|sign| text.contains(sign));
                if status.code().is_none() || fell || message.is_empty() {
                    return Err(CompileError::Limit(format!("nvcc fell over ({status}): {}", text.trim())));
                }
                Err(CompileError::Refused(message))
            }
        }
    }
}

/// The source, with a use of every name expression behind it: nvcc compiles the templates that the host side mentions.
fn instantiated(unit: &Unit) -> String {
    let mut text = unit.text();
    for (index, expression) in unit.expressions.iter().enumerate() {
        text.push_str(&format!(
            "\n#line 1 \"kernel_factory\"\n[[maybe_unused]] static const void* const kernel_factory_entry_{index} = (const void*)&{expression};\n"
        ));
    }
    text
}

/// Names with internal linkage hold eight digits that nvcc draws anew in every run, in the clear behind one of two words.
/// They become the first eight of `key`, so that the same source gives the same bytes.
fn reproducible(ptx: &str, key: &str) -> String {
    let mut out = ptx.to_owned();
    for word in ["_INTERNAL_", "_GLOBAL__N__"] {
        let found: std::collections::BTreeSet<String> = ptx
            .match_indices(word)
            .filter_map(|(at, _)| ptx.get(at + word.len()..at + word.len() + 9))
            .filter(|digits| {
                digits[..8].bytes().all(|byte| byte.is_ascii_hexdigit()) && digits.ends_with('_')
            })
            .map(|digits| digits[..8].to_owned())
            .collect();
        for digits in found {
            out = out.replace(&format!("{word}{digits}_"), &format!("{word}{}_", &key[..8]));
        }
    }
    out
}

/// The compiler's errors with the user's own path, and without what nvcc says besides.
pub(super) fn messages_of(text: &str, unit: &Unit) -> String {
    const MOST: usize = 40;
    let mut kept = Vec::new();
    let mut warning = false;
    for line in text.lines() {
        if line.contains("): warning") || line.starts_with("Remark:") {
            warning = true;
        } else if line.contains("error") || !line.starts_with(' ') && !line.is_empty() {
            warning = false;
        }
        if !warning && !line.trim().is_empty() {
            kept.push(
                line.strip_prefix(&unit.file)
                    .map_or_else(|| line.to_owned(), |rest| format!("{}{rest}", unit.shown)),
            );
        }
    }
    if kept.len() > MOST {
        let left = kept.len() - MOST;
        kept.truncate(MOST);
        kept.push(format!("({left} more lines)"));
    }
    kept.join("\n")
}

fn host_compiler() -> Result<Option<PathBuf>, String> {
    if cfg!(windows) {
        // nvcc finds Visual Studio by itself, and better.
        return Ok(None);
    }
    let target = toolchain_target();
    let compiler = cc::Build::new()
        .cpp(true)
        .cargo_metadata(false)
        .cargo_warnings(false)
        .target(&target)
        .host(&target)
        .opt_level(2)
        .try_get_compiler()
        .map_err(|error| format!("it needs a C++ compiler of the system, and there is none: {error}"))?;
    Ok(Some(compiler.path().to_owned()))
}

/// A host compiler's name and version.
fn host_version(path: &Path) -> Option<String> {
    let output =
        Command::new(path).arg("-dumpfullversion").arg("-dumpversion").stdin(Stdio::null()).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    Some(format!("{} {}", path.file_name()?.to_str()?, version.trim().lines().next()?))
}

/// The triple of this system, which outside a build script nobody tells.
fn toolchain_target() -> String {
    let arch = std::env::consts::ARCH;
    match std::env::consts::OS {
        "macos" => format!("{arch}-apple-darwin"),
        os => format!("{arch}-unknown-{os}-{}", if cfg!(target_env = "musl") { "musl" } else { "gnu" }),
    }
}
