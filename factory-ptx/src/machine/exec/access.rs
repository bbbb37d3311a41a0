//! Loads and stores: from addresses to bytes.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::check::Touch;
use super::spot::{Run, Shape, SpotKind, addresses};
use super::state::Warp;
use super::sync::Sync;
use super::{Trouble, Worker};
use crate::machine::inst::{Access, Element};
use crate::machine::lanes::{LANES, Lane, NONE};

/// Reads `N` bytes (1, 2, 4 or 8) that other host threads may be writing.
///
/// # Safety
/// `pointer` must be a multiple of `N`, and valid for `N` bytes of reads that race with nothing but atomics.
#[inline(always)]
unsafe fn read_aligned<const N: usize>(pointer: *const u8) -> u64 {
    // SAFETY: as the caller promises; the atomic types have the layout of the integers.
    unsafe {
        match N {
            1 => u64::from((*pointer.cast::<AtomicU8>()).load(Relaxed)),
            2 => u64::from((*pointer.cast::<AtomicU16>()).load(Relaxed)),
            4 => u64::from((*pointer.cast::<AtomicU32>()).load(Relaxed)),
            _ => (*pointer.cast::<AtomicU64>()).load(Relaxed),
        }
    }
}

/// Writes `N` bytes (1, 2, 4 or 8) that other host threads may be reading.
///
/// # Safety
/// `pointer` must be a multiple of `N`, and valid for `N` bytes of writes that race with nothing but atomics.
#[inline(always)]
unsafe fn write_aligned<const N: usize>(pointer: *mut u8, value: u64) {
    // SAFETY: as in `read_aligned`.
    unsafe {
        match N {
            1 => (*pointer.cast::<AtomicU8>()).store(value as u8, Relaxed),
            2 => (*pointer.cast::<AtomicU16>()).store(value as u16, Relaxed),
            4 => (*pointer.cast::<AtomicU32>()).store(value as u32, Relaxed),
            _ => (*pointer.cast::<AtomicU64>()).store(value, Relaxed),
        }
    }
}

/// Reads `N` bytes (1, 2, 4 or 8) from any address.
///
/// # Safety
/// `pointer` must be valid for `N` bytes of reads that race with nothing but atomics.
#[inline(always)]
pub(super) unsafe fn read_raw<const N: usize>(pointer: *const u8) -> u64 {
    // SAFETY: valid for N bytes as the caller promises, and read byte by byte where they are not aligned.
    unsafe {
        if pointer.addr().is_multiple_of(N) {
            return read_aligned::<N>(pointer);
        }
        (0..N).fold(0, |value, byte| value | read_aligned::<1>(pointer.add(byte)) << (8 * byte))
    }
}

/// Writes `N` bytes (1, 2, 4 or 8) to any address.
///
/// # Safety
/// `pointer` must be valid for `N` bytes of writes that race with nothing but atomics.
#[inline(always)]
pub(super) unsafe fn write_raw<const N: usize>(pointer: *mut u8, value: u64) {
    // SAFETY: as in `read_raw`.
    unsafe {
        if pointer.addr().is_multiple_of(N) {
            return write_aligned::<N>(pointer, value);
        }
        for byte in 0..N {
            write_aligned::<1>(pointer.add(byte), value >> (8 * byte));
        }
    }
}

