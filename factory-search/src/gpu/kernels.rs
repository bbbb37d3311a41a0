//! The helpers of [`super::helpers`], loaded.

use std::ffi::{CString, c_int, c_void};

use super::device::{FUNCTION_MAX_DYNAMIC_SHARED, Gpu};
use super::driver::{Address, Driver, DriverError, Handle, LaunchConfig};
use super::helpers::{self, Range};

/// Multiprocessors that a device may have; `scrub` writes a word for each.
const MOST_MULTIPROCESSORS: usize = 1024;
/// Words that one block of a helper walks over before another block is worth its launch.
const WORDS_OF_BLOCK: usize = 2048;

/// The helpers' module and functions.
#[derive(Clone, Copy)]
pub(super) struct Helpers {
    module: Handle,
    fill: Handle,
    digest: Handle,
    intact: Handle,
    poison: Handle,
    differ: Handle,
    gather: Handle,
    scrub: Handle,
    delay: Handle,
    empty: Handle,
    /// Bytes of dynamic shared memory that `scrub` takes; 0 where the device has too little for it.
    scrub_bytes: u32,
    seen: Address,
}

impl Helpers {
    /// Before the context is there.
    pub(super) const NONE: Helpers = {
        let null = std::ptr::null_mut();
        Helpers {
            module: null,
            fill: null,
            digest: null,
            intact: null,
            poison: null,
            differ: null,
            gather: null,
            scrub: null,
            delay: null,
            empty: null,
            scrub_bytes: 0,
            seen: 0,
        }
    };

    /// Loads them into the current context.
    pub(super) fn load(driver: &'static Driver, shared_limit: u32) -> Result<Helpers, DriverError> {
        let image = CString::new(helpers::module()).expect("the helpers hold no zero byte");
        let mut this = Helpers::NONE;
        let null = std::ptr::null_mut();
        // SAFETY: the image is a C string, the context is current, the names are C strings, pointers are to live values.
        unsafe {
            driver.module_load(&mut this.module, image.as_ptr().cast(), 0, null, std::ptr::null_mut())?;
            for (function, name) in [
                (&mut this.fill, c"fill"),
                (&mut this.digest, c"digest"),
                (&mut this.intact, c"intact"),
                (&mut this.poison, c"poison"),
                (&mut this.differ, c"differ"),
                (&mut this.gather, c"gather"),
                (&mut this.scrub, c"scrub"),
                (&mut this.delay, c"delay"),
                (&mut this.empty, c"empty"),
            ] {
                driver.module_function(function, this.module, name.as_ptr())?;
            }
            driver.allocate(&mut this.seen, MOST_MULTIPROCESSORS * 4)?;
            if shared_limit >= helpers::SCRUB_LEAST_SHARED {
                driver.function_set(this.scrub, FUNCTION_MAX_DYNAMIC_SHARED, shared_limit as c_int)?;
                this.scrub_bytes = shared_limit;
            }
        }
        Ok(this)
    }

    pub(super) fn unload(&self, driver: &Driver) {
        // SAFETY: nothing of it runs any more. A lost context refuses, harmlessly.
        unsafe {
            let _ = driver.free(self.seen);
            let _ = driver.module_unload(self.module);
        }
    }
}

impl Gpu {
    /// Fills `bytes` from `address` with random data for a dtype. Both are multiples of 4.
    pub(super) fn fill_random(
        &self,
        address: Address,
        bytes: usize,
        dtype: factory_spec::DType,
        seed: u64,
    ) -> Result<(), DriverError> {
        let values = [address, (bytes / 4) as u64, seed, u64::from(helpers::fill_kind(dtype))];
        self.helper(self.helpers.fill, [self.multiprocessors * 8, 1], 0, &values)
    }

    /// Queues adding the digest of each range of a table on the device to the words from `into`. `largest` is the most
    /// bytes that a range has.
    pub(super) fn digest(
        &self,
        (table, entries): (Address, usize),
        largest: usize,
        key: u64,
        into: Address,
    ) -> Result<(), DriverError> {
        self.by_entry(self.helpers.digest, entries, largest, &[table, key, into], 2)
    }

    /// Queues counting the words of each range of a table that are not its pattern, in the words from `into`.
    pub(super) fn intact(
        &self,
        (table, entries): (Address, usize),
        largest: usize,
        into: Address,
    ) -> Result<(), DriverError> {
        self.by_entry(self.helpers.intact, entries, largest, &[table, into], 1)
    }

