//! Reductions: a thread's partial results, and their exchange among the threads of a row.

use factory_ptx::builder::{B32, Entry, Pred, Reg, Src};
use factory_spec::{BinaryOp, CompareOp, NodeId, Op, ReduceOp};

use super::Lowering;
use crate::generator::kinds::Kind;
use crate::generator::value::{self, Floats, Value};

/// The partial result of one reduction: one value, or a value and its column.
#[derive(Clone)]
pub(super) struct Partial {
    pub(super) node: NodeId,
    pub(super) op: ReduceOp,
    pub(super) input: NodeId,
    /// What the value is held in.
    pub(super) kind: Kind,
    /// What the column is held in.
    index_kind: Kind,
    pub(super) values: Vec<Value>,
}

impl Partial {
    pub(super) fn is_index(op: ReduceOp) -> bool {
        matches!(op, ReduceOp::ArgMin | ReduceOp::ArgMax)
    }

    /// Combines two partial results, in any order.
    pub(super) fn combine(&self, e: &mut Entry, a: &[Value], b: &[Value], floats: Floats) -> Vec<Value> {
        let both = |e: &mut Entry, op: BinaryOp| vec![value::binary(e, op, a[0], b[0], floats)];
        match self.op {
            ReduceOp::Sum | ReduceOp::Mean => both(e, BinaryOp::Add),
            ReduceOp::Prod => both(e, BinaryOp::Mul),
            // Truth values are 0 and 1.
            ReduceOp::Min | ReduceOp::All => both(e, BinaryOp::Min),
            ReduceOp::Max | ReduceOp::Any => both(e, BinaryOp::Max),
            _ => {
                // b is taken where it is better, or equal and further left. NaN is neither.
                let better = value::compare(
                    e,
                    if self.op == ReduceOp::ArgMax { CompareOp::Gt } else { CompareOp::Lt },
                    b[0],
                    a[0],
                );
                let equal = value::compare(e, CompareOp::Eq, b[0], a[0]);
                let left = value::compare(e, CompareOp::Lt, b[1], a[1]);
                let equal_left = e.and_pred(equal, left);
                let takes = e.or_pred(better, equal_left);
                vec![value::select(e, takes, b[0], a[0]), value::select(e, takes, b[1], a[1])]
            }
        }
    }
}

