//! Taking over the work of clusters that have not begun: the machine always answers that there is none left. Every
//! cluster of the grid runs itself, which a kernel that uses `clusterlaunchcontrol` has to allow for.

use super::collective::lanes_of;
use super::pending::{Action, Completion, Pending, Place, Span};
use super::spot::addresses;
use super::state::Warp;
use super::{Trouble, Worker, plain_trouble, trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::Inst;
use crate::machine::inst::launch_control::LaunchControl;
use crate::machine::lanes::{Lane, NONE};

/// Bytes of an answer.
const ANSWER: usize = 16;

/// Brings the answer.
struct Answer(Span);

impl Action for Answer {
    fn run(&mut self, worker: &mut Worker<'_>, _warp: &mut Warp) -> Result<(), Trouble> {
        worker.span_write(&self.0, &[0; ANSWER]);
        Ok(())
    }
}

impl Worker<'_> {
    pub(super) fn launch_control(
        &mut self,
        warp: &mut Warp,
        base: usize,
        inst: &Inst,
        op: &LaunchControl,
        active: u32,
    ) -> Result<(), Trouble> {
        let words = &warp.words[base..];
        match op {
            LaunchControl::IsCanceled => {
                if inst.slots.d != NONE {
                    let answers = u128::load(words, inst.slots.a).map(|answer| answer != 0);
                    bool::store(&mut warp.words[base..], inst.slots.d, active, &answers);
                }
            }
            LaunchControl::FirstBlock => {
                let detail = "no cluster was cancelled: the answer names no block";
                return Err(plain_trouble(FaultKind::UndefinedOperand, active.trailing_zeros(), detail));
            }
            LaunchControl::TryCancel { space, target, barrier, multicast } => {
                let (targets, barriers) =
                    (addresses(words, target, active), addresses(words, barrier, active));
                for lane in lanes_of(active) {
                    let place = lane as u32;
                    let to = self.span(warp, *space, targets[lane], ANSWER, place)?;
                    let object = self.span(warp, *space, barriers[lane], 8, place)?;
                    let fits = matches!(to.place, Place::Shared(block) if block == warp.block)
                        && object.place == to.place;
                    if !fits || !to.start.is_multiple_of(ANSWER) || !object.start.is_multiple_of(8) {
                        let detail =
                            "the answer takes 16 aligned bytes of the block's shared memory, the mbarrier 8";
                        return Err(trouble(FaultKind::Misaligned, place, targets[lane], detail));
                    }
                    let blocks =
                        if *multicast { 0..self.cluster.blocks.len() } else { warp.block..warp.block + 1 };
                    for block in blocks {
                        let to = Span { place: Place::Shared(block), ..to };
                        let bytes = ANSWER as u32;
                        self.issue(
                            warp,
                            Pending {
                                lane: place,
                                action: Box::new(Answer(to)),
                                reads: Vec::new(),
                                writes: vec![to],
                                reduces: false,
                                async_proxy: true,
                                queue: None,
                                completion: Completion::Transaction { block, offset: object.start, bytes },
                            },
                        )?;
                    }
                }
            }
        }
        Ok(())
    }
}
