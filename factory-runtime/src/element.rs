//! Element types of tensors.

use cudarc::driver::{DeviceRepr, ValidAsZeroBits};
use factory_spec::{DType, float8};
use half::{bf16, f16};

mod sealed {
    pub trait Sealed {}
}

/// A type that a tensor can hold: `f64`, `f32`, [`struct@f16`], [`bf16`], [`f8e4m3`], [`f8e5m2`], `i8`, `u8`, `i32`, `u32`, `i64`.
///
/// Sealed: the element types are those that a spec can name. Every bit pattern of each is a value of it.
pub trait Element: sealed::Sealed + Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// The same type as specs name it.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($ty:ty => $dtype:ident),* $(,)?) => {$(
        impl sealed::Sealed for $ty {}
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
        }
    )*};
}

elements! {
    f64 => F64,
    f32 => F32,
    f16 => F16,
    bf16 => BF16,
    f8e4m3 => F8E4M3,
    f8e5m2 => F8E5M2,
    i8 => I8,
    u8 => U8,
    i32 => I32,
    u32 => U32,
    i64 => I64,
}

/// An 8-bit float with 4 exponent and 3 mantissa bits (OCP FP8 E4M3): no infinities, largest value 448.
///
/// ```
/// use factory_runtime::f8e4m3;
/// assert_eq!(f8e4m3::from_f32(1.0).to_bits(), 0x38);
/// assert_eq!(f8e4m3::from_f32(1e9).to_f32(), 448.0);
/// ```
#[expect(non_camel_case_types, reason = "named like the primitive types beside it")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct f8e4m3(u8);

/// An 8-bit float with 5 exponent and 2 mantissa bits (OCP FP8 E5M2): like a short IEEE half, largest finite value 57344.
///
/// ```
/// use factory_runtime::f8e5m2;
/// assert_eq!(f8e5m2::from_f32(1.0).to_bits(), 0x3c);
/// ```
#[expect(non_camel_case_types, reason = "named like the primitive types beside it")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct f8e5m2(u8);

// SAFETY: one byte, `repr(transparent)` over `u8`; every bit pattern, zero included, is a value.
unsafe impl DeviceRepr for f8e4m3 {}
// SAFETY: as above.
unsafe impl ValidAsZeroBits for f8e4m3 {}
// SAFETY: as above.
unsafe impl DeviceRepr for f8e5m2 {}
// SAFETY: as above.
unsafe impl ValidAsZeroBits for f8e5m2 {}

impl f8e4m3 {
    /// The value with these bits.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The bits of this value.
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// The nearest value (ties to even); what is larger than 448 becomes 448, as `cvt.rn.satfinite` does.
    pub fn from_f32(value: f32) -> Self {
        Self(float8::f32_to_e4m3_satfinite(value))
    }

    /// The same value as `f32`, exactly.
    pub fn to_f32(self) -> f32 {
        float8::e4m3_to_f32(self.0)
    }
}

impl f8e5m2 {
    /// The value with these bits.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The bits of this value.
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// The nearest value (ties to even); what is larger than 57344 becomes 57344, as `cvt.rn.satfinite` does.
    pub fn from_f32(value: f32) -> Self {
        Self(float8::f32_to_e5m2_satfinite(value))
    }

    /// The same value as `f32`, exactly.
    pub fn to_f32(self) -> f32 {
        float8::e5m2_to_f32(self.0)
    }
}

impl From<f8e4m3> for f32 {
    fn from(value: f8e4m3) -> f32 {
        value.to_f32()
    }
}

impl From<f8e5m2> for f32 {
    fn from(value: f8e5m2) -> f32 {
        value.to_f32()
    }
}

/// The bytes of a slice of elements.
pub(crate) fn as_bytes<T: Element>(values: &[T]) -> &[u8] {
    // SAFETY: `Element` is sealed over types without padding; a slice of them is that many initialised bytes.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The bytes of a mutable slice of elements.
pub(crate) fn as_bytes_mut<T: Element>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as in `as_bytes`; and every bit pattern is a value, so whatever is written stays valid.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}
