//! -
use crate::BoundSpec;
pub(crate) fn whole(_: &BoundSpec) -> String { todo!() }
pub(crate) fn meaning(_: &BoundSpec) -> String { todo!() }
