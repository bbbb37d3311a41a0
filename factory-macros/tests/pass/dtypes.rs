#[path = "../ui/support/runtime.rs"]
mod runtime;

use factory_macros::kernel_factory;
use runtime::*;

/// Inferred from the argument.
pub mod inferred {
    use super::*;

    #[kernel_factory(spec = "kernels/cast.toml", crate = crate::runtime)]
    pub fn cast(x: &Tensor<f32>, y: &mut Tensor<f16>);
}

/// Bound by the attribute.
#[kernel_factory(spec = "kernels/cast.toml", T = "bf16", crate = crate::runtime)]
fn cast(x: &Tensor<f32>, y: &mut Tensor<bf16>);

fn main() {
    assert_ne!(inferred::cast::KEY, cast::KEY, "each dtype has a kernel of its own");
}
