//! What an access asks of the memory system: sectors of global memory, passes over the banks of shared memory; and the
//! counts of what else an instruction did. Whatever is counted is charged to the instruction at `Worker::pc`.

use super::Worker;
use super::spot::{Run, Shape, SpotKind};
use crate::machine::lanes::LANES;
use crate::machine::report::{Counters, TensorType};

/// Bytes of a sector.
const SECTOR: u64 = 32;

/// The smallest set of sectors or words: how many different values there are.
fn distinct(values: &mut [u64]) -> u64 {
    if values.is_sorted() {
        return 1 + values.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64;
    }
    values.sort_unstable();
    1 + values.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64
}

/// Which sectors were touched: for each sector of each region the serial number of the block that touched it last, 0 for
/// none. Only filled with `Options::traffic`.
#[derive(Default)]
pub(super) struct Sectors {
    /// Loads, then stores, by region.
    touched: [Vec<Vec<u32>>; 2],
    /// Sectors that a block touched for the first time.
    of_blocks: [u64; 2],
    /// Serial number of the cluster's first block.
    serial: u32,
    /// Blocks of the cluster.
    size: u32,
}

impl Sectors {
    /// The blocks of the next cluster have touched nothing yet.
    pub(super) fn next_cluster(&mut self, size: u32) {
        if self.serial > u32::MAX - 64 {
            // So many blocks that numbers run out: those before count as one block.
            self.touched.iter_mut().flatten().flatten().for_each(|serial| *serial = u32::from(*serial != 0));
            self.serial = 1;
        }
        self.serial += self.size.max(1);
        self.size = size;
    }

    fn touch(
        &mut self,
        store: bool,
        region: usize,
        rank: usize,
        sectors: std::ops::RangeInclusive<u64>,
        all: u64,
    ) {
        let regions = &mut self.touched[usize::from(store)];
        if regions.len() <= region {
            regions.resize_with(region + 1, Vec::new);
        }
        let serials = &mut regions[region];
        if serials.is_empty() {
            serials.resize(all as usize, 0);
        }
        let now = self.serial + rank as u32;
        for sector in sectors {
            if let Some(serial) = serials.get_mut(sector as usize)
                && *serial != now
            {
                *serial = now;
                self.of_blocks[usize::from(store)] += 1;
            }
        }
    }

    /// Adds what another worker's blocks touched.
    pub(super) fn merge(&mut self, other: Sectors) {
        for (mine, theirs) in self.touched.iter_mut().zip(other.touched) {
            for (region, theirs) in theirs.into_iter().enumerate() {
                if mine.len() <= region {
                    mine.resize_with(region + 1, Vec::new);
                }
                if mine[region].is_empty() {
                    mine[region] = theirs;
                } else {
                    mine[region].iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine |= theirs);
                }
            }
        }
        for (mine, theirs) in self.of_blocks.iter_mut().zip(other.of_blocks) {
            *mine += theirs;
        }
    }

    /// Writes the sums down.
    pub(super) fn sum(&self, counters: &mut Counters) {
        let of_launch =
            |store: usize| self.touched[store].iter().flatten().filter(|serial| **serial != 0).count() as u64;
        counters.block_load_sectors += self.of_blocks[0];
        counters.block_store_sectors += self.of_blocks[1];
        counters.launch_load_sectors += of_launch(0);
        counters.launch_store_sectors += of_launch(1);
    }
}

