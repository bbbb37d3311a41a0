//! The configurations that are worth trying.

use std::collections::BTreeSet;

use factory_ptx::builder::{LoadHint, Priority, StoreHint};
use factory_spec::{Allowance, Arch, Op, SizeValues};

use super::Space;
use super::config::{Config, Keep, Weights};
use super::declined::Reason;
use super::split::{Across, Along};

/// Of what the L2 holds, what was written gives way before what was read.
const LAST: LoadHint = LoadHint { priority: Priority::EvictLast, read_only: false, prefetch_128: false };

/// A configuration, and behind it the one that reads so; what has other hints or reads a row again has none.
fn beside_last(config: Config) -> impl Iterator<Item = Config> {
    let plain = config.load == LoadHint::default() && config.store == StoreHint::default();
    let last = (plain && config.keep != Keep::Reread).then(|| Config { load: LAST, ..config.clone() });
    std::iter::once(config).chain(last)
}

/// Shared memory that one block may have, on sm_90 and sm_100 alike, less what the exchanges take.
const SHARED_LIMIT: u64 = 227 * 1024 - 4096;

/// Multiprocessors of the largest device of an architecture: 132 on H100 and H200, 148 on B200.
fn multiprocessors(arch: Arch) -> u32 {
    match arch {
        Arch::Sm90 | Arch::Sm90a => 132,
        _ => 148,
    }
}

impl Config {
    fn plain(vector: u32, threads: u32, rows: u32, chunks: u32) -> Config {
        Config {
            vector,
            threads,
            rows,
            chunks,
            exact: false,
            keep: Keep::Packed,
            weights: Weights::Late,
            persistent: None,
            stages: 1,
            cluster: 1,
            load: LoadHint::default(),
            store: StoreHint::default(),
            max_registers: None,
            min_blocks: None,
            wide: false,
        }
    }
}

/// Bytes an element of the operands that are read element by element.
struct Traffic {
    /// Those that vary with the row.
    rows: u32,
    /// Those that do not.
    weights: u32,
    /// The narrowest dense operand or output.
    narrowest: u32,
}

