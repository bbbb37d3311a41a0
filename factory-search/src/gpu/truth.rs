//! What is right at sizes that are timed.
//!
//! Not all of it can be evaluated where tensors hold millions of elements. So the oracle evaluates windows, on the data that
//! candidates read, and what the first candidate left that agrees with them is what all others are compared with, element by
//! element.

use std::collections::BTreeSet;

use factory_spec::{BoundSpec, SizeId, SizeKind, SizeValues, tolerance};
use serde_bytes::ByteBuf;

use super::cuts::{Cut, cuts};
use super::device::{Buffer, Gpu, Trouble};
use super::driver::DriverError;
use super::judge::{Judge, WindowInputs, WindowOutputs};
use super::secret::Stream;
use super::sets::Sets;
use crate::launch;
use crate::model::with_size;
use crate::verdict::Reason;

/// Windows along each size that is cut, and elements of all tensors in them together, about.
const WINDOWS: usize = 6;
const WINDOW_ELEMENTS: usize = 1 << 20;
/// Elements of all tensors that one evaluation of the oracle may have.
const MOST_ELEMENTS: usize = 64 * WINDOW_ELEMENTS;

/// How far elements may differ: the kind of comparison, the relative and the absolute bound.
type Limits = (u32, f64, f64);

/// What is right in the first set at the timed sizes.
pub(super) struct Truth {
    windows: Vec<Window>,
    /// Outputs of the first candidate that agreed with the windows, by argument, with bounds for every element.
    reference: Vec<(usize, Buffer, Option<Limits>)>,
    /// Digests of the first set's outputs that were found right: candidates that add in the same order leave the same bits.
    right: BTreeSet<Vec<u64>>,
}

/// Some of it, which the judge has evaluated.
struct Window {
    /// Its number for the judge.
    number: usize,
    sizes: SizeValues,
    /// Where it lies; `None`: it is everything.
    part: Option<Part>,
    /// For each output whether it tells what is right there.
    told: Vec<bool>,
    /// Mean square of each output.
    squares: Vec<f64>,
}

/// A part along one size.
struct Part {
    size: SizeId,
    /// The size as a whole.
    all: u64,
    start: u64,
    length: u64,
}

impl Truth {
    /// Evaluates the first parts, the last ones and some between, at places that the system draws, on the data that is on the
    /// device. Where there is too much of it for the oracle, the parts are those of [`cuts`].
    pub(super) fn new(
        gpu: &Gpu,
        spec: &BoundSpec,
        sizes: &SizeValues,
        sets: &Sets,
        seed: u64,
        judge: &dyn Judge,
    ) -> Result<Truth, Trouble> {
        let total = spec.elements_of_all(sizes);
        let mut windows: Vec<Window> = Vec::new();
        let mut open = |sizes: SizeValues, part: Option<Part>, told: Vec<bool>| -> Result<(), Trouble> {
            if spec.elements_of_all(&sizes) > MOST_ELEMENTS {
                return Err(unknown(spec, &sizes).into());
            }
            let window = Window { number: windows.len(), sizes, part, told, squares: Vec::new() };
            windows.push(window.evaluated(gpu, spec, sets, seed, judge)?);
            Ok(())
        };
        match cuts(spec).filter(|_| total > WINDOW_ELEMENTS) {
            None => open(sizes.clone(), None, vec![true; spec.outputs().count()])?,
            Some(cuts) => {
                for Cut { size, told } in cuts {
                    let SizeKind::Free { min, multiple_of, .. } = spec.size(size).kind else {
                        return Err(unknown(spec, sizes).into());
                    };
                    let all = sizes[size];
                    let length = (WINDOW_ELEMENTS as u64 * all / total as u64 / WINDOWS as u64).max(1);
                    let length = length.max(min).next_multiple_of(multiple_of.max(1)).min(all);
                    let small = with_size(spec, sizes, size, length).ok_or_else(|| unknown(spec, sizes))?;
                    for start in starts(all, length, &mut Stream(super::secret::draw())) {
                        open(small.clone(), Some(Part { size, all, start, length }), told.clone())?;
                    }
                }
            }
        }
        Ok(Truth { windows, reference: Vec::new(), right: BTreeSet::new() })
    }

    /// Checks what a candidate wrote into the first set: windows against the oracle, every element against the first
    /// candidate that passed. `fingerprints` are digests of the outputs of all sets: what was right once is right again.
    pub(super) fn check(
        &mut self,
        gpu: &Gpu,
        spec: &BoundSpec,
        sizes: &SizeValues,
        sets: &Sets,
        fingerprints: &[u64],
        judge: &dyn Judge,
    ) -> Result<(), Trouble> {
        let first = fingerprints.iter().take(fingerprints.len() / sets.sets.len().max(1));
        let first: Vec<u64> = first.copied().collect();
        if self.right.contains(&first) {
            return Ok(());
        }
        self.compare(gpu, spec, sizes, sets, judge)?;
        // A candidate without outputs to tell apart is compared every time.
        if !first.is_empty() {
            self.right.insert(first);
        }
        Ok(())
    }

