//! Sources that want more than to be compiled.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use factory_search::compile::{CompileError, CompileLimits, Compiler, Unit};
use factory_search::template::{Template, Templates, TemplatesError};
use factory_spec::Arch;

use crate::support::{SPEC, TEMPLATE, bind, nvcc, nvrtc};

#[test]
fn files_of_others_are_not_included() {
    let folder = tempfile::tempdir().expect("a folder");
    let kernels = folder.path().join("kernels");
    fs::create_dir_all(kernels.join("inner")).expect("made");
    fs::write(folder.path().join("secret"), "#error secret\n").expect("written");
    fs::write(kernels.join("inner/fine.cuh"), "#include \"../beside.cuh\"\n").expect("written");
    fs::write(kernels.join("beside.cuh"), "#pragma once\n").expect("written");
    fs::write(kernels.join("sly.cuh"), "\n  #include \"../secret\"\n").expect("written");
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", kernels.join("link.cuh")).expect("linked");
    let path = kernels.join("t.cu");
    let read = |line: &str| Template::parse(&path, format!("{TEMPLATE}{line}\n"));
    assert!(read("#include \"inner/fine.cuh\"").is_ok());
    assert!(read("#include <cuda_bf16.h>").is_ok());
    let line = TEMPLATE.lines().count() + 1;
    for hostile in [
        "#include \"/etc/passwd\"",
        "#include \"../secret\"",
        "#include \"inner/../../secret\"",
        "#include </etc/passwd>",
        "#include <../../../../etc/passwd>",
        "#define F \"../secret\"\n#include F",
        "#inc\\\nlude \"/etc/passwd\"",
        "%:include \"/etc/passwd\"",
        "#if __has_include(\"/etc/passwd\")",
        #[cfg(unix)]
        "#include \"link.cuh\"",
    ] {
        let errors = read(hostile).expect_err(hostile);
        let (found, _) = errors[0].line_column().expect("a place");
        assert!(found == line || found == line + 1, "{hostile}: {errors}");
        assert!(!errors.to_string().contains("root:"), "nothing of the file is shown");
    }
    // A file beside the template may not do it either, and is named.
    let errors = read("#include \"sly.cuh\"").expect_err("it leaves the folder");
    assert!(errors.to_string().contains("kernels/sly.cuh:2:3: `../secret` is outside"), "{errors}");
}

/// What keeps a front end busy for ever.
const ENDLESS: &str = "
template <int A, int B> struct T { static constexpr long long v = T<A - 1, B * 2>::v + T<A - 1, B * 2 + 1>::v; };
template <int B> struct T<0, B> { static constexpr long long v = B; };
extern \"C\" __global__ void k(long long* y) { y[0] = T<26, 0>::v; }
";

fn unit(source: &str) -> Unit {
    Unit {
        file: "k.cu".to_owned(),
        shown: "kernels/k.cu".to_owned(),
        source: source.to_owned(),
        headers: Default::default(),
        defines: Vec::new(),
        flags: Vec::new(),
        arch: Arch::Sm90,
        expressions: Vec::new(),
    }
}

fn is_stopped(compiler: Compiler) {
    let compiler = compiler.with_limits(CompileLimits { time: Duration::from_secs(3), ..Default::default() });
    let started = Instant::now();
    match compiler.compile(&unit(ENDLESS)) {
        Err(CompileError::Limit(message)) => assert!(message.contains("stopped after 3 s"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() < Duration::from_secs(30));
    // The next one is served as if nothing had been; a busy machine gets its time.
    let compiler = compiler.with_limits(CompileLimits::default());
    let honest = unit("extern \"C\" __global__ void k(int* y) { y[0] = 1; }");
    let compiled = compiler.compile(&honest).unwrap_or_else(|error| panic!("{error}"));
    assert!(compiled.ptx.contains(".entry k("));
    // What ran out of time is not remembered as a refusal.
    assert_eq!(compiler.counts(), (2, 0));
}

#[test]
fn nvcc_is_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    if let Some(compiler) = nvcc(folder.path()) {
        is_stopped(compiler);
    }
}

#[test]
fn nvrtc_is_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    if let Some(compiler) = nvrtc(folder.path()) {
        is_stopped(compiler);
    }
}

#[test]
fn memory_has_a_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(compiler) = nvcc(folder.path()) else { return };
    let compiler = compiler.with_limits(CompileLimits { memory: 24 << 20, ..Default::default() });
    let outcome = compiler.compile(&unit("extern \"C\" __global__ void k(int* y) { y[0] = 1; }"));
    assert!(matches!(outcome, Err(CompileError::Limit(_) | CompileError::Refused(_))), "{outcome:?}");
}

#[test]
fn a_template_that_hangs_is_an_error_of_the_template() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(compiler) = nvcc(folder.path()) else { return };
    let compiler = compiler.with_limits(CompileLimits { time: Duration::from_secs(3), ..Default::default() });
    let text =
        format!("{TEMPLATE}{}", ENDLESS.replace("extern \"C\" __global__ void k", "__device__ void k"));
    let template = Template::parse(Path::new("kernels/scale/scale.cu"), text).expect("it is read");
    let spec = bind(SPEC);
    match Templates::new(&spec, vec![template], compiler) {
        Err(TemplatesError::Template(errors)) => {
            assert!(errors.to_string().contains("stopped after 3 s"), "{errors}");
        }
        other => panic!("{other:?}"),
    }
}
