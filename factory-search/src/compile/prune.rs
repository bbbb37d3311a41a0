//! How large the cache of compiled units is, and what goes when it is too large: what was used longest ago.
//!
//! An entry's time of modification is its last use, to the hour. Processes need not know of each other: a file that goes while
//! somebody reads it is read to its end, one that is gone is compiled again, and one that cannot be removed stays.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::CompileCache;

/// Names another limit, in MiB.
const VARIABLE: &str = "KERNEL_FACTORY_COMPILED_MIB";
/// MiB that the cache may have: tens of thousands of entries.
const LIMIT_MIB: u64 = 1024;
/// Of a cache that was too large, so many quarters of the limit are kept: the next entry is not to be one too many.
const KEPT_QUARTERS: u64 = 3;
/// An entry's use is written down when the one that is known is older.
const USE: Duration = Duration::from_secs(60 * 60);
/// What a killed process was writing goes after this long.
const LEFTOVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Files of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// How many.
    pub entries: usize,
    /// Bytes of all of them.
    pub bytes: u64,
}

struct Entry {
    path: PathBuf,
    used: SystemTime,
    bytes: u64,
    finished: bool,
}

impl CompileCache {
    /// Bytes that the cache may have: those of `KERNEL_FACTORY_COMPILED_MIB`, else a GiB.
    ///
    /// # Errors
    /// The variable is no number, and the cache may have a GiB; in words.
    pub fn limit() -> Result<u64, String> {
        limit_of(std::env::var_os(VARIABLE).as_deref().map(|value| value.to_string_lossy()).as_deref())
    }

    /// What is in it.
    pub fn usage(&self) -> Usage {
        self.entries().iter().fold(Usage::default(), Usage::and)
    }

    /// If it has more than `limit` bytes, removes what was used longest ago, until it has a quarter less than that. What was
    /// removed.
    pub fn prune(&self, limit: u64) -> Usage {
        let mut entries = self.entries();
        let now = SystemTime::now();
        let is_left =
            |entry: &Entry| !entry.finished && now.duration_since(entry.used).is_ok_and(|age| age > LEFTOVER);
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let goal = if bytes > limit { limit / 4 * KEPT_QUARTERS } else { bytes };
        entries.sort_by(|a, b| is_left(b).cmp(&is_left(a)).then(a.used.cmp(&b.used)));
        let mut removed = Usage::default();
        for entry in &entries {
            let goes = is_left(entry) || (bytes > goal && entry.finished);
            if goes && fs::remove_file(&entry.path).is_ok() {
                bytes -= entry.bytes;
                removed = removed.and(entry);
            }
        }
        removed
    }

    /// Removes everything that is finished. What was removed.
    pub fn clear(&self) -> Usage {
        self.prune(0)
    }

    /// [`CompileCache::prune`] to the limit; whatever is wrong with either harms no search.
    pub(super) fn keep_small(&self) {
        self.prune(CompileCache::limit().unwrap_or(LIMIT_MIB << 20));
    }

    /// Writes down that an entry was used.
    pub(super) fn used(file: &Path) {
        let touch = || {
            let now = SystemTime::now();
            let known = fs::metadata(file)?.modified()?;
            if now.duration_since(known).is_ok_and(|age| age > USE) {
                File::options().append(true).open(file)?.set_modified(now)?;
            }
            Ok::<(), std::io::Error>(())
        };
        // In a folder that cannot be written to nothing is pruned either.
        let _ = touch();
    }

    /// What is there; what cannot be looked at is not.
    fn entries(&self) -> Vec<Entry> {
        let list = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        let files = list(&self.bucket()).flat_map(|folder| list(&folder.path()));
        files
            .filter_map(|file| {
                let known = file.metadata().ok().filter(fs::Metadata::is_file)?;
                let finished = file.path().extension().is_some_and(|extension| extension == "json");
                Some(Entry { path: file.path(), used: known.modified().ok()?, bytes: known.len(), finished })
            })
            .collect()
    }
}

impl Usage {
    fn and(self, entry: &Entry) -> Usage {
        Usage { entries: self.entries + 1, bytes: self.bytes + entry.bytes }
    }
}

