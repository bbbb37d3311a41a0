//! `wgmma`: products of four warps that take effect later.
//!
//! A product is issued by each of the four warps for its own 16 rows, and computed at a moment that the machine chooses
//! between the issue and the wait; only then are shared memory and accumulators read. A wait returns when all four warps
//! have issued what it waits for, and completes the others' parts as well: whoever has waited may tell a producer that
//! the operands are free.
//!
//! `wgmma.fence` takes a copy of all registers that products of the kernel name. A product whose registers differ from
//! that copy (and are not those of a product in flight) was not behind a fence. Registers that the kernel only ever
//! moves to are left out: nvcc moves such copies behind the fence by itself, and ptxas takes that into account.

use super::pending::{Action, Completion, Pending, Span};
use super::state::{PendingRegisters, State, Warp};
use super::step::Flow;
use super::{Trouble, Worker, plain_trouble, trouble};
use crate::machine::decode::SHARED_START;
use crate::machine::error::FaultKind;
use crate::machine::inst::Space;
use crate::machine::inst::matrix::{Arithmetic, GroupA, GroupMultiply, Method, Rows};
use crate::machine::lanes::{LANES, row, row_mut};
use crate::machine::matrix::accumulate::{Product, Sum};
use crate::machine::matrix::descriptor::{CHUNK, DEPTH, Descriptor};
use crate::machine::matrix::format::{Format, Packed, pack_row};
use crate::machine::matrix::integer::{Integer, multiply_bits, multiply_integers};
use crate::machine::matrix::layout::a_place;

/// Rows of A and D that one warp has.
const ROWS: usize = 16;
/// Products whose place is remembered, to compare the warps of a group.
const HISTORY: usize = 64;

/// Columns, and whether elements are f16 in pairs.
type ShapeOfD = (usize, bool);

/// What a warp knows about its products.
#[derive(Clone, Debug, Default)]
pub(super) struct Products {
    /// Products issued.
    issued: u64,
    /// Where the last ones stand.
    recent: Vec<u32>,
    /// Group number and products issued at each commit that was not waited for.
    commits: Vec<(u32, u64)>,
    /// Registers of products in flight: first word, words, group, shape of D (`None`: they hold A).
    in_flight: Vec<(usize, usize, u32, Option<ShapeOfD>)>,
    /// Frame and values of the registers at the last `wgmma.fence`.
    fenced: Option<(usize, Vec<u32>)>,
}

/// An operand in shared memory: the chunks of a warp's part, from the first byte of the block's shared memory.
struct Tile {
    span: Span,
    chunks: Vec<u32>,
    /// Chunks run along K.
    k_major: bool,
}

/// Operand B of a product, taken apart for the four warps that share it.
pub(super) struct Shared {
    key: (usize, u32, u64, u64),
    elements: std::sync::Arc<Vec<Packed>>,
    special: bool,
}

/// Products whose operand B is kept.
const KEPT: usize = 8;

/// A product that was issued.
struct Issued {
    /// Block, warpgroup, number of the product, and descriptor of B.
    key: (usize, u32, u64, u64),
    op: std::sync::Arc<GroupMultiply>,
    base: usize,
    adds: bool,
    a: Option<Tile>,
    b: Tile,
}

