//! The sum of products as the tensor cores take it, bit for bit.
//!
//! One step adds the accumulator and a block of products. The products are exact, and their exponents are the sums of
//! those of their factors (subnormals with the least exponent, nothing normalised). All terms are aligned to the
//! greatest exponent among them, zeros left out, and cut off behind a fixed number of bits, towards zero; their sum is
//! exact; it is normalised and cut off to f32, or rounded to nearest even to f16. A sum of zero is +0.
//!
//! Blocks and bits of an H200: 16 products and 25 bits for f16, bf16 and tf32; 32 products and 13 bits for 8-bit floats in
//! `wgmma`, where f32 results keep 13 bits too. This was fitted to recorded answers, which `tests/machine/tensor` replays;
//! `MACHINE.md` has the evidence. A model of these tensor cores is also in Khattak and Mikaitis, "Accurate Models of
//! NVIDIA Tensor Cores" (arXiv:2512.07004).

use super::format::{Format, INFINITY, NAN, Packed, ZERO, exponent, significand};

/// Format of C and D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    F16,
    F32,
}

/// How one instruction adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// Products that are added in one step, together with the accumulator.
    pub(crate) block: usize,
    /// Bits behind the point that the greatest term of a step keeps; the other terms are cut off there.
    pub(crate) fraction: u32,
    /// Bits behind the point of a result in f32.
    pub(crate) kept: u32,
}

impl Model {
    /// What the multiplying units of an H200 do with operands of 16 and 19 bits.
    pub(crate) const HALF: Model = Model { block: 16, fraction: 25, kept: 23 };
    /// The same for operands of 8 bits in `wgmma`.
    pub(crate) const EIGHT_BITS: Model = Model { block: 32, fraction: 13, kept: 13 };
}

/// Lanes of the inner loop: columns of D.
pub(crate) const COLUMNS: usize = 8;

/// A product of matrices: `d += a b`.
pub(crate) struct Product<'a> {
    pub(crate) model: Model,
    pub(crate) formats: (Format, Format),
    pub(crate) sum: Sum,
    /// Rows of A, columns of B (a multiple of 8), and the dimension between.
    pub(crate) shape: (usize, usize, usize),
    /// `m` rows of `k`.
    pub(crate) a: &'a [Packed],
    /// `k` rows of `n`.
    pub(crate) b: &'a [Packed],
    /// Whether A or B has an infinity or NaN.
    pub(crate) special: bool,
}

/// The bits of a canonical NaN.
const F32_NAN: u32 = 0x7fff_ffff;
const F16_NAN: u32 = 0x7fff;

/// Takes apart an f32: signed significand (23 bits behind the point) and exponent.
#[inline(always)]
fn open_f32(bits: u32) -> (i32, i32) {
    let field = (bits >> 23 & 0xff) as i32;
    let negative = (bits as i32) >> 31;
    let normal = i32::from(field != 0);
    let magnitude = (bits & 0x7f_ffff) as i32 | normal << 23;
    let exponent = if magnitude == 0 { 2 * ZERO } else { field + (1 - normal) - 127 };
    ((magnitude ^ negative) - negative, exponent)
}

/// Takes apart an f16 likewise, with 23 bits behind the point.
#[inline(always)]
fn open_f16(bits: u32) -> (i32, i32) {
    let field = (bits >> 10 & 0x1f) as i32;
    let negative = -((bits >> 15 & 1) as i32);
    let normal = i32::from(field != 0);
    let magnitude = ((bits & 0x3ff) as i32 | normal << 10) << 13;
    let exponent = if magnitude == 0 { 2 * ZERO } else { field + (1 - normal) - 15 };
    ((magnitude ^ negative) - negative, exponent)
}

/// `±magnitude · 2^scale` as f32: cut off behind `kept` bits.
fn close_f32(magnitude: u64, negative: bool, scale: i32, kept: u32) -> u32 {
    let sign = u32::from(negative) << 31;
    if magnitude == 0 {
        return 0;
    }
    let top = 63 - magnitude.leading_zeros() as i32;
    let exponent = top + scale;
    if exponent > 127 {
        return sign | 0x7f80_0000;
    }
    // The exponent of the last bit that stays.
    let last = exponent.max(-126) - kept as i32;
    let drop = last - scale;
    let mut bits = match drop {
        64.. => 0,
        0.. => magnitude >> drop,
        _ => magnitude << -drop,
    };
    bits <<= 23 - kept;
    let field = if exponent < -126 { 0 } else { (exponent + 126) as u32 };
    if bits == 0 {
        return 0;
    }
    // The leading one adds to the field.
    sign | (field << 23).wrapping_add(bits as u32)
}

