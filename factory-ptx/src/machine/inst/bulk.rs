//! Bulk and tensor copies, `st.async`, `red.async`, `tensormap.replace`, and what waits for them.

use super::{Address, AtomicOp, AtomicType, Element, Space};
use crate::machine::tensor_map::Field;

/// One decoded operation. Slots of operands that may be left out are [`NONE`](crate::machine::lanes::NONE) then.
#[derive(Clone, Debug)]
pub(crate) enum Bulk {
    Copy(BulkCopy),
    Tensor(TensorCopy),
    /// `cp.async.bulk.prefetch`: address and slot of the size.
    Prefetch {
        source: Address,
        size: u32,
    },
    /// `cp.async.bulk.commit_group`
    Commit,
    /// `cp.async.bulk.wait_group`
    Wait {
        pending: u32,
        read: bool,
    },
    /// `tensormap.replace`: slot of the new value, of 64 bits or fewer.
    Replace {
        space: Space,
        address: Address,
        field: Field,
        value: u32,
        wide: bool,
    },
    /// `tensormap.cp_fenceproxy`: a tensor map goes from shared to global memory.
    CopyMap {
        destination: Address,
        source: Address,
    },
    /// `cp.async.mbarrier.arrive`
    Arrive {
        space: Space,
        address: Address,
        noinc: bool,
    },
    /// `st.async`
    Store(AsyncStore),
    /// `red.async`
    Reduce(AsyncReduce),
    /// `st.bulk`: zeros; slot of the 64-bit size.
    Zero {
        space: Space,
        address: Address,
        size: u32,
    },
}

/// From where to where a bulk copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the shared memory of this block or another one of the cluster.
    GlobalToShared {
        cluster: bool,
    },
    /// From this block's shared memory to one of the cluster.
    SharedToShared,
    SharedToGlobal,
}

/// What a copy does with each element at its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reduction {
    pub(crate) op: AtomicOp,
    pub(crate) ty: AtomicType,
    /// Subnormals become zeros (`FLOAT32_FTZ` of a tensor map).
    pub(crate) flush: bool,
}

/// `cp.async.bulk` and `cp.reduce.async.bulk`.
#[derive(Clone, Debug)]
pub(crate) struct BulkCopy {
    pub(crate) route: Route,
    pub(crate) destination: Address,
    pub(crate) source: Address,
    /// Slot of the number of bytes.
    pub(crate) size: u32,
    /// The mbarrier; without one the copy belongs to a bulk group.
    pub(crate) barrier: Option<Address>,
    /// Slot of the 16-bit mask of blocks.
    pub(crate) multicast: u32,
    /// Slot of the 16-bit mask of bytes in each 16.
    pub(crate) byte_mask: u32,
    pub(crate) reduction: Option<Reduction>,
}

/// `cp.async.bulk.tensor`, `cp.reduce.async.bulk.tensor` and `cp.async.bulk.prefetch.tensor`.
#[derive(Clone, Debug)]
pub(crate) struct TensorCopy {
    /// `None` for a prefetch.
    pub(crate) route: Option<Route>,
    pub(crate) map: Address,
    /// Slots of the coordinates.
    pub(crate) coordinates: Vec<u32>,
    /// The tile in shared memory.
    pub(crate) tile: Option<Address>,
    pub(crate) barrier: Option<Address>,
    pub(crate) multicast: u32,
    /// `.cta_group::2`: the mbarrier may be that of the other block of the pair.
    pub(crate) pair: bool,
    pub(crate) reduction: Option<AtomicOp>,
}

/// `st.async`: to shared memory of the cluster with an mbarrier, or (sm_100) to global memory.
#[derive(Clone, Debug)]
pub(crate) struct AsyncStore {
    pub(crate) space: Space,
    pub(crate) address: Address,
    /// Bytes of one element.
    pub(crate) size: u8,
    pub(crate) elements: Vec<Element>,
    pub(crate) barrier: Option<Address>,
}

/// `red.async`
#[derive(Clone, Debug)]
pub(crate) struct AsyncReduce {
    pub(crate) space: Space,
    pub(crate) address: Address,
    pub(crate) reduction: Reduction,
    pub(crate) operand: Element,
    pub(crate) barrier: Option<Address>,
}
