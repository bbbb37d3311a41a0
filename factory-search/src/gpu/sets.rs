//! Buffers that a timed candidate rotates over, and what is right in them.

use std::collections::BTreeMap;

use factory_spec::draw::Case;
use factory_spec::oracle::{self, Inputs, Outputs};
use factory_spec::tolerance::{self, Tolerances};
use factory_spec::{ArgId, BoundSpec, Op, Reference, SizeId, SizeKind, SizeValues, compare};

use super::device::{Buffer, Gpu, Trouble};
use super::driver::DriverError;
use crate::launch::{self, Bindings};
use crate::model::with_size;
use crate::verdict::Reason;

/// Least bytes that all sets have together, in multiples of L2.
const ROTATION: usize = 4;
/// Most sets: a window of so many short kernels is long enough for the events around it.
const MOST_SETS: usize = 128;
/// Bytes that a window of short kernels moves at least: about half a millisecond of an H200.
const WINDOW_BYTES: usize = 2 << 30;
/// Share of the free memory that sets may take.
const MEMORY_SHARE: f64 = 0.8;
/// Elements of all tensors of one window of rows that the oracle evaluates.
const WINDOW_ELEMENTS: usize = 1 << 20;

/// One complete set of arguments.
pub(super) struct Set {
    pub(super) bindings: Bindings,
    /// By position of the argument; `None` for scalars.
    tensors: Vec<Option<Buffer>>,
}

/// All sets at some sizes.
pub(super) struct Sets {
    pub(super) sets: Vec<Set>,
    /// Whether a set is cold when its turn comes again.
    pub(super) cold: bool,
    seed: u64,
}

impl Sets {
    pub(super) fn new(gpu: &Gpu, spec: &BoundSpec, sizes: &SizeValues, seed: u64) -> Result<Sets, Trouble> {
        let bytes_of = |index: usize| {
            let arg = &spec.args[index];
            (spec.elements(arg, sizes) * arg.dtype.size()).next_multiple_of(256)
        };
        let of_set: usize = (0..spec.args.len()).filter(|&i| !spec.args[i].scalar).map(bytes_of).sum();
        let of_set = of_set.max(256);
        let free = (gpu.free_bytes()? as f64 * MEMORY_SHARE) as usize;
        // Scratch and a copy of the outputs need room as well.
        let fits = (free.saturating_sub(of_set) / of_set).max(1);
        let cold = (ROTATION * gpu.l2_bytes).div_ceil(of_set) + 1;
        let wanted = cold.max(WINDOW_BYTES.div_ceil(of_set)).max(2);
        let count = wanted.min(MOST_SETS.max(cold.min(1024))).min(fits);
        let mut sets = Vec::new();
        for _ in 0..count {
            let mut bindings = Bindings::default();
            let mut tensors = Vec::new();
            for (index, arg) in spec.args.iter().enumerate() {
                if arg.scalar {
                    let mut bytes = Vec::new();
                    arg.dtype.encode(&[scalar(arg)], &mut bytes);
                    bindings.scalars.insert(arg.name.clone(), bytes);
                    tensors.push(None);
                    continue;
                }
                let buffer = Buffer::new(gpu, bytes_of(index))?;
                bindings.pointers.insert(arg.name.clone(), buffer.address);
                tensors.push(Some(buffer));
            }
            sets.push(Set { bindings, tensors });
        }
        let this = Sets { cold: count * of_set > ROTATION * gpu.l2_bytes, sets, seed };
        this.refresh(gpu, spec, true)?;
        Ok(this)
    }

    /// New data in every input.
    pub(super) fn reseed(&mut self, gpu: &Gpu, spec: &BoundSpec, seed: u64) -> Result<(), DriverError> {
        self.seed = seed;
        self.refresh(gpu, spec, true)
    }

    /// Puts data into what is read and written; with `inputs`, also into what is only read.
    fn refresh(&self, gpu: &Gpu, spec: &BoundSpec, inputs: bool) -> Result<(), DriverError> {
        for (number, set) in self.sets.iter().enumerate() {
            for (index, (arg, buffer)) in spec.args.iter().zip(&set.tensors).enumerate() {
                let Some(buffer) = buffer else { continue };
                if arg.role.reads() && (inputs || arg.role.writes()) {
                    let seed = self.seed ^ ((number as u64) << 32) ^ ((index as u64 + 1) << 56);
                    gpu.fill_random(buffer.address, buffer.bytes, arg.dtype, seed)?;
                }
            }
        }
        gpu.wait()
    }

    /// Before a window: outputs hold poison, what is read and written holds its old data again.
    pub(super) fn poison(&self, gpu: &Gpu, spec: &BoundSpec, poison: u8) -> Result<(), DriverError> {
        for set in &self.sets {
            for (arg, buffer) in spec.args.iter().zip(&set.tensors) {
                let Some(buffer) = buffer else { continue };
                if arg.role.writes() && !arg.role.reads() {
                    // SAFETY: the range is the whole allocation, and the stream is of this context.
                    unsafe { gpu.driver.fill(buffer.address, poison, buffer.bytes, gpu.stream) }?;
                }
            }
        }
        self.refresh(gpu, spec, false)
    }

