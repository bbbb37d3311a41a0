//! f32 and f64 arithmetic.

use super::compare::copysign;
use super::function::Decoder;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Type};
use crate::machine::error::Unsupported;
use crate::machine::lanes::{AluFn, binary, cold, ternary, unary};
use crate::machine::number::{
    DOWN, NEAREST, UP, ZERO, add_odd, div_odd, exp2, extremum, extremum64, finish, flush, flush_exact,
    flush_near, fma_odd, log2, lost, sqrt_odd, tanh, to_f32,
};
use crate::machine::number64::{
    absolute, add64, div64, fma64, keep1, keep2, keep3, mul64, negate, sqrt64, sub64,
};
use crate::machine::report::Class;

/// An f32 operation for the four combinations of `.ftz` and `.sat`.
macro_rules! flags {
    ($ftz:expr, $sat:expr, $($make:ident)::+, |$($x:ident),*| $body:expr) => {
        match ($ftz, $sat) {
            (false, false) => $($make)::+(|$($x: f32),*| finish::<false, false>($body)),
            (true, false) => $($make)::+(|$($x: f32),*| {
                $(let $x = flush::<true>($x);)*
                finish::<true, false>($body)
            }),
            (false, true) => $($make)::+(|$($x: f32),*| finish::<false, true>($body)),
            (true, true) => $($make)::+(|$($x: f32),*| {
                $(let $x = flush::<true>($x);)*
                finish::<true, true>($body)
            }),
        }
    };
}

/// As [`flags`], for what can be rounded up to the least normal number: with its exact result, as an f64 rounded to odd,
/// or to nearest with what that lost.
macro_rules! inexact_flags {
    ($ftz:expr, $sat:expr, $($make:ident)::+, |$($x:ident),*| $body:expr, $sum:expr, $error:expr) => {
        match ($ftz, $sat) {
            (false, false) => $($make)::+(|$($x: f32),*| finish::<false, false>($body)),
            (true, false) => $($make)::+(|$($x: f32),*| {
                $(let $x = flush::<true>($x);)*
                finish::<true, false>(flush_near($body, $sum, $error))
            }),
            (false, true) => $($make)::+(|$($x: f32),*| finish::<false, true>($body)),
            (true, true) => $($make)::+(|$($x: f32),*| {
                $(let $x = flush::<true>($x);)*
                finish::<true, true>(flush_near($body, $sum, $error))
            }),
        }
    };
    ($mode:ident, $ftz:expr, $sat:expr, $($make:ident)::+, |$($x:ident),*| $body:expr, $exact:expr) => {
        match ($ftz, $sat) {
            (false, false) => $($make)::+(|$($x: f32),*| finish::<false, false>($body)),
            (true, false) => $($make)::+(|$($x: f32),*| {
                $(let $x = flush::<true>($x);)*
                finish::<true, false>(flush_exact::<$mode>($body, $exact))
            }),
            (false, true) => $($make)::+(|$($x: f32),*| finish::<false, true>($body)),
            (true, true) => $($make)::+(|$($x: f32),*| {
                $(let $x = flush::<true>($x);)*
                finish::<true, true>(flush_exact::<$mode>($body, $exact))
            }),
        }
    };
}

/// Chooses the const of a rounding mode.
macro_rules! by_mode {
    ($mode:expr, $M:ident => $make:expr) => {
        match $mode {
            ZERO => {
                const $M: u8 = ZERO;
                $make
            }
            DOWN => {
                const $M: u8 = DOWN;
                $make
            }
            UP => {
                const $M: u8 = UP;
                $make
            }
            _ => {
                const $M: u8 = NEAREST;
                $make
            }
        }
    };
}
pub(super) use by_mode;

/// Takes `.rn`, `.rz`, `.rm` or `.rp`.
pub(super) fn rounding(words: &mut Words<'_>) -> Option<u8> {
    words.take_one(&["rn", "rz", "rm", "rp"]).map(|index| [NEAREST, ZERO, DOWN, UP][index])
}

