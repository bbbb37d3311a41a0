//! Why evidence could not be read or written.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why evidence could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The folder cannot be made, or a file not be read or written.
    #[error("`{}`: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file was written by a newer factory.
    #[error(
        "`{}` has version {found} of the evidence format, and this factory knows {known}; use the newer factory, or another file",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// There is no file, and it was not to be made.
    #[error("there is no evidence in `{}`; a search that measures writes it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is a database of something else, or text.
    #[error("`{}` is no evidence file; it stays as it is, name another one (what `export` wrote is read by `import`)", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("`{}` is damaged: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        message: String,
    },
    /// Another process holds the file for too long.
    #[error("`{}` is locked by another process; try again when it is done", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// There is no room left.
    #[error("there is no room for `{}`: {message}; free some, or `cargo factory evidence prune`", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        message: String,
    },
    /// The file, or its folder, cannot be written.
    #[error("`{}` cannot be written: {message}", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        message: String,
    },
    /// A note says what cannot be, such as a time that is no number.
    #[error("this cannot be noted: {message}")]
    Note {
        /// What is wrong with it.
        message: String,
    },
    /// A query that would write.
    #[error("a question was expected, not a statement that changes or writes something")]
    NoQuestion,
    /// A line of an exported file is no spec, no note and no lesson.
    #[error("`{}`, line {line}: {message}; nothing was imported from this file", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// Anything else that SQLite refuses, such as a query with a mistake.
    #[error("`{}`: {message}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        message: String,
    },
}

impl EvidenceError {
    /// SQLite's error about a file, by what a person would do about it.
    pub(super) fn of(path: &Path, error: &rusqlite::Error) -> EvidenceError {
        let (path, message) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => EvidenceError::Locked { path },
            Some(ErrorCode::DiskFull) => EvidenceError::Full { path, message },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                EvidenceError::ReadOnly { path, message }
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                EvidenceError::Damaged { path, message }
            }
            _ => EvidenceError::Sqlite { path, message },
        }
    }
}