impl Lowering<'_> {
    /// The neutral partial result of a reduction.
    pub(super) fn partial(&mut self, node: NodeId) -> Partial {
        let Op::Reduce { op, input, .. } = self.source.program.node(node).op else {
            unreachable!("partial results are of reductions")
        };
        let (own, of) = (self.source.kinds[node], self.source.kinds[input]);
        let kind = match (op, of.kind) {
            (ReduceOp::Any | ReduceOp::All, _) => Kind::S32,
            (ReduceOp::Sum, _) => own.kind,
            (ReduceOp::Mean, Kind::S32 | Kind::S64) => Kind::S64,
            (ReduceOp::Prod, _) => Kind::Float,
            (_, kind) => kind,
        };
        let index_kind = if own.kind == Kind::S64 { Kind::S64 } else { Kind::S32 };
        let extreme = |least: bool| -> Value {
            match kind {
                Kind::S32 => Value::S32(Src::from(if least { i32::MIN } else { i32::MAX })),
                Kind::S64 => Value::S64(Src::from(if least { i64::MIN } else { i64::MAX })),
                _ => Value::constant(
                    if least { f64::NEG_INFINITY } else { f64::INFINITY },
                    Kind::Float,
                    self.floats,
                ),
            }
        };
        let first = match op {
            ReduceOp::Sum | ReduceOp::Mean | ReduceOp::Any => Value::constant(0.0, kind, self.floats),
            ReduceOp::Prod | ReduceOp::All => Value::constant(1.0, kind, self.floats),
            ReduceOp::Max | ReduceOp::ArgMax => extreme(true),
            _ => extreme(false),
        };
        let mut values = vec![first];
        if Partial::is_index(op) {
            values.push(no_index(index_kind));
        }
        Partial { node, op, input, kind, index_kind, values }
    }

    /// What the elements of a chunk's vector come to; the neutral value where the chunk lies outside.
    pub(super) fn term(&mut self, partial: &Partial, chunk: u32) -> Vec<Value> {
        let floats = self.floats;
        let mut terms: Vec<Vec<Value>> = Vec::new();
        for element in 0..self.config().vector {
            let value = self.element(partial.input, chunk, element);
            let mut term = vec![value.to(&mut self.e, partial.kind, floats)];
            if Partial::is_index(partial.op) {
                let column = self.column64(chunk, element);
                term.push(Value::S64(column.into()).to(&mut self.e, partial.index_kind, floats));
            }
            terms.push(term);
        }
        // A tree over the vector: short chains, small errors.
        while terms.len() > 1 {
            let mut next = Vec::with_capacity(terms.len().div_ceil(2));
            for pair in terms.chunks(2) {
                next.push(match pair {
                    [a, b] => partial.combine(&mut self.e, a, b, floats),
                    _ => pair[0].clone(),
                });
            }
            terms = next;
        }
        let term = terms.swap_remove(0);
        let Some(inside) = self.inside[chunk as usize] else { return term };
        let neutral = self.partial(partial.node).values;
        let either = term.into_iter().zip(neutral);
        either.map(|(value, none)| value::select(&mut self.e, inside, value, none)).collect()
    }

    /// Adds what the chunks come to, and that of others, to a partial result.
    pub(super) fn accumulate(&mut self, partial: &mut Partial, sum: &[Value], in_loop: bool) {
        let floats = self.floats;
        let combined = partial.combine(&mut self.e, &partial.values, sum, floats);
        for (old, new) in partial.values.iter_mut().zip(combined) {
            if in_loop {
                old.assign(&mut self.e, new);
            } else {
                *old = new;
            }
        }
    }

    /// Combines the partial results of all threads of each row and makes the reductions' values known.
    pub(super) fn exchange(&mut self, mut partials: Vec<Partial>) {
        let config = self.config();
        for partial in &mut partials {
            for value in &mut partial.values {
                *value = value.materialise(&mut self.e);
            }
        }
        self.butterfly(&mut partials, config.threads.min(32));
        let warps = config.threads.div_ceil(32) * config.cluster;
        if warps > 1 {
            self.through_shared(&mut partials, warps);
        }
        for partial in partials {
            let value = self.finish(&partial);
            self.known[partial.node.index()] = Some(value);
        }
    }

    /// Combines over groups of `lanes` neighbouring lanes: every lane has the result.
    fn butterfly(&mut self, partials: &mut [Partial], lanes: u32) {
        let floats = self.floats;
        let mut distance = lanes / 2;
        while distance > 0 {
            for partial in partials.iter_mut() {
                let words = to_words(&mut self.e, &partial.values);
                let other: Vec<Reg<B32>> =
                    words.iter().map(|&word| self.e.shuffle_xor(word, distance)).collect();
                let other = from_words(&mut self.e, &partial.values, &other);
                partial.values = partial.combine(&mut self.e, &partial.values, &other, floats);
            }
            distance /= 2;
        }
    }

    /// Combines over the warps of a row: each writes its part to shared memory (of every block of the cluster), all read.
    fn through_shared(&mut self, partials: &mut [Partial], slots: u32) {
        let config = self.config();
        let words: Vec<Vec<Reg<B32>>> =
            partials.iter().map(|partial| to_words(&mut self.e, &partial.values)).collect();
        let count: u32 = words.iter().map(|words| words.len() as u32).sum();
        let row_bytes = count * slots * 4;
        let buffer_bytes = row_bytes * config.rows;
        let doubled = self.looping() && self.passes_with_exchange() == 1;
        let mut base = self.e.shared_array(
            &format!("exchange_{}", self.exchanges),
            if doubled { 2 * buffer_bytes } else { buffer_bytes },
            16,
        );
        self.exchanges += 1;
        if config.rows > 1 {
            base = self.e.mad_lo_s32(self.row_in_block, row_bytes as i32, base);
        }
        if doubled {
            let toggle = self.toggle.expect("a looping kernel prepares its toggle");
            base = self.e.mad_lo_s32(toggle, buffer_bytes as i32, base);
            let next = self.e.xor_b32(toggle, 1);
            self.e.assign(toggle, next);
        }
        let warp = self.e.shr_u32(self.thread, 5);
        let lane = self.e.and_b32(self.thread, 31);
        let slot = match self.rank {
            Some(rank) => self.e.mad_lo_s32(rank, (config.threads / 32) as i32, warp),
            None => warp,
        };
        let target = self.e.mad_lo_s32(slot, 4, base);
        // Word by word, the slots side by side.
        let place = |word: u32| i64::from(word * slots * 4);
        if config.cluster > 1 {
            if self.awaits_cluster {
                // No block may be written to before it runs.
                self.e.cluster_wait();
                self.awaits_cluster = false;
            }
            // Lane k of each warp writes to block k.
            let writes = self.e.setp_s32("lt", lane, config.cluster as i32);
            let remote = self.peer_address(target, lane);
            for (position, &word) in (0..).zip(words.iter().flatten()) {
                self.e.guarded(writes, |e| e.store_cluster(remote, place(position), word));
            }
            self.e.cluster_arrive();
            self.e.cluster_wait();
        } else {
            let writes = self.e.setp_s32("eq", lane, 0);
            for (position, &word) in (0..).zip(words.iter().flatten()) {
                self.e.guarded(writes, |e| e.store_shared(target, place(position), &[word]));
            }
            self.row_barrier();
        }
        if slots <= 8 {
            self.read_all(partials, base, slots);
        } else {
            self.read_by_lane(partials, base, lane, slots);
        }
    }

    /// The same place in the block of the cluster that this lane writes to; lanes beyond the cluster get their own block.
    fn peer_address(&mut self, target: Reg<B32>, lane: Reg<B32>) -> Reg<B32> {
        let peer = self.e.and_b32(lane, self.config().cluster - 1);
        self.e.map_shared(target, peer)
    }

    /// Waits for the threads of this row (or of the block, where it has one row).
    pub(super) fn row_barrier(&mut self) {
        let config = self.config();
        if config.rows > 1 {
            let number = self.e.add_s32(self.row_in_block, 1);
            self.e.named_barrier(number, config.threads);
        } else {
            self.e.barrier();
        }
    }

    /// Every thread reads every warp's part.
    fn read_all(&mut self, partials: &mut [Partial], base: Reg<B32>, slots: u32) {
        let floats = self.floats;
        let width = if slots.is_multiple_of(4) {
            4
        } else if slots.is_multiple_of(2) {
            2
        } else {
            1
        };
        let mut position = 0;
        for partial in partials.iter_mut() {
            let mut columns: Vec<Vec<Reg<B32>>> = Vec::new();
            for _ in 0..word_count(&partial.values) {
                let mut words = Vec::new();
                for start in (0..slots).step_by(width) {
                    words.extend(self.e.load_shared(width, base, i64::from((position * slots + start) * 4)));
                }
                columns.push(words);
                position += 1;
            }
            let mut parts: Vec<Vec<Value>> = (0..slots as usize)
                .map(|slot| {
                    let words: Vec<Reg<B32>> = columns.iter().map(|column| column[slot]).collect();
                    from_words(&mut self.e, &partial.values, &words)
                })
                .collect();
            while parts.len() > 1 {
                let mut next = Vec::new();
                for pair in parts.chunks(2) {
                    next.push(match pair {
                        [a, b] => partial.combine(&mut self.e, a, b, floats),
                        _ => pair[0].clone(),
                    });
                }
                parts = next;
            }
            partial.values = parts.remove(0);
        }
    }

    /// Each lane reads some warps' parts, then the lanes combine.
    fn read_by_lane(&mut self, partials: &mut [Partial], base: Reg<B32>, lane: Reg<B32>, slots: u32) {
        let floats = self.floats;
        let address = self.e.mad_lo_s32(lane, 4, base);
        let mut position = 0;
        for partial in partials.iter_mut() {
            let neutral = self.partial(partial.node).values;
            let words = word_count(&partial.values);
            let mut sum: Option<Vec<Value>> = None;
            for start in (0..slots).step_by(32) {
                let mut loaded = Vec::new();
                let partly = start + 32 > slots;
                let has: Option<Reg<Pred>> =
                    partly.then(|| self.e.setp_s32("lt", lane, (slots - start) as i32));
                for word in 0..words {
                    let offset = i64::from(((position + word) * slots + start) * 4);
                    loaded.push(match has {
                        None => self.e.load_shared::<B32>(1, address, offset)[0],
                        Some(has) => {
                            let register = self.e.copy::<B32>(0);
                            self.e.guarded(has, |e| e.load_shared_into(&[register], address, offset));
                            register
                        }
                    });
                }
                let mut part = from_words(&mut self.e, &partial.values, &loaded);
                if let Some(has) = has {
                    part = part
                        .iter()
                        .zip(&neutral)
                        .map(|(&part, &none)| value::select(&mut self.e, has, part, none))
                        .collect();
                }
                sum = Some(match sum {
                    None => part,
                    Some(sum) => partial.combine(&mut self.e, &sum, &part, floats),
                });
            }
            partial.values = sum.expect("a row has warps");
            position += words;
        }
        self.butterfly(partials, 32);
    }

    /// Number of exchanges through shared memory a row.
    fn passes_with_exchange(&self) -> usize {
        let levels: std::collections::BTreeSet<usize> = self
            .source
            .program
            .nodes
            .iter()
            .zip(&self.source.kinds.info)
            .filter(|(node, _)| matches!(node.op, Op::Reduce { .. }))
            .map(|(_, info)| info.level)
            .collect();
        levels.len()
    }

    /// Before a loop over rows: which of the two buffers is next, where a row has only one exchange.
    pub(super) fn prepare_toggle(&mut self) {
        if self.source.split.reduces && self.passes_with_exchange() == 1 {
            self.toggle = Some(self.e.copy::<B32>(0));
        }
    }

    /// The reduction's value from the combined partial result.
    fn finish(&mut self, partial: &Partial) -> Value {
        let floats = self.floats;
        let own = self.source.kinds[partial.node];
        match partial.op {
            ReduceOp::Mean => {
                let sum = partial.values[0].float(&mut self.e, floats);
                let columns = self.source.split.column_count(self.source.spec);
                let count = Value::S64(self.size64(&columns)).float(&mut self.e, floats);
                value::binary(&mut self.e, BinaryOp::Div, sum, count, floats)
            }
            ReduceOp::Any | ReduceOp::All => {
                let zero = Value::S32(Src::from(0));
                Value::Bool(value::compare(&mut self.e, CompareOp::Ne, partial.values[0], zero))
            }
            ReduceOp::ArgMin | ReduceOp::ArgMax => {
                // Nothing but NaN: the first.
                let none = no_index(partial.index_kind);
                let missing = value::compare(&mut self.e, CompareOp::Eq, partial.values[1], none);
                let zero = Value::constant(0.0, partial.index_kind, floats);
                let index = value::select(&mut self.e, missing, zero, partial.values[1]);
                index.to(&mut self.e, own.kind, floats)
            }
            _ => partial.values[0].to(&mut self.e, own.kind, floats),
        }
    }
}

