//! `tcgen05.mma`: matrices out of shared and tensor memory, their product, and where it goes.
//!
//! Products are exact and their sums are rounded as the model in [`crate::machine::matrix`] says, which was found on an
//! H200; what an sm_100 tensor core does with the last bits has not been compared.

use super::collective::lanes_of;
use super::pending::Action;
use super::spot::addresses;
use super::state::Warp;
use super::tcgen05::Touch;
use super::tcgen05_async::Cells;
use super::tcgen05_descriptor::{Accumulator, InstructionDescriptor, MatrixDescriptor, Operand, UNIT};
use super::tcgen05_layout::DataPath;
use super::tcgen05_memory::split;
use super::{Trouble, Worker, plain_trouble, trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::Inst;
use crate::machine::inst::tcgen05::{Left, Multiply};
use crate::machine::lanes::Lane;
use crate::machine::matrix::accumulate::{Model, Product, Sum};
use crate::machine::matrix::format::{Format, INFINITY, Packed, exponent, pack, significand};
use crate::machine::matrix::integer::multiply_integers;

/// Where `A` lies.
#[derive(Clone, Copy, Debug)]
enum Source {
    Shared(MatrixDescriptor),
    /// First lane and first column.
    Tensor(usize, usize),
}

/// One multiply, ready to run.
struct TensorProduct {
    blocks: Vec<usize>,
    shape: InstructionDescriptor,
    path: DataPath,
    a: Source,
    b: MatrixDescriptor,
    /// First lane and first column of `D`.
    d: (usize, usize),
    enable: bool,
    scale: u32,
    shift_a: bool,
    /// Lanes of each block that are left as they are.
    disabled: [u128; 2],
    factors: Option<FactorPlaces>,
}

impl Worker<'_> {
    pub(super) fn tensor_multiply(
        &mut self,
        warp: &mut Warp,
        base: usize,
        inst: &Inst,
        multiply: &Multiply,
        active: u32,
    ) -> Result<(), Trouble> {
        let words = &warp.words[base..];
        let targets = addresses(words, &multiply.target, active);
        let rights = u64::load(words, inst.slots.b);
        let shapes = u32::load(words, inst.slots.c);
        let enabled = words[inst.slots.e as usize] ^ if multiply.negated { u32::MAX } else { 0 };
        let lefts = match &multiply.left {
            Left::Shared(slot) => u64::load(words, *slot),
            Left::Tensor(address) => addresses(words, address, active),
        };
        let masks: Vec<_> = multiply.disabled.iter().map(|slot| u32::load(words, *slot)).collect();
        for lane in lanes_of(active) {
            let place = lane as u32;
            let undefined = |detail: String| plain_trouble(FaultKind::UndefinedOperand, place, detail);
            let shape =
                InstructionDescriptor::read(shapes[lane], multiply.kind, multiply.pair, multiply.weights)
                    .map_err(undefined)?;
            let b = MatrixDescriptor::read(rights[lane]).map_err(undefined)?;
            InstructionDescriptor::check_major(shape.transpose_b, shape.b, b.swizzle).map_err(undefined)?;
            let Some(path) = DataPath::of(shape.m as u32, multiply.pair, multiply.weights) else {
                return Err(undefined(format!("no layout for M = {}", shape.m)));
            };
            let d = split(targets[lane] as u32);
            let misplaced = |at: u64, what: &str| {
                let detail = format!("{what} cannot begin at lane {} with M = {}", at >> 16, shape.m);
                trouble(FaultKind::TensorMemory, place, at, detail)
            };
            if !path.lane_fits(d.0) {
                return Err(misplaced(targets[lane], "D"));
            }
            let a = match &multiply.left {
                Left::Shared(_) => {
                    let a = MatrixDescriptor::read(lefts[lane]).map_err(undefined)?;
                    InstructionDescriptor::check_major(shape.transpose_a, shape.a, a.swizzle)
                        .map_err(undefined)?;
                    Source::Shared(a)
                }
                Left::Tensor(_) => {
                    let at = split(lefts[lane] as u32);
                    if at.0 != d.0 {
                        return Err(misplaced(lefts[lane], "A (which needs the lanes of D)"));
                    }
                    if shape.transpose_a {
                        return Err(undefined("A in tensor memory cannot be transposed".to_owned()));
                    }
                    Source::Tensor(at.0, at.1)
                }
            };
            if multiply.shift_a && (!matches!(a, Source::Tensor(..)) || shape.m < 128) {
                return Err(undefined("`.ashift` takes A in tensor memory, with M of 128 or 256".to_owned()));
            }
            let blocks = self.tensor_blocks(warp, multiply.pair, place)?;
            let mut disabled = [0u128; 2];
            for (index, mask) in masks.iter().enumerate() {
                disabled[index / 4] |= u128::from(mask[lane]) << (32 * (index % 4));
            }
            let enable = enabled >> lane & 1 != 0;
            let (scale, shift_a) = (multiply.scale, multiply.shift_a);
            let factors = match &multiply.factors {
                None => None,
                Some(factors) => {
                    let words = &warp.words[base..];
                    let (a, b) = (addresses(words, &factors.a, active), addresses(words, &factors.b, active));
                    Some(FactorPlaces::read(a[lane], b[lane], factors.count, &shape).map_err(undefined)?)
                }
            };
            let product =
                TensorProduct { blocks, shape, path, a, b, d, enable, scale, shift_a, disabled, factors };
            let mut reads = Vec::new();
            for block in &product.blocks {
                let mut units = product.b_units();
                if let Source::Shared(a) = &product.a {
                    units.extend(major_units(a, shape.transpose_a, shape.a, path.rows(), shape.k));
                }
                reads.extend(self.tensor_spans(warp, *block, units, place)?);
            }
            self.tensor_operation(warp, place, "tcgen05.mma", &product.cells())?;
            self.tensor_issue(warp, place, reads, Box::new(product))?;
        }
        Ok(())
    }
}

