//! Values, references and the measure of errors.

use factory_rmsnorm::{Device, Tensor, bf16, f16};
use factory_runtime::Element;

/// What tests need of a dtype.
pub(crate) trait Number: Element + PartialEq + std::fmt::Debug {
    fn of(value: f64) -> Self;
    fn wide(self) -> f64;
}

macro_rules! numbers {
    ($($ty:ty, $value:ident => $of:expr, $me:ident => $wide:expr;)*) => {$(
        impl Number for $ty {
            fn of($value: f64) -> Self {
                $of
            }

            fn wide(self) -> f64 {
                let $me = self;
                $wide
            }
        }
    )*};
}

numbers! {
    f32, value => value as f32, me => f64::from(me);
    bf16, value => bf16::from_f32(value as f32), me => f64::from(me.to_f32());
    f16, value => f16::from_f32(value as f32), me => f64::from(me.to_f32());
}

/// The PTX machine.
pub(crate) fn machine() -> Device {
    Device::machine()
}

/// Values in [-2, 2) without structure, the same for the same seed.
pub(crate) fn values<T: Number>(seed: u32, count: usize) -> Vec<T> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..count)
        .map(|_| {
            // A generator by M. O'Neill: a congruence, and its high bits mixed (PCG, RXS-M-XS 32).
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
            let mixed = (word >> 22) ^ word;
            T::of(f64::from(mixed) / f64::from(1u32 << 30) - 2.0)
        })
        .collect()
}

/// A tensor on the machine.
pub(crate) fn tensor<T: Number>(values: &[T], shape: &[usize]) -> Tensor<T> {
    Tensor::from_slice(&machine(), values, shape).unwrap()
}

/// A tensor of zeros on the machine.
pub(crate) fn zeros<T: Number>(shape: &[usize]) -> Tensor<T> {
    Tensor::zeros(&machine(), shape).unwrap()
}

/// The norm of the difference over the norm of what is expected; 0 where both are nothing.
pub(crate) fn error<T: Number>(got: &[T], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let difference: f64 =
        got.iter().zip(expected).map(|(got, expected)| (got.wide() - expected).powi(2)).sum();
    let norm: f64 = expected.iter().map(|expected| expected.powi(2)).sum();
    if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}

/// Asserts that an error is no larger than 1.05 times that of an honest kernel: one that computes in f32 and rounds once.
///
/// What a row's scale is off by, all of the row is off by, so that there are only so many `independent` errors. Where they are
/// few, chance says whose are larger: by the unit roundoff over the square root of their number.
#[track_caller]
pub(crate) fn as_good_as_honest<T: Number>(
    what: &str,
    got: &[T],
    honest: &[f32],
    expected: &[f64],
    independent: usize,
) {
    let honest: Vec<T> = honest.iter().map(|&value| T::of(f64::from(value))).collect();
    let (ours, theirs) = (error(got, expected), error(&honest, expected));
    let chance = T::DTYPE.epsilon() / (independent as f64).sqrt();
    assert!(ours <= 1.05 * theirs + chance, "{what}: error {ours:.3e}, an honest kernel's is {theirs:.3e}");
}

/// The sum as warps make it: 32 partial sums, then a tree. A kernel that sums one after the other would be a poor measure.
pub(crate) fn f32_sum(values: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0.0f32; 32];
    for (index, value) in values.enumerate() {
        lanes[index % 32] += value;
    }
    let mut width = 16;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}
