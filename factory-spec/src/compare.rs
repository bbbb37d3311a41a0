//! Whether outputs agree with the oracle.
//!
//! Every element of every output is looked at, class first: where NaN is expected there must be NaN, where an infinity,
//! the same infinity, and elsewhere a finite number. (Next to the limit of a dtype, where rounding errors decide between
//! the largest value and infinity, either will do; f8 saturates.) Then the bounds of [`OutputTolerance`]: on each
//! element, on each row, on the whole output.
//!
//! An error is a distance from the unrounded expected value, less what cannot be asked for: half the smallest subnormal
//! number of the dtype, four times the smallest normal f32 (kernels may flush subnormals to zero) except for f64, and
//! [`NOISE`] times the noise of the element or, where larger, of its row.
//!
//! Errors that are small on average may still stand close together: a tile of a few rows and columns is held to the bound
//! of a row, its errors over the larger of each element's expected magnitude and its row's root mean square.
//!
//! A *row* is what the last size spans; where that is fewer than 16 elements, as many sizes as make 16, or everything.

use std::fmt;

use crate::draw::Case;
use crate::oracle::Outputs;
use crate::tolerance::{NOISE, OutputTolerance, Tolerances, working_precision};
use crate::{Arg, BoundSpec, DType, SizeValues};

/// How well outputs agree, one entry for each output that was looked at, in the order of the spec's arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// The errors
    pub outputs: Vec<OutputError>,
}

/// How far one output is from what was expected. Errors are as the module says: beyond what cannot be asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputError {
    /// The output's name
    pub output: String,
    /// Elements that were compared: all of them
    pub compared: u64,
    /// Norm of the error over the norm of the expected output, finite elements only
    pub relative_l2: f64,
    /// The largest such norm of a single row
    pub worst_row_l2: f64,
    /// The largest norm of the error of a tile over that of its elements' magnitudes or, where larger, their rows' root
    /// mean squares
    pub worst_tile_l2: f64,
    /// The first element of that tile
    pub worst_tile: u64,
    /// How much more of the squared error the tile with most of it has than its share of the elements; 1 where errors are
    /// spread evenly, 0 where there are none
    pub clustering: f64,
    /// The norm of what exceeds half a unit in the last place, over the norm of the expected output
    pub beyond_rounding: f64,
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
    /// A buffer of the wrong length
    #[error("`{output}` has {given} bytes, the sizes ask for {expected}")]
    Length {
        /// The output
        output: String,
        /// Bytes that the sizes ask for
        expected: u64,
        /// Bytes that were given
        given: u64,
    },
    /// Nothing was expected of an output, so nothing can be said about it
    #[error("`{output}` has no expected values or no tolerance for these sizes")]
    NothingExpected {
        /// The output
        output: String,
    },
    /// One element is wrong
    #[error("`{output}`{place} is {actual:e} where {expected:e} was expected: {why}")]
    Element {
        /// The output
        output: String,
        /// The element, row-major
        index: u64,
        /// Its place
        place: Place,
        /// What the oracle says, not rounded to the dtype
        expected: f64,
        /// What is there
        actual: f64,
        /// What is wrong with it
        why: Why,
    },
    /// Many elements are a little wrong
    #[error(
        "`{output}`: {measure} is {value:.3e}, above the bound {bound:.3e}; the worst element is at{worst}"
    )]
    Norm {
        /// The output
        output: String,
        /// What was measured
        measure: Measure,
        /// Its value
        value: f64,
        /// Its bound
        bound: f64,
        /// The element that is off most, in the row where it is a row's measure
        worst: Place,
    },
}

/// An element's index along each size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(pub Vec<(String, u64)>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indices: Vec<String> = self.0.iter().map(|(size, index)| format!("{size}={index}")).collect();
        write!(f, "[{}]", indices.join(", "))
    }
}

/// What is wrong with an element.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// One is NaN and the other is not
    Nan,
    /// One is infinite and the other is not, or has the other sign
    Infinite,
    /// It has to be equal
    NotEqual,
    /// The error over the larger of the expected magnitude and the row's root mean square is above its bound
    Relative {
        /// The error
        error: f64,
        /// Its bound
        bound: f64,
    },
    /// The error is above its bound
    Absolute {
        /// The error
        error: f64,
        /// Its bound
        bound: f64,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Nan => f.write_str("NaN must be where it is expected, and nowhere else"),
            Why::Infinite => f.write_str("infinities must be where they are expected, and nowhere else"),
            Why::NotEqual => f.write_str("it must be equal"),
            Why::Relative { error, bound } => {
                write!(f, "relative error {error:.3e}, above the bound {bound:.3e}")
            }
            Why::Absolute { error, bound } => write!(f, "error {error:.3e}, above the bound {bound:.3e}"),
        }
    }
}

