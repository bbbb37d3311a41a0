//! Integer, logic and predicate instructions.

use super::class::{B16, B32, B64, Pred, Reg, Src};
use super::entry::Entry;

macro_rules! integer {
    ($($(#[$doc:meta])* $name:ident ($($arg:ident: $class:ident),*) -> $result:ident = $opcode:literal $($modifier:literal)*;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, $($arg: impl Into<Src<$class>>),*) -> Reg<$result> {
            self.result($opcode, &[$($modifier),*], [$($arg.into().operand()),*])
        }
    )*};
}

impl Entry {
    integer! {
        /// `a + b`, wrapping.
        add_s32(a: B32, b: B32) -> B32 = "add" "s32";
        /// `a - b`, wrapping.
        sub_s32(a: B32, b: B32) -> B32 = "sub" "s32";
        /// Low half of `a * b`.
        mul_lo_s32(a: B32, b: B32) -> B32 = "mul" "lo" "s32";
        /// Low half of `a * b + c`.
        mad_lo_s32(a: B32, b: B32, c: B32) -> B32 = "mad" "lo" "s32";
        /// Unsigned quotient.
        div_u32(a: B32, b: B32) -> B32 = "div" "u32";
        /// Unsigned remainder.
        rem_u32(a: B32, b: B32) -> B32 = "rem" "u32";
        /// Signed remainder, with the sign of `a`.
        rem_s32(a: B32, b: B32) -> B32 = "rem" "s32";
        /// Signed remainder, with the sign of `a`.
        rem_s64(a: B64, b: B64) -> B64 = "rem" "s64";
        /// Signed smaller one.
        min_s32(a: B32, b: B32) -> B32 = "min" "s32";
        /// Signed larger one.
        max_s32(a: B32, b: B32) -> B32 = "max" "s32";
        /// Unsigned smaller one.
        min_u32(a: B32, b: B32) -> B32 = "min" "u32";
        /// Magnitude.
        abs_s32(a: B32) -> B32 = "abs" "s32";
        /// `-a`
        neg_s32(a: B32) -> B32 = "neg" "s32";
        /// Bitwise and.
        and_b32(a: B32, b: B32) -> B32 = "and" "b32";
        /// Bitwise or.
        or_b32(a: B32, b: B32) -> B32 = "or" "b32";
        /// Bitwise exclusive or.
        xor_b32(a: B32, b: B32) -> B32 = "xor" "b32";
        /// Shift left.
        shl_b32(a: B32, b: B32) -> B32 = "shl" "b32";
        /// Logical shift right.
        shr_u32(a: B32, b: B32) -> B32 = "shr" "u32";
        /// Arithmetic shift right.
        shr_s32(a: B32, b: B32) -> B32 = "shr" "s32";
        /// Signed bit field: source, position, length.
        bfe_s32(a: B32, position: B32, length: B32) -> B32 = "bfe" "s32";
        /// Unsigned bit field: source, position, length.
        bfe_u32(a: B32, position: B32, length: B32) -> B32 = "bfe" "u32";
        /// Bytes of `b:a` picked by the nibbles of `selector`.
        prmt(a: B32, b: B32, selector: B32) -> B32 = "prmt" "b32";
        /// 32 x 32 to 64 bits, unsigned.
        mul_wide_u32(a: B32, b: B32) -> B64 = "mul" "wide" "u32";
        /// 32 x 32 + 64 to 64 bits, unsigned.
        mad_wide_u32(a: B32, b: B32, c: B64) -> B64 = "mad" "wide" "u32";
        /// 32 x 32 to 64 bits, signed.
        mul_wide_s32(a: B32, b: B32) -> B64 = "mul" "wide" "s32";
        /// `a + b`, wrapping.
        add_s64(a: B64, b: B64) -> B64 = "add" "s64";
        /// `a - b`, wrapping.
        sub_s64(a: B64, b: B64) -> B64 = "sub" "s64";
        /// Low half of `a * b`.
        mul_lo_s64(a: B64, b: B64) -> B64 = "mul" "lo" "s64";
        /// Low half of `a * b + c`.
        mad_lo_s64(a: B64, b: B64, c: B64) -> B64 = "mad" "lo" "s64";
        /// Unsigned quotient.
        div_u64(a: B64, b: B64) -> B64 = "div" "u64";
        /// Unsigned remainder.
        rem_u64(a: B64, b: B64) -> B64 = "rem" "u64";
        /// Signed smaller one.
        min_s64(a: B64, b: B64) -> B64 = "min" "s64";
        /// Signed larger one.
        max_s64(a: B64, b: B64) -> B64 = "max" "s64";
        /// Magnitude.
        abs_s64(a: B64) -> B64 = "abs" "s64";
        /// `-a`
        neg_s64(a: B64) -> B64 = "neg" "s64";
        /// Bitwise and.
        and_b64(a: B64, b: B64) -> B64 = "and" "b64";
        /// Bitwise or.
        or_b64(a: B64, b: B64) -> B64 = "or" "b64";
        /// Shift left; the distance is 32 bits wide.
        shl_b64(a: B64, b: B32) -> B64 = "shl" "b64";
        /// Logical shift right; the distance is 32 bits wide.
        shr_u64(a: B64, b: B32) -> B64 = "shr" "u64";
        /// Arithmetic shift right; the distance is 32 bits wide.
        shr_s64(a: B64, b: B32) -> B64 = "shr" "s64";
        /// Zero extension.
        u64_from_u32(a: B32) -> B64 = "cvt" "u64" "u32";
        /// Sign extension.
        s64_from_s32(a: B32) -> B64 = "cvt" "s64" "s32";
        /// The low 32 bits.
        u32_from_u64(a: B64) -> B32 = "cvt" "u32" "u64";
        /// Zero extension.
        u32_from_u16(a: B16) -> B32 = "cvt" "u32" "u16";
        /// Sign extension of the low byte.
        s32_from_s8(a: B16) -> B32 = "cvt" "s32" "s8";
        /// The low 16 bits.
        u16_from_u32(a: B32) -> B16 = "cvt" "u16" "u32";
        /// Both.
        and_pred(a: Pred, b: Pred) -> Pred = "and" "pred";
        /// Either.
        or_pred(a: Pred, b: Pred) -> Pred = "or" "pred";
        /// One but not the other.
        xor_pred(a: Pred, b: Pred) -> Pred = "xor" "pred";
        /// Not.
        not_pred(a: Pred) -> Pred = "not" "pred";
    }

