//! A whole launch: checking it, sharing clusters out among host threads, collecting what they counted.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::clock::Clock;
use super::count::Sectors;
use super::epoch::{CHUNK, Epochs, MOST_THREADS};
use super::residents::{Idleness, Residents};
use super::state::{Block, BlockBarrier, Cluster, Fragment, State, Warp};
use super::sync::Syncs;
use super::wait::Waits;
use super::{Context, ModuleMemory, Region, Trouble, Worker, plain_trouble};
use crate::machine::compared;
use crate::machine::error::{Fault, FaultKind, MachineError, Stop};
use crate::machine::inst::Kind;
use crate::machine::kernel::Kernel;
use crate::machine::lanes::LANES;
use crate::machine::memory::{Access, BEFORE_WORDS, Memory, NEVER};
use crate::machine::options::{Launch, Options};
use crate::machine::report::{Class, Count, Counters, Line, Report, Traffic};

/// The most shared memory of a block (more than any GPU has).
const SHARED_LIMIT: u64 = 1 << 20;
/// The most register words of one block, before calls.
const BLOCK_WORDS_LIMIT: u64 = 1 << 27;

fn refuse(reason: String) -> Stop {
    Stop::Machine(MachineError::Launch { reason })
}

/// Checks a launch as the driver would.
fn check(kernel: &Kernel, launch: &Launch) -> Result<(), Stop> {
    let threads = launch.block.iter().fold(1u64, |product, n| product.saturating_mul(u64::from(*n)));
    if threads == 0 || threads > 1024 || launch.block[2] > 64 {
        return Err(refuse(format!("a block of {:?} threads (1 to 1024, at most 64 in z)", launch.block)));
    }
    let [x, y, z] = launch.grid;
    if x == 0 || y == 0 || z == 0 || x > i32::MAX as u32 || y > 65_535 || z > 65_535 {
        return Err(refuse(format!("a grid of {:?} blocks", launch.grid)));
    }
    let cluster = launch.cluster.iter().fold(1u64, |product, n| product.saturating_mul(u64::from(*n)));
    if cluster == 0
        || cluster > 16
        || (0..3).any(|axis| !launch.grid[axis].is_multiple_of(launch.cluster[axis]))
    {
        return Err(refuse(format!(
            "clusters of {:?} in a grid of {:?} (1 to 16 blocks, dividing the grid)",
            launch.cluster, launch.grid
        )));
    }
    if let Some(required) = kernel.required_block()
        && required != launch.block
    {
        return Err(refuse(format!(
            "a block of {:?} where the kernel says `.reqntid` {required:?}",
            launch.block
        )));
    }
    if let Some(most) = kernel.max_threads()
        && threads > u64::from(most)
    {
        return Err(refuse(format!("{threads} threads where the kernel says `.maxntid` {most}")));
    }
    if let Some(required) = kernel.required_cluster()
        && required != launch.cluster
    {
        return Err(refuse(format!(
            "clusters of {:?} where the kernel says `.reqnctapercluster` {required:?}",
            launch.cluster
        )));
    }
    if launch.params.len() != kernel.params_size() {
        return Err(Stop::Machine(MachineError::Parameters {
            expected: kernel.params_size(),
            given: launch.params.len(),
        }));
    }
    let shared = u64::from(kernel.static_shared()) + u64::from(launch.shared_bytes);
    if shared > SHARED_LIMIT {
        return Err(Stop::Machine(MachineError::OutOfMemory {
            what: "shared memory of a block".to_owned(),
            bytes: shared,
            limit: SHARED_LIMIT,
        }));
    }
    let words = u64::from(kernel.whole.functions[0].words) * threads.div_ceil(LANES as u64) * cluster;
    if words > BLOCK_WORDS_LIMIT {
        return Err(Stop::Machine(MachineError::OutOfMemory {
            what: "registers of a block".to_owned(),
            bytes: 4 * words,
            limit: 4 * BLOCK_WORDS_LIMIT,
        }));
    }
    Ok(())
}

