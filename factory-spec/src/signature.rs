//! Rust signatures under `#[kernel_factory]`: read, and checked against the spec.

use std::collections::BTreeMap;

use proc_macro2::{Span, TokenStream};

use crate::{DType, Spec};

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

/// An annotated signature in a file.
pub struct Found {
    /// The function
    pub item: syn::ForeignItemFn,
    /// The attribute's arguments
    pub attr: TokenStream,
    /// Names of the modules around it
    pub modules: Vec<String>,
    /// Its line in the file, from 1
    pub line: usize,
}

/// Reads what stands inside `#[kernel_factory(…)]`.
pub fn read_attribute(tokens: TokenStream) -> Result<Attribute, Vec<Mismatch>> {
    let _ = tokens;
    todo!()
}

/// Reads a bodiless function. All that is wrong with it is reported at once.
pub fn read(item: &syn::ForeignItemFn) -> Result<Signature, Vec<Mismatch>> {
    let _ = item;
    todo!()
}

/// Reads the tokens of a bodiless function.
pub fn parse_item(tokens: TokenStream) -> Result<syn::ForeignItemFn, Vec<Mismatch>> {
    let _ = tokens;
    todo!()
}

/// Checks a signature against its spec, and finds what the dtype variables are bound to.
pub fn check(
    signature: &Signature,
    attribute: &Attribute,
    spec: &Spec,
) -> Result<BTreeMap<String, DType>, Vec<Mismatch>> {
    let _ = (signature, attribute, spec);
    todo!()
}

/// Every annotated signature in a file, in nested modules and function bodies too.
pub fn find_in_file(source: &str) -> Result<Vec<Found>, syn::Error> {
    let _ = source;
    todo!()
}
