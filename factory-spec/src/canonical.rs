//! The canonical form of a spec: the same text for the same meaning, whatever the spelling.

use std::fmt::Write;

use crate::program;
use crate::{Arg, BoundSpec, Reference, SizeKind, SizeValues, Tolerance};

/// The first line of every canonical text. A new form is a new number, so that no key of an old form is taken for one
/// of a new form.
const SCHEMA: &str = "kernel-factory spec 1";

/// What is correct.
pub(crate) fn meaning(spec: &BoundSpec) -> String {
    let mut text = format!("{SCHEMA}\n");
    sizes(&mut text, spec);
    for arg in &spec.args {
        argument(&mut text, spec, arg);
    }
    reference(&mut text, spec);
    correct(&mut text, spec);
    text
}

/// What is correct, what is better, and where.
pub(crate) fn whole(spec: &BoundSpec) -> String {
    let mut text = meaning(spec);
    line(&mut text, format_args!("minimize {}", spec.better.minimize));
    cases(&mut text, spec, "over", &spec.better.over);
    sorted(&mut text, spec.better.require.iter().map(|requirement| format!("require {requirement}")));
    sorted(&mut text, spec.better.allow.iter().map(|allowance| format!("allow {allowance}")));
    sorted(&mut text, spec.targets.iter().map(|arch| format!("target {arch}")));
    text
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}

fn sorted(text: &mut String, lines: impl Iterator<Item = String>) {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines.dedup();
    for content in lines {
        line(text, format_args!("{content}"));
    }
}

fn sizes(text: &mut String, spec: &BoundSpec) {
    let describe = |size: &crate::Size| match &size.kind {
        SizeKind::Free { min, max: Some(max), multiple_of } => {
            format!("size {} free min {min} max {max} multiple_of {multiple_of}", size.name)
        }
        SizeKind::Free { min, max: None, multiple_of } => {
            format!("size {} free min {min} multiple_of {multiple_of}", size.name)
        }
        SizeKind::Fixed(value) => format!("size {} fixed {value}", size.name),
        SizeKind::Derived(expr) => format!("size {} derived {expr}", size.name),
    };
    sorted(text, spec.sizes.iter().map(describe));
    sorted(text, spec.constraints.iter().map(|expr| format!("constraint {expr}")));
}

fn argument(text: &mut String, spec: &BoundSpec, arg: &Arg) {
    let (name, dtype, role) = (&arg.name, arg.dtype, arg.role.name());
    if arg.scalar {
        let values: String = arg.values.iter().map(|value| format!(" {value:?}")).collect();
        line(text, format_args!("arg {name} {dtype} {role} scalar{values}"));
    } else {
        let shape: Vec<&str> = arg.shape.iter().map(|&size| spec.size(size).name.as_str()).collect();
        // Dense tensors, which came first, say nothing: their keys are what they were.
        let stride =
            arg.row_stride.map_or_else(String::new, |size| format!(" row_stride {}", spec.size(size).name));
        line(text, format_args!("arg {name} {dtype} {role} [{}]{stride}", shape.join(", ")));
    }
}

fn reference(text: &mut String, spec: &BoundSpec) {
    match &spec.reference {
        Reference::Program(program) => {
            text.push_str("program\n");
            let arg = |id: crate::ArgId| spec.args[id.index()].name.clone();
            let size = |id: crate::SizeId| spec.size(id).name.clone();
            text.push_str(&program::print(program, &arg, &size));
        }
        Reference::C(c) => {
            // A C function gets the sizes by position, so that here their order is meaning.
            let order: Vec<&str> = spec.sizes.iter().map(|size| size.name.as_str()).collect();
            line(
                text,
                format_args!("c {} sizes [{}] bytes {}", c.function, order.join(", "), c.source.len()),
            );
            line(text, format_args!("{}", c.source));
        }
    }
}

fn correct(text: &mut String, spec: &BoundSpec) {
    cases(text, spec, "case", &spec.correct.cases);
    for (name, kinds) in &spec.correct.inputs {
        let mut kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        kinds.sort_unstable();
        line(text, format_args!("inputs {name} {}", kinds.join(" ")));
    }
    for (name, tolerance) in &spec.correct.tolerance {
        let Tolerance { relative_l2, max_relative, max_absolute, exact } = tolerance;
        let mut bounds = String::new();
        for (bound, value) in
            [("relative_l2", relative_l2), ("max_relative", max_relative), ("max_absolute", max_absolute)]
        {
            if let Some(value) = value {
                bounds.push_str(&format!(" {bound} {value:?}"));
            }
        }
        line(text, format_args!("tolerance {name}{bounds}{}", if *exact { " exact" } else { "" }));
    }
}

fn cases(text: &mut String, spec: &BoundSpec, word: &str, cases: &[SizeValues]) {
    let describe = |case: &SizeValues| {
        let values: Vec<String> =
            spec.named_values(case).iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{word} {}", values.join(" "))
    };
    sorted(text, cases.iter().map(describe));
}
