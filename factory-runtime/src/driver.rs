//! The few functions of the NVIDIA driver that a launch needs, looked up by ourselves.
//!
//! cudarc panics when the driver's library or one of its symbols is absent. We therefore open the library first, look
//! up what we call, and touch cudarc only when that went well. It also makes us independent of the CUDA version that
//! the application chose for cudarc's bindings.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use factory_spec::{MAP_BYTES, TensorMapShape};

use crate::{CudaVersion, Error, Result};

/// The oldest driver that can load PTX for sm_90 (PTX 7.8) and that knows `cuLaunchKernelEx`.
pub(crate) const OLDEST: CudaVersion = CudaVersion(11080);

#[cfg(windows)]
const LIBRARIES: &[&str] = &["nvcuda.dll"];
#[cfg(not(windows))]
const LIBRARIES: &[&str] = &["libcuda.so.1", "libcuda.so"];

/// `CUDA_SUCCESS`.
pub(crate) const SUCCESS: c_int = 0;
const OUT_OF_MEMORY: c_int = 2;
/// `CUDA_ERROR_STUB_LIBRARY`: the toolkit's library to link against, which is no driver.
const STUB_LIBRARY: c_int = 34;
const NO_DEVICE: c_int = 100;
/// `CUDA_ERROR_UNSUPPORTED_PTX_VERSION`.
pub(crate) const UNSUPPORTED_PTX_VERSION: c_int = 222;

/// An opaque driver handle: context, module, function or stream.
pub(crate) type Handle = *mut c_void;

/// One attribute of an extended launch: `CUlaunchAttribute`, 72 bytes.
#[repr(C, align(8))]
pub(crate) struct LaunchAttribute {
    pub(crate) id: c_uint,
    pub(crate) pad: [u8; 4],
    /// The union's 64 bytes; a cluster dimension takes the first three words.
    pub(crate) value: [u32; 16],
}

/// `CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION`.
pub(crate) const ATTRIBUTE_CLUSTER_DIMENSION: c_uint = 4;
/// `CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION`.
pub(crate) const ATTRIBUTE_PROGRAMMATIC: c_uint = 6;

/// `CUtensorMap`. The driver asks for a multiple of 64, its headers since CUDA 13 for one of 128.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
pub(crate) struct EncodedMap(pub(crate) [u8; MAP_BYTES]);

/// `CUlaunchConfig`.
#[repr(C)]
pub(crate) struct LaunchConfig {
    pub(crate) grid: [c_uint; 3],
    pub(crate) block: [c_uint; 3],
    pub(crate) shared_bytes: c_uint,
    pub(crate) stream: Handle,
    pub(crate) attributes: *mut LaunchAttribute,
    pub(crate) attribute_count: c_uint,
}

type LaunchKernel = unsafe extern "C" fn(
    Handle,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    Handle,
    *mut *mut c_void,
    *mut *mut c_void,
) -> c_int;
type LaunchKernelEx =
    unsafe extern "C" fn(*const LaunchConfig, Handle, *mut *mut c_void, *mut *mut c_void) -> c_int;
type TensorMapEncodeTiled = unsafe extern "C" fn(
    *mut EncodedMap,
    c_uint,
    c_uint,
    *mut c_void,
    *const u64,
    *const u64,
    *const u32,
    *const u32,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
) -> c_int;
type ModuleLoadDataEx =
    unsafe extern "C" fn(*mut Handle, *const c_void, c_uint, *mut c_uint, *mut *mut c_void) -> c_int;

/// The driver's functions. They live as long as the process: the library is never closed.
pub(crate) struct Driver {
    version: CudaVersion,
    device_get_count: unsafe extern "C" fn(*mut c_int) -> c_int,
    get_error_name: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int,
    pub(crate) module_load_data_ex: ModuleLoadDataEx,
    pub(crate) module_get_function: unsafe extern "C" fn(*mut Handle, Handle, *const c_char) -> c_int,
    pub(crate) func_set_attribute: unsafe extern "C" fn(Handle, c_int, c_int) -> c_int,
    pub(crate) launch_kernel: LaunchKernel,
    pub(crate) launch_kernel_ex: LaunchKernelEx,
    pub(crate) memset_async: unsafe extern "C" fn(u64, u8, usize, Handle) -> c_int,
    /// Since CUDA 12.0.
    tensor_map_encode_tiled: Option<TensorMapEncodeTiled>,
    _library: libloading::Library,
}

