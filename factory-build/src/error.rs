//! What can go wrong in a build, and what to do about it.

use std::io;
use std::path::PathBuf;

use factory_spec::{Key, LockError, PlanError, SealError, SpecErrors};

/// Why a build script failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A variable that cargo sets is not set.
    #[error("`{variable}` is not set: kernels are built from a build script, which cargo runs")]
    NotABuildScript {
        /// The variable
        variable: &'static str,
    },
    /// A variable has a value that means nothing.
    #[error("the environment variable `{name}` is `{value}`, but it must be {allowed}")]
    Variable {
        /// The variable
        name: &'static str,
        /// Its value
        value: String,
        /// The values that mean something
        allowed: &'static str,
    },
    /// A source file that the build script names cannot be read.
    #[error("cannot read `{}`, which the build script names: {source}", path.display())]
    Source {
        /// The file
        path: PathBuf,
        /// What the system said
        source: io::Error,
    },
    /// Generated files cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file or folder
        path: PathBuf,
        /// What the system said
        source: io::Error,
    },
    /// Some kernels cannot be built; all of them are listed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Kernels(Vec<Problem>),
}

impl BuildError {
    /// The message and what to do about it, a line each; what [`compile`](crate::compile) prints.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self {
            BuildError::Kernels(problems) => {
                problems.iter().for_each(|problem| lines.extend(problem.lines()))
            }
            other => lines.extend(other.to_string().lines().map(str::to_owned)),
        }
        lines
    }
}

/// What is wrong with one kernel.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", place.as_ref().map_or_else(|| "kernel factory".to_owned(), ToString::to_string))]
#[non_exhaustive]
pub struct Problem {
    /// The annotated signature that asks for it; `None` when it concerns all of them
    pub place: Option<Place>,
    /// What is wrong
    pub cause: Cause,
}

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, relative to the package where it lies in it
    pub file: PathBuf,
    /// Its line, from 1
    pub line: usize,
    /// Its column, from 1
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// What is wrong with a kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The spec is missing, unreadable or wrong.
    #[error("the spec of `{function}` is refused\n{errors}")]
    Spec {
        /// The annotated function
        function: String,
        /// What is wrong with it, with lines and columns
        errors: SpecErrors,
    },
    /// Two specs of one name that mean different things.
    #[error("two different kernels are named `{name}`: `{}` and `{}`", first.display(), second.display())]
    NameTaken {
        /// The name
        name: String,
        /// The spec that had it first
        first: PathBuf,
        /// The other one
        second: PathBuf,
    },
    /// There is nothing for the key, and a search is out of the question.
    #[error(
        "kernel `{name}` (key {key}) is neither sealed in {} nor in the cache{}",
        folders(kernels),
        stale(name, sealed)
    )]
    Missing {
        /// The kernel
        name: String,
        /// Its key
        key: Key,
        /// The folders that were looked into
        kernels: Vec<PathBuf>,
        /// Sealed kernels of that name but other keys, which is what a changed spec looks like
        sealed: Vec<String>,
        /// Why there is no search
        no_search: NoSearch,
    },
    /// A search came back empty.
    #[error("the search for `{name}` (key {key}) failed: {message}")]
    Search {
        /// The kernel
        name: String,
        /// Its key
        key: Key,
        /// What the search said
        message: String,
    },
    /// The lock file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    LockUnreadable {
        /// The file
        path: PathBuf,
        /// What the system said
        source: io::Error,
    },
    /// The lock file makes no sense.
    #[error("`{}`: {error}", path.display())]
    Lock {
        /// The file
        path: PathBuf,
        /// What is wrong
        error: LockError,
    },
    /// A sealed kernel is not the one that the lock describes.
    #[error("the sealed kernel in `{}` is refused by `{}`: {error}", folder.display(), lock.display())]
    Locked {
        /// The sealed folder
        folder: PathBuf,
        /// The lock file
        lock: PathBuf,
        /// What differs
        error: Box<LockError>,
    },
    /// There is a sealed kernel, but no lock file at all.
    #[error("the sealed kernel in `{}` is refused: there is no `{}`", folder.display(), lock.display())]
    NoLock {
        /// The sealed folder
        folder: PathBuf,
        /// Where the lock file should be
        lock: PathBuf,
    },
    /// The lock names a kernel that is not there.
    #[error("`{}` has an entry for kernel `{name}`, but `{}` is missing", lock.display(), folder.display())]
    Gone {
        /// The kernel
        name: String,
        /// Where it should be
        folder: PathBuf,
        /// The lock file
        lock: PathBuf,
    },
    /// A sealed kernel was damaged.
    #[error("the sealed kernel of `{name}` is refused: {error}")]
    Sealed {
        /// The kernel
        name: String,
        /// What is wrong
        error: SealError,
    },
    /// A plan does not fit the spec that it has the key of.
    #[error("the plan in `{}` does not fit the spec of `{name}`: {error}", folder.display())]
    Plan {
        /// The kernel
        name: String,
        /// The sealed folder
        folder: PathBuf,
        /// What does not fit
        error: Box<PlanError>,
    },
}

