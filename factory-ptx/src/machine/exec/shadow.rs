//! What each word of shared memory remembers, and which accesses race.
//!
//! A 32-bit word remembers its last ordinary write and its readers, each with agent and time (see `clock`). Two
//! accesses by different agents to the same byte, one of them a write, are a race unless the earlier one's time has been
//! seen by the later one's agent. Strong accesses (atomics, `.volatile`, `.relaxed`, …) do not race with each other.
//!
//! Inside one warp accesses are ordered as the machine executes them, but for lanes that have diverged: what they do to
//! the same byte is a race until they converge again. Two lanes that store different values to one byte in one
//! instruction race as well. Where an entry cannot hold everything (two warps writing different bytes of one word,
//! readers with different times), it forgets: races may be missed, none is invented.

use super::clock::Clock;

/// Writer of a word of which several agents wrote different bytes.
const MIXED: u16 = u16::MAX;
const NOBODY: u16 = u16::MAX;

/// What a word remembers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    write_time: u32,
    read_time: u32,
    /// Warps of the owner's block that read (or, `strong`, updated) since.
    readers: u32,
    /// Lanes of the last write, and of the last read by a single warp.
    write_lanes: u32,
    read_lanes: u32,
    /// The last reader that is no warp of the owner's block.
    far_time: u32,
    far: u16,
    writer: u16,
    written: u8,
    read: u8,
    /// The readers are strong updates, and the far one is.
    strong: bool,
    far_strong: bool,
}

impl Default for Entry {
    fn default() -> Entry {
        Entry {
            write_time: 0,
            read_time: 0,
            readers: 0,
            write_lanes: 0,
            read_lanes: 0,
            far_time: 0,
            far: NOBODY,
            writer: 0,
            written: 0,
            read: 0,
            strong: false,
            far_strong: false,
        }
    }
}

/// Who accesses.
pub(super) struct Who<'w> {
    pub(super) agent: u16,
    /// The first agent of the block whose memory it is.
    pub(super) first: u16,
    /// How many warps that block has.
    pub(super) warps: u16,
    pub(super) clock: &'w Clock,
    /// What all warps of the owner's block did up to here has been seen (0 when that is not known).
    pub(super) floor: u32,
    pub(super) time: u32,
    /// Since when lanes of the warp have diverged, or `u32::MAX`, and when each of them last converged with others.
    pub(super) diverged: u32,
    pub(super) converged: &'w [u32; 32],
    /// Whether this is an access by the async proxy.
    pub(super) async_proxy: bool,
}

/// What the earlier access of a race was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    Write(u16),
    Read(u16),
    Update(u16),
    /// The write is ordered before, but no proxy fence lies between.
    Unfenced(u16),
}

impl Who<'_> {
    #[inline(always)]
    fn ordered(&self, other: u16, time: u32) -> bool {
        other == self.agent || self.clock.has(usize::from(other), time)
    }

    /// Whether an earlier access of other lanes of the same warp is not ordered.
    #[inline(always)]
    fn apart(&self, time: u32, theirs: u32, mine: u32) -> bool {
        time >= self.diverged && theirs & mine == 0 && theirs != 0 && {
            let since = |mut lanes: u32| {
                let mut least = u32::MAX;
                while lanes != 0 {
                    least = least.min(self.converged[lanes.trailing_zeros() as usize]);
                    lanes &= lanes - 1;
                }
                least
            };
            time >= since(mine) || time >= since(theirs)
        }
    }
}

