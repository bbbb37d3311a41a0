//! Loads and stores: from addresses to bytes, with every check on the way.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::shadow::{Earlier, Who};
use super::state::{Block, Warp};
use super::{Trouble, Worker, trouble};
use crate::machine::decode::{LOCAL_START, LOCAL_WINDOW, PARAM_WINDOW, SHARED_START, SHARED_WINDOW, WINDOW};
use crate::machine::error::FaultKind;
use crate::machine::inst::{Access, Address, Element, Space};
use crate::machine::lanes::{LANES, Lane, NONE};
use crate::machine::memory::{BEFORE, NEVER};

/// Shadow of a shared byte that a cp.async will fill.
pub(super) const PENDING: u8 = 2;
/// Shadow of a shared or local byte that was written.
pub(super) const WRITTEN: u8 = 1;

/// Distance between the shared windows of two blocks of a cluster.
pub(super) const RANK_SHIFT: u32 = 24;

/// Where a run of memory lies and what may be done with it.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) kind: SpotKind,
    pub(super) data: *mut u8,
    /// One byte a byte, or null where everything counts as written.
    pub(super) shadow: *mut u8,
    pub(super) base: u64,
    pub(super) len: u64,
    pub(super) writable: bool,
    /// Distance between the memory of two lanes (local memory only).
    pub(super) stride: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpotKind {
    /// Index of the region.
    Global(usize),
    /// Block of the cluster.
    Shared(usize),
    Local,
    Param,
}

/// Reads `N` bytes that other host threads may be writing.
///
/// # Safety
/// `pointer` must be valid for `N` bytes of reads that race with nothing but atomics.
#[inline(always)]
pub(super) unsafe fn read_raw<const N: usize>(pointer: *const u8) -> u64 {
    // SAFETY: valid for N bytes as the caller promises; the alignment is checked before each wide access, and
    // the atomic types have the layout of the integers.
    unsafe {
        match N {
            2 if pointer.addr().is_multiple_of(2) => u64::from((*pointer.cast::<AtomicU16>()).load(Relaxed)),
            4 if pointer.addr().is_multiple_of(4) => u64::from((*pointer.cast::<AtomicU32>()).load(Relaxed)),
            8 if pointer.addr().is_multiple_of(8) => (*pointer.cast::<AtomicU64>()).load(Relaxed),
            _ => {
                let mut value = 0;
                for byte in 0..N {
                    value |= u64::from((*pointer.add(byte).cast::<AtomicU8>()).load(Relaxed)) << (8 * byte);
                }
                value
            }
        }
    }
}

/// Writes `N` bytes that other host threads may be reading.
///
/// # Safety
/// `pointer` must be valid for `N` bytes of writes that race with nothing but atomics.
#[inline(always)]
pub(super) unsafe fn write_raw<const N: usize>(pointer: *mut u8, value: u64) {
    // SAFETY: as in `read_raw`.
    unsafe {
        match N {
            2 if pointer.addr().is_multiple_of(2) => {
                (*pointer.cast::<AtomicU16>()).store(value as u16, Relaxed)
            }
            4 if pointer.addr().is_multiple_of(4) => {
                (*pointer.cast::<AtomicU32>()).store(value as u32, Relaxed)
            }
            8 if pointer.addr().is_multiple_of(8) => (*pointer.cast::<AtomicU64>()).store(value, Relaxed),
            _ => {
                for byte in 0..N {
                    (*pointer.add(byte).cast::<AtomicU8>()).store((value >> (8 * byte)) as u8, Relaxed);
                }
            }
        }
    }
}

/// The offsets of the lanes of one access inside one spot.
pub(super) struct Run {
    pub(super) spot: Spot,
    pub(super) mask: u32,
    pub(super) offsets: [usize; LANES],
    /// Each lane's bytes follow those of the lane before.
    pub(super) contiguous: bool,
}

/// The address of each lane; lanes that are not active get that of the first active one.
pub(super) fn addresses(words: &[u32], address: &Address, active: u32) -> [u64; LANES] {
    let mut lanes = if address.base == NONE {
        return [address.offset as u64; LANES];
    } else if address.wide {
        u64::load(words, address.base).map(|base| base.wrapping_add(address.offset as u64))
    } else {
        u32::load(words, address.base).map(|base| u64::from(base.wrapping_add(address.offset as u32)))
    };
    if active != u32::MAX {
        let first = lanes[active.trailing_zeros() as usize & 31];
        for (lane, address) in lanes.iter_mut().enumerate() {
            if active >> lane & 1 == 0 {
                *address = first;
            }
        }
    }
    lanes
}

