//! Crates written from nothing and built offline: one test for each row of what can go wrong in a build, and for what
//! must stay true when nothing does.

mod cache;
mod policy;
mod read_only;
mod rerun;
mod sealed;
mod searched;
mod signature;
mod spec;
mod weight;

use factory_tests::Package;

/// The folder for everything that tests write: cargo gives it to integration tests.
const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

/// A package with a build script, the spec `scale` and its signature, but no kernel.
fn package(name: &str) -> Package {
    let package = Package::new(FOLDER, name);
    package.write("kernels/scale.toml", factory_tests::SPEC);
    package.library(factory_tests::FUNCTION);
    package
}

/// The same with the kernel sealed.
fn sealed_package(name: &str) -> Package {
    let package = package(name);
    package.seal(&factory_tests::seal(&factory_tests::bound(factory_tests::SPEC)));
    package
}
