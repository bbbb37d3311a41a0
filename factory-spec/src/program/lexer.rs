//! -
pub(crate) fn is_reserved() {}
