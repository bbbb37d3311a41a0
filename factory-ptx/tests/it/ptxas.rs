//! The checker's verdict on single instructions equals the verdict of ptxas 13.0.
//!
//! `corpus/forms.txt` holds a line for each: `ok` or `bad` as ptxas said, the target, the instruction, which stands in
//! the kernel of `corpus/forms.ptx`. Where a ptxas is installed, the recorded verdicts are compared with it again.

use std::path::PathBuf;
use std::process::Command;

use factory_ptx::{check, parse};

const FORMS: &str = include_str!("../corpus/forms.txt");
const VERSIONS: &str = include_str!("../corpus/versions.txt");
const KERNEL: &str = include_str!("../corpus/forms.ptx");

struct Case {
    valid: bool,
    target: &'static str,
    instruction: &'static str,
}

impl Case {
    fn text(&self) -> String {
        KERNEL.replace("@TARGET@", self.target).replace("@INSTRUCTION@", self.instruction)
    }
}

fn cases() -> Vec<Case> {
    let cases: Vec<Case> = FORMS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let valid = words.next() == Some("ok");
            let target = words.next().expect("a target");
            Case { valid, target, instruction: words.next().expect("an instruction") }
        })
        .collect();
    assert!(cases.iter().filter(|case| case.valid).count() >= 150);
    assert!(cases.iter().filter(|case| !case.valid).count() >= 60);
    cases
}

#[test]
fn the_checker_agrees_with_recorded_verdicts() {
    let mut wrong = Vec::new();
    for case in cases() {
        let text = case.text();
        let verdict = match parse(&text) {
            Err(errors) => Err(errors.to_string()),
            Ok(module) => check(&module).map_err(|errors| errors[0].render(&text)),
        };
        if verdict.is_ok() != case.valid {
            let said = verdict.err().unwrap_or_else(|| "accepted".to_owned());
            wrong.push(format!("{} {}: {said}", case.target, case.instruction));
        }
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}

/// The kernel with one of the instructions of `corpus/versions.txt`, as the version itself or the one before says.
fn versioned(line: &str, before: bool) -> (String, &str) {
    let mut words = line.splitn(3, ' ');
    let version = words.next().expect("a version");
    let target = words.next().expect("a target");
    let instruction = words.next().expect("an instruction");
    let mut kernel = KERNEL.replace("@TARGET@", target).replace("@INSTRUCTION@", instruction);
    if !instruction.contains("%q") {
        // The register alone would need 8.3.
        kernel = kernel.replace("    .reg .b128 %q<4>;\n", "");
    }
    let before = match (version, before) {
        (version, false) => version.to_owned(),
        ("8.0", true) => "7.8".to_owned(),
        (version, true) => {
            let minor: u32 = version[2..].parse().expect("a minor version");
            format!("8.{}", minor - 1)
        }
    };
    (kernel.replace(".version 9.0", &format!(".version {before}")), target)
}

#[test]
fn instructions_need_the_versions_that_were_recorded() {
    let lines: Vec<&str> = VERSIONS.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() >= 70);
    let mut wrong = Vec::new();
    for line in lines {
        for before in [false, true] {
            let (text, _) = versioned(line, before);
            let module = parse(&text).unwrap_or_else(|errors| panic!("{line}: {errors}"));
            if check(&module).is_err() != before {
                wrong.push(format!("{line}: {}", if before { "accepted too early" } else { "refused" }));
            }
        }
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}

fn ptxas() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("KERNEL_FACTORY_PTXAS") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("ptxas")).find(|candidate| candidate.is_file())
}

#[test]
fn ptxas_still_says_what_was_recorded() {
    let Some(ptxas) = ptxas() else {
        assert!(std::env::var_os("CI").is_none(), "CI must have a ptxas: set KERNEL_FACTORY_PTXAS or PATH");
        println!("not run: no ptxas");
        return;
    };
    let folder = std::env::temp_dir().join(format!("factory-ptx-forms-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let mut wrong = Vec::new();
    for (number, case) in cases().iter().enumerate() {
        let file = folder.join(format!("{number}.ptx"));
        std::fs::write(&file, case.text()).expect("a temporary file");
        let output = Command::new(&ptxas)
            .arg(format!("-arch={}", case.target))
            .arg(&file)
            .arg("-o")
            .arg(folder.join("out.cubin"))
            .output()
            .expect("ptxas runs");
        if output.status.success() != case.valid {
            wrong.push(format!(
                "{} {}: {}",
                case.target,
                case.instruction,
                String::from_utf8_lossy(&output.stderr)
            ));
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}
