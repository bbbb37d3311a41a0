//! Every program of `tests/corpus/run`.

use std::path::Path;

use factory_ptx::corpus::runs;
use factory_ptx::machine::{FaultKind, Options};

use crate::play::{kernel, play};

#[test]
fn programs_give_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/run");
    let mut failures = Vec::new();
    let mut count = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("the program is there");
        let cases = runs(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!cases.is_empty(), "{} runs nothing", path.display());
        let module = factory_ptx::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in &cases {
            for (seed, threads) in [(0, 1), (1, 1), (7, 2)] {
                count += 1;
                let options = Options { seed, threads, instruction_budget: 1_000_000, ..Options::default() };
                let place = format!("{}:{} (seed {seed})", path.display(), case.line);
                match (kernel(&module, case).and_then(|kernel| play(&kernel, case, &options)), &case.fault) {
                    (Ok(bytes), None) => {
                        for (argument, bytes) in case.arguments.iter().zip(&bytes) {
                            if let Some(difference) = argument.difference(bytes) {
                                failures.push(format!("{place}: {difference}"));
                            }
                        }
                    }
                    (Ok(_), Some(fault)) => failures.push(format!("{place}: ran, `{fault}` was expected")),
                    (Err(error), Some(fault)) if error.starts_with(&format!("{fault}|")) => {}
                    (Err(error), _) => failures.push(format!("{place}: {error}")),
                }
            }
        }
    }
    assert!(failures.is_empty(), "{count} runs, these failed:\n{}", failures.join("\n"));
}

#[test]
fn every_kind_of_fault_has_a_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/run");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = entry.expect("readable").path();
        let text = std::fs::read_to_string(&path).expect("the programs are there");
        let cases = runs(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        seen.extend(cases.iter().filter_map(|case| case.fault.clone()));
        let module = factory_ptx::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for entry in module.entries().filter(|_| cases.iter().any(|case| case.entry.is_some())) {
            assert!(
                cases.iter().any(|case| case.entry.as_ref() == Some(&entry.name)),
                "{}: `{}` is never run",
                path.display(),
                entry.name
            );
        }
    }
    for (_, name) in FaultKind::ALL {
        assert!(seen.iter().any(|fault| fault == name), "no program for `{name}`");
    }
}
