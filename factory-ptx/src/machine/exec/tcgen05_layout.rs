//! Where data lies in tensor memory: what `tcgen05.ld` and `.st` move, and where a matrix multiply puts its rows.
//!
//! Tensor memory has 128 lanes of 512 columns of 32 bits. An address is the lane in its upper half and the column in
//! its lower one (PTX ISA 9.0, section 9.7.16.1). Warp `w` of a block reaches lanes `32 * (w % 4)` to `+ 31` alone.

use crate::machine::inst::tcgen05::{CopyShape, TransferShape};

/// Lane and column relative to the address of a transfer, for register `index` of `thread`; columns count 32-bit
/// values, of which packed transfers have two physical columns each (section 9.7.16.2.3.1).
pub(super) fn transfer_cell(shape: TransferShape, thread: usize, index: usize) -> (usize, usize) {
    match shape {
        TransferShape::Lanes32Bits32 => (thread, index),
        TransferShape::Lanes16Bits64 => {
            // Four threads hold two columns of a row and of the row eight below.
            (thread / 4 + 8 * (thread & 1), 2 * index + (thread >> 1 & 1))
        }
        TransferShape::Lanes16Bits128 => (thread / 4 + 8 * (index & 1), 4 * (index / 2) + thread % 4),
        TransferShape::Lanes16Bits256 => {
            (thread / 4 + 8 * (index >> 1 & 1), 8 * (index / 4) + 2 * (thread % 4) + (index & 1))
        }
        TransferShape::Lanes16Bits32Twice(_) => (thread % 16, index),
    }
}

/// Physical columns between the two halves of a warp's threads.
pub(super) fn half_distance(shape: TransferShape, thread: usize) -> usize {
    match shape {
        TransferShape::Lanes16Bits32Twice(apart) if thread >= 16 => apart as usize,
        _ => 0,
    }
}

/// Lanes that a transfer touches.
pub(super) fn transfer_lanes(shape: TransferShape) -> usize {
    if shape == TransferShape::Lanes32Bits32 { 32 } else { 16 }
}

/// The organisation of a multiply's rows and columns over the lanes of one block (section 9.7.16.10.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataPath {
    /// Row is lane: layouts A (M = 256, a pair) and D (M = 128).
    Straight,
    /// Layout B (M = 128, a pair) and E (M = 64, `.ws`): 64 rows, the upper half of the columns in lanes 64 to 127.
    TwoByTwo,
    /// Layout F (M = 64): 16 rows in each warp's quarter.
    Spread,
    /// Layout G (M = 32, `.ws`): 32 rows, a quarter of the columns in each quarter of the lanes.
    OneByFour,
}

impl DataPath {
    /// The organisation for this M, of the block or of the pair.
    pub(super) fn of(m: u32, pair: bool, weights: bool) -> Option<DataPath> {
        Some(match (m, pair, weights) {
            (256, true, false) | (128, false, _) => DataPath::Straight,
            (128, true, false) | (64, false, true) => DataPath::TwoByTwo,
            (64, false, false) => DataPath::Spread,
            (32, false, true) => DataPath::OneByFour,
            _ => return None,
        })
    }

    /// Rows of the product that lie in one block.
    pub(super) fn rows(self) -> usize {
        match self {
            DataPath::Straight => 128,
            DataPath::TwoByTwo | DataPath::Spread => 64,
            DataPath::OneByFour => 32,
        }
    }

    /// Columns of tensor memory that `n` columns of the product take.
    pub(super) fn columns(self, n: usize) -> usize {
        match self {
            DataPath::Straight | DataPath::Spread => n,
            DataPath::TwoByTwo => n / 2,
            DataPath::OneByFour => n / 4,
        }
    }

    /// Lane of a row of this block and a column of the product, before the lane of the address is added; and the
    /// column.
    pub(super) fn cell(self, row: usize, column: usize, n: usize) -> (usize, usize) {
        match self {
            DataPath::Straight => (row, column),
            DataPath::Spread => (row / 16 * 32 + row % 16, column),
            DataPath::TwoByTwo => (row + 64 * (column / (n / 2)), column % (n / 2)),
            DataPath::OneByFour => (row + 32 * (column / (n / 4)), column % (n / 4)),
        }
    }

    /// Lanes of the address that are allowed.
    pub(super) fn lane_fits(self, lane: usize) -> bool {
        lane == 0 || (lane == 16 && self == DataPath::Spread)
    }
}

impl CopyShape {
    /// Rows of shared memory, and 32-bit columns of each.
    pub(super) fn extent(self) -> (usize, usize) {
        match self {
            CopyShape::Rows128Bits256 => (128, 8),
            CopyShape::Rows128Bits128 => (128, 4),
            CopyShape::Rows4Bits256 => (4, 8),
            CopyShape::Rows64Pairs02 | CopyShape::Rows64Pairs01 => (64, 4),
            CopyShape::Rows32ToAll => (32, 4),
        }
    }

    /// The lanes that get a row.
    pub(super) fn lanes(self, row: usize) -> impl Iterator<Item = usize> {
        let (first, step, count) = match self {
            CopyShape::Rows128Bits256 | CopyShape::Rows128Bits128 => (row, 0, 1),
            CopyShape::Rows4Bits256 => (32 * row, 0, 1),
            CopyShape::Rows64Pairs02 => (row, 64, 2),
            CopyShape::Rows64Pairs01 => (row / 32 * 64 + row % 32, 32, 2),
            CopyShape::Rows32ToAll => (row, 32, 4),
        };
        (0..count).map(move |index| first + step * index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every shape reaches each of its cells once.
    #[test]
    fn transfers_are_one_to_one() {
        for (shape, registers, lanes) in [
            (TransferShape::Lanes32Bits32, 3, 32),
            (TransferShape::Lanes16Bits64, 3, 16),
            (TransferShape::Lanes16Bits128, 6, 16),
            (TransferShape::Lanes16Bits256, 12, 16),
            (TransferShape::Lanes16Bits32Twice(7), 3, 16),
        ] {
            assert_eq!(transfer_lanes(shape), lanes);
            let mut cells: Vec<(usize, usize)> = (0..32)
                .flat_map(|thread| (0..registers).map(move |index| (thread, index)))
                .map(|(thread, index)| {
                    let (lane, column) = transfer_cell(shape, thread, index);
                    (lane, column + half_distance(shape, thread))
                })
                .collect();
            cells.sort_unstable();
            cells.dedup();
            assert_eq!(cells.len(), 32 * registers, "{shape:?}");
            assert!(cells.iter().all(|(lane, _)| *lane < lanes), "{shape:?}");
        }
    }

    #[test]
    fn data_paths_are_one_to_one() {
        let paths = [DataPath::Straight, DataPath::TwoByTwo, DataPath::Spread, DataPath::OneByFour];
        for path in paths {
            let n = 64;
            let mut cells: Vec<_> = (0..path.rows())
                .flat_map(|row| (0..n).map(move |column| path.cell(row, column, n)))
                .collect();
            assert!(cells.iter().all(|(lane, column)| *lane < 128 && *column < path.columns(n)));
            cells.sort_unstable();
            cells.dedup();
            assert_eq!(cells.len(), path.rows() * n, "{path:?}");
        }
        assert_eq!(DataPath::Spread.cell(17, 3, 8), (33, 3));
        assert_eq!(DataPath::TwoByTwo.cell(1, 5, 8), (65, 1));
    }
}