impl Worker<'_> {
    /// An access of `total` bytes by each lane of the run.
    pub(super) fn count_access(&mut self, run: &Run, total: usize, store: bool) {
        let lanes = u64::from(run.mask.count_ones());
        let bytes = lanes * total as u64;
        match run.spot.kind {
            SpotKind::Global(region) => {
                let (requested, needed) = global_sectors(run, total);
                let c = &mut self.counters;
                if store {
                    c.global_store_sectors_requested += requested;
                    c.global_store_sectors_needed += needed;
                    c.global_store_bytes += bytes;
                } else {
                    c.global_load_sectors_requested += requested;
                    c.global_load_sectors_needed += needed;
                    c.global_load_bytes += bytes;
                }
                let traffic = &mut self.traffic[self.pc as usize];
                traffic.sectors_requested += requested;
                traffic.sectors_needed += needed;
                traffic.global_bytes += bytes;
                if self.context.options.traffic {
                    for lane in 0..LANES {
                        if run.mask >> lane & 1 != 0 {
                            self.touch(region, run.offsets[lane] as u64, total as u64, store);
                        }
                    }
                }
            }
            SpotKind::Shared(_) => {
                let (least, passes) = match run.shape {
                    // One word, or a few, for everybody.
                    Shape::Uniform => (1, 1),
                    Shape::Contiguous => (parts_of(total) as u64, parts_of(total) as u64),
                    Shape::Scattered => bank_passes(run, total),
                };
                self.count_shared(bytes, least, passes, store);
            }
            SpotKind::Local | SpotKind::Param => {}
        }
    }

    fn count_shared(&mut self, bytes: u64, least: u64, passes: u64, store: bool) {
        let c = &mut self.counters;
        c.shared_passes += passes;
        c.shared_bank_conflicts += passes - least;
        if store {
            c.shared_store_bytes += bytes;
        } else {
            c.shared_load_bytes += bytes;
        }
        let traffic = &mut self.traffic[self.pc as usize];
        traffic.shared_bytes += bytes;
        traffic.shared_passes += passes;
        traffic.shared_bank_conflicts += passes - least;
    }

    /// A range of global memory that one instruction moves as a whole: a bulk or tensor copy.
    pub(super) fn count_global_range(&mut self, region: usize, offset: u64, bytes: u64, store: bool) {
        if bytes == 0 {
            return;
        }
        let sectors = (offset + bytes - 1) / SECTOR - offset / SECTOR + 1;
        let needed = bytes.div_ceil(SECTOR);
        let c = &mut self.counters;
        if store {
            c.global_store_sectors_requested += sectors;
            c.global_store_sectors_needed += needed;
            c.global_store_bytes += bytes;
        } else {
            c.global_load_sectors_requested += sectors;
            c.global_load_sectors_needed += needed;
            c.global_load_bytes += bytes;
        }
        let traffic = &mut self.traffic[self.pc as usize];
        traffic.sectors_requested += sectors;
        traffic.sectors_needed += needed;
        traffic.global_bytes += bytes;
        if self.context.options.traffic {
            self.touch(region, offset, bytes, store);
        }
    }

    fn touch(&mut self, region: usize, offset: u64, bytes: u64, store: bool) {
        let Some(found) = self.context.regions.get(region) else { return };
        // Sectors lie at multiples of their size, whatever the region begins at.
        let start = found.base % SECTOR + offset;
        let all = (found.base % SECTOR + found.len).div_ceil(SECTOR);
        self.sectors.touch(store, region, self.block, start / SECTOR..=(start + bytes - 1) / SECTOR, all);
    }

    /// Rows of 16 bytes of shared memory that `ldmatrix` or `stmatrix` moves, at these offsets; each 8 of them are one
    /// matrix, which takes one pass when its rows lie in different banks.
    pub(super) fn count_matrix_rows(&mut self, rows: &[usize], store: bool) {
        let (mut least, mut passes) = (0, 0);
        for matrix in rows.chunks(8) {
            let mut words = [0u64; LANES];
            for (row, offset) in matrix.iter().enumerate() {
                for word in 0..4 {
                    words[4 * row + word] = (offset / 4 + word) as u64;
                }
            }
            least += 1;
            passes += most_of_a_bank(&mut words[..4 * matrix.len()]);
        }
        self.count_shared(16 * rows.len() as u64, least, passes, store);
    }

    /// Atomic operations of the lanes of a run.
    pub(super) fn count_atomic(&mut self, run: &Run) {
        let operations = u64::from(run.mask.count_ones());
        self.counters.atomics += operations;
        self.traffic[self.pc as usize].atomics += operations;
    }

    /// Bytes that an asynchronous copy moves.
    pub(super) fn count_async(&mut self, bytes: u64) {
        self.counters.async_bytes += bytes;
        self.traffic[self.pc as usize].async_bytes += bytes;
    }

    /// Operations of a tensor core: two for each multiply-add of the whole instruction.
    pub(super) fn count_tensor(&mut self, ty: TensorType, operations: u64) {
        self.counters.tensor_operations[ty as usize] += operations;
        self.traffic[self.pc as usize].tensor_operations += operations;
    }
}

/// Sectors that an access of global memory touches, and that its distinct bytes would fill.
fn global_sectors(run: &Run, total: usize) -> (u64, u64) {
    if run.shape == Shape::Uniform {
        return (total.div_ceil(SECTOR as usize) as u64, total.div_ceil(SECTOR as usize) as u64);
    }
    if run.shape == Shape::Contiguous {
        let start = (run.spot.base as usize + run.offsets[0]) / 32;
        let end = (run.spot.base as usize + run.offsets[0] + LANES * total - 1) / 32;
        return ((end - start + 1) as u64, (LANES * total).div_ceil(32) as u64);
    }
    let mut sectors = [0u64; LANES];
    let mut starts = [0u64; LANES];
    let mut count = 0;
    for lane in 0..LANES {
        if run.mask >> lane & 1 != 0 {
            starts[count] = run.offsets[lane] as u64;
            sectors[count] = (run.spot.base + run.offsets[lane] as u64) / SECTOR;
            count += 1;
        }
    }
    if count == 0 {
        return (0, 0);
    }
    // An aligned access never crosses a sector.
    let different = distinct(&mut starts[..count]);
    (distinct(&mut sectors[..count]), (different * total as u64).div_ceil(SECTOR))
}

/// Parts in which a warp's access of shared memory is served: 32 lanes of 4 bytes, 16 of 8, 8 of 16 at a time.
fn parts_of(total: usize) -> usize {
    total.div_ceil(4).next_power_of_two().clamp(1, 8)
}

/// The most different words of one bank: passes that serve them all. Sorts them.
fn most_of_a_bank(words: &mut [u64]) -> u64 {
    words.sort_unstable();
    let mut banks = [0u8; 32];
    for index in 0..words.len() {
        if index == 0 || words[index] != words[index - 1] {
            banks[(words[index] % 32) as usize] += 1;
        }
    }
    u64::from(banks.iter().copied().max().unwrap_or(0))
}

/// Passes that a shared access takes: `(least, actual)`. Within a part every bank serves one word a pass; an access whose
/// words, of all parts together, lie in different banks takes one pass.
fn bank_passes(run: &Run, total: usize) -> (u64, u64) {
    let parts = parts_of(total);
    let lanes_a_part = LANES / parts;
    let words_a_lane = total.div_ceil(4);
    let (mut least, mut actual) = (0, 0);
    let mut all = [0u64; 8 * LANES];
    let mut length = 0;
    for part in 0..parts {
        let start = length;
        for lane in part * lanes_a_part..(part + 1) * lanes_a_part {
            if run.mask >> lane & 1 != 0 {
                for word in 0..words_a_lane {
                    if length < all.len() {
                        all[length] = (run.offsets[lane] / 4 + word) as u64;
                        length += 1;
                    }
                }
            }
        }
        if length > start {
            least += 1;
            actual += most_of_a_bank(&mut all[start..length]);
        }
    }
    if least > 1 && most_of_a_bank(&mut all[..length]) == 1 {
        return (1, 1);
    }
    (least, actual)
}
