//! A folder of binaries for a machine with a GPU and without cargo.

use crate::shell::{Failure, cargo, output, root, run};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What runs there; it stands beside the binaries as `run.sh`.
const SCRIPT: &str = include_str!("kit.sh");

/// Binaries: package, kind of target, its name.
const BINARIES: [(&str, &str, &str); 8] = [
    ("factory-cli", "--bin", "cargo-factory"),
    ("factory-search", "--example", "gpu_check"),
    ("factory-search", "--example", "hostile_check"),
    ("factory-search", "--example", "learning"),
    ("factory-runtime", "--example", "launch_overhead"),
    ("example-rmsnorm", "--bin", "example-rmsnorm"),
    ("example-fused", "--bin", "example-fused"),
    ("factory-ptx", "--example", "machine_bench"),
];

/// Test binaries whose GPU parts run where there is a GPU: package and test.
const TESTS: [(&str, &str); 2] = [("factory-runtime", "it"), ("factory-search", "it")];

/// Builds everything in release and puts it into `target/kit`.
///
/// # Errors
/// When something does not build.
pub(crate) fn pack() -> Result<(), Failure> {
    let kit = root().join("target/kit");
    let io = |what: &Path, source: std::io::Error| Failure::Check(format!("`{}`: {source}", what.display()));
    if kit.exists() {
        fs::remove_dir_all(&kit).map_err(|source| io(&kit, source))?;
    }
    fs::create_dir_all(&kit).map_err(|source| io(&kit, source))?;
    let put = |from: &Path, name: &str| -> Result<(), Failure> {
        let to = kit.join(name);
        fs::copy(from, &to).map_err(|source| io(from, source))?;
        // Symbols would be most of what travels.
        run(Command::new("strip").arg(&to))
    };
    for (package, kind, name) in BINARIES {
        run(&mut cargo(&["build", "-q", "--release", "-p", package, kind, name]))?;
        let folder = if kind == "--example" { "target/release/examples" } else { "target/release" };
        put(&root().join(folder).join(name), name)?;
    }
    for (package, test) in TESTS {
        let messages = output(&mut cargo(&[
            "test",
            "--release",
            "--no-run",
            "-q",
            "-p",
            package,
            "--test",
            test,
            "--message-format",
            "json",
        ]))?;
        let executable = messages
            .lines()
            .filter_map(|line| line.split("\"executable\":\"").nth(1)?.split('"').next())
            .next_back()
            .ok_or_else(|| {
                Failure::Check(format!("cargo named no executable for the test `{test}` of {package}"))
            })?;
        put(Path::new(executable), &format!("test-{package}"))?;
    }
    let script = kit.join("run.sh");
    fs::write(&script, SCRIPT).map_err(|source| io(&script, source))?;
    println!(
        "packed `{}`; on the GPU machine, from a copy of this checkout: bash target/kit/run.sh FOLDER-FOR-RESULTS",
        kit.display()
    );
    Ok(())
}