/// `±magnitude · 2^scale` as f16: to nearest, ties to even.
fn close_f16(magnitude: u64, negative: bool, scale: i32) -> u32 {
    let sign = u32::from(negative) << 15;
    if magnitude == 0 {
        return 0;
    }
    let top = 63 - magnitude.leading_zeros() as i32;
    let exponent = top + scale;
    if exponent > 15 {
        return sign | 0x7c00;
    }
    let last = exponent.max(-14) - 10;
    let drop = last - scale;
    let bits = match drop {
        64.. => 0,
        1.. => {
            let cut = magnitude >> drop;
            let rest = magnitude & ((1u64 << drop) - 1);
            let half = 1u64 << (drop - 1);
            cut + u64::from(rest > half || (rest == half && cut & 1 == 1))
        }
        _ => magnitude << -drop,
    };
    if bits == 0 {
        return 0;
    }
    let field = if exponent < -14 { 0 } else { (exponent + 14) as u32 };
    sign | ((field << 10) + bits as u32)
}

/// One element of D with everything that can occur, one step of the model.
fn step(product: &Product<'_>, a: &[Packed], b: impl Fn(usize) -> Packed, c: u32) -> u32 {
    let Product { model, formats, sum, .. } = *product;
    let nan = match sum {
        Sum::F32 => F32_NAN,
        Sum::F16 => F16_NAN,
    };
    let (mut plus, mut minus) = (false, false);
    let mut infinite = |negative: bool| if negative { minus = true } else { plus = true };
    let c_infinite = match sum {
        Sum::F32 => (c & 0x7f80_0000 == 0x7f80_0000).then_some((c & 0x7f_ffff != 0, c >> 31 != 0)),
        Sum::F16 => (c & 0x7c00 == 0x7c00).then_some((c & 0x3ff != 0, c >> 15 & 1 != 0)),
    };
    match c_infinite {
        Some((true, _)) => return nan,
        Some((false, negative)) => infinite(negative),
        None => {}
    }
    let (c_significand, c_exponent) = match sum {
        Sum::F32 => open_f32(c),
        Sum::F16 => open_f16(c),
    };
    let mut greatest = c_exponent;
    for (k, &x) in a.iter().enumerate() {
        let y = b(k);
        let (ex, ey) = (exponent(x), exponent(y));
        if ex.max(ey) >= INFINITY {
            if ex == NAN || ey == NAN || significand(x) == 0 || significand(y) == 0 {
                return nan;
            }
            infinite((significand(x) < 0) != (significand(y) < 0));
        }
        greatest = greatest.max(ex + ey);
    }
    if plus || minus {
        let infinity = match sum {
            Sum::F32 => 0x7f80_0000 | u32::from(minus) << 31,
            Sum::F16 => 0x7c00 | u32::from(minus) << 15,
        };
        return if plus && minus { nan } else { infinity };
    }
    let cut = |magnitude: u64, fraction: u32, below: i32| -> i64 {
        // From `fraction` to the model's bits behind the point, `below` further down.
        let wide = magnitude << 30;
        let drop = 30 + fraction as i32 - model.fraction as i32 + below;
        if drop > 63 { 0 } else { (wide >> drop) as i64 }
    };
    let signed = |value: i64, negative: bool| if negative { -value } else { value };
    let mut total =
        signed(cut(u64::from(c_significand.unsigned_abs()), 23, greatest - c_exponent), c_significand < 0);
    for (k, &x) in a.iter().enumerate() {
        let y = b(k);
        let value = significand(x) * significand(y);
        let below = greatest - exponent(x) - exponent(y);
        let fraction = formats.0.fraction() + formats.1.fraction();
        total += signed(cut(u64::from(value.unsigned_abs()), fraction, below), value < 0);
    }
    let scale = greatest - model.fraction as i32;
    match sum {
        Sum::F32 => close_f32(total.unsigned_abs(), total < 0, scale, model.kept),
        Sum::F16 => close_f16(total.unsigned_abs(), total < 0, scale),
    }
}

/// Sums of eight columns: their parts, and the exponents that they are aligned to.
type Eight = ([i32; COLUMNS], [i32; COLUMNS]);

