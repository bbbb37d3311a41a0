//! The project's own speed: `cargo xtask bench` prints each number beside its target.
//!
//! Each measurement is an example of the crate it measures, so that it can also be run, and profiled, alone.

use crate::shell::{Failure, cargo, root, run};
use std::fs;
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
        what: "build script with 1 sealed kernel (target 30 ms) and with 200 (target 1 s), development profile",
        run: || run(&mut cargo(&["run", "-q", "-p", "factory-build", "--example", "build_bench"])),
    },
    Bench {
        word: "clean",
        what: "clean build of a crate with the default features of factory-build and factory-runtime (target 25 s on 2 cores)",
        run: clean_build,
    },
    Bench {
        word: "oracle",
        what: "oracle, 64 M elements (target 2 s on 2 cores)",
        run: || run(&mut cargo(&["run", "-q", "--release", "-p", "factory-spec", "--example", "oracle_bench"])),
    },
    Bench {
        word: "machine",
        what: "PTX machine on a row-wise kernel (target 200 million thread-instructions a second a core)",
        run: || run(&mut cargo(&["run", "-q", "--release", "-p", "factory-ptx", "--example", "machine_bench"])),
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
        run: || run(&mut cargo(&["run", "-q", "--release", "-p", "factory-runtime", "--example", "launch_overhead"])),
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
    for bench in BENCHES.iter().filter(|bench| only.is_empty() || only.iter().any(|word| word == bench.word)) {
        println!("\n== {}", bench.what);
        (bench.run)()?;
    }
    Ok(())
}

/// Builds the sealed example, which uses default features alone, into an empty target folder.
fn clean_build() -> Result<(), Failure> {
    let target = root().join("target/bench-clean");
    if target.exists() {
        fs::remove_dir_all(&target)
            .map_err(|source| Failure::Check(format!("could not empty `{}`: {source}", target.display())))?;
    }
    let start = Instant::now();
    run(cargo(&["build", "-q", "-p", "example-rmsnorm"]).env("CARGO_TARGET_DIR", &target))?;
    println!("clean build, development profile: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