/// Runs a launch: see [`crate::machine::run`].
pub(crate) fn run(
    kernel: &Kernel,
    launch: &Launch,
    memory: &mut Memory<'_>,
    options: &Options,
) -> Result<Report, Stop> {
    check(kernel, launch)?;
    let mut modules: Vec<ModuleMemory> = kernel.whole.variables.iter().map(ModuleMemory::new).collect();
    let mut regions = Vec::new();
    for (variable, memory) in kernel.whole.variables.iter().zip(&mut modules) {
        regions.push(Region {
            base: variable.address,
            len: variable.bytes.len() as u64,
            data: memory.words.as_mut_ptr().cast(),
            shadow: memory.shadow.as_mut_ptr().cast(),
            named: chunks(variable.bytes.len()),
            writable: variable.writable,
            name: variable.name.clone(),
        });
    }
    // Atomics need aligned memory; what the caller lent may not be: such buffers are copied in and out.
    let mut staged: Vec<(usize, Vec<u128>)> = Vec::new();
    for (index, buffer) in memory.buffers.iter_mut().enumerate() {
        let writable = buffer.access != Access::Input;
        let mut data = buffer.data;
        if writable && data.addr() % 16 != 0 && buffer.len > 0 {
            let mut copy = vec![0u128; buffer.len.div_ceil(16)];
            // SAFETY: both are valid for `len` bytes and the copy is fresh.
            unsafe { copy.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(data, buffer.len) };
            data = copy.as_mut_ptr().cast();
            staged.push((index, copy));
        }
        for state in &mut buffer.shadow {
            *state &= BEFORE_WORDS;
        }
        regions.push(Region {
            base: buffer.address,
            len: buffer.len as u64,
            data,
            shadow: if buffer.shadow.is_empty() {
                std::ptr::null_mut()
            } else {
                buffer.shadow.as_mut_ptr().cast()
            },
            named: chunks(buffer.shadow.len() * 8),
            writable,
            name: buffer.name.clone(),
        });
    }
    let context = Context {
        kernel,
        launch,
        options,
        regions,
        params: launch.params.clone(),
        shared_bytes: (kernel.static_shared() + launch.shared_bytes) as usize,
        epochs: Epochs::new(),
        syncs: Syncs::default(),
    };
    let result = share_out(&context);
    drop(context);
    for (index, copy) in staged {
        let buffer = &memory.buffers[index];
        // SAFETY: the caller's bytes are lent mutably for as long as the memory lives.
        unsafe { buffer.data.copy_from_nonoverlapping(copy.as_ptr().cast(), buffer.len) };
    }
    result
}

/// A note for each chunk of so many bytes.
fn chunks(bytes: usize) -> Vec<AtomicU8> {
    (0..bytes.div_ceil(CHUNK)).map(|_| AtomicU8::new(0)).collect()
}

/// A permutation of `0..n` by a seed: multiplication by an odd step that shares no factor with `n`, plus an offset.
pub(super) struct Order {
    n: u64,
    step: u64,
    offset: u64,
}

impl Order {
    pub(super) fn new(n: u64, seed: u64) -> Order {
        if seed == 0 || n < 2 {
            return Order { n, step: 1, offset: 0 };
        }
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (seed >> 29);
        let gcd = |mut a: u64, mut b: u64| {
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a
        };
        let mut step = mixed % n;
        while step == 0 || gcd(step, n) != 1 {
            step = (step + 1) % n;
        }
        Order { n, step, offset: (mixed >> 32) % n }
    }

    pub(super) fn at(&self, index: u64) -> u64 {
        ((u128::from(index) * u128::from(self.step) + u128::from(self.offset)) % u128::from(self.n.max(1)))
            as u64
    }
}

/// What the workers bring home.
#[derive(Default)]
struct Harvest {
    counters: Counters,
    counts: Vec<Count>,
    traffic: Vec<Traffic>,
    sectors: Sectors,
    /// The fault of the earliest cluster in the order of execution.
    fault: Option<(u64, Fault)>,
}

