//! What a real GPU answered, instruction form by instruction form, and the comparison of the PTX machine with it.
//!
//! A [`Form`] is one instruction with its modifiers, operand types and immediates, wrapped in a kernel of its own whose
//! threads each take one case. Tables in `forms/` name the forms; [`all_forms`] expands them. The inputs are never stored:
//! they are made again from fixed seeds, edge cases first. What is stored, in `recorded/`, are the answers of the GPU
//! ([`Recording`]): the first cases in full, the rest as hashes of short runs, so that every case counts and the folder
//! stays small.
//!
//! The recorder (`--bin record`) runs every form on the GPU of the machine and writes that folder. The test runs every
//! form on the PTX machine and compares: exact forms bit for bit, NaN payloads included; approximate ones within the
//! bound that the PTX ISA states ([`Bound`]), reporting how far they were off.

mod bound;
mod expand;
mod form;
mod inputs;
mod judge;
mod kernel;
mod kind;
mod on_machine;
mod random;
mod recording;
mod report;

pub use bound::Bound;
pub use form::{Form, Output, all_forms, group_names};
pub use judge::{Agreement, Difference, Verdict, compare, differences};
pub use on_machine::{POISON, Trouble, answers};
pub use random::Random;
pub use recording::{Entry, Recording, RecordingError, hash};
pub use report::report;
