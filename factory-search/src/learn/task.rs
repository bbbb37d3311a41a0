//! A spec at some sizes, in numbers.

use std::collections::BTreeMap;

use factory_spec::{BoundSpec, Op, Reference, SizeKind, SizeValues};
use serde::{Deserialize, Serialize};

use crate::launch;
use crate::model::{compulsory_bytes, reduced_sizes};

/// What is to be made fast. Candidates compete within one task, and tasks are compared by their traits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The kernel's name, for people.
    pub kernel: String,
    /// What is correct: the digest of the spec's meaning. Equal tasks have equal meanings and sizes.
    pub meaning: String,
    /// The sizes, as `m=32768 n=4096`.
    pub sizes: String,
    /// Named numbers of comparable scale, mostly logarithms to base 2.
    pub traits: BTreeMap<String, f64>,
}

impl Task {
    /// The task of a spec at some sizes.
    pub fn of(spec: &BoundSpec, sizes: &SizeValues) -> Task {
        let mut traits = BTreeMap::new();
        let mut put = |name: &str, value: f64| {
            traits.insert(name.to_owned(), value);
        };
        let reduced = reduced_sizes(spec);
        let (mut inner, mut outer) = (0.0, 0.0);
        for (index, size) in spec.sizes.iter().enumerate() {
            if !matches!(size.kind, SizeKind::Free { .. }) {
                continue;
            }
            let value = log2(sizes.0.get(index).copied().unwrap_or(1) as f64);
            let removed = reduced.iter().any(|id| id.index() == index);
            *(if removed { &mut inner } else { &mut outer }) += value;
        }
        put("reduced", inner);
        put("kept", outer);
        let bytes = compulsory_bytes(spec, sizes);
        put("bytes", log2(bytes));
        let tensors = || spec.args.iter().filter(|arg| !arg.scalar);
        let largest = tensors().map(|arg| spec.elements(arg, sizes)).max().unwrap_or(1);
        let of_full_size = |reads: bool| {
            let same = tensors().filter(|arg| spec.elements(arg, sizes) * 2 > largest);
            same.filter(|arg| if reads { arg.role.reads() } else { arg.role.writes() })
                .map(|arg| arg.dtype.size() as f64)
                .sum::<f64>()
        };
        put("elements", log2(largest as f64));
        put("bytes_read_an_element", of_full_size(true));
        put("bytes_written_an_element", of_full_size(false));
        put("operands", tensors().count() as f64);
        if let Reference::Program(program) = &spec.reference {
            let count =
                |wanted: fn(&Op) -> bool| program.nodes.iter().filter(|node| wanted(&node.op)).count() as f64;
            put("reductions", count(|op| matches!(op, Op::Reduce { .. })));
            put("unary", log2(1.0 + count(|op| matches!(op, Op::Unary(..)))));
            put("nodes", log2(1.0 + program.nodes.len() as f64));
        }
        Task {
            kernel: spec.name.clone(),
            meaning: spec.meaning().to_string(),
            sizes: launch::label(spec, sizes),
            traits,
        }
    }

    /// Whether two tasks ask for the same.
    pub fn is(&self, other: &Task) -> bool {
        self.meaning == other.meaning && self.sizes == other.sizes
    }
}

fn log2(value: f64) -> f64 {
    value.max(1.0).log2()
}
