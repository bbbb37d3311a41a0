//! `cargo factory explain`: what a spec means, and what is and is not known about its kernel.

use crate::arguments::Explain;
use crate::error::Error;
use crate::package::{self, Kernel};
use crate::print::{self, Output};
use factory_build::package::{Package, State};
use factory_spec::{Basis, BoundSpec, Certificate, Outcome, Reference, Role, SizeKind};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

#[derive(Serialize)]
struct Explanation {
    name: String,
    doc: Option<String>,
    spec: String,
    bindings: std::collections::BTreeMap<String, factory_spec::DType>,
    key: String,
    meaning: String,
    /// The text that the key is the digest of
    canonical: String,
    sizes: Vec<String>,
    arguments: Vec<String>,
    reference: String,
    tolerance: Vec<String>,
    objective: Vec<String>,
    targets: Vec<String>,
    state: String,
    certificate: Option<Certificate>,
}

pub(crate) fn run(dir: &Path, explain: &Explain, output: Output) -> Result<ExitCode, Error> {
    let kernels = package::choose(dir, std::slice::from_ref(&explain.kernel))?;
    // A spec file can be explained outside of any package; there is no sealed kernel to look at then.
    let package = package::read(dir).ok();
    let explanations: Vec<Explanation> =
        kernels.iter().map(|kernel| explanation(kernel, package.as_ref())).collect();
    output.show(&explanations, |explanations| explanations.iter().for_each(print))?;
    Ok(ExitCode::SUCCESS)
}

fn explanation(kernel: &Kernel, package: Option<&Package>) -> Explanation {
    let spec = &kernel.spec;
    let state = package.map(|package| package.state_of(spec, &kernel.key));
    let certificate = match &state {
        Some(State::Sealed(sealed) | State::Cached(sealed)) => Some(sealed.certificate.clone()),
        _ => None,
    };
    Explanation {
        name: spec.name.clone(),
        doc: spec.doc.clone(),
        spec: kernel.spec_path.display().to_string(),
        bindings: spec.bindings.clone(),
        key: kernel.key.to_string(),
        meaning: spec.meaning().to_string(),
        canonical: spec.canonical(),
        sizes: sizes(spec),
        arguments: arguments(spec),
        reference: reference(spec),
        tolerance: tolerance(spec),
        objective: objective(spec),
        targets: spec.targets.iter().map(ToString::to_string).collect(),
        state: state.map_or_else(
            || "not in a package".to_owned(),
            |state| {
                let (word, detail) = super::status::describe(&state);
                format!("{word}: {detail}")
            },
        ),
        certificate,
    }
}

fn sizes(spec: &BoundSpec) -> Vec<String> {
    let mut lines: Vec<String> = spec
        .sizes
        .iter()
        .map(|size| match &size.kind {
            SizeKind::Free { min, max, multiple_of } => {
                let most = max.map_or_else(|| "as large as memory allows".to_owned(), |max| max.to_string());
                let step =
                    if *multiple_of > 1 { format!(", a multiple of {multiple_of}") } else { String::new() };
                format!("{} from {min} to {most}{step}", size.name)
            }
            SizeKind::Fixed(value) => format!("{} = {value}", size.name),
            SizeKind::Derived(expression) => format!("{} = {expression}", size.name),
        })
        .collect();
    lines.extend(spec.constraints.iter().map(|constraint| format!("where {constraint}")));
    lines
}

fn arguments(spec: &BoundSpec) -> Vec<String> {
    spec.args
        .iter()
        .map(|arg| {
            let role = match arg.role {
                Role::In => "read",
                Role::Out => "written",
                Role::InOut => "read and written",
            };
            if arg.scalar {
                return format!("{}: {}, by value", arg.name, arg.dtype);
            }
            let shape: Vec<&str> =
                arg.shape.iter().map(|size| spec.sizes[size.index()].name.as_str()).collect();
            let lies = arg.row_stride.map_or_else(
                || "dense and row-major".to_owned(),
                |size| format!("contiguous rows {} elements apart", spec.size(size).name),
            );
            format!("{}: {} [{}], {role}, {lies}", arg.name, arg.dtype, shape.join(", "))
        })
        .collect()
}

