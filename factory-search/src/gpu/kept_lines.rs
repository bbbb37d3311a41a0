//! What a launch left in the L2 although others came after it.

use factory_spec::{Allowance, BoundSpec};

use super::device::{Buffer, Gpu};
use super::driver::DriverError;
use super::helpers::Range;
use super::kernels::Table;

/// So many times the L2 is read to put all that was in it out.
const CACHES: usize = 2;
/// From about the seventh reset of kept lines on, every launch of a process takes 0.35 us longer (driver 580.159.04, H200; why is not
/// known). Windows from before and after cannot be compared, so the first resets are made before any window.
const FIRST_RESETS: usize = 8;

/// Empties the L2 before a window, for specs that allow reads with `evict_last`.
///
/// Lines that were read so survive what others read and write after them (seen with inputs that were read again a whole flush
/// later). Within a window each set is used once: who finds nothing of an earlier window there gains nothing by keeping it.
pub(super) struct KeptLines {
    /// Reads all of the buffer, which nobody else uses.
    reader: Table,
    _buffer: Buffer,
}

impl KeptLines {
    /// `None` where no candidate can keep lines.
    pub(super) fn new(gpu: &Gpu, spec: &BoundSpec) -> Result<Option<KeptLines>, DriverError> {
        if !spec.better.allow.contains(&Allowance::L2EvictLast) {
            return Ok(None);
        }
        let buffer = Buffer::new(gpu, (CACHES * gpu.l2_bytes).max(1 << 20))?;
        let whole = Range { address: buffer.address, bytes: buffer.bytes, pattern: 0 };
        let reader = Table::new(gpu, &[whole])?;
        reader.poison(gpu)?;
        gpu.wait()?;
        let this = KeptLines { reader, _buffer: buffer };
        (0..FIRST_RESETS).try_for_each(|_| this.drop_all(gpu))?;
        Ok(Some(this))
    }

    /// Makes kept lines ordinary ones, and puts them out. Waits until that is done.
    pub(super) fn drop_all(&self, gpu: &Gpu) -> Result<(), DriverError> {
        // What is queued may still be reading.
        gpu.wait()?;
        // SAFETY: the context of this process is current, and nothing runs in it.
        unsafe { gpu.driver.reset_persisting() }?;
        self.reader.digests(gpu, 0).map(drop)
    }
}
