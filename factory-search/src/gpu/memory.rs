//! Device memory that a candidate sees: tensors whose neighbours are unmapped, inputs that cannot be written.
//!
//! Where the driver has virtual memory calls, a [`Room`] is a range of whole pages in the middle of a reservation that is
//! larger by a page on either side, so that the first access beyond it faults. Inside the pages a tensor stands at the very
//! start or at the very end; the rest of the pages is its guard band. Without those calls a room is an ordinary allocation
//! with bands on both sides, which are checked but not enforced; [`Protection`] says which it was.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::device::Gpu;
use super::driver::{AccessDescription, Address, AllocationProperties, Driver, DriverError};

/// Bytes of each guard band of a room without unmapped neighbours.
const BAND_BYTES: usize = 4096;
/// What guard bands hold: a NaN of every float type, so that an input read beyond its end shows.
pub(super) const BAND: u8 = 0xff;

/// How buffers were protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "protection", rename_all = "snake_case")]
pub enum Protection {
    /// The pages before and after every buffer are unmapped.
    Pages {
        /// Bytes of a page.
        page: usize,
        /// Whether inputs are mapped read-only too. Some drivers do not do that; inputs are always compared with their
        /// digests.
        read_only: bool,
    },
    /// Guard bands alone: they are checked after a launch, and inputs are compared with their digests.
    Bands {
        /// Why the driver's virtual memory calls were not used.
        reason: String,
    },
}

impl std::fmt::Display for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pages { page, read_only } => write!(
                f,
                "{}, unmapped pages of {} KiB around every buffer",
                if *read_only { "inputs mapped read-only" } else { "inputs writable but watched" },
                page >> 10
            ),
            Self::Bands { reason } => write!(f, "guard bands only ({reason})"),
        }
    }
}

/// Who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    ReadWrite,
}

/// Where in its room a tensor lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Placement {
    Start,
    End,
}

/// `CU_MEM_ALLOCATION_TYPE_PINNED`, `CU_MEM_LOCATION_TYPE_DEVICE`, `CU_MEM_ACCESS_FLAGS_PROT_*`
const PINNED: u32 = 1;
const LOCATION_DEVICE: u32 = 1;
const ACCESS_READ: u32 = 1;
const ACCESS_READ_WRITE: u32 = 3;

fn properties(device: i32) -> AllocationProperties {
    AllocationProperties {
        kind: PINNED,
        handle_types: 0,
        location_kind: LOCATION_DEVICE,
        location: device,
        windows: std::ptr::null_mut(),
        flags: [0; 8],
    }
}

/// Finds out how buffers of this device can be protected. The context must be current.
pub(super) fn protection(gpu: &Gpu, supported: bool) -> Protection {
    let bands = |reason: &str| Protection::Bands { reason: reason.to_owned() };
    if !supported {
        return bands("the device has no virtual memory management");
    }
    let mut page = 0usize;
    // SAFETY: the pointers are to live values of the driver's own layout; 0 asks for the least granularity.
    match unsafe { gpu.driver.granularity(&mut page, &properties(gpu.ordinal()), 0) } {
        Ok(()) if page > 0 => {}
        Ok(()) => return bands("the driver states no page size"),
        Err(error) => return Protection::Bands { reason: error.to_string() },
    }
    match Room::mapped(gpu, 1, page, true) {
        Ok(room) => {
            let both = room.protect(Access::Read).and_then(|()| room.protect(Access::ReadWrite));
            Protection::Pages { page, read_only: both.is_ok() }
        }
        Err(error) => Protection::Bands { reason: error.to_string() },
    }
}

enum Kind {
    /// Mapped pages: the reservation, its bytes, and the physical memory.
    Mapped(Mapped),
    /// An ordinary allocation.
    Plain,
}

#[derive(Clone, Copy)]
struct Mapped {
    reserved: Address,
    reserved_bytes: usize,
    physical: u64,
    device: i32,
    read_only: bool,
}

/// Mapped pages that could not be given back while their context was lost: address and bytes of the mapping beside the rest.
static LOST: Mutex<Vec<(Address, usize, Mapped)>> = Mutex::new(Vec::new());