    /// Queues writing the pattern of each range of a table.
    pub(super) fn poison(
        &self,
        (table, entries): (Address, usize),
        largest: usize,
    ) -> Result<(), DriverError> {
        self.by_entry(self.helpers.poison, entries, largest, &[table], usize::MAX)
    }

    /// Queues writing a word over a range. What the word is at an address depends on the address alone.
    pub(super) fn poison_range(&self, address: Address, bytes: usize, word: u32) -> Result<(), DriverError> {
        let words = if address.is_multiple_of(4) { bytes / 4 } else { 0 };
        // SAFETY: the caller's range lies in memory that it owns, and the stream is of this context.
        unsafe {
            if words > 0 {
                self.driver.fill32(address, word, words, self.stream)?;
            }
            for offset in words * 4..bytes {
                let at = address + offset as u64;
                self.driver.fill(at, word.to_le_bytes()[(at % 4) as usize], 1, self.stream)?;
            }
        }
        Ok(())
    }

    /// A launch of a helper that takes a table: as many blocks an entry as its bytes ask for. A grid has at most 65,535
    /// entries; what `into` points to moves with the table, if the helper has one.
    fn by_entry(
        &self,
        function: Handle,
        entries: usize,
        largest: usize,
        values: &[u64],
        into: usize,
    ) -> Result<(), DriverError> {
        const MOST: usize = 65_535;
        let blocks = (largest / 4).div_ceil(WORDS_OF_BLOCK).max(1);
        let most = (self.multiprocessors as usize * 16).div_ceil(entries.max(1)).max(1);
        let mut values = values.to_vec();
        for first in (0..entries).step_by(MOST) {
            let count = (entries - first).min(MOST);
            self.helper(function, [blocks.min(most) as u32, count as u32], 0, &values)?;
            values[0] += (count * helpers::ENTRY_BYTES) as u64;
            if let Some(into) = values.get_mut(into) {
                *into += (count * 8) as u64;
            }
        }
        Ok(())
    }

    /// Queues counting the elements of `a` that are not within bounds of `b`, added to the 8 bytes at `into`.
    pub(super) fn differ(
        &self,
        (a, b): (Address, Address),
        elements: usize,
        kind: u32,
        (relative, absolute): (f64, f64),
        into: Address,
    ) -> Result<(), DriverError> {
        let values = [a, b, elements as u64, u64::from(kind), relative.to_bits(), absolute.to_bits(), into];
        self.helper(self.helpers.differ, [self.multiprocessors * 8, 1], 0, &values)
    }

    /// Queues copying `width` bytes from each `pitch` bytes on behind `from`, one behind the other, until there are `bytes`.
    pub(super) fn gather(
        &self,
        (from, into): (Address, Address),
        bytes: usize,
        width: usize,
        pitch: usize,
    ) -> Result<(), DriverError> {
        let values = [from, into, bytes as u64, width.max(1) as u64, pitch as u64];
        self.helper(self.helpers.gather, [self.multiprocessors * 8, 1], 0, &values)
    }

    /// Queues writing NaN over the shared memory and most registers of every multiprocessor. Whether there is enough shared
    /// memory for it.
    pub(super) fn scrub(&self) -> Result<bool, DriverError> {
        let bytes = self.helpers.scrub_bytes;
        if bytes == 0 {
            return Ok(false);
        }
        // A block takes all the shared memory of a multiprocessor. Twice as many blocks as those leave none out that is busy
        // with the end of an earlier kernel.
        let values = [u64::from(bytes), 0x7fff_ffff, self.helpers.seen];
        self.helper(self.helpers.scrub, [self.multiprocessors * 2, 1], bytes, &values)?;
        Ok(true)
    }

    /// How many multiprocessors one scrub reached, of how many; and how many registers a thread of it has.
    ///
    /// # Errors
    /// What the driver says.
    pub fn scrub_coverage(&self) -> Result<(u32, u32, u32), String> {
        self.covered().map_err(|error| error.to_string())
    }

