//! Operations on the 32 lanes of a warp.
//!
//! The registers of a warp are one array of 32-bit words. A register of 32 bits or less takes 32 consecutive words,
//! one a lane; one of 64 bits takes 64: first the low halves of all lanes, then the high halves; one of 128 bits
//! four such rows. A predicate takes one word, one bit a lane. A *slot* is the index of a register's first word.
//!
//! An ALU instruction is a function pointer, made from a closure over one lane by [`unary`], [`binary`], [`ternary`]
//! and their kin: the loop over lanes is compiled once for each closure, for AVX2 where that exists, and has no branches.

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
        pub(crate) fn $name<$($generic: Lane,)* Z: Fn($($arg),*) -> $ret + Copy>(f: Z) -> AluFn {
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
            } else {
                // Old processors get the small loops: a second vectorised copy would cost every build a third more.
                return cold::$name(f);
            }
            #[cfg(not(target_arch = "x86_64"))]
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

#[inline(always)]
fn put(words: &mut [u32], slot: u32, mask: u32, bits: u32) {
    if slot != NONE {
        let word = &mut words[slot as usize];
        *word = *word & !mask | bits & mask;
    }
}

arity! {
    /// `d = f(a, b)` and, where slot `e` is one, `e = !f(a, b)`
    compare, compare_plain, compare_fast, <A>, (A, A) -> bool, |words, slots, mask, f| {
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
        put(words, slots.d, mask, bits);
        put(words, slots.e, mask, !bits);
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

/// The same constructors for operations that are rare: one plain loop over lanes each, neither unrolled nor vectorised.
/// There are many hundreds of them, and this keeps the time to compile the machine down.
pub(crate) mod cold {
    use super::{AluFn, LANES, Lane, Slots, conjure, put};
    use std::hint::black_box;

    /// Reads a register; compiled once for each type of lane.
    #[inline(never)]
    fn load<A: Lane>(words: &[u32], slot: u32) -> [A; LANES] {
        A::load(words, slot)
    }

    /// Writes a register; compiled once for each type of lane.
    #[inline(never)]
    fn store<D: Lane>(words: &mut [u32], slot: u32, mask: u32, values: &[D; LANES]) {
        D::store(words, slot, mask, values);
    }

    macro_rules! arity {
        ($name:ident, $body:ident, [$($generic:ident $source:ident),*]) => {
            fn $body<$($generic: Lane,)* D: Lane, Z: Fn($($generic),*) -> D + Copy>(
                words: &mut [u32], slots: &Slots, mask: u32,
            ) {
                let f = conjure::<Z>();
                $(let $source = load::<$generic>(words, slots.$source);)*
                let mut d = [D::default(); LANES];
                // The optimiser must not see that there are 32 of them.
                for (lane, d) in d[..black_box(LANES)].iter_mut().enumerate() {
                    *d = black_box(f($($source[lane % LANES]),*));
                }
                store::<D>(words, slots.d, mask, &d);
            }

            /// The rare form of the constructor of that name in the module above.
            pub(crate) fn $name<$($generic: Lane,)* D: Lane, Z: Fn($($generic),*) -> D + Copy>(_: Z) -> AluFn {
                $body::<$($generic,)* D, Z>
            }
        };
    }

    /// `d = f(a, b)` and, where slot `e` is one, `e = !f(a, b)`
    fn compare_body<A: Lane, Z: Fn(A, A) -> bool + Copy>(words: &mut [u32], slots: &Slots, mask: u32) {
        let f = conjure::<Z>();
        let (a, b) = (load::<A>(words, slots.a), load::<A>(words, slots.b));
        let mut bits = 0;
        for lane in 0..black_box(LANES) {
            bits |= u32::from(black_box(f(a[lane % LANES], b[lane % LANES]))) << (lane % LANES);
        }
        put(words, slots.d, mask, bits);
        put(words, slots.e, mask, !bits);
    }

    /// The rare form of the constructor of that name in the module above.
    pub(crate) fn compare<A: Lane, Z: Fn(A, A) -> bool + Copy>(_: Z) -> AluFn {
        compare_body::<A, Z>
    }

    macro_rules! carrying {
        ($name:ident, $body:ident, ($($arg:ty),*), [$($source:ident),*]) => {
            fn $body<A: Lane, D: Lane, Z: Fn($($arg),*) -> (D, bool) + Copy>(
                words: &mut [u32], slots: &Slots, mask: u32,
            ) {
                let f = conjure::<Z>();
                $(let $source = load::<A>(words, slots.$source);)*
                let e = load::<bool>(words, slots.e);
                let mut d = [D::default(); LANES];
                let mut carry = [false; LANES];
                for lane in 0..black_box(LANES) {
                    let lane = lane % LANES;
                    (d[lane], carry[lane]) = f($($source[lane],)* e[lane]);
                }
                store::<D>(words, slots.d, mask, &d);
                store::<bool>(words, slots.e, mask, &carry);
            }

            /// The rare form of the constructor of that name in the module above.
            pub(crate) fn $name<A: Lane, D: Lane, Z: Fn($($arg),*) -> (D, bool) + Copy>(_: Z) -> AluFn {
                $body::<A, D, Z>
            }
        };
    }

    carrying!(carrying, carrying_body, (A, A, bool), [a, b]);
    carrying!(carrying3, carrying3_body, (A, A, A, bool), [a, b, c]);
    arity!(unary, unary_body, [A a]);
    arity!(binary, binary_body, [A a, B b]);
    arity!(ternary, ternary_body, [A a, B b, C c]);
    arity!(quaternary, quaternary_body, [A a, B b, C c, E e]);
}
