//! Floating-point arithmetic and conversions.

use super::class::{B16, B32, B64, F32, F64, Float, Pred, Reg, Src};
use super::entry::Entry;
use crate::ast::Operand;

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident $opcode:literal $($modifier:literal)*;)*) => {$(
        $(#[$doc])*
        pub fn $name<C: Float>(&mut self, a: impl Into<Src<C>>, b: impl Into<Src<C>>) -> Reg<C> {
            self.result($opcode, &[$($modifier,)* C::SUFFIX], [a.into().operand(), b.into().operand()])
        }
    )*};
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident $opcode:literal $($modifier:literal)*;)*) => {$(
        $(#[$doc])*
        pub fn $name<C: Float>(&mut self, a: impl Into<Src<C>>) -> Reg<C> {
            self.result($opcode, &[$($modifier,)* C::SUFFIX], [a.into().operand()])
        }
    )*};
}

macro_rules! approximate {
    ($($(#[$doc:meta])* $name:ident $opcode:literal $($modifier:literal)*;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, a: impl Into<Src<F32>>) -> Reg<F32> {
            self.result($opcode, &[$($modifier,)* "f32"], [a.into().operand()])
        }
    )*};
}

macro_rules! convert {
    ($($(#[$doc:meta])* $name:ident ($from:ident -> $to:ident) $($modifier:literal)*;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, a: impl Into<Src<$from>>) -> Reg<$to> {
            self.result("cvt", &[$($modifier,)*], [a.into().operand()])
        }
    )*};
}

impl Entry {
    binary! {
        /// `a + b`, free to be contracted with a product.
        add "add";
        /// `a - b`, free to be contracted with a product.
        sub "sub";
        /// `a * b`, free to be contracted with a sum.
        mul "mul";
        /// `a * b`, rounded on its own.
        mul_rn "mul" "rn";
        /// `a + b`, rounded on its own.
        add_rn "add" "rn";
        /// `a - b`, rounded on its own.
        sub_rn "sub" "rn";
        /// `a / b`, correctly rounded.
        div_rn "div" "rn";
        /// The smaller one; a NaN operand is ignored.
        min "min";
        /// The larger one; a NaN operand is ignored.
        max "max";
        /// Magnitude of `b` with the sign of `a`.
        copysign "copysign";
    }

    unary! {
        /// `-a`
        neg "neg";
        /// `|a|`
        abs "abs";
        /// Square root, correctly rounded.
        sqrt_rn "sqrt" "rn";
        /// `1 / a`, correctly rounded.
        rcp_rn "rcp" "rn";
        /// `1 / sqrt(a)`, approximate (relative error near 2^-22 in f32 and 2^-20 in f64).
        rsqrt_approx "rsqrt" "approx";
    }

    approximate! {
        /// `2^a`, relative error near 2^-22, subnormals kept.
        ex2_approx "ex2" "approx";
        /// Base-2 logarithm, absolute error near 2^-22 outside of [0.5, 2], subnormals taken.
        lg2_approx "lg2" "approx";
        /// `1 / a`, at most 1 ulp, subnormals kept.
        rcp_approx "rcp" "approx";
    }

    /// `a / b` within 2 ulp over the whole range.
    pub fn div_full(&mut self, a: impl Into<Src<F32>>, b: impl Into<Src<F32>>) -> Reg<F32> {
        self.result("div", &["full", "f32"], [a.into().operand(), b.into().operand()])
    }

    /// The larger one; a NaN operand gives NaN.
    pub fn max_nan(&mut self, a: impl Into<Src<F32>>, b: impl Into<Src<F32>>) -> Reg<F32> {
        self.result("max", &["NaN", "f32"], [a.into().operand(), b.into().operand()])
    }

    /// The smaller one; a NaN operand gives NaN.
    pub fn min_nan(&mut self, a: impl Into<Src<F32>>, b: impl Into<Src<F32>>) -> Reg<F32> {
        self.result("min", &["NaN", "f32"], [a.into().operand(), b.into().operand()])
    }

    /// `a * b + c`, rounded once.
    pub fn fma<C: Float>(
        &mut self,
        a: impl Into<Src<C>>,
        b: impl Into<Src<C>>,
        c: impl Into<Src<C>>,
    ) -> Reg<C> {
        self.result("fma", &["rn", C::SUFFIX], [a.into().operand(), b.into().operand(), c.into().operand()])
    }

    /// Rounds to an integral value: `mode` is `rni`, `rzi`, `rmi` or `rpi`.
    pub fn round_integral<C: Float>(&mut self, mode: &str, a: impl Into<Src<C>>) -> Reg<C> {
        self.result("cvt", &[mode, C::SUFFIX, C::SUFFIX], [a.into().operand()])
    }

    /// Compares; `comparison` is `eq`, `ne`, `lt`, `le`, `gt`, `ge` or an unordered form (`neu`, `ltu`, …).
    pub fn setp<C: Float>(
        &mut self,
        comparison: &str,
        a: impl Into<Src<C>>,
        b: impl Into<Src<C>>,
    ) -> Reg<Pred> {
        self.result("setp", &[comparison, C::SUFFIX], [a.into().operand(), b.into().operand()])
    }

    /// Whether a value is NaN.
    pub fn is_nan<C: Float>(&mut self, a: Reg<C>) -> Reg<Pred> {
        self.result("setp", &["nan", C::SUFFIX], [a.operand(), a.operand()])
    }