impl Entry {
    /// A reader or updater that is not ordered before this access and conflicts with it.
    #[inline(always)]
    fn unordered_reader(
        &self,
        who: &Who<'_>,
        bytes: u8,
        lanes: u32,
        write: bool,
        strong: bool,
    ) -> Option<Earlier> {
        if self.read & bytes == 0 {
            return None;
        }
        let conflicts = |update: bool| if update { !strong } else { write };
        let earlier = |update: bool, other: u16| {
            if update { Earlier::Update(other) } else { Earlier::Read(other) }
        };
        if self.far != NOBODY && conflicts(self.far_strong) && !who.ordered(self.far, self.far_time) {
            return Some(earlier(self.far_strong, self.far));
        }
        if !conflicts(self.strong) {
            return None;
        }
        let me = u32::from(who.agent.wrapping_sub(who.first));
        let mine = if me < 32 { 1u32 << me } else { 0 };
        if self.readers == mine && mine != 0 {
            let apart = who.apart(self.read_time, self.read_lanes, lanes);
            return apart.then(|| earlier(self.strong, who.agent));
        }
        if self.read_time <= who.floor {
            return None;
        }
        let mut others = self.readers & !mine;
        while others != 0 {
            let other = who.first + others.trailing_zeros() as u16;
            if !who.ordered(other, self.read_time) {
                return Some(earlier(self.strong, other));
            }
            others &= others - 1;
        }
        None
    }

    #[inline(always)]
    fn unordered_write(&self, who: &Who<'_>, bytes: u8, lanes: u32) -> Option<Earlier> {
        if self.written & bytes == 0 || self.writer == MIXED {
            return None;
        }
        if self.writer == who.agent {
            return who
                .apart(self.write_time, self.write_lanes, lanes)
                .then_some(Earlier::Write(self.writer));
        }
        if !who.ordered(self.writer, self.write_time) {
            return Some(Earlier::Write(self.writer));
        }
        None
    }

    /// Whether the async proxy comes to an ordinary write that no proxy fence stands behind.
    fn unfenced(&self, who: &Who<'_>, bytes: u8, warps: u16) -> Option<Earlier> {
        let behind =
            |agent: u16, time: u32| agent >= warps || who.clock.has_proxied(usize::from(agent), time);
        if self.written & bytes != 0 && self.writer != MIXED && !behind(self.writer, self.write_time) {
            return Some(Earlier::Unfenced(self.writer));
        }
        if self.strong && self.read & bytes != 0 {
            let mut others = self.readers;
            while others != 0 {
                let other = who.first + others.trailing_zeros() as u16;
                if !behind(other, self.read_time) {
                    return Some(Earlier::Unfenced(other));
                }
                others &= others - 1;
            }
        }
        None
    }

    #[inline(always)]
    fn note_reader(&mut self, who: &Who<'_>, bytes: u8, lanes: u32, strong: bool) {
        let me = u32::from(who.agent.wrapping_sub(who.first));
        if me >= u32::from(who.warps) {
            if self.far != NOBODY && self.far != who.agent && !who.ordered(self.far, self.far_time) {
                return;
            }
            self.far = who.agent;
            self.far_strong = strong;
            self.far_time = who.time;
            self.read |= bytes;
            return;
        }
        let me = 1 << me;
        if self.strong != strong || self.read_time <= who.floor || self.readers & !me == 0 {
            let same = self.read_time == who.time && self.readers == me && self.strong == strong;
            if !same {
                self.read = 0;
                self.read_lanes = 0;
            }
            self.read |= bytes;
            self.read_lanes |= lanes;
            self.strong = strong;
            self.readers = me;
            self.read_time = who.time;
        } else {
            self.readers |= me;
            self.read |= bytes;
            // One time stands for all of them: the earliest, so that no race is invented.
            self.read_time = self.read_time.min(who.time);
        }
    }

    #[inline(always)]
    pub(super) fn read(&mut self, who: &Who<'_>, bytes: u8, lanes: u32) -> Result<(), Earlier> {
        if let Some(earlier) = self.unordered_write(who, bytes, lanes) {
            return Err(earlier);
        }
        if (self.strong || self.far_strong)
            && let Some(earlier) = self.unordered_reader(who, bytes, lanes, false, false)
        {
            return Err(earlier);
        }
        self.note_reader(who, bytes, lanes, false);
        Ok(())
    }

