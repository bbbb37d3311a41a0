//! The sizes that a kernel accepts.

use std::collections::BTreeMap;

use crate::{CompileError, CompiledExpr, DType, EvalError, Size, SizeExpr, SizeKind, SizeValues};

/// Why some sizes are outside a kernel's domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DomainError {
    /// A free size was given no value
    #[error("size `{size}` has no value")]
    Missing {
        /// Its name
        size: String,
    },
    /// A value was given for a name that is no size
    #[error("the kernel has no size `{size}`")]
    Unknown {
        /// The name
        size: String,
    },
    /// A value is below the least one
    #[error("size `{size}` is {value}, below its least value {min}")]
    BelowMin {
        /// The size
        size: String,
        /// Its value
        value: u64,
        /// Its bound
        min: u64,
    },
    /// A value is above the greatest one
    #[error("size `{size}` is {value}, above its greatest value {max}")]
    AboveMax {
        /// The size
        size: String,
        /// Its value
        value: u64,
        /// Its bound
        max: u64,
    },
    /// A value is no multiple of what it must be
    #[error("size `{size}` is {value}, which is no multiple of {multiple_of}")]
    NotMultiple {
        /// The size
        size: String,
        /// Its value
        value: u64,
        /// What it must be a multiple of
        multiple_of: u64,
    },
    /// A fixed or derived size was given another value than its own
    #[error("size `{size}` is {value}, but must be {expected}")]
    Differs {
        /// The size
        size: String,
        /// The value given
        value: u64,
        /// Its own value
        expected: u64,
    },
    /// A derived size is negative
    #[error("size `{size}` would be negative: `{expression}` is {value}")]
    Negative {
        /// The size
        size: String,
        /// What it is derived by
        expression: String,
        /// The value of that
        value: i64,
    },
    /// A constraint does not hold
    #[error("the sizes do not satisfy `{constraint}`")]
    Constraint {
        /// The constraint
        constraint: String,
    },
    /// A constraint or a derived size has no value
    #[error("`{expression}` cannot be computed for these sizes: {error}")]
    Eval {
        /// The expression
        expression: String,
        /// Why
        error: EvalError,
    },
    /// A value does not fit 63 bits
    #[error("size `{size}` is {value}, more than 2^63 - 1")]
    TooLarge {
        /// The size
        size: String,
        /// Its value
        value: u64,
    },
    /// An argument's size in bytes does not fit 63 bits
    #[error("argument `{arg}` would have more than 2^63 bytes")]
    TooManyElements {
        /// The argument
        arg: String,
    },
}

impl DomainError {
    /// The size that it is about, if it is about one.
    pub fn size(&self) -> Option<&str> {
        match self {
            DomainError::Missing { size }
            | DomainError::Unknown { size }
            | DomainError::BelowMin { size, .. }
            | DomainError::AboveMax { size, .. }
            | DomainError::NotMultiple { size, .. }
            | DomainError::Differs { size, .. }
            | DomainError::Negative { size, .. }
            | DomainError::TooLarge { size, .. } => Some(size),
            _ => None,
        }
    }
}

/// Bytes of a dense tensor, if they fit 63 bits.
pub(crate) fn bytes(dims: impl Iterator<Item = u64>, dtype: DType) -> Option<u64> {
    let mut bytes = dtype.size() as u64;
    let mut empty = false;
    for dim in dims {
        empty |= dim == 0;
        bytes = bytes.checked_mul(dim.max(1))?;
    }
    i64::try_from(bytes).ok()?;
    Some(if empty { 0 } else { bytes })
}

/// The value of a size from those of the free ones, as far as they say it. No size is derived from itself.
pub(crate) fn value(sizes: &[Size], size: &Size, free: &BTreeMap<String, u64>) -> Option<u64> {
    match &size.kind {
        SizeKind::Free { .. } => free.get(&size.name).copied(),
        SizeKind::Fixed(value) => Some(*value),
        SizeKind::Derived(expr) => {
            let named = |name: &str| {
                let size = sizes.iter().find(|size| size.name == name)?;
                i64::try_from(value(sizes, size, free)?).ok()
            };
            u64::try_from(expr.eval(&named).ok()?).ok()
        }
    }
}

/// Values for all sizes from those given.
pub(crate) fn complete(
    sizes: &[Size],
    constraints: &[SizeExpr],
    given: &BTreeMap<String, u64>,
) -> Result<SizeValues, DomainError> {
    for name in given.keys() {
        if !sizes.iter().any(|size| size.name == *name) {
            return Err(DomainError::Unknown { size: name.clone() });
        }
    }
    let domain =
        CompiledDomain::new(sizes, constraints).map_err(|(expression, error)| DomainError::Eval {
            expression,
            error: match error {
                CompileError::UnknownSize(name) => EvalError::UnknownSize(name),
                CompileError::TooDeep => EvalError::Overflow,
            },
        })?;
    let mut values = Vec::with_capacity(sizes.len());
    for size in sizes {
        values.push(match given.get(&size.name) {
            Some(&value) => {
                i64::try_from(value).map_err(|_| DomainError::TooLarge { size: size.name.clone(), value })?
            }
            None => CompiledDomain::UNSET,
        });
    }
    domain.complete(&mut values)?;
    Ok(SizeValues(values.into_iter().map(|value| value as u64).collect()))
}