/// A measure of a whole output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// The norm of the error over the norm of what is expected
    RelativeL2,
    /// The same of one row
    RowL2,
    /// The norm of the error of one tile over that of its magnitudes
    TileL2,
    /// The norm of what exceeds half a unit in the last place
    BeyondRounding,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Measure::RelativeL2 => "the relative L2 error",
            Measure::RowL2 => "the relative L2 error of a row",
            Measure::TileL2 => "the relative L2 error of a tile",
            Measure::BeyondRounding => "the relative L2 error beyond rounding to the dtype",
        })
    }
}

/// Compares the bytes of each output, in the order of [`BoundSpec::outputs`], with what the oracle says.
pub fn compare(
    spec: &BoundSpec,
    case: &Case,
    expected: &Outputs,
    actual: &[&[u8]],
    tolerances: &Tolerances,
) -> Result<Agreement, Mismatch> {
    let actual: Vec<Option<&[u8]>> = actual.iter().copied().map(Some).collect();
    compare_some(spec, case, expected, &actual, tolerances)
}

/// The same for some of the outputs alone; `None` for one that is not looked at.
pub fn compare_some(
    spec: &BoundSpec,
    case: &Case,
    expected: &Outputs,
    actual: &[Option<&[u8]>],
    tolerances: &Tolerances,
) -> Result<Agreement, Mismatch> {
    let outputs = spec.outputs().count();
    if actual.len() != outputs {
        return Err(Mismatch::Outputs { expected: outputs, given: actual.len() });
    }
    let mut agreement = Agreement::default();
    for ((id, arg), bytes) in spec.outputs().zip(actual) {
        let Some(bytes) = bytes else { continue };
        let nothing = || Mismatch::NothingExpected { output: arg.name.clone() };
        let values = expected.get(id).ok_or_else(nothing)?;
        let tolerance = tolerances.0.get(&id).ok_or_else(nothing)?;
        let elements = spec.elements(arg, &case.sizes);
        if values.len() != elements || !(tolerance.noise.is_empty() || tolerance.noise.len() == elements) {
            return Err(nothing());
        }
        if bytes.len() != elements * arg.dtype.size() {
            return Err(Mismatch::Length {
                output: arg.name.clone(),
                expected: (elements * arg.dtype.size()) as u64,
                given: bytes.len() as u64,
            });
        }
        let largest =
            values.iter().copied().filter(|value| value.is_finite()).fold(0.0, |a: f64, b| a.max(b.abs()));
        let unit = if largest > 2f64.powi(500) { 2f64.powi(-600) } else { 1.0 };
        let output = Output { spec, arg, sizes: &case.sizes, tolerance, unit };
        agreement.outputs.push(output.compare(values, bytes)?);
    }
    Ok(agreement)
}

struct Output<'a> {
    spec: &'a BoundSpec,
    arg: &'a Arg,
    sizes: &'a SizeValues,
    tolerance: &'a OutputTolerance,
    /// A power of two that keeps the squares of f64 outputs finite
    unit: f64,
}

/// Sums of squares of one row or of all.
#[derive(Clone, Copy, Default)]
struct Squares {
    expected: f64,
    error: f64,
    beyond: f64,
}

/// A ratio of norms in which nothing off is 0 even where nothing is expected.
fn ratio(error: f64, expected: f64) -> f64 {
    if error == 0.0 { 0.0 } else { (error / expected).sqrt() }
}

