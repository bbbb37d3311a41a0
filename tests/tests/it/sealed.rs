//! Sealed kernels: what builds from them, and what is refused.

use std::sync::Mutex;

use factory_tests::{FUNCTION, Package, SPEC, Shared, bound, seal};

const MAIN: &str = r#"
use factory_runtime::{Device, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::best()?;
    let x = Tensor::from_slice(&device, &[1.0f32, 2.0, 3.5], &[3])?;
    let mut y = Tensor::zeros(&device, &[3])?;
    sealed::scale(&x, &mut y, 2.0)?;
    println!("{} {} {:?} {:?}", sealed::scale::NAME, sealed::scale::KEY, sealed::scale::GATES_NOT_RUN, y.to_vec()?);
    Ok(())
}
"#;

static PACKAGE: Shared = Shared::new(|| Mutex::new(crate::package("sealed")));

/// The package with a fresh kernel sealed, and its folder.
fn fresh(package: &Package) -> String {
    package.remove("kernels");
    package.remove("src/main.rs");
    package.write("kernels/scale.toml", SPEC);
    package.library(FUNCTION);
    package.seal(&seal(&bound(SPEC)))
}

#[test]
fn builds_offline_and_runs() {
    let package = PACKAGE.take();
    fresh(&package);
    package.write("src/main.rs", MAIN);
    let key = bound(SPEC).key();
    let expected = format!("scale {key} [\"parse\", \"machine\"] [2.0, 4.0, 7.0]");
    package.cargo(&["run"], &[("KERNEL_FACTORY", "offline")]).passes().says(&[&expected]);
    // Neither the first build nor a later one, where cargo repeats the build script's warnings, has anything to say.
    package.build(&[("KERNEL_FACTORY", "offline")]).passes().does_not_say(&["warning: sealed@"]);
    assert!(!package.cache_dir().exists(), "a sealed kernel needs no cache, so none is made");
}

/// A function is named like its kernel, so a second one of that name stands in a module.
fn in_module(module: &str, function: &str) -> String {
    format!("pub mod {module} {{\nuse factory_runtime::{{Tensor, kernel_factory}};\n{function}}}\n")
}

/// Builds after one file of the sealed folder was changed.
#[track_caller]
fn tampered(file: &str, from: &str, to: &str, says: &[&str]) {
    let package = PACKAGE.take();
    let folder = fresh(&package);
    let path = format!("{folder}/{file}");
    let text = package.read(&path);
    assert!(text.contains(from), "`{path}` has no `{from}`:\n{text}");
    package.write(&path, &text.replacen(from, to, 1));
    let run = package.build(&[]);
    run.fails()
        .says(&["src/lib.rs:5:8: the sealed kernel", "hint: restore the files", "cargo factory tune scale"])
        .says(says);
}

#[test]
fn tampered_ptx() {
    tampered("sm_90.ptx", "mul.rn.f32", "add.rn.f32", &["sm_90.ptx", "changed after it was sealed"]);
}

#[test]
fn tampered_plan() {
    tampered("plan.json", "kernel_scale", "kernel_other", &["plan.json", "changed after it was sealed"]);
}

#[test]
fn tampered_certificate() {
    let changed = ("written by hand for a test", "written by hand for a joke");
    tampered(
        "certificate.json",
        changed.0,
        changed.1,
        &["certificate", "the lock says", "kernels/kernels.lock"],
    );
}

#[test]
fn everything_tampered_with_consistently() {
    // Whoever recomputes the certificate's digests still has to get past the lock.
    let package = PACKAGE.take();
    let folder = fresh(&package);
    let mut other = seal(&bound(SPEC));
    let ptx = other.ptx["sm_90.ptx"].replace("mul.rn.f32", "add.rn.f32");
    other.ptx.insert("sm_90.ptx".to_owned(), ptx);
    let other = factory_spec::Sealed::new(other.plan, other.certificate, other.ptx);
    for (file, text) in other.files() {
        package.write(&format!("{folder}/{file}"), &text);
    }
    package.build(&[]).fails().says(&["refused by `kernels/kernels.lock`", "the lock says"]);
}

#[test]
fn missing_ptx() {
    let package = PACKAGE.take();
    let folder = fresh(&package);
    package.remove(&format!("{folder}/sm_90.ptx"));
    package.build(&[]).fails().says(&["sm_90.ptx", "missing"]);
}

#[test]
fn no_lock() {
    let package = PACKAGE.take();
    fresh(&package);
    package.remove("kernels/kernels.lock");
    package.build(&[]).fails().says(&["there is no `kernels/kernels.lock`", "hint: commit `kernels.lock`"]);
}

