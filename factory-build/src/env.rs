//! Everything that a build reads from the environment, in one place.
//!
//! What a user sets is watched, so that a change runs the build script again. What cargo sets for every build script
//! is not: cargo reruns for those by itself where it matters. The signs of an IDE and of a documentation host are
//! watched only when they changed what was written, or an editor and a terminal that share a target folder would make
//! each other rebuild for ever.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use factory_spec::generated::{
    BUDGET_VARIABLE as BUDGET, CACHE_VARIABLE as CACHE_DIR, POLICY_VARIABLE as POLICY, Policy,
    SEED_VARIABLE as SEED,
};

#[cfg(feature = "search")]
use factory_spec::generated::DEVICE_VARIABLE as DEVICE;

use crate::BuildError;
#[cfg(feature = "search")]
use crate::evidence;

/// A documentation host is at work (<https://docs.rs/about/builds>).
const DOCUMENTATION: &str = "DOCS_RS";
/// rust-analyzer is at work; it sets this when it runs build scripts.
const IDE: &str = "RA_RUSTC_WRAPPER";

/// What a user sets, as far as it is read.
#[cfg(feature = "search")]
const WATCHED: &[&str] = &[POLICY, CACHE_DIR, SEED, BUDGET, evidence::VARIABLE];
#[cfg(not(feature = "search"))]
const WATCHED: &[&str] = &[POLICY, CACHE_DIR];

/// What the user's variables say.
#[derive(Clone, Debug)]
pub(crate) struct Variables {
    pub(crate) policy: Policy,
    #[cfg_attr(
        not(feature = "search"),
        expect(dead_code, reason = "checked whether or not there is a search to use it")
    )]
    pub(crate) seed: Option<u64>,
    #[cfg_attr(
        not(feature = "search"),
        expect(dead_code, reason = "checked whether or not there is a search to use it")
    )]
    pub(crate) budget: Option<Duration>,
    /// `None` where the user has no folder for caches.
    pub(crate) cache_root: Option<PathBuf>,
    #[cfg(feature = "search")]
    pub(crate) evidence: evidence::Place,
    /// Whether a missing kernel becomes a stub, and on account of which variable.
    pub(crate) stub: Option<Stub>,
}

/// Why a missing kernel is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stub {
    Documentation,
    Ide,
}

impl Stub {
    /// The variables on which the decision rests; to be watched once a stub is written.
    pub(crate) fn variables(self) -> &'static [&'static str] {
        match self {
            Stub::Documentation => &[DOCUMENTATION],
            Stub::Ide => &[IDE, "RUSTC_WRAPPER"],
        }
    }

    /// The variables' owner, for a message.
    pub(crate) fn who(self) -> &'static str {
        match self {
            Stub::Documentation => "a documentation build",
            Stub::Ide => "an IDE",
        }
    }
}

impl Variables {
    /// Reads the process's environment.
    pub(crate) fn read() -> Result<Variables, BuildError> {
        let get = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &'static str| {
            get(name)
                .map(|value| {
                    value
                        .into_string()
                        .map_err(|value| invalid(name, &value.to_string_lossy(), "text in UTF-8"))
                })
                .transpose()
        };
        let policy = match text(POLICY)? {
            None => Policy::Auto,
            Some(value) => Policy::parse(&value)
                .ok_or_else(|| invalid(POLICY, &value, "`auto`, `offline`, `search` or `refresh`"))?,
        };
        let seed = text(SEED)?
            .map(|value| value.parse().map_err(|_| invalid(SEED, &value, "an integer from 0 to 2^64 - 1")))
            .transpose()?;
        let budget = text(BUDGET)?
            .map(|value| {
                let seconds = value.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
                seconds
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                    .ok_or_else(|| invalid(BUDGET, &value, "a number of seconds above 0"))
            })
            .transpose()?;
        let stub = if get(DOCUMENTATION).is_some() {
            Some(Stub::Documentation)
        } else if get(IDE).is_some()
            || get("RUSTC_WRAPPER").is_some_and(|wrapper| is_ide_wrapper(Path::new(&wrapper)))
        {
            Some(Stub::Ide)
        } else {
            None
        };
        Ok(Variables {
            policy,
            seed,
            budget,
            cache_root: cache_root(),
            #[cfg(feature = "search")]
            evidence: evidence::Place::of_user(),
            stub,
        })
    }

    /// The names of everything read here that a user sets.
    pub(crate) fn watched() -> &'static [&'static str] {
        WATCHED
    }
}

/// The root of the user's cache.
pub(crate) fn cache_root() -> Option<PathBuf> {
    match env::var_os(CACHE_DIR).filter(|value| !value.is_empty()) {
        Some(folder) => std::path::absolute(folder).ok(),
        None => dirs::cache_dir().map(|folder| folder.join("kernel-factory")),
    }
}

/// The folder of the package being built.
pub(crate) fn manifest_dir() -> Result<PathBuf, BuildError> {
    folder("CARGO_MANIFEST_DIR")
}

/// The folder that the build script may write to.
pub(crate) fn out_dir() -> Result<PathBuf, BuildError> {
    folder("OUT_DIR")
}

/// Whether a feature of the package being built is on.
pub(crate) fn feature(name: &str) -> bool {
    env::var_os(format!("CARGO_FEATURE_{}", name.to_uppercase().replace('-', "_"))).is_some()
}

/// Whether the user wants no GPU to be touched. It is not watched: it decides how a search is done, and what a search
/// has found stays good.
#[cfg(feature = "search")]
pub(crate) fn machine_only() -> bool {
    env::var_os(DEVICE).is_some_and(|device| device == "machine")
}

/// How many jobs cargo may run at once; a search uses as many threads.
#[cfg(feature = "search")]
pub(crate) fn jobs() -> usize {
    env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(0)
}

/// Threads to read sealed kernels with: cargo's jobs, but no more than there are cores.
pub(crate) fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()) {
        Some(jobs) if jobs > 0 => cores.min(jobs),
        _ => cores,
    }
}

fn folder(name: &'static str) -> Result<PathBuf, BuildError> {
    env::var_os(name).map(PathBuf::from).ok_or(BuildError::NotABuildScript { variable: name })
}

/// IDEs that put themselves in front of the compiler to collect its answers.
fn is_ide_wrapper(wrapper: &Path) -> bool {
    let name = wrapper.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.starts_with("rust-analyzer") || name.starts_with("intellij-rust")
}

fn invalid(name: &'static str, value: &str, allowed: &'static str) -> BuildError {
    BuildError::Variable { name, value: value.to_owned(), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_wrappers_of_ides() {
        assert!(is_ide_wrapper(Path::new("/opt/rust-analyzer-x86_64/rust-analyzer")));
        assert!(is_ide_wrapper(Path::new("/opt/intellij-rust-native-helper")));
        assert!(!is_ide_wrapper(Path::new("/usr/bin/sccache")));
    }
}
