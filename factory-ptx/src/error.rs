//! What is wrong with a text or a module, and where, with the source line under a caret.

use std::fmt;

use crate::ast::Span;

/// The piece of source around an error: one line, cut to a window when it is long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    text: String,
    /// Characters before the caret.
    indent: usize,
    /// Carets, at least one.
    width: usize,
}

/// Longest piece of a source line that an excerpt shows, in bytes.
const WINDOW: usize = 160;

impl Excerpt {
    /// Cuts the line of `span` out of `source`; `None` when the span lies outside it.
    pub fn of(source: &str, span: Span) -> Option<Excerpt> {
        let at = span.offset as usize;
        if at > source.len() || span.line == 0 {
            return None;
        }
        let bytes = source.as_bytes();
        let floor = at.saturating_sub(WINDOW / 2);
        let ceiling = (at + WINDOW / 2).min(bytes.len());
        let mut start =
            bytes[floor..at].iter().rposition(|&b| b == b'\n').map_or(floor, |found| floor + found + 1);
        let mut end = bytes[at..ceiling].iter().position(|&b| b == b'\n').map_or(ceiling, |found| at + found);
        while !source.is_char_boundary(start) {
            start += 1;
        }
        while !source.is_char_boundary(end) {
            end -= 1;
        }
        let mut middle = at.clamp(start, end);
        while !source.is_char_boundary(middle) {
            middle -= 1;
        }
        let clean =
            |text: &str| -> String { text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect() };
        let before = clean(&source[start..middle]);
        let indent = before.chars().count();
        let after = clean(&source[middle..end]);
        let width = (span.len as usize).clamp(1, after.chars().count().max(1));
        let text = format!("{before}{after}").trim_end().to_owned();
        Some(Excerpt { text, indent, width })
    }

    /// Writes line number, source and caret.
    pub(crate) fn render(&self, f: &mut fmt::Formatter<'_>, line: u32) -> fmt::Result {
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        write!(f, "\n{gutter} |\n{number} | {}\n{gutter} | ", self.text)?;
        write!(f, "{}{}", " ".repeat(self.indent), "^".repeat(self.width))
    }
}

/// One syntax error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct ParseError {
    /// Where.
    pub span: Span,
    /// What.
    pub problem: Problem,
    /// The source line.
    pub excerpt: Option<Excerpt>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.span.line, self.span.column, self.problem)?;
        if let Some(excerpt) = &self.excerpt {
            excerpt.render(f, self.span.line)?;
        }
        Ok(())
    }
}

/// What the parser can complain about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Something else was expected.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What would have been right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A byte that starts nothing.
    #[error("unexpected character {0}")]
    Character(String),
    /// `/*` without its end.
    #[error("comment is never closed")]
    OpenComment,
    /// A string without its end.
    #[error("string is never closed")]
    OpenString,
    /// A number that cannot be read.
    #[error("`{text}` is not a number: {why}")]
    Number {
        /// As written (shortened).
        text: String,
        /// Reason.
        why: &'static str,
    },
    /// A directive that does not exist, or not here.
    #[error("unknown directive `.{name}`{}", .near.as_ref().map(|near| format!("; did you mean `.{near}`?")).unwrap_or_default())]
    Directive {
        /// Word without its dot.
        name: String,
        /// The nearest known one.
        near: Option<String>,
    },
    /// A value outside what its place allows.
    #[error("{what} is {value}, and must be {must}")]
    Range {
        /// Of what.
        what: &'static str,
        /// As read.
        value: String,
        /// The limit in words.
        must: &'static str,
    },
    /// Deeper than any sensible file.
    #[error("nested deeper than {limit} levels")]
    Depth {
        /// The limit.
        limit: u32,
    },
    /// Division by zero in a constant expression.
    #[error("division by zero in a constant expression")]
    DivisionByZero,
    /// The text is longer than positions can count.
    #[error("the text has {bytes} bytes; at most {limit} can be read")]
    TooLong {
        /// Length.
        bytes: usize,
        /// Limit.
        limit: usize,
    },
    /// A statement that must come first is missing.
    #[error("the module does not start with `.version` and `.target`: `.{missing}` is missing")]
    Header {
        /// Which.
        missing: &'static str,
    },
}

/// All syntax errors of a text, in order; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ParseErrors {
    /// The errors, in order of place.
    pub errors: Vec<ParseError>,
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.errors.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}
