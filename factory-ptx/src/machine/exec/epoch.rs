//! Who accessed a word of global memory last: what its 32 bits of shadow say.
//!
//! Bits 0 to 3 say which bytes were written. Bits 4 to 17 name the last write and bits 18 to 31 a read behind it, each
//! as the number of an epoch: agent, time, bytes and strength, kept in a table. Epoch 0 is "ordered before everything",
//! 1 is "not known". The table has two halves; when one is full the other one's epochs, by then thousands of releases
//! old, are forgotten (their words become epoch 0), so that races may be missed and none is invented.
//!
//! A host thread that has read a number, or is about to write one down, may be held up for longer than it takes others to come
//! round to it. So nobody uses a forgotten half before every other thread has come to a point where it holds no number, by
//! which it also has seen that those it had for itself are of an older generation (as in quiescent-state reclamation).

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use super::Region;
use crate::machine::inst::mbarrier::Scope;

pub(super) const INIT: u32 = 0xf;
const ID_BITS: u32 = 14;
const ID_MASK: u32 = (1 << ID_BITS) - 1;
const WRITE_SHIFT: u32 = 4;
const READ_SHIFT: u32 = 4 + ID_BITS;
const HALF: u16 = 1 << (ID_BITS - 1);
/// Bytes of global memory for which one byte says which halves of the table its words name.
pub(super) const CHUNK: usize = 1 << 16;
/// The first number that names an epoch.
const FIRST: u16 = 2;
/// Several agents wrote different bytes of the word.
pub(super) const UNKNOWN: u16 = 1;

/// The shadow of one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u32);

impl Word {
    pub(super) fn new(init: u32, write: u16, read: u16) -> Word {
        Word(init | u32::from(write) << WRITE_SHIFT | u32::from(read) << READ_SHIFT)
    }

    pub(super) fn init(self) -> u32 {
        self.0 & INIT
    }

    pub(super) fn write(self) -> u16 {
        (self.0 >> WRITE_SHIFT & ID_MASK) as u16
    }

    pub(super) fn read(self) -> u16 {
        (self.0 >> READ_SHIFT) as u16
    }

    /// Two neighbours with the same contents.
    pub(super) fn twice(self) -> u64 {
        u64::from(self.0) * 0x1_0000_0001
    }

    /// The places of the write's number in two neighbours, and of the read's.
    pub(super) const WRITES: u64 = (ID_MASK as u64) << WRITE_SHIFT | (ID_MASK as u64) << (WRITE_SHIFT + 32);
    pub(super) const READS: u64 = (ID_MASK as u64) << READ_SHIFT | (ID_MASK as u64) << (READ_SHIFT + 32);
    pub(super) const INITS: u64 = 0xf_0000_000f;
}

/// What the number of an epoch stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    /// Position of the cluster in the grid.
    pub(super) position: u32,
    pub(super) agent: u16,
    pub(super) time: u32,
    /// Bytes of the word, a bit each.
    pub(super) bytes: u8,
    pub(super) strong: Option<Scope>,
}

/// Host threads of a launch, at most.
pub(super) const MOST_THREADS: usize = 256;
/// What a host thread that holds no number has seen.
const AWAY: u32 = u32::MAX;

/// Numbers of epochs, for all host threads.
pub(crate) struct Epochs {
    entries: Vec<[AtomicU64; 2]>,
    next: Mutex<u16>,
    /// Grows whenever epochs are forgotten.
    pub(super) generation: AtomicU32,
    /// For each host thread the generation in which it last held no number.
    seen: Vec<AtomicU32>,
    threads: AtomicU32,
}

/// One host thread's part in that.
pub(crate) struct Reader<'e> {
    epochs: &'e Epochs,
    place: usize,
    seen: u32,
}

impl Reader<'_> {
    /// This thread holds no number now.
    #[inline(always)]
    pub(super) fn rest(&mut self) {
        let generation = self.epochs.generation.load(SeqCst);
        if generation != self.seen {
            self.come(generation);
        }
    }

    #[cold]
    fn come(&mut self, mut generation: u32) {
        // Whoever forgets counts first and looks here then; in the other order one of the two sees the other.
        loop {
            self.epochs.seen[self.place].store(generation, SeqCst);
            let now = self.epochs.generation.load(SeqCst);
            if now == generation {
                break;
            }
            generation = now;
        }
        self.seen = generation;
    }

    fn away(&mut self) {
        self.seen = AWAY;
        self.epochs.seen[self.place].store(AWAY, SeqCst);
    }

    /// A number for an epoch, and the generation in which it was given. The thread must hold no number that it will use.
    pub(super) fn add(&mut self, regions: &[Region], epoch: Epoch) -> (u16, u32) {
        // Who waits for its turn here keeps nobody waiting.
        self.away();
        let epochs = self.epochs;
        let mut next = epochs.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let id = epochs.take(&mut next, regions, epoch);
        let generation = epochs.generation.load(SeqCst);
        // While the lock is held, the generation stays.
        self.come(generation);
        (id, generation)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.away();
    }
}

