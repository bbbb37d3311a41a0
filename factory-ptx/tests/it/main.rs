//! Tests of the crate from outside.

mod hostile;
mod nvcc;
mod property;
mod ptxas;
