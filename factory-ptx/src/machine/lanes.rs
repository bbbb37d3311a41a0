//! Operations on the 32 lanes of a warp.
//!
//! The registers of a warp are one array of 32-bit words. A register of 32 bits or less takes 32 consecutive words,
//! one a lane; one of 64 bits takes 64: first the low halves of all lanes, then the high halves; one of 128 bits
//! four such rows. A predicate takes one word, one bit a lane. A *slot* is the index of a register's first word.
//!
//! An ALU instruction is a function pointer, made from a closure over one lane by [`unary`], [`binary`], [`ternary`]
//! and their kin: the loop over lanes is compiled once for each closure, with and without AVX2, and has no branches.

/// Lanes of a warp.
pub(crate) const LANES: usize = 32;
/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// The slots that an ALU instruction works on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    pub(crate) d: u32,
    pub(crate) a: u32,
    pub(crate) b: u32,
    pub(crate) c: u32,
    /// Second destination or fourth source.
    pub(crate) e: u32,
}

/// Runs one ALU instruction on the lanes of a mask, over the words of one frame.
///
/// # Safety
/// Call only what [`unary`] and its kin returned: they choose what this CPU can execute.
pub(crate) type AluFn = unsafe fn(&mut [u32], &Slots, u32);

/// A type that a register's lanes can be read and written as.
pub(crate) trait Lane: Copy + Default {
    fn load(words: &[u32], slot: u32) -> [Self; LANES];
    fn store(words: &mut [u32], slot: u32, mask: u32, values: &[Self; LANES]);
}

#[inline(always)]
pub(crate) fn row(words: &[u32], slot: u32) -> &[u32; LANES] {
    words[slot as usize..].first_chunk().expect("slots lie inside the frame")
}

#[inline(always)]
pub(crate) fn row_mut(words: &mut [u32], slot: u32) -> &mut [u32; LANES] {
    words[slot as usize..].first_chunk_mut().expect("slots lie inside the frame")
}

#[inline(always)]
fn blend(row: &mut [u32; LANES], mask: u32, values: &[u32; LANES]) {
    if mask == u32::MAX {
        *row = *values;
    } else {
        for lane in 0..LANES {
            let keep = ((mask >> lane) & 1).wrapping_sub(1);
            row[lane] = (row[lane] & keep) | (values[lane] & !keep);
        }
    }
}

impl Lane for u32 {
    #[inline(always)]
    fn load(words: &[u32], slot: u32) -> [u32; LANES] {
        *row(words, slot)
    }
    #[inline(always)]
    fn store(words: &mut [u32], slot: u32, mask: u32, values: &[u32; LANES]) {
        blend(row_mut(words, slot), mask, values);
    }
}

impl Lane for u64 {
    #[inline(always)]
    fn load(words: &[u32], slot: u32) -> [u64; LANES] {
        let low = row(words, slot);
        let high = row(words, slot + LANES as u32);
        let mut values = [0; LANES];
        for lane in 0..LANES {
            values[lane] = u64::from(low[lane]) | u64::from(high[lane]) << 32;
        }
        values
    }
    #[inline(always)]
    fn store(words: &mut [u32], slot: u32, mask: u32, values: &[u64; LANES]) {
        let mut low = [0; LANES];
        let mut high = [0; LANES];
        for lane in 0..LANES {
            low[lane] = values[lane] as u32;
            high[lane] = (values[lane] >> 32) as u32;
        }
        blend(row_mut(words, slot), mask, &low);
        blend(row_mut(words, slot + LANES as u32), mask, &high);
    }
}

/// Lanes that are another lane type's bits.
macro_rules! lane_through {
    ($($ty:ty: $bits:ty, $from:expr, $to:expr;)*) => {$(
        impl Lane for $ty {
            #[inline(always)]
            fn load(words: &[u32], slot: u32) -> [$ty; LANES] {
                let bits = <$bits>::load(words, slot);
                let mut values = [<$ty>::default(); LANES];
                for lane in 0..LANES {
                    values[lane] = $from(bits[lane]);
                }
                values
            }
            #[inline(always)]
            fn store(words: &mut [u32], slot: u32, mask: u32, values: &[$ty; LANES]) {
                let mut bits = [<$bits>::default(); LANES];
                for lane in 0..LANES {
                    bits[lane] = $to(values[lane]);
                }
                <$bits>::store(words, slot, mask, &bits);
            }
        }
    )*};
}