impl Worker<'_> {
    /// Finds the memory that an address lies in.
    pub(super) fn locate(
        &self,
        warp: &Warp,
        space: Space,
        address: u64,
    ) -> Result<Spot, (FaultKind, String)> {
        let out = |detail: String| (FaultKind::OutOfBounds, detail);
        match space {
            Space::Generic => match address {
                SHARED_WINDOW.. if address - SHARED_WINDOW < WINDOW => {
                    let mut spot = self.locate(warp, Space::SharedCluster, address - SHARED_WINDOW)?;
                    spot.base += SHARED_WINDOW;
                    Ok(spot)
                }
                LOCAL_WINDOW.. if address - LOCAL_WINDOW < WINDOW => {
                    let mut spot = self.locate(warp, Space::Local, address - LOCAL_WINDOW)?;
                    spot.base += LOCAL_WINDOW;
                    Ok(spot)
                }
                PARAM_WINDOW.. if address - PARAM_WINDOW < WINDOW => self.locate(warp, Space::Param, address),
                _ => self.locate(warp, Space::Global, address),
            },
            Space::Global | Space::Const => {
                let regions = &self.context.regions;
                let after = regions.partition_point(|region| region.base <= address);
                let nearest = after.checked_sub(1).map(|index| (index, &regions[index]));
                match nearest {
                    Some((index, region)) if address - region.base < region.len => Ok(Spot {
                        kind: SpotKind::Global(index),
                        data: region.data,
                        shadow: region.shadow,
                        base: region.base,
                        len: region.len,
                        writable: region.writable && space != Space::Const,
                        stride: 0,
                    }),
                    Some((_, region)) if address - region.base < region.len + (1 << 24) => Err(out(format!(
                        "{} bytes past the end of `{}`",
                        address - region.base - region.len,
                        region.name
                    ))),
                    _ => Err(out("the address belongs to no buffer".to_owned())),
                }
            }
            Space::Shared | Space::SharedCluster => {
                let rank = address >> RANK_SHIFT;
                let block = match (rank, space) {
                    (0, _) => warp.block,
                    (rank, Space::SharedCluster) if (rank as usize) <= self.cluster.blocks.len() => {
                        rank as usize - 1
                    }
                    _ => return Err(out("the address lies outside shared memory".to_owned())),
                };
                let owner = &self.cluster.blocks[block];
                let base = (rank << RANK_SHIFT) + SHARED_START;
                let len = owner.shared_shadow.len() as u64;
                if address < base || address - base >= len {
                    return Err(out(format!(
                        "the block has {len} bytes of shared memory, from {SHARED_START:#x}"
                    )));
                }
                Ok(Spot {
                    kind: SpotKind::Shared(block),
                    data: owner.shared.as_ptr().cast_mut().cast(),
                    shadow: owner.shared_shadow.as_ptr().cast_mut().cast(),
                    base,
                    len,
                    writable: true,
                    stride: 0,
                })
            }
            Space::Local => {
                let len = warp.local_size as u64;
                if address < LOCAL_START || address - LOCAL_START >= len {
                    return Err(out(format!("the thread has {len} bytes of local memory")));
                }
                Ok(Spot {
                    kind: SpotKind::Local,
                    data: warp.local.as_ptr().cast_mut().cast(),
                    shadow: warp.local_shadow.as_ptr().cast_mut().cast(),
                    base: LOCAL_START,
                    len,
                    writable: true,
                    stride: warp.local_size,
                })
            }
            Space::Param => {
                let params = &self.context.params;
                let len = params.len() as u64;
                if address < PARAM_WINDOW || address - PARAM_WINDOW >= len {
                    return Err(out(format!("the kernel has {len} bytes of parameters")));
                }
                Ok(Spot {
                    kind: SpotKind::Param,
                    data: params.as_ptr().cast_mut(),
                    shadow: std::ptr::null_mut(),
                    base: PARAM_WINDOW,
                    len,
                    writable: false,
                    stride: 0,
                })
            }
        }
    }

    /// The name of what a spot belongs to.
    pub(super) fn spot_name(&self, spot: &Spot, address: u64) -> String {
        match spot.kind {
            SpotKind::Global(index) => self.context.regions[index].name.clone(),
            SpotKind::Shared(_) => {
                let offset = (address - spot.base) + SHARED_START;
                let names = &self.context.kernel.whole.shared_names;
                names
                    .iter()
                    .find(|(_, start, size)| offset >= *start && offset - start < *size)
                    .map_or_else(|| "shared memory".to_owned(), |(name, ..)| name.clone())
            }
            SpotKind::Local => "local memory".to_owned(),
            SpotKind::Param => "parameters".to_owned(),
        }
    }

    /// The spot that the first lane of `mask` points into, and all lanes that point into it with `total` bytes.
    pub(super) fn run_of(
        &mut self,
        warp: &Warp,
        space: Space,
        lanes: &[u64; LANES],
        mask: u32,
        total: usize,
    ) -> Result<Run, Trouble> {
        let first = mask.trailing_zeros() as usize & 31;
        let spot = match self.last_spot {
            Some(spot)
                if matches!(space, Space::Global | Space::Generic)
                    && lanes[first].wrapping_sub(spot.base) < spot.len =>
            {
                spot
            }
            _ => {
                let spot = self
                    .locate(warp, space, lanes[first])
                    .map_err(|(kind, detail)| trouble(kind, first as u32, lanes[first], detail))?;
                if matches!(spot.kind, SpotKind::Global(_)) && space != Space::Const {
                    self.last_spot = Some(spot);
                }
                spot
            }
        };
        let mut inside = 0u32;
        let limit = spot.len.wrapping_sub(total as u64);
        let fits = spot.len >= total as u64;
        let mut low_bits = 0;
        let mut offsets = [0usize; LANES];
        let mut contiguous = true;
        let start = lanes[0].wrapping_sub(spot.base);
        for lane in 0..LANES {
            let offset = lanes[lane].wrapping_sub(spot.base);
            inside |= u32::from(offset <= limit) << lane;
            low_bits |= lanes[lane];
            contiguous &= offset == start.wrapping_add((lane * total) as u64);
            offsets[lane] = offset as usize;
        }
        if !fits || inside >> first & 1 == 0 {
            let over = lanes[first] - spot.base + total as u64 - spot.len;
            let name = self.spot_name(&spot, lanes[first]);
            let detail = format!(
                "the access of {total} bytes ends {over} bytes behind the end of `{name}` ({} bytes)",
                spot.len
            );
            return Err(trouble(FaultKind::OutOfBounds, first as u32, lanes[first], detail).in_buffer(name));
        }
        let align = total as u64;
        if low_bits & (align - 1) != 0 {
            let lane = (0..LANES).find(|lane| mask >> lane & 1 != 0 && lanes[*lane] & (align - 1) != 0);
            if let Some(lane) = lane {
                let name = self.spot_name(&spot, lanes[first]);
                let detail =
                    format!("an access of {total} bytes needs an address that is a multiple of {total}");
                return Err(trouble(FaultKind::Misaligned, lane as u32, lanes[lane], detail).in_buffer(name));
            }
        }
        let mask = inside & mask;
        if spot.stride != 0 {
            for (lane, offset) in offsets.iter_mut().enumerate() {
                *offset = offset.wrapping_add(lane * spot.stride);
            }
            contiguous = false;
        }
        Ok(Run { spot, mask, offsets, contiguous: contiguous && mask == u32::MAX })
    }

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
        if access.fences {
            self.fence(warp);
        }
        while left != 0 {
            let run = self.run_of(warp, access.space, &lanes, left, total)?;
            left &= !run.mask;
            self.count_access(&run, total, false);
            self.check_read(warp, &run, total, &lanes, access.strong)?;
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
        for lane in 0..LANES {
            let offset = if run.mask >> lane & 1 != 0 { run.offsets[lane] } else { continue };
            // SAFETY: `run_of` keeps to lanes whose bytes lie inside the spot.
            values[lane] = unsafe { read_raw::<N>(run.spot.data.add(offset + at)) } as u32;
        }
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
        for lane in 0..LANES {
            if run.mask >> lane & 1 != 0 {
                // SAFETY: `run_of` keeps to lanes whose bytes lie inside the spot.
                values[lane] = unsafe { read_raw::<8>(run.spot.data.add(run.offsets[lane] + at)) };
            }
        }
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
        if access.fences {
            self.fence(warp);
        }
        while left != 0 {
            let run = self.run_of(warp, access.space, &lanes, left, total)?;
            left &= !run.mask;
            self.count_access(&run, total, true);
            self.check_write(warp, &run, total, &lanes, access.strong)?;
            let mut clash = false;
            if !run.contiguous {
                let mut last = None;
                for lane in 0..LANES {
                    if run.mask >> lane & 1 != 0 {
                        clash |= last.is_some_and(|last| run.offsets[lane] < last);
                        last = Some(run.offsets[lane] + total);
                    }
                }
            }
            if self.tags_global && matches!(run.spot.kind, SpotKind::Global(_)) && !access.strong {
                self.check_global_writers(warp, base, &run, access, &lanes)?;
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
        for lane in 0..LANES {
            if run.mask >> lane & 1 != 0 {
                // SAFETY: `run_of` keeps to lanes whose bytes lie inside the spot, and `check_write` to writable ones.
                unsafe { write_raw::<N>(run.spot.data.add(run.offsets[lane] + at), u64::from(values[lane])) };
            }
        }
    }

    #[inline(always)]
    fn store_wide(&self, warp: &Warp, base: usize, run: &Run, at: usize, slot: u32) {
        let values = u64::load(&warp.words[base..], slot);
        for lane in 0..LANES {
            if run.mask >> lane & 1 != 0 {
                // SAFETY: as in `store_narrow`.
                unsafe { write_raw::<8>(run.spot.data.add(run.offsets[lane] + at), values[lane]) };
            }
        }
    }

    /// What one lane stores, byte by byte.
    fn stored(&self, words: &[u32], access: &Access, lane: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        for element in &access.elements {
            for row in 0..usize::from(access.size).div_ceil(4) {
                let word = words[element.slot as usize + row * LANES + lane];
                let count = usize::from(access.size).min(4);
                bytes.extend_from_slice(&word.to_le_bytes()[..count]);
            }
        }
        bytes
    }

    /// After a store whose lanes overlap: every lane must find its own value.
    fn check_clash(
        &self,
        warp: &Warp,
        base: usize,
        run: &Run,
        access: &Access,
        lanes: &[u64; LANES],
    ) -> Result<(), Trouble> {
        if !self.context.options.checks.races {
            return Ok(());
        }
        for lane in 0..LANES {
            if run.mask >> lane & 1 == 0 {
                continue;
            }
            for (byte, value) in self.stored(&warp.words[base..], access, lane).into_iter().enumerate() {
                // SAFETY: the lane's bytes lie inside the spot.
                let found = unsafe { read_raw::<1>(run.spot.data.add(run.offsets[lane] + byte)) } as u8;
                if found != value {
                    let kind = match run.spot.kind {
                        SpotKind::Shared(_) => FaultKind::SharedRace,
                        _ => FaultKind::GlobalRace,
                    };
                    let detail =
                        "another lane of the warp stores a different value there in the same instruction";
                    let name = self.spot_name(&run.spot, lanes[lane]);
                    return Err(trouble(kind, lane as u32, lanes[lane] + byte as u64, detail).in_buffer(name));
                }
            }
        }
        Ok(())
    }

    /// Before a store to global memory: no other block may have left another value there.
    fn check_global_writers(
        &self,
        warp: &Warp,
        base: usize,
        run: &Run,
        access: &Access,
        lanes: &[u64; LANES],
    ) -> Result<(), Trouble> {
        let spot = &run.spot;
        if spot.shadow.is_null() || self.cluster.blocks[warp.block].synchronised {
            if !spot.shadow.is_null() {
                self.mark(run, usize::from(access.size) * access.elements.len(), self.cluster.tag);
            }
            return Ok(());
        }
        let total = usize::from(access.size) * access.elements.len();
        for lane in 0..LANES {
            if run.mask >> lane & 1 == 0 {
                continue;
            }
            for byte in 0..total {
                // SAFETY: the shadow is as long as the data, inside which the lane's bytes lie.
                let state = unsafe { read_raw::<1>(spot.shadow.add(run.offsets[lane] + byte)) } as u8;
                if state == NEVER || state == BEFORE || state == self.cluster.tag {
                    if byte == 0 && total >= 4 {
                        // All bytes of an aligned access were most likely written together.
                        // SAFETY: as above.
                        let word = unsafe { read_raw::<4>(spot.shadow.add(run.offsets[lane])) } as u32;
                        if word == u32::from(state) * 0x0101_0101 && total == 4 {
                            break;
                        }
                    }
                    continue;
                }
                let value = self.stored(&warp.words[base..], access, lane)[byte];
                // SAFETY: as above.
                let found = unsafe { read_raw::<1>(spot.data.add(run.offsets[lane] + byte)) } as u8;
                if found != value {
                    let name = self.spot_name(spot, lanes[lane]);
                    let detail = "another block stored a different value there, and nothing orders the two";
                    let at = lanes[lane] + byte as u64;
                    return Err(trouble(FaultKind::GlobalRace, lane as u32, at, detail).in_buffer(name));
                }
            }
        }
        self.mark(run, total, self.cluster.tag);
        Ok(())
    }

    /// Sets the shadow of all lanes' bytes.
    #[inline(always)]
    pub(super) fn mark(&self, run: &Run, total: usize, state: u8) {
        let shadow = run.spot.shadow;
        if shadow.is_null() {
            return;
        }
        let value = u64::from(state) * 0x0101_0101_0101_0101;
        for lane in 0..LANES {
            if run.mask >> lane & 1 == 0 {
                continue;
            }
            // SAFETY: the shadow is as long as the data, inside which the lane's bytes lie.
            unsafe {
                let at = shadow.add(run.offsets[lane]);
                match total {
                    1 => write_raw::<1>(at, value),
                    2 => write_raw::<2>(at, value),
                    4 => write_raw::<4>(at, value),
                    _ => {
                        for part in (0..total).step_by(8) {
                            write_raw::<8>(at.add(part), value);
                        }
                    }
                }
            }
        }
    }

    /// Finds the first byte of a run whose shadow satisfies the condition.
    fn find_state(&self, run: &Run, total: usize, bad: impl Fn(u8) -> bool) -> Option<(usize, usize, u8)> {
        for lane in 0..LANES {
            if run.mask >> lane & 1 == 0 {
                continue;
            }
            for byte in 0..total {
                // SAFETY: the shadow is as long as the data, inside which the lane's bytes lie.
                let state = unsafe { read_raw::<1>(run.spot.shadow.add(run.offsets[lane] + byte)) } as u8;
                if bad(state) {
                    return Some((lane, byte, state));
                }
            }
        }
        None
    }

    /// Whether every byte of the run has this state, or quickly not.
    #[inline(always)]
    fn all_in_state(&self, run: &Run, total: usize, state: u8) -> bool {
        let expected = u64::from(state) * 0x0101_0101_0101_0101;
        let mut difference = 0;
        for lane in 0..LANES {
            if run.mask >> lane & 1 == 0 {
                continue;
            }
            // SAFETY: the shadow is as long as the data, inside which the lane's bytes lie.
            unsafe {
                let at = run.spot.shadow.add(run.offsets[lane]);
                difference |= match total {
                    1 => read_raw::<1>(at) ^ expected & 0xff,
                    2 => read_raw::<2>(at) ^ expected & 0xffff,
                    4 => read_raw::<4>(at) ^ expected & 0xffff_ffff,
                    _ => {
                        let mut sum = 0;
                        for part in (0..total).step_by(8) {
                            sum |= read_raw::<8>(at.add(part)) ^ expected;
                        }
                        sum
                    }
                };
            }
        }
        difference == 0
    }

    pub(super) fn check_read(
        &mut self,
        warp: &Warp,
        run: &Run,
        total: usize,
        lanes: &[u64; LANES],
        strong: bool,
    ) -> Result<(), Trouble> {
        let checks = self.context.options.checks;
        let spot = &run.spot;
        if spot.shadow.is_null() {
            return Ok(());
        }
        let shared = matches!(spot.kind, SpotKind::Shared(_));
        let look = checks.uninitialised || (shared && self.any_copies);
        if look && !self.all_in_state(run, total, WRITTEN) {
            let never = |state: u8| state == NEVER && checks.uninitialised;
            let pending = |state: u8| shared && state == PENDING;
            if let Some((lane, byte, state)) =
                self.find_state(run, total, |state| never(state) || pending(state))
            {
                let name = self.spot_name(spot, lanes[lane]);
                let (kind, detail) = if pending(state) {
                    (FaultKind::AsyncNotWaited, "a cp.async to this byte has not been waited for")
                } else {
                    (FaultKind::Uninitialised, "nobody wrote this byte")
                };
                return Err(trouble(kind, lane as u32, lanes[lane] + byte as u64, detail).in_buffer(name));
            }
            if self.tags_global
                && !strong
                && matches!(spot.kind, SpotKind::Global(_))
                && !self.cluster.blocks[warp.block].synchronised
            {
                let tag = self.cluster.tag;
                let other = |state: u8| state != NEVER && state != BEFORE && state != tag;
                if let Some((lane, byte, _)) = self.find_state(run, total, other) {
                    let name = self.spot_name(spot, lanes[lane]);
                    let detail =
                        "another block wrote this byte in the same launch, and nothing orders the two";
                    let at = lanes[lane] + byte as u64;
                    return Err(trouble(FaultKind::GlobalRace, lane as u32, at, detail).in_buffer(name));
                }
            }
        }
        if let SpotKind::Shared(block) = spot.kind
            && checks.races
            && !strong
        {
            self.shared_races(warp, block, run, total, lanes, Touch::Read)?;
        }
        Ok(())
    }

    pub(super) fn check_write(
        &mut self,
        warp: &Warp,
        run: &Run,
        total: usize,
        lanes: &[u64; LANES],
        strong: bool,
    ) -> Result<(), Trouble> {
        let checks = self.context.options.checks;
        let spot = &run.spot;
        if !spot.writable {
            let lane = run.mask.trailing_zeros();
            let name = self.spot_name(spot, lanes[lane as usize & 31]);
            let detail = format!("`{name}` may only be read");
            return Err(
                trouble(FaultKind::WriteToInput, lane, lanes[lane as usize & 31], detail).in_buffer(name)
            );
        }
        if let SpotKind::Shared(block) = spot.kind {
            if self.any_copies
                && let Some((lane, byte, _)) = self.find_state(run, total, |state| state == PENDING)
            {
                let name = self.spot_name(spot, lanes[lane]);
                let detail = "a cp.async to this byte has not been waited for";
                let at = lanes[lane] + byte as u64;
                return Err(trouble(FaultKind::AsyncNotWaited, lane as u32, at, detail).in_buffer(name));
            }
            if checks.races && !strong {
                self.shared_races(warp, block, run, total, lanes, Touch::Write)?;
            }
        }
        let tagged = self.tags_global && !strong && matches!(spot.kind, SpotKind::Global(_));
        if !tagged {
            self.mark(run, total, WRITTEN);
        }
        Ok(())
    }

    /// Records accesses to shared memory and reports the first that races.
    pub(super) fn shared_races(
        &mut self,
        warp: &Warp,
        block: usize,
        run: &Run,
        total: usize,
        lanes: &[u64; LANES],
        touch: Touch,
    ) -> Result<(), Trouble> {
        let remote = block != warp.block;
        let who = Who {
            id: if remote { 32 + self.cluster.blocks[warp.block].rank as u8 } else { warp.index as u8 },
            seen: &warp.seen,
            seen_all: if remote { self.cluster.joined } else { warp.seen_all },
            time: self.cluster.time,
        };
        let owner: &mut Block = &mut self.cluster.blocks[block];
        for lane in 0..LANES {
            if run.mask >> lane & 1 == 0 {
                continue;
            }
            let offset = run.offsets[lane];
            let words = total.div_ceil(4);
            for word in 0..words {
                let bytes = if total >= 4 { 0xf } else { (((1u32 << total) - 1) << (offset & 3)) as u8 };
                let entry = &mut owner.races[offset / 4 + word];
                let result = match touch {
                    Touch::Read => entry.read(&who, bytes),
                    Touch::Write => entry.write(&who, bytes),
                    Touch::Atomic => entry.atomic(&who, bytes),
                };
                if let Err(earlier) = result {
                    let name = self.spot_name(&run.spot, lanes[lane]);
                    let (verb, other) = match earlier {
                        Earlier::Write(other) => ("wrote", other),
                        Earlier::Read(other) => ("read", other),
                        Earlier::Atomic(other) => ("updated atomically", other),
                    };
                    let other = if other >= 32 {
                        format!("block {} of the cluster", other - 32)
                    } else {
                        format!("warp {other}")
                    };
                    let detail = format!("{other} {verb} this word, and no barrier lies between");
                    let at = lanes[lane] + 4 * word as u64;
                    return Err(trouble(FaultKind::SharedRace, lane as u32, at, detail).in_buffer(name));
                }
            }
        }
        Ok(())
    }
}

/// How shared memory is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    Read,
    Write,
    Atomic,
}
