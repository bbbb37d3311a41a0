//! Where candidates come from.

use factory_spec::{Arch, SizeValues};

use crate::candidate::Candidate;
use crate::verdict::Reason;

/// A candidate that is not written yet. Writing it is part of the work that runs on all cores.
pub struct Proposal<'a> {
    make: Box<dyn Fn() -> Result<Candidate, Reason> + Send + Sync + 'a>,
}

impl<'a> Proposal<'a> {
    /// A proposal that `make` writes. It must write the same candidate whenever it is called.
    pub fn new(make: impl Fn() -> Result<Candidate, Reason> + Send + Sync + 'a) -> Self {
        Self { make: Box::new(make) }
    }

    /// Writes the candidate.
    ///
    /// # Errors
    /// The proposer cannot write it after all.
    pub fn make(&self) -> Result<Candidate, Reason> {
        (self.make)()
    }
}

impl std::fmt::Debug for Proposal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proposal").finish_non_exhaustive()
    }
}

/// Brings candidates.
pub trait Proposer: Sync {
    /// The proposer's name, such as `generator`.
    fn name(&self) -> &'static str;

    /// Everything that it would try for these sizes, in a fixed order, likeliest first.
    fn propose<'a>(&'a self, arch: Arch, over: &SizeValues) -> Vec<Proposal<'a>>;

    /// One candidate that serves every size of the domain, fast or not.
    ///
    /// # Errors
    /// There is none.
    fn fallback(&self, arch: Arch) -> Result<Candidate, Reason>;
}
