//! The PTX machine: runs a kernel on the CPU, checks what it does, and counts what the hardware would do.
//!
//! A [`Kernel`] is decoded once from a parsed [`Module`](crate::ast::Module). A [`Memory`] holds the buffers that a
//! [`Launch`] may touch, at addresses that the launch's parameters carry. [`run`] executes all blocks and returns a
//! [`Report`] or a [`Stop`].
//!
//! # sm_100a
//!
//! What sm_100 added is run from the PTX ISA's description (version 9.0) and was never compared with hardware; a
//! [`Report`] names the families that ran. `tcgen05` has a tensor memory of 128 lanes by 512 columns for each block:
//! allocation (also of pairs of blocks) with leaks and wrong frees as faults, `ld` and `st` of every shape with
//! packing, `cp` of every shape with multicast and decompression, `shift`, `mma` and `mma.ws` of the kinds f16, tf32,
//! f8f6f4, i8, mxf8f6f4, mxf4 and mxf4nvf4 with A in shared or tensor memory, every swizzle, and both groups, `commit`
//! (multicast too), `wait` and both fences. What an operation writes does not exist for a warp that has not waited for
//! it: `tcgen05.wait` for loads and stores, an mbarrier behind a `tcgen05.commit` for the rest. Waits and arrivals
//! that acquire and release order tensor memory by themselves; relaxed ones do together with the `tcgen05` fences.
//!
//! Where the description leaves something open the machine takes the reading that follows: `shift` and `.ashift` move
//! rows to the next higher lane and leave the first as it is (`shift` within 32 lanes, `.ashift` within the block); each
//! block of a pair reads its operands from its own shared memory; products are exact and are summed in steps of 16, cut
//! off 25 bits below the greatest term; `.f16` sums leave the upper half of a word zero;
//! `clusterlaunchcontrol.try_cancel` always answers that no work is left.
//!
//! Declined by name: `.sp` (structured sparsity), zero-column masks of `.ws`, depths of 96, `cvt.rs` (stochastic
//! rounding), `ldmatrix` and `stmatrix` of 8-bit elements, `multimem`, the modes of tensor copies that are not tiled.
//!
//! # Tensor maps
//!
//! The tensor maps of `cp.async.bulk.tensor` are made with [`TensorMap`], in the driver's own layout; those that the
//! driver has encoded are read too. The modes of `im2col`, `tile::gather4` and `tile::scatter4`, and elements of 4 and 6
//! bits, are declined by name.

#![expect(
    clippy::needless_range_loop,
    reason = "loops over lanes index several arrays and masks at once; the index is the lane"
)]
#![expect(
    clippy::wrong_self_convention,
    reason = "decoder methods are named after the PTX forms that they read"
)]

mod compared;
mod decode;
mod error;
mod exec;
mod inst;
mod kernel;
mod lanes;
mod matrix;
mod memory;
mod number;
mod number64;
mod options;
mod report;
mod source;
mod tensor_map;

pub use error::{Fault, FaultKind, MachineError, Stop, Unsupported};
pub use kernel::{Kernel, ParamLayout};
pub use memory::Memory;
pub use options::{Checks, Launch, Options};
pub use report::{Class, Count, Counters, Line, Report, TensorType, Traffic};
pub use source::Source;
pub use tensor_map::{
    Interleave, L2Promotion, OutOfBounds, Swizzle, TensorMap, TensorMapError, TensorMapType,
};

/// Runs all blocks of a launch.
///
/// # Errors
/// [`Stop::Fault`] when the program does something wrong, [`Stop::Machine`] when the machine cannot run the launch.
pub fn run(
    kernel: &Kernel,
    launch: &Launch,
    memory: &mut Memory<'_>,
    options: &Options,
) -> Result<Report, Stop> {
    exec::run(kernel, launch, memory, options)
}
