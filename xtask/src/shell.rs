//! Running commands from the workspace's root, saying what runs and how long it took.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Why a task stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A command could not be started.
    Start { command: String, source: std::io::Error },
    /// A command ended with a failure.
    Command { command: String, status: String },
    /// Something that a task checked is not as it must be.
    Check(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Start { command, source } => write!(f, "could not start `{command}`: {source}"),
            Failure::Command { command, status } => write!(f, "`{command}` ended with {status}"),
            Failure::Check(what) => f.write_str(what),
        }
    }
}

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// A cargo command in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// The first of these programs that is in `PATH`, or else in `further` folders.
pub(crate) fn find_program(names: &[&str], further: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(further.iter().map(PathBuf::from)).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}

/// Installs Debian's packages.
///
/// # Errors
/// There is no apt, or it fails; `help` says what to do instead.
pub(crate) fn apt_install(packages: &[&str], help: &str) -> Result<(), Failure> {
    let failed = |failure| Failure::Check(format!("{help} ({failure})"));
    run(Command::new("apt-get").args(["update", "-qq"])).map_err(failed)?;
    run(Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))
    .map_err(failed)
}

/// The command as a person would type it.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Runs `command` with its output passed through.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let text = describe(command);
    eprintln!("\n$ {text}");
    let start = Instant::now();
    let status = command.status().map_err(|source| Failure::Start { command: text.clone(), source })?;
    eprintln!("  ({:.0} s)", start.elapsed().as_secs_f64());
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Command { command: text, status: status.to_string() })
    }
}

/// Runs `command` and returns what it printed on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let text = describe(command);
    let output = command.output().map_err(|source| Failure::Start { command: text.clone(), source })?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(Failure::Command { command: text, status: output.status.to_string() });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
