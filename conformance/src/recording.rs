//! The GPU's answers, as they are kept: little-endian, one file a group.
//!
//! A file begins with [`MAGIC`] and the length and text of a line that says where and when it was recorded. Then for each
//! form: length and bytes of its name, the digest of its kernel and inputs, the number of raw bytes, the raw bytes,
//! the number of hashes, the hashes.

use std::collections::BTreeMap;

use crate::form::Form;

const MAGIC: &[u8; 8] = b"KFANSW1\n";

/// What was recorded of one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// [`Form::digest`] when it was recorded.
    pub digest: u64,
    /// Answers of the first cases.
    pub raw: Vec<u8>,
    /// Hashes of the runs of cases behind them.
    pub hashes: Vec<u64>,
}

/// What was recorded of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Device, driver and date.
    pub origin: String,
    /// By name of the form.
    pub entries: BTreeMap<String, Entry>,
}

/// Why a file is no recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// Another kind of file.
    #[error("it does not begin as a recording does")]
    Magic,
    /// It ends in the middle.
    #[error("it ends early, at byte {0}")]
    Short(usize),
    /// A name is not UTF-8.
    #[error("a name is not UTF-8")]
    Name,
}

/// FNV-1a over 64-bit words, finished so that every bit counts.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325u64 ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
        state ^= state >> 29;
    }
    state = (state ^ (state >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    state ^ (state >> 32)
}

impl Entry {
    /// The compact form of a form's answers.
    pub fn new(form: &Form, answers: &[u8]) -> Entry {
        let stride = form.output.stride;
        let raw = (form.raw_cases * stride).min(answers.len());
        Entry {
            digest: form.digest(),
            raw: answers[..raw].to_vec(),
            hashes: answers[raw..].chunks((form.run * stride).max(1)).map(hash).collect(),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordingError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(RecordingError::Short(self.at))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<usize, RecordingError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    }

    fn u64(&mut self) -> Result<u64, RecordingError> {
        let mut word = [0; 8];
        word.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(word))
    }

    fn text(&mut self) -> Result<String, RecordingError> {
        let length = self.u32()?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| RecordingError::Name)
    }
}

impl Recording {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// When they are no recording.
    pub fn read(bytes: &[u8]) -> Result<Recording, RecordingError> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(RecordingError::Magic);
        }
        let mut recording = Recording { origin: reader.text()?, entries: BTreeMap::new() };
        while reader.at < bytes.len() {
            let name = reader.text()?;
            let digest = reader.u64()?;
            let length = reader.u32()?;
            let raw = reader.take(length)?.to_vec();
            let count = reader.u32()?;
            let hashes = (0..count).map(|_| reader.u64()).collect::<Result<_, _>>()?;
            recording.entries.insert(name, Entry { digest, raw, hashes });
        }
        Ok(recording)
    }

    /// The bytes of a file.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        text(&mut bytes, &self.origin);
        for (name, entry) in &self.entries {
            text(&mut bytes, name);
            bytes.extend(entry.digest.to_le_bytes());
            bytes.extend((entry.raw.len() as u32).to_le_bytes());
            bytes.extend(&entry.raw);
            bytes.extend((entry.hashes.len() as u32).to_le_bytes());
            for hash in &entry.hashes {
                bytes.extend(hash.to_le_bytes());
            }
        }
        bytes
    }
}
