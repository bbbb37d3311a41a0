//! Checks of global memory: bytes that nobody wrote, and races.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::access::read_raw;
use super::check::Touch;
use super::clock::Clock;
use super::epoch::{Epoch, INIT, Own, UNKNOWN, Word};
use super::pending::Span;
use super::spot::{Run, Shape, SpotKind};
use super::state::Warp;
use super::{Trouble, Worker, trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::mbarrier::Scope;
use crate::machine::lanes::LANES;
use crate::machine::memory::BEFORE_WORDS;

/// The shadow word of a byte of a region.
///
/// # Safety
/// `shadow` must be the shadow of a region that has that byte.
unsafe fn word_at<'s>(shadow: *mut u8, offset: usize) -> &'s AtomicU32 {
    // SAFETY: the shadow has a word for every 4 bytes, and is a vector of 64-bit words.
    unsafe { &*shadow.cast::<AtomicU32>().add(offset / 4) }
}

/// An access by whom, as far as races go.
pub(super) struct Toucher<'c> {
    pub(super) agent: u16,
    pub(super) clock: &'c Clock,
    pub(super) strong: Option<Scope>,
}

impl Worker<'_> {
    /// The number of the agent's epoch for accesses of these bytes and strength.
    fn own_epoch(&mut self, agent: u16, bytes: u8, strong: Option<Scope>) -> u16 {
        let context = self.context;
        let generation = context.epochs.generation.load(Relaxed);
        let index = usize::from(agent);
        if self.cluster.own.len() <= index {
            self.cluster.own.resize(index + 1, Own::default());
        }
        let own = &mut self.cluster.own[index];
        own.renew(generation);
        let plain = strong.is_none() && bytes == 0xf;
        if plain && own.whole != 0 {
            return own.whole;
        }
        let key = bytes | strong.map_or(0, |scope| (scope as u8 + 1) << 4);
        if let Some((_, id)) = own.others.iter().find(|(other, _)| *other == key) {
            return *id;
        }
        let (position, time) = (self.cluster.position as u32, self.cluster.time);
        let epoch = Epoch { position, agent, time, bytes, strong };
        let (id, generation) = self.epochs.add(&context.regions, epoch);
        let own = &mut self.cluster.own[index];
        own.renew(generation);
        if plain {
            own.whole = id;
        } else {
            own.others.push((key, id));
        }
        id
    }

    /// Whether an epoch is ordered before what the toucher does now, or does not conflict with it.
    fn harmless(&self, id: u16, bytes: u8, who: &Toucher<'_>) -> bool {
        if id <= UNKNOWN {
            return true;
        }
        let epoch = self.context.epochs.get(id);
        if epoch.bytes & bytes == 0 {
            return true;
        }
        let same_cluster = epoch.position == self.cluster.position as u32;
        if same_cluster {
            if epoch.agent == who.agent || who.clock.has(usize::from(epoch.agent), epoch.time) {
                return true;
            }
        } else if let Some(times) = who.clock.foreign.get(u64::from(epoch.position))
            && times.get(usize::from(epoch.agent)).is_some_and(|seen| epoch.time <= *seen)
        {
            return true;
        }
        if self.lost_releases() {
            return true;
        }
        match (epoch.strong, who.strong) {
            (Some(theirs), Some(mine)) => {
                let warps = self.cluster.warps.max(1);
                let needed = if !same_cluster {
                    Scope::Gpu
                } else if epoch.agent / warps != who.agent / warps {
                    Scope::Cluster
                } else {
                    Scope::Block
                };
                theirs >= needed && mine >= needed
            }
            _ => false,
        }
    }

    /// Checks and notes an access of a warp to global memory.
    pub(super) fn touch_global(
        &mut self,
        warp: &Warp,
        run: &Run,
        total: usize,
        lanes: &[u64; LANES],
        touch: &Touch<'_>,
    ) -> Result<(), Trouble> {
        let checks = self.context.options.checks;
        let shadow = run.spot.shadow;
        let agent = self.agent(warp);
        let start = run.offsets[0];
        if run.shape == Shape::Contiguous && start.is_multiple_of(8) && touch.strong.is_none() {
            if !checks.races && !checks.uninitialised && touch.reads {
                return Ok(());
            }
            let own = if checks.races { self.own_epoch(agent, 0xf, None) } else { 0 };
            // SAFETY: the run lies inside the region, whose shadow has 4 bytes for each of its words.
            let pairs = unsafe {
                std::slice::from_raw_parts(shadow.cast::<AtomicU64>().add(start / 8), LANES * total / 8)
            };
            if !checks.races && touch.writes {
                pairs.iter().for_each(|pair| pair.store(BEFORE_WORDS, Relaxed));
                return Ok(());
            }
            if self.touch_pairs(pairs, own, touch.writes) {
                if let SpotKind::Global(region) = run.spot.kind {
                    self.context.regions[region].names(start, LANES * total, own);
                }
                return Ok(());
            }
        }
        for lane in 0..LANES {
            if run.mask >> lane & 1 == 0 {
                continue;
            }
            let (first, end) = (run.offsets[lane], run.offsets[lane] + total);
            let mut at = first;
            while at < end {
                let next = (at / 4 * 4 + 4).min(end);
                let bytes = (((1u32 << (next - at)) - 1) << (at % 4)) as u8;
                self.touch_word(warp, run, lane, at, bytes, lanes, touch, agent)?;
                at = next;
            }
        }
        Ok(())
    }

    /// The case of whole warps and whole words where nothing is in the way; `false` when that is not so.
    #[inline(always)]
    fn touch_pairs(&self, pairs: &[AtomicU64], own: u16, writes: bool) -> bool {
        let (mine_written, mine_read) = (Word::new(0, own, 0).twice(), Word::new(0, 0, own).twice());
        let mut strange = 0u64;
        let mut unread = 0u64;
        for pair in pairs {
            let word = pair.load(Relaxed);
            let (write, read) = (word & Word::WRITES, word & Word::READS);
            strange |= u64::from(write != 0) & u64::from(write != mine_written);
            strange |= u64::from(read != 0) & u64::from(read != mine_read);
            strange |= u64::from(!writes) & u64::from(word & Word::INITS != Word::INITS);
            unread |= read ^ mine_read;
        }
        if strange != 0 {
            return false;
        }
        if writes {
            let mine = Word::new(INIT, own, 0).twice();
            for pair in pairs {
                pair.store(mine, Relaxed);
            }
        } else if unread != 0 {
            for pair in pairs {
                pair.store(pair.load(Relaxed) & !Word::READS | mine_read, Relaxed);
            }
        }
        true
    }

    #[expect(clippy::too_many_arguments, reason = "one word of one access, with its whole context")]
    fn touch_word(
        &mut self,
        warp: &Warp,
        run: &Run,
        lane: usize,
        at: usize,
        bytes: u8,
        lanes: &[u64; LANES],
        touch: &Touch<'_>,
        agent: u16,
    ) -> Result<(), Trouble> {
        let checks = self.context.options.checks;
        // SAFETY: the lane's bytes lie inside the region.
        let place = unsafe { word_at(run.spot.shadow, at) };
        let word = Word(place.load(Relaxed));
        let address = lanes[lane] + (at - run.offsets[lane]) as u64;
        if touch.reads && checks.uninitialised && word.init() as u8 & bytes != bytes {
            let name = self.spot_name(&run.spot, address);
            let missing = (bytes & !(word.init() as u8)).trailing_zeros() as u64;
            let address = (address & !3) + missing;
            return Err(trouble(FaultKind::Uninitialised, lane as u32, address, "nobody wrote this byte")
                .in_buffer(name));
        }
        let init = word.init() | if touch.writes { u32::from(bytes) } else { 0 };
        if !checks.races {
            if init != word.init() {
                place.fetch_or(init, Relaxed);
            }
            return Ok(());
        }
        let who = Toucher { agent, clock: &warp.clock, strong: touch.strong };
        let written = word.write();
        let benign = || touch.writes && !touch.reads && self.stores_the_same(run, lane, at, bytes, touch);
        if !self.harmless(written, bytes, &who) && !benign() {
            return Err(self.global_race(run, lane, address, written, true));
        }
        if touch.writes {
            if !self.harmless(word.read(), bytes, &who) {
                return Err(self.global_race(run, lane, address, word.read(), false));
            }
            // Bytes of the word that others wrote, and that nothing orders: nobody owns it any more.
            let shared = bytes != 0xf && !self.harmless(written, 0xf, &who);
            let mask = bytes | self.same_epoch(written, agent, touch.strong);
            let own = self.own_epoch(agent, mask, touch.strong);
            self.name(run, at, own);
            let new = Word::new(init, if shared { UNKNOWN } else { own }, 0);
            if init == INIT && word.init() == INIT || bytes == 0xf {
                place.store(new.0, Relaxed);
            } else {
                let keep = |old: u32| Some(new.0 | old & INIT);
                let _ = place.fetch_update(Relaxed, Relaxed, keep);
            }
        } else {
            let read = word.read();
            let who = Toucher { agent, clock: &warp.clock, strong: None };
            // An earlier reader that is not ordered before this one stays: it says more.
            let replaces = self.harmless(read, 0xf, &who);
            let mask = bytes | self.same_epoch(read, agent, touch.strong);
            let own = self.own_epoch(agent, mask, touch.strong);
            if read != own && replaces {
                self.name(run, at, own);
                let _ = place.fetch_update(Relaxed, Relaxed, |old| {
                    Some(Word::new(old & INIT, Word(old).write(), own).0)
                });
            }
        }
        Ok(())
    }

    /// The bytes of an epoch of this agent's own since the last synchronisation: with other bytes of the word they make one. Of
    /// one before it nothing is kept, since what has seen that one need not have seen the new one.
    fn same_epoch(&self, id: u16, agent: u16, strong: Option<Scope>) -> u8 {
        if id <= UNKNOWN {
            return 0;
        }
        let Epoch { position, agent: whose, time, bytes, strong: how } = self.context.epochs.get(id);
        let here = (self.cluster.position as u32, agent, self.cluster.time, strong);
        if (position, whose, time, how) == here { bytes } else { 0 }
    }

    fn name(&self, run: &Run, at: usize, id: u16) {
        if let SpotKind::Global(region) = run.spot.kind {
            self.context.regions[region].names(at, 1, id);
        }
    }

    /// Whether the bytes that a store is about to write are there already: such a race is benign.
    fn stores_the_same(&self, run: &Run, lane: usize, at: usize, bytes: u8, touch: &Touch<'_>) -> bool {
        let Some((words, access)) = touch.value else { return false };
        let stored = super::check::stored(words, access, lane);
        let first = at - run.offsets[lane];
        (0..bytes.count_ones() as usize).all(|byte| {
            // SAFETY: the lane's bytes lie inside the spot.
            let found = unsafe { read_raw::<1>(run.spot.data.add(at + byte)) } as u8;
            stored.get(first + byte) == Some(&found)
        })
    }

    fn global_race(&self, run: &Run, lane: usize, address: u64, id: u16, wrote: bool) -> Trouble {
        let name = self.spot_name(&run.spot, address);
        let (kind, detail) = self.epoch_trouble(id, wrote);
        trouble(kind, lane as u32, address, detail).in_buffer(name)
    }

    /// Whom an epoch belongs to, in words.
    fn epoch_text(&self, id: u16) -> String {
        let epoch = self.context.epochs.get(id);
        let warps = self.cluster.warps.max(1);
        let launch = self.context.launch;
        let clusters: [u64; 3] =
            std::array::from_fn(|axis| u64::from(launch.grid[axis] / launch.cluster[axis]));
        let position = u64::from(epoch.position);
        let [x, y, z] = [
            position % clusters[0],
            position / clusters[0] % clusters[1],
            position / clusters[0] / clusters[1],
        ];
        let [cx, cy, cz] = launch.cluster.map(u64::from);
        let rank = u64::from(epoch.agent / warps);
        let size = cx * cy * cz;
        if rank >= size {
            return format!("an asynchronous operation of block ({}, {}, {})", x * cx, y * cy, z * cz);
        }
        let block = [x * cx + rank % cx, y * cy + rank / cx % cy, z * cz + rank / cx / cy];
        format!("warp {} of block ({}, {}, {})", epoch.agent % warps, block[0], block[1], block[2])
    }

    /// The same for an operation that is issued: checks the bytes without noting them. The first that is in the way,
    /// and what is wrong with it.
    pub(super) fn check_global_span(
        &self,
        region: usize,
        span: &Span,
        write: bool,
        async_proxy: bool,
        who: &Toucher<'_>,
    ) -> Option<(usize, FaultKind, String)> {
        let shadow = self.context.regions[region].shadow;
        if shadow.is_null() {
            return None;
        }
        let all = self.cluster.warps * self.cluster.blocks.len() as u16;
        let mut last = [0; 2];
        let (mut at, end) = (span.start, span.start + span.len);
        while at < end {
            let next = (at / 4 * 4 + 4).min(end);
            let bytes = (((1u32 << (next - at)) - 1) << (at % 4)) as u8;
            // SAFETY: `span` has found the bytes to lie inside the region.
            let word = Word(unsafe { word_at(shadow.cast(), at) }.load(Relaxed));
            let ids = [word.write(), if write { word.read() } else { 0 }];
            for (which, id) in ids.into_iter().enumerate() {
                if id <= UNKNOWN || id == last[which] {
                    continue;
                }
                if bytes == 0xf {
                    last[which] = id;
                }
                let byte = at - span.start;
                if !self.harmless(id, bytes, who) {
                    let (kind, detail) = self.epoch_trouble(id, which == 0);
                    return Some((byte, kind, detail));
                }
                let epoch = self.context.epochs.get(id);
                let generic = epoch.position == self.cluster.position as u32 && epoch.agent < all;
                if which == 0
                    && async_proxy
                    && generic
                    && epoch.bytes & bytes != 0
                    && !who.clock.has_proxied(usize::from(epoch.agent), epoch.time)
                {
                    let detail = format!(
                        "{} wrote this byte, and no `fence.proxy.async` stands between",
                        self.epoch_text(id)
                    );
                    return Some((byte, FaultKind::MissingProxyFence, detail));
                }
            }
            at = next;
        }
        None
    }

    /// What is wrong with an access that an epoch conflicts with.
    fn epoch_trouble(&self, id: u16, wrote: bool) -> (FaultKind, String) {
        let epoch = self.context.epochs.get(id);
        let all = self.cluster.warps * self.cluster.blocks.len() as u16;
        let asynchronous = epoch.position == self.cluster.position as u32 && epoch.agent >= all;
        let verb = if wrote { "wrote" } else { "read" };
        if asynchronous {
            let kind = if wrote { FaultKind::AsyncNotWaited } else { FaultKind::AsyncSourceOverwritten };
            let detail =
                format!("an asynchronous operation {verb} this byte, and its completion was not waited for");
            return (kind, detail);
        }
        (
            FaultKind::GlobalRace,
            format!("{} {verb} this byte, and nothing orders the two", self.epoch_text(id)),
        )
    }

    /// Notes what an operation did that has run.
    pub(super) fn note_global_span(
        &mut self,
        region: usize,
        span: &Span,
        write: bool,
        agent: u16,
        strong: Option<Scope>,
    ) {
        let shadow = self.context.regions[region].shadow;
        if shadow.is_null() {
            return;
        }
        let races = self.context.options.checks.races;
        let (mut of, mut own) = (0, 0);
        let (mut at, end) = (span.start, span.start + span.len);
        while at < end {
            let next = (at / 4 * 4 + 4).min(end);
            let bytes = (((1u32 << (next - at)) - 1) << (at % 4)) as u8;
            // One number at a time: an older one does not outlast a new one.
            if races && bytes != of {
                (of, own) = (bytes, self.own_epoch(agent, bytes, strong));
            }
            self.context.regions[region].names(at, 1, own);
            // SAFETY: `span` has found the bytes to lie inside the region.
            let place = unsafe { word_at(shadow.cast(), at) };
            let _ = place.fetch_update(Relaxed, Relaxed, |old| {
                let old = Word(old);
                Some(if write {
                    Word::new(old.init() | u32::from(bytes), own, 0).0
                } else if old.read() == 0 {
                    Word::new(old.init(), old.write(), own).0
                } else {
                    old.0
                })
            });
            at = next;
        }
    }

    /// The first byte of a run of a region that nobody wrote.
    pub(super) fn first_unwritten(&self, region: usize, start: usize, len: usize) -> Option<usize> {
        let shadow = self.context.regions[region].shadow;
        if shadow.is_null() {
            return None;
        }
        (start..start + len).find_map(|at| {
            // SAFETY: `span` has found the bytes to lie inside the region.
            let word = Word(unsafe { word_at(shadow.cast(), at) }.load(Relaxed));
            (word.init() >> (at % 4) & 1 == 0).then_some(at - start)
        })
    }
}
