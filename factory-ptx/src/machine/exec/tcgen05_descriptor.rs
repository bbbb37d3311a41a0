//! The two descriptors of `tcgen05.mma`: where a matrix lies in shared memory, and what is multiplied (PTX ISA 9.0,
//! sections 9.7.16.4.1, 9.7.16.4.2 and 9.7.16.10.6).

use crate::machine::inst::tcgen05::MultiplyKind;

/// Bytes of one unit: matrices in shared memory are made of rows of 16 bytes.
pub(super) const UNIT: usize = 16;

/// How units are exchanged within a line of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swizzle {
    None,
    Bytes32,
    Bytes64,
    Bytes128,
    /// 128 bytes in steps of 32.
    Bytes128By32,
}

impl Swizzle {
    /// Bytes of a line of the pattern.
    fn line(self) -> usize {
        match self {
            Swizzle::None => 16,
            Swizzle::Bytes32 => 32,
            Swizzle::Bytes64 => 64,
            Swizzle::Bytes128 | Swizzle::Bytes128By32 => 128,
        }
    }

    /// The address at which the hardware finds what lies at `address` without swizzling. `base` moves the pattern by
    /// lines of 128 bytes.
    fn apply(self, address: usize, base: usize) -> usize {
        let line = (address >> 7).wrapping_sub(base);
        match self {
            Swizzle::None => address,
            Swizzle::Bytes32 => address ^ (line & 1) << 4,
            Swizzle::Bytes64 => address ^ (line & 3) << 4,
            Swizzle::Bytes128 => address ^ (line & 7) << 4,
            Swizzle::Bytes128By32 => address ^ (line & 3) << 5,
        }
    }
}

/// A matrix descriptor, taken apart. Distances are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MatrixDescriptor {
    pub(super) start: usize,
    leading: usize,
    stride: usize,
    base: usize,
    pub(super) swizzle: Swizzle,
}

impl MatrixDescriptor {
    /// Reads the 64 bits.
    pub(super) fn read(bits: u64) -> Result<MatrixDescriptor, String> {
        let field = |at: u32| (bits >> at & 0x3fff) as usize * UNIT;
        if bits >> 46 & 7 != 1 {
            return Err(format!(
                "bits 46 to 48 of a matrix descriptor must be 0b001, this one ({bits:#018x}) has {:#05b}",
                bits >> 46 & 7
            ));
        }
        if bits >> 52 & 1 != 0 {
            return Err("a leading dimension as absolute address exists on sm_103a alone".to_owned());
        }
        let swizzle = match bits >> 61 {
            0 => Swizzle::None,
            1 => Swizzle::Bytes128By32,
            2 => Swizzle::Bytes128,
            4 => Swizzle::Bytes64,
            6 => Swizzle::Bytes32,
            mode => {
                return Err(format!("a matrix descriptor names swizzle mode {mode}, which does not exist"));
            }
        };
        Ok(MatrixDescriptor {
            start: field(0),
            leading: field(16),
            stride: field(32),
            base: (bits >> 49 & 7) as usize,
            swizzle,
        })
    }

    /// Address of the unit that holds row `row` and the units' `unit`-th piece of the leading dimension, for a matrix
    /// whose rows run along units: K-major.
    pub(super) fn k_major(&self, row: usize, unit: usize) -> usize {
        let groups = row / 8 * self.stride;
        let inside = row % 8 * self.swizzle.line();
        let along = match self.swizzle {
            Swizzle::None => unit * self.leading,
            // Swizzled lines hold their units one behind the other.
            _ => unit * UNIT,
        };
        self.swizzle.apply(self.start + groups + inside + along, self.base)
    }

    /// Address of the unit that holds piece `unit` of dimension M or N at depth `k`: MN-major.
    pub(super) fn mn_major(&self, unit: usize, k: usize) -> usize {
        let units = self.swizzle.line() / UNIT;
        let (deep, step) =
            if self.swizzle == Swizzle::Bytes128By32 { (4, 128) } else { (8, self.swizzle.line()) };
        let offset = match self.swizzle {
            Swizzle::None => unit * self.stride + k / 8 * self.leading + k % 8 * UNIT,
            _ => unit / units * self.leading + unit % units * UNIT + k / deep * self.stride + k % deep * step,
        };
        self.swizzle.apply(self.start + offset, self.base)
    }
}

