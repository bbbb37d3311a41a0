//! A GPU, its context, buffers with guard bands, and loaded candidates.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};

use factory_spec::{BoundSpec, SizeValues, Variant};

use super::driver::{Address, Driver, DriverError, Handle, LaunchAttribute, LaunchConfig};
use super::helpers;
use crate::candidate::Candidate;
use crate::launch::{self, Bindings};
use crate::verdict::Reason;

/// `CU_DEVICE_ATTRIBUTE_*`
const ATTRIBUTE_MULTIPROCESSORS: c_int = 16;
const ATTRIBUTE_L2_BYTES: c_int = 38;
const ATTRIBUTE_MAJOR: c_int = 75;
const ATTRIBUTE_MINOR: c_int = 76;
const ATTRIBUTE_SHARED_OPTIN: c_int = 97;
/// `CU_LIMIT_PERSISTING_L2_CACHE_SIZE`
const LIMIT_PERSISTING_L2: c_int = 6;
/// `CU_FUNC_ATTRIBUTE_*`
const FUNCTION_SHARED: c_int = 1;
const FUNCTION_LOCAL: c_int = 3;
const FUNCTION_REGISTERS: c_int = 4;
const FUNCTION_MAX_DYNAMIC_SHARED: c_int = 8;
/// `CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION`
const LAUNCH_CLUSTER: c_uint = 4;
/// `CU_JIT_ERROR_LOG_BUFFER` and its size.
const JIT_ERROR_LOG: c_uint = 5;
const JIT_ERROR_LOG_BYTES: c_uint = 6;

/// A GPU with the primary context of this process.
pub struct Gpu {
    pub(super) driver: &'static Driver,
    device: c_int,
    name: String,
    version: String,
    capability: (u32, u32),
    pub(super) l2_bytes: usize,
    pub(super) multiprocessors: u32,
    pub(super) shared_limit: u32,
    pub(super) stream: Handle,
    helpers: Handle,
    fill: Handle,
    fingerprint: Handle,
    differ: Handle,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu").field("name", &self.name).field("driver", &self.version).finish_non_exhaustive()
    }
}

/// Why something on the GPU did not work.
pub(super) enum Trouble {
    /// The driver's error. The context may be lost.
    Driver(DriverError),
    /// The candidate's own.
    Candidate(Reason),
}

impl From<DriverError> for Trouble {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

impl From<Reason> for Trouble {
    fn from(reason: Reason) -> Self {
        Self::Candidate(reason)
    }
}

/// The version of NVIDIA's kernel module: on Linux the first number with dots in its description.
fn kernel_module_version() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    let numeric = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.lines().next()?.split_whitespace().find(numeric).map(str::to_owned)
}

impl Gpu {
    /// Opens a GPU; why not, in words.
    ///
    /// # Errors
    /// There is no driver, no such GPU, or it does not work.
    pub fn open(ordinal: usize) -> Result<Gpu, String> {
        let driver = Driver::get()?;
        Gpu::start(driver, ordinal).map_err(|error| error.to_string())
    }

    fn start(driver: &'static Driver, ordinal: usize) -> Result<Gpu, DriverError> {
        let mut device = 0;
        let mut version = 0;
        let mut name = [0u8; 128];
        let ordinal = c_int::try_from(ordinal).unwrap_or(c_int::MAX);
        // SAFETY: all pointers are to live variables of the right type; the name's length is given.
        unsafe {
            driver.device_get(&mut device, ordinal)?;
            driver.driver_version(&mut version)?;
            driver.device_name(name.as_mut_ptr().cast::<c_char>(), name.len() as c_int, device)?;
        }
        let attribute = |which: c_int| -> Result<u32, DriverError> {
            let mut value = 0;
            // SAFETY: the pointer is to a live integer and the device exists.
            unsafe { driver.device_attribute(&mut value, which, device) }?;
            Ok(u32::try_from(value).unwrap_or(0))
        };
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        let mut gpu = Gpu {
            driver,
            device,
            name: String::from_utf8_lossy(&name[..end]).into_owned(),
            version: kernel_module_version()
                .unwrap_or_else(|| format!("CUDA {}.{}", version / 1000, version % 1000 / 10)),
            capability: (attribute(ATTRIBUTE_MAJOR)?, attribute(ATTRIBUTE_MINOR)?),
            l2_bytes: attribute(ATTRIBUTE_L2_BYTES)? as usize,
            multiprocessors: attribute(ATTRIBUTE_MULTIPROCESSORS)?.max(1),
            shared_limit: attribute(ATTRIBUTE_SHARED_OPTIN)?,
            stream: std::ptr::null_mut(),
            helpers: std::ptr::null_mut(),
            fill: std::ptr::null_mut(),
            fingerprint: std::ptr::null_mut(),
            differ: std::ptr::null_mut(),
        };
        gpu.attach()?;
        Ok(gpu)
    }

