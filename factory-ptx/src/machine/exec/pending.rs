//! Operations that take effect later: bulk and tensor copies, `st.async`, `red.async`, `wgmma`, `tcgen05`.
//!
//! # How an instruction issues one
//!
//! ```text
//! let source = self.span(warp, Space::Shared, address, 4096, lane)?;        // bounds are checked here
//! let target = self.span(warp, Space::Global, other, 4096, lane)?;
//! self.issue(warp, Pending {
//!     lane,                                   // who issued it (of `warp`)
//!     action: Box::new(MyCopy { … }),         // what happens: `impl Action for MyCopy`
//!     reads: vec![source],                    // pinned until the completion is observed
//!     writes: vec![target],                   // PENDING until the action has run
//!     reduces: false,                         // writes may overlap those of other reductions in flight
//!     async_proxy: true,                      // bulk copies, wgmma, tcgen05; not st.async and red.async
//!     queue: None,                            // Some(key): those with one key run in the order of their issue
//!     completion: Completion::Transaction { block, offset, bytes },
//! })?;
//! ```
//!
//! The machine runs the action at a moment that it chooses by the seed: at the end of the warp's turn, some turns
//! later, or only when nobody else can go on; at the latest at the wait for its group. The action moves the bytes with
//! [`Worker::span_read`] and [`Worker::span_write`] (no checks: they were made at the issue) and may change registers
//! of the warp that issued it, which it is given.
//!
//! # What is checked
//!
//! At the issue: the sources are initialised, not themselves in flight, ordered before the issue, and (for the async
//! proxy) behind a proxy fence; the targets may be written, are not in flight, and are pinned by nobody. While the
//! operation is in flight others may neither read nor write the targets ([`FaultKind::AsyncNotWaited`]), nor write the
//! sources ([`FaultKind::AsyncSourceOverwritten`]). After the action has run its effects belong to an agent of their
//! own in the happens-before order: only who has observed the completion is behind them.
//!
//! # Groups
//!
//! [`Completion::BulkGroup`] belongs to the open bulk async-group of the lane: [`Worker::bulk_commit`] closes it,
//! [`Worker::bulk_wait`] waits (`.read`: only for the sources). [`Completion::MatrixGroup`] is the same for the warp's
//! `wgmma` groups: [`Worker::matrix_commit`], [`Worker::matrix_wait`].

use super::access::{read_raw, write_raw};
use super::check::{PENDING, WRITTEN};
use super::spot::{Run, SpotKind};
use super::state::Warp;
use super::{Trouble, Worker, trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::Space;
use crate::machine::lanes::LANES;

/// What an operation does when its time has come.
pub(super) trait Action {
    /// Moves the bytes or computes. `warp` is the one that issued the operation.
    ///
    /// # Errors
    /// Only for what could not be found out at the issue.
    fn run(&mut self, worker: &mut Worker<'_>, warp: &mut Warp) -> Result<(), Trouble>;
}

/// An action that does nothing: for operations that only signal that those before them in their queue are done.
pub(super) struct Nothing;

impl Action for Nothing {
    fn run(&mut self, _worker: &mut Worker<'_>, _warp: &mut Warp) -> Result<(), Trouble> {
        Ok(())
    }
}

/// Where a span lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Shared memory of this block of the cluster; offsets count from its first byte.
    Shared(usize),
    /// Global memory: index of the region; offsets count from its first byte.
    Global(usize),
}

/// A run of bytes, inside its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) place: Place,
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Span {
    fn meets(&self, place: Place, start: usize, end: usize) -> bool {
        self.place == place && self.start < end && start < self.start + self.len
    }
}

/// How those who wait learn that an operation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completion {
    /// `complete_tx` of so many bytes on the mbarrier at an offset of a block's shared memory (from its first byte).
    Transaction { block: usize, offset: usize, bytes: u32 },
    /// An arrival on an mbarrier, when everything before it in its queue is done: `tcgen05.commit`,
    /// `cp.async.mbarrier.arrive` (whose form without `.noinc` first adds one to the pending count).
    Arrival { block: usize, offset: usize, count: u32 },
    /// The open bulk async-group of the lane.
    BulkGroup,
    /// The open wgmma group of the warp.
    MatrixGroup,
    /// Nobody waits (prefetches).
    Nobody,
}

