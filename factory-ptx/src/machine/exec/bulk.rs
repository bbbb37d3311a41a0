//! Bulk copies between global and shared memory, their groups, and what else `Kind::Bulk` stands for.

use super::bulk_move::{Move, Part};
use super::collective::lanes_of;
use super::pending::{Completion, Pending, Place, Span};
use super::spot::{Run, SpotKind, addresses};
use super::state::Warp;
use super::step::Flow;
use super::{Trouble, Worker, plain_trouble, trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::FenceKind;
use crate::machine::inst::bulk::{Bulk, BulkCopy, Route};
use crate::machine::inst::mbarrier::Scope;
use crate::machine::inst::{Address, Inst, Space};
use crate::machine::lanes::{LANES, Lane, NONE};
use crate::machine::tensor_map::Field;

/// What an address of an asynchronous operation must be a multiple of.
pub(super) fn aligned(lane: u32, address: u64, multiple: u64, what: &str) -> Result<(), Trouble> {
    if address.is_multiple_of(multiple) {
        return Ok(());
    }
    let detail = format!("{what} must be a multiple of {multiple}");
    Err(trouble(FaultKind::Misaligned, lane, address, detail))
}

/// Joins spans that touch each other.
pub(super) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    let key = |span: &Span| match span.place {
        Place::Shared(block) => (0, block, span.start),
        Place::Global(region) => (1, region, span.start),
    };
    if !spans.is_sorted_by_key(key) {
        spans.sort_unstable_by_key(key);
    }
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if last.place == span.place && span.start <= last.start + last.len => {
                last.len = last.len.max(span.start + span.len - last.start);
            }
            _ => joined.push(span),
        }
    }
    joined
}

/// The same bytes of another block's shared memory.
pub(super) fn in_block(span: Span, block: usize) -> Span {
    Span { place: Place::Shared(block), ..span }
}

