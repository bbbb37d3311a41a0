//! The runtime with hand-written kernels: on the PTX machine, and on GPU 0 where there is one.

mod kernels;
mod launches;
mod memory;
mod plans;
mod refusals;
mod row_strides;
mod sealed;
mod values;