    /// Fingerprints of the tensors of each set, in order: outputs, or inputs that nothing may write.
    pub(super) fn fingerprints(
        &self,
        gpu: &Gpu,
        spec: &BoundSpec,
        outputs: bool,
    ) -> Result<Vec<u64>, DriverError> {
        let wanted = |arg: &factory_spec::Arg| arg.role.writes() == outputs;
        let of_set = spec.args.iter().filter(|arg| !arg.scalar && wanted(arg)).count();
        let results = Buffer::new(gpu, self.sets.len() * of_set * 8)?;
        // SAFETY: the range is the whole allocation, and the stream is of this context.
        unsafe { gpu.driver.fill(results.address, 0, results.bytes.max(8), gpu.stream) }?;
        let mut slot = results.address;
        for set in &self.sets {
            for (arg, buffer) in spec.args.iter().zip(&set.tensors) {
                let Some(buffer) = buffer else { continue };
                if wanted(arg) {
                    gpu.fingerprint(buffer.address, buffer.bytes, slot)?;
                    slot += 8;
                }
            }
        }
        gpu.wait()?;
        let mut bytes = vec![0; results.bytes];
        results.download(0, &mut bytes)?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }

    /// Name of the output whose fingerprint stands at this position.
    pub(super) fn output_at(spec: &BoundSpec, position: usize) -> String {
        let names: Vec<&str> =
            spec.outputs().filter(|(_, arg)| !arg.scalar).map(|(_, arg)| arg.name.as_str()).collect();
        names.get(position % names.len().max(1)).copied().unwrap_or_default().to_owned()
    }

    fn tensor(&self, index: usize) -> Option<&Buffer> {
        self.sets[0].tensors[index].as_ref()
    }
}

/// The value that a timed scalar has.
fn scalar(arg: &factory_spec::Arg) -> f64 {
    arg.values.first().copied().unwrap_or(if arg.dtype.is_float() { 0.5 } else { 1.0 })
}

/// How far elements may differ: the kind of comparison, the relative and the absolute bound.
type Limits = (u32, f64, f64);

/// What is right in the first set at the timed sizes.
pub(super) struct Truth {
    windows: Vec<Window>,
    /// Outputs of the first candidate that agreed with the windows, by argument, with bounds for every element.
    reference: Vec<(usize, Buffer, Option<Limits>)>,
}

/// Some rows, evaluated by the oracle.
struct Window {
    case: Case,
    /// First row.
    start: u64,
    /// Rows of all and of this window along the size that is cut.
    cut: Option<(SizeId, u64)>,
    expected: Outputs,
    tolerances: Tolerances,
}

