//! How a worker is started.

use std::fmt;
use std::path::PathBuf;

use super::process::WorkerLimits;
use super::role::{DeviceKind, Role, VARIABLE};
use crate::host::HostProgram;

/// The words before a worker's command line, and that line.
///
/// No words start the program here; `srun --gres=gpu:1`, `ssh host` or `kubectl exec …` start it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// What stands before the program.
    pub words: Vec<String>,
    /// The worker's program, as it is named where it is started.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables of its environment. Where there are words, `env` sets them: not every launcher passes an environment on.
    pub variables: Vec<(String, String)>,
}

impl Launcher {
    /// What starts a worker.
    pub fn of_worker(
        words: Vec<String>,
        program: &HostProgram,
        device: DeviceKind,
        limits: WorkerLimits,
    ) -> Launcher {
        let role = Role { device, memory: limits.memory };
        Launcher {
            words,
            program: program.path.clone(),
            arguments: program.arguments.clone(),
            variables: vec![(VARIABLE.to_owned(), role.to_string())],
        }
    }

    /// The whole command line, at least the program.
    pub fn line(&self) -> Vec<std::ffi::OsString> {
        let mut line: Vec<std::ffi::OsString> = self.words.iter().map(Into::into).collect();
        if !self.words.is_empty() && !self.variables.is_empty() {
            line.push("env".into());
            line.extend(self.variables.iter().map(|(name, value)| format!("{name}={value}").into()));
        }
        line.push(self.program.clone().into_os_string());
        line.extend(self.arguments.iter().map(Into::into));
        line
    }

    /// The command.
    pub(super) fn command(&self) -> std::process::Command {
        let line = self.line();
        let mut command = std::process::Command::new(&line[0]);
        command.args(&line[1..]);
        if self.words.is_empty() {
            command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        }
        command
    }
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line: Vec<String> = self.line().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        f.write_str(&line.join(" "))
    }
}
