#![deny(missing_docs, warnings)]
//! A kernel, its constants, and the ways to launch it.

#[path = "../ui/support/runtime.rs"]
#[allow(missing_docs, unused)]
mod runtime;

use factory_macros::kernel_factory;
use runtime::*;

#[kernel_factory(spec = "kernels/scale.toml", crate = crate::runtime)]
pub fn scale(x: &Tensor<bf16>, w: &Tensor<f32>, y: &mut Tensor<bf16>, s: f32);

fn main() {
    let launch: fn(&Tensor<bf16>, &Tensor<f32>, &mut Tensor<bf16>, f32) -> Result<()> = scale;
    let _ = launch;
    assert_eq!(scale::NAME, "scale");
    assert_eq!(scale::SOURCE.name, "scale");
    let kernel: scale::Kernel = scale::prepare(&Device).unwrap();
    let on_stream: fn(&scale::Kernel, &Stream, &Tensor<bf16>, &Tensor<f32>, &mut Tensor<bf16>, f32) -> Result<()> = scale::Kernel::launch;
    let _ = (on_stream, kernel.prepared());
}
