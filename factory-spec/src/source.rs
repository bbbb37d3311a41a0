//! A spec's text, and places in it.

use std::path::{Path, PathBuf};

/// A range of bytes in a [`SourceText`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte
    pub offset: usize,
    /// Number of bytes
    pub len: usize,
}

impl Span {
    /// The span of `len` bytes at `offset`.
    pub fn new(offset: usize, len: usize) -> Span {
        Span { offset, len }
    }

    /// The smallest span that holds both.
    pub fn to(self, other: Span) -> Span {
        let offset = self.offset.min(other.offset);
        let end = (self.offset + self.len).max(other.offset + other.len);
        Span { offset, len: end - offset }
    }
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Span {
        Span { offset: range.start, len: range.end.saturating_sub(range.start) }
    }
}

/// A file's text together with the path to show in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    path: PathBuf,
    text: String,
}

impl SourceText {
    /// The text of the file at `path`; nothing is read here.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> SourceText {
        SourceText { path: path.into(), text: text.into() }
    }

    /// The path for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte, both counted from 1; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let start = self.line_start(offset);
        let line = self.text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count() + 1;
        (line, self.text[start..self.floor(offset)].chars().count() + 1)
    }

    /// The line that holds a byte, without its end.
    pub fn line_at(&self, offset: usize) -> &str {
        let start = self.line_start(offset);
        self.text[start..].lines().next().unwrap_or("")
    }

    /// The line of a place with carets under it, as messages show it:
    ///
    /// ```text
    ///    |
    /// 14 | shape = ["k", "n"]
    ///    |           ^^^
    /// ```
    pub fn excerpt(&self, span: Span) -> String {
        let (line, column) = self.line_column(span.offset);
        let shown = self.line_at(span.offset);
        let gutter = " ".repeat(line.to_string().len());
        // Tabs stay tabs, so that the caret stands under its place however wide they are shown.
        let indent: String =
            shown.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let end = (span.offset + span.len).min(self.text.len());
        let width = self
            .text
            .get(span.offset..end)
            .and_then(|text| text.lines().next())
            .map_or(0, |text| text.chars().count());
        let caret = "^".repeat(width.max(1));
        format!("{gutter} |\n{line} | {shown}\n{gutter} | {indent}{caret}")
    }

    fn line_start(&self, offset: usize) -> usize {
        self.text[..self.floor(offset)].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// The nearest character boundary at or before `offset`.
    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// Where each byte of a TOML string's value stands in the file.
///
/// A string's value is its text without quotes, with escapes resolved, so that a complaint about byte 7 of an
/// expression needs this to find its column.
#[derive(Clone, Debug)]
pub(crate) struct StringMap {
    /// One entry a byte of the value and one for its end
    offsets: Vec<usize>,
}

impl StringMap {
    /// The map of the string literal at `span`, quotes included, whose value is `value`.
    pub(crate) fn new(file: &str, span: Span, value: &str) -> StringMap {
        let literal = file.get(span.offset..span.offset + span.len).unwrap_or("");
        let quotes = if literal.starts_with("'''") || literal.starts_with("\"\"\"") { 3 } else { 1 };
        let mut raw = literal.get(quotes..literal.len().saturating_sub(quotes)).unwrap_or("");
        let mut at = span.offset + quotes;
        if quotes == 3 {
            // The line end right behind the opening quotes is no part of the value.
            let skipped = if raw.starts_with("\r\n") { 2 } else { usize::from(raw.starts_with('\n')) };
            raw = &raw[skipped..];
            at += skipped;
        }
        let escapes = literal.starts_with('"');
        let mut offsets = Vec::with_capacity(value.len() + 1);
        for character in value.chars() {
            let mut used = raw.chars().next().map_or(0, char::len_utf8);
            if character == '\n' && raw.starts_with("\r\n") {
                used = 2;
            }
            if escapes && raw.starts_with('\\') {
                // A backslash at the end of a line swallows the white space up to the next text.
                while let Some(rest) =
                    raw.strip_prefix('\\').filter(|rest| rest.starts_with(char::is_whitespace))
                {
                    let skipped = raw.len() - rest.trim_start().len();
                    raw = &raw[skipped..];
                    at += skipped;
                }
                used = match raw.strip_prefix('\\').and_then(|rest| rest.chars().next()) {
                    Some('x') => 4,
                    Some('u') => 6,
                    Some('U') => 10,
                    Some(_) => 2,
                    None => raw.chars().next().map_or(0, char::len_utf8),
                };
            }
            offsets.extend(std::iter::repeat_n(at, character.len_utf8()));
            raw = raw.get(used..).unwrap_or("");
            at += used;
        }
        offsets.push(at);
        StringMap { offsets }
    }

    /// The place in the file of a range of the value's bytes.
    pub(crate) fn span(&self, offset: usize, len: usize) -> Span {
        let last = self.offsets.len() - 1;
        let start = self.offsets[offset.min(last)];
        Span::from(start..self.offsets[(offset + len).min(last)].max(start))
    }
}