/// Addresses of the units of a matrix of `rows` by `k`.
fn major_units(
    matrix: &MatrixDescriptor,
    transposed: bool,
    operand: Operand,
    rows: usize,
    k: usize,
) -> Vec<usize> {
    let each = operand.in_unit();
    if transposed {
        (0..rows.div_ceil(each))
            .flat_map(|unit| (0..k).map(move |k| (unit, k)))
            .map(|(unit, k)| matrix.mn_major(unit, k))
            .collect()
    } else {
        (0..rows)
            .flat_map(|row| (0..k / each).map(move |unit| (row, unit)))
            .map(|(row, unit)| matrix.k_major(row, unit))
            .collect()
    }
}

/// The elements of a unit, each in the low bits of a word.
fn elements(operand: Operand, bytes: &[u8; UNIT]) -> Vec<u32> {
    let all = u128::from_le_bytes(*bytes);
    let bits = match operand {
        Operand::Tf32 => 32,
        Operand::F16 | Operand::BF16 => 16,
        Operand::E2M3 | Operand::E3M2 => 6,
        Operand::E2M1 | Operand::E2M1Pairs => 4,
        _ => 8,
    };
    let mask = u32::MAX >> (32 - bits);
    (0..operand.in_unit()).map(|index| (all >> (bits as usize * index)) as u32 & mask).collect()
}

/// A small float of `e` exponent bits and `m` fraction bits, without infinities or NaNs, with three bits behind the
/// point as those of e4m3.
fn small(bits: u32, e: u32, m: u32) -> Packed {
    let bias = (1 << (e - 1)) - 1;
    let field = (bits >> m & ((1 << e) - 1)) as i32;
    let normal = i32::from(field != 0);
    let magnitude = ((bits & ((1 << m) - 1)) as i32 | normal << m) << (3 - m);
    if magnitude == 0 {
        return pack(Format::E4M3, 0);
    }
    let exponent = field + (1 - normal) - bias;
    let signed = if bits >> (e + m) & 1 != 0 { -magnitude } else { magnitude };
    exponent << 16 | signed & 0xffff
}

