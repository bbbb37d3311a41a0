//! The functions on the PTX machine, against the same formulas in f64 and against an honest f32 kernel's errors.

mod backward;
mod forward;
mod refusals;
mod support;
