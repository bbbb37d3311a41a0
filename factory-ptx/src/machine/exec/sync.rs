//! Fences, and synchronisation through memory: releases and acquires as the PTX memory consistency model has them.
//!
//! A release pattern is a fence and then a strong write (or a write that is itself a release); an acquire pattern is a
//! strong read and then a fence (or a read that is itself an acquire). Each strong write leaves, at its address, the
//! clocks that its thread has released; each strong read collects what lies there; the next fence of a scope that is
//! wide enough makes it count. A scope that does not include both sides synchronises nothing. All of it is kept for
//! warps, not lanes; releases at one address accumulate, as those of atomics do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::clock::{Clock, Foreign};
use super::spot::{Run, SpotKind};
use super::state::Warp;
use super::{Trouble, Worker};
use crate::machine::inst::FenceKind;
use crate::machine::inst::mbarrier::Scope;

/// The most addresses that are remembered.
const LIMIT: usize = 1 << 16;

/// What was released at one address.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    /// By threads of this block (its number in the grid), for at least its scope.
    block: Option<(u64, Clock)>,
    /// By threads of this cluster.
    cluster: Option<(u64, Clock)>,
    /// By anybody, for the whole device.
    gpu: Foreign,
}

/// What is released at addresses of global memory, for all host threads.
#[derive(Default)]
pub(crate) struct Syncs {
    any: AtomicBool,
    /// Too many addresses: whoever misses one cannot be blamed for a race.
    full: AtomicBool,
    map: Mutex<HashMap<u64, Published>>,
}

/// What a warp has read and no fence has made count yet, by the scope that the fence needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Collected {
    clocks: [Option<Box<Clock>>; 3],
}

/// How an access synchronises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sync {
    pub(super) scope: Scope,
    pub(super) reads: bool,
    pub(super) writes: bool,
    pub(super) acquire: bool,
    pub(super) release: bool,
}

fn level(scope: Scope) -> usize {
    match scope {
        Scope::Block => 0,
        Scope::Cluster => 1,
        Scope::Gpu | Scope::System => 2,
    }
}

impl Published {
    fn add(&mut self, level: usize, block: u64, position: u64, clock: &Clock) {
        let slot = match level {
            0 => &mut self.block,
            1 => &mut self.cluster,
            _ => {
                self.gpu.join(&clock.foreign);
                self.gpu.insert(position, &clock.seen);
                return;
            }
        };
        let owner = if level == 0 { block } else { position };
        match slot {
            Some((other, published)) if *other == owner => published.join(clock),
            _ => *slot = Some((owner, clock.clone())),
        }
    }

    fn get(&self, level: usize, block: u64, position: u64) -> Option<Clock> {
        match level {
            0 => self.block.as_ref().filter(|(owner, _)| *owner == block).map(|(_, clock)| clock.clone()),
            1 => {
                self.cluster.as_ref().filter(|(owner, _)| *owner == position).map(|(_, clock)| clock.clone())
            }
            _ if self.gpu.is_empty() => None,
            _ => {
                let seen = self.gpu.get(position).map(<[u32]>::to_vec).unwrap_or_default();
                Some(Clock { seen, foreign: self.gpu.clone(), ..Clock::default() })
            }
        }
    }
}