#[test]
fn not_in_the_lock() {
    let package = PACKAGE.take();
    fresh(&package);
    package.write("kernels/kernels.lock", &factory_spec::Lock::default().print());
    package.build(&[]).fails().says(&[
        "refused by `kernels/kernels.lock`",
        "no entry for kernel `scale`",
        "hint: seal it",
    ]);
}

#[test]
fn in_the_lock_but_gone() {
    let package = PACKAGE.take();
    let folder = fresh(&package);
    package.remove(&folder);
    package.build(&[]).fails().says(&[
        "`kernels/kernels.lock` has an entry for kernel `scale`",
        "is missing",
        "hint: ",
    ]);
}

#[test]
fn a_lock_that_makes_no_sense() {
    let package = PACKAGE.take();
    fresh(&package);
    package.write("kernels/kernels.lock", "[[kernel]\n");
    package.build(&[]).fails().says(&["`kernels/kernels.lock`: line 1", "hint: restore the file"]);
}

#[test]
fn stale_after_a_change_of_meaning() {
    let package = PACKAGE.take();
    fresh(&package);
    let old = bound(SPEC).key().short();
    let changed = SPEC.replace("x * factor", "x * factor + 1");
    package.write("kernels/scale.toml", &changed);
    let run = package.build(&[]);
    run.fails().says(&[
        &format!("key {}", bound(&changed).key()),
        "it is stale",
        &format!("`{old}`"),
        "hint: seal it with `cargo factory tune scale`",
    ]);
}

#[test]
fn still_fresh_after_a_change_of_spelling() {
    let package = PACKAGE.take();
    fresh(&package);
    // Comments, the order of tables, documentation, a budget, names of statements, parentheses: all of it is spelling.
    let (better, targets) = ("[better]\nover = [{ n = 1024 }]\n", "[targets]\narch = [\"sm_90\"]\n");
    let mut spec = format!("# What this is for\n\n{targets}\n[search]\ncandidates = 3\n\n{SPEC}");
    for (from, to) in [
        (format!("{better}\n{targets}"), better.to_owned()),
        ("name = \"scale\"".to_owned(), "doc = \"Scales.\"\nname = \"scale\"".to_owned()),
        ("\"y = x * factor\"".to_owned(), "'''\nscaled = (x) * factor # not yet\ny = scaled\n'''".to_owned()),
    ] {
        assert!(spec.contains(&from), "the fixture has no `{from}`:\n{spec}");
        spec = spec.replacen(&from, &to, 1);
    }
    package.write("kernels/scale.toml", &spec);
    package.build(&[]).passes();
}

#[test]
fn two_kernels_of_one_name() {
    let package = PACKAGE.take();
    fresh(&package);
    package.write("kernels/other.toml", &SPEC.replace("x * factor", "x * factor + 1"));
    package
        .library(&format!("{FUNCTION}{}", in_module("other", &FUNCTION.replace("scale.toml", "other.toml"))));
    let run = package.build(&[]);
    run.fails().says(&[
        "two different kernels are named `scale`",
        "`kernels/scale.toml`",
        "`kernels/other.toml`",
        "hint: give one of them another `name`",
    ]);
}

#[test]
fn one_spec_for_two_functions() {
    let package = PACKAGE.take();
    fresh(&package);
    // The same file again, and another one that says the same.
    package.write("kernels/copy.toml", &format!("# a copy\n{SPEC}"));
    let again = in_module("again", FUNCTION);
    let copy = in_module("copy", &FUNCTION.replace("scale.toml", "copy.toml"));
    package.library(&format!("{FUNCTION}{again}{copy}"));
    package.build(&[]).passes();
}

#[test]
fn one_spec_for_two_dtypes() {
    let package = PACKAGE.take();
    fresh(&package);
    package.remove("kernels/kernels.lock");
    package.remove("kernels/scale");
    let generic = SPEC
        .replace("dtype = \"f32\"\nshape", "dtype = \"T\"\nshape")
        .replace("[sizes]", "[dtypes]\nT = [\"f32\", \"f16\"]\n\n[sizes]");
    package.write("kernels/scale.toml", &generic);
    let half = in_module("half", &FUNCTION.replace("Tensor<f32>", "Tensor<factory_runtime::f16>"));
    package.library(&format!("{FUNCTION}{half}"));
    // Two keys under one name: both are missing, and neither takes the other's name.
    let run = package.build(&[]);
    run.fails().does_not_say(&["two different kernels"]);
    for line in ["5:8", "10:8"] {
        run.says(&[&format!("error: sealed@0.1.0: src/lib.rs:{line}: kernel `scale` (key ")]);
    }
}