impl Worker<'_> {
    pub(super) fn bulk(
        &mut self,
        warp: &mut Warp,
        _chosen: usize,
        base: usize,
        _inst: &Inst,
        op: &Bulk,
        active: u32,
    ) -> Result<Flow, Trouble> {
        match op {
            Bulk::Copy(copy) => self.bulk_copy(warp, base, copy, active)?,
            Bulk::Tensor(copy) => self.tile_copy(warp, base, copy, active)?,
            Bulk::Prefetch { source, size } => self.bulk_prefetch(warp, base, source, *size, active)?,
            Bulk::Commit => self.bulk_commit(warp, active),
            Bulk::Wait { pending, read } => self.bulk_wait(warp, *pending, *read, active)?,
            Bulk::Replace { space, address, field, value, wide } => {
                let words = &warp.words[base..];
                let values =
                    if *wide { u64::load(words, *value) } else { u32::load(words, *value).map(u64::from) };
                self.replace(warp, base, *space, address, *field, &values, active)?;
            }
            Bulk::CopyMap { destination, source } => {
                self.copy_map(warp, base, destination, source, active)?
            }
            Bulk::Arrive { space, address, noinc } => {
                self.copy_arrive(warp, base, *space, address, *noinc, active)?
            }
            Bulk::Store(store) => self.store_async(warp, base, store, active)?,
            Bulk::Reduce(reduce) => self.reduce_async(warp, base, reduce, active)?,
            Bulk::Zero { space, address, size } => {
                self.store_zeros(warp, base, *space, address, *size, active)?
            }
        }
        Ok(Flow::Next)
    }

    /// Block and offset of an mbarrier that an operation is to complete on.
    pub(super) fn barrier_place(
        &self,
        warp: &Warp,
        space: Space,
        address: u64,
        lane: u32,
    ) -> Result<(usize, usize), Trouble> {
        aligned(lane, address, 8, "the address of an mbarrier")?;
        let span = self.span(warp, space, address, 8, lane)?;
        match span.place {
            Place::Shared(block) => Ok((block, span.start)),
            Place::Global(_) => {
                let detail = "an mbarrier lies in shared memory";
                Err(trouble(FaultKind::OutOfBounds, lane, address, detail))
            }
        }
    }

    /// The blocks that a multicast goes to.
    pub(super) fn multicast_blocks(&self, mask: u32, lane: u32) -> Result<Vec<usize>, Trouble> {
        let blocks = self.cluster.blocks.len();
        let mask = mask & 0xffff;
        if mask == 0 || mask >> blocks != 0 {
            let detail = format!("a mask of blocks of {mask:#06x} in a cluster of {blocks}");
            return Err(plain_trouble(FaultKind::UndefinedOperand, lane, detail));
        }
        Ok((0..blocks).filter(|block| mask >> block & 1 != 0).collect())
    }

    /// Counts ranges of global memory that a copy moves.
    pub(super) fn count_spans(&mut self, spans: &[Span], store: bool) {
        for span in spans {
            if let Place::Global(region) = span.place {
                self.count_global_range(region, span.start as u64, span.len as u64, store);
            }
        }
    }

    fn bulk_copy(
        &mut self,
        warp: &mut Warp,
        base: usize,
        copy: &BulkCopy,
        active: u32,
    ) -> Result<(), Trouble> {
        let words = &warp.words[base..];
        let targets = addresses(words, &copy.destination, active);
        let sources = addresses(words, &copy.source, active);
        let sizes = u32::load(words, copy.size);
        let barriers = copy.barrier.map(|barrier| addresses(words, &barrier, active));
        let masks = (copy.multicast != NONE).then(|| u32::load(words, copy.multicast));
        let byte_masks = (copy.byte_mask != NONE).then(|| u32::load(words, copy.byte_mask));
        let (from_space, to_space) = match copy.route {
            Route::GlobalToShared { cluster: true } => (Space::Global, Space::SharedCluster),
            Route::GlobalToShared { cluster: false } => (Space::Global, Space::Shared),
            Route::SharedToShared => (Space::Shared, Space::SharedCluster),
            Route::SharedToGlobal => (Space::Shared, Space::Global),
        };
        for index in lanes_of(active) {
            let lane = index as u32;
            let size = sizes[index] as usize;
            if !size.is_multiple_of(16) {
                let detail = format!("the size of a bulk copy must be a multiple of 16 bytes, it is {size}");
                return Err(plain_trouble(FaultKind::UndefinedOperand, lane, detail));
            }
            aligned(lane, targets[index], 16, "the destination of a bulk copy")?;
            aligned(lane, sources[index], 16, "the source of a bulk copy")?;
            let from = self.span(warp, from_space, sources[index], size, lane)?;
            let to = self.span(warp, to_space, targets[index], size, lane)?;
            let mut ends = vec![(to, Completion::BulkGroup)];
            if let Some(barriers) = &barriers {
                let (block, offset) = self.barrier_place(warp, to_space, barriers[index], lane)?;
                if to.place != Place::Shared(block) {
                    let detail = "the mbarrier must lie in the same block's shared memory as the destination";
                    return Err(trouble(FaultKind::UndefinedOperand, lane, barriers[index], detail));
                }
                let done = |block| Completion::Transaction { block, offset, bytes: size as u32 };
                ends = match &masks {
                    None => vec![(to, done(block))],
                    Some(masks) => self
                        .multicast_blocks(masks[index], lane)?
                        .into_iter()
                        .map(|block| (in_block(to, block), done(block)))
                        .collect(),
                };
            }
            self.count_async(size as u64);
            self.count_spans(&[from], false);
            for (to, completion) in ends {
                let mut parts = vec![Part { from: Some(from), to }];
                if let Some(byte_masks) = &byte_masks {
                    parts = masked(from, to, byte_masks[index]);
                }
                let writes = merged(parts.iter().map(|part| part.to).collect());
                self.count_spans(&writes, true);
                let reads = merged(parts.iter().filter_map(|part| part.from).collect());
                self.issue(
                    warp,
                    Pending {
                        lane,
                        action: Box::new(Move::new(parts, copy.reduction)),
                        reads,
                        writes,
                        reduces: copy.reduction.is_some(),
                        async_proxy: true,
                        queue: None,
                        completion,
                    },
                )?;
            }
        }
        Ok(())
    }

    /// A prefetch has no effect, but its operands must be good.
    fn bulk_prefetch(
        &mut self,
        warp: &Warp,
        base: usize,
        source: &Address,
        size: u32,
        active: u32,
    ) -> Result<(), Trouble> {
        let sources = addresses(&warp.words[base..], source, active);
        let sizes = u32::load(&warp.words[base..], size);
        for index in lanes_of(active) {
            let lane = index as u32;
            if !sizes[index].is_multiple_of(16) {
                let detail = format!("the size must be a multiple of 16 bytes, it is {}", sizes[index]);
                return Err(plain_trouble(FaultKind::UndefinedOperand, lane, detail));
            }
            aligned(lane, sources[index], 16, "the source of a prefetch")?;
            self.span(warp, Space::Global, sources[index], sizes[index] as usize, lane)?;
        }
        Ok(())
    }

    // --- Tensor maps in memory ----------------------------------------------------------------------------------

    /// The two halves of a tensor map in memory, each as a run of one lane.
    fn map_runs(
        &mut self,
        warp: &Warp,
        space: Space,
        address: u64,
        lane: usize,
    ) -> Result<[(Run, [u64; LANES]); 2], Trouble> {
        let half = |worker: &mut Self, at: u64| {
            let lanes = [at; LANES];
            Ok((worker.run_of(warp, space, &lanes, 1 << lane, 64)?, lanes))
        };
        Ok([half(self, address)?, half(self, address + 64)?])
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one instruction")]
    fn replace(
        &mut self,
        warp: &Warp,
        base: usize,
        space: Space,
        address: &Address,
        field: Field,
        values: &[u64; LANES],
        active: u32,
    ) -> Result<(), Trouble> {
        let places = addresses(&warp.words[base..], address, active);
        for lane in lanes_of(active) {
            let halves = self.map_runs(warp, space, places[lane], lane)?;
            let mut bytes = [0; 128];
            for (half, (run, lanes)) in halves.iter().enumerate() {
                self.count_access(run, 64, true);
                self.check_read(warp, run, 64, lanes, false)?;
                self.check_write(warp, run, 64, lanes, false)?;
                self.run_read(run, lane, &mut bytes[64 * half..][..64]);
            }
            crate::machine::tensor_map::replace(&mut bytes, field, values[lane]).map_err(|error| {
                trouble(FaultKind::UndefinedOperand, lane as u32, places[lane], error.to_string())
            })?;
            if matches!(halves[0].0.spot.kind, SpotKind::Global(_)) {
                self.cluster.changed_maps.push(places[lane]);
            }
            for (half, (run, _)) in halves.iter().enumerate() {
                self.run_write(run, lane, &bytes[64 * half..][..64]);
            }
        }
        Ok(())
    }

    /// `tensormap.cp_fenceproxy`: one copy for the warp.
    fn copy_map(
        &mut self,
        warp: &mut Warp,
        base: usize,
        destination: &Address,
        source: &Address,
        active: u32,
    ) -> Result<(), Trouble> {
        let lane = active.trailing_zeros() as usize & 31;
        let to = addresses(&warp.words[base..], destination, active);
        let from = addresses(&warp.words[base..], source, active);
        if let Some(other) =
            lanes_of(active).find(|other| to[*other] != to[lane] || from[*other] != from[lane])
        {
            let detail = "lanes of one warp name different tensor maps";
            return Err(trouble(FaultKind::UndefinedOperand, other as u32, to[other], detail));
        }
        let mut bytes = [0; 128];
        for (half, (run, lanes)) in self.map_runs(warp, Space::Shared, from[lane], lane)?.iter().enumerate() {
            self.count_access(run, 64, false);
            self.check_read(warp, run, 64, lanes, false)?;
            self.run_read(run, lane, &mut bytes[64 * half..][..64]);
        }
        for (half, (run, lanes)) in self.map_runs(warp, Space::Global, to[lane], lane)?.iter().enumerate() {
            self.count_access(run, 64, true);
            self.check_write(warp, run, 64, lanes, true)?;
            self.run_write(run, lane, &bytes[64 * half..][..64]);
        }
        self.cluster.changed_maps.push(to[lane]);
        self.fence(warp, &FenceKind::Memory { scope: Scope::Gpu, acquire: false, release: true });
        Ok(())
    }

    /// `st.bulk`: zeros, at once.
    fn store_zeros(
        &mut self,
        warp: &Warp,
        base: usize,
        space: Space,
        address: &Address,
        size: u32,
        active: u32,
    ) -> Result<(), Trouble> {
        let places = addresses(&warp.words[base..], address, active);
        let sizes = u64::load(&warp.words[base..], size);
        for lane in lanes_of(active) {
            let size = sizes[lane];
            if !size.is_multiple_of(8) {
                let detail = format!("the size must be a multiple of 8 bytes, it is {size}");
                return Err(plain_trouble(FaultKind::UndefinedOperand, lane as u32, detail));
            }
            let span = self.span(
                warp,
                space,
                places[lane],
                usize::try_from(size).unwrap_or(usize::MAX),
                lane as u32,
            )?;
            if !matches!(span.place, Place::Shared(_)) {
                let detail = "st.bulk stores to shared memory";
                return Err(trouble(FaultKind::OutOfBounds, lane as u32, places[lane], detail));
            }
            for part in (0..size).step_by(8) {
                let lanes = [places[lane] + part; LANES];
                let run = self.run_of(warp, space, &lanes, 1 << lane, 8)?;
                self.count_access(&run, 8, true);
                self.check_write(warp, &run, 8, &lanes, false)?;
                self.run_write(&run, lane, &[0; 8]);
            }
        }
        Ok(())
    }

    /// Reads the bytes of one lane of a run.
    pub(super) fn run_read(&self, run: &Run, lane: usize, into: &mut [u8]) {
        for (index, byte) in into.iter_mut().enumerate() {
            // SAFETY: the caller asked `run_of` for as many bytes.
            *byte =
                unsafe { super::access::read_raw::<1>(run.spot.data.add(run.offsets[lane] + index)) } as u8;
        }
    }

    /// Writes the bytes of one lane of a run, which the caller has checked for writing.
    pub(super) fn run_write(&self, run: &Run, lane: usize, bytes: &[u8]) {
        if !run.spot.writable || matches!(run.spot.kind, SpotKind::Param) {
            return;
        }
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: the caller asked `run_of` for as many bytes, and they may be written.
            unsafe {
                super::access::write_raw::<1>(run.spot.data.add(run.offsets[lane] + index), u64::from(*byte))
            };
        }
    }
}

/// The parts of a copy of which only some bytes of each 16 are moved.
fn masked(from: Span, to: Span, mask: u32) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut open = false;
    for byte in 0..to.len {
        let chosen = mask >> (byte % 16) & 1 != 0;
        if chosen
            && open
            && let Some(part) = parts.last_mut()
        {
            part.to.len += 1;
            part.from = part.from.map(|span| Span { len: span.len + 1, ..span });
        } else if chosen {
            parts.push(Part {
                from: Some(Span { start: from.start + byte, len: 1, ..from }),
                to: Span { start: to.start + byte, len: 1, ..to },
            });
        }
        open = chosen;
    }
    parts
}
