//! Signatures that disagree with the spec: the build script leaves them to the attribute, which points at the argument.

use std::sync::Mutex;

use factory_tests::Shared;

static PACKAGE: Shared = Shared::new(|| Mutex::new(crate::sealed_package("bad-signature")));

/// Builds with this signature, on line 4; checks the message and the place that rustc shows.
#[track_caller]
fn refused(signature: &str, place: &str, says: &[&str]) {
    let package = PACKAGE.take();
    package.library(&format!("#[kernel_factory(spec = \"kernels/scale.toml\")]\n{signature}\n"));
    let run = package.build(&[]);
    run.fails().says(&[&format!("--> src/lib.rs:{place}")]).says(says);
    // The attribute's message, and not a build script's.
    run.does_not_say(&["build script logged errors", "failed to run custom build command"]);
}

#[test]
fn number_of_arguments() {
    refused("pub fn scale(x: &Tensor<f32>, y: &mut Tensor<f32>);", "4:", &["error: ", "factor"]);
}

#[test]
fn order_of_arguments() {
    refused("pub fn scale(y: &mut Tensor<f32>, x: &Tensor<f32>, factor: f32);", "4:14", &["error: ", "`x`"]);
}

#[test]
fn name_of_an_argument() {
    refused("pub fn scale(x: &Tensor<f32>, z: &mut Tensor<f32>, factor: f32);", "4:31", &["error: ", "`y`"]);
}

#[test]
fn type_of_an_argument() {
    refused(
        "pub fn scale(x: &Tensor<f64>, y: &mut Tensor<f32>, factor: f32);",
        "4:17",
        &["error: ", "f32", "f64"],
    );
}

#[test]
fn type_of_a_scalar() {
    refused(
        "pub fn scale(x: &Tensor<f32>, y: &mut Tensor<f32>, factor: f64);",
        "4:60",
        &["error: ", "f32", "f64"],
    );
}

#[test]
fn mutability_of_an_argument() {
    refused("pub fn scale(x: &Tensor<f32>, y: &Tensor<f32>, factor: f32);", "4:34", &["error: ", "mut"]);
}

#[test]
fn a_corrected_signature_builds_again() {
    let package = PACKAGE.take();
    package.library("#[kernel_factory(spec = \"kernels/scale.toml\")]\npub fn scale(x: &Tensor<f32>);\n");
    package.build(&[]).fails();
    package.library(factory_tests::FUNCTION);
    package.build(&[]).passes();
}
