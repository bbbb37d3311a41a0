//! Checking and timing on a GPU.
//!
//! [`Gpu::check`] is the device gate, [`time_candidates`] the clock.
//!
//! Rules of the gate:
//!
//! - Inputs are mapped read-only and every buffer has unmapped pages for neighbours; where the driver cannot do that,
//!   guard bands of NaN stand in, and [`DeviceReport`] says so.
//! - Every launch is over one of two poisons whose free bits are drawn anew; shared memory and registers were scrubbed.
//! - Each case is run at the start and at the end of its pages, in random order; then the same addresses get other
//!   contents, call after call.
//! - Digests of inputs and guard bands are compared after every launch; their keys are drawn by the system.
//! - What is right is asked of the oracle, outside of the device: only outputs are copied out, nothing expected in.
//!
//! Rules of the clock:
//!
//! - A window is one CUDA graph of as many executions as there are buffer sets, each on a set of its own; the sets
//!   together are more than four times L2 ([`Rotation`] says whether), in random order with random gaps, and no L2 is set
//!   aside for persisting lines. The host is ahead of the device when a window begins; what a window costs without any
//!   work is measured ([`Overhead`]) and taken off.
//! - Where the spec allows reads that stay in the L2 before others (`l2_evict_last`), the lines that they kept are made ordinary
//!   ones before each window, and put out by reading twice as much as the L2 holds: within a window each set is used once, so
//!   nobody finds there what was kept. Energy, whose windows follow each other at once, is not told for such specs.
//! - Every output of a window is poisoned before it and fingerprinted after it. A window with one wrong fingerprint is
//!   no sample, and its candidate is refused. So is one that keeps the device busy beyond the event that ends its windows.
//! - What is right at these sizes is known from the oracle on windows of rows, and from comparing every element with
//!   the first candidate that passed there.
//! - Candidates take turns, in reversed order every other round. Medians over rounds count. Candidates that cannot win
//!   any more are dropped.
//! - The best ones are measured again by [`final_measurement`], on data of a seed that the system draws then, in another
//!   process if the caller likes; only that second number is a result. An A/A run in the same way sets the [`Noise`]. Who is
//!   within its floor of the best, or is not slower in nearly every round, is a tie.
//! - A time below what the compulsory bytes and operations need on the device's own figures is refused ([`Bound`]).
//! - Clocks, temperature, power, throttling and other processes are read before and after; what changed is marked
//!   ([`Disturbance`]) or, if the options say so, refused. Other searches of the user's wait while one times ([`Turn`]).
//!
//! Candidates run in the process that calls this: an error of the device costs one candidate and a new context, which not
//! every driver still makes then, and a kernel that never ends would take the process with it. Searches call it in
//! [`crate::worker`] processes, where the oracle is not ([`Judge`]).

mod bench;
mod check;
mod clock;
mod cuts;
mod device;
mod driver;
mod familiar;
mod figures;
mod gaps;
mod graph;
mod helpers;
mod judge;
mod kept_lines;
mod kernels;
mod memory;
#[cfg(test)]
mod mutations;
mod nvml;
mod packed;
mod paired;
mod poison;
mod runs;
mod secret;
mod session;
mod sets;
mod stage;
mod state;
mod tensor_map;
mod timing;
mod truth;
mod turn;

pub use check::DeviceReport;
pub use clock::{final_measurement, race_candidates, time_candidates};
pub(crate) use clock::{finale_with, race_with};
pub use device::Gpu;
pub use figures::{Bound, LagLimits, Noise, Overhead, Rotation};
pub use judge::{Answer, Judge, LocalJudge, Place, Question, Telling, WindowInputs, WindowOutputs, Windows};
pub use memory::Protection;
pub use packed::{Packed, TensorMapShape};
pub use secret::draw as secret_seed;
pub(crate) use session::Outside;
pub use state::{DeviceState, Disturbance, DisturbanceLimits, Watched};
pub use timing::{
    CandidateTiming, Energy, Environment, FinalMeasurement, MeasureError, MeasureOptions, Spent, Timing,
};
pub use turn::Turn;
