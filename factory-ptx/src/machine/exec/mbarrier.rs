//! mbarrier objects: phases, arrivals, bytes that are to come.
//!
//! The state lives beside shared memory, keyed by the object's offset; the 8 bytes themselves are marked, so that plain
//! accesses to a live object are faults. A wait whose phase is not over puts its lanes to sleep until the phase ends,
//! and now and then (by the seed, and when nobody else can go on) says that it is not, as hardware may.

use super::check::{OBJECT, PENDING};
use super::clock::{Clock, join_times};
use super::collective::lanes_of;
use super::epoch::Own;
use super::pending::{Place, Span};
use super::spot::addresses;
use super::state::{State, Warp};
use super::step::Flow;
use super::{Trouble, Worker, trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::Inst;
use crate::machine::inst::mbarrier::{Mbarrier, MbarrierKind, Order};
use crate::machine::lanes::{LANES, Lane, NONE};
use crate::machine::memory::NEVER;

/// The greatest count of arrivals and of bytes (PTX ISA, "Supported operations on mbarrier object").
const COUNT_LIMIT: u32 = (1 << 20) - 1;

/// One live object.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    /// Number of the phase that is incomplete.
    pub(super) phase: u32,
    /// Arrivals that the next phases begin with.
    pub(super) expected: u32,
    /// Arrivals that this phase still waits for.
    pub(super) pending: u32,
    /// Bytes that this phase still waits for.
    pub(super) bytes: i64,
    /// What those who arrived in this phase had seen, and what those of the phases before it had.
    pub(super) joining: Clock,
    joined: Clock,
    /// Stands for what completes on it, among the agents of the cluster.
    pub(super) agent: u16,
    /// Who initialised it, and when.
    born: (u16, u32),
    /// Whether threads of other blocks have arrived.
    visited: bool,
    /// The same of arrivals that do not release: it orders tensor memory alone, together with its fences.
    relaxed: Vec<u32>,
}

impl Object {
    fn token(&self) -> u64 {
        u64::from(self.phase) << 32 | u64::from(self.pending)
    }
}

