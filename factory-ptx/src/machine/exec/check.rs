//! What an access is checked against: bytes that nobody wrote, copies on their way, races.

use super::access::{read_raw, write_raw};
use super::shadow::{Earlier, Who};
use super::spot::{Run, Shape, SpotKind};
use super::state::{Block, Warp};
use super::{Trouble, Worker, trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::Access;
use crate::machine::lanes::LANES;
use crate::machine::memory::{BEFORE, NEVER};

/// Shadow of a shared byte that a cp.async will fill.
pub(super) const PENDING: u8 = 2;
/// Shadow of a shared or local byte that was written.
pub(super) const WRITTEN: u8 = 1;

/// The shadow of a contiguous run as aligned words of 8 bytes, if it is that.
#[inline(always)]
fn shadow_words(run: &Run, total: usize) -> Option<(*mut u8, usize)> {
    let start = run.spot.shadow.wrapping_add(run.offsets[0]);
    (run.shape == Shape::Contiguous && start.addr().is_multiple_of(8)).then_some((start, LANES * total / 8))
}

/// One state in each of 8 bytes.
#[inline(always)]
fn spread(state: u8) -> u64 {
    u64::from(state) * 0x0101_0101_0101_0101
}

impl Worker<'_> {
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
    pub(super) fn check_clash(
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
    pub(super) fn check_global_writers(
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
        if let Some((start, words)) = shadow_words(run, total) {
            let own = spread(self.cluster.tag);
            let harmless = (0..words).all(|word| {
                // SAFETY: the shadow is as long as the data, inside which the run lies.
                let states = unsafe { read_raw::<8>(start.add(8 * word)) };
                states == spread(NEVER) || states == spread(BEFORE) || states == own
            });
            if harmless {
                self.mark(run, total, self.cluster.tag);
                return Ok(());
            }
        }
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
        let value = spread(state);
        if let Some((start, words)) = shadow_words(run, total) {
            for word in 0..words {
                // SAFETY: the shadow is as long as the data, inside which the run lies.
                unsafe { write_raw::<8>(start.add(8 * word), value) };
            }
            return;
        }
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
        let expected = spread(state);
        let mut difference = 0;
        if let Some((start, words)) = shadow_words(run, total) {
            for word in 0..words {
                // SAFETY: the shadow is as long as the data, inside which the run lies.
                difference |= unsafe { read_raw::<8>(start.add(8 * word)) } ^ expected;
            }
            return difference == 0;
        }
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
        let own = |worker: &Self| worker.tags_global && worker.all_in_state(run, total, worker.cluster.tag);
        if look && !self.all_in_state(run, total, WRITTEN) && !own(self) {
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
                && !self.all_in_state(run, total, WRITTEN)
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