/// The sign that an exact zero sum has when rounding down.
#[inline(always)]
fn add_mode<const MODE: u8>(a: f64, b: f64) -> f32 {
    let sum = add_odd(a, b);
    if MODE == DOWN && sum == 0.0 && (a != 0.0 || a.is_sign_negative() != b.is_sign_negative()) {
        return -0.0;
    }
    to_f32::<MODE>(sum)
}

#[inline(always)]
pub(super) fn fma_mode<const MODE: u8>(a: f64, b: f64, c: f64) -> f32 {
    let product = a * b;
    let sum = fma_odd(a, b, c);
    if MODE == DOWN && sum == 0.0 && (product != 0.0 || product.is_sign_negative() != c.is_sign_negative()) {
        return -0.0;
    }
    to_f32::<MODE>(sum)
}

#[inline(always)]
fn f(value: f32) -> f64 {
    f64::from(value)
}

/// `div.approx`: the reciprocal of a divisor beyond 2^126 is zero.
#[inline(always)]
fn quotient(a: f32, b: f32) -> f32 {
    let large = b.abs() > f32::from_bits(0x7e80_0000) && b.abs() < f32::INFINITY;
    let reciprocal = if b < 0.0 { -0.0 } else { 0.0 };
    if large { a * reciprocal } else { a / b }
}

/// Below zero by the bits: the compiler takes a comparison with the root's NaN for one that it may leave out.
#[inline(always)]
fn root(a: f32) -> f32 {
    if a.to_bits() > 0x8000_0000 { f32::NAN } else { a.sqrt() }
}

/// The reciprocal square root as hardware has it for zeros and negatives.
#[inline(always)]
fn rsqrt(a: f64) -> f64 {
    1.0 / a.sqrt()
}

