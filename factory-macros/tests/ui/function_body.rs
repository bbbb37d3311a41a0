use factory_macros::kernel_factory;

#[kernel_factory(spec = "kernels/scale.toml", crate = crate::runtime)]
pub fn scale(x: &Tensor<bf16>, w: &Tensor<f32>, y: &mut Tensor<bf16>, s: f32) {}

fn main() {}