    fn covered(&self) -> Result<(u32, u32, u32), DriverError> {
        /// `CU_FUNC_ATTRIBUTE_NUM_REGS`
        const REGISTERS: c_int = 4;
        let mut seen = vec![0u8; MOST_MULTIPROCESSORS * 4];
        let mut registers = 0;
        // SAFETY: the range is the whole allocation; the slice is alive and as long; the function is loaded.
        unsafe {
            self.driver.fill(self.helpers.seen, 0, seen.len(), self.stream)?;
            self.scrub()?;
            self.wait()?;
            self.driver.download(seen.as_mut_ptr().cast(), self.helpers.seen, seen.len())?;
            self.driver.function_get(&mut registers, REGISTERS, self.helpers.scrub)?;
        }
        let reached = seen.chunks(4).filter(|word| **word == [1, 0, 0, 0]).count();
        Ok((reached as u32, self.multiprocessors, u32::try_from(registers).unwrap_or(0)))
    }

    /// Launches a helper. A 32-bit parameter is read from the low half of its word.
    fn helper(
        &self,
        function: Handle,
        [x, y]: [u32; 2],
        shared_bytes: u32,
        values: &[u64],
    ) -> Result<(), DriverError> {
        let mut pointers: Vec<*mut c_void> =
            values.iter().map(|value| std::ptr::from_ref(value).cast_mut().cast()).collect();
        let config = LaunchConfig {
            grid: [x, y, 1],
            block: [helpers::THREADS, 1, 1],
            shared_bytes,
            stream: self.stream,
            attributes: std::ptr::null_mut(),
            attribute_count: 0,
        };
        // SAFETY: function and stream are of the current context; one pointer for each parameter, each to at least its
        // bytes; the driver copies parameters before it returns.
        unsafe { self.driver.launch(&config, function, pointers.as_mut_ptr(), std::ptr::null_mut()) }
    }

    /// Queues a kernel that has nothing to do with any candidate.
    pub(super) fn unrelated(&self, seed: u64) -> Result<(), DriverError> {
        self.fill_random(self.helpers.seen, MOST_MULTIPROCESSORS * 4, factory_spec::DType::F32, seed)
    }

    /// Queues a kernel that does nothing for about so long.
    pub(super) fn delay(&self, seconds: f64) -> Result<(), DriverError> {
        /// Cycles a second of a multiprocessor, about.
        const CLOCK: f64 = 1.8e9;
        self.helper(self.helpers.delay, [1, 1], 0, &[(seconds.clamp(0.0, 0.1) * CLOCK) as u64])
    }

    /// Queues a kernel that does nothing.
    pub(super) fn nothing(&self) -> Result<(), DriverError> {
        self.helper(self.helpers.empty, [1, 1], 0, &[])
    }
}

/// A table on the device.
pub(super) struct Table {
    buffer: super::device::Buffer,
    /// A word for each entry.
    results: super::device::Buffer,
    entries: usize,
    largest: usize,
}

impl Table {
    pub(super) fn new(gpu: &Gpu, ranges: &[Range]) -> Result<Table, DriverError> {
        let bytes = helpers::table(ranges);
        let buffer = super::device::Buffer::new(gpu, bytes.len())?;
        if !bytes.is_empty() {
            buffer.upload(0, &bytes)?;
        }
        let largest = ranges.iter().map(|range| range.bytes).max().unwrap_or(0);
        let results = super::device::Buffer::new(gpu, ranges.len() * 8)?;
        Ok(Table { buffer, results, entries: ranges.len(), largest })
    }

    /// Queues writing each entry's pattern.
    pub(super) fn poison(&self, gpu: &Gpu) -> Result<(), DriverError> {
        gpu.poison(self.place(), self.largest)
    }

    fn place(&self) -> (Address, usize) {
        (self.buffer.address, self.entries)
    }

    /// One digest an entry.
    pub(super) fn digests(&self, gpu: &Gpu, key: u64) -> Result<Vec<u64>, DriverError> {
        self.words(gpu, |into| gpu.digest(self.place(), self.largest, key, into))
    }

    /// For each entry the number of words that are not its pattern.
    pub(super) fn strays(&self, gpu: &Gpu) -> Result<Vec<u64>, DriverError> {
        self.words(gpu, |into| gpu.intact(self.place(), self.largest, into))
    }

    fn words(
        &self,
        gpu: &Gpu,
        queue: impl FnOnce(Address) -> Result<(), DriverError>,
    ) -> Result<Vec<u64>, DriverError> {
        let results = &self.results;
        // SAFETY: the range is the whole allocation, and the stream is of this context.
        unsafe { gpu.driver.fill(results.address, 0, results.bytes.max(8), gpu.stream) }?;
        if self.entries > 0 {
            queue(results.address)?;
        }
        gpu.wait()?;
        let mut bytes = vec![0; results.bytes];
        results.download(0, &mut bytes)?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }
}
