//! f16 and bf16 arithmetic, single and packed.

use super::float::rounding;
use super::function::Decoder;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Type};
use crate::machine::error::Unsupported;
use crate::machine::lanes::AluFn;
use crate::machine::lanes::cold::{binary, ternary, unary};
use crate::machine::number::{
    HALF_NAN, NEAREST, add_odd, bf16_to_f64, exp2, extremum, fma_odd, half_from_f64, half_to_f64, tanh,
};
use crate::machine::report::Class;

/// `.sat` and `.relu`.
const PLAIN: u8 = 0;
const SATURATE: u8 = 1;
const RELU: u8 = 2;

/// The NaN, of either sign, that `.oob` takes for "outside of the tensor": the result is zero then. The PTX ISA does not
/// say which it is; an H200 that was asked for all of them takes this one, in f16 and in bf16.
const OUT_OF_BOUNDS: u16 = 0x7ff7;

/// Rounds an exact (or rounded to odd) result to the format, then saturates or rectifies.
#[inline(always)]
fn done<const BRAIN: bool, const AFTER: u8>(value: f64) -> u16 {
    let value = match AFTER {
        SATURATE => {
            if value.is_nan() {
                0.0
            } else {
                // Negative zero becomes positive.
                if value > 0.0 { value.min(1.0) } else { 0.0 }
            }
        }
        RELU if value <= 0.0 => 0.0,
        _ => value,
    };
    half_from_f64::<BRAIN, NEAREST>(value)
}

/// Applies a one-half operation to one or both halves.
macro_rules! halves {
    ($packed:expr, $make:ident, |$($x:ident),*| $body:expr) => {
        if $packed {
            $make(|$($x: u32),*| {
                let low = { $(let $x = $x as u16;)* $body };
                let high = { $(let $x = ($x >> 16) as u16;)* $body };
                u32::from(low) | u32::from(high) << 16
            })
        } else {
            $make(|$($x: u16),*| $body)
        }
    };
}

/// Chooses format and what happens after rounding.
macro_rules! by_format {
    ($brain:expr, $after:expr, $B:ident, $A:ident => $make:expr) => {
        match ($brain, $after) {
            (false, SATURATE) => {
                const $B: bool = false;
                const $A: u8 = SATURATE;
                $make
            }
            (false, RELU) => {
                const $B: bool = false;
                const $A: u8 = RELU;
                $make
            }
            (false, _) => {
                const $B: bool = false;
                const $A: u8 = PLAIN;
                $make
            }
            (true, SATURATE) => {
                const $B: bool = true;
                const $A: u8 = SATURATE;
                $make
            }
            (true, RELU) => {
                const $B: bool = true;
                const $A: u8 = RELU;
                $make
            }
            (true, _) => {
                const $B: bool = true;
                const $A: u8 = PLAIN;
                $make
            }
        }
    };
}

/// f16 subnormals to zero, for `.ftz`.
#[inline(always)]
pub(super) fn flush16(bits: u16) -> u16 {
    if bits & 0x7c00 == 0 { bits & 0x8000 } else { bits }
}

/// As [`done`], with what is below the least normal f16 when it is rounded to 11 bits flushed.
#[inline(always)]
fn flushed<const BRAIN: bool, const AFTER: u8>(value: f64) -> u16 {
    // 2^10 times the value has 11 bits in f16 too; the least normal number becomes 2^-4, which is 0x2c00.
    let tiny = half_from_f64::<false, NEAREST>(value * 1024.0) & 0x7fff < 0x2c00;
    done::<BRAIN, AFTER>(if tiny { value * 0.0 } else { value })
}

/// The value, or the canonical NaN when the operand is one.
#[inline(always)]
pub(super) fn known<const BRAIN: bool>(operand: u16, value: u16) -> u16 {
    let infinity = if BRAIN { 0x7f80 } else { 0x7c00 };
    if operand & 0x7fff > infinity { HALF_NAN } else { value }
}

