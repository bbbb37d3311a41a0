//! -
pub(crate) struct Scope;
pub(crate) fn check() {}
