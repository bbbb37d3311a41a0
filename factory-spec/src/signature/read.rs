//! From tokens to a [`Signature`] and an [`Attribute`].

use std::collections::BTreeMap;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{FnArg, GenericArgument, Ident, LitStr, Pat, PathArguments, ReturnType, Token, Type};

use super::{ArgTy, Attribute, Mismatch, Signature, SignatureArg};
use crate::DType;

/// `name = "value"` or `crate = path`
enum Setting {
    Text(Ident, LitStr),
    Crate(syn::Path),
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Setting> {
        if input.peek(Token![crate]) {
            input.parse::<Token![crate]>()?;
            input.parse::<Token![=]>()?;
            return Ok(Setting::Crate(input.call(syn::Path::parse_mod_style)?));
        }
        let name: Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Setting::Text(name, input.parse()?))
    }
}

/// Reads what stands inside `#[kernel_factory(…)]`: `spec = "path"`, dtypes of variables as in `T = "bf16"`, and
/// `crate = path`.
pub fn read_attribute(tokens: TokenStream) -> Result<Attribute, Vec<Mismatch>> {
    let whole = tokens.span();
    let settings = Punctuated::<Setting, Token![,]>::parse_terminated.parse2(tokens).map_err(|error| {
        vec![Mismatch::new(
            error.span(),
            format!("{error}; write `#[kernel_factory(spec = \"kernels/name.toml\")]`"),
        )]
    })?;
    let mut mismatches = Vec::new();
    let (mut spec, mut krate, mut bindings) = (None, None, BTreeMap::new());
    for setting in settings {
        match setting {
            Setting::Crate(path) => krate = Some(path.into_token_stream()),
            Setting::Text(name, value) if name == "spec" => {
                if spec.replace((value.value(), value.span())).is_some() {
                    mismatches.push(Mismatch::new(name.span(), "`spec` stands twice"));
                }
            }
            Setting::Text(name, value) => match DType::parse(&value.value()) {
                Some(dtype) => {
                    if bindings.insert(name.to_string(), (dtype, name.span())).is_some() {
                        mismatches.push(Mismatch::new(name.span(), format!("`{name}` stands twice")));
                    }
                }
                None => {
                    let known = DType::ALL.map(DType::name).join(", ");
                    mismatches.push(Mismatch::new(
                        value.span(),
                        format!("there is no dtype `{}`; there are {known}", value.value()),
                    ));
                }
            },
        }
    }
    if spec.is_none() {
        mismatches.push(Mismatch::new(
            whole,
            "`spec` is missing; write `#[kernel_factory(spec = \"kernels/name.toml\")]`",
        ));
    }
    match spec {
        Some((spec, spec_span)) if mismatches.is_empty() => {
            Ok(Attribute { spec, spec_span, bindings, krate })
        }
        _ => Err(mismatches),
    }
}

/// Reads the tokens of a bodiless function.
pub fn parse_item(tokens: TokenStream) -> Result<syn::ForeignItemFn, Vec<Mismatch>> {
    let with_body = syn::parse2::<syn::ItemFn>(tokens.clone());
    if let Ok(function) = with_body {
        let message = "a kernel's function has no body: end it with `;`, its spec says what it computes";
        return Err(vec![Mismatch::new(function.block.span(), message)]);
    }
    syn::parse2(tokens).map_err(|error| {
        vec![Mismatch::new(
            error.span(),
            format!("{error}; `#[kernel_factory]` goes on a function without a body"),
        )]
    })
}

/// Reads a bodiless function. All that is wrong with it is reported at once.
pub fn read(item: &syn::ForeignItemFn) -> Result<Signature, Vec<Mismatch>> {
    let mut mismatches = Vec::new();
    let signature = &item.sig;
    let mut refuse = |span: Span, message: &str| mismatches.push(Mismatch::new(span, message));
    if let Some(token) = &signature.constness {
        refuse(token.span(), "a kernel's function cannot be `const`: it launches at run time");
    }
    if let Some(token) = &signature.asyncness {
        refuse(
            token.span(),
            "a kernel's function cannot be `async`: a launch returns at once anyway, and streams order the work",
        );
    }
    let safety = signature.safety.to_token_stream();
    if !safety.is_empty() {
        refuse(
            safety.span(),
            "a kernel's function cannot be `unsafe` or `safe`: its wrapper checks everything it relies on",
        );
    }
    if let Some(abi) = &signature.abi {
        refuse(
            abi.span(),
            "a kernel's function cannot be `extern`: it is a Rust function that launches a kernel",
        );
    }
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        let span = signature.generics.params.span();
        refuse(
            span,
            "a kernel's function cannot be generic: each kernel is verified for its own dtypes; write one function for each, and bind the spec's dtype variable in its attribute",
        );
    }
    if let Some(variadic) = &signature.variadic {
        refuse(variadic.span(), "a kernel's function takes a fixed number of arguments");
    }
    if let ReturnType::Type(_, ty) = &signature.output
        && !returns_nothing(ty)
    {
        refuse(
            ty.span(),
            "a kernel returns nothing but whether it was launched: leave the type out, or write `-> factory_runtime::Result<()>`; results go into `&mut` arguments",
        );
    }
    let mut args: Vec<SignatureArg> = Vec::new();
    for (index, input) in signature.inputs.iter().enumerate() {
        match argument(input, index) {
            Ok(arg) => {
                if args.iter().any(|other| other.name == arg.name) {
                    mismatches.push(Mismatch::of_arg(
                        arg.span,
                        index,
                        format!("the name `{}` is used twice", arg.name),
                    ));
                }
                args.push(arg);
            }
            Err(mismatch) => mismatches.push(mismatch),
        }
    }
    if mismatches.is_empty() {
        Ok(Signature { name: unraw(&signature.ident), name_span: signature.ident.span(), args })
    } else {
        Err(mismatches)
    }
}

