//! Buffers that a timed candidate rotates over.

use factory_spec::{BoundSpec, SizeValues};

use super::device::{Buffer, Gpu, Trouble};
use super::driver::DriverError;
use super::figures::Rotation;
use super::gaps::Gaps;
use super::helpers::Range;
use super::kernels::Table;
use super::memory::{Access, Room};
use super::poison::Poison;
use super::secret::Stream;
use super::stage::BAND_WORD;
use super::truth::Truth;
use crate::launch::Bindings;

/// Share of the free memory that sets may take.
const MEMORY_SHARE: f64 = 0.8;
/// What a tensor is aligned to.
const ALIGNMENT: usize = 256;
/// The band between two tensors: from one to so many times the alignment, drawn anew for each, so that nobody can tell from
/// one address where the next set lies.
const BAND_STEPS: usize = 16;

/// One complete set of arguments.
pub(super) struct Set {
    pub(super) bindings: Bindings,
    /// By position of the argument; `None` for scalars.
    tensors: Vec<Option<Tensor>>,
}

/// Where a tensor lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tensor {
    pub(super) address: u64,
    pub(super) bytes: usize,
}

/// An output as one run left it.
pub(super) struct Kept {
    arg: usize,
    tensor: Tensor,
    copy: Buffer,
}

/// All sets at some sizes, in two rooms: what is only read, which nobody may write while candidates run, and what is
/// written. Tensors lie in random order with bands between them.
pub(super) struct Sets {
    pub(super) sets: Vec<Set>,
    pub(super) rotation: Rotation,
    read: Option<Room>,
    inputs: Table,
    outputs: Table,
    bands: Table,
    /// The argument that each band follows, in the order of the table.
    band_names: Vec<String>,
    /// What lies between the rows of each argument, by position.
    gaps: Vec<Option<Gaps>>,
    seed: u64,
    /// Key of the digests.
    key: u64,
    driver: &'static super::driver::Driver,
    // Held for what lies in it.
    _written: Option<Room>,
}

/// Places for tensors in one room.
struct Layout {
    /// Set, argument, offset, bytes.
    tensors: Vec<(usize, usize, usize, usize)>,
    bytes: usize,
}

/// Lays tensors out in random order with a band of random length before each and one at the end.
fn lay_out(mut wanted: Vec<(usize, usize, usize)>, random: &mut Stream) -> Layout {
    random.shuffle(&mut wanted);
    let band = |random: &mut Stream| ALIGNMENT * (1 + random.below(BAND_STEPS));
    let mut at = band(random);
    let mut tensors = Vec::new();
    for (set, arg, bytes) in wanted {
        tensors.push((set, arg, at, bytes));
        // A whole word more, so that random data may be written in words.
        at = (at + bytes + 4).next_multiple_of(ALIGNMENT) + band(random);
    }
    Layout { tensors, bytes: at }
}

