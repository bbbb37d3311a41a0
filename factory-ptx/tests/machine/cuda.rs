//! CUDA C++ programs of `tests/corpus/cuda`: on the machine they give what the GPU gave, whatever the schedule.

use std::path::{Path, PathBuf};

use factory_ptx::corpus::{Answers, fnv, runs};
use factory_ptx::machine::Options;

use crate::play::{kernel, play};

/// The sources, or the one that `KERNEL_FACTORY_CORPUS` names.
fn sources() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/cuda");
    let only = std::env::var("KERNEL_FACTORY_CORPUS").ok();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cu"))
        .filter(|path| only.as_deref().is_none_or(|only| path.file_stem().is_some_and(|stem| stem == only)))
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every launch of one program on the machine: what is wrong with it.
fn failures_of(path: &Path) -> Vec<String> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let cases = runs(&read(path)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!cases.is_empty(), "{name} runs nothing");
    let text = read(&path.with_extension("ptx"));
    let module = match factory_ptx::parse(&text) {
        Ok(module) => module,
        Err(error) => return vec![format!("{name}: {error}")],
    };
    let mut failures = Vec::new();
    if let Err(errors) = factory_ptx::check(&module) {
        failures.extend(errors.iter().take(3).map(|error| format!("{name}: {error}")));
    }
    let answers = std::fs::read_to_string(path.with_extension("answers"))
        .ok()
        .map(|text| Answers::read(&text).unwrap_or_else(|error| panic!("{name}: answers: {error}")));
    if answers.as_ref().is_some_and(|answers| answers.program != fnv(text.as_bytes())) {
        failures.push(format!("{name}: the answers are to other PTX"));
    }
    for (index, case) in cases.iter().enumerate() {
        let place = format!("{name}:{}", case.line);
        let kernel = match kernel(&module, case) {
            Ok(kernel) => kernel,
            Err(error) => {
                failures.push(format!("{place}: {error}"));
                continue;
            }
        };
        let mut first = None;
        for (seed, threads) in [(0, 1), (5, 1), (11, 2)] {
            let options = Options { seed, threads, instruction_budget: 3_000_000, ..Options::default() };
            let bytes = match play(&kernel, case, &options) {
                Ok(bytes) => bytes,
                Err(error) => {
                    failures.push(format!("{place} (seed {seed}): {error}"));
                    break;
                }
            };
            let before = failures.len();
            for (argument, bytes) in case.arguments.iter().zip(&bytes) {
                let difference = match (&answers, argument.recorded) {
                    (Some(answers), true) => answers.difference(index, case, argument, bytes),
                    (None, true) => Some(format!("no answer is recorded for `{}`", argument.name)),
                    _ => argument.difference(bytes),
                };
                failures.extend(difference.map(|difference| format!("{place} (seed {seed}): {difference}")));
            }
            if failures.len() > before {
                break;
            }
            // Buffers of which nothing is expected (counters, workspaces) may depend on the order.
            let checked: Vec<Vec<u8>> = case
                .arguments
                .iter()
                .zip(bytes)
                .filter(|(argument, _)| argument.is_checked())
                .map(|(_, bytes)| bytes)
                .collect();
            if *first.get_or_insert_with(|| checked.clone()) != checked {
                failures.push(format!("{place}: seed {seed} gives another result"));
            }
        }
    }
    failures
}

#[test]
fn programs_give_the_answers_of_the_gpu() {
    let sources = sources();
    let failures: Vec<String> = sources.iter().flat_map(|path| failures_of(path)).collect();
    assert!(failures.is_empty(), "{} programs, failures:\n{}", sources.len(), failures.join("\n"));
}