impl Driver {
    /// The driver, opened and initialised once for the process.
    ///
    /// # Errors
    ///
    /// [`Error::DriverMissing`], [`Error::DriverTooOld`], [`Error::NoGpu`] or what `cuInit` says.
    pub(crate) fn get() -> Result<&'static Driver> {
        static DRIVER: OnceLock<Result<Driver>> = OnceLock::new();
        DRIVER.get_or_init(|| Driver::open(LIBRARIES)).as_ref().map_err(Clone::clone)
    }

    /// Opens the first of these libraries that can be opened.
    pub(crate) fn open(names: &[&str]) -> Result<Driver> {
        // SAFETY: the driver's library runs initialisers of its own, as every program that uses CUDA lets it.
        let library = names.iter().find_map(|name| unsafe { libloading::Library::new(*name) }.ok());
        let none = || Error::DriverMissing {
            tried: names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        let library = library.ok_or_else(none)?;
        let missing = |symbol: &str| Error::DriverTooOld {
            found: CudaVersion(0),
            needed: OLDEST,
            why: format!("`{symbol}`"),
        };
        macro_rules! symbol {
            ($name:literal) => {{
                // SAFETY: the type that the field gives is the function's type in NVIDIA's driver API; the library is
                // kept in the same struct, so the pointer stays valid as long as it can be reached.
                let found = unsafe { library.get(concat!($name, "\0").as_bytes()) };
                *found.map_err(|_| missing($name))?
            }};
        }
        let init: unsafe extern "C" fn(c_uint) -> c_int = symbol!("cuInit");
        let get_version: unsafe extern "C" fn(*mut c_int) -> c_int = symbol!("cuDriverGetVersion");
        let get_error_name = symbol!("cuGetErrorName");
        let mut version: c_int = 0;
        // SAFETY: the pointer is to a live integer; the call may precede `cuInit`.
        let code = unsafe { get_version(&mut version) };
        let version = CudaVersion(u32::try_from(version).unwrap_or(0));
        if code == SUCCESS && version < OLDEST {
            return Err(Error::DriverTooOld {
                found: version,
                needed: OLDEST,
                why: "the factory's runtime".to_owned(),
            });
        }
        // SAFETY: the flags must be 0, and they are.
        let code = unsafe { init(0) };
        if code == STUB_LIBRARY {
            return Err(none());
        }
        if code == NO_DEVICE {
            return Err(Error::NoGpu { ordinal: 0, count: 0 });
        }
        if code != SUCCESS {
            return Err(Error::Cuda {
                call: "cuInit",
                code: code.unsigned_abs(),
                name: error_name(get_error_name, code),
                context: ": the driver's library is there, but it does not work (is the kernel module loaded, and of the same version?)".to_owned(),
            });
        }
        Ok(Driver {
            version,
            device_get_count: symbol!("cuDeviceGetCount"),
            get_error_name,
            module_load_data_ex: symbol!("cuModuleLoadDataEx"),
            module_get_function: symbol!("cuModuleGetFunction"),
            func_set_attribute: symbol!("cuFuncSetAttribute"),
            launch_kernel: symbol!("cuLaunchKernel"),
            launch_kernel_ex: symbol!("cuLaunchKernelEx"),
            memset_async: symbol!("cuMemsetD8Async"),
            // SAFETY: as for the symbols above.
            tensor_map_encode_tiled: unsafe { library.get(b"cuTensorMapEncodeTiled\0") }
                .ok()
                .map(|found| *found),
            _library: library,
        })
    }

    /// The newest CUDA version that the driver supports.
    pub(crate) fn version(&self) -> CudaVersion {
        self.version
    }

    /// How many GPUs the driver sees.
    pub(crate) fn device_count(&self) -> Result<usize> {
        let mut count = 0;
        // SAFETY: the pointer is to a live integer, and `cuInit` succeeded before `self` was made.
        let code = unsafe { (self.device_get_count)(&mut count) };
        self.check("cuDeviceGetCount", code, "")?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Encodes a tensor map over the buffer at `address`.
    ///
    /// # Errors
    ///
    /// [`Error::DriverTooOld`], or what the driver says; `context` names the kernel.
    pub(crate) fn tensor_map(
        &self,
        shape: &TensorMapShape,
        address: u64,
        context: &dyn Fn() -> String,
    ) -> Result<EncodedMap> {
        let encode = self.tensor_map_encode_tiled.ok_or_else(|| Error::DriverTooOld {
            found: self.version,
            needed: CudaVersion(12000),
            why: format!("`cuTensorMapEncodeTiled`{}", context()),
        })?;
        let mut map = EncodedMap([0; MAP_BYTES]);
        let layout = &shape.layout;
        let start = std::ptr::without_provenance_mut::<c_void>(address.wrapping_add(shape.offset) as usize);
        // SAFETY: the map is aligned; a checked shape has `rank` extents, steps and extents of its box, and one stride less.
        let code = unsafe {
            encode(
                &mut map,
                layout.element.number(),
                shape.dims.len() as c_uint,
                start,
                shape.dims.as_ptr(),
                shape.strides.as_ptr(),
                shape.box_dims.as_ptr(),
                shape.element_strides.as_ptr(),
                layout.interleave.number(),
                layout.swizzle.number(),
                layout.l2_promotion.number(),
                layout.fill.number(),
            )
        };
        if code == SUCCESS {
            return Ok(map);
        }
        self.check("cuTensorMapEncodeTiled", code, &context()).map(|()| map)
    }

    /// The driver's name of a code.
    pub(crate) fn error_name(&self, code: c_int) -> String {
        error_name(self.get_error_name, code)
    }

    /// An error unless `code` is success.
    pub(crate) fn check(&self, call: &'static str, code: c_int, context: &str) -> Result<()> {
        if code == SUCCESS {
            return Ok(());
        }
        if code == OUT_OF_MEMORY {
            return Err(Error::OutOfMemory {
                device: "the GPU".to_owned(),
                bytes: 0,
                free: format!(" by {call}{context}"),
            });
        }
        Err(Error::Cuda {
            call,
            code: code.unsigned_abs(),
            name: self.error_name(code),
            context: context.to_owned(),
        })
    }
}

fn error_name(get: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int, code: c_int) -> String {
    let mut name: *const c_char = std::ptr::null();
    // SAFETY: the pointer is to a live pointer; on success the driver sets it to a static string.
    if unsafe { get(code, &mut name) } != SUCCESS || name.is_null() {
        return "unknown error".to_owned();
    }
    // SAFETY: not null, and a C string with static lifetime by the driver's contract.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// Our error for one of cudarc's.
pub(crate) fn cuda_error(call: &'static str, error: cudarc::driver::DriverError) -> Error {
    let code = error.0 as c_int;
    match Driver::get() {
        Ok(driver) => match driver.check(call, code, "") {
            Err(error) => error,
            Ok(()) => Error::Cuda { call, code: 0, name: "success".to_owned(), context: String::new() },
        },
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_an_error_that_says_what_to_do() {
        let error =
            Driver::open(&["libcuda-that-is-not-there.so.1"]).err().expect("there is no such library");
        assert!(matches!(error, Error::DriverMissing { .. }));
        let text = error.to_string();
        assert!(
            text.contains("`libcuda-that-is-not-there.so.1`") && text.contains("Device::machine()"),
            "{text}"
        );
    }

    /// The C library has none of the driver's symbols: as a driver it is too old for anything.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_library_without_the_symbols_is_too_old() {
        let error = Driver::open(&["libc.so.6"]).err().expect("libc is no driver");
        assert!(matches!(error, Error::DriverTooOld { needed: OLDEST, .. }), "{error}");
    }

    #[test]
    fn structs_have_the_drivers_layout() {
        assert_eq!(size_of::<LaunchAttribute>(), 72);
        assert_eq!(std::mem::offset_of!(LaunchAttribute, value), 8);
        assert_eq!(std::mem::offset_of!(LaunchConfig, stream), 32);
        assert_eq!(std::mem::offset_of!(LaunchConfig, attribute_count), 48);
        assert_eq!(size_of::<LaunchConfig>(), 56);
    }
}
