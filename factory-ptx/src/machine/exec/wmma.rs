//! `wmma`: fragments whose layout is the machine's own.
//!
//! A matrix is a row of elements (A and C by rows, B by columns, so that elements that share a register lie along K); each
//! lane has an equal part of it, and fills its registers with that from the lowest bits on. C has one layout for all types,
//! so that a program may combine fragments of f16 and f32 element by element.

use super::access::{read_raw, write_raw};
use super::spot::{Run, Shape, addresses};
use super::state::Warp;
use super::{Trouble, Worker};
use crate::machine::inst::matrix::{Arithmetic, FragmentAccess, FragmentMultiply, Method, Part};
use crate::machine::lanes::{LANES, NONE, row, row_mut};
use crate::machine::matrix::accumulate::{Product, Sum};
use crate::machine::matrix::double::fused;
use crate::machine::matrix::format::{INFINITY, Packed, pack};
use crate::machine::matrix::integer::{multiply_bits, multiply_integers};
use crate::machine::number;

/// Elements of a matrix from a fragment's registers, in the order of the matrix.
fn read_fragment(words: &[u32], slots: &[u32], count: usize, bits: usize) -> Vec<u64> {
    let a_lane = count / LANES;
    (0..count)
        .map(|index| {
            let (lane, at) = (index / a_lane, index % a_lane);
            if bits == 64 {
                let low = row(words, slots[2 * at])[lane];
                let high = row(words, slots[2 * at + 1])[lane];
                return u64::from(low) | u64::from(high) << 32;
            }
            let per = 32 / bits;
            let word = row(words, slots[at / per])[lane];
            u64::from(word) >> (at % per * bits) & (u64::MAX >> (64 - bits))
        })
        .collect()
}

/// The other way round.
fn write_fragment(words: &mut [u32], slots: &[u32], bits: usize, elements: &[u64]) {
    let a_lane = elements.len() / LANES;
    for slot in slots {
        *row_mut(words, *slot) = [0; LANES];
    }
    for (index, element) in elements.iter().enumerate() {
        let (lane, at) = (index / a_lane, index % a_lane);
        if bits == 64 {
            row_mut(words, slots[2 * at])[lane] = *element as u32;
            row_mut(words, slots[2 * at + 1])[lane] = (*element >> 32) as u32;
            continue;
        }
        let per = 32 / bits;
        row_mut(words, slots[at / per])[lane] |= (*element as u32) << (at % per * bits);
    }
}

impl Worker<'_> {
    /// `wmma.load` and `wmma.store`
    pub(super) fn access_fragment(
        &mut self,
        warp: &mut Warp,
        base: usize,
        op: &FragmentAccess,
    ) -> Result<(), Trouble> {
        let layout = op.layout;
        // Elements narrower than a byte move as words along K.
        let (bits, pack) = if layout.bits < 8 { (32, 32 / layout.bits) } else { (layout.bits, 1) };
        let (rows, columns) = match layout.part {
            Part::B => (layout.rows / pack, layout.columns),
            _ => (layout.rows, layout.columns / pack),
        };
        let count = rows * columns;
        let size = bits / 8;
        let starts = addresses(&warp.words[base..], &op.address, u32::MAX);
        let strides = if op.stride == NONE {
            let natural = if op.by_rows { layout.columns } else { layout.rows };
            [natural as u32; LANES]
        } else {
            *row(&warp.words[base..], op.stride)
        };
        let a_lane = count / LANES;
        let mut elements = if op.load {
            vec![0; count]
        } else {
            read_fragment(&warp.words[base..], &op.registers, count, bits)
        };
        for at in 0..a_lane {
            let lanes: [u64; LANES] = std::array::from_fn(|lane| {
                let index = lane * a_lane + at;
                let (r, c) = match layout.part {
                    Part::B => (index % rows, index / rows),
                    _ => (index / columns, index % columns),
                };
                let pitch = u64::from(strides[lane]) * layout.bits as u64 / 8;
                let offset = if op.by_rows {
                    r as u64 * pitch + (c * size) as u64
                } else {
                    c as u64 * pitch + (r * size) as u64
                };
                starts[lane].wrapping_add(offset)
            });
            let mut left = u32::MAX;
            while left != 0 {
                let run = self.run_of(warp, op.space, &lanes, left, size)?;
                let run = Run { shape: Shape::Scattered, ..run };
                left &= !run.mask;
                self.count_access(&run, size, !op.load);
                if op.load {
                    self.check_read(warp, &run, size, &lanes, false)?;
                } else {
                    self.check_write(warp, &run, size, &lanes, false)?;
                }
                for lane in (0..LANES).filter(|lane| run.mask >> lane & 1 != 0) {
                    let element = &mut elements[lane * a_lane + at];
                    let place = run.spot.data.wrapping_add(run.offsets[lane]);
                    // SAFETY: `run_of` keeps to lanes whose bytes lie inside the spot, and `check_write` to writable ones.
                    unsafe {
                        match (op.load, size) {
                            (true, 1) => *element = read_raw::<1>(place),
                            (true, 2) => *element = read_raw::<2>(place),
                            (true, 4) => *element = read_raw::<4>(place),
                            (true, _) => *element = read_raw::<8>(place),
                            (false, 2) => write_raw::<2>(place, *element),
                            (false, 4) => write_raw::<4>(place, *element),
                            (false, _) => write_raw::<8>(place, *element),
                        }
                    }
                }
            }
        }
        if op.load {
            write_fragment(&mut warp.words[base..], &op.registers, bits, &elements);
        }
        Ok(())
    }
}

