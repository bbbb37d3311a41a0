//! Whose turn it is to time on a GPU, where several searches share it.
//!
//! Whoever times holds a lock on a file that is named after the GPU, in the user's cache folder, or in the system's folder for
//! temporary files where there is none. The system gives the lock back when its process ends, however it ends. The lock only
//! asks others to wait: one that cannot be made, or that somebody keeps for too long, is told and stops nobody. It is held while
//! candidates are timed and not while they are checked, and no process waits for another one while it waits for the lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::toolchain;

/// How long somebody else may time before nobody waits any more: longer than measurements take that have no limit of
/// time.
const LONGEST: Duration = Duration::from_secs(180);
/// Between two looks at the lock.
const LOOK: Duration = Duration::from_millis(20);
/// Between two signs of life while waiting; a search gives up a worker that is silent for longer than some seconds.
const LIFE: Duration = Duration::from_millis(200);
/// So short a wait is not worth a word.
const WORTH_A_WORD: f64 = 0.5;
/// Most bytes of what a holder says about itself.
const MOST: u64 = 200;

/// How a measurement came to its turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Seconds that it waited while others timed on the GPU.
    pub waited: f64,
    /// Who held the GPU then, in the holder's own words, where they could be read.
    pub holder: Option<String>,
    /// Why it was made without the GPU to itself; `None` where it had it.
    pub shared: Option<String>,
}

impl Turn {
    /// One sentence, where it waited or did not have the GPU to itself.
    pub fn note(&self) -> Option<String> {
        let holder = self.holder.as_deref().map_or_else(String::new, |holder| format!(", {holder},"));
        match &self.shared {
            Some(why) => Some(format!("the clock did not have the GPU to itself: {why}")),
            None if self.waited > WORTH_A_WORD => Some(format!(
                "the clock waited {:.1} s for another search{holder} to leave the GPU",
                self.waited
            )),
            None => None,
        }
    }
}

/// The right to time, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    _file: Option<File>,
    turn: Turn,
}

impl Held {
    /// How it came to it, where that was not at once.
    pub(super) fn turn(&self) -> Option<Box<Turn>> {
        (self.turn != Turn::default()).then(|| Box::new(self.turn.clone()))
    }
}

/// The file that a GPU's clock is guarded by.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    file: PathBuf,
    /// Whether the folder is the user's own: in one that others write to, a file may lead anywhere, so nothing is written to it.
    private: bool,
}

impl Guard {
    /// The guard of the GPU at this place of this host.
    pub(super) fn of(bus: &str) -> Guard {
        // Hosts may share a cache folder; GPUs have the same places in each.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = format!("gpu-{}-{}.lock", plain(host.trim()), plain(bus));
        match toolchain::cache_root() {
            Some(root) => Guard { file: root.join("lock").join(name), private: true },
            None => {
                Guard { file: std::env::temp_dir().join(format!("kernel-factory-{name}")), private: false }
            }
        }
    }

    /// Waits for the turn, at most `longest` and in no case longer than measurements take. `alive` is called again and again
    /// meanwhile.
    pub(super) fn take(&self, longest: Option<f64>, alive: &dyn Fn()) -> Held {
        let longest = longest.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let longest = longest.unwrap_or(LONGEST).min(LONGEST);
        let mut file = match self.open() {
            Ok(file) => file,
            Err(message) => return self.without(Turn::default(), &message),
        };
        let started = Instant::now();
        let mut turn = Turn::default();
        let mut told = started;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    if self.private {
                        // Who waits is told who holds it; that this cannot be written harms nobody.
                        let _ = introduce(&mut file);
                    }
                    return Held { _file: Some(file), turn };
                }
                Err(TryLockError::Error(error)) => return self.without(turn, &error.to_string()),
                Err(TryLockError::WouldBlock) => {}
            }
            turn.waited = started.elapsed().as_secs_f64();
            turn.holder = said(&mut file).or(turn.holder);
            if turn.waited >= longest.as_secs_f64() {
                let who = turn.holder.clone().unwrap_or_else(|| "another search".to_owned());
                turn.shared = Some(format!("{who} kept it for {:.0} s and longer", turn.waited));
                return Held { _file: None, turn };
            }
            if told.elapsed() >= LIFE {
                told = Instant::now();
                alive();
            }
            std::thread::sleep(LOOK);
        }
    }

    fn open(&self) -> Result<File, String> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(&self.file).map_err(|error| error.to_string())
    }

    fn without(&self, turn: Turn, message: &str) -> Held {
        let shared = format!("`{}` cannot be locked: {message}", self.file.display());
        Held { _file: None, turn: Turn { shared: Some(shared), ..turn } }
    }
}

