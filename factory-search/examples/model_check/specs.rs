//! The specs whose candidates are measured.

use factory_spec::{BoundSpec, SizeValues, Spec};
use std::collections::BTreeMap;

/// One spec of the comparison.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// Whether the model was looked at with measurements of this spec in hand; the others are held out.
    pub(crate) fitted: bool,
    /// Arguments as `name dtype shape role`, one a line; no shape: a scalar of value 1e-6.
    arguments: &'static [&'static str],
    program: &'static str,
    pub(crate) sizes: &'static [(u64, u64)],
}

/// A row each: one that waits, short rows, rows of a warp's reach, long ones, and rows that no block can keep.
const ROWS: &[(u64, u64)] = &[(1024, 1024), (65536, 512), (16384, 2048), (2048, 16384), (512, 131_072)];
const ELEMENTS: &[(u64, u64)] = &[(256, 4096), (1024, 4096), (8192, 4096), (16384, 8192), (4095, 4095)];

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject {
        name: "rmsnorm",
        fitted: true,
        arguments: &["x bf16 m,n in", "w f32 n in", "eps f32", "y bf16 m,n out"],
        program: "y = x * rsqrt(mean(x * x, n) + eps) * w",
        sizes: ROWS,
    },
    Subject {
        name: "softmax",
        fitted: true,
        arguments: &["x f32 m,n in", "y f32 m,n out"],
        program: "e = exp(x - max(x, n))\ny = e / sum(e, n)",
        sizes: ROWS,
    },
    Subject {
        name: "layernorm",
        fitted: true,
        arguments: &["x bf16 m,n in", "w f32 n in", "b f32 n in", "eps f32", "y bf16 m,n out"],
        program: "d = x - mean(x, n)\ny = d * rsqrt(mean(d * d, n) + eps) * w + b",
        sizes: ROWS,
    },
    Subject {
        name: "gelu",
        fitted: true,
        arguments: &["x bf16 m,n in", "y bf16 m,n out"],
        program: "y = 0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x * x * x)))",
        sizes: ELEMENTS,
    },
    Subject {
        name: "gated_softmax",
        fitted: false,
        arguments: &["a bf16 m,n in", "b bf16 m,n in", "bias f32 n in", "y bf16 m,n out"],
        program: "z = silu(a) * b + bias\ne = exp(z - max(z, n))\ny = e / sum(e, n)",
        sizes: ROWS,
    },
    Subject {
        name: "row_norms",
        fitted: false,
        arguments: &["x f32 m,n in", "y f32 m out"],
        program: "y = sqrt(sum(x * x, n))",
        sizes: ROWS,
    },
    Subject {
        name: "swiglu",
        fitted: false,
        arguments: &["a bf16 m,n in", "b bf16 m,n in", "y bf16 m,n out"],
        program: "y = silu(a) * b",
        sizes: ELEMENTS,
    },
];

impl Subject {
    pub(crate) fn named(name: &str) -> Result<&'static Subject, String> {
        SUBJECTS
            .iter()
            .find(|subject| subject.name == name)
            .ok_or_else(|| format!("no spec is called `{name}`"))
    }

    pub(crate) fn spec(&self) -> Result<BoundSpec, String> {
        let mut text =
            format!("[kernel]\nname = \"{}\"\n[sizes]\nm = {{ min = 1 }}\nn = {{ min = 1 }}\n", self.name);
        for line in self.arguments {
            let words: Vec<&str> = line.split(' ').collect();
            text.push_str(&format!("[[arg]]\nname = \"{}\"\ndtype = \"{}\"\n", words[0], words[1]));
            match words.as_slice() {
                [_, _, shape, role] => {
                    let shape: Vec<String> = shape.split(',').map(|size| format!("\"{size}\"")).collect();
                    text.push_str(&format!("shape = [{}]\nrole = \"{role}\"\n", shape.join(", ")));
                }
                _ => text.push_str("values = [1e-6]\n"),
            }
        }
        text.push_str(&format!(
            "[reference]\nprogram = '''\n{}\n'''\n[targets]\narch = [\"sm_90\"]\n",
            self.program
        ));
        let path = format!("{}.toml", self.name);
        let spec = Spec::parse(std::path::Path::new(&path), &text).map_err(|error| error.to_string())?;
        spec.bind(&BTreeMap::new()).map_err(|error| error.to_string())
    }
}

pub(crate) fn size_values(spec: &BoundSpec, sizes: &BTreeMap<String, u64>) -> Result<SizeValues, String> {
    spec.size_values(sizes).map_err(|error| error.to_string())
}