fn limit_of(value: Option<&str>) -> Result<u64, String> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(LIMIT_MIB << 20) };
    let mib = value.trim().parse::<u64>().ok().and_then(|mib| mib.checked_mul(1 << 20));
    mib.ok_or_else(|| format!("`{VARIABLE}` is `{value}`; it must be a number of MiB, such as {LIMIT_MIB}"))
}

#[cfg(test)]
mod tests {
    use super::super::Compiled;
    use super::*;

    fn key(number: usize) -> String {
        format!("{number:02x}").repeat(32)
    }

    fn stored(cache: &CompileCache, number: usize, hours_ago: u64) -> u64 {
        let compiled = Compiled { ptx: "x".repeat(1000), names: Default::default() };
        cache.store(&key(number), &Ok(compiled));
        let file = cache.file(&key(number));
        let open = File::options().append(true).open(&file).expect("the entry");
        open.set_modified(SystemTime::now() - Duration::from_secs(hours_ago * 3600)).expect("a time");
        fs::metadata(&file).expect("the entry").len()
    }

    fn kept(cache: &CompileCache) -> Vec<usize> {
        (0..8).filter(|&number| cache.file(&key(number)).exists()).collect()
    }

    #[test]
    fn what_was_used_longest_ago_goes_and_only_when_there_is_too_much() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = CompileCache::at(folder.path());
        assert_eq!((cache.usage(), cache.prune(0)), (Usage::default(), Usage::default()), "nothing is there");
        let bytes = (0..8).map(|number| stored(&cache, number, 10 + number as u64)).max().expect("entries");
        assert_eq!(cache.usage(), Usage { entries: 8, bytes: 8 * bytes });
        assert_eq!(cache.prune(8 * bytes), Usage::default(), "as much as may be");
        // The oldest is used again.
        assert!(cache.load(&key(7)).is_some());
        assert_eq!(cache.prune(8 * bytes - 1), Usage { entries: 3, bytes: 3 * bytes });
        assert_eq!(kept(&cache), [0, 1, 2, 3, 7]);
        assert_eq!(cache.clear(), Usage { entries: 5, bytes: 5 * bytes });
        assert_eq!(cache.usage(), Usage::default());
        assert!(cache.load(&key(0)).is_none());
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_is_being_written_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = CompileCache::at(folder.path());
        stored(&cache, 1, 0);
        let beside = |name: &str| cache.file(&key(1)).with_file_name(name);
        for (name, hours) in [(".tmpold", 30), (".tmpnew", 0)] {
            let file = File::create(beside(name)).expect("a file");
            file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).expect("a time");
        }
        assert_eq!(cache.prune(u64::MAX).entries, 1);
        assert!(!beside(".tmpold").exists() && beside(".tmpnew").exists());
        assert_eq!(cache.clear().entries, 1);
        assert!(beside(".tmpnew").exists() && kept(&cache).is_empty());
    }

    #[test]
    fn many_may_prune_read_and_write_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = CompileCache::at(folder.path());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let cache = &cache;
                scope.spawn(move || {
                    for turn in 0..40 {
                        let key = key((thread + turn) % 8);
                        let compiled = Ok(Compiled { ptx: "x".repeat(1000), names: Default::default() });
                        cache.store(&key, &compiled);
                        // Gone, or whole.
                        assert!(cache.load(&key).is_none_or(|found| found == compiled));
                        cache.prune(3000);
                    }
                });
            }
        });
        cache.prune(3000);
        assert!(cache.usage().bytes <= 3000);
    }

    #[test]
    fn the_limit_is_a_number_of_mib() {
        assert_eq!(limit_of(None), Ok(1 << 30));
        assert_eq!(limit_of(Some("")), Ok(1 << 30));
        assert_eq!(limit_of(Some("8")), Ok(8 << 20));
        for wrong in ["-1", "8 GB", "99999999999999999999", "18446744073709551615"] {
            let message = limit_of(Some(wrong)).expect_err("no limit");
            assert!(message.contains(wrong) && message.contains(VARIABLE), "{message}");
        }
    }
}