/// Gives back what could not be given back before, now that there is a new context.
pub(super) fn give_back_lost(driver: &Driver) {
    let lost = std::mem::take(&mut *LOST.lock().unwrap_or_else(PoisonError::into_inner));
    for (address, bytes, mapped) in lost {
        // SAFETY: nothing of the lost context runs any more, and the owner of the mapping is gone. What fails again is left to
        // the end of the process.
        unsafe {
            let _ = driver.unmap(address, bytes);
            let _ = driver.physical_release(mapped.physical);
            let _ = driver.address_free(mapped.reserved, mapped.reserved_bytes);
        }
    }
}

/// Memory for tensors, with nothing of anybody else's beside it.
pub(super) struct Room {
    driver: &'static Driver,
    kind: Kind,
    /// All of it, bands included.
    pub(super) address: Address,
    pub(super) bytes: usize,
}

impl Room {
    /// Room for `bytes`, protected as well as the device allows; writable.
    pub(super) fn new(gpu: &Gpu, bytes: usize) -> Result<Room, DriverError> {
        match gpu.protection() {
            Protection::Pages { page, read_only } => Room::mapped(gpu, bytes, *page, *read_only),
            Protection::Bands { .. } => Room::plain(gpu, bytes),
        }
    }

    fn plain(gpu: &Gpu, bytes: usize) -> Result<Room, DriverError> {
        let bytes = bytes.next_multiple_of(256) + 2 * BAND_BYTES;
        let mut address = 0;
        // SAFETY: the pointer is to a live integer and the context is current.
        unsafe { gpu.driver.allocate(&mut address, bytes) }?;
        Ok(Room { driver: gpu.driver, kind: Kind::Plain, address, bytes })
    }

    fn mapped(gpu: &Gpu, bytes: usize, page: usize, read_only: bool) -> Result<Room, DriverError> {
        let (driver, device) = (gpu.driver, gpu.ordinal());
        let bytes = bytes.max(1).next_multiple_of(page);
        let reserved_bytes = bytes + 2 * page;
        let (mut reserved, mut physical) = (0, 0);
        // SAFETY: pointers are to live values of the driver's own layout. What was made is undone where a later step fails,
        // in the reverse order; nothing was launched on it yet.
        unsafe {
            driver.address_reserve(&mut reserved, reserved_bytes, page, 0, 0)?;
            let address = reserved + page as u64;
            let undo_reservation = |error| {
                let _ = driver.address_free(reserved, reserved_bytes);
                error
            };
            driver.physical_create(&mut physical, bytes, &properties(device), 0).map_err(undo_reservation)?;
            if let Err(error) = driver.map(address, bytes, 0, physical, 0) {
                let _ = driver.physical_release(physical);
                return Err(undo_reservation(error));
            }
            let kind = Kind::Mapped(Mapped { reserved, reserved_bytes, physical, device, read_only });
            let room = Room { driver, kind, address, bytes };
            room.protect(Access::ReadWrite)?;
            Ok(room)
        }
    }

    /// Says who may do what from now on. Nothing may be running that uses the room. Without pages it changes nothing.
    pub(super) fn protect(&self, access: Access) -> Result<(), DriverError> {
        let Kind::Mapped(Mapped { device, read_only, .. }) = self.kind else { return Ok(()) };
        if access == Access::Read && !read_only {
            return Ok(());
        }
        let flags = if access == Access::Read { ACCESS_READ } else { ACCESS_READ_WRITE };
        let description = AccessDescription { location_kind: LOCATION_DEVICE, location: device, flags };
        // SAFETY: the range is the whole mapping, and the pointer is to one live description.
        unsafe { self.driver.set_access(self.address, self.bytes, &description, 1) }
    }

    /// Where a tensor begins, as an offset into the room. The end of the tensor is the end of the pages, less what the
    /// alignment asks for.
    pub(super) fn offset(&self, bytes: usize, alignment: usize, placement: Placement) -> usize {
        let band = match self.kind {
            Kind::Mapped(_) => 0,
            Kind::Plain => BAND_BYTES,
        };
        offset(self.bytes, band, bytes, alignment, placement)
    }

