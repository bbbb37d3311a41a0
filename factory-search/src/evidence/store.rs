//! The file.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::error::EvidenceError;
use super::note::{Judged, Lesson, Note, SpecText, hex};
use super::schema;
use crate::candidate::Candidate;
use crate::learn::{Experience, Memory, Outcome, Task};
use crate::verdict::{Gate, Verdict};

/// The file's name in the cache folder.
pub const FILE: &str = "evidence.sqlite";

/// How long a process waits for another one's transaction, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open evidence file.
#[derive(Debug)]
pub struct Evidence {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Where a damaged file was moved to.
    moved: Option<PathBuf>,
}

impl Evidence {
    /// Opens the file, or makes it. A damaged one is moved aside, see [`Evidence::moved`], and a new one begun.
    ///
    /// # Errors
    /// The file is of a newer factory or of something else, which leaves it as it is, or it cannot be written.
    pub fn open(path: &Path) -> Result<Evidence, EvidenceError> {
        // Whoever opens the file holds the lock with others; who moves a damaged one holds it alone. So nobody has it open
        // while it is moved, and SQLite's own files beside it are always those of the file that has the name. Where no lock
        // can be made the file cannot be written either, which SQLite says better.
        let lock = lock_beside(path);
        let shared = lock.as_ref().map(std::fs::File::lock_shared);
        let opened = Evidence::connect(path);
        if let (Some(lock), Some(Ok(()))) = (&lock, shared) {
            let _ = lock.unlock();
        }
        match opened {
            // Who names a spec or an exported file by mistake wants it where it is.
            Err(EvidenceError::Damaged { .. }) if is_text(path) => {
                Err(EvidenceError::Foreign { path: path.to_owned() })
            }
            Err(EvidenceError::Damaged { .. }) => Evidence::begin_anew(path, lock),
            opened => opened,
        }
    }

    /// Moves a damaged file aside and makes a new one.
    fn begin_anew(path: &Path, lock: Option<std::fs::File>) -> Result<Evidence, EvidenceError> {
        let file = |source: std::io::Error| EvidenceError::File { path: path.to_owned(), source };
        if let Some(lock) = &lock {
            lock.lock().map_err(file)?;
        }
        // Another process may have found the damage too, and begun a new file by now: that one is not to be moved.
        match Evidence::connect(path) {
            Err(EvidenceError::Damaged { .. }) => {}
            opened => return opened,
        }
        let moved = aside(path);
        std::fs::rename(path, &moved).map_err(file)?;
        // What SQLite keeps beside a file belongs to that file.
        for end in ["-wal", "-shm"] {
            let _ = std::fs::rename(with_end(path, end), with_end(&moved, end));
        }
        Ok(Evidence { moved: Some(moved), ..Evidence::connect(path)? })
    }

