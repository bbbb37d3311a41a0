//! Gates, verdicts and reasons.
//!
//! A gate either lets a candidate pass or refuses it with a typed reason. What could not be checked is not a pass: a
//! candidate that needs a form the machine does not know is `Unsupported`, and a tool of ours that broke is
//! `Infrastructure`, which says nothing about the candidate and may be tried again.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The checks, cheapest first. They run in this order, but for the machine: where something measures, one small case runs on
/// it before the device, if there is one, and all of them after it, for what may win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gate {
    /// The proposer could write the candidate at all.
    Generate,
    /// PTX is well formed and agrees with the plan.
    Parse,
    /// PTX does nothing that an honest kernel has no use for.
    Policy,
    /// ptxas accepts it.
    Assemble,
    /// The PTX machine finds no fault, and the outputs are right.
    Machine,
    /// The same on a GPU.
    Device,
    /// Measured on a GPU; not impossibly fast, and right while it was timed.
    Time,
    /// The device gate on cases drawn from a secret seed after the candidate was frozen.
    Holdout,
}

impl Gate {
    /// Every gate, in order.
    pub const ALL: [Gate; 8] = [
        Gate::Generate,
        Gate::Parse,
        Gate::Policy,
        Gate::Assemble,
        Gate::Machine,
        Gate::Device,
        Gate::Time,
        Gate::Holdout,
    ];

    /// The name that certificates and logs use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Parse => "parse",
            Self::Policy => "policy",
            Self::Assemble => "assemble",
            Self::Machine => "machine",
            Self::Device => "device",
            Self::Time => "time",
            Self::Holdout => "holdout",
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing found against it.
    Pass,
    /// It computes something else.
    Wrong,
    /// It touches what it must not, races, or reads what nobody wrote.
    Unsafe,
    /// It does what only a cheat has a use for.
    Gaming,
    /// It needs something that we, its target or its plan do not have.
    Unsupported,
    /// Our own tools failed; nothing is known about it.
    Infrastructure,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 6] = [
        Verdict::Pass,
        Verdict::Wrong,
        Verdict::Unsafe,
        Verdict::Gaming,
        Verdict::Unsupported,
        Verdict::Infrastructure,
    ];

    /// The name that certificates and logs use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Wrong => "wrong",
            Self::Unsafe => "unsafe",
            Self::Gaming => "gaming",
            Self::Unsupported => "unsupported",
            Self::Infrastructure => "infrastructure",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Error)]
#[error("{gate}: {verdict}: {reason}")]
pub struct Rejection {
    /// The gate that refused.
    pub gate: Gate,
    /// What it says.
    pub verdict: Verdict,
    /// Why, as data.
    pub reason: Reason,
}

impl Rejection {
    /// A refusal by `gate`, with the verdict that belongs to the reason.
    pub fn new(gate: Gate, reason: Reason) -> Self {
        Self { gate, verdict: reason.verdict(), reason }
    }
}

