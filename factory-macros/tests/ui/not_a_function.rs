use factory_macros::kernel_factory;

#[kernel_factory(spec = "kernels/scale.toml", crate = crate::runtime)]
pub struct Scale;

fn main() {}
