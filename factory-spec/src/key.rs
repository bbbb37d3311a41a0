//! Keys: what a kernel is known by.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A SHA-256 digest that names a meaning or a search.
///
/// Both are digests of a canonical text ([`BoundSpec::canonical`](crate::BoundSpec::canonical)), the same on every
/// machine; its first line has the version of its form.
///
/// | | `meaning` | `key` |
/// | --- | --- | --- |
/// | sizes with their bounds, constraints | yes | yes |
/// | arguments: order, names, dtypes after binding, shapes, row strides, roles, values of scalars | yes | yes |
/// | the program as its graph; or the C function's name, its text, and the order of the sizes, which it gets by position | yes | yes |
/// | `[correct]`: cases, kinds of inputs, tolerance | yes | yes |
/// | `[better]`: minimize, over, require, allow | no | yes |
/// | `[targets]` | no | yes |
/// | name, doc, comments, spelling, order of tables, keys, sizes, cases and statements, names of locals, unused statements, names of dtype variables, `[search]`, paths | no | no |
///
/// A winner is stored under its `key`: another thing to minimise may have another winner. What was proved correct under
/// one `key` is correct under every other of the same `meaning`. The order of operands is meaning, since the oracle's
/// bits depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    /// The digest of a text.
    pub fn of(text: &str) -> Key {
        Key(Sha256::digest(text.as_bytes()).into())
    }

    /// The digest's bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hexadecimal digits: enough to tell the kernels of one crate apart, and what folders are named by.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }

    /// Reads 64 hexadecimal digits, lower case.
    pub fn parse(text: &str) -> Option<Key> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Key(bytes))
    }
}

/// The SHA-256 of some bytes, as 64 lower-case hexadecimal digits.
pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    Key(Sha256::digest(bytes).into()).to_string()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        let text = String::deserialize(deserializer)?;
        Key::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!("`{text}` is not a key of 64 hexadecimal digits"))
        })
    }
}
