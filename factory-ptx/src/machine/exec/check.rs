//! What an access is checked against: bytes that nobody wrote, copies on their way, races.

use super::access::{read_raw, write_raw};
use super::shadow::{Earlier, Who};
use super::spot::{Run, Shape, SpotKind};
use super::state::{Block, Warp};
use super::{Trouble, Worker, trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::Access;
use crate::machine::inst::mbarrier::Scope;
use crate::machine::lanes::LANES;
use crate::machine::memory::NEVER;

/// Shadow of a shared byte that a cp.async will fill.
pub(super) const PENDING: u8 = 2;
/// Shadow of a shared byte that belongs to a live mbarrier object.
pub(super) const OBJECT: u8 = 3;
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
            for (byte, value) in stored(&warp.words[base..], access, lane).into_iter().enumerate() {
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

    /// Sets the shadow of all lanes' bytes.
    #[inline(always)]
    pub(super) fn mark(&self, run: &Run, total: usize, state: u8) {
        let shadow = run.spot.shadow;
        if shadow.is_null() || matches!(run.spot.kind, SpotKind::Global(_)) {
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

    /// Checks a plain (or, by the machine's own business, strong) read.
    pub(super) fn check_read(
        &mut self,
        warp: &Warp,
        run: &Run,
        total: usize,
        lanes: &[u64; LANES],
        strong: bool,
    ) -> Result<(), Trouble> {
        self.check_touch(
            warp,
            run,
            total,
            lanes,
            &Touch { strong: strong.then_some(Scope::Gpu), ..Touch::READ },
        )
    }

    /// Checks a plain (or, by the machine's own business, strong) write.
    pub(super) fn check_write(
        &mut self,
        warp: &Warp,
        run: &Run,
        total: usize,
        lanes: &[u64; LANES],
        strong: bool,
    ) -> Result<(), Trouble> {
        self.check_touch(
            warp,
            run,
            total,
            lanes,
            &Touch { strong: strong.then_some(Scope::Gpu), ..Touch::WRITE },
        )
    }

    /// Checks an access before it happens, and notes it.
    pub(super) fn check_touch(
        &mut self,
        warp: &Warp,
        run: &Run,
        total: usize,
        lanes: &[u64; LANES],
        touch: &Touch<'_>,
    ) -> Result<(), Trouble> {
        let spot = &run.spot;
        if touch.writes && !spot.writable {
            let lane = run.mask.trailing_zeros();
            let name = self.spot_name(spot, lanes[lane as usize & 31]);
            let detail = format!("`{name}` may only be read");
            return Err(
                trouble(FaultKind::WriteToInput, lane, lanes[lane as usize & 31], detail).in_buffer(name)
            );
        }
        if spot.shadow.is_null() {
            return Ok(());
        }
        if !self.cluster.flights.is_empty() {
            self.check_flights(run, total, lanes, touch.writes)?;
        }
        match spot.kind {
            SpotKind::Global(_) => return self.touch_global(warp, run, total, lanes, touch),
            SpotKind::Shared(block) => {
                if block != warp.block && self.cluster.blocks[block].is_over() {
                    let lane = run.mask.trailing_zeros() as usize & 31;
                    let detail =
                        format!("block {block} of the cluster has exited: its shared memory is gone");
                    return Err(trouble(FaultKind::ClusterExited, lane as u32, lanes[lane], detail));
                }
            }
            SpotKind::Local | SpotKind::Param => {}
        }
        let checks = self.context.options.checks;
        let shared = matches!(spot.kind, SpotKind::Shared(_));
        let look = (touch.reads && checks.uninitialised) || (shared && self.any_copies);
        if look && !self.all_in_state(run, total, WRITTEN) {
            let bad = |state: u8| {
                (state == NEVER && touch.reads && checks.uninitialised)
                    || (shared && matches!(state, PENDING | OBJECT))
            };
            if let Some((lane, byte, state)) = self.find_state(run, total, bad) {
                let (kind, detail) = match state {
                    NEVER => (FaultKind::Uninitialised, "nobody wrote this byte"),
                    PENDING => (
                        FaultKind::AsyncNotWaited,
                        "an asynchronous write to this byte is in flight and was not waited for",
                    ),
                    _ if touch.writes => (FaultKind::MbarrierMisuse, "a live mbarrier object is overwritten"),
                    _ => (FaultKind::MbarrierMisuse, "a live mbarrier object is read like plain memory"),
                };
                let at = lanes[lane] + byte as u64;
                let name = self.spot_name(spot, at);
                return Err(trouble(kind, lane as u32, at, detail).in_buffer(name));
            }
        }
        if let SpotKind::Shared(block) = spot.kind
            && checks.races
        {
            self.shared_races(warp, block, run, total, lanes, touch)?;
        }
        if touch.writes {
            self.mark(run, total, WRITTEN);
        }
        Ok(())
    }

    /// Who a warp is to the words of a block's shared memory.
    pub(super) fn who<'w>(&self, warp: &'w Warp, block: usize) -> Who<'w> {
        let warps = self.cluster.warps;
        let first = block as u16 * warps;
        let floor = if block == warp.block {
            warp.seen_all
        } else {
            let times = usize::from(first)..usize::from(first + warps);
            warp.clock.seen.get(times).and_then(|seen| seen.iter().min().copied()).unwrap_or(0)
        };
        Who {
            agent: self.agent(warp),
            first,
            warps,
            clock: &warp.clock,
            floor,
            time: self.cluster.time,
            diverged: warp.diverged,
            converged: &warp.converged,
            async_proxy: false,
        }
    }

    /// Records accesses to shared memory and reports the first that races.
    pub(super) fn shared_races(
        &mut self,
        warp: &Warp,
        block: usize,
        run: &Run,
        total: usize,
        lanes: &[u64; LANES],
        touch: &Touch<'_>,
    ) -> Result<(), Trouble> {
        let who = self.who(warp, block);
        let owner: &mut Block = &mut self.cluster.blocks[block];
        owner.visited |= block != warp.block;
        for lane in 0..LANES {
            if run.mask >> lane & 1 == 0 {
                continue;
            }
            let offset = run.offsets[lane];
            let words = total.div_ceil(4);
            for word in 0..words {
                let bytes = if total >= 4 { 0xf } else { (((1u32 << total) - 1) << (offset & 3)) as u8 };
                let entry = &mut owner.races[offset / 4 + word];
                let result = match (touch.writes, touch.strong) {
                    (false, None) => entry.read(&who, bytes, 1 << lane),
                    (true, None) => entry.write(&who, bytes, 1 << lane),
                    (false, Some(_)) => entry.strong_read(&who, bytes, 1 << lane),
                    (true, Some(_)) => entry.update(&who, bytes, 1 << lane),
                };
                if let Err(earlier) = result {
                    let at = lanes[lane] + 4 * word as u64;
                    let name = self.spot_name(&run.spot, at);
                    let (kind, detail) = self.earlier_text(warp.block, earlier);
                    return Err(trouble(kind, lane as u32, at, detail).in_buffer(name));
                }
            }
        }
        Ok(())
    }

    /// What stands in the way, in words.
    pub(super) fn earlier_text(&self, block: usize, earlier: Earlier) -> (FaultKind, String) {
        let warps = self.cluster.warps.max(1);
        let all = warps * self.cluster.blocks.len() as u16;
        let name = |agent: u16| {
            if usize::from(agent / warps) == block {
                format!("warp {}", agent % warps)
            } else {
                format!("warp {} of block rank {}", agent % warps, agent / warps)
            }
        };
        match earlier {
            Earlier::Write(agent) if agent >= all => (
                FaultKind::AsyncNotWaited,
                "an asynchronous operation wrote this word, and its completion was not waited for".to_owned(),
            ),
            Earlier::Read(agent) | Earlier::Update(agent) if agent >= all => (
                FaultKind::AsyncSourceOverwritten,
                "an asynchronous operation reads this word, and its completion was not waited for".to_owned(),
            ),
            Earlier::Write(agent) => (
                FaultKind::SharedRace,
                format!("{} wrote this word, and nothing orders the two", name(agent)),
            ),
            Earlier::Read(agent) => {
                (FaultKind::SharedRace, format!("{} read this word, and nothing orders the two", name(agent)))
            }
            Earlier::Update(agent) => (
                FaultKind::SharedRace,
                format!("{} updated this word atomically, and nothing orders the two", name(agent)),
            ),
            Earlier::Unfenced(agent) => (
                FaultKind::MissingProxyFence,
                format!("{} wrote this word, and no `fence.proxy.async` stands between", name(agent)),
            ),
        }
    }
}

/// How memory is touched.
#[derive(Clone, Copy)]
pub(super) struct Touch<'t> {
    pub(super) reads: bool,
    pub(super) writes: bool,
    /// The scope, for `.volatile`, `.relaxed`, `.acquire`, `.release` and atomics.
    pub(super) strong: Option<Scope>,
    /// The words of a frame and the store, where the values may matter.
    pub(super) value: Option<(&'t [u32], &'t Access)>,
}

impl Touch<'_> {
    pub(super) const READ: Touch<'static> = Touch { reads: true, writes: false, strong: None, value: None };
    pub(super) const WRITE: Touch<'static> = Touch { reads: false, writes: true, strong: None, value: None };
}

/// What one lane stores, byte by byte.
pub(super) fn stored(words: &[u32], access: &Access, lane: usize) -> Vec<u8> {
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