    /// Takes the context, makes a stream and loads the helpers.
    fn attach(&mut self) -> Result<(), DriverError> {
        let mut context: Handle = std::ptr::null_mut();
        // SAFETY: pointers are to live variables; the device exists; the helpers' text ends in a zero byte.
        unsafe {
            self.driver.context_retain(&mut context, self.device)?;
            self.driver.context_set(context)?;
            // Nothing is set aside for persisting lines. Devices without the feature say so, which is as good.
            let _ = self.driver.set_limit(LIMIT_PERSISTING_L2, 0);
            let _ = self.driver.reset_persisting();
            // 0: the stream waits for the default one, and that one for it. Uploads go through the default stream and may
            // return before the last bytes arrived; without this a kernel could run first, and a poison land on its
            // output.
            self.driver.stream_create(&mut self.stream, 0)?;
        }
        let image = CString::new(helpers::PTX).expect("the helpers hold no zero byte");
        // SAFETY: the image is a C string, the context is current, the names are C strings.
        unsafe {
            let none = std::ptr::null_mut();
            self.driver.module_load(
                &mut self.helpers,
                image.as_ptr().cast(),
                0,
                none,
                std::ptr::null_mut(),
            )?;
            self.driver.module_function(&mut self.fill, self.helpers, c"fill".as_ptr())?;
            self.driver.module_function(&mut self.fingerprint, self.helpers, c"fingerprint".as_ptr())?;
            self.driver.module_function(&mut self.differ, self.helpers, c"differ".as_ptr())?;
        }
        Ok(())
    }

    /// Throws the context away with everything in it and makes a new one, after an error that stays with a context.
    pub(super) fn renew(&mut self) -> Result<(), DriverError> {
        // SAFETY: no handle of the old context is used again: `attach` replaces those of this struct, and buffers and
        // modules of a lost context are forgotten by their owners' `Drop`, whose errors are ignored.
        unsafe {
            let _ = self.driver.context_release(self.device);
            self.driver.context_reset(self.device)?;
        }
        self.attach()
    }

    /// The device's name, such as `NVIDIA H200`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The driver's version, such as `580.159.04`; where the system does not tell it, the newest CUDA version that the
    /// driver supports, such as `CUDA 13.0`.
    pub fn driver(&self) -> &str {
        &self.version
    }

    /// The compute capability.
    pub fn capability(&self) -> (u32, u32) {
        self.capability
    }

