//! A whole launch: checking it, sharing clusters out among host threads, collecting what they counted.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::state::{Block, BlockBarrier, Cluster, Fragment, State, Warp};
use super::{Context, ModuleMemory, Region, Worker, plain_trouble};
use crate::machine::error::{Fault, FaultKind, MachineError, Stop};
use crate::machine::kernel::Kernel;
use crate::machine::lanes::LANES;
use crate::machine::memory::{Access, BEFORE, Memory, NEVER};
use crate::machine::options::{Launch, Options};
use crate::machine::report::{Class, Count, Counters, Report};

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
            shadow: memory.shadow.as_mut_ptr(),
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
            *state = if *state == NEVER { NEVER } else { BEFORE };
        }
        regions.push(Region {
            base: buffer.address,
            len: buffer.len as u64,
            data,
            shadow: if buffer.shadow.is_empty() { std::ptr::null_mut() } else { buffer.shadow.as_mut_ptr() },
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

/// A permutation of `0..n` by a seed: multiplication by an odd step that shares no factor with `n`, plus an offset.
struct Order {
    n: u64,
    step: u64,
    offset: u64,
}

impl Order {
    fn new(n: u64, seed: u64) -> Order {
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

    fn at(&self, index: u64) -> u64 {
        ((u128::from(index) * u128::from(self.step) + u128::from(self.offset)) % u128::from(self.n.max(1)))
            as u64
    }
}

/// What the workers bring home.
#[derive(Default)]
struct Harvest {
    counters: Counters,
    counts: Vec<Count>,
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
    let threads = threads.min(usize::try_from(number).unwrap_or(usize::MAX)).clamp(1, 256);
    let next = AtomicU64::new(0);
    let stop_at = AtomicU64::new(u64::MAX);
    let spent = AtomicU64::new(0);
    let harvest = Mutex::new(Harvest::default());
    let work = || {
        let mut worker = Worker::new(context);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= number || index > stop_at.load(Ordering::Relaxed) {
                break;
            }
            let position = first + order.at(index);
            let id = [
                position % clusters[0],
                position / clusters[0] % clusters[1],
                position / clusters[0] / clusters[1],
            ];
            worker.executed = spent.load(Ordering::Relaxed);
            let before = worker.executed;
            let result = worker.run_cluster(position, id.map(|value| value as u32));
            spent.fetch_add(worker.executed - before, Ordering::Relaxed);
            if let Err(fault) = result {
                stop_at.fetch_min(index, Ordering::Relaxed);
                let mut harvest = harvest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if harvest.fault.as_ref().is_none_or(|(earliest, _)| index < *earliest) {
                    harvest.fault = Some((index, fault));
                }
                break;
            }
        }
        let mut harvest = harvest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        harvest.counters.merge(&worker.counters);
        if harvest.counts.is_empty() {
            harvest.counts = worker.counts;
        } else {
            for (sum, count) in harvest.counts.iter_mut().zip(&worker.counts) {
                sum.warp += count.warp;
                sum.thread += count.thread;
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
    let mut lines: BTreeMap<u32, Count> = BTreeMap::new();
    for ((inst, line), count) in code.insts.iter().zip(&code.debug).zip(&harvest.counts) {
        if inst.hidden || count.warp == 0 {
            continue;
        }
        let class = &mut counters.classes[inst.class as usize];
        class.warp += count.warp;
        class.thread += count.thread;
        counters.warp_instructions += count.warp;
        counters.thread_instructions += count.thread;
        let at = lines.entry(*line).or_default();
        at.warp += count.warp;
        at.thread += count.thread;
    }
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
    Report { blocks_run: counters.blocks, counters, lines: lines.into_iter().collect() }
}

impl<'r> Worker<'r> {
    fn new(context: &'r Context<'r>) -> Worker<'r> {
        let several = context.launch.grid.iter().map(|n| u64::from(*n)).product::<u64>()
            > context.launch.cluster.iter().map(|n| u64::from(*n)).product::<u64>();
        Worker {
            context,
            cluster: Cluster::default(),
            counters: Counters::default(),
            counts: vec![Count::default(); context.kernel.whole.code.insts.len()],
            last_spot: None,
            tags_global: several && context.options.checks.races,
            any_copies: false,
            executed: 0,
            clock: 0,
        }
    }

    fn run_cluster(&mut self, position: u64, id: [u32; 3]) -> Result<(), Fault> {
        let launch = self.context.launch;
        let size = launch.cluster.iter().product::<u32>();
        self.prepare(position, id, size);
        let warps_a_block = self.cluster.blocks[0].warps.len() as u64;
        let total = u64::from(size) * warps_a_block;
        let order = Order::new(total, self.context.options.seed);
        loop {
            let mut progress = false;
            let mut alive = false;
            for index in 0..total {
                let at = order.at(index);
                let (block, warp) = ((at / warps_a_block) as usize, (at % warps_a_block) as usize);
                if self.cluster.blocks[block].warps[warp].fragments.is_empty() {
                    continue;
                }
                alive = true;
                progress |= self.turn(block, warp)?;
            }
            if !alive {
                return Ok(());
            }
            if !progress {
                return Err(self.deadlock());
            }
        }
    }

    /// Sets up the blocks of a cluster, reusing the memory of the one before.
    fn prepare(&mut self, position: u64, id: [u32; 3], size: u32) {
        let context = self.context;
        let launch = context.launch;
        let threads = launch.block.iter().product::<u32>();
        let warps = threads.div_ceil(LANES as u32);
        self.last_spot = None;
        self.cluster.tag = 2 + (position % 254) as u8;
        // Times go on from cluster to cluster, so that what the words of shared memory remember need not be cleared.
        if self.cluster.time > u32::MAX / 2 {
            self.cluster = Cluster::default();
        }
        self.cluster.time += 1;
        let start = self.cluster.time;
        self.cluster.time += 1;
        self.cluster.joined = start;
        self.cluster.arrived = 0;
        self.cluster.generation = 0;
        self.cluster.blocks.resize_with(size as usize, Block::default);
        let [cx, cy, _] = launch.cluster;
        for rank in 0..size {
            let inside = [rank % cx, rank / cx % cy, rank / cx / cy];
            let block = &mut self.cluster.blocks[rank as usize];
            block.id = std::array::from_fn(|axis| id[axis] * launch.cluster[axis] + inside[axis]);
            block.rank = rank;
            block.synchronised = false;
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
            block.released =
                vec![start; warps as usize + if size > 1 { 32 + size as usize - warps as usize } else { 0 }];
            block.warps.resize_with(warps as usize, Warp::default);
        }
        for rank in 0..size as usize {
            for index in 0..warps {
                let mut warp = std::mem::take(&mut self.cluster.blocks[rank].warps[index as usize]);
                let lanes = (threads - index * LANES as u32).min(LANES as u32);
                let exists = if lanes == 32 { u32::MAX } else { (1 << lanes) - 1 };
                let seen = self.cluster.blocks[rank].released.clone();
                warp = Warp {
                    index,
                    block: rank,
                    exists,
                    live: exists,
                    seen,
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
                warp.update_seen_all();
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
    fn deadlock(&self) -> Fault {
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
                            let barrier = matches!(inst.kind, crate::machine::inst::Kind::Barrier(_));
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
