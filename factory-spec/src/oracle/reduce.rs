//! Reductions: one value from all along some sizes.
//!
//! Two ways, chosen by how the operands lie in memory, never by the number of threads:
//! - along rows, where the innermost size in memory is reduced: each block is folded in eight lanes, blocks are added up
//!   within segments of 2^16 elements, and segments at the end;
//! - across rows, where it is kept (a matrix product, a sum over columns): a block of results is kept in the cache while
//!   the reduced sizes go by; after every 64 steps it is added to its total. Nothing of the size of the product exists.
//!
//! So a sum of K values has an error of at most about (128 + 64 + K / 2^16) 2^-53 of the sum of magnitudes along rows,
//! and (64 + K / 64) 2^-53 across them; far less in practice.

use std::collections::BTreeMap;

use super::kernels::{self, Operand};
use super::memory::{Budget, count};
use super::noise::Noise;
use super::pass::{BLOCK, LONG_ROW, Pass, Stored, Worker, cone, strides};
use super::{OracleError, threads};
use crate::{Node, NodeId, ReduceOp, SizeId, SizeValues};

/// Elements that are added up before they meet those of another segment.
const SEGMENT: usize = 1 << 16;
/// Steps across rows before a block of partial results is added to its totals.
const STEPS: usize = 64;
/// Fewer results than this, and the steps across rows are cut into pieces for several threads.
const FEW: usize = 1 << 14;
const PIECE: usize = 4096;
/// Less work than this is not worth a second thread.
const SMALL: usize = 1 << 15;

/// A result with the sizes that it is laid out by, outermost first.
#[derive(Debug, Default)]
pub(super) struct Computed {
    pub(super) values: Vec<f64>,
    pub(super) layout: Vec<SizeId>,
}

/// A reduction of a program.
#[derive(Clone, Copy)]
pub(super) struct Reduction<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) node: NodeId,
    pub(super) op: ReduceOp,
    pub(super) input: NodeId,
    pub(super) over: &'a [SizeId],
    pub(super) sizes: &'a SizeValues,
    pub(super) threads: usize,
    pub(super) noise: Option<Noise>,
}

/// What a reduction gives for nothing to reduce.
fn of_nothing(op: ReduceOp) -> f64 {
    match op {
        ReduceOp::Sum | ReduceOp::Any | ReduceOp::ArgMin | ReduceOp::ArgMax => 0.0,
        ReduceOp::Prod | ReduceOp::All => 1.0,
        ReduceOp::Mean => f64::NAN,
        ReduceOp::Min => f64::INFINITY,
        ReduceOp::Max => f64::NEG_INFINITY,
    }
}

/// What a fold starts from: as [`of_nothing`], but for the mean, which is a sum until its end.
fn identity(op: ReduceOp) -> f64 {
    if op == ReduceOp::Mean { 0.0 } else { of_nothing(op) }
}

