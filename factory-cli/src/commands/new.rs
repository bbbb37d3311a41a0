//! `cargo factory new`: a spec, a build script and a signature to start from.

use crate::arguments::{New, Template};
use crate::error::Error;
use crate::print::Output;
use serde::Serialize;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const BUILD_SCRIPT: &str = "//! Puts the kernels of the annotated signatures into the crate.

fn main() {
    factory_build::compile();
}
";

#[derive(Serialize)]
struct Written {
    /// Files that did not exist before.
    written: Vec<PathBuf>,
    /// What is left for a person to do, in order.
    to_do: Vec<String>,
}

pub(crate) fn run(dir: &Path, new: &New, output: Output) -> Result<ExitCode, Error> {
    check_name(&new.name)?;
    let manifest = dir.join("Cargo.toml");
    let manifest_text =
        fs::read_to_string(&manifest).map_err(|_| Error::NoPackage { path: dir.to_owned() })?;

    let name = &new.name;
    let mut facts = Written { written: Vec::new(), to_do: Vec::new() };
    if !manifest_text.contains("factory-runtime") || !manifest_text.contains("factory-build") {
        let version = env!("CARGO_PKG_VERSION");
        facts.to_do.push(format!(
            "add to {}:\n\n    [dependencies]\n    factory-runtime = \"{version}\"\n\n    [build-dependencies]\n    \
             factory-build = {{ version = \"{version}\", features = [\"search\"] }}\n\n    \
             [profile.dev.build-override]\n    opt-level = 3    # the search is an interpreter at work: let it be a fast one",
            manifest.display()
        ));
    }

    let spec = dir.join("kernels").join(format!("{name}.toml"));
    create(&spec, &template(new.template).replace("NAME", name))?;
    facts.written.push(spec);

    let build_script = dir.join("build.rs");
    match fs::read_to_string(&build_script) {
        Ok(text) if text.contains("factory_build::") => {}
        Ok(_) => facts.to_do.push(format!("call `factory_build::compile();` in {}", build_script.display())),
        Err(_) => {
            create(&build_script, BUILD_SCRIPT)?;
            facts.written.push(build_script);
        }
    }

    let source = dir.join("src").join(format!("{name}.rs"));
    create(&source, &signature(new.template, name))?;
    facts.written.push(source);
    facts.to_do.push(format!("declare the module: `mod {name};` in src/lib.rs or src/main.rs"));
    facts.to_do.push(format!(
        "`cargo build` searches and keeps the winner in the cache; `cargo factory tune {name}` seals it into kernels/{name}/"
    ));

    output.show(&facts, |facts| {
        for path in &facts.written {
            println!("wrote {}", path.display());
        }
        println!("\nnow:");
        for (number, step) in facts.to_do.iter().enumerate() {
            println!("  {}. {step}", number + 1);
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn template(template: Template) -> &'static str {
    match template {
        Template::Elementwise => include_str!("../templates/elementwise.toml"),
        Template::Rmsnorm => include_str!("../templates/rmsnorm.toml"),
        Template::Softmax => include_str!("../templates/softmax.toml"),
    }
}

fn signature(template: Template, name: &str) -> String {
    let (doc, args) = match template {
        Template::Elementwise => (
            "The gated activation `silu(a) * b`.",
            "a: &Tensor<bf16>, b: &Tensor<bf16>, y: &mut Tensor<bf16>",
        ),
        Template::Rmsnorm => (
            "Root-mean-square normalisation of each row of `x`.",
            "x: &Tensor<bf16>, w: &Tensor<f32>, y: &mut Tensor<bf16>, eps: f32",
        ),
        Template::Softmax => ("Softmax over each row of `x`.", "x: &Tensor<bf16>, y: &mut Tensor<bf16>"),
    };
    format!(
        "//! {doc}\n\nuse factory_runtime::{{Tensor, bf16, kernel_factory}};\n\n/// {doc}\n\
         #[kernel_factory(spec = \"kernels/{name}.toml\")]\npub fn {name}({args});\n"
    )
}

/// A kernel is a function, so its name must be one that Rust takes.
fn check_name(name: &str) -> Result<(), Error> {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let starts_well = name.chars().next().is_some_and(|c| c.is_ascii_lowercase());
    // Keywords that fit the pattern above; `self` and `crate` cannot even be raw identifiers.
    const KEYWORDS: &str = " as async await box break const continue crate do dyn else enum extern false final fn for gen if \
         impl in let loop macro match mod move mut override priv pub ref return self static struct super trait true try type \
         typeof unsafe unsized use virtual where while yield abstract become ";
    if !plain || !starts_well || KEYWORDS.contains(&format!(" {name} ")) {
        return Err(Error::Name { name: name.to_owned() });
    }
    Ok(())
}

/// Writes a file that is not there yet; what a person wrote is never overwritten.
fn create(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(|source| {
        match source.kind() {
            std::io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
            _ => Error::Write { path: path.to_owned(), source },
        }
    })?;
    file.write_all(text.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn names_are_rust_function_names() {
        for good in ["rmsnorm", "rms_norm_2", "f"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "2d", "rms-norm", "RmsNorm", "match", "../x", "a b", "self"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_template_is_a_spec_that_its_signature_fits() {
        for &kind in Template::value_variants() {
            let text = template(kind).replace("NAME", "kernel");
            let spec =
                factory_spec::Spec::parse(Path::new("kernel.toml"), &text).expect("the template is a spec");
            let source = signature(kind, "kernel");
            let found = factory_spec::signature::find_in_file(&source).expect("the signature parses");
            assert_eq!(found.len(), 1);
            let attribute =
                factory_spec::signature::read_attribute(found[0].attr.clone()).expect("the attribute parses");
            let signature = factory_spec::signature::read(&found[0].item).expect("the signature is one");
            factory_spec::signature::check(&signature, &attribute, &spec).expect("they agree");
        }
    }
}
