//! The fifth-generation tensor core: tensor memory and what works on it (sm_100a).

use super::{Address, Element, ReduceOp, Space};

/// One decoded operation (PTX ISA 9.0, section 9.7.16).
#[derive(Clone, Debug)]
pub(crate) enum Tcgen05 {
    /// `tcgen05.alloc`: the address goes to shared memory, the number of columns is in slot `a`.
    Allocate { pair: bool, space: Space, address: Address },
    /// `tcgen05.dealloc`: tensor-memory address in slot `a`, columns in slot `b`.
    Deallocate { pair: bool },
    /// `tcgen05.relinquish_alloc_permit`
    Relinquish { pair: bool },
    /// `tcgen05.ld`
    Load(Transfer),
    /// `tcgen05.st`
    Store(Transfer),
    /// `tcgen05.wait::ld`
    WaitLoad,
    /// `tcgen05.wait::st`
    WaitStore,
    /// `tcgen05.fence::before_thread_sync`
    FenceBefore,
    /// `tcgen05.fence::after_thread_sync`
    FenceAfter,
    /// `tcgen05.cp`: source descriptor in slot `a`.
    Copy { pair: bool, shape: CopyShape, format: CopyFormat, target: Address },
    /// `tcgen05.shift.down`
    Shift { pair: bool, target: Address },
    /// `tcgen05.mma`, `tcgen05.mma.ws`
    Multiply(Multiply),
    /// `tcgen05.commit`
    Commit {
        pair: bool,
        space: Space,
        address: Address,
        /// Slot of the 16-bit mask of ranks, or none.
        mask: u32,
    },
}

impl Tcgen05 {
    /// Whether `.cta_group::2` was said, where a group has to be.
    pub(crate) fn pair(&self) -> Option<bool> {
        match self {
            Tcgen05::Allocate { pair, .. }
            | Tcgen05::Deallocate { pair }
            | Tcgen05::Relinquish { pair }
            | Tcgen05::Copy { pair, .. }
            | Tcgen05::Shift { pair, .. }
            | Tcgen05::Commit { pair, .. } => Some(*pair),
            Tcgen05::Multiply(multiply) => Some(multiply.pair),
            _ => None,
        }
    }
}

/// Lanes and columns that one `tcgen05.ld` or `.st` touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferShape {
    Lanes16Bits64,
    Lanes16Bits128,
    Lanes16Bits256,
    Lanes32Bits32,
    /// Two accesses of 16 lanes, this many columns apart.
    Lanes16Bits32Twice(u32),
}

/// `tcgen05.ld` and `.st`.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) shape: TransferShape,
    /// `.pack::16b`, `.unpack::16b`: two columns a register.
    pub(crate) packed: bool,
    pub(crate) address: Address,
    pub(crate) registers: Vec<Element>,
    /// `.red`: how, whether the values are signed or floats, and the slot that gets the result.
    pub(crate) reduce: Option<(ReduceOp, u32)>,
}

/// What `tcgen05.cp` copies: rows of shared memory, and the lanes that get them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyShape {
    Rows128Bits256,
    Rows128Bits128,
    /// One row to the first lane of each warp's quarter.
    Rows4Bits256,
    /// `.warpx2::02_13`
    Rows64Pairs02,
    /// `.warpx2::01_23`
    Rows64Pairs01,
    /// `.warpx4`
    Rows32ToAll,
}

/// Decompression on the way to tensor memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyFormat {
    Plain,
    /// 16 values of 6 bits in 12 bytes, 4 bytes of padding.
    Six,
    /// 16 values of 4 bits in 8 bytes, 8 bytes of padding.
    Four,
}

/// `.kind::`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MultiplyKind {
    F16,
    Tf32,
    F8F6F4,
    I8,
    /// Block-scaled: [`F8F6F4`](Self::F8F6F4) with a scale for 32 values.
    MxF8F6F4,
    /// Block-scaled e2m1, 64 deep, with a scale for 32 values.
    MxF4,
    /// Block-scaled e2m1, 64 deep, with a scale for 32 or 16 values.
    MxF4NvF4,
}

/// Matrix `A`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Left {
    /// Slot of a matrix descriptor.
    Shared(u32),
    Tensor(Address),
}

/// `tcgen05.mma`: B's descriptor in slot `b`, the instruction descriptor in slot `c`, `enable-input-d` in slot `e`.
#[derive(Clone, Debug)]
pub(crate) struct Multiply {
    pub(crate) pair: bool,
    pub(crate) kind: MultiplyKind,
    /// `.ws`
    pub(crate) weights: bool,
    pub(crate) shift_a: bool,
    pub(crate) target: Address,
    pub(crate) left: Left,
    /// `disable-output-lane`: 4 or 8 slots, or none.
    pub(crate) disabled: Vec<u32>,
    pub(crate) negated: bool,
    /// `scale-input-d`
    pub(crate) scale: u32,
    /// Scale factors of block-scaled kinds.
    pub(crate) factors: Option<Factors>,
}

/// Where the scale factors of A and B lie, and how many there are along K.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors {
    pub(crate) a: Address,
    pub(crate) b: Address,
    pub(crate) count: usize,
}
