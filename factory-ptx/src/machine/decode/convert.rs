//! `cvt`: between all integer and floating-point types, with every rounding mode.

use super::float::{by_mode, rounding};
use super::function::{Decoder, Register};
use super::half::known;
use super::resize::{integer_to_integer, is_signed};
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Type};
use crate::machine::error::Unsupported;
use crate::machine::lanes::cold::{binary, ternary, unary};
use crate::machine::lanes::{self, AluFn, NONE, Slots};
use crate::machine::number::{
    AWAY, BF16, DOWN, E4M3, E5M2, F16, Format, HALF_NAN, NEAREST, TF32, UP, ZERO, bf16_from_f32, bf16_to_f64,
    f16_from_f32, f16_to_f64, f32_from_f16, finish, float8_from_f32, flush, narrow, to_f32,
};
use crate::machine::number64::keep1;
use crate::machine::report::Class;

/// What `cvt` was told beside its types.
#[derive(Clone, Copy, Debug)]
struct Flags {
    mode: Option<u8>,
    /// `.rni`, `.rzi`, `.rmi`, `.rpi`
    integer_mode: Option<u8>,
    ftz: bool,
    sat: bool,
    relu: bool,
    satfinite: bool,
}

fn is_integer(ty: Type) -> bool {
    use Type as T;
    matches!(ty, T::U8 | T::U16 | T::U32 | T::U64 | T::S8 | T::S16 | T::S32 | T::S64)
}

/// Rounds to an integral value.
#[inline(always)]
fn integral<const MODE: u8>(value: f64) -> f64 {
    match MODE {
        NEAREST => value.round_ties_even(),
        DOWN => value.floor(),
        UP => value.ceil(),
        _ => value.trunc(),
    }
}

/// To an integer of so many bits, clamped. A NaN gives zero, but the top bit alone when the source is an f64 or the
/// result has 64 bits.
#[inline(always)]
fn clamp_to<const BITS: u32, const SIGNED: bool>(value: f64, double: bool) -> u64 {
    if value.is_nan() {
        return match (BITS == 64 || double, SIGNED) {
            (false, _) => 0,
            (true, false) => 1 << (BITS - 1),
            (true, true) => (-1i64 << (BITS - 1)) as u64,
        };
    }
    if SIGNED {
        let integer = value as i64;
        let limit = if BITS == 64 { i64::MAX } else { (1i64 << (BITS - 1)) - 1 };
        integer.clamp(-limit - 1, limit) as u64
    } else {
        let integer = value as u64;
        integer.min(if BITS == 64 { u64::MAX } else { (1u64 << BITS) - 1 })
    }
}

/// A conversion from `$from` (a closure from the lane to f64) to an integer type.
macro_rules! float_to_integer {
    ($d:expr, $mode:expr, $S:ident, $double:literal, $from:expr) => {
        by_mode!($mode, M => match $d {
            Type::U8 => unary(|a: $S| clamp_to::<8, false>(integral::<M>($from(a)), $double) as u32),
            Type::S8 => unary(|a: $S| clamp_to::<8, true>(integral::<M>($from(a)), $double) as u32),
            Type::U16 => unary(|a: $S| clamp_to::<16, false>(integral::<M>($from(a)), $double) as u32),
            Type::S16 => unary(|a: $S| clamp_to::<16, true>(integral::<M>($from(a)), $double) as u32),
            Type::U32 => unary(|a: $S| clamp_to::<32, false>(integral::<M>($from(a)), $double) as u32),
            Type::S32 => unary(|a: $S| clamp_to::<32, true>(integral::<M>($from(a)), $double) as u32),
            Type::U64 => unary(|a: $S| clamp_to::<64, false>(integral::<M>($from(a)), $double)),
            _ => unary(|a: $S| clamp_to::<64, true>(integral::<M>($from(a)), $double)),
        })
    };
}

/// An exact integer as f32 in a mode: 64-bit integers do not fit f64, so the bits below are folded into the last.
#[inline(always)]
fn integer_to_odd(magnitude: u64, negative: bool) -> f64 {
    let shift = 64 - magnitude.leading_zeros();
    let value = if shift > 53 {
        let low = shift - 53;
        let sticky = u64::from(magnitude & ((1 << low) - 1) != 0);
        ((magnitude >> low | sticky) as f64) * ((1u64 << low) as f64)
    } else {
        magnitude as f64
    };
    if negative { -value } else { value }
}

