//! One pass over an iteration space: everything elementwise below one value, computed block by block.
//!
//! A pass stops at arguments and at reductions that were evaluated before; what lies between is a tape of operations on
//! blocks of [`BLOCK`] elements, whose buffers stay in the cache and are used again when their value is dead.

use std::collections::{BTreeMap, BTreeSet};

use super::kernels::{self, Elementwise, Operand};
use super::noise::Noise;
use crate::{Node, NodeId, Op, SizeId, SizeValues};

/// Elements a block. A few buffers of 8 KiB fit the first-level cache.
pub(super) const BLOCK: usize = 1024;

/// Rows at least this long are cut into blocks each; shorter ones share blocks.
pub(super) const LONG_ROW: usize = 64;

/// Values in memory with the sizes that they are laid out by, outermost first.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) values: &'a [f64],
    pub(super) layout: &'a [SizeId],
}

/// What a slot of the tape is.
#[derive(Clone, Copy)]
enum Slot {
    /// One value for a whole block: the index into the uniform values
    Uniform(usize),
    /// A buffer
    Register(usize),
    /// A leaf that is read in place
    Leaf(usize),
}

struct Step {
    op: Elementwise,
    operands: [Slot; 3],
    out: Slot,
    node: NodeId,
}

struct Leaf<'a> {
    values: &'a [f64],
    /// A stride for each extent
    strides: Vec<usize>,
    slot: Slot,
    /// The buffer of a leaf that has to be gathered
    gather: Option<usize>,
}

/// A compiled pass, to be run by any number of threads, each with its own [`Worker`].
pub(super) struct Pass<'a> {
    /// The iteration space, merged as far as all leaves allow, outermost first; never empty
    pub(super) extents: Vec<usize>,
    leaves: Vec<Leaf<'a>>,
    steps: Vec<Step>,
    constants: Vec<f64>,
    registers: usize,
    result: Slot,
    noise: Option<Noise>,
}

/// The buffers of one thread.
pub(super) struct Worker {
    uniforms: Vec<f64>,
    registers: Vec<Vec<f64>>,
    starts: Vec<usize>,
    index: Vec<usize>,
}

impl<'a> Pass<'a> {
    /// Compiles what is below `root` for iteration over `groups` of sizes, the last group innermost. Neighbouring sizes
    /// of one group are merged where the leaves allow; groups stay apart.
    pub(super) fn new(
        nodes: &[Node],
        root: NodeId,
        groups: &[&[SizeId]],
        sizes: &SizeValues,
        stored: &BTreeMap<NodeId, Stored<'a>>,
        noise: Option<Noise>,
    ) -> Pass<'a> {
        let order = cone(nodes, root, stored);
        let leaf_nodes: Vec<NodeId> =
            order.iter().copied().filter(|node| stored.contains_key(node)).collect();
        let leaf_strides: Vec<BTreeMap<SizeId, usize>> =
            leaf_nodes.iter().map(|node| strides(stored[node].layout, sizes)).collect();
        let (extents, merged) = merge(groups, sizes, &leaf_strides);

        let mut pass = Pass {
            leaves: Vec::new(),
            steps: Vec::new(),
            constants: Vec::new(),
            registers: 0,
            result: Slot::Uniform(0),
            noise,
            extents,
        };
        let long = pass.row() >= LONG_ROW;
        let mut free = Vec::new();
        let mut slots: BTreeMap<NodeId, Slot> = BTreeMap::new();
        let mut last_use: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (position, node) in order.iter().enumerate() {
            if !stored.contains_key(node) {
                for operand in nodes[node.index()].op.operands() {
                    last_use.insert(operand, position);
                }
            }
        }
        last_use.insert(root, usize::MAX);

