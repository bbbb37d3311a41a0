//! Tensor maps over memory of the GPU, encoded by the driver.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::OnceLock;

use factory_spec::{MAP_BYTES, TensorMapShape};

use super::driver::LIBRARIES;

/// The bytes of a tensor map, aligned as the driver's headers have it since CUDA 13 (it asks for 64).
#[repr(C, align(128))]
struct Map([u8; MAP_BYTES]);

type EncodeTiled = unsafe extern "C" fn(
    *mut Map,
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

/// What `cuTensorMapEncodeTiled` takes, in its own numbers.
pub(super) struct Numbers<'a> {
    pub(super) element: u32,
    pub(super) address: u64,
    pub(super) dims: &'a [u64],
    pub(super) strides: &'a [u64],
    pub(super) box_dims: &'a [u32],
    pub(super) steps: &'a [u32],
    pub(super) interleave: u32,
    pub(super) swizzle: u32,
    pub(super) l2_promotion: u32,
    pub(super) fill: u32,
}

/// The function, which drivers before CUDA 12.0 lack; why not, in words.
fn function() -> Result<EncodeTiled, String> {
    static FUNCTION: OnceLock<Option<EncodeTiled>> = OnceLock::new();
    let found = FUNCTION.get_or_init(|| {
        // SAFETY: where there is a GPU the library is loaded already, so that no initialiser runs.
        let library = LIBRARIES.iter().find_map(|name| unsafe { libloading::Library::new(*name) }.ok())?;
        // SAFETY: the type is the function's in NVIDIA's driver API, and the library is never closed.
        let found =
            unsafe { library.get::<EncodeTiled>(b"cuTensorMapEncodeTiled\0") }.ok().map(|found| *found);
        std::mem::forget(library);
        found
    });
    found.ok_or_else(|| "the NVIDIA driver is too old: it lacks `cuTensorMapEncodeTiled`".to_owned())
}

/// Encodes a map.
///
/// # Errors
/// The lists do not go together, or the driver does not take them.
pub(super) fn encode(numbers: &Numbers<'_>) -> Result<[u8; MAP_BYTES], String> {
    let rank = numbers.dims.len();
    if rank == 0
        || numbers.strides.len() + 1 != rank
        || numbers.box_dims.len() != rank
        || numbers.steps.len() != rank
    {
        return Err("a tensor map with lists of different lengths".to_owned());
    }
    let function = function()?;
    let mut map = Map([0; MAP_BYTES]);
    // SAFETY: every list has as many elements as the rank asks for (one less of strides), and the map is aligned.
    let code = unsafe {
        function(
            &mut map,
            numbers.element,
            rank as c_uint,
            std::ptr::without_provenance_mut(numbers.address as usize),
            numbers.dims.as_ptr(),
            numbers.strides.as_ptr(),
            numbers.box_dims.as_ptr(),
            numbers.steps.as_ptr(),
            numbers.interleave,
            numbers.swizzle,
            numbers.l2_promotion,
            numbers.fill,
        )
    };
    if code == 0 { Ok(map.0) } else { Err(format!("cuTensorMapEncodeTiled: error {code}")) }
}

/// Encodes a map of a plan over the buffer at this address.
///
/// # Errors
/// As [`encode`].
pub(super) fn planned(shape: &TensorMapShape, buffer: u64) -> Result<[u8; MAP_BYTES], String> {
    encode(&Numbers {
        element: shape.layout.element.number(),
        address: buffer.wrapping_add(shape.offset),
        dims: &shape.dims,
        strides: &shape.strides,
        box_dims: &shape.box_dims,
        steps: &shape.element_strides,
        interleave: shape.layout.interleave.number(),
        swizzle: shape.layout.swizzle.number(),
        l2_promotion: shape.layout.l2_promotion.number(),
        fill: shape.layout.fill.number(),
    })
    .map_err(|error| format!("{error} for {shape:?}"))
}