lane_through! {
    i32: u32, (|bits: u32| bits as i32), (|value: i32| value as u32);
    f32: u32, f32::from_bits, f32::to_bits;
    i64: u64, (|bits: u64| bits as i64), (|value: i64| value as u64);
    f64: u64, f64::from_bits, f64::to_bits;
    u16: u32, (|bits: u32| bits as u16), u32::from;
    i16: u32, (|bits: u32| bits as i16), (|value: i16| u32::from(value as u16));
}

/// Predicates: one bit a lane.
impl Lane for bool {
    #[inline(always)]
    fn load(words: &[u32], slot: u32) -> [bool; LANES] {
        let bits = words[slot as usize];
        std::array::from_fn(|lane| bits >> lane & 1 != 0)
    }
    #[inline(always)]
    fn store(words: &mut [u32], slot: u32, mask: u32, values: &[bool; LANES]) {
        let mut bits = 0;
        for (lane, &value) in values.iter().enumerate() {
            bits |= u32::from(value) << lane;
        }
        let word = &mut words[slot as usize];
        *word = *word & !mask | bits & mask;
    }
}

/// 128 bits: four rows, lowest first.
impl Lane for u128 {
    #[inline(always)]
    fn load(words: &[u32], slot: u32) -> [u128; LANES] {
        let low = u64::load(words, slot);
        let high = u64::load(words, slot + 2 * LANES as u32);
        std::array::from_fn(|lane| u128::from(low[lane]) | u128::from(high[lane]) << 64)
    }
    #[inline(always)]
    fn store(words: &mut [u32], slot: u32, mask: u32, values: &[u128; LANES]) {
        u64::store(words, slot, mask, &values.map(|value| value as u64));
        u64::store(words, slot + 2 * LANES as u32, mask, &values.map(|value| (value >> 64) as u64));
    }
}

/// The closure that a type stands for.
#[inline(always)]
fn conjure<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0, "lane closures capture nothing") };
    // SAFETY: `F` is zero-sized, as asserted, and `Copy`; a value of it existed when the pointer to the caller was
    // made (`unary` and its kin take one), so the type is inhabited, and reading no bytes makes another.
    unsafe { std::ptr::NonNull::<F>::dangling().as_ptr().read() }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

