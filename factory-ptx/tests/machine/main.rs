//! The PTX machine, run on programs that carry their expected results.

mod computed;
mod corpus;
mod counters;
mod cuda;
mod numbers;
mod nvcc;
mod play;
mod schedule;
mod tcgen05;
mod tensor;
mod tma;