    fn compare(
        &mut self,
        gpu: &Gpu,
        spec: &BoundSpec,
        sizes: &SizeValues,
        sets: &Sets,
        judge: &dyn Judge,
    ) -> Result<(), Trouble> {
        let mut left = Vec::new();
        for window in &self.windows {
            let mut outputs = Vec::new();
            for ((id, _), told) in spec.outputs().zip(&window.told) {
                let bytes = told.then(|| window.bytes(gpu, spec, sets, id.index())).transpose()?;
                outputs.push(bytes.map(ByteBuf::from));
            }
            left.push(WindowOutputs { number: window.number, outputs });
        }
        let answers = judge.agree(left);
        if answers.len() != self.windows.len() {
            let message = format!("{} of {} windows were compared", answers.len(), self.windows.len());
            return Err(Reason::Infrastructure { message }.into());
        }
        for (window, answer) in self.windows.iter().zip(answers) {
            answer.map_err(|message| Reason::Mismatch {
                sizes: match &window.part {
                    None => launch::label(spec, sizes),
                    Some(part) => {
                        let name = &spec.size(part.size).name;
                        format!("{}, from {name} {} on", launch::label(spec, sizes), part.start)
                    }
                },
                message,
            })?;
        }
        if self.reference.is_empty() {
            return self.keep(gpu, spec, sizes, sets);
        }
        for (index, reference, bounds) in &self.reference {
            let (Some((kind, relative, absolute)), Some(buffer)) = (bounds, sets.tensor(*index)) else {
                continue;
            };
            let count = Buffer::new(gpu, 8)?;
            count.upload(0, &[0; 8])?;
            let arg = &spec.args[*index];
            let elements = spec.span(arg, sizes);
            let pair = (buffer.address, reference.address);
            gpu.differ(pair, elements, *kind, (*relative, *absolute), count.address)?;
            gpu.wait()?;
            let mut bytes = [0; 8];
            count.download(0, &mut bytes)?;
            let wrong = u64::from_le_bytes(bytes);
            if wrong > 0 {
                return Err(Reason::Mismatch {
                    sizes: launch::label(spec, sizes),
                    message: format!(
                        "{wrong} of {elements} elements of `{}` differ from another candidate's",
                        arg.name
                    ),
                }
                .into());
            }
        }
        Ok(())
    }

    /// How far elements of an output may be from each other; `None` where bits have to be equal.
    pub(super) fn limits(&self, arg: usize) -> Option<Limits> {
        self.reference.iter().find(|(index, ..)| *index == arg).and_then(|(_, _, limits)| *limits)
    }

    /// Keeps the first set's outputs as the reference of the candidates to come.
    fn keep(&mut self, gpu: &Gpu, spec: &BoundSpec, sizes: &SizeValues, sets: &Sets) -> Result<(), Trouble> {
        let bounds = tolerance::tolerances(spec, sizes);
        for (position, (id, arg)) in spec.outputs().enumerate() {
            let Some(tensor) = sets.tensor(id.index()) else { continue };
            let copy = Buffer::new(gpu, tensor.bytes)?;
            // SAFETY: both have that many bytes, and the stream is of this context.
            unsafe { gpu.driver.copy(copy.address, tensor.address, tensor.bytes, gpu.stream) }?;
            let stated = bounds.0.get(&id).and_then(|bound| bound.max_relative).unwrap_or(0.0);
            // Two right answers may each be off by the bound, in either direction.
            let relative = 2.0 * stated.max(8.0 * arg.dtype.epsilon());
            let telling = self.windows.iter().filter(|window| window.told[position]);
            let squares = telling.filter_map(|window| window.squares.get(position).copied());
            let square: f64 = squares.fold(0.0, f64::max);
            let limits =
                super::helpers::differ_kind(arg.dtype).map(|kind| (kind, relative, relative * square.sqrt()));
            self.reference.push((id.index(), copy, limits));
        }
        Ok(gpu.wait()?)
    }
}

/// Where parts of so many rows begin: at the first row, at the last ones, and anywhere between, each place once.
fn starts(all: u64, rows: u64, random: &mut Stream) -> Vec<u64> {
    let last = all.saturating_sub(rows);
    let mut found = vec![0, last];
    found.extend((2..WINDOWS).map(|_| random.next() % (last + 1)));
    found.sort_unstable();
    found.dedup();
    found
}

fn unknown(spec: &BoundSpec, sizes: &SizeValues) -> Reason {
    Reason::Infrastructure {
        message: format!(
            "what is right at {} is too large for the oracle, and some output falls into no independent parts along any size",
            launch::label(spec, sizes)
        ),
    }
}