#[inline(always)]
fn extremum16<const BRAIN: bool, const MAX: bool, const NAN: bool>(a: u16, b: u16) -> u16 {
    let (x, y) = (half_to_f64::<BRAIN>(a) as f32, half_to_f64::<BRAIN>(b) as f32);
    let best = extremum::<MAX, NAN>(x, y);
    if best.is_nan() { HALF_NAN } else { half_from_f64::<BRAIN, NEAREST>(f64::from(best)) }
}

#[inline(always)]
fn xorsign(best: u16, a: u16, b: u16) -> u16 {
    if best == HALF_NAN { best } else { best & 0x7fff | (a ^ b) & 0x8000 }
}

impl<'m> Decoder<'_, 'm> {
    pub(super) fn half(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        if rounding(&mut words).is_some_and(|mode| mode != NEAREST) {
            return Err(unsupported(i, "this rounding of halves"));
        }
        let ftz = words.take("ftz");
        let (sat, relu) = (words.take("sat"), words.take("relu"));
        let nan = words.take("NaN");
        let xor = words.take("xorsign");
        let xor = words.take("abs") && xor;
        let _ = words.take("approx");
        let oob = words.take("oob");
        let ty = words.ty()?;
        words.finish()?;
        let brain = matches!(ty, Type::BF16 | Type::BF16x2);
        let packed = matches!(ty, Type::F16x2 | Type::BF16x2);
        let after = if sat {
            SATURATE
        } else if relu {
            RELU
        } else {
            PLAIN
        };
        let opcode = i.opcode.as_str();
        let lanes = if packed { Type::B32 } else { Type::B16 };
        if ftz && !brain && !matches!(opcode, "ex2" | "tanh") {
            return self.half_flushed(i, opcode, packed, after, (nan, xor));
        }
        if oob && opcode == "fma" && i.operands.len() == 4 {
            let alu = by_format!(brain, after, B, A => halves!(packed, ternary, |a, b, c| {
                if a & 0x7fff == OUT_OF_BOUNDS || b & 0x7fff == OUT_OF_BOUNDS {
                    0
                } else {
                    done::<B, A>(fma_odd(half_to_f64::<B>(a), half_to_f64::<B>(b), half_to_f64::<B>(c)))
                }
            }));
            return self.same(i, Class::Half, lanes, Some(alu));
        }
        let alu: Option<AluFn> = match (opcode, i.operands.len()) {
            _ if oob => None,
            ("add", 3) => Some(by_format!(brain, after, B, A => halves!(packed, binary, |a, b| {
                done::<B, A>(add_odd(half_to_f64::<B>(a), half_to_f64::<B>(b)))
            }))),
            ("sub", 3) => Some(by_format!(brain, after, B, A => halves!(packed, binary, |a, b| {
                done::<B, A>(add_odd(half_to_f64::<B>(a), -half_to_f64::<B>(b)))
            }))),
            ("mul", 3) => Some(by_format!(brain, after, B, A => halves!(packed, binary, |a, b| {
                done::<B, A>(half_to_f64::<B>(a) * half_to_f64::<B>(b))
            }))),
            ("fma", 4) => Some(by_format!(brain, after, B, A => halves!(packed, ternary, |a, b, c| {
                done::<B, A>(fma_odd(half_to_f64::<B>(a), half_to_f64::<B>(b), half_to_f64::<B>(c)))
            }))),
            ("ex2", 2) if brain => Some(halves!(packed, unary, |a| {
                let power = done::<true, PLAIN>(exp2(bf16_to_f64(a)));
                if power < 0x0080 { 0 } else { power }
            })),
            ("ex2", 2) => {
                Some(halves!(packed, unary, |a| done::<false, PLAIN>(exp2(half_to_f64::<false>(a)))))
            }
            ("tanh", 2) => Some(by_format!(brain, PLAIN, B, A => halves!(packed, unary, |a| {
                done::<B, A>(tanh(half_to_f64::<B>(a)))
            }))),
            ("neg", 2) if brain => Some(halves!(packed, unary, |a| known::<true>(a, a ^ 0x8000))),
            ("abs", 2) if brain => Some(halves!(packed, unary, |a| known::<true>(a, a & 0x7fff))),
            ("neg", 2) => Some(halves!(packed, unary, |a| known::<false>(a, a ^ 0x8000))),
            ("abs", 2) => Some(halves!(packed, unary, |a| known::<false>(a, a & 0x7fff))),
            ("min" | "max", 3) => {
                macro_rules! extrema {
                    ($brain:literal, $max:literal, $nan:literal) => {
                        if xor {
                            halves!(packed, binary, |a, b| xorsign(
                                extremum16::<$brain, $max, $nan>(a & 0x7fff, b & 0x7fff),
                                a,
                                b
                            ))
                        } else {
                            halves!(packed, binary, |a, b| extremum16::<$brain, $max, $nan>(a, b))
                        }
                    };
                }
                Some(match (brain, opcode == "max", nan) {
                    (false, false, false) => extrema!(false, false, false),
                    (false, false, true) => extrema!(false, false, true),
                    (false, true, false) => extrema!(false, true, false),
                    (false, true, true) => extrema!(false, true, true),
                    (true, false, false) => extrema!(true, false, false),
                    (true, false, true) => extrema!(true, false, true),
                    (true, true, false) => extrema!(true, true, false),
                    (true, true, true) => extrema!(true, true, true),
                })
            }
            _ => None,
        };
        let class = if matches!(opcode, "ex2" | "tanh") { Class::Special } else { Class::Half };
        self.same(i, class, lanes, alu)
    }

    /// f16 arithmetic with `.ftz`.
    fn half_flushed(
        &mut self,
        i: &'m Instruction,
        opcode: &str,
        packed: bool,
        after: u8,
        (nan, xor): (bool, bool),
    ) -> Result<(), Unsupported> {
        let lanes = if packed { Type::B32 } else { Type::B16 };
        let alu: Option<AluFn> = match (opcode, i.operands.len()) {
            ("add", 3) => Some(by_format!(false, after, B, A => halves!(packed, binary, |a, b| {
                flush16(done::<B, A>(add_odd(half_to_f64::<B>(flush16(a)), half_to_f64::<B>(flush16(b)))))
            }))),
            ("sub", 3) => Some(by_format!(false, after, B, A => halves!(packed, binary, |a, b| {
                flush16(done::<B, A>(add_odd(half_to_f64::<B>(flush16(a)), -half_to_f64::<B>(flush16(b)))))
            }))),
            ("mul", 3) => Some(by_format!(false, after, B, A => halves!(packed, binary, |a, b| {
                flushed::<B, A>(half_to_f64::<B>(flush16(a)) * half_to_f64::<B>(flush16(b)))
            }))),
            ("fma", 4) => Some(by_format!(false, after, B, A => halves!(packed, ternary, |a, b, c| {
                flushed::<B, A>(fma_odd(
                    half_to_f64::<B>(flush16(a)),
                    half_to_f64::<B>(flush16(b)),
                    half_to_f64::<B>(flush16(c)),
                ))
            }))),
            ("neg", 2) => Some(halves!(packed, unary, |a| known::<false>(a, flush16(a) ^ 0x8000))),
            ("abs", 2) => Some(halves!(packed, unary, |a| known::<false>(a, flush16(a) & 0x7fff))),
            ("min" | "max", 3) => {
                macro_rules! extrema {
                    ($max:literal, $nan:literal) => {
                        if xor {
                            halves!(packed, binary, |a, b| xorsign(
                                extremum16::<false, $max, $nan>(flush16(a & 0x7fff), flush16(b & 0x7fff)),
                                a,
                                b
                            ))
                        } else {
                            halves!(packed, binary, |a, b| {
                                extremum16::<false, $max, $nan>(flush16(a), flush16(b))
                            })
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
            _ => None,
        };
        self.same(i, Class::Half, lanes, alu)
    }
}
