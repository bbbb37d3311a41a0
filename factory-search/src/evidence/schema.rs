//! The tables, and how a file comes to have them.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::error::EvidenceError;
use super::note::{Lesson, Note};
use super::store::{insert_lesson, insert_note, lessons_of};
use super::transfer::notes_of;

/// `KFev`: tells an evidence file from any other database.
const APPLICATION: i64 = 0x4b46_6576;
/// The version of the tables.
///
/// - 1: a task was known by its meaning and sizes and a candidate by its digest alone, so that a note came out with the names of
///   another one and was not known when it came back.
/// - 2: device and harness stood in the verdict; driver, assembler and the texts of specs were not kept.
pub(super) const VERSION: i64 = 3;
/// The first version with environments and specs.
pub(super) const WITH_ENVIRONMENTS: i64 = 3;

const TABLES: &str = "
CREATE TABLE spec (
    id INTEGER PRIMARY KEY,
    meaning TEXT NOT NULL UNIQUE, -- digest of the text
    text TEXT NOT NULL          -- canonical: what is correct
);
CREATE TABLE task (
    id INTEGER PRIMARY KEY,
    kernel TEXT NOT NULL,
    meaning TEXT NOT NULL,      -- digest of what is correct; its text, where it is known, is in spec
    sizes TEXT NOT NULL,        -- m=32768 n=4096
    traits TEXT NOT NULL,       -- JSON: named numbers by which tasks are compared
    UNIQUE (meaning, sizes, kernel, traits)
);
CREATE TABLE candidate (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,       -- of PTX and plan
    name TEXT NOT NULL,
    proposer TEXT NOT NULL,
    arch TEXT NOT NULL,
    tunables TEXT NOT NULL,     -- JSON
    origin TEXT NOT NULL,       -- JSON: source digest, compiler with its host compiler, flags
    UNIQUE (digest, name, proposer, arch, tunables, origin)
);
CREATE TABLE environment (
    id INTEGER PRIMARY KEY,
    device TEXT,                -- NULL: before any device
    driver TEXT,                -- NULL: before any device, or not known
    harness TEXT NOT NULL,      -- the version of the gates and the clock
    assembler TEXT              -- the version of ptxas; NULL: none, or not known
);
CREATE TABLE verdict (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE, -- of everything that the note says
    task INTEGER NOT NULL REFERENCES task,
    candidate INTEGER NOT NULL REFERENCES candidate,
    environment INTEGER NOT NULL REFERENCES environment,
    at INTEGER NOT NULL,        -- seconds since 1970
    gate TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT,                -- with the counterexample
    seconds REAL,               -- where it was measured
    samples TEXT,               -- JSON: the measured windows
    experience TEXT             -- JSON: what a model learns from
);
CREATE INDEX verdict_of ON verdict (candidate, task);
CREATE INDEX verdict_on ON verdict (environment) WHERE experience IS NOT NULL;
CREATE TABLE lesson (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    text TEXT NOT NULL,
    rests_on TEXT NOT NULL,
    holds TEXT NOT NULL
);
";

/// Every table with what tells its rows apart.
const ROWS: [(&str, &[&str]); 6] = [
    ("spec", &["meaning"]),
    ("task", &["meaning", "sizes", "kernel", "traits"]),
    ("candidate", &["digest", "name", "proposer", "arch", "tunables", "origin"]),
    // Its columns may be NULL, which no constraint tells apart: the trigger does.
    ("environment", &["device", "driver", "harness", "assembler"]),
    ("verdict", &["digest"]),
    ("lesson", &["digest"]),
];

