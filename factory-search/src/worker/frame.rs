//! Messages on a pipe: four bytes of length, little-endian, then MessagePack with named fields, in which infinities are numbers
//! and bytes of tensors are bytes, then a line feed: launchers such as `srun` pass on whole lines.
//!
//! A length tells garbage from a message at once: whatever a launcher prints to standard output (a banner, a warning)
//! reads as a length far beyond [`LARGEST`], and its first bytes are quoted in the error.

use std::io::{self, ErrorKind, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Bytes of a message at most. Four printable characters read as a length are always more: a space is `0x20`.
pub const LARGEST: u32 = 0x1fff_ffff;

/// Bytes that may come before a marker.
pub const BANNER: usize = 1 << 16;

/// Why no message could be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The other side closed the pipe between two messages.
    #[error("the other side closed the connection")]
    Closed,
    /// The other side closed the pipe in the middle of a message.
    #[error("the connection ended after {read} bytes of a message of {length}")]
    Cut {
        /// Bytes that came.
        read: usize,
        /// Bytes that were announced.
        length: usize,
    },
    /// What came is not a message.
    #[error("`{bytes}` came instead of a message; does the launcher print to standard output?")]
    Garbage {
        /// The first bytes, escaped.
        bytes: String,
    },
    /// A message is longer than [`LARGEST`].
    #[error("a message of {length} bytes is longer than the {LARGEST} that the protocol allows")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// A message of the right form that is none of the protocol's.
    #[error("a message cannot be understood: {message}")]
    Unknown {
        /// What the reader says.
        message: String,
    },
    /// The pipe itself failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// Writes one message.
///
/// # Errors
/// It is too long, or the pipe fails.
pub fn write(to: &mut impl Write, message: &impl Serialize) -> Result<(), FrameError> {
    let packed = rmp_serde::to_vec_named(message)
        .map_err(|error| FrameError::Unknown { message: error.to_string() })?;
    let length = u32::try_from(packed.len()).ok().filter(|length| *length <= LARGEST);
    let length = length.ok_or(FrameError::TooLong { length: packed.len() })?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&packed)?;
    to.write_all(b"\n")?;
    Ok(to.flush()?)
}

/// Reads one message.
///
/// # Errors
/// The pipe is closed or fails, or what comes is no message.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> Result<T, FrameError> {
    let mut head = [0; 4];
    match fill(from, &mut head)? {
        0 => return Err(FrameError::Closed),
        4 => {}
        few => return Err(garbage(&head[..few])),
    }
    let length = u32::from_le_bytes(head);
    if length > LARGEST {
        // What is there already: whoever prints a banner may well keep the pipe open.
        let mut more = [0; 60];
        let read = from.read(&mut more).unwrap_or(0);
        return Err(garbage(&[&head, &more[..read]].concat()));
    }
    let mut packed = Vec::new();
    // Grows with what really comes: a false length costs no memory.
    let read = from.take(u64::from(length)).read_to_end(&mut packed)?;
    if read < length as usize {
        return Err(FrameError::Cut { read, length: length as usize });
    }
    let mut end = [0];
    if fill(from, &mut end)? == 0 || end != *b"\n" {
        return Err(FrameError::Cut { read, length: length as usize + 1 });
    }
    rmp_serde::from_slice(&packed).map_err(|error| FrameError::Unknown { message: error.to_string() })
}

/// Reads past a marker, whatever comes before it.
///
/// # Errors
/// None comes in the first [`BANNER`] bytes, or the pipe ends.
pub fn pass(from: &mut impl Read, marker: &[u8]) -> Result<(), FrameError> {
    let mut seen: Vec<u8> = Vec::new();
    let mut byte = [0];
    while seen.len() < BANNER {
        if fill(from, &mut byte)? == 0 {
            return Err(if seen.is_empty() {
                FrameError::Closed
            } else {
                garbage(&seen[..seen.len().min(64)])
            });
        }
        seen.push(byte[0]);
        if seen.ends_with(marker) {
            return Ok(());
        }
    }
    Err(garbage(&seen[..64]))
}

/// Reads until the buffer is full or the pipe ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match from.read(&mut buffer[at..]) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

fn garbage(bytes: &[u8]) -> FrameError {
    FrameError::Garbage { bytes: bytes.escape_ascii().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back() {
        let mut pipe = Vec::new();
        write(&mut pipe, &vec![1, 2, 3]).unwrap();
        write(&mut pipe, &"next").unwrap();
        let mut from = pipe.as_slice();
        assert_eq!(read::<Vec<u32>>(&mut from).unwrap(), [1, 2, 3]);
        assert_eq!(read::<String>(&mut from).unwrap(), "next");
        assert!(matches!(read::<String>(&mut from), Err(FrameError::Closed)));
    }

    #[test]
    fn a_banner_is_quoted() {
        let error = read::<String>(&mut &b"Welcome to node7\n"[..]).unwrap_err();
        assert!(error.to_string().contains(r"Welcome to node7\n"), "{error}");
        let error = read::<String>(&mut &b"hi"[..]).unwrap_err();
        assert!(matches!(error, FrameError::Garbage { .. }), "{error}");
    }

    #[test]
    fn a_message_cut_short_says_where() {
        let mut pipe = Vec::new();
        write(&mut pipe, &"a message").unwrap();
        let error = read::<String>(&mut &pipe[..7]).unwrap_err();
        assert!(matches!(error, FrameError::Cut { read: 3, length: 10 }), "{error}");
    }

    #[test]
    fn a_message_of_another_form_is_no_message() {
        let mut pipe = Vec::new();
        write(&mut pipe, &1).unwrap();
        assert!(matches!(read::<String>(&mut pipe.as_slice()), Err(FrameError::Unknown { .. })));
    }
}