    /// Bytes that are free.
    pub(super) fn free_bytes(&self) -> Result<usize, DriverError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: the pointers are to live integers and the context is current.
        unsafe { self.driver.memory_info(&mut free, &mut total) }?;
        Ok(free)
    }

    /// Waits for everything queued.
    pub(super) fn wait(&self) -> Result<(), DriverError> {
        // SAFETY: the stream is of the current context.
        unsafe { self.driver.stream_synchronize(self.stream) }
    }

    /// Fills `bytes` from `address` with random data for a dtype. Both are multiples of 4.
    pub(super) fn fill_random(
        &self,
        address: Address,
        bytes: usize,
        dtype: factory_spec::DType,
        seed: u64,
    ) -> Result<(), DriverError> {
        let values = [address, (bytes / 4) as u64, seed, u64::from(helpers::fill_kind(dtype))];
        self.helper(self.fill, &values)
    }

    /// Queues adding the fingerprint of `bytes` from `address` to the 8 bytes at `into`.
    pub(super) fn fingerprint(
        &self,
        address: Address,
        bytes: usize,
        into: Address,
    ) -> Result<(), DriverError> {
        self.helper(self.fingerprint, &[address, (bytes / 4) as u64, into])
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
        self.helper(self.differ, &values)
    }

    /// Launches a helper. A 32-bit parameter is read from the low half of its word.
    fn helper(&self, function: Handle, values: &[u64]) -> Result<(), DriverError> {
        let mut pointers: Vec<*mut c_void> =
            values.iter().map(|value| std::ptr::from_ref(value).cast_mut().cast()).collect();
        let config = LaunchConfig {
            grid: [self.multiprocessors * 8, 1, 1],
            block: [helpers::THREADS, 1, 1],
            shared_bytes: 0,
            stream: self.stream,
            attributes: std::ptr::null_mut(),
            attribute_count: 0,
        };
        // SAFETY: function and stream are of the current context; one pointer for each parameter, each to at least its
        // bytes; the driver copies parameters before it returns.
        unsafe { self.driver.launch(&config, function, pointers.as_mut_ptr(), std::ptr::null_mut()) }
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: the handles are of this context and not used again. A lost context makes these calls fail, which
        // changes nothing any more.
        unsafe {
            let _ = self.driver.module_unload(self.helpers);
            let _ = self.driver.stream_destroy(self.stream);
            let _ = self.driver.context_release(self.device);
        }
    }
}

/// Memory on the device, freed when dropped.
pub(super) struct Buffer {
    driver: &'static Driver,
    pub(super) address: Address,
    pub(super) bytes: usize,
}

impl Buffer {
    pub(super) fn new(gpu: &Gpu, bytes: usize) -> Result<Buffer, DriverError> {
        let mut address = 0;
        // SAFETY: the pointer is to a live integer and the context is current.
        unsafe { gpu.driver.allocate(&mut address, bytes.max(256)) }?;
        Ok(Buffer { driver: gpu.driver, address, bytes })
    }

    pub(super) fn upload(&self, offset: usize, bytes: &[u8]) -> Result<(), DriverError> {
        assert!(offset + bytes.len() <= self.bytes, "an upload stays inside its buffer");
        // SAFETY: the range lies inside the allocation and the slice is alive.
        unsafe { self.driver.upload(self.address + offset as u64, bytes.as_ptr().cast(), bytes.len()) }
    }

