//! The driver's functions that checking and timing need, looked up by ourselves.
//!
//! The library is opened when it is there; nothing here panics when it is not, and nothing depends on the CUDA version
//! that an application chose for its bindings: every symbol that is required exists in all drivers from CUDA 11.8 on.
//! The others are looked for as well, and calling one that the driver lacks is an error like any other.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;

/// An opaque driver handle: context, module, function, stream, event or graph.
pub(super) type Handle = *mut c_void;
/// An address on the device.
pub(super) type Address = u64;

#[cfg(windows)]
pub(super) const LIBRARIES: &[&str] = &["nvcuda.dll"];
#[cfg(not(windows))]
pub(super) const LIBRARIES: &[&str] = &["libcuda.so.1", "libcuda.so"];

/// An error of the driver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {name}")]
pub(super) struct DriverError {
    pub(super) call: &'static str,
    pub(super) code: c_int,
    pub(super) name: String,
}

impl DriverError {
    /// Whether the context is lost: faults of a kernel stay with it, and every later call fails too.
    pub(super) fn is_sticky(&self) -> bool {
        // Illegal address, launch timeout, assert, hardware stack error, illegal instruction, misaligned address,
        // invalid address space, invalid pc, launch failed, ECC, tensor memory leak.
        matches!(self.code, 700 | 702 | 710 | 714..=719 | 721 | 214 | 226)
    }

    /// Whether there was not enough memory.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.code == 2
    }
}

/// The code of an error that is ours: the driver lacks the function.
const LACKING: c_int = -1;

/// `CUmemAllocationProp`, 32 bytes.
#[repr(C)]
pub(super) struct AllocationProperties {
    pub(super) kind: u32,
    pub(super) handle_types: u32,
    pub(super) location_kind: u32,
    pub(super) location: c_int,
    pub(super) windows: *mut c_void,
    pub(super) flags: [u8; 8],
}

/// `CUmemAccessDesc`, 12 bytes.
#[repr(C)]
pub(super) struct AccessDescription {
    pub(super) location_kind: u32,
    pub(super) location: c_int,
    pub(super) flags: u32,
}

/// `CUlaunchAttribute`, 72 bytes.
#[repr(C, align(8))]
pub(super) struct LaunchAttribute {
    pub(super) id: c_uint,
    pub(super) pad: [u8; 4],
    pub(super) value: [u32; 16],
}

/// `CUlaunchConfig`.
#[repr(C)]
pub(super) struct LaunchConfig {
    pub(super) grid: [c_uint; 3],
    pub(super) block: [c_uint; 3],
    pub(super) shared_bytes: c_uint,
    pub(super) stream: Handle,
    pub(super) attributes: *mut LaunchAttribute,
    pub(super) attribute_count: c_uint,
}

