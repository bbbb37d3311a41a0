//! Kernels of our own: fill with random data, fingerprint, compare. They run on the machine too, where they are tested.

/// PTX of the helpers. All walk over their data with a stride of the whole grid.
///
/// - `fill(address, words, seed, kind)`: 32-bit words of random data. Kind 0: f32; 1: two bf16; 2: two f16; 3: bytes
///   whose sign, low exponent and mantissa bits are random (f8e4m3, f8e5m2, small integers); 4: integers 0 to 127 in
///   each word; 5: the upper words of f64 at odd positions, random lower words; 6: integers 0 to 127 of 64 bits. Floats are uniform in [-1, 1).
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
        DType::I32 | DType::U32 => 4,
        DType::F64 => 5,
        DType::I64 => 6,
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

#[cfg(test)]
mod tests {
    use factory_ptx::machine::{Kernel, Launch, Memory, Options, run};
    use factory_spec::DType;

    use super::{PTX, THREADS, differ_kind, fill_kind};

    fn launch(entry: &str, memory: &mut Memory<'_>, values: &[u64]) {
        let module = factory_ptx::parse(PTX).expect("the helpers parse");
        factory_ptx::check(&module).expect("the helpers hold no unknown form");
        let kernel = Kernel::new(&module, entry).expect("the machine runs the helpers");
        let mut params = vec![0; kernel.params_size()];
        for (layout, value) in kernel.params().iter().zip(values) {
            params[layout.offset..layout.offset + layout.size]
                .copy_from_slice(&value.to_le_bytes()[..layout.size]);
        }
        let launch = Launch::new([3, 1, 1], [THREADS, 1, 1], params);
        run(&kernel, &launch, memory, &Options::default()).expect("the helpers are right");
    }

    fn fill(dtype: DType, words: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; words * 4];
        let mut memory = Memory::new();
        let address = memory.output("data", &mut bytes);
        launch("fill", &mut memory, &[address, words as u64, seed, u64::from(fill_kind(dtype))]);
        assert_eq!(memory.unwritten(address), None);
        drop(memory);
        bytes
    }

    fn fingerprint(bytes: &[u8]) -> u64 {
        let mut result = [0u8; 8];
        let mut memory = Memory::new();
        let address = memory.input("data", bytes);
        let into = memory.inout("into", &mut result);
        launch("fingerprint", &mut memory, &[address, (bytes.len() / 4) as u64, into]);
        drop(memory);
        u64::from_le_bytes(result)
    }

    #[test]
    fn random_data_is_finite_spread_and_different_for_each_seed() {
        for dtype in DType::ALL {
            let bytes = fill(dtype, 2000, 11);
            let mut values = Vec::new();
            dtype.decode(&bytes, &mut values);
            assert!(values.iter().all(|value| value.is_finite() && value.abs() <= 191.0), "{dtype:?}");
            let mut distinct: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
            distinct.sort_unstable();
            distinct.dedup();
            assert!(distinct.len() > 60, "{dtype:?}: {}", distinct.len());
            assert_ne!(bytes, fill(dtype, 2000, 12), "{dtype:?}");
        }
        let mut values = Vec::new();
        DType::BF16.decode(&fill(DType::BF16, 4000, 3), &mut values);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.05, "{mean}");
    }

    #[test]
    fn a_fingerprint_sees_every_bit_and_every_exchange() {
        let bytes = fill(DType::U32, 1500, 1);
        let whole = fingerprint(&bytes);
        assert_eq!(whole, fingerprint(&bytes));
        for at in [0, 1, 2999, 5999] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_ne!(whole, fingerprint(&changed), "byte {at}");
        }
        let mut swapped = bytes.clone();
        swapped.swap(0, 4000);
        assert!(swapped == bytes || whole != fingerprint(&swapped));
    }

    #[test]
    fn elements_outside_the_bounds_are_counted() {
        for dtype in [DType::F32, DType::BF16, DType::F16, DType::F64] {
            let count = |a: &[f64], b: &[f64]| {
                let (mut a_bytes, mut b_bytes) = (Vec::new(), Vec::new());
                dtype.encode(a, &mut a_bytes);
                dtype.encode(b, &mut b_bytes);
                let mut result = [0u8; 8];
                let mut memory = Memory::new();
                let (x, y) = (memory.input("a", &a_bytes), memory.input("b", &b_bytes));
                let into = memory.inout("into", &mut result);
                let kind = u64::from(differ_kind(dtype).expect("a float"));
                let bounds = [0.01f64.to_bits(), 0.001f64.to_bits()];
                launch("differ", &mut memory, &[x, y, a.len() as u64, kind, bounds[0], bounds[1], into]);
                drop(memory);
                u64::from_le_bytes(result)
            };
            let base: Vec<f64> = (0..900).map(|i| f64::from(i) / 64.0 - 7.0).collect();
            assert_eq!(count(&base, &base), 0, "{dtype:?}");
            let mut changed = base.clone();
            changed[5] += 1.0;
            changed[899] = f64::NAN;
            changed[300] = f64::INFINITY;
            changed[100] *= 1.005;
            assert_eq!(count(&changed, &base), 3, "{dtype:?}");
            assert_eq!(
                count(&[f64::INFINITY, f64::NAN], &[f64::INFINITY, f64::NAN]),
                0,
                "{dtype:?}: the same bits"
            );
        }
    }
}
