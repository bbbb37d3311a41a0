//! A spec's templates as a proposer.

use std::path::PathBuf;

use factory_spec::{Arch, BoundSpec, SizeValues};
use thiserror::Error;

use super::error::{TemplateError, TemplateErrors, TemplateProblem};
use super::instance::{Instance, PROPOSER, serves_all};
use super::space::{self, Configuration};
use super::{Template, check};
use crate::candidate::Candidate;
use crate::compile::Compiler;
use crate::gates::{self, Subject};
use crate::proposer::{Proposal, Proposer};
use crate::verdict::Reason;

/// Why templates cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TemplatesError {
    /// A template is wrong, or does not fit the spec.
    #[error(transparent)]
    Template(#[from] TemplateErrors),
    /// There is nothing to compile them with.
    #[error("the templates of `{kernel}` need a CUDA C++ compiler: {reason}")]
    NoCompiler {
        /// The kernel's name.
        kernel: String,
        /// What was tried.
        reason: String,
    },
}

/// Proposes what a spec's templates can be made into.
#[derive(Debug)]
pub struct Templates<'a> {
    spec: &'a BoundSpec,
    templates: Vec<Template>,
    compiler: Compiler,
}

impl<'a> Templates<'a> {
    /// Reads the templates at `paths` and takes the compiler that this machine has.
    ///
    /// # Errors
    /// A template is wrong, or there is no compiler.
    pub fn read(spec: &'a BoundSpec, paths: &[PathBuf]) -> Result<Self, TemplatesError> {
        let templates = paths.iter().map(|path| Template::read(path)).collect::<Result<Vec<_>, _>>()?;
        for template in &templates {
            template.check(spec)?;
        }
        let compiler = Compiler::find()
            .map_err(|reason| TemplatesError::NoCompiler { kernel: spec.name.clone(), reason })?;
        Self::new(spec, templates, compiler)
    }

    /// Checks templates against the spec, and compiles the likeliest configuration of each: what is wrong with all of
    /// them is a fault of the template, and is told with its place before a search spends time on the rest.
    ///
    /// # Errors
    /// A template does not fit, or its likeliest configuration does not compile.
    pub fn new(
        spec: &'a BoundSpec,
        templates: Vec<Template>,
        compiler: Compiler,
    ) -> Result<Self, TemplatesError> {
        for template in &templates {
            check::check(template, spec)?;
        }
        let found = Self { spec, templates, compiler };
        for template in &found.templates {
            found.try_likeliest(template)?;
        }
        Ok(found)
    }

    /// What compiles them.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    fn try_likeliest(&self, template: &Template) -> Result<(), TemplateErrors> {
        let header = &template.header;
        let Some(arch) = self.spec.targets.iter().copied().find(|arch| serves(template, *arch)) else {
            return Ok(());
        };
        let mut likeliest: Option<(Configuration, Option<&SizeValues>)> = None;
        for over in &self.spec.better.over {
            let first = space::configurations(header, self.spec, Some(over)).into_iter().next();
            likeliest = likeliest.or(first.map(|first| (first, Some(over))));
        }
        let open =
            || space::configurations(header, self.spec, None).into_iter().next().map(|first| (first, None));
        let Some((configuration, over)) = likeliest.or_else(open) else { return Ok(()) };
        let instance = Instance::new(template, self.spec, arch, &configuration, over);
        let outcome = instance.candidate(&self.compiler).and_then(|candidate| {
            gates::parse::parse(self.spec, &Subject::from(&candidate))
                .map(|_| ())
                .map_err(|refused| refused.reason)
        });
        let Err(reason) = outcome else { return Ok(()) };
        let at = |span, problem| Err(TemplateError::at(&header.source, span, problem).into());
        let launch_of = |entry: &str| {
            // The plan's order is the header's; the name may be a mangled one.
            header.launches.iter().find(|launch| {
                let base = launch.entry.value.split('<').next().unwrap_or_default();
                entry == launch.entry.value || entry.contains(base.rsplit("::").next().unwrap_or(base))
            })
        };
        match &reason {
            Reason::NotCompiled { compiler, message } | Reason::CompileLimit { compiler, message } => at(
                header.span,
                TemplateProblem::Compile {
                    configuration: instance.label(),
                    arch: arch.to_string(),
                    compiler: compiler.clone(),
                    message: message.clone(),
                },
            ),
            Reason::Parameter { entry, index, .. } => {
                let launch = launch_of(entry).or(header.launches.first());
                let span = launch.map_or(header.span, |launch| {
                    launch.params.get(*index).map_or(launch.span, |param| param.span)
                });
                at(span, TemplateProblem::Plan { message: reason.to_string() })
            }
            Reason::EntryMissing { .. } => {
                let span = header.launches.first().map_or(header.span, |launch| launch.entry.span);
                at(span, TemplateProblem::Plan { message: reason.to_string() })
            }
            Reason::EntryUnused { .. } | Reason::LaunchLimit { .. } | Reason::Plan { .. } => {
                let span = header.launches.first().map_or(header.span, |launch| launch.span);
                at(span, TemplateProblem::Plan { message: reason.to_string() })
            }
            // Other reasons are told of each candidate.
            _ => Ok(()),
        }
    }
}

/// Whether a template serves a target.
fn serves(template: &Template, arch: Arch) -> bool {
    template.header.arch.is_empty() || template.header.arch.contains(&arch)
}

impl Proposer for Templates<'_> {
    fn name(&self) -> &'static str {
        PROPOSER
    }

    /// The likeliest of each template first, so that a small budget tries all of them.
    fn propose<'a>(&'a self, arch: Arch, over: &SizeValues) -> Vec<Proposal<'a>> {
        let mut lists: Vec<_> = self
            .templates
            .iter()
            .filter(|template| serves(template, arch) && !template.header.fallback_only)
            .map(|template| {
                (template, space::configurations(&template.header, self.spec, Some(over)).into_iter())
            })
            .collect();
        let mut found = Vec::new();
        loop {
            let before = found.len();
            for (template, configurations) in &mut lists {
                let Some(configuration) = configurations.next() else { continue };
                let (template, over) = (*template, over.clone());
                let tunables =
                    Instance::new(template, self.spec, arch, &configuration, Some(&over)).tunables();
                found.push(Proposal::with_tunables(tunables, move || {
                    Instance::new(template, self.spec, arch, &configuration, Some(&over))
                        .candidate(&self.compiler)
                }));
            }
            if found.len() == before {
                return found;
            }
        }
    }

    fn fallback(&self, arch: Arch) -> Result<Candidate, Reason> {
        let mut refused = None;
        for template in self
            .templates
            .iter()
            .filter(|template| serves(template, arch) && template.header.fallback.is_some())
        {
            for configuration in space::configurations(&template.header, self.spec, None) {
                let instance = Instance::new(template, self.spec, arch, &configuration, None);
                if !serves_all(&instance) {
                    continue;
                }
                match instance.candidate(&self.compiler) {
                    Ok(candidate) => return Ok(candidate),
                    Err(reason) => refused = Some(reason),
                }
                // One that compiles nowhere is told of, rather than all of its neighbours tried.
                break;
            }
        }
        Err(refused.unwrap_or_else(|| Reason::NotGenerated {
            message: format!("no template of `{}` for {arch} has `fallback = true`", self.spec.name),
        }))
    }
}
