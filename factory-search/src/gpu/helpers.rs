//! Kernels of our own: fill with random data, poison, digest, compare, scrub. They run on the machine too, where they are
//! tested.

use std::fmt::Write as _;

/// PTX of the helpers. All walk over their data with a stride of the whole grid.
///
/// - `fill(address, words, seed, kind)`: 32-bit words of random data. Kind 0: f32; 1: two bf16; 2: two f16; 3: bytes
///   whose sign, low exponent and mantissa bits are random (f8e4m3, f8e5m2, small integers); 4: integers 0 to 127 in
///   each word; 5: the upper words of f64 at odd positions, random lower words; 6: integers 0 to 127 of 64 bits. Floats are uniform in [-1, 1).
/// - `digest(table, key, into)`: adds to the entry's word of `into` a 64-bit mix of the key and of each word of the
///   entry's range with its position. Addition commutes, so the order of threads does not show.
/// - `intact(table, into)`: counts, in the entry's word of `into`, the words of the entry's range that are not its pattern.
/// - `poison(table)`: writes the entry's pattern over its range; the byte at an address is that of the pattern at the
///   address's position in its word.
/// - `differ(a, b, elements, kind, relative, absolute, into)`: counts elements with
///   `!(|a - b| <= relative * |b| + absolute)`, bits that are equal never counted. Kind 0: f32, 1: bf16, 2: f16, 3: f64.
/// - `gather(from, into, bytes, width, pitch)`: copies `width` bytes from each `pitch` bytes on, until there are `bytes`.
/// - `delay(cycles)`: nothing for so many cycles, so that the device is busy while the host gets ahead of it.
/// - `empty()`: nothing, to time launches with.
/// - `scrub(bytes, value, seen)`, added by [`module`]: each block writes the value over its dynamic shared memory and its
///   registers, and 1 to the word of `seen` of the multiprocessor that it runs on.
///
/// A table has 24 bytes an entry: address, bytes, pattern. The entry is the block's `y`.
const PTX: &str = include_str!("helpers.ptx");

/// Threads of a block of each helper.
pub(super) const THREADS: u32 = 256;
/// Registers of a thread that `scrub` overwrites. With 256 threads that is seven eighths of a multiprocessor's.
const SCRUBBED_REGISTERS: usize = 224;
/// Bytes of shared memory that `scrub` must have: each thread passes its registers through its own words and the next ones.
pub(super) const SCRUB_LEAST_SHARED: u32 = (SCRUBBED_REGISTERS as u32 + THREADS) * 4;

/// The text of the module with all helpers.
pub(super) fn module() -> String {
    format!("{PTX}\n{}", scrub())
}

/// Loads as many registers as a thread can have from shared memory before any is stored, so that all are live at once.
fn scrub() -> String {
    let mut text = format!(
        ".extern .shared .align 16 .b8 scrub_shared[];\n\
         .visible .entry scrub(.param .u32 scrub_bytes, .param .u32 scrub_value, .param .u64 scrub_seen)\n\
         .maxntid {THREADS}, 1, 1\n{{\n\
         .reg .pred %p;\n.reg .b32 %r<12>;\n.reg .b64 %rd<4>;\n.reg .b32 %n<{SCRUBBED_REGISTERS}>;\n\
         ld.param.u32 %r1, [scrub_bytes];\nld.param.u32 %r2, [scrub_value];\nld.param.u64 %rd1, [scrub_seen];\n\
         cvta.to.global.u64 %rd1, %rd1;\nmov.u32 %r3, %tid.x;\nmov.u32 %r4, scrub_shared;\nshl.b32 %r5, %r3, 2;\n\
         add.u32 %r6, %r4, %r5;\nadd.u32 %r7, %r4, %r1;\nmov.u32 %r8, %r6;\n\
         scrub_loop:\nsetp.ge.u32 %p, %r8, %r7;\n@%p bra scrub_filled;\nst.shared.u32 [%r8], %r2;\n\
         add.u32 %r8, %r8, {};\nbra scrub_loop;\nscrub_filled:\nbar.sync 0;\n",
        THREADS * 4
    );
    let mut word = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = text.write_fmt(line);
    };
    for index in 0..SCRUBBED_REGISTERS {
        word(format_args!("ld.volatile.shared.u32 %n{index}, [%r6+{}];\n", index * 4));
    }
    word(format_args!("bar.sync 0;\n"));
    for index in 0..SCRUBBED_REGISTERS {
        word(format_args!("st.volatile.shared.u32 [%r6+{}], %n{index};\n", index * 4));
    }
    word(format_args!(
        "setp.ne.u32 %p, %r3, 0;\n@%p bra scrub_end;\nmov.u32 %r9, %smid;\nmul.wide.u32 %rd2, %r9, 4;\n\
         add.u64 %rd2, %rd1, %rd2;\nst.global.u32 [%rd2], 1;\nscrub_end:\nret;\n}}\n"
    ));
    text
}