    /// Bytes a tensor may have at most.
    pub(super) fn holds(&self) -> usize {
        match self.kind {
            Kind::Mapped(_) => self.bytes,
            Kind::Plain => self.bytes - 2 * BAND_BYTES,
        }
    }
}

fn offset(room: usize, band: usize, bytes: usize, alignment: usize, placement: Placement) -> usize {
    match placement {
        Placement::Start => band,
        Placement::End => band + (room - 2 * band - bytes) / alignment * alignment,
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: nobody else frees it, and owners wait for the stream before they drop. In a lost or replaced context the
        // driver refuses, and the memory is gone anyway.
        unsafe {
            match self.kind {
                Kind::Mapped(mapped) => {
                    if self.driver.unmap(self.address, self.bytes).is_err() {
                        let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
                        lost.push((self.address, self.bytes, mapped));
                        return;
                    }
                    let _ = self.driver.physical_release(mapped.physical);
                    let _ = self.driver.address_free(mapped.reserved, mapped.reserved_bytes);
                }
                Kind::Plain => {
                    let _ = self.driver.free(self.address);
                }
            }
        }
    }
}

/// Host memory that the device can copy to without a detour.
pub(super) struct Pinned {
    driver: &'static Driver,
    pointer: *mut u8,
    bytes: usize,
}

impl Pinned {
    pub(super) fn new(gpu: &Gpu, bytes: usize) -> Result<Pinned, DriverError> {
        let mut pointer = std::ptr::null_mut();
        // SAFETY: the pointer is to a live pointer; no flags.
        unsafe { gpu.driver.host_allocate(&mut pointer, bytes.max(8), 0) }?;
        Ok(Pinned { driver: gpu.driver, pointer: pointer.cast(), bytes: bytes.max(8) })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// What was copied here. The copy must have ended.
    pub(super) fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset + bytes.len() <= self.bytes, "a read stays inside its buffer");
        // SAFETY: the range lies inside the allocation. It is read through a raw pointer, so that the device may have
        // written it since.
        unsafe { std::ptr::copy_nonoverlapping(self.pointer.add(offset), bytes.as_mut_ptr(), bytes.len()) }
    }

    /// One 64-bit word of it.
    pub(super) fn word(&self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        self.read(offset, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Zeros, before something is copied there. Nothing may be on its way.
    pub(super) fn clear(&self, offset: usize, bytes: usize) {
        assert!(offset + bytes <= self.bytes, "what is cleared lies inside the buffer");
        // SAFETY: the range lies inside the allocation, and no copy to it is queued.
        unsafe { std::ptr::write_bytes(self.pointer.add(offset), 0, bytes) }
    }

    /// Queues a copy from the device.
    pub(super) fn fetch(
        &self,
        gpu: &Gpu,
        offset: usize,
        from: Address,
        bytes: usize,
    ) -> Result<(), DriverError> {
        assert!(offset + bytes <= self.bytes, "a copy stays inside its buffer");
        // SAFETY: the host range lies inside the allocation, which outlives the copy: owners wait before they drop.
        unsafe { self.driver.download_async(self.pointer.add(offset).cast(), from, bytes, gpu.stream) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: nobody else frees it, and nothing copies to it any more.
        let _ = unsafe { self.driver.host_free(self.pointer.cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_stands_at_the_start_or_as_near_the_end_as_its_alignment_allows() {
        assert_eq!(offset(4096, 0, 100, 16, Placement::Start), 0);
        assert_eq!(offset(4096, 0, 100, 4, Placement::End), 3996);
        assert_eq!(offset(4096, 0, 100, 16, Placement::End), 3984);
        assert_eq!(offset(4096, 0, 4096, 16, Placement::End), 0);
        assert_eq!(offset(8192 + 256, 4096, 256, 16, Placement::End), 4096);
        assert_eq!(offset(8192 + 256, 4096, 6, 2, Placement::End), 4096 + 250);
    }

    #[test]
    fn structures_have_the_drivers_sizes() {
        assert_eq!(size_of::<AllocationProperties>(), 32);
        assert_eq!(size_of::<AccessDescription>(), 12);
    }
}
