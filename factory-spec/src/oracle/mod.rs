//! The oracle: what a kernel's outputs are, evaluated in f64.
//!
//! [`evaluate`] takes the values of every input, already rounded to its dtype, and gives what every output should be,
//! *not* rounded: how far a kernel may be off is a matter of [`tolerance`](crate::tolerance).
//!
//! A program is evaluated one reduction after another, then its outputs. Each is one pass over its iteration space in
//! blocks that stay in the cache; what is elementwise is computed where it is needed and never stored, so memory is that
//! of the inputs, the reductions and the outputs. A program with r reductions and p outputs reads its inputs at most
//! r + p times.
//!
//! What the numbers are:
//! - every operation is done in f64 and rounded once, in a fixed order: the same bits on every machine and for any number
//!   of threads. Elementary functions are this crate's own or those of `libm`, below 1e-15 of relative error;
//! - `cast` rounds to its dtype where it stands, as [`DType::round`](crate::DType::round) does;
//! - integers are held in f64, so whole numbers beyond 2^53 lose their last digits;
//! - `min` and `max` ignore NaN, as PTX does. As reductions they start from infinity and its negative, which is also
//!   what they give when all is NaN;
//! - reductions of nothing give 0 (`sum`, `any`, `argmin`, `argmax`), 1 (`prod`, `all`), NaN (`mean`), or infinity and
//!   its negative (`min`, `max`).

mod kernels;
pub(crate) mod math;
mod memory;
mod noise;
mod pass;
mod reduce;
mod threads;

use std::collections::BTreeMap;

use crate::{Arg, ArgId, BoundSpec, DType, NodeId, Op, Program, Reference, SizeId, SizeValues};
use kernels::Operand;
use memory::{Budget, count};
use noise::Noise;
use pass::{Pass, Stored};
use reduce::{Computed, Reduction};

/// The contents of every argument that is read, already rounded to its dtype; a scalar is one element.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs(pub BTreeMap<ArgId, Vec<f64>>);

/// What every argument that is written should hold, in f64: not rounded to its dtype.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs(pub BTreeMap<ArgId, Vec<f64>>);

impl Inputs {
    /// The contents of one argument.
    pub fn get(&self, arg: ArgId) -> Option<&[f64]> {
        self.0.get(&arg).map(Vec::as_slice)
    }

    /// The little-endian bytes of one argument in its dtype: what a kernel is given.
    pub fn bytes(&self, spec: &BoundSpec, arg: ArgId) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        spec.args[arg.index()].dtype.encode(self.get(arg)?, &mut bytes);
        Some(bytes)
    }
}

impl Outputs {
    /// The contents of one argument.
    pub fn get(&self, arg: ArgId) -> Option<&[f64]> {
        self.0.get(&arg).map(Vec::as_slice)
    }
}

/// How to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OracleOptions {
    /// Threads to use, at least 1; the results are the same bits for any number
    pub threads: usize,
    /// The most bytes that intermediate values and outputs may take
    pub memory_limit: u64,
}

impl Default for OracleOptions {
    /// As many threads as the machine offers, and 16 GiB.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        OracleOptions { threads, memory_limit: 16 << 30 }
    }
}

