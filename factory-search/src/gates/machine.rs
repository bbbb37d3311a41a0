//! The PTX machine finds no fault on the cases, and the outputs are right.
//!
//! Tensors lie at multiples of 256 bytes in one half of the cases, and in the other half at addresses that are multiples
//! of the plan's alignment and of no more. What the order of blocks can change is looked at in kernels whose blocks can
//! see each other at all: such a kernel has to finish when only one block is resident at a time, since no launch promises
//! more, and where the spec asks for determinism two orders must give the same bits.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use factory_ptx::ast::{Module, Statement};
use factory_ptx::machine::{self, Checks, Kernel, MachineError, Memory, Options, Stop};
use factory_spec::compare;
use factory_spec::{Arg, BoundSpec, InputKind, Requirement, Variant};

use super::Subject;
use crate::cases::{Cases, PreparedCase};
use crate::launch::{self, Bindings};
use crate::model::Target;
use crate::parallel;
use crate::verdict::{Gate, Reason, Rejection};

/// Warp-instructions for each element of a case, and at least; a kernel that takes more never ends.
const BUDGET_PER_ELEMENT: u64 = 20_000;
const BUDGET_AT_LEAST: u64 = 50_000_000;
/// Sizes that are run in other orders, and the most elements that they have.
const ORDER_CASES: usize = 4;
const ORDER_ELEMENTS: usize = 1 << 15;
/// What lies before a tensor that does not begin at a multiple of 256 bytes: a NaN of every float type.
const BAND: u8 = 0xff;
/// What an output holds before a launch: no likely answer.
const POISON: u8 = 0xa5;

/// How a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// The order of blocks and warps.
    pub seed: u64,
    /// What is checked.
    pub checks: Checks,
    /// Whether tensors begin at multiples of the plan's alignment that are multiples of no more, instead of 256 bytes.
    pub shifted: bool,
    /// Blocks that are resident at a time.
    pub resident_blocks: u64,
    /// Threads of this process that share the blocks of a launch.
    pub threads: usize,
}