impl Worker<'_> {
    /// `wgmma.fence`
    pub(super) fn group_fence(&mut self, warp: &mut Warp, base: usize) {
        let rows = &self.context.kernel.whole.code.product_rows;
        let mut values = match warp.products.fenced.take() {
            Some((_, mut values)) => {
                values.clear();
                values
            }
            None => Vec::new(),
        };
        for (first, count) in rows {
            let start = base + *first as usize;
            let end = start + *count as usize * LANES;
            match warp.words.get(start..end) {
                Some(words) => values.extend_from_slice(words),
                None => values.resize(values.len() + end - start, 0),
            }
        }
        warp.products.fenced = Some((base, values));
    }

    /// `wgmma.commit_group`
    pub(super) fn group_commit(&mut self, warp: &mut Warp) {
        let issued = warp.products.issued;
        warp.products.commits.push((warp.matrix_group, issued));
        self.matrix_commit(warp);
    }

    /// `wgmma.wait_group`
    pub(super) fn group_wait(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        pending: u32,
    ) -> Result<Flow, Trouble> {
        let open = warp.matrix_group;
        let due = |group: u32| group < open && group + pending < open;
        let needed =
            warp.products.commits.iter().filter(|(group, _)| due(*group)).map(|(_, issued)| *issued).max();
        if let Some(needed) = needed {
            if !self.mates_have_issued(warp, needed) {
                warp.fragments[chosen].state = State::Products(needed);
                return Ok(Flow::Stop);
            }
            self.land_mates(warp, due)?;
        }
        self.matrix_wait(warp, pending)?;
        warp.products.commits.retain(|(group, _)| !due(*group));
        warp.products.in_flight.retain(|(_, _, group, _)| !due(*group));
        Ok(Flow::Next)
    }

    /// Whether the other warps of the warpgroup have issued as many products.
    pub(super) fn mates_have_issued(&self, warp: &Warp, needed: u64) -> bool {
        self.mates(warp).all(|mate| mate.products.issued >= needed)
    }

    /// The other warps of a warp's group.
    fn mates<'s>(&'s self, warp: &Warp) -> impl Iterator<Item = &'s Warp> {
        let first = (warp.index & !3) as usize;
        let own = warp.index as usize;
        let warps = &self.cluster.blocks[warp.block].warps;
        (first..(first + 4).min(warps.len())).filter(move |index| *index != own).map(|index| &warps[index])
    }

    /// `wgmma.mma_async`
    pub(super) fn group_multiply(
        &mut self,
        warp: &mut Warp,
        base: usize,
        op: &std::sync::Arc<GroupMultiply>,
    ) -> Result<(), Trouble> {
        self.check_group(warp)?;
        self.check_fence(warp, base, op)?;
        let predicate = warp.words[base + op.adds as usize];
        let predicate = if op.adds_negated { !predicate } else { predicate };
        if predicate != 0 && predicate != u32::MAX {
            let detail = "`scale-d` differs between the lanes of the warp";
            return Err(plain_trouble(FaultKind::UndefinedOperand, predicate.trailing_zeros(), detail));
        }
        let rank = (warp.index & 3) as usize;
        let a = match op.a {
            GroupA::Registers(_) => None,
            GroupA::Shared { descriptor, transposed } => {
                let across = bits_of_elements(&op.arithmetic) as usize;
                Some(self.tile(warp, base, descriptor, transposed, ROWS, rank * ROWS, across, "A")?)
            }
        };
        let across = bits_of_elements(&op.arithmetic) as usize;
        let b = self.tile(warp, base, op.b, op.b_transposed, op.n, 0, across, "B")?;
        let mut reads = Vec::new();
        for tile in a.iter().chain([&b]) {
            spans(tile, &mut reads);
        }
        let shape = (op.n, is_half(&op.arithmetic));
        let group = warp.matrix_group;
        for (rows, shape) in
            op.d_rows.iter().map(|rows| (rows, Some(shape))).chain(op.a_rows.iter().map(|rows| (rows, None)))
        {
            let (first, words) = (base + rows.0 as usize, rows.1 as usize * LANES);
            match warp
                .products
                .in_flight
                .iter_mut()
                .find(|entry| (entry.0, entry.1, entry.3) == (first, words, shape))
            {
                Some(entry) => entry.2 = group,
                None => warp.products.in_flight.push((first, words, group, shape)),
            }
            match warp.pending_registers.iter_mut().find(|entry| (entry.first, entry.words) == (first, words))
            {
                Some(entry) => entry.group = group,
                None => warp.pending_registers.push(PendingRegisters { first, words, group }),
            }
        }
        let depth = DEPTH * 8 / across;
        // One part of four; every warp counts its own.
        self.count_tensor(super::matrix::tensor_type(&op.arithmetic), (2 * ROWS * op.n * depth) as u64);
        let issued = warp.products.issued as usize;
        if warp.products.recent.len() < HISTORY {
            warp.products.recent.resize(HISTORY, 0);
        }
        warp.products.recent[issued % HISTORY] = self.pc;
        warp.products.issued += 1;
        let low = warp.words[base + op.b as usize];
        let high = warp.words[base + op.b as usize + LANES];
        let key = (warp.block, warp.index / 4, issued as u64, u64::from(low) | u64::from(high) << 32);
        let action = Issued { key, op: op.clone(), base, adds: predicate != 0, a, b };
        self.issue(
            warp,
            Pending {
                lane: 0,
                action: Box::new(action),
                reads,
                writes: Vec::new(),
                reduces: false,
                async_proxy: true,
                queue: Some(0),
                completion: Completion::MatrixGroup,
            },
        )
    }

    /// The four warps must be there and issue the same products.
    fn check_group(&self, warp: &Warp) -> Result<(), Trouble> {
        if self.mates(warp).count() != 3 {
            let detail = "the instruction needs a warpgroup: four warps from a multiple of four";
            return Err(plain_trouble(FaultKind::InactiveLane, 0, detail));
        }
        let issued = warp.products.issued;
        for mate in self.mates(warp) {
            let other = mate.products.issued;
            if other <= issued && mate.live == 0 {
                let detail = format!("warp {} of the warpgroup has exited and will not issue it", mate.index);
                return Err(plain_trouble(FaultKind::InactiveLane, 0, detail));
            }
            if other <= issued || other - issued > HISTORY as u64 {
                continue;
            }
            let pc = mate.products.recent[issued as usize % HISTORY];
            if pc != self.pc {
                let line = self.context.kernel.whole.code.debug.get(pc as usize).copied().unwrap_or(0);
                let detail = format!(
                    "warp {} of the warpgroup issued the product of line {line} in its place: all four must issue \
                     the same",
                    mate.index
                );
                return Err(plain_trouble(FaultKind::DivergentBarrier, 0, detail));
            }
        }
        Ok(())
    }

    /// Registers must be as the last fence found them, or belong to a product of the same shape.
    fn check_fence(&self, warp: &Warp, base: usize, op: &GroupMultiply) -> Result<(), Trouble> {
        let Some((frame, values)) = &warp.products.fenced else {
            let detail = "no `wgmma.fence` before the first `wgmma.mma_async`";
            return Err(plain_trouble(FaultKind::MissingMatrixFence, 0, detail));
        };
        let shape = (op.n, is_half(&op.arithmetic));
        let flying = |first: usize, words: usize| {
            warp.products
                .in_flight
                .iter()
                .filter(move |entry| first < entry.0 + entry.1 && entry.0 < first + words)
        };
        for (rows, accumulator) in
            op.d_rows.iter().map(|r| (r, true)).chain(op.a_rows.iter().map(|r| (r, false)))
        {
            let (first, words) = (base + rows.0 as usize, rows.1 as usize * LANES);
            let mut meeting = flying(first, words).peekable();
            if meeting.peek().is_some() {
                let same = meeting.all(|entry| match (accumulator, entry.3) {
                    (true, Some(other)) => other == shape && (entry.0, entry.1) == (first, words),
                    (false, None) => true,
                    _ => false,
                });
                if !same {
                    let detail = "its registers belong to a product of another shape that is in flight: it needs \
                                  `wgmma.wait_group`";
                    return Err(plain_trouble(FaultKind::AsyncNotWaited, 0, detail));
                }
                continue;
            }
            if *frame != base {
                continue;
            }
            let code = &self.context.kernel.whole.code;
            let now = warp.words.get(first..first + words).unwrap_or_default();
            let Some(then) = snapshot(&code.product_rows, *rows).and_then(|at| values.get(at..at + words))
            else {
                continue;
            };
            if now == then {
                continue;
            }
            for (register, (now, then)) in now.chunks(LANES).zip(then.chunks(LANES)).enumerate() {
                if code.computed.contains(&(rows.0 + (register * LANES) as u32))
                    && let Some(lane) = (0..LANES).find(|lane| now[*lane] != then[*lane])
                {
                    let detail = "one of its registers was computed after the last `wgmma.fence`";
                    return Err(plain_trouble(FaultKind::MissingMatrixFence, lane as u32, detail));
                }
            }
        }
        Ok(())
    }

    /// The chunks of an operand: `count` rows (or columns) from the one at `from`.
    #[expect(clippy::too_many_arguments, reason = "the parts of one operand")]
    fn tile(
        &self,
        warp: &Warp,
        base: usize,
        slot: u32,
        transposed: bool,
        count: usize,
        from: usize,
        across: usize,
        name: &str,
    ) -> Result<Tile, Trouble> {
        let words = &warp.words[base..];
        let wide = |lane: usize| {
            u64::from(row(words, slot)[lane]) | u64::from(row(words, slot + LANES as u32)[lane]) << 32
        };
        let bits = wide(0);
        if let Some(lane) = (1..LANES).find(|lane| wide(*lane) != bits) {
            let detail = format!("the descriptor of {name} differs between the lanes of the warp");
            return Err(plain_trouble(FaultKind::UndefinedOperand, lane as u32, detail));
        }
        let descriptor = Descriptor::parse(bits)
            .map_err(|detail| plain_trouble(FaultKind::UndefinedOperand, 0, detail))?;
        let len = self.cluster.blocks[warp.block].shared_shadow.len() as u64;
        let k_major = !transposed;
        let mut chunks = Vec::new();
        let per_chunk = CHUNK * 8 / across;
        let (rows, columns) = if k_major {
            (from..from + count, 0..DEPTH / CHUNK)
        } else {
            (0..DEPTH * 8 / across, from / per_chunk..(from + count) / per_chunk)
        };
        for row in rows {
            for column in columns.clone() {
                let address = descriptor.chunk(k_major, row, column);
                let offset = address.wrapping_sub(SHARED_START);
                if offset >= len || len - offset < CHUNK as u64 {
                    let detail = format!(
                        "operand {name} (descriptor {bits:#018x}) reaches outside the {len} bytes of shared memory"
                    );
                    return Err(trouble(FaultKind::OutOfBounds, 0, address, detail));
                }
                chunks.push(offset as u32);
            }
        }
        let span = self.span(warp, Space::Shared, SHARED_START, len as usize, 0)?;
        Ok(Tile { span, chunks, k_major })
    }
}

