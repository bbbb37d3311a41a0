//! What compilers said, by content.
//!
//! ```text
//! <cache>/compiled/v1/3f/3f…64 digits….json
//! ```
//!
//! An entry appears by renaming a finished file, and carries the digest of its own content: what does not match counts as
//! not there and is written anew. Any number of processes may read, write and prune at once.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::unit::hex;
use super::{CompileError, Compiled};
use crate::toolchain;

/// A folder of compiled units.
#[derive(Clone, Debug)]
pub struct CompileCache {
    root: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    digest: String,
    content: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Compiled(Compiled),
    Refused(String),
}

impl CompileCache {
    /// The cache at `root`; nothing is created before something is stored.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The user's: below the folder that `KERNEL_FACTORY_CACHE_DIR` names, else below the user's cache folder.
    pub fn of_user() -> Option<Self> {
        toolchain::cache_root().map(|root| Self::at(root.join("compiled")))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of this version's entries.
    pub(super) fn bucket(&self) -> PathBuf {
        self.root.join("v1")
    }

    pub(super) fn file(&self, key: &str) -> PathBuf {
        self.bucket().join(&key[..2]).join(format!("{key}.json"))
    }

    pub(super) fn load(&self, key: &str) -> Option<Result<Compiled, CompileError>> {
        let file = self.file(key);
        let text = std::fs::read_to_string(&file).ok()?;
        let entry: Entry = serde_json::from_str(&text).ok()?;
        if hex(&Sha256::digest(entry.content.as_bytes())) != entry.digest {
            return None;
        }
        CompileCache::used(&file);
        Some(match serde_json::from_str(&entry.content).ok()? {
            Content::Compiled(compiled) => Ok(compiled),
            Content::Refused(message) => Err(CompileError::Refused(message)),
        })
    }

    /// Stores an outcome, if that is possible.
    pub(super) fn store(&self, key: &str, outcome: &Result<Compiled, CompileError>) {
        let content = match outcome {
            Ok(compiled) => Content::Compiled(compiled.clone()),
            Err(error) => Content::Refused(error.to_string()),
        };
        let _ = self.write(key, &content);
    }

    fn write(&self, key: &str, content: &Content) -> std::io::Result<()> {
        let file = self.file(key);
        let folder = file.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder)?;
        let content = serde_json::to_string(content)?;
        let entry = Entry { digest: hex(&Sha256::digest(content.as_bytes())), content };
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        temporary.write_all(serde_json::to_string(&entry)?.as_bytes())?;
        temporary.persist(file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_read_and_what_is_damaged_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = CompileCache::at(folder.path());
        let key = "ab".repeat(32);
        assert!(cache.load(&key).is_none());
        let compiled = Ok(Compiled { ptx: ".version 9.0".to_owned(), names: Default::default() });
        cache.store(&key, &compiled);
        assert_eq!(cache.load(&key), Some(compiled));
        let text = std::fs::read_to_string(cache.file(&key)).expect("the entry");
        std::fs::write(cache.file(&key), text.replace("9.0", "8.0")).expect("written");
        assert!(cache.load(&key).is_none());
        let refused = Err(CompileError::Refused("no".to_owned()));
        cache.store(&key, &refused);
        assert_eq!(cache.load(&key), Some(refused));
    }
}
