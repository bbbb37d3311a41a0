//! Loops over slices, one for each operation of a program.
//!
//! They are compiled twice on x86-64: for the baseline and for AVX2, which is chosen at run time. Both give the same
//! bits: every operation is exact or correctly rounded, nothing is fused, and sums keep to eight lanes either way.

use super::math;
use crate::round::{round_bf16, round_e4m3, round_e5m2, round_f16};
use crate::{BinaryOp, CompareOp, DType, LogicOp, ReduceOp, UnaryOp};

/// An operand over a block: one value for all elements, or one for each.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'a> {
    One(f64),
    Many(&'a [f64]),
}

/// An operation without its operands; truth values are 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Elementwise {
    Unary(UnaryOp),
    Binary(BinaryOp),
    Compare(CompareOp),
    Logic(LogicOp),
    Not,
    Select,
    Cast(DType),
}

/// Computes one operation for a block. Operands with a value for each element have as many as `out`; operands that the
/// operation does not have are ignored.
pub(super) fn apply(op: Elementwise, out: &mut [f64], a: Operand<'_>, b: Operand<'_>, c: Operand<'_>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { apply_avx2(op, out, a, b, c) };
    }
    apply_generic(op, out, a, b, c);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn apply_avx2(op: Elementwise, out: &mut [f64], a: Operand<'_>, b: Operand<'_>, c: Operand<'_>) {
    apply_generic(op, out, a, b, c);
}

#[inline(always)]
fn apply_generic(op: Elementwise, out: &mut [f64], a: Operand<'_>, b: Operand<'_>, c: Operand<'_>) {
    match op {
        Elementwise::Unary(op) => unary(op, out, a),
        Elementwise::Binary(op) => binary(op, out, a, b),
        Elementwise::Compare(op) => match op {
            CompareOp::Eq => map2(out, a, b, |x, y| truth(x == y)),
            CompareOp::Ne => map2(out, a, b, |x, y| truth(x != y)),
            CompareOp::Lt => map2(out, a, b, |x, y| truth(x < y)),
            CompareOp::Le => map2(out, a, b, |x, y| truth(x <= y)),
            CompareOp::Gt => map2(out, a, b, |x, y| truth(x > y)),
            CompareOp::Ge => map2(out, a, b, |x, y| truth(x >= y)),
        },
        // Exactly 0 and 1: the product and the distance from 1 are the connectives.
        Elementwise::Logic(LogicOp::And) => map2(out, a, b, |x, y| x * y),
        Elementwise::Logic(LogicOp::Or) => map2(out, a, b, |x, y| if x > y { x } else { y }),
        Elementwise::Not => map1(out, a, |x| 1.0 - x),
        Elementwise::Select => select(out, a, b, c),
        Elementwise::Cast(dtype) => match dtype {
            DType::F64 => map1(out, a, |x| x),
            DType::F32 => map1(out, a, |x| f64::from(x as f32)),
            DType::F16 => map1(out, a, round_f16),
            DType::BF16 => map1(out, a, round_bf16),
            DType::F8E4M3 => map1(out, a, round_e4m3),
            DType::F8E5M2 => map1(out, a, round_e5m2),
            DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 => map1(out, a, |x| dtype.round(x)),
        },
    }
}

#[inline(always)]
fn unary(op: UnaryOp, out: &mut [f64], a: Operand<'_>) {
    match op {
        UnaryOp::Neg => map1(out, a, |x| -x),
        UnaryOp::Abs => map1(out, a, f64::abs),
        UnaryOp::Exp => map1(out, a, math::exp),
        UnaryOp::Exp2 => map1(out, a, math::exp2),
        UnaryOp::Log => map1(out, a, math::log),
        UnaryOp::Log2 => map1(out, a, math::log2),
        UnaryOp::Sqrt => map1(out, a, f64::sqrt),
        UnaryOp::Rsqrt => map1(out, a, |x| 1.0 / x.sqrt()),
        UnaryOp::Recip => map1(out, a, |x| 1.0 / x),
        UnaryOp::Tanh => map1(out, a, math::tanh),
        UnaryOp::Sigmoid => map1(out, a, math::sigmoid),
        UnaryOp::Silu => map1(out, a, math::silu),
        UnaryOp::Gelu => map1(out, a, math::gelu),
        UnaryOp::Erf => map1(out, a, libm::erf),
        UnaryOp::Sin => map1(out, a, libm::sin),
        UnaryOp::Cos => map1(out, a, libm::cos),
        UnaryOp::Floor => map1(out, a, f64::floor),
        UnaryOp::Ceil => map1(out, a, f64::ceil),
        UnaryOp::Round => map1(out, a, f64::round_ties_even),
    }
}

#[inline(always)]
fn binary(op: BinaryOp, out: &mut [f64], a: Operand<'_>, b: Operand<'_>) {
    match op {
        BinaryOp::Add => map2(out, a, b, |x, y| x + y),
        BinaryOp::Sub => map2(out, a, b, |x, y| x - y),
        BinaryOp::Mul => map2(out, a, b, |x, y| x * y),
        BinaryOp::Div => map2(out, a, b, |x, y| x / y),
        BinaryOp::Rem => map2(out, a, b, |x, y| x % y),
        BinaryOp::Pow => match b {
            Operand::One(2.0) => map1(out, a, |x| x * x),
            _ => map2(out, a, b, libm::pow),
        },
        BinaryOp::Min => map2(out, a, b, |x, y| if y < x || x.is_nan() { y } else { x }),
        BinaryOp::Max => map2(out, a, b, |x, y| if y > x || x.is_nan() { y } else { x }),
    }
}

