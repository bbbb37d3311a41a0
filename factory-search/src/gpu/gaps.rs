//! What lies between the rows of tensors on the device: nobody's, like the bands around them.
//!
//! Before a launch it holds what bands hold, whatever the poison of the rows, so that a digest of a whole tensor changes when
//! somebody writes there; that it still held it after the launches that digests are compared with is looked at once.

use factory_spec::{Arg, BoundSpec, Rows, SizeValues};

use super::device::{Buffer, Gpu};
use super::driver::DriverError;
use super::helpers::Range;
use super::kernels::Table;
use super::memory::BAND;
use super::stage::BAND_WORD;

/// The gaps of a tensor, in bytes: `count` of them, each `width` wide and `pitch` behind the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gaps {
    first: usize,
    width: usize,
    pitch: usize,
    count: usize,
}

impl Gaps {
    /// Those of an argument; `None` where it has none.
    pub(super) fn of(spec: &BoundSpec, arg: &Arg, sizes: &SizeValues) -> Option<Gaps> {
        let (rows, size) = (spec.rows(arg, sizes), arg.dtype.size());
        let Rows { count, length, stride } = rows;
        rows.has_gaps().then(|| Gaps {
            first: length * size,
            width: (stride - length) * size,
            pitch: stride * size,
            count: count - 1,
        })
    }

    /// Queues writing what bands hold into the gaps of the tensor at this address.
    pub(super) fn fill(&self, gpu: &Gpu, address: u64) -> Result<(), DriverError> {
        let from = address + self.first as u64;
        // SAFETY: the gaps lie inside the tensor, and the stream is of this context.
        unsafe { gpu.driver.fill_rows(from, self.pitch, BAND, self.width, self.count, gpu.stream) }
    }

    /// Whether the gaps of the tensor at this address hold it. Waits for what is queued.
    pub(super) fn intact(&self, gpu: &Gpu, address: u64) -> Result<bool, DriverError> {
        let bytes = self.width * self.count;
        let together = Buffer::new(gpu, bytes)?;
        gpu.gather((address + self.first as u64, together.address), bytes, self.width, self.pitch)?;
        let table = Table::new(gpu, &[Range { address: together.address, bytes, pattern: BAND_WORD }])?;
        Ok(table.strays(gpu)?.iter().all(|count| *count == 0))
    }

    /// The first byte of a tensor's memory that is in a gap and does not hold it.
    pub(super) fn first_stray(&self, memory: &[u8]) -> Option<usize> {
        let starts = (0..self.count).map(|gap| self.first + gap * self.pitch);
        let mut bytes = starts.flat_map(|start| start..start + self.width);
        bytes.find(|byte| memory.get(*byte).is_some_and(|value| *value != BAND))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use factory_spec::Spec;

    use super::*;

    #[test]
    fn gaps_lie_behind_every_row_but_the_last() {
        let text = "[kernel]\nname = \"k\"\n[sizes]\nm = {}\nn = {}\ns = {}\n\
            [[arg]]\nname = \"x\"\ndtype = \"bf16\"\nshape = [\"m\", \"n\"]\n\
            [[arg]]\nname = \"y\"\ndtype = \"bf16\"\nshape = [\"m\", \"n\"]\nrow_stride = \"s\"\nrole = \"out\"\n\
            [reference]\nprogram = \"y = x\"\n";
        let spec = Spec::parse(std::path::Path::new("test.toml"), text).expect("a spec");
        let spec = spec.bind(&BTreeMap::new()).expect("no types to bind");
        let sizes = |m, s| {
            spec.size_values(&BTreeMap::from([("m".to_owned(), m), ("n".to_owned(), 2), ("s".to_owned(), s)]))
        };
        let of = |arg: usize, m, s| Gaps::of(&spec, &spec.args[arg], &sizes(m, s).expect("sizes"));
        assert_eq!(of(1, 3, 5), Some(Gaps { first: 4, width: 6, pitch: 10, count: 2 }));
        assert_eq!((of(0, 3, 5), of(1, 1, 5), of(1, 3, 2)), (None, None, None));
        let gaps = of(1, 3, 5).expect("it has some");
        let rows = spec.rows(&spec.args[1], &sizes(3, 5).expect("sizes"));
        let mut memory = rows.spread(&[7; 12], 2, BAND).into_owned();
        assert_eq!(gaps.first_stray(&memory), None);
        memory[15] = 0;
        assert_eq!(gaps.first_stray(&memory), Some(15));
    }
}
