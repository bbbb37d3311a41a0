//! The generator: what it writes is well formed, is assembled, computes what the oracle says, and what it declines.

mod assemble;
mod declines;
mod machine;
mod programs;
mod space;
