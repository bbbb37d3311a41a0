//! `cp.async`: copies that do not exist before they are waited for.

use super::access::{read_raw, write_raw};
use super::check::{PENDING, Touch, WRITTEN};
use super::collective::lanes_of;
use super::pending::{Action, Completion, Pending};
use super::spot::{Run, Shape, SpotKind, addresses};
use super::state::{PendingCopy, Warp};
use super::{Trouble, Worker, plain_trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::{Address, CopyAsync, Space};
use crate::machine::lanes::{LANES, Lane, NONE};

impl Worker<'_> {
    pub(super) fn copy_async(
        &mut self,
        warp: &mut Warp,
        base: usize,
        copy: &CopyAsync,
        active: u32,
    ) -> Result<(), Trouble> {
        let words = &warp.words[base..];
        let targets = addresses(words, &copy.destination, active);
        let sources = addresses(words, &copy.source, active);
        let size = u32::from(copy.size);
        let mut read = [size; LANES];
        if copy.source_size != NONE {
            read = u32::load(words, copy.source_size);
        }
        if copy.ignore != NONE {
            let bits = words[copy.ignore as usize];
            let ignored = if copy.ignore_negated { !bits } else { bits };
            for lane in lanes_of(ignored) {
                read[lane] = 0;
            }
        }
        if let Some(lane) = lanes_of(active).find(|lane| read[*lane] > size) {
            let detail = format!("src-size is {}, more than the {size} bytes of the copy", read[lane]);
            return Err(plain_trouble(FaultKind::UndefinedOperand, lane as u32, detail));
        }
        // The destination is checked and marked now; the bytes arrive at the wait.
        let mut left = active;
        while left != 0 {
            let run = self.run_of(warp, Space::Shared, &targets, left, size as usize)?;
            left &= !run.mask;
            self.count_access(&run, size as usize, true);
            self.check_write(warp, &run, size as usize, &targets, false)?;
            self.mark(&run, size as usize, PENDING);
        }
        let mut left =
            lanes_of(active).filter(|lane| read[*lane] > 0).fold(0, |mask, lane| mask | 1u32 << lane);
        while left != 0 {
            let run = self.run_of(warp, Space::Global, &sources, left, size as usize).or_else(|trouble| {
                // Only the bytes that are read have to exist.
                let lane = trouble.lane.unwrap_or(0) as usize;
                if trouble.kind == FaultKind::OutOfBounds && read[lane] < size {
                    self.run_of(warp, Space::Global, &sources, 1 << lane, 1)
                } else {
                    Err(trouble)
                }
            })?;
            left &= !run.mask;
            self.count_access(&run, size as usize, false);
            for lane in lanes_of(run.mask).filter(|lane| read[*lane] < size) {
                let last = sources[lane] + u64::from(read[lane]) - 1;
                self.run_of(warp, Space::Global, &[last; LANES], 1 << lane, 1)?;
            }
            self.check_read_bytes(warp, &run, &sources, &read, size)?;
        }
        self.any_copies = true;
        for lane in lanes_of(active) {
            self.count_async(u64::from(size));
            self.cluster.issued += 1;
            warp.copies.push(PendingCopy {
                serial: self.cluster.issued,
                lane: lane as u8,
                group: warp.copy_group[lane],
                size: copy.size,
                read: read[lane] as u8,
                destination: targets[lane],
                source: sources[lane],
            });
        }
        Ok(())
    }

    /// Checks that the bytes that a copy reads were written.
    fn check_read_bytes(
        &mut self,
        warp: &Warp,
        run: &Run,
        sources: &[u64; LANES],
        read: &[u32; LANES],
        copy_size: u32,
    ) -> Result<(), Trouble> {
        let size = copy_size as usize;
        if lanes_of(run.mask).all(|lane| read[lane] == copy_size) {
            return self.check_read(warp, run, size, sources, false);
        }
        for lane in lanes_of(run.mask) {
            let mut single = Run { mask: 1 << lane, shape: Shape::Scattered, ..*run };
            for byte in 0..read[lane] as usize {
                single.offsets[lane] = run.offsets[lane] + byte;
                let mut at = *sources;
                at[lane] += byte as u64;
                self.check_read(warp, &single, 1, &at, false)?;
            }
        }
        Ok(())
    }

    pub(super) fn copy_wait(
        &mut self,
        warp: &mut Warp,
        pending: u32,
        all: bool,
        active: u32,
    ) -> Result<(), Trouble> {
        let copies = std::mem::take(&mut warp.copies);
        let (done, kept): (Vec<_>, Vec<_>) = copies.into_iter().partition(|copy| {
            let lane = usize::from(copy.lane);
            // Of the committed groups all but the `pending` newest are complete; `wait_all` takes uncommitted ones too.
            let open = warp.copy_group[lane];
            active >> lane & 1 != 0 && (all || (copy.group < open && copy.group + pending < open))
        });
        warp.copies = kept;
        for copy in done {
            self.deliver(warp, &copy)?;
        }
        Ok(())
    }

    /// `cp.async.mbarrier.arrive`: an arrival when all copies that the lane has issued so far are delivered.
    pub(super) fn copy_arrive(
        &mut self,
        warp: &mut Warp,
        base: usize,
        space: Space,
        address: &Address,
        noinc: bool,
        active: u32,
    ) -> Result<(), Trouble> {
        let barriers = addresses(&warp.words[base..], address, active);
        for index in lanes_of(active) {
            let lane = index as u32;
            let (block, offset) = self.barrier_place(warp, space, barriers[index], lane)?;
            if !noinc {
                self.expect_arrival(block, offset)?;
            }
            let action = Deliver { lane: lane as u8, last: self.cluster.issued, block, offset };
            self.issue(
                warp,
                Pending {
                    lane,
                    action: Box::new(action),
                    reads: Vec::new(),
                    writes: Vec::new(),
                    reduces: false,
                    async_proxy: false,
                    queue: None,
                    completion: Completion::Arrival { block, offset, count: 1 },
                },
            )?;
        }
        Ok(())
    }

    /// Brings the bytes of one copy to shared memory.
    fn deliver(&mut self, warp: &Warp, copy: &PendingCopy) -> Result<(), Trouble> {
        let size = usize::from(copy.size);
        let lane = u32::from(copy.lane);
        let targets = [copy.destination; LANES];
        let to = self.run_of(warp, Space::Shared, &targets, 1 << lane, size)?;
        let target = to.offsets[lane as usize];
        let mut bytes = [0u8; 16];
        if copy.read == copy.size {
            let from = self.run_of(warp, Space::Global, &[copy.source; LANES], 1 << lane, size)?;
            for (index, word) in bytes[..size].chunks_exact_mut(4).enumerate() {
                // SAFETY: `run_of` was asked for `size` bytes from here.
                let value =
                    unsafe { read_raw::<4>(from.spot.data.add(from.offsets[lane as usize] + 4 * index)) };
                word.copy_from_slice(&(value as u32).to_le_bytes());
            }
        } else {
            for (index, byte) in bytes.iter_mut().enumerate().take(usize::from(copy.read)) {
                let source = [copy.source + index as u64; LANES];
                let from = self.run_of(warp, Space::Global, &source, 1 << lane, 1)?;
                // SAFETY: `run_of` gave an offset inside the spot.
                *byte = unsafe { read_raw::<1>(from.spot.data.add(from.offsets[lane as usize])) } as u8;
            }
        }
        for (index, word) in bytes[..size].as_chunks::<4>().0.iter().enumerate() {
            // SAFETY: `run_of` was asked for `size` bytes from here, and sizes are 4, 8 and 16.
            unsafe {
                write_raw::<4>(to.spot.data.add(target + 4 * index), u64::from(u32::from_le_bytes(*word)));
                write_raw::<4>(to.spot.shadow.add(target + 4 * index), u64::from(WRITTEN) * 0x0101_0101);
            }
        }
        if self.context.options.checks.races
            && let SpotKind::Shared(block) = to.spot.kind
        {
            self.shared_races(warp, block, &to, size, &targets, &Touch::WRITE)?;
        }
        Ok(())
    }
}

/// The copies of a lane up to one, before its arrival at an mbarrier.
struct Deliver {
    lane: u8,
    last: u64,
    block: usize,
    offset: usize,
}

impl Action for Deliver {
    fn run(&mut self, worker: &mut Worker<'_>, warp: &mut Warp) -> Result<(), Trouble> {
        let copies = std::mem::take(&mut warp.copies);
        let (done, kept): (Vec<_>, Vec<_>) =
            copies.into_iter().partition(|copy| copy.lane == self.lane && copy.serial <= self.last);
        warp.copies = kept;
        for copy in done {
            worker.deliver(warp, &copy)?;
        }
        worker.publish(warp, self.block, self.offset);
        Ok(())
    }
}
