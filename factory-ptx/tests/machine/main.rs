//! The PTX machine, run on programs that carry their expected results.

mod corpus;
mod numbers;
mod nvcc;