        let mut leaf_strides = merged.into_iter();
        for (position, &node) in order.iter().enumerate() {
            let slot = if let Some(stored) = stored.get(&node) {
                let strides = leaf_strides.next().unwrap_or_default();
                pass.leaf(stored.values, strides, long)
            } else {
                pass.step(nodes, node, sizes, &slots, &mut free)
            };
            slots.insert(node, slot);
            if !stored.contains_key(&node) {
                for operand in nodes[node.index()].op.operands().into_iter().collect::<BTreeSet<_>>() {
                    if last_use[&operand] == position
                        && let Slot::Register(register) = slots[&operand]
                    {
                        free.push(register);
                    }
                }
            }
        }
        pass.result = slots[&root];
        pass
    }

    fn leaf(&mut self, values: &'a [f64], strides: Vec<usize>, long: bool) -> Slot {
        let row_stride = *strides.last().unwrap_or(&0);
        let uniform = if long { row_stride == 0 } else { strides.iter().all(|stride| *stride == 0) };
        let in_place = if long { row_stride == 1 } else { is_dense(&strides, &self.extents) };
        let (slot, gather) = if uniform {
            self.constants.push(0.0);
            (Slot::Uniform(self.constants.len() - 1), None)
        } else if in_place {
            (Slot::Leaf(self.leaves.len()), None)
        } else {
            // Filled when the block starts, so it is not shared with values that are computed before it is read.
            self.registers += 1;
            (Slot::Register(self.registers - 1), Some(self.registers - 1))
        };
        self.leaves.push(Leaf { values, strides, slot, gather });
        slot
    }

    fn step(
        &mut self,
        nodes: &[Node],
        node: NodeId,
        sizes: &SizeValues,
        slots: &BTreeMap<NodeId, Slot>,
        free: &mut Vec<usize>,
    ) -> Slot {
        let op = &nodes[node.index()].op;
        let elementwise = match *op {
            Op::Const(value) => return self.constant(value),
            Op::Size(size) => return self.constant(sizes[size] as f64),
            Op::Unary(op, _) => Elementwise::Unary(op),
            Op::Binary(op, ..) => Elementwise::Binary(op),
            Op::Compare(op, ..) => Elementwise::Compare(op),
            Op::Logic(op, ..) => Elementwise::Logic(op),
            Op::Not(_) => Elementwise::Not,
            Op::Select(..) => Elementwise::Select,
            Op::Cast(dtype, _) => Elementwise::Cast(dtype),
            Op::Arg(_) | Op::Iota(_) | Op::Reduce { .. } => {
                unreachable!("arguments, indices and reductions are stored")
            }
        };
        let mut operands = [Slot::Uniform(0); 3];
        for (slot, operand) in operands.iter_mut().zip(op.operands()) {
            *slot = slots[&operand];
        }
        let count = op.operands().len();
        let out = if operands[..count].iter().all(|slot| matches!(slot, Slot::Uniform(_))) {
            self.constant(0.0)
        } else {
            Slot::Register(free.pop().unwrap_or_else(|| {
                self.registers += 1;
                self.registers - 1
            }))
        };
        // An operand that is not there must not alias a buffer.
        if self.constants.is_empty() {
            self.constants.push(0.0);
        }
        self.steps.push(Step { op: elementwise, operands, out, node });
        out
    }

    fn constant(&mut self, value: f64) -> Slot {
        self.constants.push(value);
        Slot::Uniform(self.constants.len() - 1)
    }

    /// Length of the innermost rows.
    pub(super) fn row(&self) -> usize {
        *self.extents.last().unwrap_or(&1)
    }

    /// The longest block that may start at a place of the flattened space: within a row when rows are long.
    pub(super) fn longest(&self, start: usize) -> usize {
        if self.row() >= LONG_ROW { BLOCK.min(self.row() - start % self.row()) } else { BLOCK }
    }

    pub(super) fn worker(&self) -> Worker {
        Worker {
            uniforms: self.constants.clone(),
            registers: vec![vec![0.0; BLOCK]; self.registers],
            starts: vec![0; self.leaves.len()],
            index: vec![0; self.extents.len()],
        }
    }

    /// The values of a block of the flattened space; `length` is at most [`Pass::longest`].
    pub(super) fn block<'w>(&'w self, worker: &'w mut Worker, start: usize, length: usize) -> Operand<'w> {
        let long = self.row() >= LONG_ROW;
        let mut rest = start;
        for (index, extent) in worker.index.iter_mut().zip(&self.extents).rev() {
            *index = rest % extent;
            rest /= extent;
        }
        for (position, leaf) in self.leaves.iter().enumerate() {
            let offset =
                worker.index.iter().zip(&leaf.strides).map(|(index, stride)| index * stride).sum::<usize>();
            worker.starts[position] = offset;
            match (leaf.slot, leaf.gather) {
                (Slot::Uniform(uniform), _) => worker.uniforms[uniform] = leaf.values[offset],
                (_, Some(register)) => {
                    let mut buffer = std::mem::take(&mut worker.registers[register]);
                    if long {
                        let stride = *leaf.strides.last().unwrap_or(&0);
                        let source = leaf.values[offset..].iter().step_by(stride.max(1));
                        buffer[..length].iter_mut().zip(source).for_each(|(out, value)| *out = *value);
                    } else {
                        gather(leaf, &self.extents, &worker.index, &mut buffer[..length]);
                    }
                    worker.registers[register] = buffer;
                }
                _ => {}
            }
        }
        for step in &self.steps {
            match step.out {
                Slot::Uniform(out) => {
                    let [a, b, c] = step.operands.map(|slot| self.operand(worker, slot, length));
                    let mut value = [0.0];
                    kernels::apply(step.op, &mut value, a, b, c);
                    if let Some(noise) = &self.noise {
                        noise.disturb(step.op, step.node, &mut value);
                    }
                    worker.uniforms[out] = value[0];
                }
                Slot::Register(out) => {
                    let mut buffer = std::mem::take(&mut worker.registers[out]);
                    let [a, b, c] = step.operands.map(|slot| self.operand(worker, slot, length));
                    kernels::apply(step.op, &mut buffer[..length], a, b, c);
                    if let Some(noise) = &self.noise {
                        noise.disturb(step.op, step.node, &mut buffer[..length]);
                    }
                    worker.registers[out] = buffer;
                }
                Slot::Leaf(_) => unreachable!("no step writes a leaf"),
            }
        }
        self.operand(worker, self.result, length)
    }

    fn operand<'w>(&'w self, worker: &'w Worker, slot: Slot, length: usize) -> Operand<'w> {
        match slot {
            Slot::Uniform(index) => Operand::One(worker.uniforms[index]),
            Slot::Register(register) => {
                Operand::Many(worker.registers[register].get(..length).unwrap_or(&[]))
            }
            Slot::Leaf(leaf) => {
                let start = worker.starts[leaf];
                Operand::Many(&self.leaves[leaf].values[start..start + length])
            }
        }
    }
}