/// Where the registers of `rows` begin in a fence's copy.
fn snapshot(all: &[Rows], rows: Rows) -> Option<usize> {
    let mut at = 0;
    for (first, count) in all {
        if rows.0 >= *first && rows.0 + rows.1 * LANES as u32 <= *first + *count * LANES as u32 {
            return Some(at + (rows.0 - *first) as usize);
        }
        at += *count as usize * LANES;
    }
    None
}

/// The bytes of a tile as few spans.
fn spans(tile: &Tile, reads: &mut Vec<Span>) {
    let mut sorted = tile.chunks.clone();
    sorted.sort_unstable();
    sorted.dedup();
    for chunk in sorted {
        let start = chunk as usize;
        match reads.last_mut() {
            Some(last) if last.start + last.len == start && last.place == tile.span.place => {
                last.len += CHUNK
            }
            _ => reads.push(Span { place: tile.span.place, start, len: CHUNK }),
        }
    }
}

/// Bits of an element of A and B.
fn bits_of_elements(arithmetic: &Arithmetic) -> u32 {
    match arithmetic {
        Arithmetic::Float { formats: (format, _), .. } => format.bits(),
        Arithmetic::Integer { a, .. } => a.bits,
        Arithmetic::Bits { .. } => 1,
        Arithmetic::Double { .. } => 64,
    }
}