/// Nothing that was noted is changed. Pruning drops these and puts them back in one transaction.
pub(super) fn guards() -> String {
    let guards = ROWS.map(|(table, key)| {
        let same: Vec<String> = key.iter().map(|column| format!("{column} IS NEW.{column}")).collect();
        // The last one is for `INSERT OR REPLACE`, which removes the row that it replaces without asking the first one.
        format!(
            "CREATE TRIGGER {table}_stays BEFORE DELETE ON {table}
             BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;
             CREATE TRIGGER {table}_is BEFORE UPDATE ON {table}
             BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;
             CREATE TRIGGER {table}_once BEFORE INSERT ON {table}
             WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id OR ({}))
             BEGIN SELECT RAISE(IGNORE); END;\n",
            same.join(" AND ")
        )
    });
    guards.concat()
}

/// What takes [`guards`] away.
pub(super) fn no_guards() -> String {
    ROWS.map(|(table, _)| {
        format!("DROP TRIGGER {table}_stays; DROP TRIGGER {table}_is; DROP TRIGGER {table}_once;\n")
    })
    .concat()
}

/// The version of an evidence file; 0 for a file with nothing in it. Changes nothing.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<i64, EvidenceError> {
    let sqlite = |error: rusqlite::Error| EvidenceError::of(path, &error);
    // One statement, one state of the file: another process may be making the tables meanwhile.
    let (application, version, tables): (i64, i64, i64) = connection
        .query_row(
            "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
                    (SELECT count(*) FROM sqlite_schema)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .map_err(sqlite)?;
    if application != APPLICATION && (application != 0 || tables > 0) {
        return Err(EvidenceError::Foreign { path: path.to_owned() });
    }
    if version > VERSION {
        return Err(EvidenceError::Newer { path: path.to_owned(), found: version, known: VERSION });
    }
    Ok(if application == APPLICATION { version } else { 0 })
}

/// Makes the tables where there are none, and makes older ones new.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), EvidenceError> {
    let sqlite = |error: rusqlite::Error| EvidenceError::of(path, &error);
    // Two processes may find the file empty at once: the second waits here and then finds it made.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
    let found = version(&transaction, path)?;
    if found == VERSION {
        return Ok(());
    }
    let mut old = Old::default();
    if found > 0 {
        old = Old::of(&transaction, path, found)?;
        let drop = "DROP TABLE verdict; DROP TABLE candidate; DROP TABLE task; DROP TABLE lesson;";
        transaction.execute_batch(drop).map_err(sqlite)?;
    }
    build(&transaction, &old).map_err(sqlite)?;
    transaction.commit().map_err(sqlite)
}

/// What an older file holds, in a database of its own that cannot change: for who only looks, and may not make it new. `None` where
/// another process has made it new meanwhile.
pub(super) fn copied(connection: &mut Connection, path: &Path) -> Result<Option<Connection>, EvidenceError> {
    let sqlite = |error: rusqlite::Error| EvidenceError::of(path, &error);
    let transaction = connection.transaction().map_err(sqlite)?;
    let old = match version(&transaction, path)? {
        0 => Old::default(),
        VERSION => return Ok(None),
        found => Old::of(&transaction, path, found)?,
    };
    let mut copy = Connection::open_in_memory().map_err(sqlite)?;
    let made = copy.transaction().map_err(sqlite)?;
    build(&made, &old).map_err(sqlite)?;
    made.commit().map_err(sqlite)?;
    copy.pragma_update(None, "query_only", true).map_err(sqlite)?;
    Ok(Some(copy))
}

/// What the older versions kept.
#[derive(Default)]
struct Old {
    notes: Vec<Note>,
    lessons: Vec<Lesson>,
}

impl Old {
    fn of(connection: &Connection, path: &Path, version: i64) -> Result<Old, EvidenceError> {
        let lessons = lessons_of(connection).map_err(|error| EvidenceError::of(path, &error))?;
        Ok(Old { notes: notes_of(connection, path, None, version)?, lessons })
    }
}

/// Makes the tables in an empty database, and fills them.
fn build(transaction: &Transaction<'_>, old: &Old) -> rusqlite::Result<()> {
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(&guards())?;
    for note in &old.notes {
        insert_note(transaction, note)?;
    }
    for lesson in &old.lessons {
        insert_lesson(transaction, lesson)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)
}
