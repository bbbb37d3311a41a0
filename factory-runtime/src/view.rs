//! Tensors that borrow their memory.

use std::marker::PhantomData;
use std::ops::Range;

use cudarc::driver::{CudaSlice, CudaView, CudaViewMut};

use crate::dims::Dims;
use crate::element::{as_bytes, as_bytes_mut};
use crate::{Device, Element, Error, Result, Tensor};

/// A tensor that borrows the memory that it reads: of a [`Tensor`](crate::Tensor), of a cudarc slice or view, or, for the
/// PTX machine, of a host slice.
///
/// ```
/// use factory_runtime::TensorRef;
///
/// let values = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let x = TensorRef::from_slice(&values, &[3, 2])?;
/// assert_eq!(x.rows(1..3)?.shape(), [2, 2]);
/// # Ok::<(), factory_runtime::Error>(())
/// ```
pub struct TensorRef<'a, T> {
    pub(crate) place: RefPlace<'a>,
    pub(crate) layout: Layout,
    marker: PhantomData<&'a [T]>,
}

/// A tensor that borrows memory that a kernel may write. See [`TensorRef`].
pub struct TensorMut<'a, T> {
    pub(crate) place: MutPlace<'a>,
    pub(crate) layout: Layout,
    marker: PhantomData<&'a mut [T]>,
}

/// Shape and strides, in elements. No strides: contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) shape: Dims,
    pub(crate) strides: Option<Dims>,
}

/// Where the memory of a [`TensorRef`] is; the element type is erased.
pub(crate) enum RefPlace<'a> {
    Host(HostRef<'a>),
    Cuda(CudaView<'a, u8>),
}

/// Where the memory of a [`TensorMut`] is; the element type is erased.
pub(crate) enum MutPlace<'a> {
    Host(HostMut<'a>),
    Cuda(CudaViewMut<'a, u8>),
}

/// Host memory to read. `offset` is where it starts in its tensor, in bytes: the machine gives each argument an address
/// of its own, and only so does a view that would be misaligned on a GPU show as such here.
#[derive(Clone, Copy)]
pub(crate) struct HostRef<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) offset: usize,
    pub(crate) device: Option<&'a Device>,
}

/// Host memory to write; see [`HostRef`].
pub(crate) struct HostMut<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) offset: usize,
    pub(crate) device: Option<&'a Device>,
}

impl Layout {
    fn contiguous(shape: Dims) -> Layout {
        Layout { shape, strides: None }
    }

    fn is_contiguous(&self) -> bool {
        self.strides.is_none_or(|strides| self.shape.is_contiguous(&strides))
    }

    fn strided(shape: &[usize], strides: &[usize], available: usize) -> Result<Layout> {
        let dims = Dims::new(shape)?;
        if strides.len() != shape.len() {
            return Err(Error::Extent {
                what: format!("the shape {shape:?} and the strides {strides:?} have different lengths"),
            });
        }
        let strides = Dims::from_short(strides);
        match dims.reach(&strides) {
            Some(reach) if reach <= available => Ok(Layout { shape: dims, strides: Some(strides) }),
            _ => Err(Error::Extent {
                what: format!(
                    "the shape {shape:?} with strides {strides:?} reaches beyond the {available} elements that there are"
                ),
            }),
        }
    }

    /// The same elements under another shape. Where rows lie a stride apart they stay rows.
    fn reshaped(&self, shape: &[usize]) -> Result<Layout> {
        let dims = Dims::new(shape)?;
        let stride =
            self.strides.filter(|_| !self.is_contiguous()).map(|strides| self.shape.row_stride(&strides));
        let same_rows = self.shape.as_slice().last() == shape.last();
        let strides = match stride {
            None => None,
            Some(Some(stride)) if same_rows => {
                Some(dims.with_row_stride(stride.unwrap_or(shape.last().copied().unwrap_or(1))))
            }
            Some(_) => {
                return Err(Error::Extent {
                    what: format!("a tensor that is not contiguous cannot take the shape {shape:?}"),
                });
            }
        };
        if dims.elements() != self.shape.elements() {
            return Err(Error::Extent {
                what: format!("a tensor of shape {:?} cannot take the shape {shape:?}", self.shape),
            });
        }
        Ok(Layout { shape: dims, strides })
    }

