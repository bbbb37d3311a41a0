//! Where searches keep what they find out.

use std::env;
use std::path::PathBuf;

use factory_search::evidence::{Evidence, FILE};

use crate::cache::Cache;

/// Says where: a file, or `off`.
pub const VARIABLE: &str = "KERNEL_FACTORY_EVIDENCE";

/// Where a user wants evidence to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere, and none is to be read.
    Off,
    /// In this file.
    File(PathBuf),
    /// In the cache, where nothing else was said.
    Cache,
}

impl Place {
    /// What [`VARIABLE`] says.
    pub fn of_user() -> Place {
        match env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
            None => Place::Cache,
            Some(value) if value == "off" => Place::Off,
            Some(file) => {
                let file = PathBuf::from(file);
                Place::File(std::path::absolute(&file).unwrap_or(file))
            }
        }
    }

    /// The file; `None` where there is to be none, or no folder for it.
    pub fn path(&self, cache: Option<&Cache>) -> Option<PathBuf> {
        match self {
            Place::Off => None,
            Place::File(path) => Some(path.clone()),
            Place::Cache => cache.map(|cache| cache.root().join(FILE)),
        }
    }

    /// Opens the file for a build, and says in one line what a person should know. A search without memory is slower, not
    /// wrong.
    pub(crate) fn open(&self, cache: Option<&Cache>) -> (Option<Evidence>, Option<String>) {
        let Some(path) = self.path(cache) else { return (None, None) };
        match Evidence::for_search(&path) {
            Ok((evidence, warning)) => (Some(evidence), warning),
            Err(error) => {
                let hint = format!("`{VARIABLE}` names another file, or is `off`");
                (None, Some(format!("searching without memory: {error}; {hint}")))
            }
        }
    }
}