/// Copies the elements of a leaf for consecutive places of the space, from `index` on.
fn gather(leaf: &Leaf<'_>, extents: &[usize], index: &[usize], out: &mut [f64]) {
    let last = extents.len() - 1;
    let mut index = index.to_vec();
    let mut filled = 0;
    loop {
        let run = (extents[last] - index[last]).min(out.len() - filled);
        let offset = index.iter().zip(&leaf.strides).map(|(index, stride)| index * stride).sum::<usize>();
        let target = &mut out[filled..filled + run];
        match leaf.strides[last] {
            0 => target.fill(leaf.values[offset]),
            1 => target.copy_from_slice(&leaf.values[offset..offset + run]),
            stride => {
                let source = leaf.values[offset..].iter().step_by(stride);
                target.iter_mut().zip(source).for_each(|(out, value)| *out = *value);
            }
        }
        filled += run;
        if filled == out.len() {
            return;
        }
        index[last] = 0;
        for dimension in (0..last).rev() {
            index[dimension] += 1;
            if index[dimension] < extents[dimension] {
                break;
            }
            index[dimension] = 0;
        }
    }
}

/// The nodes that `root` needs down to stored ones, operands first.
pub(super) fn cone(nodes: &[Node], root: NodeId, stored: &BTreeMap<NodeId, Stored<'_>>) -> Vec<NodeId> {
    crate::program::cone(nodes, root, |node| stored.contains_key(&node)).collect()
}

/// Elements from one index to the next, for each size of a layout; a size that is there twice walks a diagonal.
pub(super) fn strides(layout: &[SizeId], sizes: &SizeValues) -> BTreeMap<SizeId, usize> {
    let mut strides = BTreeMap::new();
    let mut stride = 1usize;
    for &size in layout.iter().rev() {
        *strides.entry(size).or_insert(0) += stride;
        stride = stride.saturating_mul(sizes[size] as usize);
    }
    strides
}

/// The extents of the space with neighbours merged, and the strides of each leaf for them.
fn merge(
    groups: &[&[SizeId]],
    sizes: &SizeValues,
    leaves: &[BTreeMap<SizeId, usize>],
) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut extents: Vec<usize> = Vec::new();
    let mut strides: Vec<Vec<usize>> = vec![Vec::new(); leaves.len()];
    for group in groups {
        let mut first = true;
        for size in group.iter().filter(|size| sizes[**size] != 1) {
            let extent = sizes[*size] as usize;
            let stride = |leaf: &BTreeMap<SizeId, usize>| leaf.get(size).copied().unwrap_or(0);
            let mergeable = !first
                && leaves
                    .iter()
                    .zip(&strides)
                    .all(|(leaf, outer)| outer.last() == Some(&stride(leaf).saturating_mul(extent)));
            if mergeable {
                if let Some(outer) = extents.last_mut() {
                    *outer *= extent;
                }
                for (leaf, outer) in leaves.iter().zip(&mut strides) {
                    if let Some(outer) = outer.last_mut() {
                        *outer = stride(leaf);
                    }
                }
            } else {
                extents.push(extent);
                leaves.iter().zip(&mut strides).for_each(|(leaf, list)| list.push(stride(leaf)));
            }
            first = false;
        }
    }
    if extents.is_empty() {
        extents.push(1);
        strides.iter_mut().for_each(|list| list.push(0));
    }
    (extents, strides)
}

/// Whether consecutive places of the space are consecutive in memory.
fn is_dense(strides: &[usize], extents: &[usize]) -> bool {
    let mut expected = 1;
    strides.iter().zip(extents).rev().all(|(stride, extent)| {
        let dense = *stride == expected;
        expected *= extent;
        dense
    })
}
