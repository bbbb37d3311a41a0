//! Writing a log.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::event::{LogEvent, LogLine, LogOutcome, LogStart};
use super::read::{EXTENSION, logs};
use crate::observer::{Event, Observer};

/// The version of the format that this crate writes.
pub const FORMAT: u32 = 1;
/// Logs that a folder keeps; the oldest go when a new one begins.
pub const KEPT: usize = 100;

/// An observer that writes down what it hears.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
    started: Instant,
    trouble: Option<io::Error>,
}

impl EventLog {
    /// Begins a log in `folder`, which is made when it is not there. Its name begins with the time, so that names sort by age.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn create(folder: &Path, start: &LogStart) -> io::Result<EventLog> {
        fs::create_dir_all(folder)?;
        prune(folder, KEPT.saturating_sub(1));
        let (path, file) = fresh(folder, start)?;
        // Held as long as this process writes, and let go by the system when it dies: that is how a reader tells a
        // search that takes its time from one that was killed. Where locks of open files keep readers out there is none.
        #[cfg(not(windows))]
        let _ = file.try_lock();
        let mut log = EventLog { path, file, started: Instant::now(), trouble: None };
        log.write(LogEvent::Start(start.clone()));
        match log.trouble.take() {
            Some(error) => Err(error),
            None => Ok(log),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why the log stopped before the search did, if it did.
    pub fn trouble(&self) -> Option<&io::Error> {
        self.trouble.as_ref()
    }

    /// Writes the last line.
    pub fn finish(&mut self, outcome: LogOutcome) {
        self.write(LogEvent::End(outcome));
    }

    fn write(&mut self, event: LogEvent) {
        if self.trouble.is_some() {
            return;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let line = LogLine {
            time: (now.as_secs_f64() * 1e3).round() / 1e3,
            elapsed: (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e6,
            event,
        };
        let written = serde_json::to_string(&line).map_err(io::Error::from).and_then(|mut text| {
            text.push('\n');
            // In one piece: a reader meets whole lines, but for the one that a full disk or a kill cut.
            self.file.write_all(text.as_bytes())
        });
        if let Err(error) = written {
            self.trouble = Some(error);
        }
    }
}

impl Observer for EventLog {
    fn event(&mut self, event: &Event<'_>) {
        self.write(event.into());
    }
}

/// A file that was not there before.
fn fresh(folder: &Path, start: &LogStart) -> io::Result<(PathBuf, File)> {
    let time: String = humantime::format_rfc3339_millis(SystemTime::now())
        .to_string()
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect()
    };
    let stem = format!(
        "{time}-{}-{}-{}",
        plain(&start.kernel),
        plain(&start.key[..12.min(start.key.len())]),
        start.process
    );
    let mut attempt = 0;
    loop {
        let suffix = if attempt == 0 { String::new() } else { format!("-{attempt}") };
        let path = folder.join(format!("{stem}{suffix}.{EXTENSION}"));
        match File::options().append(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Removes the oldest logs, but none that is being written.
fn prune(folder: &Path, keep: usize) {
    let logs = logs(folder);
    for path in logs.iter().take(logs.len().saturating_sub(keep)) {
        let written = File::open(path).is_ok_and(|file| file.try_lock_shared().is_err());
        if !written {
            let _ = fs::remove_file(path);
        }
    }
}
