//! Typed values and the operations on them.

use factory_ptx::builder::{B32, B64, Entry, F32, F64, Pred, Reg, Src};
use factory_spec::{BinaryOp, CompareOp, DType, LogicOp, UnaryOp};

use super::kinds::Kind;
use super::math::{self, Math};

/// A value in registers, or a constant.
#[derive(Clone, Copy)]
pub(super) enum Value {
    F32(Src<F32>),
    F64(Src<F64>),
    S32(Src<B32>),
    S64(Src<B64>),
    Bool(Reg<Pred>),
}

/// How floats are computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floats {
    pub(super) double: bool,
    pub(super) precise: bool,
}

fn register<C: factory_ptx::builder::Class>(e: &mut Entry, source: Src<C>) -> Reg<C> {
    match source {
        Src::Reg(register) => register,
        Src::Immediate(_) => e.copy(source),
    }
}

impl Value {
    pub(super) fn constant(value: f64, kind: Kind, floats: Floats) -> Value {
        match kind {
            Kind::S32 => Value::S32(Src::from(value as i32)),
            Kind::S64 => Value::S64(Src::from(value as i64)),
            _ if floats.double => Value::F64(Src::from(value)),
            _ => Value::F32(Src::from(value as f32)),
        }
    }

    /// As a float of the program.
    pub(super) fn float(self, e: &mut Entry, floats: Floats) -> Value {
        match (self, floats.double) {
            (Value::F32(_), false) | (Value::F64(_), true) => self,
            (Value::F32(Src::Immediate(bits)), true) => {
                Value::F64(Src::from(f64::from(f32::from_bits(bits as u32))))
            }
            (Value::F32(a), true) => Value::F64(e.f64_from_f32(a).into()),
            (Value::F64(Src::Immediate(bits)), false) => Value::F32(Src::from(f64::from_bits(bits) as f32)),
            (Value::F64(a), false) => Value::F32(e.f32_from_f64(a).into()),
            (Value::S32(Src::Immediate(bits)), _) => {
                Value::constant(f64::from(bits as u32 as i32), Kind::Float, floats)
            }
            (Value::S64(Src::Immediate(bits)), _) => Value::constant(bits as i64 as f64, Kind::Float, floats),
            (Value::S32(a), false) => Value::F32(e.f32_from_s32(a).into()),
            (Value::S32(a), true) => Value::F64(e.f64_from_s32(a).into()),
            (Value::S64(a), false) => Value::F32(e.f32_from_s64(a).into()),
            (Value::S64(a), true) => Value::F64(e.f64_from_s64(a).into()),
            (Value::Bool(p), false) => Value::F32(e.select(1.0f32, 0.0f32, p).into()),
            (Value::Bool(p), true) => Value::F64(e.select(1.0f64, 0.0f64, p).into()),
        }
    }

    /// As the kind asks: floats become integers only by [`round_to_integer`].
    pub(super) fn to(self, e: &mut Entry, kind: Kind, floats: Floats) -> Value {
        match (kind, self) {
            (Kind::Float, _) => self.float(e, floats),
            (Kind::S32, Value::S64(Src::Immediate(bits))) => Value::S32(Src::from(bits as i64 as i32)),
            (Kind::S32, Value::S64(a)) => Value::S32(e.u32_from_u64(a).into()),
            (Kind::S64, Value::S32(Src::Immediate(bits))) => {
                Value::S64(Src::from(i64::from(bits as u32 as i32)))
            }
            (Kind::S64, Value::S32(a)) => Value::S64(e.s64_from_s32(a).into()),
            (Kind::S32, Value::Bool(p)) => Value::S32(e.select_b32(1, 0, p).into()),
            (Kind::S64, Value::Bool(p)) => Value::S64(e.select_b64(1i64, 0i64, p).into()),
            _ => self,
        }
    }

    pub(super) fn predicate(self) -> Reg<Pred> {
        match self {
            Value::Bool(p) => p,
            _ => unreachable!("the program is typed: this is a truth value"),
        }
    }

    /// A 32-bit integer register; for values known to be 32-bit.
    pub(super) fn word(self, e: &mut Entry) -> Reg<B32> {
        match self {
            Value::S32(a) => register(e, a),
            Value::F32(a) => {
                let a = register(e, a);
                e.bits_of_f32(a)
            }
            _ => unreachable!("only 32-bit values are one word"),
        }
    }