/// Why the oracle has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OracleError {
    /// An argument that is read was not given
    #[error("no values were given for the input `{arg}`")]
    MissingInput {
        /// The argument
        arg: String,
    },
    /// An argument has another number of elements than the sizes say
    #[error("`{arg}` has {given} elements, the sizes ask for {expected}")]
    InputLength {
        /// The argument
        arg: String,
        /// What the sizes ask for
        expected: u64,
        /// What was given
        given: u64,
    },
    /// Not one value a size
    #[error("{given} sizes were given, the spec has {expected}")]
    SizeCount {
        /// How many the spec has
        expected: usize,
        /// How many were given
        given: usize,
    },
    /// More memory would be needed than is allowed
    #[error(
        "`{what}` has {elements} elements, which takes the oracle past its limit of {limit} bytes; check smaller sizes or raise the limit"
    )]
    Memory {
        /// The output or the reduction
        what: String,
        /// Its elements
        elements: u64,
        /// The limit, in bytes
        limit: u64,
    },
    /// The iteration space cannot be counted
    #[error("`{what}` runs over more than 2^63 elements; check smaller sizes")]
    TooManySteps {
        /// The output or the reduction
        what: String,
    },
    /// The reference is a C function, which this build cannot compile
    #[error(
        "the reference is the C function `{function}`, which needs the feature `c-reference` of `factory-spec`"
    )]
    NeedsCReference {
        /// The function
        function: String,
    },
    /// The C reference could not be built or called
    #[cfg(feature = "c-reference")]
    #[error(transparent)]
    CReference(#[from] crate::c_reference::CReferenceError),
}

/// What the outputs are, with the default options; see [`evaluate_with`].
pub fn evaluate(spec: &BoundSpec, sizes: &SizeValues, inputs: &Inputs) -> Result<Outputs, OracleError> {
    evaluate_with(spec, sizes, inputs, &OracleOptions::default())
}

/// What the outputs are, one entry for each argument that is written, in f64 and row-major.
///
/// A C reference must be trusted code; it is compiled at its first use. It is called on one thread.
pub fn evaluate_with(
    spec: &BoundSpec,
    sizes: &SizeValues,
    inputs: &Inputs,
    options: &OracleOptions,
) -> Result<Outputs, OracleError> {
    check_inputs(spec, sizes, inputs)?;
    match &spec.reference {
        Reference::Program(program) => run(spec, program, sizes, inputs, options, None),
        #[cfg(feature = "c-reference")]
        Reference::C(reference) => {
            let mut budget = Budget::new(options.memory_limit);
            let mut outputs = Outputs::default();
            for (id, arg) in spec.outputs() {
                outputs.0.insert(id, budget.zeros(&arg.name, elements(arg, sizes)?)?);
            }
            crate::c_reference::call(spec, reference, sizes, inputs, &mut outputs)?;
            Ok(outputs)
        }
        #[cfg(not(feature = "c-reference"))]
        Reference::C(reference) => Err(OracleError::NeedsCReference { function: reference.function.clone() }),
    }
}

/// What the outputs become when every operation is off by up to `unit` of its result; nothing for a C reference.
pub(crate) fn evaluate_disturbed(
    spec: &BoundSpec,
    sizes: &SizeValues,
    inputs: &Inputs,
    unit: f64,
    seed: u64,
) -> Result<Option<Outputs>, OracleError> {
    check_inputs(spec, sizes, inputs)?;
    match &spec.reference {
        Reference::Program(program) => {
            let noise = Some(Noise { unit, seed });
            run(spec, program, sizes, inputs, &OracleOptions::default(), noise).map(Some)
        }
        Reference::C(_) => Ok(None),
    }
}

fn elements(arg: &Arg, sizes: &SizeValues) -> Result<usize, OracleError> {
    count(&arg.name, arg.shape.iter().map(|size| sizes[*size]))
}

fn check_inputs(spec: &BoundSpec, sizes: &SizeValues, inputs: &Inputs) -> Result<(), OracleError> {
    if sizes.0.len() != spec.sizes.len() {
        return Err(OracleError::SizeCount { expected: spec.sizes.len(), given: sizes.0.len() });
    }
    for (id, arg) in spec.inputs() {
        let Some(values) = inputs.get(id) else {
            return Err(OracleError::MissingInput { arg: arg.name.clone() });
        };
        let expected = elements(arg, sizes)?;
        if values.len() != expected {
            return Err(OracleError::InputLength {
                arg: arg.name.clone(),
                expected: expected as u64,
                given: values.len() as u64,
            });
        }
    }
    Ok(())
}

