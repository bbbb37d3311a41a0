//! The decoded instruction.

pub(crate) mod bulk;
pub(crate) mod launch_control;
pub(crate) mod matrix;
pub(crate) mod mbarrier;
pub(crate) mod tcgen05;

use self::mbarrier::Scope;
use super::lanes::{AluFn, Slots};
use super::report::Class;

/// One decoded instruction: no strings, registers as slots, targets as indices.
pub(crate) struct Inst {
    /// What an ALU instruction runs.
    pub(crate) alu: AluFn,
    pub(crate) slots: Slots,
    /// Slot of the guard predicate, or [`NONE`](super::lanes::NONE).
    pub(crate) guard: u32,
    pub(crate) guard_negated: bool,
    pub(crate) class: Class,
    /// Not in the text: makes an operand ready for the next instruction; not counted.
    pub(crate) hidden: bool,
    pub(crate) kind: Kind,
}

/// What kind of work an instruction is.
pub(crate) enum Kind {
    /// `inst.alu` on the frame's words.
    Alu,
    /// Nothing happens (fences without a meaning for values, prefetches, hints).
    Nop,
    /// To the target, for the lanes that the guard lets through.
    Branch(u32),
    /// `brx.idx`: index in slot `a`.
    BranchTable(Box<[u32]>),
    Call(Box<Call>),
    Return,
    Exit,
    Trap,
    Load(Box<Access>),
    Store(Box<Access>),
    Atomic(Box<Atomic>),
    /// A load from the kernel's parameters at a fixed place: the bytes, then broadcast.
    Parameter(Box<Access>),
    Shuffle(Box<Shuffle>),
    Warp(Box<WarpOp>),
    Barrier(Box<Barrier>),
    /// `fence`, `membar`
    Fence(FenceKind),
    /// `barrier.cluster.arrive`
    ClusterArrive {
        aligned: bool,
        relaxed: bool,
    },
    /// `barrier.cluster.wait`
    ClusterWait {
        aligned: bool,
    },
    /// `setmaxnreg`
    SetRegisters {
        count: u32,
    },
    /// `cp.async`
    CopyAsync(Box<CopyAsync>),
    /// `cp.async.commit_group`
    CopyCommit,
    /// `cp.async.wait_group n`; `wait_all` has `all`.
    CopyWait {
        pending: u32,
        all: bool,
    },
    /// `mov` from a register that is read while running.
    Special(Special),
    /// `mapa`: `d` of 1 (u32) or 2 rows (u64), address in `a`, rank in `b`.
    MapShared {
        wide: bool,
        generic: bool,
    },
    /// `getctarank`
    ClusterRank {
        wide: bool,
        generic: bool,
    },
    /// `isspacep`
    IsSpace(Space),
    /// `nanosleep`: lets others run.
    Yield,
    /// `mbarrier.*`
    Mbarrier(Box<mbarrier::Mbarrier>),
    /// Bulk and tensor copies, `st.async`, `red.async`, and their groups.
    Bulk(Box<bulk::Bulk>),
    /// `ldmatrix`, `stmatrix`, `movmatrix`, `mma`, `wgmma`.
    Matrix(Box<matrix::Matrix>),
    /// `clusterlaunchcontrol.*`
    LaunchControl(Box<launch_control::LaunchControl>),
    /// `tcgen05.*`
    Tcgen05(Box<tcgen05::Tcgen05>),
}

/// What a fence orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FenceKind {
    Memory {
        scope: Scope,
        acquire: bool,
        release: bool,
    },
    /// `fence.mbarrier_init`
    MbarrierInit,
    /// `fence.proxy.async` in all its forms.
    ProxyAsync,
    /// `fence.proxy.tensormap::generic.acquire`
    TensorMapAcquire,
    /// Proxies that the machine does not tell from the generic one: alias, releases of tensor maps.
    Other,
}

/// State space that an access names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Generic,
    Global,
    Shared,
    SharedCluster,
    Local,
    Const,
    Param,
}

/// `[base+offset]`
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    /// Slot of the base register, or [`NONE`](super::lanes::NONE).
    pub(crate) base: u32,
    /// Whether the base has 64 bits.
    pub(crate) wide: bool,
    pub(crate) offset: i64,
}

/// One element of a load or store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element {
    /// Register, or [`NONE`](super::lanes::NONE) for `_`.
    pub(crate) slot: u32,
    /// 32-bit rows that the register has (1, 2 or 4).
    pub(crate) rows: u8,
}

/// A load or store.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) space: Space,
    pub(crate) address: Address,
    /// Bytes of one element: 1, 2, 4, 8 or 16.
    pub(crate) size: u8,
    /// Sign-extend into a wider register.
    pub(crate) signed: bool,
    /// A 16-bit register holds it: extension stops at 16 bits.
    pub(crate) half: bool,
    pub(crate) elements: Vec<Element>,
    /// `.volatile`, `.relaxed`, `.acquire`, `.release`, `.mmio`: not a data race by itself.
    pub(crate) strong: bool,
    pub(crate) scope: Scope,
    pub(crate) acquire: bool,
    pub(crate) release: bool,
}

