//! Running a cluster round by round, and setting it aside while all it does is to wait for another one.
//!
//! Blocks of a cooperative launch wait for each other through global memory. A host thread that runs one cluster to its
//! end would never get to the one that is waited for; so a cluster whose warps do nothing but poll is parked, the next
//! one starts, and those that are parked take turns.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Worker;
use super::driver::Order;
use super::state::{Cluster, State};
use super::wait::Waits;
use crate::machine::error::{Fault, FaultKind};

/// How often each resident cluster may poll in vain before that is a deadlock.
const VAIN: usize = 64;
/// How often everybody who waits for an mbarrier may look again, without anything having been achieved.
const IDLE_LIMIT: u32 = 256;

/// What the host threads know of each other: whether anybody still changes memory.
#[derive(Default)]
pub(super) struct Idleness {
    /// Host threads that are at work.
    threads: AtomicUsize,
    /// Changes that they have told of.
    changes: AtomicU64,
    /// How many have polled in vain since this many changes.
    polling: Mutex<(u64, usize)>,
}

impl Idleness {
    pub(super) fn new(threads: usize) -> Idleness {
        Idleness { threads: AtomicUsize::new(threads), ..Idleness::default() }
    }

    /// A host thread has no more to do.
    pub(super) fn leave(&self, worker: &Worker<'_>) {
        self.changes.fetch_add(1 + worker.changes, Ordering::SeqCst);
        self.threads.fetch_sub(1, Ordering::SeqCst);
    }

    /// A host thread that has polled in vain since there were so many changes. Whether all have.
    fn all_poll(&self, changes: u64) -> bool {
        let mut polling = self.polling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *polling = if polling.0 == changes { (changes, polling.1 + 1) } else { (changes, 1) };
        polling.1 >= self.threads.load(Ordering::SeqCst)
    }
}

/// Clusters of one host thread that have started and wait, by polling memory, for what others do.
pub(super) struct Residents<'i> {
    parked: VecDeque<(u64, Cluster, Waits)>,
    cluster_size: u64,
    /// Blocks that may be resident at a time.
    limit: u64,
    idleness: &'i Idleness,
    /// Changes that were told of.
    told: u64,
    pub(super) all_started: bool,
    /// The last thing that happened was that one finished.
    resume_first: bool,
    /// Times that a cluster was parked since memory changed, and the count of all changes then.
    fruitless: (usize, u64),
}

