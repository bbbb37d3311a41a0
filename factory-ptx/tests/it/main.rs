//! Tests of the crate from outside.

mod fuzz;
mod hostile;
mod hostile_kernels;
mod nvcc;
mod property;
mod ptxas;
