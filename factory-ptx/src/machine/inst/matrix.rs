//! Instructions on matrix fragments: loads, stores, transposes and products.

use super::{Address, Space};
use crate::machine::matrix::accumulate::{Model, Sum};
use crate::machine::matrix::format::Format;
use crate::machine::matrix::integer::Integer;
use crate::machine::matrix::layout::Layout;

/// One decoded operation.
#[derive(Clone, Debug)]
pub(crate) enum Matrix {
    /// `ldmatrix`
    Load(MatrixAccess),
    /// `stmatrix`
    Store(MatrixAccess),
    /// `movmatrix`: slots of the destination and the source.
    Transpose(u32, u32),
    /// `mma`
    Multiply(Multiply),
    /// `wmma.load`, `wmma.store`
    FragmentAccess(FragmentAccess),
    /// `wmma.mma`
    FragmentMultiply(FragmentMultiply),
    /// `wgmma.fence`
    GroupFence,
    /// `wgmma.mma_async`
    GroupMultiply(std::sync::Arc<GroupMultiply>),
    /// `wgmma.commit_group`
    GroupCommit,
    /// `wgmma.wait_group`
    GroupWait(u32),
}

/// `ldmatrix` and `stmatrix` of 8x8 matrices of 16 bits.
#[derive(Clone, Debug)]
pub(crate) struct MatrixAccess {
    pub(crate) space: Space,
    pub(crate) address: Address,
    pub(crate) transposed: bool,
    /// One register a matrix.
    pub(crate) registers: Vec<u32>,
}

/// How an instruction on floating-point operands gets from products to D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// In the multiplying units alone.
    Units(Model),
    /// 8-bit floats in `mma.sync`: widened to f16, multiplied in two steps (the first two of every four elements, then
    /// the others) that begin at zero, and C added last.
    Halves(Model),
    /// `m8n8k4` of f16, which ordinary f32 instructions compute: where D is f32 a chain of fused multiply-adds that
    /// begins at zero, and C added last; where it is f16, C and two sums of two products.
    Chain,
}

/// What an element is and how products are added.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arithmetic {
    Float {
        formats: (Format, Format),
        method: Method,
        /// Formats of C and D.
        sums: (Sum, Sum),
    },
    Integer {
        a: Integer,
        b: Integer,
        saturate: bool,
    },
    /// One-bit elements; `and` or `xor`.
    Bits {
        and: bool,
    },
    /// f64 in a rounding mode of [`number`](crate::machine::number).
    Double {
        rounding: u8,
    },
}

/// `mma.sync`: registers as slots of 32-bit rows (two for an f64).
#[derive(Clone, Debug)]
pub(crate) struct Multiply {
    /// Rows of A, columns of B, and the dimension between.
    pub(crate) shape: (usize, usize, usize),
    pub(crate) layout: Layout,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) a: Vec<u32>,
    pub(crate) b: Vec<u32>,
    pub(crate) c: Vec<u32>,
    pub(crate) d: Vec<u32>,
}

/// Rows of registers that follow each other: first slot, number of 32-bit rows.
pub(crate) type Rows = (u32, u32);

/// Operand A of `wgmma.mma_async`.
#[derive(Clone, Debug)]
pub(crate) enum GroupA {
    /// The four registers of a fragment.
    Registers(Vec<u32>),
    /// Slot of the descriptor (two rows), and whether A is transposed (M-major).
    Shared { descriptor: u32, transposed: bool },
}

/// `wgmma.mma_async`: 64 rows, 16 of them in each warp.
#[derive(Clone, Debug)]
pub(crate) struct GroupMultiply {
    /// Columns.
    pub(crate) n: usize,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) a: GroupA,
    /// Slot of the descriptor of B.
    pub(crate) b: u32,
    /// Whether B is transposed (N-major).
    pub(crate) b_transposed: bool,
    pub(crate) d: Vec<u32>,
    /// Slot of the predicate that says whether D is added to.
    pub(crate) adds: u32,
    pub(crate) adds_negated: bool,
    pub(crate) negate_a: bool,
    pub(crate) negate_b: bool,
    /// The registers of D, and of A, as runs of rows.
    pub(crate) d_rows: Vec<Rows>,
    pub(crate) a_rows: Vec<Rows>,
}

/// Which matrix of a product a `wmma` fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    A,
    B,
    /// C or D.
    C,
}

/// What a `wmma` fragment holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment {
    pub(crate) part: Part,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Of an element.
    pub(crate) bits: usize,
}

/// `wmma.load` and `wmma.store`.
#[derive(Clone, Debug)]
pub(crate) struct FragmentAccess {
    pub(crate) load: bool,
    pub(crate) space: Space,
    pub(crate) address: Address,
    /// Slot of the distance between rows (or columns) in elements, or [`NONE`](crate::machine::lanes::NONE).
    pub(crate) stride: u32,
    pub(crate) by_rows: bool,
    pub(crate) layout: Fragment,
    pub(crate) registers: Vec<u32>,
}

/// `wmma.mma`: registers as slots of 32-bit rows (two for an f64).
#[derive(Clone, Debug)]
pub(crate) struct FragmentMultiply {
    pub(crate) shape: (usize, usize, usize),
    pub(crate) arithmetic: Arithmetic,
    pub(crate) a: Vec<u32>,
    pub(crate) b: Vec<u32>,
    pub(crate) c: Vec<u32>,
    pub(crate) d: Vec<u32>,
}
