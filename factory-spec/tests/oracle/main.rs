//! The oracle, the cases, the comparison and admission, as a search uses them.

mod admission;
#[cfg(feature = "c-reference")]
mod c_reference;
mod cases;
mod comparison;
mod evaluation;
mod support;
