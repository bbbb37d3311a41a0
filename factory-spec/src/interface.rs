//! What the runtime needs to know of a spec, as JSON: the runtime reads no TOML.

use serde::{Deserialize, Serialize};

use crate::{BoundSpec, CompileError, CompiledDomain, DType, JsonError, Key, Role, Size, SizeExpr, json};

/// A kernel as its callers see it: sizes with their domain, and arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Version of this format: [`Interface::SCHEMA`]
    pub schema: u32,
    /// The kernel's name
    pub name: String,
    /// The spec's key
    pub key: Key,
    /// The sizes, in the order of the spec
    pub sizes: Vec<Size>,
    /// What must hold for them besides
    pub constraints: Vec<SizeExpr>,
    /// The arguments, in the order of the signature
    pub args: Vec<InterfaceArg>,
}

/// An argument as callers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceArg {
    /// Its name
    pub name: String,
    /// The type of its elements
    pub dtype: DType,
    /// Names of the sizes of its dimensions, outermost first
    pub shape: Vec<String>,
    /// Name of the size that consecutive rows lie apart, in elements; none: dense and row-major
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_stride: Option<String>,
    /// Whether it is passed by value
    pub scalar: bool,
    /// Whether it is read, written or both
    pub role: Role,
}

impl Interface {
    /// The version of the format that this crate writes.
    pub const SCHEMA: u32 = 1;

    pub(crate) fn of(spec: &BoundSpec) -> Interface {
        let args = spec.args.iter().map(|arg| InterfaceArg {
            name: arg.name.clone(),
            dtype: arg.dtype,
            shape: arg.shape.iter().map(|&size| spec.size(size).name.clone()).collect(),
            row_stride: arg.row_stride.map(|size| spec.size(size).name.clone()),
            scalar: arg.scalar,
            role: arg.role,
        });
        Interface {
            schema: Interface::SCHEMA,
            name: spec.name.clone(),
            key: spec.key(),
            sizes: spec.sizes.clone(),
            constraints: spec.constraints.clone(),
            args: args.collect(),
        }
    }

    /// Reads what [`Interface::to_json`] writes.
    pub fn parse(text: &str) -> Result<Interface, JsonError> {
        json::parse(text, Interface::SCHEMA)
    }

    /// As JSON: the same interface gives the same bytes.
    pub fn to_json(&self) -> String {
        json::print(self)
    }

    /// Names of the sizes, in order.
    pub fn size_names(&self) -> Vec<&str> {
        self.sizes.iter().map(|size| size.name.as_str()).collect()
    }

    /// The domain made ready for launches.
    pub fn domain(&self) -> Result<CompiledDomain, (String, CompileError)> {
        CompiledDomain::new(&self.sizes, &self.constraints)
    }
}
