//! What a kernel would take on a GPU that is not here: a model, not a measurement.
//!
//! The PTX machine counts what a few blocks ask of the hardware (`profile`), a [`Target`] says what the hardware gives,
//! and `estimate` puts them together. The result orders candidates; nothing that shows it may call it a time that
//! was measured.

mod chain;
mod estimate;
mod profile;
mod target;

pub use estimate::{Estimate, LaunchProfile, Occupancy, estimate_launch, estimate_variant, occupancy};
pub(crate) use profile::{compulsory_bytes, halve, profile, reduced_sizes, with_size};
pub use target::Target;
