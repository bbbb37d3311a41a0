//! Why a search has no result.

use thiserror::Error;

use crate::template::TemplatesError;
use crate::verdict::Rejection;

/// Why a search has no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The spec says too little: a trivial answer would pass, or an operand has no influence.
    #[error("the spec `{kernel}` is refused: {reason}")]
    Refused {
        /// The kernel's name.
        kernel: String,
        /// Why.
        reason: String,
    },
    /// No proposer can write this program.
    #[error("no proposer can write `{kernel}`: {reason}")]
    Declined {
        /// The kernel's name.
        kernel: String,
        /// Why, with the part of the program that it is about.
        reason: String,
    },
    /// A template is wrong, or there is no compiler for it.
    #[error(transparent)]
    Templates(#[from] TemplatesError),
    /// `[better]` asks for something that this search can neither optimise nor enforce.
    #[error(
        "`[better]` of `{kernel}` asks for `{what}`, which this version does not search for\n\n\
         hint: it minimises `time`, and holds candidates to `deterministic` and `workspace <= …`"
    )]
    Objective {
        /// The kernel's name.
        kernel: String,
        /// What it asks for.
        what: String,
    },
    /// A size of `better.over` is outside the domain.
    #[error("`better.over` of `{kernel}`: {message}")]
    Over {
        /// The kernel's name.
        kernel: String,
        /// Why.
        message: String,
    },
    /// The plan that serves every size did not pass. It is the last variant of each plan, so nothing can be sealed.
    #[error("the fallback of `{kernel}` on {arch}, which must serve every size, was refused: {rejection}")]
    Fallback {
        /// The kernel's name.
        kernel: String,
        /// The target.
        arch: String,
        /// Why.
        rejection: Box<Rejection>,
    },
    /// The winners passed one by one, but not as one plan.
    #[error("the assembled plan of `{kernel}` on {arch} was refused: {rejection}")]
    Plan {
        /// The kernel's name.
        kernel: String,
        /// The target.
        arch: String,
        /// Why.
        rejection: Box<Rejection>,
    },
    /// The assembler that was asked for does not run.
    #[error("`{path}` does not run as ptxas: {message}; unset it, or name another in `KERNEL_FACTORY_PTXAS`")]
    Ptxas {
        /// The file.
        path: String,
        /// Why.
        message: String,
    },
    /// The GPU that was asked for does not work.
    #[error("GPU {ordinal} cannot be used: {message}")]
    Gpu {
        /// Its number.
        ordinal: usize,
        /// Why.
        message: String,
    },
    /// The workers that were asked for cannot be started.
    #[error("workers for `{kernel}` cannot be started: {message}")]
    Workers {
        /// The kernel's name.
        kernel: String,
        /// Why.
        message: String,
    },
    /// The winner cannot be sealed.
    #[error("`{kernel}` cannot be sealed: {message}")]
    Seal {
        /// The kernel's name.
        kernel: String,
        /// Why.
        message: String,
    },
}
