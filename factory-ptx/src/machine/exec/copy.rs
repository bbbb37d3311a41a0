//! `cp.async`: copies that do not exist before they are waited for.

use super::access::{PENDING, Touch, WRITTEN, addresses, read_raw, write_raw};
use super::collective::lanes_of;
use super::state::{PendingCopy, Warp};
use super::{Trouble, Worker, plain_trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::{CopyAsync, Space};
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
            for lane in lanes_of(run.mask) {
                let last = sources[lane] + u64::from(read[lane]) - 1;
                self.run_of(warp, Space::Global, &[last; LANES], 1 << lane, 1)?;
            }
            self.check_read_bytes(warp, &run, &sources, &read)?;
        }
        self.any_copies = true;
        for lane in lanes_of(active) {
            self.counters.async_bytes += u64::from(size);
            warp.copies.push(PendingCopy {
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
        run: &super::access::Run,
        sources: &[u64; LANES],
        read: &[u32; LANES],
    ) -> Result<(), Trouble> {
        for lane in lanes_of(run.mask) {
            let mut single = super::access::Run {
                spot: run.spot,
                mask: 1 << lane,
                offsets: run.offsets,
                contiguous: false,
            };
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

    /// Brings the bytes of one copy to shared memory.
    fn deliver(&mut self, warp: &Warp, copy: &PendingCopy) -> Result<(), Trouble> {
        let size = usize::from(copy.size);
        let lane = u32::from(copy.lane);
        let targets = [copy.destination; LANES];
        let to = self.run_of(warp, Space::Shared, &targets, 1 << lane, size)?;
        let target = to.offsets[lane as usize];
        let mut bytes = [0u8; 16];
        for (index, byte) in bytes.iter_mut().enumerate().take(usize::from(copy.read)) {
            let source = [copy.source + index as u64; LANES];
            let from = self.run_of(warp, Space::Global, &source, 1 << lane, 1)?;
            // SAFETY: `run_of` gave an offset inside the spot.
            *byte = unsafe { read_raw::<1>(from.spot.data.add(from.offsets[lane as usize])) } as u8;
        }
        for (index, byte) in bytes.iter().enumerate().take(size) {
            // SAFETY: `run_of` was asked for `size` bytes from here.
            unsafe {
                write_raw::<1>(to.spot.data.add(target + index), u64::from(*byte));
                write_raw::<1>(to.spot.shadow.add(target + index), u64::from(WRITTEN));
            }
        }
        if self.context.options.checks.races
            && let super::access::SpotKind::Shared(block) = to.spot.kind
        {
            self.shared_races(warp, block, &to, size, &targets, Touch::Write)?;
        }
        Ok(())
    }
}
