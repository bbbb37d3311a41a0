//! The catalogue of everything that can be wrong with a spec.

use std::path::PathBuf;

/// What is wrong, without the place.
///
/// The text of each is a sentence without its full stop; [`Problem::hint`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no such file
    #[error("the spec does not exist")]
    Missing,
    /// The file is there, but cannot be read
    #[error("the spec cannot be read: {reason}")]
    Unreadable {
        /// The system's words
        reason: String,
    },
    /// Not TOML
    #[error("this is not TOML: {message}")]
    Toml {
        /// The parser's words
        message: String,
    },
    /// A key that means nothing where it stands
    #[error("{table} has no key `{key}`")]
    UnknownKey {
        /// The key
        key: String,
        /// Where it stands, in words
        table: String,
        /// A close key that would mean something
        close: Option<String>,
        /// All that mean something
        known: Vec<String>,
    },
    /// A key that must be there
    #[error("{table} lacks `{key}`")]
    MissingKey {
        /// The key
        key: String,
        /// Where it should stand, in words
        table: String,
        /// What to write, in words
        example: String,
    },
    /// A value of another type than the key takes
    #[error("`{key}` takes {wanted}, found {found}")]
    WrongType {
        /// The key
        key: String,
        /// What it takes, in words
        wanted: String,
        /// What is there, in words
        found: String,
    },
    /// A number outside what the key takes
    #[error("`{key}` is {value}, but takes {wanted}")]
    OutOfRange {
        /// The key
        key: String,
        /// The number
        value: String,
        /// What it takes, in words
        wanted: String,
    },
    /// A word that is none of those that mean something
    #[error("there is no {what} `{name}`")]
    UnknownName {
        /// What it should name, in words: `dtype`, `architecture`, `kind of input`, …
        what: &'static str,
        /// The word
        name: String,
        /// A close word that would mean something
        close: Option<String>,
        /// All that mean something
        known: Vec<String>,
    },
    /// A size that `[sizes]` does not define
    #[error("size `{name}` is not defined")]
    UndefinedSize {
        /// The name
        name: String,
        /// A close one that is defined
        close: Option<String>,
        /// All that are defined
        known: Vec<String>,
    },
    /// A word that cannot be a name
    #[error("`{name}` cannot be the name of {what}: {reason}")]
    BadName {
        /// The word
        name: String,
        /// What it should name, in words
        what: &'static str,
        /// Why not
        reason: &'static str,
    },
    /// A name that is taken
    #[error("the name `{name}` is taken: line {line} gives it to {taken_by}")]
    DuplicateName {
        /// The name
        name: String,
        /// What has it, in words
        taken_by: &'static str,
        /// Where, from 1
        line: usize,
    },
    /// The same thing twice in a list
    #[error("`{name}` stands twice in `{key}`")]
    Repeated {
        /// The thing
        name: String,
        /// The list
        key: String,
    },
    /// Not a size expression
    #[error("not a size expression: {message}")]
    SizeExpression {
        /// What is wrong with it
        message: String,
    },
    /// Bounds that no number satisfies
    #[error("no value of size `{size}` is possible: {detail}")]
    ContradictoryBounds {
        /// The size
        size: String,
        /// Why
        detail: String,
    },
    /// A constraint that no sizes satisfy
    #[error("no sizes satisfy `{constraint}`: its sizes are all fixed, and it does not hold for them")]
    ContradictoryConstraint {
        /// The constraint, in canonical spelling
        constraint: String,
    },
    /// Sizes derived from each other in a circle
    #[error("size `{}` is derived from itself: {}", .names[0], .names.join(" -> "))]
    CyclicSizes {
        /// The circle; the first and last name are the same
        names: Vec<String>,
    },
    /// Numbers that do not fit
    #[error("{what} overflows: {detail}")]
    Overflow {
        /// What, in words
        what: String,
        /// How
        detail: String,
    },
    /// Sizes outside the spec's own domain
    #[error("these sizes are outside the kernel's domain: {detail}")]
    OutsideDomain {
        /// Why
        detail: String,
    },
    /// A dtype variable that was given no dtype
    #[error("dtype variable `{name}` is not bound")]
    UnboundVariable {
        /// The variable
        name: String,
        /// What it may be bound to
        choices: Vec<String>,
    },
    /// A dtype variable bound to a dtype that is no choice of its
    #[error("dtype variable `{name}` cannot be {dtype}")]
    BadBinding {
        /// The variable
        name: String,
        /// What it was bound to
        dtype: String,
        /// What it may be bound to
        choices: Vec<String>,
    },
    /// A value or an operand of another kind than its place asks for
    #[error("dtype mismatch: {detail}")]
    DTypeMismatch {
        /// What does not fit
        detail: String,
        /// What to do
        advice: String,
    },
    /// A scalar that is written
    #[error("scalar `{name}` cannot have the role `{role}`: a scalar is passed by value")]
    ScalarOutput {
        /// The argument
        name: String,
        /// Its role
        role: &'static str,
    },
    /// A row stride where there can be none
    #[error("`{arg}` cannot have the row stride `{stride}`: {reason}")]
    RowStride {
        /// The argument
        arg: String,
        /// The size that was named
        stride: String,
        /// Why not
        reason: String,
    },
    /// Nothing is written
    #[error("no argument is an output")]
    NoOutput,
    /// More than one reference, or none
    #[error("[reference] must have either `program`, or `c` and `function`")]
    WhichReference,
    /// The C file cannot be read
    #[error("the C reference `{}` cannot be read: {reason}", file.display())]
    CFile {
        /// The file
        file: PathBuf,
        /// The system's words
        reason: String,
    },
    /// The C file does not have the function
    #[error("the C reference `{}` has no function `{function}`", file.display())]
    CFunction {
        /// The file
        file: PathBuf,
        /// The function
        function: String,
    },
    /// Not a requirement
    #[error("not a requirement: {message}")]
    Requirement {
        /// What is wrong with it
        message: String,
    },
    /// No sizes to measure at could be found
    #[error("[better] has no `over`, and no middle case satisfies the constraints")]
    NoMiddleCase,
    /// Not a program
    #[error("program: {message}")]
    ProgramSyntax {
        /// What is wrong
        message: String,
    },
    /// A function with too few or too many operands
    #[error("`{function}` takes {wanted}, found {found}")]
    OperandCount {
        /// The function
        function: String,
        /// What it takes, in words
        wanted: &'static str,
        /// How many there are
        found: usize,
    },
    /// Something that is no size where a size must be
    #[error("`{function}` takes the name of a size here")]
    NotASize {
        /// The function
        function: String,
        /// The sizes there are
        known: Vec<String>,
    },
    /// A value that does not fit into its output
    #[error("shape mismatch: the value of `{output}` varies over {}, which `{output}`[{}] lacks", list(.extra), .shape.join(", "))]
    ShapeMismatch {
        /// The output
        output: String,
        /// The sizes that are too many
        extra: Vec<String>,
        /// The sizes of the output
        shape: Vec<String>,
    },
    /// A reduction over a size that the operand does not vary over
    #[error("`{function}` over `{size}`: the operand does not vary over `{size}`, only over [{}]", .dims.join(", "))]
    ReductionOverMissing {
        /// The reduction
        function: String,
        /// The size
        size: String,
        /// What the operand varies over
        dims: Vec<String>,
    },
    /// A name that is assigned a second time
    #[error("`{name}` is assigned twice: first on line {line}")]
    AssignedTwice {
        /// The name
        name: String,
        /// Where the first assignment is, from 1
        line: usize,
    },
    /// An output that the program does not assign
    #[error("output `{name}` is never assigned")]
    NeverAssigned {
        /// The output
        name: String,
    },
    /// An assignment to what cannot be assigned
    #[error("`{name}` cannot be assigned: it is {what}")]
    NotAssignable {
        /// The name
        name: String,
        /// What it is, in words
        what: &'static str,
    },
    /// An output that is read before it has a value
    #[error("output `{name}` is read before it is assigned")]
    ReadsOutput {
        /// The output
        name: String,
    },
}

