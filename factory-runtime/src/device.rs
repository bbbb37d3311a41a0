//! Where kernels run: a GPU, or the PTX machine.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::driver::CudaContext;

use crate::driver::{Driver, cuda_error};
use crate::{CudaVersion, Error, Result, Stream};

/// An NVIDIA GPU, or the project's own PTX machine, which needs no GPU.
///
/// Cheap to clone; two devices are equal when they are the same place. A device, once used, stays known to the process,
/// and with it the modules that were loaded there.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

struct Inner {
    kind: Kind,
    stream: OnceLock<Stream>,
}

enum Kind {
    Cuda(CudaDevice),
    Machine(MachineOptions),
}

pub(crate) struct CudaDevice {
    pub(crate) context: Arc<CudaContext>,
    pub(crate) driver: &'static Driver,
    capability: (u32, u32),
    name: String,
}

/// What the PTX machine checks while it runs a kernel, and how.
///
/// Accesses outside of an argument, misaligned accesses, barrier faults and deadlock are always found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MachineOptions {
    /// Also find shared-memory races and reads of memory that nobody wrote; about twice as slow.
    pub all_checks: bool,
    /// The order in which warps and blocks run is drawn from this.
    pub seed: u64,
    /// Threads of the host to use; 0 means as many as there are cores.
    pub threads: usize,
    /// Instructions of warps, all together, after which a launch counts as not ending.
    pub instruction_budget: u64,
}

impl Default for MachineOptions {
    fn default() -> Self {
        MachineOptions { all_checks: false, seed: 0, threads: 0, instruction_budget: 1_000_000_000_000 }
    }
}

impl MachineOptions {
    /// The default options, with [`MachineOptions::all_checks`] set as given.
    #[must_use]
    pub fn all_checks(mut self, on: bool) -> Self {
        self.all_checks = on;
        self
    }

    /// The same with another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// All devices of this process. A device is found again rather than made twice, so that identity is a pointer.
static DEVICES: Mutex<Vec<Device>> = Mutex::new(Vec::new());

impl Device {
    /// GPU number `ordinal`, as the driver counts them.
    ///
    /// # Errors
    ///
    /// [`Error::DriverMissing`], [`Error::DriverTooOld`], [`Error::NoGpu`], or what the driver says. Never panics.
    pub fn cuda(ordinal: usize) -> Result<Device> {
        let driver = Driver::get()?;
        let count = driver.device_count()?;
        if ordinal >= count {
            return Err(Error::NoGpu { ordinal, count });
        }
        let context =
            CudaContext::new(ordinal).map_err(|error| cuda_error("cuDevicePrimaryCtxRetain", error))?;
        Device::from_cuda(context)
    }

    /// The device of a cudarc context of your own: its streams, slices and views can then be used with our kernels.
    ///
    /// The context stays alive as long as the process.
    ///
    /// # Errors
    ///
    /// What the driver says when it is asked about the device.
    pub fn from_cuda(context: Arc<CudaContext>) -> Result<Device> {
        let driver = Driver::get()?;
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = devices.iter().find(|device| device.is_context(&context)) {
            return Ok(device.clone());
        }
        let (major, minor) =
            context.compute_capability().map_err(|error| cuda_error("cuDeviceGetAttribute", error))?;
        let name = context.name().map_err(|error| cuda_error("cuDeviceGetName", error))?;
        let capability = (major.unsigned_abs(), minor.unsigned_abs());
        let device = Device::new(Kind::Cuda(CudaDevice { context, driver, capability, name }));
        devices.push(device.clone());
        Ok(device)
    }

    /// The PTX machine with the default options. Without the feature `machine` it holds tensors and runs no kernels.
    ///
    /// `KERNEL_FACTORY_MACHINE_CHECKS=all` switches its expensive checks on; any other value means `fast`.
    pub fn machine() -> Device {
        let all = std::env::var("KERNEL_FACTORY_MACHINE_CHECKS").is_ok_and(|value| value == "all");
        Device::machine_with(MachineOptions::default().all_checks(all))
    }

    /// The PTX machine with options of your own.
    pub fn machine_with(options: MachineOptions) -> Device {
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = devices
            .iter()
            .find(|device| matches!(&device.inner.kind, Kind::Machine(known) if *known == options))
        {
            return device.clone();
        }
        let device = Device::new(Kind::Machine(options));
        devices.push(device.clone());
        device
    }

    /// GPU 0 if there is one that works, else the PTX machine (unless it was left out with the feature `machine`).
    ///
    /// `KERNEL_FACTORY_DEVICE` overrides the choice: `machine`, `cuda` (or `cuda:0`), `cuda:1`, …
    ///
    /// # Errors
    ///
    /// When the variable asks for a GPU that cannot be had or holds something else; or when there is a GPU and the driver
    /// fails in a way that should be seen (out of memory, say).
    pub fn best() -> Result<Device> {
        match Device::from_env()? {
            Some(device) => Ok(device),
            None => match Device::cuda(0) {
                Err(error) if cfg!(feature = "machine") && error.is_no_gpu() => Ok(Device::machine()),
                other => other,
            },
        }
    }

