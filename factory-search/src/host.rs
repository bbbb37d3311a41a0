//! This program, started again to do a part of a search in a process of its own: run candidates, or compile.

use std::path::PathBuf;
use std::sync::OnceLock;

/// A program that calls [`serve_if_asked`] when it is started in this way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostProgram {
    /// The file, as it is named where it is started.
    pub path: PathBuf,
    /// What it is given on its command line.
    pub arguments: Vec<String>,
}

static OFFERED: OnceLock<Option<HostProgram>> = OnceLock::new();

/// To be called first thing in `main` by a program that searches. In a process that was started as a worker, or to compile,
/// it does that and does not come back; in any other it notes that this program can be started so. Programs that do not
/// call it run candidates in their own process, and compile with nvcc.
pub fn serve_if_asked() {
    crate::worker::serve_if_asked();
    crate::compile::serve_if_asked();
    let program = std::env::current_exe().ok();
    OFFERED.get_or_init(|| program.map(|path| HostProgram { path, arguments: Vec::new() }));
}

/// This program, if it offered itself.
pub(crate) fn offered() -> Option<HostProgram> {
    OFFERED.get().cloned().flatten()
}
