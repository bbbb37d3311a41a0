//! Inputs of which a part is out of the ordinary.
//!
//! A kernel that looks at the first values, or at the largest, to find out whether it is being tested finds ordinary ones at
//! first, and a tolerance that is the same everywhere.

use factory_spec::draw::{self, Case};
use factory_spec::oracle::Inputs;
use factory_spec::{BoundSpec, InputKind};

/// Which part of each tensor holds other values than the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Splice {
    /// The second half of each innermost row.
    Rows,
    /// The second half of the tensor.
    Half,
    /// The last value of the tensor.
    Last,
}

impl Splice {
    pub(crate) const ALL: [Splice; 3] = [Splice::Rows, Splice::Half, Splice::Last];

    /// For a label.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Splice::Rows => "second halves of rows out of the ordinary",
            Splice::Half => "second halves of tensors out of the ordinary",
            Splice::Last => "last values out of the ordinary",
        }
    }

    /// Replaces the part by values of another kind.
    pub(crate) fn apply(self, spec: &BoundSpec, case: &Case, inputs: &mut Inputs) {
        let mut other = case.clone();
        for (_, arg) in spec.inputs().filter(|(_, arg)| !arg.scalar) {
            other.kinds.insert(arg.name.clone(), kind(spec, &arg.name));
        }
        // Other random numbers than those of the rest.
        other.seed = !case.seed;
        let replaced = draw::draw_inputs(spec, &other);
        for (id, arg) in spec.inputs().filter(|(_, arg)| !arg.scalar) {
            let (Some(values), Some(others)) = (inputs.0.get_mut(&id), replaced.0.get(&id)) else { continue };
            let row = arg.shape.last().map_or(1, |size| case.sizes[*size] as usize).max(1);
            let total = values.len();
            for (index, (value, other)) in values.iter_mut().zip(others).enumerate() {
                let inside = match self {
                    Splice::Rows => index % row >= row.div_ceil(2),
                    Splice::Half => index >= total.div_ceil(2),
                    Splice::Last => index + 1 == total,
                };
                if inside {
                    *value = *other;
                }
            }
        }
    }
}

/// Huge values, unless the spec names its kinds: then the last one that it names.
fn kind(spec: &BoundSpec, name: &str) -> InputKind {
    match spec.correct.inputs.get(name).map(Vec::as_slice) {
        Some([.., last]) => *last,
        _ => InputKind::Huge,
    }
}
