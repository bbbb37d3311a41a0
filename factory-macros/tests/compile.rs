//! The attribute's errors, one file for each rule, and what it accepts.
//!
//! The files are compiled by cargo in a package without a build script; this test stands in for one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use factory_spec::{Spec, generated};

/// The compiler whose words the `.stderr` files hold. Another one may say or underline the same thing differently, so
/// with another one only `tests/pass` is compiled. Make them anew, and read them, with `TRYBUILD=overwrite cargo test -p
/// factory-macros`.
const COMPILER: &str = "rustc 1.95.";

/// Where trybuild makes its package, by the same means: the attribute looks for specs there.
fn package() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--format-version=1", "--offline"]).current_dir(manifest());
    let metadata: serde_json::Value =
        serde_json::from_str(&output(command)).expect("cargo writes what it announces");
    let target = metadata["target_directory"].as_str().expect("a package has a target folder");
    Path::new(target).join("tests/trybuild/factory-macros")
}

/// This package's folder: where the test runs, not where it was compiled.
fn manifest() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

fn is_the_compiler() -> bool {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.arg("--version");
    let version = output(command);
    let same = version.starts_with(COMPILER);
    if !same {
        eprintln!("messages are not compared: they are those of {COMPILER}*, this is {version}");
    }
    same
}

fn output(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a build script leaves for every kernel of these specs, as little as will do.
fn build(out_dir: &Path, kernels: &Path) {
    for spec in ["scale.toml", "cast.toml"] {
        let spec = Spec::read(&kernels.join(spec)).expect("the spec is right");
        for bindings in spec.all_bindings() {
            let bound = spec.bind(&bindings).expect("the spec is right");
            let folder = generated::folder_in(out_dir, &bound.key());
            fs::create_dir_all(&folder).expect("the folder can be made");
            let module = format!(
                "/// Name.\npub const NAME: &str = {:?};\n/// Key.\npub const KEY: &str = \"{}\";\n/// Source.\npub static SOURCE: KernelSource = KernelSource {{ name: NAME }};\n",
                bound.name,
                bound.key()
            );
            fs::write(folder.join(generated::MODULE), module).expect("the module can be written");
        }
    }
}

#[test]
fn compile() {
    let package = package();
    let kernels = package.join("kernels");
    fs::create_dir_all(&kernels).expect("the folder can be made");
    for entry in fs::read_dir(manifest().join("tests/kernels")).expect("the specs are there") {
        let path = entry.expect("the specs are there").path();
        fs::copy(&path, kernels.join(path.file_name().expect("a file has a name")))
            .expect("a spec can be copied");
    }

    let compare = is_the_compiler();
    // SAFETY: this is the only test of its program, and nothing else runs beside it.
    unsafe { std::env::remove_var("OUT_DIR") };
    if compare {
        trybuild::TestCases::new().compile_fail("tests/no_build_script/*.rs");
    }

    let out_dir = package.join("out");
    let _ = fs::remove_dir_all(&out_dir);
    build(&out_dir, &kernels);
    // SAFETY: as above.
    unsafe { std::env::set_var("OUT_DIR", &out_dir) };
    let cases = trybuild::TestCases::new();
    cases.pass("tests/pass/*.rs");
    if compare {
        cases.compile_fail("tests/ui/*.rs");
    }
}