/// Operation of `atom` and `red`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicOp {
    Exchange,
    CompareSwap,
    And,
    Or,
    Xor,
    Add,
    Increment,
    Decrement,
    Min,
    Max,
}

/// Type that an atomic works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicType {
    B16,
    B32,
    B64,
    B128,
    U32,
    S32,
    U64,
    S64,
    F16,
    F16x2,
    BF16,
    BF16x2,
    F32,
    F64,
}

impl AtomicType {
    pub(crate) fn size(self) -> u8 {
        match self {
            AtomicType::B16 | AtomicType::F16 | AtomicType::BF16 => 2,
            AtomicType::B128 => 16,
            AtomicType::B64 | AtomicType::U64 | AtomicType::S64 | AtomicType::F64 => 8,
            _ => 4,
        }
    }
}

/// `atom` or `red`.
#[derive(Clone, Debug)]
pub(crate) struct Atomic {
    pub(crate) op: AtomicOp,
    pub(crate) ty: AtomicType,
    pub(crate) space: Space,
    pub(crate) address: Address,
    /// Destinations, one an element; empty for `red`.
    pub(crate) results: Vec<Element>,
    /// Operands `b`, one an element.
    pub(crate) operands: Vec<Element>,
    /// Operand `c` of `cas`.
    pub(crate) third: Option<Element>,
    pub(crate) scope: Scope,
    pub(crate) acquire: bool,
    pub(crate) release: bool,
}

/// Mode of `shfl.sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

/// `shfl.sync`: value in `a`, lane operand in `b`, clamp and segment mask in `c`, result in `d`.
#[derive(Clone, Debug)]
pub(crate) struct Shuffle {
    pub(crate) mode: ShuffleMode,
    /// Slot of the predicate that says whether the source was in range, or none.
    pub(crate) in_range: u32,
    /// Slot of the member mask.
    pub(crate) members: u32,
}

/// Warp-wide operations; member mask in `members`, operand in `a`, result in `d`.
#[derive(Clone, Debug)]
pub(crate) struct WarpOp {
    pub(crate) members: u32,
    pub(crate) op: WarpOpKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WarpOpKind {
    /// `bar.warp.sync`
    Sync,
    /// `vote.sync`: `a` is a predicate (negated when said), `d` a predicate.
    All {
        negated: bool,
    },
    Any {
        negated: bool,
    },
    Uniform {
        negated: bool,
    },
    /// `d` a 32-bit register.
    Ballot {
        negated: bool,
    },
    /// `match.any.sync`
    MatchAny {
        wide: bool,
    },
    /// `match.all.sync`, the predicate in slot `e`.
    MatchAll {
        wide: bool,
    },
    /// `redux.sync`
    Reduce(ReduceOp),
    /// `elect.sync d|p`: the predicate in slot `e`.
    Elect,
    /// `activemask`: waits for nobody.
    ActiveMask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReduceOp {
    Add,
    MinU,
    MaxU,
    MinS,
    MaxS,
    And,
    Or,
    Xor,
    /// f32 with `.abs` and `.NaN` (sm_100a)
    MinF {
        abs: bool,
        nan: bool,
    },
    MaxF {
        abs: bool,
        nan: bool,
    },
}

/// Block barriers: id in slot `a`, thread count in slot `b` or none.
#[derive(Clone, Debug)]
pub(crate) struct Barrier {
    pub(crate) kind: BarrierKind,
    pub(crate) aligned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarrierKind {
    Sync,
    Arrive,
    /// Predicate operand in `c`, result (32-bit) in `d`.
    Popc {
        negated: bool,
    },
    /// Predicate operand in `c`, predicate result in `d`.
    And {
        negated: bool,
    },
    Or {
        negated: bool,
    },
}

/// `cp.async`: destination address, source address, size, bytes read from the source in slot `c` or none.
#[derive(Clone, Debug)]
pub(crate) struct CopyAsync {
    pub(crate) destination: Address,
    pub(crate) source: Address,
    pub(crate) size: u8,
    /// Slot of `src-size`, or none.
    pub(crate) source_size: u32,
    /// Slot of the `ignore-src` predicate, or none.
    pub(crate) ignore: u32,
    pub(crate) ignore_negated: bool,
}

/// Registers whose value is not fixed when a warp starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Clock,
    Clock64,
    ClockHigh,
}

/// A call. Arguments and results are copied row by row between frames.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Index of the function, or none for a call through the register in `a`.
    pub(crate) function: Option<u32>,
    /// Functions that an indirect call may reach.
    pub(crate) targets: Vec<u32>,
    /// Slots in the caller and rows of each argument.
    pub(crate) arguments: Vec<(u32, u32)>,
    /// Slots in the caller and rows of each result.
    pub(crate) results: Vec<(u32, u32)>,
}
