//! Specs that tests start from.

use std::collections::BTreeMap;
use std::path::Path;

use factory_spec::{BoundSpec, Spec};

pub(crate) const RMSNORM: &str = r#"[kernel]
name = "rmsnorm"
doc = "Root-mean-square normalisation."

[sizes]
m = { min = 1 }
n = { min = 8, max = 262144, multiple_of = 8 }

[[arg]]
name = "x"
dtype = "bf16"
shape = ["m", "n"]

[[arg]]
name = "w"
dtype = "f32"
shape = ["n"]

[[arg]]
name = "y"
dtype = "bf16"
shape = ["m", "n"]
role = "out"

[[arg]]
name = "eps"
dtype = "f32"
values = [1e-6, 1e-5]

[reference]
program = '''
ms = mean(x * x, n)
y  = x * rsqrt(ms + eps) * w
'''

[correct]
cases = [{ m = 3, n = 8 }, { m = 5, n = 4096 }]
inputs = { x = ["normal", "zeros"] }
tolerance = { relative_l2 = 4e-3, max_relative = 2e-2 }

[better]
minimize = "time"
over = [{ m = 32768, n = 256 }, { m = 32768, n = 4096 }]
require = ["deterministic", "workspace <= 64 MiB"]

[targets]
arch = ["sm_90", "sm_100"]
"#;

/// [`RMSNORM`] with row strides of `x` and `y`, and sizes to measure at that have some.
pub(crate) fn strided() -> String {
    let text = with(RMSNORM, "[sizes]\n", "[sizes]\nxs = { min = 8, max = 1048576 }\nys = { min = 8 }\n");
    let text = with(&text, "role = \"out\"", "row_stride = \"ys\"\nrole = \"out\"");
    let text = with(&text, "shape = [\"m\", \"n\"]\n", "shape = [\"m\", \"n\"]\nrow_stride = \"xs\"\n");
    let text = with(&text, "[{ m = 3, n = 8 }, { m = 5, n = 4096 }]", "[{ m = 3, n = 8, xs = 24, ys = 9 }]");
    with(
        &text,
        "over = [{ m = 32768, n = 256 }, { m = 32768, n = 4096 }]",
        "over = [{ m = 32768, n = 256, xs = 768, ys = 256 }]",
    )
}

pub(crate) fn parse(text: &str) -> Spec {
    Spec::parse(Path::new("kernels/test.toml"), text).unwrap_or_else(|errors| panic!("{errors}"))
}

pub(crate) fn bound(text: &str) -> BoundSpec {
    parse(text).bind(&BTreeMap::new()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A spec with these sizes, one input `x` and one output `y` of these shapes, and this program.
pub(crate) fn small(sizes: &str, x: &str, y: &str, program: &str) -> String {
    format!(
        r#"[kernel]
name = "small"
[sizes]
{sizes}
[[arg]]
name = "x"
dtype = "f32"
shape = [{x}]
[[arg]]
name = "y"
dtype = "f32"
shape = [{y}]
role = "out"
[reference]
program = '''
{program}
'''
"#
    )
}

/// The text with one part changed; the part must be there.
pub(crate) fn with(text: &str, part: &str, other: &str) -> String {
    assert!(text.contains(part), "`{part}` is not in the text");
    text.replacen(part, other, 1)
}
