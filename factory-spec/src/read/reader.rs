//! Walking a TOML document with an eye on keys, types and places.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::did_you_mean;
use crate::source::StringMap;
use crate::{Problem, SizeExpr, SourceText, Span, SpecError};

/// Collects what is wrong while reading.
pub(super) struct Reader {
    pub(super) source: Arc<SourceText>,
    pub(super) errors: Vec<SpecError>,
}

/// A table and how to speak of it.
#[derive(Clone)]
pub(super) struct Section<'a> {
    pub(super) table: &'a DeTable<'a>,
    pub(super) what: String,
    pub(super) span: Span,
}

/// A value, its key, and its place.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) key_span: Span,
    pub(super) value: &'a DeValue<'a>,
    pub(super) span: Span,
}

/// A string and where each of its bytes stands.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) span: Span,
    pub(crate) map: StringMap,
}

impl<'a> Section<'a> {
    pub(super) fn get(&self, key: &str) -> Option<Entry<'a>> {
        self.entries().into_iter().find(|entry| entry.key == key)
    }

    /// Everything in it, in the order of the file.
    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        let mut entries: Vec<Entry<'a>> = self
            .table
            .iter()
            .map(|(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| Entry {
                key: key.get_ref(),
                key_span: key.span().into(),
                value: value.get_ref(),
                span: value.span().into(),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.offset);
        entries
    }
}

/// What a value is, in words.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
    .to_owned()
}

impl Reader {
    pub(super) fn note(&mut self, span: Span, problem: Problem) {
        self.errors.push(SpecError::at(&self.source, span, problem));
    }

    pub(super) fn wrong_type(&mut self, entry: Entry<'_>, wanted: &str) {
        let problem = Problem::WrongType {
            key: entry.key.to_owned(),
            wanted: wanted.to_owned(),
            found: found(entry.value),
        };
        self.note(entry.span, problem);
    }

    pub(super) fn missing(&mut self, section: &Section<'_>, key: &str, example: &str) {
        let problem = Problem::MissingKey {
            key: key.to_owned(),
            table: section.what.clone(),
            example: example.to_owned(),
        };
        self.note(section.span, problem);
    }

    /// Complains about the keys that are not among `known`.
    pub(super) fn only(&mut self, section: &Section<'_>, known: &[&str]) {
        for entry in section.entries() {
            if !known.contains(&entry.key) {
                let problem = Problem::UnknownKey {
                    key: entry.key.to_owned(),
                    table: section.what.clone(),
                    close: did_you_mean(entry.key, known.iter().copied()).map(str::to_owned),
                    known: known.iter().map(|&name| name.to_owned()).collect(),
                };
                self.note(entry.key_span, problem);
            }
        }
    }

    pub(super) fn unknown(&mut self, what: &'static str, text: &Text, known: &[&str]) {
        let close = did_you_mean(&text.text, known.iter().copied()).map(str::to_owned);
        let known = known.iter().map(|&name| name.to_owned()).collect();
        self.note(text.span, Problem::UnknownName { what, name: text.text.clone(), close, known });
    }

