//! Finds kernels: proposes them, proves them, orders them and seals the winner.
//!
//! [`search()`] takes a [`BoundSpec`](factory_spec::BoundSpec) and comes back with a [`Found`]: the sealed winner and what
//! became of every candidate. In between, in order:
//!
//! 1. The spec is admitted: would a trivial answer pass, does every operand matter.
//! 2. Proposers list configurations for the sizes of `better.over`: the [`generator`], which lowers a reference program
//!    to PTX, and [`template`]s in CUDA C++, which a compiler of this machine makes into PTX ([`compile`]).
//! 3. Every [`Candidate`] goes through the [`gates`], cheapest first. A gate passes it or refuses it with a typed
//!    [`Rejection`]. All candidates get a few small cases on the PTX machine, one at most where a
//!    GPU runs all right after; those that may win get all cases.
//! 4. The [`model`] turns the machine's counters and a target's figures into seconds. Without a GPU that is the order in
//!    which candidates are ranked, and everything that shows it says *modelled*. With something that measures (a
//!    [`Measurer`], such as the [`gpu`]) candidates are checked and timed in rounds: a strategy that learns from every
//!    answer, and from what a memory holds of other specs, says what is timed next ([`learn`]).
//! 5. The winners of all sizes become one plan whose variants are guarded by conditions on the sizes and whose last
//!    variant serves every size. The plan is proved again as a whole, on cases that hit every variant, and sealed.
//!
//! Rules that hold throughout:
//! - A candidate is hostile until the gates say otherwise. It is text and a plan; it carries no host code.
//! - Missing evidence is never a pass. A gate that could not run is written into the certificate as not run, with the
//!   reason.
//! - The same spec, options and seed give the same bytes, whatever the number of threads, as long as no GPU measures and
//!   no limit in seconds cuts the search short.
//! - On a GPU, candidates run in processes of their own ([`worker`]), which never hold an expected value. A candidate that
//!   hangs, crashes or spoils its context costs itself and its process. Programs that do not offer themselves as workers
//!   ([`serve_if_asked`]) run candidates in their own process, and say so.

mod candidate;
mod certificate;
mod compose;
mod error;
mod found;
mod from_generator;
mod holdout;
mod host;
mod image;
mod judge;
mod launch;
mod measurer;
mod observer;
mod on_gpu;
mod options;
mod parallel;
mod priority;
mod proposer;
mod proposers;
mod prove;
mod regions;
mod screen;
mod search;
mod sequences;
mod splice;
mod start;
mod verdict;

pub mod cases;
pub mod compile;
pub mod evidence;
pub mod gates;
pub mod generator;
pub mod gpu;
pub mod learn;
pub mod log;
pub mod model;
pub mod template;
pub mod toolchain;
pub mod worker;

pub use candidate::{Candidate, Origin, OriginKind, TunableValue, Tunables};
pub use error::SearchError;
pub use found::{CandidateRecord, Found, Learned, Time, TimeBasis};
pub use from_generator::Generator;
pub use host::{HostProgram, serve_if_asked};
pub use image::Image;
pub use judge::{Judged, judge};
pub use measurer::Measurer;
pub use observer::{Event, Observer, Phase, Silent};
pub use on_gpu::verify_on_gpu;
pub use options::{Budget, GpuPolicy, PtxasPolicy, SearchOptions, WorkerOptions, launcher_words};
pub use proposer::{Proposal, Proposer};
pub use proposers::Proposers;
pub use prove::{Verified, verify};
pub use search::{Means, search, search_by, search_with};
pub use verdict::{Gate, Reason, Rejection, Verdict};
