//! A spec with its dtype variables bound and everything about it checked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{self, DomainError};
use crate::{Arch, DType, Interface, Key, Program, Rows, SizeExpr, SourceText, Span};

/// Index of a size in [`BoundSpec::sizes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SizeId(pub u32);

/// Index of an argument in [`BoundSpec::args`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArgId(pub u32);

impl SizeId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ArgId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a kernel must compute, with every dtype known.
///
/// Made by [`Spec::bind`](crate::Spec::bind), which checks that names exist, shapes agree and sizes are possible: code
/// that holds one may rely on it.
#[derive(Clone, Debug)]
pub struct BoundSpec {
    /// The kernel's name, also that of the generated function
    pub name: String,
    /// What it is, in words
    pub doc: Option<String>,
    /// The dtype of each dtype variable
    pub bindings: BTreeMap<String, DType>,
    /// The sizes, as written; [`SizeId`] is an index here
    pub sizes: Vec<Size>,
    /// What must hold for the sizes (not 0), besides their own bounds
    pub constraints: Vec<SizeExpr>,
    /// The arguments in the order of the signature; [`ArgId`] is an index here
    pub args: Vec<Arg>,
    /// What the outputs are
    pub reference: Reference,
    /// What counts as correct
    pub correct: Correct,
    /// What counts as better
    pub better: Better,
    /// The architectures, sorted
    pub targets: Vec<Arch>,
    /// The file, for messages
    pub source: Arc<SourceText>,
}

/// A named size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Its name
    pub name: String,
    /// Where its value comes from
    pub kind: SizeKind,
}

/// Where a size's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SizeKind {
    /// The caller chooses it
    Free {
        /// Least value
        min: u64,
        /// Greatest value; none: as large as memory allows
        max: Option<u64>,
        /// What it is a multiple of; at least 1
        multiple_of: u64,
    },
    /// Always the same
    Fixed(u64),
    /// Follows from other sizes
    Derived(SizeExpr),
}

impl Size {
    /// Its least value, where its own line says it.
    pub(crate) fn least(&self) -> Option<u64> {
        match self.kind {
            SizeKind::Free { min, multiple_of, .. } => Some(min.next_multiple_of(multiple_of)),
            SizeKind::Fixed(value) => Some(value),
            SizeKind::Derived(_) => None,
        }
    }

    /// Its greatest value, where its own line says it.
    pub(crate) fn most(&self) -> Option<u64> {
        match self.kind {
            SizeKind::Free { max, multiple_of, .. } => max.map(|max| max / multiple_of * multiple_of),
            SizeKind::Fixed(value) => Some(value),
            SizeKind::Derived(_) => None,
        }
    }
}

/// An argument of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// Its name
    pub name: String,
    /// The type of its elements
    pub dtype: DType,
    /// The sizes of its dimensions, outermost first; empty for a scalar
    pub shape: Vec<SizeId>,
    /// The size that consecutive rows lie apart, in elements; none: the tensor is dense and row-major. A row is what the
    /// innermost dimension spans, and rows are counted over all others together. It is at least the row's length, which is
    /// one of the constraints
    pub row_stride: Option<SizeId>,
    /// Whether it is passed by value
    pub scalar: bool,
    /// Whether it is read, written or both
    pub role: Role,
    /// Values of a scalar to check with; empty: the factory chooses
    pub values: Vec<f64>,
}

/// Whether an argument is read, written or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read
    In,
    /// Written, whole; what it held is not looked at
    Out,
    /// Read and then overwritten, whole
    InOut,
}

impl Role {
    /// Whether the old contents are read.
    pub fn reads(self) -> bool {
        self != Role::Out
    }

    /// Whether new contents are written.
    pub fn writes(self) -> bool {
        self != Role::In
    }

    /// As in specs: `in`, `out`, `inout`.
    pub fn name(self) -> &'static str {
        match self {
            Role::In => "in",
            Role::Out => "out",
            Role::InOut => "inout",
        }
    }
}

/// What the outputs are.
#[derive(Clone, Debug)]
pub enum Reference {
    /// A program over named sizes
    Program(Program),
    /// A function in C
    C(CReference),
}

/// A reference written in C, in f64.
///
/// ```c
/// // sizes: one a size, in the order of the spec's [sizes].
/// // inputs: one a readable argument (`in` and `inout`), in their order; a scalar has one element.
/// // outputs: one a writable argument (`out` and `inout`), in their order.
/// void function(const int64_t *sizes, const double *const *inputs, double *const *outputs);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CReference {
    /// Where the source was read from
    pub file: PathBuf,
    /// The function's name
    pub function: String,
    /// The source text
    pub source: String,
}