macro_rules! driver {
    (
        required { $($(#[$doc:meta])* $method:ident = $symbol:literal ($($arg:ident: $ty:ty),*);)* }
        optional { $($(#[$odoc:meta])* $omethod:ident = $osymbol:literal ($($oarg:ident: $oty:ty),*);)* }
    ) => {
        /// The driver. Lives as long as the process: the library is never closed.
        pub(super) struct Driver {
            get_error_name: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int,
            $($method: unsafe extern "C" fn($($ty),*) -> c_int,)*
            $($omethod: Option<unsafe extern "C" fn($($oty),*) -> c_int>,)*
            _library: libloading::Library,
        }

        impl Driver {
            fn open() -> Result<Driver, String> {
                // SAFETY: the driver's library runs initialisers of its own, as every program that uses CUDA lets it.
                let library = LIBRARIES.iter().find_map(|name| unsafe { libloading::Library::new(*name) }.ok());
                let library = library.ok_or_else(|| "no NVIDIA driver is installed".to_owned())?;
                macro_rules! symbol {
                    ($name:literal) => {{
                        // SAFETY: the field's type is the function's type in NVIDIA's driver API, and the library is kept
                        // beside the pointer.
                        let found = unsafe { library.get(concat!($name, "\0").as_bytes()) };
                        *found.map_err(|_| format!("the NVIDIA driver is too old: it lacks `{}`", $name))?
                    }};
                }
                Ok(Driver {
                    get_error_name: symbol!("cuGetErrorName"),
                    $($method: symbol!($symbol),)*
                    // SAFETY: as above.
                    $($omethod: unsafe { library.get(concat!($osymbol, "\0").as_bytes()) }.ok().map(|found| *found),)*
                    _library: library,
                })
            }

            $(
                $(#[$doc])*
                ///
                /// # Safety
                /// As the driver API says of the function of this name: handles are alive and of the current context,
                /// pointers are valid for what is read and written.
                #[allow(clippy::too_many_arguments, reason = "the driver's own signature")]
                pub(super) unsafe fn $method(&self, $($arg: $ty),*) -> Result<(), DriverError> {
                    // SAFETY: the caller's promise.
                    let code = unsafe { (self.$method)($($arg),*) };
                    self.check($symbol, code)
                }
            )*
            $(
                $(#[$odoc])*
                ///
                /// # Safety
                /// As the driver API says of the function of this name: handles are alive and of the current context,
                /// pointers are valid for what is read and written.
                pub(super) unsafe fn $omethod(&self, $($oarg: $oty),*) -> Result<(), DriverError> {
                    let Some(function) = self.$omethod else {
                        let name = "the NVIDIA driver is too old: it lacks this function".to_owned();
                        return Err(DriverError { call: $osymbol, code: LACKING, name });
                    };
                    // SAFETY: the caller's promise.
                    let code = unsafe { function($($oarg),*) };
                    self.check($osymbol, code)
                }
            )*
        }
    };
}

driver! {
    required {
        /// `cuInit`
        init = "cuInit"(flags: c_uint);
        /// `cuDriverGetVersion`
        driver_version = "cuDriverGetVersion"(version: *mut c_int);
        /// `cuDeviceGet`
        device_get = "cuDeviceGet"(device: *mut c_int, ordinal: c_int);
        /// `cuDeviceGetName`
        device_name = "cuDeviceGetName"(name: *mut c_char, length: c_int, device: c_int);
        /// `cuDeviceGetAttribute`
        device_attribute = "cuDeviceGetAttribute"(value: *mut c_int, attribute: c_int, device: c_int);
        /// `cuDevicePrimaryCtxRetain`
        context_retain = "cuDevicePrimaryCtxRetain"(context: *mut Handle, device: c_int);
        /// `cuDevicePrimaryCtxRelease`
        context_release = "cuDevicePrimaryCtxRelease_v2"(device: c_int);
        /// `cuDevicePrimaryCtxReset`
        context_reset = "cuDevicePrimaryCtxReset_v2"(device: c_int);
        /// `cuCtxSetCurrent`
        context_set = "cuCtxSetCurrent"(context: Handle);
        /// `cuCtxSetLimit`
        set_limit = "cuCtxSetLimit"(limit: c_int, value: usize);
        /// `cuCtxResetPersistingL2Cache`
        reset_persisting = "cuCtxResetPersistingL2Cache"();
        /// `cuMemGetInfo`
        memory_info = "cuMemGetInfo_v2"(free: *mut usize, total: *mut usize);
        /// `cuMemAlloc`
        allocate = "cuMemAlloc_v2"(address: *mut Address, bytes: usize);
        /// `cuMemFree`
        free = "cuMemFree_v2"(address: Address);
        /// `cuMemcpyHtoD`
        upload = "cuMemcpyHtoD_v2"(to: Address, from: *const c_void, bytes: usize);
        /// `cuMemcpyDtoH`
        download = "cuMemcpyDtoH_v2"(to: *mut c_void, from: Address, bytes: usize);
        /// `cuMemcpyDtoDAsync`
        copy = "cuMemcpyDtoDAsync_v2"(to: Address, from: Address, bytes: usize, stream: Handle);
        /// `cuMemsetD8Async`
        fill = "cuMemsetD8Async"(to: Address, value: u8, bytes: usize, stream: Handle);
        /// `cuMemsetD2D8Async`
        fill_rows = "cuMemsetD2D8Async"(to: Address, pitch: usize, value: u8, width: usize, height: usize, stream: Handle);
        /// `cuModuleLoadDataEx`
        module_load = "cuModuleLoadDataEx"(module: *mut Handle, image: *const c_void, count: c_uint, options: *mut c_uint, values: *mut *mut c_void);
        /// `cuModuleUnload`
        module_unload = "cuModuleUnload"(module: Handle);
        /// `cuModuleGetFunction`
        module_function = "cuModuleGetFunction"(function: *mut Handle, module: Handle, name: *const c_char);
        /// `cuFuncSetAttribute`
        function_set = "cuFuncSetAttribute"(function: Handle, attribute: c_int, value: c_int);
        /// `cuFuncGetAttribute`
        function_get = "cuFuncGetAttribute"(value: *mut c_int, attribute: c_int, function: Handle);
        /// `cuLaunchKernelEx`
        launch = "cuLaunchKernelEx"(config: *const LaunchConfig, function: Handle, params: *mut *mut c_void, extra: *mut *mut c_void);
        /// `cuStreamCreate`
        stream_create = "cuStreamCreate"(stream: *mut Handle, flags: c_uint);
        /// `cuStreamDestroy`
        stream_destroy = "cuStreamDestroy_v2"(stream: Handle);
        /// `cuStreamSynchronize`
        stream_synchronize = "cuStreamSynchronize"(stream: Handle);
        /// `cuStreamBeginCapture`
        capture_begin = "cuStreamBeginCapture_v2"(stream: Handle, mode: c_uint);
        /// `cuStreamEndCapture`
        capture_end = "cuStreamEndCapture"(stream: Handle, graph: *mut Handle);
        /// `cuGraphInstantiateWithFlags`
        graph_instantiate = "cuGraphInstantiateWithFlags"(exec: *mut Handle, graph: Handle, flags: c_ulonglong);
        /// `cuGraphUpload`
        graph_upload = "cuGraphUpload"(exec: Handle, stream: Handle);
        /// `cuGraphLaunch`
        graph_launch = "cuGraphLaunch"(exec: Handle, stream: Handle);
        /// `cuGraphExecDestroy`
        graph_exec_destroy = "cuGraphExecDestroy"(exec: Handle);
        /// `cuGraphDestroy`
        graph_destroy = "cuGraphDestroy"(graph: Handle);
        /// `cuEventCreate`
        event_create = "cuEventCreate"(event: *mut Handle, flags: c_uint);
        /// `cuEventDestroy`
        event_destroy = "cuEventDestroy_v2"(event: Handle);
        /// `cuEventRecord`
        event_record = "cuEventRecord"(event: Handle, stream: Handle);
        /// `cuEventSynchronize`
        event_synchronize = "cuEventSynchronize"(event: Handle);
        /// `cuEventElapsedTime`
        event_elapsed = "cuEventElapsedTime"(milliseconds: *mut f32, start: Handle, end: Handle);
        /// `cuMemsetD32Async`
        fill32 = "cuMemsetD32Async"(to: Address, value: u32, count: usize, stream: Handle);
        /// `cuMemcpyDtoHAsync`
        download_async = "cuMemcpyDtoHAsync_v2"(to: *mut c_void, from: Address, bytes: usize, stream: Handle);
        /// `cuMemHostAlloc`
        host_allocate = "cuMemHostAlloc"(pointer: *mut *mut c_void, bytes: usize, flags: c_uint);
        /// `cuMemFreeHost`
        host_free = "cuMemFreeHost"(pointer: *mut c_void);
        /// `cuCtxSynchronize`
        context_synchronize = "cuCtxSynchronize"();
        /// `cuCtxGetLimit`
        get_limit = "cuCtxGetLimit"(value: *mut usize, limit: c_int);
        /// `cuDeviceGetPCIBusId`
        device_pci = "cuDeviceGetPCIBusId"(text: *mut c_char, length: c_int, device: c_int);
    }
    optional {
        /// `cuMemGetAllocationGranularity`
        granularity = "cuMemGetAllocationGranularity"(bytes: *mut usize, properties: *const AllocationProperties, option: c_uint);
        /// `cuMemAddressReserve`
        address_reserve = "cuMemAddressReserve"(address: *mut Address, bytes: usize, alignment: usize, wish: Address, flags: c_ulonglong);
        /// `cuMemAddressFree`
        address_free = "cuMemAddressFree"(address: Address, bytes: usize);
        /// `cuMemCreate`
        physical_create = "cuMemCreate"(handle: *mut c_ulonglong, bytes: usize, properties: *const AllocationProperties, flags: c_ulonglong);
        /// `cuMemRelease`
        physical_release = "cuMemRelease"(handle: c_ulonglong);
        /// `cuMemMap`
        map = "cuMemMap"(address: Address, bytes: usize, offset: usize, handle: c_ulonglong, flags: c_ulonglong);
        /// `cuMemUnmap`
        unmap = "cuMemUnmap"(address: Address, bytes: usize);
        /// `cuMemSetAccess`
        set_access = "cuMemSetAccess"(address: Address, bytes: usize, descriptions: *const AccessDescription, count: usize);
    }
}

impl Driver {
    /// The driver, opened and initialised once for the process; why not, in words.
    pub(super) fn get() -> Result<&'static Driver, String> {
        static DRIVER: OnceLock<Result<Driver, String>> = OnceLock::new();
        DRIVER
            .get_or_init(|| {
                let driver = Driver::open()?;
                // SAFETY: the flags must be 0, and they are.
                unsafe { driver.init(0) }.map_err(|error| error.to_string())?;
                Ok(driver)
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    fn check(&self, call: &'static str, code: c_int) -> Result<(), DriverError> {
        if code == 0 {
            return Ok(());
        }
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: the pointer is to a live pointer; on success the driver sets it to a static string.
        let known = unsafe { (self.get_error_name)(code, &mut name) } == 0 && !name.is_null();
        let name = match known {
            // SAFETY: not null, and a C string with static lifetime by the driver's contract.
            true => unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned(),
            false => format!("error {code}"),
        };
        Err(DriverError { call, code, name })
    }
}
