//! Winners of several sizes become one plan with one PTX module.

use std::collections::{BTreeMap, BTreeSet};

use factory_ptx::ast::{
    AddressBase, Directive, Function, Initializer, Item, Module, Operand, Space, Statement, Variable,
};
use factory_spec::{BoundSpec, SizeExpr, SizeId, SizeKind, SizeValues, Variant};

use crate::candidate::Candidate;
use crate::verdict::Reason;

/// One target's part of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Composed {
    pub(crate) ptx: String,
    pub(crate) variants: Vec<Variant>,
    /// For each variant, which of the candidates it is.
    pub(crate) sources: Vec<usize>,
}

/// Who serves which sizes: `when` conditions in the order in which they are tried, each with a winner.
///
/// The entries of `over` are split at the boundary that tells winners apart best, again and again. Only upper bounds are
/// written: the first match wins, so sizes that a winner's own condition excludes fall through to the next one.
/// `asked` are the sizes that winners have conditions on.
pub(crate) fn regions(
    spec: &BoundSpec,
    over: &[(SizeValues, usize)],
    asked: &BTreeSet<SizeId>,
) -> Vec<Region> {
    let mut found = Vec::new();
    divide(spec, over, asked, &mut Vec::new(), &mut found);
    found
}

/// The sizes that candidates have conditions on.
pub(crate) fn asked(spec: &BoundSpec, candidates: &[&Candidate]) -> BTreeSet<SizeId> {
    let names: BTreeSet<String> =
        candidates.iter().flat_map(|candidate| candidate.variant.when.names()).collect();
    names.iter().filter_map(|name| spec.size_id(name)).collect()
}

/// A part of the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Upper bounds: this size is at most this.
    pub(crate) bounds: Vec<(SizeId, u64)>,
    pub(crate) winner: usize,
}

/// Winners once more, without bounds, for sizes that fall out of every region: a winner that is alone on its side of a boundary
/// may serve only some of what lies there, and another one more of it.
///
/// Ascending by the sizes that winners have conditions on, so that what fits best comes first; of those with the same, the one
/// for the most of the other sizes.
pub(crate) fn everywhere(
    spec: &BoundSpec,
    over: &[(SizeValues, usize)],
    asked: &BTreeSet<SizeId>,
    fallback: usize,
    regions: &[Region],
) -> Vec<Region> {
    let (asked, free): (Vec<SizeId>, Vec<SizeId>) =
        (0..spec.sizes.len() as u32).map(SizeId).partition(|id| asked.contains(id));
    let mut order: Vec<&(SizeValues, usize)> =
        over.iter().filter(|(_, winner)| *winner != fallback).collect();
    order.sort_by_key(|(sizes, _)| {
        let asked: Vec<u64> = asked.iter().map(|&id| sizes[id]).collect();
        let free: Vec<std::cmp::Reverse<u64>> = free.iter().map(|&id| std::cmp::Reverse(sizes[id])).collect();
        (asked, free)
    });
    let mut seen: BTreeSet<usize> =
        regions.iter().filter(|region| region.bounds.is_empty()).map(|region| region.winner).collect();
    let fresh = order.into_iter().filter(|(_, winner)| seen.insert(*winner));
    fresh.map(|(_, winner)| Region { bounds: Vec::new(), winner: *winner }).collect()
}

fn divide(
    spec: &BoundSpec,
    over: &[(SizeValues, usize)],
    asked: &BTreeSet<SizeId>,
    bounds: &mut Vec<(SizeId, u64)>,
    found: &mut Vec<Region>,
) {
    let Some((_, first)) = over.first() else { return };
    let split =
        if over.iter().all(|(_, winner)| winner == first) { None } else { best_split(spec, over, asked) };
    let Some((size, bound)) = split else {
        found.push(Region { bounds: bounds.clone(), winner: *first });
        return;
    };
    let (low, high): (Vec<_>, Vec<_>) = over.iter().cloned().partition(|(sizes, _)| sizes[size] <= bound);
    bounds.push((size, bound));
    divide(spec, &low, asked, bounds, found);
    bounds.pop();
    divide(spec, &high, asked, bounds, found);
}