/// Why a gate refused a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The proposer could not write it.
    #[error("the proposer could not write it: {message}")]
    NotGenerated {
        /// The proposer's words.
        message: String,
    },
    /// The compiler refused its source.
    #[error("{compiler}: {message}")]
    NotCompiled {
        /// The compiler with its version.
        compiler: String,
        /// The compiler's own message, with the template's line numbers.
        message: String,
    },
    /// The compiler ran out of time or memory over its source, or fell over.
    #[error("{compiler}: {message}")]
    CompileLimit {
        /// The compiler with its version.
        compiler: String,
        /// What happened.
        message: String,
    },
    /// The text is not PTX.
    #[error("line {line}: {message}")]
    NotPtx {
        /// Line of the first problem, from 1; 0 when it has none.
        line: u32,
        /// What is wrong there.
        message: String,
    },
    /// The plan launches an entry that the PTX lacks.
    #[error("the plan launches `{entry}`, which the PTX does not define")]
    EntryMissing {
        /// The entry.
        entry: String,
    },
    /// The PTX defines an entry that the plan never launches.
    #[error("the PTX defines the entry `{entry}`, which the plan never launches")]
    EntryUnused {
        /// The entry.
        entry: String,
    },
    /// Number, size or type of parameters differ.
    #[error("`{entry}`: parameter {index} is {declared} in the PTX and {planned} in the plan")]
    Parameter {
        /// The entry.
        entry: String,
        /// Position from 0.
        index: usize,
        /// What the PTX declares.
        declared: String,
        /// What the plan passes.
        planned: String,
    },
    /// The plan does not fit the spec.
    #[error("the plan does not fit the spec: {message}")]
    Plan {
        /// What does not fit.
        message: String,
    },
    /// `.target`, `.version` or `.address_size` is not what the plan's target allows.
    #[error("`{directive}` is `{found}`; allowed here: {allowed}")]
    Header {
        /// The directive.
        directive: Cow<'static, str>,
        /// Its value.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// The launch contradicts the entry's own bounds or the target's.
    #[error("`{entry}`: {what} is {asked}, the limit is {limit}")]
    LaunchLimit {
        /// The entry.
        entry: String,
        /// What is too large.
        what: String,
        /// How much the plan asks for.
        asked: u64,
        /// How much there is.
        limit: u64,
    },
    /// A variable that outlives a launch, or that carries data into it.
    #[error("line {line}: module variable `{name}` in `.{space}`: {why}")]
    ModuleVariable {
        /// Its name.
        name: String,
        /// Its state space.
        space: String,
        /// Line in the PTX.
        line: u32,
        /// Why it is refused.
        why: Cow<'static, str>,
    },
    /// A special register that tells a kernel when or how often it runs.
    #[error("line {line}: `{register}` may not be read: {why}")]
    SpecialRegister {
        /// The register.
        register: String,
        /// Line in the PTX.
        line: u32,
        /// Why it is refused.
        why: Cow<'static, str>,
    },
    /// An instruction that is not on the allowlist.
    #[error("line {line}: `{instruction}` is not allowed: {why}")]
    Instruction {
        /// Opcode and modifiers.
        instruction: String,
        /// Line in the PTX.
        line: u32,
        /// Why it is refused.
        why: Cow<'static, str>,
    },
    /// Something outside the module is declared or called.
    #[error("line {line}: `{name}` is not defined in this module")]
    External {
        /// Its name.
        name: String,
        /// Line in the PTX.
        line: u32,
    },
    /// Memory is addressed by something that the plan did not pass.
    #[error(
        "line {line}: `{instruction}` addresses `.{space}` by a number, not by a parameter or a variable"
    )]
    AbsoluteAddress {
        /// Opcode and modifiers.
        instruction: String,
        /// The state space.
        space: String,
        /// Line in the PTX.
        line: u32,
    },
    /// ptxas refused it.
    #[error("ptxas for {arch}: {message}")]
    NotAssembled {
        /// The target.
        arch: String,
        /// The first lines of ptxas's own message.
        message: String,
    },
    /// The PTX machine found a fault.
    #[error("{sizes}: {kind}: {detail}")]
    Fault {
        /// The sizes of the case.
        sizes: String,
        /// The kind of fault.
        kind: String,
        /// Thread, block, line and address.
        detail: String,
    },
    /// An element of an output was never written.
    #[error("{sizes}: byte {byte} of the output `{output}` was never written")]
    Unwritten {
        /// The sizes of the case.
        sizes: String,
        /// The output.
        output: String,
        /// First byte that was not written.
        byte: u64,
    },
    /// An input differs after the launch.
    #[error("{sizes}: the input `{input}` was changed")]
    InputChanged {
        /// The sizes of the case.
        sizes: String,
        /// The input.
        input: String,
    },
    /// An output differs from the oracle's.
    #[error("{sizes}: {message}")]
    Mismatch {
        /// The sizes of the case.
        sizes: String,
        /// Output, index, expected, actual and why.
        message: String,
    },
    /// The plan serves no size that a case could be made of, so nothing could be checked.
    #[error("no case that the machine can run falls under `{when}`")]
    NoCase {
        /// The variant's condition.
        when: String,
    },
    /// A form that the PTX machine does not know.
    #[error("the PTX machine does not run this: {message}")]
    Unsupported {
        /// The form and its line.
        message: String,
    },
    /// Two executions on the same input differ where the spec asks for determinism.
    #[error("{sizes}: two executions on the same input gave different bytes of `{output}`")]
    NotDeterministic {
        /// The sizes of the case.
        sizes: String,
        /// The output.
        output: String,
    },
    /// Two executions on the same input are further apart than the tolerance allows, where the spec lets them differ.
    #[error("{sizes}: two executions on the same input are too far apart: {message}")]
    Unsteady {
        /// The sizes of the case.
        sizes: String,
        /// Output, index, both values and why.
        message: String,
    },
    /// Memory between two rows of an output was written to.
    #[error("{sizes}: memory between rows of the output `{output}` was written to, at its byte {byte}")]
    RowGap {
        /// The sizes of the case.
        sizes: String,
        /// The output.
        output: String,
        /// First byte that was written, from the output's beginning; 0 where nobody says it.
        byte: u64,
    },
    /// A guard band around a buffer was changed.
    #[error("{sizes}: bytes outside `{buffer}` were changed")]
    GuardBand {
        /// The sizes of the case.
        sizes: String,
        /// The buffer.
        buffer: String,
    },
    /// An output depends on what its buffer held before.
    #[error("{sizes}: the output `{output}` depends on what was in its memory before the launch")]
    PoisonShows {
        /// The sizes of the case.
        sizes: String,
        /// The output.
        output: String,
    },
    /// The worker process that ran it died, twice.
    #[error("{sizes}: the process that ran it died: {message}")]
    Crashed {
        /// The sizes, where they are known.
        sizes: String,
        /// How it ended.
        message: String,
    },
    /// The worker process that ran it gave no answer in time and was killed.
    #[error("{sizes}: no answer within {seconds} s; the process that ran it was killed")]
    Hang {
        /// The sizes, where they are known.
        sizes: String,
        /// The limit.
        seconds: f64,
    },
    /// The GPU stopped the kernel.
    #[error("{sizes}: the GPU reported {code}: {message}")]
    DeviceFault {
        /// The sizes of the case.
        sizes: String,
        /// The driver's name of the error.
        code: String,
        /// What was going on.
        message: String,
    },
    /// A time that the bytes to be moved or the operations do not allow.
    #[error(
        "{sizes}: {seconds:.3e} s is less than the {bound:.3e} s that its compulsory bytes and operations need"
    )]
    ImpossiblyFast {
        /// The sizes.
        sizes: String,
        /// The time that the clock gave.
        seconds: f64,
        /// The bound.
        bound: f64,
    },
    /// The device was still at work after the event that ends the timed window.
    #[error(
        "{sizes}: the device worked {seconds:.3e} s beyond the event that ends a window of {window:.3e} s"
    )]
    OutlivesWindow {
        /// The sizes.
        sizes: String,
        /// How long, in the best of all windows.
        seconds: f64,
        /// What the events said of it.
        window: f64,
    },
    /// The output of a timed launch was not what the checked launch wrote.
    #[error("{sizes}: a timed launch left a wrong `{output}`")]
    TimedOutput {
        /// The sizes.
        sizes: String,
        /// The output.
        output: String,
    },
    /// An earlier search has the verdict on this very candidate, under the same gates.
    #[error("{message} (found by an earlier search)")]
    Remembered {
        /// The verdict.
        verdict: Verdict,
        /// The reason of that time, in words.
        message: String,
    },
    /// Our own tools failed.
    #[error("{message}")]
    Infrastructure {
        /// What failed.
        message: String,
    },
}

