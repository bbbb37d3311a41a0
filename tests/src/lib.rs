//! End-to-end tests of Kernel Factory.
//!
//! A [`Package`] is a crate in a temporary folder that depends on this workspace, as a stranger's would. [`Package::cargo`]
//! builds it offline with what the workspace's own build has downloaded. All packages share one target folder, so the
//! dependencies compile once; a package that several tests share goes through [`Shared`], one test after the other.
//!
//! What needs several builds at once, or a build that is killed, runs the program `build-script` of this package
//! instead: it calls [`factory_build::compile`] as a package's build script does, in the environment that cargo would give it.

mod fixture;
mod package;

pub use fixture::{FUNCTION, SPEC, bound, seal};
pub use package::{Package, Run, Shared, snapshot};
