//! The generator as a proposer.

use factory_spec::{Arch, BoundSpec, SizeValues};

use crate::candidate::Candidate;
use crate::error::SearchError;
use crate::generator::Space;
use crate::proposer::{Proposal, Proposer};
use crate::verdict::Reason;

/// Proposes what the [`generator`](crate::generator) knows for a spec.
#[derive(Clone, Debug)]
pub struct Generator<'a> {
    space: Space<'a>,
}

impl<'a> Generator<'a> {
    /// Looks at the program.
    ///
    /// # Errors
    /// [`SearchError::Declined`] with the generator's reason.
    pub fn new(spec: &'a BoundSpec) -> Result<Self, SearchError> {
        let space = Space::new(spec).map_err(|declined| SearchError::Declined {
            kernel: spec.name.clone(),
            reason: declined.to_string(),
        })?;
        Ok(Self { space })
    }
}

impl Proposer for Generator<'_> {
    fn name(&self) -> &'static str {
        "generator"
    }

    fn propose<'a>(&'a self, arch: Arch, over: &SizeValues) -> Vec<Proposal<'a>> {
        let configurations = self.space.configurations(arch, over);
        configurations
            .into_iter()
            .map(|config| {
                Proposal::with_tunables(config.tunables(), move || {
                    self.space
                        .generate(&config, arch)
                        .map_err(|declined| Reason::NotGenerated { message: declined.to_string() })
                })
            })
            .collect()
    }

    fn fallback(&self, arch: Arch) -> Result<Candidate, Reason> {
        Ok(self.space.fallback(arch))
    }
}