/// Defines a constructor, its portable body and its AVX2 twin.
macro_rules! arity {
    ($(#[$doc:meta])* $name:ident, $plain:ident, $fast:ident, <$($generic:ident),*>, ($($arg:ty),*) -> $ret:ty,
     |$words:ident, $slots:ident, $mask:ident, $f:ident| $body:block) => {
        #[inline(always)]
        fn $plain<$($generic: Lane,)* Z: Fn($($arg),*) -> $ret + Copy>(
            $words: &mut [u32], $slots: &Slots, $mask: u32,
        ) {
            let $f = conjure::<Z>();
            $body
        }

        $(#[$doc])*
        pub(crate) fn $name<$($generic: Lane,)* Z: Fn($($arg),*) -> $ret + Copy>(_: Z) -> AluFn {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn $fast<$($generic: Lane,)* Z: Fn($($arg),*) -> $ret + Copy>(
                words: &mut [u32], slots: &Slots, mask: u32,
            ) {
                $plain::<$($generic,)* Z>(words, slots, mask);
            }
            #[cfg(target_arch = "x86_64")]
            if has_avx2() {
                return $fast::<$($generic,)* Z>;
            }
            $plain::<$($generic,)* Z>
        }
    };
}

arity! {
    /// `d = f(a)`
    unary, unary_plain, unary_fast, <A, D>, (A) -> D, |words, slots, mask, f| {
        let a = A::load(words, slots.a);
        let mut d = [D::default(); LANES];
        for lane in 0..LANES {
            d[lane] = f(a[lane]);
        }
        D::store(words, slots.d, mask, &d);
    }
}

arity! {
    /// `d = f(a, b)`
    binary, binary_plain, binary_fast, <A, B, D>, (A, B) -> D, |words, slots, mask, f| {
        let a = A::load(words, slots.a);
        let b = B::load(words, slots.b);
        let mut d = [D::default(); LANES];
        for lane in 0..LANES {
            d[lane] = f(a[lane], b[lane]);
        }
        D::store(words, slots.d, mask, &d);
    }
}

arity! {
    /// `d = f(a, b, c)`
    ternary, ternary_plain, ternary_fast, <A, B, C, D>, (A, B, C) -> D, |words, slots, mask, f| {
        let a = A::load(words, slots.a);
        let b = B::load(words, slots.b);
        let c = C::load(words, slots.c);
        let mut d = [D::default(); LANES];
        for lane in 0..LANES {
            d[lane] = f(a[lane], b[lane], c[lane]);
        }
        D::store(words, slots.d, mask, &d);
    }
}

arity! {
    /// `d = f(a, b, c, e)`
    quaternary, quaternary_plain, quaternary_fast, <A, B, C, E, D>, (A, B, C, E) -> D, |words, slots, mask, f| {
        let a = A::load(words, slots.a);
        let b = B::load(words, slots.b);
        let c = C::load(words, slots.c);
        let e = E::load(words, slots.e);
        let mut d = [D::default(); LANES];
        for lane in 0..LANES {
            d[lane] = f(a[lane], b[lane], c[lane], e[lane]);
        }
        D::store(words, slots.d, mask, &d);
    }
}

arity! {
    /// `d, carry = f(a, b, carry)`, the carry being the predicate in slot `e`
    carrying, carrying_plain, carrying_fast, <A, D>, (A, A, bool) -> (D, bool), |words, slots, mask, f| {
        let a = A::load(words, slots.a);
        let b = A::load(words, slots.b);
        let e = bool::load(words, slots.e);
        let mut d = [D::default(); LANES];
        let mut carry = [false; LANES];
        for lane in 0..LANES {
            (d[lane], carry[lane]) = f(a[lane], b[lane], e[lane]);
        }
        D::store(words, slots.d, mask, &d);
        bool::store(words, slots.e, mask, &carry);
    }
}

arity! {
    /// `d, carry = f(a, b, c, carry)`, the carry being the predicate in slot `e`
    carrying3, carrying3_plain, carrying3_fast, <A, D>, (A, A, A, bool) -> (D, bool), |words, slots, mask, f| {
        let a = A::load(words, slots.a);
        let b = A::load(words, slots.b);
        let c = A::load(words, slots.c);
        let e = bool::load(words, slots.e);
        let mut d = [D::default(); LANES];
        let mut carry = [false; LANES];
        for lane in 0..LANES {
            (d[lane], carry[lane]) = f(a[lane], b[lane], c[lane], e[lane]);
        }
        D::store(words, slots.d, mask, &d);
        bool::store(words, slots.e, mask, &carry);
    }
}

/// How `setp` combines its comparison with a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combine {
    And,
    Or,
    Xor,
}

#[inline(always)]
fn comparison<A: Lane>(words: &[u32], slots: &Slots, f: impl Fn(A, A) -> bool) -> u32 {
    let a = A::load(words, slots.a);
    let b = A::load(words, slots.b);
    let mut bytes = [0u8; LANES];
    for lane in 0..LANES {
        bytes[lane] = u8::from(f(a[lane], b[lane]));
    }
    let mut bits = 0;
    for (eighth, chunk) in bytes.chunks_exact(8).enumerate() {
        let chunk = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        // Gathers the low bits of eight bytes into one byte.
        bits |= ((chunk.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32) << (eighth * 8);
    }
    bits
}

#[inline(always)]
fn put(words: &mut [u32], slot: u32, mask: u32, bits: u32) {
    if slot != NONE {
        let word = &mut words[slot as usize];
        *word = *word & !mask | bits & mask;
    }
}

macro_rules! compare_with {
    ($name:ident, $plain:ident, $fast:ident, $combine:tt) => {
        arity! {
            /// `d = f(a, b) ∘ c` and, where slot `e` is one, `e = !f(a, b) ∘ c`
            $name, $plain, $fast, <A>, (A, A) -> bool, |words, slots, mask, f| {
                let bits = comparison::<A>(words, slots, f);
                let c = words[slots.c as usize];
                put(words, slots.d, mask, bits $combine c);
                put(words, slots.e, mask, !bits $combine c);
            }
        }
    };
}

compare_with!(compare_and, compare_and_plain, compare_and_fast, &);
compare_with!(compare_or, compare_or_plain, compare_or_fast, |);
compare_with!(compare_xor, compare_xor_plain, compare_xor_fast, ^);

/// `setp`: see [`compare_and`].
pub(crate) fn compare<A: Lane, F: Fn(A, A) -> bool + Copy>(combine: Combine, f: F) -> AluFn {
    match combine {
        Combine::And => compare_and::<A, F>(f),
        Combine::Or => compare_or::<A, F>(f),
        Combine::Xor => compare_xor::<A, F>(f),
    }
}

/// `set`: `d = f(a, b) ∘ c ? yes : 0`, with `d` 32 bits wide.
macro_rules! set_with {
    ($name:ident, $plain:ident, $fast:ident, $yes:expr, $combine:tt) => {
        arity! {
            /// `d = f(a, b) ∘ c ? yes : 0`
            $name, $plain, $fast, <A>, (A, A) -> bool, |words, slots, mask, f| {
                let bits = comparison::<A>(words, slots, f) $combine words[slots.c as usize];
                let d: [u32; LANES] = std::array::from_fn(|lane| (bits >> lane & 1) * $yes);
                u32::store(words, slots.d, mask, &d);
            }
        }
    };
}

set_with!(set_int_and, set_int_and_plain, set_int_and_fast, u32::MAX, &);
set_with!(set_int_or, set_int_or_plain, set_int_or_fast, u32::MAX, |);
set_with!(set_int_xor, set_int_xor_plain, set_int_xor_fast, u32::MAX, ^);
set_with!(set_f32_and, set_f32_and_plain, set_f32_and_fast, 0x3f80_0000, &);
set_with!(set_f32_or, set_f32_or_plain, set_f32_or_fast, 0x3f80_0000, |);
set_with!(set_f32_xor, set_f32_xor_plain, set_f32_xor_fast, 0x3f80_0000, ^);

/// `set` with an integer (all ones) or f32 (1.0) result.
pub(crate) fn set<A: Lane, F: Fn(A, A) -> bool + Copy>(combine: Combine, float: bool, f: F) -> AluFn {
    match (combine, float) {
        (Combine::And, false) => set_int_and::<A, F>(f),
        (Combine::Or, false) => set_int_or::<A, F>(f),
        (Combine::Xor, false) => set_int_xor::<A, F>(f),
        (Combine::And, true) => set_f32_and::<A, F>(f),
        (Combine::Or, true) => set_f32_or::<A, F>(f),
        (Combine::Xor, true) => set_f32_xor::<A, F>(f),
    }
}

macro_rules! predicate_op {
    ($(#[$doc:meta])* $name:ident, |$a:ident, $b:ident| $body:expr) => {
        $(#[$doc])*
        pub(crate) fn $name(words: &mut [u32], slots: &Slots, mask: u32) {
            let $a = words[slots.a as usize];
            let $b = words[slots.b as usize];
            put(words, slots.d, mask, $body);
        }
    };
}

predicate_op!(/** `d = a & b` on predicates */ predicate_and, |a, b| a & b);
predicate_op!(/** `d = a | b` on predicates */ predicate_or, |a, b| a | b);
predicate_op!(/** `d = a ^ b` on predicates */ predicate_xor, |a, b| a ^ b);
predicate_op!(/** `d = !(a & b)`: a NOT when both are the same */ predicate_nand, |a, b| !(a & b));

/// Does nothing; stands in instructions that are not ALU ones.
pub(crate) fn nothing(_: &mut [u32], _: &Slots, _: u32) {}

/// The same constructors without an AVX2 twin, for operations that are rare or too long to gain from it: they keep the
/// time to compile the machine down.
pub(crate) mod cold {
    use super::{AluFn, Lane, binary_plain, quaternary_plain, ternary_plain, unary_plain};

    /// See [`super::unary`].
    pub(crate) fn unary<A: Lane, D: Lane, Z: Fn(A) -> D + Copy>(_: Z) -> AluFn {
        unary_plain::<A, D, Z>
    }

    /// See [`super::binary`].
    pub(crate) fn binary<A: Lane, B: Lane, D: Lane, Z: Fn(A, B) -> D + Copy>(_: Z) -> AluFn {
        binary_plain::<A, B, D, Z>
    }

    /// See [`super::ternary`].
    pub(crate) fn ternary<A: Lane, B: Lane, C: Lane, D: Lane, Z: Fn(A, B, C) -> D + Copy>(_: Z) -> AluFn {
        ternary_plain::<A, B, C, D, Z>
    }

    /// See [`super::quaternary`].
    pub(crate) fn quaternary<A: Lane, B: Lane, C: Lane, E: Lane, D: Lane, Z: Fn(A, B, C, E) -> D + Copy>(
        _: Z,
    ) -> AluFn {
        quaternary_plain::<A, B, C, E, D, Z>
    }
}