/// An integer as f64 in a rounding mode.
#[inline(always)]
fn integer_to_f64<const MODE: u8>(magnitude: u64, negative: bool) -> f64 {
    let shift = 64 - magnitude.leading_zeros();
    let value = if shift > 53 {
        let low = shift - 53;
        let (kept, rest) = (magnitude >> low, magnitude & ((1 << low) - 1));
        let half = 1 << (low - 1);
        let up = match MODE {
            NEAREST => rest > half || (rest == half && kept & 1 != 0),
            DOWN => negative && rest != 0,
            UP => !negative && rest != 0,
            _ => false,
        };
        ((kept + u64::from(up)) as f64) * ((1u64 << low) as f64)
    } else {
        magnitude as f64
    };
    if negative { -value } else { value }
}

macro_rules! integer_to_float {
    ($d:expr, $mode:expr, $S:ident, $parts:expr) => {
        by_mode!($mode, M => match $d {
            Type::F32 => Some(unary(|a: $S| {
                let (magnitude, negative): (u64, bool) = $parts(a);
                to_f32::<M>(integer_to_odd(magnitude, negative))
            })),
            Type::F64 => Some(unary(|a: $S| {
                let (magnitude, negative): (u64, bool) = $parts(a);
                integer_to_f64::<M>(magnitude, negative)
            })),
            Type::F16 => Some(unary(|a: $S| {
                let (magnitude, negative): (u64, bool) = $parts(a);
                narrow::<M>(integer_to_odd(magnitude, negative), F16).unwrap_or(0) as u16
            })),
            Type::BF16 => Some(unary(|a: $S| {
                let (magnitude, negative): (u64, bool) = $parts(a);
                narrow::<M>(integer_to_odd(magnitude, negative), BF16).unwrap_or(0) as u16
            })),
            _ => None,
        })
    };
}

/// The last steps of a conversion to a narrow float: rectify, round, saturate to finite.
#[inline(always)]
fn narrowed<const MODE: u8>(value: f64, format: Format, relu: bool, finite: bool, nan: u32) -> u32 {
    let value = if relu && value <= 0.0 { 0.0 } else { value };
    match narrow::<MODE>(value, format) {
        None => nan,
        Some(bits) => {
            let sign = 1u32 << (format.bits - 1);
            if finite && bits & !sign == format.overflow as u32 { bits - 1 } else { bits }
        }
    }
}

#[inline(always)]
fn f(value: f32) -> f64 {
    f64::from(value)
}

/// f64 to f32; a NaN keeps its sign and the upper bits of its payload.
#[inline(always)]
fn single<const MODE: u8>(value: f64) -> f32 {
    let bits = value.to_bits();
    let nan = (bits >> 32) as u32 & 0x8000_0000 | 0x7fc0_0000 | (bits >> 29) as u32 & 0x003f_ffff;
    if value.is_nan() { f32::from_bits(nan) } else { to_f32::<MODE>(value) }
}

/// The NaN that a conversion from f32 or a half gives.
#[inline(always)]
fn canonical<T>(_: T) -> u32 {
    u32::from(HALF_NAN)
}

/// The NaN that a conversion from f64 to a half with so many bits of fraction gives.
#[inline(always)]
fn half_payload<const FRACTION: u32>(value: f64) -> u32 {
    let bits = value.to_bits();
    let fraction = (bits >> (52 - FRACTION)) as u32 & ((1 << FRACTION) - 1) | 1 << (FRACTION - 1);
    (bits >> 48) as u32 & 0x8000 | 0x7fff & !((1 << FRACTION) - 1) | fraction
}

/// e4m3 or e5m2 to f64, exactly.
#[inline(always)]
fn float8_to_f64<const E5: bool>(bits: u8) -> f64 {
    if E5 {
        return f16_to_f64(u16::from(bits) << 8);
    }
    let magnitude = match bits & 0x7f {
        0x7f => return f64::NAN,
        bits if bits < 8 => f64::from(bits) / 512.0,
        bits => f64::from(8 + (bits & 7)) / 8.0 * f64::exp2(f64::from(i32::from(bits >> 3) - 7)),
    };
    if bits & 0x80 != 0 { -magnitude } else { magnitude }
}