/// A domain made ready for launches: completing and checking sizes allocates nothing unless it fails.
#[derive(Clone, Debug)]
pub struct CompiledDomain {
    sizes: Vec<Size>,
    /// Indices of derived sizes with their code, each after those it needs
    derived: Vec<(usize, CompiledExpr)>,
    constraints: Vec<(SizeExpr, CompiledExpr)>,
}

impl CompiledDomain {
    /// Stands for a size that was given no value.
    pub const UNSET: i64 = -1;

    /// Compiles a domain. On failure, returns the offending expression and what is wrong with it; a cycle of derived
    /// sizes shows as an unknown size.
    pub fn new(sizes: &[Size], constraints: &[SizeExpr]) -> Result<CompiledDomain, (String, CompileError)> {
        let names: Vec<&str> = sizes.iter().map(|size| size.name.as_str()).collect();
        let compile = |expr: &SizeExpr| expr.compile(&names).map_err(|error| (expr.to_string(), error));
        let mut known: Vec<bool> =
            sizes.iter().map(|size| !matches!(size.kind, SizeKind::Derived(_))).collect();
        let mut derived = Vec::new();
        while let Some(first) = known.iter().position(|known| !known) {
            let ready = |index: usize| match &sizes[index].kind {
                SizeKind::Derived(expr) if !known[index] => {
                    let missing = |name: &String| {
                        names.iter().position(|known| known == name).is_some_and(|at| !known[at])
                    };
                    (!expr.names().iter().any(missing)).then_some(expr)
                }
                _ => None,
            };
            let Some((index, expr)) = (first..sizes.len()).find_map(|index| Some((index, ready(index)?)))
            else {
                let name = names[first].to_owned();
                return Err((name.clone(), CompileError::UnknownSize(name)));
            };
            derived.push((index, compile(expr)?));
            known[index] = true;
        }
        let constraints =
            constraints.iter().map(|expr| Ok((expr.clone(), compile(expr)?))).collect::<Result<_, _>>()?;
        Ok(CompiledDomain { sizes: sizes.to_vec(), derived, constraints })
    }

    /// The sizes, in order.
    pub fn sizes(&self) -> &[Size] {
        &self.sizes
    }

    /// Fills in fixed and derived sizes and checks everything.
    ///
    /// `values` has one entry a size, [`CompiledDomain::UNSET`] where no value is known. A fixed or derived size that
    /// has a value must have its own.
    ///
    /// # Panics
    ///
    /// When `values` has another length than the sizes.
    pub fn complete(&self, values: &mut [i64]) -> Result<(), DomainError> {
        assert_eq!(values.len(), self.sizes.len(), "one value a size");
        for (size, value) in self.sizes.iter().zip(values.iter_mut()) {
            match size.kind {
                SizeKind::Free { min, max, multiple_of } => check_free(size, *value, min, max, multiple_of)?,
                SizeKind::Fixed(fixed) => settle(size, value, fixed as i64)?,
                SizeKind::Derived(_) => {}
            }
        }
        for (index, code) in &self.derived {
            let size = &self.sizes[*index];
            let SizeKind::Derived(expr) = &size.kind else { continue };
            let own = code
                .eval(values)
                .map_err(|error| DomainError::Eval { expression: expr.to_string(), error })?;
            if own < 0 {
                return Err(DomainError::Negative {
                    size: size.name.clone(),
                    expression: expr.to_string(),
                    value: own,
                });
            }
            settle(size, &mut values[*index], own)?;
        }
        for (expr, code) in &self.constraints {
            match code.eval(values) {
                Ok(0) => return Err(DomainError::Constraint { constraint: expr.to_string() }),
                Ok(_) => {}
                Err(error) => return Err(DomainError::Eval { expression: expr.to_string(), error }),
            }
        }
        Ok(())
    }
}

fn check_free(
    size: &Size,
    value: i64,
    min: u64,
    max: Option<u64>,
    multiple_of: u64,
) -> Result<(), DomainError> {
    let Ok(value) = u64::try_from(value) else {
        return Err(DomainError::Missing { size: size.name.clone() });
    };
    if value < min {
        return Err(DomainError::BelowMin { size: size.name.clone(), value, min });
    }
    if let Some(max) = max.filter(|&max| value > max) {
        return Err(DomainError::AboveMax { size: size.name.clone(), value, max });
    }
    if !value.is_multiple_of(multiple_of) {
        return Err(DomainError::NotMultiple { size: size.name.clone(), value, multiple_of });
    }
    Ok(())
}

fn settle(size: &Size, value: &mut i64, own: i64) -> Result<(), DomainError> {
    if *value != CompiledDomain::UNSET && *value != own {
        return Err(DomainError::Differs {
            size: size.name.clone(),
            value: *value as u64,
            expected: own as u64,
        });
    }
    *value = own;
    Ok(())
}
