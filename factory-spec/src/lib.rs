//! What a kernel must compute: the contract that everything else in Kernel Factory is held to.
//!
//! # Central types
//!
//! ```text
//! spec.toml ──read──▶ Spec ──bind dtypes──▶ BoundSpec ──▶ key, meaning      (Key)
//!                      │                       ├──▶ interface               (Interface, JSON for the runtime)
//!    Rust signature ──check (signature)        ├──▶ reference               (Program, or a function in C)
//!                                              └──▶ draw, oracle, compare, tolerance, admission
//!
//! winner ──▶ Plan + Certificate + PTX = Sealed (a folder) ──▶ LockEntry in kernels.lock
//! ```
//!
//! - [`Spec`] is the file as it is written, its dtype variables unbound; [`BoundSpec`] is one kernel: every dtype known,
//!   every name resolved, every shape checked. Only [`Spec::bind`] makes one, so code that holds one may rely on it.
//! - [`SpecErrors`] is everything found wrong. A [`SpecError`] is a [`Problem`] and a place: file, line, column.
//! - [`SizeExpr`] is an integer expression over named sizes; [`CompiledExpr`] is the same as flat code for launches.
//! - [`Program`] is a reference program as a graph of values; see [`program`] for the language.
//! - [`Key`] names what is correct (`meaning`) and what is searched for (`key`).
//! - [`Plan`] says how a kernel is launched, [`Certificate`] what was checked and measured, [`Sealed`] holds both with the
//!   PTX, and [`Lock`] is the readable list of what is sealed.
//!
//! # Rules
//!
//! - The same input gives the same bytes: keys, JSON files and locks depend on nothing but what they are made from.
//! - No input makes this crate panic. Texts are bounded in length and nesting; arithmetic on sizes is checked.
//! - What is read is not trusted: unknown keys are errors, and digests are checked on every read.
//! - Values are computed in f64 from inputs rounded to their dtype; nothing is rounded in between but by `cast`.
//! - No GPU, no network, no writing: files are read, text is given back.
//!
//! # A spec
//!
//! ```toml
//! [kernel]
//! name = "rmsnorm"                      # a Rust name in lower case; required
//! doc = "…"
//! constraints = ["n % 8 == 0"]          # must hold for the sizes besides their bounds
//!
//! [sizes]
//! m = { min = 1 }                       # free: min (default 1), max (none), multiple_of (1)
//! h = 128                               # fixed
//! n = { value = "m * h" }               # derived
//!
//! [dtypes]
//! T = ["bf16", "f16"]                   # a variable and what it may be
//!
//! [[arg]]                               # one each, in the order of the signature
//! name = "x"
//! dtype = "T"
//! shape = ["m", "n"]                    # outermost first; `[]` is a tensor of one element, none a scalar
//! role = "in"                           # in (default) | out | inout
//! # row_stride = "xs"                   # of two dimensions or more: rows lie `xs` elements apart; default: dense
//! # values = [1e-6]                     # of a scalar, to check with
//!
//! [reference]
//! program = "y = x * 2"                 # or: c = "file.c", function = "name"
//!
//! [correct]                             # optional, like everything below
//! cases = [{ m = 3 }]                   # besides those that the factory draws
//! inputs = { x = ["normal", "huge"] }   # default: the factory's choice
//! tolerance = { max_relative = 1e-2 }   # for all outputs, or a table for each; default: derived from dtypes
//!
//! [better]
//! minimize = "time"                     # default
//! over = [{ m = 4096 }]                 # default: one middle case of about 2^24 elements
//! require = ["deterministic", "workspace <= 64 MiB"]
//! allow = ["l2_evict_last"]             # default: nothing that is refused otherwise
//!
//! [targets]
//! arch = ["sm_90", "sm_100"]            # default
//!
//! [search]                              # no part of any key
//! seed = 1
//! seconds = 60
//! candidates = 1000
//! hints = { stages = 3 }
//! ```

mod arch;
mod bind;
mod bound;
mod canonical;
mod certificate;
mod domain;
mod dtype;
mod error;
mod interface;
mod json;
mod key;
mod lock;
mod plan;
mod problem;
pub mod program;
mod read;
mod sealed;
mod size_expr;
mod source;
mod spec;
mod tensor_map;

pub mod generated;
#[cfg(feature = "signature")]
pub mod signature;

pub mod admission;
#[cfg(feature = "c-reference")]
pub mod c_reference;
pub mod compare;
pub mod draw;
pub mod float8;
pub mod oracle;
mod round;
mod rows;
pub mod tolerance;

pub use arch::Arch;
pub use bound::{
    Allowance, Arg, ArgId, Better, BoundSpec, CReference, Correct, InputKind, Metric, Minimize, Reference,
    Requirement, Role, Size, SizeId, SizeKind, SizeValues, Tolerance,
};
pub use certificate::{Basis, CandidateCounts, Certificate, Figure, GateRecord, Outcome};
pub use domain::{CompiledDomain, DomainError};
pub use dtype::DType;
pub use error::{SpecError, SpecErrors, did_you_mean};
pub use interface::{Interface, InterfaceArg};
pub use json::JsonError;
pub use key::Key;
pub use lock::{Lock, LockEntry, LockError};
pub use plan::{LaunchPlan, ParamPlan, Place, Plan, PlanError, Scratch, TargetPlan, Variant};
pub use problem::Problem;
pub use program::{BinaryOp, CompareOp, LogicOp, Node, NodeId, Op, Program, ReduceOp, Ty, UnaryOp};
pub use rows::Rows;
pub use sealed::{SealError, Sealed};
pub use size_expr::{CompileError, CompiledExpr, EvalError, SizeBinary, SizeExpr, SizeExprError, SizeUnary};
pub use source::{SourceText, Span};
pub use spec::{DTypeOrVariable, DTypeVariable, Search, Spec, SpecArg};
pub use tensor_map::{
    MAP_ALIGNMENT, MAP_BYTES, MAX_MAP_RANK, MapBase, MapElement, MapFill, MapInterleave, MapL2Promotion,
    MapSwizzle, TensorMapFault, TensorMapLayout, TensorMapNumbers, TensorMapPlan, TensorMapShape,
};