/// Runs each case on its gate, in this order; the refusal of the least rank. What has a higher rank than a refusal need not run;
/// what has a lower one must, or another one would be told.
pub(crate) fn run_ranked(
    runs: &[(usize, &MachineGate<'_>, &PreparedCase)],
    threads: usize,
) -> Result<(), Rejection> {
    let elements: Vec<usize> = runs.iter().map(|(_, _, case)| case.elements).collect();
    let each = threads_of(&elements, threads);
    let failed = AtomicUsize::new(usize::MAX);
    let run = |at: usize, &(rank, gate, case): &(usize, &MachineGate<'_>, &PreparedCase)| {
        if rank > failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let outcome = gate.run_on(case, each[at]);
        if outcome.is_err() {
            failed.fetch_min(rank, Ordering::Relaxed);
        }
        outcome
    };
    let outcomes = parallel::map(threads, runs, run, |_, _| ());
    let refused = runs.iter().zip(outcomes).filter_map(|((rank, ..), outcome)| Some((rank, outcome.err()?)));
    refused.min_by_key(|(rank, _)| *rank).map_or(Ok(()), |(_, rejection)| Err(rejection))
}

/// How many of `threads` each of these runs may have, by their elements: what is so long that everybody would wait for it in the
/// end has more than one.
fn threads_of(elements: &[usize], threads: usize) -> Vec<usize> {
    /// A run that takes longer than this part of what one thread has to do in all is shared out.
    const PART: usize = 4;
    let total: usize = elements.iter().sum();
    let of = |&elements: &usize| (PART * threads * elements).div_ceil(total.max(1)).clamp(1, threads.max(1));
    elements.iter().map(of).collect()
}

/// What a subject's kernels look like to the machine: decoded once, run on many cases.
pub struct MachineGate<'a> {
    spec: &'a BoundSpec,
    subject: Subject<'a>,
    kernels: Vec<Vec<Kernel>>,
    seed: u64,
    /// Whether what one block does can depend on another.
    communicates: bool,
}

impl<'a> MachineGate<'a> {
    /// Decodes every entry.
    ///
    /// # Errors
    /// `Unsupported`: a form that the machine does not run.
    pub fn new(
        spec: &'a BoundSpec,
        subject: Subject<'a>,
        module: &Module,
        seed: u64,
    ) -> Result<MachineGate<'a>, Rejection> {
        let kernels = subject
            .variants
            .iter()
            .map(|variant| launch::kernels(module, variant))
            .collect::<Result<_, _>>()
            .map_err(|reason| Rejection::new(Gate::Machine, reason))?;
        Ok(MachineGate { spec, subject, kernels, seed, communicates: communicates(module) })
    }

    /// Families of instructions that no hardware has confirmed, in words for a detail; empty when there are none.
    pub fn not_compared(&self) -> String {
        let families: std::collections::BTreeSet<&str> =
            self.kernels.iter().flatten().flat_map(Kernel::not_compared).collect();
        if families.is_empty() {
            return String::new();
        }
        let families: Vec<&str> = families.into_iter().collect();
        format!("; not compared with hardware: {}", families.join(", "))
    }

    /// The position of the variant that serves a case.
    pub fn variant_for(&self, case: &PreparedCase) -> Option<usize> {
        self.subject.variants.iter().position(|variant| launch::serves(self.spec, &case.case.sizes, variant))
    }

    /// How a case is run: with every check, in an order of its own and at an alignment that its seed chooses.
    pub fn how(&self, case: &PreparedCase) -> How {
        How {
            seed: self.seed ^ case.case.seed,
            checks: Checks::all(),
            shifted: case.case.seed & 1 == 1,
            resident_blocks: Options::default().resident_blocks,
            threads: 1,
        }
    }

    /// Runs one case with every check: no fault, every output written, inputs unchanged, outputs right.
    ///
    /// # Errors
    /// What is wrong, or `NoCase` when no variant serves the sizes.
    pub fn run(&self, case: &PreparedCase) -> Result<(), Rejection> {
        self.run_on(case, 1)
    }

    /// The same on so many threads.
    ///
    /// # Errors
    /// As [`MachineGate::run`].
    pub fn run_on(&self, case: &PreparedCase, threads: usize) -> Result<(), Rejection> {
        let outputs = self.outputs(case, &How { threads, ..self.how(case) })?;
        let refuse = |reason| Rejection::new(Gate::Machine, reason);
        let ready = case.ready(self.spec).map_err(|message| refuse(no_oracle(case, message)))?;
        let outputs: Vec<&[u8]> = outputs.iter().map(Vec::as_slice).collect();
        compare::compare(self.spec, &case.case, &ready.expected, &outputs, &ready.tolerances)
            .map(|_| ())
            .map_err(|mismatch| {
                refuse(Reason::Mismatch { sizes: describe(case), message: mismatch.to_string() })
            })
    }

    /// The bytes of each output of one case, which nobody has compared yet.
    ///
    /// # Errors
    /// A fault, an output that was not written as a whole, or `NoCase` when no variant serves the sizes.
    pub fn outputs(&self, case: &PreparedCase, how: &How) -> Result<Vec<Vec<u8>>, Rejection> {
        let refuse = |reason| Rejection::new(Gate::Machine, reason);
        let Some(index) = self.variant_for(case) else { return Err(refuse(self.no_case())) };
        let options = Options {
            checks: how.checks,
            instruction_budget: (case.elements as u64)
                .saturating_mul(BUDGET_PER_ELEMENT)
                .max(BUDGET_AT_LEAST),
            // Another order of warps and blocks for each case: what depends on it gives itself away.
            seed: how.seed,
            threads: how.threads,
            resident_blocks: how.resident_blocks,
            ..Options::default()
        };
        let (variant, kernels) = (&self.subject.variants[index], &self.kernels[index]);
        let shift = if how.shifted { variant.alignment as usize % 256 } else { 0 };
        execute(self.spec, variant, kernels, self.subject, case, case.inputs(self.spec), shift, &options)
            .map_err(refuse)
    }

    /// Runs several cases of `cases`, on so many threads; how many, or the first refusal.
    ///
    /// # Errors
    /// The first refusal in the order of `indices`.
    pub fn run_all(&self, cases: &Cases, indices: &[usize], threads: usize) -> Result<u32, Rejection> {
        if indices.is_empty() {
            return Err(Rejection::new(Gate::Machine, self.no_case()));
        }
        let runs = indices.iter().enumerate().map(|(position, &index)| (position, self, &cases.all()[index]));
        run_ranked(&runs.collect::<Vec<_>>(), threads)?;
        self.orders(cases, indices)?;
        Ok(indices.len() as u32)
    }

    /// Runs a few cases again in other orders, if the kernel's blocks can see each other.
    ///
    /// # Errors
    /// A block waits for one that nothing promises to have started, or two orders differ where the spec wants none to.
    pub fn orders(&self, cases: &Cases, indices: &[usize]) -> Result<(), Rejection> {
        if !self.communicates {
            return Ok(());
        }
        let mut small: Vec<&PreparedCase> = indices
            .iter()
            .map(|&index| &cases.all()[index])
            .filter(|case| case.elements <= ORDER_ELEMENTS && self.variant_for(case).is_some())
            .collect();
        // Zeros and powers of two add up to the same in every order: ordinary inputs first.
        let ordinary = |case: &PreparedCase| case.case.kinds.values().all(|kind| *kind == InputKind::Normal);
        small.sort_by_key(|case| (!ordinary(case), std::cmp::Reverse(case.elements)));
        let mut seen = std::collections::BTreeSet::new();
        small.retain(|case| seen.insert(case.case.sizes.clone()));
        for case in small.into_iter().take(ORDER_CASES) {
            // In the order of their numbers: blocks that wait for earlier ones alone are let through.
            let alone = self.outputs(case, &How { seed: 0, resident_blocks: 1, ..self.how(case) })?;
            if !self.spec.better.require.contains(&Requirement::Deterministic) {
                continue;
            }
            let other = self.outputs(case, &How { seed: !self.how(case).seed, ..self.how(case) })?;
            let names = self.spec.outputs().map(|(_, arg)| &arg.name);
            for ((a, b), output) in alone.iter().zip(&other).zip(names) {
                if a != b {
                    let (sizes, output) = (describe(case), output.clone());
                    return Err(Rejection::new(Gate::Machine, Reason::NotDeterministic { sizes, output }));
                }
            }
        }
        Ok(())
    }

    fn no_case(&self) -> Reason {
        let when: Vec<String> =
            self.subject.variants.iter().map(|variant| variant.when.to_string()).collect();
        Reason::NoCase { when: when.join("; ") }
    }
}

