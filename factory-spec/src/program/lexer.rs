//! From text to tokens.

use super::{BinaryOp, ReduceOp, UnaryOp};
use crate::source::StringMap;
use crate::{DType, Span};

/// Words that look like a number or an operator.
const WORDS: [&str; 5] = ["and", "or", "not", "inf", "pi"];
/// Functions that are no operation of the graph by that name.
pub(super) const OTHER_FUNCTIONS: [&str; 5] = ["select", "where", "cast", "clamp", "iota"];
/// Longer symbols first: `<=` must not be read as `<`.
const SYMBOLS: [&str; 16] =
    ["**", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ",", "="];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Number(f64),
    Name(&'a str),
    Symbol(&'static str),
    /// The end of a statement: of a line, or `;`
    Newline,
    End,
}

/// What is wrong, and where.
pub(super) type LexError = (Span, String);

/// Whether a word means something in every program and therefore cannot name anything.
pub(crate) fn is_reserved(word: &str) -> bool {
    WORDS.contains(&word) || functions().any(|name| name == word) || DType::parse(word).is_some()
}

/// Names of all functions.
pub(super) fn functions() -> impl Iterator<Item = &'static str> {
    let named = |name: &&str| name.starts_with(|c: char| c.is_ascii_alphabetic()) && *name != "neg";
    let unary = UnaryOp::ALL.iter().map(|op| op.name());
    let binary = BinaryOp::ALL.iter().map(|op| op.name());
    let reduce = ReduceOp::ALL.iter().map(|op| op.name());
    unary.chain(binary).chain(reduce).filter(named).chain(OTHER_FUNCTIONS)
}

/// Splits a text; spans are places in the file.
pub(super) fn tokens<'a>(text: &'a str, map: &StringMap) -> Result<Vec<(Token<'a>, Span)>, LexError> {
    let mut tokens: Vec<(Token<'a>, Span)> = Vec::new();
    // Line ends mean nothing inside parentheses.
    let mut open = 0usize;
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let while_ = |accept: fn(char) -> bool| rest.find(|c| !accept(c)).unwrap_or(rest.len());
        let (token, len) = match first {
            '\n' => (Some(Token::Newline).filter(|_| open == 0), 1),
            ';' => (Some(Token::Newline), 1),
            '#' => (None, while_(|c| c != '\n')),
            _ if first.is_whitespace() => (None, first.len_utf8()),
            _ if first.is_ascii_digit() || first == '.' => {
                let len = number_length(rest);
                let value =
                    rest[..len].replace('_', "").parse::<f64>().ok().filter(|value| value.is_finite());
                let value = value.ok_or_else(|| {
                    (map.span(at, len), format!("`{}` is not a number that f64 can hold", &rest[..len]))
                })?;
                (Some(Token::Number(value)), len)
            }
            _ if first.is_ascii_alphabetic() || first == '_' => {
                let len = while_(|c| c.is_ascii_alphanumeric() || c == '_');
                (Some(Token::Name(&rest[..len])), len)
            }
            _ => match SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
                Some(symbol) => (Some(Token::Symbol(symbol)), symbol.len()),
                None => {
                    let advice = match first {
                        '^' => "; a power is `**`",
                        '&' | '|' | '!' => "; write `and`, `or`, `not`",
                        '[' | ']' => "; dimensions are named, not indexed",
                        _ => "",
                    };
                    return Err((
                        map.span(at, first.len_utf8()),
                        format!("`{first}` means nothing in a program{advice}"),
                    ));
                }
            },
        };
        match token {
            Some(Token::Symbol("(")) => open += 1,
            Some(Token::Symbol(")")) => open = open.saturating_sub(1),
            _ => {}
        }
        if let Some(token) = token {
            // A line that ends in an operator goes on.
            let goes_on =
                first == '\n' && matches!(tokens.last(), Some((Token::Symbol(symbol), _)) if *symbol != ")");
            if !goes_on {
                tokens.push((token, map.span(at, len)));
            }
        }
        at += len;
    }
    tokens.push((Token::End, map.span(text.len(), 0)));
    Ok(tokens)
}

/// Bytes of the number at the start; letters that follow belong to it, to be complained about as one.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut len = 0;
    while let Some(&byte) = bytes.get(len) {
        let signed = matches!(byte, b'+' | b'-') && matches!(bytes[len.saturating_sub(1)], b'e' | b'E');
        if !(byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || signed) {
            break;
        }
        len += 1;
    }
    len
}
