//! The sealed kernels, one module for each dtype of the elements and the weights.
//!
//! Each function is also a module of the same name with what is known of the kernel (`GATES_PASSED`, `MEASURED`, …) and with
//! `prepare(&device)`, whose value launches on a stream of your choice. They take matrices: `[m, n]`, `[n]` and `[m]`.

#![allow(clippy::too_many_arguments, reason = "each is a tensor of its own")]

pub mod bf16_bf16;
pub mod bf16_f32;
pub mod bf16_unweighted;
pub mod f16_f16;
pub mod f16_f32;
pub mod f16_unweighted;
pub mod f32_f32;
pub mod f32_unweighted;