/// Reads `N` bytes from each lane's place plus `at`.
///
/// # Safety
/// As for [`read_raw`], at each active lane's place.
#[inline(always)]
unsafe fn read_lanes<const N: usize>(run: &Run, at: usize, mut put: impl FnMut(usize, u64)) {
    let first = run.spot.data.wrapping_add(run.offsets[0] + at);
    match run.shape {
        Shape::Uniform => {
            // SAFETY: lane 0 is active.
            let value = unsafe { read_raw::<N>(first) };
            for lane in 0..LANES {
                put(lane, value);
            }
        }
        // Lanes lie a multiple of `N` apart, so that one look at the alignment is enough.
        Shape::Contiguous if first.addr().is_multiple_of(N) => {
            let step = run.offsets[1] - run.offsets[0];
            for lane in 0..LANES {
                // SAFETY: all lanes are active, and the pointer is aligned.
                put(lane, unsafe { read_aligned::<N>(first.add(lane * step)) });
            }
        }
        _ => {
            for lane in 0..LANES {
                if run.mask >> lane & 1 != 0 {
                    // SAFETY: the lane is active.
                    put(lane, unsafe { read_raw::<N>(run.spot.data.add(run.offsets[lane] + at)) });
                }
            }
        }
    }
}

/// Writes `N` bytes to each lane's place plus `at`, in the order of lanes.
///
/// # Safety
/// As for [`write_raw`], at each active lane's place.
#[inline(always)]
unsafe fn write_lanes<const N: usize>(run: &Run, at: usize, value: impl Fn(usize) -> u64) {
    let first = run.spot.data.wrapping_add(run.offsets[0] + at);
    if run.shape == Shape::Contiguous && first.addr().is_multiple_of(N) {
        let step = run.offsets[1] - run.offsets[0];
        for lane in 0..LANES {
            // SAFETY: all lanes are active, and the pointer is aligned.
            unsafe { write_aligned::<N>(first.add(lane * step), value(lane)) };
        }
        return;
    }
    for lane in 0..LANES {
        if run.mask >> lane & 1 != 0 {
            // SAFETY: the lane is active.
            unsafe { write_raw::<N>(run.spot.data.add(run.offsets[lane] + at), value(lane)) };
        }
    }
}

impl Access {
    fn sync(&self, reads: bool) -> Sync {
        Sync { scope: self.scope, reads, writes: !reads, acquire: self.acquire, release: self.release }
    }
}