/// An operation to be issued.
pub(super) struct Pending {
    pub(super) lane: u32,
    pub(super) action: Box<dyn Action>,
    pub(super) reads: Vec<Span>,
    pub(super) writes: Vec<Span>,
    pub(super) reduces: bool,
    pub(super) async_proxy: bool,
    pub(super) queue: Option<u64>,
    pub(super) completion: Completion,
}

/// An operation that was issued and not observed yet.
pub(super) struct Flight {
    pub(super) block: usize,
    pub(super) warp: u32,
    pub(super) pc: u32,
    serial: u64,
    /// The turn before which it runs, if nothing forces it earlier.
    due: u64,
    /// Of the lane or the warp.
    group: u32,
    /// The action has run (groups only: others are forgotten then).
    ran: bool,
    /// The sources have been released.
    released: bool,
    pending: Pending,
}

impl Worker<'_> {
    /// The span of `len` bytes at an address, all of which must exist.
    pub(super) fn span(
        &self,
        warp: &Warp,
        space: Space,
        address: u64,
        len: usize,
        lane: u32,
    ) -> Result<Span, Trouble> {
        let spot = self
            .locate(warp, space, address)
            .map_err(|(kind, detail)| trouble(kind, lane, address, detail))?;
        let start = address - spot.base;
        let place = match spot.kind {
            SpotKind::Shared(block) => Place::Shared(block),
            SpotKind::Global(region) => Place::Global(region),
            SpotKind::Local | SpotKind::Param => {
                let detail = "an asynchronous operation works on global or shared memory";
                return Err(trouble(FaultKind::OutOfBounds, lane, address, detail));
            }
        };
        if len as u64 > spot.len - start {
            let name = self.spot_name(&spot, address);
            let detail = format!(
                "the operation's {len} bytes end {} bytes behind the end of `{name}` ({} bytes)",
                len as u64 - (spot.len - start),
                spot.len
            );
            return Err(trouble(FaultKind::OutOfBounds, lane, address, detail).in_buffer(name));
        }
        Ok(Span { place, start: start as usize, len })
    }

    /// Data and (of shared memory) shadow of the first byte of a span, and whether it may be written.
    pub(super) fn span_pointers(&self, span: &Span) -> (*mut u8, *mut u8, bool) {
        let (data, shadow, writable) = match span.place {
            Place::Shared(block) => {
                let owner = &self.cluster.blocks[block];
                let data: *mut u8 = owner.shared.as_ptr().cast_mut().cast();
                (data, owner.shared_shadow.as_ptr().cast_mut().cast::<u8>(), true)
            }
            Place::Global(region) => {
                let region = &self.context.regions[region];
                (region.data, region.shadow.cast(), region.writable)
            }
        };
        // What stands beside global memory is not made of bytes.
        let bytes = matches!(span.place, Place::Shared(_)) && !shadow.is_null();
        let shadow = if bytes { shadow.wrapping_add(span.start) } else { std::ptr::null_mut() };
        (data.wrapping_add(span.start), shadow, writable)
    }

    /// Copies the first bytes of a span out; `into` is not longer than the span.
    pub(super) fn span_read(&self, span: &Span, into: &mut [u8]) {
        let (data, ..) = self.span_pointers(span);
        let len = into.len().min(span.len);
        let (words, rest) = into[..len].as_chunks_mut::<8>();
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: `span` has found the bytes to lie inside their memory.
            *word = unsafe { read_raw::<8>(data.add(8 * index)) }.to_le_bytes();
        }
        let done = 8 * words.len();
        for (index, byte) in rest.iter_mut().enumerate() {
            // SAFETY: as above.
            *byte = unsafe { read_raw::<1>(data.add(done + index)) } as u8;
        }
    }

    /// Copies bytes to the beginning of a span.
    pub(super) fn span_write(&self, span: &Span, bytes: &[u8]) {
        let (data, _, writable) = self.span_pointers(span);
        if !writable {
            return;
        }
        let bytes = &bytes[..bytes.len().min(span.len)];
        let (words, rest) = bytes.as_chunks::<8>();
        for (index, word) in words.iter().enumerate() {
            // SAFETY: `span` has found the bytes to lie inside their memory, which may be written.
            unsafe { write_raw::<8>(data.add(8 * index), u64::from_le_bytes(*word)) };
        }
        for (index, byte) in rest.iter().enumerate() {
            // SAFETY: as above.
            unsafe { write_raw::<1>(data.add(8 * words.len() + index), u64::from(*byte)) };
        }
    }

    /// The address of a byte of a span, as reports name it.
    pub(super) fn span_address(&self, span: &Span, byte: usize) -> (u64, String) {
        match span.place {
            Place::Shared(_) => {
                let address = crate::machine::decode::SHARED_START + (span.start + byte) as u64;
                let names = &self.context.kernel.whole.shared_names;
                let name = names
                    .iter()
                    .find(|(_, start, size)| address >= *start && address - start < *size)
                    .map_or_else(|| "shared memory".to_owned(), |(name, ..)| name.clone());
                (address, name)
            }
            Place::Global(region) => {
                let region = &self.context.regions[region];
                (region.base + (span.start + byte) as u64, region.name.clone())
            }
        }
    }

    pub(super) fn span_trouble(
        &self,
        kind: FaultKind,
        lane: u32,
        span: &Span,
        byte: usize,
        detail: String,
    ) -> Trouble {
        let (address, name) = self.span_address(span, byte);
        trouble(kind, lane, address, detail).in_buffer(name)
    }

    /// The first byte of a span of shared memory whose shadow satisfies the condition.
    pub(super) fn span_find(&self, span: &Span, bad: impl Fn(u8) -> bool) -> Option<(usize, u8)> {
        let Place::Shared(block) = span.place else { return None };
        let states = &self.cluster.blocks[block].shared_shadow[span.start..span.start + span.len];
        states.iter().map(std::cell::Cell::get).enumerate().find(|(_, state)| bad(*state))
    }

    fn span_mark(&self, span: &Span, state: u8) {
        if let Place::Shared(block) = span.place {
            let states = &self.cluster.blocks[block].shared_shadow[span.start..span.start + span.len];
            states.iter().for_each(|byte| byte.set(state));
        }
    }

    /// Issues an operation: checks it, marks its bytes, and puts it among those in flight.
    pub(super) fn issue(&mut self, warp: &mut Warp, pending: Pending) -> Result<(), Trouble> {
        let lane = pending.lane;
        for span in &pending.writes {
            let (_, _, writable) = self.span_pointers(span);
            if !writable {
                let (address, name) = self.span_address(span, 0);
                let detail = format!("`{name}` may only be read");
                return Err(trouble(FaultKind::WriteToInput, lane, address, detail).in_buffer(name));
            }
            if let Some(byte) = self.in_flight(span, pending.reduces) {
                let detail = "the operation writes a byte that another one in flight will write";
                return Err(self.span_trouble(
                    FaultKind::AsyncNotWaited,
                    lane,
                    span,
                    byte,
                    detail.to_owned(),
                ));
            }
            if let Some(byte) = self.pinned(span) {
                let detail = "the operation writes a byte that another one in flight still reads";
                return Err(self.span_trouble(
                    FaultKind::AsyncSourceOverwritten,
                    lane,
                    span,
                    byte,
                    detail.to_owned(),
                ));
            }
        }
        self.check_issue(warp, &pending)?;
        for span in &pending.writes {
            if let Place::Shared(block) = span.place {
                self.any_copies = true;
                self.cluster.blocks[block].received = true;
                self.span_mark(span, PENDING);
            }
        }
        let group = match pending.completion {
            Completion::BulkGroup => warp.bulk_group[lane as usize & 31],
            Completion::MatrixGroup => warp.matrix_group,
            _ => 0,
        };
        // Whoever never waits pays for what is looked through, so that the budget ends it.
        self.executed += self.cluster.flights.len() as u64 / 16;
        self.cluster.issued += 1;
        let due = self.due();
        self.cluster.flights.push(Flight {
            block: warp.block,
            warp: warp.index,
            pc: self.pc,
            serial: self.cluster.issued,
            due,
            group,
            ran: false,
            released: false,
            pending,
        });
        Ok(())
    }

    /// The turn at which an operation issued now is to run.
    fn due(&mut self) -> u64 {
        let now = self.cluster.turns;
        match self.context.options.seed % 4 {
            0 => now + 1,
            1 => now + 1 + self.random() % 8,
            2 => u64::MAX,
            _ => now + 1 + self.random() % 24,
        }
    }

    /// A number that the seed decides.
    pub(super) fn random(&mut self) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.dice >> 33
    }

    /// The first byte of a span that an operation in flight will write (`reduces`: and that is no reduction).
    fn in_flight(&self, span: &Span, reduces: bool) -> Option<usize> {
        self.meeting(span, |flight| {
            let writes = !flight.ran || matches!(flight.pending.completion, Completion::BulkGroup);
            (writes && !(reduces && flight.pending.reduces)).then_some(flight.pending.writes.as_slice())
        })
    }

    /// The first byte of a span that an operation in flight reads.
    fn pinned(&self, span: &Span) -> Option<usize> {
        self.meeting(span, |flight| (!flight.released).then_some(flight.pending.reads.as_slice()))
    }

    fn meeting<'s>(&'s self, span: &Span, spans: impl Fn(&'s Flight) -> Option<&'s [Span]>) -> Option<usize> {
        let end = span.start + span.len;
        self.cluster
            .flights
            .iter()
            .filter_map(spans)
            .flatten()
            .filter(|other| other.meets(span.place, span.start, end))
            .map(|other| other.start.max(span.start) - span.start)
            .min()
    }

    /// Checks an access of a warp against what is in flight.
    #[cold]
    pub(super) fn check_flights(
        &self,
        run: &Run,
        total: usize,
        lanes: &[u64; LANES],
        write: bool,
    ) -> Result<(), Trouble> {
        let place = match run.spot.kind {
            SpotKind::Shared(block) => Place::Shared(block),
            SpotKind::Global(region) => Place::Global(region),
            SpotKind::Local | SpotKind::Param => return Ok(()),
        };
        let active = || (0..LANES).filter(|lane| run.mask >> lane & 1 != 0);
        let low = active().map(|lane| run.offsets[lane]).min().unwrap_or(0);
        let high = active().map(|lane| run.offsets[lane] + total).max().unwrap_or(0);
        for flight in &self.cluster.flights {
            let pinned = write && !flight.released;
            let written = !flight.ran || matches!(flight.pending.completion, Completion::BulkGroup);
            let reads = flight.pending.reads.iter().filter(|_| pinned).map(|span| (span, true));
            let writes = flight.pending.writes.iter().filter(|_| written).map(|span| (span, false));
            for (span, source) in reads.chain(writes).filter(|(span, _)| span.meets(place, low, high)) {
                let Some(lane) =
                    active().find(|lane| span.meets(place, run.offsets[*lane], run.offsets[*lane] + total))
                else {
                    continue;
                };
                let line = self.context.kernel.whole.code.debug.get(flight.pc as usize).copied().unwrap_or(0);
                let (kind, what) = if source {
                    (FaultKind::AsyncSourceOverwritten, "reads")
                } else {
                    (FaultKind::AsyncNotWaited, "writes")
                };
                let detail = format!(
                    "the operation of line {line} {what} these bytes, and its completion has not been waited for"
                );
                let name = self.spot_name(&run.spot, lanes[lane]);
                return Err(trouble(kind, lane as u32, lanes[lane], detail).in_buffer(name));
            }
        }
        Ok(())
    }

    /// A span of this memory that an operation in flight will write.
    pub(super) fn flying_to(&self, place: Place) -> Option<Span> {
        let waiting = self.cluster.flights.iter().filter(|flight| !flight.ran);
        waiting.flat_map(|flight| &flight.pending.writes).find(|span| span.place == place).copied()
    }

    /// Runs what is due before the next turn. All warps are in their places.
    pub(super) fn settle(&mut self) -> Result<(), (usize, u32, u32, Trouble)> {
        while let Some(index) =
            self.cluster.flights.iter().position(|flight| !flight.ran && flight.due <= self.cluster.turns)
        {
            self.land_between_turns(index)?;
        }
        Ok(())
    }

    /// Nobody can go on: runs one operation. Returns whether there was one.
    pub(super) fn settle_one(&mut self) -> Result<bool, (usize, u32, u32, Trouble)> {
        let waiting: Vec<usize> =
            (0..self.cluster.flights.len()).filter(|index| !self.cluster.flights[*index].ran).collect();
        if waiting.is_empty() {
            return Ok(false);
        }
        let chosen = if self.context.options.seed == 0 { 0 } else { self.random() as usize % waiting.len() };
        self.land_between_turns(waiting[chosen])?;
        Ok(true)
    }

    fn land_between_turns(&mut self, index: usize) -> Result<(), (usize, u32, u32, Trouble)> {
        let Flight { block, warp: number, pc, .. } = self.cluster.flights[index];
        let mut warp = std::mem::take(&mut self.cluster.blocks[block].warps[number as usize]);
        let result = self.land(index, &mut warp);
        self.cluster.blocks[block].warps[number as usize] = warp;
        result.map_err(|trouble| (block, number, pc, trouble))
    }

    /// Runs the operation at an index, and before it those that its queue puts first.
    fn land(&mut self, index: usize, warp: &mut Warp) -> Result<(), Trouble> {
        let serial = self.cluster.flights[index].serial;
        if let Some(queue) = self.cluster.flights[index].pending.queue {
            let key = (self.cluster.flights[index].block, self.cluster.flights[index].warp);
            while let Some(before) = self.cluster.flights.iter().position(|flight| {
                flight.pending.queue == Some(queue)
                    && (flight.block, flight.warp) == key
                    && !flight.ran
                    && flight.serial < serial
            }) {
                self.land_one(before, warp)?;
            }
        }
        match self.cluster.flights.iter().position(|flight| flight.serial == serial && !flight.ran) {
            Some(index) => self.land_one(index, warp),
            None => Ok(()),
        }
    }

    fn land_one(&mut self, index: usize, warp: &mut Warp) -> Result<(), Trouble> {
        let mut action: Box<dyn Action> =
            std::mem::replace(&mut self.cluster.flights[index].pending.action, Box::new(Nothing));
        let here = std::mem::replace(&mut self.pc, self.cluster.flights[index].pc);
        let result = action.run(self, warp);
        self.pc = here;
        result?;
        self.cluster.idle = 0;
        let mut flight = self.cluster.flights.remove(index);
        flight.ran = true;
        for span in &flight.pending.writes {
            self.span_mark(span, WRITTEN);
        }
        for span in &flight.pending.writes {
            self.remark(span);
        }
        self.note_landing(warp, &flight.pending);
        match flight.pending.completion {
            Completion::BulkGroup | Completion::MatrixGroup => self.cluster.flights.insert(index, flight),
            Completion::Transaction { block, offset, bytes } => {
                self.complete_transaction(block, offset, bytes)?;
            }
            Completion::Arrival { block, offset, count } => {
                self.arrive_asynchronously(block, offset, count)?;
            }
            Completion::Nobody => {}
        }
        Ok(())
    }

    /// Marks those bytes of a span again that other operations are still to write.
    fn remark(&self, span: &Span) {
        if !matches!(span.place, Place::Shared(_)) {
            return;
        }
        let end = span.start + span.len;
        for flight in self.cluster.flights.iter().filter(|flight| !flight.ran) {
            for other in flight.pending.writes.iter().filter(|other| other.meets(span.place, span.start, end))
            {
                let start = other.start.max(span.start);
                let len = (other.start + other.len).min(end) - start;
                self.span_mark(&Span { place: span.place, start, len }, PENDING);
            }
        }
    }

    /// `cp.async.bulk.commit_group`
    pub(super) fn bulk_commit(&mut self, warp: &mut Warp, active: u32) {
        for lane in 0..LANES {
            warp.bulk_group[lane] += active >> lane & 1;
        }
    }

    /// `cp.async.bulk.wait_group`: all but the `pending` newest committed groups of each lane are complete, or (`read`)
    /// have at least read their sources.
    pub(super) fn bulk_wait(
        &mut self,
        warp: &mut Warp,
        pending: u32,
        read: bool,
        active: u32,
    ) -> Result<(), Trouble> {
        let open = warp.bulk_group;
        let concerned = move |flight: &Flight| {
            let lane = flight.pending.lane as usize & 31;
            flight.pending.completion == Completion::BulkGroup
                && active >> lane & 1 != 0
                && flight.group < open[lane]
                && flight.group + pending < open[lane]
        };
        self.wait_for(warp, read, concerned)
    }

    /// `wgmma.commit_group`
    pub(super) fn matrix_commit(&mut self, warp: &mut Warp) {
        warp.matrix_group += 1;
    }

    /// Completes the matrix operations of the other warps of a warp's group, as far as their groups are due: they are
    /// parts of operations that the warp has waited for.
    pub(super) fn land_mates(&mut self, warp: &mut Warp, due: impl Fn(u32) -> bool) -> Result<(), Trouble> {
        let (block, own) = (warp.block, warp.index);
        let mate = |flight: &Flight| {
            flight.pending.completion == Completion::MatrixGroup
                && flight.block == block
                && flight.warp != own
                && flight.warp / 4 == own / 4
                && due(flight.group)
        };
        while let Some(index) = self.cluster.flights.iter().position(|flight| !flight.ran && mate(flight)) {
            self.land_between_turns(index).map_err(|(_, _, _, trouble)| trouble)?;
        }
        for flight in self.cluster.flights.iter_mut().filter(|flight| mate(flight)) {
            flight.released = true;
        }
        // Those that a mate has waited for already are over as well.
        let time = self.cluster.time;
        self.cluster.time += 1;
        for mate in &self.cluster.blocks[block].warps {
            if mate.index != own
                && mate.index / 4 == own / 4
                && let Some((reader, writer)) = mate.agents
            {
                warp.clock.see(usize::from(reader), time);
                warp.clock.see(usize::from(writer), time);
            }
        }
        Ok(())
    }

    /// `wgmma.wait_group`: all but the `pending` newest committed groups of the warp are complete.
    pub(super) fn matrix_wait(&mut self, warp: &mut Warp, pending: u32) -> Result<(), Trouble> {
        let open = warp.matrix_group;
        self.wait_for(warp, false, move |flight| {
            flight.pending.completion == Completion::MatrixGroup
                && flight.group < open
                && flight.group + pending < open
        })?;
        warp.pending_registers
            .retain(|registers| registers.group >= open || registers.group + pending >= open);
        Ok(())
    }

    fn wait_for(
        &mut self,
        warp: &mut Warp,
        read: bool,
        concerned: impl Fn(&Flight) -> bool,
    ) -> Result<(), Trouble> {
        let key = (warp.block, warp.index);
        let mine = |flight: &Flight| (flight.block, flight.warp) == key && concerned(flight);
        while let Some(index) = self.cluster.flights.iter().position(|flight| !flight.ran && mine(flight)) {
            self.land(index, warp)?;
        }
        self.see_own_operations(warp, read);
        if read {
            for flight in self.cluster.flights.iter_mut().filter(|flight| mine(flight)) {
                flight.released = true;
            }
        } else {
            self.cluster.flights.retain(|flight| !mine(flight));
            self.cluster.idle = 0;
        }
        Ok(())
    }

    /// Whether lanes of a warp leave while sources of their own are still read.
    pub(super) fn check_exit(&self, warp: &Warp, active: u32) -> Result<(), Trouble> {
        let left_behind = self.cluster.flights.iter().find(|flight| {
            (flight.block, flight.warp) == (warp.block, warp.index)
                && active >> (flight.pending.lane & 31) & 1 != 0
                && flight.pending.completion == Completion::BulkGroup
                && !flight.released
                && flight.pending.reads.iter().any(|span| matches!(span.place, Place::Shared(_)))
        });
        let Some(flight) = left_behind else { return Ok(()) };
        let line = self.context.kernel.whole.code.debug.get(flight.pc as usize).copied().unwrap_or(0);
        let detail = format!(
            "the thread exits while the bulk copy of line {line} may still read shared memory: it needs \
             `cp.async.bulk.wait_group.read`"
        );
        Err(super::plain_trouble(FaultKind::AsyncNotWaited, flight.pending.lane, detail))
    }
}