fn format(operand: Operand) -> Format {
    match operand {
        Operand::F16 => Format::F16,
        Operand::BF16 => Format::BF16,
        Operand::Tf32 => Format::TF32,
        Operand::E5M2 => Format::E5M2,
        _ => Format::E4M3,
    }
}

/// Takes an element apart.
fn open(operand: Operand, bits: u32, negate: bool) -> Packed {
    let packed = match operand {
        Operand::E2M3 => small(bits, 2, 3),
        Operand::E3M2 => small(bits, 3, 2),
        Operand::E2M1 | Operand::E2M1Pairs => small(bits, 2, 1),
        _ => pack(format(operand), bits),
    };
    if negate { packed & !0xffff | -significand(packed) & 0xffff } else { packed }
}

/// An integer element.
fn integer(operand: Operand, bits: u32) -> i32 {
    if operand == Operand::S8 { i32::from(bits as u8 as i8) } else { bits as i32 }
}

impl TensorProduct {
    /// Columns of `B` that one block has.
    fn b_columns(&self) -> usize {
        self.shape.n / self.blocks.len()
    }

    fn b_units(&self) -> Vec<usize> {
        major_units(&self.b, self.shape.transpose_b, self.shape.b, self.b_columns(), self.shape.k)
    }

    /// The cells of `D`, and of `A` if it lies in tensor memory.
    fn cells(&self) -> Vec<Cells> {
        let groups: Vec<usize> = match self.path {
            DataPath::Spread => (0..4).map(|quarter| 32 * quarter + self.d.0).collect(),
            _ => (0..8).map(|group| 16 * group).collect(),
        };
        let mut cells = Vec::new();
        for (side, block) in self.blocks.iter().enumerate() {
            let written = groups
                .iter()
                .copied()
                .filter(|group| self.disabled[side] >> group & 0xffff != 0xffff)
                .collect();
            let columns = self.path.columns(self.shape.n);
            cells.push(Cells {
                block: *block,
                groups: written,
                first: self.d.1,
                columns,
                touch: Touch::Write,
            });
            if let Source::Tensor(_, first) = self.a {
                // 32 bytes of each row.
                let groups = groups.clone();
                cells.push(Cells { block: *block, groups, first, columns: 8, touch: Touch::Read });
            }
            if let Some(factors) = &self.factors {
                let groups: Vec<usize> = (0..8).map(|group| 16 * group).collect();
                for (first, of) in [(factors.a, self.path.rows()), (factors.b, self.shape.n)] {
                    let (groups, columns) = (groups.clone(), of.div_ceil(32));
                    cells.push(Cells { block: *block, groups, first, columns, touch: Touch::Read });
                }
            }
        }
        cells
    }

    /// Elements of a matrix in shared memory: `rows` rows of `k`.
    fn shared(
        &self,
        worker: &Worker<'_>,
        block: usize,
        matrix: &MatrixDescriptor,
        (transposed, operand): (bool, Operand),
        rows: usize,
    ) -> Vec<u32> {
        let each = operand.in_unit();
        let k = self.shape.k;
        let mut all = vec![0; rows * k];
        if transposed {
            for unit in 0..rows.div_ceil(each) {
                for depth in 0..k {
                    let bytes = worker.tensor_unit(block, matrix.mn_major(unit, depth));
                    for (at, value) in elements(operand, &bytes).into_iter().enumerate() {
                        if let Some(place) = all.get_mut((unit * each + at) * k + depth) {
                            *place = value;
                        }
                    }
                }
            }
        } else {
            for row in 0..rows {
                for unit in 0..k / each {
                    let bytes = worker.tensor_unit(block, matrix.k_major(row, unit));
                    let values = elements(operand, &bytes);
                    all[row * k + unit * each..][..each].copy_from_slice(&values);
                }
            }
        }
        all
    }

