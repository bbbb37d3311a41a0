//! Arithmetic and conversions that came with sm_100: pairs of f32, sums of f32 and halves, floats of 4 and 6 bits, and
//! scale factors.

use super::float::{by_mode, rounding};
use super::function::Decoder;
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Type};
use crate::machine::error::Unsupported;
use crate::machine::lanes::cold::{binary, ternary, unary};
use crate::machine::lanes::{AluFn, NONE, Slots};
use crate::machine::number::{
    DOWN, F16, Format, HALF_NAN, NEAREST, UP, ZERO, bf16_to_f64, f16_to_f64, finish, flush, narrow,
};
use crate::machine::report::Class;

const E2M3: Format = Format { fraction: 3, least: 0, overflow: 0x20, infinity: false, bits: 6 };
const E3M2: Format = Format { fraction: 2, least: -2, overflow: 0x20, infinity: false, bits: 6 };
const E2M1: Format = Format { fraction: 1, least: 0, overflow: 8, infinity: false, bits: 4 };

/// A value of a small format, exactly.
fn small_to_f64(bits: u32, format: Format) -> f64 {
    let fraction = bits & ((1 << format.fraction) - 1);
    let field = (bits & ((1 << (format.bits - 1)) - 1)) >> format.fraction;
    let whole = if field == 0 { fraction } else { fraction | 1 << format.fraction };
    let exponent = field.max(1) as i32 - 1 + format.least - format.fraction as i32;
    let value = f64::from(whole) * 2f64.powi(exponent);
    if bits >> (format.bits - 1) & 1 != 0 { -value } else { value }
}

/// To a small format: to nearest, cut off at the greatest number, which a NaN becomes too.
fn f32_to_small(value: f32, format: Format, relu: bool) -> u32 {
    let value = if relu && value <= 0.0 { 0.0 } else { value };
    narrow::<NEAREST>(f64::from(value), format).unwrap_or(format.overflow as u32 - 1)
}

/// Two values, each in a field of `width` bits, the first one above.
fn small_pair(a: f32, b: f32, format: Format, width: u32, relu: bool) -> u32 {
    f32_to_small(a, format, relu) << width | f32_to_small(b, format, relu)
}

/// Two values of a small format as f16, which holds them exactly.
fn small_to_halves(bits: u32, format: Format, width: u32, relu: bool) -> u32 {
    let one = |bits: u32| {
        let value = small_to_f64(bits & ((1 << format.bits) - 1), format);
        let value = if relu && value <= 0.0 { 0.0 } else { value };
        narrow::<NEAREST>(value, F16).unwrap_or(u32::from(HALF_NAN))
    };
    one(bits >> width) << 16 | one(bits)
}

/// An exponent of 8 bits: the sign is lost, zeros and what is smaller become 2^-127.
fn f32_to_scale(value: f32, up: bool, finite: bool) -> u32 {
    let magnitude = value.to_bits() & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return 0xff;
    }
    let above = magnitude & 0x7f_ffff != 0 && magnitude > 0x40_0000 && magnitude < 0x7f80_0000;
    let scale = (magnitude >> 23) + u32::from(up && above);
    if finite { scale.min(0xfe) } else { scale }
}

fn scale_to_brain(scale: u32) -> u32 {
    match scale & 0xff {
        0 => 0x40,
        0xff => u32::from(HALF_NAN),
        scale => scale << 7,
    }
}

/// Two f32 in one register.
#[inline(always)]
fn halves(pair: u64) -> (f32, f32) {
    (f32::from_bits(pair as u32), f32::from_bits((pair >> 32) as u32))
}

#[inline(always)]
fn pair(low: f32, high: f32) -> u64 {
    u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32
}

/// `d = a * b + c` in a rounding mode.
#[inline(always)]
fn fused<const MODE: u8, const FLUSH: bool>(a: f32, b: f32, c: f32) -> f32 {
    let [a, b, c] = [a, b, c].map(flush::<FLUSH>);
    finish::<FLUSH, false>(super::float::fma_mode::<MODE>(f64::from(a), f64::from(b), f64::from(c)))
}