impl<'m> Decoder<'_, 'm> {
    pub(super) fn convert(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        if words.take("pack") {
            return self.convert_pack(i, words);
        }
        let integer_mode =
            words.take_one(&["rni", "rzi", "rmi", "rpi"]).map(|index| [NEAREST, ZERO, DOWN, UP][index]);
        let mode = if words.take("rna") { Some(AWAY) } else { rounding(&mut words) };
        let flags = Flags {
            mode,
            integer_mode,
            ftz: words.take("ftz"),
            sat: words.take("sat"),
            relu: words.take("relu"),
            satfinite: words.take("satfinite"),
        };
        let (d, s) = (words.ty()?, words.ty()?);
        words.finish()?;
        let bad = || unsupported(i, "this conversion");
        match (d, s) {
            (Type::F16x2 | Type::BF16x2, Type::F32) => return self.to_pair(i, d, flags),
            (Type::E4M3x2 | Type::E5M2x2, Type::F32) => return self.to_float8(i, d, flags),
            (Type::E4M3x2, Type::F16x2 | Type::BF16x2) => {
                let alu = match (s, flags.relu) {
                    (Type::F16x2, relu) => eights::<false>(f16_to_f64, relu),
                    (_, relu) => eights_from_brain(false, relu),
                };
                return self.mixed(i, Class::Conversion, Type::B16, &[Type::B32], Some(alu));
            }
            (Type::E5M2x2, Type::F16x2 | Type::BF16x2) => {
                let alu = match (s, flags.relu) {
                    (Type::F16x2, relu) => eights::<true>(f16_to_f64, relu),
                    (_, relu) => eights_from_brain(true, relu),
                };
                return self.mixed(i, Class::Conversion, Type::B16, &[Type::B32], Some(alu));
            }
            (Type::F16x2, Type::E4M3x2 | Type::E5M2x2) => {
                macro_rules! widen {
                    ($e5:literal, $relu:literal) => {
                        unary(|a: u16| {
                            let one = |bits: u8| {
                                narrowed::<NEAREST>(
                                    float8_to_f64::<$e5>(bits),
                                    F16,
                                    $relu,
                                    false,
                                    u32::from(HALF_NAN),
                                )
                            };
                            one(a as u8) | one((a >> 8) as u8) << 16
                        })
                    };
                }
                let alu = match (s == Type::E5M2x2, flags.relu) {
                    (false, false) => widen!(false, false),
                    (false, true) => widen!(false, true),
                    (true, false) => widen!(true, false),
                    (true, true) => widen!(true, true),
                };
                return self.mixed(i, Class::Conversion, Type::B32, &[Type::B16], Some(alu));
            }
            (Type::TF32, Type::F32) => {
                macro_rules! tf32 {
                    ($mode:ident, $relu:literal, $finite:literal) => {
                        unary(|a: f32| {
                            if a.is_nan() {
                                // To nearest with ties away nothing tells NaNs from numbers: their bits are cut, and
                                // the step from infinity to the greatest number is taken from them too.
                                let cut = a.to_bits() & !0x1fff;
                                return match ($mode == AWAY, $finite) {
                                    (false, _) => 0x7fff_e000,
                                    (true, false) => cut,
                                    (true, true) => cut - 0x2000,
                                };
                            }
                            narrowed::<$mode>(f(a), TF32, $relu, $finite, 0) << 13
                        })
                    };
                }
                let alu = match (mode, flags.relu, flags.satfinite) {
                    (Some(AWAY), false, false) => tf32!(AWAY, false, false),
                    (Some(AWAY), false, true) => tf32!(AWAY, false, true),
                    (Some(NEAREST), false, false) => tf32!(NEAREST, false, false),
                    (Some(NEAREST), false, true) => tf32!(NEAREST, false, true),
                    (Some(NEAREST), true, false) => tf32!(NEAREST, true, false),
                    (Some(NEAREST), true, true) => tf32!(NEAREST, true, true),
                    (Some(ZERO), false, false) => tf32!(ZERO, false, false),
                    (Some(ZERO), true, false) => tf32!(ZERO, true, false),
                    _ => return Err(bad()),
                };
                return self.mixed(i, Class::Conversion, Type::B32, &[Type::B32], Some(alu));
            }
            _ => {}
        }
        let [d_operand, a] = i.operands.as_slice() else { return Err(unsupported(i, "2 operands")) };
        let a = self.source(i, a, super::compare::plain_float(s))?;
        let register = self.dest_register(i, d_operand, super::compare::plain_float(d))?;
        let slots = Slots { d: register.slot, a, b: a, c: NONE, e: NONE };
        let alu = if is_integer(s) && is_integer(d) {
            integer_to_integer(d, s, flags.sat, register)
        } else if is_integer(d) {
            Some(to_integer(d, s, flags).ok_or_else(bad)?)
        } else if is_integer(s) {
            let alu = from_integer(d, s, flags).ok_or_else(bad)?;
            if flags.sat {
                self.alu(Class::Conversion, alu, slots);
                let clamp = saturated(d).ok_or_else(bad)?;
                self.hidden(Class::Conversion, clamp, Slots { a: slots.d, b: slots.d, ..slots });
                return Ok(());
            }
            Some(alu)
        } else {
            float_to_float(d, s, flags)
        };
        let alu = alu.ok_or_else(bad)?;
        self.alu(Class::Conversion, alu, slots);
        // Narrow integers in registers that are wider: zeros, sign or nothing above them.
        if is_integer(d) && !is_integer(s) {
            self.widen(d, register);
        }
        Ok(())
    }

    /// Makes the bits above an integer result what its type says, up to the register's width.
    fn widen(&mut self, d: Type, register: Register) {
        let slot = register.slot;
        let one = Slots { d: slot, a: slot, b: slot, c: NONE, e: NONE };
        if register.ty.bits() <= 16 && d.bits() < 32 {
            self.hidden(Class::Conversion, unary(|a: u32| a & 0xffff), one);
        }
        if register.rows() == 2 && d.bits() <= 32 {
            let alu = if is_signed(d) { unary(|a: i32| i64::from(a)) } else { unary(|a: u32| u64::from(a)) };
            self.hidden(Class::Conversion, alu, one);
        }
    }

    /// `cvt.rn.bf16x2.f32 d, a, b`: `a` above, `b` below.
    fn to_pair(&mut self, i: &'m Instruction, d: Type, flags: Flags) -> Result<(), Unsupported> {
        macro_rules! pair {
            ($mode:ident, $format:ident, $relu:literal, $finite:literal) => {
                binary(|a: f32, b: f32| {
                    let one = |value: f32| {
                        narrowed::<$mode>(f(value), $format, $relu, $finite, u32::from(HALF_NAN))
                    };
                    one(a) << 16 | one(b)
                })
            };
        }
        macro_rules! by_flags {
            ($format:ident) => {
                match (flags.mode, flags.relu, flags.satfinite) {
                    (Some(NEAREST), false, false) => pair!(NEAREST, $format, false, false),
                    (Some(NEAREST), true, false) => pair!(NEAREST, $format, true, false),
                    (Some(NEAREST), false, true) => pair!(NEAREST, $format, false, true),
                    (Some(NEAREST), true, true) => pair!(NEAREST, $format, true, true),
                    (Some(ZERO), false, false) => pair!(ZERO, $format, false, false),
                    (Some(ZERO), true, false) => pair!(ZERO, $format, true, false),
                    (Some(ZERO), false, true) => pair!(ZERO, $format, false, true),
                    (Some(ZERO), true, true) => pair!(ZERO, $format, true, true),
                    _ => return Err(unsupported(i, "this rounding")),
                }
            };
        }
        let alu = match (d, flags.mode, flags.relu, flags.satfinite) {
            (Type::BF16x2, Some(NEAREST), false, false) => lanes::binary(|a: f32, b: f32| {
                u32::from(bf16_from_f32(a)) << 16 | u32::from(bf16_from_f32(b))
            }),
            (_, Some(NEAREST), false, false) => {
                lanes::binary(|a: f32, b: f32| u32::from(f16_from_f32(a)) << 16 | u32::from(f16_from_f32(b)))
            }
            (Type::BF16x2, ..) => by_flags!(BF16),
            _ => by_flags!(F16),
        };
        self.mixed(i, Class::Conversion, Type::B32, &[Type::F32, Type::F32], Some(alu))
    }

    /// `cvt.rn.satfinite.e4m3x2.f32 d, a, b`: `a` above, `b` below.
    fn to_float8(&mut self, i: &'m Instruction, d: Type, flags: Flags) -> Result<(), Unsupported> {
        if flags.mode != Some(NEAREST) || !flags.satfinite {
            return Err(unsupported(i, "`.rn.satfinite`"));
        }
        macro_rules! pair {
            ($format:ident, $relu:literal) => {
                binary(|a: f32, b: f32| {
                    let one = |value: f32| narrowed::<NEAREST>(f(value), $format, $relu, true, 0x7f);
                    (one(a) << 8 | one(b)) as u16
                })
            };
        }
        let alu = match (d, flags.relu) {
            (Type::E4M3x2, false) => {
                lanes::binary(|a: f32, b: f32| float8_from_f32::<false>(a) << 8 | float8_from_f32::<false>(b))
            }
            (Type::E4M3x2, true) => pair!(E4M3, true),
            (_, false) => {
                lanes::binary(|a: f32, b: f32| float8_from_f32::<true>(a) << 8 | float8_from_f32::<true>(b))
            }
            (_, true) => pair!(E5M2, true),
        };
        self.mixed(i, Class::Conversion, Type::B16, &[Type::F32, Type::F32], Some(alu))
    }

    /// `cvt.pack.sat.u4.s32.b32 d, a, b, c` and its kin.
    fn convert_pack_small(
        &mut self,
        i: &'m Instruction,
        mut words: Words<'_>,
        sat: bool,
        small: usize,
    ) -> Result<(), Unsupported> {
        let types = (words.ty()?, words.ty()?);
        words.finish()?;
        if !sat || types != (Type::S32, Type::B32) {
            return Err(unsupported(i, "this packing"));
        }
        let alu = match small {
            0 => ternary(packed::<4, false>),
            1 => ternary(packed::<4, true>),
            2 => ternary(packed::<2, false>),
            _ => ternary(packed::<2, true>),
        };
        self.mixed(i, Class::Conversion, Type::B32, &[Type::S32, Type::S32, Type::B32], Some(alu))
    }

    /// `cvt.pack.sat.u8.s32.b32 d, a, b, c` and `cvt.pack.sat.u16.s32 d, a, b`.
    fn convert_pack(&mut self, i: &'m Instruction, mut words: Words<'_>) -> Result<(), Unsupported> {
        let sat = words.take("sat");
        if let Some(small) = words.take_one(&["u4", "s4", "u2", "s2"]) {
            return self.convert_pack_small(i, words, sat, small);
        }
        let (d, s) = (words.ty()?, words.ty()?);
        let with_c = words.another_type().is_some();
        words.finish()?;
        if !sat || s != Type::S32 || (with_c != matches!(d, Type::U8 | Type::S8)) {
            return Err(unsupported(i, "this packing"));
        }
        let (alu, sources): (AluFn, &[Type]) = match d {
            Type::U16 => (
                binary(|a: i32, b: i32| (a.clamp(0, 65535) as u32) << 16 | b.clamp(0, 65535) as u32),
                &[Type::S32, Type::S32],
            ),
            Type::S16 => (
                binary(|a: i32, b: i32| {
                    (a.clamp(-32768, 32767) as u32) << 16 | b.clamp(-32768, 32767) as u32 & 0xffff
                }),
                &[Type::S32, Type::S32],
            ),
            Type::U8 => (
                ternary(|a: i32, b: i32, c: u32| {
                    c << 16 | (a.clamp(0, 255) as u32) << 8 | b.clamp(0, 255) as u32
                }),
                &[Type::S32, Type::S32, Type::B32],
            ),
            Type::S8 => (
                ternary(|a: i32, b: i32, c: u32| {
                    c << 16 | (a.clamp(-128, 127) as u32 & 0xff) << 8 | b.clamp(-128, 127) as u32 & 0xff
                }),
                &[Type::S32, Type::S32, Type::B32],
            ),
            _ => return Err(unsupported(i, "this packing")),
        };
        if i.operands.len() != sources.len() + 1 {
            return Err(unsupported(i, format!("{} operands", sources.len() + 1)));
        }
        self.mixed(i, Class::Conversion, Type::B32, sources, Some(alu))
    }
}

