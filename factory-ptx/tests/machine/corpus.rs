//! Every program of `tests/corpus/run`.

use std::path::Path;

use factory_ptx::corpus::{Role, Run, runs};
use factory_ptx::machine::{FaultKind, Kernel, Launch, Memory, Options, Stop, run};

/// Runs one launch; what came out of every written buffer, or why it stopped.
fn execute(text: &str, case: &Run, options: &Options) -> Result<Vec<Vec<u8>>, String> {
    let module = factory_ptx::parse(text).map_err(|error| error.to_string())?;
    let first = module.entries().next().map(|entry| entry.name.clone()).unwrap_or_default();
    let kernel =
        Kernel::new(&module, case.entry.as_deref().unwrap_or(&first)).map_err(|error| error.to_string())?;
    let mut bytes: Vec<Vec<u8>> = case.arguments.iter().map(|argument| argument.before.clone()).collect();
    {
        let mut memory = Memory::new();
        let mut addresses = Vec::new();
        for (argument, bytes) in case.arguments.iter().zip(&mut bytes) {
            addresses.push(match argument.role {
                Role::In => memory.input(&argument.name, bytes),
                Role::Out => memory.output(&argument.name, bytes),
                Role::InOut => memory.inout(&argument.name, bytes),
                Role::Scalar => 0,
            });
        }
        let launch = Launch {
            grid: case.grid,
            block: case.block,
            cluster: case.cluster,
            shared_bytes: case.shared_bytes,
            params: case.params(&addresses),
        };
        match run(&kernel, &launch, &mut memory, options) {
            Ok(_) => {}
            Err(Stop::Fault(fault)) => return Err(format!("{}|{fault}", fault.kind)),
            Err(stop) => return Err(stop.to_string()),
        }
        for (argument, address) in case.arguments.iter().zip(addresses) {
            if argument.after.is_some()
                && let Some(range) = memory.unwritten(address)
            {
                return Err(format!("bytes {range:?} of `{}` were not written", argument.name));
            }
        }
    }
    Ok(bytes)
}

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
        for case in &cases {
            for (seed, threads) in [(0, 1), (1, 1), (7, 2)] {
                count += 1;
                let options = Options { seed, threads, instruction_budget: 100_000, ..Options::default() };
                let place = format!("{}:{} (seed {seed})", path.display(), case.line);
                match (execute(&text, case, &options), &case.fault) {
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/run/faults.ptx");
    let text = std::fs::read_to_string(path).expect("the programs are there");
    let cases = runs(&text).unwrap_or_else(|error| panic!("{error}"));
    for (_, name) in FaultKind::ALL {
        assert!(cases.iter().any(|case| case.fault.as_deref() == Some(name)), "no program for `{name}`");
    }
    let module = factory_ptx::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    for entry in module.entries() {
        assert!(
            cases.iter().any(|case| case.entry.as_ref() == Some(&entry.name)),
            "`{}` is never run",
            entry.name
        );
    }
}