impl Epochs {
    pub(super) fn new() -> Epochs {
        Epochs {
            entries: (0..2 * usize::from(HALF)).map(|_| Default::default()).collect(),
            next: Mutex::new(FIRST),
            generation: AtomicU32::new(0),
            seen: (0..MOST_THREADS).map(|_| AtomicU32::new(AWAY)).collect(),
            threads: AtomicU32::new(0),
        }
    }

    /// Takes a host thread in, one of at most [`MOST_THREADS`].
    pub(super) fn reader(&self) -> Reader<'_> {
        let place = self.threads.fetch_add(1, SeqCst) as usize % MOST_THREADS;
        Reader { epochs: self, place, seen: AWAY }
    }

    /// Returns when every thread has held no number since the generation began, or is away.
    fn all_rest(&self, generation: u32) {
        for seen in &self.seen[..MOST_THREADS.min(self.threads.load(SeqCst) as usize)] {
            while !matches!(seen.load(SeqCst), found if found == generation || found == AWAY) {
                std::thread::yield_now();
            }
        }
    }

    pub(super) fn get(&self, id: u16) -> Epoch {
        let [a, b] = &self.entries[usize::from(id) % self.entries.len()];
        let (a, b) = (a.load(Relaxed), b.load(Relaxed));
        Epoch {
            position: (a >> 32) as u32,
            time: a as u32,
            agent: b as u16,
            bytes: (b >> 16) as u8,
            strong: match b >> 24 & 7 {
                0 => None,
                1 => Some(Scope::Block),
                2 => Some(Scope::Cluster),
                3 => Some(Scope::Gpu),
                _ => Some(Scope::System),
            },
        }
    }

    fn take(&self, next: &mut u16, regions: &[Region], epoch: Epoch) -> u16 {
        if *next == HALF || *next == 2 * HALF {
            let (first, end) = if *next == HALF { (HALF, 2 * HALF) } else { (FIRST, HALF) };
            // What is about to be used again must not be found in memory any more, nor with another thread.
            forget(regions, first..end);
            *next = first;
            let generation = self.generation.fetch_add(1, SeqCst) + 1;
            self.all_rest(generation);
        }
        let id = *next;
        *next += 1;
        let strong = match epoch.strong {
            None => 0u64,
            Some(Scope::Block) => 1,
            Some(Scope::Cluster) => 2,
            Some(Scope::Gpu) => 3,
            Some(Scope::System) => 4,
        };
        let [a, b] = &self.entries[usize::from(id)];
        a.store(u64::from(epoch.position) << 32 | u64::from(epoch.time), Relaxed);
        b.store(u64::from(epoch.agent) | u64::from(epoch.bytes) << 16 | strong << 24, Relaxed);
        id
    }
}

/// Which half of the table a number belongs to, as a bit.
fn half(id: u16) -> u8 {
    1 << (id / HALF)
}

impl Region {
    /// Notes that words from here on name an epoch.
    #[inline(always)]
    pub(super) fn names(&self, offset: usize, len: usize, id: u16) {
        for chunk in offset / CHUNK..=(offset + len - 1) / CHUNK {
            let Some(named) = self.named.get(chunk) else { return };
            if named.load(Relaxed) & half(id) == 0 {
                named.fetch_or(half(id), Relaxed);
            }
        }
    }
}

/// Makes all words that name one of these epochs, a half of the table, name none.
fn forget(regions: &[Region], ids: std::ops::Range<u16>) {
    for region in regions.iter().filter(|region| !region.shadow.is_null()) {
        let words = (region.len as usize).div_ceil(4);
        for (chunk, named) in region.named.iter().enumerate() {
            if named.fetch_and(!half(ids.start), Relaxed) & half(ids.start) == 0 {
                continue;
            }
            for index in chunk * CHUNK / 4..((chunk + 1) * CHUNK / 4).min(words) {
                // SAFETY: the shadow has a word for every 4 bytes of the region.
                let place = unsafe { &*region.shadow.add(index).cast::<AtomicU32>() };
                let word = Word(place.load(Relaxed));
                let keep = |id: u16| if ids.contains(&id) { 0 } else { id };
                let kept = Word::new(word.init(), keep(word.write()), keep(word.read()));
                if kept != word {
                    // A word that changes meanwhile has a newer epoch.
                    let _ = place.compare_exchange(word.0, kept.0, Relaxed, Relaxed);
                }
            }
        }
    }
}

/// The numbers that an agent uses for what it does now.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    pub(super) generation: u32,
    /// Ordinary accesses of whole words, or 0.
    pub(super) whole: u16,
    /// Others, by bytes and strength.
    pub(super) others: Vec<(u8, u16)>,
}

impl Own {
    /// Gives up what is of an older generation.
    pub(super) fn renew(&mut self, generation: u32) {
        if self.generation != generation {
            *self = Own { generation, ..Own::default() };
        }
    }
}