    /// Elements of `A` in tensor memory: each row at the lane where its row of `D` lies, for the columns of `D` that
    /// begin with `column`.
    fn tensor(
        &self,
        worker: &Worker<'_>,
        block: usize,
        (down, first): (usize, usize),
        column: usize,
    ) -> Result<Vec<u32>, String> {
        let (rows, k, operand) = (self.path.rows(), self.shape.k, self.shape.a);
        let memory = worker.tensor_memory(block);
        let check = worker.context.options.checks.uninitialised;
        let each = operand.in_unit() / 4;
        let mut all = vec![0; rows * k];
        for row in 0..rows {
            // `.ashift`: each row is the one before it; the first stays.
            let from = if self.shift_a { row.saturating_sub(1) } else { row };
            let (lane, _) = self.path.cell(from, column, self.shape.n);
            for word in 0..k / each {
                if check && !memory.is_written(lane + down, first + word) {
                    return Err(format!(
                        "nobody wrote lane {}, column {} of tensor memory, which is part of A",
                        lane + down,
                        first + word
                    ));
                }
                let cell = memory.cell(lane + down, first + word);
                for at in 0..each {
                    let bits = cell >> (32 / each * at);
                    all[row * k + word * each + at] = match operand {
                        Operand::Tf32 => bits,
                        Operand::F16 | Operand::BF16 => bits & 0xffff,
                        Operand::E2M3 | Operand::E3M2 => bits & 0x3f,
                        Operand::E2M1 => bits >> 2 & 0xf,
                        Operand::E2M1Pairs => bits & 0xf,
                        _ => bits & 0xff,
                    };
                }
            }
        }
        Ok(all)
    }

    /// `rows` rows of `n` of the sum, from zero or from what is there.
    fn before(&self, worker: &Worker<'_>, block: usize, side: usize) -> Result<Vec<u32>, String> {
        let (rows, n) = (self.path.rows(), self.shape.n);
        let mut sum = vec![0; rows * n];
        if !self.enable {
            return Ok(sum);
        }
        let memory = worker.tensor_memory(block);
        let check = worker.context.options.checks.uninitialised;
        for row in 0..rows {
            for column in 0..n {
                let (lane, at) = self.path.cell(row, column, n);
                let (lane, at) = (lane + self.d.0, at + self.d.1);
                if self.disabled[side] >> lane & 1 != 0 {
                    continue;
                }
                if check && !memory.is_written(lane, at) {
                    return Err(format!(
                        "nobody wrote lane {lane}, column {at} of tensor memory, and `enable-input-d` adds to it"
                    ));
                }
                let value = memory.cell(lane, at);
                sum[row * n + column] = match self.shape.d {
                    Accumulator::S32 => value,
                    Accumulator::F32 => scaled(f32::from_bits(value), self.scale).to_bits(),
                    Accumulator::F16 if self.scale == 0 => value & 0xffff,
                    Accumulator::F16 => {
                        let value = half::f16::from_bits(value as u16).to_f32();
                        u32::from(half::f16::from_f32(scaled(value, self.scale)).to_bits())
                    }
                };
            }
        }
        Ok(sum)
    }

