//! Races in shared memory.
//!
//! Time is a counter of the cluster that grows with every completed synchronisation. Every warp knows, for every other
//! warp of its block and every rank of its cluster, up to which time that one's accesses are ordered before its own
//! (`seen`): barriers join these, fences publish and collect them. Each 32-bit word of shared memory remembers its last
//! write and its readers with the time. Two accesses, one of them a write, by different warps to the same byte are a
//! race unless the earlier one's time has been seen by the later one's warp.
//!
//! Inside one warp accesses are ordered as the machine executes them: what converged lanes do in successive
//! instructions is never reported. Two lanes that store different values to one byte in one instruction are.
//! Where an entry cannot hold everything (two warps writing different bytes of one word, readers with different
//! times), it forgets: races may be missed, none is invented.

/// Writer of a word of which several warps wrote different bytes.
const MIXED: u8 = u8::MAX;

/// What a word remembers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    readers: u64,
    write_time: u32,
    read_time: u32,
    writer: u8,
    written: u8,
    read: u8,
    /// The readers were atomics.
    atomic: bool,
}

/// Who accesses: a number (warp of the block, or 32 + rank of another block) and what it has seen.
pub(super) struct Who<'w> {
    pub(super) id: u8,
    pub(super) seen: &'w [u32],
    pub(super) seen_all: u32,
    pub(super) time: u32,
}

/// What the earlier access of a race was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    Write(u8),
    Read(u8),
    Atomic(u8),
}

impl Who<'_> {
    #[inline(always)]
    fn ordered(&self, other: u8, time: u32) -> bool {
        time <= self.seen_all
            || other == self.id
            || self.seen.get(usize::from(other)).is_none_or(|seen| time <= *seen)
    }
}

impl Entry {
    #[inline(always)]
    fn unordered_reader(&self, who: &Who<'_>) -> Option<u8> {
        if self.read_time <= who.seen_all {
            return None;
        }
        let mut others = self.readers & !(1 << who.id);
        while others != 0 {
            let other = others.trailing_zeros() as u8;
            if !who.ordered(other, self.read_time) {
                return Some(other);
            }
            others &= others - 1;
        }
        None
    }

    #[inline(always)]
    fn unordered_write(&self, who: &Who<'_>, bytes: u8) -> Option<u8> {
        let conflict = self.written & bytes != 0 && self.writer != MIXED;
        (conflict && !who.ordered(self.writer, self.write_time)).then_some(self.writer)
    }

    #[inline(always)]
    fn note_reader(&mut self, who: &Who<'_>, bytes: u8, atomic: bool) {
        let me = 1 << who.id;
        if self.read_time <= who.seen_all || self.readers == me {
            let same = self.read_time == who.time && self.readers == me;
            self.read = if same { self.read | bytes } else { bytes };
            self.atomic = atomic;
            self.readers = me;
            self.read_time = who.time;
        } else {
            self.readers |= me;
            self.read |= bytes;
            self.atomic &= atomic;
        }
    }

    #[inline(always)]
    pub(super) fn read(&mut self, who: &Who<'_>, bytes: u8) -> Result<(), Earlier> {
        if let Some(writer) = self.unordered_write(who, bytes) {
            return Err(Earlier::Write(writer));
        }
        if self.atomic
            && self.read & bytes != 0
            && let Some(other) = self.unordered_reader(who)
        {
            return Err(Earlier::Atomic(other));
        }
        if !(self.atomic && self.read_time > who.seen_all) {
            self.note_reader(who, bytes, false);
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn write(&mut self, who: &Who<'_>, bytes: u8) -> Result<(), Earlier> {
        if let Some(writer) = self.unordered_write(who, bytes) {
            return Err(Earlier::Write(writer));
        }
        if self.read & bytes != 0
            && let Some(reader) = self.unordered_reader(who)
        {
            return Err(if self.atomic { Earlier::Atomic(reader) } else { Earlier::Read(reader) });
        }
        if self.writer == who.id && self.write_time == who.time {
            self.written |= bytes;
        } else if self.write_time > who.seen_all && self.writer != who.id && self.written != 0 {
            // Someone else's bytes of the same word, not ordered: nobody owns the word any more.
            self.writer = MIXED;
            self.written |= bytes;
            self.write_time = who.time;
        } else {
            self.writer = who.id;
            self.written = bytes;
            self.write_time = who.time;
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn atomic(&mut self, who: &Who<'_>, bytes: u8) -> Result<(), Earlier> {
        if let Some(writer) = self.unordered_write(who, bytes) {
            return Err(Earlier::Write(writer));
        }
        if !self.atomic
            && self.read & bytes != 0
            && let Some(reader) = self.unordered_reader(who)
        {
            return Err(Earlier::Read(reader));
        }
        self.note_reader(who, bytes, true);
        Ok(())
    }
}
