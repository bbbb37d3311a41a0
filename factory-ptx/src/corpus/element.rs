//! Types of arguments.

use std::fmt;

/// The `index`th number of the sequence `seed`: SplitMix64.
fn mix(seed: u64, index: u64) -> u64 {
    let mut z =
        seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Element type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of PTX")]
pub enum Element {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F16,
    BF16,
    F32,
    F64,
}

impl Element {
    pub(super) const NAMES: [(Element, &'static str); 12] = [
        (Element::U8, "u8"),
        (Element::S8, "s8"),
        (Element::U16, "u16"),
        (Element::S16, "s16"),
        (Element::U32, "u32"),
        (Element::S32, "s32"),
        (Element::U64, "u64"),
        (Element::S64, "s64"),
        (Element::F16, "f16"),
        (Element::BF16, "bf16"),
        (Element::F32, "f32"),
        (Element::F64, "f64"),
    ];

    /// Bytes.
    pub fn size(self) -> usize {
        match self {
            Element::U8 | Element::S8 => 1,
            Element::U16 | Element::S16 | Element::F16 | Element::BF16 => 2,
            Element::U32 | Element::S32 | Element::F32 => 4,
            Element::U64 | Element::S64 | Element::F64 => 8,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Element::F16 | Element::BF16 | Element::F32 | Element::F64)
    }

    /// The bits of a value as written.
    pub(super) fn bits(self, word: &str) -> Option<u64> {
        let word = word.trim();
        if let Some(hex) = word.strip_prefix("0x") {
            return u64::from_str_radix(hex, 16).ok();
        }
        if !self.is_float() {
            return word.parse::<i128>().ok().map(|value| value as u64);
        }
        let value: f64 = word.parse().ok()?;
        Some(match self {
            Element::F64 => value.to_bits(),
            Element::F32 => u64::from((value as f32).to_bits()),
            Element::F16 => u64::from(half::f16::from_f64(value).to_bits()),
            _ => u64::from(half::bf16::from_f64(value).to_bits()),
        })
    }

    /// `count` values drawn evenly from `low` to below `high`.
    pub(super) fn random_floats(self, count: u32, seed: u64, low: f64, high: f64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for index in 0..u64::from(count) {
            // 24 bits, so that every value is a float of 32 bits before its scaling.
            let unit = (mix(seed, index) >> 40) as f64 / f64::from(1 << 24);
            let value = low + (high - low) * unit;
            let bits = match self {
                Element::F64 => value.to_bits(),
                Element::F32 => u64::from((value as f32).to_bits()),
                Element::F16 => u64::from(half::f16::from_f64(value).to_bits()),
                _ => u64::from(half::bf16::from_f64(value).to_bits()),
            };
            bytes.extend_from_slice(&bits.to_le_bytes()[..self.size()]);
        }
        bytes
    }

    /// `count` values from a range, or of all bit patterns.
    pub(super) fn random_integers(
        self,
        count: u32,
        seed: u64,
        range: Option<std::ops::Range<i128>>,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        for index in 0..u64::from(count) {
            let drawn = mix(seed, index);
            let value = match &range {
                None => drawn,
                Some(range) => {
                    (range.start + i128::from(drawn >> 1) % range.end.saturating_sub(range.start)) as u64
                }
            };
            bytes.extend_from_slice(&value.to_le_bytes()[..self.size()]);
        }
        bytes
    }

    /// The value of one element as f64 (integers too).
    pub fn value(self, bytes: &[u8]) -> f64 {
        let mut wide = [0; 8];
        wide[..self.size()].copy_from_slice(&bytes[..self.size()]);
        let bits = u64::from_le_bytes(wide);
        match self {
            Element::U8 | Element::U16 | Element::U32 | Element::U64 => bits as f64,
            Element::S8 => f64::from(bits as i8),
            Element::S16 => f64::from(bits as i16),
            Element::S32 => f64::from(bits as i32),
            Element::S64 => bits as i64 as f64,
            Element::F16 => half::f16::from_bits(bits as u16).to_f64(),
            Element::BF16 => half::bf16::from_bits(bits as u16).to_f64(),
            Element::F32 => f64::from(f32::from_bits(bits as u32)),
            Element::F64 => f64::from_bits(bits),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Element::NAMES.iter().find(|(element, _)| element == self).map_or("", |(_, name)| name))
    }
}