impl Sets {
    pub(super) fn new(
        gpu: &Gpu,
        spec: &BoundSpec,
        sizes: &SizeValues,
        seed: u64,
        window_bytes: usize,
    ) -> Result<Sets, Trouble> {
        let length = |arg: &factory_spec::Arg| spec.span(arg, sizes) * arg.dtype.size();
        let room_of = |bytes: usize| bytes.next_multiple_of(ALIGNMENT) + ALIGNMENT * (BAND_STEPS / 2 + 1);
        // What lies between rows is not touched, and keeps nothing out of the L2.
        let touched = |arg: &factory_spec::Arg| spec.elements(arg, sizes) * arg.dtype.size();
        let of_set: usize = spec.args.iter().filter(|arg| !arg.scalar).map(touched).sum();
        let with_bands: usize =
            spec.args.iter().filter(|arg| !arg.scalar).map(|arg| room_of(length(arg))).sum();
        let free = (gpu.free_bytes()? as f64 * MEMORY_SHARE) as usize;
        // Bands and gaps take memory and are never touched: what the sets hold is what counts.
        let free = (free as f64 * of_set.max(1) as f64 / with_bands.max(1) as f64) as usize;
        let rotation = Rotation::new(of_set, gpu.l2_bytes, free, window_bytes);
        let mut random = Stream(super::secret::draw());
        let wanted = |written: bool| -> Vec<(usize, usize, usize)> {
            (0..rotation.sets)
                .flat_map(|set| {
                    let args = spec.args.iter().enumerate();
                    args.filter(move |(_, arg)| !arg.scalar && arg.role.writes() == written)
                        .map(move |(index, arg)| (set, index, length(arg)))
                })
                .collect()
        };
        let mut sets: Vec<Set> = (0..rotation.sets)
            .map(|_| Set { bindings: Bindings::default(), tensors: vec![None; spec.args.len()] })
            .collect();
        let mut bands: Vec<Range> = Vec::new();
        let mut band_names = Vec::new();
        let mut rooms = Vec::new();
        for written in [false, true] {
            let layout = lay_out(wanted(written), &mut random);
            if layout.tensors.is_empty() {
                rooms.push(None);
                continue;
            }
            let room = Room::new(gpu, layout.bytes)?;
            let mut last = (room.address, "the first of all".to_owned());
            for (set, arg, offset, bytes) in layout.tensors {
                let address = room.address + offset as u64;
                bands.push(Range { address: last.0, bytes: (address - last.0) as usize, pattern: BAND_WORD });
                band_names.push(last.1);
                last = (address + bytes as u64, spec.args[arg].name.clone());
                sets[set].bindings.pointers.insert(spec.args[arg].name.clone(), address);
                sets[set].tensors[arg] = Some(Tensor { address, bytes });
            }
            let end = room.address + room.bytes as u64;
            // At least the band that the layout has; at most the rest of the last page.
            bands.push(Range { address: last.0, bytes: (end - last.0) as usize, pattern: BAND_WORD });
            band_names.push(last.1);
            rooms.push(Some(room));
        }
        for set in &mut sets {
            for arg in spec.args.iter().filter(|arg| arg.scalar) {
                let mut bytes = Vec::new();
                arg.dtype.encode(&[scalar(arg)], &mut bytes);
                set.bindings.scalars.insert(arg.name.clone(), bytes);
            }
        }
        let ranges = |written: bool| -> Vec<Range> {
            sets.iter()
                .flat_map(|set| spec.args.iter().zip(&set.tensors))
                .filter(|(arg, _)| arg.role.writes() == written)
                .filter_map(|(_, tensor)| tensor.map(|tensor| (tensor.address, tensor.bytes)))
                .map(|(address, bytes)| Range { address, bytes, pattern: 0 })
                .collect()
        };
        let (inputs, outputs) = (Table::new(gpu, &ranges(false))?, Table::new(gpu, &ranges(true))?);
        let bands = Table::new(gpu, &bands)?;
        let written = rooms.pop().flatten();
        let read = rooms.pop().flatten();
        let mut this = Sets {
            sets,
            rotation,
            read,
            inputs,
            outputs,
            bands,
            band_names,
            gaps: spec.args.iter().map(|arg| Gaps::of(spec, arg, sizes)).collect(),
            seed,
            key: 0,
            driver: gpu.driver,
            _written: written,
        };
        this.reseed(gpu, spec, seed)?;
        Ok(this)
    }

    /// New data in every input, and a new key.
    pub(super) fn reseed(&mut self, gpu: &Gpu, spec: &BoundSpec, seed: u64) -> Result<(), DriverError> {
        self.seed = seed;
        self.key = super::secret::draw();
        gpu.wait()?;
        if let Some(read) = &self.read {
            read.protect(Access::ReadWrite)?;
        }
        self.refresh(gpu, spec, true)?;
        // Random data comes in words, which may reach a few bytes into a band.
        self.bands.poison(gpu)?;
        gpu.wait()?;
        if let Some(read) = &self.read {
            read.protect(Access::Read)?;
        }
        Ok(())
    }

