//! Tensor memory of one block: its cells, who holds its columns, and what has touched it.
//!
//! Cells remember their last write and their last read as [`Mark`]s, 16 lanes of one column together: accesses always
//! take 16 lanes, but for single rows that `tcgen05.cp.4x256b` writes and lanes that a multiply leaves out.

/// Lanes of tensor memory.
pub(super) const LANES: usize = 128;
/// Columns of tensor memory.
pub(super) const COLUMNS: usize = 512;
/// Lanes that share a mark.
const GROUP: usize = 16;
const GROUPS: usize = LANES / GROUP;
/// Columns that are allocated together.
const UNIT: usize = 32;

/// An access, for those that come behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mark {
    #[default]
    None,
    /// `tcgen05.ld` or `.st` of a warp of the block: its number in the order of the warp's own.
    Warp { warp: u8, number: u32 },
    /// `tcgen05.mma`, `.cp`, `.shift`: its number among the cluster's.
    Tensor(u32),
}

/// Columns that a warp allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allocation {
    pub(super) first: usize,
    pub(super) columns: usize,
    pub(super) pair: bool,
    pub(super) warp: u32,
    pub(super) pc: u32,
}

/// What a warp of a pair waits for its peer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Allocate(usize),
    Deallocate { first: usize, columns: usize },
}

#[derive(Default)]
pub(super) struct TensorMemory {
    /// Column after column, 128 lanes each; empty until something is allocated.
    cells: Vec<u32>,
    /// Lanes that were written, for each column.
    written: Vec<u128>,
    reads: Vec<Mark>,
    writes: Vec<Mark>,
    pub(super) allocations: Vec<Allocation>,
    /// Columns of the last allocation; later ones must not be larger.
    pub(super) last: Option<usize>,
    pub(super) relinquished: bool,
    /// A collective operation of a pair that the peer has not joined yet, and by which warp.
    pub(super) request: Option<(Request, u32)>,
    /// What the peer has brought to its end: first column.
    pub(super) granted: Option<usize>,
}

impl TensorMemory {
    /// Takes everything back, for the next block. Cells are cleared when they are given out.
    pub(super) fn reset(&mut self) {
        let kept = std::mem::take(self);
        (self.cells, self.written, self.reads, self.writes) =
            (kept.cells, kept.written, kept.reads, kept.writes);
    }

    /// Whether the column belongs to somebody.
    pub(super) fn allocated(&self, column: usize) -> bool {
        self.allocations.iter().any(|held| column >= held.first && column < held.first + held.columns)
    }

    /// The first run of so many columns that is free here and in the memory of a peer.
    pub(super) fn find(&self, columns: usize, peer: Option<&TensorMemory>) -> Option<usize> {
        (0..COLUMNS).step_by(UNIT).take_while(|first| first + columns <= COLUMNS).find(|first| {
            (*first..first + columns)
                .step_by(UNIT)
                .all(|column| !self.allocated(column) && peer.is_none_or(|peer| !peer.allocated(column)))
        })
    }

    pub(super) fn allocate(&mut self, allocation: Allocation) {
        if self.cells.is_empty() {
            self.cells = vec![0; LANES * COLUMNS];
            self.written = vec![0; COLUMNS];
            self.reads = vec![Mark::None; GROUPS * COLUMNS];
            self.writes = vec![Mark::None; GROUPS * COLUMNS];
        }
        let columns = allocation.first..allocation.first + allocation.columns;
        self.written[columns.clone()].fill(0);
        for marks in [&mut self.reads, &mut self.writes] {
            marks[columns.start * GROUPS..columns.end * GROUPS].fill(Mark::None);
        }
        self.last = Some(allocation.columns);
        self.allocations.push(allocation);
    }

    /// Frees an allocation; the marks of what has touched it stay until its columns are given out again.
    pub(super) fn free(&mut self, first: usize, columns: usize) -> Option<Allocation> {
        let index =
            self.allocations.iter().position(|held| (held.first, held.columns) == (first, columns))?;
        Some(self.allocations.swap_remove(index))
    }

    /// The value of a cell of an allocated column.
    pub(super) fn cell(&self, lane: usize, column: usize) -> u32 {
        self.cells[column * LANES + lane]
    }

    pub(super) fn set(&mut self, lane: usize, column: usize, value: u32) {
        self.cells[column * LANES + lane] = value;
        self.written[column] |= 1 << lane;
    }

    /// Whether somebody wrote a cell of an allocated column.
    pub(super) fn is_written(&self, lane: usize, column: usize) -> bool {
        self.written[column] >> lane & 1 != 0
    }

    /// The last write and the last read of the group that a cell of an allocated column belongs to.
    pub(super) fn marks(&self, lane: usize, column: usize) -> (Mark, Mark) {
        let at = column * GROUPS + lane / GROUP;
        (self.writes[at], self.reads[at])
    }

    pub(super) fn mark_read(&mut self, lane: usize, column: usize, mark: Mark) {
        self.reads[column * GROUPS + lane / GROUP] = mark;
    }

    pub(super) fn mark_write(&mut self, lane: usize, column: usize, mark: Mark) {
        self.writes[column * GROUPS + lane / GROUP] = mark;
    }

    /// The numbers of the cluster's operations that touched these columns last.
    pub(super) fn tensor_marks(&self, first: usize, columns: usize) -> impl Iterator<Item = u32> + '_ {
        let range = first * GROUPS..(first + columns) * GROUPS;
        self.writes[range.clone()].iter().chain(&self.reads[range]).filter_map(|mark| match mark {
            Mark::Tensor(number) => Some(*number),
            _ => None,
        })
    }
}

/// Lane and column of an address.
pub(super) fn split(address: u32) -> (usize, usize) {
    ((address >> 16) as usize, (address & 0xffff) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_given_out_once() {
        let mut memory = TensorMemory::default();
        let one = |first, columns| Allocation { first, columns, pair: false, warp: 0, pc: 0 };
        assert_eq!(memory.find(512, None), Some(0));
        memory.allocate(one(0, 256));
        assert_eq!(memory.find(512, None), None);
        assert_eq!(memory.find(128, None), Some(256));
        memory.allocate(one(256, 128));
        let peer = TensorMemory::default();
        assert_eq!(memory.find(128, Some(&peer)), Some(384));
        assert!(memory.free(0, 128).is_none());
        assert!(memory.free(0, 256).is_some());
        assert!(!memory.allocated(5) && memory.allocated(256));
        memory.set(3, 260, 7);
        assert!(memory.is_written(3, 260) && !memory.is_written(4, 260));
        memory.free(256, 128);
        memory.allocate(one(256, 128));
        assert!(!memory.is_written(3, 260));
    }
}