/// What counts as correct.
#[derive(Clone, Debug, PartialEq)]
pub struct Correct {
    /// Sizes to check besides those that the factory draws
    pub cases: Vec<SizeValues>,
    /// What to fill inputs with, by argument, where the spec says
    pub inputs: BTreeMap<String, Vec<InputKind>>,
    /// How far an output may be off, by argument, where the spec says
    pub tolerance: BTreeMap<String, Tolerance>,
}

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// Every one of them.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The name in specs.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The one of that name.
            pub fn parse(name: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|known| known.name() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

named! {
    /// What an input is filled with.
    InputKind {
        /// Independent standard normal values
        Normal = "normal",
        /// Independent values, uniform in [-1, 1]; the whole range of narrow integers
        Uniform = "uniform",
        /// Nothing but 0
        Zeros = "zeros",
        /// Nothing but 1
        Ones = "ones",
        /// One value everywhere, neither 0 nor 1
        Constant = "constant",
        /// Values near the top of the dtype's range
        Huge = "huge",
        /// Small normal values
        Tiny = "tiny",
        /// Subnormal values of the dtype
        Subnormal = "subnormal",
        /// Zeros, but for one element in each innermost row
        OneHot = "one_hot",
        /// Magnitudes from tiny to large side by side
        Mixed = "mixed",
        /// Small values, then large ones: what a look at the beginning says of the rest is wrong
        Prefix = "prefix",
        /// Small values, but for one large one
        Outlier = "outlier",
        /// Blocks of neighbours, each with a scale of its own
        Blocks = "blocks",
        /// Small and large values in random order
        Shuffled = "shuffled",
        /// Equal magnitudes of alternating sign
        Alternating = "alternating",
        /// 0, 1, 2, … kept small enough to be exact
        Iota = "iota",
        /// Normal values with infinities among them
        Infinite = "infinite",
        /// Normal values with NaNs among them
        Nan = "nan",
    }
}

named! {
    /// Something measured, that a spec can minimise or limit.
    Metric {
        /// Time of one call, in nanoseconds
        Time = "time",
        /// Energy of one call, in nanojoules
        Energy = "energy",
        /// Scratch memory, in bytes
        Workspace = "workspace",
        /// Registers a thread
        Registers = "registers",
    }
}

/// How far an output may be from the oracle. Every bound that is stated must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tolerance {
    /// Bound on the norm of the error over the norm of the expected output
    pub relative_l2: Option<f64>,
    /// Bound on each element's error over its expected magnitude
    pub max_relative: Option<f64>,
    /// Bound on each element's error
    pub max_absolute: Option<f64>,
    /// Whether the output must equal the expected one rounded to its dtype
    pub exact: bool,
}

/// What counts as better among correct candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Better {
    /// What to make small
    pub minimize: Minimize,
    /// The sizes to measure at; the geometric mean counts
    pub over: Vec<SizeValues>,
    /// What a candidate must be besides
    pub require: Vec<Requirement>,
    /// What a candidate may do that is refused where a spec does not say so
    pub allow: Vec<Allowance>,
}

/// What to make small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Minimize {
    /// One metric
    Metric(Metric),
    /// An expression over the metrics' names, in integers
    Expression(SizeExpr),
}

impl fmt::Display for Minimize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Minimize::Metric(metric) => metric.fmt(f),
            Minimize::Expression(expression) => expression.fmt(f),
        }
    }
}

/// What a candidate must be besides correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Requirement {
    /// The same inputs give the same bits
    Deterministic,
    /// A metric stays at or under a limit, in the metric's unit
    AtMost {
        /// What is limited
        metric: Metric,
        /// The limit
        limit: u64,
    },
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Requirement::Deterministic => f.write_str("deterministic"),
            Requirement::AtMost { metric, limit } => write!(f, "{metric} <= {limit}"),
        }
    }
}

/// What candidates may do only where the spec says so, since others pay for it or a clock needs more care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Allowance {
    /// Reads with the cache policy `L2::evict_last` (PTX ISA, `createpolicy`): of what the L2 holds, what was written gives way first.
    /// What was read stays there after the launch, in the place of what others have there.
    L2EvictLast,
}

impl Allowance {
    /// All of them.
    pub const ALL: [Allowance; 1] = [Allowance::L2EvictLast];