    fn connect(path: &Path) -> Result<Evidence, EvidenceError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|source| EvidenceError::File { path: folder.to_owned(), source })?;
        }
        let sqlite = |error: rusqlite::Error| EvidenceError::of(path, &error);
        let mut connection = Connection::open(path).map_err(sqlite)?;
        connection.busy_timeout(PATIENCE).map_err(sqlite)?;
        // Looks before anything is written: a file of something else stays as it is, to the byte.
        let found = schema::version(&connection, path)?;
        // Readers do not wait for writers. With WAL, `NORMAL` loses at most the last notes when the power fails, and nothing
        // when a process is killed.
        change_journal(&connection).map_err(sqlite)?;
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(sqlite)?;
        if found == schema::VERSION {
            check(&connection, path)?;
        } else {
            schema::prepare(&mut connection, path)?;
        }
        connection.pragma_update(None, "foreign_keys", true).map_err(sqlite)?;
        Ok(Evidence { path: path.to_owned(), connection: Mutex::new(connection), moved: None })
    }

    /// Opens the file so that nothing in it can change.
    ///
    /// # Errors
    /// There is none, it is of a newer factory or of something else, or it cannot be read.
    pub fn read_only(path: &Path) -> Result<Evidence, EvidenceError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sqlite = |error: rusqlite::Error| EvidenceError::of(path, &error);
        if !path.exists() {
            return Err(EvidenceError::Missing { path: path.to_owned() });
        }
        let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
        connection.busy_timeout(PATIENCE).map_err(sqlite)?;
        if schema::version(&connection, path)? != schema::VERSION
            && let Some(copy) = schema::copied(&mut connection, path)?
        {
            connection = copy;
        }
        Ok(Evidence { path: path.to_owned(), connection: Mutex::new(connection), moved: None })
    }

    /// An empty one that is in no file; errors name `path`.
    pub(super) fn in_memory(path: &Path) -> Result<Evidence, EvidenceError> {
        let sqlite = |error: rusqlite::Error| EvidenceError::of(path, &error);
        let mut connection = Connection::open_in_memory().map_err(sqlite)?;
        schema::prepare(&mut connection, path)?;
        Ok(Evidence { path: path.to_owned(), connection: Mutex::new(connection), moved: None })
    }

    /// From now on nothing in it can change.
    pub(super) fn write_protect(&self) -> Result<(), EvidenceError> {
        self.read(|connection| connection.pragma_update(None, "query_only", true))
    }

    /// Waits at most so long for another process's transaction from now on.
    ///
    /// # Errors
    /// SQLite refuses it.
    pub fn wait(&self, patience: Duration) -> Result<(), EvidenceError> {
        self.read(|connection| connection.busy_timeout(patience))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a damaged file was moved to when this one was opened in its place.
    pub fn moved(&self) -> Option<&Path> {
        self.moved.as_deref()
    }

    /// Keeps one note; whether it was new.
    ///
    /// # Errors
    /// It says what cannot be, or cannot be written.
    pub fn keep(&self, note: &Note) -> Result<bool, EvidenceError> {
        note.check().map_err(|message| EvidenceError::Note { message })?;
        self.write(|transaction| insert_note(transaction, note))
    }

    /// Keeps a lesson; whether it was new.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn learn(&self, lesson: &Lesson) -> Result<bool, EvidenceError> {
        self.write(|transaction| insert_lesson(transaction, lesson))
    }

    /// All lessons, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lessons(&self) -> Result<Vec<Lesson>, EvidenceError> {
        self.read(lessons_of)
    }

    /// Runs `work` as one transaction: all of it is kept, or nothing.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, EvidenceError> {
        let mut connection = self.connection();
        let attempt = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        attempt().map_err(|error: rusqlite::Error| EvidenceError::of(&self.path, &error))
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, EvidenceError> {
        work(&self.connection()).map_err(|error| EvidenceError::of(&self.path, &error))
    }

    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in another thread leaves no half transaction: SQLite rolls it back when it is dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory for Evidence {
    fn known(&self, task: &Task, candidate: &Candidate, device: &str) -> Option<Outcome> {
        let found = self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT gate, verdict, reason, seconds FROM verdict
                     JOIN task ON task.id = verdict.task JOIN candidate ON candidate.id = verdict.candidate
                     JOIN environment ON environment.id = verdict.environment
                     WHERE candidate.digest = ?1 AND meaning = ?2 AND sizes = ?3 AND harness = ?4
                       AND (device IS NULL OR device = ?5) AND verdict <> 'infrastructure'
                     ORDER BY verdict.at DESC, verdict.id DESC LIMIT 1",
                )?
                .query_row(
                    params![hex(&candidate.digest()), task.meaning, task.sizes, harness(), device],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
                )
                .optional()
        });
        // Evidence that cannot be read is no evidence: the candidate is judged again.
        let (gate, verdict, reason, seconds): (String, String, Option<String>, Option<f64>) =
            found.ok()??;
        match seconds {
            Some(seconds) => Some(Outcome::Measured { seconds }),
            None => Some(Outcome::Refused {
                gate: Gate::ALL.into_iter().find(|known| known.name() == gate)?,
                verdict: Verdict::ALL.into_iter().find(|known| known.name() == verdict)?,
                reason: reason.unwrap_or_default(),
            }),
        }
    }

    fn experiences(&self, device: &str) -> Result<Vec<Experience>, String> {
        let texts: Vec<String> = self
            .read(|connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT experience FROM verdict JOIN environment ON environment.id = verdict.environment
                     WHERE experience IS NOT NULL AND (device IS NULL OR device = ?1) ORDER BY verdict.id",
                )?;
                statement.query_map([device], |row| row.get(0))?.collect()
            })
            .map_err(|error| error.to_string())?;
        // What another version wrote in a form that this one does not know teaches nothing, and stays.
        Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
    }

    fn record(
        &self,
        task: &Task,
        candidate: &Candidate,
        device: Option<&str>,
        outcome: &Outcome,
        samples: &[f64],
        experience: Option<&Experience>,
    ) -> Result<(), String> {
        let note = judgement(task, candidate, device, outcome, samples, experience);
        self.keep(&note).map(drop).map_err(|error| error.to_string())
    }
}

/// What a search has just found out, as a note of now and here.
pub(super) fn judgement(
    task: &Task,
    candidate: &Candidate,
    device: Option<&str>,
    outcome: &Outcome,
    samples: &[f64],
    experience: Option<&Experience>,
) -> Note {
    Note {
        task: task.clone(),
        candidate: Judged::of(candidate),
        device: device.map(str::to_owned),
        harness: harness().to_owned(),
        at: now(),
        outcome: outcome.clone(),
        samples: samples.to_vec(),
        experience: experience.cloned(),
        driver: None,
        assembler: None,
    }
}

/// The version of the gates and the clock.
pub(super) fn harness() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

pub(super) fn lessons_of(connection: &Connection) -> rusqlite::Result<Vec<Lesson>> {
    let mut statement =
        connection.prepare("SELECT text, rests_on, holds, at FROM lesson ORDER BY at, digest")?;
    let rows = statement.query_map([], |row| {
        Ok(Lesson { text: row.get(0)?, rests_on: row.get(1)?, holds: row.get(2)?, at: row.get(3)? })
    })?;
    rows.collect()
}