impl Reduction<'_> {
    /// Evaluates the reduction; `stored` holds the arguments, indices and reductions that it reads.
    pub(super) fn evaluate(
        &self,
        stored: &BTreeMap<NodeId, Stored<'_>>,
        budget: &mut Budget,
    ) -> Result<Computed, OracleError> {
        let free: Vec<SizeId> = self.nodes[self.node.index()]
            .dims
            .iter()
            .copied()
            .filter(|size| !self.over.contains(size))
            .collect();
        let extents = |sizes: &[SizeId]| sizes.iter().map(|size| self.sizes[*size]).collect::<Vec<_>>();
        let results = count(self.op.name(), extents(&free))?;
        let terms = count(self.op.name(), extents(self.over))?;
        count(self.op.name(), extents(&free).into_iter().chain(extents(self.over)))?;
        if results == 0 || terms == 0 {
            let mut values = budget.zeros(self.op.name(), results)?;
            values.fill(of_nothing(self.op));
            return Ok(Computed { values, layout: free });
        }

        let innermost = self.innermost_in_memory(stored);
        let gives_index = matches!(self.op, ReduceOp::ArgMin | ReduceOp::ArgMax);
        let across = innermost.filter(|size| {
            !gives_index && free.contains(size) && self.sizes[*size] as usize >= LONG_ROW && terms > 1
        });
        let mut computed = match across {
            Some(kept) => self.across_rows(free, kept, results, terms, stored, budget)?,
            None => self.along_rows(free, innermost, results, terms, stored, budget)?,
        };
        if self.op == ReduceOp::Mean {
            computed.values.iter_mut().for_each(|sum| *sum /= terms as f64);
        }
        if let Some(noise) = &self.noise
            && matches!(self.op, ReduceOp::Sum | ReduceOp::Mean | ReduceOp::Prod)
        {
            computed.values.iter_mut().for_each(|value| *value = noise.disturbed(*value, self.node));
        }
        Ok(computed)
    }

    /// The size along which most of what is read lies consecutively.
    fn innermost_in_memory(&self, stored: &BTreeMap<NodeId, Stored<'_>>) -> Option<SizeId> {
        let mut read: BTreeMap<SizeId, usize> = BTreeMap::new();
        for leaf in cone(self.nodes, self.input, stored).iter().filter_map(|node| stored.get(node)) {
            for (size, stride) in strides(leaf.layout, self.sizes) {
                if stride == 1 && self.sizes[size] > 1 {
                    *read.entry(size).or_default() += leaf.values.len();
                }
            }
        }
        // Of equals the reduced one, then the first.
        read.into_iter()
            .max_by_key(|(size, elements)| (*elements, self.over.contains(size), std::cmp::Reverse(*size)))
            .map(|(size, _)| size)
    }

    fn threads_for(&self, work: usize) -> usize {
        if work < SMALL { 1 } else { self.threads }
    }

    fn along_rows(
        &self,
        free: Vec<SizeId>,
        innermost: Option<SizeId>,
        results: usize,
        terms: usize,
        stored: &BTreeMap<NodeId, Stored<'_>>,
        budget: &mut Budget,
    ) -> Result<Computed, OracleError> {
        let mut over = self.over.to_vec();
        over.sort_by_key(|size| Some(*size) == innermost);
        let pass = Pass::new(self.nodes, self.input, &[&free, &over], self.sizes, stored, self.noise);

        let segments = terms.div_ceil(SEGMENT);
        let mut partial = budget.zeros(self.op.name(), results * segments)?;
        let gives_index = matches!(self.op, ReduceOp::ArgMin | ReduceOp::ArgMax);
        let mut indices = budget.zeros(self.op.name(), if gives_index { results * segments } else { 0 })?;
        // Several results a block where the terms are few, and several units a job.
        let shared_blocks = terms <= BLOCK && (terms == 1 || pass.row() < LONG_ROW || pass.row() == terms);
        let units_a_job = (SEGMENT / terms.min(SEGMENT)).max(1);
        let none = std::iter::repeat_with(<&mut [f64]>::default);
        let index_chunks: Box<dyn Iterator<Item = &mut [f64]> + Send> =
            if gives_index { Box::new(indices.chunks_mut(units_a_job)) } else { Box::new(none) };
        let jobs = partial.chunks_mut(units_a_job).zip(index_chunks).enumerate();
        threads::run(
            self.threads_for(results * terms),
            jobs,
            || (pass.worker(), vec![0.0; BLOCK]),
            |(worker, buffer), (job, (values, indices))| {
                let first = job * units_a_job;
                if shared_blocks {
                    let mut done = 0;
                    while done < values.len() {
                        let start = (first + done) * terms;
                        let units = (pass.longest(start) / terms).clamp(1, values.len() - done);
                        let block = self.block(&pass, worker, buffer, start, units * terms);
                        for (unit, row) in block.chunks_exact(terms).enumerate() {
                            let best = kernels::fold(self.op, row);
                            values[done + unit] = best;
                            if gives_index {
                                indices[done + unit] = position(row, best).unwrap_or(0) as f64;
                            }
                        }
                        done += units;
                    }
                    return;
                }
                for (unit, value) in values.iter_mut().enumerate() {
                    let (result, segment) = ((first + unit) / segments, (first + unit) % segments);
                    let end = terms.min((segment + 1) * SEGMENT);
                    let mut at = segment * SEGMENT;
                    let mut running = identity(self.op);
                    let mut index = None;
                    if gives_index {
                        running = f64::NAN;
                    }
                    while at < end {
                        let start = result * terms + at;
                        let length = pass.longest(start).min(end - at);
                        let block = self.block(&pass, worker, buffer, start, length);
                        let folded = kernels::fold(self.op, block);
                        if gives_index {
                            if let Some(place) = position(block, folded)
                                && self.is_better(folded, running)
                            {
                                (running, index) = (folded, Some(at + place));
                            }
                        } else {
                            running = self.combine(running, folded);
                        }
                        at += length;
                    }
                    *value = running;
                    if gives_index {
                        indices[unit] = index.unwrap_or(0) as f64;
                    }
                }
            },
        );

        if gives_index {
            let mut values = budget.zeros(self.op.name(), results)?;
            for (result, value) in values.iter_mut().enumerate() {
                let mut best = f64::NAN;
                for unit in result * segments..(result + 1) * segments {
                    if self.is_better(partial[unit], best) {
                        (best, *value) = (partial[unit], indices[unit]);
                    }
                }
            }
            budget.release(partial);
            budget.release(indices);
            return Ok(Computed { values, layout: free });
        }
        if segments > 1 {
            let mut values = budget.zeros(self.op.name(), results)?;
            for (value, segments) in values.iter_mut().zip(partial.chunks_exact(segments)) {
                *value =
                    segments.iter().fold(identity(self.op), |total, segment| self.combine(total, *segment));
            }
            budget.release(std::mem::replace(&mut partial, values));
        }
        Ok(Computed { values: partial, layout: free })
    }

    fn across_rows(
        &self,
        free: Vec<SizeId>,
        kept: SizeId,
        results: usize,
        terms: usize,
        stored: &BTreeMap<NodeId, Stored<'_>>,
        budget: &mut Budget,
    ) -> Result<Computed, OracleError> {
        let mut layout = free;
        layout.sort_by_key(|size| *size == kept);
        let (outer, inner) = layout.split_at(layout.len() - 1);
        let pass =
            Pass::new(self.nodes, self.input, &[outer, self.over, inner], self.sizes, stored, self.noise);

        let row = self.sizes[kept] as usize;
        let piece = if results < FEW { PIECE } else { terms };
        let pieces = terms.div_ceil(piece);
        let mut partial = budget.zeros(self.op.name(), results * pieces)?;
        let rows = results / row;
        let jobs = partial.chunks_mut(row).enumerate().flat_map(|(line, values)| {
            values.chunks_mut(BLOCK).enumerate().map(move |(chunk, values)| (line, chunk * BLOCK, values))
        });
        let state = || (pass.worker(), vec![0.0; BLOCK], vec![0.0; BLOCK]);
        threads::run(
            self.threads_for(results * terms),
            jobs,
            state,
            |(worker, buffer, sums), (line, column, totals)| {
                let (piece_index, outer_index) = (line / rows, line % rows);
                totals.fill(identity(self.op));
                let sums = &mut sums[..totals.len()];
                let steps = piece_index * piece..terms.min((piece_index + 1) * piece);
                for some in steps.clone().step_by(STEPS) {
                    sums.fill(identity(self.op));
                    for step in some..steps.end.min(some + STEPS) {
                        let start = (outer_index * terms + step) * row + column;
                        let block = match (pass.block(worker, start, sums.len()), &self.noise) {
                            (block, None) => block,
                            (block, Some(noise)) => {
                                Operand::Many(self.disturbed(block, noise, &mut buffer[..sums.len()]))
                            }
                        };
                        kernels::accumulate(self.op, sums, block);
                    }
                    kernels::accumulate(self.op, totals, Operand::Many(sums));
                }
            },
        );
        if pieces > 1 {
            let mut values = budget.zeros(self.op.name(), results)?;
            values.fill(identity(self.op));
            for part in partial.chunks_exact(results) {
                kernels::accumulate(self.op, &mut values, Operand::Many(part));
            }
            budget.release(std::mem::replace(&mut partial, values));
        }
        Ok(Computed { values: partial, layout })
    }

    /// A block of terms, one value each.
    fn block<'w>(
        &self,
        pass: &'w Pass<'_>,
        worker: &'w mut Worker,
        buffer: &'w mut [f64],
        start: usize,
        length: usize,
    ) -> &'w [f64] {
        let buffer = &mut buffer[..length];
        match (pass.block(worker, start, length), &self.noise) {
            (block, Some(noise)) => self.disturbed(block, noise, buffer),
            (Operand::Many(values), None) => values,
            (Operand::One(value), None) => {
                buffer.fill(value);
                buffer
            }
        }
    }

    fn disturbed<'w>(&self, block: Operand<'_>, noise: &Noise, buffer: &'w mut [f64]) -> &'w [f64] {
        match block {
            Operand::One(value) => buffer.fill(value),
            Operand::Many(values) => buffer.copy_from_slice(values),
        }
        if matches!(self.op, ReduceOp::Sum | ReduceOp::Mean | ReduceOp::Prod) {
            noise.disturb_terms(self.node, buffer);
        }
        buffer
    }

    fn combine(&self, running: f64, next: f64) -> f64 {
        let mut total = [running];
        kernels::accumulate(self.op, &mut total, Operand::One(next));
        total[0]
    }

    /// Whether a candidate replaces the best one so far, which is NaN while there is none.
    fn is_better(&self, candidate: f64, best: f64) -> bool {
        if candidate.is_nan() {
            return false;
        }
        best.is_nan() || if self.op == ReduceOp::ArgMin { candidate < best } else { candidate > best }
    }
}

/// Where a value first occurs; nowhere when all are NaN.
fn position(values: &[f64], value: f64) -> Option<usize> {
    values.iter().position(|x| *x == value)
}
