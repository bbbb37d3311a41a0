//! Worker processes: candidates run in them, and what a candidate breaks is thrown away with its process.
//!
//! A worker is the searching program itself, started again ([`crate::serve_if_asked`]) here or by any launcher elsewhere: `srun`,
//! `ssh`, `kubectl exec`. It has a GPU or the PTX machine. [`Workers`] are several that share the work of a search: each
//! checks candidates on its own, and one of them has the clock, so that times that are compared come from one device.
//!
//! - The search never loads a candidate. What is right stays with the search: a worker with a GPU asks ([`protocol`]).
//! - Whatever a candidate does to its process or its context costs that candidate, and a new process takes over: it died
//!   ([`crate::Reason::Crashed`]), gave no answer in time ([`crate::Reason::Hang`]), or the GPU stopped it.
//! - Hangs cost their limit each: after four in one batch, or one when the batch's time is over, the rest of it is not run.
//! - The second measurement, the one that counts, is made by a new process.
//! - A worker ends when its standard input does, so none outlives its search.

mod clock;
mod connection;
pub mod frame;
mod launcher;
mod patience;
mod pool;
mod process;
pub mod protocol;
mod role;
mod serve;
mod shipped;

pub use connection::{Connection, ConnectionError};
pub use launcher::Launcher;
pub use pool::{Prover, Workers};
pub use process::WorkerLimits;
pub use role::DeviceKind;
pub use shipped::{ShipError, ShippedSpec};

pub(crate) use role::serve_if_asked;