/// `wmma.mma` on a frame's words.
pub(super) fn multiply_fragments(words: &mut [u32], op: &FragmentMultiply) {
    let (m, n, k) = op.shape;
    match op.arithmetic {
        Arithmetic::Float { formats, method, sums: (c_sum, d_sum) } => {
            let Method::Units(model) = method else { return };
            let mut special = false;
            let mut open = |slots: &[u32], count: usize| -> Vec<Packed> {
                let bits = formats.0.bits() as usize;
                let elements = read_fragment(words, slots, count, bits);
                elements
                    .into_iter()
                    .map(|element| {
                        let packed = pack(formats.0, element as u32);
                        special |= packed >= INFINITY << 16;
                        packed
                    })
                    .collect()
            };
            let a = open(&op.a, m * k);
            let columns = open(&op.b, k * n);
            let b: Vec<Packed> = (0..k * n).map(|index| columns[index % n * k + index / n]).collect();
            // Where one of C and D is f32, the sum is; a narrow result is rounded at the end.
            let sum = if (c_sum, d_sum) == (Sum::F16, Sum::F16) { Sum::F16 } else { Sum::F32 };
            let c_bits = if c_sum == Sum::F16 { 16 } else { 32 };
            let mut d: Vec<u32> = read_fragment(words, &op.c, m * n, c_bits)
                .into_iter()
                .map(|element| match (c_sum, sum) {
                    (Sum::F16, Sum::F32) => number::f32_from_f16(element as u16).to_bits(),
                    _ => element as u32,
                })
                .collect();
            Product { model, formats, sum, shape: op.shape, a: &a, b: &b, special }.add_to(&mut d);
            let d_bits = if d_sum == Sum::F16 { 16 } else { 32 };
            let elements: Vec<u64> = d
                .into_iter()
                .map(|element| match (sum, d_sum) {
                    (Sum::F32, Sum::F16) => u64::from(number::f16_from_f32(f32::from_bits(element))),
                    _ => u64::from(element),
                })
                .collect();
            write_fragment(words, &op.d, d_bits, &elements);
        }
        Arithmetic::Integer { a: a_type, b: b_type, saturate } => {
            let bits = a_type.bits as usize;
            let a: Vec<i32> = read_fragment(words, &op.a, m * k, bits)
                .into_iter()
                .map(|e| a_type.value(e as u32))
                .collect();
            let columns = read_fragment(words, &op.b, k * n, bits);
            let b: Vec<i32> =
                (0..k * n).map(|index| b_type.value(columns[index % n * k + index / n] as u32)).collect();
            let mut d: Vec<u32> =
                read_fragment(words, &op.c, m * n, 32).into_iter().map(|element| element as u32).collect();
            multiply_integers(op.shape, &a, &b, saturate, &mut d);
            let elements: Vec<u64> = d.into_iter().map(u64::from).collect();
            write_fragment(words, &op.d, 32, &elements);
        }
        Arithmetic::Bits { and } => {
            let width = k / 32;
            let narrow =
                |elements: Vec<u64>| -> Vec<u32> { elements.into_iter().map(|e| e as u32).collect() };
            let a = narrow(read_fragment(words, &op.a, m * width, 32));
            let b = narrow(read_fragment(words, &op.b, n * width, 32));
            let mut d = narrow(read_fragment(words, &op.c, m * n, 32));
            multiply_bits((m, n), width, &a, &b, and, &mut d);
            let elements: Vec<u64> = d.into_iter().map(u64::from).collect();
            write_fragment(words, &op.d, 32, &elements);
        }
        Arithmetic::Double { rounding } => {
            let wide =
                |elements: Vec<u64>| -> Vec<f64> { elements.into_iter().map(f64::from_bits).collect() };
            let a = wide(read_fragment(words, &op.a, m * k, 64));
            let b = wide(read_fragment(words, &op.b, k * n, 64));
            let mut d = wide(read_fragment(words, &op.c, m * n, 64));
            for (index, place) in d.iter_mut().enumerate() {
                for at in 0..k {
                    *place = fused(a[index / n * k + at], b[index % n * k + at], *place, rounding);
                }
            }
            let elements: Vec<u64> = d.into_iter().map(f64::to_bits).collect();
            write_fragment(words, &op.d, 64, &elements);
        }
    }
}