/// The boundary that leaves the most entries with the winner of their side's majority; among equals one of a size that winners
/// have conditions on, as others say less about who fits; among equals the widest gap.
fn best_split(
    spec: &BoundSpec,
    over: &[(SizeValues, usize)],
    asked: &BTreeSet<SizeId>,
) -> Option<(SizeId, u64)> {
    let majority = |side: &mut dyn Iterator<Item = usize>| -> usize {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        side.for_each(|winner| *counts.entry(winner).or_default() += 1);
        counts.values().copied().max().unwrap_or(0)
    };
    /// Entries with their majority, whether the size is asked for, the gap.
    type Score = (usize, bool, u64);
    let mut best: Option<(Score, (SizeId, u64))> = None;
    for (index, size) in spec.sizes.iter().enumerate() {
        if !matches!(size.kind, SizeKind::Free { .. }) {
            continue;
        }
        let id = SizeId(index as u32);
        let values: BTreeSet<u64> = over.iter().map(|(sizes, _)| sizes[id]).collect();
        let values: Vec<u64> = values.into_iter().collect();
        for pair in values.windows(2) {
            let bound = ((pair[0] as f64) * (pair[1] as f64)).sqrt().floor() as u64;
            let bound = bound.clamp(pair[0], pair[1] - 1);
            let side = |low: bool| {
                over.iter().filter(move |(sizes, _)| (sizes[id] <= bound) == low).map(|(_, winner)| *winner)
            };
            let pure = majority(&mut side(true)) + majority(&mut side(false));
            // The gap as a ratio in 1/1024, so that the choice is made in integers.
            let gap = pair[1].saturating_mul(1024) / pair[0].max(1);
            let score = (pure, asked.contains(&id), gap);
            if best.as_ref().is_none_or(|(best, _)| score > *best) {
                best = Some((score, (id, bound)));
            }
        }
    }
    best.map(|(_, split)| split)
}

/// Puts winners and the fallback into one module. `candidates` are the distinct winners and, last, the fallback;
/// `regions` refer to them by position.
pub(crate) fn compose(
    spec: &BoundSpec,
    candidates: &[&Candidate],
    modules: Vec<Module>,
    regions: &[Region],
) -> Result<Composed, Reason> {
    let fallback = candidates.len() - 1;
    let mut merged = Merger::default();
    let mut parts: Vec<Variant> = Vec::new();
    for (candidate, module) in candidates.iter().zip(modules) {
        let renamed = merged.add(module)?;
        let mut variant = candidate.variant.clone();
        for launch in &mut variant.launches {
            if let Some(name) = renamed.get(&launch.entry) {
                launch.entry.clone_from(name);
            }
        }
        parts.push(variant);
    }
    let mut variants: Vec<Variant> = Vec::new();
    let mut sources = Vec::new();
    let mut names = BTreeSet::new();
    let order = regions
        .iter()
        .filter(|region| region.winner != fallback)
        .map(|region| (region.winner, &region.bounds[..]));
    for (source, bounds) in order.chain([(fallback, &[][..])]) {
        let mut variant = parts[source].clone();
        for (size, bound) in bounds.iter().rev() {
            let bound = i64::try_from(*bound).unwrap_or(i64::MAX);
            let limit = SizeExpr::size(spec.size(*size).name.clone()).le(SizeExpr::constant(bound));
            variant.when = match variant.when.as_constant() {
                Some(value) if value != 0 => limit,
                _ => limit.and(variant.when),
            };
        }
        let base = variant.name.clone();
        let mut number = 2;
        while !names.insert(variant.name.clone()) {
            variant.name = format!("{base}_{number}");
            number += 1;
        }
        variants.push(variant);
        sources.push(source);
    }
    Ok(Composed { ptx: merged.finish()?.to_string(), variants, sources })
}

/// Merges modules, renaming what would collide.
#[derive(Default)]
struct Merger {
    module: Option<Module>,
    taken: BTreeSet<String>,
}

impl Merger {
    /// Adds a module; which of its names became what.
    fn add(&mut self, mut module: Module) -> Result<BTreeMap<String, String>, Reason> {
        let Some(merged) = &mut self.module else {
            self.taken = names(&module);
            self.module = Some(module);
            return Ok(BTreeMap::new());
        };
        if merged.target != module.target || merged.address_size != module.address_size {
            return Err(Reason::Plan {
                message: "winners for different targets cannot share a module".to_owned(),
            });
        }
        merged.version = merged.version.max(module.version);
        // The same declaration of dynamic shared memory in both is one and the same variable.
        let shared: Vec<Variable> = merged.variables().filter(|v| is_dynamic(v)).cloned().collect();
        module.items.retain(|item| !matches!(item, Item::Variable(v) if shared.contains(v)));
        let mut renamed = BTreeMap::new();
        for name in names(&module) {
            let mut fresh = name.clone();
            let mut number = 2;
            while self.taken.contains(&fresh) {
                fresh = format!("{name}_{number}");
                number += 1;
            }
            self.taken.insert(fresh.clone());
            if fresh != name {
                renamed.insert(name, fresh);
            }
        }
        rename(&mut module, &renamed);
        merged.items.append(&mut module.items);
        Ok(renamed)
    }

