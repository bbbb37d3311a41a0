//! Evidence as a search begins with it: the user's file, and what is committed beside kernels.

use std::path::{Path, PathBuf};

use super::error::EvidenceError;
use super::store::Evidence;

/// The file's name beside a kernel.
const COMMITTED: &str = "evidence.jsonl";

/// Where the evidence of a kernel is committed: `kernels/NAME/evidence.jsonl` for `kernels/NAME.toml`.
pub fn beside(spec_path: &Path, kernel: &str) -> PathBuf {
    spec_path.with_file_name(kernel).join(COMMITTED)
}

impl Evidence {
    /// Opens the file for a search that writes to it, and says in words what a person should know: that a damaged one was
    /// moved aside.
    ///
    /// # Errors
    /// As [`Evidence::open`]. A search goes on without.
    pub fn for_search(path: &Path) -> Result<(Evidence, Option<String>), EvidenceError> {
        let evidence = Evidence::open(path)?;
        let warning = evidence.moved().map(|moved| {
            format!(
                "`{}` was damaged; it is now `{}`, and a new one was begun",
                path.display(),
                moved.display()
            )
        });
        Ok((evidence, warning))
    }

    /// Adds what is committed beside a kernel, if anything is.
    ///
    /// # Errors
    /// As [`Evidence::import`]. A search goes on without.
    pub fn import_beside(&self, spec_path: &Path, kernel: &str) -> Result<(), EvidenceError> {
        let path = beside(spec_path, kernel);
        match path.exists() {
            true => self.import(&path).map(drop),
            false => Ok(()),
        }
    }

    /// What an exported file holds, so that nothing in it can change.
    ///
    /// # Errors
    /// As [`Evidence::import`].
    pub fn of_lines(path: &Path) -> Result<Evidence, EvidenceError> {
        let evidence = Evidence::in_memory(path)?;
        evidence.import(path)?;
        evidence.write_protect()?;
        Ok(evidence)
    }
}
