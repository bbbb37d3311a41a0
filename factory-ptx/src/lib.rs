//! PTX text and a machine that runs it.
//!
//! [`parse()`] turns text into a thin tree ([`ast`]), `Display` turns the tree back into text, and [`check()`] compares
//! every instruction with the table of forms that the PTX ISA allows. [`machine`] runs a kernel of a module on the CPU,
//! and [`builder`] writes modules from Rust.
//!
//! Rules that hold throughout:
//! - `parse(module.to_string()) == module` for every module.
//! - Nothing that a text can contain makes this crate panic, recurse without bound or take more than linear time.
//! - An opcode, modifier or type that is not known is an error with its position; nothing is skipped.

pub mod ast;
pub mod builder;
pub mod check;
pub mod corpus;
pub mod error;
pub mod fuzz;
mod lexer;
mod literal;
pub mod machine;
pub mod parse;
mod print;
mod suggest;

pub use check::{CheckError, Fault as CheckFault, check};
pub use error::{ParseError, ParseErrors};
pub use parse::parse;
