//! `cargo factory verify`: the gates again, on what is sealed.

use crate::arguments::Verify;
use crate::error::Error;
use crate::package;
use crate::print::Output;
use factory_build::package::State;
use factory_search::toolchain::Ptxas;
use factory_spec::{BoundSpec, GateRecord, Outcome, Sealed};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

#[derive(Serialize)]
struct Row {
    name: String,
    key: String,
    /// Gates that ran or could not run
    gates: Vec<GateRecord>,
    /// Why the kernel is refused, when it is
    refused: Option<String>,
}

pub(crate) fn run(dir: &Path, verify: &Verify, output: Output) -> Result<ExitCode, Error> {
    let package = package::read(dir)?;
    let known: Vec<String> = package.kernels().iter().map(|kernel| kernel.spec.name.clone()).collect();
    if let Some(name) = verify.kernels.iter().find(|name| !known.contains(name)) {
        return Err(Error::UnknownKernel { name: name.clone(), known_names: known });
    }
    let found = Ptxas::find(&verify.ptxas)?;
    let ptxas = found.as_ref().map_err(String::as_str);
    let mut rows = Vec::new();
    for kernel in package.kernels() {
        let named = verify.kernels.contains(&kernel.spec.name);
        if !verify.kernels.is_empty() && !named {
            continue;
        }
        let mut row =
            Row { name: kernel.spec.name.clone(), key: kernel.key.short(), gates: Vec::new(), refused: None };
        match package.state(kernel) {
            State::Sealed(sealed) => match gates(&kernel.spec, &sealed, verify, ptxas) {
                Ok(gates) => row.gates = gates,
                Err(reason) => row.refused = Some(reason),
            },
            // What is not sealed is not ours to verify, unless it was asked for by name.
            State::Cached(_) | State::Missing if !named => continue,
            state => {
                let (word, detail) = super::status::describe(&state);
                row.refused = Some(format!("{word}: {detail}"));
            }
        }
        rows.push(row);
    }
    let refused = rows.iter().filter(|row| row.refused.is_some()).count();
    output.show(&rows, |rows| {
        for row in rows {
            println!("{} {}", row.name, row.key);
            for record in &row.gates {
                let target = record.target.map_or_else(String::new, |target| format!(" on {target}"));
                match &record.outcome {
                    Outcome::Passed { cases: 0, .. } => println!("  passed   {}{target}", record.gate),
                    Outcome::Passed { cases, .. } => {
                        println!("  passed   {}{target}, {cases} cases", record.gate)
                    }
                    Outcome::NotRun { reason } => println!("  not run  {}{target}: {reason}", record.gate),
                    _ => {}
                }
            }
            if let Some(reason) = &row.refused {
                println!("  REFUSED  {reason}");
            }
        }
        println!("{} verified, {refused} refused", rows.len() - refused);
    })?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every gate's record, or why one of them refuses the kernel.
fn gates(
    spec: &BoundSpec,
    sealed: &Sealed,
    verify: &Verify,
    ptxas: Result<&Ptxas, &str>,
) -> Result<Vec<GateRecord>, String> {
    let seed = verify.seed.unwrap_or(sealed.certificate.seed);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut records = factory_search::verify(spec, sealed, ptxas, threads, seed)
        .map_err(|(arch, rejection)| format!("{arch}: {rejection}"))?
        .records;
    if verify.gpu {
        let verified = factory_search::verify_on_gpu(spec, sealed, 0, seed);
        records.extend(verified.map_err(|rejection| rejection.to_string())?.records);
    }
    Ok(records)
}
