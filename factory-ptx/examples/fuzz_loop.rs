//! Runs the bodies of the fuzz targets over mutated programs of the corpus, without a fuzzer:
//! `cargo run --release -p factory-ptx --example fuzz_loop -- SECONDS [SEED [FOLDER]]`.
//!
//! `fuzz_loop replay FILE…` runs saved files again.
//!
//! What panics, takes longer than two seconds or a GiB more is saved in the folder (the current one). Ends with how many
//! executions survived.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use factory_ptx::fuzz::{Random, decode_any, mutated, parse_any, run_any};

fn corpus() -> Vec<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut texts = Vec::new();
    for folder in ["run", "cuda", "nvcc"] {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(tests.join(folder))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "ptx"));
        paths.sort();
        texts.extend(paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()));
    }
    texts
}

/// The most memory that this process ever had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Time that this process computed, in hundredths of a second: other programs on the machine do not count.
fn computed() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    if std::env::args().nth(1).as_deref() == Some("replay") {
        for path in words.skip(1) {
            let bytes = std::fs::read(&path)?;
            let begun = Instant::now();
            parse_any(&bytes);
            println!("{path}: {} decode, {} end, {:?}", decode_any(&bytes), run_any(&bytes), begun.elapsed());
        }
        return Ok(());
    }
    let seconds: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(60);
    let seed: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
    let folder = PathBuf::from(words.next().unwrap_or_else(|| ".".to_owned()));
    let texts = corpus();
    let mut random = Random::new(seed);
    let start = Instant::now();
    let (mut executions, mut decoded, mut ended, mut bad) = (0u64, 0usize, 0usize, 0u32);
    let mut told = Duration::ZERO;
    while start.elapsed() < Duration::from_secs(seconds) {
        let text = &texts[random.below(texts.len())];
        let other = &texts[random.below(texts.len())];
        let bytes = mutated(text, other, &mut random);
        let before = peak();
        let begun = computed();
        let mut stage = "parse";
        let result = catch_unwind(AssertUnwindSafe(|| {
            parse_any(&bytes);
            stage = "decode";
            decoded += decode_any(&bytes);
            stage = "run";
            ended += run_any(&bytes);
        }));
        executions += 1;
        let took = Duration::from_millis(10 * computed().saturating_sub(begun));
        let grown = peak().saturating_sub(before);
        if result.is_err() || took > Duration::from_secs(2) || grown > 1 << 20 {
            bad += 1;
            let what = if result.is_err() { "panic" } else { "slow" };
            let path = folder.join(format!("{what}-{stage}-{seed}-{executions}.ptx"));
            std::fs::write(&path, &bytes)?;
            println!("{}: {took:?}, {grown} KiB", path.display());
        }
        if start.elapsed() > told + Duration::from_secs(60) {
            told = start.elapsed();
            println!(
                "{executions} executions, {decoded} kernels decoded, {ended} ran to their end, {bad} bad"
            );
        }
    }
    println!(
        "{executions} executions in {seconds} s, {decoded} kernels decoded, {ended} ran to their end, {bad} bad, at most {} MiB",
        peak() >> 10
    );
    Ok(())
}
