//! What a build did, and what cargo is told.

use std::collections::BTreeSet;
use std::path::PathBuf;

use factory_spec::Key;

/// What a build did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Each kernel once, in the order of names and keys
    pub kernels: Vec<KernelReport>,
    /// Files and folders whose change makes cargo run the build script again; all of them exist
    pub watched: BTreeSet<PathBuf>,
    /// Environment variables whose change makes cargo run the build script again
    pub watched_variables: BTreeSet<&'static str>,
    /// What a person should know, a line each
    pub warnings: Vec<String>,
}

/// One kernel of a build.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KernelReport {
    /// The kernel's name
    pub name: String,
    /// Its key
    pub key: Key,
    /// Where it is from
    pub origin: Origin,
}

/// Where a kernel is from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The crate itself
    Sealed {
        /// The sealed folder, relative to the package
        folder: PathBuf,
    },
    /// The user's cache
    Cached,
    /// An earlier search of this package, while the cache could not be written
    Built,
    /// A search in this build
    Searched,
    /// Nowhere: its launch returns an error that says why
    Stub,
}

impl Report {
    pub(crate) fn watch(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        self.watched.extend(paths);
    }

    pub(crate) fn add(&mut self, name: &str, key: Key, origin: Origin) {
        self.kernels.push(KernelReport { name: name.to_owned(), key, origin });
    }

    /// Prints cargo's directives.
    pub(crate) fn print(&self) {
        for path in &self.watched {
            // Cargo takes no other paths; a change of such a file goes unnoticed.
            if path.to_str().is_some_and(|path| !path.contains('\n')) {
                build_rs::output::rerun_if_changed(path);
            }
        }
        for name in &self.watched_variables {
            build_rs::output::rerun_if_env_changed(name);
        }
        for warning in self.warnings.iter().flat_map(|warning| warning.lines()) {
            build_rs::output::warning(warning);
        }
    }
}