impl Worker<'_> {
    /// The agent of a warp.
    pub(super) fn agent(&self, warp: &Warp) -> u16 {
        warp.block as u16 * self.cluster.warps + warp.index as u16
    }

    /// What the warp did so far may be released: its clock says so, and what it does next is later.
    pub(super) fn release(&mut self, warp: &mut Warp) {
        let agent = usize::from(self.agent(warp));
        warp.clock.see(agent, self.cluster.time);
        self.cluster.time += 1;
        if let Some(own) = self.cluster.own.get_mut(agent) {
            own.whole = 0;
            own.others.clear();
        }
        if warp.diverged != u32::MAX {
            // Lanes that run apart may order themselves through memory.
            warp.converged = [self.cluster.time; 32];
        }
    }

    pub(super) fn fence(&mut self, warp: &mut Warp, fence: &FenceKind) {
        match *fence {
            FenceKind::Memory { scope, acquire, release } => {
                if acquire {
                    let mut any = false;
                    for slot in &mut warp.collected.clocks[..=level(scope)] {
                        if let Some(clock) = slot.take() {
                            warp.clock.join(&clock);
                            any = true;
                        }
                    }
                    if any {
                        warp.update_seen_all(self.cluster.warps);
                    }
                }
                if release {
                    self.release(warp);
                    let clock = Arc::new(warp.clock.clone());
                    for slot in &mut warp.fenced[..=level(scope)] {
                        *slot = Some(clock.clone());
                    }
                }
            }
            FenceKind::MbarrierInit => {
                let agent = usize::from(self.agent(warp));
                warp.clock.see_init(agent, self.cluster.time);
                self.cluster.time += 1;
            }
            FenceKind::ProxyAsync => {
                let agent = usize::from(self.agent(warp));
                // What the warp wrote so far is behind the fence; nobody else learns of that yet.
                let own = warp.clock.seen.get(agent).copied().unwrap_or(0);
                warp.clock.see(agent, self.cluster.time);
                warp.clock.pass_proxy();
                warp.clock.seen[agent] = own;
                self.cluster.time += 1;
            }
            FenceKind::TensorMapAcquire => self.cluster.changed_maps.clear(),
            FenceKind::Other => {}
        }
    }

    /// Before a strong write (or an atomic): leaves what the warp has released. After a strong read (or an atomic):
    /// collects what lies there.
    pub(super) fn synchronise(
        &mut self,
        warp: &mut Warp,
        run: &Run,
        lanes: &[u64],
        sync: &Sync,
        after: bool,
    ) -> Result<(), Trouble> {
        if !self.context.options.checks.races || matches!(run.spot.kind, SpotKind::Local | SpotKind::Param) {
            return Ok(());
        }
        let block = self.cluster.position * 64 + warp.block as u64;
        let position = self.cluster.position;
        let top = level(sync.scope);
        if !after && sync.writes {
            if sync.release {
                self.release(warp);
            } else if warp.fenced.iter().all(Option::is_none) {
                return Ok(());
            }
            let mut last = None;
            for lane in super::collective::lanes_of(run.mask) {
                if last == Some(lanes[lane]) {
                    continue;
                }
                last = Some(lanes[lane]);
                let fenced = &warp.fenced;
                let clock = &warp.clock;
                let add = |published: &mut Published| {
                    for at in 0..=top {
                        if sync.release {
                            published.add(at, block, position, clock);
                        } else if let Some(fenced) = &fenced[at] {
                            published.add(at, block, position, fenced);
                        }
                    }
                };
                self.with_published(run, lane, true, add);
            }
        }
        if after && sync.reads {
            if !self.cluster.any_syncs && !self.context.syncs.any.load(Relaxed) {
                return Ok(());
            }
            let mut last = None;
            for lane in super::collective::lanes_of(run.mask) {
                if last == Some(lanes[lane]) {
                    continue;
                }
                last = Some(lanes[lane]);
                let mut found: [Option<Clock>; 3] = Default::default();
                self.with_published(run, lane, false, |published| {
                    for (at, slot) in found.iter_mut().enumerate().take(top + 1) {
                        *slot = published.get(at, block, position);
                    }
                });
                for (at, clock) in found.into_iter().enumerate() {
                    let Some(clock) = clock else { continue };
                    if sync.acquire {
                        warp.clock.join(&clock);
                    } else {
                        match &mut warp.collected.clocks[at] {
                            Some(collected) => collected.join(&clock),
                            slot => *slot = Some(Box::new(clock)),
                        }
                    }
                }
                if sync.acquire {
                    warp.update_seen_all(self.cluster.warps);
                }
            }
        }
        Ok(())
    }

    /// What was released at the place where a lane points.
    fn with_published(&mut self, run: &Run, lane: usize, create: bool, act: impl FnOnce(&mut Published)) {
        let offset = run.offsets[lane] as u64;
        match run.spot.kind {
            SpotKind::Shared(block) => {
                let key = (block as u64) << 32 | offset;
                let map = &mut self.cluster.syncs;
                if create {
                    self.cluster.any_syncs = true;
                    act(map.entry(key).or_default());
                } else if let Some(published) = map.get_mut(&key) {
                    act(published);
                }
            }
            _ => {
                let key = run.spot.base.wrapping_add(offset);
                let syncs = &self.context.syncs;
                let mut map = syncs.map.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if create {
                    syncs.any.store(true, Relaxed);
                    if map.len() >= LIMIT && !map.contains_key(&key) {
                        syncs.full.store(true, Relaxed);
                        return;
                    }
                    act(map.entry(key).or_default());
                } else if let Some(published) = map.get_mut(&key) {
                    act(published);
                }
            }
        }
    }

    /// Whether releases had to be forgotten, so that races of global memory cannot be told any more.
    pub(super) fn lost_releases(&self) -> bool {
        self.context.syncs.full.load(Relaxed)
    }
}
