//! Products of integer, one-bit and f64 matrices: exact, or rounded as IEEE 754 says.

/// Element of an integer operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Integer {
    /// 4 or 8.
    pub(crate) bits: u32,
    pub(crate) signed: bool,
}

impl Integer {
    /// The value in the low bits of a word.
    #[inline(always)]
    pub(crate) fn value(self, word: u32) -> i32 {
        let shift = 32 - self.bits;
        if self.signed { (word << shift) as i32 >> shift } else { (word << shift >> shift) as i32 }
    }
}

/// `d += a b` for `m` rows of `k` and `k` rows of `n`; wraps around, or stops at the ends of s32.
pub(crate) fn multiply_integers(
    shape: (usize, usize, usize),
    a: &[i32],
    b: &[i32],
    saturate: bool,
    d: &mut [u32],
) {
    let (m, n, k) = shape;
    for row in 0..m {
        for column in (0..n).step_by(8) {
            let mut sum = [0i32; 8];
            for at in 0..k {
                let x = a[row * k + at];
                let y: &[i32; 8] = b[at * n + column..].first_chunk().expect("whole rows");
                for lane in 0..8 {
                    // At most 256 products of 16 bits.
                    sum[lane] += x * y[lane];
                }
            }
            for lane in 0..8 {
                let place = &mut d[row * n + column + lane];
                let total = i64::from(*place as i32) + i64::from(sum[lane]);
                *place = if saturate {
                    total.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as u32
                } else {
                    total as u32
                };
            }
        }
    }
}

/// `d += popc(a op b)` for rows of A and columns of B in `words` words of 32 bits each.
pub(crate) fn multiply_bits(
    shape: (usize, usize),
    words: usize,
    a: &[u32],
    b: &[u32],
    and: bool,
    d: &mut [u32],
) {
    let (m, n) = shape;
    for row in 0..m {
        for column in 0..n {
            let mut count = 0;
            for word in 0..words {
                let (x, y) = (a[row * words + word], b[column * words + word]);
                count += if and { x & y } else { x ^ y }.count_ones();
            }
            let place = &mut d[row * n + column];
            *place = place.wrapping_add(count);
        }
    }
}
