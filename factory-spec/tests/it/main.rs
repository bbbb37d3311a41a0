//! Tests of specs, keys, plans, sealed folders and signatures. The oracle has its own, in `tests/oracle`.

mod bad_specs;
mod keys;
mod plans;
mod programs;
mod row_strides;
mod seals;
#[cfg(feature = "signature")]
mod signatures;
mod size_expressions;
mod specs;
mod support;
