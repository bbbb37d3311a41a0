//! Matrix products as the tensor cores compute them: number formats, fragments, sums.

pub(crate) mod accumulate;
pub(crate) mod descriptor;
pub(crate) mod double;
pub(crate) mod format;
pub(crate) mod integer;
pub(crate) mod layout;
