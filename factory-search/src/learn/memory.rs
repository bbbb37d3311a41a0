//! Where experiences are kept.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Experience, Task};
use crate::candidate::Candidate;
use crate::verdict::{Gate, Verdict};

/// What became of a candidate, in a form that can be kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It passed every gate and took so many seconds.
    Measured {
        /// Seconds of one execution.
        seconds: f64,
    },
    /// A gate refused it.
    Refused {
        /// The gate.
        gate: Gate,
        /// What it said.
        verdict: Verdict,
        /// Why, in words.
        reason: String,
    },
}

/// What memory holds about one candidate of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The candidate's digest, in hexadecimal.
    pub candidate: String,
    /// The device that judged it; a refusal before the GPU holds on every device.
    pub device: Option<String>,
    /// The version of the factory whose gates and clock judged it: another one may judge otherwise.
    pub harness: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// Keeps what was found out. All methods may be called from several threads.
pub trait Memory: Sync {
    /// What is known of this very candidate for this task under the present harness, on this device or before any.
    fn known(&self, task: &Task, candidate: &Candidate, device: &str) -> Option<Outcome>;

    /// Measured candidates of all tasks on this device.
    ///
    /// # Errors
    /// The memory cannot be read; in words.
    fn experiences(&self, device: &str) -> Result<Vec<Experience>, String>;

    /// Keeps an outcome, and for a measured candidate its samples in seconds and what a model can learn from it.
    ///
    /// # Errors
    /// It cannot be written; in words. The search goes on.
    fn record(
        &self,
        task: &Task,
        candidate: &Candidate,
        device: Option<&str>,
        outcome: &Outcome,
        samples: &[f64],
        experience: Option<&Experience>,
    ) -> Result<(), String>;
}

/// Why a notebook could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotebookError {
    /// The file cannot be read or written.
    #[error("`{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not a notebook.
    #[error("`{}`, line {line}: not a note of a search: {message}; move the file away to start anew", path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    task: Task,
    known: Known,
    experience: Option<Experience>,
}

/// A memory in this process, and in a file of one line a note where it has one. A line is written as soon as a verdict is
/// there, so that a search that was killed goes on where it was.
#[derive(Debug, Default)]
pub struct Notebook {
    path: Option<PathBuf>,
    notes: Mutex<Vec<Note>>,
}

impl Notebook {
    /// A memory that ends with this process.
    pub fn new() -> Notebook {
        Notebook::default()
    }

    /// The memory in a file, which need not be there yet. A last line that was not finished, because a search was killed
    /// while it wrote, is left out.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn open(path: &Path) -> Result<Notebook, NotebookError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(NotebookError::File { path: path.to_owned(), source }),
        };
        let mut notes = Vec::new();
        for (index, line) in text.split_inclusive('\n').enumerate() {
            match serde_json::from_str(line) {
                Ok(note) => notes.push(note),
                Err(_) if !line.ends_with('\n') => {}
                Err(error) => {
                    let message = error.to_string();
                    return Err(NotebookError::Note { path: path.to_owned(), line: index + 1, message });
                }
            }
        }
        Ok(Notebook { path: Some(path.to_owned()), notes: Mutex::new(notes) })
    }

    /// Adds an experience that no search here made.
    pub fn learn(&self, experience: Experience) {
        let seconds = experience.seconds.unwrap_or(f64::INFINITY);
        let known = Known {
            candidate: String::new(),
            device: None,
            harness: String::new(),
            outcome: Outcome::Measured { seconds },
        };
        self.notes().push(Note { task: experience.task.clone(), known, experience: Some(experience) });
    }

    fn notes(&self) -> MutexGuard<'_, Vec<Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(path: &Path, note: &Note) -> Result<(), String> {
        use std::io::Write;
        let mut line = serde_json::to_string(note).map_err(|error| error.to_string())?;
        line.push('\n');
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .map_err(|error| format!("`{}`: {error}", path.display()))?;
        file.lock().map_err(|error| format!("`{}`: {error}", path.display()))?;
        drop_unfinished(&mut file).map_err(|error| format!("`{}`: {error}", path.display()))?;
        file.write_all(line.as_bytes()).map_err(|error| format!("`{}`: {error}", path.display()))
    }
}

/// Takes away what a killed search left of a last line.
fn drop_unfinished(file: &mut std::fs::File) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last[0] != b'\n' {
        let mut text = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        file.set_len(whole as u64)?;
    }
    Ok(())
}

fn digest(candidate: &Candidate) -> String {
    candidate.digest().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn harness() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

impl Memory for Notebook {
    fn known(&self, task: &Task, candidate: &Candidate, device: &str) -> Option<Outcome> {
        let digest = digest(candidate);
        let notes = self.notes();
        notes
            .iter()
            .rev()
            .filter(|note| note.known.candidate == digest && note.known.harness == harness())
            .filter(|note| note.task.is(task))
            .find(|note| note.known.device.as_deref().is_none_or(|known| known == device))
            .map(|note| note.known.outcome.clone())
    }

    fn experiences(&self, device: &str) -> Result<Vec<Experience>, String> {
        let notes = self.notes();
        let here =
            notes.iter().filter(|note| note.known.device.as_deref().is_none_or(|known| known == device));
        Ok(here.filter_map(|note| note.experience.clone()).collect())
    }

    fn record(
        &self,
        task: &Task,
        candidate: &Candidate,
        device: Option<&str>,
        outcome: &Outcome,
        _samples: &[f64],
        experience: Option<&Experience>,
    ) -> Result<(), String> {
        let known = Known {
            candidate: digest(candidate),
            device: device.map(str::to_owned),
            harness: harness().to_owned(),
            outcome: outcome.clone(),
        };
        let note = Note { task: task.clone(), known, experience: experience.cloned() };
        let written = self.path.as_deref().map_or(Ok(()), |path| Self::append(path, &note));
        self.notes().push(note);
        written
    }
}
