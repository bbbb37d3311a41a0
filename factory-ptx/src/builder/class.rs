//! Register classes, typed handles and operands.

use std::fmt;
use std::marker::PhantomData;

use crate::ast::{Operand, Type};

mod sealed {
    pub trait Sealed {}
}

/// A register class: what a `.reg` declaration names.
pub trait Class: sealed::Sealed + Copy + 'static {
    /// Type of the declaration.
    const TYPE: Type;
    /// Name prefix, the register number follows.
    const PREFIX: &'static str;
    /// Position of the class in the builder's counters.
    const INDEX: usize;
    /// Writes an immediate of this class; `bits` are those of the value.
    fn immediate(bits: u64) -> Operand;
}

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident $ty:ident $prefix:literal $index:literal |$bits:ident| $immediate:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name;
        impl sealed::Sealed for $name {}
        impl Class for $name {
            const TYPE: Type = Type::$ty;
            const PREFIX: &'static str = $prefix;
            const INDEX: usize = $index;
            fn immediate($bits: u64) -> Operand {
                $immediate
            }
        }
    )*};
}

classes! {
    /// Predicates.
    Pred Pred "%p" 0 |bits| Operand::Integer(i128::from(bits));
    /// 16-bit words, also f16 and bf16 values.
    B16 B16 "%rs" 1 |bits| Operand::Integer(i128::from(bits as i16));
    /// 32-bit words: signed and unsigned integers, packed pairs.
    B32 B32 "%r" 2 |bits| Operand::Integer(i128::from(bits as i32));
    /// 64-bit words: signed and unsigned integers, addresses.
    B64 B64 "%rd" 3 |bits| Operand::Integer(i128::from(bits as i64));
    /// Single precision.
    F32 F32 "%f" 4 |bits| Operand::F32(bits as u32);
    /// Double precision.
    F64 F64 "%fd" 5 |bits| Operand::F64(bits);
}

/// Number of classes.
pub(super) const CLASSES: usize = 6;

/// The floating-point classes that arithmetic is generic over.
pub trait Float: Class {
    /// `f32` or `f64`.
    const SUFFIX: &'static str;
    /// Significant bits, the hidden one included.
    const DIGITS: u32;
    /// A constant of the class.
    fn constant(value: f64) -> Src<Self>;
}

impl Float for F32 {
    const SUFFIX: &'static str = "f32";
    const DIGITS: u32 = 24;
    fn constant(value: f64) -> Src<F32> {
        Src::from(value as f32)
    }
}

impl Float for F64 {
    const SUFFIX: &'static str = "f64";
    const DIGITS: u32 = 53;
    fn constant(value: f64) -> Src<F64> {
        Src::from(value)
    }
}

/// A virtual register of class `C`.
pub struct Reg<C> {
    number: u32,
    class: PhantomData<fn() -> C>,
}

impl<C> Reg<C> {
    pub(super) fn new(number: u32) -> Self {
        Self { number, class: PhantomData }
    }
}

impl<C: Class> Reg<C> {
    /// The register's name in the text.
    pub fn name(self) -> String {
        format!("{}{}", C::PREFIX, self.number)
    }

    pub(super) fn operand(self) -> Operand {
        Operand::Name(self.name())
    }
}

impl<C> Clone for Reg<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Reg<C> {}

impl<C> PartialEq for Reg<C> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<C> Eq for Reg<C> {}

impl<C: Class> fmt::Debug for Reg<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A source operand of class `C`: a register or an immediate.
pub enum Src<C> {
    /// A register.
    Reg(Reg<C>),
    /// An immediate, as the bits of the value.
    Immediate(u64),
}

impl<C> Clone for Src<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Src<C> {}

impl<C: Class> Src<C> {
    pub(super) fn operand(self) -> Operand {
        match self {
            Src::Reg(register) => register.operand(),
            Src::Immediate(bits) => C::immediate(bits),
        }
    }
}

impl<C> From<Reg<C>> for Src<C> {
    fn from(register: Reg<C>) -> Self {
        Src::Reg(register)
    }
}

impl<C> From<&Reg<C>> for Src<C> {
    fn from(register: &Reg<C>) -> Self {
        Src::Reg(*register)
    }
}

impl From<i32> for Src<B32> {
    fn from(value: i32) -> Self {
        Src::Immediate(value as u32 as u64)
    }
}

impl From<u32> for Src<B32> {
    fn from(value: u32) -> Self {
        Src::Immediate(u64::from(value))
    }
}

impl From<i64> for Src<B64> {
    fn from(value: i64) -> Self {
        Src::Immediate(value as u64)
    }
}

impl From<u16> for Src<B16> {
    fn from(value: u16) -> Self {
        Src::Immediate(u64::from(value))
    }
}

impl From<f32> for Src<F32> {
    fn from(value: f32) -> Self {
        Src::Immediate(u64::from(value.to_bits()))
    }
}

impl From<f64> for Src<F64> {
    fn from(value: f64) -> Self {
        Src::Immediate(value.to_bits())
    }
}
