//! What the tensor core does on its own: issuing `tcgen05.mma`, `.cp` and `.shift`, and `tcgen05.commit`.
//!
//! Each is an operation of the thread that issued it, in a queue that runs in order. When a commit's turn in the queue
//! comes, everything before it is complete, and its arrival carries the time at which that was so, under the number of
//! the issuing block's tensor core ([`agent`]).

use super::collective::lanes_of;
use super::pending::{Action, Completion, Pending, Place, Span};
use super::spot::{RANK_SHIFT, addresses};
use super::state::{Cluster, Warp};
use super::tcgen05::{Touch, Toucher};
use super::tcgen05_descriptor::{MatrixDescriptor, UNIT};
use super::tcgen05_memory::{LANES as TENSOR_LANES, Mark, split};
use super::{Trouble, Worker, plain_trouble, trouble};
use crate::machine::decode::SHARED_START;
use crate::machine::error::FaultKind;
use crate::machine::inst::tcgen05::{CopyFormat, CopyShape};
use crate::machine::inst::{Address, Inst, Space};
use crate::machine::lanes::{Lane, NONE};

/// An operation of a tensor core, from its issue to the end of the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct TensorOperation {
    pub(super) name: &'static str,
    pub(super) block: usize,
    pub(super) warp: u32,
    pub(super) lane: u32,
    pub(super) pc: u32,
    /// When it was issued.
    pub(super) issued: u32,
    /// When a commit behind it was complete.
    pub(super) complete: Option<u32>,
}

impl Cluster {
    /// The agent of a block's tensor core: they come behind all warps.
    pub(super) fn tensor_agent(&self, block: usize) -> usize {
        usize::from(self.warps) * self.blocks.len() + block
    }
}

/// Cells of tensor memory that an operation touches.
pub(super) struct Cells {
    pub(super) block: usize,
    /// A lane of each group of 16.
    pub(super) groups: Vec<usize>,
    pub(super) first: usize,
    pub(super) columns: usize,
    pub(super) touch: Touch,
}

