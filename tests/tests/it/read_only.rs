//! Nothing is written but to `OUT_DIR` and the cache.

use std::fs;

use factory_tests::snapshot;

#[test]
fn a_build_leaves_the_package_alone() {
    let package = crate::sealed_package("untouched");
    // Cargo itself completes its lock file; that is not ours to forbid.
    package.cargo(&["metadata", "--format-version", "1"], &[]).passes();
    let before = snapshot(&package.path(""));
    package.build(&[]).passes();
    assert!(before == snapshot(&package.path("")), "the build wrote into the package");
}

/// As a user who may not write there, and does not own it: `nobody` where the tests run as root, whom permissions do
/// not stop.
#[cfg(unix)]
#[test]
fn a_package_that_cannot_be_written() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    use std::os::unix::process::CommandExt as _;
    use std::path::Path;

    const NOBODY: u32 = 65534;
    let package = crate::sealed_package("read-only");
    // A place that every user can enter.
    let shared = std::env::temp_dir().join(format!("kernel-factory-read-only-{}", std::process::id()));
    let (source, out_dir, program) = (shared.join("source"), shared.join("out"), shared.join("build-script"));
    for folder in [&source.join("src"), &source.join("kernels"), &out_dir] {
        fs::create_dir_all(folder).expect("a folder for temporaries");
    }
    copy(&package.path("src"), &source.join("src"));
    copy(&package.path("kernels"), &source.join("kernels"));
    fs::copy(env!("CARGO_BIN_EXE_build-script"), &program).expect("the program can be copied");
    let before = snapshot(&source);
    for path in before.keys().chain([&source]) {
        let mode = if path.is_dir() { 0o555 } else { 0o444 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the copy is ours");
    }

    let mut command = package.build_script(program.to_str().expect("a path in UTF-8"), &out_dir, &[]);
    let cache = shared.join("cache");
    command.current_dir(&source).env("CARGO_MANIFEST_DIR", &source).env("KERNEL_FACTORY_CACHE_DIR", &cache);
    if fs::metadata(&shared).expect("it was just made").uid() == 0 {
        chown(&out_dir, Some(NOBODY), Some(NOBODY)).expect("root may give it away");
        command.uid(NOBODY).gid(NOBODY);
    }
    let run = factory_tests::Run::of(&command.output().expect("the program starts"));
    let after = snapshot(&source);
    for path in after.keys().chain([&source]).filter(|path| path.is_dir()) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the copy is ours");
    }
    let built = fs::read_dir(out_dir.join("kernel_factory")).map_or(0, Iterator::count);
    let _ = fs::remove_dir_all(&shared);
    run.passes().does_not_say(&["cargo::error"]);
    assert_eq!(built, 1);
    assert!(before == after, "the build wrote into the package");

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("a folder for temporaries");
        for entry in fs::read_dir(from).expect("a folder of the package").flatten() {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to)
            } else {
                fs::copy(entry.path(), &to).map(drop).expect("a copy")
            }
        }
    }
}
