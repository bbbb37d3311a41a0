//! Why the generator does not take a program.

use factory_spec::Span;

/// A program that the generator does not lower, and where in the spec the reason stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the generator does not take this program: {reason}")]
pub struct Declined {
    /// What it cannot do.
    pub reason: Reason,
    /// The place in the spec's file, where there is one.
    pub span: Option<Span>,
}

/// What the generator cannot do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The reference is a C function.
    #[error("its reference is a C function, and only programs over named sizes can be lowered")]
    CReference,
    /// An argument's rows lie a stride apart.
    #[error(
        "the rows of `{arg}` lie a stride apart, and only dense tensors are lowered: templates serve this spec"
    )]
    RowStride {
        /// The argument.
        arg: String,
    },
    /// There is no output.
    #[error("it has no outputs")]
    NoOutputs,
    /// Two reductions run over different sizes.
    #[error("it reduces over `{first}` and over `{second}`: every reduction must run over the same sizes")]
    DifferentReductions {
        /// Sizes of one.
        first: String,
        /// Sizes of another.
        second: String,
    },
    /// Every size is reduced.
    #[error(
        "it reduces over `{sizes}`, which leaves no size to spread over blocks: reductions over everything are not lowered"
    )]
    ReducesEverything {
        /// The reduced sizes.
        sizes: String,
    },
    /// The reduced sizes are not the innermost ones of an operand.
    #[error("it reduces over `{sizes}`, but `{arg}` does not have them innermost")]
    NotInnermost {
        /// The reduced sizes.
        sizes: String,
        /// The operand.
        arg: String,
    },
    /// An output lacks some of the reduced sizes but not all.
    #[error("output `{arg}` holds only some of the reduced sizes `{sizes}`")]
    PartialOutput {
        /// The reduced sizes.
        sizes: String,
        /// The output.
        arg: String,
    },
    /// An `inout` argument is read by threads that do not write it.
    #[error("`{arg}` is read and written, and other rows read what a row writes")]
    SharedInOut {
        /// The argument.
        arg: String,
    },
    /// A reduction that has no value for nothing.
    #[error("it takes the {op} of integers along `{sizes}`, which may be empty")]
    EmptyReduction {
        /// The reduction.
        op: &'static str,
        /// The reduced sizes.
        sizes: String,
    },
    /// A configuration that this program cannot have.
    #[error("the configuration does not suit it: {why}")]
    Configuration {
        /// What does not fit.
        why: &'static str,
    },
}

impl Declined {
    pub(crate) fn at(reason: Reason, span: Span) -> Self {
        Declined { reason, span: Some(span) }
    }

    pub(crate) fn whole(reason: Reason) -> Self {
        Declined { reason, span: None }
    }
}
