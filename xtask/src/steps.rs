//! The steps of CI. Each is a task of its own, so that what CI runs can be run alone.

use std::path::PathBuf;

use crate::shell::{Failure, cargo, run};
use crate::{tidy, tools};

/// Everything that a change must pass, cheapest first.
pub(crate) fn ci() -> Result<(), Failure> {
    lint()?;
    deny()?;
    test()?;
    examples()?;
    doc()
}

/// Formatting, house rules, clippy.
pub(crate) fn lint() -> Result<(), Failure> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::check()?;
    // What build scripts need is compiled under clippy for clippy alone. The build script of this example searches, and would have the
    // whole search compiled once more, for a dozen lines of its own.
    let packages = ["clippy", "--workspace", "--exclude", "example-fused"];
    run(cargo(&packages).args(["--all-targets", "--all-features", "--", "-D", "warnings"]))
}

/// Licences, sources and bans of the dependencies.
pub(crate) fn deny() -> Result<(), Failure> {
    let tools = tools::install()?;
    let mut command = std::process::Command::new(&tools.cargo_deny);
    command.current_dir(crate::shell::root());
    run(command.args(["--log-level", "error", "check", "bans", "licenses", "sources"]))
}

/// Every test, with ptxas and nvcc where the tests look for them.
pub(crate) fn test() -> Result<(), Failure> {
    let tools = tools::install()?;
    run(tools.visible_to(&mut cargo(&["test", "--workspace", "--all-features"])))
}

/// The examples, as a user would build and run them, on the PTX machine.
pub(crate) fn examples() -> Result<(), Failure> {
    let tools = tools::install()?;
    for example in ["example-rmsnorm", "example-fused"] {
        run(tools.visible_to(cargo(&["run", "-p", example]).env("KERNEL_FACTORY_DEVICE", "machine")))?;
    }
    // The sealed example again, told to search nothing: what a build host without anything would do.
    run(cargo(&["build", "--offline", "-p", "example-rmsnorm"]).env("KERNEL_FACTORY", "offline"))?;
    // The program as the tests have built it: `cargo factory` would build the search once more, with fewer features.
    run(tools.visible_to(&mut cargo(&["test", "--workspace", "--all-features", "--no-run", "--quiet"])))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let program = crate::shell::root().join(target).join("debug/cargo-factory");
    for package in ["examples/rmsnorm", "kernels/rmsnorm"] {
        let mut command = std::process::Command::new(&program);
        command.current_dir(crate::shell::root());
        run(command.args(["factory", "check", "--dir", package]))?;
    }
    Ok(())
}

/// The documentation, warnings denied.
pub(crate) fn doc() -> Result<(), Failure> {
    run(cargo(&["doc", "--workspace", "--all-features", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}
