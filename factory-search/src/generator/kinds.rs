//! What every node of a program is computed in, how far out of the loops it can stand, and in which pass it is known.

use factory_spec::{
    BinaryOp, BoundSpec, DType, NodeId, Op, Program, ReduceOp, SizeId, SizeKind, Ty, UnaryOp,
};

use super::declined::{Declined, Reason};
use super::split::Split;

/// The largest size that is taken for granted where the spec states none: far beyond any memory.
const SIZE_LIMIT: i128 = 1 << 40;

/// What a value is held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The program's float: `f32`, or `f64` where a tensor is `f64`.
    Float,
    /// 32-bit integer.
    S32,
    /// 64-bit integer. Beyond it arithmetic wraps; the oracle's f64 is not exact there either.
    S64,
    /// Truth value.
    Bool,
}

/// Where a value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Never during a launch.
    Launch,
    /// From row to row.
    Row,
    /// From column to column.
    Element,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Info {
    pub(crate) kind: Kind,
    pub(crate) scope: Scope,
    /// Number of reductions that must be finished one after the other before it is known.
    pub(crate) level: usize,
    /// Whether it varies with the row at all.
    pub(crate) by_row: bool,
    /// Limits of an integer.
    pub(crate) interval: Option<(i128, i128)>,
}

/// What is known of every node.
#[derive(Clone, Debug)]
pub(crate) struct Kinds {
    pub(crate) info: Vec<Info>,
    /// Whether floats are f64.
    pub(crate) double: bool,
    /// Whether some output shows more than 16 bits of a float.
    pub(crate) precise: bool,
    /// The highest level of all.
    pub(crate) levels: usize,
}

impl Kinds {
    /// `wide`: sizes may exceed 31 bits.
    pub(crate) fn new(spec: &BoundSpec, program: &Program, split: &Split, wide: bool) -> Kinds {
        let mut kinds =
            Kinds { info: Vec::with_capacity(program.nodes.len()), double: false, precise: false, levels: 0 };
        for node in &program.nodes {
            let info = kinds.of(spec, split, &node.op, node.ty, &node.dims, wide);
            kinds.levels = kinds.levels.max(info.level);
            kinds.info.push(info);
        }
        let tensors = || split.tensors.iter().map(|access| &spec.args[access.arg.index()]);
        let wide_integer_of_float = program.outputs.iter().any(|&(arg, node)| {
            matches!(spec.args[arg.index()].dtype, DType::I32 | DType::U32 | DType::I64)
                && kinds[node].kind == Kind::Float
        });
        kinds.double = tensors().any(|arg| arg.dtype == DType::F64) || wide_integer_of_float;
        kinds.precise = kinds.double || tensors().any(|arg| arg.role.writes() && arg.dtype == DType::F32);
        kinds
    }

    fn of(&self, spec: &BoundSpec, split: &Split, op: &Op, ty: Ty, dims: &[SizeId], wide: bool) -> Info {
        let operands: Vec<Info> = op.operands().iter().map(|&id| self[id]).collect();
        let scope = if dims.iter().any(|size| split.columns.contains(size)) {
            Scope::Element
        } else if let Op::Arg(arg) = op {
            if spec.args[arg.index()].scalar { Scope::Launch } else { Scope::Row }
        } else if matches!(op, Op::Reduce { .. })
            || !dims.is_empty()
            || operands.iter().any(|info| info.scope != Scope::Launch)
        {
            Scope::Row
        } else {
            Scope::Launch
        };
        let level = operands.iter().map(|info| info.level).max().unwrap_or(0)
            + usize::from(matches!(op, Op::Reduce { .. }));
        let by_row =
            dims.iter().any(|size| split.rows.contains(size)) || operands.iter().any(|info| info.by_row);
        let interval = if ty == Ty::Bool { None } else { self.interval(spec, split, op, &operands, wide) };
        let kind = match (ty, interval) {
            (Ty::Bool, _) => Kind::Bool,
            (_, None) => Kind::Float,
            (_, Some((low, high))) if low >= i128::from(i32::MIN) && high <= i128::from(i32::MAX) => {
                Kind::S32
            }
            _ => Kind::S64,
        };
        Info { kind, scope, level, by_row, interval }
    }

