//! Looking at evidence.

use rusqlite::types::ValueRef;
use serde::Serialize;

use super::error::EvidenceError;
use super::store::Evidence;

/// Which verdicts to look at; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The kernel's name.
    pub kernel: Option<String>,
    /// The gate that spoke last.
    pub gate: Option<String>,
    /// What it said.
    pub verdict: Option<String>,
    /// The device.
    pub device: Option<String>,
    /// At most so many, the newest.
    pub limit: Option<u64>,
}

/// What is known about one kernel at one choice of sizes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelSummary {
    /// The kernel's name.
    pub kernel: String,
    /// The sizes.
    pub sizes: String,
    /// Candidates with a verdict.
    pub candidates: u64,
    /// Measured ones.
    pub measured: u64,
    /// Refused ones.
    pub refused: u64,
    /// Seconds of the fastest.
    pub best: Option<f64>,
    /// Its name.
    pub best_candidate: Option<String>,
}

/// The answer to a query: names of columns, and rows of text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Values; a NULL is empty.
    pub rows: Vec<Vec<String>>,
}

impl Evidence {
    /// One line a kernel and sizes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn summary(&self) -> Result<Vec<KernelSummary>, EvidenceError> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT kernel, sizes, count(DISTINCT candidate), count(DISTINCT iif(seconds IS NULL, NULL, candidate)),
                        count(DISTINCT iif(seconds IS NULL, candidate, NULL)), min(seconds),
                        (SELECT name FROM candidate JOIN verdict AS v ON v.candidate = candidate.id
                         WHERE v.task = task.id AND v.seconds IS NOT NULL ORDER BY v.seconds, v.id LIMIT 1)
                 FROM verdict JOIN task ON task.id = verdict.task GROUP BY task.id ORDER BY kernel, task.id",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(KernelSummary {
                    kernel: row.get(0)?,
                    sizes: row.get(1)?,
                    candidates: row.get::<_, i64>(2)?.unsigned_abs(),
                    measured: row.get::<_, i64>(3)?.unsigned_abs(),
                    refused: row.get::<_, i64>(4)?.unsigned_abs(),
                    best: row.get(5)?,
                    best_candidate: row.get(6)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Verdicts, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(&self, filter: &Filter) -> Result<Table, EvidenceError> {
        let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        self.table(
            "SELECT kernel, sizes, name AS candidate, arch, device, gate, verdict, seconds, reason,
                    datetime(at, 'unixepoch') AS at
             FROM verdict JOIN task ON task.id = verdict.task JOIN candidate ON candidate.id = verdict.candidate
                  JOIN environment ON environment.id = verdict.environment
             WHERE (?1 IS NULL OR kernel = ?1) AND (?2 IS NULL OR gate = ?2) AND (?3 IS NULL OR verdict = ?3)
               AND (?4 IS NULL OR device = ?4)
             ORDER BY verdict.at DESC, verdict.id DESC LIMIT ?5",
            rusqlite::params![filter.kernel, filter.gate, filter.verdict, filter.device, limit],
        )
    }

    /// The answer to any SQL; open the file with [`Evidence::read_only`] for a question of a user's.
    ///
    /// # Errors
    /// The SQL has a mistake, or wants to change or to write something.
    pub fn query(&self, sql: &str) -> Result<Table, EvidenceError> {
        // `VACUUM INTO` writes a file even where the evidence cannot change.
        if !self.read(|connection| Ok(connection.prepare(sql)?.readonly()))? {
            return Err(EvidenceError::NoQuestion);
        }
        self.table(sql, [])
    }

    fn table(&self, sql: &str, values: impl rusqlite::Params) -> Result<Table, EvidenceError> {
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
            let mut table = Table { columns, rows: Vec::new() };
            let mut rows = statement.query(values)?;
            while let Some(row) = rows.next()? {
                let cells = (0..table.columns.len()).map(|column| Ok(text(row.get_ref(column)?)));
                table.rows.push(cells.collect::<rusqlite::Result<_>>()?);
            }
            Ok(table)
        })
    }
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => value.to_string(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Blob(bytes) => super::note::hex(bytes),
    }
}
