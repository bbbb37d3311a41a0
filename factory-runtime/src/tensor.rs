//! Tensors that own their memory.

use std::ops::Range;

use cudarc::driver::{CudaSlice, CudaView, CudaViewMut};

use crate::dims::Dims;
use crate::driver::cuda_error;
use crate::element::{as_bytes, as_bytes_mut};
use crate::stream::allocation_error;
use crate::{Device, Element, Error, Result, TensorMut, TensorRef};

/// A contiguous row-major tensor in the memory of a device (on the PTX machine: of the host).
///
/// ```
/// use factory_runtime::{Device, Tensor};
///
/// let device = Device::machine();
/// let x = Tensor::from_slice(&device, &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
/// assert_eq!(x.shape(), [2, 3]);
/// assert_eq!(x.to_vec()?, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
/// # Ok::<(), factory_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Tensor<T> {
    device: Device,
    shape: Dims,
    memory: Memory<T>,
}

#[derive(Debug)]
enum Memory<T> {
    Host(Vec<T>),
    /// At least one byte long, since the driver allocates no empty memory. In bytes, because cudarc allocates and copies
    /// half floats only with a feature that brings a generator of random numbers along.
    Cuda(CudaSlice<u8>),
}

impl<T: Element> Tensor<T> {
    /// A copy of `values` on `device`, row-major, of this shape.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the shape has another number of elements; [`Error::OutOfMemory`] or what the driver says.
    pub fn from_slice(device: &Device, values: &[T], shape: &[usize]) -> Result<Tensor<T>> {
        let shape = Dims::new(shape)?;
        if shape.elements() != values.len() {
            return Err(Error::Extent {
                what: format!(
                    "the shape {shape:?} has {} elements, but the slice has {}",
                    shape.elements(),
                    values.len()
                ),
            });
        }
        let Some(context) = device.cuda_context() else {
            return Ok(Tensor { device: device.clone(), shape, memory: Memory::Host(values.to_vec()) });
        };
        let mut tensor = Tensor {
            device: device.clone(),
            shape,
            memory: Memory::Cuda(allocate(device, context, size_of_val(values))?),
        };
        tensor.copy_from_slice(values)?;
        Ok(tensor)
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    ///
    /// As for [`Tensor::from_slice`].
    pub fn zeros(device: &Device, shape: &[usize]) -> Result<Tensor<T>> {
        let shape = Dims::new(shape)?;
        let memory = match (device.cuda_context(), device.stream().cuda_stream()) {
            (Some(context), Some(stream)) => {
                let mut slice = allocate(device, context, shape.elements() * size_of::<T>())?;
                stream.memset_zeros(&mut slice).map_err(|error| cuda_error("cuMemsetD8Async", error))?;
                Memory::Cuda(slice)
            }
            _ => Memory::Host(vec![T::default(); shape.elements()]),
        };
        Ok(Tensor { device: device.clone(), shape, memory })
    }

    /// A copy of the elements, row-major. Waits for the work that writes them.
    ///
    /// # Errors
    ///
    /// What the driver says; a kernel that faulted earlier on the same stream shows here.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        let mut values = vec![T::default(); self.len()];
        self.copy_to_slice(&mut values)?;
        Ok(values)
    }

    /// Copies the elements, row-major, into `values`. Waits for the work that writes them.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the lengths differ, or what the driver says.
    pub fn copy_to_slice(&self, values: &mut [T]) -> Result<()> {
        self.check_length(values.len())?;
        match &self.memory {
            Memory::Host(memory) => values.copy_from_slice(memory),
            Memory::Cuda(slice) if !values.is_empty() => {
                let stream = slice.stream();
                stream
                    .memcpy_dtoh(&slice.slice(..size_of_val(values)), as_bytes_mut(values))
                    .map_err(|error| cuda_error("cuMemcpyDtoHAsync", error))?;
                stream.synchronize().map_err(|error| cuda_error("cuStreamSynchronize", error))?;
            }
            Memory::Cuda(_) => {}
        }
        Ok(())
    }

    /// Overwrites the elements with `values`, row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the lengths differ, or what the driver says.
    pub fn copy_from_slice(&mut self, values: &[T]) -> Result<()> {
        self.check_length(values.len())?;
        match &mut self.memory {
            Memory::Host(memory) => memory.copy_from_slice(values),
            Memory::Cuda(slice) if !values.is_empty() => {
                let stream = slice.stream().clone();
                stream
                    .memcpy_htod(as_bytes(values), slice)
                    .map_err(|error| cuda_error("cuMemcpyHtoDAsync", error))?;
            }
            Memory::Cuda(_) => {}
        }
        Ok(())
    }

