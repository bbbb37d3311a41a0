//! Text to tree.

use crate::ast::Module;
use crate::error::{ParseError, ParseErrors, Problem};
use crate::ast::Span;

/// Reads a module.
///
/// # Errors
/// All syntax errors that can be told apart safely, in order.
pub fn parse(_text: &str) -> Result<Module, ParseErrors> {
    Err(ParseErrors {
        errors: vec![ParseError {
            span: Span::default(),
            problem: Problem::Header { missing: "version" },
            excerpt: None,
        }],
    })
}