impl Worker<'_> {
    /// The blocks that an operation works on, the one of even rank first.
    pub(super) fn tensor_blocks(&self, warp: &Warp, pair: bool, lane: u32) -> Result<Vec<usize>, Trouble> {
        if !pair {
            return Ok(vec![warp.block]);
        }
        let peer = self.tensor_peer(warp, lane)?;
        if self.cluster.blocks[peer].warps.iter().all(|warp| warp.fragments.is_empty()) {
            let detail = "the peer block has exited";
            return Err(plain_trouble(FaultKind::TensorMemory, lane, detail));
        }
        Ok(vec![warp.block & !1, warp.block | 1])
    }

    /// Checks the cells that an operation touches, gives it a number and leaves its marks.
    pub(super) fn tensor_operation(
        &mut self,
        warp: &Warp,
        lane: u32,
        name: &'static str,
        cells: &[Cells],
    ) -> Result<u32, Trouble> {
        for part in cells {
            for column in part.first..part.first + part.columns {
                for group in &part.groups {
                    self.tensor_order(warp, part.block, *group, column, part.touch, Toucher::Tensor(lane))
                        .map_err(|(kind, detail)| plain_trouble(kind, lane, detail))?;
                }
            }
        }
        let number = self.cluster.tensor_operations.len() as u32;
        for part in cells {
            let memory = &mut self.cluster.blocks[part.block].tensor;
            for column in part.first..part.first + part.columns {
                for group in &part.groups {
                    match part.touch {
                        Touch::Read => memory.mark_read(*group, column, Mark::Tensor(number)),
                        Touch::Write => memory.mark_write(*group, column, Mark::Tensor(number)),
                    }
                }
            }
        }
        self.cluster.tensor_operations.push(TensorOperation {
            name,
            block: warp.block,
            warp: warp.index,
            lane,
            pc: self.pc,
            issued: self.cluster.time,
            complete: None,
        });
        Ok(number)
    }

    /// The spans of shared memory of a block that units at these addresses take.
    pub(super) fn tensor_spans(
        &self,
        warp: &Warp,
        block: usize,
        mut units: Vec<usize>,
        lane: u32,
    ) -> Result<Vec<Span>, Trouble> {
        units.sort_unstable();
        units.dedup();
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for unit in units {
            match runs.last_mut() {
                Some((start, len)) if *start + *len == unit => *len += UNIT,
                _ => runs.push((unit, UNIT)),
            }
        }
        let window = (u64::from(self.cluster.blocks[block].rank) + 1) << RANK_SHIFT;
        runs.into_iter()
            .map(|(start, len)| self.span(warp, Space::SharedCluster, window + start as u64, len, lane))
            .collect()
    }

    /// Puts an operation of the tensor core into its thread's queue.
    pub(super) fn tensor_issue(
        &mut self,
        warp: &mut Warp,
        lane: u32,
        reads: Vec<Span>,
        action: Box<dyn Action>,
    ) -> Result<(), Trouble> {
        self.issue(
            warp,
            Pending {
                lane,
                action,
                reads,
                writes: Vec::new(),
                reduces: false,
                async_proxy: true,
                queue: Some(u64::from(lane)),
                completion: Completion::Nobody,
            },
        )
    }

    pub(super) fn tensor_copy(
        &mut self,
        warp: &mut Warp,
        base: usize,
        inst: &Inst,
        (pair, shape, format): (bool, CopyShape, CopyFormat),
        target: &Address,
        active: u32,
    ) -> Result<(), Trouble> {
        let words = &warp.words[base..];
        let targets = addresses(words, target, active);
        let descriptors = u64::load(words, inst.slots.a);
        for lane in lanes_of(active) {
            let place = lane as u32;
            let descriptor = MatrixDescriptor::read(descriptors[lane])
                .map_err(|detail| plain_trouble(FaultKind::UndefinedOperand, place, detail))?;
            let (down, first) = split(targets[lane] as u32);
            let (rows, columns) = shape.extent();
            let reach = (0..rows).flat_map(|row| shape.lanes(row)).max().unwrap_or(0) + down;
            if reach >= TENSOR_LANES {
                let detail = format!("the copy would reach lane {reach} of tensor memory");
                return Err(trouble(FaultKind::TensorMemory, place, targets[lane], detail));
            }
            let blocks = self.tensor_blocks(warp, pair, place)?;
            let mut groups: Vec<usize> =
                (0..rows).flat_map(|row| shape.lanes(row)).map(|lane| (lane + down) / 16 * 16).collect();
            groups.sort_unstable();
            groups.dedup();
            let mut cells = Vec::new();
            let mut reads = Vec::new();
            for block in &blocks {
                let groups = groups.clone();
                cells.push(Cells { block: *block, groups, first, columns, touch: Touch::Write });
                let units = (0..rows)
                    .flat_map(|row| (0..columns / 4).map(move |unit| (row, unit)))
                    .map(|(row, unit)| descriptor.k_major(row, unit))
                    .collect();
                reads.extend(self.tensor_spans(warp, *block, units, place)?);
            }
            self.tensor_operation(warp, place, "tcgen05.cp", &cells)?;
            let action = Copy { blocks, shape, format, descriptor, down, first };
            self.tensor_issue(warp, place, reads, Box::new(action))?;
        }
        Ok(())
    }

    pub(super) fn tensor_shift(
        &mut self,
        warp: &mut Warp,
        base: usize,
        pair: bool,
        target: &Address,
        active: u32,
    ) -> Result<(), Trouble> {
        let targets = addresses(&warp.words[base..], target, active);
        for lane in lanes_of(active) {
            let place = lane as u32;
            let (down, first) = split(targets[lane] as u32);
            if !down.is_multiple_of(32) || down >= TENSOR_LANES {
                let detail = format!("lane {down}: a shift begins at a multiple of 32");
                return Err(trouble(FaultKind::TensorMemory, place, targets[lane], detail));
            }
            let blocks = self.tensor_blocks(warp, pair, place)?;
            let cells: Vec<Cells> = blocks
                .iter()
                .map(|block| Cells {
                    block: *block,
                    groups: vec![down, down + 16],
                    first,
                    columns: 8,
                    touch: Touch::Write,
                })
                .collect();
            self.tensor_operation(warp, place, "tcgen05.shift", &cells)?;
            self.tensor_issue(warp, place, Vec::new(), Box::new(Shift { blocks, down, first }))?;
        }
        Ok(())
    }

    pub(super) fn tensor_commit(
        &mut self,
        warp: &mut Warp,
        base: usize,
        pair: bool,
        (space, address): (Space, &Address),
        mask: u32,
        active: u32,
    ) -> Result<(), Trouble> {
        let words = &warp.words[base..];
        let places = addresses(words, address, active);
        let masks = (mask != NONE).then(|| u32::load(words, mask));
        for lane in lanes_of(active) {
            let place = lane as u32;
            let span = self.span(warp, space, places[lane], 8, place)?;
            let Place::Shared(block) = span.place else {
                let detail = "mbarrier objects lie in shared memory";
                return Err(trouble(FaultKind::MbarrierMisuse, place, places[lane], detail));
            };
            if !span.start.is_multiple_of(8) {
                let detail = "an mbarrier object needs an address that is a multiple of 8";
                return Err(trouble(FaultKind::Misaligned, place, places[lane], detail));
            }
            let mut barriers = Vec::new();
            match &masks {
                None => barriers.push((block, span.start)),
                Some(masks) => {
                    let ranks = masks[lane] & 0xffff;
                    for rank in (0..16usize).filter(|rank| ranks >> rank & 1 != 0) {
                        if rank >= self.cluster.blocks.len() {
                            let detail = format!("rank {rank} in a cluster of {}", self.cluster.blocks.len());
                            return Err(plain_trouble(FaultKind::UndefinedOperand, place, detail));
                        }
                        barriers.push((rank, span.start));
                    }
                }
            }
            if pair {
                self.tensor_peer(warp, place)?;
            }
            let action = Commit { lane: place, before: self.cluster.tensor_operations.len(), barriers };
            self.tensor_issue(warp, place, Vec::new(), Box::new(action))?;
        }
        Ok(())
    }

    /// 16 bytes of a block's shared memory, by their address. The issue has found them to exist.
    pub(super) fn tensor_unit(&self, block: usize, address: usize) -> [u8; UNIT] {
        let mut bytes = [0; UNIT];
        let start = address.wrapping_sub(SHARED_START as usize);
        if start.saturating_add(UNIT) <= self.cluster.blocks[block].shared_shadow.len() {
            self.span_read(&Span { place: Place::Shared(block), start, len: UNIT }, &mut bytes);
        }
        bytes
    }
}

