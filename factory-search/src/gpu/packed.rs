//! Running a kernel that is no candidate, with parameters of any kind: nothing is timed or guarded.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};

use super::device::{Buffer, FUNCTION_LARGE_CLUSTERS, FUNCTION_MAX_DYNAMIC_SHARED, Gpu, LAUNCH_CLUSTER};
use super::driver::{DriverError, Handle, LaunchAttribute, LaunchConfig};
use super::tensor_map::{self, Numbers};

/// `CU_LIMIT_STACK_SIZE`, and enough for a recursion of some hundred calls.
const LIMIT_STACK: c_int = 0;
const STACK_BYTES: usize = 64 << 10;
/// `CU_JIT_ERROR_LOG_BUFFER` and its size.
const JIT_ERROR_LOG: c_uint = 5;
const JIT_ERROR_LOG_BYTES: c_uint = 6;

/// One launch of an entry.
#[derive(Debug)]
pub struct Packed<'a> {
    /// The module's text.
    pub ptx: &'a str,
    /// The entry's name.
    pub entry: &'a str,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Blocks of a cluster in x, y, z; `[1, 1, 1]` is none.
    pub cluster: [u32; 3],
    /// Dynamic shared memory in bytes.
    pub shared_bytes: u32,
}

/// What `cuTensorMapEncodeTiled` is told, with the fastest dimension first.
#[derive(Debug)]
pub struct TensorMapShape<'a> {
    /// `CUtensorMapDataType`
    pub element: u32,
    /// Elements of each dimension.
    pub dims: &'a [u64],
    /// Bytes between neighbours in each dimension but the first.
    pub strides: &'a [u64],
    /// Elements of a box in each dimension.
    pub box_dims: &'a [u32],
    /// Step through the elements in each dimension.
    pub steps: &'a [u32],
    /// Bytes of an interleaved slice: 0, 16 or 32.
    pub interleave: u32,
    /// Bytes of the swizzle: 0, 32, 64 or 128.
    pub swizzle: u32,
    /// Whether what lies outside is NaN instead of zero.
    pub nan_fill: bool,
}

/// Unloads a module when it goes.
struct Unload<'a>(&'a Gpu, Handle);

impl Drop for Unload<'_> {
    fn drop(&mut self) {
        // SAFETY: the module was loaded in this context and nothing of it runs any more.
        let _ = unsafe { self.0.driver.module_unload(self.1) };
    }
}

impl Gpu {
    /// A new context, after a fault: what the old one held is gone.
    ///
    /// # Errors
    /// What the driver says.
    pub fn reopen(&mut self) -> Result<(), String> {
        self.renew().map_err(|error| error.to_string())
    }

    /// Encodes a tensor map over memory of the GPU.
    ///
    /// # Errors
    /// The driver is too old, or does not take such a map.
    pub fn tensor_map(&self, shape: &TensorMapShape<'_>, address: u64) -> Result<[u8; 128], String> {
        let swizzle = match shape.swizzle {
            32 => 1,
            64 => 2,
            128 => 3,
            _ => 0,
        };
        tensor_map::encode(&Numbers {
            element: shape.element,
            address,
            dims: shape.dims,
            strides: shape.strides,
            box_dims: shape.box_dims,
            steps: shape.steps,
            interleave: shape.interleave / 16,
            swizzle,
            l2_promotion: 0,
            fill: u32::from(shape.nan_fill),
        })
        .map_err(|error| format!("{error} for {shape:?}"))
    }

    /// Loads the module; an error with what the driver's compiler says.
    fn load_text(&self, text: &str) -> Result<Unload<'_>, String> {
        let image = CString::new(text).map_err(|_| "the PTX holds a zero byte".to_owned())?;
        let mut log = vec![0u8; 8192];
        let mut options = [JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES];
        let mut values: [*mut c_void; 2] =
            [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(log.len())];
        let mut module: Handle = std::ptr::null_mut();
        // SAFETY: the image is a C string; two options with two values, sizes passed in the pointer as the driver wants.
        let loaded = unsafe {
            self.driver.module_load(
                &mut module,
                image.as_ptr().cast::<c_char>().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        loaded.map_err(|error| {
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
            format!("{error}: {}", String::from_utf8_lossy(&log[..end]).trim())
        })?;
        Ok(Unload(self, module))
    }

    /// Copies the buffers to the GPU, launches, waits, and copies them back. `params` makes the bytes of each
    /// parameter of the buffers' addresses.
    ///
    /// # Errors
    /// What the driver says, with the name of its function. After a fault of the kernel the context is lost, and every
    /// later call fails too.
    pub fn run_packed(
        &self,
        launch: &Packed<'_>,
        buffers: &mut [Vec<u8>],
        params: impl FnOnce(&[u64]) -> Result<Vec<Vec<u8>>, String>,
    ) -> Result<(), String> {
        let text = |error: DriverError| error.to_string();
        let module = self.load_text(launch.ptx)?;
        // SAFETY: the context is current.
        unsafe { self.driver.set_limit(LIMIT_STACK, STACK_BYTES) }.map_err(text)?;
        let entry = CString::new(launch.entry).map_err(|_| "the name holds a zero byte".to_owned())?;
        let mut function: Handle = std::ptr::null_mut();
        // SAFETY: the module is alive and the name is a C string.
        unsafe { self.driver.module_function(&mut function, module.1, entry.as_ptr()) }.map_err(text)?;
        let set = |attribute: c_int, value: u32| {
            let value = c_int::try_from(value).unwrap_or(c_int::MAX);
            // SAFETY: the function is alive.
            unsafe { self.driver.function_set(function, attribute, value) }.map_err(text)
        };
        if launch.shared_bytes > 0 {
            set(FUNCTION_MAX_DYNAMIC_SHARED, launch.shared_bytes)?;
        }
        let clustered = launch.cluster != [1, 1, 1];
        if launch.cluster.iter().product::<u32>() > 8 {
            set(FUNCTION_LARGE_CLUSTERS, 1)?;
        }
        let mut held = Vec::new();
        for bytes in buffers.iter() {
            let buffer = Buffer::new(self, bytes.len()).map_err(text)?;
            buffer.upload(0, bytes).map_err(text)?;
            held.push(buffer);
        }
        let addresses: Vec<u64> = held.iter().map(|buffer| buffer.address).collect();
        // The driver knows where each parameter belongs; that is not the natural offset of one with a large alignment.
        let mut params = params(&addresses)?;
        let mut pointers: Vec<*mut c_void> =
            params.iter_mut().map(|value| value.as_mut_ptr().cast()).collect();
        let mut value = [0; 16];
        value[..3].copy_from_slice(&launch.cluster);
        let mut attribute = LaunchAttribute { id: LAUNCH_CLUSTER, pad: [0; 4], value };
        let config = LaunchConfig {
            grid: launch.grid,
            block: launch.block,
            shared_bytes: launch.shared_bytes,
            stream: self.stream,
            attributes: if clustered { &mut attribute } else { std::ptr::null_mut() },
            attribute_count: u32::from(clustered),
        };
        // SAFETY: function and stream are of the current context; the caller gives every parameter of the entry with all
        // its bytes, and the driver copies them before it returns.
        unsafe { self.driver.launch(&config, function, pointers.as_mut_ptr(), std::ptr::null_mut()) }
            .map_err(text)?;
        self.wait().map_err(text)?;
        for (buffer, bytes) in held.iter().zip(buffers) {
            buffer.download(0, bytes).map_err(text)?;
        }
        Ok(())
    }
}