impl Reason {
    /// The verdict that belongs to this reason.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::NotGenerated { .. }
            | Self::NotCompiled { .. }
            | Self::CompileLimit { .. }
            | Self::NotPtx { .. }
            | Self::EntryMissing { .. }
            | Self::Parameter { .. }
            | Self::Plan { .. }
            | Self::Header { .. }
            | Self::LaunchLimit { .. }
            | Self::NotAssembled { .. }
            | Self::NoCase { .. }
            | Self::Unsupported { .. } => Verdict::Unsupported,
            Self::EntryUnused { .. }
            | Self::ModuleVariable { .. }
            | Self::SpecialRegister { .. }
            | Self::Instruction { .. }
            | Self::External { .. }
            | Self::AbsoluteAddress { .. }
            | Self::ImpossiblyFast { .. }
            | Self::OutlivesWindow { .. }
            | Self::TimedOutput { .. } => Verdict::Gaming,
            Self::Fault { .. }
            | Self::InputChanged { .. }
            | Self::RowGap { .. }
            | Self::GuardBand { .. }
            | Self::DeviceFault { .. }
            | Self::Crashed { .. }
            | Self::Hang { .. }
            | Self::PoisonShows { .. } => Verdict::Unsafe,
            Self::Unwritten { .. }
            | Self::Mismatch { .. }
            | Self::NotDeterministic { .. }
            | Self::Unsteady { .. } => Verdict::Wrong,
            Self::Remembered { verdict, .. } => *verdict,
            Self::Infrastructure { .. } => Verdict::Infrastructure,
        }
    }
}
