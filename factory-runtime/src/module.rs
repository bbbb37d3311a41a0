//! A module in the driver: loaded once, never unloaded.

use std::ffi::{CString, c_uint, c_void};
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::device::CudaDevice;
use crate::driver::{
    ATTRIBUTE_CLUSTER_DIMENSION, ATTRIBUTE_PROGRAMMATIC, Handle, LaunchAttribute, LaunchConfig, SUCCESS,
    UNSUPPORTED_PTX_VERSION, cuda_error,
};
use crate::resolved::ResolvedLaunch;
use crate::{CudaVersion, Error, Result};

/// `CU_JIT_INFO_LOG_BUFFER` and its kin.
const JIT_INFO_LOG_BUFFER: c_uint = 3;
const JIT_INFO_LOG_BUFFER_SIZE_BYTES: c_uint = 4;
const JIT_ERROR_LOG_BUFFER: c_uint = 5;
const JIT_ERROR_LOG_BUFFER_SIZE_BYTES: c_uint = 6;
const LOG_BYTES: usize = 16 * 1024;

/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
const MAX_DYNAMIC_SHARED: i32 = 8;
/// `CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED`.
const NON_PORTABLE_CLUSTER: i32 = 14;
/// Blocks a cluster that every device allows without asking.
const PORTABLE_CLUSTER: u32 = 8;

/// The functions of a loaded module, in the order of the entries asked for.
pub(crate) struct Module {
    functions: Vec<Function>,
}

struct Function {
    handle: Handle,
    /// What has been asked of the driver for this function.
    allowed: Mutex<Allowed>,
}

struct Allowed {
    /// Dynamic bytes. 0 at first: what a function may use without asking is 48 KiB less its static shared memory, and
    /// asking costs nothing where it matters.
    shared: u32,
    cluster: u32,
}

