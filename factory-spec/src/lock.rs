//! `kernels.lock`: one readable entry a sealed kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::key::hex_digest;
use crate::{Certificate, Key, Sealed, SourceText};

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
    #[error(
        "its version is {found}, but this version of Kernel Factory reads version {known}; update Kernel Factory"
    )]
    Newer {
        /// The version of the file
        found: u64,
        /// The version that is known
        known: u32,
    },
    /// Two entries for one kernel
    #[error("it has two entries for kernel `{name}` of key {key}")]
    Twice {
        /// The kernel's name
        name: String,
        /// Its key
        key: Key,
    },
    /// The entry claims something else than the certificate
    #[error("kernel `{name}`: `proved`, `not_run` or `measured` is not what its certificate says")]
    Claims {
        /// The kernel's name
        name: String,
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

    /// Reads what [`Lock::print`] writes, in any order and with comments.
    pub fn parse(text: &str) -> Result<Lock, LockError> {
        let form = |error: &toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start);
            let (line, column) = SourceText::new("", text).line_column(offset);
            LockError::Form { line, column, message: error.message().trim().replace('\n', ", ") }
        };
        // The version is looked at first: other fields may well have other forms in another version.
        let head: Head = toml::from_str(text).map_err(|error| form(&error))?;
        if head.version > u64::from(Lock::VERSION) {
            return Err(LockError::Newer { found: head.version, known: Lock::VERSION });
        }
        let file: File = toml::from_str(text).map_err(|error| form(&error))?;
        let mut lock = Lock::default();
        for entry in file.kernel {
            if lock.entry(&entry.name, &entry.key).is_some() {
                return Err(LockError::Twice { name: entry.name, key: entry.key });
            }
            lock.insert(entry);
        }
        Ok(lock)
    }

    /// The file's text: sorted, the same for the same entries.
    pub fn print(&self) -> String {
        let list = |items: &[String]| {
            format!("[{}]", items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
        };
        let mut text = format!(
            "# Written by Kernel Factory. Review the changes; do not edit.\nversion = {}\n",
            Lock::VERSION
        );
        for entry in &self.entries {
            let ptx = entry.ptx.iter().map(|(file, digest)| format!("{} = {}", quoted(file), quoted(digest)));
            let ptx = ptx.collect::<Vec<_>>().join(", ");
            text.push_str(&format!("\n[[kernel]]\nname = {}\n", quoted(&entry.name)));
            text.push_str(&format!("key = \"{}\"\n", entry.key));
            text.push_str(&format!(
                "certificate = {}\nplan = {}\n",
                quoted(&entry.certificate),
                quoted(&entry.plan)
            ));
            text.push_str(&format!("ptx = {{ {ptx} }}\n"));
            text.push_str(&format!("proved = {}\nnot_run = {}\n", list(&entry.proved), list(&entry.not_run)));
            text.push_str(&format!("measured = {}\n", quoted(&entry.measured)));
        }
        text
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
        let Certificate { name, key, .. } = &sealed.certificate;
        let entry =
            self.entry(name, key).ok_or_else(|| LockError::NoEntry { name: name.clone(), key: *key })?;
        let own = LockEntry::of(sealed);
        let same = |what: &str, expected: &str, found: &str| {
            if expected == found {
                return Ok(());
            }
            let (expected, found) = (expected.to_owned(), found.to_owned());
            Err(LockError::Digest { name: name.clone(), what: what.to_owned(), expected, found })
        };
        for (file, found) in &own.ptx {
            same(file, entry.ptx.get(file).map_or("(nothing)", String::as_str), found)?;
        }
        for (file, expected) in &entry.ptx {
            same(file, expected, own.ptx.get(file).map_or("(nothing)", String::as_str))?;
        }
        same("plan", &entry.plan, &own.plan)?;
        same("certificate", &entry.certificate, &own.certificate)?;
        if *entry != own {
            return Err(LockError::Claims { name: name.clone() });
        }
        Ok(entry)
    }
}

impl LockEntry {
    /// The entry of a sealed kernel.
    pub fn of(sealed: &Sealed) -> LockEntry {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let certificate = &sealed.certificate;
        // The certificate's digests were taken, or checked, when the kernel was sealed or read; a build that has many
        // kernels should not take them twice.
        let digest = |name: &String, text: &String| {
            certificate.files.get(name).cloned().unwrap_or_else(|| hex_digest(text.as_bytes()))
        };
        LockEntry {
            name: certificate.name.clone(),
            key: certificate.key,
            certificate: sealed.digest_of_certificate(),
            plan: sealed.digest_of_plan(),
            ptx: sealed.ptx.iter().map(|(name, text)| (name.clone(), digest(name, text))).collect(),
            proved: owned(certificate.gates_passed()),
            not_run: owned(certificate.gates_not_run()),
            measured: certificate.measured(),
        }
    }
}

/// What can be read of a lock of any version.
#[derive(Deserialize)]
struct Head {
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: u64,
    #[serde(default)]
    kernel: Vec<LockEntry>,
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
