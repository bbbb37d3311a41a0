//! JSON files of fixed form: pretty, with a trailing newline, the same bytes for the same value, strict when read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why a JSON text is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Written by a newer version of the tool
    #[error(
        "its schema is {found}, but this version of Kernel Factory reads schema {known}; update Kernel Factory, or make the kernel again"
    )]
    Newer {
        /// The schema of the text
        found: u64,
        /// The schema that is known
        known: u32,
    },
    /// Written by an older version of the tool
    #[error(
        "its schema is {found}, but this version of Kernel Factory reads schema {known}; make the kernel again"
    )]
    Older {
        /// The schema of the text
        found: u64,
        /// The schema that is known
        known: u32,
    },
    /// It ends too early
    #[error("it is cut off: {0}")]
    Truncated(String),
    /// Not JSON, or not of this form
    #[error("{0}")]
    Form(String),
}

/// What is read of a file of any version.
#[derive(Deserialize)]
struct Head {
    schema: Option<serde_json::Value>,
}

/// Reads a value whose object has a field `schema`.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, known: u32) -> Result<T, JsonError> {
    let form = |error: serde_json::Error| {
        if error.is_eof() {
            JsonError::Truncated(error.to_string())
        } else {
            JsonError::Form(error.to_string())
        }
    };
    // The schema is looked at first: other fields may well have other forms in another version. They are passed over
    // rather than kept: a build script, which is not optimised, reads a lot of this.
    let head = match serde_json::from_str::<Head>(text) {
        Ok(head) => head,
        Err(error) if error.is_data() => Head { schema: None },
        Err(error) => return Err(form(error)),
    };
    let found = head
        .schema
        .as_ref()
        .and_then(serde_json::Value::as_u64)
        .ok_or_else(|| JsonError::Form("the field `schema` is missing".to_owned()))?;
    if found > u64::from(known) {
        return Err(JsonError::Newer { found, known });
    }
    if found < u64::from(known) {
        return Err(JsonError::Older { found, known });
    }
    serde_json::from_str(text).map_err(form)
}

/// The file's text.
pub(crate) fn print<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("these types have string keys and cannot fail");
    text.push('\n');
    text
}
