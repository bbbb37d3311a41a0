//! The user's cache of sealed kernels.
//!
//! ```text
//! <root>/CACHEDIR.TAG
//! <root>/v1/3f/3f…64 digits…/      one sealed kernel, as in a crate's `kernels/` folder …
//!                           entry.json   … and the digest of its certificate, which names the digests of the rest
//! <root>/v1/lock/3f….lock          held while somebody searches for that key
//! <root>/v1/tmp/…                  entries being written
//! ```
//!
//! An entry appears by renaming a finished folder, so that a reader sees all of it or nothing, and it is checked
//! against its digests whenever it is read: what does not match is removed and counts as not there. Locks only save
//! work. Where they are not supported, or somebody holds one for too long, two builds search for the same kernel and
//! the second to finish keeps the first's entry.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use factory_spec::{Key, Sealed};
use serde::{Deserialize, Serialize};

/// The layout below the root. A change of layout takes another name, so that old and new versions share a root.
const BUCKET: &str = "v1";

/// The file that marks a complete entry.
const ENTRY: &str = "entry.json";

/// What a killed process left behind goes after this long.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Tells backup programs that everything here can be had again (<https://bford.info/cachedir/>).
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55
# This folder holds kernels that Kernel Factory has found. It may be deleted at any time.
";

/// Why the cache could not take an entry. A build goes on without.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A folder or file could not be written.
    #[error("cannot write `{}` in the kernel cache: {source}", path.display())]
    Write {
        /// What was being written
        path: PathBuf,
        /// What the system said
        source: io::Error,
    },
    /// What was written did not read back as it was: a bad disk, or somebody else at work in the folder.
    #[error("the entry just written at `{}` does not read back", path.display())]
    ReadBack {
        /// The entry
        path: PathBuf,
    },
}

/// A folder of sealed kernels by key, shared by all builds of a user.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// What makes an entry complete, and ties the certificate down.
#[derive(Serialize, Deserialize)]
struct Entry {
    certificate: String,
}

impl Cache {
    /// The cache at `root`; nothing is created before something is stored.
    pub fn at(root: impl Into<PathBuf>) -> Cache {
        Cache { root: root.into() }
    }

    /// The folder that `KERNEL_FACTORY_CACHE_DIR` names, else `kernel-factory` in the user's cache folder; `None`
    /// where there is neither.
    pub fn of_user() -> Option<Cache> {
        crate::env::cache_root().map(Cache::at)
    }

    /// The folder that everything lies below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the logs that searches leave; `cargo factory watch` follows the newest.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The folder of a key's entry, whether or not it is there.
    pub fn entry(&self, key: &Key) -> PathBuf {
        let key = key.to_string();
        self.root.join(BUCKET).join(&key[..2]).join(key)
    }

    /// The kernel of a key, after its digests were checked. An entry that is damaged in any way is removed, if that
    /// is possible, and is `None`.
    pub fn load(&self, key: &Key) -> Option<Sealed> {
        let folder = self.entry(key);
        if !folder.is_dir() {
            return None;
        }
        let sealed = verified(&folder, key);
        if sealed.is_none() {
            self.discard(&folder);
        }
        sealed
    }

    /// Takes a kernel in. When somebody else stored one for the key meanwhile, and it is sound, that one stays and is
    /// returned, so that all builds agree.
    pub fn store(&self, key: &Key, sealed: &Sealed) -> Result<Sealed, CacheError> {
        self.prepare_root()?;
        let folder = self.entry(key);
        let staged = self.stage(key, sealed)?;
        // Twice: the first attempt may meet a damaged entry, which `load` removes.
        for _ in 0..2 {
            let parent = folder.parent().unwrap_or(&self.root);
            fs::create_dir_all(parent).map_err(|source| write_error(parent, source))?;
            match fs::rename(&staged, &folder) {
                Ok(()) => {
                    sync_folder(parent);
                    return verified(&folder, key).ok_or(CacheError::ReadBack { path: folder });
                }
                Err(source) if !folder.exists() => {
                    self.discard(&staged);
                    return Err(write_error(&folder, source));
                }
                Err(_) => {
                    if let Some(other) = self.load(key) {
                        self.discard(&staged);
                        return Ok(other);
                    }
                }
            }
        }
        self.discard(&staged);
        Err(CacheError::ReadBack { path: folder })
    }

    /// Whether an entry could be stored: creates the folders that one needs.
    ///
    /// # Errors
    /// A folder cannot be written.
    pub fn check_writable(&self) -> Result<(), CacheError> {
        self.prepare_root()?;
        let probe = self.temporary("probe");
        fs::create_dir(&probe)
            .and_then(|()| fs::remove_dir(&probe))
            .map_err(|source| write_error(&probe, source))
    }