impl<'i> Residents<'i> {
    pub(super) fn new(cluster_size: u64, limit: u64, idleness: &'i Idleness) -> Residents<'i> {
        Residents {
            parked: VecDeque::new(),
            cluster_size,
            limit,
            idleness,
            told: 0,
            all_started: false,
            resume_first: false,
            fruitless: (0, 0),
        }
    }

    fn room(&self) -> bool {
        (self.parked.len() as u64 + 1) * self.cluster_size <= self.limit
    }

    pub(super) fn may_start(&self) -> bool {
        !self.all_started && (self.parked.is_empty() || (!self.resume_first && self.room()))
    }

    pub(super) fn finished(&mut self) {
        self.resume_first = true;
    }

    /// Whether every cluster of this thread has polled since memory last changed, so that polling once more is no work.
    pub(super) fn in_vain(&self) -> bool {
        self.fruitless.0 > self.parked.len()
    }

    /// Puts the worker's cluster aside. `false` when that can lead nowhere.
    pub(super) fn park(&mut self, index: u64, worker: &mut Worker<'_>) -> bool {
        self.resume_first = false;
        let news = worker.changes - self.told;
        self.told = worker.changes;
        let changes = self.idleness.changes.fetch_add(news, Ordering::SeqCst) + news;
        if self.fruitless.1 != changes {
            self.fruitless = (0, changes);
        }
        self.fruitless.0 += 1;
        // This cluster stays resident: is there room for another one beside it?
        let can_start = !self.all_started && (self.parked.len() as u64 + 2) * self.cluster_size <= self.limit;
        if !can_start && self.fruitless.0 == VAIN * (self.parked.len() + 1) && self.idleness.all_poll(changes)
        {
            return false;
        }
        if self.fruitless.0 > VAIN * (self.parked.len() + 1) {
            std::thread::yield_now();
        }
        self.parked.push_back((
            index,
            std::mem::take(&mut worker.cluster),
            std::mem::take(&mut worker.waits),
        ));
        true
    }

    /// Gives the cluster that has waited longest back to the worker.
    pub(super) fn resume(&mut self, worker: &mut Worker<'_>) -> Option<u64> {
        let (index, cluster, waits) = self.parked.pop_front()?;
        worker.cluster = cluster;
        worker.waits = waits;
        worker.last_spot = None;
        Some(index)
    }
}

impl Worker<'_> {
    /// Runs the cluster to its end (`true`), or until all its warps do nothing but look at memory again and again
    /// (`false`): they may wait for a cluster that has not started.
    pub(super) fn advance(&mut self) -> Result<bool, Fault> {
        let warps_a_block = self.cluster.blocks[0].warps.len() as u64;
        let total = self.cluster.blocks.len() as u64 * warps_a_block;
        let seed = self.context.options.seed;
        let window = if seed == 0 { 2 } else { 8 };
        let (mut round, mut changes) = (0u64, self.changes);
        loop {
            // Another order in each round, unless the plain one is wanted.
            round += 1;
            let order = Order::new(total, if seed == 0 { 0 } else { seed.wrapping_add(round << 32) });
            let mut progress = false;
            let mut alive = false;
            for index in 0..total {
                let at = order.at(index);
                let (block, warp) = ((at / warps_a_block) as usize, (at % warps_a_block) as usize);
                if self.cluster.blocks[block].warps[warp].fragments.is_empty() {
                    continue;
                }
                alive = true;
                if !self.cluster.flights.is_empty() {
                    self.settle().map_err(|at| self.late_fault(at))?;
                }
                self.cluster.turns += 1;
                self.epochs.rest();
                let ran = self.turn(block, warp)?;
                self.cluster.blocks[block].warps[warp].ran |= ran;
                progress |= ran;
            }
            if !alive {
                while self.settle_one().map_err(|at| self.late_fault(at))? {}
                return self.tensor_leak().map_or(Ok(true), Err);
            }
            if !progress && !self.anybody_goes_on()? {
                return Err(self.deadlock());
            }
            if round.is_multiple_of(window) {
                let spins = self.only_polls() && self.changes == changes;
                changes = self.changes;
                self.cluster.spinning = spins;
                if spins && !self.settle_one().map_err(|at| self.late_fault(at))? {
                    return Ok(false);
                }
            }
        }
    }

    /// Whether all warps that ran since the last question have polled memory.
    fn only_polls(&mut self) -> bool {
        let mut only = true;
        for warp in self.cluster.blocks.iter_mut().flat_map(|block| &mut block.warps) {
            only &= warp.polled || !warp.ran;
            warp.polled = false;
            warp.ran = false;
        }
        only
    }

    /// All clusters that are resident poll memory, and nobody changes it.
    pub(super) fn stuck(&self, not_started: u64, limit: u64) -> Fault {
        let mut fault = self.deadlock();
        if fault.kind == FaultKind::Deadlock {
            fault.detail = format!(
                "all resident blocks poll memory that nobody changes; {not_started} clusters have not started, because \
                 {limit} blocks are resident at a time"
            );
        }
        fault
    }

    /// Nobody has executed anything: completes an operation in flight, or lets those who wait for an mbarrier look
    /// again. Says whether that may help.
    fn anybody_goes_on(&mut self) -> Result<bool, Fault> {
        let landed = self.settle_one().map_err(|at| self.late_fault(at))?;
        if landed {
            return Ok(true);
        }
        self.cluster.idle += 1;
        if self.cluster.idle >= IDLE_LIMIT {
            return Ok(false);
        }
        let mut woken = false;
        for warp in self.cluster.blocks.iter_mut().flat_map(|block| &mut block.warps) {
            for fragment in &mut warp.fragments {
                if matches!(fragment.state, State::Mbarrier { .. }) {
                    fragment.state = State::Ready;
                    warp.timed_out |= fragment.mask;
                    woken = true;
                }
            }
        }
        Ok(woken)
    }
}