fn run(
    spec: &BoundSpec,
    program: &Program,
    sizes: &SizeValues,
    inputs: &Inputs,
    options: &OracleOptions,
    noise: Option<Noise>,
) -> Result<Outputs, OracleError> {
    let mut budget = Budget::new(options.memory_limit);
    let threads = options.threads.max(1);
    // Indices and reductions by node: what passes read besides arguments.
    let mut computed: BTreeMap<NodeId, Computed> = BTreeMap::new();
    for (index, node) in program.nodes.iter().enumerate() {
        let id = NodeId(index as u32);
        match &node.op {
            Op::Iota(size) => {
                let mut values = budget.zeros("iota", count("iota", [sizes[*size]])?)?;
                values.iter_mut().enumerate().for_each(|(index, value)| *value = index as f64);
                computed.insert(id, Computed { values, layout: vec![*size] });
            }
            Op::Reduce { op, input, over } => {
                let nodes = &program.nodes;
                let reduction =
                    Reduction { nodes, node: id, op: *op, input: *input, over, sizes, threads, noise };
                let result = reduction.evaluate(&stored(spec, program, inputs, &computed), &mut budget)?;
                computed.insert(id, result);
            }
            _ => {}
        }
    }
    let stored = stored(spec, program, inputs, &computed);
    let mut outputs = Outputs::default();
    for (id, node) in &program.outputs {
        let arg = &spec.args[id.index()];
        let mut values = budget.zeros(&arg.name, elements(arg, sizes)?)?;
        if !values.is_empty() {
            let node = before_store(program, *node, arg.dtype);
            let pass = Pass::new(&program.nodes, node, &[&arg.shape], sizes, &stored, noise);
            write(&pass, &mut values, threads);
        }
        outputs.0.insert(*id, values);
    }
    Ok(outputs)
}

/// The value that is stored: a last cast to the output's own dtype is what storing does anyway, and leaving it out keeps
/// the distance to the next tie, which comparing needs.
pub(crate) fn before_store(program: &Program, mut node: NodeId, dtype: DType) -> NodeId {
    while let Op::Cast(to, input) = program.node(node).op
        && to == dtype
    {
        node = input;
    }
    node
}

/// What a pass may read: arguments, indices, and the reductions so far.
fn stored<'a>(
    spec: &'a BoundSpec,
    program: &Program,
    inputs: &'a Inputs,
    computed: &'a BTreeMap<NodeId, Computed>,
) -> BTreeMap<NodeId, Stored<'a>> {
    let mut stored: BTreeMap<NodeId, Stored<'a>> = computed
        .iter()
        .map(|(node, computed)| (*node, Stored { values: &computed.values, layout: &computed.layout }))
        .collect();
    for (index, node) in program.nodes.iter().enumerate() {
        if let Op::Arg(arg) = node.op
            && let Some(values) = inputs.get(arg)
        {
            let layout: &[SizeId] = &spec.args[arg.index()].shape;
            stored.insert(NodeId(index as u32), Stored { values, layout });
        }
    }
    stored
}

/// Runs a pass over the whole space of an output.
fn write(pass: &Pass<'_>, values: &mut [f64], threads: usize) {
    const CHUNK: usize = 1 << 16;
    let threads = if values.len() < CHUNK / 2 { 1 } else { threads };
    let jobs = values.chunks_mut(CHUNK).enumerate();
    threads::run(
        threads,
        jobs,
        || pass.worker(),
        |worker, (chunk, values)| {
            let mut at = 0;
            while at < values.len() {
                let start = chunk * CHUNK + at;
                let length = pass.longest(start).min(values.len() - at);
                let out = &mut values[at..at + length];
                match pass.block(worker, start, length) {
                    Operand::One(value) => out.fill(value),
                    Operand::Many(block) => out.copy_from_slice(block),
                }
                at += length;
            }
        },
    );
}