impl Output<'_> {
    fn compare(&self, expected: &[f64], bytes: &[u8]) -> Result<OutputError, Mismatch> {
        let dtype = self.arg.dtype;
        let row = self.row();
        let mut error = OutputError { output: self.arg.name.clone(), ..OutputError::default() };
        let mut whole = Squares::default();
        let mut tiles = Tiles::new(self.inner(), expected.len());
        let mut actual = Vec::new();
        for (number, expected) in expected.chunks(row).enumerate() {
            let first = number * row;
            actual.clear();
            dtype.decode(&bytes[first * dtype.size()..(first + expected.len()) * dtype.size()], &mut actual);
            let noise = self.tolerance.noise.get(first..first + expected.len()).unwrap_or(&[]);
            let (squares, worst) =
                self.compare_row(first, expected, &actual, noise, &mut error, &mut tiles)?;
            let row_l2 = ratio(squares.error, squares.expected);
            error.worst_row_l2 = error.worst_row_l2.max(row_l2);
            if let Some(bound) = self.tolerance.relative_l2
                && row_l2 > 2.0 * bound
            {
                return Err(self.norm(Measure::RowL2, row_l2, 2.0 * bound, worst));
            }
            whole.expected += squares.expected;
            whole.error += squares.error;
            whole.beyond += squares.beyond;
        }
        tiles.finish(&mut error);
        if let Some(bound) = self.tolerance.relative_l2
            && error.worst_tile_l2 > 2.0 * bound
        {
            return Err(self.norm(Measure::TileL2, error.worst_tile_l2, 2.0 * bound, error.worst_tile));
        }
        error.relative_l2 = ratio(whole.error, whole.expected);
        error.beyond_rounding = ratio(whole.beyond, whole.expected);
        for (measure, value, bound) in [
            (Measure::RelativeL2, error.relative_l2, self.tolerance.relative_l2),
            (Measure::BeyondRounding, error.beyond_rounding, self.tolerance.beyond_rounding),
        ] {
            // Written so that a NaN is above every bound.
            if let Some(bound) = bound.filter(|bound| {
                !matches!(
                    value.partial_cmp(bound),
                    Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)
                )
            }) {
                return Err(self.norm(measure, value, bound, error.worst));
            }
        }
        Ok(error)
    }

    /// Compares a row; gives its sums of squares and its worst element.
    fn compare_row(
        &self,
        first: usize,
        expected: &[f64],
        actual: &[f64],
        noise: &[f64],
        error: &mut OutputError,
        tiles: &mut Tiles,
    ) -> Result<(Squares, u64), Mismatch> {
        let dtype = self.arg.dtype;
        let lowest = if dtype.is_float() { -dtype.max_value() } else { dtype.round(f64::NEG_INFINITY) };
        let clamp = |value: f64| value.clamp(lowest, dtype.max_value());
        let finite = expected.iter().filter(|value| value.is_finite());
        let count = finite.clone().count().max(1) as f64;
        let mean_square = finite.map(|value| (clamp(*value) * self.unit).powi(2)).sum::<f64>() / count;
        let scale = mean_square.sqrt() / self.unit;
        let row_noise =
            (noise.iter().map(|value| value * value).sum::<f64>() / noise.len().max(1) as f64).sqrt();

        let mut squares = Squares::default();
        let (mut worst, mut worst_relative) = (first as u64, -1.0);
        for (offset, (&wanted, &got)) in expected.iter().zip(actual).enumerate() {
            let index = (first + offset) as u64;
            let slack = NOISE * noise.get(offset).copied().unwrap_or(0.0).max(row_noise) + self.floor();
            error.compared += 1;
            let fail = |why: Why| Err(self.element(index, wanted, got, why));
            match self.class(wanted, got, slack) {
                Class::Finite => {}
                Class::Same => {
                    tiles.next(0.0, 0.0);
                    continue;
                }
                Class::Differs(why) => return fail(why),
            }
            if self.tolerance.exact {
                let slack = if dtype.is_float() { 0.0 } else { slack - self.floor() };
                if got < dtype.round(wanted - slack) || got > dtype.round(wanted + slack) {
                    return fail(Why::NotEqual);
                }
            }
            let target = clamp(wanted);
            let distance = ((got - target).abs() - slack).max(0.0);
            let beyond = (distance - half_unit(dtype, target)).max(0.0);
            let relative = if distance == 0.0 { 0.0 } else { distance / target.abs().max(scale) };
            squares.expected += (target * self.unit).powi(2);
            squares.error += (distance * self.unit).powi(2);
            squares.beyond += (beyond * self.unit).powi(2);
            tiles.next((distance * self.unit).powi(2), (target.abs().max(scale) * self.unit).powi(2));
            error.max_absolute = error.max_absolute.max(distance);
            if relative > worst_relative {
                (worst, worst_relative) = (index, relative);
            }
            if relative > error.max_relative {
                (error.worst, error.max_relative) = (index, relative);
            }
            if let Some(bound) = self.tolerance.max_relative
                && relative > bound
            {
                return fail(Why::Relative { error: relative, bound });
            }
            if let Some(bound) = self.tolerance.max_absolute
                && distance > bound
            {
                return fail(Why::Absolute { error: distance, bound });
            }
        }
        Ok((squares, worst))
    }

    /// Whether two values are of one class, and whether that settles the matter.
    fn class(&self, wanted: f64, got: f64, slack: f64) -> Class {
        let dtype = self.arg.dtype;
        if wanted.is_nan() && dtype.is_float() {
            return if got.is_nan() { Class::Same } else { Class::Differs(Why::Nan) };
        }
        if got.is_nan() {
            return Class::Differs(Why::Nan);
        }
        if wanted.is_nan() {
            // Of an integer type: NaN is stored as 0.
            return if got == 0.0 { Class::Same } else { Class::Differs(Why::NotEqual) };
        }
        let stored = dtype.round(wanted);
        if stored.is_finite() && got.is_finite() {
            return Class::Finite;
        }
        if stored == got {
            return Class::Same;
        }
        // One is infinite. Where the expected value is next to the limit, rounding errors may decide.
        let relative = self.tolerance.max_relative.or(self.tolerance.relative_l2).unwrap_or(0.0);
        let limit = dtype.max_value() * (1.0 + dtype.epsilon());
        let near = (wanted.abs() - limit).abs() <= limit * relative.min(0.1) + slack;
        let at_limit = got.is_infinite() || got.abs() >= dtype.max_value() * (1.0 - 2.0 * relative.min(0.1));
        if near && at_limit && wanted.is_sign_positive() == got.is_sign_positive() && !self.tolerance.exact {
            return Class::Same;
        }
        Class::Differs(Why::Infinite)
    }

    /// What no error is counted below.
    fn floor(&self) -> f64 {
        let dtype = self.arg.dtype;
        if !dtype.is_float() {
            return 0.0;
        }
        let flushed =
            if working_precision(dtype) == DType::F64 { 0.0 } else { 4.0 * DType::F32.min_normal() };
        dtype.min_positive() / 2.0 + flushed
    }

    /// Elements along the last size.
    fn inner(&self) -> usize {
        self.arg.shape.last().map_or(1, |size| self.sizes[*size] as usize).max(1)
    }

    fn row(&self) -> usize {
        let mut row = 1usize;
        for size in self.arg.shape.iter().rev() {
            if row >= 16 {
                break;
            }
            row = row.saturating_mul(self.sizes[*size] as usize);
        }
        row.max(1)
    }

    fn element(&self, index: u64, expected: f64, actual: f64, why: Why) -> Mismatch {
        Mismatch::Element {
            output: self.arg.name.clone(),
            index,
            place: self.place(index),
            expected,
            actual,
            why,
        }
    }

    fn norm(&self, measure: Measure, value: f64, bound: f64, worst: u64) -> Mismatch {
        Mismatch::Norm { output: self.arg.name.clone(), measure, value, bound, worst: self.place(worst) }
    }

    fn place(&self, mut index: u64) -> Place {
        let mut place = Vec::new();
        for size in self.arg.shape.iter().rev() {
            let extent = self.sizes[*size].max(1);
            place.push((self.spec.size(*size).name.clone(), index % extent));
            index /= extent;
        }
        place.reverse();
        Place(place)
    }
}