/// Type of the elements of `A` or `B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    F16,
    BF16,
    Tf32,
    E4M3,
    E5M2,
    E2M3,
    E3M2,
    E2M1,
    /// e2m1, two in a byte.
    E2M1Pairs,
    U8,
    S8,
}

impl Operand {
    /// Elements of a unit; but for pairs, values of 4 and 6 bits have room for 8.
    pub(super) fn in_unit(self) -> usize {
        match self {
            Operand::Tf32 => 4,
            Operand::F16 | Operand::BF16 => 8,
            Operand::E2M1Pairs => 32,
            _ => 16,
        }
    }

    fn read(kind: MultiplyKind, code: u32) -> Option<Operand> {
        Some(match (kind, code) {
            (MultiplyKind::F16, 0) => Operand::F16,
            (MultiplyKind::F16, 1) => Operand::BF16,
            (MultiplyKind::Tf32, 2) => Operand::Tf32,
            (MultiplyKind::F8F6F4 | MultiplyKind::MxF8F6F4, 0) => Operand::E4M3,
            (MultiplyKind::F8F6F4 | MultiplyKind::MxF8F6F4, 1) => Operand::E5M2,
            (MultiplyKind::F8F6F4 | MultiplyKind::MxF8F6F4, 3) => Operand::E2M3,
            (MultiplyKind::F8F6F4 | MultiplyKind::MxF8F6F4, 4) => Operand::E3M2,
            (MultiplyKind::F8F6F4 | MultiplyKind::MxF8F6F4, 5) => Operand::E2M1,
            (MultiplyKind::MxF4 | MultiplyKind::MxF4NvF4, 1) => Operand::E2M1Pairs,
            (MultiplyKind::I8, 0) => Operand::U8,
            (MultiplyKind::I8, 1) => Operand::S8,
            _ => return None,
        })
    }
}

/// Type of `D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accumulator {
    F16,
    F32,
    S32,
}

/// An instruction descriptor, taken apart and found to be one that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InstructionDescriptor {
    pub(super) saturate: bool,
    pub(super) d: Accumulator,
    pub(super) a: Operand,
    pub(super) b: Operand,
    pub(super) negate_a: bool,
    pub(super) negate_b: bool,
    /// `A` is M-major, `B` is N-major.
    pub(super) transpose_a: bool,
    pub(super) transpose_b: bool,
    /// Of the block, or of both blocks of a pair.
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    /// Block-scaled kinds: which byte of a word the scale factors of A and B begin in, and whether they are e8m0 (or
    /// else e4m3).
    pub(super) factors: (u32, u32, bool),
}