    /// Takes a key's entry out, if there is one.
    pub fn remove(&self, key: &Key) {
        let folder = self.entry(key);
        if folder.exists() {
            self.discard(&folder);
        }
    }

    /// The keys of all entries, sound or not, sorted.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        for shard in fs::read_dir(self.root.join(BUCKET)).into_iter().flatten().flatten() {
            for entry in fs::read_dir(shard.path()).into_iter().flatten().flatten() {
                keys.extend(entry.file_name().to_str().and_then(Key::parse));
            }
        }
        keys.sort();
        keys
    }

    /// Waits for the right to search for a key, at most `wait`. `None` when locks do not work here or the time is up:
    /// go on without, at the price of doing the work twice. Released when dropped, or by the system when the process
    /// ends in whatever way.
    pub fn lock(&self, key: &Key, wait: Duration) -> Option<Lock> {
        self.prepare_root().ok()?;
        let folder = self.root.join(BUCKET).join("lock");
        fs::create_dir_all(&folder).ok()?;
        // The file stays when the lock goes: removing it would let two builds hold locks on two files of one name.
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(format!("{key}.lock")))
            .ok()?;
        match file.try_lock() {
            Ok(()) => return Some(Lock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(_)) => return None,
        }
        // On a thread, because on some network file systems a lock blocks for ever, and there is no lock with a time
        // limit. If the time is up the thread stays behind; its lock goes with the failed send or with the process.
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            if file.lock().is_ok() {
                let _ = sender.send(file);
            }
        });
        receiver.recv_timeout(wait).ok().map(|file| Lock { _file: file })
    }

    /// Creates the root and its tag, and sweeps what was left half-written long ago.
    fn prepare_root(&self) -> Result<(), CacheError> {
        let temporary = self.root.join(BUCKET).join("tmp");
        fs::create_dir_all(&temporary).map_err(|source| write_error(&temporary, source))?;
        let tag = self.root.join("CACHEDIR.TAG");
        if !tag.exists() {
            fs::write(&tag, CACHEDIR_TAG).map_err(|source| write_error(&tag, source))?;
        }
        for leftover in fs::read_dir(&temporary).into_iter().flatten().flatten() {
            let age = leftover
                .metadata()
                .and_then(|metadata| metadata.modified())
                .ok()
                .and_then(|time| SystemTime::now().duration_since(time).ok());
            if age.is_some_and(|age| age > LEFTOVER_AGE) {
                let _ = fs::remove_dir_all(leftover.path());
            }
        }
        Ok(())
    }

    /// Writes a whole entry where nobody looks for one.
    fn stage(&self, key: &Key, sealed: &Sealed) -> Result<PathBuf, CacheError> {
        let folder = self.temporary(&key.short());
        fs::create_dir(&folder).map_err(|source| write_error(&folder, source))?;
        let entry = Entry { certificate: sealed.digest_of_certificate() };
        let entry = serde_json::to_string(&entry).expect("a struct of one string is always JSON");
        let mut files = sealed.files();
        files.push((ENTRY.to_owned(), entry));
        for (name, text) in files {
            let path = folder.join(name);
            if let Err(source) = write_through(&path, text.as_bytes()) {
                self.discard(&folder);
                return Err(write_error(&path, source));
            }
        }
        sync_folder(&folder);
        Ok(folder)
    }

    /// Takes a folder out of sight in one step, then deletes it; a reader never meets half of it.
    fn discard(&self, folder: &Path) {
        let grave = self.temporary("removed");
        let moved = fs::create_dir_all(grave.parent().unwrap_or(&self.root))
            .and_then(|()| fs::rename(folder, &grave));
        let _ = fs::remove_dir_all(if moved.is_ok() { &grave } else { folder });
    }

    /// A name below `tmp` that nobody else uses.
    fn temporary(&self, label: &str) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        self.root.join(BUCKET).join("tmp").join(format!("{label}-{}-{time:x}-{count}", process::id()))
    }
}

/// The right to search for one key.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The kernel in an entry's folder, if every digest fits and it is the kernel of that key.
fn verified(folder: &Path, key: &Key) -> Option<Sealed> {
    let entry: Entry = serde_json::from_str(&fs::read_to_string(folder.join(ENTRY)).ok()?).ok()?;
    let sealed = Sealed::read(folder).ok()?;
    (sealed.certificate.key == *key && sealed.digest_of_certificate() == entry.certificate).then_some(sealed)
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes names durable where a folder can be opened (on Windows it cannot, and need not).
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

fn write_error(path: &Path, source: io::Error) -> CacheError {
    CacheError::Write { path: path.to_owned(), source }
}
