//! Removing evidence: the one way in which any of it goes.

use rusqlite::params;

use super::error::EvidenceError;
use super::schema::{guards, no_guards};
use super::store::{Evidence, harness, now};

/// What to remove. A note goes when everything that is stated holds for it; lessons stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    /// Notes on this kernel.
    pub kernel: Option<String>,
    /// Notes older than so many days.
    pub older_than_days: Option<u32>,
    /// Notes by other versions of the factory, which no search here believes any more.
    pub other_harness: bool,
}

impl Evidence {
    /// Removes notes, and candidates, tasks, specs and environments that none is left of; how many notes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn prune(&self, what: &Prune) -> Result<usize, EvidenceError> {
        let before = what.older_than_days.map(|days| now() - i64::from(days) * 86_400);
        let other = what.other_harness.then(harness);
        let removed = self.write(|transaction| {
            transaction.execute_batch(&no_guards())?;
            let removed = transaction.execute(
                "DELETE FROM verdict WHERE (?1 IS NULL OR task IN (SELECT id FROM task WHERE kernel = ?1))
                   AND (?2 IS NULL OR at < ?2) AND (?3 IS NULL OR environment IN (SELECT id FROM environment WHERE harness <> ?3))",
                params![what.kernel, before, other],
            )?;
            transaction
                .execute("DELETE FROM candidate WHERE id NOT IN (SELECT candidate FROM verdict)", [])?;
            transaction.execute("DELETE FROM task WHERE id NOT IN (SELECT task FROM verdict)", [])?;
            transaction.execute("DELETE FROM spec WHERE meaning NOT IN (SELECT meaning FROM task)", [])?;
            transaction.execute(
                "DELETE FROM environment WHERE id NOT IN (SELECT environment FROM verdict)",
                [],
            )?;
            transaction.execute_batch(&guards())?;
            Ok(removed)
        })?;
        // Gives the room back; without it the file only stops growing, which is no failure.
        let _ = self.connection().execute_batch("VACUUM");
        Ok(removed)
    }
}