    /// Adds the product of `rows` of `A` and all columns of `B`, both with their scale factors.
    fn add(&self, a: &[u32], b: &[u32], (of_a, of_b): (&[u8], &[u8]), rows: usize, sum: &mut [u32]) {
        let InstructionDescriptor { n, k, .. } = self.shape;
        let shape = (rows, n, k);
        // The product wants `k` rows of `n`.
        let turned = |column: usize, depth: usize| b[column * k + depth];
        if self.shape.d == Accumulator::S32 {
            let a: Vec<i32> = a.iter().map(|bits| integer(self.shape.a, *bits)).collect();
            let b: Vec<i32> = (0..k * n).map(|at| integer(self.shape.b, turned(at % n, at / n))).collect();
            multiply_integers(shape, &a, &b, self.shape.saturate, sum);
            return;
        }
        let every = k / self.factors.as_ref().map_or(1, |factors| factors.count);
        let (e8m0, fine) = (self.shape.factors.2, self.factors.is_some() && !self.shape.factors.2);
        let factor = |packed: Packed, factors: &[u8], row: usize, depth: usize| match self.factors {
            None => packed,
            Some(FactorPlaces { count, .. }) => scale(packed, factors[row * count + depth / every], e8m0),
        };
        let a: Vec<Packed> = (0..rows * k)
            .map(|at| factor(open(self.shape.a, a[at], self.shape.negate_a), of_a, at / k, at % k))
            .collect();
        let b: Vec<Packed> = (0..k * n)
            .map(|at| {
                let (column, depth) = (at % n, at / n);
                factor(open(self.shape.b, turned(column, depth), self.shape.negate_b), of_b, column, depth)
            })
            .collect();
        let special = a.iter().chain(&b).any(|packed| exponent(*packed) >= INFINITY);
        let product = Product {
            model: Model { block: k.min(16), fraction: 25, kept: 23 },
            formats: if fine {
                (Format::BF16, Format::BF16)
            } else {
                (format(self.shape.a), format(self.shape.b))
            },
            sum: if self.shape.d == Accumulator::F16 { Sum::F16 } else { Sum::F32 },
            shape,
            a: &a,
            b: &b,
            special,
        };
        product.add_to(sum);
    }
}

/// Where the scale factors lie: a factor of row (or column) `r` in lane `r % 32` of each quarter, column `r / 32`, the
/// factors along K in neighbouring bytes (section 9.7.16.10.7).
#[derive(Clone, Copy, Debug)]
struct FactorPlaces {
    /// First columns, and the byte of a word that the factors begin in.
    a: usize,
    b: usize,
    a_byte: usize,
    b_byte: usize,
    /// Factors along K.
    count: usize,
}

impl FactorPlaces {
    fn read(a: u64, b: u64, count: usize, shape: &InstructionDescriptor) -> Result<FactorPlaces, String> {
        let (a_id, b_id, _) = shape.factors;
        // The two top bits of these addresses say what the descriptor says again.
        let place = |address: u64, name: &str| match split(address as u32 & 0x3fff_ffff) {
            (0, column) => Ok(column),
            (lane, _) => Err(format!("the scale factors of {name} begin at lane {lane}, not at lane 0")),
        };
        if !(a_id as usize).is_multiple_of(count) || !(b_id as usize).is_multiple_of(count) {
            return Err(format!(
                "{count} scale factors cannot begin at the bytes {a_id} and {b_id} of a word"
            ));
        }
        let (a, b) = (place(a, "A")?, place(b, "B")?);
        Ok(FactorPlaces { a, b, a_byte: a_id as usize, b_byte: b_id as usize, count })
    }
}

impl TensorProduct {
    /// The scale factors of so many rows, `count` of each.
    fn read_factors(
        &self,
        worker: &Worker<'_>,
        block: usize,
        (first, byte, count): (usize, usize, usize),
        rows: usize,
    ) -> Result<Vec<u8>, (FaultKind, String)> {
        let memory = worker.tensor_memory(block);
        let check = worker.context.options.checks.uninitialised;
        let mut factors = Vec::with_capacity(rows * count);
        for row in 0..rows {
            let column = first + row / 32;
            for at in byte..byte + count {
                let read = |quarter: usize| memory.cell(32 * quarter + row % 32, column).to_le_bytes()[at];
                for quarter in 0..4 {
                    let lane = 32 * quarter + row % 32;
                    if check && !memory.is_written(lane, column) {
                        let detail = format!("nobody wrote the scale factor in lane {lane}, column {column}");
                        return Err((FaultKind::Uninitialised, detail));
                    }
                    if read(quarter) != read(0) {
                        let detail = format!(
                            "the scale factors in column {column} are not the same in lanes {} and {lane}: each \
                             quarter of the lanes needs them all",
                            row % 32
                        );
                        return Err((FaultKind::UndefinedOperand, detail));
                    }
                }
                factors.push(read(0));
            }
        }
        Ok(factors)
    }
}

