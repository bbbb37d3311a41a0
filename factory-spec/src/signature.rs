//! Rust signatures under `#[kernel_factory]`: read, and checked against the spec.
//!
//! The macro and the build script both come here, so that they cannot disagree. A bodiless function is what syn calls a
//! foreign one; in a file it is verbatim tokens to syn, and [`find_in_file`] reads it again.

mod find;
mod read;

use std::collections::BTreeMap;
use std::fmt;

use proc_macro2::{Span, TokenStream};

use crate::spec::{DTypeOrVariable, SpecArg};
use crate::{DType, Role, Spec};

pub use find::find_in_file;
pub use read::{parse_item, read, read_attribute};

/// The attribute's name.
pub const ATTRIBUTE: &str = "kernel_factory";

/// The signature of an annotated function.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The function's name
    pub name: String,
    /// Where that stands
    pub name_span: Span,
    /// Its arguments
    pub args: Vec<SignatureArg>,
}

/// One argument of a [`Signature`].
#[derive(Clone, Debug)]
pub struct SignatureArg {
    /// Its name
    pub name: String,
    /// What it takes
    pub ty: ArgTy,
    /// The argument's name in the source
    pub span: Span,
    /// The argument's type in the source
    pub ty_span: Span,
}

/// What an argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgTy {
    /// `&Tensor<T>`, `&mut Tensor<T>`, `TensorRef<'_, T>`, `TensorMut<'_, T>`
    Tensor {
        /// Type of the elements
        dtype: DType,
        /// Whether it may be written
        mutable: bool,
        /// Whether it is a borrowed view (`TensorRef`, `TensorMut`) instead of a reference to a tensor
        view: bool,
    },
    /// A number by value
    Scalar {
        /// Its type
        dtype: DType,
    },
}

impl ArgTy {
    /// Type of the elements, or of the number.
    pub fn dtype(self) -> DType {
        match self {
            ArgTy::Tensor { dtype, .. } | ArgTy::Scalar { dtype } => dtype,
        }
    }

    /// The argument of the spec as it would be written in Rust, with that dtype.
    fn of(arg: &SpecArg, dtype: DType) -> ArgTy {
        if arg.scalar {
            ArgTy::Scalar { dtype }
        } else {
            ArgTy::Tensor { dtype, mutable: arg.role.writes(), view: false }
        }
    }
}

impl fmt::Display for ArgTy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgTy::Tensor { dtype, mutable: false, view: false } => write!(f, "&Tensor<{dtype}>"),
            ArgTy::Tensor { dtype, mutable: true, view: false } => write!(f, "&mut Tensor<{dtype}>"),
            ArgTy::Tensor { dtype, mutable: false, view: true } => write!(f, "TensorRef<'_, {dtype}>"),
            ArgTy::Tensor { dtype, mutable: true, view: true } => write!(f, "TensorMut<'_, {dtype}>"),
            ArgTy::Scalar { dtype } => write!(f, "{dtype}"),
        }
    }
}

/// What stands in the attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// The spec's path, relative to the package
    pub spec: String,
    /// The string literal
    pub spec_span: Span,
    /// The dtype variables that are bound here
    pub bindings: BTreeMap<String, (DType, Span)>,
    /// `crate = path`: what to call the runtime instead of `::factory_runtime`
    pub krate: Option<TokenStream>,
}

/// One way in which a signature is not what it must be.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// Where in the Rust source
    pub span: Span,
    /// Index of the argument that it is about
    pub arg: Option<usize>,
    /// What is wrong and what to do
    pub message: String,
}

impl Mismatch {
    fn new(span: Span, message: impl Into<String>) -> Mismatch {
        Mismatch { span, arg: None, message: message.into() }
    }

    fn of_arg(span: Span, arg: usize, message: impl Into<String>) -> Mismatch {
        Mismatch { span, arg: Some(arg), message: message.into() }
    }
}

/// An annotated signature in a file.
pub struct Found {
    /// The function
    pub item: syn::ForeignItemFn,
    /// The attribute's arguments
    pub attr: TokenStream,
    /// Names of the modules around it
    pub modules: Vec<String>,
    /// The attribute's line in the file, from 1
    pub line: usize,
}