impl Problem {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Problem::Missing => "paths of specs are relative to the package's folder; `cargo factory new` writes a spec to start from".into(),
            Problem::Unreadable { .. } => "make it a readable file in UTF-8".into(),
            Problem::Toml { .. } => "a string of several lines stands between `'''`; names of tables stand in brackets".into(),
            Problem::UnknownKey { close, known, .. } => close_or_all(close.as_ref(), known, "the keys here are"),
            Problem::MissingKey { example, .. } => format!("write {example}"),
            Problem::WrongType { wanted, .. } => format!("write {wanted} here"),
            Problem::OutOfRange { wanted, .. } => format!("choose {wanted}"),
            Problem::UnknownName { close, known, .. } => close_or_all(close.as_ref(), known, "there are"),
            Problem::UndefinedSize { close: Some(close), .. } => format!("did you mean `{close}`?"),
            Problem::UndefinedSize { name, .. } => format!("define it in [sizes], as in `{name} = {{ min = 1 }}`"),
            Problem::BadName { .. } => "a name is of lower-case letters, digits and `_`, and means nothing else in Rust or in a program".into(),
            Problem::DuplicateName { .. } => "rename one; sizes, arguments and dtype variables share their names".into(),
            Problem::Repeated { .. } => "remove one".into(),
            Problem::SizeExpression { .. } => "it may have + - * / %, ceil_div, min, max, next_pow2, comparisons, and, or, not".into(),
            Problem::ContradictoryBounds { .. } => "change `min`, `max` or `multiple_of`".into(),
            Problem::ContradictoryConstraint { .. } => "change the constraint, or one of the sizes".into(),
            Problem::CyclicSizes { .. } => "make one of them free, as in `{ min = 1 }`".into(),
            Problem::Overflow { .. } => "sizes, and bytes of an argument, must stay below 2^63".into(),
            Problem::OutsideDomain { .. } => "change these sizes, or the bounds in [sizes]".into(),
            Problem::UnboundVariable { name, choices } => format!("bind it to one of {}, as in `{name} = \"{}\"`", list(choices), choices[0]),
            Problem::BadBinding { choices, .. } => format!("[dtypes] allows {}", list(choices)),
            Problem::DTypeMismatch { advice, .. } => advice.clone(),
            Problem::ScalarOutput { .. } => "give it a `shape`; `shape = []` is a tensor of one element".into(),
            Problem::RowStride { .. } => {
                "a row stride is a size of its own that can be as large as a row is long, as in `row_stride = \"xs\"`; leave it out for a dense tensor".into()
            }
            Problem::NoOutput => "give one argument `role = \"out\"` or `role = \"inout\"`".into(),
            Problem::WhichReference => "a program is enough for most kernels; C is for recurrences".into(),
            Problem::CFile { .. } => "its path is relative to the spec's folder".into(),
            Problem::CFunction { function, .. } => {
                format!("define `void {function}(const int64_t *sizes, const double *const *inputs, double *const *outputs)`")
            }
            Problem::Requirement { .. } => "as in `deterministic` or `workspace <= 64 MiB`; limits are on time, energy, workspace, registers".into(),
            Problem::NoMiddleCase => "state the sizes to measure at, as in `over = [{ m = 4096, n = 1024 }]`".into(),
            Problem::ProgramSyntax { .. } => "a statement is `name = expression`, one a line".into(),
            Problem::OperandCount { function, .. } => format!("see `{function}` in the language's table"),
            Problem::NotASize { known, .. } => format!("the sizes are {}", list(known)),
            Problem::ShapeMismatch { output, extra, .. } => {
                format!("reduce it, as in `sum(…, {})`, or give `{output}` that size", extra.join(", "))
            }
            Problem::ReductionOverMissing { .. } => "reduce over a size that the operand varies over, or multiply by the size where repeating is meant".into(),
            Problem::AssignedTwice { .. } => "give the second value a name of its own".into(),
            Problem::NeverAssigned { name } => format!("add a statement `{name} = …`, or change the argument's role"),
            Problem::NotAssignable { .. } => "choose another name, or give the argument the role `out` or `inout`".into(),
            Problem::ReadsOutput { name } => format!("assign `{name}` first, or give it the role `inout` to read its old contents"),
        }
    }
}

fn close_or_all(close: Option<&String>, known: &[String], all: &str) -> String {
    match close {
        Some(close) => format!("did you mean `{close}`?"),
        None if known.is_empty() => "there are none".into(),
        None => format!("{all} {}", list(known)),
    }
}

/// Names in backticks with commas between.
fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
