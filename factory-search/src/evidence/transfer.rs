//! Specs, notes and lessons as JSON lines, to be committed beside a kernel, sent and merged.

use std::io::{self, BufRead, Write};
use std::path::Path;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::error::EvidenceError;
use super::note::{Judged, Lesson, Note, SpecText};
use super::schema::{VERSION, WITH_ENVIRONMENTS};
use super::store::{Evidence, insert_lesson, insert_note, insert_spec};
use crate::learn::{Outcome, Task};
use crate::verdict::{Gate, Verdict};

/// One line of an exported file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Spec(SpecText),
    Note(Box<Note>),
    Lesson(Lesson),
}

/// What an import added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Specs, notes and lessons that were new.
    pub added: usize,
    /// Those that were there already.
    pub known: usize,
}

impl Evidence {
    /// Writes the specs and all notes of a kernel, or of all, and then all lessons, one a line, in an order that does not
    /// depend on how they got here; how many lines.
    ///
    /// # Errors
    /// The file cannot be read, or `into` not be written.
    pub fn export(&self, kernel: Option<&str>, into: &mut dyn Write) -> Result<usize, EvidenceError> {
        let mut count = 0;
        let mut put = |line: &Line| -> io::Result<()> {
            serde_json::to_writer(&mut *into, line)?;
            count += 1;
            into.write_all(b"\n")
        };
        let failed = |source: io::Error| EvidenceError::File { path: self.path().to_owned(), source };
        for spec in self.specs(kernel)? {
            put(&Line::Spec(spec)).map_err(failed)?;
        }
        for note in self.notes(kernel)? {
            put(&Line::Note(Box::new(note))).map_err(failed)?;
        }
        for lesson in self.lessons()? {
            put(&Line::Lesson(lesson)).map_err(failed)?;
        }
        // A writer that is dropped with something left in it keeps a full disk to itself.
        into.flush().map_err(failed)?;
        Ok(count)
    }

    /// Adds what [`Evidence::export`] wrote; all of it, or nothing when a line is wrong.
    ///
    /// # Errors
    /// `path` cannot be read, a line of it is no spec, no note and no lesson, or this file cannot be written.
    pub fn import(&self, path: &Path) -> Result<Imported, EvidenceError> {
        let unreadable = |source: io::Error| EvidenceError::File { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut lines = Vec::new();
        for (index, text) in io::BufReader::new(file).lines().enumerate() {
            let wrong =
                |message: String| EvidenceError::Line { path: path.to_owned(), line: index + 1, message };
            let text = text.map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => wrong(error.to_string()),
                _ => unreadable(error),
            })?;
            if text.trim().is_empty() {
                continue;
            }
            let line = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            match &line {
                Line::Spec(spec) => spec.check().map_err(wrong)?,
                Line::Note(note) => note.check().map_err(wrong)?,
                Line::Lesson(_) => {}
            }
            lines.push(line);
        }
        self.add(&lines)
    }

    /// Adds everything of another file.
    ///
    /// # Errors
    /// One of the two cannot be read or written.
    pub fn merge(&self, other: &Evidence) -> Result<Imported, EvidenceError> {
        let specs = other.specs(None)?.into_iter().map(Line::Spec);
        let notes = other.notes(None)?.into_iter().map(|note| Line::Note(Box::new(note)));
        let lessons = other.lessons()?.into_iter().map(Line::Lesson);
        self.add(&specs.chain(notes).chain(lessons).collect::<Vec<_>>())
    }

    fn add(&self, lines: &[Line]) -> Result<Imported, EvidenceError> {
        self.write(|transaction| {
            let mut imported = Imported::default();
            for line in lines {
                let new = match line {
                    Line::Spec(spec) => insert_spec(transaction, spec)?,
                    Line::Note(note) => insert_note(transaction, note)?,
                    Line::Lesson(lesson) => insert_lesson(transaction, lesson)?,
                };
                *(if new { &mut imported.added } else { &mut imported.known }) += 1;
            }
            Ok(imported)
        })
    }

    /// The notes of a kernel, or of all, oldest first, equally old ones by their digest.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn notes(&self, kernel: Option<&str>) -> Result<Vec<Note>, EvidenceError> {
        notes_of(&self.connection(), self.path(), kernel, VERSION)
    }

    /// The texts of the specs of a kernel's tasks, or of all, by digest. Those that were judged by older factories are not
    /// known.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn specs(&self, kernel: Option<&str>) -> Result<Vec<SpecText>, EvidenceError> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT meaning, text FROM spec
                 WHERE ?1 IS NULL OR meaning IN (SELECT meaning FROM task WHERE kernel = ?1) ORDER BY meaning",
            )?;
            let rows = statement
                .query_map([kernel], |row| Ok(SpecText { meaning: row.get(0)?, text: row.get(1)? }))?;
            rows.collect()
        })
    }
}

