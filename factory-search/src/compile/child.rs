//! This program again, as the host of NVRTC.
//!
//! Parent and child speak in lines, each with a marker before its JSON: whatever else a program prints when it starts is
//! passed over. The child ends when its standard input does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use serde::{Deserialize, Serialize};

use super::nvrtc::Library;
use super::watched;
use super::{CompileError, CompileLimits, Compiled, Unit};
use crate::host::HostProgram;
use crate::priority;

/// Set in the child: the library that it is to load.
const VARIABLE: &str = "KERNEL_FACTORY_NVRTC_CHILD";
const MARKER: &str = "kernel-factory-nvrtc-1 ";

/// In a child that was started to compile: does that and does not come back.
pub(crate) fn serve_if_asked() {
    if let Some(library) = std::env::var_os(VARIABLE) {
        serve(&PathBuf::from(library));
        std::process::exit(0);
    }
}

#[derive(Serialize, Deserialize)]
struct Request {
    unit: Unit,
    includes: Vec<PathBuf>,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Version(u32, u32),
    Compiled(Compiled),
    Refused(String),
    NotRun(String),
}

fn answer(answer: &Answer) {
    let Ok(json) = serde_json::to_string(answer) else { return };
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "\n{MARKER}{json}").and_then(|()| output.flush());
}

fn serve(path: &std::path::Path) {
    let library = match Library::load(path) {
        Ok(library) => library,
        Err(message) => return answer(&Answer::NotRun(message)),
    };
    let (major, minor) = library.version();
    answer(&Answer::Version(major, minor));
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let outcome = match serde_json::from_str::<Request>(&line) {
            Ok(request) => library.compile(&request.unit, &request.includes),
            Err(error) => Err(CompileError::NotRun(error.to_string())),
        };
        answer(&match outcome {
            Ok(compiled) => Answer::Compiled(compiled),
            Err(CompileError::Refused(message)) => Answer::Refused(message),
            Err(other) => Answer::NotRun(other.to_string()),
        });
    }
}

/// A child that waits for work.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    pub(super) version: (u32, u32),
}

impl Server {
    pub(super) fn start(
        host: &HostProgram,
        library: &std::path::Path,
        limits: &CompileLimits,
    ) -> Result<Self, CompileError> {
        let not_run = |error: std::io::Error| {
            CompileError::NotRun(format!("NVRTC's process could not be started: {error}"))
        };
        let mut command = watched::command(&host.path, limits);
        command.args(&host.arguments).env(VARIABLE, library);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(not_run)?;
        // It may have been started for the first candidates, which nothing waits for, and serves all that come.
        priority::let_give_way(&child);
        let input = child.stdin.take();
        let output = child.stdout.take();
        let (sender, answers) = mpsc::channel();
        // Ends with the child's output.
        std::thread::spawn(move || {
            for line in output.map(BufReader::new).into_iter().flat_map(BufReader::lines) {
                let Ok(line) = line else { return };
                if let Some(json) = line.strip_prefix(MARKER)
                    && sender.send(json.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        let mut server = Self { child, input, answers, version: (0, 0) };
        match server.receive(limits)? {
            Answer::Version(major, minor) => server.version = (major, minor),
            Answer::NotRun(message) => return Err(CompileError::NotRun(message)),
            Answer::Compiled(_) | Answer::Refused(_) => {
                return Err(CompileError::NotRun("NVRTC's process answered before it was asked".to_owned()));
            }
        }
        Ok(server)
    }

    fn receive(&mut self, limits: &CompileLimits) -> Result<Answer, CompileError> {
        match self.answers.recv_timeout(limits.time) {
            Ok(json) => serde_json::from_str(&json).map_err(|error| CompileError::NotRun(error.to_string())),
            Err(RecvTimeoutError::Timeout) => {
                Err(CompileError::Limit(format!("NVRTC was stopped after {} s", limits.time.as_secs_f64())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(CompileError::Limit(
                "NVRTC's process ended while it compiled: it ran out of memory or crashed".to_owned(),
            )),
        }
    }

    /// One unit. After any error but a refusal the server is of no further use.
    pub(super) fn compile(
        &mut self,
        unit: &Unit,
        includes: &[PathBuf],
        limits: &CompileLimits,
    ) -> Result<Compiled, CompileError> {
        let request = Request { unit: unit.clone(), includes: includes.to_vec() };
        let json =
            serde_json::to_string(&request).map_err(|error| CompileError::NotRun(error.to_string()))?;
        let written = self.input.as_mut().map(|input| writeln!(input, "{json}").and_then(|()| input.flush()));
        if !matches!(written, Some(Ok(()))) {
            return Err(CompileError::Limit("NVRTC's process ended before it was asked".to_owned()));
        }
        match self.receive(limits)? {
            Answer::Compiled(compiled) => Ok(compiled),
            Answer::Refused(message) => Err(CompileError::Refused(message)),
            Answer::NotRun(message) => Err(CompileError::NotRun(message)),
            Answer::Version(..) => {
                Err(CompileError::NotRun("NVRTC's process answered out of turn".to_owned()))
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        watched::kill(&mut self.child);
    }
}
