//! Matrix fragments.

use super::access::{read_raw, write_raw};
use super::spot::{Run, Shape, addresses};
use super::state::{State, Warp};
use super::step::Flow;
use super::{Trouble, Worker, plain_trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::Inst;
use crate::machine::inst::matrix::{Arithmetic, Matrix, MatrixAccess, Method, Multiply};
use crate::machine::lanes::{LANES, NONE, row, row_mut};
use crate::machine::matrix::accumulate::{Product, Sum};
use crate::machine::matrix::double::fused;
use crate::machine::matrix::format::{Format, Packed, normalised, pack_row};
use crate::machine::matrix::integer::{multiply_bits, multiply_integers};
use crate::machine::matrix::layout::{
    Layout, a_index, a_place, b_place, each_pair, quad_a, quad_b, quad_c, quad_lane,
};
use crate::machine::number;
use crate::machine::report::TensorType;

/// The most elements of A in one instruction of a warp: `m16n8k256` has that many words.
const A_LIMIT: usize = 16 * 64;
const B_LIMIT: usize = 8 * 64;

impl Worker<'_> {
    pub(super) fn matrix(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        _inst: &Inst,
        op: &Matrix,
        active: u32,
    ) -> Result<Flow, Trouble> {
        if !whole_warp(warp, chosen, active)? {
            return Ok(Flow::Stop);
        }
        if !warp.pending_registers.is_empty() {
            check_pending(warp, base, op)?;
        }
        match op {
            Matrix::Load(access) => self.load_matrices(warp, base, access)?,
            Matrix::Store(access) => self.store_matrices(warp, base, access)?,
            Matrix::Transpose(d, a) => {
                let words = &mut warp.words[base..];
                let [result] = transpose(&[*row(words, *a)]);
                *row_mut(words, *d) = result;
            }
            Matrix::FragmentAccess(access) => self.access_fragment(warp, base, access)?,
            Matrix::FragmentMultiply(multiply) => {
                let (m, n, k) = multiply.shape;
                self.count_tensor(tensor_type(&multiply.arithmetic), (2 * m * n * k) as u64);
                super::wmma::multiply_fragments(&mut warp.words[base..], multiply);
            }
            Matrix::GroupFence => self.group_fence(warp, base),
            Matrix::GroupMultiply(multiply) => self.group_multiply(warp, base, multiply)?,
            Matrix::GroupCommit => self.group_commit(warp),
            Matrix::GroupWait(pending) => return self.group_wait(warp, chosen, *pending),
            Matrix::Multiply(multiply) => {
                let (m, n, k) = multiply.shape;
                let products = if multiply.layout == Layout::Grouped { 1 } else { 4 };
                self.count_tensor(tensor_type(&multiply.arithmetic), (2 * products * m * n * k) as u64);
                run_multiply(&mut warp.words[base..], multiply);
            }
        }
        Ok(Flow::Next)
    }

    /// The eight rows that each matrix lies in: the addresses of lanes `8 i` to `8 i + 7`.
    fn matrix_rows(
        &mut self,
        warp: &Warp,
        base: usize,
        access: &MatrixAccess,
    ) -> Result<Vec<(Run, [u64; LANES])>, Trouble> {
        let count = access.registers.len();
        let used = if count == 4 { u32::MAX } else { (1 << (8 * count)) - 1 };
        let lanes = addresses(&warp.words[base..], &access.address, used);
        let mut runs = Vec::with_capacity(count);
        for matrix in 0..count {
            let mut left = 0xff << (8 * matrix);
            while left != 0 {
                let run = self.run_of(warp, access.space, &lanes, left, 16)?;
                if !matches!(run.spot.kind, super::spot::SpotKind::Shared(_)) {
                    let lane = left.trailing_zeros();
                    let detail = "matrices are loaded from and stored to shared memory";
                    let address = lanes[lane as usize & 31];
                    return Err(super::trouble(FaultKind::UndefinedOperand, lane, address, detail));
                }
                left &= !run.mask;
                runs.push((Run { shape: Shape::Scattered, ..run }, lanes));
            }
        }
        Ok(runs)
    }

    /// Counts the passes of a run's rows, one matrix after the other.
    fn count_rows(&mut self, runs: &[(Run, [u64; LANES])], store: bool) {
        let mut rows = Vec::with_capacity(LANES);
        for (run, _) in runs {
            rows.extend((0..LANES).filter(|lane| run.mask >> lane & 1 != 0).map(|lane| run.offsets[lane]));
        }
        self.count_matrix_rows(&rows, store);
    }

    fn load_matrices(&mut self, warp: &mut Warp, base: usize, access: &MatrixAccess) -> Result<(), Trouble> {
        let mut rows = [[0u8; 16]; LANES];
        let runs = self.matrix_rows(warp, base, access)?;
        self.count_rows(&runs, false);
        for (run, lanes) in runs {
            self.check_read(warp, &run, 16, &lanes, false)?;
            for (lane, row) in rows.iter_mut().enumerate() {
                if run.mask >> lane & 1 != 0 {
                    let place = run.spot.data.wrapping_add(run.offsets[lane]);
                    // SAFETY: `run_of` keeps to lanes whose 16 bytes lie inside the spot.
                    let (low, high) = unsafe { (read_raw::<8>(place), read_raw::<8>(place.add(8))) };
                    row[..8].copy_from_slice(&low.to_le_bytes());
                    row[8..].copy_from_slice(&high.to_le_bytes());
                }
            }
        }
        let half = |row: usize, column: usize| {
            u32::from(u16::from_le_bytes([rows[row][2 * column], rows[row][2 * column + 1]]))
        };
        for (matrix, slot) in access.registers.iter().enumerate() {
            if *slot == NONE {
                continue;
            }
            let words = row_mut(&mut warp.words[base..], *slot);
            for (lane, word) in words.iter_mut().enumerate() {
                let (group, pair) = (lane / 4, lane % 4 * 2);
                *word = if access.transposed {
                    half(8 * matrix + pair, group) | half(8 * matrix + pair + 1, group) << 16
                } else {
                    half(8 * matrix + group, pair) | half(8 * matrix + group, pair + 1) << 16
                };
            }
        }
        Ok(())
    }

    fn store_matrices(&mut self, warp: &mut Warp, base: usize, access: &MatrixAccess) -> Result<(), Trouble> {
        let mut fragments: Vec<[u32; LANES]> =
            access.registers.iter().map(|slot| *row(&warp.words[base..], *slot)).collect();
        if access.transposed {
            for fragment in &mut fragments {
                [*fragment] = transpose(&[*fragment]);
            }
        }
        let runs = self.matrix_rows(warp, base, access)?;
        self.count_rows(&runs, true);
        for (run, lanes) in runs {
            self.check_write(warp, &run, 16, &lanes, false)?;
            for lane in 0..LANES {
                if run.mask >> lane & 1 != 0 {
                    let words = &fragments[lane / 8][lane % 8 * 4..][..4];
                    let place = run.spot.data.wrapping_add(run.offsets[lane]);
                    // SAFETY: `run_of` keeps to lanes whose 16 bytes lie inside the spot, which `check_write` found
                    // writable.
                    unsafe {
                        write_raw::<8>(place, u64::from(words[0]) | u64::from(words[1]) << 32);
                        write_raw::<8>(place.add(8), u64::from(words[2]) | u64::from(words[3]) << 32);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Registers of a warpgroup's product in flight belong to it alone.
#[cold]
fn check_pending(warp: &Warp, base: usize, op: &Matrix) -> Result<(), Trouble> {
    let named: Vec<u32> = match op {
        Matrix::Load(access) | Matrix::Store(access) => access.registers.clone(),
        Matrix::Transpose(d, a) => vec![*d, *a],
        Matrix::FragmentAccess(access) => access.registers.clone(),
        Matrix::FragmentMultiply(op) => [&op.a, &op.b, &op.c, &op.d].into_iter().flatten().copied().collect(),
        Matrix::Multiply(op) => [&op.a, &op.b, &op.c, &op.d].into_iter().flatten().copied().collect(),
        Matrix::GroupFence | Matrix::GroupMultiply(_) | Matrix::GroupCommit | Matrix::GroupWait(_) => {
            return Ok(());
        }
    };
    let touched = named.into_iter().filter(|slot| *slot != NONE).any(|slot| {
        let word = base + slot as usize;
        warp.pending_registers
            .iter()
            .any(|pending| word >= pending.first && word - pending.first < pending.words)
    });
    if touched {
        let detail = "a register of an operation in flight is used before the wait for it";
        return Err(plain_trouble(FaultKind::AsyncNotWaited, 0, detail));
    }
    Ok(())
}

/// The kind of tensor operation that is counted.
pub(super) fn tensor_type(arithmetic: &Arithmetic) -> TensorType {
    match arithmetic {
        Arithmetic::Float { formats: (format, _), .. } => match format {
            Format::F16 | Format::BF16 => TensorType::Half,
            Format::TF32 => TensorType::Tf32,
            Format::E4M3 | Format::E5M2 => TensorType::F8,
        },
        Arithmetic::Integer { a, .. } if a.bits == 8 => TensorType::Int8,
        Arithmetic::Integer { .. } | Arithmetic::Bits { .. } => TensorType::Narrow,
        Arithmetic::Double { .. } => TensorType::F64,
    }
}

/// Whether all lanes of the warp stand here; otherwise the fragment waits for the others.
pub(super) fn whole_warp(warp: &mut Warp, chosen: usize, active: u32) -> Result<bool, Trouble> {
    if active == u32::MAX {
        return Ok(true);
    }
    let gone = !warp.live;
    if gone != 0 {
        let lane = gone.trailing_zeros();
        let detail = "the instruction needs all 32 lanes of the warp, and this one does not run";
        return Err(plain_trouble(FaultKind::InactiveLane, lane, detail));
    }
    let fragment = &mut warp.fragments[chosen];
    let held = fragment.mask & !active;
    if held != 0 {
        let detail = "the instruction needs all 32 lanes of the warp, and the guard keeps this one from it";
        return Err(plain_trouble(FaultKind::InactiveLane, held.trailing_zeros(), detail));
    }
    fragment.state = State::Warp(u32::MAX);
    Ok(false)
}

/// Transposes 8x8 matrices of 16 bits that lie in one register of each lane.
fn transpose<const N: usize>(fragments: &[[u32; LANES]; N]) -> [[u32; LANES]; N] {
    fragments.map(|fragment| {
        let half = |row: usize, column: usize| fragment[row * 4 + column / 2] >> (16 * (column & 1)) & 0xffff;
        std::array::from_fn(|lane| {
            let (group, pair) = (lane / 4, lane % 4 * 2);
            half(pair, group) | half(pair + 1, group) << 16
        })
    })
}

/// `mma.sync` on a frame's words.
fn run_multiply(words: &mut [u32], op: &Multiply) {
    match op.layout {
        Layout::Quads { a_rows, b_rows } => run_quads(words, op, a_rows, b_rows),
        Layout::Grouped => match op.arithmetic {
            Arithmetic::Float { formats, method, sums: (_, sum) } => {
                let (m, n, k) = op.shape;
                let (model, halves) = match method {
                    Method::Units(model) => (model, false),
                    Method::Halves(model) => (model, true),
                    Method::Chain => return,
                };
                // Where an element of a register lies along the dimension that is summed over.
                let widen = |format, value| if halves { normalised(format, value) } else { value };
                let order = |k: usize| if halves { k / 4 * 2 + k % 2 + model.block * (k / 2 % 2) } else { k };
                let mut a = [0 as Packed; 16 * 32];
                let mut b = [0 as Packed; 8 * 32];
                let mut special = false;
                let bits = formats.0.bits();
                let elements = 32 / bits as usize;
                for (register, slot) in op.a.iter().enumerate() {
                    let word = row(words, *slot);
                    for at in 0..elements {
                        let (values, odd) = pack_row(formats.0, word, at as u32 * bits);
                        special |= odd;
                        for lane in 0..LANES {
                            let (row, column) = a_place(m / 8, elements, register, lane, at);
                            a[row * k + order(column)] = widen(formats.0, values[lane]);
                        }
                    }
                }
                for (register, slot) in op.b.iter().enumerate() {
                    let word = row(words, *slot);
                    for at in 0..elements {
                        let (values, odd) = pack_row(formats.1, word, at as u32 * bits);
                        special |= odd;
                        for lane in 0..LANES {
                            let (row, column) = b_place(elements, register, lane, at);
                            b[order(row) * n + column] = widen(formats.1, values[lane]);
                        }
                    }
                }
                let mut d = [0; 16 * 8];
                if halves {
                    Product { model, formats, sum, shape: op.shape, a: &a, b: &b, special }.add_to(&mut d);
                    let mut c = [0; 16 * 8];
                    read_c(words, &op.c, m, n, sum == Sum::F16, &mut c);
                    for (d, c) in d.iter_mut().zip(c) {
                        *d = add(sum, *d, c);
                    }
                } else {
                    read_c(words, &op.c, m, n, sum == Sum::F16, &mut d);
                    Product { model, formats, sum, shape: op.shape, a: &a, b: &b, special }.add_to(&mut d);
                }
                write_d(words, &op.d, m, n, sum == Sum::F16, &d);
            }
            Arithmetic::Integer { a: a_type, b: b_type, saturate } => {
                let (m, n, k) = op.shape;
                let mut a = [0; A_LIMIT];
                let mut b = [0; B_LIMIT];
                let elements = 32 / a_type.bits as usize;
                for (register, slot) in op.a.iter().enumerate() {
                    let word = row(words, *slot);
                    for at in 0..elements {
                        for lane in 0..LANES {
                            a[a_index(k, m / 8, elements, register, lane, at)] =
                                a_type.value(word[lane] >> (at as u32 * a_type.bits));
                        }
                    }
                }
                for (register, slot) in op.b.iter().enumerate() {
                    let word = row(words, *slot);
                    for at in 0..elements {
                        for lane in 0..LANES {
                            let (row, column) = b_place(elements, register, lane, at);
                            b[row * n + column] = b_type.value(word[lane] >> (at as u32 * b_type.bits));
                        }
                    }
                }
                let mut d = [0; 16 * 8];
                read_c(words, &op.c, m, n, false, &mut d);
                multiply_integers(op.shape, &a, &b, saturate, &mut d);
                write_d(words, &op.d, m, n, false, &d);
            }
            Arithmetic::Bits { and } => {
                let (m, n, k) = op.shape;
                let width = k / 32;
                let mut a = [0; 16 * 8];
                let mut b = [0; 8 * 8];
                for (register, slot) in op.a.iter().enumerate() {
                    let word = row(words, *slot);
                    for lane in 0..LANES {
                        a[a_index(width, m / 8, 1, register, lane, 0)] = word[lane];
                    }
                }
                for (register, slot) in op.b.iter().enumerate() {
                    let word = row(words, *slot);
                    for lane in 0..LANES {
                        let (row, column) = b_place(1, register, lane, 0);
                        b[column * width + row] = word[lane];
                    }
                }
                let mut d = [0; 16 * 8];
                read_c(words, &op.c, m, n, false, &mut d);
                multiply_bits((m, n), width, &a, &b, and, &mut d);
                write_d(words, &op.d, m, n, false, &d);
            }
            Arithmetic::Double { rounding } => run_double(words, op, rounding),
        },
    }
}

/// C of 32-bit elements, or of f16 in pairs.
fn read_c(words: &[u32], slots: &[u32], m: usize, n: usize, packed: bool, d: &mut [u32]) {
    each_pair(m, n, |index, register, lane| {
        if packed {
            let word = row(words, slots[register])[lane];
            d[index] = word & 0xffff;
            d[index + 1] = word >> 16;
        } else {
            d[index] = row(words, slots[2 * register])[lane];
            d[index + 1] = row(words, slots[2 * register + 1])[lane];
        }
    });
}

fn write_d(words: &mut [u32], slots: &[u32], m: usize, n: usize, packed: bool, d: &[u32]) {
    each_pair(m, n, |index, register, lane| {
        if packed {
            row_mut(words, slots[register])[lane] = d[index] | d[index + 1] << 16;
        } else {
            row_mut(words, slots[2 * register])[lane] = d[index];
            row_mut(words, slots[2 * register + 1])[lane] = d[index + 1];
        }
    });
}

/// Rows of f64 operands: slots come in pairs.
fn run_double(words: &mut [u32], op: &Multiply, rounding: u8) {
    let (m, n, k) = op.shape;
    let wide = |words: &[u32], slots: &[u32], register: usize, lane: usize| {
        let low = u64::from(row(words, slots[2 * register])[lane]);
        let high = u64::from(row(words, slots[2 * register + 1])[lane]);
        f64::from_bits(low | high << 32)
    };
    let mut a = [0.0; 16 * 16];
    let mut b = [0.0; 16 * 8];
    let mut d = [0.0; 16 * 8];
    for register in 0..op.a.len() / 2 {
        for lane in 0..LANES {
            a[a_index(k, m / 8, 1, register, lane, 0)] = wide(words, &op.a, register, lane);
        }
    }
    for register in 0..op.b.len() / 2 {
        for lane in 0..LANES {
            let (row, column) = b_place(1, register, lane, 0);
            b[row * n + column] = wide(words, &op.b, register, lane);
        }
    }
    each_pair(m, n, |index, register, lane| {
        d[index] = wide(words, &op.c, 2 * register, lane);
        d[index + 1] = wide(words, &op.c, 2 * register + 1, lane);
    });
    let step: fn(f64, f64, f64) -> f64 = match rounding {
        number::NEAREST => |a, b, c| fused(a, b, c, number::NEAREST),
        number::ZERO => |a, b, c| fused(a, b, c, number::ZERO),
        number::DOWN => |a, b, c| fused(a, b, c, number::DOWN),
        _ => |a, b, c| fused(a, b, c, number::UP),
    };
    for row in 0..m {
        for column in 0..n {
            let place = &mut d[row * n + column];
            for at in 0..k {
                *place = step(a[row * k + at], b[at * n + column], *place);
            }
        }
    }
    each_pair(m, n, |index, register, lane| {
        for at in 0..2 {
            let bits = d[index + at].to_bits();
            let slots = &op.d[4 * register + 2 * at..];
            row_mut(words, slots[0])[lane] = bits as u32;
            row_mut(words, slots[1])[lane] = (bits >> 32) as u32;
        }
    });
}

/// A rounded sum of two results, as the ordinary adders form it.
fn add(sum: Sum, a: u32, b: u32) -> u32 {
    match sum {
        Sum::F32 => {
            let value = f32::from_bits(a) + f32::from_bits(b);
            if value.is_nan() { number::F32_NAN } else { value.to_bits() }
        }
        Sum::F16 => {
            // Exact in f32, rounded once.
            let value = number::f32_from_f16(a as u16) + number::f32_from_f16(b as u16);
            u32::from(number::f16_from_f32(value))
        }
    }
}

/// `m8n8k4` of f16: four products, each in 8 lanes.
fn run_quads(words: &mut [u32], op: &Multiply, a_rows: bool, b_rows: bool) {
    let Arithmetic::Float { sums: (c_sum, d_sum), .. } = op.arithmetic else { return };
    let read = |words: &[u32], slots: &[u32], lane: usize, at: usize| {
        row(words, slots[at / 2])[lane] >> (16 * (at & 1)) & 0xffff
    };
    let wide = |bits: u32| number::f32_from_f16(bits as u16);
    for quad in 0..4 {
        let mut a = [0.0; 8 * 4];
        let mut b = [0.0; 4 * 8];
        let mut c = [0.0; 8 * 8];
        for member in 0..8 {
            let lane = quad_lane(quad, member);
            for at in 0..4 {
                let (row, column) = quad_a(a_rows, member, at);
                a[row * 4 + column] = wide(read(words, &op.a, lane, at));
                let (row, column) = quad_b(b_rows, member, at);
                b[row * 8 + column] = wide(read(words, &op.b, lane, at));
            }
            for at in 0..8 {
                let (place_row, column) = quad_c(c_sum == Sum::F32, member, at);
                c[place_row * 8 + column] = match c_sum {
                    Sum::F32 => f32::from_bits(row(words, op.c[at])[lane]),
                    Sum::F16 => wide(read(words, &op.c, lane, at)),
                };
            }
        }
        for member in 0..8 {
            let lane = quad_lane(quad, member);
            for at in 0..8 {
                let (place_row, column) = quad_c(d_sum == Sum::F32, member, at);
                let c = c[place_row * 8 + column];
                let (x, y) = (&a[place_row * 4..][..4], |k: usize| b[k * 8 + column]);
                match d_sum {
                    Sum::F32 => {
                        let mut value = 0.0f32;
                        for k in 0..4 {
                            value = x[k].mul_add(y(k), value);
                        }
                        row_mut(words, op.d[at])[lane] = add(d_sum, value.to_bits(), c.to_bits());
                    }
                    Sum::F16 => {
                        let pair = |k: usize| x[k + 1].mul_add(y(k + 1), x[k] * y(k));
                        let bits = u32::from(number::f16_from_f32(c + pair(0) + pair(2)));
                        let word = &mut row_mut(words, op.d[at / 2])[lane];
                        let shift = 16 * (at & 1);
                        *word = *word & !(0xffff << shift) | bits << shift;
                    }
                }
            }
        }
    }
}
