//! Asynchronous operations in the happens-before order: what they are checked against when they are issued, and what
//! they leave behind when they have run.

use super::check::{OBJECT, PENDING};
use super::clock::Clock;
use super::global::Toucher;
use super::pending::{Completion, Pending, Place, Span};
use super::shadow::{Earlier, Who};
use super::state::Warp;
use super::{Trouble, Worker};
use crate::machine::error::FaultKind;
use crate::machine::inst::mbarrier::Scope;
use crate::machine::memory::NEVER;

/// The words of a span and, for each, which of its bytes belong to it.
fn words(span: &Span) -> impl Iterator<Item = (usize, u8)> + use<> {
    let (start, end) = (span.start, span.start + span.len);
    (start / 4..end.div_ceil(4)).map(move |word| {
        let first = start.max(4 * word) - 4 * word;
        let last = end.min(4 * word + 4) - 4 * word;
        (word, ((1u32 << last) - (1u32 << first)) as u8)
    })
}

impl Worker<'_> {
    /// Checks the spans of an operation that a warp is about to issue.
    pub(super) fn check_issue(&mut self, warp: &Warp, pending: &Pending) -> Result<(), Trouble> {
        let lane = pending.lane;
        if let Completion::Transaction { block, offset, .. } | Completion::Arrival { block, offset, .. } =
            pending.completion
        {
            self.check_object(warp, block, offset, lane)?;
        }
        for span in &pending.reads {
            self.check_states(span, lane)?;
            self.check_order(warp, span, pending, false)?;
        }
        for span in &pending.writes {
            if let Place::Shared(block) = span.place
                && block != warp.block
                && self.cluster.blocks[block].is_over()
            {
                let detail = format!("block {block} of the cluster has exited: its shared memory is gone");
                return Err(self.span_trouble(FaultKind::ClusterExited, lane, span, 0, detail));
            }
            let object = self.span_find(span, |state| state == OBJECT);
            if let (Place::Shared(_), Some((byte, _))) = (span.place, object) {
                let detail = "the operation overwrites a live mbarrier object".to_owned();
                return Err(self.span_trouble(FaultKind::MbarrierMisuse, lane, span, byte, detail));
            }
            self.check_order(warp, span, pending, true)?;
        }
        Ok(())
    }

    /// Bytes that an operation reads must be there.
    fn check_states(&self, span: &Span, lane: u32) -> Result<(), Trouble> {
        let uninitialised = self.context.options.checks.uninitialised;
        let missing = "the operation reads a byte that nobody wrote".to_owned();
        if let Place::Global(region) = span.place {
            return match self.first_unwritten(region, span.start, span.len) {
                Some(byte) if uninitialised => {
                    Err(self.span_trouble(FaultKind::Uninitialised, lane, span, byte, missing))
                }
                _ => Ok(()),
            };
        }
        let bad = |state: u8| matches!(state, PENDING | OBJECT) || (state == NEVER && uninitialised);
        let Some((byte, state)) = self.span_find(span, bad) else { return Ok(()) };
        let (kind, detail) = match state {
            NEVER => (FaultKind::Uninitialised, missing),
            PENDING => (
                FaultKind::AsyncNotWaited,
                "the operation reads a byte that another one in flight will write".to_owned(),
            ),
            _ => (FaultKind::MbarrierMisuse, "the operation reads a live mbarrier object".to_owned()),
        };
        Err(self.span_trouble(kind, lane, span, byte, detail))
    }

    /// What others did to the bytes must be ordered before the issue, and (for the async proxy) behind a proxy fence.
    fn check_order(&self, warp: &Warp, span: &Span, pending: &Pending, write: bool) -> Result<(), Trouble> {
        if !self.context.options.checks.races {
            return Ok(());
        }
        let lane = pending.lane;
        match span.place {
            Place::Shared(block) => {
                let who = Who { async_proxy: pending.async_proxy, ..self.who(warp, block) };
                let all = self.cluster.warps * self.cluster.blocks.len() as u16;
                for (word, bytes) in words(span) {
                    let Err(earlier) = self.cluster.blocks[block].races[word].check(&who, bytes, write, all)
                    else {
                        continue;
                    };
                    if pending.reduces && matches!(earlier, Earlier::Write(agent) if agent >= all) {
                        continue;
                    }
                    let byte = (4 * word).max(span.start) - span.start;
                    let (kind, detail) = self.earlier_text(warp.block, earlier);
                    return Err(self.span_trouble(kind, lane, span, byte, detail));
                }
                Ok(())
            }
            Place::Global(region) => {
                let strong = pending.reduces.then_some(Scope::Gpu);
                let who = Toucher { agent: self.agent(warp), clock: &warp.clock, strong };
                match self.check_global_span(region, span, write, pending.async_proxy, &who) {
                    Some((byte, kind, detail)) => Err(self.span_trouble(kind, lane, span, byte, detail)),
                    None => Ok(()),
                }
            }
        }
    }

    /// A warp has exited. If it was the last of its block, what other blocks did to the block's shared memory must be
    /// ordered before that.
    pub(super) fn check_block_exit(&mut self, warp: &Warp) -> Result<(), Trouble> {
        let owner = &self.cluster.blocks[warp.block];
        let alone = self.cluster.blocks.len() == 1;
        if (alone && !owner.received) || !owner.is_over() || !self.context.options.checks.races {
            return Ok(());
        }
        let mut clock = warp.clock.clone();
        owner.warps.iter().for_each(|other| clock.join(&other.clock));
        let warps = self.cluster.warps;
        let own = warp.block as u16 * warps..(warp.block as u16 + 1) * warps;
        let all = warps * self.cluster.blocks.len() as u16;
        if owner.received {
            self.check_received(warp, &clock, all)?;
        }
        if let Some(start) = self.unseen_arrival(warp.block, &clock, own.clone()) {
            let span = Span { place: Place::Shared(warp.block), start, len: 8 };
            let detail = "the block exits, and nothing orders that behind an arrival of another block at this mbarrier";
            return Err(self.span_trouble(FaultKind::ClusterExited, 0, &span, 0, detail.to_owned()));
        }
        let owner = &self.cluster.blocks[warp.block];
        let found = owner.races.iter().enumerate().filter(|_| owner.visited).find_map(|(word, entry)| {
            entry.from_outside(&clock, own.clone(), all).map(|agent| (word, agent))
        });
        let Some((word, agent)) = found else { return Ok(()) };
        let span = Span { place: Place::Shared(warp.block), start: 4 * word, len: 4 };
        let detail = format!(
            "the block exits, and nothing orders that behind the access of warp {} of block rank {} to its shared memory \
             (a cluster barrier is missing)",
            agent % warps,
            agent / warps
        );
        Err(self.span_trouble(FaultKind::ClusterExited, 0, &span, 0, detail))
    }

    /// Asynchronous writes to the memory of a block that exits must have been waited for by someone in it.
    fn check_received(&self, warp: &Warp, clock: &Clock, all: u16) -> Result<(), Trouble> {
        let place = Place::Shared(warp.block);
        let owner = &self.cluster.blocks[warp.block];
        let landed = owner.races.iter().position(|entry| entry.not_received(clock, all));
        let landed = landed.map(|word| Span { place, start: 4 * word, len: 4 });
        let Some(span) = landed.or_else(|| self.flying_to(place)) else { return Ok(()) };
        let detail = "the block exits, and nobody has waited for an asynchronous write to its shared memory";
        Err(self.span_trouble(FaultKind::AsyncNotWaited, 0, &span, 0, detail.to_owned()))
    }

    /// The agents of a warp's asynchronous operations: for what they read, and for what they write.
    fn async_agents(&mut self, warp: &mut Warp) -> (u16, u16) {
        if let Some(agents) = warp.agents {
            return agents;
        }
        let agents = (self.new_agent(), self.new_agent());
        warp.agents = Some(agents);
        agents
    }

    /// Notes what an operation did that has run, and lets its completion tell of it.
    pub(super) fn note_landing(&mut self, warp: &mut Warp, pending: &Pending) {
        let (reader, writer) = match pending.completion {
            Completion::Transaction { block, offset, .. } => {
                let object = self.cluster.blocks[block].mbarriers.get(&offset);
                let Some(agent) = object.map(|object| object.agent) else { return };
                (agent, agent)
            }
            _ => self.async_agents(warp),
        };
        let time = self.cluster.time;
        let races = self.context.options.checks.races;
        let spans = pending.reads.iter().map(|span| (span, false));
        for (span, write) in spans.chain(pending.writes.iter().map(|span| (span, true))) {
            let agent = if write { writer } else { reader };
            match span.place {
                Place::Shared(block) if races => {
                    let who = Who { agent, ..self.who(warp, block) };
                    // What the agent did is ordered by nothing but its completion.
                    let who = Who { floor: 0, diverged: u32::MAX, ..who };
                    for (word, bytes) in words(span) {
                        self.cluster.blocks[block].races[word].note(&who, bytes, write);
                    }
                }
                Place::Global(region) if write || races => {
                    let strong = pending.reduces.then_some(Scope::Gpu);
                    self.note_global_span(region, span, write, agent, strong);
                }
                _ => {}
            }
        }
        self.cluster.time += 1;
        if let Completion::Transaction { block, offset, .. } | Completion::Arrival { block, offset, .. } =
            pending.completion
            && let Some(object) = self.cluster.blocks[block].mbarriers.get_mut(&offset)
        {
            object.joining.see(usize::from(reader), time);
            object.joining.see(usize::from(writer), time);
        }
    }

    /// Who observes the end of an object's phase is behind the operations of a warp that have run.
    pub(super) fn tell_of_operations(&mut self, warp: &Warp, block: usize, offset: usize) {
        let Some((reader, writer)) = warp.agents else { return };
        let time = self.cluster.time;
        self.cluster.time += 1;
        if let Some(object) = self.cluster.blocks[block].mbarriers.get_mut(&offset) {
            object.joining.see(usize::from(reader), time);
            object.joining.see(usize::from(writer), time);
        }
    }

    /// The warp has waited for operations of its own (`read`: for what they read alone).
    pub(super) fn see_own_operations(&mut self, warp: &mut Warp, read: bool) {
        let Some((reader, writer)) = warp.agents else { return };
        let time = self.cluster.time;
        self.cluster.time += 1;
        warp.clock.see(usize::from(reader), time);
        if !read {
            warp.clock.see(usize::from(writer), time);
        }
        for agent in [reader, writer] {
            if let Some(own) = self.cluster.own.get_mut(usize::from(agent)) {
                own.whole = 0;
                own.others.clear();
            }
        }
    }
}
