//! Kernels of our own: fill with random data, fingerprint, compare. They run on the machine too, where they are tested.

/// PTX of the helpers. All walk over their data with a stride of the whole grid.
///
/// - `fill(address, words, seed, kind)`: 32-bit words of random data. Kind 0: f32; 1: two bf16; 2: two f16; 3: bytes
///   whose sign, low exponent and mantissa bits are random (f8e4m3, f8e5m2, small integers); 4: integers 0 to 127 in
///   each word; 5: the upper words of f64 at odd positions, random lower words. Floats are uniform in [-1, 1).
/// - `fingerprint(address, words, into)`: adds a 64-bit mix of each word and its position to `into`. Addition commutes,
///   so the order of threads does not show.
/// - `differ(a, b, elements, kind, relative, absolute, into)`: counts elements with
///   `!(|a - b| <= relative * |b| + absolute)`, bits that are equal never counted. Kind 0: f32, 1: bf16, 2: f16, 3: f64.
pub(super) const PTX: &str = include_str!("helpers.ptx");

/// Threads of a block of each helper.
pub(super) const THREADS: u32 = 256;

/// The kinds of `fill`.
pub(super) fn fill_kind(dtype: factory_spec::DType) -> u32 {
    use factory_spec::DType;
    match dtype {
        DType::F32 => 0,
        DType::BF16 => 1,
        DType::F16 => 2,
        DType::F8E4M3 | DType::F8E5M2 | DType::I8 | DType::U8 => 3,
        DType::I32 | DType::U32 | DType::I64 => 4,
        DType::F64 => 5,
    }
}

/// The kinds of `differ`; `None` for types that are compared by their bits.
pub(super) fn differ_kind(dtype: factory_spec::DType) -> Option<u32> {
    use factory_spec::DType;
    match dtype {
        DType::F32 => Some(0),
        DType::BF16 => Some(1),
        DType::F16 => Some(2),
        DType::F64 => Some(3),
        _ => None,
    }
}