impl Window {
    /// Has the judge evaluate what lies there on the device.
    fn evaluated(
        mut self,
        gpu: &Gpu,
        spec: &BoundSpec,
        sets: &Sets,
        seed: u64,
        judge: &dyn Judge,
    ) -> Result<Window, Trouble> {
        let mut tensors = Vec::new();
        for (id, _) in spec.inputs().filter(|(_, arg)| !arg.scalar) {
            tensors.push((id.index() as u32, ByteBuf::from(self.bytes(gpu, spec, sets, id.index())?)));
        }
        let inputs = WindowInputs { sizes: self.sizes.0.clone(), seed, tensors };
        self.squares = judge.open(self.number, &inputs)?;
        Ok(self)
    }

    /// The bytes of an argument of the first set that lie in the window.
    fn bytes(&self, gpu: &Gpu, spec: &BoundSpec, sets: &Sets, index: usize) -> Result<Vec<u8>, DriverError> {
        let strips = Strip::all(spec, index, &self.sizes, self.part.as_ref());
        let mut bytes = vec![0; strips.iter().map(|strip| strip.bytes).sum()];
        let Some(tensor) = sets.tensor(index).filter(|_| !bytes.is_empty()) else { return Ok(bytes) };
        assert!(strips.iter().all(|strip| strip.end() <= tensor.bytes), "parts lie in their tensor");
        if let [strip] = &*strips
            && strip.width == strip.bytes
        {
            sets.download(tensor.address + strip.offset as u64, &mut bytes)?;
            return Ok(bytes);
        }
        let together = Buffer::new(gpu, bytes.len())?;
        let mut into = together.address;
        for strip in &strips {
            let from = tensor.address + strip.offset as u64;
            gpu.gather((from, into), strip.bytes, strip.width, strip.pitch)?;
            into += strip.bytes as u64;
        }
        gpu.wait()?;
        together.download(0, &mut bytes)?;
        Ok(bytes)
    }
}

/// Where a part of a row-major tensor lies: `width` bytes from each `pitch` bytes on behind `offset`, `bytes` in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Strip {
    offset: usize,
    width: usize,
    pitch: usize,
    bytes: usize,
}

impl Strip {
    /// Of an argument at these sizes, those of the part, in order: one, unless its rows lie a stride apart.
    fn all(spec: &BoundSpec, index: usize, sizes: &SizeValues, part: Option<&Part>) -> Vec<Strip> {
        let arg = &spec.args[index];
        let Some(stride) = arg.row_stride.filter(|_| spec.elements(arg, sizes) > 0) else {
            return vec![Strip::new(spec, index, sizes, part)];
        };
        let (size, last) = (arg.dtype.size(), arg.shape.len() - 1);
        // The stride may follow from a size that the part has less of.
        let whole = part.and_then(|part| with_size(spec, sizes, part.size, part.all));
        let pitch = whole.as_ref().unwrap_or(sizes)[stride] as usize * size;
        let rows = |axes: std::ops::Range<usize>| -> usize {
            arg.shape[axes].iter().map(|size| sizes[*size] as usize).product()
        };
        let width = sizes[arg.shape[last]] as usize * size;
        let axis = part.and_then(|part| Some((part, arg.shape.iter().position(|size| *size == part.size)?)));
        match axis {
            None => vec![Strip { offset: 0, width, pitch, bytes: rows(0..last) * width }],
            Some((part, axis)) if axis == last => {
                vec![Strip { offset: part.start as usize * size, width, pitch, bytes: rows(0..last) * width }]
            }
            Some((part, axis)) => {
                // Rows of the part follow each other once for each index of the dimensions outside of it.
                let inner = rows(axis + 1..last);
                let bytes = part.length as usize * inner * width;
                let strip = |outer: usize| Strip {
                    offset: (outer * part.all as usize + part.start as usize) * inner * pitch,
                    width,
                    pitch,
                    bytes,
                };
                (0..rows(0..axis)).map(strip).collect()
            }
        }
    }

    /// Of an argument at these sizes, those of the part. An argument that has the cut size more than once belongs to no output
    /// that is told: any bytes will do for it.
    fn new(spec: &BoundSpec, index: usize, sizes: &SizeValues, part: Option<&Part>) -> Strip {
        let arg = &spec.args[index];
        let bytes = spec.elements(arg, sizes) * arg.dtype.size();
        let axis = part.and_then(|part| {
            let axis = arg.shape.iter().position(|size| *size == part.size)?;
            Some((part, axis))
        });
        let Some((part, axis)) = axis else { return Strip { offset: 0, width: bytes, pitch: bytes, bytes } };
        let inner: usize = arg.shape[axis + 1..].iter().map(|size| sizes[*size] as usize).product();
        let inner = inner * arg.dtype.size();
        let width = (part.length as usize * inner).min(bytes);
        Strip { offset: part.start as usize * inner, width, pitch: part.all as usize * inner, bytes }
    }

    /// The end of its last byte.
    fn end(&self) -> usize {
        let rows = self.bytes / self.width.max(1);
        self.offset + rows.saturating_sub(1) * self.pitch + self.width
    }
}

#[cfg(test)]
mod tests;
