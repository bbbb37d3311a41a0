//! How far an output may be from the oracle.
//!
//! What a spec states for an output holds. A norm alone leaves room for a few elements that are nothing but wrong, so a
//! stated `relative_l2` without a bound on elements brings [`OUTLIER`] times as much for each element. Where it states nothing, the bounds follow from the reference. With u the unit
//! roundoff ([`DType::epsilon`]) of the output's dtype, c the sum of those of the dtypes that are cast to on the way, w
//! that of the working precision (f32; f64 for an f64 output), and
//!
//! ```text
//! depth = the largest sum, over the paths from an input to the output, of
//!         1 for arithmetic, 4 for a function, 2 + sqrt(K) for a sum or product of K terms
//! work  = 4 w depth
//! relative_l2     = u + c + work          storing costs at most u in each element, so also in the norm
//! max_relative    = 1.01 u + 3 c + 4 work     relative to the larger of the element and its row's root mean square
//! beyond_rounding = u / 16 + c / 4 + work     the norm of what exceeds half a unit in the last place of the output
//! ```
//!
//! The square root is what rounding errors of either sign add up to. A kernel that computes in f32 and rounds once has
//! errors beyond half a unit in the last place of about w only: far inside the last bound, which one that accumulates in
//! bf16 or rounds between two steps exceeds by far. Outputs of integers have to be equal.
//!
//! How badly an output is conditioned depends on the inputs (a variance of equal values is all rounding error), so
//! [`tolerances_for`] measures it: the reference is evaluated again with every operation off by up to w, and whatever
//! distance that makes is forgiven [`NOISE`] times over.

use std::collections::BTreeMap;

use crate::draw::Case;
use crate::oracle::{Inputs, OracleError, Outputs, before_store, evaluate_disturbed};
use crate::{ArgId, BoundSpec, DType, NodeId, Op, Program, ReduceOp, Reference, SizeValues, UnaryOp};

/// How much more than the measured effect of rounding is forgiven.
pub const NOISE: f64 = 8.0;

/// How far an element may be off where the spec states the norm of the error alone, in multiples of that: six standard
/// deviations, which one of 10^9 normal errors reaches, with room.
pub const OUTLIER: f64 = 16.0;

/// The bounds of every output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tolerances(pub BTreeMap<ArgId, OutputTolerance>);

/// The bounds of one output. All that are stated must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputTolerance {
    /// Bound on the norm of the error over the norm of the expected output; twice this for each row
    pub relative_l2: Option<f64>,
    /// Bound on each element's error over the larger of its expected magnitude and its row's root mean square
    pub max_relative: Option<f64>,
    /// Bound on each element's error
    pub max_absolute: Option<f64>,
    /// Bound on the norm of what the errors exceed half a unit in the last place of the output's dtype by, over the
    /// norm of the expected output
    pub beyond_rounding: Option<f64>,
    /// Whether the output must equal the expected one rounded to its dtype
    pub exact: bool,
    /// How far each element moves when every operation is disturbed by the rounding of the working precision; empty
    /// where that was not evaluated
    pub noise: Vec<f64>,
}

/// The bounds that hold whatever the inputs: the spec's own, else derived from dtypes, casts and reduction lengths.
pub fn tolerances(spec: &BoundSpec, sizes: &SizeValues) -> Tolerances {
    let bounds = spec.outputs().map(|(id, arg)| {
        let stated = spec.correct.tolerance.get(&arg.name).copied().unwrap_or_default();
        let states_something = stated.exact
            || stated.relative_l2.is_some()
            || stated.max_relative.is_some()
            || stated.max_absolute.is_some();
        let tolerance = if states_something {
            OutputTolerance {
                relative_l2: stated.relative_l2,
                max_relative: stated.max_relative.or_else(|| {
                    let bounded = stated.exact || stated.max_absolute.is_some();
                    stated.relative_l2.filter(|_| !bounded).map(|norm| norm * OUTLIER)
                }),
                max_absolute: stated.max_absolute,
                exact: stated.exact,
                ..OutputTolerance::default()
            }
        } else {
            derived(spec, sizes, id, arg.dtype)
        };
        (id, tolerance)
    });
    Tolerances(bounds.collect())
}

