//! A template against a spec, before anything is compiled.

use factory_spec::{BoundSpec, Role, SizeExpr, Span, did_you_mean};

use super::Template;
use super::error::{TemplateError, TemplateErrors, TemplateProblem};
use super::header::{Header, Param};
use super::instance::{Instance, serves_all, shape};
use super::space::{self, MOST_COMBINATIONS};
use crate::verdict::Reason;

pub(super) fn check(template: &Template, spec: &BoundSpec) -> Result<(), TemplateErrors> {
    let mut checker = Checker { header: &template.header, spec, errors: Vec::new() };
    checker.belongs();
    checker.names();
    checker.types();
    checker.params();
    checker.unused(template);
    TemplateErrors::check(std::mem::take(&mut checker.errors))?;
    // What follows puts values in, which makes sense only where every name has a meaning.
    checker.configurations(template);
    TemplateErrors::check(checker.errors)
}

struct Checker<'a> {
    header: &'a Header,
    spec: &'a BoundSpec,
    errors: Vec<TemplateError>,
}

impl Checker<'_> {
    fn note(&mut self, span: Span, problem: TemplateProblem) {
        self.errors.push(TemplateError::at(&self.header.source, span, problem));
    }

    fn plan(&mut self, span: Span, message: String) {
        self.note(span, TemplateProblem::Plan { message });
    }

    fn belongs(&mut self) {
        let header = self.header;
        if let Some(wanted) = header.spec.as_ref().filter(|wanted| wanted.value != self.spec.name) {
            let problem =
                TemplateProblem::OtherSpec { wanted: wanted.value.clone(), found: self.spec.name.clone() };
            self.note(wanted.span, problem);
        }
        if !header.arch.is_empty() && !header.arch.iter().any(|arch| self.spec.targets.contains(arch)) {
            let targets = self.spec.targets.iter().map(|arch| arch.name()).collect::<Vec<_>>().join(", ");
            self.note(header.arch_span, TemplateProblem::NoTarget { targets });
        }
    }

    fn names(&mut self) {
        let header = self.header;
        let mut known: Vec<String> = header.tunables.iter().map(|tunable| tunable.name.clone()).collect();
        known.extend(self.spec.sizes.iter().map(|size| size.name.clone()));
        known.extend(header.types.iter().map(|(name, _)| format!("{}_BYTES", name.value)));
        let expressions: Vec<(&SizeExpr, Span)> = header
            .expressions()
            .into_iter()
            .map(|expression| (&expression.value, expression.span))
            .chain(header.integers())
            .collect();
        for (expression, span) in expressions {
            for name in expression.names() {
                if !known.contains(&name) && header.word(&name).is_none() {
                    let place = self.inside(span, &name);
                    let close = did_you_mean(&name, known.iter().map(String::as_str)).map(str::to_owned);
                    self.note(place, TemplateProblem::UnknownName { name, close, known: known.clone() });
                }
            }
        }
        for name in &header.bake {
            if self.spec.size_id(&name.value).is_none() {
                let sizes: Vec<String> = self.spec.sizes.iter().map(|size| size.name.clone()).collect();
                let close = did_you_mean(&name.value, sizes.iter().map(String::as_str)).map(str::to_owned);
                let problem = TemplateProblem::UnknownName { name: name.value.clone(), close, known: sizes };
                self.note(name.span, problem);
            }
        }
        for tunable in &header.tunables {
            if self.spec.size_id(&tunable.name).is_some() {
                let reason = "the spec has a size of that name".to_owned();
                self.note(tunable.span, TemplateProblem::BadName { name: tunable.name.clone(), reason });
            }
        }
        if let (Some(span), Some(baked)) = (header.fallback, header.bake.first()) {
            let message = format!("`fallback` promises every size, and `bake` pins `{}`", baked.value);
            self.note(span, TemplateProblem::Contradiction { message });
        }
    }

    /// Where a name stands in the text of a value.
    fn inside(&self, span: Span, name: &str) -> Span {
        let text = self.header.source.text().get(span.offset..span.offset + span.len).unwrap_or_default();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.match_indices(name)
            .map(|(at, _)| at)
            .find(|&at| !text[..at].ends_with(word) && !text[at + name.len()..].starts_with(word))
            .map_or(span, |at| Span::new(span.offset + at, name.len()))
    }

    fn types(&mut self) {
        for (name, arg) in &self.header.types {
            if self.spec.arg(arg).is_none() {
                self.plan(
                    name.span,
                    format!("the spec has no argument `{arg}`, whose type `{}` should be", name.value),
                );
            }
        }
    }

    fn params(&mut self) {
        let header = self.header;
        for (index, buffer) in header.scratch.iter().enumerate() {
            let name = &buffer.name;
            if self.spec.arg(&name.value).is_some() {
                self.plan(
                    name.span,
                    format!("`{}` is an argument of the spec, and no scratch buffer", name.value),
                );
            }
            if header.scratch[..index].iter().any(|other| other.name.value == name.value) {
                self.plan(name.span, format!("there are two scratch buffers `{}`", name.value));
            }
        }
        if let Some(first) = header.launches.first().filter(|launch| launch.programmatic) {
            self.plan(
                first.span,
                "the first launch has none before it to overlap with (`programmatic`)".to_owned(),
            );
        }
        let mut passed: Vec<&str> = Vec::new();
        for param in header.launches.iter().flat_map(|launch| &launch.params) {
            let name = match &param.value {
                Param::Named(name) | Param::Map { over: name, .. } => name,
                Param::Integer { .. } => continue,
            };
            passed.push(name);
            let is_map = matches!(param.value, Param::Map { .. });
            if is_map && self.spec.arg(name).is_some_and(|arg| arg.scalar) {
                self.plan(param.span, format!("`{name}` is a scalar, and a tensor map is over memory"));
            }
            let known = self.spec.arg(name).is_some()
                || header.scratch.iter().any(|buffer| buffer.name.value == *name);
            if known {
                continue;
            }
            let message = if self.spec.size_id(name).is_some() && !is_map {
                format!("`{name}` is a size; write `{{ u32 = \"{name}\" }}` or `{{ u64 = \"{name}\" }}`")
            } else {
                format!("`{name}` is neither an argument of the spec nor a scratch buffer")
            };
            self.plan(param.span, message);
        }
        let outputs: Vec<String> = self
            .spec
            .args
            .iter()
            .filter(|arg| arg.role != Role::In && !passed.contains(&arg.name.as_str()))
            .map(|arg| arg.name.clone())
            .collect();
        let span = header.launches.last().map_or(header.span, |launch| launch.span);
        for output in outputs {
            self.plan(span, format!("no launch gets the output `{output}`"));
        }
        let names = header.scratch.iter().map(|buffer| &buffer.name);
        for name in names.filter(|name| !passed.contains(&name.value.as_str())) {
            self.plan(name.span, format!("no launch gets the scratch buffer `{}`", name.value));
        }
    }

    fn unused(&mut self, template: &Template) {
        let header = self.header;
        let text = header.source.text();
        let body = text.find("*/").map_or("", |at| &text[at..]);
        let mentions = |name: &str| {
            let plan = header.plan_expressions().into_iter().map(|expression| &expression.value);
            let integers = header.integers().map(|(value, _)| value);
            let alignment = [&header.alignment.value];
            plan.chain(integers).chain(alignment).any(|expression| expression.names().contains(name))
                || header.launches.iter().any(|launch| has_word(&launch.entry.value, name))
        };
        for tunable in &header.tunables {
            let name = &tunable.name;
            let in_source = |text: &str| {
                has_word(text, name)
                    || tunable.values.iter().any(|value| has_word(text, &format!("{name}_{value}")))
            };
            if !in_source(body) && !template.files.values().any(|text| in_source(text)) && !mentions(name) {
                self.note(tunable.span, TemplateProblem::UnusedTunable { name: name.clone() });
            }
        }
    }

    fn configurations(&mut self, template: &Template) {
        let header = self.header;
        let count = space::combinations(header);
        if count > MOST_COMBINATIONS {
            let span = header.tunables.first().map_or(header.span, |tunable| tunable.span);
            self.note(span, TemplateProblem::TooMany { count, limit: MOST_COMBINATIONS });
            return;
        }
        let over = self.spec.better.over.first();
        let span = header.constraints.first().map_or(header.span, |constraint| constraint.span);
        let open = space::configurations(header, self.spec, None);
        let Some(first) = open.first() else {
            self.note(span, TemplateProblem::NothingLeft { at: None });
            return;
        };
        if !self.spec.better.over.is_empty()
            && self
                .spec
                .better
                .over
                .iter()
                .all(|over| space::configurations(header, self.spec, Some(over)).is_empty())
        {
            let at = over.map(|over| crate::launch::label(self.spec, over));
            self.note(span, TemplateProblem::NothingLeft { at });
            return;
        }
        let arch = self.spec.targets.first().copied().unwrap_or(factory_spec::Arch::Sm90);
        let instance = Instance::new(template, self.spec, arch, first, over);
        for launch in &header.launches {
            if let Err(Reason::Plan { message }) = shape(&instance, launch) {
                let baked = if header.bake.is_empty() { "" } else { " and baked sizes" };
                self.plan(
                    launch.block[0].span,
                    format!("{message}; blocks and clusters are made of tunables{baked}"),
                );
            }
        }
        if let Some(span) = header.fallback {
            let any = open.iter().any(|configuration| {
                serves_all(&Instance::new(template, self.spec, arch, configuration, None))
            });
            if !any {
                let message = format!(
                    "`fallback` promises every size, and of its likeliest configuration remains `{}`",
                    Instance::new(template, self.spec, arch, first, None).when()
                );
                self.note(span, TemplateProblem::Contradiction { message });
            }
        }
    }
}

fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}
