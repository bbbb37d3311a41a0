//! Which rows and columns a thread works on.

use factory_ptx::builder::{B32, B64, Pred, Reg, Src};
use factory_spec::{ArgId, SizeExpr};

use super::Lowering;
use crate::generator::config::Keep;
use crate::generator::split::{Across, Along};

/// One row of one thread.
#[derive(Clone, Default)]
pub(in crate::generator) struct Position {
    number32: Option<Reg<B32>>,
    number64: Option<Reg<B64>>,
    /// Index along each row size.
    pub(super) indices: Vec<Reg<B64>>,
    /// Whether the row exists; rows beyond the last are worked on but not stored.
    pub(super) active: Option<Reg<Pred>>,
}

impl Lowering<'_> {
    /// The thread's place in its block, cluster and row; the chunks' limits where all rows share them.
    pub(super) fn thread_place(&mut self) {
        let config = self.config();
        let reduces = self.source.split.reduces;
        let mut owner = self.thread;
        if config.cluster > 1 {
            let rank = self.e.special("%cluster_ctarank");
            self.rank = Some(rank);
            owner = self.e.mad_lo_s32(rank, (config.threads * config.chunks) as i32, owner);
            self.e.cluster_arrive();
            self.awaits_cluster = true;
        }
        self.column =
            if config.vector > 1 { self.e.shl_b32(owner, config.vector.trailing_zeros()) } else { owner };
        let columns = self.source.split.column_count(self.source.spec);
        if !reduces {
            let tile = self.e.special("%ctaid.x");
            let leader = self.e.or_b32(tile, self.thread);
            self.leader = Some(self.e.setp_s32("eq", leader, 0));
            let tile = self.e.mul_wide_u32(tile, config.capacity() as u32);
            self.tile = Some(tile);
            self.limit_chunks(Some(tile), &columns);
        } else {
            let leader = match self.rank {
                Some(rank) => self.e.or_b32(rank, self.thread),
                None => self.thread,
            };
            if config.threads > 1 || config.cluster > 1 {
                self.leader = Some(self.e.setp_s32("eq", leader, 0));
            }
            if config.keep != Keep::Reread && !config.exact {
                self.limit_chunks(None, &columns);
            }
        }
    }

    /// Sets which chunks lie inside the row, for a tile that starts at `tile`.
    pub(super) fn limit_chunks(&mut self, tile: Option<Reg<B64>>, columns: &SizeExpr) {
        if self.config().exact {
            return;
        }
        let limit: Src<B32> = match tile {
            None => self.size32(columns),
            Some(tile) => {
                // What is left fits 31 bits or is more than any tile.
                let all = self.size64(columns);
                let negative = self.e.neg_s64(tile);
                let left = self.e.add_s64(negative, all);
                let left = self.e.min_s64(left, 1i64 << 30);
                self.e.u32_from_u64(left).into()
            }
        };
        let step = self.config().threads * self.config().vector;
        for chunk in 0..self.config().chunks {
            let column =
                if chunk == 0 { self.column } else { self.e.add_s32(self.column, (chunk * step) as i32) };
            self.inside[chunk as usize] = Some(self.e.setp_s32("lt", column, limit));
        }
    }

    /// All rows of a kernel with reductions.
    pub(super) fn rows_by_block(&mut self) {
        let config = self.config();
        let mut group = self.e.special("%ctaid.x");
        let mut groups = self.e.special("%nctaid.x");
        if config.cluster > 1 {
            group = self.e.shr_u32(group, config.cluster.trailing_zeros());
            groups = self.e.shr_u32(groups, config.cluster.trailing_zeros());
        }
        self.walk_rows(group, groups, self.looping());
    }

    /// All rows of a kernel without reductions.
    pub(super) fn rows_by_tile(&mut self) {
        let group = self.e.special("%ctaid.y");
        let groups = self.e.special("%nctaid.y");
        let several = !self.source.split.rows.is_empty();
        self.walk_rows(group, groups, several);
    }

    fn walk_rows(&mut self, group: Reg<B32>, groups: Reg<B32>, looping: bool) {
        let rows = self.config().rows;
        let first = self.e.mul_wide_u32(group, rows);
        if !looping {
            self.issue_first_stages(first, None);
            self.position = self.position_at(first);
            self.row();
            return;
        }
        let count = self.source.split.row_count(self.source.spec);
        let step = self.e.mul_wide_u32(groups, rows);
        let base = self.e.copy::<B64>(first);
        self.issue_first_stages(first, Some(step));
        if self.awaits_cluster {
            self.e.cluster_wait();
            self.awaits_cluster = false;
        }
        self.prepare_toggle();
        let head = self.e.label();
        let end = self.e.label();
        self.e.place(head);
        let limit = self.size64(&count);
        let beyond = self.e.setp_s64("ge", base, limit);
        self.e.branch_if(beyond, true, end);
        self.issue_next_stage(base, step);
        self.position = self.position_at(base);
        self.row();
        let next = self.e.add_s64(base, step);
        self.e.assign(base, next);
        self.advance_stage();
        self.e.branch(head);
        self.e.place(end);
    }

    /// The row of this thread in the group of rows that starts at `base`.
    pub(super) fn position_at(&mut self, base: Reg<B64>) -> Position {
        let config = self.config();
        let count = self.source.split.row_count(self.source.spec);
        let mut row = base;
        let mut active = None;
        if config.rows > 1 {
            let offset = self.e.u64_from_u32(self.row_in_block);
            row = self.e.add_s64(base, offset);
            let limit = self.size64(&count);
            active = Some(self.e.setp_s64("lt", row, limit));
            let last = self.e.copy::<B64>(limit);
            let last = self.e.add_s64(last, -1i64);
            row = self.e.min_s64(row, last);
        }
        let mut position = Position { number32: None, number64: Some(row), indices: Vec::new(), active };
        if !config.wide {
            position.number32 = Some(self.e.u32_from_u64(row));
        }
        if self.needs_indices() {
            position.indices = self.row_indices(&position);
        }
        position
    }

    /// Splits a row number into one index a row size.
    fn row_indices(&mut self, position: &Position) -> Vec<Reg<B64>> {
        let sizes: Vec<SizeExpr> = self
            .source
            .split
            .rows
            .iter()
            .map(|&size| crate::generator::split::product(self.source.spec, &[size]))
            .collect();
        let mut indices = Vec::new();
        if let Some(mut rest) = position.number32 {
            for size in sizes.iter().skip(1).rev() {
                let size = self.size32(size);
                let index = self.e.rem_u32(rest, size);
                rest = self.e.div_u32(rest, size);
                indices.push(self.e.u64_from_u32(index));
            }
            indices.push(self.e.u64_from_u32(rest));
        } else {
            let mut rest = position.number64.expect("a row has a number");
            for size in sizes.iter().skip(1).rev() {
                let size = self.size64(size);
                indices.push(self.e.rem_u64(rest, size));
                rest = self.e.div_u64(rest, size);
            }
            indices.push(rest);
        }
        indices.reverse();
        indices
    }

    /// Address of the element of a tensor at a row and column 0.
    pub(super) fn row_address(&mut self, arg: ArgId, position: &Position) -> Reg<B64> {
        let pointer = self.pointers[&arg];
        let bytes = self.dtype(arg).size() as i64;
        let across = self.source.split.tensor(arg).across.clone();
        let offset = match across {
            Across::Same => return pointer,
            Across::Dense(stride) => match (position.number32, self.constant_size(&stride)) {
                (Some(row), Some(stride)) if stride * bytes < i64::from(i32::MAX) => {
                    return self.e.mad_wide_u32(row, (stride * bytes) as u32, pointer);
                }
                (Some(row), None)
                    if self.source.split.reduces
                        && stride == self.source.split.column_count(self.source.spec) =>
                {
                    // Variants that are not wide are for rows of less than 2^31 columns.
                    let stride = self.size32(&stride);
                    self.e.mul_wide_u32(row, stride)
                }
                _ => {
                    let row = position.number64.expect("a row has a number");
                    let stride = self.size64(&stride);
                    self.e.mul_lo_s64(row, stride)
                }
            },
            Across::Scattered(strides) => {
                let mut sum: Option<Reg<B64>> = None;
                for (index, stride) in strides {
                    let index = position.indices[index];
                    let stride = self.size64(&stride);
                    sum = Some(match sum {
                        None => self.e.mul_lo_s64(index, stride),
                        Some(sum) => self.e.mad_lo_s64(index, stride, sum),
                    });
                }
                sum.expect("a scattered tensor has a row size")
            }
        };
        let offset = if bytes > 1 { self.e.shl_b64(offset, bytes.trailing_zeros()) } else { offset };
        self.e.add_s64(pointer, offset)
    }

    /// Moves a row's address to this thread's first column of the tile.
    pub(super) fn thread_address(&mut self, arg: ArgId, row: Reg<B64>, tile: Option<Reg<B64>>) -> Reg<B64> {
        let bytes = self.dtype(arg).size() as u32;
        let address = self.e.mad_wide_u32(self.column, bytes, row);
        match tile {
            None => address,
            Some(tile) => self.e.mad_lo_s64(tile, i64::from(bytes), address),
        }
    }

    /// Address of this thread's first element of a dense tensor, computed once a row and tile.
    pub(super) fn dense_address(&mut self, arg: ArgId) -> Reg<B64> {
        if let Some(&address) = self.addresses.get(&arg) {
            return address;
        }
        let position = self.position.clone();
        let row = self.row_address(arg, &position);
        let address = self.thread_address(arg, row, self.tile);
        self.addresses.insert(arg, address);
        address
    }

    /// Address of one element of a tensor that is scattered along the columns.
    pub(super) fn scattered_address(&mut self, arg: ArgId, chunk: u32, element: u32) -> Reg<B64> {
        let Along::Scattered(strides) = self.source.split.tensor(arg).along.clone() else {
            unreachable!("only scattered tensors are addressed element by element")
        };
        let position = self.position.clone();
        let row = self.row_address(arg, &position);
        let bytes = self.dtype(arg).size() as i64;
        let mut address = row;
        for (index, stride) in strides {
            let column = self.column_index(index, chunk, element);
            let stride = self.size64(&stride);
            let offset = self.e.mul_lo_s64(column, stride);
            address = self.e.mad_lo_s64(offset, bytes, address);
        }
        address
    }

    /// The column of an element, in 64 bits.
    pub(super) fn column64(&mut self, chunk: u32, element: u32) -> Reg<B64> {
        let offset = (chunk * self.config().threads * self.config().vector + element) as i32;
        let local = if offset == 0 { self.column } else { self.e.add_s32(self.column, offset) };
        let local = self.e.u64_from_u32(local);
        match self.tile {
            None => local,
            Some(tile) => self.e.add_s64(tile, local),
        }
    }

    /// The index along one column size, in 64 bits.
    pub(super) fn column_index(&mut self, index: usize, chunk: u32, element: u32) -> Reg<B64> {
        let column = self.column64(chunk, element);
        let columns = &self.source.split.columns;
        if columns.len() == 1 {
            return column;
        }
        let inner: Vec<SizeExpr> = columns[index..]
            .iter()
            .map(|&size| crate::generator::split::product(self.source.spec, &[size]))
            .collect();
        let narrow = !self.config().wide && self.source.split.reduces;
        if narrow {
            let mut rest = self.e.u32_from_u64(column);
            for size in inner.iter().skip(1).rev() {
                let size = self.size32(size);
                rest = self.e.div_u32(rest, size);
            }
            if index > 0 {
                let size = self.size32(&inner[0]);
                rest = self.e.rem_u32(rest, size);
            }
            return self.e.u64_from_u32(rest);
        }
        let mut rest = column;
        for size in inner.iter().skip(1).rev() {
            let size = self.size64(size);
            rest = self.e.div_u64(rest, size);
        }
        if index > 0 {
            let size = self.size64(&inner[0]);
            rest = self.e.rem_u64(rest, size);
        }
        rest
    }
}