/// Whether D has f16 in pairs.
fn is_half(arithmetic: &Arithmetic) -> bool {
    matches!(arithmetic, Arithmetic::Float { sums: (_, Sum::F16), .. })
}

impl Tile {
    /// Reads the tile's words, chunk after chunk.
    fn words(&self, worker: &Worker<'_>) -> Vec<u32> {
        let (data, ..) = worker.span_pointers(&self.span);
        let mut words = Vec::with_capacity(self.chunks.len() * 4);
        for chunk in &self.chunks {
            for half in 0..2 {
                // SAFETY: `tile` has found every chunk to lie inside shared memory, which the span covers.
                let value = unsafe { super::access::read_raw::<8>(data.add(*chunk as usize + 8 * half)) };
                words.push(value as u32);
                words.push((value >> 32) as u32);
            }
        }
        words
    }

    /// Row (or column) and depth of the first element of every word, and whether the others follow along K.
    fn places(&self, bits: usize) -> Vec<(u32, u32)> {
        let per = (32 / bits) as u32;
        // All depths of 16-bit elements: 16.
        let across = (self.chunks.len() as u32 / 16).max(1);
        (0..self.chunks.len() as u32)
            .flat_map(|chunk| {
                (0..4).map(move |word| match self.k_major {
                    true => (chunk / 2, (chunk % 2 * 4 + word) * per),
                    false => (chunk % across * 8 + word * per, chunk / across),
                })
            })
            .collect()
    }