pub(super) fn insert_note(transaction: &Transaction<'_>, note: &Note) -> rusqlite::Result<bool> {
    let (task, candidate) = (&note.task, &note.candidate);
    let task = row(
        transaction,
        "INSERT OR IGNORE INTO task (kernel, meaning, sizes, traits) VALUES (?1, ?2, ?3, ?4)",
        "SELECT id FROM task WHERE kernel = ?1 AND meaning = ?2 AND sizes = ?3 AND traits = ?4",
        &[&task.kernel, &task.meaning, &task.sizes, &json(&task.traits)],
    )?;
    let candidate = row(
        transaction,
        "INSERT OR IGNORE INTO candidate (digest, name, proposer, arch, tunables, origin)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        "SELECT id FROM candidate WHERE digest = ?1 AND name = ?2 AND proposer = ?3 AND arch = ?4
           AND tunables = ?5 AND origin = ?6",
        &[
            &candidate.digest,
            &candidate.name,
            &candidate.proposer,
            &candidate.arch,
            &json(&candidate.tunables),
            &json(&candidate.origin),
        ],
    )?;
    let environment = row(
        transaction,
        "INSERT INTO environment (device, driver, harness, assembler) VALUES (?1, ?2, ?3, ?4)",
        "SELECT id FROM environment WHERE device IS ?1 AND driver IS ?2 AND harness IS ?3 AND assembler IS ?4",
        &[&note.device, &note.driver, &note.harness, &note.assembler],
    )?;
    let (gate, verdict, reason, seconds) = match &note.outcome {
        Outcome::Measured { seconds } => (Gate::Time.name(), Verdict::Pass.name(), None, Some(*seconds)),
        Outcome::Refused { gate, verdict, reason } => (gate.name(), verdict.name(), Some(reason), None),
    };
    let samples = (!note.samples.is_empty()).then(|| json(&note.samples));
    let experience = note.experience.as_ref().map(json);
    let added = transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO verdict
                 (digest, task, candidate, environment, at, gate, verdict, reason, seconds, samples, experience)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            note.digest(),
            task,
            candidate,
            environment,
            note.at,
            gate,
            verdict,
            reason,
            seconds,
            samples,
            experience
        ])?;
    Ok(added > 0)
}

pub(super) fn insert_spec(transaction: &Transaction<'_>, spec: &SpecText) -> rusqlite::Result<bool> {
    let added = transaction
        .prepare_cached("INSERT OR IGNORE INTO spec (meaning, text) VALUES (?1, ?2)")?
        .execute([&spec.meaning, &spec.text])?;
    Ok(added > 0)
}

pub(super) fn insert_lesson(transaction: &Transaction<'_>, lesson: &Lesson) -> rusqlite::Result<bool> {
    let added = transaction.execute(
        "INSERT OR IGNORE INTO lesson (digest, at, text, rests_on, holds) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![lesson.digest(), lesson.at, lesson.text, lesson.rests_on, lesson.holds],
    )?;
    Ok(added > 0)
}

/// The number of a row, which is added where it is not there.
fn row(
    transaction: &Transaction<'_>,
    insert: &str,
    select: &str,
    values: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<i64> {
    transaction.prepare_cached(insert)?.execute(values)?;
    transaction.prepare_cached(select)?.query_row(values, |row| row.get(0))
}

/// Has SQLite write ahead. Of several processes that do this to a new file at once it turns all but one away without having
/// them wait.
fn change_journal(connection: &Connection) -> rusqlite::Result<()> {
    let start = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && start.elapsed() < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            changed => return changed,
        }
    }
}

/// Finds damage behind the first page, which would otherwise stop each search half-way.
fn check(connection: &Connection, path: &Path) -> Result<(), EvidenceError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| EvidenceError::of(path, &error))?;
    if found == "ok" {
        return Ok(());
    }
    Err(EvidenceError::Damaged { path: path.to_owned(), message: found })
}

/// Numbers, words, lists and maps alone are printed here, which cannot fail.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The file by which processes tell each other that they open evidence or move it.
fn lock_beside(path: &Path) -> Option<std::fs::File> {
    if let Some(folder) = path.parent() {
        // Where this fails, opening the file fails too and says why.
        let _ = std::fs::create_dir_all(folder);
    }
    std::fs::File::options().create(true).append(true).open(with_end(path, ".lock")).ok()
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Whether a file begins with words: no evidence does, damaged or not.
fn is_text(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    let word = |&byte: &u8| byte >= 0x80 || matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    read.is_ok() && !start.is_empty() && start.iter().all(word)
}

/// A name for a damaged file that no other has.
fn aside(path: &Path) -> PathBuf {
    let names = (0..).map(|number| with_end(path, &format!(".damaged-{}-{number}", now())));
    names.into_iter().find(|name| !name.exists()).unwrap_or_else(|| with_end(path, ".damaged"))
}