/// The column of nothing: greater than any.
fn no_index(kind: Kind) -> Value {
    if kind == Kind::S64 { Value::S64(Src::from(i64::MAX)) } else { Value::S32(Src::from(i32::MAX)) }
}

fn word_count(values: &[Value]) -> u32 {
    values.iter().map(|value| if matches!(value, Value::F64(_) | Value::S64(_)) { 2 } else { 1 }).sum()
}

fn to_words(e: &mut Entry, values: &[Value]) -> Vec<Reg<B32>> {
    let mut words = Vec::new();
    for &value in values {
        match value.materialise(e) {
            Value::F64(Src::Reg(value)) => {
                let bits = e.bits_of_f64(value);
                let (low, high) = e.split_b64(bits);
                words.extend([low, high]);
            }
            Value::S64(Src::Reg(value)) => {
                let (low, high) = e.split_b64(value);
                words.extend([low, high]);
            }
            value => words.push(value.word(e)),
        }
    }
    words
}

/// The values with these words, of the kinds of `like`.
fn from_words(e: &mut Entry, like: &[Value], words: &[Reg<B32>]) -> Vec<Value> {
    let mut words = words.iter().copied();
    let mut next = || words.next().expect("as many words as the values have");
    like.iter()
        .map(|value| match value {
            Value::F32(_) => {
                let word = next();
                Value::F32(e.f32_of_bits(word).into())
            }
            Value::F64(_) => {
                let (low, high) = (next(), next());
                let bits = e.join_b64(low, high);
                Value::F64(e.f64_of_bits(bits).into())
            }
            Value::S64(_) => {
                let (low, high) = (next(), next());
                Value::S64(e.join_b64(low, high).into())
            }
            _ => Value::S32(next().into()),
        })
        .collect()
}