    /// The elements taken apart: calls `put` with row (or column), depth and value.
    fn pack(&self, worker: &Worker<'_>, format: Format, mut put: impl FnMut(usize, usize, Packed)) -> bool {
        let bits = format.bits() as usize;
        let words = self.words(worker);
        let places = self.places(bits);
        let mut special = false;
        for (chunk, places) in words.chunks(LANES).zip(places.chunks(LANES)) {
            let mut row = [0; LANES];
            row[..chunk.len()].copy_from_slice(chunk);
            for at in 0..32 / bits {
                let (values, odd) = pack_row(format, &row, (at * bits) as u32);
                special |= odd;
                let (down, along) = if self.k_major { (0, at) } else { (at, 0) };
                for (value, place) in values.iter().zip(places) {
                    put(place.0 as usize + down, place.1 as usize + along, *value);
                }
            }
        }
        special
    }

    fn integers(&self, worker: &Worker<'_>, ty: Integer, mut put: impl FnMut(usize, usize, i32)) {
        for (word, (outer, depth)) in self.words(worker).into_iter().zip(self.places(8)) {
            for at in 0..4 {
                put(outer as usize, depth as usize + at, ty.value(word >> (8 * at)));
            }
        }
    }
}

impl Action for Issued {
    fn run(&mut self, worker: &mut Worker<'_>, warp: &mut Warp) -> Result<(), Trouble> {
        let n = self.op.n;
        let half = is_half(&self.op.arithmetic);
        let Some(words) = warp.words.get_mut(self.base..) else { return Ok(()) };
        let mut d = vec![0; ROWS * n];
        // Pairs of columns, eight rows at a time.
        let registers = || (0..n / 4).map(|register| (register, register % 2 * 8 * n + register / 2 * 8));
        let inside = |lane: usize| lane / 4 * n + lane % 4 * 2;
        if self.adds {
            for (register, start) in registers() {
                let (low, high) = if half {
                    let words = row(words, self.op.d[register]);
                    (words.map(|word| word & 0xffff), words.map(|word| word >> 16))
                } else {
                    (*row(words, self.op.d[2 * register]), *row(words, self.op.d[2 * register + 1]))
                };
                for lane in 0..LANES {
                    let pair = &mut d[start + inside(lane)..][..2];
                    pair[0] = low[lane];
                    pair[1] = high[lane];
                }
            }
        }
        self.multiply(worker, words, &mut d);
        for (register, start) in registers() {
            let (mut low, mut high) = ([0; LANES], [0; LANES]);
            for lane in 0..LANES {
                let pair = &d[start + inside(lane)..][..2];
                (low[lane], high[lane]) = (pair[0], pair[1]);
            }
            if half {
                *row_mut(words, self.op.d[register]) =
                    std::array::from_fn(|lane| low[lane] | high[lane] << 16);
            } else {
                *row_mut(words, self.op.d[2 * register]) = low;
                *row_mut(words, self.op.d[2 * register + 1]) = high;
            }
        }
        // What the product itself wrote needs no fence.
        if let Some((frame, values)) = &mut warp.products.fenced
            && *frame == self.base
        {
            let mut at = 0;
            for (first, count) in &worker.context.kernel.whole.code.product_rows {
                let (first, count) = (*first as usize, *count as usize * LANES);
                for rows in &self.op.d_rows {
                    let start = first.max(rows.0 as usize);
                    let end = (first + count).min(rows.0 as usize + rows.1 as usize * LANES);
                    if start < end
                        && let Some(now) = warp.words.get(self.base + start..self.base + end)
                    {
                        values[at + start - first..at + end - first].copy_from_slice(now);
                    }
                }
                at += count;
            }
        }
        Ok(())
    }
}