impl Truth {
    /// Evaluates the first rows, the last ones and some between, on the data that is on the device.
    pub(super) fn new(
        gpu: &Gpu,
        spec: &BoundSpec,
        sizes: &SizeValues,
        sets: &Sets,
        seed: u64,
    ) -> Result<Truth, Trouble> {
        let total: usize =
            spec.args.iter().filter(|arg| !arg.scalar).map(|arg| spec.elements(arg, sizes)).sum();
        let mut windows = Vec::new();
        if let Some(size) = separable(spec).filter(|_| total > WINDOW_ELEMENTS) {
            let SizeKind::Free { min, multiple_of, .. } = spec.size(size).kind else {
                return Err(unknown(spec, sizes).into());
            };
            let all = sizes[size];
            let rows = (WINDOW_ELEMENTS as u64 * all / total as u64).clamp(1, 64);
            let rows = rows.max(min).next_multiple_of(multiple_of.max(1)).min(all);
            let small = with_size(spec, sizes, size, rows).ok_or_else(|| unknown(spec, sizes))?;
            let between = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) % (all - rows + 1);
            for start in [0, between, all - rows] {
                windows.push(Window::new(spec, sets, small.clone(), start, Some((size, rows)), seed)?);
            }
        } else if total <= 64 * WINDOW_ELEMENTS {
            windows.push(Window::new(spec, sets, sizes.clone(), 0, None, seed)?);
        } else {
            return Err(unknown(spec, sizes).into());
        }
        let _ = gpu;
        Ok(Truth { windows, reference: Vec::new() })
    }

    /// Checks what a candidate wrote into the first set: windows against the oracle, every element against the first
    /// candidate that passed.
    pub(super) fn check(
        &mut self,
        gpu: &Gpu,
        spec: &BoundSpec,
        sizes: &SizeValues,
        sets: &Sets,
    ) -> Result<(), Trouble> {
        for window in &self.windows {
            let mut outputs = Vec::new();
            for (id, _) in spec.outputs() {
                outputs.push(window.bytes(spec, sets, id.index())?);
            }
            let slices: Vec<&[u8]> = outputs.iter().map(Vec::as_slice).collect();
            compare::compare(spec, &window.case, &window.expected, &slices, &window.tolerances).map_err(
                |mismatch| Reason::Mismatch {
                    sizes: format!("{} from row {}", launch::label(spec, sizes), window.start),
                    message: mismatch.to_string(),
                },
            )?;
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
            let elements = spec.elements(arg, sizes);
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

    /// Keeps the first set's outputs as the reference of the candidates to come.
    fn keep(&mut self, gpu: &Gpu, spec: &BoundSpec, sizes: &SizeValues, sets: &Sets) -> Result<(), Trouble> {
        let bounds = tolerance::tolerances(spec, sizes);
        for (id, arg) in spec.outputs() {
            let Some(buffer) = sets.tensor(id.index()) else { continue };
            let copy = Buffer::new(gpu, buffer.bytes)?;
            // SAFETY: both allocations have that many bytes, and the stream is of this context.
            unsafe { gpu.driver.copy(copy.address, buffer.address, buffer.bytes, gpu.stream) }?;
            let stated = bounds.0.get(&id).and_then(|bound| bound.max_relative).unwrap_or(0.0);
            // Two right answers may each be off by the bound, in either direction.
            let relative = 2.0 * stated.max(8.0 * arg.dtype.epsilon());
            let square: f64 = self.windows.iter().map(|window| window.mean_square(id)).fold(0.0, f64::max);
            let limits =
                super::helpers::differ_kind(arg.dtype).map(|kind| (kind, relative, relative * square.sqrt()));
            self.reference.push((id.index(), copy, limits));
        }
        Ok(gpu.wait()?)
    }
}

fn unknown(spec: &BoundSpec, sizes: &SizeValues) -> Reason {
    Reason::Infrastructure {
        message: format!(
            "what is right at {} is too large for the oracle, and no size can be cut into independent parts",
            launch::label(spec, sizes)
        ),
    }
}

impl Window {
    fn new(
        spec: &BoundSpec,
        sets: &Sets,
        sizes: SizeValues,
        start: u64,
        cut: Option<(SizeId, u64)>,
        seed: u64,
    ) -> Result<Window, Trouble> {
        let oracle =
            |error: oracle::OracleError| Reason::Infrastructure { message: format!("the oracle: {error}") };
        let case = crate::cases::case_at(spec, sizes, seed);
        let mut window =
            Window { case, start, cut, expected: Outputs::default(), tolerances: Tolerances::default() };
        let mut inputs = BTreeMap::new();
        for (id, arg) in spec.inputs() {
            let mut values = Vec::new();
            if arg.scalar {
                values.push(arg.dtype.round(scalar(arg)));
            } else {
                arg.dtype.decode(&window.bytes(spec, sets, id.index())?, &mut values);
            }
            inputs.insert(id, values);
        }
        let inputs = Inputs(inputs);
        window.expected = oracle::evaluate(spec, &window.case.sizes, &inputs).map_err(oracle)?;
        window.tolerances =
            tolerance::tolerances_for(spec, &window.case, &inputs, &window.expected).map_err(oracle)?;
        Ok(window)
    }

    /// The bytes of an argument's rows in the first set.
    fn bytes(&self, spec: &BoundSpec, sets: &Sets, index: usize) -> Result<Vec<u8>, DriverError> {
        let arg = &spec.args[index];
        let len = spec.elements(arg, &self.case.sizes) * arg.dtype.size();
        let mut bytes = vec![0; len];
        let offset = match self.cut {
            Some((size, rows)) if arg.shape.first() == Some(&size) => {
                len / rows.max(1) as usize * self.start as usize
            }
            _ => 0,
        };
        if let Some(buffer) = sets.tensor(index) {
            buffer.download(offset, &mut bytes)?;
        }
        Ok(bytes)
    }

    fn mean_square(&self, id: ArgId) -> f64 {
        let values = self.expected.get(id).unwrap_or_default();
        let finite = values.iter().filter(|value| value.is_finite());
        finite.map(|value| value * value).sum::<f64>() / values.len().max(1) as f64
    }
}

/// A size along which the outputs fall into independent parts: outermost wherever it occurs, in every output, and not
/// reduced over, counted or asked for by the program.
pub(super) fn separable(spec: &BoundSpec) -> Option<SizeId> {
    let Reference::Program(program) = &spec.reference else { return None };
    (0..spec.sizes.len()).map(|index| SizeId(index as u32)).find(|id| {
        let free = matches!(spec.size(*id).kind, SizeKind::Free { .. });
        let shapes = spec.args.iter().filter(|arg| !arg.scalar).all(|arg| {
            let times = arg.shape.iter().filter(|size| *size == id).count();
            match arg.role.writes() {
                true => times == 1 && arg.shape.first() == Some(id),
                false => times == 0 || (times == 1 && arg.shape.first() == Some(id)),
            }
        });
        let name = &spec.size(*id).name;
        let derived = spec.sizes.iter().any(
            |size| matches!(&size.kind, SizeKind::Derived(expression) if expression.names().contains(name)),
        );
        let nodes = program.nodes.iter().all(|node| match &node.op {
            Op::Reduce { over, .. } => !over.contains(id),
            Op::Iota(size) | Op::Size(size) => size != id,
            _ => true,
        });
        free && shapes && !derived && nodes
    })
}