/// `cvt.pack` to fields of 2 or 4 bits: `c` moves up by two of them.
fn packed<const BITS: u32, const SIGNED: bool>(a: i32, b: i32, c: u32) -> u32 {
    let (low, high) = if SIGNED { (-(1 << (BITS - 1)), (1 << (BITS - 1)) - 1) } else { (0, (1 << BITS) - 1) };
    let field = |value: i32| value.clamp(low, high) as u32 & ((1 << BITS) - 1);
    c << (2 * BITS) | field(a) << BITS | field(b)
}

/// Two halves to two 8-bit floats.
fn eights<const E5: bool>(_: fn(u16) -> f64, relu: bool) -> AluFn {
    macro_rules! pair {
        ($relu:literal) => {
            unary(|a: u32| {
                let format = if E5 { E5M2 } else { E4M3 };
                let one = |bits: u16| narrowed::<NEAREST>(f16_to_f64(bits), format, $relu, true, 0x7f);
                (one(a as u16) | one((a >> 16) as u16) << 8) as u16
            })
        };
    }
    if relu { pair!(true) } else { pair!(false) }
}

/// Two bf16 to two 8-bit floats.
fn eights_from_brain(e5: bool, relu: bool) -> AluFn {
    macro_rules! pair {
        ($format:ident, $relu:literal) => {
            unary(|a: u32| {
                let one = |bits: u16| narrowed::<NEAREST>(bf16_to_f64(bits), $format, $relu, true, 0x7f);
                (one(a as u16) | one((a >> 16) as u16) << 8) as u16
            })
        };
    }
    match (e5, relu) {
        (false, false) => pair!(E4M3, false),
        (false, true) => pair!(E4M3, true),
        (true, false) => pair!(E5M2, false),
        (true, true) => pair!(E5M2, true),
    }
}

