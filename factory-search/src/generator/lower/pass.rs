//! The passes over one row.

use factory_ptx::builder::B64;
use factory_spec::{ArgId, NodeId, Op, Role};

use super::Lowering;
use super::exchange::Partial;
use crate::generator::config::Keep;
use crate::generator::kinds::Scope;
use crate::generator::split::Along;
use crate::generator::value::Value;

impl Lowering<'_> {
    /// Everything for the row (or tile of a row) at the current position.
    pub(super) fn row(&mut self) {
        self.addresses.clear();
        self.forget_elements();
        self.forget_loads(true);
        for (index, info) in self.source.kinds.info.iter().enumerate() {
            if info.scope == Scope::Row {
                self.known[index] = None;
            }
        }
        self.divisors.retain(|divisor, _| self.source.kinds[*divisor].scope == Scope::Launch);
        self.load_ahead();
        let last = self.last_element_pass();
        for level in 0..=self.source.kinds.levels {
            self.evaluate_scope(Scope::Row, level);
            self.store_row_outputs(level);
            let reductions = self.reductions_of(level);
            let outputs = self.element_outputs(level, last);
            if reductions.is_empty() && outputs.is_empty() {
                continue;
            }
            if level > 0 && self.config().keep != Keep::Values {
                self.forget_elements();
            }
            if level > 0 {
                self.forget_loads(false);
            }
            let mut partials: Vec<Partial> = reductions.into_iter().map(|node| self.partial(node)).collect();
            if self.config().keep == Keep::Reread && self.source.split.reduces {
                self.tiles(&mut partials, &outputs);
            } else {
                self.chunks(&mut partials, &outputs, false);
            }
            if !partials.is_empty() {
                self.exchange(partials);
            }
        }
    }

    /// All chunks of the current tile.
    fn chunks(&mut self, partials: &mut [Partial], outputs: &[(ArgId, NodeId)], in_loop: bool) {
        if in_loop {
            // All loads of the tile before the first use.
            let reads = self.element_reads();
            let needed = self.needed(partials, outputs);
            for arg in reads {
                if needed.contains(&arg) && self.source.split.tensor(arg).along == Along::Dense {
                    for chunk in 0..self.config().chunks {
                        self.raw(arg, chunk);
                    }
                }
            }
        }
        // A tree over the chunks too, of which no more is kept than a part for each of its levels.
        let mut trees: Vec<Vec<(u32, Vec<Value>)>> = vec![Vec::new(); partials.len()];
        for chunk in 0..self.config().chunks {
            for (partial, tree) in partials.iter().zip(&mut trees) {
                let mut sum = self.term(partial, chunk);
                let mut level = 0;
                while let Some((_, earlier)) = tree.pop_if(|(other, _)| *other == level) {
                    sum = partial.combine(&mut self.e, &earlier, &sum, self.floats);
                    level += 1;
                }
                tree.push((level, sum));
            }
            for &(arg, node) in outputs {
                self.store_vector(arg, node, chunk);
            }
        }
        for (partial, tree) in partials.iter_mut().zip(trees) {
            let mut parts = tree.into_iter().rev().map(|(_, part)| part);
            let Some(mut sum) = parts.next() else { continue };
            for earlier in parts {
                sum = partial.combine(&mut self.e, &earlier, &sum, self.floats);
            }
            self.accumulate(partial, &sum, in_loop);
        }
    }

    /// A loop over the tiles of a row, which is read from memory.
    fn tiles(&mut self, partials: &mut [Partial], outputs: &[(ArgId, NodeId)]) {
        for partial in partials.iter_mut() {
            for value in &mut partial.values {
                *value = value.copy(&mut self.e);
            }
        }
        let columns = self.source.split.column_count(self.source.spec);
        let base = self.e.copy::<B64>(0i64);
        let head = self.e.label();
        let end = self.e.label();
        self.e.place(head);
        let limit = self.size64(&columns);
        let beyond = self.e.setp_s64("ge", base, limit);
        self.e.branch_if(beyond, true, end);
        self.tile = Some(base);
        self.limit_chunks(Some(base), &columns);
        self.addresses.clear();
        self.forget_elements();
        self.forget_loads(true);
        self.chunks(partials, outputs, true);
        let next = self.e.add_s64(base, self.config().capacity() as i64);
        self.e.assign(base, next);
        self.e.branch(head);
        self.e.place(end);
        self.tile = None;
        self.addresses.clear();
        self.forget_elements();
        self.forget_loads(true);
    }

    /// Reductions whose operand is known at a level.
    fn reductions_of(&self, level: usize) -> Vec<NodeId> {
        let nodes = self.source.program.nodes.iter().zip(&self.source.kinds.info).enumerate();
        nodes
            .filter(|(_, (node, info))| matches!(node.op, Op::Reduce { .. }) && info.level == level + 1)
            .map(|(index, _)| NodeId(index as u32))
            .collect()
    }

    /// The last pass over elements: that of the latest reduction or element output.
    fn last_element_pass(&self) -> usize {
        let kinds = self.source.kinds;
        let reductions =
            (0..kinds.levels).filter(|&level| !self.reductions_of(level).is_empty()).max().unwrap_or(0);
        let outputs = self
            .source
            .program
            .outputs
            .iter()
            .filter(|(arg, _)| self.source.split.tensor(*arg).along != Along::Same);
        outputs.map(|(_, node)| kinds[*node].level).max().unwrap_or(0).max(reductions)
    }

    /// Outputs stored element by element in the pass of a level.
    fn element_outputs(&self, level: usize, last: usize) -> Vec<(ArgId, NodeId)> {
        let stored_at = |arg: ArgId, node: NodeId| {
            // What is read and written keeps its old contents until the last pass that may read it.
            if self.source.spec.args[arg.index()].role == Role::InOut {
                last
            } else {
                self.source.kinds[node].level
            }
        };
        let outputs = self.source.program.outputs.iter().copied();
        outputs
            .filter(|&(arg, node)| {
                self.source.split.tensor(arg).along != Along::Same && stored_at(arg, node) == level
            })
            .collect()
    }

    /// Tensors that the reductions and outputs of a pass read, element by element.
    fn needed(&self, partials: &[Partial], outputs: &[(ArgId, NodeId)]) -> std::collections::BTreeSet<ArgId> {
        let mut found = std::collections::BTreeSet::new();
        let mut seen = vec![false; self.source.program.nodes.len()];
        let mut waiting: Vec<NodeId> = partials
            .iter()
            .map(|partial| partial.input)
            .chain(outputs.iter().map(|(_, node)| *node))
            .collect();
        while let Some(id) = waiting.pop() {
            if std::mem::replace(&mut seen[id.index()], true) || self.source.kinds[id].scope != Scope::Element
            {
                continue;
            }
            let node = self.source.program.node(id);
            if let Op::Arg(arg) = node.op {
                found.insert(arg);
            }
            waiting.extend(node.op.operands());
        }
        found
    }
}
