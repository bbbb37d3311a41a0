//! How many operations a reference asks for.

use factory_spec::{BoundSpec, Op, Reference, SizeValues};

/// Operations of the reference at some sizes: one for each function, comparison or choice of an element, and one for each
/// element that a reduction takes in. `None` for a reference in C, whose operations nobody counts.
///
/// It is what the spec asks for, whatever a kernel does instead: a square root counts as one, a rounding as none.
pub(crate) fn operations(spec: &BoundSpec, sizes: &SizeValues) -> Option<f64> {
    let Reference::Program(program) = &spec.reference else { return None };
    let elements =
        |dims: &[factory_spec::SizeId]| -> f64 { dims.iter().map(|&size| sizes.get(size) as f64).product() };
    let count = program
        .nodes
        .iter()
        .map(|node| match &node.op {
            Op::Arg(_) | Op::Const(_) | Op::Size(_) | Op::Iota(_) | Op::Cast(..) => 0.0,
            Op::Reduce { input, .. } => elements(&program.node(*input).dims),
            _ => elements(&node.dims),
        })
        .sum();
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::operations;
    use factory_spec::Spec;
    use std::collections::BTreeMap;

    #[test]
    fn a_matrix_product_has_two_operations_a_term() {
        let text = r#"
[kernel]
name = "product"
[sizes]
m = { min = 1 }
n = { min = 1 }
k = { min = 1 }
[[arg]]
name = "a"
dtype = "f32"
shape = ["m", "k"]
[[arg]]
name = "b"
dtype = "f32"
shape = ["k", "n"]
[[arg]]
name = "c"
dtype = "f32"
shape = ["m", "n"]
role = "out"
[reference]
program = "c = sum(a * b, k)"
[targets]
arch = ["sm_90"]
"#;
        let spec = Spec::parse(std::path::Path::new("product.toml"), text).expect("a spec");
        let spec = spec.bind(&BTreeMap::new()).expect("no variables");
        let sizes =
            BTreeMap::from([("m", 4), ("n", 8), ("k", 16)].map(|(name, size)| (name.to_owned(), size)));
        let sizes = spec.size_values(&sizes).expect("sizes of the domain");
        assert_eq!(operations(&spec, &sizes), Some(2.0 * 4.0 * 8.0 * 16.0));
    }
}
