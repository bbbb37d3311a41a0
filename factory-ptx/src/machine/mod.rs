//! The PTX machine: runs a kernel on the CPU, checks what it does, and counts what the hardware would do.
//!
//! A [`Kernel`] is decoded once from a parsed [`Module`](crate::ast::Module). A [`Memory`] holds the buffers that a
//! [`Launch`] may touch, at addresses that the launch's parameters carry. [`run`] executes all blocks and returns a
//! [`Report`] or a [`Stop`].

#![expect(
    clippy::needless_range_loop,
    reason = "loops over lanes index several arrays and masks at once; the index is the lane"
)]
#![expect(
    clippy::wrong_self_convention,
    reason = "decoder methods are named after the PTX forms that they read"
)]

mod decode;
mod error;
mod exec;
mod inst;
mod kernel;
mod lanes;
mod memory;
mod number;
mod options;
mod report;

pub use error::{Fault, FaultKind, MachineError, Stop, Unsupported};
pub use kernel::{Kernel, ParamLayout};
pub use memory::Memory;
pub use options::{Checks, Launch, Options};
pub use report::{Class, Count, Counters, Report};

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
