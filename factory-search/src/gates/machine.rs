//! The PTX machine finds no fault on the cases, and the outputs are right.

use factory_ptx::ast::Module;
use factory_ptx::machine::{self, Checks, Kernel, MachineError, Memory, Options, Stop};
use factory_spec::compare;
use factory_spec::{BoundSpec, Variant};

use super::Subject;
use crate::cases::{Cases, PreparedCase};
use crate::launch::{self, Bindings};
use crate::model::Target;
use crate::verdict::{Gate, Reason, Rejection};

/// Warp-instructions for each element of a case, and at least; a kernel that takes more never ends.
const BUDGET_PER_ELEMENT: u64 = 20_000;
const BUDGET_AT_LEAST: u64 = 50_000_000;

/// What a subject's kernels look like to the machine: decoded once, run on many cases.
pub struct MachineGate<'a> {
    spec: &'a BoundSpec,
    subject: Subject<'a>,
    kernels: Vec<Vec<Kernel>>,
    seed: u64,
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
        Ok(MachineGate { spec, subject, kernels, seed })
    }

    /// The position of the variant that serves a case.
    pub fn variant_for(&self, case: &PreparedCase) -> Option<usize> {
        self.subject.variants.iter().position(|variant| launch::serves(self.spec, &case.case.sizes, variant))
    }

    /// Runs one case with every check: no fault, every output written, inputs unchanged, outputs right.
    ///
    /// # Errors
    /// What is wrong, or `NoCase` when no variant serves the sizes.
    pub fn run(&self, case: &PreparedCase) -> Result<(), Rejection> {
        self.inspect(case).map_err(|reason| Rejection::new(Gate::Machine, reason))
    }

    fn inspect(&self, case: &PreparedCase) -> Result<(), Reason> {
        let Some(index) = self.variant_for(case) else {
            let when: Vec<String> =
                self.subject.variants.iter().map(|variant| variant.when.to_string()).collect();
            return Err(Reason::NoCase { when: when.join("; ") });
        };
        let ready = case.ready(self.spec).map_err(|message| Reason::Infrastructure {
            message: format!("the oracle at {}: {message}", case.label),
        })?;
        let options = Options {
            checks: Checks::all(),
            instruction_budget: (case.elements as u64)
                .saturating_mul(BUDGET_PER_ELEMENT)
                .max(BUDGET_AT_LEAST),
            // Another order of warps and blocks for each case: what depends on it gives itself away.
            seed: self.seed ^ case.case.seed,
            threads: 1,
            blocks: None,
        };
        let outputs = execute(
            self.spec,
            &self.subject.variants[index],
            &self.kernels[index],
            self.subject,
            case,
            &ready.inputs,
            &options,
        )?;
        let outputs: Vec<&[u8]> = outputs.iter().map(Vec::as_slice).collect();
        compare::compare(self.spec, &case.case, &ready.expected, &outputs, &ready.tolerances)
            .map(|_| ())
            .map_err(|mismatch| Reason::Mismatch { sizes: describe(case), message: mismatch.to_string() })
    }

    /// Runs several cases of `cases`; how many, or the first refusal.
    ///
    /// # Errors
    /// The first refusal in the order of `indices`.
    pub fn run_all(&self, cases: &Cases, indices: &[usize]) -> Result<u32, Rejection> {
        if indices.is_empty() {
            let when: Vec<String> =
                self.subject.variants.iter().map(|variant| variant.when.to_string()).collect();
            return Err(Rejection::new(Gate::Machine, Reason::NoCase { when: when.join("; ") }));
        }
        for &index in indices {
            self.run(&cases.all()[index])?;
        }
        Ok(indices.len() as u32)
    }
}

/// Sizes and kinds of inputs, for a message.
fn describe(case: &PreparedCase) -> String {
    let kinds: Vec<String> = case.case.kinds.iter().map(|(arg, kind)| format!("{arg}: {kind}")).collect();
    if kinds.is_empty() { case.label.clone() } else { format!("{} ({})", case.label, kinds.join(", ")) }
}

/// Runs a variant's launches on fresh memory and returns the bytes of each output.
fn execute(
    spec: &BoundSpec,
    variant: &Variant,
    kernels: &[Kernel],
    subject: Subject<'_>,
    case: &PreparedCase,
    inputs: &std::collections::BTreeMap<factory_spec::ArgId, Vec<u8>>,
    options: &Options,
) -> Result<Vec<Vec<u8>>, Reason> {
    let sizes = &case.case.sizes;
    let target = Target::of(subject.arch);
    // What is written starts as a pattern that is no likely answer; an `inout` starts as its old contents.
    let mut written: Vec<Vec<u8>> = spec
        .outputs()
        .map(|(id, arg)| match inputs.get(&id) {
            Some(old) if arg.role.reads() => old.clone(),
            _ => vec![0xa5; spec.elements(arg, sizes) * arg.dtype.size()],
        })
        .collect();
    let mut memory = Memory::new();
    let mut bindings = Bindings::default();
    let mut outputs = Vec::new();
    let mut slots = written.iter_mut();
    for (index, arg) in spec.args.iter().enumerate() {
        let id = factory_spec::ArgId(index as u32);
        let missing = || Reason::Infrastructure { message: format!("no input was drawn for `{}`", arg.name) };
        if arg.scalar {
            bindings.scalars.insert(arg.name.clone(), inputs.get(&id).ok_or_else(missing)?.clone());
            continue;
        }
        let address = if arg.role.writes() {
            let slot = slots.next().ok_or_else(missing)?;
            let address =
                if arg.role.reads() { memory.inout(&arg.name, slot) } else { memory.output(&arg.name, slot) };
            outputs.push((arg.name.clone(), address, arg.role.reads()));
            address
        } else {
            memory.input(&arg.name, inputs.get(&id).ok_or_else(missing)?)
        };
        bindings.pointers.insert(arg.name.clone(), address);
    }
    for (name, bytes) in launch::scratch_bytes(spec, sizes, variant)? {
        let address = memory.scratch(&name, bytes);
        bindings.scratch.insert(name, address);
    }
    for (plan, kernel) in variant.launches.iter().zip(kernels) {
        let limit = target.shared_bytes_of_block.saturating_sub(kernel.static_shared());
        let Some(dimensions) = launch::dimensions(spec, sizes, plan, limit)? else { continue };
        let values = launch::parameters(spec, sizes, plan, &bindings)?;
        let run = launch::machine_launch(kernel, plan, dimensions, &values)?;
        machine::run(kernel, &run, &mut memory, options).map_err(|stop| stopped(stop, case))?;
    }
    for (name, address, old) in outputs {
        // An `inout` counts as written from the start; that it was is for the comparison to see.
        if let (Some(range), false) = (memory.unwritten(address), old) {
            return Err(Reason::Unwritten { sizes: describe(case), output: name, byte: range.start as u64 });
        }
    }
    drop(memory);
    Ok(written)
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