    fn finish(self) -> Result<Module, Reason> {
        let mut module = self
            .module
            .ok_or_else(|| Reason::Plan { message: "a plan without winners has no module".to_owned() })?;
        // Variables first: PTX wants a declaration before its use.
        let (variables, rest): (Vec<Item>, Vec<Item>) =
            module.items.into_iter().partition(|item| matches!(item, Item::Variable(_)));
        module.items = variables.into_iter().chain(rest).collect();
        Ok(module)
    }
}

fn is_dynamic(variable: &Variable) -> bool {
    variable.space == Space::Shared && variable.array.first() == Some(&None)
}

/// Names at module scope.
fn names(module: &Module) -> BTreeSet<String> {
    module
        .functions()
        .map(|function| function.name.clone())
        .chain(module.variables().map(|variable| variable.name.clone()))
        .collect()
}

fn rename(module: &mut Module, names: &BTreeMap<String, String>) {
    if names.is_empty() {
        return;
    }
    for item in &mut module.items {
        match item {
            Item::Variable(variable) => {
                replace(&mut variable.name, names);
                variable.init.iter_mut().for_each(|init| rename_initializer(init, names));
            }
            Item::Function(function) => rename_function(function, names),
            Item::Directive(_) => {}
        }
    }
}

fn replace(name: &mut String, names: &BTreeMap<String, String>) {
    if let Some(fresh) = names.get(name) {
        name.clone_from(fresh);
    }
}

fn rename_initializer(init: &mut Initializer, names: &BTreeMap<String, String>) {
    match init {
        Initializer::List(list) => list.iter_mut().for_each(|init| rename_initializer(init, names)),
        Initializer::Symbol { name, .. } => replace(name, names),
        Initializer::Mask { symbol, .. } => rename_initializer(symbol, names),
        Initializer::Integer(_) | Initializer::F32(_) | Initializer::F64(_) => {}
    }
}

fn rename_function(function: &mut Function, names: &BTreeMap<String, String>) {
    replace(&mut function.name, names);
    // Parameters and everything declared inside hide the module's names.
    let mut visible = names.clone();
    for variable in function.params.iter().chain(&function.returns) {
        visible.remove(&variable.name);
    }
    if let Some(body) = &mut function.body {
        rename_statements(body, &visible);
    }
}

fn rename_statements(body: &mut [Statement], names: &BTreeMap<String, String>) {
    let mut visible = names.clone();
    for statement in body.iter() {
        match statement {
            Statement::Variable(variable) => {
                visible.remove(&variable.name);
            }
            Statement::Label(name, _) => {
                visible.remove(name);
            }
            _ => {}
        }
    }
    for statement in body {
        match statement {
            Statement::Block(inner) => rename_statements(inner, &visible),
            Statement::Instruction(instruction) => {
                instruction.operands.iter_mut().for_each(|operand| rename_operand(operand, &visible));
            }
            Statement::Directive(Directive::CallTargets { targets, .. }) => {
                targets.iter_mut().for_each(|target| replace(target, &visible));
            }
            _ => {}
        }
    }
}

fn rename_operand(operand: &mut Operand, names: &BTreeMap<String, String>) {
    match operand {
        Operand::Name(name) | Operand::SymbolOffset { name, .. } | Operand::Element { name, .. } => {
            replace(name, names)
        }
        Operand::Address { base: AddressBase::Name(name), .. } => replace(name, names),
        Operand::Vector(parts) | Operand::Group(parts) | Operand::TensorAddress(parts) => {
            parts.iter_mut().for_each(|part| rename_operand(part, names));
        }
        Operand::Pair(first, second) => {
            rename_operand(first, names);
            rename_operand(second, names);
        }
        Operand::Not(inner) => rename_operand(inner, names),
        _ => {}
    }
}