    /// The layout of columns `range` and the elements to skip and to keep.
    fn columns(&self, range: &Range<usize>, available: usize) -> Result<(Layout, Range<usize>)> {
        let strides = self.strides.unwrap_or_else(|| self.shape.contiguous_strides());
        match (self.shape.as_slice().last(), strides.as_slice().last()) {
            (Some(&extent), Some(&stride)) if range.start <= range.end && range.end <= extent => {
                let layout = Layout { shape: self.shape.with_last(range.len()), strides: Some(strides) };
                let start = range.start.saturating_mul(stride).min(available);
                let reach = layout.shape.reach(&strides).unwrap_or(0);
                Ok((layout, start..(start + reach).min(available)))
            }
            _ => Err(Error::Extent {
                what: format!(
                    "columns {range:?} do not lie within the innermost dimension of the shape {:?}",
                    self.shape
                ),
            }),
        }
    }

    /// The layout of rows `range` and the elements to skip and to keep.
    fn rows(&self, range: &Range<usize>, available: usize) -> Result<(Layout, Range<usize>)> {
        let strides = self.strides.unwrap_or_else(|| self.shape.contiguous_strides());
        match (self.shape.as_slice().first(), strides.as_slice().first()) {
            (Some(&extent), Some(&stride)) if range.start <= range.end && range.end <= extent => {
                let layout = Layout { shape: self.shape.with_first(range.len()), strides: self.strides };
                // An empty view may start at the very end.
                let start = range.start.saturating_mul(stride).min(available);
                let reach = layout.shape.reach(&strides).unwrap_or(0);
                Ok((layout, start..(start + reach).min(available)))
            }
            _ => Err(Error::Extent {
                what: format!(
                    "rows {range:?} do not lie within the outermost dimension of the shape {:?}",
                    self.shape
                ),
            }),
        }
    }
}

fn check_elements(shape: &[usize], elements: usize) -> Result<Dims> {
    let dims = Dims::new(shape)?;
    if dims.elements() == elements {
        return Ok(dims);
    }
    Err(Error::Extent {
        what: format!("the shape {shape:?} has {} elements, but the memory has {elements}", dims.elements()),
    })
}

impl<'a, T: Element> TensorRef<'a, T> {
    pub(crate) fn host(values: &'a [T], shape: Dims, device: Option<&'a Device>) -> Self {
        let place = RefPlace::Host(HostRef { bytes: as_bytes(values), offset: 0, device });
        TensorRef { place, layout: Layout::contiguous(shape), marker: PhantomData }
    }

    /// `view` may be longer than the shape needs, and of bytes.
    pub(crate) fn cuda<S>(view: CudaView<'a, S>, shape: Dims) -> Self {
        TensorRef {
            place: RefPlace::Cuda(erase(&view, shape.elements() * size_of::<T>())),
            layout: Layout::contiguous(shape),
            marker: PhantomData,
        }
    }

    /// Host memory, for kernels that run on the PTX machine.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the shape has another number of elements than the slice.
    pub fn from_slice(values: &'a [T], shape: &[usize]) -> Result<Self> {
        Ok(Self::host(values, check_elements(shape, values.len())?, None))
    }

    /// Memory that a cudarc slice of your own holds. Nothing is copied, and cudarc's order of work across streams is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the shape has another number of elements than the slice.
    pub fn from_cuda(slice: &'a CudaSlice<T>, shape: &[usize]) -> Result<Self> {
        Ok(Self::cuda(slice.as_view(), check_elements(shape, slice.len())?))
    }

    /// Memory that a cudarc view of your own shows; as [`TensorRef::from_cuda`].
    ///
    /// # Errors
    ///
    /// As for [`TensorRef::from_cuda`].
    pub fn from_cuda_view(view: &CudaView<'a, T>, shape: &[usize]) -> Result<Self> {
        let shape = check_elements(shape, view.len())?;
        let place = RefPlace::Cuda(erase(view, shape.elements() * size_of::<T>()));
        Ok(TensorRef { place, layout: Layout::contiguous(shape), marker: PhantomData })
    }

    /// The same memory with another shape and strides, in elements.
    ///
    /// Kernels accept what they were verified for: contiguous tensors, and where their spec gives an argument a row stride,
    /// contiguous rows that all lie equally far apart. Other strides are refused at the launch.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when an index would leave the memory.
    pub fn strided(mut self, shape: &[usize], strides: &[usize]) -> Result<Self> {
        self.layout = Layout::strided(shape, strides, self.place.len() / size_of::<T>())?;
        Ok(self)
    }

