//! Queues of work.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{CudaSlice, CudaStream};

use crate::driver::cuda_error;
use crate::{Device, Error, Result};

/// A queue of launches and copies on a device. On the PTX machine everything has happened when a call returns.
#[derive(Clone)]
pub struct Stream {
    inner: Arc<Inner>,
}

struct Inner {
    device: Device,
    cuda: Option<Arc<CudaStream>>,
    /// Kept from launch to launch: work on one stream is ordered, so one buffer serves all its kernels.
    scratch: Mutex<Scratch>,
}

/// The scratch memory of a stream: grown when a kernel needs more, freed with the stream, both in stream order.
#[derive(Default)]
pub(crate) struct Scratch {
    memory: Option<CudaSlice<u8>>,
    address: u64,
}

impl Stream {
    pub(crate) fn default_of(device: &Device) -> Stream {
        Stream::with(device.clone(), device.as_cuda().map(|cuda| cuda.context.default_stream()))
    }

    pub(crate) fn new_on(device: &Device) -> Result<Stream> {
        let cuda = match device.as_cuda() {
            None => None,
            Some(cuda) => {
                Some(cuda.context.new_stream().map_err(|error| cuda_error("cuStreamCreate", error))?)
            }
        };
        Ok(Stream::with(device.clone(), cuda))
    }

    /// A cudarc stream of your own.
    ///
    /// # Errors
    ///
    /// Those of [`Device::from_cuda`].
    pub fn from_cuda(stream: Arc<CudaStream>) -> Result<Stream> {
        Ok(Stream::with(Device::from_cuda(stream.context().clone())?, Some(stream)))
    }

    fn with(device: Device, cuda: Option<Arc<CudaStream>>) -> Stream {
        Stream { inner: Arc::new(Inner { device, cuda, scratch: Mutex::default() }) }
    }

    /// The device whose queue this is.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// The cudarc stream; `None` on the machine.
    pub fn cuda_stream(&self) -> Option<&Arc<CudaStream>> {
        self.inner.cuda.as_ref()
    }

    /// Waits until everything queued so far has happened.
    ///
    /// # Errors
    ///
    /// What the driver says; a kernel that faulted shows here.
    pub fn synchronize(&self) -> Result<()> {
        match &self.inner.cuda {
            None => Ok(()),
            Some(cuda) => cuda.synchronize().map_err(|error| cuda_error("cuStreamSynchronize", error)),
        }
    }

    /// The scratch memory; the guard is held while a plan's launches are queued, so that two threads that share a stream
    /// do not write into each other's scratch between the launches of one plan.
    pub(crate) fn scratch(&self) -> MutexGuard<'_, Scratch> {
        self.inner.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scratch {
    /// The address of at least `bytes` bytes of device memory, aligned to 256.
    pub(crate) fn reserve(&mut self, stream: &Arc<CudaStream>, device: &Device, bytes: usize) -> Result<u64> {
        if self.memory.as_ref().is_none_or(|memory| memory.len() < bytes) {
            // The old buffer is freed in stream order, after the kernels that use it.
            self.memory = None;
            let rounded = bytes.checked_next_power_of_two().unwrap_or(bytes).max(1 << 16);
            // SAFETY: scratch memory is uninitialised by contract, and `u8` has no invalid bit pattern.
            let memory = unsafe { stream.alloc::<u8>(rounded) }
                .map_err(|error| allocation_error(device, rounded, error))?;
            self.address = {
                use cudarc::driver::DevicePtr;
                memory.device_ptr(stream).0
            };
            self.memory = Some(memory);
        }
        Ok(self.address)
    }
}

/// An allocation that failed, with the number of bytes and what is free.
pub(crate) fn allocation_error(device: &Device, bytes: usize, error: cudarc::driver::DriverError) -> Error {
    match cuda_error("cuMemAllocAsync", error) {
        Error::OutOfMemory { .. } => Error::OutOfMemory {
            device: device.description(),
            bytes: bytes as u64,
            free: device
                .cuda_context()
                .and_then(|context| context.mem_get_info().ok())
                .map(|(free, total)| format!(", {free} of {total} are free"))
                .unwrap_or_default(),
        },
        other => other,
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.inner.device)
    }
}
