//! Reading a log, also while it is written.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::event::LogLine;

/// What logs' names end with.
pub(super) const EXTENSION: &str = "jsonl";

/// One line as it was read.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LogRead {
    /// A whole line.
    Line {
        /// As it stands in the file.
        text: String,
        /// What it says.
        line: Box<LogLine>,
    },
    /// A line that is none of ours; reading goes on after it.
    Broken {
        /// Its number, from 1.
        number: u64,
        /// What is wrong with it.
        message: String,
    },
}

/// Reads a log from its beginning, and goes on where it stopped when there is more.
#[derive(Debug)]
pub struct LogReader {
    file: File,
    position: u64,
    number: u64,
    partial: Vec<u8>,
}

impl LogReader {
    /// Opens a log.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> io::Result<LogReader> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        Ok(LogReader { file, position: 0, number: 0, partial: Vec::new() })
    }

    /// The whole lines that came since the last call. A last line without its end is kept until that comes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<LogRead>> {
        // Somebody cut the file: what stands there now is another story.
        if self.file.metadata()?.len() < self.position {
            self.position = 0;
            self.number = 0;
            self.partial.clear();
        }
        self.file.seek(SeekFrom::Start(self.position))?;
        let read = self.file.read_to_end(&mut self.partial)?;
        self.position += read as u64;
        let mut lines = Vec::new();
        let Some(end) = self.partial.iter().rposition(|&byte| byte == b'\n') else { return Ok(lines) };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        for bytes in whole[..end].split(|&byte| byte == b'\n') {
            self.number += 1;
            if !bytes.trim_ascii().is_empty() {
                lines.push(understand(bytes, self.number));
            }
        }
        Ok(lines)
    }

    /// Bytes of a last line whose end is not there.
    pub fn unfinished(&self) -> usize {
        self.partial.len()
    }

    /// Whether the process that writes the log is alive; `None` where files cannot be locked.
    pub fn is_written(&self) -> Option<bool> {
        if cfg!(windows) {
            return None;
        }
        match self.file.try_lock_shared() {
            Ok(()) => {
                let _ = self.file.unlock();
                Some(false)
            }
            Err(fs::TryLockError::WouldBlock) => Some(true),
            Err(fs::TryLockError::Error(_)) => None,
        }
    }
}

/// The log in `folder` that was begun last.
pub fn newest(folder: &Path) -> Option<PathBuf> {
    logs(folder).pop()
}

/// The logs of a folder, oldest first: names begin with the time.
pub fn logs(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == EXTENSION) && path.is_file()).collect();
    logs.sort();
    logs
}

fn understand(bytes: &[u8], number: u64) -> LogRead {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_end_matches('\r'),
        Err(error) => return LogRead::Broken { number, message: error.to_string() },
    };
    match serde_json::from_str(text) {
        Ok(line) => LogRead::Line { text: text.to_owned(), line: Box::new(line) },
        Err(error) => LogRead::Broken { number, message: error.to_string() },
    }
}
