//! Along which sizes outputs fall into parts that have nothing to do with each other.

use std::cmp::Reverse;

use factory_spec::{ArgId, BoundSpec, Op, Program, Reference, SizeId, SizeKind};

/// A size, and the outputs that can be evaluated for a part of it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) size: SizeId,
    /// For each output, in the spec's order.
    pub(super) told: Vec<bool>,
}

/// Cuts that tell every output once, as few as there are: a row's gradient falls into rows, and that of the weights, which is
/// a sum over rows, into columns. `None` where one output falls apart along no size.
pub(super) fn cuts(spec: &BoundSpec) -> Option<Vec<Cut>> {
    let Reference::Program(program) = &spec.reference else { return None };
    let outputs: Vec<ArgId> = spec.outputs().map(|(id, _)| id).collect();
    let mut possible: Vec<Cut> = (0..spec.sizes.len())
        .map(|index| SizeId(index as u32))
        .filter(|&size| can_be_cut(spec, size))
        .map(|size| {
            let told = outputs.iter().map(|&output| falls_apart(spec, program, output, size)).collect();
            Cut { size, told }
        })
        .collect();
    let mut left = vec![true; outputs.len()];
    let mut chosen = Vec::new();
    while left.contains(&true) {
        let new = |cut: &Cut| cut.told.iter().zip(&left).filter(|(told, left)| **told && **left).count();
        // Parts along an outer size lie together in memory.
        let depth = |cut: &Cut| {
            let args = spec.args.iter().filter(|arg| !arg.scalar);
            args.filter_map(|arg| arg.shape.iter().position(|size| *size == cut.size)).max()
        };
        possible.sort_by_key(|cut| (Reverse(new(cut)), depth(cut), cut.size));
        let mut best = possible.first().filter(|cut| new(cut) > 0)?.clone();
        for (told, left) in best.told.iter_mut().zip(&mut left) {
            *told &= *left;
            *left &= !*told;
        }
        chosen.push(best);
    }
    Some(chosen)
}

/// A size that may have any value, and that no other size is derived from.
fn can_be_cut(spec: &BoundSpec, size: SizeId) -> bool {
    let name = &spec.size(size).name;
    let derived = spec.sizes.iter().any(
        |other| matches!(&other.kind, SizeKind::Derived(expression) if expression.names().contains(name)),
    );
    matches!(spec.size(size).kind, SizeKind::Free { .. }) && !derived
}

/// Whether each index along the size has a part of the output, and of everything that the output is computed from, to itself.
fn falls_apart(spec: &BoundSpec, program: &Program, output: ArgId, size: SizeId) -> bool {
    let times = |arg: ArgId| spec.args[arg.index()].shape.iter().filter(|other| **other == size).count();
    let Some((_, root)) = program.outputs.iter().find(|(id, _)| *id == output) else { return false };
    let apart = |op: &Op| match op {
        Op::Reduce { over, .. } => !over.contains(&size),
        Op::Iota(other) | Op::Size(other) => *other != size,
        Op::Arg(arg) => times(*arg) <= 1,
        _ => true,
    };
    times(output) == 1 && program.cone(*root).all(|id| apart(&program.node(id).op))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// For each cut its size and the outputs that it tells, by name.
    fn told(args: &str, program: &str) -> Option<Vec<(String, Vec<String>)>> {
        let text = format!(
            "[kernel]\nname = \"k\"\n[sizes]\nm = {{ min = 1 }}\nn = {{ min = 1 }}\n{args}\
             [reference]\nprogram = \"{program}\"\n[targets]\narch = [\"sm_90\"]\n"
        );
        let spec = factory_spec::Spec::parse(std::path::Path::new("test.toml"), &text).expect("a spec");
        let spec = spec.bind(&BTreeMap::new()).expect("no types to bind");
        let names: Vec<&String> = spec.outputs().map(|(_, arg)| &arg.name).collect();
        let of = |cut: Cut| {
            let outputs = names.iter().zip(cut.told).filter(|(_, told)| *told);
            (spec.size(cut.size).name.clone(), outputs.map(|(name, _)| (*name).clone()).collect())
        };
        cuts(&spec).map(|cuts| cuts.into_iter().map(of).collect())
    }

    fn arg(name: &str, shape: &str, out: bool) -> String {
        let role = if out { "role = \"out\"\n" } else { "" };
        format!("[[arg]]\nname = \"{name}\"\ndtype = \"f32\"\nshape = [{shape}]\n{role}")
    }

    fn one(size: &str, outputs: &[&str]) -> (String, Vec<String>) {
        (size.to_owned(), outputs.iter().map(|name| (*name).to_owned()).collect())
    }

    const MATRIX: &str = "\"m\", \"n\"";

    #[test]
    fn rows_that_know_nothing_of_each_other_are_cut_once() {
        let args = arg("x", MATRIX, false) + &arg("y", MATRIX, true) + &arg("s", "\"m\"", true);
        let found = told(&args, "s = sum(x, n)\\ny = x * s");
        assert_eq!(found, Some(vec![one("m", &["y", "s"])]));
    }

    #[test]
    fn each_output_is_told_along_a_size_of_its_own() {
        let args = arg("x", MATRIX, false) + &arg("dx", MATRIX, true) + &arg("dw", "\"n\"", true);
        let found = told(&args, "dx = x * sum(x, n)\\ndw = sum(x, m)");
        assert_eq!(found, Some(vec![one("m", &["dx"]), one("n", &["dw"])]));
    }

    #[test]
    fn what_hangs_together_everywhere_is_not_cut() {
        let args = arg("x", MATRIX, false) + &arg("y", MATRIX, true);
        assert_eq!(told(&args, "y = x / sum(sum(x, n), m)"), None);
        // A part does not know its place, nor how long the whole is.
        assert_eq!(told(&args, "y = x * iota(m) * iota(n)"), None);
        assert_eq!(told(&args, "y = x * iota(m)"), Some(vec![one("n", &["y"])]));
    }
}
