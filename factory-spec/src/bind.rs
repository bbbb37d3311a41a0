//! From a [`Spec`] and dtypes for its variables to a [`BoundSpec`]: every check that needs more than one place.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bound::longest_row;
use crate::domain::{self, DomainError};
use crate::program::{self, Scope};
use crate::read::{DTypeOrVariable, WrittenReference, WrittenSizes};
use crate::{
    Arg, Better, BoundSpec, Correct, DType, EvalError, Problem, Reference, Size, SizeExpr, SizeId, SizeKind,
    SizeValues, Span, Spec, SpecError, SpecErrors,
};

/// Elements of the largest argument in the case that is measured when a spec names none.
const MIDDLE_ELEMENTS: u64 = 1 << 24;

pub(crate) fn bind(spec: &Spec, bindings: &BTreeMap<String, DType>) -> Result<BoundSpec, SpecErrors> {
    let mut binder = Binder { spec, errors: Vec::new() };
    let dtypes = binder.dtypes(bindings);
    let args = binder.args(&dtypes);
    // With sizes that cannot be, nothing about them can be said.
    binder.derived_sizes();
    SpecErrors::check(std::mem::take(&mut binder.errors))?;
    binder.least_sizes(&args);
    binder.constraints();
    // These would show again in every case.
    SpecErrors::check(std::mem::take(&mut binder.errors))?;
    let reference = binder.reference(&args, &dtypes);
    let written = &spec.written;
    let cases = binder.cases(&written.cases, &args);
    let over = match &written.over {
        Some(over) => binder.cases(over, &args),
        None => binder.middle_case(&args).into_iter().collect(),
    };
    SpecErrors::check(std::mem::take(&mut binder.errors))?;
    let Some(reference) = reference else {
        // A program is missing only after a complaint.
        return Err(SpecErrors::new(vec![binder.error(Span::default(), Problem::WhichReference)]));
    };
    Ok(BoundSpec {
        name: spec.name.clone(),
        doc: spec.doc.clone(),
        bindings: dtypes,
        sizes: written.sizes.clone(),
        constraints: written.constraints.iter().map(|(expr, _)| expr.clone()).collect(),
        args,
        reference,
        correct: Correct {
            cases,
            inputs: written.inputs.iter().cloned().collect(),
            tolerance: written.tolerance.iter().cloned().collect(),
        },
        better: Better {
            minimize: written.minimize.clone(),
            over,
            require: written.require.clone(),
            allow: written.allow.clone(),
        },
        targets: written.targets.clone(),
        source: Arc::clone(&spec.source),
    })
}

struct Binder<'a> {
    spec: &'a Spec,
    errors: Vec<SpecError>,
}

