//! Finds kernels: proposes them, proves them, orders them and seals the winner.
//!
//! [`search()`] takes a [`BoundSpec`](factory_spec::BoundSpec) and comes back with a [`Found`]: the sealed winner and what
//! became of every candidate. In between, in order:
//!
//! 1. The spec is admitted: would a trivial answer pass, does every operand matter.
//! 2. A proposer lists configurations for the sizes of `better.over`. There is one proposer so far, the [`generator`],
//!    which lowers a reference program to PTX.
//! 3. Every [`Candidate`] goes through the [`gates`], cheapest first. A gate passes it or refuses it with a typed
//!    [`Rejection`]. All candidates get a few small cases on the PTX machine; those that may win get all cases.
//! 4. The [`model`] turns the machine's counters and a target's figures into seconds. Without a GPU that is the order in
//!    which candidates are ranked, and everything that shows it says *modelled*. With a GPU the best of them are
//!    checked and timed there ([`gpu`]).
//! 5. The winners of all sizes become one plan whose variants are guarded by conditions on the sizes and whose last
//!    variant serves every size. The plan is proved again as a whole, on cases that hit every variant, and sealed.
//!
//! Rules that hold throughout:
//! - A candidate is hostile until the gates say otherwise. It is text and a plan; it carries no host code.
//! - Missing evidence is never a pass. A gate that could not run is written into the certificate as not run, with the
//!   reason.
//! - The same spec, options and seed give the same bytes, whatever the number of threads, as long as no GPU measures and
//!   no limit in seconds cuts the search short.
//! - On a GPU, candidates run in this process. An error of the device costs one candidate and a new context; a kernel that
//!   never ends would take the process with it. The PTX machine's instruction budget refuses such kernels first.

mod candidate;
mod certificate;
mod compose;
mod error;
mod found;
mod from_generator;
mod launch;
mod observer;
mod on_gpu;
mod options;
mod parallel;
mod proposer;
mod prove;
mod screen;
mod search;
mod verdict;

pub mod cases;
pub mod gates;
pub mod generator;
pub mod gpu;
pub mod model;
pub mod toolchain;

pub use candidate::{Candidate, TunableValue, Tunables};
pub use error::SearchError;
pub use found::{CandidateRecord, Found, Time, TimeBasis};
pub use from_generator::Generator;
pub use observer::{Event, Observer, Phase, Silent};
pub use on_gpu::verify_on_gpu;
pub use options::{Budget, GpuPolicy, PtxasPolicy, SearchOptions};
pub use proposer::{Proposal, Proposer};
pub use prove::{Verified, verify};
pub use search::{search, search_with};
pub use verdict::{Gate, Reason, Rejection, Verdict};