impl Space<'_> {
    fn traffic(&self) -> Traffic {
        let mut traffic = Traffic { rows: 0, weights: 0, narrowest: 16 };
        for access in &self.split.tensors {
            if access.along == Along::Same {
                continue;
            }
            let bytes = self.spec.args[access.arg.index()].dtype.size() as u32;
            if access.along == Along::Dense {
                traffic.narrowest = traffic.narrowest.min(bytes);
            }
            let read = self.program.nodes.iter().any(|node| node.op == Op::Arg(access.arg));
            match (read, access.across == Across::Same) {
                (true, true) => traffic.weights += bytes,
                (true, false) => traffic.rows += bytes,
                _ => {}
            }
        }
        traffic
    }

    /// Registers a thread, roughly: what is held between passes, what one vector needs at work, and addresses.
    pub fn register_estimate(&self, config: &Config) -> u32 {
        let traffic = self.traffic();
        let held = config.vector * config.chunks;
        let rows = match config.keep {
            Keep::Packed | Keep::Values => held * traffic.rows / 4,
            Keep::Shared => 0,
            Keep::Reread => held * traffic.rows / 4,
        };
        let weights = match config.weights {
            Weights::Early | Weights::Resident => held * traffic.weights / 4,
            Weights::Late => config.vector * traffic.weights / 4,
        };
        let width = if self.kinds.double { 2 } else { 1 };
        let values = if config.keep == Keep::Values { (held * width).saturating_sub(rows / 2) } else { 0 };
        rows + weights + values + config.vector * 2 * width + 22
    }

    /// Bytes of dynamic shared memory.
    fn shared_estimate(&self, config: &Config) -> u64 {
        if config.keep != Keep::Shared {
            return 0;
        }
        u64::from(self.traffic().rows)
            * u64::from(config.vector * config.chunks * config.threads)
            * u64::from(config.rows)
            * u64::from(config.stages)
    }

    /// Why a configuration cannot be lowered, if it cannot.
    pub fn check(&self, config: &Config) -> Result<(), Reason> {
        let refuse = |why| Err(Reason::Configuration { why });
        let reduces = self.split.reduces;
        if !config.vector.is_power_of_two() || config.vector > 16 {
            return refuse("a vector has 1, 2, 4, 8 or 16 elements");
        }
        if config.rows == 0 || config.chunks == 0 || config.threads == 0 {
            return refuse("threads, rows and chunks are at least 1");
        }
        if config.block() > 1024 || config.rows > 64 {
            return refuse("a block has at most 1024 threads, and 64 rows in y");
        }
        if config.capacity() >= 1 << 30 {
            return refuse("the threads' chunks cover at most 2^30 columns");
        }
        if reduces {
            let whole = config.threads.is_multiple_of(32)
                || (config.threads < 32 && config.threads.is_power_of_two());
            if !whole || !config.block().is_multiple_of(32) {
                return refuse(
                    "the threads of a row are whole warps, or a power of two of one warp; a block is whole warps",
                );
            }
            if config.threads > 32 && config.rows > 15 {
                return refuse("there are named barriers for 15 rows");
            }
        }
        if !config.cluster.is_power_of_two() || config.cluster > 16 {
            return refuse("a cluster has 1, 2, 4, 8 or 16 blocks");
        }
        if config.cluster > 1 && (!reduces || config.rows > 1 || !config.threads.is_multiple_of(32)) {
            return refuse("a cluster shares one row, with whole warps");
        }
        if config.stages == 0
            || (config.stages > 1 && (config.keep != Keep::Shared || config.persistent.is_none()))
        {
            return refuse("several stages need shared memory and a persistent grid");
        }
        if config.weights == Weights::Resident
            && (config.persistent.is_none() || config.keep == Keep::Reread || !reduces)
        {
            return refuse("resident weights need a persistent grid and a row that is kept");
        }
        if config.persistent.is_some() && !reduces {
            return refuse("without reductions the grid covers the columns");
        }
        if config.keep == Keep::Shared {
            let smallest = self.traffic().narrowest * config.vector;
            if !reduces || smallest < 4 {
                return refuse("asynchronous copies take at least 4 bytes, and serve reductions");
            }
        }
        if config.exact && (!reduces || config.keep == Keep::Reread || config.wide) {
            return refuse("only a row that is kept can be exactly as long as the threads' chunks");
        }
        if self.shared_estimate(config) > SHARED_LIMIT {
            return refuse("the row does not fit shared memory");
        }
        Ok(())
    }

    fn fits(&self, config: &Config) -> bool {
        let limit = config.max_registers.unwrap_or(255).min(65_536 / config.block().max(1));
        self.check(config).is_ok() && self.register_estimate(config) <= limit
    }

    /// Configurations to try for some sizes, in a fixed order without repetition.
    pub fn configurations(&self, arch: Arch, over: &SizeValues) -> Vec<Config> {
        let columns: u64 = self.split.columns.iter().map(|&size| over.get(size)).product();
        let rows: u64 = self.split.rows.iter().map(|&size| over.get(size)).product();
        let mut found = Vec::new();
        let vectors = self.vectors(columns);
        for &vector in &vectors {
            if self.split.reduces {
                self.row_configurations(arch, columns, rows, vector, &mut found);
            } else {
                self.tile_configurations(columns, rows, vector, &mut found);
            }
        }
        if self.spec.better.allow.contains(&Allowance::L2EvictLast) {
            found = found.into_iter().flat_map(beside_last).collect();
        }
        let mut seen = BTreeSet::new();
        found.retain(|config| self.fits(config) && seen.insert(config.clone()));
        found
    }

    /// Vector lengths for rows of this length: 16 bytes of the narrowest operand, and shorter.
    fn vectors(&self, columns: u64) -> Vec<u32> {
        let widest = (16 / self.traffic().narrowest).max(1);
        let mut vectors: Vec<u32> = [16u32, 8, 4, 2, 1]
            .into_iter()
            .filter(|&vector| vector <= widest && columns.max(1).is_multiple_of(u64::from(vector)))
            .collect();
        vectors.truncate(2);
        vectors
    }

    fn row_configurations(&self, arch: Arch, columns: u64, rows: u64, vector: u32, found: &mut Vec<Config>) {
        let traffic = self.traffic();
        let units = columns.div_ceil(u64::from(vector)).max(1);
        let several_passes = self.kinds.levels > 1 || !self.stores_only_rows();
        let has_weights = traffic.weights > 0;
        for cluster in [1u32, 2, 4, 8, 16] {
            if cluster > 1
                && (columns * u64::from(traffic.rows.max(1)) < 8192 * u64::from(cluster)
                    || (cluster == 16 && columns < 131_072))
            {
                continue;
            }
            let share = units.div_ceil(u64::from(cluster));
            let mut threads: Vec<u32> = vec![4, 8, 16, 32, 64, 128, 256, 512, 1024];
            // Thread counts that leave no thread idle.
            for chunks in 1..=8u64 {
                if share.is_multiple_of(chunks * 32) && share / chunks <= 1024 {
                    threads.push((share / chunks) as u32);
                }
            }
            threads.sort_unstable();
            threads.dedup();
            for threads in threads {
                let chunks = share.div_ceil(u64::from(threads));
                let idle = u64::from(threads) > share.next_power_of_two().max(4);
                if chunks > 16 || idle || (cluster > 1 && threads < 64) {
                    continue;
                }
                let blocks: &[u32] = if threads >= 128 { &[1] } else { &[64, 128, 256] };
                for &block in blocks {
                    let group = if threads >= 128 { 1 } else { (block / threads).max(1) };
                    if u64::from(group) > rows.next_power_of_two().max(16) || (cluster > 1 && group > 1) {
                        continue;
                    }
                    let mut base = Config::plain(vector, threads, group, chunks as u32);
                    base.cluster = cluster;
                    base.exact = base.capacity() == columns;
                    self.row_choices(arch, rows, &base, several_passes, has_weights, found);
                }
            }
        }
        for threads in [128, 256, 512, 1024] {
            for chunks in [1, 2, 4] {
                let mut config = Config::plain(vector, threads, 1, chunks);
                config.keep = Keep::Reread;
                if config.capacity() < 2 * columns {
                    found.push(config);
                }
            }
        }
    }

    /// The other choices for one division of a row among threads.
    fn row_choices(
        &self,
        arch: Arch,
        rows: u64,
        base: &Config,
        several_passes: bool,
        has_weights: bool,
        found: &mut Vec<Config>,
    ) {
        let streaming = StoreHint { priority: Priority::Streaming };
        let mut kept = vec![Keep::Packed];
        if several_passes {
            kept.push(Keep::Values);
        }
        for keep in kept {
            for weights in if has_weights { &[Weights::Early, Weights::Late][..] } else { &[Weights::Late] } {
                let config = Config { keep, weights: *weights, ..base.clone() };
                found.push(config.clone());
                found.push(Config { store: streaming, ..config.clone() });
                let load = LoadHint { priority: Priority::NoAllocate, ..LoadHint::default() };
                found.push(Config { load, store: streaming, ..config });
            }
        }
        // Blocks that fit a multiprocessor by threads; persistent grids are a multiple of the multiprocessors.
        let resident = (2048 / base.block()).clamp(1, 8);
        for per in [resident, resident.div_ceil(2)] {
            let blocks = (multiprocessors(arch) * per / base.cluster).max(1);
            if rows <= u64::from(blocks * base.rows) {
                continue;
            }
            let weights = if has_weights { Weights::Resident } else { Weights::Late };
            let config = Config { persistent: Some(blocks), weights, ..base.clone() };
            found.push(config.clone());
            for stages in [2, 3] {
                let staged = Config { keep: Keep::Shared, stages, ..config.clone() };
                if self.shared_estimate(&staged) * u64::from(per) <= SHARED_LIMIT {
                    found.push(staged);
                }
            }
        }
        if several_passes && self.traffic().rows * base.vector * base.chunks >= 64 {
            found.push(Config { keep: Keep::Shared, ..base.clone() });
        }
    }

    /// Whether no output has columns: one pass fewer over the row.
    fn stores_only_rows(&self) -> bool {
        self.program.outputs.iter().all(|(arg, _)| self.split.tensor(*arg).along == Along::Same)
    }

    fn tile_configurations(&self, columns: u64, rows: u64, vector: u32, found: &mut Vec<Config>) {
        let units = columns.div_ceil(u64::from(vector)).max(1);
        for block in [64u32, 128, 256, 512] {
            for chunks in [1u32, 2, 4, 8] {
                // Short rows share a block.
                let threads = units.next_power_of_two().min(u64::from(block)) as u32;
                let group = (block / threads).min(64).min(rows.next_power_of_two().clamp(1, 64) as u32);
                if chunks > 1 && u64::from(threads * chunks) > units.next_power_of_two() {
                    continue;
                }
                let base = Config::plain(vector, threads, group, chunks);
                for priority in [Priority::Normal, Priority::NoAllocate] {
                    for store in [Priority::Normal, Priority::Streaming] {
                        let load = LoadHint { priority, ..LoadHint::default() };
                        found.push(Config { load, store: StoreHint { priority: store }, ..base.clone() });
                    }
                }
                let load = LoadHint { prefetch_128: true, ..LoadHint::default() };
                found.push(Config { load, ..base });
            }
        }
    }

    /// Configurations that together serve sizes of every length well, shortest rows first: what to put behind the
    /// winners of single sizes, and before the fallback.
    pub fn coverage(&self) -> Vec<Config> {
        let widest = (16 / self.traffic().narrowest).max(1);
        let mut found = Vec::new();
        for vector in [widest, 1] {
            if !self.split.reduces {
                found.push(Config::plain(vector, 256, 1, 1));
            } else {
                for (threads, rows, chunks) in [
                    (8, 16, 1),
                    (32, 4, 1),
                    (32, 4, 2),
                    (64, 2, 2),
                    (128, 1, 2),
                    (256, 1, 2),
                    (512, 1, 2),
                    (1024, 1, 2),
                    (1024, 1, 4),
                ] {
                    found.push(Config::plain(vector, threads, rows, chunks));
                }
                found.push(Config { keep: Keep::Reread, ..Config::plain(vector, 1024, 1, 2) });
            }
            if widest == 1 {
                break;
            }
        }
        found.retain(|config| self.fits(config));
        found
    }

    /// The configuration that serves every size.
    pub(super) fn fallback_config(&self) -> Config {
        let mut config =
            if self.split.reduces { Config::plain(1, 128, 1, 2) } else { Config::plain(1, 256, 1, 1) };
        config.keep = if self.split.reduces { Keep::Reread } else { Keep::Packed };
        config.wide = true;
        config
    }
}