    pub(super) fn download(&self, offset: usize, bytes: &mut [u8]) -> Result<(), DriverError> {
        assert!(offset + bytes.len() <= self.bytes, "a download stays inside its buffer");
        // SAFETY: the range lies inside the allocation and the slice is alive.
        unsafe { self.driver.download(bytes.as_mut_ptr().cast(), self.address + offset as u64, bytes.len()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: nobody else frees it. In a lost or replaced context the driver refuses, and the memory is gone anyway.
        let _ = unsafe { self.driver.free(self.address) };
    }
}

/// A candidate's module, loaded by the driver's own compiler from the very text that is sealed.
pub(super) struct Loaded {
    driver: &'static Driver,
    module: Handle,
    functions: Vec<Handle>,
    /// Static shared memory, registers and local bytes of each launch.
    pub(super) facts: Vec<(u32, u32, u32)>,
}

impl Loaded {
    pub(super) fn new(gpu: &Gpu, candidate: &Candidate) -> Result<Loaded, Trouble> {
        let unusable = |what: &str| Reason::Plan { message: format!("{what} holds a zero byte") };
        let image = CString::new(candidate.ptx.as_str()).map_err(|_| unusable("the PTX"))?;
        let mut log = vec![0u8; 8192];
        let mut options = [JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES];
        let mut values: [*mut c_void; 2] =
            [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(log.len())];
        let mut module: Handle = std::ptr::null_mut();
        // SAFETY: the image is a C string; two options with two values, sizes passed in the pointer as the driver wants.
        let loaded = unsafe {
            gpu.driver.module_load(
                &mut module,
                image.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        if let Err(error) = loaded {
            if error.is_sticky() {
                return Err(error.into());
            }
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
            let text = String::from_utf8_lossy(&log[..end]).trim().to_owned();
            return Err(Reason::NotAssembled {
                arch: candidate.arch.to_string(),
                message: format!("the driver's compiler: {}: {text}", error.name),
            }
            .into());
        }
        let mut this = Loaded { driver: gpu.driver, module, functions: Vec::new(), facts: Vec::new() };
        for launch in &candidate.variant.launches {
            let name = CString::new(launch.entry.as_str()).map_err(|_| unusable("an entry's name"))?;
            let mut function: Handle = std::ptr::null_mut();
            // SAFETY: the module was just loaded and the name is a C string.
            unsafe { gpu.driver.module_function(&mut function, module, name.as_ptr()) }?;
            let fact = |which: c_int| -> Result<u32, DriverError> {
                let mut value = 0;
                // SAFETY: the pointer is to a live integer and the function is of this module.
                unsafe { gpu.driver.function_get(&mut value, which, function) }?;
                Ok(u32::try_from(value).unwrap_or(0))
            };
            this.facts.push((fact(FUNCTION_SHARED)?, fact(FUNCTION_REGISTERS)?, fact(FUNCTION_LOCAL)?));
            this.functions.push(function);
        }
        Ok(this)
    }

    /// Makes ready what the launches at these sizes take.
    pub(super) fn prepare(
        &self,
        gpu: &Gpu,
        spec: &BoundSpec,
        variant: &Variant,
        sizes: &SizeValues,
        bindings: &Bindings,
    ) -> Result<Vec<ReadyLaunch>, Trouble> {
        let mut ready = Vec::new();
        for (index, plan) in variant.launches.iter().enumerate() {
            let limit = gpu.shared_limit.saturating_sub(self.facts[index].0);
            let Some(dimensions) = launch::dimensions(spec, sizes, plan, limit)? else { continue };
            // Without asking a function may use 48 KiB, its static shared memory included.
            if dimensions.shared_bytes > 0 {
                let bytes = dimensions.shared_bytes as c_int;
                // SAFETY: the function is of a loaded module.
                unsafe {
                    gpu.driver.function_set(self.functions[index], FUNCTION_MAX_DYNAMIC_SHARED, bytes)
                }?;
            }
            ready.push(ReadyLaunch {
                function: self.functions[index],
                grid: dimensions.grid,
                block: plan.block,
                cluster: plan.cluster,
                shared_bytes: dimensions.shared_bytes,
                params: launch::parameters(spec, sizes, plan, bindings)?,
            });
        }
        Ok(ready)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: no launch of it is queued any more: owners wait before they drop. A lost context refuses, harmlessly.
        let _ = unsafe { self.driver.module_unload(self.module) };
    }
}

/// One launch with everything it takes.
pub(super) struct ReadyLaunch {
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    cluster: [u32; 3],
    shared_bytes: u32,
    params: Vec<Vec<u8>>,
}

impl ReadyLaunch {
    /// Queues the launch.
    pub(super) fn queue(&self, gpu: &Gpu) -> Result<(), DriverError> {
        let mut pointers: Vec<*mut c_void> =
            self.params.iter().map(|bytes| bytes.as_ptr().cast_mut().cast()).collect();
        let mut value = [0u32; 16];
        value[..3].copy_from_slice(&self.cluster);
        let mut attribute = LaunchAttribute { id: LAUNCH_CLUSTER, pad: [0; 4], value };
        let clustered = self.cluster != [1, 1, 1];
        let config = LaunchConfig {
            grid: self.grid,
            block: self.block,
            shared_bytes: self.shared_bytes,
            stream: gpu.stream,
            attributes: if clustered { &mut attribute } else { std::ptr::null_mut() },
            attribute_count: u32::from(clustered),
        };
        // SAFETY: function and stream are of the current context; one pointer for each parameter, whose sizes the parse
        // gate compared with the entry's own; the driver copies them before it returns.
        unsafe { gpu.driver.launch(&config, self.function, pointers.as_mut_ptr(), std::ptr::null_mut()) }
    }
}