impl Worker<'_> {
    pub(super) fn mbarrier(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        inst: &Inst,
        op: &Mbarrier,
        active: u32,
    ) -> Result<Flow, Trouble> {
        let words = &warp.words[base..];
        if op.kind == MbarrierKind::PendingCount {
            let counts = u64::load(words, inst.slots.a).map(|state| state as u32 & COUNT_LIMIT);
            u32::store(&mut warp.words[base..], inst.slots.d, active, &counts);
            return Ok(Flow::Next);
        }
        let lanes = addresses(words, &op.address, active);
        if let MbarrierKind::Wait { parity, .. } = op.kind {
            return self.mbarrier_wait(warp, chosen, base, inst, op, active, &lanes, parity);
        }
        let a = (inst.slots.a != NONE).then(|| u32::load(words, inst.slots.a));
        let b = (inst.slots.b != NONE).then(|| u32::load(words, inst.slots.b));
        let mut tokens = [0u64; LANES];
        for lane in lanes_of(active) {
            let address = lanes[lane];
            let misuse = |detail: String| trouble(FaultKind::MbarrierMisuse, lane as u32, address, detail);
            let (block, offset) = self.object_place(warp, op, address, lane as u32)?;
            let value = a.map_or(1, |a| a[lane]);
            self.check_born(warp, block, offset).map_err(misuse)?;
            match op.kind {
                MbarrierKind::Init => {
                    self.init_object(warp, block, offset, value).map_err(misuse)?;
                }
                MbarrierKind::Inval => {
                    if self.cluster.blocks[block].mbarriers.remove(&offset).is_none() {
                        return Err(misuse("no mbarrier object is here".to_owned()));
                    }
                    self.mark_object(block, offset, NEVER);
                }
                MbarrierKind::ExpectTransactions => {
                    self.expect_bytes(block, offset, value).map_err(misuse)?;
                }
                MbarrierKind::CompleteTransactions => {
                    self.complete_bytes(block, offset, value).map_err(misuse)?;
                }
                MbarrierKind::Arrive { no_complete, drop } => {
                    if let Some(b) = b {
                        self.expect_bytes(block, offset, b[lane]).map_err(misuse)?;
                    }
                    if op.order == Order::Release {
                        self.publish(warp, block, offset);
                    } else if let Some(known) = warp.tensor_publishes(usize::from(self.agent(warp)))
                        && let Some(object) = self.cluster.blocks[block].mbarriers.get_mut(&offset)
                    {
                        join_times(&mut object.relaxed, &known);
                    }
                    tokens[lane] = self.arrive(block, offset, value, no_complete, drop).map_err(misuse)?;
                }
                MbarrierKind::Wait { .. } | MbarrierKind::PendingCount => {}
            }
        }
        if inst.slots.d != NONE {
            u64::store(&mut warp.words[base..], inst.slots.d, active, &tokens);
        }
        Ok(Flow::Next)
    }

    /// Who observes the end of the object's phase is behind what this warp did so far.
    pub(super) fn publish(&mut self, warp: &mut Warp, block: usize, offset: usize) {
        self.release(warp);
        if let Some(object) = self.cluster.blocks[block].mbarriers.get_mut(&offset) {
            object.joining.join(&warp.clock);
            object.visited |= block != warp.block;
        }
    }

    /// An object of a block that exits, with an arrival of another block that a clock has not seen.
    pub(super) fn unseen_arrival(
        &self,
        block: usize,
        clock: &Clock,
        own: std::ops::Range<u16>,
    ) -> Option<usize> {
        let all = usize::from(self.cluster.warps) * self.cluster.blocks.len();
        let unseen = |times: &[u32]| {
            let remote =
                times.iter().enumerate().take(all).filter(|(agent, _)| !own.contains(&(*agent as u16)));
            remote.into_iter().any(|(agent, time)| !clock.has_done(agent, *time))
        };
        let mut objects = self.cluster.blocks[block].mbarriers.iter().filter(|(_, object)| object.visited);
        objects
            .find(|(_, object)| unseen(&object.joining.seen) || unseen(&object.joined.seen))
            .map(|(offset, _)| *offset)
    }

    /// Block and offset of the object that a lane names.
    fn object_place(
        &self,
        warp: &Warp,
        op: &Mbarrier,
        address: u64,
        lane: u32,
    ) -> Result<(usize, usize), Trouble> {
        let span = self.span(warp, op.space, address, 8, lane)?;
        let Place::Shared(block) = span.place else {
            let detail = "mbarrier objects lie in shared memory";
            return Err(trouble(FaultKind::MbarrierMisuse, lane, address, detail));
        };
        if block != warp.block && self.cluster.blocks[block].is_over() {
            let detail = format!("block {block} of the cluster has exited: its shared memory is gone");
            return Err(trouble(FaultKind::ClusterExited, lane, address, detail));
        }
        if !span.start.is_multiple_of(8) {
            let detail = "an mbarrier object needs an address that is a multiple of 8";
            return Err(trouble(FaultKind::Misaligned, lane, address, detail));
        }
        Ok((block, span.start))
    }

    fn mark_object(&self, block: usize, offset: usize, state: u8) {
        let shadow = &self.cluster.blocks[block].shared_shadow[offset..offset + 8];
        shadow.iter().for_each(|byte| byte.set(state));
    }

    fn init_object(&mut self, warp: &Warp, block: usize, offset: usize, count: u32) -> Result<(), String> {
        if count == 0 || count > COUNT_LIMIT {
            return Err(format!("an mbarrier for {count} arrivals (1 to {COUNT_LIMIT})"));
        }
        if block != warp.block {
            return Err("an mbarrier object of another block cannot be initialised".to_owned());
        }
        let shadow = &self.cluster.blocks[block].shared_shadow[offset..offset + 8];
        if shadow.iter().any(|state| state.get() == OBJECT) {
            return Err(
                "a live mbarrier object is initialised again (it needs `mbarrier.inval` first)".to_owned()
            );
        }
        if shadow.iter().any(|state| state.get() == PENDING) {
            return Err("an asynchronous operation in flight writes to this place".to_owned());
        }
        self.any_copies = true;
        self.mark_object(block, offset, OBJECT);
        let born = (self.agent(warp), self.cluster.time);
        let agent = self.new_agent();
        let object = Object { expected: count, pending: count, agent, born, ..Object::default() };
        self.cluster.blocks[block].mbarriers.insert(offset, object);
        Ok(())
    }

    /// A new agent of the cluster; when there are too many, the last one stands for all others.
    pub(super) fn new_agent(&mut self) -> u16 {
        let agent = self.cluster.next_agent;
        self.cluster.next_agent = (agent + 1).min(u16::MAX - 2);
        agent
    }

    /// Whether the initialisation of an object (if there is one) is ordered before what the warp does.
    fn check_born(&self, warp: &Warp, block: usize, offset: usize) -> Result<(), String> {
        let Some(object) = self.cluster.blocks[block].mbarriers.get(&offset) else { return Ok(()) };
        let (agent, time) = object.born;
        if !self.context.options.checks.races
            || agent == self.agent(warp)
            || warp.clock.has_init(usize::from(agent), time)
        {
            return Ok(());
        }
        Err(format!(
            "warp {} of block rank {} initialised the object, and nothing orders that before its use",
            agent % self.cluster.warps.max(1),
            agent / self.cluster.warps.max(1)
        ))
    }

    /// Whether there is an object for an operation to complete on, which its issuer may know of.
    pub(super) fn check_object(
        &self,
        warp: &Warp,
        block: usize,
        offset: usize,
        lane: u32,
    ) -> Result<(), Trouble> {
        let misuse = |detail: String| {
            let span = Span { place: Place::Shared(block), start: offset, len: 8 };
            self.span_trouble(FaultKind::MbarrierMisuse, lane, &span, 0, detail)
        };
        if !self.cluster.blocks[block].mbarriers.contains_key(&offset) {
            return Err(misuse("no mbarrier object was initialised here".to_owned()));
        }
        self.check_born(warp, block, offset).map_err(misuse)
    }

    fn object(&mut self, block: usize, offset: usize) -> Result<&mut Object, String> {
        let missing = "no mbarrier object was initialised here";
        self.cluster.blocks[block].mbarriers.get_mut(&offset).ok_or_else(|| missing.to_owned())
    }

    fn expect_bytes(&mut self, block: usize, offset: usize, bytes: u32) -> Result<(), String> {
        let object = self.object(block, offset)?;
        object.bytes += i64::from(bytes);
        if bytes > COUNT_LIMIT || object.bytes > i64::from(COUNT_LIMIT) {
            return Err(format!("it would expect {} bytes (at most {COUNT_LIMIT})", object.bytes));
        }
        self.end_phase(block, offset);
        Ok(())
    }

    fn complete_bytes(&mut self, block: usize, offset: usize, bytes: u32) -> Result<(), String> {
        let object = self.object(block, offset)?;
        object.bytes -= i64::from(bytes);
        if bytes > COUNT_LIMIT || object.bytes < -i64::from(COUNT_LIMIT) {
            return Err(format!("{} bytes have come that nobody expected", -object.bytes));
        }
        self.end_phase(block, offset);
        Ok(())
    }

    fn arrive(
        &mut self,
        block: usize,
        offset: usize,
        count: u32,
        no_complete: bool,
        drop: bool,
    ) -> Result<u64, String> {
        let object = self.object(block, offset)?;
        let token = object.token();
        if count == 0 || count > object.pending {
            return Err(format!(
                "{count} arrivals where phase {} waits for {} more",
                object.phase, object.pending
            ));
        }
        if drop {
            object.expected = object.expected.saturating_sub(count);
        }
        object.pending -= count;
        if no_complete && object.pending == 0 && object.bytes == 0 {
            return Err("`.noComplete`, and this arrival completes the phase".to_owned());
        }
        self.end_phase(block, offset);
        Ok(token)
    }

    /// Ends the phase of an object if nothing is missing.
    fn end_phase(&mut self, block: usize, offset: usize) {
        let Some(object) = self.cluster.blocks[block].mbarriers.get_mut(&offset) else { return };
        if object.pending != 0 || object.bytes != 0 {
            return;
        }
        object.phase = object.phase.wrapping_add(1);
        object.pending = object.expected;
        let joining = std::mem::take(&mut object.joining);
        object.joined.join(&joining);
        let agent = usize::from(object.agent);
        self.cluster.time += 1;
        self.cluster.idle = 0;
        self.changes += 1;
        if let Some(own) = self.cluster.own.get_mut(agent) {
            *own = Own::default();
        }
    }

    /// `complete_tx` by an operation that has run.
    pub(super) fn complete_transaction(
        &mut self,
        block: usize,
        offset: usize,
        bytes: u32,
    ) -> Result<(), Trouble> {
        self.complete_bytes(block, offset, bytes).map_err(|detail| self.late_trouble(block, offset, detail))
    }

    /// An arrival by an operation that has run.
    pub(super) fn arrive_asynchronously(
        &mut self,
        block: usize,
        offset: usize,
        count: u32,
    ) -> Result<(), Trouble> {
        self.arrive(block, offset, count, false, false)
            .map(|_| ())
            .map_err(|detail| self.late_trouble(block, offset, detail))
    }

    /// Adds to the arrivals that the current phase waits for: `cp.async.mbarrier.arrive` without `.noinc`.
    pub(super) fn expect_arrival(&mut self, block: usize, offset: usize) -> Result<(), Trouble> {
        match self.object(block, offset) {
            Ok(object) => {
                object.pending += 1;
                Ok(())
            }
            Err(detail) => Err(self.late_trouble(block, offset, detail)),
        }
    }

    fn late_trouble(&self, block: usize, offset: usize, detail: String) -> Trouble {
        let span = Span { place: Place::Shared(block), start: offset, len: 8 };
        self.span_trouble(FaultKind::MbarrierMisuse, 0, &span, 0, detail)
    }

    /// What a thread waits for, in words.
    pub(super) fn wait_text(&self, block: usize, offset: usize, phase: u32, line: u32) -> String {
        let span = Span { place: Place::Shared(block), start: offset, len: 8 };
        let (address, name) = self.span_address(&span, 0);
        let Some(object) = self.cluster.blocks[block].mbarriers.get(&offset) else {
            return format!("for the mbarrier at {address:#x} (line {line}), which is gone");
        };
        let mut text = format!(
            "for the end of phase {phase} (parity {}) of the mbarrier in `{name}` at {address:#x} of block rank {block} \
             (line {line}), where {} of {} arrivals and {} bytes are missing",
            phase & 1,
            object.pending,
            object.expected,
            object.bytes
        );
        if object.pending == object.expected && object.bytes == 0 && phase > 0 {
            text.push_str(" (nobody has arrived in this phase: perhaps the parity is the wrong one)");
        }
        text
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one instruction")]
    fn mbarrier_wait(
        &mut self,
        warp: &mut Warp,
        chosen: usize,
        base: usize,
        inst: &Inst,
        op: &Mbarrier,
        active: u32,
        lanes: &[u64; LANES],
        parity: bool,
    ) -> Result<Flow, Trouble> {
        let words = &warp.words[base..];
        let wanted = if parity {
            u32::load(words, inst.slots.a).map(u64::from)
        } else {
            u64::load(words, inst.slots.a)
        };
        let mut done = 0u32;
        let mut asleep = None;
        let mut last = None;
        for lane in lanes_of(active) {
            let address = lanes[lane];
            let misuse = |detail: String| trouble(FaultKind::MbarrierMisuse, lane as u32, address, detail);
            let (block, offset) = self.object_place(warp, op, address, lane as u32)?;
            if block != warp.block {
                return Err(misuse("only threads of its own block may wait for an mbarrier".to_owned()));
            }
            self.check_born(warp, block, offset).map_err(misuse)?;
            let object = self.object(block, offset).map_err(misuse)?;
            let phase = object.phase;
            let complete = if parity {
                if wanted[lane] > 1 {
                    return Err(misuse(format!("a parity of {}", wanted[lane])));
                }
                u64::from(phase & 1) != wanted[lane]
            } else {
                let of = (wanted[lane] >> 32) as u32;
                if of != phase && of.wrapping_add(1) != phase {
                    return Err(misuse(format!(
                        "the state is one of phase {of}, and the object is in phase {phase}"
                    )));
                }
                of != phase
            };
            if complete {
                done |= 1 << lane;
                if op.order == Order::Relaxed {
                    let (joined, relaxed) = (&object.joined.seen, &object.relaxed);
                    join_times(&mut warp.tensor.learned, joined);
                    join_times(&mut warp.tensor.learned, relaxed);
                }
                if op.order != Order::Relaxed && last != Some(offset) {
                    last = Some(offset);
                    if let Some(object) = self.cluster.blocks[block].mbarriers.get(&offset) {
                        warp.see(&object.joined, self.cluster.warps);
                    }
                }
            } else if asleep.is_none() {
                asleep = Some(State::Mbarrier { offset: offset as u32, phase });
            }
        }
        let timed_out = warp.timed_out & active != 0;
        warp.timed_out &= !active;
        if let Some(state) = asleep
            && done == 0
            && !timed_out
            && (self.context.options.seed == 0 || !self.random().is_multiple_of(4))
        {
            let fragment = warp.fragments[chosen];
            let rest = fragment.mask & !active;
            warp.fragments[chosen].mask = active;
            warp.fragments[chosen].state = state;
            if rest != 0 {
                // Lanes that the guard held back go on.
                let behind = super::state::Fragment { pc: fragment.pc + 1, mask: rest, ..fragment };
                warp.fragments.push(behind);
            }
            return Ok(Flow::Stop);
        }
        if inst.slots.d != NONE {
            let word = &mut warp.words[base + inst.slots.d as usize];
            *word = *word & !active | done;
        }
        Ok(Flow::Next)
    }
}
