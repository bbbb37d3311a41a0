//! What a kernel would take on a GPU that is not here: a model, not a measurement.
//!
//! The PTX machine counts what a few blocks ask of the hardware (`profile`), a [`Target`] says what the hardware gives,
//! and `estimate` puts them together. The result orders candidates; nothing that shows it may call it a time that
//! was measured.

mod chain;
mod estimate;
mod live;
mod profile;
mod roofline;
mod target;

pub use estimate::{Estimate, LaunchProfile, Occupancy, estimate_launch, estimate_variant, occupancy};
pub use profile::{LaunchShape, PROFILED, Profiled, compulsory_bytes, of_report, profile, profile_in_detail};
pub(crate) use profile::{halve, reduced_sizes, with_size};
pub use roofline::{Roof, Roofline, roofline, tensor_operations};
pub use target::Target;
