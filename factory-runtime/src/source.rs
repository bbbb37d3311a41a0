//! What generated code holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::driver::DeviceSlice;
use factory_spec::{Certificate, Key};

use crate::argument::Value;
use crate::view::{MutPlace, RefPlace};
use crate::{ArgValue, Device, Error, Prepared, Result};

/// A kernel as the build script embedded it: everything is text, nothing has been read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// A place for one kernel on one device, locked while it is being prepared, so that this happens once.
type Slot = Arc<Mutex<Vec<(&'static KernelSource, Prepared)>>>;

/// What was prepared in this process, by device and key. Two crates may have sealed different winners for one key: a slot
/// tells them apart.
static PREPARED: Mutex<Option<HashMap<(usize, &'static str), Slot>>> = Mutex::new(None);

impl KernelSource {
    /// Reads the plan, verifies the digests, and loads the module (or decodes it for the machine): once for each device and
    /// kernel in this process.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] for a stub, [`Error::Tampered`], [`Error::NoTarget`], [`Error::Jit`], [`Error::DriverTooOld`],
    /// [`Error::MachineUnsupported`], [`Error::BadKernel`].
    pub fn prepare(&'static self, device: &Device) -> Result<Prepared> {
        if let Some(reason) = self.missing {
            return Err(Error::Missing { kernel: self.name, reason: reason.to_owned() });
        }
        let slot = {
            let mut prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
            prepared.get_or_insert_default().entry((device.id(), self.key)).or_default().clone()
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, prepared)) =
            slot.iter().find(|(source, _)| std::ptr::eq(*source, self) || **source == *self)
        {
            return Ok(prepared.clone());
        }
        let prepared = Prepared::new(self, device)?;
        slot.push((self, prepared.clone()));
        Ok(prepared)
    }

    /// What the certificate says of the other files.
    pub(crate) fn digests(&self) -> Result<BTreeMap<String, String>> {
        let certificate = Certificate::parse(self.certificate).map_err(|error| Error::BadKernel {
            kernel: self.name,
            what: format!("its certificate cannot be read: {error}"),
        })?;
        if certificate.key.to_string() != self.key {
            return Err(Error::Tampered {
                kernel: self.name,
                file: factory_spec::generated::CERTIFICATE.to_owned(),
            });
        }
        Ok(certificate.files)
    }

    /// Compares a text with its digest.
    pub(crate) fn verify(&self, digests: &BTreeMap<String, String>, file: &str, text: &str) -> Result<()> {
        match digests.get(file) {
            Some(digest) if *digest == Key::of(text).to_string() => Ok(()),
            _ => Err(Error::Tampered { kernel: self.name, file: file.to_owned() }),
        }
    }
}

/// Where a generated function keeps its kernel, prepared, for the devices it met. For generated code.
#[doc(hidden)]
#[derive(Debug)]
pub struct Cache {
    /// Filled in order and never emptied, so that reading takes no lock.
    slots: [OnceLock<Prepared>; 8],
}

impl Cache {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "made in statics, by generated code")]
    pub const fn new() -> Cache {
        Cache { slots: [const { OnceLock::new() }; 8] }
    }

    /// Launches on the device of the arguments, on its default stream.
    ///
    /// # Errors
    ///
    /// Those of [`KernelSource::prepare`] and [`Prepared::launch`].
    pub fn launch(&'static self, source: &'static KernelSource, args: &mut [ArgValue<'_>]) -> Result<()> {
        let place = Place::of(args);
        for slot in &self.slots {
            let Some(prepared) = slot.get() else { break };
            if place.is(prepared.device()) {
                return prepared.launch(prepared.device().stream(), args);
            }
        }
        let prepared = source.prepare(&place.device()?)?;
        // When all slots are taken, the process-wide table serves.
        let _ = self.slots.iter().try_fold(prepared.clone(), |prepared, slot| slot.set(prepared).err());
        prepared.launch(prepared.device().stream(), args)
    }
}

/// Where the first tensor among the arguments is.
enum Place<'a> {
    Cuda(&'a Arc<cudarc::driver::CudaContext>),
    Device(&'a Device),
    Host,
}

impl Place<'_> {
    fn of<'a>(args: &'a [ArgValue<'_>]) -> Place<'a> {
        let mut place = Place::Host;
        for value in args {
            let device = match &value.0 {
                Value::Scalar { .. } => continue,
                Value::Ref { place: RefPlace::Cuda(view), .. } => {
                    return Place::Cuda(view.stream().context());
                }
                Value::Mut { place: MutPlace::Cuda(view), .. } => {
                    return Place::Cuda(view.stream().context());
                }
                Value::Ref { place: RefPlace::Host(host), .. } => host.device,
                Value::Mut { place: MutPlace::Host(host), .. } => host.device,
            };
            if let (Place::Host, Some(device)) = (&place, device) {
                place = Place::Device(device);
            }
        }
        place
    }

    fn is(&self, device: &Device) -> bool {
        match self {
            Place::Cuda(context) => device.is_context(context),
            Place::Device(place) => *place == device,
            Place::Host => device.is_machine() && *device == Device::machine(),
        }
    }

    fn device(&self) -> Result<Device> {
        match self {
            Place::Cuda(context) => Device::from_cuda((*context).clone()),
            Place::Device(device) => Ok((*device).clone()),
            Place::Host => Ok(Device::machine()),
        }
    }
}
