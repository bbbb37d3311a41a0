//! What searches found out, kept across runs: one SQLite file that many processes share.
//!
//! A *note* is one verdict: a candidate, judged for a [`Task`](crate::learn::Task) by the gates and the clock of one
//! version of the factory (the *harness*), with the device, the measured samples and what a model can learn from it. A
//! *lesson* is a sentence with what it rests on and where it holds. What was asked, the canonical text of the spec's meaning, is kept
//! once for all notes about it, and the *environment* of a note is a row of its own: device, driver, harness, assembler. Compilers
//! and their host compilers stand in the candidate's [`Origin`](crate::Origin), with the digest of the source.
//!
//! Of what a candidate was bred from nothing is kept: proposers list configurations, the search chooses among them, and no
//! [`Candidate`](crate::Candidate) knows a parent. What a search began with is in the evidence of the searches before it.
//!
//! - Notes are appended, never changed: triggers in the file refuse it. [`Evidence::prune`] alone removes some.
//! - A note is one transaction, so a search that is killed has lost nothing that it was told, and the next one goes on
//!   there: what has a verdict under the same harness is not judged again.
//! - Files are exchanged as JSON lines ([`Evidence::export`], [`Evidence::import`]). Every note has a digest of what it says,
//!   so importing the same twice changes nothing.
//! - A file of a newer factory is refused, not guessed at; a damaged one is moved aside, not deleted.

mod error;
mod note;
mod opening;
mod prune;
mod run;
mod schema;
mod store;
mod summary;
mod transfer;

pub use error::EvidenceError;
pub use note::{Judged, Lesson, Note, SpecText};
pub use opening::beside;
pub use prune::Prune;
pub use run::Run;
pub use store::{Evidence, FILE};
pub use summary::{Filter, KernelSummary, Table};
pub use transfer::Imported;