    pub(super) fn f32(self, e: &mut Entry) -> Reg<F32> {
        match self {
            Value::F32(a) => register(e, a),
            Value::F64(a) => e.f32_from_f64(a),
            _ => unreachable!("a float was asked for"),
        }
    }

    /// Moves constants into a register.
    pub(super) fn materialise(self, e: &mut Entry) -> Value {
        match self {
            Value::F32(a) => Value::F32(register(e, a).into()),
            Value::F64(a) => Value::F64(register(e, a).into()),
            Value::S32(a) => Value::S32(register(e, a).into()),
            Value::S64(a) => Value::S64(register(e, a).into()),
            Value::Bool(p) => Value::Bool(p),
        }
    }

    /// A register of its own with the same value, to be overwritten later.
    pub(super) fn copy(self, e: &mut Entry) -> Value {
        match self {
            Value::F32(a) => Value::F32(e.copy(a).into()),
            Value::F64(a) => Value::F64(e.copy(a).into()),
            Value::S32(a) => Value::S32(e.copy(a).into()),
            Value::S64(a) => Value::S64(e.copy(a).into()),
            Value::Bool(p) => Value::S32(e.select_b32(1, 0, p).into()),
        }
    }

    /// Overwrites this register.
    pub(super) fn assign(self, e: &mut Entry, value: Value) {
        match (self, value) {
            (Value::F32(Src::Reg(to)), Value::F32(from)) => e.assign(to, from),
            (Value::F64(Src::Reg(to)), Value::F64(from)) => e.assign(to, from),
            (Value::S32(Src::Reg(to)), Value::S32(from)) => e.assign(to, from),
            (Value::S64(Src::Reg(to)), Value::S64(from)) => e.assign(to, from),
            _ => unreachable!("only a register of the same kind is overwritten"),
        }
    }
}

/// `condition ? a : b`, both of one kind.
pub(super) fn select(e: &mut Entry, condition: Reg<Pred>, a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::F32(a), Value::F32(b)) => Value::F32(e.select(a, b, condition).into()),
        (Value::F64(a), Value::F64(b)) => Value::F64(e.select(a, b, condition).into()),
        (Value::S32(a), Value::S32(b)) => Value::S32(e.select_b32(a, b, condition).into()),
        (Value::S64(a), Value::S64(b)) => Value::S64(e.select_b64(a, b, condition).into()),
        (Value::Bool(a), Value::Bool(b)) => {
            let first = e.and_pred(condition, a);
            let other = e.not_pred(condition);
            let second = e.and_pred(other, b);
            Value::Bool(e.or_pred(first, second))
        }
        _ => unreachable!("both sides of a selection were brought to one kind"),
    }
}

pub(super) fn logic(e: &mut Entry, op: LogicOp, a: Value, b: Value) -> Value {
    let (a, b) = (a.predicate(), b.predicate());
    Value::Bool(match op {
        LogicOp::And => e.and_pred(a, b),
        _ => e.or_pred(a, b),
    })
}

/// Compares two values of one kind.
pub(super) fn compare(e: &mut Entry, op: CompareOp, a: Value, b: Value) -> Reg<Pred> {
    let (ordered, float) = match op {
        CompareOp::Eq => ("eq", "eq"),
        // Holds for NaN.
        CompareOp::Ne => ("ne", "neu"),
        CompareOp::Lt => ("lt", "lt"),
        CompareOp::Le => ("le", "le"),
        CompareOp::Gt => ("gt", "gt"),
        _ => ("ge", "ge"),
    };
    match (a.materialise(e), b) {
        (Value::F32(a), Value::F32(b)) => e.setp(float, a, b),
        (Value::F64(a), Value::F64(b)) => e.setp(float, a, b),
        (Value::S32(a), Value::S32(b)) => e.setp_s32(ordered, a, b),
        (Value::S64(a), Value::S64(b)) => e.setp_s64(ordered, a, b),
        _ => unreachable!("both sides of a comparison were brought to one kind"),
    }
}

