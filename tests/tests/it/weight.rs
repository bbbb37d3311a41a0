//! What users compile when they add the build script's crate.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The most crates that `factory-build` may bring with its default features, itself included.
const LIMIT: usize = 45;

#[test]
fn the_build_script_is_light() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "-p",
            "factory-build",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
            "--format",
            "{p}",
        ])
        .current_dir(workspace)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let crates: BTreeSet<&str> = tree.lines().filter(|line| !line.is_empty()).collect();
    assert!(
        crates.iter().any(|name| name.starts_with("factory-spec ")),
        "this is no tree of factory-build:\n{tree}"
    );
    assert!(!crates.iter().any(|name| name.starts_with("factory-search ")), "the search is on by default");
    assert!(
        crates.len() <= LIMIT,
        "{} crates, {LIMIT} are allowed:\n{}",
        crates.len(),
        crates.into_iter().collect::<Vec<_>>().join("\n")
    );
}
