//! Number formats and layouts of the probe's matrices.

use std::ops::Range;

/// Type of the elements of A or B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    F16,
    BF16,
    Tf32,
    E4M3,
    E5M2,
    E2M3,
    E3M2,
    E2M1,
    /// Two in a byte.
    Pairs,
    U8,
    S8,
}

impl Format {
    /// Code in the instruction descriptor.
    pub(super) fn code(self) -> u32 {
        match self {
            Format::F16 | Format::E4M3 | Format::U8 => 0,
            Format::BF16 | Format::E5M2 | Format::S8 | Format::Pairs => 1,
            Format::Tf32 => 2,
            Format::E2M3 => 3,
            Format::E3M2 => 4,
            Format::E2M1 => 5,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Format::Tf32 => 4,
            Format::F16 | Format::BF16 => 2,
            _ => 1,
        }
    }

    /// K of one multiply: always 32 bytes.
    pub(super) fn depth(self) -> usize {
        2 * self.each()
    }

    /// Elements in 16 bytes.
    fn each(self) -> usize {
        if self == Format::Pairs { 32 } else { 16 / self.bytes() }
    }
}

/// The bits of an integer from -5 to 5.
pub(super) fn encode(format: Format, value: i32) -> u32 {
    let float = value as f32;
    // Sign, exponent bits and fraction bits of the small formats.
    let small = |e: u32, m: u32| {
        let bits = float.to_bits();
        let sign = (bits >> 31) << (e + m);
        if value == 0 {
            return sign;
        }
        let exponent = (bits >> 23 & 0xff) as i32 - 127 + (1 << (e - 1)) - 1;
        sign | (exponent as u32) << m | (bits >> (23 - m)) & ((1 << m) - 1)
    };
    match format {
        Format::F16 => u32::from(half::f16::from_f32(float).to_bits()),
        Format::BF16 => u32::from(half::bf16::from_f32(float).to_bits()),
        Format::Tf32 => float.to_bits(),
        Format::E4M3 => small(4, 3),
        Format::E5M2 => small(5, 2),
        Format::E2M3 => small(2, 3),
        Format::E3M2 => small(3, 2),
        Format::E2M1 | Format::Pairs => small(2, 1),
        Format::U8 | Format::S8 => value as u32 & 0xff,
    }
}

/// Rows of small integers.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    depth: usize,
    values: Vec<i32>,
    /// Scale factors, row by row.
    pub(super) factors: Vec<u8>,
}

impl Matrix {
    pub(super) fn fill(rows: usize, depth: usize, mut value: impl FnMut() -> i32) -> Matrix {
        Matrix { depth, values: (0..rows * depth).map(|_| value()).collect(), factors: Vec::new() }
    }

    pub(super) fn at(&self, row: usize, k: usize) -> i32 {
        self.values[row * self.depth + k]
    }
}

/// Where a matrix lies; swizzles are named by their code in the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// K-major.
    Rows(u64),
    /// M- or N-major.
    Columns(u64),
    /// Tensor memory (A alone).
    Tensor,
}

/// Distances of the leading dimension and of the stride dimension, in bytes, for a matrix of so many rows.
fn distances(place: Place, format: Format, rows: usize) -> (usize, usize) {
    let units = rows.div_ceil(format.each());
    let deep = format.depth();
    match place {
        Place::Rows(0) => (128, 256),
        Place::Rows(6) => (16, 256),
        Place::Rows(4) => (16, 512),
        Place::Columns(0) => (128 * units, 128),
        Place::Columns(6) => (256 * deep / 8, 256),
        Place::Columns(4) => (512 * deep / 8, 512),
        Place::Columns(1) => (512 * deep / 4, 512),
        Place::Columns(_) => (1024 * deep / 8, 1024),
        Place::Rows(_) | Place::Tensor => (16, 1024),
    }
}

impl Place {
    /// The descriptor without its address.
    pub(super) fn descriptor(self, format: Format, rows: usize) -> u64 {
        let (Place::Rows(swizzle) | Place::Columns(swizzle)) = self else { return 0 };
        let (leading, stride) = distances(self, format, rows);
        (leading as u64 >> 4 & 0x3fff) << 16 | (stride as u64 >> 4 & 0x3fff) << 32 | 1 << 46 | swizzle << 61
    }
}

