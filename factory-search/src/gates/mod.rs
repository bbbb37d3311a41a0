//! The gates, cheapest first. Each is a function from what it checks to evidence or a [`Rejection`](crate::Rejection).
//!
//! | gate | checks | needs |
//! | --- | --- | --- |
//! | [`parse`] | PTX is well formed; entries, parameters, launch bounds, target and version agree with the plan | nothing |
//! | [`policy`] | an allowlist over the parsed PTX: no state across launches, no clocks, nothing from outside | nothing |
//! | [`assemble`] | ptxas accepts it; registers, spills, stack and shared memory | ptxas |
//! | [`machine`] | the PTX machine finds no fault on the drawn cases, and the outputs equal the oracle's | nothing |
//!
//! The gates that need a GPU are in [`crate::gpu`].

pub mod assemble;
mod dependent;
pub mod machine;
pub mod parse;
pub mod policy;

use factory_spec::{Arch, TargetPlan, Variant};

use crate::candidate::Candidate;

/// What the gates look at: PTX for one target and the variants that launch it. A candidate has one variant, a plan that
/// is about to be sealed has several.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The target.
    pub arch: Arch,
    /// A whole PTX module.
    pub ptx: &'a str,
    /// Which entries are launched how, and for which sizes; the first whose condition holds serves a size.
    pub variants: &'a [Variant],
}

impl<'a> From<&'a Candidate> for Subject<'a> {
    fn from(candidate: &'a Candidate) -> Self {
        Self { arch: candidate.arch, ptx: &candidate.ptx, variants: std::slice::from_ref(&candidate.variant) }
    }
}

impl<'a> Subject<'a> {
    /// One target of a plan, with its PTX.
    pub fn of_target(target: &'a TargetPlan, ptx: &'a str) -> Self {
        Self { arch: target.arch, ptx, variants: &target.variants }
    }
}