impl Worker<'_> {
    pub(super) fn load(
        &mut self,
        warp: &mut Warp,
        base: usize,
        access: &Access,
        active: u32,
    ) -> Result<(), Trouble> {
        let lanes = addresses(&warp.words[base..], &access.address, active);
        let total = usize::from(access.size) * access.elements.len();
        let mut left = active;
        let touch = Touch { strong: access.strong.then_some(access.scope), ..Touch::READ };
        while left != 0 {
            let run = self.run_of(warp, access.space, &lanes, left, total)?;
            left &= !run.mask;
            self.count_access(&run, total, false);
            if run.shape == Shape::Uniform {
                // What one lane may read they all may.
                let one = Run { mask: 1, shape: Shape::Scattered, ..run };
                self.check_touch(warp, &one, total, &lanes, &touch)?;
            } else {
                self.check_touch(warp, &run, total, &lanes, &touch)?;
            }
            for (index, element) in access.elements.iter().enumerate() {
                let at = index * usize::from(access.size);
                match access.size {
                    1 => self.load_narrow::<1>(warp, base, &run, at, access, *element),
                    2 => self.load_narrow::<2>(warp, base, &run, at, access, *element),
                    4 => self.load_narrow::<4>(warp, base, &run, at, access, *element),
                    8 => self.load_wide(warp, base, &run, at, *element),
                    _ => {
                        let low = Element { rows: 2, ..*element };
                        let high = Element {
                            rows: 2,
                            slot: if element.slot == NONE { NONE } else { element.slot + 64 },
                        };
                        self.load_wide(warp, base, &run, at, low);
                        self.load_wide(warp, base, &run, at + 8, high);
                    }
                }
            }
            if access.strong {
                warp.polled = true;
                self.synchronise(warp, &run, &lanes, &access.sync(true), true)?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn load_narrow<const N: usize>(
        &self,
        warp: &mut Warp,
        base: usize,
        run: &Run,
        at: usize,
        access: &Access,
        element: Element,
    ) {
        if element.slot == NONE {
            return;
        }
        let mut values = [0u32; LANES];
        // SAFETY: `run_of` keeps to lanes whose bytes lie inside the spot.
        unsafe { read_lanes::<N>(run, at, |lane, value| values[lane] = value as u32) };
        if access.signed && N < 4 {
            let shift = 32 - 8 * N as u32;
            for value in &mut values {
                *value = ((*value << shift) as i32 >> shift) as u32;
                if access.half {
                    *value &= 0xffff;
                }
            }
        }
        u32::store(&mut warp.words[base..], element.slot, run.mask, &values);
        if element.rows == 2 {
            let high = values.map(|value| if access.signed { ((value as i32) >> 31) as u32 } else { 0 });
            u32::store(&mut warp.words[base..], element.slot + 32, run.mask, &high);
        }
    }

    #[inline(always)]
    fn load_wide(&self, warp: &mut Warp, base: usize, run: &Run, at: usize, element: Element) {
        if element.slot == NONE {
            return;
        }
        let mut values = [0u64; LANES];
        // SAFETY: `run_of` keeps to lanes whose bytes lie inside the spot.
        unsafe { read_lanes::<8>(run, at, |lane, value| values[lane] = value) };
        u64::store(&mut warp.words[base..], element.slot, run.mask, &values);
    }

    pub(super) fn store(
        &mut self,
        warp: &mut Warp,
        base: usize,
        access: &Access,
        active: u32,
    ) -> Result<(), Trouble> {
        let lanes = addresses(&warp.words[base..], &access.address, active);
        let total = usize::from(access.size) * access.elements.len();
        let mut left = active;
        while left != 0 {
            let run = self.run_of(warp, access.space, &lanes, left, total)?;
            left &= !run.mask;
            self.count_access(&run, total, true);
            let touch = Touch {
                strong: access.strong.then_some(access.scope),
                value: Some((&warp.words[base..], access)),
                ..Touch::WRITE
            };
            self.check_touch(warp, &run, total, &lanes, &touch)?;
            self.changes += u64::from(run.spot.kind != SpotKind::Local);
            if access.strong {
                self.synchronise(warp, &run, &lanes, &access.sync(false), false)?;
            }
            let mut clash = false;
            if run.shape != Shape::Contiguous {
                let mut last = None;
                for lane in 0..LANES {
                    if run.mask >> lane & 1 != 0 {
                        clash |= last.is_some_and(|last| run.offsets[lane] < last);
                        last = Some(run.offsets[lane] + total);
                    }
                }
            }
            for (index, element) in access.elements.iter().enumerate() {
                let at = index * usize::from(access.size);
                match access.size {
                    1 => self.store_narrow::<1>(warp, base, &run, at, *element),
                    2 => self.store_narrow::<2>(warp, base, &run, at, *element),
                    4 => self.store_narrow::<4>(warp, base, &run, at, *element),
                    8 => self.store_wide(warp, base, &run, at, element.slot),
                    _ => {
                        self.store_wide(warp, base, &run, at, element.slot);
                        self.store_wide(warp, base, &run, at + 8, element.slot + 64);
                    }
                }
            }
            if clash {
                self.check_clash(warp, base, &run, access, &lanes)?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn store_narrow<const N: usize>(&self, warp: &Warp, base: usize, run: &Run, at: usize, element: Element) {
        let values = u32::load(&warp.words[base..], element.slot);
        // SAFETY: `run_of` keeps to lanes whose bytes lie inside the spot, and `check_write` to writable ones.
        unsafe { write_lanes::<N>(run, at, |lane| u64::from(values[lane])) };
    }

    #[inline(always)]
    fn store_wide(&self, warp: &Warp, base: usize, run: &Run, at: usize, slot: u32) {
        let values = u64::load(&warp.words[base..], slot);
        // SAFETY: as in `store_narrow`.
        unsafe { write_lanes::<8>(run, at, |lane| values[lane]) };
    }
}