/// The bytes of some rows of a matrix as they lie in memory, 32 KiB. `lanes` says where a row lies in tensor memory,
/// of which a lane has 32 bytes.
pub(super) fn image(
    matrix: &Matrix,
    rows: Range<usize>,
    format: Format,
    place: Place,
    lanes: impl Fn(usize) -> Vec<usize>,
) -> Vec<u8> {
    let mut bytes = vec![0u8; 32_768];
    let each = format.each();
    let (leading, stride) = distances(place, format, rows.len());
    for (row, source) in rows.enumerate() {
        for k in 0..matrix.depth {
            let bits = encode(format, matrix.at(source, k));
            // The unit of 16 bytes, and the element's number in it.
            let (unit, inside) = match place {
                Place::Rows(swizzle) => {
                    let unit = k / each;
                    let start = match swizzle {
                        0 => row / 8 * stride + unit * leading + row % 8 * 16,
                        6 => row / 8 * stride + row % 8 * 32 + (unit ^ (row % 8 / 4)) * 16,
                        4 => row / 8 * stride + row % 8 * 64 + (unit ^ (row % 8 / 2)) * 16,
                        _ => row / 8 * stride + row % 8 * 128 + (unit ^ (row % 8)) * 16,
                    };
                    (start, k % each)
                }
                Place::Columns(swizzle) => {
                    let unit = row / each;
                    let start = match swizzle {
                        0 => k / 8 * leading + unit * stride + k % 8 * 16,
                        6 => {
                            unit / 2 * leading + k / 8 * stride + k % 8 * 32 + ((unit % 2) ^ (k % 8 / 4)) * 16
                        }
                        4 => {
                            unit / 4 * leading + k / 8 * stride + k % 8 * 64 + ((unit % 4) ^ (k % 8 / 2)) * 16
                        }
                        1 => {
                            let pair = (unit % 8 / 2) ^ (k % 4);
                            unit / 8 * leading + k / 4 * stride + k % 4 * 128 + pair * 32 + unit % 2 * 16
                        }
                        _ => unit / 8 * leading + k / 8 * stride + k % 8 * 128 + ((unit % 8) ^ (k % 8)) * 16,
                    };
                    (start, row % each)
                }
                Place::Tensor => {
                    for lane in lanes(row) {
                        if format == Format::Pairs {
                            bytes[lane * 32 + k / 2] |= (bits << (4 * (k % 2))) as u8;
                            continue;
                        }
                        let at = lane * 32 + k * format.bytes();
                        let bits = if format == Format::E2M1 { bits << 2 } else { bits };
                        bytes[at..at + format.bytes()].copy_from_slice(&bits.to_le_bytes()[..format.bytes()]);
                    }
                    continue;
                }
            };
            let width = match format {
                Format::E2M3 | Format::E3M2 => 6,
                Format::E2M1 | Format::Pairs => 4,
                _ => 8 * format.bytes(),
            };
            let mut packed = u128::from_le_bytes(bytes[unit..unit + 16].try_into().expect("16 bytes"));
            packed |= u128::from(bits) << (width * inside);
            bytes[unit..unit + 16].copy_from_slice(&packed.to_le_bytes());
        }
    }
    bytes
}

/// Lane and column of a row of one block and a column of D (PTX ISA, data path layouts A to G).
pub(super) fn cell(
    m: usize,
    pair: bool,
    weights: bool,
    row: usize,
    column: usize,
    n: usize,
) -> (usize, usize) {
    match (m, pair, weights) {
        // F
        (64, false, false) => (row / 16 * 32 + row % 16, column),
        // B and E
        (128, true, _) | (64, false, true) => {
            if column < n / 2 {
                (row, column)
            } else {
                (64 + row, column - n / 2)
            }
        }
        // G
        (32, ..) => (row + column / (n / 4) * 32, column % (n / 4)),
        // A and D
        _ => (row, column),
    }
}

/// Puts the scale factors of rows of A and columns of B behind A in its image: `count` bytes each, beginning at a byte
/// of a word.
pub(super) fn put_factors(image: &mut [u8], a: &[u8], b: &[u8], count: usize, byte: usize) {
    for (column, factors) in [(0, a), (4, b)] {
        for (at, factor) in factors.iter().enumerate() {
            let (row, k) = (at / count, at % count);
            image[24_576 + row % 32 * 48 + (column + row / 32) * 4 + byte + k] = *factor;
        }
    }
}