    #[inline(always)]
    pub(super) fn write(&mut self, who: &Who<'_>, bytes: u8, lanes: u32) -> Result<(), Earlier> {
        if let Some(earlier) = self.unordered_write(who, bytes, lanes) {
            return Err(earlier);
        }
        if let Some(earlier) = self.unordered_reader(who, bytes, lanes, true, false) {
            return Err(earlier);
        }
        if bytes == 0xf {
            // Whoever is ordered behind this write is behind the readers before it too.
            self.read = 0;
            self.readers = 0;
            self.far = NOBODY;
            self.far_strong = false;
            self.strong = false;
        }
        if self.writer == who.agent && self.write_time == who.time {
            self.written |= bytes;
            self.write_lanes |= lanes;
        } else if self.written & !bytes != 0
            && self.writer != who.agent
            && self.writer != MIXED
            && !who.ordered(self.writer, self.write_time)
        {
            // Someone else's bytes of the same word, not ordered: nobody owns the word any more.
            self.writer = MIXED;
            self.written |= bytes;
            self.write_time = who.time;
        } else {
            self.writer = who.agent;
            self.written = bytes;
            self.write_time = who.time;
            self.write_lanes = lanes;
        }
        Ok(())
    }

    /// A strong read: races with ordinary writes alone.
    pub(super) fn strong_read(&mut self, who: &Who<'_>, bytes: u8, lanes: u32) -> Result<(), Earlier> {
        self.unordered_write(who, bytes, lanes).map_or(Ok(()), Err)
    }

    /// A strong write or an atomic.
    #[inline(always)]
    pub(super) fn update(&mut self, who: &Who<'_>, bytes: u8, lanes: u32) -> Result<(), Earlier> {
        if let Some(earlier) = self.unordered_write(who, bytes, lanes) {
            return Err(earlier);
        }
        if let Some(earlier) = self.unordered_reader(who, bytes, lanes, true, true) {
            return Err(earlier);
        }
        self.note_reader(who, bytes, lanes, true);
        Ok(())
    }

    /// The check of an operation that is being issued, without a note of it. `warps`: of the whole cluster.
    pub(super) fn check(&self, who: &Who<'_>, bytes: u8, write: bool, warps: u16) -> Result<(), Earlier> {
        if let Some(earlier) = self.unordered_write(who, bytes, u32::MAX) {
            return Err(earlier);
        }
        if let Some(earlier) = self.unordered_reader(who, bytes, u32::MAX, write, false) {
            return Err(earlier);
        }
        match who.async_proxy.then(|| self.unfenced(who, bytes, warps)).flatten() {
            Some(earlier) => Err(earlier),
            None => Ok(()),
        }
    }

    /// A write by an asynchronous operation that a clock has not seen.
    pub(super) fn not_received(&self, clock: &Clock, all: u16) -> bool {
        self.written != 0
            && self.writer >= all
            && self.writer != MIXED
            && !clock.has(usize::from(self.writer), self.write_time)
    }

    /// An access from outside the block that is not ordered before what a clock has seen.
    pub(super) fn from_outside(&self, clock: &Clock, own: std::ops::Range<u16>, all: u16) -> Option<u16> {
        let open = |agent: u16, time: u32| {
            agent < all && !own.contains(&agent) && !clock.has_done(usize::from(agent), time)
        };
        if self.far != NOBODY && open(self.far, self.far_time) {
            return Some(self.far);
        }
        (self.written != 0 && self.writer != MIXED && open(self.writer, self.write_time))
            .then_some(self.writer)
    }

    /// Notes what an operation did that has run.
    pub(super) fn note(&mut self, who: &Who<'_>, bytes: u8, write: bool) {
        if write {
            self.writer = who.agent;
            self.written = bytes;
            self.write_time = who.time;
            self.write_lanes = 0;
            self.read = 0;
            self.readers = 0;
            self.far = NOBODY;
            self.far_strong = false;
            self.strong = false;
        } else {
            self.note_reader(who, bytes, 0, false);
        }
    }
}
