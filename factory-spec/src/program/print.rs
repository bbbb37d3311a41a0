//! -
pub(crate) fn print() {}