impl Binder<'_> {
    fn error(&self, span: Span, problem: Problem) -> SpecError {
        SpecError::at(&self.spec.source, span, problem)
    }

    fn note(&mut self, span: Span, problem: Problem) {
        self.errors.push(self.error(span, problem));
    }

    fn dtypes(&mut self, bindings: &BTreeMap<String, DType>) -> BTreeMap<String, DType> {
        let path = self.spec.source.path();
        let mut bound = BTreeMap::new();
        for variable in &self.spec.dtype_variables {
            let choices: Vec<String> = variable.choices.iter().map(|dtype| dtype.name().to_owned()).collect();
            let name = variable.name.clone();
            let problem = match bindings.get(&name) {
                Some(dtype) if variable.choices.contains(dtype) => {
                    bound.insert(name, *dtype);
                    continue;
                }
                Some(dtype) => Problem::BadBinding { name, dtype: dtype.to_string(), choices },
                None => Problem::UnboundVariable { name, choices },
            };
            self.errors.push(SpecError::of_file(path, problem));
        }
        for name in bindings.keys() {
            if !self.spec.dtype_variables.iter().any(|variable| variable.name == *name) {
                let known: Vec<String> =
                    self.spec.dtype_variables.iter().map(|variable| variable.name.clone()).collect();
                let close =
                    crate::error::did_you_mean(name, known.iter().map(String::as_str)).map(str::to_owned);
                let problem =
                    Problem::UnknownName { what: "dtype variable", name: name.clone(), close, known };
                self.errors.push(SpecError::of_file(path, problem));
            }
        }
        bound
    }

    fn args(&mut self, dtypes: &BTreeMap<String, DType>) -> Vec<Arg> {
        let mut args = Vec::new();
        for written in &self.spec.written.args {
            let dtype = match &written.dtype {
                DTypeOrVariable::DType(dtype) => *dtype,
                DTypeOrVariable::Variable(name) => dtypes.get(name).copied().unwrap_or(DType::F32),
            };
            for (value, span) in written.arg.values.iter().zip(&written.value_spans) {
                if !holds(dtype, *value) {
                    let detail =
                        format!("`{}` is of dtype {dtype}, which cannot hold {value}", written.arg.name);
                    let advice = if dtype.is_float() {
                        "choose a number"
                    } else {
                        "choose a whole number in its range"
                    };
                    self.note(*span, Problem::DTypeMismatch { detail, advice: advice.into() });
                }
            }
            args.push(Arg { dtype, ..written.arg.clone() });
        }
        args
    }

    /// No size may be derived from itself.
    fn derived_sizes(&mut self) {
        let sizes = &self.spec.written.sizes;
        let needs = |name: &str| -> Vec<String> {
            let size = sizes.iter().find(|size| size.name == name);
            match size.map(|size| &size.kind) {
                Some(SizeKind::Derived(expr)) => expr.names().into_iter().collect(),
                _ => Vec::new(),
            }
        };
        let mut in_a_circle: Vec<String> = Vec::new();
        for (index, size) in sizes.iter().enumerate() {
            if in_a_circle.contains(&size.name) {
                continue;
            }
            if let Some(circle) = circle(&size.name, &needs) {
                in_a_circle.extend(circle.iter().cloned());
                self.note(self.spec.written.size_spans[index], Problem::CyclicSizes { names: circle });
            } else if let SizeKind::Derived(expr) = &size.kind
                && expr.compile(&expr.names().iter().map(String::as_str).collect::<Vec<_>>()).is_err()
            {
                let problem = Problem::SizeExpression { message: "it nests too deeply".to_owned() };
                self.note(self.spec.written.size_spans[index], problem);
            }
        }
    }

    /// What goes wrong at the least sizes goes wrong always.
    fn least_sizes(&mut self, args: &[Arg]) {
        let sizes = &self.spec.written.sizes;
        let mut values: BTreeMap<String, i64> =
            sizes.iter().filter_map(|size| Some((size.name.clone(), size.least()? as i64))).collect();
        let free = |expr: &SizeExpr, sizes: &[Size]| {
            let mut pending: Vec<String> = expr.names().into_iter().collect();
            while let Some(name) = pending.pop() {
                match sizes.iter().find(|size| size.name == name).map(|size| &size.kind) {
                    Some(SizeKind::Free { .. }) => return true,
                    Some(SizeKind::Derived(expr)) => pending.extend(expr.names()),
                    _ => {}
                }
            }
            false
        };
        // Every round settles the sizes whose operands are settled; there are no circles any more.
        for _ in 0..sizes.len() {
            for (index, size) in sizes.iter().enumerate() {
                let SizeKind::Derived(expr) = &size.kind else { continue };
                if values.contains_key(&size.name)
                    || !expr.names().iter().all(|name| values.contains_key(name))
                {
                    continue;
                }
                let span = self.spec.written.size_spans[index];
                let always = !free(expr, sizes);
                match expr.eval(&|name| values.get(name).copied()) {
                    Ok(value) if value >= 0 => {
                        values.insert(size.name.clone(), value);
                    }
                    Ok(value) if always => {
                        let detail = format!("`{expr}` is {value}");
                        self.note(span, Problem::ContradictoryBounds { size: size.name.clone(), detail });
                    }
                    Err(EvalError::Overflow) => {
                        let detail = format!("`{expr}` does not fit 64 bits even at the least sizes");
                        self.note(span, Problem::Overflow { what: format!("size `{}`", size.name), detail });
                    }
                    Err(error) if always => {
                        let detail = format!("`{expr}` cannot be computed: {error}");
                        self.note(span, Problem::ContradictoryBounds { size: size.name.clone(), detail });
                    }
                    // It may be possible at other sizes, and constraints may rule these out.
                    _ => {}
                }
            }
        }
        for (arg, written) in args.iter().zip(&self.spec.written.args) {
            let dims: Option<Vec<u64>> = arg
                .shape
                .iter()
                .map(|size| values.get(&sizes[size.index()].name).map(|&value| value as u64))
                .collect();
            if let Some(dims) = dims
                && domain::bytes(dims.iter().copied(), arg.dtype).is_none()
            {
                let dims: Vec<String> = dims.iter().map(u64::to_string).collect();
                let detail = format!(
                    "{} elements of {} bytes even at the least sizes",
                    dims.join(" * "),
                    arg.dtype.size()
                );
                let span = written.shape_span;
                self.errors.push(
                    self.error(span, Problem::Overflow { what: format!("argument `{}`", arg.name), detail }),
                );
            }
        }
    }

    fn constraints(&mut self) {
        let sizes = &self.spec.written.sizes;
        let fixed = |name: &str| {
            sizes.iter().find(|size| size.name == name).and_then(|size| match size.kind {
                SizeKind::Fixed(value) => Some(value as i64),
                _ => None,
            })
        };
        for (expr, span) in &self.spec.written.constraints {
            let problem = match expr.eval(&fixed) {
                Ok(0) => Problem::ContradictoryConstraint { constraint: expr.to_string() },
                Err(EvalError::Overflow) => Problem::Overflow {
                    what: format!("constraint `{expr}`"),
                    detail: "it does not fit 64 bits".into(),
                },
                Err(EvalError::DivisionByZero) => {
                    Problem::SizeExpression { message: "it divides by zero".into() }
                }
                _ => {
                    let names: Vec<&str> = sizes.iter().map(|size| size.name.as_str()).collect();
                    if expr.compile(&names).is_ok() {
                        continue;
                    }
                    Problem::SizeExpression { message: "it nests too deeply".into() }
                }
            };
            self.errors.push(self.error(*span, problem));
        }
    }

    fn reference(&mut self, args: &[Arg], dtypes: &BTreeMap<String, DType>) -> Option<Reference> {
        match &self.spec.written.reference {
            WrittenReference::C(c) => Some(Reference::C(c.clone())),
            WrittenReference::Program { statements, span } => {
                let source = &self.spec.source;
                let scope = Scope { source, sizes: &self.spec.written.sizes, args, dtypes, span: *span };
                match program::check(&scope, statements) {
                    Ok(program) => Some(Reference::Program(program)),
                    Err(problems) => {
                        self.errors.extend(
                            problems.into_iter().map(|(span, problem)| SpecError::at(source, span, problem)),
                        );
                        None
                    }
                }
            }
        }
    }

    fn complete(&self, given: &BTreeMap<String, u64>, args: &[Arg]) -> Result<SizeValues, DomainError> {
        let written = &self.spec.written;
        let constraints: Vec<SizeExpr> = written.constraints.iter().map(|(expr, _)| expr.clone()).collect();
        let values = domain::complete(&written.sizes, &constraints, given)?;
        match args.iter().find(|arg| domain::bytes(arg.extents(|size| values[size]), arg.dtype).is_none()) {
            Some(arg) => Err(DomainError::TooManyElements { arg: arg.name.clone() }),
            None => Ok(values),
        }
    }

    fn cases(&mut self, cases: &[WrittenSizes], args: &[Arg]) -> Vec<SizeValues> {
        let mut complete = Vec::new();
        for case in cases {
            let given = case.values.iter().map(|(name, _, value)| (name.clone(), *value)).collect();
            match self.complete(&given, args) {
                Ok(values) => complete.push(values),
                Err(error) => {
                    let named = case.values.iter().find(|(name, ..)| error.size() == Some(name));
                    let span = named.map_or(case.span, |(_, span, _)| *span);
                    let detail = error.to_string();
                    let problem = match error {
                        DomainError::TooManyElements { .. }
                        | DomainError::TooLarge { .. }
                        | DomainError::Eval { error: EvalError::Overflow, .. } => {
                            Problem::Overflow { what: "this case".into(), detail }
                        }
                        _ => Problem::OutsideDomain { detail },
                    };
                    self.note(span, problem);
                }
            }
        }
        complete
    }

    /// Makes row strides twice as long as their rows, or as close to that as they may be.
    fn twice_the_rows(&self, given: &mut BTreeMap<String, u64>, args: &[Arg]) {
        let sizes = &self.spec.written.sizes;
        for (index, size) in sizes.iter().enumerate() {
            let SizeKind::Free { multiple_of, .. } = size.kind else { continue };
            let Some(row) = longest_row(sizes, args, SizeId(index as u32), given) else { continue };
            let twice = row.saturating_mul(2).checked_next_multiple_of(multiple_of).unwrap_or(row);
            let least = size.least().unwrap_or(0);
            given.insert(size.name.clone(), twice.min(size.most().unwrap_or(u64::MAX)).max(least));
        }
    }

    /// Sizes of equal length with about [`MIDDLE_ELEMENTS`] elements in the largest argument, or smaller ones where the
    /// constraints ask for it.
    fn middle_case(&mut self, args: &[Arg]) -> Option<SizeValues> {
        let sizes = &self.spec.written.sizes;
        let free = |arg: &Arg| {
            arg.shape.iter().filter(|size| matches!(sizes[size.index()].kind, SizeKind::Free { .. })).count()
        };
        let most = args.iter().map(free).max().unwrap_or(0).max(1) as u32;
        let mut length = 1u64 << (MIDDLE_ELEMENTS.ilog2() / most);
        loop {
            let mut given: BTreeMap<String, u64> = sizes
                .iter()
                .filter_map(|size| match size.kind {
                    SizeKind::Free { min, max, multiple_of } => {
                        let capped = length.min(max.unwrap_or(u64::MAX)) / multiple_of * multiple_of;
                        Some((size.name.clone(), capped.max(min.next_multiple_of(multiple_of))))
                    }
                    _ => None,
                })
                .collect();
            self.twice_the_rows(&mut given, args);
            match self.complete(&given, args) {
                Ok(values) => return Some(values),
                Err(_) if length > 1 => length /= 2,
                Err(_) => break,
            }
        }
        let span = self.spec.written.better_span;
        self.note(span, Problem::NoMiddleCase);
        None
    }
}