#[inline(always)]
fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

#[inline(always)]
fn map1(out: &mut [f64], a: Operand<'_>, f: impl Fn(f64) -> f64) {
    match a {
        Operand::One(x) => out.fill(f(x)),
        Operand::Many(xs) => {
            for (out, x) in out.iter_mut().zip(xs) {
                *out = f(*x);
            }
        }
    }
}

#[inline(always)]
fn map2(out: &mut [f64], a: Operand<'_>, b: Operand<'_>, f: impl Fn(f64, f64) -> f64) {
    match (a, b) {
        (Operand::One(x), Operand::One(y)) => out.fill(f(x, y)),
        (Operand::Many(xs), Operand::One(y)) => {
            for (out, x) in out.iter_mut().zip(xs) {
                *out = f(*x, y);
            }
        }
        (Operand::One(x), Operand::Many(ys)) => {
            for (out, y) in out.iter_mut().zip(ys) {
                *out = f(x, *y);
            }
        }
        (Operand::Many(xs), Operand::Many(ys)) => {
            for ((out, x), y) in out.iter_mut().zip(xs).zip(ys) {
                *out = f(*x, *y);
            }
        }
    }
}

#[inline(always)]
fn select(out: &mut [f64], condition: Operand<'_>, a: Operand<'_>, b: Operand<'_>) {
    // Two steps, so that no loop over three operands of two forms each is needed.
    map1(out, b, |y| y);
    match (condition, a) {
        (Operand::One(c), a) => {
            if c != 0.0 {
                map1(out, a, |x| x);
            }
        }
        (Operand::Many(cs), Operand::One(x)) => {
            for (out, c) in out.iter_mut().zip(cs) {
                *out = if *c != 0.0 { x } else { *out };
            }
        }
        (Operand::Many(cs), Operand::Many(xs)) => {
            for ((out, c), x) in out.iter_mut().zip(cs).zip(xs) {
                *out = if *c != 0.0 { *x } else { *out };
            }
        }
    }
}

/// Adds (or multiplies, …) `values` onto `totals`, element by element: a step of a reduction over outer sizes.
pub(super) fn accumulate(op: ReduceOp, totals: &mut [f64], values: Operand<'_>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { accumulate_avx2(op, totals, values) };
    }
    accumulate_generic(op, totals, values);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn accumulate_avx2(op: ReduceOp, totals: &mut [f64], values: Operand<'_>) {
    accumulate_generic(op, totals, values);
}

#[inline(always)]
fn accumulate_generic(op: ReduceOp, totals: &mut [f64], values: Operand<'_>) {
    #[inline(always)]
    fn each(totals: &mut [f64], values: Operand<'_>, f: impl Fn(f64, f64) -> f64) {
        match values {
            Operand::One(x) => totals.iter_mut().for_each(|total| *total = f(*total, x)),
            Operand::Many(xs) => totals.iter_mut().zip(xs).for_each(|(total, x)| *total = f(*total, *x)),
        }
    }
    match op {
        ReduceOp::Sum | ReduceOp::Mean => each(totals, values, |total, x| total + x),
        ReduceOp::Prod => each(totals, values, |total, x| total * x),
        ReduceOp::Min => each(totals, values, lesser),
        ReduceOp::Max => each(totals, values, greater),
        ReduceOp::Any => each(totals, values, |total, x| truth(total != 0.0 || x != 0.0)),
        ReduceOp::All => each(totals, values, |total, x| truth(total != 0.0 && x != 0.0)),
        // Reductions that give an index go along rows only.
        ReduceOp::ArgMin | ReduceOp::ArgMax => {}
    }
}

/// One value from all of `values`, in eight lanes; not for the reductions that give an index.
pub(super) fn fold(op: ReduceOp, values: &[f64]) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { fold_avx2(op, values) };
    }
    fold_generic(op, values)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fold_avx2(op: ReduceOp, values: &[f64]) -> f64 {
    fold_generic(op, values)
}

#[inline(always)]
fn fold_generic(op: ReduceOp, values: &[f64]) -> f64 {
    match op {
        ReduceOp::Sum | ReduceOp::Mean => lanes(values, 0.0, |x, y| x + y),
        ReduceOp::Prod => lanes(values, 1.0, |x, y| x * y),
        ReduceOp::Min | ReduceOp::ArgMin => lanes(values, f64::INFINITY, lesser),
        ReduceOp::Max | ReduceOp::ArgMax => lanes(values, f64::NEG_INFINITY, greater),
        ReduceOp::Any => truth(values.iter().any(|x| *x != 0.0)),
        ReduceOp::All => truth(values.iter().all(|x| *x != 0.0)),
    }
}

#[inline(always)]
fn lanes(values: &[f64], identity: f64, f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [identity; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, *x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = f(*lane, *x);
    }
    let [a, b, c, d, e, g, h, i] = lanes;
    f(f(f(a, b), f(c, d)), f(f(e, g), f(h, i)))
}

/// The lesser of a running minimum, never NaN, and a value, ignored where NaN.
#[inline(always)]
fn lesser(running: f64, x: f64) -> f64 {
    if x < running { x } else { running }
}

/// The greater of a running maximum, never NaN, and a value, ignored where NaN.
#[inline(always)]
fn greater(running: f64, x: f64) -> f64 {
    if x > running { x } else { running }
}