    /// The same memory under another shape of as many elements. Where rows lie a stride apart they stay rows: the innermost
    /// dimension stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the numbers of elements differ, or the tensor is not contiguous.
    pub fn reshape(mut self, shape: &[usize]) -> Result<Self> {
        self.layout = self.layout.reshaped(shape)?;
        Ok(self)
    }

    /// Rows `range` of the outermost dimension.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the range does not lie within the dimension.
    pub fn rows(&self, range: Range<usize>) -> Result<TensorRef<'a, T>> {
        Ok(self.part(self.layout.rows(&range, self.place.len() / size_of::<T>())?))
    }

    /// Columns `range` of the innermost dimension: rows that lie as far apart as before, as in `q`, `k` and `v` of one tensor.
    /// A kernel takes them where its spec gives the argument a row stride.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the range does not lie within the dimension.
    pub fn columns(&self, range: Range<usize>) -> Result<TensorRef<'a, T>> {
        Ok(self.part(self.layout.columns(&range, self.place.len() / size_of::<T>())?))
    }

    /// A layout with the elements that it covers.
    fn part(&self, (layout, elements): (Layout, Range<usize>)) -> TensorRef<'a, T> {
        let bytes = elements.start * size_of::<T>()..elements.end * size_of::<T>();
        let place = match &self.place {
            RefPlace::Host(host) => RefPlace::Host(HostRef {
                bytes: &host.bytes[bytes.clone()],
                offset: host.offset + bytes.start,
                device: host.device,
            }),
            RefPlace::Cuda(view) => RefPlace::Cuda(view.slice(bytes)),
        };
        TensorRef { place, layout, marker: PhantomData }
    }

    /// Whether the elements lie one behind the other, row-major.
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// The extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape.as_slice()
    }
}

impl<T: Element> Clone for TensorRef<'_, T> {
    fn clone(&self) -> Self {
        let place = match &self.place {
            RefPlace::Host(host) => RefPlace::Host(*host),
            RefPlace::Cuda(view) => RefPlace::Cuda(view.slice(..)),
        };
        TensorRef { place, layout: self.layout, marker: PhantomData }
    }
}

impl<'a, T: Element> TensorMut<'a, T> {
    pub(crate) fn host(values: &'a mut [T], shape: Dims, device: Option<&'a Device>) -> Self {
        let place = MutPlace::Host(HostMut { bytes: as_bytes_mut(values), offset: 0, device });
        TensorMut { place, layout: Layout::contiguous(shape), marker: PhantomData }
    }

    /// `slice` may be longer than the shape needs, and of bytes.
    pub(crate) fn cuda<S>(slice: &'a mut CudaSlice<S>, shape: Dims) -> Self {
        let bytes = (shape.elements() * size_of::<T>()).min(slice.len() * size_of::<S>());
        // SAFETY: the view is of memory that holds at least that many bytes; kernels write values of `T`, any of whose
        // bit patterns is valid.
        let view = unsafe { slice.transmute_mut::<u8>(bytes) };
        TensorMut {
            place: MutPlace::Cuda(view.expect("no more bytes than the slice has")),
            layout: Layout::contiguous(shape),
            marker: PhantomData,
        }
    }

    /// Host memory, for kernels that run on the PTX machine.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the shape has another number of elements than the slice.
    pub fn from_slice(values: &'a mut [T], shape: &[usize]) -> Result<Self> {
        let shape = check_elements(shape, values.len())?;
        Ok(Self::host(values, shape, None))
    }

    /// Memory that a cudarc slice of your own holds. Nothing is copied, and cudarc's order of work across streams is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the shape has another number of elements than the slice.
    pub fn from_cuda(slice: &'a mut CudaSlice<T>, shape: &[usize]) -> Result<Self> {
        let shape = check_elements(shape, slice.len())?;
        Ok(Self::cuda(slice, shape))
    }

    /// Memory that a mutable cudarc view of your own shows; as [`TensorMut::from_cuda`].
    ///
    /// # Errors
    ///
    /// As for [`TensorMut::from_cuda`].
    pub fn from_cuda_view(view: &'a mut CudaViewMut<'_, T>, shape: &[usize]) -> Result<Self> {
        let shape = check_elements(shape, view.len())?;
        // SAFETY: as in `TensorMut::cuda`; the shape has as many elements as the view.
        let view = unsafe { view.transmute_mut::<u8>(shape.elements() * size_of::<T>()) };
        Ok(TensorMut {
            place: MutPlace::Cuda(view.expect("as many bytes as the view has")),
            layout: Layout::contiguous(shape),
            marker: PhantomData,
        })
    }