fn share_out(context: &Context<'_>) -> Result<Report, Stop> {
    let launch = context.launch;
    let grid = launch.grid.map(u64::from);
    let cluster = launch.cluster.map(u64::from);
    let clusters: [u64; 3] = std::array::from_fn(|axis| grid[axis] / cluster[axis]);
    let all: u64 = clusters.iter().product();
    let cluster_size: u64 = cluster.iter().product();
    let total_blocks: u64 = grid.iter().product();
    let (first, last) = match &context.options.blocks {
        None => (0, all),
        Some(range) => {
            let end = range.end.min(total_blocks);
            (range.start.min(end) / cluster_size, end.div_ceil(cluster_size))
        }
    };
    let number = last.saturating_sub(first);
    let order = Order::new(number, context.options.seed);
    let threads = match context.options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let threads = threads.min(usize::try_from(number).unwrap_or(usize::MAX)).clamp(1, MOST_THREADS);
    let next = AtomicU64::new(0);
    let stop_at = AtomicU64::new(u64::MAX);
    let spent = AtomicU64::new(0);
    let harvest = Mutex::new(Harvest::default());
    let idleness = Idleness::new(threads);
    let work = || {
        let mut worker = Worker::new(context);
        let mut residents = Residents::new(cluster_size, context.options.resident_blocks, &idleness);
        loop {
            let mut index = None;
            if residents.may_start() {
                let free = next.fetch_add(1, Ordering::Relaxed);
                if free < number && free <= stop_at.load(Ordering::Relaxed) {
                    let position = first + order.at(free);
                    let id = [
                        position % clusters[0],
                        position / clusters[0] % clusters[1],
                        position / clusters[0] / clusters[1],
                    ];
                    worker.start_cluster(position, id.map(|value| value as u32));
                    index = Some(free);
                } else {
                    residents.all_started = true;
                }
            }
            let Some(index) = index.or_else(|| residents.resume(&mut worker)) else { break };
            worker.executed = spent.load(Ordering::Relaxed);
            let before = worker.executed;
            let result = worker.advance();
            let used = worker.executed - before;
            let mut in_vain = false;
            let result = match result {
                Ok(true) => {
                    residents.finished();
                    Ok(())
                }
                Ok(false) if residents.park(index, &mut worker) => {
                    in_vain = residents.in_vain();
                    Ok(())
                }
                Ok(false) => {
                    let waiting = number.saturating_sub(next.load(Ordering::Relaxed));
                    Err(worker.stuck(waiting, context.options.resident_blocks))
                }
                Err(fault) => Err(fault),
            };
            // How often one polls while another host thread gets on with its work is a matter of the host's scheduler:
            // it must not decide over the budget.
            if !in_vain {
                spent.fetch_add(used, Ordering::Relaxed);
            }
            if let Err(fault) = result {
                stop_at.fetch_min(index, Ordering::Relaxed);
                let mut harvest = harvest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if harvest.fault.as_ref().is_none_or(|(earliest, _)| index < *earliest) {
                    harvest.fault = Some((index, fault));
                }
                break;
            }
        }
        idleness.leave(&worker);
        let mut harvest = harvest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        harvest.counters.merge(&worker.counters);
        harvest.sectors.merge(worker.sectors);
        if harvest.counts.is_empty() {
            harvest.counts = worker.counts;
            harvest.traffic = worker.traffic;
        } else {
            for (sum, count) in harvest.counts.iter_mut().zip(&worker.counts) {
                sum.add(*count);
            }
            for (sum, traffic) in harvest.traffic.iter_mut().zip(&worker.traffic) {
                sum.add(traffic);
            }
        }
    };
    if threads == 1 {
        work();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
    }
    let harvest = harvest.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((_, fault)) = harvest.fault {
        return Err(Stop::Fault(Box::new(fault)));
    }
    Ok(report(context, harvest))
}

fn report(context: &Context<'_>, harvest: Harvest) -> Report {
    let mut counters = harvest.counters;
    let code = &context.kernel.whole.code;
    let mut lines: BTreeMap<u32, Line> = BTreeMap::new();
    let mut not_compared = BTreeSet::new();
    for (pc, (inst, line)) in code.insts.iter().zip(&code.debug).enumerate() {
        let (Some(count), Some(traffic)) = (harvest.counts.get(pc), harvest.traffic.get(pc)) else {
            continue;
        };
        if inst.hidden || count.warp == 0 {
            continue;
        }
        not_compared.extend(code.texts.get(pc).and_then(|text| compared::not_compared(text)));
        counters.classes[inst.class as usize].add(*count);
        counters.warp_instructions += count.warp;
        counters.thread_instructions += count.thread;
        let at = lines.entry(*line).or_insert_with(|| Line {
            line: *line,
            source: context.kernel.source(*line).cloned(),
            ..Line::default()
        });
        at.count.add(*count);
        at.traffic.add(traffic);
        counters.waited += traffic.waited;
    }
    harvest.sectors.sum(&mut counters);
    counters.register_slots = context
        .kernel
        .whole
        .functions
        .iter()
        .map(|function| function.words / LANES as u32)
        .max()
        .unwrap_or(0);
    counters.shared_bytes = context.shared_bytes as u32;
    debug_assert!(Class::ALL.len() == counters.classes.len());
    Report {
        blocks_run: counters.blocks,
        counters,
        lines: lines.into_values().collect(),
        not_compared: not_compared.into_iter().collect(),
    }
}

