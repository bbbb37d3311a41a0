//! A module against the table of forms and the names it declares.

use std::fmt;

use crate::ast::{Module, Span};

/// One thing that is wrong with a module that parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct CheckError {
    /// Where.
    pub span: Span,
    /// What.
    pub message: String,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.span.line, self.span.column, self.message)
    }
}

/// Checks a module.
///
/// # Errors
/// Everything that is wrong, in order of place.
pub fn check(_module: &Module) -> Result<(), Vec<CheckError>> {
    Ok(())
}