/// The longest block of any model.
const LONGEST: usize = 32;

/// A block of a row of A, taken apart once for all columns.
struct Block {
    /// Significands in the lower halves of words, zeros above.
    factors: [i32; LONGEST],
    exponents: [i32; LONGEST],
    len: usize,
}

impl Block {
    #[inline(always)]
    fn new(a: &[Packed]) -> Block {
        let mut block = Block { factors: [0; LONGEST], exponents: [0; LONGEST], len: a.len().min(LONGEST) };
        for (k, &x) in a.iter().take(LONGEST).enumerate() {
            block.factors[k] = x & 0xffff;
            block.exponents[k] = exponent(x);
        }
        block
    }
}

/// How [`products`] is computed here.
type Products = unsafe fn((u32, u32), &Block, &[Packed], usize, &[i32; COLUMNS]) -> Eight;

/// The products of a row of A with eight columns of B, none of them infinite or a NaN, aligned to the greatest of their
/// exponents and `least`: moved to the left, then to the right, by so many bits.
fn products(
    (left, right): (u32, u32),
    a: &Block,
    b: &[Packed],
    stride: usize,
    least: &[i32; COLUMNS],
) -> Eight {
    let mut greatest = *least;
    for k in 0..a.len {
        let row: &[i32; COLUMNS] = b[k * stride..].first_chunk().expect("whole rows");
        for lane in 0..COLUMNS {
            greatest[lane] = greatest[lane].max(a.exponents[k] + exponent(row[lane]));
        }
    }
    let mut total = [0; COLUMNS];
    for k in 0..a.len {
        let row: &[i32; COLUMNS] = b[k * stride..].first_chunk().expect("whole rows");
        for lane in 0..COLUMNS {
            let value = i32::from(a.factors[k] as i16) * significand(row[lane]);
            let sign = value >> 31;
            let drop = (greatest[lane] - a.exponents[k] - exponent(row[lane])) as u32 + right;
            let cut = if drop < 32 { value.unsigned_abs() << left >> drop } else { 0 } as i32;
            total[lane] += (cut ^ sign) - sign;
        }
    }
    (total, greatest)
}

/// The same with the instructions of AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn products_fast(
    shifts: (u32, u32),
    a: &Block,
    b: &[Packed],
    stride: usize,
    least: &[i32; COLUMNS],
) -> Eight {
    assert!(a.len == 0 || b.len() >= (a.len - 1) * stride + COLUMNS);
    // SAFETY: the assertion keeps every row's eight elements inside `b`.
    unsafe {
        // The depth of nearly every block: its loops unrolled.
        if a.len == 16 {
            products_of(16, shifts, a, b, stride, least)
        } else {
            products_of(a.len, shifts, a, b, stride, least)
        }
    }
}

/// # Safety
/// `b` must have eight elements from each of the first `len` multiples of `stride` on; `len` is at most [`LONGEST`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn products_of(
    len: usize,
    (left, right): (u32, u32),
    a: &Block,
    b: &[Packed],
    stride: usize,
    least: &[i32; COLUMNS],
) -> Eight {
    use std::arch::x86_64::{
        __m256i, _mm_cvtsi32_si128, _mm256_abs_epi32, _mm256_add_epi32, _mm256_loadu_si256,
        _mm256_madd_epi16, _mm256_max_epi32, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_sign_epi32,
        _mm256_sll_epi32, _mm256_srai_epi32, _mm256_srlv_epi32, _mm256_storeu_si256, _mm256_sub_epi32,
    };
    // SAFETY: as the caller promises.
    let row = |k: usize| unsafe { _mm256_loadu_si256(b.as_ptr().add(k * stride).cast::<__m256i>()) };
    // SAFETY: `least` has eight elements.
    let mut greatest = unsafe { _mm256_loadu_si256(least.as_ptr().cast::<__m256i>()) };
    let mut sums = [_mm256_setzero_si256(); LONGEST];
    for k in 0..len {
        let sum = _mm256_add_epi32(_mm256_srai_epi32::<16>(row(k)), _mm256_set1_epi32(a.exponents[k]));
        sums[k] = sum;
        greatest = _mm256_max_epi32(greatest, sum);
    }
    let from = _mm256_add_epi32(greatest, _mm256_set1_epi32(right as i32));
    let left = _mm_cvtsi32_si128(left as i32);
    let mut total = _mm256_setzero_si256();
    for k in 0..len {
        // The upper halves meet zeros.
        let value = _mm256_madd_epi16(row(k), _mm256_set1_epi32(a.factors[k]));
        let drop = _mm256_sub_epi32(from, sums[k]);
        let cut = _mm256_srlv_epi32(_mm256_sll_epi32(_mm256_abs_epi32(value), left), drop);
        total = _mm256_add_epi32(total, _mm256_sign_epi32(cut, value));
    }
    let mut result = ([0; COLUMNS], [0; COLUMNS]);
    // SAFETY: both arrays have eight elements.
    unsafe {
        _mm256_storeu_si256(result.0.as_mut_ptr().cast::<__m256i>(), total);
        _mm256_storeu_si256(result.1.as_mut_ptr().cast::<__m256i>(), greatest);
    }
    result
}

