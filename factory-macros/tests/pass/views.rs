#[path = "../ui/support/runtime.rs"]
mod runtime;

use factory_macros::kernel_factory;
use runtime::*;

mod kernels {
    use super::*;

    /// The user's own words.
    #[kernel_factory(spec = "kernels/scale.toml", crate = crate::runtime)]
    #[must_use]
    pub(crate) fn scale(x: TensorRef<'_, bf16>, w: &Tensor<f32>, y: TensorMut<'_, bf16>, s: f32) -> Result<()>;
}

fn main() {
    let launch: fn(TensorRef<'static, bf16>, &Tensor<f32>, TensorMut<'static, bf16>, f32) -> Result<()> = kernels::scale;
    let _ = (launch, kernels::scale::NAME);
}