/// A float to an integer: always clamped, as hardware does.
fn to_integer(d: Type, s: Type, flags: Flags) -> Option<AluFn> {
    let mode = flags.integer_mode.or(flags.mode)?;
    Some(match s {
        Type::F32 if flags.ftz => float_to_integer!(d, mode, f32, false, |a| f(flush::<true>(a))),
        Type::F32 => float_to_integer!(d, mode, f32, false, f),
        Type::F64 => float_to_integer!(d, mode, f64, true, |a: f64| a),
        Type::F16 => float_to_integer!(d, mode, u16, false, f16_to_f64),
        Type::BF16 => float_to_integer!(d, mode, u16, false, bf16_to_f64),
        _ => return None,
    })
}

fn from_integer(d: Type, s: Type, flags: Flags) -> Option<AluFn> {
    let mode = flags.mode?;
    match (d, s, mode) {
        (Type::F32, Type::U32, NEAREST) => return Some(lanes::unary(|a: u32| a as f32)),
        (Type::F32, Type::S32, NEAREST) => return Some(lanes::unary(|a: i32| a as f32)),
        _ => {}
    }
    match s {
        Type::U8 => integer_to_float!(d, mode, u32, |a: u32| (u64::from(a as u8), false)),
        Type::U16 => integer_to_float!(d, mode, u16, |a: u16| (u64::from(a), false)),
        Type::U32 => integer_to_float!(d, mode, u32, |a: u32| (u64::from(a), false)),
        Type::U64 => integer_to_float!(d, mode, u64, |a: u64| (a, false)),
        Type::S8 => {
            integer_to_float!(d, mode, u32, |a: u32| { (u64::from((a as i8).unsigned_abs()), (a as i8) < 0) })
        }
        Type::S16 => integer_to_float!(d, mode, i16, |a: i16| (u64::from(a.unsigned_abs()), a < 0)),
        Type::S32 => integer_to_float!(d, mode, i32, |a: i32| (u64::from(a.unsigned_abs()), a < 0)),
        Type::S64 => integer_to_float!(d, mode, i64, |a: i64| (a.unsigned_abs(), a < 0)),
        _ => None,
    }
}

