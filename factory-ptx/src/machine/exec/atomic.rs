//! `atom` and `red`: read-modify-write operations that are atomic between host threads too.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};

use super::access::{read_raw, write_raw};
use super::check::Touch;
use super::collective::lanes_of;
use super::spot::addresses;
use super::state::Warp;
use super::sync::Sync;
use super::{Trouble, Worker};
use crate::machine::inst::{Atomic, AtomicOp, AtomicType, Element};
use crate::machine::lanes::{LANES, NONE};
use crate::machine::number::{HALF_NAN, NEAREST, add_odd, extremum, flush, half_from_f64, half_to_f64};
use crate::machine::number64::keep2;

/// Serialises 128-bit atomics, for which there is no host instruction that can be relied on.
static WIDE: Mutex<()> = Mutex::new(());

/// Which NaN an f64 sum keeps, as an H200 does it.
#[derive(Clone, Copy)]
enum Nans {
    /// In shared memory, where `atom` and `red` are loops of `cas`: that in memory, made quiet, before the operand's.
    Memory,
    /// In global memory: the operand's before that in memory, with all its bits.
    Unchanged,
}

fn half_op<const BRAIN: bool>(op: AtomicOp, a: u16, b: u16) -> u16 {
    let (x, y) = (half_to_f64::<BRAIN>(a), half_to_f64::<BRAIN>(b));
    match op {
        AtomicOp::Add => half_from_f64::<BRAIN, NEAREST>(add_odd(x, y)),
        AtomicOp::Min | AtomicOp::Max => {
            let best = if op == AtomicOp::Max {
                extremum::<true, false>(x as f32, y as f32)
            } else {
                extremum::<false, false>(x as f32, y as f32)
            };
            if best.is_nan() { HALF_NAN } else { half_from_f64::<BRAIN, NEAREST>(f64::from(best)) }
        }
        _ => b,
    }
}

/// The new value, from the old one and the operands.
pub(super) fn apply(op: AtomicOp, ty: AtomicType, old: u64, b: u64, c: u64) -> u64 {
    apply_with(op, ty, (false, Nans::Unchanged), old, b, c)
}

/// As [`apply`], with what f32 and f64 sums of `atom` and `red` do to subnormals and NaNs.
fn apply_with(op: AtomicOp, ty: AtomicType, (flushes, nans): (bool, Nans), old: u64, b: u64, c: u64) -> u64 {
    match (op, ty) {
        (AtomicOp::Exchange, _) => b,
        (AtomicOp::CompareSwap, _) => {
            if old == b {
                c
            } else {
                old
            }
        }
        (AtomicOp::And, _) => old & b,
        (AtomicOp::Or, _) => old | b,
        (AtomicOp::Xor, _) => old ^ b,
        (AtomicOp::Increment, _) => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        (AtomicOp::Decrement, _) => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
        (AtomicOp::Add, AtomicType::F32) => {
            let (x, y) = (f32::from_bits(old as u32), f32::from_bits(b as u32));
            let sum = if flushes { flush::<true>(flush::<true>(x) + flush::<true>(y)) } else { x + y };
            u64::from(if sum.is_nan() { crate::machine::number::F32_NAN } else { sum.to_bits() })
        }
        (AtomicOp::Add, AtomicType::F64) => {
            let (x, y) = (f64::from_bits(old), f64::from_bits(b));
            match nans {
                Nans::Memory => keep2(x + y, y, x).to_bits(),
                Nans::Unchanged if y.is_nan() => b,
                Nans::Unchanged if x.is_nan() => old,
                Nans::Unchanged => (x + y).to_bits(),
            }
        }
        (_, AtomicType::F16) => u64::from(half_op::<false>(op, old as u16, b as u16)),
        (_, AtomicType::BF16) => u64::from(half_op::<true>(op, old as u16, b as u16)),
        (_, AtomicType::F16x2) => {
            u64::from(half_op::<false>(op, old as u16, b as u16))
                | u64::from(half_op::<false>(op, (old >> 16) as u16, (b >> 16) as u16)) << 16
        }
        (_, AtomicType::BF16x2) => {
            u64::from(half_op::<true>(op, old as u16, b as u16))
                | u64::from(half_op::<true>(op, (old >> 16) as u16, (b >> 16) as u16)) << 16
        }
        (AtomicOp::Add, _) => old.wrapping_add(b),
        (AtomicOp::Min, AtomicType::S32) => (old as i32).min(b as i32) as u32 as u64,
        (AtomicOp::Max, AtomicType::S32) => (old as i32).max(b as i32) as u32 as u64,
        (AtomicOp::Min, AtomicType::S64) => (old as i64).min(b as i64) as u64,
        (AtomicOp::Max, AtomicType::S64) => (old as i64).max(b as i64) as u64,
        (AtomicOp::Min, _) => old.min(b),
        (AtomicOp::Max, _) => old.max(b),
    }
}

