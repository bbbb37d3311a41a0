//! The crate's own sealed kernels: `kernels/<name>/<key12>/`, and `kernels/kernels.lock` beside them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use factory_spec::{BoundSpec, Key, Lock, LockError, Sealed};

use crate::error::Cause;

/// A folder of sealed kernels.
pub(crate) struct Kernels {
    /// As the package names it, for messages
    shown: PathBuf,
    path: PathBuf,
    lock: OnceLock<Option<Lock>>,
}

impl Kernels {
    /// The folder `shown`, relative to the package at `root`. Nothing is read yet, and it need not be there.
    pub(crate) fn new(root: &Path, shown: PathBuf) -> Kernels {
        Kernels { path: root.join(&shown), shown, lock: OnceLock::new() }
    }

    /// The folder as the package names it.
    pub(crate) fn shown(&self) -> &Path {
        &self.shown
    }

    /// Whatever of this is there and decides about a kernel: to be watched.
    ///
    /// Sealing always changes the lock, so where there is one, it and the sealed folder are all. Without one, the whole
    /// folder is watched for the first kernel to be sealed.
    pub(crate) fn watched(&self, name: &str, key: &Key) -> Vec<PathBuf> {
        let lock = self.shown.join(Lock::FILE);
        let lock_is_there = self.path.join(Lock::FILE).is_file();
        let sealed = Path::new(name).join(key.short());
        let mut watched = Vec::new();
        if self.path.join(&sealed).is_dir() {
            watched.push(self.shown.join(sealed));
        }
        if lock_is_there {
            watched.push(lock);
        } else if self.path.is_dir() {
            watched.push(self.shown.clone());
        }
        watched
    }

    /// The sealed kernel of a spec under a name, after everything about it was checked; `None` when this folder says nothing
    /// about it. `verified` is where an earlier build put it after the same checks, see [`Sealed::read_key_beside`].
    pub(crate) fn find(
        &self,
        name: &str,
        spec: &BoundSpec,
        key: &Key,
        verified: Option<&Path>,
    ) -> Result<Option<Sealed>, Cause> {
        let shown = self.shown.join(name).join(key.short());
        let folder = self.path.join(name).join(key.short());
        let lock_file = self.shown.join(Lock::FILE);
        let lock = self.lock()?;
        if !folder.is_dir() {
            return match lock.and_then(|lock| lock.entry(name, key)) {
                Some(_) => Err(Cause::Gone { name: name.to_owned(), folder: shown, lock: lock_file }),
                None => Ok(None),
            };
        }
        let Some(lock) = lock else { return Err(Cause::NoLock { folder: shown, lock: lock_file }) };
        if lock.entry(name, key).is_none() {
            return Err(Cause::Locked {
                folder: shown,
                lock: lock_file,
                error: Box::new(LockError::NoEntry { name: name.to_owned(), key: *key }),
            });
        }
        let sealed = Sealed::read_key_beside(&folder, key, verified)
            .map_err(|error| Cause::Sealed { name: name.to_owned(), error })?;
        lock.check(&sealed).map_err(|error| Cause::Locked {
            folder: shown.clone(),
            lock: lock_file,
            error: Box::new(error),
        })?;
        sealed.plan.check_against(spec).map_err(|error| Cause::Plan {
            name: name.to_owned(),
            folder: shown,
            error: Box::new(error),
        })?;
        Ok(Some(sealed))
    }

    /// The keys, in their short form, of the sealed kernels of a name, sorted.
    pub(crate) fn keys_of(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path.join(name)).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.path().join(Sealed::CERTIFICATE).is_file());
        let mut keys: Vec<String> =
            folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        keys.sort();
        keys
    }

    fn lock(&self) -> Result<Option<&Lock>, Cause> {
        if self.lock.get().is_none() {
            let _ = self.lock.set(self.read_lock()?);
        }
        Ok(self.lock.get().and_then(Option::as_ref))
    }

    fn read_lock(&self) -> Result<Option<Lock>, Cause> {
        let shown = self.shown.join(Lock::FILE);
        match fs::read_to_string(self.path.join(Lock::FILE)) {
            Ok(text) => Lock::parse(&text).map(Some).map_err(|error| Cause::Lock { path: shown, error }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Cause::LockUnreadable { path: shown, source }),
        }
    }
}
