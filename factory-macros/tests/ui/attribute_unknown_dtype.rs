#[path = "support/runtime.rs"]
mod runtime;

use factory_macros::kernel_factory;
use runtime::*;

#[kernel_factory(spec = "kernels/cast.toml", T = "bf17", crate = crate::runtime)]
pub fn cast(x: &Tensor<f32>, y: &mut Tensor<bf16>);

fn main() {}