/// `r#name` and `name` are one name.
fn unraw(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or(name.clone(), str::to_owned)
}

/// `Result<()>`, under any path.
fn returns_nothing(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    let Some(last) = path.path.segments.last() else { return false };
    let PathArguments::AngleBracketed(generics) = &last.arguments else { return false };
    let unit = |arg: &GenericArgument| matches!(arg, GenericArgument::Type(Type::Tuple(tuple)) if tuple.elems.is_empty());
    last.ident == "Result" && generics.args.len() == 1 && generics.args.iter().all(unit)
}

fn argument(input: &FnArg, index: usize) -> Result<SignatureArg, Mismatch> {
    let FnArg::Typed(typed) = input else {
        return Err(Mismatch::of_arg(
            input.span(),
            index,
            "a kernel's function has no `self`: its tensors are arguments of their own",
        ));
    };
    let Pat::Ident(pattern) = &*typed.pat else {
        return Err(Mismatch::of_arg(
            typed.pat.span(),
            index,
            "an argument needs a plain name, that of the spec's argument",
        ));
    };
    if pattern.by_ref.is_some() || pattern.mutability.is_some() || pattern.subpat.is_some() {
        let message = "an argument needs a plain name: for an output write `name: &mut Tensor<…>`";
        return Err(Mismatch::of_arg(typed.pat.span(), index, message));
    }
    let ty = arg_type(&typed.ty).map_err(|message| Mismatch::of_arg(typed.ty.span(), index, message))?;
    Ok(SignatureArg { name: unraw(&pattern.ident), ty, span: pattern.ident.span(), ty_span: typed.ty.span() })
}

fn arg_type(ty: &Type) -> Result<ArgTy, String> {
    match ty {
        Type::Paren(inner) => arg_type(&inner.elem),
        Type::Group(inner) => arg_type(&inner.elem),
        Type::Reference(reference) => match generic(&reference.elem) {
            Some((name, element)) if name == "Tensor" => Ok(ArgTy::Tensor {
                dtype: element_type(element)?,
                mutable: reference.mutability.is_some(),
                view: false,
            }),
            Some((name, _)) if name == "TensorRef" || name == "TensorMut" => {
                Err(format!("`{name}` is a view already: pass it by value"))
            }
            _ => Err(refusal(ty)),
        },
        _ => match generic(ty) {
            Some((name, element)) if name == "TensorRef" || name == "TensorMut" => {
                Ok(ArgTy::Tensor { dtype: element_type(element)?, mutable: name == "TensorMut", view: true })
            }
            Some((name, element)) if name == "Tensor" => {
                let dtype = element_type(element)?;
                Err(format!(
                    "a tensor is passed by reference: write `&Tensor<{dtype}>`, or `&mut Tensor<{dtype}>` for an output"
                ))
            }
            _ => element_type(ty).map(|dtype| ArgTy::Scalar { dtype }).map_err(|_| refusal(ty)),
        },
    }
}

fn refusal(ty: &Type) -> String {
    let text = ty.to_token_stream().to_string();
    format!(
        "a kernel does not take `{text}`: write `&Tensor<T>`, `&mut Tensor<T>`, `TensorRef<'_, T>`, `TensorMut<'_, T>`, or a number such as `f32`"
    )
}

/// The last name of a path with one type argument, and that argument. Lifetimes may stand beside it.
fn generic(ty: &Type) -> Option<(&Ident, &Type)> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(generics) = &last.arguments else { return None };
    let mut types = generics.args.iter().filter_map(|arg| match arg {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    match (types.next(), types.next()) {
        (Some(element), None) => Some((&last.ident, element)),
        _ => None,
    }
}

/// The dtype whose name a path ends in.
fn element_type(ty: &Type) -> Result<DType, String> {
    let name = match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .filter(|last| last.arguments.is_none())
            .map(|last| last.ident.to_string()),
        _ => None,
    };
    name.and_then(|name| DType::parse(&name)).ok_or_else(|| {
        let known = DType::ALL.map(DType::name).join(", ");
        format!(
            "`{}` is no element type: there are {known}, and aliases are not looked through",
            ty.to_token_stream()
        )
    })
}
