#[path = "support/runtime.rs"]
mod runtime;

use factory_macros::kernel_factory;
use runtime::*;

#[kernel_factory(spec = "kernels/scale.toml", crate = crate::runtime)]
pub struct Scale;

fn main() {}
