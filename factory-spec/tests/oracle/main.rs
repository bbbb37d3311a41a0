//! The oracle, the cases, the comparison and admission, as a search uses them.

mod admission;
mod comparison;
mod evaluation;
mod support;
#[cfg(feature = "c-reference")]
mod c_reference;
mod cases;
