//! Checking and timing on a GPU.
//!
//! [`Gpu::check`] is the device gate, [`time_candidates`] the clock. Rules of the clock:
//!
//! - A window is one CUDA graph of as many executions as there are buffer sets, each on a set of its own; the sets
//!   together are more than four times L2. Host time is not in it.
//! - Every output of a window is poisoned before it and fingerprinted after it. A window with one wrong fingerprint is
//!   no sample, and its candidate is refused.
//! - What is right at these sizes is known from the oracle on windows of rows, and from comparing every element with
//!   the first candidate that passed there.
//! - Candidates take turns, in reversed order every other round. Medians over rounds count. Candidates that cannot win
//!   any more are dropped.
//! - The best ones are measured again on fresh data; only that second number is a result. An A/A run in the same way
//!   says how far apart two equal candidates come out.
//! - A time below what the compulsory bytes need at the memory's own rate is refused.
//!
//! Candidates run in this process: an error of the device costs one candidate and a new context, but a kernel that never
//! ends would take the process with it. The PTX machine's instruction budget refuses such kernels first; isolation in
//! worker processes is not there yet.

mod check;
mod clock;
mod device;
mod driver;
mod helpers;
mod sets;

pub use clock::{CandidateTiming, MeasureOptions, Timing, time_candidates};
pub use device::Gpu;
