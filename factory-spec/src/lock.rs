//! `kernels.lock`: one readable entry a sealed kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Key, Sealed};

/// The file `kernels/kernels.lock`: what is sealed beside it, so that a change of a kernel is a readable line in a
/// review.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    entries: Vec<LockEntry>,
}

/// One sealed kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockEntry {
    /// The kernel's name
    pub name: String,
    /// The spec's key
    pub key: Key,
    /// SHA-256 of the certificate's file
    pub certificate: String,
    /// SHA-256 of the plan's file
    pub plan: String,
    /// SHA-256 of each PTX file, by name
    pub ptx: BTreeMap<String, String>,
    /// The gates that it passed
    pub proved: Vec<String>,
    /// The gates that were not run
    pub not_run: Vec<String>,
    /// What it was measured on, or `modelled`
    pub measured: String,
}

/// Why a lock file cannot be used, or a kernel does not agree with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Not TOML, or not of this form
    #[error("line {line}, column {column}: {message}")]
    Form {
        /// Line, from 1
        line: usize,
        /// Column, from 1
        column: usize,
        /// What is wrong
        message: String,
    },
    /// Written by a newer version of the tool
    #[error("its version is {found}, but this version of Kernel Factory reads version {known}; update Kernel Factory")]
    Newer {
        /// The version of the file
        found: u64,
        /// The version that is known
        known: u32,
    },
    /// There is a folder but no entry
    #[error("it has no entry for kernel `{name}` of key {key}")]
    NoEntry {
        /// The kernel's name
        name: String,
        /// Its key
        key: Key,
    },
    /// The folder is not the one that was locked
    #[error("kernel `{name}`: the {what} has SHA-256 {found}, but the lock says {expected}")]
    Digest {
        /// The kernel's name
        name: String,
        /// What differs: `certificate`, `plan` or a PTX file's name
        what: String,
        /// What the lock says
        expected: String,
        /// What it is
        found: String,
    },
}

impl Lock {
    /// The file's name, inside the kernels' folder.
    pub const FILE: &str = "kernels.lock";
    /// The version of the format that this crate writes.
    pub const VERSION: u32 = 1;

    /// Reads what [`Lock::print`] writes.
    pub fn parse(text: &str) -> Result<Lock, LockError> {
        let _ = text;
        todo!()
    }

    /// The file's text: sorted, the same for the same entries.
    pub fn print(&self) -> String {
        todo!()
    }

    /// The entries, sorted by name and key.
    pub fn entries(&self) -> &[LockEntry] {
        &self.entries
    }

    /// The entry of a kernel.
    pub fn entry(&self, name: &str, key: &Key) -> Option<&LockEntry> {
        self.entries.iter().find(|entry| entry.name == name && entry.key == *key)
    }

    /// Adds an entry, or replaces the one of the same name and key.
    pub fn insert(&mut self, entry: LockEntry) {
        self.remove(&entry.name.clone(), &entry.key.clone());
        self.entries.push(entry);
        self.entries.sort_by(|a, b| (&a.name, a.key).cmp(&(&b.name, b.key)));
    }

    /// Removes an entry; says whether there was one.
    pub fn remove(&mut self, name: &str, key: &Key) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.name != name || entry.key != *key);
        self.entries.len() < before
    }

    /// Checks that a kernel is the one that was locked.
    pub fn check(&self, sealed: &Sealed) -> Result<&LockEntry, LockError> {
        let _ = sealed;
        todo!()
    }
}

impl LockEntry {
    /// The entry of a sealed kernel.
    pub fn of(sealed: &Sealed) -> LockEntry {
        let _ = sealed;
        todo!()
    }
}
