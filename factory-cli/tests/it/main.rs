//! The commands, run as a person or a script would: on a package in a temporary folder, without cargo and without a GPU.

mod evidence;
mod machine;
mod report;
mod toolchain;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A package with one annotated kernel, small enough to be tuned in a second.
struct Package {
    folder: tempfile::TempDir,
}

const SPEC: &str = r#"
[kernel]
name = "gate"
[sizes]
n = { min = 0, max = 4096 }
[[arg]]
name = "a"
dtype = "f32"
shape = ["n"]
[[arg]]
name = "y"
dtype = "f32"
shape = ["n"]
role = "out"
[reference]
program = "y = silu(a)"
[better]
over = [{ n = 4096 }]
[targets]
arch = ["sm_90"]
"#;

const SOURCE: &str = "use factory_runtime::{Tensor, kernel_factory};

#[kernel_factory(spec = \"kernels/gate.toml\")]
pub fn gate(a: &Tensor<f32>, y: &mut Tensor<f32>);
";

impl Package {
    fn new() -> Package {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let package = Package { folder };
        package.write("Cargo.toml", "[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        package.write("src/lib.rs", SOURCE);
        package.write("kernels/gate.toml", SPEC);
        package
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-factory"));
        // As cargo calls it: with the subcommand's name first.
        command.arg("factory").args(arguments).arg("--dir").arg(self.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KERNEL_FACTORY")) {
            command.env_remove(name);
        }
        command.env("KERNEL_FACTORY_CACHE_DIR", self.path().join("cache")).env("NO_COLOR", "1");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)))
    }

    fn tune(&self) {
        let output = self.run(&["tune", "--gpu", "off", "--ptxas", "off", "--candidates", "6"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// The one sealed folder.
    fn sealed(&self) -> PathBuf {
        let mut folders = fs::read_dir(self.path().join("kernels/gate")).expect("sealed folders");
        folders.next().expect("one folder").expect("readable").path()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn from_missing_to_sealed_and_verified() {
    let package = Package::new();
    assert_eq!(package.json(&["status"])[0]["state"], "missing");
    let check = package.run(&["check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(text(&check.stderr).contains("kernel `gate`"), "{}", text(&check.stderr));
    assert!(text(&check.stderr).contains("src/lib.rs:4:8"), "{}", text(&check.stderr));

    package.tune();
    let status = package.json(&["status"]);
    assert_eq!(status[0]["state"], "sealed");
    assert_eq!(status[0]["detail"], "modelled");
    let check = package.run(&["check"]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    assert!(text(&check.stdout).contains("1 sealed, 0 not"));

    let verified = package.json(&["verify", "--ptxas", "off"]);
    assert!(verified[0]["refused"].is_null(), "{verified}");
    let gates: Vec<&str> = verified[0]["gates"]
        .as_array()
        .expect("gates")
        .iter()
        .filter_map(|gate| gate["gate"].as_str())
        .collect();
    assert_eq!(gates, ["parse", "policy", "assemble", "machine"]);
    assert_eq!(verified[0]["gates"][2]["outcome"]["not_run"]["reason"], "it was switched off");
    assert!(verified[0]["gates"][3]["outcome"]["passed"]["cases"].as_u64() > Some(5), "{verified}");
}

#[test]
fn the_same_seed_seals_the_same_bytes() {
    let (first, second) = (Package::new(), Package::new());
    first.tune();
    second.tune();
    for file in ["certificate.json", "plan.json", "sm_90.ptx"] {
        let read = |package: &Package| fs::read(package.sealed().join(file)).expect("a sealed file");
        assert_eq!(read(&first), read(&second), "{file}");
    }
    let lock = |package: &Package| fs::read(package.path().join("kernels/kernels.lock")).expect("the lock");
    assert_eq!(lock(&first), lock(&second));
}

#[test]
fn what_was_tampered_with_is_refused() {
    let package = Package::new();
    package.tune();
    let ptx = package.sealed().join("sm_90.ptx");
    let changed = fs::read_to_string(&ptx).expect("PTX").replacen("ex2.approx", "lg2.approx", 1);
    fs::write(&ptx, changed).expect("a changed file");
    assert_eq!(package.json(&["status"])[0]["state"], "refused");
    for command in ["check", "verify"] {
        let output = package.run(&[command]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("sm_90.ptx"), "{command}: {said}");
    }
}

#[test]
fn a_changed_spec_makes_the_sealed_kernel_stale() {
    let package = Package::new();
    package.tune();
    // Away from the cache, so that only the sealed folder is there.
    fs::remove_dir_all(package.path().join("cache")).expect("the cache");
    package.write("kernels/gate.toml", &SPEC.replace("silu(a)", "tanh(a)"));
    let status = package.json(&["status"]);
    assert_eq!(status[0]["state"], "stale");
    assert_eq!(package.run(&["check"]).status.code(), Some(1));
    // A comment changes nothing.
    package.write("kernels/gate.toml", &format!("# a comment\n{SPEC}"));
    assert_eq!(package.json(&["status"])[0]["state"], "sealed");
}

#[test]
fn tune_without_sealing_writes_records_alone() {
    let package = Package::new();
    let records = package.path().join("records.json");
    let output = package.run(&[
        "tune",
        "gate",
        "--gpu",
        "off",
        "--ptxas",
        "off",
        "--candidates",
        "4",
        "--no-seal",
        "--records",
        records.to_str().expect("a path in UTF-8"),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("modelled, not measured"), "{}", text(&output.stdout));
    assert!(!package.path().join("kernels/kernels.lock").exists());
    let records: serde_json::Value =
        serde_json::from_slice(&fs::read(records).expect("records")).expect("records are JSON");
    let candidates = records.as_object().and_then(|all| all.values().next()).and_then(|one| one.as_array());
    assert!(candidates.is_some_and(|candidates| candidates.len() >= 4), "{records}");
}

#[cfg(unix)]
#[test]
fn a_search_shares_its_work_with_workers_behind_a_launcher() {
    let package = Package::new();
    let tune =
        ["tune", "gate", "--gpu", "off", "--ptxas", "off", "--candidates", "6", "--no-seal", "--no-evidence"];
    let launched = |launcher: &'static str| [&tune[..], &["--provers", "2", "--launcher", launcher]].concat();
    let (here, there) = (package.json(&tune), package.json(&launched("nice -n 1")));
    assert_eq!(here[0]["winners"], there[0]["winners"]);
    assert_eq!(here[0]["figures"], there[0]["figures"]);
    for (launcher, words) in [
        ("/nowhere/srun", "`/nowhere/srun env KERNEL_FACTORY_WORKER=machine"),
        ("sh -c 'echo no node >&2; exit 4'", "no node"),
        ("sh -c 'no end", "--launcher"),
    ] {
        let output = package.run(&launched(launcher));
        assert_eq!(output.status.code(), Some(1), "{launcher}");
        assert!(text(&output.stderr).contains(words), "{launcher}: {}", text(&output.stderr));
    }
    let output =
        package.command(&tune).env("KERNEL_FACTORY_PROVERS", "many").output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("KERNEL_FACTORY_PROVERS: `many`"), "{}", text(&output.stderr));
}

#[test]
fn a_gpu_that_is_asked_for_and_not_there_is_an_error() {
    if cfg!(target_os = "linux") && Path::new("/dev/nvidia0").exists() {
        return; // There is one: nothing to refuse.
    }
    let package = Package::new();
    package.tune();
    let output = package.run(&["verify", "--gpu"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let output = package.run(&["tune", "--gpu", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("GPU 0"), "{}", text(&output.stderr));
}

#[test]
fn a_wrong_spec_is_shown_with_its_line() {
    let package = Package::new();
    package.write("bad.toml", &SPEC.replace("silu(a)", "silu(b)"));
    let path = package.path().join("bad.toml");
    let output = package.run(&["explain", path.to_str().expect("a path in UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("bad.toml") && said.contains("silu(b)"), "{said}");
}

#[test]
fn explain_says_what_is_meant_and_what_is_proved() {
    let package = Package::new();
    package.tune();
    let said = text(&package.run(&["explain", "gate"]).stdout);
    for part in ["silu", "sm_90", "modelled, not measured", "not proved", "assemble", "n from 0 to 4096"] {
        assert!(said.contains(part), "`{part}` is missing in:\n{said}");
    }
    let facts = package.json(&["explain", "gate"]);
    assert_eq!(facts[0]["key"].as_str().map(str::len), Some(64));
    assert_eq!(facts[0]["certificate"]["key"], facts[0]["key"]);
}

#[test]
fn new_writes_a_start_and_overwrites_nothing() {
    let package = Package::new();
    let output = package.run(&["new", "softmax", "--template", "softmax"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for file in ["kernels/softmax.toml", "src/softmax.rs", "build.rs"] {
        assert!(package.path().join(file).is_file(), "{file}");
    }
    let again = package.run(&["new", "softmax"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("nothing was overwritten"), "{}", text(&again.stderr));
    let bad = package.run(&["new", "soft-max"]);
    assert!(text(&bad.stderr).contains("snake_case"), "{}", text(&bad.stderr));
    // What it wrote is found as an annotated kernel.
    let names: Vec<String> = package
        .json(&["status"])
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|row| row["name"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(names, ["gate", "softmax"]);
}

#[test]
fn unknown_names_and_folders_are_errors_that_help() {
    let package = Package::new();
    let output = package.run(&["tune", "gait"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("its kernels are gate"), "{}", text(&output.stderr));
    let nowhere = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-factory"));
    let output = command.args(["status", "--dir"]).arg(nowhere.path()).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--dir"), "{}", text(&output.stderr));
    let wrong =
        Command::new(env!("CARGO_BIN_EXE_cargo-factory")).arg("tone").output().expect("the binary starts");
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn doctor_answers_anywhere() {
    let package = Package::new();
    let facts = package.json(&["doctor"]);
    assert_eq!(facts["version"], env!("CARGO_PKG_VERSION"));
    assert!(facts["cores"].as_u64() >= Some(1));
    assert!(facts["cache"]["folder"].as_str().is_some_and(|folder| folder.ends_with("cache")), "{facts}");
}