/// What of a word is safe in a name of a file.
fn plain(word: &str) -> String {
    word.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

fn introduce(file: &mut File) -> std::io::Result<()> {
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    file.rewind()?;
    file.set_len(0)?;
    writeln!(file, "process {} (`{}`)", std::process::id(), plain(&program))
}

/// What the holder says about itself, unless the system lets nobody read what is locked.
fn said(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(MOST).read_to_string(&mut text).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    const VARIABLE: &str = "KERNEL_FACTORY_TEST_TURN";
    const SILENT: &dyn Fn() = &|| ();

    fn guard(folder: &Path) -> Guard {
        Guard { file: folder.join("lock").join("gpu.lock"), private: true }
    }

    #[test]
    fn whoever_comes_second_waits_says_that_it_lives_and_who_it_waits_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let guard = guard(folder.path());
        let first = guard.take(None, SILENT);
        assert_eq!(first.turn, Turn::default());
        assert_eq!((first.turn.note(), first.turn()), (None, None));
        let signs = Cell::new(0);
        let second = guard.take(Some(0.7), &|| signs.set(signs.get() + 1));
        assert!(signs.get() >= 2 && second.turn.waited >= 0.7, "{} {second:?}", signs.get());
        let holder = second.turn.holder.clone().expect("it can be read");
        assert!(holder.starts_with(&format!("process {} (`", std::process::id())), "{holder}");
        let note = second.turn.note().expect("a note");
        assert!(note.contains(&holder) && note.contains("did not have the GPU to itself"), "{note}");
        // Who gave up holds nothing.
        drop(second);
        drop(first);
        assert_eq!(guard.take(Some(0.0), SILENT).turn.shared, None);
    }

    #[test]
    fn a_wait_that_ends_well_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let guard = guard(folder.path());
        let first = guard.take(None, SILENT);
        let end = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1500));
            drop(first);
        });
        let second = guard.take(None, SILENT);
        end.join().expect("no panic");
        assert_eq!(second.turn.shared, None);
        let note = second.turn.note().expect("a note");
        assert!(note.contains("waited") && note.contains("process "), "{note}");
    }

    #[test]
    fn a_lock_that_cannot_be_made_is_a_note() {
        let folder = tempfile::tempdir().expect("a folder");
        // A file stands where the folder should be.
        std::fs::write(folder.path().join("lock"), "").expect("written");
        let held = guard(folder.path()).take(None, SILENT);
        let note = held.turn.note().expect("a note");
        assert!(note.contains("cannot be locked") && note.contains("gpu.lock"), "{note}");
    }

    /// The other process of the test below.
    #[test]
    fn another_process_holds_it_until_it_is_killed() {
        let Some(path) = std::env::var_os(VARIABLE) else { return };
        let held = guard(Path::new(&path)).take(Some(0.0), SILENT);
        assert_eq!(held.turn.shared, None);
        println!("\nheld");
        std::thread::sleep(Duration::from_secs(60));
    }

    #[test]
    fn a_process_that_is_killed_leaves_no_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let guard = guard(folder.path());
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "gpu::turn::tests::another_process_holds_it_until_it_is_killed", "--nocapture"])
            .env(VARIABLE, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line == "held")), "it holds the lock");
        let refused = guard.take(Some(0.1), SILENT);
        let holder = refused.turn.holder.expect("it can be read");
        assert!(refused.turn.shared.is_some() && holder.contains(&child.id().to_string()), "{holder}");
        child.kill().expect("killed");
        child.wait().expect("it is gone");
        assert_eq!(guard.take(Some(5.0), SILENT).turn.shared, None);
    }

    #[test]
    fn each_gpu_has_a_file_of_its_own() {
        let [one, other] = ["0000:1b:00.0", "0000:1c:00.0"].map(|bus| Guard::of(bus).file);
        assert_ne!(one, other);
        let name = one.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name.ends_with("-0000-1b-00.0.lock") && !name.contains(':'), "{name}");
    }
}
