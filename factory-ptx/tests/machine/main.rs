//! The PTX machine, run on programs that carry their expected results.

mod computed;
mod corpus;
mod numbers;
mod nvcc;