/// An operation on two values of one kind.
pub(super) fn binary(e: &mut Entry, op: BinaryOp, a: Value, b: Value, floats: Floats) -> Value {
    match (a, b) {
        (Value::F32(a), Value::F32(b)) => Value::F32(float_binary(e, op, a, b, floats).into()),
        (Value::F64(a), Value::F64(b)) => Value::F64(float_binary(e, op, a, b, floats).into()),
        (Value::S32(a), Value::S32(b)) => {
            let a = register(e, a);
            Value::S32(
                match op {
                    BinaryOp::Add => e.add_s32(a, b),
                    BinaryOp::Sub => e.sub_s32(a, b),
                    BinaryOp::Mul => e.mul_lo_s32(a, b),
                    BinaryOp::Min => e.min_s32(a, b),
                    BinaryOp::Max => e.max_s32(a, b),
                    _ => e.rem_s32(a, b),
                }
                .into(),
            )
        }
        (Value::S64(a), Value::S64(b)) => {
            let a = register(e, a);
            Value::S64(
                match op {
                    BinaryOp::Add => e.add_s64(a, b),
                    BinaryOp::Sub => e.sub_s64(a, b),
                    BinaryOp::Mul => e.mul_lo_s64(a, b),
                    BinaryOp::Min => e.min_s64(a, b),
                    BinaryOp::Max => e.max_s64(a, b),
                    _ => e.rem_s64(a, b),
                }
                .into(),
            )
        }
        _ => unreachable!("both operands were brought to one kind"),
    }
}

fn float_binary<F: Math>(e: &mut Entry, op: BinaryOp, a: Src<F>, b: Src<F>, floats: Floats) -> Reg<F> {
    let a = register(e, a);
    match op {
        BinaryOp::Add => e.add(a, b),
        BinaryOp::Sub => e.sub(a, b),
        BinaryOp::Mul => e.mul(a, b),
        BinaryOp::Min => e.min(a, b),
        BinaryOp::Max => e.max(a, b),
        BinaryOp::Div => {
            let b = register(e, b);
            F::divide(e, a, b, floats.precise)
        }
        BinaryOp::Rem => {
            // a - b trunc(a / b), exact while the quotient has no more digits than the format. An infinite divisor
            // leaves a as it is.
            let b = register(e, b);
            let quotient = e.div_rn(a, b);
            let whole = e.round_integral("rzi", quotient);
            let opposite = e.neg(whole);
            let rest = e.fma(opposite, b, a);
            let size = e.abs(b);
            let infinite = e.setp("eq", size, F::constant(f64::INFINITY));
            let top = e.abs(a);
            let finite = e.setp("lt", top, F::constant(f64::INFINITY));
            let as_is = e.and_pred(infinite, finite);
            e.select(a, rest, as_is)
        }
        _ => {
            let b = register(e, b);
            F::pow(e, a, b)
        }
    }
}

pub(super) fn unary(e: &mut Entry, op: UnaryOp, a: Value, floats: Floats) -> Value {
    match a {
        Value::F32(a) => Value::F32(float_unary(e, op, a, floats).into()),
        Value::F64(a) => Value::F64(float_unary(e, op, a, floats).into()),
        Value::S32(a) => match op {
            UnaryOp::Neg => Value::S32(e.neg_s32(a).into()),
            UnaryOp::Abs => Value::S32(e.abs_s32(a).into()),
            _ => Value::S32(a),
        },
        Value::S64(a) => match op {
            UnaryOp::Neg => Value::S64(e.neg_s64(a).into()),
            UnaryOp::Abs => Value::S64(e.abs_s64(a).into()),
            _ => Value::S64(a),
        },
        Value::Bool(_) => unreachable!("the program is typed: functions take numbers"),
    }
}

fn float_unary<F: Math>(e: &mut Entry, op: UnaryOp, a: Src<F>, floats: Floats) -> Reg<F> {
    let a = register(e, a);
    let precise = floats.precise;
    match op {
        UnaryOp::Neg => e.neg(a),
        UnaryOp::Abs => e.abs(a),
        UnaryOp::Exp => F::exp(e, a, precise),
        UnaryOp::Exp2 => F::exp2(e, a),
        UnaryOp::Log => math::log(e, a),
        UnaryOp::Log2 => math::log2(e, a),
        UnaryOp::Sqrt => F::sqrt(e, a),
        UnaryOp::Rsqrt => F::rsqrt(e, a, precise),
        UnaryOp::Recip => F::reciprocal(e, a, precise),
        UnaryOp::Tanh => math::tanh(e, a, precise),
        UnaryOp::Sigmoid => math::sigmoid(e, a, precise),
        UnaryOp::Silu => {
            let gate = math::sigmoid(e, a, precise);
            e.mul(a, gate)
        }
        UnaryOp::Gelu => math::gelu(e, a, precise),
        UnaryOp::Erf => math::erf(e, a, precise),
        UnaryOp::Sin => math::sine(e, a, 0),
        UnaryOp::Cos => math::sine(e, a, 1),
        UnaryOp::Floor => e.round_integral("rmi", a),
        UnaryOp::Ceil => e.round_integral("rpi", a),
        _ => e.round_integral("rni", a),
    }
}