impl Worker<'_> {
    pub(super) fn atomic(
        &mut self,
        warp: &mut Warp,
        base: usize,
        atomic: &Atomic,
        active: u32,
    ) -> Result<(), Trouble> {
        let lanes = addresses(&warp.words[base..], &atomic.address, active);
        let size = usize::from(atomic.ty.size());
        let total = size * atomic.operands.len();
        let touch = Touch { reads: true, strong: Some(atomic.scope), ..Touch::WRITE };
        let sync = Sync {
            scope: atomic.scope,
            reads: true,
            writes: true,
            acquire: atomic.acquire,
            release: atomic.release,
        };
        let mut left = active;
        while left != 0 {
            let run = self.run_of(warp, atomic.space, &lanes, left, total)?;
            left &= !run.mask;
            self.count_atomic(&run);
            // An atomic reads and writes, and does not race with other atomics.
            self.check_touch(warp, &run, total, &lanes, &touch)?;
            self.synchronise(warp, &run, &lanes, &sync, false)?;
            // f32 sums in global memory flush subnormals, those in shared memory do not.
            let shared = matches!(run.spot.kind, super::spot::SpotKind::Shared(_));
            let sums = (!shared, if shared { Nans::Memory } else { Nans::Unchanged });
            for lane in lanes_of(run.mask) {
                for (index, operand) in atomic.operands.iter().enumerate() {
                    // SAFETY: `run_of` gave offsets whose `total` bytes lie inside the spot.
                    let pointer = unsafe { run.spot.data.add(run.offsets[lane] + index * size) };
                    let words = &mut warp.words[base..];
                    let result = atomic.results.get(index).copied();
                    if atomic.ty == AtomicType::B128 {
                        wide(pointer, atomic, words, *operand, result, lane);
                        continue;
                    }
                    let b = get(words, *operand, lane, size);
                    let c = atomic.third.map_or(0, |third| get(words, third, lane, size));
                    let old = update(pointer, size, |old| apply_with(atomic.op, atomic.ty, sums, old, b, c));
                    let new = apply_with(atomic.op, atomic.ty, sums, old, b, c);
                    self.changes += u64::from(new != old);
                    if let Some(result) = result {
                        put(words, result, lane, size, old);
                    }
                }
            }
            warp.polled = true;
            self.synchronise(warp, &run, &lanes, &sync, true)?;
        }
        Ok(())
    }
}

/// The value of a register in one lane, cut to a size.
fn get(words: &[u32], element: Element, lane: usize, size: usize) -> u64 {
    let low = u64::from(words[element.slot as usize + lane]);
    match size {
        2 => low & 0xffff,
        8 => low | u64::from(words[element.slot as usize + LANES + lane]) << 32,
        _ => low,
    }
}

fn put(words: &mut [u32], element: Element, lane: usize, size: usize, value: u64) {
    if element.slot == NONE {
        return;
    }
    words[element.slot as usize + lane] = value as u32;
    if size == 8 || element.rows == 2 {
        words[element.slot as usize + LANES + lane] = (value >> 32) as u32;
    }
}

/// Replaces the value at a pointer by a function of it, atomically; returns the old one.
pub(super) fn update(pointer: *mut u8, size: usize, f: impl Fn(u64) -> u64) -> u64 {
    macro_rules! with {
        ($atomic:ty, $integer:ty) => {{
            // SAFETY: the caller gives a pointer to `size` bytes inside a spot. Spots of writable memory begin at
            // multiples of 16 (the driver copies what does not) and the offset is a multiple of `size`.
            let cell = unsafe { &*pointer.cast::<$atomic>() };
            let old = cell.fetch_update(SeqCst, SeqCst, |old| Some(f(u64::from(old)) as $integer));
            u64::from(old.unwrap_or_else(|old| old))
        }};
    }
    match size {
        2 => with!(AtomicU16, u16),
        4 => with!(AtomicU32, u32),
        _ => with!(AtomicU64, u64),
    }
}

/// `atom.exch.b128` and `atom.cas.b128`.
fn wide(
    pointer: *mut u8,
    atomic: &Atomic,
    words: &mut [u32],
    operand: Element,
    result: Option<Element>,
    lane: usize,
) {
    let value = |words: &[u32], element: Element| {
        std::array::from_fn::<u64, 2, _>(|half| {
            let at = element.slot as usize + 2 * half * LANES + lane;
            u64::from(words[at]) | u64::from(words[at + LANES]) << 32
        })
    };
    let b = value(words, operand);
    let c = atomic.third.map(|third| value(words, third));
    let _guard = WIDE.lock();
    // SAFETY: the pointer is valid for 16 bytes.
    let old = unsafe { [read_raw::<8>(pointer), read_raw::<8>(pointer.add(8))] };
    let new = match c {
        Some(c) if old == b => c,
        Some(_) => old,
        None => b,
    };
    // SAFETY: as above.
    unsafe {
        write_raw::<8>(pointer, new[0]);
        write_raw::<8>(pointer.add(8), new[1]);
    }
    if let Some(element) = result.filter(|element| element.slot != NONE) {
        for (half, value) in old.into_iter().enumerate() {
            let at = element.slot as usize + 2 * half * LANES + lane;
            words[at] = value as u32;
            words[at + LANES] = (value >> 32) as u32;
        }
    }
}