// SAFETY: function handles may be used from any thread with their context current.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Module {
    /// Compiles `ptx` for the device and looks up `entries`.
    pub(crate) fn load(
        kernel: &'static str,
        cuda: &CudaDevice,
        file: &str,
        ptx: &str,
        entries: &[String],
    ) -> Result<Module> {
        let text = |what: &str| Error::BadKernel { kernel, what: format!("{what} holds a zero byte") };
        let image = CString::new(ptx).map_err(|_| text(file))?;
        cuda.context.bind_to_thread().map_err(|error| cuda_error("cuCtxSetCurrent", error))?;
        let mut info = vec![0u8; LOG_BYTES];
        let mut errors = vec![0u8; LOG_BYTES];
        let mut options = [
            JIT_INFO_LOG_BUFFER,
            JIT_INFO_LOG_BUFFER_SIZE_BYTES,
            JIT_ERROR_LOG_BUFFER,
            JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ];
        let mut values: [*mut c_void; 4] = [
            info.as_mut_ptr().cast(),
            LOG_BYTES as *mut c_void,
            errors.as_mut_ptr().cast(),
            LOG_BYTES as *mut c_void,
        ];
        let mut handle: Handle = std::ptr::null_mut();
        // SAFETY: the context is current; `image` is a C string; options and values have the four entries announced, sizes
        // passed in the pointer itself as the driver wants them; all buffers outlive the call.
        let code = unsafe {
            (cuda.driver.module_load_data_ex)(
                &mut handle,
                image.as_ptr().cast(),
                options.len() as c_uint,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        if code == UNSUPPORTED_PTX_VERSION {
            let version = ptx_version(ptx);
            return Err(Error::DriverTooOld {
                found: cuda.driver.version(),
                needed: needed_for_ptx(version),
                why: format!("`{kernel}` (PTX {}.{})", version.0, version.1),
            });
        }
        if code != SUCCESS {
            let log = [log_text(&errors), log_text(&info)].join("\n");
            return Err(Error::Jit {
                kernel,
                file: file.to_owned(),
                code: code.unsigned_abs(),
                name: cuda.driver.error_name(code),
                log: log.trim().to_owned(),
            });
        }
        let functions = entries.iter().map(|entry| {
            let name = CString::new(entry.as_str()).map_err(|_| text("an entry's name"))?;
            let mut function: Handle = std::ptr::null_mut();
            // SAFETY: the context is current, the module was just loaded, the name is a C string.
            let code = unsafe { (cuda.driver.module_get_function)(&mut function, handle, name.as_ptr()) };
            cuda.driver.check("cuModuleGetFunction", code, &format!(" for `{entry}` of `{kernel}`"))?;
            Ok(Function {
                handle: function,
                allowed: Mutex::new(Allowed { shared: 0, cluster: PORTABLE_CLUSTER }),
            })
        });
        Ok(Module { functions: functions.collect::<Result<_>>()? })
    }

    /// The driver's handle of an entry, for [`crate::Prepared::cuda_function`].
    pub(crate) fn function(&self, entry: usize) -> Handle {
        self.functions[entry].handle
    }

    /// Asks the driver for what a launch needs beyond what every function may use. Once a launch is resolved.
    pub(crate) fn allow(
        &self,
        kernel: &'static str,
        cuda: &CudaDevice,
        entry: &str,
        launch: &ResolvedLaunch,
    ) -> Result<()> {
        let function = &self.functions[launch.entry];
        let mut allowed = function.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        let set = |attribute: i32, value: u32, what: &str| {
            cuda.context.bind_to_thread().map_err(|error| cuda_error("cuCtxSetCurrent", error))?;
            // SAFETY: the context is current and the function is of a module that is never unloaded.
            let code = unsafe { (cuda.driver.func_set_attribute)(function.handle, attribute, value as i32) };
            if code == SUCCESS {
                return Ok(());
            }
            let what = format!("{what}, which the device does not allow ({})", cuda.driver.error_name(code));
            Err(Error::LaunchLimit { kernel, entry: entry.to_owned(), what })
        };
        if launch.shared_bytes > allowed.shared {
            set(
                MAX_DYNAMIC_SHARED,
                launch.shared_bytes,
                &format!("{} bytes of dynamic shared memory", launch.shared_bytes),
            )?;
            allowed.shared = launch.shared_bytes;
        }
        let cluster = launch.cluster.iter().product();
        if cluster > allowed.cluster {
            set(NON_PORTABLE_CLUSTER, 1, &format!("clusters of {cluster} blocks"))?;
            allowed.cluster = cluster;
        }
        Ok(())
    }

    /// Queues one launch.
    ///
    /// # Safety
    ///
    /// The context is current; `stream` is a stream of it; `params` points to one pointer for each parameter of the
    /// entry, each to a value of the parameter's size, and what addresses among them name stays allocated until the
    /// kernel has run.
    #[inline]
    pub(crate) unsafe fn launch(
        &self,
        cuda: &CudaDevice,
        launch: &ResolvedLaunch,
        stream: Handle,
        params: *mut *mut c_void,
    ) -> i32 {
        let function = self.functions[launch.entry].handle;
        let [x, y, z] = launch.grid;
        let [bx, by, bz] = launch.block;
        if !launch.has_cluster() && !launch.programmatic {
            // SAFETY: the caller's promise; `extra` may be null.
            return unsafe {
                (cuda.driver.launch_kernel)(
                    function,
                    x,
                    y,
                    z,
                    bx,
                    by,
                    bz,
                    launch.shared_bytes,
                    stream,
                    params,
                    std::ptr::null_mut(),
                )
            };
        }
        let attribute = |id, words: [u32; 3]| {
            let mut value = [0u32; 16];
            value[..3].copy_from_slice(&words);
            LaunchAttribute { id, pad: [0; 4], value }
        };
        let mut attributes = [
            attribute(ATTRIBUTE_CLUSTER_DIMENSION, launch.cluster),
            attribute(ATTRIBUTE_PROGRAMMATIC, [1, 0, 0]),
        ];
        // The cluster's first, so that each of the two, and both, are one slice.
        let attributes = match (launch.has_cluster(), launch.programmatic) {
            (true, false) => &mut attributes[..1],
            (false, _) => &mut attributes[1..],
            (true, true) => &mut attributes[..],
        };
        let config = LaunchConfig {
            grid: launch.grid,
            block: launch.block,
            shared_bytes: launch.shared_bytes,
            stream,
            attributes: attributes.as_mut_ptr(),
            attribute_count: attributes.len() as c_uint,
        };
        // SAFETY: the caller's promise; the configuration and its attributes outlive the call.
        unsafe { (cuda.driver.launch_kernel_ex)(&config, function, params, std::ptr::null_mut()) }
    }
}

fn log_text(buffer: &[u8]) -> String {
    let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
    String::from_utf8_lossy(&buffer[..end]).into_owned()
}

/// The `.version` of a PTX text, (0, 0) when it has none.
fn ptx_version(ptx: &str) -> (u32, u32) {
    let line = ptx.lines().find_map(|line| line.trim().strip_prefix(".version"));
    let parse = |line: &str| {
        let (major, minor) = line.trim().split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    line.and_then(parse).unwrap_or((0, 0))
}

/// The CUDA version whose driver first reads a PTX version (from the release notes of the PTX ISA).
fn needed_for_ptx(version: (u32, u32)) -> CudaVersion {
    CudaVersion(match version {
        (0..=7, 0..=8) => 11080,
        (8, minor @ 0..=4) => 12000 + minor * 10,
        (8, 5) => 12050,
        (8, 6) => 12070,
        (8, 7) => 12080,
        (8, 8..) => 12090,
        (9, minor) => 13000 + minor * 10,
        _ => 13000,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ptx_version_is_found() {
        assert_eq!(ptx_version("// made\n.version 8.6\n.target sm_100\n"), (8, 6));
        assert_eq!(ptx_version("nothing"), (0, 0));
        assert_eq!(needed_for_ptx((7, 8)).to_string(), "11.8");
        assert_eq!(needed_for_ptx((8, 6)).to_string(), "12.7");
        assert_eq!(needed_for_ptx((9, 1)).to_string(), "13.1");
    }

    #[test]
    fn logs_end_at_the_first_zero() {
        assert_eq!(log_text(b"ptxas error\0\0\0"), "ptxas error");
    }
}
