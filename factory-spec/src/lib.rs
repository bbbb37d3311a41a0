//! What a kernel must compute.
//!
//! (model page: see below)

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
pub mod tolerance;

pub use arch::Arch;
pub use bound::{
    Arg, ArgId, Better, BoundSpec, CReference, Correct, InputKind, Metric, Minimize, Reference, Requirement,
    Role, Size, SizeId, SizeKind, SizeValues, Tolerance,
};
pub use certificate::{Basis, CandidateCounts, Certificate, Figure, GateRecord, Outcome};
pub use domain::{CompiledDomain, DomainError};
pub use dtype::DType;
pub use error::{SpecError, SpecErrors};
pub use interface::{Interface, InterfaceArg};
pub use json::JsonError;
pub use key::Key;
pub use lock::{Lock, LockEntry, LockError};
pub use plan::{LaunchPlan, ParamPlan, Place, Plan, PlanError, Scratch, TargetPlan, Variant};
pub use problem::Problem;
pub use program::{BinaryOp, CompareOp, LogicOp, Node, NodeId, Op, Program, ReduceOp, Ty, UnaryOp};
pub use sealed::{SealError, Sealed};
pub use size_expr::{CompileError, CompiledExpr, EvalError, SizeBinary, SizeExpr, SizeExprError, SizeUnary};
pub use source::{SourceText, Span};
pub use spec::{DTypeOrVariable, DTypeVariable, Search, Spec, SpecArg};