    pub(super) fn table<'a>(&mut self, entry: Entry<'a>, what: &str) -> Option<Section<'a>> {
        match entry.value {
            DeValue::Table(table) => Some(Section { table, what: what.to_owned(), span: entry.span }),
            _ => {
                self.wrong_type(entry, "a table");
                None
            }
        }
    }

    pub(super) fn string(&mut self, entry: Entry<'_>) -> Option<Text> {
        let DeValue::String(value) = entry.value else {
            self.wrong_type(entry, "a string");
            return None;
        };
        let map = StringMap::new(self.source.text(), entry.span, value);
        Some(Text { text: value.to_string(), span: entry.span, map })
    }

    /// The elements of a list, each under the list's key.
    pub(super) fn list<'a>(&mut self, entry: Entry<'a>, wanted: &str) -> Option<Vec<Entry<'a>>> {
        let DeValue::Array(array) = entry.value else {
            self.wrong_type(entry, wanted);
            return None;
        };
        Some(
            array
                .iter()
                .map(|element| Entry { value: element.get_ref(), span: element.span().into(), ..entry })
                .collect(),
        )
    }

    /// A list of strings without repetition. One string alone stands for a list of one.
    pub(super) fn strings(&mut self, entry: Entry<'_>) -> Option<Vec<Text>> {
        if let DeValue::String(_) = entry.value {
            return Some(vec![self.string(entry)?]);
        }
        let mut texts: Vec<Text> = Vec::new();
        for element in self.list(entry, "a list of strings")? {
            if let Some(text) = self.string(element) {
                if texts.iter().any(|other| other.text == text.text) {
                    self.note(text.span, Problem::Repeated { name: text.text, key: entry.key.to_owned() });
                } else {
                    texts.push(text);
                }
            }
        }
        Some(texts)
    }

    /// A whole number from `least` to 2^63 - 1.
    pub(super) fn integer(&mut self, entry: Entry<'_>, least: u64) -> Option<u64> {
        let DeValue::Integer(integer) = entry.value else {
            self.wrong_type(entry, "a whole number");
            return None;
        };
        let value = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        match value
            .and_then(|value| u64::try_from(value).ok())
            .filter(|&value| value >= least && value <= i64::MAX as u64)
        {
            Some(value) => Some(value),
            None => {
                let key = entry.key.to_owned();
                let negative_or_small = value.is_some_and(|value| value < i128::from(least));
                let problem = if negative_or_small {
                    Problem::OutOfRange {
                        key,
                        value: integer.to_string(),
                        wanted: format!("a whole number of at least {least}"),
                    }
                } else {
                    Problem::Overflow {
                        what: format!("`{key}`"),
                        detail: format!("{integer} is more than 2^63 - 1"),
                    }
                };
                self.note(entry.span, problem);
                None
            }
        }
    }

    pub(super) fn number(&mut self, entry: Entry<'_>) -> Option<f64> {
        let value = match entry.value {
            DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
            DeValue::Integer(integer) => {
                i128::from_str_radix(integer.as_str(), integer.radix()).ok().map(|value| value as f64)
            }
            _ => None,
        };
        if value.is_none() {
            self.wrong_type(entry, "a number");
        }
        value
    }

    pub(super) fn boolean(&mut self, entry: Entry<'_>) -> Option<bool> {
        let value = entry.value.as_bool();
        if value.is_none() {
            self.wrong_type(entry, "`true` or `false`");
        }
        value
    }

    /// A size expression; its names are not looked at.
    pub(super) fn expression(&mut self, text: &Text) -> Option<SizeExpr> {
        match SizeExpr::parse(&text.text) {
            Ok(expr) => Some(expr),
            Err(error) => {
                self.note(
                    text.map.span(error.offset, error.len),
                    Problem::SizeExpression { message: error.message },
                );
                None
            }
        }
    }

    /// Complains about the names of an expression that are not among `known`.
    pub(super) fn expression_names(&mut self, text: &Text, expr: &SizeExpr, known: &[&str]) -> bool {
        let mut fine = true;
        for name in expr.names().iter().filter(|name| !known.contains(&name.as_str())) {
            let (offset, len) =
                find_word(&text.text, name).map_or((0, text.text.len()), |offset| (offset, name.len()));
            self.undefined_size(text.map.span(offset, len), name, known);
            fine = false;
        }
        fine
    }

    pub(super) fn undefined_size(&mut self, span: Span, name: &str, known: &[&str]) {
        let problem = Problem::UndefinedSize {
            name: name.to_owned(),
            close: did_you_mean(name, known.iter().copied()).map(str::to_owned),
            known: known.iter().map(|&name| name.to_owned()).collect(),
        };
        self.note(span, problem);
    }
}

/// Where a name stands as a whole word.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .find(|&at| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}
