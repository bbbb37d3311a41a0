//! The project's own speed: `cargo xtask bench` prints each number beside its target.
//!
//! Each measurement is an example of the crate it measures, so that it can also be run, and profiled, alone.

use crate::shell::{Failure, cargo, root, run};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

/// A measurement: the word that chooses it, what it is, and how it is taken.
struct Bench {
    word: &'static str,
    what: &'static str,
    run: fn() -> Result<(), Failure>,
}

const BENCHES: [Bench; 7] = [
    Bench {
        word: "build",
        what: "build script with 1 sealed kernel (target 30 ms) and with 200 (target 1 s), without optimisation",
        run: || {
            run(&mut cargo(&[
                "run",
                "-q",
                "--profile",
                "unoptimised",
                "-p",
                "factory-build",
                "--example",
                "build_bench",
            ]))
        },
    },
    Bench {
        word: "clean",
        what: "clean build of a crate with the default features of factory-build and factory-runtime (target 25 s on 2 cores)",
        run: clean_build,
    },
    Bench {
        word: "oracle",
        what: "oracle, 64 M elements (target 2 s on 2 cores)",
        run: || {
            run(&mut cargo(&["run", "-q", "--release", "-p", "factory-spec", "--example", "oracle_bench"]))
        },
    },
    Bench {
        word: "machine",
        what: "PTX machine on a row-wise kernel (target 200 million thread-instructions a second a core)",
        run: || {
            run(&mut cargo(&["run", "-q", "--release", "-p", "factory-ptx", "--example", "machine_bench"]))
        },
    },
    Bench {
        word: "parse",
        what: "PTX parser",
        run: || run(&mut cargo(&["run", "-q", "--release", "-p", "factory-ptx", "--example", "parse_speed"])),
    },
    Bench {
        word: "search",
        what: "the fused example's search (target 30 s on 2 cores, 100 candidates or more)",
        run: || {
            run(&mut cargo(&["build", "-q", "--release", "-p", "factory-cli"]))?;
            let binary = root().join("target/release/cargo-factory");
            let cache = root().join("target/bench-cache");
            run(std::process::Command::new(binary)
                .args(["factory", "tune", "--dir", "examples/fused", "--no-seal"])
                .env("KERNEL_FACTORY_CACHE_DIR", cache)
                .current_dir(root()))
        },
    },
    Bench {
        word: "launch",
        what: "launch through the wrapper against a raw cuLaunchKernel (target 1.15 times, needs a GPU)",
        run: || {
            run(&mut cargo(&[
                "run",
                "-q",
                "--release",
                "-p",
                "factory-runtime",
                "--example",
                "launch_overhead",
            ]))
        },
    },
];

/// Runs the measurements named in `only`, or all.
///
/// # Errors
/// When a name is unknown or a measurement fails.
pub(crate) fn run_all(only: &[String]) -> Result<(), Failure> {
    for word in only {
        if !BENCHES.iter().any(|bench| bench.word == word) {
            let words: Vec<&str> = BENCHES.iter().map(|bench| bench.word).collect();
            return Err(Failure::Check(format!("no measurement `{word}`; there are {}", words.join(", "))));
        }
    }
    for bench in BENCHES.iter().filter(|bench| only.is_empty() || only.iter().any(|word| word == bench.word))
    {
        println!("\n== {}", bench.what);
        (bench.run)()?;
    }
    Ok(())
}

/// Builds the sealed example as a stranger has it: in a package outside the workspace, whose profiles are not this
/// workspace's, into an empty target folder. Downloads are not counted.
fn clean_build() -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("kernel-factory-clean-{}", std::process::id()));
    let result = write_stranger(&folder)
        .map_err(|source| Failure::Check(format!("could not write `{}`: {source}", folder.display())))
        .and_then(|()| build_stranger(&folder));
    // A leftover in the folder for temporaries is not worth failing for.
    let _ = fs::remove_dir_all(&folder);
    result
}

fn write_stranger(folder: &Path) -> io::Result<()> {
    let example = root().join("examples/rmsnorm");
    for part in ["src", "kernels"] {
        copy(&example.join(part), &folder.join(part))?;
    }
    for (from, name) in [(example.join("build.rs"), "build.rs"), (root().join("Cargo.lock"), "Cargo.lock")] {
        fs::copy(from, folder.join(name))?;
    }
    let [runtime, build] = ["factory-runtime", "factory-build"].map(|name| root().join(name));
    let manifest = format!(
        "[package]\nname = \"stranger\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\nfactory-runtime = {{ path = {runtime:?} }}\n\n[build-dependencies]\nfactory-build = {{ path = {build:?} }}\n\n[workspace]\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest)
}

fn build_stranger(folder: &Path) -> Result<(), Failure> {
    let in_folder = |arguments: &[&str]| {
        let mut command = cargo(arguments);
        command.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
        command
    };
    run(&mut in_folder(&["fetch", "-q"]))?;
    let start = Instant::now();
    run(in_folder(&["build", "-q", "--offline"]).env("KERNEL_FACTORY", "offline"))?;
    println!("clean build, default development profile: {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    run(in_folder(&["build", "-q", "--offline"]).env("KERNEL_FACTORY", "offline"))?;
    println!("once more, with nothing to do: {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Copies a folder with everything in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?
        } else {
            fs::copy(entry.path(), to).map(drop)?
        }
    }
    Ok(())
}
