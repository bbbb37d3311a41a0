//! Specs that are refused: each with the spec's line and column, and with the place that asks for it.

use std::sync::Mutex;

use factory_tests::{SPEC, Shared};

static PACKAGE: Shared = Shared::new(|| Mutex::new(crate::package("bad-spec")));

/// Builds with the spec after one replacement in it.
#[track_caller]
fn refused(from: &str, to: &str, says: &[&str]) {
    assert!(SPEC.contains(from), "the fixture has no `{from}`");
    let spec = SPEC.replacen(from, to, 1);
    let package = PACKAGE.take();
    package.write("kernels/scale.toml", &spec);
    let run = package.build(&[("KERNEL_FACTORY", "offline")]);
    run.fails().says(&["src/lib.rs:5:8: the spec of `scale` is refused"]).says(says);
    // Cargo's own frame: every line of ours is an error line, and nothing else of the build script is shown.
    run.says(&["error: bad-spec@0.1.0: "]).does_not_say(&["--- stderr"]);
}

#[test]
fn missing() {
    let package = PACKAGE.take();
    package.remove("kernels/scale.toml");
    package.build(&[]).fails().says(&[
        "src/lib.rs:5:8",
        "kernels/scale.toml: the spec does not exist",
        "hint: ",
    ]);
}

#[test]
fn unreadable() {
    let package = PACKAGE.take();
    package.remove("kernels/scale.toml");
    // A folder can be opened, but not read: also by a user whom permissions do not stop.
    package.write("kernels/scale.toml/inside", "");
    package.build(&[]).fails().says(&["kernels/scale.toml: the spec cannot be read: "]);
    package.remove("kernels/scale.toml");
}

#[test]
fn not_text() {
    let package = PACKAGE.take();
    std::fs::write(package.path("kernels/scale.toml"), [0xff, 0xfe, 0x00]).expect("the package is ours");
    package.build(&[]).fails().says(&["kernels/scale.toml: the spec cannot be read: "]);
}

#[test]
fn not_toml() {
    refused("[sizes]", "[sizes", &["kernels/scale.toml:4:", "this is not TOML"]);
}

#[test]
fn unknown_key() {
    refused(
        "role = \"out\"",
        "rolle = \"out\"",
        &["kernels/scale.toml:16:1: ", "has no key `rolle`", "hint: did you mean `role`?"],
    );
}

#[test]
fn unknown_name() {
    refused("dtype = \"f32\"", "dtype = \"float\"", &["kernels/scale.toml:9:", "there is no dtype `float`"]);
}

#[test]
fn undefined_size() {
    refused(
        "shape = [\"n\"]",
        "shape = [\"k\"]",
        &["kernels/scale.toml:10:", "size `k` is not defined", "hint: "],
    );
}

#[test]
fn shape_mismatch() {
    let shape = "name = \"y\"\ndtype = \"f32\"\nshape = [\"n\"]";
    refused(
        shape,
        &shape.replace("\"n\"", ""),
        &["kernels/scale.toml:", "shape mismatch: the value of `y` varies over `n`"],
    );
}

#[test]
fn dtype_mismatch() {
    refused("y = x * factor", "y = select(x, factor, x)", &["kernels/scale.toml:23:", "dtype mismatch: "]);
}

#[test]
fn reduction_over_a_size_that_the_operand_lacks() {
    let program = "y = x * sum(factor, n)";
    refused(
        "y = x * factor",
        program,
        &["kernels/scale.toml:23:", "`sum` over `n`: the operand does not vary over `n`"],
    );
}

#[test]
fn overflow_of_sizes() {
    let sizes = "n = { min = 1, max = 65536 }";
    let case = "over = [{ n = 1024 }]";
    let package = PACKAGE.take();
    package.write(
        "kernels/scale.toml",
        &SPEC.replace(sizes, "n = { min = 1 }").replace(case, "over = [{ n = 9223372036854775807 }]"),
    );
    let run = package.build(&[("KERNEL_FACTORY", "offline")]);
    run.fails().says(&["kernels/scale.toml:26:", "overflow"]);
}

#[test]
fn all_problems_of_a_spec_at_once() {
    let package = PACKAGE.take();
    package.write("kernels/scale.toml", &SPEC.replace("[\"n\"]", "[\"k\"]"));
    package.build(&[]).fails().says(&["kernels/scale.toml:10:", "kernels/scale.toml:15:"]);
}