/// The bounds for one case, whose inputs may be worse conditioned than most: those of [`tolerances`], and the noise.
///
/// A C reference cannot be disturbed, so it has no noise.
pub fn tolerances_for(
    spec: &BoundSpec,
    case: &Case,
    inputs: &Inputs,
    expected: &Outputs,
) -> Result<Tolerances, OracleError> {
    let mut tolerances = tolerances(spec, &case.sizes);
    for precision in [DType::F32, DType::F64] {
        let concerned: Vec<ArgId> = spec
            .outputs()
            .filter(|(id, arg)| {
                working_precision(arg.dtype) == precision && !is_exact_float(&tolerances, *id, arg.dtype)
            })
            .map(|(id, _)| id)
            .collect();
        if concerned.is_empty() {
            continue;
        }
        let Some(disturbed) = evaluate_disturbed(spec, &case.sizes, inputs, precision.epsilon(), case.seed)?
        else {
            return Ok(tolerances);
        };
        for id in concerned {
            let (Some(disturbed), Some(expected), Some(tolerance)) =
                (disturbed.get(id), expected.get(id), tolerances.0.get_mut(&id))
            else {
                continue;
            };
            tolerance.noise = disturbed
                .iter()
                .zip(expected)
                .map(|(disturbed, expected)| {
                    let distance = (disturbed - expected).abs();
                    if distance.is_finite() { distance } else { 0.0 }
                })
                .collect();
        }
    }
    Ok(tolerances)
}

fn is_exact_float(tolerances: &Tolerances, id: ArgId, dtype: DType) -> bool {
    dtype.is_float() && tolerances.0.get(&id).is_some_and(|tolerance| tolerance.exact)
}

/// What an honest kernel computes in.
pub(crate) fn working_precision(output: DType) -> DType {
    if output == DType::F64 { DType::F64 } else { DType::F32 }
}

fn derived(spec: &BoundSpec, sizes: &SizeValues, id: ArgId, dtype: DType) -> OutputTolerance {
    if !dtype.is_float() {
        return OutputTolerance { exact: true, ..OutputTolerance::default() };
    }
    let (depth, casts) = match &spec.reference {
        Reference::Program(program) => depth_and_casts(program, sizes, id, dtype),
        // Nothing is known of a C function: as deep as a sum over its largest input, and some functions.
        Reference::C(_) => {
            let largest = spec.inputs().map(|(_, arg)| spec.elements(arg, sizes)).max().unwrap_or(1);
            (16.0 + (largest as f64).sqrt(), 0.0)
        }
    };
    let unit = dtype.epsilon();
    let work = 4.0 * working_precision(dtype).epsilon() * depth;
    OutputTolerance {
        relative_l2: Some(unit + casts + work),
        max_relative: Some(1.01 * unit + 3.0 * casts + 4.0 * work),
        beyond_rounding: Some(unit / 16.0 + casts / 4.0 + work),
        ..OutputTolerance::default()
    }
}

/// The depth of an output's value, and the sum of the unit roundoffs of the casts that it needs.
fn depth_and_casts(program: &Program, sizes: &SizeValues, output: ArgId, dtype: DType) -> (f64, f64) {
    let Some((_, root)) = program.outputs.iter().find(|(id, _)| *id == output) else {
        return (0.0, 0.0);
    };
    let root = before_store(program, *root, dtype);
    let mut depth = vec![0.0f64; program.nodes.len()];
    let mut casts = 0.0;
    for id in program.cone(root) {
        let node = program.node(id);
        let below =
            node.op.operands().iter().map(|operand: &NodeId| depth[operand.index()]).fold(0.0, f64::max);
        let own = match &node.op {
            Op::Cast(dtype, _) => {
                casts += dtype.epsilon();
                0.0
            }
            Op::Unary(UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round, _) => {
                0.0
            }
            Op::Unary(..) => 4.0,
            Op::Binary(..) => 1.0,
            Op::Reduce { op: ReduceOp::Sum | ReduceOp::Mean | ReduceOp::Prod, over, .. } => {
                2.0 + over.iter().map(|size| sizes[*size] as f64).product::<f64>().sqrt()
            }
            _ => 0.0,
        };
        depth[id.index()] = below + own;
    }
    (depth[root.index()].max(1.0), casts)
}