/// Checks a signature against its spec, and finds what the dtype variables are bound to.
///
/// A variable that the attribute does not bind is what the first argument of its dtype says.
pub fn check(
    signature: &Signature,
    attribute: &Attribute,
    spec: &Spec,
) -> Result<BTreeMap<String, DType>, Vec<Mismatch>> {
    let mut mismatches = Vec::new();
    let file = spec.source.path().display().to_string();
    if signature.name != spec.name {
        let message = format!(
            "the function is `{}`, but `{file}` names the kernel `{}`; rename one of them",
            signature.name, spec.name
        );
        mismatches.push(Mismatch::new(signature.name_span, message));
    }
    if let Err(problems) = order(signature, spec) {
        mismatches.extend(problems);
        return Err(mismatches);
    }
    let mut bindings: BTreeMap<String, DType> = BTreeMap::new();
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, (dtype, span)) in &attribute.bindings {
        match spec.dtype_variables.iter().find(|variable| variable.name == *name) {
            Some(variable) if variable.choices.contains(dtype) => {
                bindings.insert(name.clone(), *dtype);
                from.insert(name, "the attribute");
            }
            Some(variable) => {
                let message =
                    format!("`{name}` cannot be {dtype}: `{file}` allows {}", dtype_list(&variable.choices));
                mismatches.push(Mismatch::new(*span, message));
            }
            None => {
                let known: Vec<String> =
                    spec.dtype_variables.iter().map(|variable| format!("`{}`", variable.name)).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message = format!("`{file}` has no dtype variable `{name}`; it has {known}");
                mismatches.push(Mismatch::new(*span, message));
            }
        }
    }
    for (index, (arg, wanted)) in signature.args.iter().zip(&spec.args).enumerate() {
        let dtype = match &wanted.dtype {
            DTypeOrVariable::DType(dtype) => *dtype,
            DTypeOrVariable::Variable(name) => {
                let found = arg.ty.dtype();
                let variable = spec.dtype_variables.iter().find(|variable| variable.name == *name);
                let Some(bound) = bindings.get(name) else {
                    let choices = variable.map_or(&[][..], |variable| &variable.choices);
                    if choices.contains(&found) {
                        bindings.insert(name.clone(), found);
                        from.insert(name, &arg.name);
                    } else {
                        let message = format!(
                            "`{}` cannot be of dtype {found}: `{file}` allows {} for `{name}`",
                            arg.name,
                            dtype_list(choices)
                        );
                        mismatches.push(Mismatch::of_arg(arg.ty_span, index, message));
                    }
                    mismatches.extend(kind(arg, wanted, found, index, &file));
                    continue;
                };
                if *bound != found {
                    let source = from.get(name.as_str()).copied().unwrap_or_default();
                    let source = if source == "the attribute" {
                        source.to_owned()
                    } else {
                        format!("argument `{source}`")
                    };
                    let message = format!(
                        "`{}` has dtype {found}, but `{name}` is {bound} by {source}; write `{}`",
                        arg.name,
                        ArgTy::of(wanted, *bound)
                    );
                    mismatches.push(Mismatch::of_arg(arg.ty_span, index, message));
                    continue;
                }
                *bound
            }
        };
        mismatches.extend(kind(arg, wanted, dtype, index, &file));
    }
    for variable in &spec.dtype_variables {
        let used = spec.args.iter().any(|arg| arg.dtype == DTypeOrVariable::Variable(variable.name.clone()));
        if !used && !bindings.contains_key(&variable.name) && !attribute.bindings.contains_key(&variable.name)
        {
            let name = &variable.name;
            let message = format!(
                "no argument tells what `{name}` is; write `{name} = \"{}\"` in the attribute",
                variable.choices[0]
            );
            mismatches.push(Mismatch::new(attribute.spec_span, message));
        }
    }
    if mismatches.is_empty() { Ok(bindings) } else { Err(mismatches) }
}

/// Number, names and order.
fn order(signature: &Signature, spec: &Spec) -> Result<(), Vec<Mismatch>> {
    let file = spec.source.path().display();
    let mut mismatches = Vec::new();
    for (index, arg) in signature.args.iter().enumerate() {
        if spec.args.iter().any(|wanted| wanted.name == arg.name) {
            continue;
        }
        let close = crate::error::did_you_mean(&arg.name, spec.args.iter().map(|arg| arg.name.as_str()));
        let hint = close.map_or_else(
            || format!("; its arguments are {}", names(spec)),
            |close| format!("; did you mean `{close}`?"),
        );
        mismatches.push(Mismatch::of_arg(
            arg.span,
            index,
            format!("`{file}` has no argument `{}`{hint}", arg.name),
        ));
    }
    for wanted in &spec.args {
        if !signature.args.iter().any(|arg| arg.name == wanted.name) {
            let role = match wanted.role {
                Role::In => "an input",
                Role::Out => "an output",
                Role::InOut => "an input and output",
            };
            let message = format!(
                "the argument `{}` is missing: `{file}` has {} arguments, {}, and this is {role}",
                wanted.name,
                spec.args.len(),
                names(spec)
            );
            mismatches.push(Mismatch::new(signature.name_span, message));
        }
    }
    if mismatches.is_empty() {
        let swapped = signature
            .args
            .iter()
            .zip(&spec.args)
            .enumerate()
            .find(|(_, (arg, wanted))| arg.name != wanted.name);
        if let Some((index, (arg, wanted))) = swapped {
            let message = format!(
                "`{}` stands where `{file}` has `{}`: the order is {}",
                arg.name,
                wanted.name,
                names(spec)
            );
            mismatches.push(Mismatch::of_arg(arg.span, index, message));
        }
    }
    if mismatches.is_empty() { Ok(()) } else { Err(mismatches) }
}

/// Scalar or tensor, dtype, mutability.
fn kind(arg: &SignatureArg, wanted: &SpecArg, dtype: DType, index: usize, file: &str) -> Option<Mismatch> {
    let (name, found) = (&arg.name, arg.ty);
    let expected = ArgTy::of(wanted, dtype);
    let what = match (found, expected) {
        (ArgTy::Scalar { .. }, ArgTy::Tensor { .. }) => "a tensor".to_owned(),
        (ArgTy::Tensor { .. }, ArgTy::Scalar { .. }) => "a scalar".to_owned(),
        _ if found.dtype() != dtype => format!("of dtype {dtype}"),
        (ArgTy::Tensor { mutable: false, .. }, ArgTy::Tensor { mutable: true, .. }) => "written".to_owned(),
        (ArgTy::Tensor { mutable: true, .. }, ArgTy::Tensor { mutable: false, .. }) => "only read".to_owned(),
        _ => return None,
    };
    let message = format!("`{name}` is `{found}`, but in `{file}` it is {what}; write `{expected}`");
    Some(Mismatch::of_arg(arg.ty_span, index, message))
}

fn names(spec: &Spec) -> String {
    spec.args.iter().map(|arg| format!("`{}`", arg.name)).collect::<Vec<_>>().join(", ")
}

fn dtype_list(dtypes: &[DType]) -> String {
    dtypes.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(", ")
}
