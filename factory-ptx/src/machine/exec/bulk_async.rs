//! `st.async` and `red.async`: values that arrive in the cluster's shared memory and are counted by an mbarrier there.

use super::bulk::aligned;
use super::bulk_move::{Send, lies_in, reduce};
use super::collective::lanes_of;
use super::pending::{Completion, Pending, Place, Span};
use super::spot::addresses;
use super::state::Warp;
use super::{Trouble, Worker, trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::FenceKind;
use crate::machine::inst::bulk::{AsyncReduce, AsyncStore, Reduction};
use crate::machine::inst::mbarrier::Scope;
use crate::machine::inst::{Address, Element, Space};
use crate::machine::lanes::LANES;

/// The bytes of registers in one lane, `size` of each.
fn bytes_of(words: &[u32], elements: &[Element], size: usize, lane: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    for element in elements {
        for row in 0..size.div_ceil(4) {
            let word = words[element.slot as usize + row * LANES + lane];
            bytes.extend_from_slice(&word.to_le_bytes()[..size.min(4)]);
        }
    }
    bytes
}

impl Worker<'_> {
    pub(super) fn store_async(
        &mut self,
        warp: &mut Warp,
        base: usize,
        store: &AsyncStore,
        active: u32,
    ) -> Result<(), Trouble> {
        let size = usize::from(store.size);
        self.send(warp, base, store.space, &store.address, store.barrier, active, None, |words, lane| {
            bytes_of(words, &store.elements, size, lane)
        })
    }

    pub(super) fn reduce_async(
        &mut self,
        warp: &mut Warp,
        base: usize,
        op: &AsyncReduce,
        active: u32,
    ) -> Result<(), Trouble> {
        let size = usize::from(op.reduction.ty.size());
        let reduction = Some(op.reduction);
        self.send(warp, base, op.space, &op.address, op.barrier, active, reduction, |words, lane| {
            bytes_of(words, &[op.operand], size, lane)
        })
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one instruction")]
    fn send(
        &mut self,
        warp: &mut Warp,
        base: usize,
        space: Space,
        address: &Address,
        barrier: Option<Address>,
        active: u32,
        reduction: Option<Reduction>,
        value: impl Fn(&[u32], usize) -> Vec<u8>,
    ) -> Result<(), Trouble> {
        let targets = addresses(&warp.words[base..], address, active);
        let barriers = barrier.map(|barrier| addresses(&warp.words[base..], &barrier, active));
        if barriers.is_none() {
            // A release: what the thread did before comes first.
            self.fence(warp, &FenceKind::Memory { scope: Scope::Gpu, acquire: false, release: true });
        }
        for index in lanes_of(active) {
            let lane = index as u32;
            let bytes = value(&warp.words[base..], index);
            aligned(lane, targets[index], bytes.len() as u64, "the destination")?;
            let to = self.span(warp, space, targets[index], bytes.len(), lane)?;
            self.count_async(bytes.len() as u64);
            let Some(barriers) = &barriers else {
                self.send_at_once(warp, to, &bytes, reduction, targets[index], index)?;
                continue;
            };
            let (block, offset) = self.barrier_place(warp, space, barriers[index], lane)?;
            if !lies_in(&to, block) {
                let detail = "the mbarrier must lie in the same block's shared memory as the destination";
                return Err(trouble(FaultKind::UndefinedOperand, lane, barriers[index], detail));
            }
            let completion = Completion::Transaction { block, offset, bytes: bytes.len() as u32 };
            self.issue(
                warp,
                Pending {
                    lane,
                    action: Box::new(Send { to, bytes, reduction }),
                    reads: Vec::new(),
                    writes: vec![to],
                    reduces: reduction.is_some(),
                    async_proxy: false,
                    queue: None,
                    completion,
                },
            )?;
        }
        Ok(())
    }

    /// The forms for global memory (sm_100): nobody waits for them, others see them like any release.
    fn send_at_once(
        &mut self,
        warp: &mut Warp,
        to: Span,
        bytes: &[u8],
        reduction: Option<Reduction>,
        address: u64,
        lane: usize,
    ) -> Result<(), Trouble> {
        if !matches!(to.place, Place::Global(_)) {
            let detail = "this form stores to global memory";
            return Err(trouble(FaultKind::OutOfBounds, lane as u32, address, detail));
        }
        let lanes = [address; LANES];
        let run = self.run_of(warp, Space::Global, &lanes, 1 << lane, bytes.len())?;
        if reduction.is_some() {
            self.check_read(warp, &run, bytes.len(), &lanes, true)?;
        }
        self.check_write(warp, &run, bytes.len(), &lanes, true)?;
        match reduction {
            None => self.span_write(&to, bytes),
            Some(reduction) => reduce(self, &to, reduction, bytes),
        }
        Ok(())
    }
}
