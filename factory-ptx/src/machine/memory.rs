//! The buffers that a launch may touch: the caller's slices and scratch, at addresses of the machine's own.

use std::marker::PhantomData;
use std::ops::Range;

/// First address that a buffer may have. Everything below is no memory, so that null and small integers fault.
const FIRST_ADDRESS: u64 = 0x10_0000_0000;
/// Least distance between two buffers, so that running off the end of one never lands in another.
const GUARD: u64 = 1 << 24;
/// Buffers lie at multiples of this many bytes, as `cuMemAlloc` gives them.
const ALIGNMENT: u64 = 256;

/// Shadow of a byte of shared or local memory that nobody wrote.
pub(crate) const NEVER: u8 = 0;
/// Shadow of 8 bytes of global memory that were there before the launch: a bit a byte, in two words of 32 bits.
pub(crate) const BEFORE_WORDS: u64 = 0xf_0000_000f;

/// What a buffer may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Input,
    Output,
    InOut,
    Scratch,
}

pub(crate) struct Buffer<'a> {
    pub(crate) name: String,
    pub(crate) address: u64,
    pub(crate) len: usize,
    pub(crate) access: Access,
    /// The caller's bytes, or those of `_own`.
    pub(crate) data: *mut u8,
    /// 32 bits for every 4 bytes, two in a word: which bytes were written (the low 4 bits), and who accessed them last.
    /// Empty for inputs all of whose bytes are there.
    pub(crate) shadow: Vec<u64>,
    /// Scratch memory. Words of 16 bytes, because the machine's accesses rely on that alignment.
    _own: Vec<u128>,
    lent: PhantomData<&'a mut [u8]>,
}

/// Which bit of its word of shadow says that a byte was written.
fn shadow_bit(byte: usize) -> usize {
    byte / 4 % 2 * 32 + byte % 4
}

impl Buffer<'_> {
    fn is_written(&self, byte: usize) -> bool {
        self.shadow[byte / 8] >> shadow_bit(byte) & 1 != 0
    }
}

/// The memory of one or several launches: every buffer that a kernel may touch, each at an address range of its own.
///
/// What a launch wrote counts as initialised in the next one over the same `Memory`, as on a GPU.
#[derive(Default)]
pub struct Memory<'a> {
    pub(crate) buffers: Vec<Buffer<'a>>,
}

// SAFETY: the raw pointers stand for `&'a mut [u8]` (or `&'a [u8]`, never written through) and for memory that the
// `Memory` owns; both may move to another thread.
unsafe impl Send for Memory<'_> {}

impl<'a> Memory<'a> {
    /// No buffers.
    pub fn new() -> Memory<'a> {
        Memory::default()
    }

    /// Adds bytes that the kernel may read and not write. Returns their address.
    pub fn input(&mut self, name: &str, bytes: &'a [u8]) -> u64 {
        self.add(name, Access::Input, bytes.as_ptr().cast_mut(), bytes.len(), Vec::new())
    }

    /// Adds bytes that the kernel is to write: they count as unwritten until it does. Returns their address.
    pub fn output(&mut self, name: &str, bytes: &'a mut [u8]) -> u64 {
        self.add(name, Access::Output, bytes.as_mut_ptr(), bytes.len(), Vec::new())
    }

    /// Adds bytes that the kernel may read and write. Returns their address.
    pub fn inout(&mut self, name: &str, bytes: &'a mut [u8]) -> u64 {
        self.add(name, Access::InOut, bytes.as_mut_ptr(), bytes.len(), Vec::new())
    }

    /// Adds `len` bytes of the machine's own that nobody wrote yet. Returns their address.
    pub fn scratch(&mut self, name: &str, len: usize) -> u64 {
        let mut own = vec![0u128; len.div_ceil(16)];
        let data = own.as_mut_ptr().cast();
        self.add(name, Access::Scratch, data, len, own)
    }

    /// Adds `len` bytes of the machine's own that hold zero and count as written. Returns their address.
    pub fn zeroed(&mut self, name: &str, len: usize) -> u64 {
        let address = self.scratch(name, len);
        if let Some(buffer) = self.buffers.last_mut() {
            buffer.shadow.fill(BEFORE_WORDS);
        }
        address
    }

    /// The first run of bytes that nobody wrote, in the buffer at this address (as the methods above returned it).
    /// `None` when every byte was written, for inputs, and when no buffer is there.
    pub fn unwritten(&self, address: u64) -> Option<Range<usize>> {
        self.unwritten_from(address, 0)
    }

    /// As [`Memory::unwritten`], for the bytes from `start` on.
    pub fn unwritten_from(&self, address: u64, start: usize) -> Option<Range<usize>> {
        self.unwritten_in(address, start..usize::MAX)
    }

    /// As [`Memory::unwritten`], for the bytes of a range.
    pub fn unwritten_in(&self, address: u64, range: Range<usize>) -> Option<Range<usize>> {
        let buffer = self.buffer(address).filter(|buffer| buffer.access != Access::Input)?;
        let end = range.end.min(buffer.len);
        let first = (range.start..end).find(|byte| !buffer.is_written(*byte))?;
        let end = (first..end).find(|byte| buffer.is_written(*byte)).unwrap_or(end);
        Some(first..end)
    }

    /// The first byte of a range of a buffer that a kernel may write which somebody wrote, or which was there from the start.
    pub fn written_in(&self, address: u64, range: Range<usize>) -> Option<usize> {
        let buffer = self.buffer(address).filter(|buffer| buffer.access != Access::Input)?;
        (range.start..range.end.min(buffer.len)).find(|byte| buffer.is_written(*byte))
    }

    /// Lets bytes of a buffer count as unwritten, whatever they hold: reading them is a fault until somebody writes them.
    pub fn forget(&mut self, address: u64, range: Range<usize>) {
        let Some(buffer) = self.buffers.iter_mut().find(|buffer| buffer.address == address) else { return };
        if buffer.shadow.is_empty() {
            buffer.shadow = vec![BEFORE_WORDS; buffer.len.div_ceil(8)];
        }
        for byte in range.start..range.end.min(buffer.len) {
            buffer.shadow[byte / 8] &= !(1 << shadow_bit(byte));
        }
    }

    fn buffer(&self, address: u64) -> Option<&Buffer<'a>> {
        self.buffers.iter().find(|buffer| buffer.address == address)
    }

    /// Names and addresses of all buffers, in the order in which they were added.
    pub fn buffers(&self) -> impl Iterator<Item = (&str, u64)> {
        self.buffers.iter().map(|buffer| (buffer.name.as_str(), buffer.address))
    }

    fn add(&mut self, name: &str, access: Access, data: *mut u8, len: usize, own: Vec<u128>) -> u64 {
        let address = self.buffers.last().map_or(FIRST_ADDRESS, |last| {
            (last.address + last.len as u64 + GUARD).next_multiple_of(ALIGNMENT.max(GUARD))
        });
        let shadow = match access {
            Access::Input => Vec::new(),
            Access::InOut => vec![BEFORE_WORDS; len.div_ceil(8)],
            Access::Output | Access::Scratch => vec![0; len.div_ceil(8)],
        };
        self.buffers.push(Buffer {
            name: name.to_owned(),
            address,
            len,
            access,
            data,
            shadow,
            _own: own,
            lent: PhantomData,
        });
        address
    }
}