/// Eight elements of a row of D, without infinities or NaNs: the sum in two exact parts and the greatest exponent.
#[inline(always)]
fn eight(
    shifts: (u32, u32, u32, u32),
    multiply: Products,
    open: impl Fn(u32) -> (i32, i32),
    a: &Block,
    b: &[Packed],
    stride: usize,
    c: &[u32; COLUMNS],
) -> ([i32; COLUMNS], [i32; COLUMNS], [i32; COLUMNS]) {
    let (left, right, c_left, c_right) = shifts;
    let mut c_exponent = [0; COLUMNS];
    let mut c_significand = [0; COLUMNS];
    for lane in 0..COLUMNS {
        (c_significand[lane], c_exponent[lane]) = open(c[lane]);
    }
    // SAFETY: `add_to` chooses what the processor has.
    let (total, greatest) = unsafe { multiply((left, right), a, b, stride, &c_exponent) };
    let mut accumulator = [0; COLUMNS];
    for lane in 0..COLUMNS {
        let value = c_significand[lane];
        let sign = value >> 31;
        let drop = (greatest[lane] - c_exponent[lane]) as u32 + c_right;
        let cut = (value.unsigned_abs() << c_left >> drop.min(31)) as i32;
        accumulator[lane] = (cut ^ sign) - sign;
    }
    (total, accumulator, greatest)
}

/// Eight sums as f32, where all are normal or zero; otherwise a lane says so by being false.
#[inline(always)]
fn close_eight_f32(
    total: &[i32; COLUMNS],
    accumulator: &[i32; COLUMNS],
    greatest: &[i32; COLUMNS],
    model: Model,
) -> ([u32; COLUMNS], bool) {
    let mut bits = [0; COLUMNS];
    let mut odd = 0;
    let mask = !0u32 << (23 - model.kept);
    for lane in 0..COLUMNS {
        // Exact: both parts have 31 bits.
        let sum = f64::from(total[lane]) + f64::from(accumulator[lane]);
        let wide = sum.to_bits();
        let field = (wide >> 52 & 0x7ff) as i32 - 1023 + 127 + greatest[lane] - model.fraction as i32;
        let zero = sum == 0.0;
        let value =
            (wide >> 32) as u32 & 0x8000_0000 | (field as u32) << 23 | (wide >> 29) as u32 & 0x7f_ffff & mask;
        bits[lane] = if zero { 0 } else { value };
        odd |= u32::from(!zero & ((field - 1) as u32 >= 254));
    }
    (bits, odd == 0)
}