    fn check_length(&self, length: usize) -> Result<()> {
        if length == self.len() {
            return Ok(());
        }
        Err(Error::Extent {
            what: format!(
                "the tensor of shape {:?} has {} elements, but the slice has {length}",
                self.shape,
                self.len()
            ),
        })
    }

    /// The extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.shape.as_slice()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.elements()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the memory is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The same memory under another shape of as many elements.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the numbers of elements differ.
    pub fn reshape(mut self, shape: &[usize]) -> Result<Tensor<T>> {
        let dims = Dims::new(shape)?;
        if dims.elements() != self.len() {
            return Err(Error::Extent {
                what: format!("a tensor of shape {:?} cannot take the shape {shape:?}", self.shape),
            });
        }
        self.shape = dims;
        Ok(self)
    }

    /// The whole tensor, borrowed.
    pub fn view(&self) -> TensorRef<'_, T> {
        match &self.memory {
            Memory::Host(memory) => TensorRef::host(memory, self.shape, Some(&self.device)),
            Memory::Cuda(slice) => TensorRef::cuda(slice.as_view(), self.shape),
        }
    }

    /// The whole tensor, borrowed to be written.
    pub fn view_mut(&mut self) -> TensorMut<'_, T> {
        match &mut self.memory {
            Memory::Host(memory) => TensorMut::host(memory, self.shape, Some(&self.device)),
            Memory::Cuda(slice) => TensorMut::cuda(slice, self.shape),
        }
    }

    /// Rows `range` of the outermost dimension, borrowed.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the range does not lie within the dimension.
    pub fn rows(&self, range: Range<usize>) -> Result<TensorRef<'_, T>> {
        self.view().rows(range)
    }

    /// Columns `range` of the innermost dimension, borrowed; see [`TensorRef::columns`].
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the range does not lie within the dimension.
    pub fn columns(&self, range: Range<usize>) -> Result<TensorRef<'_, T>> {
        self.view().columns(range)
    }

    /// The elements of a tensor in host memory (one of the PTX machine).
    ///
    /// # Errors
    ///
    /// [`Error::WrongPlace`] when the tensor is on a GPU.
    pub fn as_slice(&self) -> Result<&[T]> {
        match &self.memory {
            Memory::Host(memory) => Ok(memory),
            Memory::Cuda(_) => Err(Error::WrongPlace {
                operation: "Tensor::as_slice",
                needed: "host memory",
                got: self.device.description(),
            }),
        }
    }

    /// The memory of a tensor on a GPU, for cudarc.
    ///
    /// # Errors
    ///
    /// [`Error::WrongPlace`] on the machine.
    pub fn cuda_view(&self) -> Result<CudaView<'_, T>> {
        let length = self.len();
        match &self.memory {
            Memory::Cuda(slice) => {
                // SAFETY: the memory holds so many values of `T`, any of whose bit patterns is valid.
                let view = unsafe { slice.transmute::<T>(length) };
                Ok(view.expect("no more bytes than the slice has"))
            }
            Memory::Host(_) => Err(Error::WrongPlace {
                operation: "Tensor::cuda_view",
                needed: "GPU memory",
                got: self.device.description(),
            }),
        }
    }

    /// The memory of a tensor on a GPU, for cudarc to write.
    ///
    /// # Errors
    ///
    /// [`Error::WrongPlace`] on the machine.
    pub fn cuda_view_mut(&mut self) -> Result<CudaViewMut<'_, T>> {
        let length = self.len();
        match &mut self.memory {
            Memory::Cuda(slice) => {
                // SAFETY: as in `cuda_view`.
                let view = unsafe { slice.transmute_mut::<T>(length) };
                Ok(view.expect("no more bytes than the slice has"))
            }
            Memory::Host(_) => Err(Error::WrongPlace {
                operation: "Tensor::cuda_view_mut",
                needed: "GPU memory",
                got: self.device.description(),
            }),
        }
    }
}

fn allocate(
    device: &Device,
    context: &std::sync::Arc<cudarc::driver::CudaContext>,
    bytes: usize,
) -> Result<CudaSlice<u8>> {
    let stream = device.stream().cuda_stream().cloned().unwrap_or_else(|| context.default_stream());
    let bytes = bytes.max(1);
    // SAFETY: every bit pattern is a value of an `Element`; the callers write the memory before anyone reads it.
    unsafe { stream.alloc::<u8>(bytes) }.map_err(|error| allocation_error(device, bytes, error))
}
