//! How far a build goes, and who is asking.

use std::sync::Mutex;

use factory_tests::{FUNCTION, SPEC, Shared};

use crate::FOLDER;

static PACKAGE: Shared = Shared::new(|| Mutex::new(crate::package("policy")));

const MAIN: &str = r#"
fn main() {
    let device = factory_runtime::Device::machine();
    let x = factory_runtime::Tensor::from_slice(&device, &[1.0f32], &[1]).expect("a tensor");
    let mut y = factory_runtime::Tensor::zeros(&device, &[1]).expect("a tensor");
    println!("launch: {}", policy::scale(&x, &mut y, 2.0).expect_err("a stub"));
    println!("prepare: {}", policy::scale::prepare(&device).expect_err("a stub"));
}
"#;

#[test]
fn an_unknown_policy() {
    let run = PACKAGE.take().build(&[("KERNEL_FACTORY", "always")]);
    run.fails().says(&[
        "the environment variable `KERNEL_FACTORY` is `always`",
        "`auto`, `offline`, `search` or `refresh`",
    ]);
}

#[test]
fn a_seed_that_is_no_number() {
    let run = PACKAGE.take().build(&[("KERNEL_FACTORY_SEED", "lucky")]);
    run.fails().says(&["the environment variable `KERNEL_FACTORY_SEED` is `lucky`"]);
}

#[test]
fn a_budget_that_is_no_time() {
    let run = PACKAGE.take().build(&[("KERNEL_FACTORY_BUDGET", "-1")]);
    run.fails().says(&["the environment variable `KERNEL_FACTORY_BUDGET` is `-1`"]);
}

#[test]
fn missing_with_the_search_left_out() {
    for policy in ["auto", "search", "refresh"] {
        let run = PACKAGE.take().build(&[("KERNEL_FACTORY", policy)]);
        run.fails().says(&[
            "kernel `scale` (key ",
            "neither sealed in `kernels` nor in the cache",
            "hint: ",
            "features = [\"search\"]",
        ]);
    }
}

#[test]
fn missing_and_offline() {
    let run = PACKAGE.take().build(&[("KERNEL_FACTORY", "offline")]);
    run.fails().says(&[
        "kernel `scale` (key ",
        "`KERNEL_FACTORY=offline` forbids the build to search",
        "cargo factory tune scale",
    ]);
}

#[test]
fn documentation_builds_get_a_stub() {
    let package = PACKAGE.take();
    package.write("src/main.rs", MAIN);
    let run = package.cargo(&["run"], &[("DOCS_RS", "1")]);
    run.passes().says(&[
        "launch: ",
        "prepare: ",
        "a documentation build wrote no kernel",
        "cargo factory tune scale",
    ]);
    package.cargo(&["doc", "--no-deps"], &[("DOCS_RS", "1")]).passes();
    // The next plain build notices that only a stub was written.
    package.build(&[]).fails().says(&["neither sealed in `kernels` nor in the cache"]);
    package.remove("src/main.rs");
}

#[test]
fn ides_get_a_stub() {
    let package = PACKAGE.take();
    package.build(&[("RA_RUSTC_WRAPPER", "1")]).passes();
    package.build(&[]).fails().says(&["neither sealed in `kernels` nor in the cache"]);
}

#[test]
fn ides_see_the_attributes_errors() {
    let package = PACKAGE.take();
    package.write("kernels/scale.toml", &SPEC.replace("\"f32\"", "\"float\""));
    let run = package.build(&[("RA_RUSTC_WRAPPER", "1")]);
    package.write("kernels/scale.toml", SPEC);
    // The build script ends well, so that the editor goes on to the attribute, which fails.
    run.fails()
        .says(&["there is no dtype `float`", "could not compile"])
        .does_not_say(&["failed to run custom build command"]);
}

#[test]
fn no_build_script() {
    let package = crate::package("no-build-script");
    package.remove("build.rs");
    let run = package.build(&[]);
    run.fails().says(&[
        "--> src/lib.rs:4:1",
        "this package has no build script",
        "factory_build::compile();",
    ]);
}

#[test]
fn a_build_script_that_did_not_see_the_file() {
    let package = crate::package("unseen-file");
    package.write("src/other.rs", "");
    package.write(
        "build.rs",
        "fn main() {\n    factory_build::Factory::new().file(\"src/other.rs\").compile();\n}\n",
    );
    let run = package.build(&[]);
    run.fails().says(&[
        "--> src/lib.rs:4:1",
        "the build script left none",
        "factory_build::Factory::new().file(",
    ]);
}

#[test]
fn a_named_file_that_is_not_there() {
    let package = crate::package("no-such-file");
    package.write(
        "build.rs",
        "fn main() {\n    factory_build::Factory::new().file(\"src/gone.rs\").compile();\n}\n",
    );
    package.build(&[]).fails().says(&["cannot read `src/gone.rs`, which the build script names"]);
}

#[test]
fn a_signature_under_a_feature_that_is_off() {
    let package = factory_tests::Package::new(FOLDER, "feature-off");
    let manifest = package.read("Cargo.toml");
    package.write("Cargo.toml", &format!("{manifest}\n[features]\nscale = []\n"));
    package.write("kernels/scale.toml", SPEC);
    package.library(&format!("#[cfg(feature = \"scale\")]{FUNCTION}"));
    package.build(&[]).passes();
    package
        .cargo(&["build", "--features", "scale"], &[])
        .fails()
        .says(&["neither sealed in `kernels` nor in the cache"]);
}