/// What a product is added to so that it stays as it is, sign of zero included.
#[inline(always)]
fn nothing<const MODE: u8>() -> f32 {
    if MODE == DOWN { 0.0 } else { -0.0 }
}

fn packed(opcode: &str, mode: u8, ftz: bool) -> Option<AluFn> {
    macro_rules! two {
        ($M:ident, $F:literal) => {
            match opcode {
                "add" => Some(binary(|a: u64, b: u64| {
                    let ((a, x), (b, y)) = (halves(a), halves(b));
                    pair(fused::<$M, $F>(a, 1.0, b), fused::<$M, $F>(x, 1.0, y))
                })),
                "sub" => Some(binary(|a: u64, b: u64| {
                    let ((a, x), (b, y)) = (halves(a), halves(b));
                    pair(fused::<$M, $F>(a, 1.0, -b), fused::<$M, $F>(x, 1.0, -y))
                })),
                "mul" => Some(binary(|a: u64, b: u64| {
                    let ((a, x), (b, y)) = (halves(a), halves(b));
                    let zero = nothing::<$M>();
                    pair(fused::<$M, $F>(a, b, zero), fused::<$M, $F>(x, y, zero))
                })),
                "fma" => Some(ternary(|a: u64, b: u64, c: u64| {
                    let ((a, x), (b, y), (c, z)) = (halves(a), halves(b), halves(c));
                    pair(fused::<$M, $F>(a, b, c), fused::<$M, $F>(x, y, z))
                })),
                _ => None,
            }
        };
    }
    by_mode!(mode, M => if ftz { two!(M, true) } else { two!(M, false) })
}

/// `add`, `sub`, `fma` of f32 in a mode, perhaps cut to [0, 1].
fn single(opcode: &str, mode: u8, sat: bool) -> Option<AluFn> {
    macro_rules! one {
        ($M:ident, $S:literal) => {
            match opcode {
                "add" => Some(binary(|a: f32, b: f32| finish::<false, $S>(fused::<$M, false>(a, 1.0, b)))),
                "sub" => Some(binary(|a: f32, b: f32| finish::<false, $S>(fused::<$M, false>(a, 1.0, -b)))),
                "fma" => {
                    Some(ternary(|a: f32, b: f32, c: f32| finish::<false, $S>(fused::<$M, false>(a, b, c))))
                }
                _ => None,
            }
        };
    }
    by_mode!(mode, M => if sat { one!(M, true) } else { one!(M, false) })
}