fn no_oracle(case: &PreparedCase, message: &str) -> Reason {
    Reason::Infrastructure { message: format!("the oracle at {}: {message}", case.label) }
}

/// Whether blocks can see what others do: without atomics and strong accesses that would be a race, which is a fault.
fn communicates(module: &Module) -> bool {
    fn any(body: &[Statement]) -> bool {
        body.iter().any(|statement| match statement {
            Statement::Block(inner) => any(inner),
            Statement::Instruction(instruction) => {
                matches!(instruction.opcode.as_str(), "atom" | "red" | "cp")
                    && (instruction.opcode != "cp" || instruction.has("reduce"))
                    || ["volatile", "relaxed", "acquire", "release"].iter().any(|word| instruction.has(word))
            }
            _ => false,
        })
    }
    module.functions().filter_map(|function| function.body.as_deref()).any(any)
}

/// Sizes and kinds of inputs, for a message.
fn describe(case: &PreparedCase) -> String {
    let kinds: Vec<String> = case.case.kinds.iter().map(|(arg, kind)| format!("{arg}: {kind}")).collect();
    if kinds.is_empty() { case.label.clone() } else { format!("{} ({})", case.label, kinds.join(", ")) }
}

/// Runs a variant's launches on fresh memory and returns the bytes of each output. Tensors begin `shift` bytes behind a
/// multiple of 256.
#[expect(clippy::too_many_arguments, reason = "they are what a run consists of")]
fn execute(
    spec: &BoundSpec,
    variant: &Variant,
    kernels: &[Kernel],
    subject: Subject<'_>,
    case: &PreparedCase,
    inputs: &std::collections::BTreeMap<factory_spec::ArgId, Vec<u8>>,
    shift: usize,
    options: &Options,
) -> Result<Vec<Vec<u8>>, Reason> {
    let sizes = &case.case.sizes;
    let target = Target::of(subject.arch);
    let missing = |name: &str| Reason::Infrastructure { message: format!("no input was drawn for `{name}`") };
    // Every tensor behind its band. An `inout` starts as its old contents, what is only written as poison. What lies between
    // the rows of a tensor is nobody's.
    let mut images: Vec<Vec<u8>> = Vec::new();
    for (index, arg) in spec.args.iter().enumerate() {
        let mut image = vec![BAND; if arg.scalar { 0 } else { shift }];
        match inputs.get(&factory_spec::ArgId(index as u32)) {
            Some(content) if arg.role.reads() => {
                image.extend_from_slice(&spec.rows(arg, sizes).spread(content, arg.dtype.size(), BAND));
            }
            _ if arg.role.reads() => return Err(missing(&arg.name)),
            _ => image.resize(shift + spec.span(arg, sizes) * arg.dtype.size(), POISON),
        }
        images.push(image);
    }
    let mut memory = Memory::new();
    let mut bindings = Bindings::default();
    let mut outputs = Vec::new();
    for (arg, image) in spec.args.iter().zip(&mut images) {
        if arg.scalar {
            bindings.scalars.insert(arg.name.clone(), image.clone());
            continue;
        }
        let address = match (arg.role.reads(), arg.role.writes()) {
            (_, false) => memory.input(&arg.name, image),
            (false, true) => memory.output(&arg.name, image),
            (true, true) => memory.inout(&arg.name, image),
        };
        for gap in spec.rows(arg, sizes).gaps() {
            memory.forget(address, bytes_of(arg, gap, shift));
        }
        if arg.role.writes() {
            outputs.push((arg, address));
        }
        bindings.pointers.insert(arg.name.clone(), address + shift as u64);
    }
    launch::machine_scratch(spec, sizes, variant, &mut memory, &mut bindings)?;
    for (plan, kernel) in variant.launches.iter().zip(kernels) {
        let limit = target.shared_bytes_of_block.saturating_sub(kernel.static_shared());
        let Some(dimensions) = launch::dimensions(spec, sizes, plan, limit)? else { continue };
        let values = launch::parameters(spec, sizes, variant, plan, &bindings, &launch::machine_map)?;
        let run = launch::machine_launch(kernel, plan, dimensions, &values)?;
        machine::run(kernel, &run, &mut memory, options).map_err(|stop| stopped(stop, case))?;
    }
    for (arg, address) in outputs {
        let rows = spec.rows(arg, sizes);
        // An `inout` counts as written from the start; that it was is for the comparison to see.
        let unwritten = rows.ranges().find_map(|row| memory.unwritten_in(address, bytes_of(arg, row, shift)));
        if let (Some(range), false) = (unwritten, arg.role.reads()) {
            let byte = (range.start - shift) as u64;
            return Err(Reason::Unwritten { sizes: describe(case), output: arg.name.clone(), byte });
        }
        if let Some(byte) = rows.gaps().find_map(|gap| memory.written_in(address, bytes_of(arg, gap, shift)))
        {
            let byte = (byte - shift) as u64;
            return Err(Reason::RowGap { sizes: describe(case), output: arg.name.clone(), byte });
        }
    }
    drop(memory);
    let mut written = Vec::new();
    for (arg, mut image) in spec.args.iter().zip(images).filter(|(arg, _)| arg.role.writes()) {
        let content = image.split_off(shift.min(image.len()));
        if image.iter().any(|byte| *byte != BAND) {
            return Err(Reason::GuardBand { sizes: describe(case), buffer: arg.name.clone() });
        }
        written.push(spec.rows(arg, sizes).gather(content, arg.dtype.size()).into_owned());
    }
    Ok(written)
}

/// Where elements of an argument lie that begins at `start`, in bytes.
fn bytes_of(arg: &Arg, elements: Range<usize>, start: usize) -> Range<usize> {
    start + elements.start * arg.dtype.size()..start + elements.end * arg.dtype.size()
}

fn stopped(stop: Stop, case: &PreparedCase) -> Reason {
    match stop {
        Stop::Fault(fault) => Reason::Fault {
            sizes: describe(case),
            kind: fault.kind.name().to_owned(),
            detail: fault.to_string(),
        },
        Stop::Machine(MachineError::Unsupported(form)) => Reason::Unsupported { message: form.to_string() },
        Stop::Machine(error @ MachineError::OutOfMemory { .. }) => {
            Reason::Infrastructure { message: error.to_string() }
        }
        Stop::Machine(error) => Reason::Plan { message: error.to_string() },
    }
}
