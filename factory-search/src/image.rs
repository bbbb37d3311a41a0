//! Machine code that an assembler made of a candidate's PTX.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A cubin, and of which PTX it was made.
///
/// A driver compiles PTX itself, which takes it some 0.1 s; what ptxas made of the same text, on all cores, is loaded in a
/// hundredth of that. It serves to find out which candidates are worth more: what is sealed is the PTX, and what is said of a
/// winner was measured on what the driver's own compiler made of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// SHA-256 of the PTX.
    of: [u8; 32],
    /// The file, as ptxas wrote it.
    bytes: serde_bytes::ByteBuf,
}

impl Image {
    /// What an assembler made of this PTX.
    pub fn new(ptx: &str, bytes: Vec<u8>) -> Image {
        Image { of: Sha256::digest(ptx).into(), bytes: bytes.into() }
    }

    /// Its bytes, if it was made of this PTX: a candidate's text may have changed since.
    pub fn bytes_for(&self, ptx: &str) -> Option<&[u8]> {
        (self.of[..] == Sha256::digest(ptx)[..]).then_some(&self.bytes[..])
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn an_image_serves_the_text_that_it_was_made_of_and_no_other() {
        let image = Image::new(".version 9.0", vec![1, 2]);
        assert_eq!(image.bytes_for(".version 9.0"), Some(&[1, 2][..]));
        assert_eq!(image.bytes_for(".version 8.0"), None);
    }
}
