//! What can go wrong, in three types that never mix: a form that the machine does not run, a fault of the program
//! that it runs, and an error of the machine itself.

use std::fmt;

/// A form that the machine does not run: found when a kernel is decoded, before anything executes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: the machine does not run `{form}`: {needs}")]
pub struct Unsupported {
    /// Line of the PTX text; 0 when the module was built rather than parsed.
    pub line: u32,
    /// The form as written: an instruction's opcode and modifiers, a directive, a name.
    pub form: String,
    /// What running it would need.
    pub needs: String,
}

/// What a program did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// An access outside every buffer, or across the end of one.
    OutOfBounds,
    /// An address that is not a multiple of the access's size.
    Misaligned,
    /// A store to an input, to constant memory or to parameters.
    WriteToInput,
    /// A read of bytes that nobody wrote.
    Uninitialised,
    /// A read or overwrite of bytes that an asynchronous copy has not delivered yet.
    AsyncNotWaited,
    /// Two conflicting accesses to shared memory that nothing orders.
    SharedRace,
    /// Two conflicting accesses to global memory, by warps of one block or of different ones, that nothing orders.
    GlobalRace,
    /// Lanes of one warp reached different barriers, or not all of them reached an aligned one.
    DivergentBarrier,
    /// A barrier used with different thread counts, a count that is no multiple of the warp size, or overrun.
    MismatchedBarrier,
    /// A barrier waits for threads that have exited.
    ExitedAtBarrier,
    /// Nobody can go on.
    Deadlock,
    /// A warp-wide instruction named or read a lane that does not take part in it.
    InactiveLane,
    /// More instructions than `Options::instruction_budget`.
    BudgetExceeded,
    /// `trap`, or a call of a function that ends the program.
    Trap,
    /// Calls nested deeper than the machine's limit.
    CallDepth,
    /// A call or branch through a register that holds no valid target.
    BadTarget,
    /// An operand value that the PTX ISA leaves undefined.
    UndefinedOperand,
    /// A write to bytes that an asynchronous operation in flight still reads.
    AsyncSourceOverwritten,
    /// Bytes that threads wrote are used by an asynchronous operation (bulk copy, wgmma) with no proxy fence between.
    MissingProxyFence,
    /// Tensor memory that is not the access's: lanes of other warps, columns that are not allocated, a second
    /// deallocation, blocks of a pair that do not go together.
    TensorMemory,
    /// Two warps touch the same tensor memory with nothing between them.
    TensorMemoryRace,
    /// Tensor memory that a block still held when it ended.
    TensorMemoryLeak,
    /// An mbarrier object used before its initialisation, initialised twice, overrun, or accessed as plain memory.
    MbarrierMisuse,
    /// A `wgmma.mma_async` whose registers no `wgmma.fence` separates from what the program did with them.
    MissingMatrixFence,
    /// An access to the shared memory of a block of the cluster that has exited.
    ClusterExited,
}

impl FaultKind {
    /// Every kind with the word that reports and test files use for it.
    pub const ALL: [(FaultKind, &'static str); 25] = [
        (FaultKind::OutOfBounds, "out_of_bounds"),
        (FaultKind::Misaligned, "misaligned"),
        (FaultKind::WriteToInput, "write_to_input"),
        (FaultKind::Uninitialised, "uninitialised"),
        (FaultKind::AsyncNotWaited, "async_not_waited"),
        (FaultKind::SharedRace, "shared_race"),
        (FaultKind::GlobalRace, "global_race"),
        (FaultKind::DivergentBarrier, "divergent_barrier"),
        (FaultKind::MismatchedBarrier, "mismatched_barrier"),
        (FaultKind::ExitedAtBarrier, "exited_at_barrier"),
        (FaultKind::Deadlock, "deadlock"),
        (FaultKind::InactiveLane, "inactive_lane"),
        (FaultKind::BudgetExceeded, "budget_exceeded"),
        (FaultKind::Trap, "trap"),
        (FaultKind::CallDepth, "call_depth"),
        (FaultKind::BadTarget, "bad_target"),
        (FaultKind::UndefinedOperand, "undefined_operand"),
        (FaultKind::AsyncSourceOverwritten, "async_source_overwritten"),
        (FaultKind::MissingProxyFence, "missing_proxy_fence"),
        (FaultKind::TensorMemory, "tensor_memory"),
        (FaultKind::TensorMemoryRace, "tensor_memory_race"),
        (FaultKind::TensorMemoryLeak, "tensor_memory_leak"),
        (FaultKind::MbarrierMisuse, "mbarrier_misuse"),
        (FaultKind::MissingMatrixFence, "missing_matrix_fence"),
        (FaultKind::ClusterExited, "cluster_exited"),
    ];

    /// The word for this kind: `out_of_bounds`, `shared_race`, …
    pub fn name(self) -> &'static str {
        FaultKind::ALL.iter().find(|(kind, _)| *kind == self).map_or("fault", |(_, name)| name)
    }

    /// Reads the word for a kind.
    pub fn parse(word: &str) -> Option<FaultKind> {
        FaultKind::ALL.iter().find(|(_, name)| *name == word).map(|(kind, _)| *kind)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A fault of the program: what, who, where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// `%tid` of the thread (the lowest lane, when a whole warp is at fault).
    pub thread: [u32; 3],
    /// `%ctaid` of its block.
    pub block: [u32; 3],
    /// Line of the PTX text; 0 when the module was built rather than parsed.
    pub line: u32,
    /// The instruction as written.
    pub instruction: String,
    /// The address, for faults of memory: as the instruction gave it, in the address space that it named.
    pub address: Option<u64>,
    /// The buffer, variable or space that the address belongs to or is nearest to.
    pub buffer: Option<String>,
    /// The rest, in words.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.thread;
        let [bx, by, bz] = self.block;
        write!(
            f,
            "{} at line {} in thread ({x}, {y}, {z}) of block ({bx}, {by}, {bz}): `{}`: {}",
            self.kind, self.line, self.instruction, self.detail
        )
    }
}

impl std::error::Error for Fault {}

/// Why the machine itself could not run, or go on with, a launch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The launch is not one that a GPU would accept.
    #[error("the launch cannot be made: {reason}")]
    Launch {
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes given for the parameters are not as many as the kernel takes.
    #[error("the kernel takes {expected} bytes of parameters, {given} were given")]
    Parameters {
        /// What the kernel takes.
        expected: usize,
        /// What was given.
        given: usize,
    },
    /// The launch needs more memory than the machine allows one block or one module.
    #[error("{what} needs {bytes} bytes, the machine allows {limit}")]
    OutOfMemory {
        /// For what.
        what: String,
        /// How much.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A form that decoding let through but that turns out not to be runnable with these operands.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The program is at fault.
    Fault(Box<Fault>),
    /// The machine could not do it; this says nothing about the program.
    Machine(MachineError),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Fault(fault) => fault.fmt(f),
            Stop::Machine(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Stop {}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(Box::new(fault))
    }
}

impl From<MachineError> for Stop {
    fn from(error: MachineError) -> Stop {
        Stop::Machine(error)
    }
}