pub(super) fn notes_of(
    connection: &Connection,
    path: &Path,
    kernel: Option<&str>,
    version: i64,
) -> Result<Vec<Note>, EvidenceError> {
    let (environment, join) = match version >= WITH_ENVIRONMENTS {
        true => ("driver, assembler", "JOIN environment ON environment.id = verdict.environment"),
        false => ("NULL, NULL", ""),
    };
    let read = || {
        let mut statement = connection.prepare(&format!(
            "SELECT kernel, meaning, sizes, traits, candidate.digest, name, proposer, arch, tunables, origin,
                    device, harness, at, gate, verdict, reason, seconds, samples, experience, {environment}
             FROM verdict JOIN task ON task.id = verdict.task JOIN candidate ON candidate.id = verdict.candidate {join}
             WHERE ?1 IS NULL OR kernel = ?1 ORDER BY at, verdict.digest",
        ))?;
        let rows = statement.query_map([kernel], |row| {
            Ok(Row {
                task: (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?),
                candidate: (row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?),
                judged: (row.get(10)?, row.get(11)?, row.get(12)?),
                outcome: (row.get(13)?, row.get(14)?, row.get(15)?, row.get(16)?),
                samples: row.get(17)?,
                experience: row.get(18)?,
                tools: (row.get(19)?, row.get(20)?),
            })
        })?;
        rows.collect::<rusqlite::Result<Vec<Row>>>()
    };
    read()
        .map_err(|error| EvidenceError::of(path, &error))?
        .into_iter()
        .map(|row| row.note().map_err(|message| EvidenceError::Damaged { path: path.to_owned(), message }))
        .collect()
}

/// A row as it stands in the file.
struct Row {
    task: (String, String, String, String),
    candidate: (String, String, String, String, String, String),
    judged: (Option<String>, String, i64),
    outcome: (String, String, Option<String>, Option<f64>),
    samples: Option<String>,
    experience: Option<String>,
    tools: (Option<String>, Option<String>),
}

impl Row {
    fn note(self) -> Result<Note, String> {
        let (kernel, meaning, sizes, traits) = self.task;
        let (digest, name, proposer, arch, tunables, origin) = self.candidate;
        let (device, harness, at) = self.judged;
        let (gate, verdict, reason, seconds) = self.outcome;
        let (driver, assembler) = self.tools;
        let outcome = match seconds {
            Some(seconds) => Outcome::Measured { seconds },
            None => Outcome::Refused {
                gate: Gate::ALL
                    .into_iter()
                    .find(|known| known.name() == gate)
                    .ok_or_else(|| format!("there is no gate `{gate}`"))?,
                verdict: Verdict::ALL
                    .into_iter()
                    .find(|known| known.name() == verdict)
                    .ok_or_else(|| format!("there is no verdict `{verdict}`"))?,
                reason: reason.unwrap_or_default(),
            },
        };
        Ok(Note {
            task: Task { kernel, meaning, sizes, traits: json(&traits)? },
            candidate: Judged {
                digest,
                name,
                proposer,
                arch,
                tunables: json(&tunables)?,
                origin: json(&origin)?,
            },
            device,
            harness,
            at,
            outcome,
            samples: self.samples.map_or(Ok(Vec::new()), |text| json(&text))?,
            experience: self.experience.map(|text| json(&text)).transpose()?,
            driver,
            assembler,
        })
    }
}

fn json<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("`{text}`: {error}"))
}
