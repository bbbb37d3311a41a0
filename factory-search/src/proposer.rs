//! Where candidates come from.

use factory_spec::{Arch, SizeValues};

use crate::candidate::{Candidate, Tunables};
use crate::verdict::Reason;

/// A candidate that is not written yet. Writing it is part of the work that runs on all cores.
pub struct Proposal<'a> {
    tunables: Option<Tunables>,
    make: Box<dyn Fn() -> Result<Candidate, Reason> + Send + Sync + 'a>,
}

impl<'a> Proposal<'a> {
    /// A proposal that `make` writes. It must write the same candidate whenever it is called.
    pub fn new(make: impl Fn() -> Result<Candidate, Reason> + Send + Sync + 'a) -> Self {
        Self { tunables: None, make: Box::new(make) }
    }

    /// A proposal whose tunables are known before it is written. A search that learns finds neighbours of what was good,
    /// and what others knew to be good, by comparing the tunables of proposals; those of the written candidate must be the
    /// same.
    pub fn with_tunables(
        tunables: Tunables,
        make: impl Fn() -> Result<Candidate, Reason> + Send + Sync + 'a,
    ) -> Self {
        Self { tunables: Some(tunables), make: Box::new(make) }
    }

    /// The tunables, where the proposer tells them in advance.
    pub fn tunables(&self) -> Option<&Tunables> {
        self.tunables.as_ref()
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
        f.debug_struct("Proposal").field("tunables", &self.tunables).finish_non_exhaustive()
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