/// An element times its scale factor: an exponent, or an e4m3 without sign, for which the result has the seven bits
/// behind the point of a bf16.
fn scale(packed: Packed, factor: u8, e8m0: bool) -> Packed {
    let (e, s) = (exponent(packed), significand(packed));
    if e8m0 {
        if factor == 0xff {
            return pack(Format::E4M3, 0x7f);
        }
        return if e >= INFINITY || s == 0 {
            packed
        } else {
            (e + i32::from(factor) - 127) << 16 | s & 0xffff
        };
    }
    let factor = pack(Format::E4M3, u32::from(factor & 0x7f));
    if exponent(factor) >= INFINITY {
        return factor;
    }
    // Three bits behind the point each.
    let product = s * significand(factor);
    match product.unsigned_abs() {
        0 => pack(Format::BF16, 0),
        128.. => (e + exponent(factor) + 1) << 16 | product & 0xffff,
        _ => (e + exponent(factor)) << 16 | (2 * product) & 0xffff,
    }
}

/// `value * 2^-scale`
fn scaled(value: f32, scale: u32) -> f32 {
    value / (1u32 << scale) as f32
}

impl Action for TensorProduct {
    fn run(&mut self, worker: &mut Worker<'_>, warp: &mut Warp) -> Result<(), Trouble> {
        let InstructionDescriptor { n, k, .. } = self.shape;
        let late =
            |detail: String| plain_trouble(FaultKind::Uninitialised, warp.exists.trailing_zeros(), detail);
        let mut b = Vec::with_capacity(n * k);
        for block in &self.blocks {
            let major = (self.shape.transpose_b, self.shape.b);
            b.extend(self.shared(worker, *block, &self.b, major, self.b_columns()));
        }
        let rows = self.path.rows();
        let misplaced =
            |(kind, detail): (FaultKind, String)| plain_trouble(kind, warp.exists.trailing_zeros(), detail);
        for (side, block) in self.blocks.iter().enumerate() {
            let mut factors = (Vec::new(), Vec::new());
            if let Some(places) = &self.factors {
                let of_a = (places.a, places.a_byte, places.count);
                let of_b = (places.b, places.b_byte, places.count);
                factors.0 = self.read_factors(worker, *block, of_a, rows).map_err(misplaced)?;
                factors.1 = self.read_factors(worker, *block, of_b, n).map_err(misplaced)?;
            }
            let factors = (factors.0.as_slice(), factors.1.as_slice());
            let mut sum = self.before(worker, *block, side).map_err(late)?;
            match &self.a {
                Source::Shared(matrix) => {
                    let major = (self.shape.transpose_a, self.shape.a);
                    let a = self.shared(worker, *block, matrix, major, rows);
                    self.add(&a, &b, factors, rows, &mut sum);
                }
                Source::Tensor(down, first) => {
                    // Every group of lanes multiplies the rows that it holds with the columns that it holds.
                    let width = self.path.columns(n);
                    for start in (0..n).step_by(width) {
                        let a = self.tensor(worker, *block, (*down, *first), start).map_err(late)?;
                        let mut part = sum.clone();
                        self.add(&a, &b, factors, rows, &mut part);
                        for row in 0..rows {
                            let columns = row * n + start..row * n + start + width;
                            sum[columns.clone()].copy_from_slice(&part[columns]);
                        }
                    }
                }
            }
            let memory = &mut worker.cluster.blocks[*block].tensor;
            for row in 0..rows {
                for column in 0..n {
                    let (lane, at) = self.path.cell(row, column, n);
                    let lane = lane + self.d.0;
                    if self.disabled[side] >> lane & 1 == 0 {
                        memory.set(lane, at + self.d.1, sum[row * n + column]);
                    }
                }
            }
        }
        Ok(())
    }
}