impl InstructionDescriptor {
    /// Reads the 32 bits for a multiply of this kind.
    pub(super) fn read(
        bits: u32,
        kind: MultiplyKind,
        pair: bool,
        weights: bool,
    ) -> Result<InstructionDescriptor, String> {
        let bit = |at: u32| bits >> at & 1 != 0;
        if matches!(kind, MultiplyKind::MxF8F6F4 | MultiplyKind::MxF4 | MultiplyKind::MxF4NvF4) {
            return InstructionDescriptor::read_scaled(bits, kind, pair);
        }
        if bit(2) || bits & 3 != 0 {
            return Err("the instruction descriptor asks for sparsity, the instruction is dense".to_owned());
        }
        if bit(6) || bit(23) || bit(29) {
            return Err(format!("reserved bits of the instruction descriptor {bits:#010x} are set"));
        }
        if bits >> 30 != 0 && !weights {
            return Err("a shift of B belongs to `.ws`".to_owned());
        }
        let d = match (bits >> 4 & 3, kind) {
            (0, MultiplyKind::F16) => Accumulator::F16,
            (1, MultiplyKind::F16 | MultiplyKind::Tf32 | MultiplyKind::F8F6F4) => Accumulator::F32,
            (2, MultiplyKind::I8) => Accumulator::S32,
            (code, _) => return Err(format!("{kind:?} has no accumulator of code {code}")),
        };
        let operand = |at: u32, name: &str| {
            let code = bits >> at & 7;
            Operand::read(kind, code).ok_or_else(|| format!("{kind:?} has no type of code {code} for {name}"))
        };
        let (a, b) = (operand(7, "A")?, operand(10, "B")?);
        if d == Accumulator::F16 && (a, b) != (Operand::F16, Operand::F16) {
            return Err("an f16 accumulator takes f16 matrices alone".to_owned());
        }
        let (negate_a, negate_b) = (bit(13), bit(14));
        let saturate = bit(3);
        if kind == MultiplyKind::I8 && (negate_a || negate_b) || kind != MultiplyKind::I8 && saturate {
            return Err(format!("{kind:?} can neither negate integers nor saturate floats"));
        }
        let (transpose_a, transpose_b) = (bit(15), bit(16));
        let small = |operand| matches!(operand, Operand::E2M3 | Operand::E3M2 | Operand::E2M1);
        if transpose_a && small(a) || transpose_b && small(b) {
            return Err("values of 4 and 6 bits cannot be transposed".to_owned());
        }
        let n = (bits >> 17 & 63) as usize * 8;
        let m = (bits >> 24 & 31) as usize * 16;
        let k = match kind {
            MultiplyKind::F16 => 16,
            MultiplyKind::Tf32 => 8,
            _ => 32,
        };
        let m_exists = match (pair, weights) {
            (_, true) => matches!(m, 32 | 64 | 128) && !pair,
            (false, false) => matches!(m, 64 | 128),
            (true, false) => matches!(m, 128 | 256),
        };
        // Table 39: steps of 8 for one block, of 16 for a pair; integers and weight-stationary forms have fewer.
        let n_exists = match (weights, kind) {
            (true, _) => matches!(n, 64 | 128 | 256),
            (false, MultiplyKind::I8) if pair => n.is_multiple_of(32),
            (false, MultiplyKind::I8) => n == 8 || n == 24 || n.is_multiple_of(16),
            (false, _) => n.is_multiple_of(if pair { 16 } else { 8 }),
        } && (8..=256).contains(&n);
        if !m_exists || !n_exists {
            let blocks = if pair { "a pair of blocks" } else { "one block" };
            return Err(format!("no shape M = {m}, N = {n} of {kind:?} for {blocks}"));
        }
        if transpose_b && b.in_unit() == 16 && !n.is_multiple_of(if pair { 32 } else { 16 }) {
            return Err(format!("N = {n} does not go with a transposed B of 8 bits"));
        }
        let factors = (0, 0, false);
        Ok(InstructionDescriptor {
            saturate,
            d,
            a,
            b,
            negate_a,
            negate_b,
            transpose_a,
            transpose_b,
            m,
            n,
            k,
            factors,
        })
    }

    /// The descriptor of block-scaled kinds (tables 43 and 44).
    fn read_scaled(bits: u32, kind: MultiplyKind, pair: bool) -> Result<InstructionDescriptor, String> {
        let bit = |at: u32| bits >> at & 1 != 0;
        if bits & 0x8700_004f != 0 {
            return Err(format!(
                "the instruction descriptor {bits:#010x} has reserved bits, sparsity or a depth of 96"
            ));
        }
        let eights = kind == MultiplyKind::MxF8F6F4;
        let operand = |at: u32, name: &str| {
            let code = bits >> at & 7;
            Operand::read(kind, code).ok_or_else(|| format!("{kind:?} has no type of code {code} for {name}"))
        };
        let (a, b) = (operand(7, "A")?, operand(10, "B")?);
        let (transpose_a, transpose_b) = (bit(15), bit(16));
        let large = |operand| matches!(operand, Operand::E4M3 | Operand::E5M2);
        if transpose_a && !large(a) || transpose_b && !large(b) {
            return Err("values of 4 and 6 bits cannot be transposed".to_owned());
        }
        let factors = (bits >> 29 & 3, bits >> 4 & 3, bit(23));
        if !factors.2 && kind != MultiplyKind::MxF4NvF4 {
            return Err(format!("the scale factors of {kind:?} are e8m0"));
        }
        let n = (bits >> 17 & 63) as usize * 8;
        let m = (bits >> 27 & 3) as usize * 128;
        let step = if pair { 16 } else { 8 };
        if !(m == 128 || m == 256 && pair) || !n.is_multiple_of(step) || !(8..=256).contains(&n) {
            return Err(format!("no shape M = {m}, N = {n} of {kind:?}"));
        }
        Ok(InstructionDescriptor {
            saturate: false,
            d: Accumulator::F32,
            a,
            b,
            negate_a: bit(13),
            negate_b: bit(14),
            transpose_a,
            transpose_b,
            m,
            n,
            k: if eights { 32 } else { 64 },
            factors,
        })
    }

