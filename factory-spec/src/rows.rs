//! How the rows of a tensor lie in memory.

use std::borrow::Cow;
use std::ops::Range;

/// The rows of a tensor in memory, in elements: each is contiguous, and they begin `stride` apart. A dense tensor counts as one
/// row. Where there are no elements there are no rows.
///
/// A *gap* lies between the end of a row and the beginning of the next. It belongs to somebody else: a kernel may not rely on
/// what it holds, and may not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// How many
    pub count: usize,
    /// Elements of each
    pub length: usize,
    /// From the beginning of one to the beginning of the next, at least `length`
    pub stride: usize,
}

impl Rows {
    /// One row of so many elements.
    pub fn dense(elements: usize) -> Rows {
        Rows { count: usize::from(elements > 0), length: elements, stride: elements }
    }

    /// So many rows with a stride.
    pub(crate) fn strided(count: usize, length: usize, stride: usize) -> Rows {
        if count == 0 || length == 0 { Rows::dense(0) } else { Rows { count, length, stride } }
    }

    /// Elements of all of them.
    pub fn elements(&self) -> usize {
        self.count * self.length
    }

    /// Elements from the beginning of the first to the end of the last.
    pub fn span(&self) -> usize {
        if self.count == 0 { 0 } else { (self.count - 1) * self.stride + self.length }
    }

    /// Whether there are gaps.
    pub fn has_gaps(&self) -> bool {
        self.count > 1 && self.stride > self.length
    }

    /// Where each row lies, in elements.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Rows { count, length, stride } = *self;
        (0..count).map(move |row| row * stride..row * stride + length)
    }

    /// Where each gap lies, in elements.
    pub fn gaps(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Rows { count, length, stride } = *self;
        let gaps = if self.has_gaps() { count - 1 } else { 0 };
        (0..gaps).map(move |row| row * stride + length..(row + 1) * stride)
    }

    /// The rows one behind the other, as they lie in memory with every byte of the gaps being `gap`. Elements have `size` bytes.
    pub fn spread<'a>(&self, rows: &'a [u8], size: usize, gap: u8) -> Cow<'a, [u8]> {
        if !self.has_gaps() {
            return Cow::Borrowed(rows);
        }
        let mut memory = vec![gap; self.span() * size];
        for (row, range) in rows.chunks_exact(self.length * size).zip(self.ranges()) {
            memory[range.start * size..range.end * size].copy_from_slice(row);
        }
        Cow::Owned(memory)
    }

    /// The rows that lie in memory, one behind the other: what [`Rows::spread`] was given.
    pub fn gather<'a>(&self, memory: impl Into<Cow<'a, [u8]>>, size: usize) -> Cow<'a, [u8]> {
        let memory = memory.into();
        if !self.has_gaps() {
            return memory;
        }
        let mut rows = Vec::with_capacity(self.elements() * size);
        for range in self.ranges() {
            rows.extend(memory.get(range.start * size..range.end * size).unwrap_or_default());
        }
        Cow::Owned(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_spread_and_gathered_again() {
        let rows = Rows::strided(3, 2, 5);
        assert_eq!((rows.elements(), rows.span()), (6, 12));
        assert_eq!(rows.gaps().collect::<Vec<_>>(), [2..5, 7..10]);
        let memory = rows.spread(&[1, 2, 3, 4, 5, 6], 1, 9);
        assert_eq!(*memory, [1, 2, 9, 9, 9, 3, 4, 9, 9, 9, 5, 6]);
        assert_eq!(*rows.gather(memory, 1), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn without_elements_there_is_nothing_and_one_row_has_no_gap() {
        for rows in [Rows::strided(0, 4, 8), Rows::strided(4, 0, 8), Rows::dense(0)] {
            assert_eq!((rows.elements(), rows.span(), rows.has_gaps()), (0, 0, false));
        }
        let one = Rows::strided(1, 4, 8);
        assert_eq!((one.span(), one.has_gaps(), one.gaps().count()), (4, false, 0));
        assert!(!Rows::strided(3, 4, 4).has_gaps());
    }
}