#[inline(always)]
fn rows(product: &Product<'_>, multiply: Products, d: &mut [u32]) {
    let Product { model, formats, sum, shape: (m, n, k), a, b, .. } = *product;
    let fraction = formats.0.fraction() + formats.1.fraction();
    let shifts = (
        model.fraction.saturating_sub(fraction),
        fraction.saturating_sub(model.fraction),
        model.fraction.saturating_sub(23),
        23u32.saturating_sub(model.fraction),
    );
    for row in 0..m {
        for start in (0..k).step_by(model.block) {
            let end = k.min(start + model.block);
            let a = &a[row * k + start..row * k + end];
            let opened = Block::new(a);
            for column in (0..n).step_by(COLUMNS) {
                let b = &b[start * n + column..];
                let place: &mut [u32; COLUMNS] = d[row * n + column..].first_chunk_mut().expect("whole rows");
                let infinite = match sum {
                    Sum::F32 => place.iter().any(|c| c & 0x7f80_0000 == 0x7f80_0000),
                    Sum::F16 => place.iter().any(|c| c & 0x7c00 == 0x7c00),
                };
                if infinite {
                    for lane in 0..COLUMNS {
                        place[lane] = step(product, a, |k| b[k * n + lane], place[lane]);
                    }
                    continue;
                }
                if sum == Sum::F32 {
                    let (total, accumulator, greatest) =
                        eight(shifts, multiply, open_f32, &opened, b, n, place);
                    let (bits, plain) = close_eight_f32(&total, &accumulator, &greatest, model);
                    if plain {
                        *place = bits;
                        continue;
                    }
                    for lane in 0..COLUMNS {
                        let sum = i64::from(total[lane]) + i64::from(accumulator[lane]);
                        let scale = greatest[lane] - model.fraction as i32;
                        place[lane] = close_f32(sum.unsigned_abs(), sum < 0, scale, model.kept);
                    }
                } else {
                    let (total, accumulator, greatest) =
                        eight(shifts, multiply, open_f16, &opened, b, n, place);
                    for lane in 0..COLUMNS {
                        let sum = i64::from(total[lane]) + i64::from(accumulator[lane]);
                        let scale = greatest[lane] - model.fraction as i32;
                        place[lane] = close_f16(sum.unsigned_abs(), sum < 0, scale);
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn rows_fast(product: &Product<'_>, d: &mut [u32]) {
    rows(product, products_fast, d);
}

impl Product<'_> {
    /// Whether the parts of every sum fit 31 bits, so that the quick loop may be used.
    fn narrow(&self) -> bool {
        let terms = self.model.block.min(self.shape.2).next_power_of_two().trailing_zeros();
        self.model.fraction <= 28 && self.model.fraction + 2 + terms <= 31
    }

    /// Adds the product to `d`: `m` rows of `n`, the bits of f32 or f16.
    pub(crate) fn add_to(&self, d: &mut [u32]) {
        let (m, n, k) = self.shape;
        if !self.special && self.narrow() {
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                // SAFETY: the processor has both.
                unsafe { rows_fast(self, d) };
                return;
            }
            rows(self, products, d);
            return;
        }
        for row in 0..m {
            for column in 0..n {
                let place = &mut d[row * n + column];
                for start in (0..k).step_by(self.model.block) {
                    let end = k.min(start + self.model.block);
                    let a = &self.a[row * k + start..row * k + end];
                    *place = step(self, a, |k| self.b[(start + k) * n + column], *place);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::matrix::format::pack;

    /// Numbers of f16 between -2 and 2, from a small generator.
    fn halves(count: usize, mut seed: u32) -> Vec<u32> {
        (0..count)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let exponent = 10 + (seed >> 8) % 6;
                seed >> 16 & 0x8000 | exponent << 10 | seed >> 12 & 0x3ff
            })
            .collect()
    }

    #[test]
    fn a_product_is_close_to_that_of_f64() {
        let (m, n, k) = (16, 24, 16);
        let value = |bits: u32| f64::from(half::f16::from_bits(bits as u16));
        for seed in 0..20 {
            let (a, b) = (halves(m * k, seed), halves(k * n, seed + 100));
            let mut d: Vec<u32> = (0..m * n).map(|i| (i as f32 / 7.0 - 9.0).to_bits()).collect();
            let c = d.clone();
            let open = |bits: &[u32]| bits.iter().map(|bits| pack(Format::F16, *bits)).collect::<Vec<_>>();
            let product = Product {
                model: Model::HALF,
                formats: (Format::F16, Format::F16),
                sum: Sum::F32,
                shape: (m, n, k),
                a: &open(&a),
                b: &open(&b),
                special: false,
            };
            product.add_to(&mut d);
            // The careful way gives the same.
            let mut slow = c.clone();
            Product { special: true, ..product }.add_to(&mut slow);
            assert_eq!(d, slow);
            for row in 0..m {
                for column in 0..n {
                    let start = f64::from(f32::from_bits(c[row * n + column]));
                    let terms = (0..k).map(|at| value(a[row * k + at]) * value(b[at * n + column]));
                    let exact = start + terms.clone().sum::<f64>();
                    let size = start.abs() + terms.map(f64::abs).sum::<f64>();
                    let found = f64::from(f32::from_bits(d[row * n + column]));
                    // Each of 17 terms loses less than 2^-25 of the greatest, and the sum one unit of f32.
                    assert!((found - exact).abs() <= size * 2f64.powi(-20), "{found} is not {exact}");
                }
            }
        }
    }
}