    /// Limits of a value that is an integer by construction.
    fn interval(
        &self,
        spec: &BoundSpec,
        split: &Split,
        op: &Op,
        operands: &[Info],
        wide: bool,
    ) -> Option<(i128, i128)> {
        let of = |index: usize| operands[index].interval;
        let size_limit = |size: SizeId| -> i128 {
            let limit = match spec.size(size).kind {
                SizeKind::Free { max, .. } => max.map_or(SIZE_LIMIT, i128::from),
                SizeKind::Fixed(value) => i128::from(value),
                SizeKind::Derived(_) => SIZE_LIMIT,
            };
            if wide { limit.min(SIZE_LIMIT) } else { limit.min(i128::from(i32::MAX)) }
        };
        match op {
            Op::Arg(arg) => dtype_interval(spec.args[arg.index()].dtype),
            Op::Const(value) => (value.fract() == 0.0 && value.abs() < 2f64.powi(53))
                .then_some((*value as i128, *value as i128)),
            Op::Size(size) => Some((i128::from(super::variant::bounds(spec, *size).0), size_limit(*size))),
            Op::Iota(size) => Some((0, (size_limit(*size) - 1).max(0))),
            Op::Unary(UnaryOp::Neg, _) => of(0).map(|(low, high)| (-high, -low)),
            Op::Unary(UnaryOp::Abs, _) => {
                of(0).map(|(low, high)| (if low > 0 { low } else { 0 }, high.abs().max(low.abs())))
            }
            Op::Unary(UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round, _) => of(0),
            Op::Unary(..) => None,
            Op::Binary(op, ..) => {
                let ((a, b), (c, d)) = (of(0)?, of(1)?);
                match op {
                    BinaryOp::Add => Some(saturate(a + c, b + d)),
                    BinaryOp::Sub => Some(saturate(a - d, b - c)),
                    BinaryOp::Mul => {
                        let products = [a * c, a * d, b * c, b * d];
                        Some(saturate(products.into_iter().min()?, products.into_iter().max()?))
                    }
                    BinaryOp::Min => Some((a.min(c), b.min(d))),
                    BinaryOp::Max => Some((a.max(c), b.max(d))),
                    // A remainder by zero is NaN, which an integer cannot be.
                    BinaryOp::Rem if c > 0 => {
                        Some((if a < 0 { (1 - d).max(a) } else { 0 }, if b > 0 { (d - 1).min(b) } else { 0 }))
                    }
                    _ => None,
                }
            }
            Op::Select(..) => {
                let ((a, b), (c, d)) = (of(1)?, of(2)?);
                Some((a.min(c), b.max(d)))
            }
            Op::Cast(dtype, _) => {
                let (low, high) = dtype_interval(*dtype)?;
                if operands[0].kind == Kind::Bool {
                    return Some((0, 1));
                }
                Some(of(0).map_or((low, high), |(a, b)| (a.clamp(low, high), b.clamp(low, high))))
            }
            Op::Reduce { op, over, .. } => {
                let limit = split
                    .columns
                    .iter()
                    .filter(|size| over.contains(size))
                    .map(|&size| size_limit(size))
                    .product::<i128>();
                match op {
                    ReduceOp::ArgMin | ReduceOp::ArgMax => Some((0, (limit - 1).max(0))),
                    ReduceOp::Sum => of(0).map(|(low, high)| {
                        let limit = limit.min(1 << 62);
                        saturate(low.saturating_mul(limit).min(0), high.saturating_mul(limit).max(0))
                    }),
                    ReduceOp::Min | ReduceOp::Max => of(0),
                    _ => None,
                }
            }
            Op::Compare(..) | Op::Logic(..) | Op::Not(_) => None,
        }
    }
}

impl std::ops::Index<NodeId> for Kinds {
    type Output = Info;

    fn index(&self, node: NodeId) -> &Info {
        &self.info[node.index()]
    }
}

fn saturate(low: i128, high: i128) -> (i128, i128) {
    (low.max(i128::from(i64::MIN)), high.min(i128::from(i64::MAX)))
}

/// Limits of an integer dtype.
pub(crate) fn dtype_interval(dtype: DType) -> Option<(i128, i128)> {
    match dtype {
        DType::I8 => Some((-128, 127)),
        DType::U8 => Some((0, 255)),
        DType::I32 => Some((i128::from(i32::MIN), i128::from(i32::MAX))),
        DType::U32 => Some((0, i128::from(u32::MAX))),
        DType::I64 => Some((i128::from(i64::MIN), i128::from(i64::MAX))),
        _ => None,
    }
}

impl Kinds {
    /// Declines reductions of integers that have no value where nothing is reduced.
    pub(crate) fn check_empty(
        &self,
        spec: &BoundSpec,
        program: &Program,
        split: &Split,
    ) -> Result<(), Declined> {
        let may_be_empty = split.columns.iter().any(|&size| super::variant::bounds(spec, size).0 == 0);
        for node in &program.nodes {
            let Op::Reduce { op, input, .. } = node.op else { continue };
            let integer = matches!(self[input].kind, Kind::S32 | Kind::S64);
            if may_be_empty && integer && matches!(op, ReduceOp::Min | ReduceOp::Max) {
                let sizes = split
                    .columns
                    .iter()
                    .map(|&size| spec.size(size).name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ");
                return Err(Declined::at(Reason::EmptyReduction { op: op.name(), sizes }, node.span));
            }
        }
        Ok(())
    }
}
