//! The attribute's errors, one file for each rule, and what it accepts.
//!
//! The files are compiled by cargo in a package without a build script; this test stands in for one.

use std::fs;
use std::path::{Path, PathBuf};

use factory_spec::{Spec, generated};

/// Where trybuild makes its package: the attribute looks for specs there.
fn package() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("`tmp` lies in the target folder");
    target.join("tests/trybuild/factory-macros")
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
    for entry in fs::read_dir("tests/kernels").expect("the specs are there") {
        let path = entry.expect("the specs are there").path();
        fs::copy(&path, kernels.join(path.file_name().expect("a file has a name")))
            .expect("a spec can be copied");
    }

    // SAFETY: this is the only test of its program, and nothing else runs beside it.
    unsafe { std::env::remove_var("OUT_DIR") };
    trybuild::TestCases::new().compile_fail("tests/no_build_script/*.rs");

    let out_dir = package.join("out");
    let _ = fs::remove_dir_all(&out_dir);
    build(&out_dir, &kernels);
    // SAFETY: as above.
    unsafe { std::env::set_var("OUT_DIR", &out_dir) };
    let cases = trybuild::TestCases::new();
    cases.pass("tests/pass/*.rs");
    cases.compile_fail("tests/ui/*.rs");
}
