#[path = "support/runtime.rs"]
mod runtime;

use factory_macros::kernel_factory;
use runtime::*;

#[kernel_factory(spec = "kernels/scael.toml", crate = crate::runtime)]
pub fn scale(x: &Tensor<bf16>, w: &Tensor<f32>, y: &mut Tensor<bf16>, s: f32);

fn main() {}
