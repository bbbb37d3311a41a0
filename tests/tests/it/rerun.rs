//! The build script runs again when something that it read has changed, and at no other time.

use factory_tests::{FUNCTION, SPEC, bound, seal};

#[test]
fn reruns_exactly_when_it_must() {
    let package = crate::sealed_package("rerun");
    package.write("src/other.rs", "//! Nothing of interest.\n");
    package.library(&format!("pub mod other;\n{FUNCTION}"));
    package.build(&[]).passes();

    let runs = |what: &str, expected: bool| {
        let run = package.build(&[]);
        run.passes();
        assert_eq!(run.ran_build_script(&package), expected, "after {what}:\n{}", run.output);
    };
    runs("nothing", false);

    package.write("src/other.rs", "//! Still nothing of interest.\n");
    runs("a change of a source without annotations", false);
    package.write("README.md", "# A file that nobody reads\n");
    runs("a new file in the package", false);
    package.write("kernels/notes.md", "Beside the lock, but no kernel.\n");
    runs("a new file beside the lock", false);
    runs("nothing", false);

    package.library(&format!("pub mod other;\n\n{FUNCTION}"));
    runs("a change of a source with an annotation", true);
    runs("nothing", false);
    package.write("kernels/scale.toml", &format!("# A remark\n{SPEC}"));
    runs("a change of the spec", true);
    runs("nothing", false);
    let lock = package.read("kernels/kernels.lock");
    package.write("kernels/kernels.lock", &lock);
    runs("a write to the lock", true);
    let sealed = seal(&bound(SPEC));
    package.seal(&sealed);
    runs("sealing again", true);
    runs("nothing", false);

    let run = package.build(&[("KERNEL_FACTORY", "offline")]);
    assert!(run.passes().ran_build_script(&package), "after a change of `KERNEL_FACTORY`:\n{}", run.output);
    let run = package.build(&[("KERNEL_FACTORY", "offline")]);
    assert!(!run.passes().ran_build_script(&package), "after nothing:\n{}", run.output);
    runs("unsetting `KERNEL_FACTORY`", true);
    runs("nothing", false);

    // An editor and a terminal that share a target folder: with everything sealed, neither disturbs the other.
    let run = package.build(&[("RA_RUSTC_WRAPPER", "1")]);
    assert!(!run.passes().ran_build_script(&package), "in an IDE:\n{}", run.output);
    let run = package.build(&[("DOCS_RS", "1")]);
    assert!(!run.passes().ran_build_script(&package), "in a documentation build:\n{}", run.output);
}

#[test]
fn the_first_annotation_is_noticed_wherever_it_appears() {
    let package = crate::sealed_package("first-annotation");
    package.write("src/lib.rs", "pub mod other;\n");
    package.write("src/other.rs", "");
    package.build(&[]).passes();
    assert!(!package.build(&[]).passes().ran_build_script(&package), "after nothing");
    package.write("src/other.rs", &format!("use factory_runtime::{{Tensor, kernel_factory}};\n{FUNCTION}"));
    package.build(&[]).passes();
}

#[test]
fn a_change_of_the_c_reference_is_noticed() {
    let package = crate::package("c-reference");
    let c = "void scale(const long long *sizes, const double *const *inputs, double *const *outputs) {\n  for (long long i = 0; i < sizes[0]; i++) outputs[0][i] = inputs[0][i] * inputs[1][0];\n}\n";
    let spec = SPEC.replace("program = \"y = x * factor\"", "c = \"scale.c\"\nfunction = \"scale\"");
    package.write("kernels/scale.toml", &spec);
    package.write("kernels/scale.c", c);
    package.build(&[("DOCS_RS", "1")]).passes();
    let run = package.build(&[("DOCS_RS", "1")]);
    assert!(!run.passes().ran_build_script(&package), "after nothing:\n{}", run.output);
    package.write("kernels/scale.c", &c.replace("* inputs[1][0]", "* inputs[1][0] + 1"));
    let run = package.build(&[("DOCS_RS", "1")]);
    assert!(run.passes().ran_build_script(&package), "after a change of the C file:\n{}", run.output);
}