impl<'r> Worker<'r> {
    fn new(context: &'r Context<'r>) -> Worker<'r> {
        Worker {
            context,
            epochs: context.epochs.reader(),
            cluster: Cluster::default(),
            counters: Counters::default(),
            counts: vec![Count::default(); context.kernel.whole.code.insts.len()],
            traffic: vec![Traffic::default(); context.kernel.whole.code.insts.len()],
            pc: 0,
            block: 0,
            sectors: Sectors::default(),
            waits: Waits::default(),
            last_spot: None,
            any_copies: false,
            executed: 0,
            clock: 0,
            dice: context.options.seed,
            changes: 0,
        }
    }

    pub(super) fn start_cluster(&mut self, position: u64, id: [u32; 3]) {
        let size = self.context.launch.cluster.iter().product::<u32>();
        self.prepare(position, id, size);
        self.waits.restart(size as usize, self.cluster.blocks[0].warps.len());
        self.sectors.next_cluster(size);
    }

    /// A fault of an operation that ran between turns.
    pub(super) fn late_fault(&self, at: (usize, u32, u32, Trouble)) -> Fault {
        let (block, warp, pc, trouble) = at;
        self.fault(&self.cluster.blocks[block].warps[warp as usize], pc, trouble)
    }

    /// Sets up the blocks of a cluster, reusing the memory of the one before.
    fn prepare(&mut self, position: u64, id: [u32; 3], size: u32) {
        let context = self.context;
        let launch = context.launch;
        let threads = launch.block.iter().product::<u32>();
        let warps = threads.div_ceil(LANES as u32);
        self.last_spot = None;
        // Times go on from cluster to cluster, so that what the words of shared memory remember need not be cleared.
        if self.cluster.time > u32::MAX / 2 {
            self.cluster = Cluster::default();
        }
        self.cluster.time += 1;
        let start = self.cluster.time;
        self.cluster.time += 1;
        self.cluster.joined = Clock::default();
        self.cluster.joining = Clock::default();
        self.cluster.position = position;
        self.cluster.warps = warps as u16;
        self.cluster.next_agent = (size * warps + size) as u16;
        self.cluster.own.clear();
        self.cluster.syncs.clear();
        self.cluster.any_syncs = false;
        self.cluster.arrived = 0;
        self.cluster.expected = threads * size;
        self.cluster.departed = 0;
        self.cluster.generation = 0;
        self.cluster.flights.clear();
        self.cluster.changed_maps.clear();
        self.cluster.operands.clear();
        self.cluster.tensor_operations.clear();
        self.cluster.tensor_pair = None;
        self.cluster.idle = 0;
        self.cluster.spinning = false;
        self.cluster.blocks.resize_with(size as usize, Block::default);
        let [cx, cy, _] = launch.cluster;
        for rank in 0..size {
            let inside = [rank % cx, rank / cx % cy, rank / cx / cy];
            let block = &mut self.cluster.blocks[rank as usize];
            block.id = std::array::from_fn(|axis| id[axis] * launch.cluster[axis] + inside[axis]);
            block.rank = rank;
            block.mbarriers.clear();
            block.visited = false;
            block.received = false;
            block.tensor.reset();
            let bytes = context.shared_bytes;
            if block.shared_shadow.len() == bytes {
                block.shared_shadow.iter().for_each(|state| state.set(NEVER));
            } else {
                block.shared = vec![Cell::new(0u128); bytes.div_ceil(16)];
                block.shared_shadow = vec![Cell::new(NEVER); bytes];
                block.races = vec![
                    super::shadow::Entry::default();
                    if context.options.checks.races { bytes.div_ceil(4) } else { 0 }
                ];
            }
            block.barriers.clear();
            block.barriers.resize_with(16, BlockBarrier::default);
            block.warps.resize_with(warps as usize, Warp::default);
        }
        for rank in 0..size as usize {
            for index in 0..warps {
                let mut warp = std::mem::take(&mut self.cluster.blocks[rank].warps[index as usize]);
                let lanes = (threads - index * LANES as u32).min(LANES as u32);
                let exists = if lanes == 32 { u32::MAX } else { (1 << lanes) - 1 };
                let seen = vec![start; (size * warps) as usize];
                let clock = Clock { start, seen, ..Clock::default() };
                warp = Warp {
                    index,
                    block: rank,
                    exists,
                    live: exists,
                    clock,
                    diverged: u32::MAX,
                    words: {
                        warp.words.clear();
                        warp.words
                    },
                    frames: {
                        warp.frames.clear();
                        warp.frames
                    },
                    local: warp.local,
                    local_shadow: warp.local_shadow,
                    local_size: warp.local_size,
                    ..Warp::default()
                };
                warp.update_seen_all(warps as u16);
                // The entry's frame fits: `check` has looked.
                if self.enter(&mut warp, 0, exists, 0).is_ok() {
                    warp.fragments.push(Fragment {
                        pc: context.kernel.whole.functions[0].start,
                        mask: exists,
                        frame: 0,
                        state: State::Ready,
                        stamp: 0,
                    });
                }
                self.cluster.blocks[rank].warps[index as usize] = warp;
            }
        }
        self.counters.blocks += u64::from(size);
        self.counters.warps += u64::from(size) * u64::from(warps);
    }

    /// Nobody can go on: says who waits for what, and names the likeliest culprit.
    pub(super) fn deadlock(&self) -> Fault {
        let code = &self.context.kernel.whole.code;
        let mut waits: BTreeMap<String, u32> = BTreeMap::new();
        let mut exited = 0;
        let mut culprit: Option<(usize, usize, u32, FaultKind)> = None;
        let mut offer = |block, warp, pc, kind: FaultKind| {
            let rank = |kind| match kind {
                FaultKind::DivergentBarrier => 0,
                FaultKind::InactiveLane => 1,
                FaultKind::ExitedAtBarrier => 2,
                _ => 3,
            };
            if culprit.as_ref().is_none_or(|(.., best)| rank(kind) < rank(*best)) {
                culprit = Some((block, warp, pc, kind));
            }
        };
        for (rank, block) in self.cluster.blocks.iter().enumerate() {
            let gone: u32 = block.warps.iter().map(|warp| (warp.exists & !warp.live).count_ones()).sum();
            exited += gone;
            for (index, warp) in block.warps.iter().enumerate() {
                for fragment in &warp.fragments {
                    let line = code.debug.get(fragment.pc as usize).copied().unwrap_or(0);
                    let lanes = fragment.mask.count_ones();
                    let (what, kind) = match fragment.state {
                        State::Barrier { id, .. } => {
                            let barrier = &block.barriers[usize::from(id)];
                            let kind =
                                if gone > 0 { FaultKind::ExitedAtBarrier } else { FaultKind::Deadlock };
                            let text = format!(
                                "at barrier {id} (line {line}), where {} of {} threads are",
                                barrier.arrived, barrier.expected
                            );
                            (text, kind)
                        }
                        State::Warp(wanted) => {
                            let inst = &code.insts[fragment.pc as usize];
                            let barrier = matches!(
                                inst.kind,
                                Kind::Barrier(_)
                                    | Kind::ClusterArrive { .. }
                                    | Kind::ClusterWait { .. }
                                    | Kind::SetRegisters { .. }
                            );
                            let kind =
                                if barrier { FaultKind::DivergentBarrier } else { FaultKind::Deadlock };
                            let missing = wanted & warp.live & !fragment.mask;
                            (format!("at line {line} for lanes {missing:#010x} of its own warp"), kind)
                        }
                        State::Cluster(_) => (
                            format!(
                                "at the cluster barrier (line {line}), where {} threads are",
                                self.cluster.arrived
                            ),
                            if gone > 0 { FaultKind::ExitedAtBarrier } else { FaultKind::Deadlock },
                        ),
                        State::Mbarrier { offset, phase } => {
                            (self.wait_text(rank, offset as usize, phase, line), FaultKind::Deadlock)
                        }
                        State::TensorMemory(_) => (
                            format!("for tensor memory or the peer block (line {line})"),
                            FaultKind::Deadlock,
                        ),
                        State::Products(_) => {
                            let what = "for the other warps of the warpgroup to issue their wgmma";
                            (format!("{what} (line {line})"), FaultKind::Deadlock)
                        }
                        State::Ready => continue,
                    };
                    *waits.entry(what).or_default() += lanes;
                    offer(rank, index, fragment.pc, kind);
                }
            }
        }
        let mut detail = String::from("nobody can go on:");
        for (what, threads) in &waits {
            detail.push_str(&format!(" {threads} threads wait {what};"));
        }
        detail.push_str(&format!(" {exited} threads have exited"));
        let (block, warp, pc, kind) = culprit.unwrap_or((0, 0, 0, FaultKind::Deadlock));
        let warp = &self.cluster.blocks[block].warps[warp];
        let lane = warp.fragments.first().map_or(0, |fragment| fragment.mask.trailing_zeros());
        self.fault(warp, pc, plain_trouble(kind, lane, detail))
    }
}