/// A float as an integer of the dtype: to nearest even, saturated, NaN as 0.
pub(super) fn round_to_integer(e: &mut Entry, value: Value, dtype: DType) -> Value {
    let zero_for_nan = |e: &mut Entry, value: Value| -> Value {
        match value {
            Value::F32(a) => {
                let a = register(e, a);
                let nan = e.is_nan(a);
                Value::F32(e.select(0.0f32, a, nan).into())
            }
            Value::F64(a) => {
                let a = register(e, a);
                let nan = e.is_nan(a);
                Value::F64(e.select(0.0f64, a, nan).into())
            }
            other => other,
        }
    };
    match dtype {
        DType::I64 => match zero_for_nan(e, value) {
            Value::F32(a) => Value::S64(e.s64_from_f32(a).into()),
            Value::F64(a) => Value::S64(e.s64_from_f64(a).into()),
            other => other,
        },
        DType::U32 => {
            let word = match zero_for_nan(e, value) {
                Value::F32(a) => e.u32_from_f32(a),
                Value::F64(a) => e.u32_from_f64(a),
                _ => unreachable!("only floats are rounded"),
            };
            Value::S64(e.u64_from_u32(word).into())
        }
        _ => {
            let word = match zero_for_nan(e, value) {
                Value::F32(a) => e.s32_from_f32(a),
                Value::F64(a) => e.s32_from_f64(a),
                _ => unreachable!("only floats are rounded"),
            };
            match dtype {
                DType::I8 => clamp_s32(e, word, -128, 127),
                DType::U8 => clamp_s32(e, word, 0, 255),
                _ => Value::S32(word.into()),
            }
        }
    }
}

fn clamp_s32(e: &mut Entry, word: Reg<B32>, low: i32, high: i32) -> Value {
    let word = e.max_s32(word, low);
    Value::S32(e.min_s32(word, high).into())
}

/// An integer limited to what the dtype holds; `interval` is what it is known to be within.
pub(super) fn saturate(e: &mut Entry, value: Value, interval: (i128, i128), dtype: DType) -> Value {
    let Some((low, high)) = super::kinds::dtype_interval(dtype) else { return value };
    match value {
        Value::S32(a) => {
            let mut a = register(e, a);
            if interval.0 < low {
                a = e.max_s32(a, low as i32);
            }
            if interval.1 > high {
                a = e.min_s32(a, high as i32);
            }
            Value::S32(a.into())
        }
        Value::S64(a) => {
            let mut a = register(e, a);
            if interval.0 < low {
                a = e.max_s64(a, low as i64);
            }
            if interval.1 > high {
                a = e.min_s64(a, high as i64);
            }
            Value::S64(a.into())
        }
        other => other,
    }
}

/// A float rounded to a float dtype and back.
pub(super) fn round_to_float(e: &mut Entry, value: Value, dtype: DType, floats: Floats) -> Value {
    if dtype == DType::F64 || (dtype == DType::F32 && !floats.double) {
        return value;
    }
    let single = value.f32(e);
    let rounded = match dtype {
        DType::F32 => single,
        DType::BF16 => {
            // The value in the upper half over zeros: already the bits of the f32.
            let word = e.pack_half("bf16x2", 0.0f32, single);
            e.f32_of_bits(word)
        }
        DType::F16 => {
            let half = e.f16_from_f32(single);
            e.f32_from_f16(half)
        }
        _ => {
            let e4m3 = dtype == DType::F8E4M3;
            let bytes = e.pack_float8(if e4m3 { "e4m3x2" } else { "e5m2x2" }, single, 0.0f32);
            let pair = if e4m3 { e.f16x2_from_e4m3x2(bytes) } else { e.f16x2_from_e5m2x2(bytes) };
            let (low, _) = e.split_b32(pair);
            e.f32_from_f16(low)
        }
    };
    Value::F32(rounded.into()).float(e, floats)
}