/// Why there is no search for a kernel that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoSearch {
    /// `KERNEL_FACTORY=offline`
    Offline,
    /// The feature `search` of this crate is off
    FeatureOff,
    /// A documentation build or an IDE: a stub was written instead
    Stub,
}

impl Problem {
    /// The message and what to do about it, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.to_string().lines().map(str::to_owned).collect();
        lines.extend(self.cause.hint().map(|hint| format!("hint: {hint}")));
        lines
    }
}

impl Cause {
    /// What to do about it, where there is one thing to do.
    pub fn hint(&self) -> Option<String> {
        let seal_again = |name: &str| {
            format!(
                "restore the files from version control, or seal the kernel again with `cargo factory tune {name}`"
            )
        };
        match self {
            Cause::Spec { .. } | Cause::Search { .. } => None,
            Cause::NameTaken { .. } => Some("give one of them another `name` in its `[kernel]` table".to_owned()),
            Cause::Missing { name, no_search, .. } => Some(match no_search {
                NoSearch::Offline => format!("seal it with `cargo factory tune {name}`; `KERNEL_FACTORY=offline` forbids the build to search"),
                NoSearch::FeatureOff => format!(
                    "seal it with `cargo factory tune {name}`, or let the build search: `factory-build = {{ version = \"{}\", features = [\"search\"] }}` in `[build-dependencies]`",
                    env!("CARGO_PKG_VERSION")
                ),
                NoSearch::Stub => format!("a plain `cargo build` or `cargo factory tune {name}` finds it"),
            }),
            Cause::LockUnreadable { .. } => None,
            Cause::Lock { error: LockError::Newer { .. }, .. } => None,
            Cause::Lock { .. } => Some("restore the file from version control; `cargo factory tune` writes it, it is not edited by hand".to_owned()),
            Cause::Locked { error, .. } => match &**error {
                LockError::NoEntry { name, .. } => Some(format!(
                    "seal it with `cargo factory tune {name}`, which writes the entry, or delete the folder"
                )),
                LockError::Digest { name, .. } => Some(seal_again(name)),
                _ => None,
            },
            Cause::Sealed { name, .. } | Cause::Plan { name, .. } => Some(seal_again(name)),
            Cause::NoLock { .. } => Some("commit `kernels.lock` beside the sealed kernels; `cargo factory tune` writes both".to_owned()),
            Cause::Gone { name, .. } => Some(seal_again(name)),
        }
    }
}

fn folders(kernels: &[PathBuf]) -> String {
    kernels.iter().map(|folder| format!("`{}`", folder.display())).collect::<Vec<_>>().join(" or ")
}

fn stale(name: &str, sealed: &[String]) -> String {
    match sealed {
        [] => String::new(),
        keys => format!(
            "\nit is stale: the spec changed since `{name}` was sealed under {}",
            keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}