impl Issued {
    fn multiply(&self, worker: &mut Worker<'_>, words: &[u32], d: &mut [u32]) {
        let n = self.op.n;
        match self.op.arithmetic {
            Arithmetic::Float { formats, method, sums: (_, sum) } => {
                let Method::Units(model) = method else { return };
                let k = DEPTH * 8 / formats.0.bits() as usize;
                let sign = |negate: bool, value: Packed| {
                    if negate { value & !0xffff | value.wrapping_neg() & 0xffff } else { value }
                };
                let mut a = vec![0; ROWS * k];
                let mut special = match (&self.op.a, &self.a) {
                    (_, Some(tile)) => tile.pack(worker, formats.0, |row, depth, value| {
                        a[row * k + depth] = sign(self.op.negate_a, value);
                    }),
                    (GroupA::Registers(slots), None) => {
                        let bits = formats.0.bits();
                        let elements = 32 / bits as usize;
                        let mut special = false;
                        for (register, slot) in slots.iter().enumerate() {
                            for at in 0..elements {
                                let (values, odd) = pack_row(formats.0, row(words, *slot), at as u32 * bits);
                                special |= odd;
                                for (lane, value) in values.into_iter().enumerate() {
                                    let (row, depth) = a_place(2, elements, register, lane, at);
                                    a[row * k + depth] = sign(self.op.negate_a, value);
                                }
                            }
                        }
                        special
                    }
                    (GroupA::Shared { .. }, None) => false,
                };
                // Nobody may have changed it since the first warp read it: the product pins it.
                let kept = worker.cluster.operands.iter().find(|kept| kept.key == self.key);
                let (b, odd) = match kept {
                    Some(kept) => (kept.elements.clone(), kept.special),
                    None => {
                        let mut b = vec![0; k * n];
                        let odd = self.b.pack(worker, formats.1, |column, depth, value| {
                            b[depth * n + column] = sign(self.op.negate_b, value);
                        });
                        let elements = std::sync::Arc::new(b);
                        if worker.cluster.operands.len() == KEPT {
                            worker.cluster.operands.remove(0);
                        }
                        worker.cluster.operands.push(Shared {
                            key: self.key,
                            elements: elements.clone(),
                            special: odd,
                        });
                        (elements, odd)
                    }
                };
                special |= odd;
                Product { model, formats, sum, shape: (ROWS, n, k), a: &a, b: &b, special }.add_to(d);
            }
            Arithmetic::Integer { a: a_type, b: b_type, saturate } => {
                let k = DEPTH;
                let mut a = vec![0; ROWS * k];
                let mut b = vec![0; k * n];
                match (&self.op.a, &self.a) {
                    (_, Some(tile)) => {
                        tile.integers(worker, a_type, |row, depth, value| a[row * k + depth] = value)
                    }
                    (GroupA::Registers(slots), None) => {
                        for (register, slot) in slots.iter().enumerate() {
                            for (lane, word) in row(words, *slot).iter().enumerate() {
                                for at in 0..4 {
                                    let (row, depth) = a_place(2, 4, register, lane, at);
                                    a[row * k + depth] = a_type.value(word >> (8 * at));
                                }
                            }
                        }
                    }
                    (GroupA::Shared { .. }, None) => {}
                }
                self.b.integers(worker, b_type, |column, depth, value| b[depth * n + column] = value);
                multiply_integers((ROWS, n, k), &a, &b, saturate, d);
            }
            Arithmetic::Bits { and } => {
                let width = DEPTH / 4;
                let mut a = vec![0; ROWS * width];
                match (&self.op.a, &self.a) {
                    // Rows of two chunks, K-major: the words are in order.
                    (_, Some(tile)) => a.copy_from_slice(&tile.words(worker)),
                    (GroupA::Registers(slots), None) => {
                        for (register, slot) in slots.iter().enumerate() {
                            for (lane, word) in row(words, *slot).iter().enumerate() {
                                let (row, depth) = a_place(2, 1, register, lane, 0);
                                a[row * width + depth] = *word;
                            }
                        }
                    }
                    (GroupA::Shared { .. }, None) => {}
                }
                multiply_bits((ROWS, n), width, &a, &self.b.words(worker), and, d);
            }
            Arithmetic::Double { .. } => {}
        }
    }
}
