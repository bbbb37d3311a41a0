//! What inputs are filled with.

use super::random::Random;
use crate::{DType, InputKind};

/// One element in this many is out of the ordinary for `infinite` and `nan`.
const RARE: u64 = 37;

/// Values of a kind, rounded to a dtype. `row` is the length of the innermost rows.
pub(super) fn fill(kind: InputKind, dtype: DType, count: usize, row: usize, random: &mut Random) -> Vec<f64> {
    let mut values = if dtype.is_float() {
        floats(kind, dtype, count, random)
    } else {
        integers(kind, dtype, count, random)
    };
    if kind == InputKind::OneHot {
        for row in values.chunks_mut(row.max(1)) {
            let hot = random.below(row.len() as u64) as usize;
            row[hot] = random.sign() * (1.0 + random.below(8) as f64 * 0.25);
        }
    }
    rescale(kind, dtype, &mut values, random);
    dtype.round_slice(&mut values);
    values
}

/// Neighbours that share a scale in `blocks`.
const BLOCK: usize = 32;

/// Makes small and large values of ordinary ones, for the kinds in which both stand side by side.
fn rescale(kind: InputKind, dtype: DType, values: &mut [f64], random: &mut Random) {
    if values.is_empty() {
        return;
    }
    let (small, large) = match dtype {
        DType::I8 | DType::U8 => (-4, 1),
        DType::F8E4M3 => (-3, 3),
        DType::F16 | DType::F8E5M2 => (-6, 6),
        _ => (-8, 8),
    };
    let count = values.len();
    match kind {
        InputKind::Prefix | InputKind::Shuffled => {
            let quarter = (count / 4).max(1);
            let prefix = quarter + random.below((count / 2 + 1) as u64) as usize;
            for (index, value) in values.iter_mut().enumerate() {
                *value *= power(if index < prefix { small } else { large });
            }
        }
        InputKind::Outlier => {
            values.iter_mut().for_each(|value| *value *= power(small));
            let at = random.below(count as u64) as usize;
            values[at] = random.sign()
                * power(large)
                * (1.0 + random.unit())
                * if dtype.is_float() { 1.0 } else { 32.0 };
        }
        InputKind::Blocks => {
            for block in values.chunks_mut(BLOCK) {
                let scale = power(small + random.below((large - small + 1) as u64) as i32);
                block.iter_mut().for_each(|value| *value *= scale);
            }
        }
        _ => {}
    }
    if kind == InputKind::Shuffled {
        for last in (1..count).rev() {
            values.swap(last, random.below(last as u64 + 1) as usize);
        }
    }
}

/// The powers of two between which the type's ordinary values lie, low and high, such that squares and their sums
/// neither overflow nor vanish in the precision that a kernel would work in.
fn range(dtype: DType) -> (i32, i32) {
    match dtype {
        DType::F64 => (-200, 200),
        DType::F32 | DType::BF16 => (-40, 40),
        DType::F16 | DType::F8E5M2 => (-13, 13),
        _ => (-6, 7),
    }
}

fn power(exponent: i32) -> f64 {
    // Within the range of normal numbers, so the bits are those of the power.
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

fn floats(kind: InputKind, dtype: DType, count: usize, random: &mut Random) -> Vec<f64> {
    let (low, high) = range(dtype);
    let mut index = 0u64;
    // Whole numbers up to this are exact.
    let whole = (1.0 / dtype.epsilon()).min(512.0) as u64;
    let constant = [0.75, -1.5, 2.5, 0.625][random.below(4) as usize];
    let one = || {
        let value = match kind {
            InputKind::Normal
            | InputKind::Prefix
            | InputKind::Outlier
            | InputKind::Blocks
            | InputKind::Shuffled => random.normal(),
            InputKind::Uniform => 2.0 * random.unit() - 1.0,
            InputKind::Ones => 1.0,
            InputKind::Constant => constant,
            InputKind::Huge => random.sign() * power(high) * (1.0 + random.unit()),
            InputKind::Tiny => random.sign() * power(low) * (1.0 + random.unit()),
            InputKind::Subnormal => {
                let steps = (dtype.min_normal() / dtype.min_positive()).min(1e15) as u64;
                random.sign() * dtype.min_positive() * (1 + random.below(steps - 1)) as f64
            }
            InputKind::Mixed => {
                let (low, high) = (low.max(-10), high.min(10));
                let exponent = low + random.below((high - low) as u64) as i32;
                random.sign() * power(exponent) * (1.0 + random.unit())
            }
            InputKind::Alternating => constant.abs() * if index.is_multiple_of(2) { 1.0 } else { -1.0 },
            InputKind::Iota => (index % whole) as f64,
            InputKind::Infinite if random.below(RARE) == 0 => random.sign() * f64::INFINITY,
            InputKind::Nan if random.below(RARE) == 0 => f64::NAN,
            InputKind::Infinite | InputKind::Nan => random.normal(),
            InputKind::Zeros | InputKind::OneHot => 0.0,
        };
        index += 1;
        value
    };
    std::iter::repeat_with(one).take(count).collect()
}

fn integers(kind: InputKind, dtype: DType, count: usize, random: &mut Random) -> Vec<f64> {
    let (low, high) = match dtype {
        DType::I8 | DType::U8 => (dtype.round(f64::NEG_INFINITY), dtype.max_value()),
        // Wider ones keep sums and products of a few exact in f64.
        DType::U32 => (0.0, 4_294_967_295.0),
        DType::I64 => (-(power(40)), power(40)),
        _ => (-2_147_483_648.0, 2_147_483_647.0),
    };
    let signed = low < 0.0;
    let small = if matches!(dtype, DType::I8 | DType::U8) { high } else { 1000.0 };
    let mut index = 0u64;
    let one = || {
        let sign = if signed { random.sign() } else { 1.0 };
        let value = match kind {
            InputKind::Normal
            | InputKind::Prefix
            | InputKind::Outlier
            | InputKind::Blocks
            | InputKind::Shuffled => sign * (random.normal() * 16.0).abs().min(high),
            InputKind::Ones => 1.0,
            InputKind::Constant => 3.0,
            InputKind::Huge if sign < 0.0 => low + random.below(8) as f64,
            InputKind::Huge => high - random.below(8) as f64,
            InputKind::Tiny | InputKind::Subnormal => sign * random.below(2) as f64,
            InputKind::Mixed => {
                let bits = if matches!(dtype, DType::I8 | DType::U8) { 7 } else { 20 };
                let limit = 1 << random.below(bits + 1);
                sign * random.below(limit) as f64
            }
            InputKind::Alternating if index % 2 == 1 => {
                if signed {
                    -3.0
                } else {
                    0.0
                }
            }
            InputKind::Alternating => 3.0,
            InputKind::Iota => (index % 128) as f64,
            InputKind::Zeros | InputKind::OneHot => 0.0,
            InputKind::Uniform | InputKind::Infinite | InputKind::Nan => {
                let (low, high) = if signed { (-small, small) } else { (0.0, small) };
                low + random.below((high - low) as u64 + 1) as f64
            }
        };
        index += 1;
        value
    };
    std::iter::repeat_with(one).take(count).collect()
}
