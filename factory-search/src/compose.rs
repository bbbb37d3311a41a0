//! Winners of several sizes become one plan with one PTX module.

use std::collections::{BTreeMap, BTreeSet};

use factory_ptx::ast::{
    AddressBase, Directive, Function, Initializer, Item, Module, Operand, Space, Statement, Variable,
};
use factory_spec::{BoundSpec, SizeExpr, SizeId, SizeValues, Variant};

use crate::candidate::Candidate;
use crate::regions::{Region, reached};
use crate::verdict::Reason;

/// One target's part of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Composed {
    pub(crate) ptx: String,
    pub(crate) variants: Vec<Variant>,
    /// For each variant, which of the candidates it is.
    pub(crate) sources: Vec<usize>,
}

/// Puts winners and the fallback into one module. `candidates` are the distinct winners and, last, the fallback;
/// `regions` refer to them by position; one that no size reaches, as far as is looked, is left out. `over` are the sizes of
/// `better.over`.
pub(crate) fn compose(
    spec: &BoundSpec,
    over: &[SizeValues],
    candidates: &[&Candidate],
    modules: Vec<Module>,
    regions: &[Region],
) -> Result<Composed, Reason> {
    let fallback = candidates.len() - 1;
    let mut order: Vec<(usize, SizeExpr)> = regions
        .iter()
        .filter(|region| region.winner != fallback)
        .map(|region| (region.winner, limited(spec, &candidates[region.winner].variant.when, &region.bounds)))
        .collect();
    let conditions: Vec<&SizeExpr> = order.iter().map(|(_, when)| when).collect();
    let mut reached = reached(spec, over, &conditions).into_iter();
    order.retain(|_| reached.next().unwrap_or(false));
    order.push((fallback, candidates[fallback].variant.when.clone()));

    let mut merged = Merger::default();
    let mut parts: BTreeMap<usize, Variant> = BTreeMap::new();
    let used: BTreeSet<usize> = order.iter().map(|(source, _)| *source).collect();
    for (source, module) in modules.into_iter().enumerate().filter(|(source, _)| used.contains(source)) {
        let renamed = merged.add(module)?;
        let mut variant = candidates[source].variant.clone();
        for launch in &mut variant.launches {
            if let Some(name) = renamed.get(&launch.entry) {
                launch.entry.clone_from(name);
            }
        }
        parts.insert(source, variant);
    }
    let mut variants: Vec<Variant> = Vec::new();
    let mut sources = Vec::new();
    let mut names = BTreeSet::new();
    for (source, when) in order {
        let mut variant = Variant { when, ..parts[&source].clone() };
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

/// A condition within upper bounds of sizes.
fn limited(spec: &BoundSpec, when: &SizeExpr, bounds: &[(SizeId, u64)]) -> SizeExpr {
    bounds.iter().rev().fold(when.clone(), |when, (size, bound)| {
        let bound = i64::try_from(*bound).unwrap_or(i64::MAX);
        let limit = SizeExpr::size(spec.size(*size).name.clone()).le(SizeExpr::constant(bound));
        match when.as_constant() {
            Some(value) if value != 0 => limit,
            _ => limit.and(when),
        }
    })
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
