//! The build script's side of Kernel Factory.
//!
//! In `build.rs`:
//!
//! ```no_run
//! factory_build::compile();
//! ```
//!
//! [`compile`] finds every `#[kernel_factory(spec = "…")]` signature of the package, reads the spec, and puts the kernel
//! into `OUT_DIR`, in a folder named by the spec's key, from where the attribute includes it. A kernel is looked for
//!
//! 1. in the crate: sealed in `kernels/<name>/<key>/`, and described by `kernels/kernels.lock`. What the lock does not
//!    describe, or describes otherwise, is refused;
//! 2. in the user's [`cache`];
//! 3. by a search, if the feature `search` is on. The result goes into the cache. `[search]` in the spec says how much it
//!    may spend, unless `KERNEL_FACTORY_SEED` and `KERNEL_FACTORY_BUDGET` (in seconds) do. With
//!    `KERNEL_FACTORY_DEVICE=machine` it leaves a GPU alone. It leaves a log in the cache's folder `logs`, which
//!    `cargo factory watch` follows. Where a GPU measures, it believes and adds to the evidence that `cargo factory tune`
//!    keeps in the cache, and reads `kernels/<name>/evidence.jsonl` beside the spec; `KERNEL_FACTORY_EVIDENCE` names
//!    another file, or is `off`.
//!
//! `KERNEL_FACTORY` says how far to go: `auto` (all three, the default), `offline` (never search), `search` (the
//! same, said aloud), `refresh` (search again, whatever there is). Under
//! documentation hosts and IDEs there is no search; a kernel that is missing becomes a stub whose launch says so.
//!
//! Rules that hold throughout:
//! - Nothing is written but to `OUT_DIR` and the cache, and to an evidence file that `KERNEL_FACTORY_EVIDENCE` names.
//! - Nothing is embedded whose digests were not checked in this very run.
//! - The cache can only save time. Whatever is wrong with it, the build goes on without.
//! - Cargo is told exactly what was read, so that a build script runs again when that changes and at no other time.

pub mod cache;
mod embed;
mod env;
mod error;
#[cfg(feature = "search")]
pub mod evidence;
mod factory;
mod kernels;
pub mod package;
mod report;
mod scan;
#[cfg(feature = "search")]
mod search;

pub use error::{BuildError, Cause, NoSearch, Place, Problem};
pub use factory::Factory;
pub use factory_spec::generated::Policy;
pub use report::{KernelReport, Origin, Report};

/// Puts the kernels of all annotated signatures of the package into `OUT_DIR`. If that fails, prints what is wrong as
/// cargo wants it and ends the build script.
pub fn compile() {
    Factory::new().compile();
}
