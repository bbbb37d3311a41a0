//! Short lists of extents, kept inline.

use crate::{Error, Result};

/// The most dimensions that a tensor may have.
pub const MAX_RANK: usize = 8;

/// Up to [`MAX_RANK`] extents or strides, in elements. Kept inline so that a launch allocates nothing.
#[derive(Clone, Copy)]
pub(crate) struct Dims {
    rank: u8,
    extents: [usize; MAX_RANK],
}

impl Dims {
    /// The extents given; an error when there are too many or their product does not fit.
    pub(crate) fn new(extents: &[usize]) -> Result<Dims> {
        let product = extents.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent.max(1)));
        if extents.len() > MAX_RANK || product.is_none_or(|product| product > isize::MAX as usize / 8) {
            return Err(Error::Extent {
                what: format!(
                    "the shape {extents:?} has more than {MAX_RANK} dimensions or more elements than memory could hold"
                ),
            });
        }
        Ok(Dims::from_short(extents))
    }

    /// Strides: any values, bounded by the caller.
    pub(crate) fn from_short(extents: &[usize]) -> Dims {
        let mut dims = Dims { rank: extents.len().min(MAX_RANK) as u8, extents: [0; MAX_RANK] };
        for (slot, &extent) in dims.extents.iter_mut().zip(extents) {
            *slot = extent;
        }
        dims
    }

    pub(crate) fn as_slice(&self) -> &[usize] {
        &self.extents[..usize::from(self.rank)]
    }

    /// The product of the extents, 1 for none.
    pub(crate) fn elements(&self) -> usize {
        self.as_slice().iter().product()
    }

    /// The strides of a contiguous row-major tensor of this shape.
    pub(crate) fn contiguous_strides(&self) -> Dims {
        let mut strides = *self;
        let mut step = 1usize;
        for index in (0..usize::from(self.rank)).rev() {
            strides.extents[index] = step;
            step = step.saturating_mul(self.extents[index].max(1));
        }
        strides
    }

    /// Whether `strides` address the same elements as contiguous ones: those of dimensions of extent 1 do not matter.
    pub(crate) fn is_contiguous(&self, strides: &Dims) -> bool {
        if self.elements() == 0 {
            return true;
        }
        let expected = self.contiguous_strides();
        self.as_slice()
            .iter()
            .zip(expected.as_slice())
            .zip(strides.as_slice())
            .all(|((&extent, expected), stride)| extent <= 1 || expected == stride)
    }

    /// How far the rows of the innermost dimension lie apart with `strides`: `Some(None)` where no row follows another, `None`
    /// where a row is not contiguous or the rows have no stride in common.
    pub(crate) fn row_stride(&self, strides: &Dims) -> Option<Option<usize>> {
        if self.elements() == 0 {
            return Some(None);
        }
        let mut dimensions = self.as_slice().iter().copied().zip(strides.as_slice().iter().copied()).rev();
        match dimensions.next() {
            Some((extent, stride)) if extent > 1 && stride != 1 => return None,
            _ => {}
        }
        // The stride, and how many rows the dimensions so far have.
        let mut rows: Option<(usize, usize)> = None;
        for (extent, stride) in dimensions.filter(|(extent, _)| *extent > 1) {
            rows = match rows {
                None => Some((stride, extent)),
                Some((first, count)) if first.checked_mul(count) == Some(stride) => {
                    Some((first, count * extent))
                }
                Some(_) => return None,
            };
        }
        Some(rows.map(|(stride, _)| stride))
    }

    /// The strides of this shape whose rows lie `stride` apart.
    pub(crate) fn with_row_stride(&self, stride: usize) -> Dims {
        let mut strides = *self;
        let mut step = stride;
        for (index, extent) in strides.extents[..usize::from(self.rank)].iter_mut().enumerate().rev() {
            if index + 1 == usize::from(self.rank) {
                *extent = 1;
            } else {
                step = step.saturating_mul(std::mem::replace(extent, step).max(1));
            }
        }
        strides
    }

    /// One more than the largest index that these extents with `strides` reach; `None` on overflow.
    pub(crate) fn reach(&self, strides: &Dims) -> Option<usize> {
        if self.elements() == 0 {
            return Some(0);
        }
        let mut last = 0usize;
        for (&extent, &stride) in self.as_slice().iter().zip(strides.as_slice()) {
            last = last.checked_add((extent - 1).checked_mul(stride)?)?;
        }
        last.checked_add(1)
    }

    /// The same with another last extent.
    pub(crate) fn with_last(mut self, extent: usize) -> Dims {
        if self.rank > 0 {
            self.extents[usize::from(self.rank) - 1] = extent;
        }
        self
    }

    /// The same with another leading extent.
    pub(crate) fn with_first(mut self, extent: usize) -> Dims {
        if self.rank > 0 {
            self.extents[0] = extent;
        }
        self
    }
}

impl std::fmt::Debug for Dims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_slice().fmt(f)
    }
}