    /// Puts data into what is read and written; with `inputs`, also into what is only read.
    fn refresh(&self, gpu: &Gpu, spec: &BoundSpec, inputs: bool) -> Result<(), DriverError> {
        let mut reaches = false;
        for (number, set) in self.sets.iter().enumerate() {
            for (index, (arg, tensor)) in spec.args.iter().zip(&set.tensors).enumerate() {
                let Some(tensor) = tensor else { continue };
                if arg.role.reads() && (inputs || arg.role.writes()) {
                    let seed = self.seed ^ ((number as u64) << 32) ^ ((index as u64 + 1) << 56);
                    gpu.fill_random(tensor.address, tensor.bytes.next_multiple_of(4), arg.dtype, seed)?;
                    reaches |= tensor.bytes % 4 != 0 && !inputs;
                    self.fill_gaps(gpu, index, *tensor)?;
                }
            }
        }
        if reaches {
            self.bands.poison(gpu)?;
        }
        Ok(())
    }

    /// Before a window: outputs hold poison, what is read and written holds its old data again.
    pub(super) fn poison(
        &self,
        gpu: &Gpu,
        spec: &BoundSpec,
        poison: Poison,
        random: &mut Stream,
    ) -> Result<(), DriverError> {
        for set in &self.sets {
            for (index, (arg, tensor)) in spec.args.iter().zip(&set.tensors).enumerate() {
                let Some(tensor) = tensor else { continue };
                if arg.role.writes() && !arg.role.reads() {
                    gpu.poison_range(tensor.address, tensor.bytes, poison.word(arg.dtype, random.next()))?;
                    self.fill_gaps(gpu, index, *tensor)?;
                }
            }
        }
        self.refresh(gpu, spec, false)
    }

    fn fill_gaps(&self, gpu: &Gpu, index: usize, tensor: Tensor) -> Result<(), DriverError> {
        self.gaps[index].map_or(Ok(()), |gaps| gaps.fill(gpu, tensor.address))
    }

    /// The first output between whose rows somebody wrote, in any set.
    pub(super) fn torn(&self, gpu: &Gpu, spec: &BoundSpec) -> Result<Option<String>, DriverError> {
        for set in &self.sets {
            for (index, tensor) in set.tensors.iter().enumerate() {
                let (Some(gaps), Some(tensor)) = (self.gaps[index], tensor) else { continue };
                if spec.args[index].role.writes() && !gaps.intact(gpu, tensor.address)? {
                    return Ok(Some(spec.args[index].name.clone()));
                }
            }
        }
        Ok(None)
    }

    /// Digests of the tensors of each set, in order: outputs, or inputs that nothing may write.
    pub(super) fn fingerprints(&self, gpu: &Gpu, outputs: bool) -> Result<Vec<u64>, DriverError> {
        if outputs { self.outputs.digests(gpu, self.key) } else { self.inputs.digests(gpu, self.key) }
    }

    /// A copy of every output of every set, for candidates whose outputs may differ from run to run.
    pub(super) fn keep(&self, gpu: &Gpu, spec: &BoundSpec) -> Result<Vec<Kept>, DriverError> {
        let mut kept = Vec::new();
        for set in &self.sets {
            for (arg, tensor) in set.tensors.iter().enumerate() {
                let Some(tensor) = tensor.filter(|_| spec.args[arg].role.writes()) else { continue };
                let copy = Buffer::new(gpu, tensor.bytes)?;
                // SAFETY: both have that many bytes, and the stream is of this context.
                unsafe { gpu.driver.copy(copy.address, tensor.address, tensor.bytes, gpu.stream) }?;
                kept.push(Kept { arg, tensor, copy });
            }
        }
        gpu.wait()?;
        Ok(kept)
    }

