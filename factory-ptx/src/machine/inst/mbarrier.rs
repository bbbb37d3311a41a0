//! Operations on mbarrier objects.

use super::{Address, Space};

/// Memory ordering of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Relaxed,
    Acquire,
    Release,
}

/// Threads among which an operation orders memory, narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Block,
    Cluster,
    Gpu,
    System,
}

/// One decoded operation. The object's address is in `address`; slots of `inst.slots`: result `d`, operands `a`, `b`.
#[derive(Clone, Debug)]
pub(crate) struct Mbarrier {
    pub(crate) kind: MbarrierKind,
    pub(crate) space: Space,
    pub(crate) address: Address,
    pub(crate) order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MbarrierKind {
    /// Count in `a`.
    Init,
    Inval,
    /// Bytes in `a`.
    ExpectTransactions,
    /// Bytes in `a`.
    CompleteTransactions,
    /// Count in `a` or none; bytes to expect in `b` or none; state (64 bits) into `d` or none.
    Arrive {
        no_complete: bool,
        drop: bool,
    },
    /// State (64 bits) or parity in `a`; predicate into `d`.
    Wait {
        parity: bool,
        blocks: bool,
    },
    /// State in `a`, count into `d`; touches no memory.
    PendingCount,
}
