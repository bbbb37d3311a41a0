//! From CUDA C++ to PTX.
//!
//! Two compilers are driven: NVRTC, where its library is found, and nvcc. Both run as child processes under a time and a
//! memory limit. NVRTC could be called in this process, and can even be asked to stop through its flow callback, but it
//! does not listen while its front end expands templates or evaluates constants: ten lines of source keep it busy for
//! ever, and a thread cannot be ended from outside. So the library is loaded by a child that is this program again
//! ([`crate::serve_if_asked`]), which stays for the next request; a child that is late or dies is replaced. Programs that do not
//! offer themselves (they have not called [`crate::serve_if_asked`]) use nvcc.
//!
//! What a compiler said is kept by content ([`CompileCache`]): the key covers the source, everything that it includes
//! from its own folder, defines, flags, the architecture, and which compiler it is. Refusals are kept too. Running out of
//! time or memory is not: it may go better on another day. What was used longest ago goes when the cache is too large.

mod cache;
mod child;
mod nvcc;
mod nvrtc;
mod prune;
mod unit;
mod watched;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

pub use cache::CompileCache;
pub(crate) use child::serve_if_asked;
pub use nvcc::Nvcc;
pub use nvrtc::Nvrtc;
pub use prune::Usage;
pub use unit::Unit;

use crate::toolchain::{self, CudaTools};

/// How much one compilation may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompileLimits {
    /// Wall-clock time.
    pub time: Duration,
    /// Address space of the compiler's processes, in bytes. Enforced where there is a POSIX shell.
    pub memory: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), memory: 12 << 30 }
    }
}

/// What a compiler made of a unit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Compiled {
    /// The PTX.
    pub ptx: String,
    /// Name expressions and the entries that they became, where the compiler told.
    pub names: std::collections::BTreeMap<String, String>,
}

/// Why there is no PTX.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The compiler refuses the source; its message, with the template's own line numbers.
    #[error("{0}")]
    Refused(String),
    /// The compiler took too long or too much memory, or fell over.
    #[error("{0}")]
    Limit(String),
    /// The compiler could not be run; nothing is known about the source.
    #[error("{0}")]
    NotRun(String),
}

#[derive(Debug)]
enum Backend {
    Nvrtc(Nvrtc),
    Nvcc(Nvcc),
}

/// So many units are compiled between two looks at the cache's size; the first that a search compiles is one of them.
const BETWEEN_PRUNES: u64 = 200;

/// A compiler with its cache and limits.
#[derive(Debug)]
pub struct Compiler {
    backend: Backend,
    cache: Option<CompileCache>,
    limits: CompileLimits,
    compiled: AtomicU64,
    cached: AtomicU64,
}

impl Compiler {
    /// The compiler that this machine has: NVRTC when this program can be its host, else nvcc.
    ///
    /// # Errors
    /// There is none, or the one that a variable names does not work; what was tried, in words.
    pub fn find() -> Result<Self, String> {
        let tools = toolchain::cuda_tools();
        match crate::host::offered() {
            Some(host) if tools.prefers_nvrtc() => match Nvrtc::find(&tools, host) {
                Ok(nvrtc) => return Ok(Self::with_nvrtc(nvrtc)),
                // A library that was named and does not work is not passed over in silence.
                Err(message) if std::env::var_os("KERNEL_FACTORY_NVRTC").is_some() => return Err(message),
                Err(_) => {}
            },
            _ => {}
        }
        Nvcc::find(&tools).map(Self::with_nvcc)
    }

    /// nvcc.
    pub fn with_nvcc(nvcc: Nvcc) -> Self {
        Self::new(Backend::Nvcc(nvcc))
    }

    /// NVRTC.
    pub fn with_nvrtc(nvrtc: Nvrtc) -> Self {
        Self::new(Backend::Nvrtc(nvrtc))
    }

    fn new(backend: Backend) -> Self {
        Self {
            backend,
            cache: CompileCache::of_user(),
            limits: CompileLimits::default(),
            compiled: AtomicU64::new(0),
            cached: AtomicU64::new(0),
        }
    }

    /// The same with another cache, or none.
    #[must_use]
    pub fn with_cache(mut self, cache: Option<CompileCache>) -> Self {
        self.cache = cache;
        self
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: CompileLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Which compiler it is, such as `nvcc 13.0.88`. The same words mean the same PTX.
    pub fn identity(&self) -> &str {
        match &self.backend {
            Backend::Nvrtc(nvrtc) => nvrtc.identity(),
            Backend::Nvcc(nvcc) => nvcc.identity(),
        }
    }

    /// The compiler's file.
    pub fn path(&self) -> &Path {
        match &self.backend {
            Backend::Nvrtc(nvrtc) => nvrtc.path(),
            Backend::Nvcc(nvcc) => nvcc.path(),
        }
    }

    /// How often the compiler was run, and how often the cache answered instead.
    pub fn counts(&self) -> (u64, u64) {
        (self.compiled.load(Ordering::Relaxed), self.cached.load(Ordering::Relaxed))
    }

    /// Compiles a unit, or takes what the cache has.
    ///
    /// # Errors
    /// The source is refused, a limit was reached, or the compiler does not run.
    pub fn compile(&self, unit: &Unit) -> Result<Compiled, CompileError> {
        let key = unit.key(self.identity());
        if let Some(found) = self.cache.as_ref().and_then(|cache| cache.load(&key)) {
            self.cached.fetch_add(1, Ordering::Relaxed);
            return found;
        }
        let before = self.compiled.fetch_add(1, Ordering::Relaxed);
        let outcome = match &self.backend {
            Backend::Nvrtc(nvrtc) => nvrtc.compile(unit, &self.limits),
            Backend::Nvcc(nvcc) => nvcc.compile(unit, &self.limits),
        };
        // The cache only saves work: one that cannot be written is no reason to lose a candidate.
        if let (Some(cache), Ok(_) | Err(CompileError::Refused(_))) = (&self.cache, &outcome) {
            cache.store(&key, &outcome);
            if before.is_multiple_of(BETWEEN_PRUNES) {
                cache.keep_small();
            }
        }
        outcome
    }
}

/// Where a compiler looks for headers: the toolkit's, and nothing else.
pub(crate) fn include_folders(tools: &CudaTools, tool: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<std::path::PathBuf> = Vec::new();
    // Beside the tool first: a header of another version is worse than none.
    let root = tool.parent().and_then(Path::parent);
    for root in root.into_iter().chain(tools.roots.iter().map(std::path::PathBuf::as_path)) {
        for folder in ["include", "targets/x86_64-linux/include", "targets/sbsa-linux/include"] {
            let folder = root.join(folder);
            if folder.join("cuda_fp16.h").is_file() {
                let cccl = folder.join("cccl");
                found.push(folder);
                found.extend(cccl.is_dir().then_some(cccl));
                return found;
            }
        }
    }
    found
}