    /// `condition ? a : b`
    pub fn select<C: Float>(
        &mut self,
        a: impl Into<Src<C>>,
        b: impl Into<Src<C>>,
        condition: Reg<Pred>,
    ) -> Reg<C> {
        self.result("selp", &[C::SUFFIX], [a.into().operand(), b.into().operand(), condition.operand()])
    }

    convert! {
        /// Exact.
        f64_from_f32(F32 -> F64) "f64" "f32";
        /// Rounded to nearest even.
        f32_from_f64(F64 -> F32) "rn" "f32" "f64";
        /// Rounded to nearest even.
        f32_from_s32(B32 -> F32) "rn" "f32" "s32";
        /// Rounded to nearest even.
        f32_from_u32(B32 -> F32) "rn" "f32" "u32";
        /// Rounded to nearest even.
        f32_from_s64(B64 -> F32) "rn" "f32" "s64";
        /// Exact.
        f64_from_s32(B32 -> F64) "rn" "f64" "s32";
        /// Rounded to nearest even.
        f64_from_s64(B64 -> F64) "rn" "f64" "s64";
        /// To the nearest integer (ties to even), saturating; NaN gives 0.
        s32_from_f32(F32 -> B32) "rni" "s32" "f32";
        /// To the nearest integer (ties to even), saturating; NaN gives 0.
        u32_from_f32(F32 -> B32) "rni" "u32" "f32";
        /// To the nearest integer (ties to even), saturating.
        s64_from_f32(F32 -> B64) "rni" "s64" "f32";
        /// To the nearest integer (ties to even), saturating.
        s32_from_f64(F64 -> B32) "rni" "s32" "f64";
        /// To the nearest integer (ties to even), saturating.
        u32_from_f64(F64 -> B32) "rni" "u32" "f64";
        /// To the nearest integer (ties to even), saturating.
        s64_from_f64(F64 -> B64) "rni" "s64" "f64";
        /// Exact.
        f32_from_f16(B16 -> F32) "f32" "f16";
        /// Rounded to nearest even.
        f16_from_f32(F32 -> B16) "rn" "f16" "f32";
        /// Rounded to nearest even.
        bf16_from_f32(F32 -> B16) "rn" "bf16" "f32";
        /// Two e4m3 values to two f16 values, exact.
        f16x2_from_e4m3x2(B16 -> B32) "rn" "f16x2" "e4m3x2";
        /// Two e5m2 values to two f16 values, exact.
        f16x2_from_e5m2x2(B16 -> B32) "rn" "f16x2" "e5m2x2";
    }

    /// Packs two values, rounded to nearest even: `format` is `f16x2` or `bf16x2`; `low` goes to the lower half.
    pub fn pack_half(
        &mut self,
        format: &str,
        low: impl Into<Src<F32>>,
        high: impl Into<Src<F32>>,
    ) -> Reg<B32> {
        self.result("cvt", &["rn", format, "f32"], [high.into().operand(), low.into().operand()])
    }

    /// Packs two values, rounded to nearest even and saturated: `format` is `e4m3x2` or `e5m2x2`; `low` goes to the lower half.
    pub fn pack_float8(
        &mut self,
        format: &str,
        low: impl Into<Src<F32>>,
        high: impl Into<Src<F32>>,
    ) -> Reg<B16> {
        self.result("cvt", &["rn", "satfinite", format, "f32"], [high.into().operand(), low.into().operand()])
    }

    /// The bits of a single.
    pub fn bits_of_f32(&mut self, a: Reg<F32>) -> Reg<B32> {
        self.result("mov", &["b32"], [a.operand()])
    }

    /// The single with these bits.
    pub fn f32_of_bits(&mut self, a: impl Into<Src<B32>>) -> Reg<F32> {
        self.result("mov", &["b32"], [a.into().operand()])
    }

    /// The bits of a double.
    pub fn bits_of_f64(&mut self, a: Reg<F64>) -> Reg<B64> {
        self.result("mov", &["b64"], [a.operand()])
    }

    /// The double with these bits.
    pub fn f64_of_bits(&mut self, a: impl Into<Src<B64>>) -> Reg<F64> {
        self.result("mov", &["b64"], [a.into().operand()])
    }

    /// Splits a 32-bit word: low half, high half.
    pub fn split_b32(&mut self, a: Reg<B32>) -> (Reg<B16>, Reg<B16>) {
        let (low, high) = (self.register::<B16>(), self.register::<B16>());
        self.emit("mov", &["b32"], vec![Operand::Vector(vec![low.operand(), high.operand()]), a.operand()]);
        (low, high)
    }

    /// Joins two halves to a 32-bit word.
    pub fn join_b32(&mut self, low: Reg<B16>, high: Reg<B16>) -> Reg<B32> {
        self.result("mov", &["b32"], [Operand::Vector(vec![low.operand(), high.operand()])])
    }

    /// Splits a 64-bit word: low half, high half.
    pub fn split_b64(&mut self, a: Reg<B64>) -> (Reg<B32>, Reg<B32>) {
        let (low, high) = (self.register::<B32>(), self.register::<B32>());
        self.emit("mov", &["b64"], vec![Operand::Vector(vec![low.operand(), high.operand()]), a.operand()]);
        (low, high)
    }

    /// Joins two halves to a 64-bit word.
    pub fn join_b64(&mut self, low: Reg<B32>, high: Reg<B32>) -> Reg<B64> {
        self.result("mov", &["b64"], [Operand::Vector(vec![low.operand(), high.operand()])])
    }
}