impl<'m> Decoder<'_, 'm> {
    /// `add.f32x2` and its kin.
    pub(super) fn packed_f32(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let mode = rounding(&mut words).unwrap_or(NEAREST);
        let ftz = words.take("ftz");
        let _ = words.ty()?;
        words.finish()?;
        let alu = packed(&i.opcode, mode, ftz);
        self.same(i, Class::F32, Type::B64, alu)
    }

    /// `add.f32.f16` and its kin: all operands but the last are halves, widened exactly.
    pub(super) fn mixed_f32(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let mode = rounding(&mut words).unwrap_or(NEAREST);
        let sat = words.take("sat");
        let (_, half) = (words.ty()?, words.ty()?);
        words.finish()?;
        let Some((d, sources)) = i.operands.split_first() else { return Err(unsupported(i, "operands")) };
        let wanted = if i.opcode == "fma" { 3 } else { 2 };
        let (Some((last, halves)), true) = (sources.split_last(), sources.len() == wanted) else {
            return Err(unsupported(i, format!("{} operands", wanted + 1)));
        };
        let widen: AluFn = if half == Type::F16 {
            unary(|a: u16| f16_to_f64(a) as f32)
        } else {
            unary(|a: u16| bf16_to_f64(a) as f32)
        };
        let mut slots = Vec::new();
        for operand in halves {
            let a = self.source(i, operand, half)?;
            let wide = self.allocate_type(Type::F32)?.slot;
            self.hidden(Class::Conversion, widen, Slots { d: wide, a, b: a, c: NONE, e: NONE });
            slots.push(wide);
        }
        slots.push(self.source(i, last, Type::F32)?);
        slots.resize(3, NONE);
        let d = self.dest(i, d, Type::F32)?;
        let alu = single(&i.opcode, mode, sat).ok_or_else(|| unsupported(i, "this operation"))?;
        self.alu(Class::F32, alu, Slots { d, a: slots[0], b: slots[1], c: slots[2], e: NONE });
        Ok(())
    }

    /// Conversions from and to floats of 4 and 6 bits and scale factors.
    pub(super) fn convert_small(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        if words.take("rs") {
            let needs = "the places of the random bits, which the PTX ISA gives in figures alone";
            return Err(unsupported(i, needs));
        }
        let mode = rounding(&mut words);
        let (relu, finite) = (words.take("relu"), words.take("satfinite"));
        let (d, s) = (words.ty()?, words.ty()?);
        words.finish()?;
        macro_rules! narrow {
            ($format:ident, $width:literal) => {
                if relu {
                    binary(|a: f32, b: f32| small_pair(a, b, $format, $width, true) as u16)
                } else {
                    binary(|a: f32, b: f32| small_pair(a, b, $format, $width, false) as u16)
                }
            };
        }
        macro_rules! widen {
            ($format:ident, $width:literal) => {
                if relu {
                    unary(|a: u32| small_to_halves(a, $format, $width, true))
                } else {
                    unary(|a: u32| small_to_halves(a, $format, $width, false))
                }
            };
        }
        macro_rules! scales {
            ($up:literal, $finite:literal) => {
                if s == Type::F32 {
                    binary(|a: f32, b: f32| {
                        (f32_to_scale(a, $up, $finite) << 8 | f32_to_scale(b, $up, $finite)) as u16
                    })
                } else {
                    unary(|a: u32| {
                        let one = |bits: u32| f32_to_scale(f32::from_bits(bits << 16), $up, $finite);
                        (one(a >> 16) << 8 | one(a & 0xffff)) as u16
                    })
                }
            };
        }
        let f32s: &[Type] = &[Type::F32, Type::F32];
        let (d, sources, alu): (Type, &[Type], AluFn) = match (d, s) {
            (Type::E2M3x2, Type::F32) => (Type::B16, f32s, narrow!(E2M3, 8)),
            (Type::E3M2x2, Type::F32) => (Type::B16, f32s, narrow!(E3M2, 8)),
            (Type::E2M1x2, Type::F32) => (Type::B8, f32s, narrow!(E2M1, 4)),
            (Type::F16x2, Type::E2M3x2) => (Type::B32, &[Type::B16], widen!(E2M3, 8)),
            (Type::F16x2, Type::E3M2x2) => (Type::B32, &[Type::B16], widen!(E3M2, 8)),
            (Type::F16x2, Type::E2M1x2) => (Type::B32, &[Type::B8], widen!(E2M1, 4)),
            (Type::BF16x2, Type::UE8M0x2) => {
                let alu = unary(|a: u32| scale_to_brain(a >> 8) << 16 | scale_to_brain(a));
                (Type::B32, &[Type::B16], alu)
            }
            (Type::UE8M0x2, Type::F32 | Type::BF16x2) => {
                let alu = match (mode, finite) {
                    (Some(ZERO), false) => scales!(false, false),
                    (Some(ZERO), true) => scales!(false, true),
                    (Some(UP), false) => scales!(true, false),
                    (Some(UP), true) => scales!(true, true),
                    _ => return Err(unsupported(i, "`.rz` or `.rp`")),
                };
                (Type::B16, if s == Type::F32 { f32s } else { &[Type::B32] }, alu)
            }
            _ => return Err(unsupported(i, "this conversion")),
        };
        self.mixed(i, Class::Conversion, d, sources, Some(alu))
    }
}

/// Whether an instruction is one of [`Decoder::convert_small`].
pub(super) fn is_small(i: &Instruction) -> bool {
    i.modifiers.iter().any(|word| {
        matches!(
            word.as_str(),
            "e2m1x2"
                | "e2m3x2"
                | "e3m2x2"
                | "e2m1x4"
                | "e2m3x4"
                | "e3m2x4"
                | "e4m3x4"
                | "e5m2x4"
                | "ue8m0x2"
                | "rs"
        )
    })
}
