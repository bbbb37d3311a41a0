//! Loads: global, through shared memory, and what the loaded bytes mean.

use factory_ptx::builder::{B16, B32, B64, LoadHint, Pred, Priority, Reg};
use factory_spec::{ArgId, DType, Role};

use super::{Lowering, Raw};
use crate::generator::config::{Keep, Weights};
use crate::generator::split::{Across, Along};
use crate::generator::value::Value;

/// Rows on their way through shared memory.
pub(super) struct Staged {
    /// Tensors and where each begins in a stage.
    tensors: Vec<(ArgId, u32)>,
    stage_bytes: u32,
    stages: u32,
    /// This thread's place in the first stage.
    base: Reg<B32>,
    /// Offset of the stage at work and of the one to be filled; `None` with one stage.
    current: Option<Reg<B32>>,
    filling: Option<Reg<B32>>,
}

impl Staged {
    /// Bytes of dynamic shared memory.
    pub(super) fn bytes(&self) -> u32 {
        self.stage_bytes * self.stages
    }
}

/// Bytes of one access of a vector: at most 16.
pub(in crate::generator) fn piece_bytes(vector: u32, dtype: DType) -> u32 {
    (vector * dtype.size() as u32).min(16)
}

impl Lowering<'_> {
    fn vector_bytes(&self, arg: ArgId) -> u32 {
        self.config().vector * self.dtype(arg).size() as u32
    }

    /// Byte distance between a thread's chunks.
    pub(super) fn chunk_stride(&self, arg: ArgId) -> i64 {
        i64::from(self.config().threads) * i64::from(self.vector_bytes(arg))
    }

    fn is_staged(&self, arg: ArgId) -> bool {
        self.staged.as_ref().is_some_and(|staged| staged.tensors.iter().any(|(known, _)| *known == arg))
    }

    fn load_hint(&self, arg: ArgId) -> LoadHint {
        let bound = &self.source.spec.args[arg.index()];
        let read_only = bound.role == Role::In;
        let (split, load) = (self.source.split, self.config().load);
        let access = split.tensor(arg);
        if access.across == Across::Same && (!split.rows.is_empty() || access.along == Along::Same) {
            // Operands that every block wants: no hint that would throw them out.
            return LoadHint { read_only, ..LoadHint::default() };
        }
        // What is written as well as read is written back as soon as it can be.
        let kept = load.priority == Priority::EvictLast && !read_only;
        let priority = if kept { Priority::Normal } else { load.priority };
        LoadHint { read_only, priority, ..load }
    }

    /// The condition under which this thread loads. Rows beyond the last repeat the last one, which an argument that is
    /// written too must not do: the row's owner may be storing to it.
    fn load_guard(
        &mut self,
        arg: ArgId,
        inside: Option<Reg<Pred>>,
        active: Option<Reg<Pred>>,
    ) -> Option<Reg<Pred>> {
        let in_place = self.source.spec.args[arg.index()].role == Role::InOut;
        match (inside, active.filter(|_| in_place)) {
            (Some(inside), Some(active)) => Some(self.e.and_pred(inside, active)),
            (inside, active) => inside.or(active),
        }
    }

    /// Loads one vector of a dense tensor from global memory.
    fn load_global(&mut self, arg: ArgId, chunk: u32) -> Raw {
        let address = self.dense_address(arg);
        let offset = i64::from(chunk) * self.chunk_stride(arg);
        let hint = self.load_hint(arg);
        let bytes = self.vector_bytes(arg);
        let inside = self.load_guard(arg, self.inside[chunk as usize], self.position.active);
        let raw = self.fresh_raw(bytes, inside.is_some());
        let emit = |e: &mut factory_ptx::builder::Entry| match &raw {
            Raw::Half(half) if bytes == 1 => e.load_global_byte_into(*half, address, offset, hint),
            Raw::Half(half) => e.load_global_into(&[*half], address, offset, hint),
            Raw::Words(words) => {
                for (piece, words) in words.chunks(4).enumerate() {
                    e.load_global_into(words, address, offset + piece as i64 * 16, hint);
                }
            }
        };
        match inside {
            Some(inside) => self.e.guarded(inside, emit),
            None => emit(&mut self.e),
        }
        raw
    }

    /// Registers for a vector; zero where a guard may leave them.
    fn fresh_raw(&mut self, bytes: u32, zeroed: bool) -> Raw {
        if bytes < 4 {
            let half = if zeroed { self.e.copy::<B16>(0u16) } else { self.e.register() };
            return Raw::Half(half);
        }
        let words =
            (0..bytes / 4).map(|_| if zeroed { self.e.copy::<B32>(0) } else { self.e.register() }).collect();
        Raw::Words(words)
    }

    fn load_shared(&mut self, arg: ArgId, chunk: u32) -> Raw {
        let bytes = self.vector_bytes(arg);
        let inside = self.load_guard(arg, self.inside[chunk as usize], self.position.active);
        let raw = self.fresh_raw(bytes, inside.is_some());
        let (base, start) = self.stage_address(arg, false);
        let Raw::Words(words) = &raw else { unreachable!("a staged vector has at least four bytes") };
        let piece_bytes = bytes.min(16);
        let pieces = bytes / piece_bytes;
        let threads = self.config().threads;
        let emit = |e: &mut factory_ptx::builder::Entry| {
            for (piece, words) in words.chunks(4).enumerate() {
                let offset = start + (chunk * pieces + piece as u32) * threads * piece_bytes;
                e.load_shared_into(words, base, i64::from(offset));
            }
        };
        match inside {
            Some(inside) => self.e.guarded(inside, emit),
            None => emit(&mut self.e),
        }
        raw
    }

    /// The loaded bytes of a vector, loaded now if they are not there yet.
    pub(super) fn raw(&mut self, arg: ArgId, chunk: u32) -> Raw {
        if let Some(raw) = self.raw.get(&(arg, chunk)) {
            return raw.clone();
        }
        let raw =
            if self.is_staged(arg) { self.load_shared(arg, chunk) } else { self.load_global(arg, chunk) };
        self.raw.insert((arg, chunk), raw.clone());
        raw
    }

    /// Loads one element at an address.
    pub(super) fn load_element(&mut self, arg: ArgId, address: Reg<B64>, inside: Option<Reg<Pred>>) -> Value {
        let inside = self.load_guard(arg, inside, self.position.active);
        let dtype = self.dtype(arg);
        let hint = self.load_hint(arg);
        let bytes = dtype.size() as u32;
        let raw = self.fresh_raw(bytes, inside.is_some());
        let emit = |e: &mut factory_ptx::builder::Entry| match &raw {
            Raw::Half(half) if bytes == 1 => e.load_global_byte_into(*half, address, 0, hint),
            Raw::Half(half) => e.load_global_into(&[*half], address, 0, hint),
            Raw::Words(words) => e.load_global_into(words, address, 0, hint),
        };
        match inside {
            Some(inside) => self.e.guarded(inside, emit),
            None => emit(&mut self.e),
        }
        self.unpack(&raw, dtype, 0)
    }

    /// Issues every load of the row that may come before the first pass.
    pub(super) fn load_ahead(&mut self) {
        if self.config().keep == Keep::Reread && self.source.split.reduces {
            return;
        }
        for arg in self.element_reads() {
            let access = self.source.split.tensor(arg);
            let weight = access.across == Across::Same;
            if access.along == Along::Dense
                && !self.is_staged(arg)
                && (!weight || self.config().weights == Weights::Early || !self.source.split.reduces)
            {
                for chunk in 0..self.config().chunks {
                    self.raw(arg, chunk);
                }
            }
        }
    }

    /// Loads the row-invariant operands once, before the first row.
    pub(super) fn load_weights(&mut self) {
        for arg in self.element_reads() {
            let access = self.source.split.tensor(arg);
            if access.across == Across::Same && access.along == Along::Dense {
                for chunk in 0..self.config().chunks {
                    self.raw(arg, chunk);
                }
            }
        }
    }

    /// Forgets what must be loaded again, at the start of a row (`row`) or of a later pass.
    pub(super) fn forget_loads(&mut self, row: bool) {
        let keep = self.config().keep;
        let split = self.source.split;
        let resident = self.config().weights == Weights::Resident;
        let staged: Vec<ArgId> =
            self.staged.iter().flat_map(|staged| staged.tensors.iter().map(|(arg, _)| *arg)).collect();
        self.raw.retain(|(arg, _), _| {
            let weight = split.tensor(*arg).across == Across::Same;
            if weight && resident {
                return true;
            }
            !row && keep != Keep::Reread && !staged.contains(arg)
        });
    }

    /// Decides where rows lie in shared memory.
    pub(super) fn stage_layout(&mut self) {
        let config = self.config();
        let mut tensors = Vec::new();
        let mut stage_bytes = 0;
        for arg in self.element_reads() {
            let access = self.source.split.tensor(arg);
            if access.across != Across::Same && access.along == Along::Dense && self.vector_bytes(arg) >= 4 {
                tensors.push((arg, stage_bytes));
                stage_bytes += self.vector_bytes(arg) * config.threads * config.chunks * config.rows;
            }
        }
        let base = self.e.dynamic_shared("stages", 16);
        let (current, filling) = if config.stages > 1 {
            let filling = self.e.copy::<B32>(((config.stages - 1) * stage_bytes) as i32);
            (Some(self.e.copy::<B32>(0)), Some(filling))
        } else {
            (None, None)
        };
        self.staged = Some(Staged { tensors, stage_bytes, stages: config.stages, base, current, filling });
    }

    /// This thread's address of a staged tensor, and an offset to add.
    fn stage_address(&mut self, arg: ArgId, filling: bool) -> (Reg<B32>, u32) {
        let config = self.config();
        let bytes = self.vector_bytes(arg);
        let staged = self.staged.as_ref().expect("only staged tensors are addressed here");
        let start = staged.tensors.iter().find(|(known, _)| *known == arg).expect("the tensor is staged").1;
        let (base, offset) = (staged.base, if filling { staged.filling } else { staged.current });
        // Piece by piece across the threads, so that neighbours touch neighbouring banks.
        let mut address = self.e.mad_lo_s32(self.thread, bytes.min(16) as i32, base);
        if config.rows > 1 {
            address = self.e.mad_lo_s32(
                self.row_in_block,
                (bytes * config.threads * config.chunks) as i32,
                address,
            );
        }
        if let Some(offset) = offset {
            address = self.e.add_s32(address, offset);
        }
        (address, start)
    }

    /// Starts the copies of the group of rows at `base` into the stage that is to be filled.
    fn copy_rows(&mut self, base: Reg<B64>) {
        let config = self.config();
        let position = self.position_at(base);
        let tensors: Vec<ArgId> = self
            .staged
            .as_ref()
            .expect("copies are made for staged tensors")
            .tensors
            .iter()
            .map(|(arg, _)| *arg)
            .collect();
        for arg in tensors {
            let row = self.row_address(arg, &position);
            let source = self.thread_address(arg, row, None);
            let (target, start) = self.stage_address(arg, true);
            let bytes = self.vector_bytes(arg);
            let hint = self.load_hint(arg);
            let piece_bytes = bytes.min(16);
            let pieces = bytes / piece_bytes;
            for chunk in 0..config.chunks {
                let from = i64::from(chunk) * self.chunk_stride(arg);
                let inside = self.load_guard(arg, self.inside[chunk as usize], position.active);
                let emit = |e: &mut factory_ptx::builder::Entry| {
                    for piece in 0..pieces {
                        let to = start + (chunk * pieces + piece) * config.threads * piece_bytes;
                        let from = from + i64::from(piece * 16);
                        e.copy_async(target, i64::from(to), source, from, piece_bytes, hint);
                    }
                };
                match inside {
                    Some(inside) => self.e.guarded(inside, emit),
                    None => emit(&mut self.e),
                }
            }
        }
    }

    fn copy_rows_if_any(&mut self, base: Reg<B64>) {
        let count = self.source.split.row_count(self.source.spec);
        let limit = self.size64(&count);
        let some = self.e.setp_s64("lt", base, limit);
        let skip = self.e.label();
        self.e.branch_if(some, false, skip);
        self.copy_rows(base);
        self.e.place(skip);
        // A group for every stage, empty or not: waiting counts groups.
        self.e.commit_copies();
    }

    /// Before the first row: fills all stages but one; with one stage and no loop, the row itself.
    pub(super) fn issue_first_stages(&mut self, first: Reg<B64>, step: Option<Reg<B64>>) {
        let Some(staged) = &self.staged else { return };
        let (stages, stage_bytes, filling) = (staged.stages, staged.stage_bytes, staged.filling);
        let Some(step) = step else {
            self.copy_rows(first);
            self.e.commit_copies();
            self.e.wait_copies(0);
            return;
        };
        let mut base = first;
        for stage in 0..stages - 1 {
            if let Some(filling) = filling {
                self.e.assign(filling, (stage * stage_bytes) as i32);
            }
            self.copy_rows_if_any(base);
            base = self.e.add_s64(base, step);
        }
        if let Some(filling) = filling {
            self.e.assign(filling, ((stages - 1) * stage_bytes) as i32);
        }
    }

    /// At the head of a row: starts the copies of the row that is `stages - 1` steps ahead and waits for this one.
    pub(super) fn issue_next_stage(&mut self, base: Reg<B64>, step: Reg<B64>) {
        let Some(staged) = &self.staged else { return };
        let ahead = staged.stages - 1;
        let mut target = base;
        if ahead > 0 {
            target = self.e.mad_lo_s64(step, i64::from(ahead), base);
        }
        self.copy_rows_if_any(target);
        self.e.wait_copies(ahead);
    }

    /// At the end of a row: the next stages in turn.
    pub(super) fn advance_stage(&mut self) {
        let Some(staged) = &self.staged else { return };
        let end = (staged.stage_bytes * staged.stages) as i32;
        let stage_bytes = staged.stage_bytes as i32;
        for offset in [staged.current, staged.filling].into_iter().flatten() {
            let next = self.e.add_s32(offset, stage_bytes);
            let wraps = self.e.setp_s32("eq", next, end);
            let next = self.e.select_b32(0, next, wraps);
            self.e.assign(offset, next);
        }
    }

    /// Element `index` of a loaded vector.
    pub(super) fn unpack(&mut self, raw: &Raw, dtype: DType, index: u32) -> Value {
        let e = &mut self.e;
        let per_word = 4 / (dtype.size() as u32).min(4);
        // The 32-bit word that holds the element, and its place in there.
        let (word, place) = match raw {
            Raw::Words(words) => {
                (words[(index / per_word) as usize * (dtype.size() / 4).max(1)], index % per_word)
            }
            Raw::Half(half) => (e.u32_from_u16(*half), index),
        };
        let value = match dtype {
            DType::F32 => Value::F32(e.f32_of_bits(word).into()),
            DType::I32 => Value::S32(word.into()),
            DType::U32 => Value::S64(e.u64_from_u32(word).into()),
            DType::F64 | DType::I64 => {
                let Raw::Words(words) = raw else { unreachable!("eight bytes are two words") };
                let joined = e.join_b64(words[2 * index as usize], words[2 * index as usize + 1]);
                if dtype == DType::F64 {
                    Value::F64(e.f64_of_bits(joined).into())
                } else {
                    Value::S64(joined.into())
                }
            }
            DType::BF16 => {
                let bits = if place == 0 { e.shl_b32(word, 16) } else { e.and_b32(word, 0xffff_0000u32) };
                Value::F32(e.f32_of_bits(bits).into())
            }
            DType::F16 => {
                let (low, high) = e.split_b32(word);
                Value::F32(e.f32_from_f16(if place == 0 { low } else { high }).into())
            }
            DType::F8E4M3 | DType::F8E5M2 => {
                let (low, high) = e.split_b32(word);
                let bytes = if place < 2 { low } else { high };
                let pair = if dtype == DType::F8E4M3 {
                    e.f16x2_from_e4m3x2(bytes)
                } else {
                    e.f16x2_from_e5m2x2(bytes)
                };
                let (low, high) = e.split_b32(pair);
                Value::F32(e.f32_from_f16(if place % 2 == 0 { low } else { high }).into())
            }
            DType::I8 => Value::S32(e.bfe_s32(word, (place * 8) as i32, 8).into()),
            _ => Value::S32(e.bfe_u32(word, (place * 8) as i32, 8).into()),
        };
        if dtype.is_float() { value.float(e, self.floats) } else { value }
    }
}