/// An entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) address: u64,
    pub(super) bytes: usize,
    pub(super) pattern: u32,
}

/// The bytes of a table.
pub(super) fn table(ranges: &[Range]) -> Vec<u8> {
    let words = ranges.iter().flat_map(|range| [range.address, range.bytes as u64, u64::from(range.pattern)]);
    words.flat_map(u64::to_le_bytes).collect()
}

/// Bytes of a table's entry.
pub(super) const ENTRY_BYTES: usize = 24;

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

    use super::*;

    fn launch(entry: &str, memory: &mut Memory<'_>, grid: [u32; 3], shared: u32, values: &[u64]) {
        let module = factory_ptx::parse(&module()).expect("the helpers parse");
        factory_ptx::check(&module).expect("the helpers hold no unknown form");
        let kernel = Kernel::new(&module, entry).expect("the machine runs the helpers");
        let mut params = vec![0; kernel.params_size()];
        for (layout, value) in kernel.params().iter().zip(values) {
            params[layout.offset..layout.offset + layout.size]
                .copy_from_slice(&value.to_le_bytes()[..layout.size]);
        }
        let mut launch = Launch::new(grid, [THREADS, 1, 1], params);
        launch.shared_bytes = shared;
        run(&kernel, &launch, memory, &Options::default()).expect("the helpers are right");
    }

    fn fill(dtype: DType, words: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; words * 4];
        let mut memory = Memory::new();
        let address = memory.output("data", &mut bytes);
        let values = [address, words as u64, seed, u64::from(fill_kind(dtype))];
        launch("fill", &mut memory, [3, 1, 1], 0, &values);
        assert_eq!(memory.unwritten(address), None);
        drop(memory);
        bytes
    }

    /// Digests of several ranges of one buffer: offset and bytes.
    fn digests(bytes: &[u8], key: u64, ranges: &[(usize, usize)]) -> Vec<u64> {
        let mut results = vec![0u8; ranges.len() * 8];
        let mut memory = Memory::new();
        let address = memory.input("data", bytes);
        let ranges: Vec<Range> = ranges
            .iter()
            .map(|(offset, bytes)| Range { address: address + *offset as u64, bytes: *bytes, pattern: 0 })
            .collect();
        let entries = table(&ranges);
        let at = memory.input("table", &entries);
        let into = memory.inout("into", &mut results);
        launch("digest", &mut memory, [3, ranges.len() as u32, 1], 0, &[at, key, into]);
        drop(memory);
        results.chunks(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes"))).collect()
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
    fn a_digest_sees_every_byte_of_its_range_and_none_beside_it() {
        let bytes = fill(DType::U32, 1500, 1);
        let ranges = [(0, 6000), (2, 5990), (7, 13), (4000, 1), (16, 0)];
        let whole = digests(&bytes, 5, &ranges);
        assert_eq!(whole, digests(&bytes, 5, &ranges));
        let other = digests(&bytes, 6, &ranges);
        assert!(whole[..4].iter().zip(&other).all(|(a, b)| a != b), "another key, other digests");
        for at in [0, 1, 2, 6, 7, 10, 19, 20, 2999, 4000, 4001, 5991, 5992, 5999] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            for ((now, before), (offset, length)) in
                digests(&changed, 5, &ranges).iter().zip(&whole).zip(ranges)
            {
                let inside = (offset..offset + length).contains(&at);
                assert_eq!(now != before, inside, "byte {at} in {offset}+{length}");
            }
        }
        // The order counts, not only what is there.
        let mut swapped = bytes.clone();
        (0..4).for_each(|byte| swapped.swap(byte, 4000 + byte));
        assert_ne!(swapped, bytes);
        assert_ne!(digests(&swapped, 5, &ranges[..1]), whole[..1]);
        // Summands of two words that are exchanged do not cancel either.
        let zeros = vec![0u8; 6000];
        assert_ne!(digests(&zeros, 5, &[(0, 400)]), digests(&zeros, 5, &[(0, 404)]));
    }

    #[test]
    fn poison_covers_its_range_and_intact_counts_what_left_it() {
        let mut bytes = vec![7u8; 4096];
        let pattern = 0x4433_2211u32;
        let ranges = [(5, 1001), (1008, 4), (1013, 2), (2048, 2048)];
        let run = |entry: &str, bytes: &mut [u8], ranges: &[(usize, usize)]| -> Vec<u8> {
            let mut counts = vec![0u8; ranges.len() * 8];
            let mut memory = Memory::new();
            let address = memory.inout("data", bytes);
            let ranges: Vec<Range> = ranges
                .iter()
                .map(|(offset, bytes)| Range { address: address + *offset as u64, bytes: *bytes, pattern })
                .collect();
            let entries = table(&ranges);
            let at = memory.input("table", &entries);
            let into = memory.inout("into", &mut counts);
            launch(entry, &mut memory, [2, ranges.len() as u32, 1], 0, &[at, into]);
            drop(memory);
            counts
        };
        run("poison", &mut bytes, &ranges);
        for (index, byte) in bytes.iter().enumerate() {
            let inside = ranges.iter().any(|(offset, length)| (*offset..offset + length).contains(&index));
            let expected = if inside { pattern.to_le_bytes()[index % 4] } else { 7 };
            assert_eq!(*byte, expected, "byte {index}");
        }
        let count = |bytes: &mut [u8]| -> Vec<u64> {
            let counts = run("intact", bytes, &ranges);
            counts.chunks(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes"))).collect()
        };
        assert_eq!(count(&mut bytes), [0, 0, 0, 0]);
        for (at, entry) in [(5, 0), (1005, 0), (1010, 1), (1013, 2), (1014, 2), (2048, 3), (4095, 3)] {
            let before = bytes[at];
            bytes[at] ^= 0x80;
            let mut expected = [0; 4];
            expected[entry] = 1;
            assert_eq!(count(&mut bytes), expected, "byte {at}");
            bytes[at] = before;
        }
        // Beside the ranges nothing is looked at.
        for at in [4, 1006, 1012, 1015, 2047] {
            bytes[at] ^= 0x80;
        }
        assert_eq!(count(&mut bytes), [0, 0, 0, 0]);
    }

    #[test]
    fn the_scrub_is_a_kernel_that_the_checks_pass() {
        let mut seen = vec![0u8; 4 * 256];
        let mut memory = Memory::new();
        let into = memory.inout("seen", &mut seen);
        launch("scrub", &mut memory, [4, 1, 1], 16 << 10, &[16 << 10, 0x7fff_ffff, into]);
        drop(memory);
        assert!(seen.chunks(4).any(|word| word == [1, 0, 0, 0]), "it says where it ran");
        // As many registers as a thread can have are written; what ptxas makes of it is asked on a GPU.
        assert!(module().contains(&format!("%n{}", SCRUBBED_REGISTERS - 1)));
    }

    #[test]
    fn ptxas_takes_the_helpers_and_keeps_the_scrubbed_registers_alive() {
        use crate::options::PtxasPolicy;
        use crate::toolchain::Ptxas;
        let ptxas = match Ptxas::find(&PtxasPolicy::Find).expect("looking for ptxas is no error") {
            Ok(ptxas) => ptxas,
            Err(reason) => {
                println!("not run: {reason}");
                return;
            }
        };
        let resources = crate::gates::assemble::assemble(&ptxas, &module(), factory_spec::Arch::Sm90)
            .unwrap_or_else(|rejection| panic!("{rejection}"));
        let scrub = &resources["scrub"];
        assert!(scrub.registers >= SCRUBBED_REGISTERS as u32 && scrub.spill_bytes == 0, "{scrub:?}");
        let most =
            resources.iter().filter(|(name, _)| *name != "scrub").map(|(_, entry)| entry.registers).max();
        assert!(most.is_some_and(|most| most <= 64), "{resources:?}");
    }

    #[test]
    fn columns_are_gathered() {
        let bytes: Vec<u8> = (0..7 * 130).map(|at| (at % 251) as u8).collect();
        let mut columns = vec![0u8; 7 * 9];
        let mut memory = Memory::new();
        let from = memory.input("from", &bytes);
        let into = memory.output("into", &mut columns);
        launch("gather", &mut memory, [3, 1, 1], 0, &[from + 121, into, 7 * 9, 9, 130]);
        assert_eq!(memory.unwritten(into), None);
        drop(memory);
        let expected: Vec<u8> = bytes.chunks(130).flat_map(|row| row[121..].iter().copied()).collect();
        assert_eq!(columns, expected);
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
                let values = [x, y, a.len() as u64, kind, bounds[0], bounds[1], into];
                launch("differ", &mut memory, [3, 1, 1], 0, &values);
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