/// Columns of a tile, and elements of a whole one.
const TILE_COLUMNS: usize = 64;
const TILE_ELEMENTS: usize = 1024;
/// Elements below which a tile at the edge is left to its rows.
const TILE_LEAST: u32 = 16;

#[derive(Clone, Copy, Default)]
struct Tile {
    error: f64,
    magnitude: f64,
    elements: u32,
}

/// Sums over tiles, filled element by element in row-major order.
struct Tiles {
    inner: usize,
    columns: usize,
    width: usize,
    height: usize,
    tiles: Vec<Tile>,
    row: usize,
    column: usize,
}

impl Tiles {
    fn new(inner: usize, elements: usize) -> Tiles {
        let width = inner.min(TILE_COLUMNS);
        let height = TILE_ELEMENTS / width;
        let columns = inner.div_ceil(width);
        let rows = (elements / inner).div_ceil(height);
        let tiles = vec![Tile::default(); rows * columns];
        Tiles { inner, columns, width, height, tiles, row: 0, column: 0 }
    }

    fn next(&mut self, error: f64, magnitude: f64) {
        let tile = &mut self.tiles[self.row / self.height * self.columns + self.column / self.width];
        tile.error += error;
        tile.magnitude += magnitude;
        tile.elements += 1;
        self.column += 1;
        if self.column == self.inner {
            (self.row, self.column) = (self.row + 1, 0);
        }
    }

    fn finish(&self, into: &mut OutputError) {
        let (mut error, mut elements) = (0.0, 0u64);
        let mut most = Tile::default();
        for (index, tile) in self.tiles.iter().enumerate() {
            error += tile.error;
            elements += u64::from(tile.elements);
            if tile.error > most.error {
                most = *tile;
            }
            let l2 = ratio(tile.error, tile.magnitude);
            if tile.elements >= TILE_LEAST && l2 > into.worst_tile_l2 {
                into.worst_tile_l2 = l2;
                let (row, column) = (index / self.columns * self.height, index % self.columns * self.width);
                into.worst_tile = (row * self.inner + column) as u64;
            }
        }
        if error > 0.0 {
            into.clustering = (most.error / error) / (f64::from(most.elements) / elements as f64);
        }
    }
}

enum Class {
    /// Both are finite: the bounds decide
    Finite,
    /// They are the same NaN or infinity, or as good as that
    Same,
    /// They are not
    Differs(Why),
}

/// Half a unit in the last place of a value of a dtype: the most that storing it may cost.
fn half_unit(dtype: DType, value: f64) -> f64 {
    let exponent = f64::from_bits(value.abs().to_bits() & 0x7ff0_0000_0000_0000);
    (exponent * dtype.epsilon()).max(dtype.min_positive() / 2.0)
}
