//! What `run`, `sanitize` and `profile` share: a PTX file, its launch, its arguments, and how a fault is shown.

pub(crate) mod element;
pub(crate) mod error;
pub(crate) mod fault;
pub(crate) mod map;
pub(crate) mod npy;
pub(crate) mod operand;
pub(crate) mod program;

pub(crate) use error::LaunchError;
