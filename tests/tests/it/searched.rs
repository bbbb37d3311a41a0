//! Builds that search: several at once, killed, repeated, and with a cache that takes nothing.
//!
//! They run the program `build-script`, which is a build script with the feature `search`, in cargo's place.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use factory_tests::{Package, Run, SPEC, bound, snapshot};

const PROGRAM: &str = env!("CARGO_BIN_EXE_build-script");

/// Enough for a search to have something to choose from.
const CANDIDATES: u32 = 8;

/// A package whose spec asks for a short search.
fn package(name: &str) -> Package {
    let package = crate::package(name);
    package.write("kernels/scale.toml", &format!("{SPEC}\n[search]\ncandidates = {CANDIDATES}\n"));
    package
}

/// An empty folder for a build script's results.
fn out_dir(package: &Package, name: &str) -> PathBuf {
    let folder = package.path(&format!(
        "../../out/{}-{name}",
        package.path("").file_name().expect("a name").to_string_lossy()
    ));
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn search(package: &Package, out_dir: &Path, variables: &[(&str, &str)]) -> Run {
    Run::of(&package.build_script(PROGRAM, out_dir, variables).output().expect("the program starts"))
}

/// The files of a folder by name, without their times.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = snapshot(folder).into_iter().filter(|(path, _)| path.is_file());
    files
        .map(|(path, (_, content))| (path.strip_prefix(folder).expect("it lies below").to_owned(), content))
        .collect()
}

/// The generated folder of the spec's kernel.
fn generated(out_dir: &Path) -> PathBuf {
    factory_spec::generated::folder_in(out_dir, &bound(SPEC).key())
}

#[test]
fn a_result_is_cached_and_refreshed() {
    let package = package("search-cached");
    let (first, second) = (out_dir(&package, "first"), out_dir(&package, "second"));
    let run = search(&package, &first, &[]);
    run.passes().says(&[
        "kernel `scale` (",
        &format!("best of {CANDIDATES} candidates"),
        "ordered by a model, not measured",
    ]);
    assert_eq!(run.output.matches("cargo::warning").count(), 1, "one line:\n{}", run.output);
    search(&package, &second, &[("KERNEL_FACTORY", "offline")]).passes().does_not_say(&["cargo::warning"]);
    assert_eq!(contents(&generated(&first)), contents(&generated(&second)));
    // Again, with everything written already.
    search(&package, &second, &[("KERNEL_FACTORY", "offline")]).passes().does_not_say(&["cargo::warning"]);
    search(&package, &second, &[("KERNEL_FACTORY", "refresh")]).passes().says(&["best of "]);
    assert_eq!(
        contents(&generated(&first)),
        contents(&generated(&second)),
        "the same search, the same bytes"
    );
}

#[test]
fn the_same_search_gives_the_same_bytes_in_another_folder() {
    let (here, there) = (package("search-here"), package("search-there"));
    let seed = [("KERNEL_FACTORY_SEED", "42")];
    for package in [&here, &there] {
        search(package, &out_dir(package, "out"), &seed).passes().says(&["best of "]);
    }
    let key = bound(SPEC).key();
    let entry = contents(&here.cache().entry(&key));
    assert!(entry.contains_key(Path::new("certificate.json")), "{:?}", entry.keys());
    assert!(
        entry == contents(&there.cache().entry(&key)),
        "two searches with one seed found different kernels"
    );
}

#[test]
fn two_builds_at_once_search_once() {
    let package = package("search-twice");
    let (first, second) = (out_dir(&package, "first"), out_dir(&package, "second"));
    let runs = thread::scope(|scope| {
        let threads = [&first, &second].map(|out_dir| scope.spawn(|| search(&package, out_dir, &[])));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    for run in &runs {
        run.passes();
    }
    let searched = runs.iter().filter(|run| run.output.contains("best of ")).count();
    assert_eq!(
        searched, 1,
        "the second build takes the first's result:\n{}\n{}",
        runs[0].output, runs[1].output
    );
    assert_eq!(contents(&generated(&first)), contents(&generated(&second)));
}

#[test]
fn killed_in_the_middle() {
    // All candidates, for a search with a middle.
    let package = crate::package("search-killed");
    let out = out_dir(&package, "out");
    let start = Instant::now();
    search(&package, &out, &[]).passes().says(&["best of "]);
    let whole = start.elapsed();
    let locks = package.cache_dir().join("v1/lock");
    let mut killed = 0;
    // At several moments: a kill must do no harm whenever it comes.
    for quarter in 0..4 {
        fs::remove_dir_all(package.cache_dir()).expect("the cache is ours");
        fs::remove_dir_all(&out).expect("the folder is ours");
        let mut child = package
            .build_script(PROGRAM, &out, &[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let patience = Instant::now() + Duration::from_secs(30);
        while !locks.exists() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(whole * quarter / 4);
        child.kill().expect("it can be killed");
        killed += u32::from(!child.wait().expect("it has ended").success());
        // Whatever there is now is whole.
        let key = bound(SPEC).key();
        let entry = package.cache().entry(&key);
        assert!(
            !entry.exists() || package.cache().load(&key).is_some(),
            "the killed build left half an entry"
        );
    }
    assert!(killed > 0, "every search ended before it could be killed");
    // What the last one left behind, its lock among it, holds nobody up.
    package.cache().remove(&bound(SPEC).key());
    let _ = fs::remove_dir_all(generated(&out));
    search(&package, &out, &[]).passes().says(&["best of "]);
    assert!(package.cache().load(&bound(SPEC).key()).is_some());
}

#[test]
fn a_cache_that_cannot_be_written() {
    let package = package("search-uncached");
    let out = out_dir(&package, "out");
    // Below a file there can be no folder, not even for a user whom permissions do not stop.
    let file = package.path("../../out/a-file");
    fs::create_dir_all(file.parent().expect("a folder"))
        .and_then(|()| fs::write(&file, ""))
        .expect("the folder is ours");
    let cache = file.join("cache").display().to_string();
    let variables = [("KERNEL_FACTORY_CACHE_DIR", cache.as_str())];
    let run = search(&package, &out, &variables);
    run.passes()
        .says(&["cargo::warning=cannot write `", "a-file/cache", "searches again", "best of "])
        .does_not_say(&["cargo::error"]);
    // The result is in OUT_DIR, so the next build of this package searches no more.
    search(&package, &out, &variables).passes().does_not_say(&["best of "]);
}

#[test]
fn a_spec_that_cannot_be_searched_for_says_why() {
    let package = package("search-refused");
    // Zeros are close enough to everything.
    let spec = SPEC.replace("[better]", "[correct]\ntolerance = { max_absolute = 1e30 }\n\n[better]");
    package.write("kernels/scale.toml", &spec);
    let run = search(&package, &out_dir(&package, "out"), &[]);
    run.fails().says(&["cargo::error=src/lib.rs:5:8: the search for `scale` (key ", "is refused"]);
}
