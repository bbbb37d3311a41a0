//! Several proposers as one.

use std::path::PathBuf;

use factory_spec::{Arch, BoundSpec, SizeValues};

use crate::candidate::Candidate;
use crate::error::SearchError;
use crate::from_generator::Generator;
use crate::observer::{Event, Observer};
use crate::proposer::{Proposal, Proposer};
use crate::template::{Templates, TemplatesError};
use crate::verdict::Reason;

/// Several proposers as one: their proposals in turn, and the fallback of the first that has one.
pub struct Proposers<'a> {
    list: Vec<Box<dyn Proposer + 'a>>,
}

impl std::fmt::Debug for Proposers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list.iter().map(|proposer| proposer.name())).finish()
    }
}

impl<'a> Proposers<'a> {
    /// These, in this order. Without any there is nothing to propose.
    pub fn new(list: Vec<Box<dyn Proposer + 'a>>) -> Self {
        Self { list }
    }

    /// The generator, if it can write the program, and the templates.
    ///
    /// # Errors
    /// A template is wrong; or neither the generator nor a template can be used.
    pub fn of(
        spec: &'a BoundSpec,
        templates: &[PathBuf],
        observer: &mut dyn Observer,
    ) -> Result<Self, SearchError> {
        let generator = Generator::new(spec);
        let templates = match templates {
            [] => None,
            paths => Some(Templates::read(spec, paths)),
        };
        let mut list: Vec<Box<dyn Proposer + 'a>> = Vec::new();
        match (generator, templates) {
            (Err(declined), None) => return Err(declined),
            (Ok(generator), None) => list.push(Box::new(generator)),
            (Ok(generator), Some(Ok(templates))) => {
                list.push(Box::new(generator));
                list.push(Box::new(templates));
            }
            (Err(_), Some(Ok(templates))) => list.push(Box::new(templates)),
            // A search without its templates is a poorer one, and says so.
            (Ok(generator), Some(Err(error @ TemplatesError::NoCompiler { .. }))) => {
                let message = format!("the templates are left out: {error}");
                observer.event(&Event::Note { message: &message });
                list.push(Box::new(generator));
            }
            (_, Some(Err(error))) => return Err(error.into()),
        }
        Ok(Self { list })
    }
}

impl<'a> Proposers<'a> {
    /// The templates alone.
    ///
    /// # Errors
    /// A template is wrong, or there is no compiler.
    pub fn of_templates(spec: &'a BoundSpec, templates: &[PathBuf]) -> Result<Self, SearchError> {
        Ok(Self { list: vec![Box::new(Templates::read(spec, templates)?)] })
    }
}

impl Proposer for Proposers<'_> {
    fn name(&self) -> &'static str {
        match &self.list[..] {
            [only] => only.name(),
            _ => "several",
        }
    }

    fn propose<'a>(&'a self, arch: Arch, over: &SizeValues) -> Vec<Proposal<'a>> {
        let mut lists: Vec<_> =
            self.list.iter().map(|proposer| proposer.propose(arch, over).into_iter()).collect();
        let mut found = Vec::new();
        loop {
            let before = found.len();
            found.extend(lists.iter_mut().filter_map(Iterator::next));
            if found.len() == before {
                return found;
            }
        }
    }

    fn fallback(&self, arch: Arch) -> Result<Candidate, Reason> {
        let mut refused = Reason::NotGenerated { message: "there is no proposer".to_owned() };
        for proposer in &self.list {
            match proposer.fallback(arch) {
                Ok(candidate) => return Ok(candidate),
                Err(reason) => refused = reason,
            }
        }
        Err(refused)
    }
}
