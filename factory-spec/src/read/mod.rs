//! From TOML to a [`Spec`], with the place of everything.

mod reader;
mod row_stride;
mod sections;

use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

use reader::{Reader, Section};

use crate::program::Statement;
use crate::{
    Allowance, Arch, Arg, DType, InputKind, Minimize, Problem, Requirement, Role, Search, Size, SizeExpr,
    SourceText, Span, Spec, SpecError, SpecErrors, Tolerance,
};

/// What is written in a spec, as far as the public [`Spec`] does not show it.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) sizes: Vec<Size>,
    /// Where each size stands
    pub(crate) size_spans: Vec<Span>,
    pub(crate) constraints: Vec<(SizeExpr, Span)>,
    pub(crate) args: Vec<WrittenArg>,
    pub(crate) reference: WrittenReference,
    pub(crate) cases: Vec<WrittenSizes>,
    pub(crate) inputs: Vec<(String, Vec<InputKind>)>,
    pub(crate) tolerance: Vec<(String, Tolerance)>,
    pub(crate) minimize: Minimize,
    pub(crate) over: Option<Vec<WrittenSizes>>,
    /// Where `[better]` stands, else the start of the file
    pub(crate) better_span: Span,
    pub(crate) require: Vec<Requirement>,
    pub(crate) allow: Vec<Allowance>,
    pub(crate) targets: Vec<Arch>,
}

/// A dtype, or a variable for one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DTypeOrVariable {
    /// This dtype
    DType(DType),
    /// What the variable of this name is bound to
    Variable(String),
}

#[derive(Clone, Debug)]
pub(crate) struct WrittenArg {
    /// The argument, but for its dtype when that is a variable
    pub(crate) arg: Arg,
    pub(crate) dtype: DTypeOrVariable,
    pub(crate) shape_span: Span,
    /// Where the row stride stands; the shape, where there is none
    pub(crate) stride_span: Span,
    pub(crate) value_spans: Vec<Span>,
}

#[derive(Clone, Debug)]
pub(crate) enum WrittenReference {
    Program { statements: Vec<Statement>, span: Span },
    C(crate::CReference),
}

/// Values of sizes, as in `{ m = 3, n = 8 }`.
#[derive(Clone, Debug)]
pub(crate) struct WrittenSizes {
    pub(crate) span: Span,
    pub(crate) values: Vec<(String, Span, u64)>,
}

/// Reads the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Spec, SpecErrors> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let problem = match error.kind() {
            std::io::ErrorKind::NotFound => Problem::Missing,
            std::io::ErrorKind::InvalidData => Problem::Unreadable { reason: "it is not UTF-8".to_owned() },
            _ => Problem::Unreadable { reason: error.to_string() },
        };
        SpecError::of_file(path, problem)
    })?;
    parse(path, &text)
}

/// Reads a spec from its text.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Spec, SpecErrors> {
    let source = Arc::new(SourceText::new(path, text));
    let document = DeTable::parse(text).map_err(|error| {
        let span = error.span().map_or(Span::default(), Span::from);
        let message = error.message().trim().replace('\n', ", ");
        SpecError::at(&source, span, Problem::Toml { message })
    })?;
    let mut reader = Reader { source: Arc::clone(&source), errors: Vec::new() };
    let root = Section { table: document.get_ref(), what: "a spec".to_owned(), span: Span::default() };
    let spec = sections::spec(&mut reader, &root);
    SpecErrors::check(reader.errors)?;
    // Sections return nothing only after noting an error.
    let spec = spec.ok_or_else(|| SpecErrors::new(vec![SpecError::of_file(path, Problem::NoOutput)]))?;
    // What does not depend on how dtype variables are bound shows with any binding.
    if let Some(bindings) = spec.all_bindings().first() {
        spec.bind(bindings)?;
    }
    Ok(spec)
}

impl Role {
    /// The role of that name.
    pub fn parse(name: &str) -> Option<Role> {
        [Role::In, Role::Out, Role::InOut].into_iter().find(|role| role.name() == name)
    }
}

/// What the sections give besides [`Written`].
struct Head {
    name: String,
    doc: Option<String>,
    search: Search,
}
