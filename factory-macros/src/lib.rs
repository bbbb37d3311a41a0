//! The attribute `#[kernel_factory]`, which makes a bodiless function launch a verified kernel.
//!
//! The build script has found the kernel and left it in `OUT_DIR`, in a folder named by the spec's key. The attribute
//! reads the spec (and nothing else), computes the same key, holds the signature against the spec, and emits a function
//! and a module that include what lies in that folder. It keeps no state, and what it emits goes through `include!` and
//! `include_str!`, so that cargo knows when to compile again.
//!
//! Use it through `factory_runtime::kernel_factory`, where it is documented with an example.

mod documentation;
mod expand;
mod message;

use proc_macro::TokenStream;

/// Makes a bodiless function launch the kernel that the build script found for its spec.
///
/// ```text
/// #[kernel_factory(spec = "kernels/rmsnorm.toml")]
/// pub fn rmsnorm(x: &Tensor<bf16>, w: &Tensor<f32>, y: &mut Tensor<bf16>, eps: f32);
/// ```
///
/// becomes a function of the same arguments that returns `Result<()>`, and a module `rmsnorm` with
///
/// - constants: `NAME`, `KEY`, `MEANING`, `TARGETS`, `GATES_PASSED`, `GATES_NOT_RUN`, `MEASURED`,
/// - `SOURCE`, the kernel with its plan, certificate and PTX,
/// - `prepare(&Device) -> Result<Kernel>`, which loads the kernel ahead of its first use, and `Kernel::launch`, which takes
///   a stream and then the same arguments.
///
/// # The attribute's arguments
///
/// - `spec = "path"`: the spec, relative to the package's folder.
/// - `T = "bf16"`: what a dtype variable of the spec stands for. One that is not given follows from the arguments' types.
/// - `crate = path`: where the runtime is, when it is not `::factory_runtime`.
///
/// # The function's arguments
///
/// Those of the spec, in its order and under its names: an `in` argument is `&Tensor<T>` or `TensorRef<'_, T>`, an `out` or
/// `inout` one is `&mut Tensor<T>` or `TensorMut<'_, T>`, a scalar is its Rust type by value.
#[proc_macro_attribute]
pub fn kernel_factory(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(attribute.into(), item.into()).into()
}
