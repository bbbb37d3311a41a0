//! A GPU, its context, buffers with guard bands, and loaded candidates.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};

use factory_spec::{BoundSpec, SizeValues, Variant};

use super::bench::Bench;
use super::driver::{Address, Driver, DriverError, Handle, LaunchAttribute, LaunchConfig};
use super::kernels::Helpers;
use super::memory::{self, Protection};
use super::stage::Stage;
use super::tensor_map;
use crate::candidate::Candidate;
use crate::launch::{self, Bindings};
use crate::verdict::Reason;

/// `CU_DEVICE_ATTRIBUTE_*`
const ATTRIBUTE_MULTIPROCESSORS: c_int = 16;
const ATTRIBUTE_L2_BYTES: c_int = 38;
const ATTRIBUTE_MAJOR: c_int = 75;
const ATTRIBUTE_MINOR: c_int = 76;
const ATTRIBUTE_SHARED_OPTIN: c_int = 97;
const ATTRIBUTE_VIRTUAL_MEMORY: c_int = 102;
/// `CU_LIMIT_PERSISTING_L2_CACHE_SIZE`
const LIMIT_PERSISTING_L2: c_int = 6;
/// `CU_FUNC_ATTRIBUTE_*`
const FUNCTION_SHARED: c_int = 1;
const FUNCTION_LOCAL: c_int = 3;
const FUNCTION_REGISTERS: c_int = 4;
pub(super) const FUNCTION_MAX_DYNAMIC_SHARED: c_int = 8;
/// `CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED`
pub(super) const FUNCTION_LARGE_CLUSTERS: c_int = 14;
/// Blocks of a cluster that need no asking.
const PORTABLE_CLUSTER: u32 = 8;
/// `CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION`
pub(super) const LAUNCH_CLUSTER: c_uint = 4;
/// `CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION`
const LAUNCH_PROGRAMMATIC: c_uint = 6;
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
    pub(super) helpers: Helpers,
    protection: Protection,
    /// Memory of the device gate, kept from one candidate to the next.
    pub(super) stage: Stage,
    /// What the last race left for the next one.
    pub(super) bench: Option<Bench>,
    /// Whether a lost context is replaced. A worker process ends instead.
    renews: bool,
    /// Whether the context is lost for good.
    pub(super) spent: bool,
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
    /// Whether this machine has a driver; why not, in words.
    pub(crate) fn has_driver() -> Result<(), String> {
        Driver::get().map(|_| ())
    }

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
            helpers: Helpers::NONE,
            protection: Protection::Bands { reason: "not asked yet".to_owned() },
            stage: Stage::default(),
            bench: None,
            renews: true,
            spent: false,
        };
        let virtual_memory = attribute(ATTRIBUTE_VIRTUAL_MEMORY)? != 0;
        gpu.attach()?;
        gpu.protection = memory::protection(&gpu, virtual_memory);
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
        self.helpers = Helpers::load(self.driver, self.shared_limit)?;
        Ok(())
    }

    /// Throws the context away with everything in it and makes a new one, after an error that stays with a context.
    pub(super) fn renew(&mut self) -> Result<(), DriverError> {
        self.stage = Stage::default();
        self.bench = None;
        // SAFETY: no handle of the old context is used again: `attach` replaces those of this struct, and buffers and
        // modules of a lost context are forgotten by their owners' `Drop`, whose errors are ignored.
        unsafe {
            let _ = self.driver.context_release(self.device);
            self.driver.context_reset(self.device)?;
        }
        self.attach()?;
        memory::give_back_lost(self.driver);
        Ok(())
    }

    /// From now on a lost context is the end: [`Gpu::is_spent`] says so.
    pub(crate) fn keep_one_context(&mut self) {
        self.renews = false;
    }

    pub(super) fn renews(&self) -> bool {
        self.renews
    }

    /// Whether the context was lost and this is of no further use.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
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

    /// The device's number as the driver counts.
    pub(super) fn ordinal(&self) -> c_int {
        self.device
    }

    /// How buffers of this device are protected.
    pub fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Protects buffers by guard bands alone, as where the driver has no virtual memory calls.
    pub fn use_bands(&mut self) {
        self.stage = Stage::default();
        self.bench = None;
        self.protection = Protection::Bands { reason: "asked for".to_owned() };
    }

    /// Where the device is on its bus, such as `0000:0b:00.0`: how the management library finds it.
    pub(super) fn bus(&self) -> Result<String, DriverError> {
        let mut text = [0u8; 64];
        // SAFETY: the pointer is to a live array whose length is given.
        unsafe {
            self.driver.device_pci(text.as_mut_ptr().cast::<c_char>(), text.len() as c_int, self.device)
        }?;
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        Ok(String::from_utf8_lossy(&text[..end]).into_owned())
    }

    /// The same, for telling GPUs of a host apart; empty where the driver does not say.
    pub(crate) fn place(&self) -> String {
        self.bus().unwrap_or_default()
    }

    /// Bytes of L2 that are set aside for persisting lines; `None` where the device has no such thing.
    pub(super) fn persisting_l2(&self) -> Option<usize> {
        let mut bytes = 0;
        // SAFETY: the pointer is to a live integer and the context is current.
        unsafe { self.driver.get_limit(&mut bytes, LIMIT_PERSISTING_L2) }.ok().map(|()| bytes)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: the handles are of this context and not used again. A lost context makes these calls fail, which
        // changes nothing any more.
        self.stage = Stage::default();
        self.bench = None;
        self.helpers.unload(self.driver);
        // SAFETY: as above.
        unsafe {
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

fn unusable(what: &str) -> Reason {
    Reason::Plan { message: format!("{what} holds a zero byte") }
}

/// A candidate's module: its image where it has one that the driver takes, else what the driver's own compiler makes of the
/// very text that is sealed.
pub(super) struct Loaded {
    driver: &'static Driver,
    module: Handle,
    functions: Vec<Handle>,
    /// Static shared memory, registers and local bytes of each launch.
    pub(super) facts: Vec<(u32, u32, u32)>,
}

impl Loaded {
    pub(super) fn new(gpu: &Gpu, candidate: &Candidate) -> Result<Loaded, Trouble> {
        let mut module: Handle = std::ptr::null_mut();
        let cubin = candidate.image.as_deref().and_then(|image| image.bytes_for(&candidate.ptx));
        if let Some(bytes) = cubin {
            // SAFETY: the bytes are alive and an ELF file that ptxas wrote, which says itself how long it is; no options.
            let loaded = unsafe {
                gpu.driver.module_load(
                    &mut module,
                    bytes.as_ptr().cast(),
                    0,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                )
            };
            match loaded {
                Ok(()) => return Loaded::of(gpu, candidate, module),
                Err(error) if error.is_sticky() => return Err(error.into()),
                // An assembler that is newer than the driver: the text may do all the same.
                Err(_) => {}
            }
        }
        let image = CString::new(candidate.ptx.as_str()).map_err(|_| unusable("the PTX"))?;
        let mut log = vec![0u8; 8192];
        let mut options = [JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES];
        let mut values: [*mut c_void; 2] =
            [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(log.len())];
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
        Loaded::of(gpu, candidate, module)
    }

    /// The functions of a module that was just loaded.
    fn of(gpu: &Gpu, candidate: &Candidate, module: Handle) -> Result<Loaded, Trouble> {
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
        // Part of every execution, timed ones too: the kernel cannot do without.
        for (scratch, (name, bytes)) in
            variant.scratch.iter().zip(launch::scratch_bytes(spec, sizes, variant)?)
        {
            if scratch.zero && bytes > 0 {
                let address = *bindings.scratch.get(&name).ok_or_else(|| Reason::Infrastructure {
                    message: format!("the scratch buffer `{name}` was not allocated"),
                })?;
                ready.push(ReadyLaunch::Zero { address, bytes });
            }
        }
        let mut first = true;
        for (index, plan) in variant.launches.iter().enumerate() {
            let limit = gpu.shared_limit.saturating_sub(self.facts[index].0);
            let Some(dimensions) = launch::dimensions(spec, sizes, plan, limit)? else { continue };
            // Without asking a function may use 48 KiB, its static shared memory included. It is allowed all there is, since
            // launches at other sizes, prepared later, may run before this one.
            if dimensions.shared_bytes > 0 {
                // SAFETY: the function is of a loaded module.
                unsafe {
                    gpu.driver.function_set(
                        self.functions[index],
                        FUNCTION_MAX_DYNAMIC_SHARED,
                        limit as c_int,
                    )
                }?;
            }
            if plan.cluster.iter().product::<u32>() > PORTABLE_CLUSTER {
                // SAFETY: the function is of a loaded module.
                unsafe { gpu.driver.function_set(self.functions[index], FUNCTION_LARGE_CLUSTERS, 1) }?;
            }
            ready.push(ReadyLaunch::Kernel {
                function: self.functions[index],
                grid: dimensions.grid,
                block: plan.block,
                cluster: plan.cluster,
                shared_bytes: dimensions.shared_bytes,
                // Where the launches before it are skipped, it is the first.
                programmatic: plan.programmatic && !first,
                params: launch::parameters(spec, sizes, variant, plan, bindings, &tensor_map::planned)?,
            });
            first = false;
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

/// One step of an execution with everything it takes.
pub(super) enum ReadyLaunch {
    /// Scratch memory is set to zero.
    Zero { address: Address, bytes: usize },
    /// A kernel is launched.
    Kernel {
        function: Handle,
        grid: [u32; 3],
        block: [u32; 3],
        cluster: [u32; 3],
        shared_bytes: u32,
        programmatic: bool,
        params: Vec<Vec<u8>>,
    },
}

impl ReadyLaunch {
    /// Queues the step.
    pub(super) fn queue(&self, gpu: &Gpu) -> Result<(), DriverError> {
        let (function, grid, block, cluster, shared_bytes, programmatic, params) = match self {
            Self::Zero { address, bytes } => {
                // SAFETY: the buffer has these bytes and lives as long as the bindings that it was prepared with.
                return unsafe { gpu.driver.fill(*address, 0, *bytes, gpu.stream) };
            }
            Self::Kernel { function, grid, block, cluster, shared_bytes, programmatic, params } => {
                (*function, *grid, *block, *cluster, *shared_bytes, *programmatic, params)
            }
        };
        let mut pointers: Vec<*mut c_void> =
            params.iter().map(|bytes| bytes.as_ptr().cast_mut().cast()).collect();
        let attribute = |id, words: [u32; 3]| {
            let mut value = [0u32; 16];
            value[..3].copy_from_slice(&words);
            LaunchAttribute { id, pad: [0; 4], value }
        };
        let mut attributes = Vec::with_capacity(2);
        if cluster != [1, 1, 1] {
            attributes.push(attribute(LAUNCH_CLUSTER, cluster));
        }
        if programmatic {
            attributes.push(attribute(LAUNCH_PROGRAMMATIC, [1, 0, 0]));
        }
        let config = LaunchConfig {
            grid,
            block,
            shared_bytes,
            stream: gpu.stream,
            attributes: attributes.as_mut_ptr(),
            attribute_count: attributes.len() as c_uint,
        };
        // SAFETY: function and stream are of the current context; one pointer for each parameter, whose sizes the parse
        // gate compared with the entry's own; the driver copies them before it returns.
        unsafe { gpu.driver.launch(&config, function, pointers.as_mut_ptr(), std::ptr::null_mut()) }
    }
}