/// What `.sat` does to the float that an integer became.
fn saturated(d: Type) -> Option<AluFn> {
    Some(match d {
        Type::F32 => unary(finish::<false, true>),
        Type::F64 => unary(saturate),
        Type::F16 => {
            unary(|a: u16| narrowed::<NEAREST>(saturate(f16_to_f64(a)), F16, false, false, 0) as u16)
        }
        _ => return None,
    })
}

#[inline(always)]
fn saturate(value: f64) -> f64 {
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

fn float_to_float(d: Type, s: Type, flags: Flags) -> Option<AluFn> {
    let Flags { mode, integer_mode, ftz, sat, relu, satfinite } = flags;
    let narrow_mode = mode.unwrap_or(NEAREST);
    match (d, s) {
        (Type::F32, Type::F32) => Some(match (integer_mode, ftz, sat) {
            (None, false, false) => lanes::unary(|a: f32| a),
            (None, true, false) => unary(|a: f32| finish::<true, false>(a)),
            (None, false, true) => unary(|a: f32| finish::<false, true>(a)),
            (None, true, true) => unary(|a: f32| finish::<true, true>(a)),
            (Some(mode), false, false) => {
                by_mode!(mode, M => unary(|a: f32| finish::<false, false>(integral::<M>(f(a)) as f32)))
            }
            (Some(mode), true, false) => {
                by_mode!(mode, M => unary(|a: f32| finish::<true, false>(integral::<M>(f(flush::<true>(a))) as f32)))
            }
            (Some(mode), false, true) => {
                by_mode!(mode, M => unary(|a: f32| finish::<false, true>(integral::<M>(f(a)) as f32)))
            }
            (Some(mode), true, true) => {
                by_mode!(mode, M => unary(|a: f32| finish::<true, true>(integral::<M>(f(flush::<true>(a))) as f32)))
            }
        }),
        (Type::F64, Type::F64) => Some(match (integer_mode, sat) {
            (None, false) => unary(|a: f64| a),
            (None, true) => unary(saturate),
            (Some(mode), false) => by_mode!(mode, M => unary(|a: f64| keep1(integral::<M>(a), a))),
            (Some(mode), true) => by_mode!(mode, M => unary(|a: f64| saturate(integral::<M>(a)))),
        }),
        (Type::F16, Type::F16) => Some(match integer_mode {
            None if sat => {
                unary(|a: u16| narrowed::<NEAREST>(saturate(f16_to_f64(a)), F16, false, false, 0) as u16)
            }
            None => unary(|a: u16| known::<false>(a, a)),
            Some(mode) if sat => by_mode!(mode, M => unary(|a: u16| {
                narrowed::<NEAREST>(saturate(integral::<M>(f16_to_f64(a))), F16, false, false, 0) as u16
            })),
            Some(mode) => by_mode!(mode, M => unary(|a: u16| {
                narrowed::<NEAREST>(integral::<M>(f16_to_f64(a)), F16, false, false, u32::from(HALF_NAN)) as u16
            })),
        }),
        (Type::BF16, Type::BF16) => Some(match integer_mode {
            None => unary(|a: u16| known::<true>(a, a)),
            Some(mode) => by_mode!(mode, M => unary(|a: u16| {
                narrowed::<NEAREST>(integral::<M>(bf16_to_f64(a)), BF16, false, false, u32::from(HALF_NAN)) as u16
            })),
        }),
        (Type::F32, Type::F64) => Some(match (ftz, sat) {
            (false, false) if narrow_mode == NEAREST => lanes::unary(|a: f64| single::<NEAREST>(a)),
            (false, false) => by_mode!(narrow_mode, M => unary(single::<M>)),
            (true, false) => by_mode!(narrow_mode, M => unary(|a: f64| flush::<true>(single::<M>(a)))),
            (false, true) => {
                by_mode!(narrow_mode, M => unary(|a: f64| finish::<false, true>(to_f32::<M>(a))))
            }
            (true, true) => by_mode!(narrow_mode, M => unary(|a: f64| finish::<true, true>(to_f32::<M>(a)))),
        }),
        (Type::F64, Type::F32) => Some(match (ftz, sat) {
            (false, false) => lanes::unary(f),
            (true, false) => unary(|a: f32| f(finish::<true, false>(a))),
            (false, true) => unary(|a: f32| saturate(f(a))),
            (true, true) => unary(|a: f32| saturate(f(flush::<true>(a)))),
        }),
        (Type::F32, Type::F16) => Some(match (ftz, sat) {
            (_, false) => lanes::unary(f32_from_f16),
            (_, true) => unary(|a: u16| finish::<false, true>(f16_to_f64(a) as f32)),
        }),
        (Type::F32, Type::BF16) => Some(match (ftz, sat) {
            (false, false) => lanes::unary(|a: u16| f32::from_bits(u32::from(a) << 16)),
            (true, false) => unary(|a: u16| finish::<true, false>(f32::from_bits(u32::from(a) << 16))),
            (_, true) => unary(|a: u16| finish::<false, true>(f32::from_bits(u32::from(a) << 16))),
        }),
        (Type::F64, Type::F16) if sat => Some(unary(|a: u16| saturate(f16_to_f64(a)))),
        (Type::F64, Type::F16) => Some(unary(f16_to_f64)),
        (Type::F64, Type::BF16) => Some(unary(bf16_to_f64)),
        (Type::BF16, Type::F32) if mode == Some(NEAREST) && !relu && !satfinite && !sat && !ftz => {
            Some(lanes::unary(bf16_from_f32))
        }
        (Type::F16, Type::F32) if mode == Some(NEAREST) && !relu && !satfinite && !sat && !ftz => {
            Some(lanes::unary(f16_from_f32))
        }
        (Type::F16 | Type::BF16, Type::F32 | Type::F64 | Type::F16 | Type::BF16) => {
            macro_rules! to {
                ($S:ident, $from:expr, $format:ident, $nan:expr) => {
                    match (relu, satfinite, sat) {
                        (false, false, false) => by_mode!(narrow_mode, M => unary(|a: $S| {
                            narrowed::<M>($from(a), $format, false, false, $nan(a)) as u16
                        })),
                        (true, false, _) => by_mode!(narrow_mode, M => unary(|a: $S| {
                            narrowed::<M>($from(a), $format, true, false, u32::from(HALF_NAN)) as u16
                        })),
                        (false, true, _) => by_mode!(narrow_mode, M => unary(|a: $S| {
                            narrowed::<M>($from(a), $format, false, true, u32::from(HALF_NAN)) as u16
                        })),
                        (true, true, _) => by_mode!(narrow_mode, M => unary(|a: $S| {
                            narrowed::<M>($from(a), $format, true, true, u32::from(HALF_NAN)) as u16
                        })),
                        (false, false, true) => by_mode!(narrow_mode, M => unary(|a: $S| {
                            narrowed::<M>(saturate($from(a)), $format, false, false, 0) as u16
                        })),
                    }
                };
            }
            Some(match (d, s, ftz) {
                // `.ftz` does nothing here: no f32 subnormal is more than a rest in f16.
                (Type::F16, Type::F32, _) => to!(f32, f, F16, canonical),
                (Type::F16, Type::F64, _) => to!(f64, |a: f64| a, F16, half_payload::<10>),
                (Type::F16, Type::BF16, _) => to!(u16, bf16_to_f64, F16, canonical),
                (Type::BF16, Type::F32, false) => to!(f32, f, BF16, canonical),
                (Type::BF16, Type::F32, true) => to!(f32, |a| f(flush::<true>(a)), BF16, canonical),
                (Type::BF16, Type::F64, _) => to!(f64, |a: f64| a, BF16, half_payload::<7>),
                (Type::BF16, Type::F16, _) => to!(u16, f16_to_f64, BF16, canonical),
                _ => return None,
            })
        }
        _ => None,
    }
}