    /// Whether matrices may be transposed with this swizzle (section 9.7.16.10.3).
    pub(super) fn check_major(transposed: bool, operand: Operand, swizzle: Swizzle) -> Result<(), String> {
        let by32 = swizzle == Swizzle::Bytes128By32;
        if transposed && by32 != (operand == Operand::Tf32) {
            return Err(format!("a transposed matrix of {operand:?} does not go with swizzle {swizzle:?}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(swizzle: u64, leading: u64, stride: u64) -> MatrixDescriptor {
        let bits = (1024 >> 4) | (leading >> 4) << 16 | (stride >> 4) << 32 | 1 << 46 | swizzle << 61;
        MatrixDescriptor::read(bits).expect("a descriptor")
    }

    /// A matrix that a tensor copy with a 128-byte swizzle has laid out: 64 values of f16 a row.
    #[test]
    fn swizzled_rows_are_where_a_tensor_copy_puts_them() {
        let matrix = descriptor(2, 16, 1024);
        for row in 0..16 {
            for unit in 0..8 {
                let expected = 1024 + row * 128 + (unit ^ (row % 8)) * 16;
                assert_eq!(matrix.k_major(row, unit), expected);
            }
        }
    }

    /// Whatever the layout, no two units share a place.
    #[test]
    fn layouts_are_one_to_one() {
        for (mode, leading, stride) in
            [(0, 128, 256), (6, 16, 256), (4, 16, 512), (2, 16, 1024), (1, 16, 1024)]
        {
            let matrix = descriptor(mode, leading, stride);
            let mut places: Vec<usize> = (0..64)
                .flat_map(|row| (0..2).map(move |unit| (row, unit)))
                .map(|(r, u)| matrix.k_major(r, u))
                .collect();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), 128, "mode {mode}");
        }
        for (mode, leading, stride) in
            [(0, 1024, 128), (6, 512, 256), (4, 1024, 512), (2, 2048, 1024), (1, 2048, 512)]
        {
            let matrix = descriptor(mode, leading, stride);
            let mut places: Vec<usize> = (0..8)
                .flat_map(|unit| (0..16).map(move |k| (unit, k)))
                .map(|(u, k)| matrix.mn_major(u, k))
                .collect();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), 128, "mode {mode}");
        }
    }

    #[test]
    fn descriptors_that_do_not_exist_say_why() {
        assert!(MatrixDescriptor::read(0).is_err());
        assert!(MatrixDescriptor::read(1 << 46 | 3 << 61).is_err());
        let f16 = 1 << 4 | (128 / 8) << 17 | (128 / 16) << 24;
        let read = |bits, pair| InstructionDescriptor::read(bits, MultiplyKind::F16, pair, false);
        let good = read(f16, false).expect("m128n128k16");
        assert_eq!((good.m, good.n, good.k, good.d), (128, 128, 16, Accumulator::F32));
        assert!(read(f16 | 1 << 2, false).is_err());
        assert!(read(f16 | 2 << 7, false).is_err());
        assert!(read(1 << 4 | 3 << 17 | (256 / 16) << 24, true).is_err());
        assert!(read(1 << 4 | (64 / 8) << 17 | (48 / 16) << 24, false).is_err());
    }
}