/// `tcgen05.cp`
struct Copy {
    blocks: Vec<usize>,
    shape: CopyShape,
    format: CopyFormat,
    descriptor: MatrixDescriptor,
    down: usize,
    first: usize,
}

impl Action for Copy {
    fn run(&mut self, worker: &mut Worker<'_>, _warp: &mut Warp) -> Result<(), Trouble> {
        let (rows, columns) = self.shape.extent();
        for block in &self.blocks {
            for row in 0..rows {
                for unit in 0..columns / 4 {
                    let bytes = worker.tensor_unit(*block, self.descriptor.k_major(row, unit));
                    let bytes = decompress(self.format, &bytes);
                    let memory = &mut worker.cluster.blocks[*block].tensor;
                    for (word, value) in bytes.as_chunks::<4>().0.iter().enumerate() {
                        for lane in self.shape.lanes(row) {
                            memory.set(
                                lane + self.down,
                                self.first + 4 * unit + word,
                                u32::from_le_bytes(*value),
                            );
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// 16 values of 6 or 4 bits and their padding, as 16 bytes (PTX ISA 9.0, section 9.7.16.9.1): 6 bits lie in the lower
/// bits of a byte, 4 bits in its middle.
fn decompress(format: CopyFormat, bytes: &[u8; UNIT]) -> [u8; UNIT] {
    let packed = u128::from_le_bytes(*bytes);
    match format {
        CopyFormat::Plain => *bytes,
        CopyFormat::Six => std::array::from_fn(|index| (packed >> (6 * index)) as u8 & 0x3f),
        CopyFormat::Four => std::array::from_fn(|index| ((packed >> (4 * index)) as u8 & 0xf) << 2),
    }
}

/// `tcgen05.shift.down`: every lane of a quarter takes the value of the lane before it; the first one keeps its own.
struct Shift {
    blocks: Vec<usize>,
    down: usize,
    first: usize,
}

impl Action for Shift {
    fn run(&mut self, worker: &mut Worker<'_>, warp: &mut Warp) -> Result<(), Trouble> {
        let check = worker.context.options.checks.uninitialised;
        for block in &self.blocks {
            let memory = &mut worker.cluster.blocks[*block].tensor;
            for column in self.first..self.first + 8 {
                for lane in (self.down + 1..self.down + 32).rev() {
                    if check && !memory.is_written(lane - 1, column) {
                        let detail =
                            format!("nobody wrote lane {}, column {column} of tensor memory", lane - 1);
                        let first = warp.exists.trailing_zeros();
                        return Err(plain_trouble(FaultKind::Uninitialised, first, detail));
                    }
                    let value = memory.cell(lane - 1, column);
                    memory.set(lane, column, value);
                }
            }
        }
        Ok(())
    }
}

/// `tcgen05.commit`
struct Commit {
    lane: u32,
    /// Operations issued in the cluster when it was.
    before: usize,
    barriers: Vec<(usize, usize)>,
}

impl Action for Commit {
    fn run(&mut self, worker: &mut Worker<'_>, warp: &mut Warp) -> Result<(), Trouble> {
        let cluster = &mut worker.cluster;
        let time = cluster.time;
        cluster.time += 1;
        for operation in cluster.tensor_operations[..self.before].iter_mut().rev() {
            if (operation.block, operation.warp, operation.lane) == (warp.block, warp.index, self.lane) {
                if operation.complete.is_some() {
                    break;
                }
                operation.complete = Some(time);
            }
        }
        let mut seen = vec![0; cluster.tensor_agent(warp.block) + 1];
        if let Some(last) = seen.last_mut() {
            *last = time;
        }
        for (block, offset) in self.barriers.clone() {
            if let Some(object) = worker.cluster.blocks[block].mbarriers.get_mut(&offset) {
                super::clock::join_times(&mut object.joining.seen, &seen);
            }
            worker.tell_of_operations(warp, block, offset);
            worker.arrive_asynchronously(block, offset, 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_get_a_byte_each() {
        let mut bytes = [0; UNIT];
        let packed: u128 = (0..16u128).fold(0, |all, index| all | (index + 40) << (6 * index));
        bytes[..12].copy_from_slice(&packed.to_le_bytes()[..12]);
        bytes[12..].fill(0xff);
        assert_eq!(decompress(CopyFormat::Six, &bytes), std::array::from_fn(|index| index as u8 + 40));
        bytes[..8].copy_from_slice(&0xfedc_ba98_7654_3210u64.to_le_bytes());
        assert_eq!(decompress(CopyFormat::Four, &bytes), std::array::from_fn(|index| (index as u8) << 2));
    }
}
