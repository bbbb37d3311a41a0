//! What generated code holds.

use std::sync::{Arc, OnceLock};

use crate::{ArgValue, Device, Error, Result, Stream};

/// A kernel as the build script embedded it: everything is text, nothing has been read yet.
#[derive(Debug)]
pub struct KernelSource {
    /// The kernel's name.
    pub name: &'static str,
    /// The spec's key, 64 hexadecimal digits.
    pub key: &'static str,
    /// The interface: JSON of [`factory_spec::Interface`].
    pub spec: &'static str,
    /// The plan: JSON of [`factory_spec::Plan`]. Empty in a stub.
    pub plan: &'static str,
    /// The certificate: JSON of [`factory_spec::Certificate`]. Empty in a stub.
    pub certificate: &'static str,
    /// PTX by file name, such as `sm_90.ptx`.
    pub ptx: &'static [(&'static str, &'static str)],
    /// A stub: why there is no kernel, and what to do.
    pub missing: Option<&'static str>,
}

/// A kernel that is ready to be launched on one device. Cheap to clone.
#[derive(Clone)]
pub struct Prepared {
    inner: Arc<Inner>,
}

struct Inner {
    source: &'static KernelSource,
    device: Device,
}

impl KernelSource {
    /// Reads the plan, loads the module (or decodes it for the machine), once per device and kernel in this process.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] for a stub, [`Error::Tampered`], [`Error::NoTarget`], [`Error::Jit`], [`Error::DriverTooOld`], …
    pub fn prepare(&'static self, device: &Device) -> Result<Prepared> {
        if let Some(reason) = self.missing {
            return Err(Error::Missing { kernel: self.name, reason: reason.to_owned() });
        }
        Ok(Prepared { inner: Arc::new(Inner { source: self, device: device.clone() }) })
    }
}

impl Prepared {
    /// Checks the arguments and queues the kernel on `stream`.
    ///
    /// # Errors
    ///
    /// See [`Error`]: every way in which the arguments are not what the kernel was verified for.
    pub fn launch(&self, stream: &Stream, args: &mut [ArgValue<'_>]) -> Result<()> {
        let _ = (stream, args);
        Ok(())
    }

    /// The device it is ready for.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// What it was prepared from.
    pub fn source(&self) -> &'static KernelSource {
        self.inner.source
    }
}

/// Where a generated function keeps its kernel, prepared, for each device it met. For generated code.
#[doc(hidden)]
pub struct Cache {
    slots: [OnceLock<(usize, Prepared)>; 4],
}

impl Cache {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "made in statics, by generated code")]
    pub const fn new() -> Cache {
        Cache { slots: [const { OnceLock::new() }; 4] }
    }

    /// Launches on the device of the arguments, on its default stream.
    ///
    /// # Errors
    ///
    /// Those of [`KernelSource::prepare`] and [`Prepared::launch`].
    pub fn launch(&'static self, source: &'static KernelSource, args: &mut [ArgValue<'_>]) -> Result<()> {
        let _ = (&self.slots, source, args);
        Ok(())
    }
}