    /// The same memory with another shape and strides; see [`TensorRef::strided`].
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when an index would leave the memory.
    pub fn strided(mut self, shape: &[usize], strides: &[usize]) -> Result<Self> {
        self.layout = Layout::strided(shape, strides, self.place.len() / size_of::<T>())?;
        Ok(self)
    }

    /// The same memory under another shape of as many elements.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the numbers of elements differ, or the tensor is not contiguous.
    pub fn reshape(mut self, shape: &[usize]) -> Result<Self> {
        self.layout = self.layout.reshaped(shape)?;
        Ok(self)
    }

    /// Rows `range` of the outermost dimension.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the range does not lie within the dimension.
    pub fn rows_mut(&mut self, range: Range<usize>) -> Result<TensorMut<'_, T>> {
        let part = self.layout.rows(&range, self.place.len() / size_of::<T>())?;
        Ok(self.part_mut(part))
    }

    /// Columns `range` of the innermost dimension; see [`TensorRef::columns`]. What lies between them is not written.
    ///
    /// # Errors
    ///
    /// [`Error::Extent`] when the range does not lie within the dimension.
    pub fn columns_mut(&mut self, range: Range<usize>) -> Result<TensorMut<'_, T>> {
        let part = self.layout.columns(&range, self.place.len() / size_of::<T>())?;
        Ok(self.part_mut(part))
    }

    fn part_mut(&mut self, (layout, elements): (Layout, Range<usize>)) -> TensorMut<'_, T> {
        let bytes = elements.start * size_of::<T>()..elements.end * size_of::<T>();
        TensorMut { place: self.place.slice_mut(bytes), layout, marker: PhantomData }
    }

    /// Whether the elements lie one behind the other, row-major.
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// The same tensor for a shorter time.
    pub fn reborrow(&mut self) -> TensorMut<'_, T> {
        let bytes = 0..self.place.len();
        TensorMut { place: self.place.slice_mut(bytes), layout: self.layout, marker: PhantomData }
    }

    /// The extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape.as_slice()
    }
}

impl<'a, T: Element> From<&'a Tensor<T>> for TensorRef<'a, T> {
    fn from(tensor: &'a Tensor<T>) -> Self {
        tensor.view()
    }
}

impl<'a, T: Element> From<&'a TensorRef<'_, T>> for TensorRef<'a, T> {
    fn from(tensor: &'a TensorRef<'_, T>) -> Self {
        tensor.clone()
    }
}

impl<'a, T: Element> From<&'a mut Tensor<T>> for TensorMut<'a, T> {
    fn from(tensor: &'a mut Tensor<T>) -> Self {
        tensor.view_mut()
    }
}

impl<'a, T: Element> From<&'a mut TensorMut<'_, T>> for TensorMut<'a, T> {
    fn from(tensor: &'a mut TensorMut<'_, T>) -> Self {
        tensor.reborrow()
    }
}

impl RefPlace<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            RefPlace::Host(host) => host.bytes.len(),
            RefPlace::Cuda(view) => view.len(),
        }
    }
}

impl MutPlace<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            MutPlace::Host(host) => host.bytes.len(),
            MutPlace::Cuda(view) => view.len(),
        }
    }

    fn slice_mut(&mut self, bytes: Range<usize>) -> MutPlace<'_> {
        match self {
            MutPlace::Host(host) => {
                let offset = host.offset + bytes.start;
                MutPlace::Host(HostMut { bytes: &mut host.bytes[bytes], offset, device: host.device })
            }
            MutPlace::Cuda(view) => MutPlace::Cuda(view.slice_mut(bytes)),
        }
    }
}

/// The first bytes of `view`.
fn erase<'a, S>(view: &CudaView<'a, S>, bytes: usize) -> CudaView<'a, u8> {
    let bytes = bytes.min(view.len() * size_of::<S>());
    // SAFETY: the memory holds at least that many bytes, and every bit pattern is a `u8`.
    let erased = unsafe { view.transmute::<u8>(bytes) };
    erased.expect("no more bytes than the view has")
}

impl<T> std::fmt::Debug for TensorRef<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TensorRef({:?})", self.layout.shape)
    }
}

impl<T> std::fmt::Debug for TensorMut<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TensorMut({:?})", self.layout.shape)
    }
}
