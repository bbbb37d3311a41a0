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
