//! Memory of an evaluation: counted against a limit, and refused rather than aborted on.

use super::OracleError;

/// What may still be allocated.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    used: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Budget {
        Budget { limit, used: 0 }
    }

    /// Zeros for `elements` values. Their pages are first touched by whoever writes them, in parallel.
    pub(super) fn zeros(&mut self, what: &str, elements: usize) -> Result<Vec<f64>, OracleError> {
        let refused =
            || OracleError::Memory { what: what.to_owned(), elements: elements as u64, limit: self.limit };
        let bytes = (elements as u64).checked_mul(8).ok_or_else(refused)?;
        let used = self.used.checked_add(bytes).filter(|used| *used <= self.limit).ok_or_else(refused)?;
        if elements == 0 {
            return Ok(Vec::new());
        }
        let layout = std::alloc::Layout::array::<f64>(elements).map_err(|_| refused())?;
        // SAFETY: the layout has a size above zero.
        let pointer = unsafe { std::alloc::alloc_zeroed(layout) };
        if pointer.is_null() {
            return Err(refused());
        }
        self.used = used;
        // SAFETY: the pointer comes from the global allocator with the layout of `elements` values, and zero bytes are
        // values of f64.
        Ok(unsafe { Vec::from_raw_parts(pointer.cast::<f64>(), elements, elements) })
    }

    /// Gives back what a buffer that is no longer needed took.
    pub(super) fn release(&mut self, buffer: Vec<f64>) {
        self.used = self.used.saturating_sub(buffer.capacity() as u64 * 8);
    }
}

/// The number of places of a space, where it can be counted.
pub(super) fn count(what: &str, extents: impl IntoIterator<Item = u64>) -> Result<usize, OracleError> {
    let extents: Vec<u64> = extents.into_iter().collect();
    if extents.contains(&0) {
        return Ok(0);
    }
    extents
        .iter()
        .try_fold(1u64, |count, extent| count.checked_mul(*extent))
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count <= isize::MAX as usize)
        .ok_or_else(|| OracleError::TooManySteps { what: what.to_owned() })
}