    /// The device that `KERNEL_FACTORY_DEVICE` names: `machine`, `cuda`, `cuda:<ordinal>`. `None` when it is not set.
    ///
    /// # Errors
    ///
    /// When it names a GPU that cannot be had, or something else.
    pub fn from_env() -> Result<Option<Device>> {
        const VARIABLE: &str = "KERNEL_FACTORY_DEVICE";
        match std::env::var_os(VARIABLE) {
            None => Ok(None),
            Some(value) => Device::parse(VARIABLE, &value.to_string_lossy()),
        }
    }

    fn parse(variable: &'static str, value: &str) -> Result<Option<Device>> {
        match value {
            "" | "auto" => Ok(None),
            "machine" => Ok(Some(Device::machine())),
            "cuda" => Device::cuda(0).map(Some),
            other => match other.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok()) {
                Some(ordinal) => Device::cuda(ordinal).map(Some),
                None => Err(Error::Variable {
                    variable,
                    value: value.to_owned(),
                    allowed: "`machine`, `cuda`, `cuda:<ordinal>` or `auto`",
                }),
            },
        }
    }

    fn new(kind: Kind) -> Device {
        Device { inner: Arc::new(Inner { kind, stream: OnceLock::new() }) }
    }

    /// The default stream: of a GPU the null stream of its context.
    pub fn stream(&self) -> &Stream {
        self.inner.stream.get_or_init(|| Stream::default_of(self))
    }

    /// A new stream, whose work may overlap with that of others.
    ///
    /// # Errors
    ///
    /// What the driver says.
    pub fn new_stream(&self) -> Result<Stream> {
        Stream::new_on(self)
    }

    /// Whether this is the PTX machine.
    pub fn is_machine(&self) -> bool {
        matches!(self.inner.kind, Kind::Machine(_))
    }

    /// Major and minor compute capability of a GPU; `None` on the machine.
    pub fn compute_capability(&self) -> Option<(u32, u32)> {
        self.as_cuda().map(|cuda| cuda.capability)
    }

    /// The newest CUDA version that the driver supports; `None` on the machine.
    pub fn driver_version(&self) -> Option<CudaVersion> {
        self.as_cuda().map(|cuda| cuda.driver.version())
    }

    /// The cudarc context of a GPU; `None` on the machine.
    pub fn cuda_context(&self) -> Option<&Arc<CudaContext>> {
        self.as_cuda().map(|cuda| &cuda.context)
    }

    /// The options of the machine; `None` on a GPU.
    pub fn machine_options(&self) -> Option<&MachineOptions> {
        match &self.inner.kind {
            Kind::Machine(options) => Some(options),
            Kind::Cuda(_) => None,
        }
    }

    /// In words: `NVIDIA H200 (GPU 0, sm_90)` or `the PTX machine`.
    pub fn description(&self) -> String {
        match &self.inner.kind {
            Kind::Cuda(cuda) => format!(
                "{} (GPU {}, sm_{}{})",
                cuda.name,
                cuda.context.ordinal(),
                cuda.capability.0,
                cuda.capability.1
            ),
            Kind::Machine(_) => "the PTX machine".to_owned(),
        }
    }

    pub(crate) fn as_cuda(&self) -> Option<&CudaDevice> {
        match &self.inner.kind {
            Kind::Cuda(cuda) => Some(cuda),
            Kind::Machine(_) => None,
        }
    }

    /// Two `CudaContext`s of the same driver context (two retains of a primary context, say) are the same place.
    pub(crate) fn is_context(&self, context: &CudaContext) -> bool {
        self.as_cuda().is_some_and(|cuda| cuda.context.cu_ctx() == context.cu_ctx())
    }

    /// A number that names the place, for caches. Devices are never dropped, so it is never used again.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.inner) as usize
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.description())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_found_again() {
        assert_eq!(Device::machine(), Device::machine());
        assert_ne!(Device::machine(), Device::machine_with(MachineOptions::default().seed(7)));
    }

    #[test]
    fn the_variable_is_read_strictly() {
        assert!(Device::parse("X", "machine").unwrap().unwrap().is_machine());
        assert!(Device::parse("X", "auto").unwrap().is_none());
        let error = Device::parse("X", "gpu").unwrap_err();
        assert!(error.to_string().contains("`gpu`"), "{error}");
        assert!(matches!(Device::parse("X", "cuda:x"), Err(Error::Variable { .. })));
    }

    #[test]
    fn a_gpu_is_there_or_its_absence_is_an_error() {
        match Device::cuda(0) {
            Ok(device) => assert!(device.compute_capability().is_some()),
            Err(error) => {
                assert!(error.is_no_gpu(), "{error}");
                assert!(error.to_string().contains("\n\nhint: "), "says what to do: {error}");
                eprintln!("{error}");
            }
        }
        assert!(Device::cuda(4096).is_err());
    }

    #[cfg(feature = "machine")]
    #[test]
    fn the_best_device_without_a_gpu_is_the_machine() {
        // Whoever set the variable has chosen otherwise.
        if std::env::var_os("KERNEL_FACTORY_DEVICE").is_none() {
            let best = Device::best().unwrap();
            assert_eq!(best.is_machine(), Device::cuda(0).is_err());
        }
    }
}