    /// The position of the first output that is further from its copy than the limits allow. Those without limits have to be
    /// the same, which `differing` says.
    pub(super) fn strayed(
        gpu: &Gpu,
        spec: &BoundSpec,
        kept: &[Kept],
        truth: &Truth,
        differing: &[bool],
    ) -> Result<Option<usize>, DriverError> {
        let counts = Buffer::new(gpu, kept.len() * 8)?;
        // SAFETY: the range is the whole allocation, and the stream is of this context.
        unsafe { gpu.driver.fill(counts.address, 0, counts.bytes.max(8), gpu.stream) }?;
        let mut wrong = vec![false; kept.len()];
        for (position, one) in kept.iter().enumerate() {
            match truth.limits(one.arg) {
                Some((kind, relative, absolute)) => {
                    let pair = (one.tensor.address, one.copy.address);
                    let elements = one.tensor.bytes / spec.args[one.arg].dtype.size();
                    let into = counts.address + (position * 8) as u64;
                    gpu.differ(pair, elements, kind, (relative, absolute), into)?;
                }
                None => wrong[position] = differing.get(position).copied().unwrap_or(true),
            }
        }
        gpu.wait()?;
        let mut bytes = vec![0; counts.bytes];
        counts.download(0, &mut bytes)?;
        let counted = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word) != 0);
        Ok(counted.zip(wrong).position(|(counted, wrong)| counted || wrong))
    }

    /// The argument behind which a band was written to, if any was.
    pub(super) fn strays(&self, gpu: &Gpu) -> Result<Option<String>, DriverError> {
        let counts = self.bands.strays(gpu)?;
        let first = counts.iter().position(|count| *count != 0);
        Ok(first.and_then(|index| self.band_names.get(index)).cloned())
    }

    /// Puts the bands back, after somebody wrote to them.
    pub(super) fn mend(&self, gpu: &Gpu) -> Result<(), DriverError> {
        let writable = |access| self.read.as_ref().map_or(Ok(()), |read| read.protect(access));
        gpu.wait()?;
        writable(Access::ReadWrite)?;
        self.bands.poison(gpu)?;
        gpu.wait()?;
        writable(Access::Read)
    }

    /// Name of the output whose fingerprint stands at this position.
    pub(super) fn output_at(spec: &BoundSpec, position: usize) -> String {
        let names: Vec<&str> =
            spec.outputs().filter(|(_, arg)| !arg.scalar).map(|(_, arg)| arg.name.as_str()).collect();
        names.get(position % names.len().max(1)).copied().unwrap_or_default().to_owned()
    }

    /// Where an argument of the first set lies.
    pub(super) fn tensor(&self, index: usize) -> Option<Tensor> {
        self.sets[0].tensors[index]
    }

    /// The bytes from an address in one of the tensors on.
    pub(super) fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), DriverError> {
        // SAFETY: the range lies in a tensor of these sets, and the slice is alive.
        unsafe { self.driver.download(bytes.as_mut_ptr().cast(), from, bytes.len()) }
    }
}

/// The value that a timed scalar has.
pub(super) fn scalar(arg: &factory_spec::Arg) -> f64 {
    arg.values.first().copied().unwrap_or(if arg.dtype.is_float() { 0.5 } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_lie_apart_in_an_order_that_changes() {
        let wanted: Vec<(usize, usize, usize)> = (0..40).map(|set| (set, set % 3, 1000 + set)).collect();
        let layout = lay_out(wanted.clone(), &mut Stream(1));
        let mut end = 0;
        let mut gaps = std::collections::BTreeSet::new();
        for (_, _, offset, bytes) in &layout.tensors {
            assert!(offset % ALIGNMENT == 0 && *offset >= end + ALIGNMENT, "a band before each");
            gaps.insert(offset - end);
            end = offset + bytes;
        }
        assert!(layout.bytes >= end + ALIGNMENT, "and one behind the last");
        assert!(gaps.len() > 8, "bands of many lengths: {gaps:?}");
        let mut sets: Vec<(usize, usize, usize)> =
            layout.tensors.iter().map(|(set, arg, _, bytes)| (*set, *arg, *bytes)).collect();
        assert_ne!(sets, wanted);
        sets.sort_unstable();
        assert_eq!(sets, wanted, "each once");
        let other = lay_out(wanted, &mut Stream(2));
        assert_ne!(other.tensors, layout.tensors);
    }
}