    /// Compares signed; `comparison` is `eq`, `ne`, `lt`, `le`, `gt` or `ge`.
    pub fn setp_s32(
        &mut self,
        comparison: &str,
        a: impl Into<Src<B32>>,
        b: impl Into<Src<B32>>,
    ) -> Reg<Pred> {
        self.result("setp", &[comparison, "s32"], [a.into().operand(), b.into().operand()])
    }

    /// Compares unsigned; `comparison` is `eq`, `ne`, `lt`, `le`, `gt` or `ge`.
    pub fn setp_u32(
        &mut self,
        comparison: &str,
        a: impl Into<Src<B32>>,
        b: impl Into<Src<B32>>,
    ) -> Reg<Pred> {
        self.result("setp", &[comparison, "u32"], [a.into().operand(), b.into().operand()])
    }

    /// Compares signed; `comparison` is `eq`, `ne`, `lt`, `le`, `gt` or `ge`.
    pub fn setp_s64(
        &mut self,
        comparison: &str,
        a: impl Into<Src<B64>>,
        b: impl Into<Src<B64>>,
    ) -> Reg<Pred> {
        self.result("setp", &[comparison, "s64"], [a.into().operand(), b.into().operand()])
    }

    /// `condition ? a : b`
    pub fn select_b32(
        &mut self,
        a: impl Into<Src<B32>>,
        b: impl Into<Src<B32>>,
        condition: Reg<Pred>,
    ) -> Reg<B32> {
        self.result("selp", &["b32"], [a.into().operand(), b.into().operand(), condition.operand()])
    }

    /// `condition ? a : b`
    pub fn select_b64(
        &mut self,
        a: impl Into<Src<B64>>,
        b: impl Into<Src<B64>>,
        condition: Reg<Pred>,
    ) -> Reg<B64> {
        self.result("selp", &["b64"], [a.into().operand(), b.into().operand(), condition.operand()])
    }
}
