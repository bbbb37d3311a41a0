//! What an access asks of the memory system: sectors of global memory, passes over the banks of shared memory.

use super::Worker;
use super::spot::{Run, Shape, SpotKind};
use crate::machine::lanes::LANES;

/// The smallest set of sectors or words: how many different values there are.
fn distinct(values: &mut [u64]) -> u64 {
    if values.is_sorted() {
        return 1 + values.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64;
    }
    values.sort_unstable();
    1 + values.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64
}

impl Worker<'_> {
    /// Sectors and bank conflicts.
    pub(super) fn count_access(&mut self, run: &Run, total: usize, store: bool) {
        let lanes = u64::from(run.mask.count_ones());
        let bytes = lanes * total as u64;
        match run.spot.kind {
            SpotKind::Global(_) => {
                let (requested, needed) = if run.shape == Shape::Uniform {
                    (1, 1)
                } else if run.shape == Shape::Contiguous {
                    let start = (run.spot.base as usize + run.offsets[0]) / 32;
                    let end = (run.spot.base as usize + run.offsets[0] + LANES * total - 1) / 32;
                    ((end - start + 1) as u64, (LANES * total).div_ceil(32) as u64)
                } else {
                    let mut sectors = [0u64; LANES];
                    let mut starts = [0u64; LANES];
                    let mut count = 0;
                    for lane in 0..LANES {
                        if run.mask >> lane & 1 != 0 {
                            starts[count] = run.offsets[lane] as u64;
                            sectors[count] = (run.spot.base + run.offsets[lane] as u64) / 32;
                            count += 1;
                        }
                    }
                    // An aligned access never crosses a sector.
                    let different = distinct(&mut starts[..count]);
                    (distinct(&mut sectors[..count]), (different * total as u64).div_ceil(32))
                };
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
            }
            SpotKind::Shared(_) => {
                let parts = if total >= 16 { 4 } else { total.div_ceil(4).max(1) };
                let (least, passes) = if run.shape != Shape::Scattered {
                    (parts as u64, parts as u64)
                } else {
                    bank_passes(run, total, parts)
                };
                let c = &mut self.counters;
                c.shared_passes += passes;
                c.shared_bank_conflicts += passes - least;
                if store {
                    c.shared_store_bytes += bytes;
                } else {
                    c.shared_load_bytes += bytes;
                }
            }
            SpotKind::Local | SpotKind::Param => {}
        }
    }
}

/// Passes that a shared access takes: `(least, actual)`. Accesses of 8 and 16 bytes are served in 2 and 4 parts of 16
/// and 8 lanes; within a part every bank serves one word a pass.
fn bank_passes(run: &Run, total: usize, parts: usize) -> (u64, u64) {
    let lanes_a_part = LANES / parts;
    let words_a_lane = total.div_ceil(4);
    let (mut least, mut actual) = (0, 0);
    for part in 0..parts {
        let mut words = [0u64; 64];
        let mut count = 0;
        for lane in part * lanes_a_part..(part + 1) * lanes_a_part {
            if run.mask >> lane & 1 != 0 {
                for word in 0..words_a_lane {
                    if count < words.len() {
                        words[count] = (run.offsets[lane] / 4 + word) as u64;
                        count += 1;
                    }
                }
            }
        }
        if count == 0 {
            continue;
        }
        let words = &mut words[..count];
        words.sort_unstable();
        let mut banks = [0u64; 32];
        for index in 0..words.len() {
            if index == 0 || words[index] != words[index - 1] {
                banks[(words[index] % 32) as usize] += 1;
            }
        }
        least += 1;
        actual += banks.iter().copied().max().unwrap_or(1);
    }
    (least, actual)
}