    /// Its name in a spec.
    pub fn name(self) -> &'static str {
        match self {
            Allowance::L2EvictLast => "l2_evict_last",
        }
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value for every size, in the order of [`BoundSpec::sizes`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SizeValues(pub Vec<u64>);

impl SizeValues {
    /// The value of one size.
    pub fn get(&self, size: SizeId) -> u64 {
        self.0[size.index()]
    }
}

/// See [`BoundSpec::longest_row`].
pub(crate) fn longest_row(
    sizes: &[Size],
    args: &[Arg],
    stride: SizeId,
    free: &BTreeMap<String, u64>,
) -> Option<u64> {
    let rows = args.iter().filter(|arg| arg.row_stride == Some(stride)).filter_map(|arg| arg.shape.last());
    rows.map(|row| domain::value(sizes, &sizes[row.index()], free))
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .max()
}

impl Arg {
    /// Extents whose product bounds the elements of its memory, from the values of sizes: those of the shape, with a row as long
    /// as its stride.
    pub(crate) fn extents(&self, value: impl Fn(SizeId) -> u64) -> impl Iterator<Item = u64> {
        let last = self.shape.len().saturating_sub(1);
        self.shape.iter().enumerate().map(move |(axis, &size)| match self.row_stride {
            // Without elements in a row there is nothing.
            Some(stride) if axis == last && value(size) > 0 => value(stride).max(value(size)),
            _ => value(size),
        })
    }
}

impl std::ops::Index<SizeId> for SizeValues {
    type Output = u64;

    fn index(&self, size: SizeId) -> &u64 {
        &self.0[size.index()]
    }
}

impl BoundSpec {
    /// The size of that name.
    pub fn size_id(&self, name: &str) -> Option<SizeId> {
        self.sizes.iter().position(|size| size.name == name).map(|index| SizeId(index as u32))
    }

    /// A size by its index.
    pub fn size(&self, id: SizeId) -> &Size {
        &self.sizes[id.index()]
    }

    /// The argument of that name.
    pub fn arg(&self, name: &str) -> Option<&Arg> {
        self.args.iter().find(|arg| arg.name == name)
    }

    /// The index of the argument of that name.
    pub fn arg_id(&self, name: &str) -> Option<ArgId> {
        self.args.iter().position(|arg| arg.name == name).map(|index| ArgId(index as u32))
    }

    /// The arguments that are read: scalars too, and `inout`.
    pub fn inputs(&self) -> impl Iterator<Item = (ArgId, &Arg)> {
        self.with_ids().filter(|(_, arg)| arg.role.reads())
    }

    /// The arguments that are written: `out` and `inout`.
    pub fn outputs(&self) -> impl Iterator<Item = (ArgId, &Arg)> {
        self.with_ids().filter(|(_, arg)| arg.role.writes())
    }

    fn with_ids(&self) -> impl Iterator<Item = (ArgId, &Arg)> {
        self.args.iter().enumerate().map(|(index, arg)| (ArgId(index as u32), arg))
    }

    /// Values for all sizes from those of the free ones.
    ///
    /// Fixed sizes may be given too, with their own value. Checks bounds and constraints, computes derived sizes, and
    /// checks that no argument has more bytes than 2^63.
    pub fn size_values(&self, free: &BTreeMap<String, u64>) -> Result<SizeValues, DomainError> {
        let values = domain::complete(&self.sizes, &self.constraints, free)?;
        for arg in &self.args {
            domain::bytes(arg.extents(|size| values[size]), arg.dtype)
                .ok_or_else(|| DomainError::TooManyElements { arg: arg.name.clone() })?;
        }
        Ok(values)
    }

    /// Number of elements of an argument; 1 for a scalar.
    pub fn elements(&self, arg: &Arg, values: &SizeValues) -> usize {
        arg.shape.iter().map(|&size| values[size] as usize).product()
    }

    /// How an argument's elements lie in memory.
    pub fn rows(&self, arg: &Arg, values: &SizeValues) -> Rows {
        match (arg.row_stride, arg.shape.split_last()) {
            (Some(stride), Some((length, outer))) => Rows::strided(
                outer.iter().map(|&size| values[size] as usize).product(),
                values[*length] as usize,
                values[stride] as usize,
            ),
            _ => Rows::dense(self.elements(arg, values)),
        }
    }

    /// Whether a size is the row stride of some argument.
    pub fn is_row_stride(&self, size: SizeId) -> bool {
        self.args.iter().any(|arg| arg.row_stride == Some(size))
    }

    /// The length of the longest rows that lie `stride` apart, from the values of free sizes; `None` where these do not say it.
    pub fn longest_row(&self, stride: SizeId, free: &BTreeMap<String, u64>) -> Option<u64> {
        longest_row(&self.sizes, &self.args, stride, free)
    }

    /// Number of elements of an argument's memory, with the gaps between its rows; 1 for a scalar.
    pub fn span(&self, arg: &Arg, values: &SizeValues) -> usize {
        self.rows(arg, values).span()
    }

    /// Number of elements of the memory of all tensors together.
    pub fn elements_of_all(&self, values: &SizeValues) -> usize {
        self.args.iter().filter(|arg| !arg.scalar).map(|arg| self.span(arg, values)).sum()
    }

    /// The values by name, for people and for JSON.
    pub fn named_values(&self, values: &SizeValues) -> BTreeMap<String, u64> {
        self.sizes.iter().map(|size| size.name.clone()).zip(values.0.iter().copied()).collect()
    }

    /// What the runtime needs to know.
    pub fn interface(&self) -> Interface {
        Interface::of(self)
    }

    /// The canonical text of the whole spec: what [`key`](BoundSpec::key) is the digest of.
    pub fn canonical(&self) -> String {
        crate::canonical::whole(self)
    }

    /// The canonical text of what is correct: what [`meaning`](BoundSpec::meaning) is the digest of.
    pub fn canonical_meaning(&self) -> String {
        crate::canonical::meaning(self)
    }

    /// The digest of what is correct; see [`Key`].
    pub fn meaning(&self) -> Key {
        Key::of(&self.canonical_meaning())
    }

    /// The digest of what is searched for: the meaning, what is better, and the targets; see [`Key`].
    pub fn key(&self) -> Key {
        Key::of(&self.canonical())
    }

    /// Line and column of a place in the spec's file.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        self.source.line_column(span.offset)
    }
}
