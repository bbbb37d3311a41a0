//! Where a `wgmma` operand lies in shared memory (PTX ISA, "Matrix descriptor" and "Strides" of wgmma).
//!
//! An operand has 32 bytes along K, and its bytes come in chunks of 16 that lie together. Eight rows of one chunk are a
//! core matrix.
//!
//! | major | swizzle | a chunk lies at |
//! |---|---|---|
//! | K | none | `(row % 8) * 16 + (row / 8) * stride + chunk * leading` |
//! | K | `w` bytes | `(row % 8) * w + (row / 8) * stride + chunk * 16` |
//! | M or N | none | `(k % 8) * 16 + (k / 8) * leading + chunk * stride` |
//! | M or N | `w` bytes | `(k % 8) * w + (k / 8) * stride + (chunk / (w / 16)) * leading + (chunk % (w / 16)) * 16` |
//!
//! A swizzle of `w` bytes then changes bits 4 to `log2 w - 1` of the address by bits 7 and up of the same address, so
//! that the pattern repeats every `8 w` bytes.

/// Bytes along K of one `wgmma` operand.
pub(crate) const DEPTH: usize = 32;
/// Bytes that lie together.
pub(crate) const CHUNK: usize = 16;

/// A matrix descriptor, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// Address in shared memory, a multiple of 16.
    pub(crate) start: u64,
    /// Leading-dimension byte offset.
    pub(crate) leading: u64,
    /// Stride-dimension byte offset.
    pub(crate) stride: u64,
    /// Base offset, in units of 128 bytes.
    pub(crate) base: u64,
    /// Bytes of a row of the swizzle pattern: 16 (none), 32, 64, 128.
    pub(crate) width: u64,
}

impl Descriptor {
    /// Takes a descriptor apart; what is wrong with one that has reserved bits set.
    pub(crate) fn parse(bits: u64) -> Result<Descriptor, String> {
        const RESERVED: u64 = 0x3ff1_c000_c000_c000;
        if bits & RESERVED != 0 {
            return Err(format!(
                "the matrix descriptor {bits:#018x} has reserved bits set ({:#x})",
                bits & RESERVED
            ));
        }
        Ok(Descriptor {
            start: (bits & 0x3fff) << 4,
            leading: (bits >> 16 & 0x3fff) << 4,
            stride: (bits >> 32 & 0x3fff) << 4,
            base: bits >> 49 & 7,
            width: [16, 128, 64, 32][(bits >> 62) as usize],
        })
    }

    /// The address of a chunk. K-major: of row `row`, chunk `chunk` along K. Otherwise: of depth `row`, chunk `chunk`
    /// along M or N.
    pub(crate) fn chunk(&self, k_major: bool, row: usize, chunk: usize) -> u64 {
        let (row, chunk) = (row as u64, chunk as u64);
        let offset = match (k_major, self.width) {
            (true, 16) => (row / 8) * self.stride + chunk * self.leading,
            (true, _) => (row / 8) * self.stride + chunk * 16,
            (false, 16) => (row / 8) * self.leading + chunk * self.stride,
            (false, width) => {
                let across = width / 16;
                (row / 8) * self.stride + (chunk / across) * self.leading + (chunk % across) * 16
            }
        };
        self.swizzle(self.start + offset + (row % 8) * self.width)
    }

    fn swizzle(&self, address: u64) -> u64 {
        let mask = self.width / 16 - 1;
        let phase = (address >> 7).wrapping_sub(self.base);
        address ^ (phase & mask) << 4
    }
}