/// The way from a size back to itself, if there is one.
fn circle(start: &str, needs: &dyn Fn(&str) -> Vec<String>) -> Option<Vec<String>> {
    // Breadth first, remembering how each size was reached: the shortest circle is the clearest.
    let mut reached: BTreeMap<String, String> = BTreeMap::new();
    let mut pending = std::collections::VecDeque::from([start.to_owned()]);
    while let Some(name) = pending.pop_front() {
        for next in needs(&name) {
            if next == start {
                let mut names = vec![start.to_owned()];
                let mut at = &name;
                while at != start {
                    names.push(at.clone());
                    at = &reached[at];
                }
                names.push(start.to_owned());
                names.reverse();
                return Some(names);
            }
            if !reached.contains_key(&next) {
                reached.insert(next.clone(), name.clone());
                pending.push_back(next);
            }
        }
    }
    None
}

/// Whether a number is one that a scalar of this dtype can be near to: integers exactly, others in their range.
fn holds(dtype: DType, value: f64) -> bool {
    let range = match dtype {
        DType::I8 => -128.0..=127.0,
        DType::U8 => 0.0..=255.0,
        DType::I32 => -2_147_483_648.0..=2_147_483_647.0,
        DType::U32 => 0.0..=4_294_967_295.0,
        // Beyond 2^53 f64 does not hold every whole number.
        DType::I64 => -9_007_199_254_740_992.0..=9_007_199_254_740_992.0,
        _ => return !value.is_nan() && (value.is_infinite() || value.abs() <= dtype.max_value()),
    };
    range.contains(&value) && value.fract() == 0.0
}
