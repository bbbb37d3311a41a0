//! Bytes to tokens.
//!
//! Tokens are slices of the source; nothing is copied. A dotted word such as `.shared::cta` or `.16x64b` is one token,
//! because PTX never separates the dot from its word.

use crate::ast::Span;
use crate::error::Problem;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Identifier, with `%`, `$` and `_` as letters.
    Word,
    /// `.word`, with `::` inside.
    Dotted,
    /// Any number; see [`crate::literal`].
    Number,
    /// `"…"`, quotes included.
    String,
    /// One byte of punctuation.
    Punct(u8),
    /// A two-byte operator of constant expressions; the byte is its first one (`<<`, `>>`, `&&`, `||` double it,
    /// `<=`, `>=`, `==`, `!=` are followed by `=`).
    Double(u8),
    /// What starts no token; the lexer keeps the problem.
    Bad,
    /// The end.
    End,
}

/// A token and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) line: u32,
    /// Offset of the first byte of the line.
    pub(crate) line_start: u32,
}

impl Token {
    /// The token's place.
    pub(crate) fn span(self) -> Span {
        Span {
            line: self.line,
            column: self.start - self.line_start + 1,
            offset: self.start,
            len: self.end - self.start,
        }
    }

    /// From this token to the byte `end`.
    pub(crate) fn span_to(self, end: u32) -> Span {
        Span { len: end.saturating_sub(self.start), ..self.span() }
    }
}

/// Can continue an identifier.
const NAME: u8 = 1;
/// Can start an identifier.
const START: u8 = 2;
/// Decimal digit.
const DIGIT: u8 = 4;
/// White space.
const SPACE: u8 = 8;

static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphabetic() || b == b'_' || b == b'$' {
            table[byte] = NAME | START;
        } else if b == b'%' {
            table[byte] = START;
        } else if b.is_ascii_digit() {
            table[byte] = NAME | DIGIT;
        } else if matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c) {
            table[byte] = SPACE;
        }
        byte += 1;
    }
    table
};

fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// The lexer: a position in the text.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    line_start: usize,
    /// Why the last [`Kind::Bad`] token is bad.
    pub(crate) problem: Option<Problem>,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning; a byte order mark is skipped.
    pub(crate) fn new(text: &'a str) -> Lexer<'a> {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Lexer { text, at, line: 1, line_start: 0, problem: None }
    }

    fn byte(&self, at: usize) -> u8 {
        // Past the end reads as NUL, which is no part of any token.
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    /// Skips white space and comments; `false` when a comment is not closed.
    fn skip(&mut self) -> bool {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if byte == b'\n' {
                self.at += 1;
                self.line += 1;
                self.line_start = self.at;
            } else if is(byte, SPACE) {
                self.at += 1;
            } else if byte == b'/' && self.byte(self.at + 1) == b'/' {
                let rest = &bytes[self.at..];
                self.at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
            } else if byte == b'/' && self.byte(self.at + 1) == b'*' {
                let mut at = self.at + 2;
                loop {
                    match bytes.get(at) {
                        None => return false,
                        Some(b'*') if self.byte(at + 1) == b'/' => break,
                        Some(b'\n') => {
                            self.line += 1;
                            self.line_start = at + 1;
                        }
                        Some(_) => {}
                    }
                    at += 1;
                }
                self.at = at + 2;
            } else {
                break;
            }
        }
        true
    }

    /// The next token; [`Kind::End`] for ever at the end.
    pub(crate) fn next(&mut self) -> Token {
        let closed = self.skip();
        let start = self.at;
        let (line, line_start) = (self.line, self.line_start);
        let kind = if closed {
            self.scan()
        } else {
            // The rest of the text is comment.
            self.at = self.text.len();
            self.problem = Some(Problem::OpenComment);
            return Token {
                kind: Kind::Bad,
                start: start as u32,
                end: (start + 2) as u32,
                line,
                line_start: (line_start as u32).min(start as u32),
            };
        };
        Token { kind, start: start as u32, end: self.at as u32, line, line_start: line_start as u32 }
    }

    /// Scans one token at the current byte.
    fn scan(&mut self) -> Kind {
        let bytes = self.text.as_bytes();
        let Some(&byte) = bytes.get(self.at) else { return Kind::End };
        if is(byte, START) {
            let mut at = self.at + 1;
            while is(self.byte(at), NAME) {
                at += 1;
            }
            let alone = byte == b'%' && at == self.at + 1;
            self.at = at;
            return if alone { Kind::Punct(b'%') } else { Kind::Word };
        }
        if byte == b'.' && is(self.byte(self.at + 1), NAME) {
            let mut at = self.at + 2;
            loop {
                if is(self.byte(at), NAME) {
                    at += 1;
                } else if self.byte(at) == b':' && self.byte(at + 1) == b':' && is(self.byte(at + 2), NAME) {
                    at += 3;
                } else {
                    break;
                }
            }
            self.at = at;
            return Kind::Dotted;
        }
        if is(byte, DIGIT) {
            return self.number();
        }
        if byte == b'"' {
            return self.string();
        }
        let next = self.byte(self.at + 1);
        let double = match byte {
            b'<' | b'>' => next == byte || next == b'=',
            b'&' => next == byte,
            b'|' => next == byte,
            b'=' | b'!' => next == b'=',
            _ => false,
        };
        if double {
            self.at += 2;
            return if next == byte && byte != b'=' { Kind::Double(byte) } else { Kind::Double(byte | 0x80) };
        }
        if b",;:{}()[]<>|!@+-*/=~&^?.".contains(&byte) {
            self.at += 1;
            return Kind::Punct(byte);
        }
        let character = self.text[self.at..].chars().next().unwrap_or('\u{fffd}');
        self.at += character.len_utf8();
        self.problem = Some(Problem::Character(format!("{character:?}")));
        Kind::Bad
    }

    /// Scans a number: letters and digits, a fraction, an exponent.
    fn number(&mut self) -> Kind {
        let start = self.at;
        while is(self.byte(self.at), NAME) {
            self.at += 1;
        }
        let prefixed = self.byte(start) == b'0' && self.byte(start + 1).is_ascii_alphabetic();
        if !prefixed {
            if self.byte(self.at) == b'.' && is(self.byte(self.at + 1), DIGIT) {
                self.at += 1;
                while is(self.byte(self.at), NAME) {
                    self.at += 1;
                }
            }
            let exponent =
                matches!(self.byte(self.at - 1), b'e' | b'E') && matches!(self.byte(self.at), b'+' | b'-');
            if exponent && is(self.byte(self.at + 1), DIGIT) {
                self.at += 1;
                while is(self.byte(self.at), NAME) {
                    self.at += 1;
                }
            }
        }
        Kind::Number
    }

    /// Scans a string; it ends at its quote, and may not span lines.
    fn string(&mut self) -> Kind {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += 2,
                Some(b'\n') | None => {
                    self.at = at.min(bytes.len());
                    self.problem = Some(Problem::OpenString);
                    return Kind::Bad;
                }
                Some(_) => at += 1,
            }
        }
        self.at = at + 1;
        Kind::String
    }
}