fn reference(spec: &BoundSpec) -> String {
    match &spec.reference {
        Reference::Program(_) => {
            // The canonical text holds the program's steps after checking, local names gone: what is really computed.
            spec.canonical()
                .lines()
                .filter(|line| line.trim_start().starts_with('%') || line.contains(" = %"))
                .collect::<Vec<_>>()
                .join("\n")
        }
        Reference::C(reference) => {
            format!("`{}` in {}, called in f64", reference.function, reference.file.display())
        }
    }
}

fn tolerance(spec: &BoundSpec) -> Vec<String> {
    let mut lines = Vec::new();
    for arg in spec.args.iter().filter(|arg| arg.role.writes()) {
        let text = match spec.correct.tolerance.get(&arg.name) {
            Some(stated) => {
                let mut bounds = Vec::new();
                let mut bound = |name: &str, value: Option<f64>| {
                    if let Some(value) = value {
                        bounds.push(format!("{name} at most {value:e}"));
                    }
                };
                bound("relative L2 error", stated.relative_l2);
                bound("relative error of an element", stated.max_relative);
                bound("absolute error of an element", stated.max_absolute);
                if stated.exact {
                    bounds.push("equal to the rounded reference".to_owned());
                }
                format!("{} (the spec says so)", bounds.join(", "))
            }
            None => "derived from its dtype, the casts and the reduction lengths".to_owned(),
        };
        lines.push(format!("{}: {text}", arg.name));
    }
    lines
}

fn objective(spec: &BoundSpec) -> Vec<String> {
    let mut lines = vec![format!("least {} in geometric mean over", spec.better.minimize)];
    for values in &spec.better.over {
        let sizes: Vec<String> = spec
            .sizes
            .iter()
            .zip(&values.0)
            .map(|(size, value)| format!("{} = {value}", size.name))
            .collect();
        lines.push(format!("  {}", sizes.join(", ")));
    }
    lines.extend(spec.better.require.iter().map(|requirement| format!("and it must be: {requirement}")));
    lines.extend(spec.better.allow.iter().map(|allowance| format!("and it may use: {allowance}")));
    lines
}

fn print(explanation: &Explanation) {
    println!("{} ({})", explanation.name, explanation.spec);
    if let Some(doc) = &explanation.doc {
        println!("  {doc}");
    }
    for (variable, dtype) in &explanation.bindings {
        println!("  with {variable} = {dtype}");
    }
    println!("\nkey      {}  (what is searched for)", explanation.key);
    println!("meaning  {}  (what is correct)", explanation.meaning);
    section("sizes", &explanation.sizes);
    section("arguments", &explanation.arguments);
    println!("\nreference, evaluated in f64");
    for line in explanation.reference.lines() {
        println!("  {line}");
    }
    section("correct when", &explanation.tolerance);
    section("better", &explanation.objective);
    println!("\ntargets  {}", explanation.targets.join(", "));
    println!("state    {}", explanation.state);
    if let Some(certificate) = &explanation.certificate {
        print_certificate(certificate);
    }
}

fn section(title: &str, lines: &[String]) {
    println!("\n{title}");
    for line in lines {
        println!("  {line}");
    }
}

fn print_certificate(certificate: &Certificate) {
    println!("\nproved");
    for record in &certificate.gates {
        let target = record.target.map_or_else(String::new, |target| format!(" on {target}"));
        if let Outcome::Passed { cases, detail } = &record.outcome {
            let cases = if *cases > 0 { format!(", {cases} cases") } else { String::new() };
            println!(
                "  {}{target}{cases}{}",
                record.gate,
                if detail.is_empty() { String::new() } else { format!(": {detail}") }
            );
        }
    }
    println!("\nnot proved");
    for record in &certificate.gates {
        let target = record.target.map_or_else(String::new, |target| format!(" on {target}"));
        if let Outcome::NotRun { reason } = &record.outcome {
            println!("  {}{target}: {reason}", record.gate);
        }
    }
    println!("  sizes outside the domain, other strides, other alignments: the function refuses them");
    println!("\nfigures");
    for figure in &certificate.figures {
        let basis = match &figure.basis {
            Basis::Measured { device, driver } => format!("measured on {device}, driver {driver}"),
            _ => "modelled, not measured".to_owned(),
        };
        let time = figure.seconds.map_or_else(|| "no time".to_owned(), print::seconds);
        println!("  {} {}: {time}, {basis}", figure.target, print::sizes(&figure.sizes));
    }
}