impl<'m> Decoder<'_, 'm> {
    /// Arithmetic on f32 and f64.
    pub(super) fn float(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let opcode = i.opcode.as_str();
        let mode = rounding(&mut words);
        let ftz = words.take("ftz");
        let sat = words.take("sat");
        let approx = words.take("approx");
        let full = words.take("full");
        let nan = words.take("NaN");
        let xorsign = words.take("xorsign");
        let xorsign = words.take("abs") && xorsign;
        let ty = words.ty()?;
        words.finish()?;
        let rounded = mode.unwrap_or(NEAREST);
        if ty == Type::F64 {
            return self.float64(i, opcode, rounded, nan, approx, ftz);
        }
        if ty != Type::F32 {
            return Err(unsupported(i, "this floating-point type"));
        }
        let alu: Option<AluFn> = match (opcode, i.operands.len()) {
            ("add", 3) if rounded == NEAREST => Some(flags!(ftz, sat, binary, |a, b| a + b)),
            ("sub", 3) if rounded == NEAREST => Some(flags!(ftz, sat, binary, |a, b| a - b)),
            ("mul", 3) if rounded == NEAREST => {
                Some(inexact_flags!(ftz, sat, binary, |a, b| a * b, f(a) * f(b), 0.0))
            }
            ("fma" | "mad", 4) if rounded == NEAREST => Some(inexact_flags!(
                ftz,
                sat,
                ternary,
                |a, b, c| a.mul_add(b, c),
                f(a) * f(b) + f(c),
                lost(f(a) * f(b), f(c))
            )),
            ("add", 3) => {
                Some(by_mode!(rounded, M => flags!(ftz, sat, cold::binary, |a, b| add_mode::<M>(f(a), f(b)))))
            }
            ("sub", 3) => Some(
                by_mode!(rounded, M => flags!(ftz, sat, cold::binary, |a, b| add_mode::<M>(f(a), f(-b)))),
            ),
            ("mul", 3) => Some(
                by_mode!(rounded, M => inexact_flags!(M, ftz, sat, cold::binary, |a, b| to_f32::<M>(f(a) * f(b)), f(a) * f(b))),
            ),
            ("fma" | "mad", 4) => Some(
                by_mode!(rounded, M => inexact_flags!(M, ftz, sat, cold::ternary, |a, b, c| fma_mode::<M>(f(a), f(b), f(c)), fma_odd(f(a), f(b), f(c)))),
            ),
            ("div", 3) if approx => Some(flags!(ftz, false, binary, |a, b| quotient(a, b))),
            ("div", 3) if rounded == NEAREST => {
                Some(inexact_flags!(ftz, false, binary, |a, b| a / b, f(a) / f(b), 0.0))
            }
            ("div", 3) => Some(
                by_mode!(rounded, M => inexact_flags!(M, ftz, false, cold::binary, |a, b| to_f32::<M>(div_odd(f(a), f(b))), div_odd(f(a), f(b)))),
            ),
            ("rcp", 2) if rounded == NEAREST => Some(flags!(ftz, false, unary, |a| 1.0 / a)),
            ("rcp", 2) => Some(
                by_mode!(rounded, M => flags!(ftz, false, cold::unary, |a| to_f32::<M>(div_odd(1.0, f(a))))),
            ),
            ("sqrt", 2) if rounded == NEAREST => Some(flags!(ftz, false, unary, |a| root(a))),
            ("sqrt", 2) => {
                Some(by_mode!(rounded, M => flags!(ftz, false, cold::unary, |a| to_f32::<M>(sqrt_odd(f(a))))))
            }
            ("rsqrt", 2) => Some(flags!(ftz, false, unary, |a| rsqrt(f(a)) as f32)),
            ("ex2", 2) => Some(flags!(ftz, false, unary, |a| exp2(f(a)) as f32)),
            ("lg2", 2) => Some(flags!(ftz, false, unary, |a| log2(f(a)) as f32)),
            ("sin", 2) => Some(flags!(ftz, false, cold::unary, |a| f(a).sin() as f32)),
            ("cos", 2) => Some(flags!(ftz, false, cold::unary, |a| f(a).cos() as f32)),
            ("tanh", 2) => Some(flags!(ftz, false, cold::unary, |a| tanh(f(a)) as f32)),
            ("abs", 2) => Some(flags!(ftz, false, unary, |a| f32::from_bits(a.to_bits() & 0x7fff_ffff))),
            ("neg", 2) => Some(flags!(ftz, false, unary, |a| -a)),
            ("copysign", 3) => copysign(ty),
            ("min" | "max", 3 | 4) => self.extremum(opcode, i.operands.len(), ftz, nan, xorsign),
            _ => None,
        };
        let class = match opcode {
            "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" => Class::Special,
            "div" if approx || full => Class::Special,
            _ => Class::F32,
        };
        self.same(i, class, ty, alu)
    }

    fn extremum(&self, opcode: &str, operands: usize, ftz: bool, nan: bool, xorsign: bool) -> Option<AluFn> {
        /// The sign of the result of `.xorsign.abs`.
        #[inline(always)]
        fn signed(value: f32, a: f32, b: f32) -> f32 {
            if value.is_nan() {
                return value;
            }
            f32::from_bits(value.to_bits() & 0x7fff_ffff | (a.to_bits() ^ b.to_bits()) & 0x8000_0000)
        }
        macro_rules! extrema {
            ($max:literal, $nan:literal) => {
                match (operands, xorsign) {
                    (3, false) => flags!(ftz, false, binary, |a, b| extremum::<$max, $nan>(a, b)),
                    (3, true) => flags!(ftz, false, cold::binary, |a, b| signed(
                        extremum::<$max, $nan>(a.abs(), b.abs()),
                        a,
                        b
                    )),
                    (_, false) => flags!(ftz, false, cold::ternary, |a, b, c| extremum::<$max, $nan>(
                        extremum::<$max, $nan>(a, b),
                        c
                    )),
                    (_, true) => flags!(ftz, false, cold::ternary, |a, b, c| signed(
                        signed(
                            extremum::<$max, $nan>(extremum::<$max, $nan>(a.abs(), b.abs()), c.abs()),
                            a,
                            b
                        ),
                        f32::from_bits(a.to_bits() ^ b.to_bits()),
                        c
                    )),
                }
            };
        }
        Some(match (opcode == "max", nan) {
            (false, false) => extrema!(false, false),
            (false, true) => extrema!(false, true),
            (true, false) => extrema!(true, false),
            (true, true) => extrema!(true, true),
        })
    }

    fn float64(
        &mut self,
        i: &'m Instruction,
        opcode: &str,
        mode: u8,
        nan: bool,
        approx: bool,
        ftz: bool,
    ) -> Result<(), Unsupported> {
        let alu: Option<AluFn> = match (opcode, i.operands.len()) {
            ("add", 3) if mode == NEAREST => Some(binary(|a: f64, b: f64| keep2(a + b, a, b))),
            ("sub", 3) if mode == NEAREST => Some(binary(|a: f64, b: f64| keep2(a - b, a, b))),
            ("mul", 3) if mode == NEAREST => Some(binary(|a: f64, b: f64| keep2(a * b, a, b))),
            ("fma" | "mad", 4) if mode == NEAREST => {
                Some(ternary(|a: f64, b: f64, c: f64| keep3(a.mul_add(b, c), a, b, c)))
            }
            ("add", 3) => Some(by_mode!(mode, M => cold::binary(add64::<M>))),
            ("sub", 3) => Some(by_mode!(mode, M => cold::binary(sub64::<M>))),
            ("mul", 3) => Some(by_mode!(mode, M => cold::binary(mul64::<M>))),
            ("fma" | "mad", 4) => Some(by_mode!(mode, M => cold::ternary(fma64::<M>))),
            ("div", 3) => Some(by_mode!(mode, M => cold::binary(div64::<M>))),
            // `rcp.approx.ftz.f64` and `rsqrt.approx.ftz.f64` give a result of 20 bits of fraction, flushed.
            ("rcp", 2) if approx && ftz => Some(cold::unary(|a: f64| coarse(1.0 / coarse(a)))),
            ("rsqrt", 2) if approx && ftz => Some(cold::unary(|a: f64| coarse(rsqrt(coarse(a))))),
            ("rcp", 2) => Some(by_mode!(mode, M => cold::unary(|a: f64| div64::<M>(1.0, a)))),
            ("sqrt", 2) => Some(by_mode!(mode, M => cold::unary(sqrt64::<M>))),
            ("rsqrt", 2) => Some(unary(|a: f64| keep1(rsqrt(a), a))),
            ("abs", 2) => Some(unary(absolute)),
            ("neg", 2) => Some(unary(negate)),
            ("copysign", 3) => copysign(Type::F64),
            ("min", 3) if nan => Some(cold::binary(extremum64::<false, true>)),
            ("min", 3) => Some(cold::binary(extremum64::<false, false>)),
            ("max", 3) if nan => Some(cold::binary(extremum64::<true, true>)),
            ("max", 3) => Some(cold::binary(extremum64::<true, false>)),
            _ => None,
        };
        self.same(i, Class::F64, Type::F64, alu)
    }
}

/// The upper word of an f64, subnormals flushed: what the coarse f64 approximations read and give.
#[inline(always)]
fn coarse(value: f64) -> f64 {
    let bits = value.to_bits() & !0xffff_ffff;
    if bits >> 52 & 0x7ff == 0 {
        f64::from_bits(bits & 1 << 63)
    } else if f64::from_bits(bits).is_nan() {
        f64::from_bits(0x7fff_ffff_0000_0000)
    } else {
        f64::from_bits(bits)
    }
}
