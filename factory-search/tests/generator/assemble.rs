//! ptxas takes everything that is written, without spills where registers are not limited.

use std::path::PathBuf;
use std::process::Command;

use factory_ptx::builder::Priority;
use factory_search::generator::Space;
use factory_spec::Arch;

use crate::programs::{KEEPING, PROGRAMS, bound, keeping};

/// The assembler: `KERNEL_FACTORY_PTXAS`, or the one on the path.
fn ptxas() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("KERNEL_FACTORY_PTXAS") {
        return Some(PathBuf::from(path));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("ptxas")).find(|file| file.is_file())
}

#[test]
fn ptxas_takes_what_is_written() {
    let Some(ptxas) = ptxas() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no ptxas here: set `KERNEL_FACTORY_PTXAS`");
        eprintln!("no ptxas here: skipped");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut failures = Vec::new();
    let specs = PROGRAMS.iter().map(bound).chain(KEEPING.into_iter().map(keeping));
    for spec in specs {
        let name = &spec.name;
        let space = Space::new(&spec).unwrap_or_else(|declined| panic!("{name}: {declined}"));
        for arch in [Arch::Sm90, Arch::Sm100] {
            let mut candidates = vec![space.fallback(arch)];
            let configurations = space.configurations(arch, &spec.better.over[0]);
            let step = configurations.len().div_ceil(2).max(1);
            let last = configurations.iter().filter(|config| config.load.priority == Priority::EvictLast);
            for config in configurations.iter().step_by(step).chain(last.step_by(4 * step / 3)) {
                candidates.push(space.generate(config, arch).expect("listed configurations suit"));
            }
            for candidate in candidates {
                let file = folder.path().join("kernel.ptx");
                std::fs::write(&file, &candidate.ptx).expect("the temporary folder can be written to");
                let output = Command::new(&ptxas)
                    .arg(format!("-arch={arch}"))
                    .arg("-v")
                    .arg(&file)
                    .arg("-o")
                    .arg(folder.path().join("kernel.cubin"))
                    .output()
                    .expect("ptxas runs");
                let report = String::from_utf8_lossy(&output.stderr);
                let spills = report.contains("spill stores") && !report.contains(" 0 bytes spill stores");
                if !output.status.success() || spills {
                    failures.push(format!("{name} {} {arch}: {report}", candidate.id));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
