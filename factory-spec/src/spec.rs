//! A spec as it is written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use crate::read::DTypeOrVariable;
use crate::read::{self, Written};
use crate::{BoundSpec, DType, Role, SourceText, SpecErrors, bind};

/// A spec as it is written, its dtype variables unbound.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The kernel's name
    pub name: String,
    /// What it is, in words
    pub doc: Option<String>,
    /// The dtype variables, in the order of their names
    pub dtype_variables: Vec<DTypeVariable>,
    /// The arguments, in the order of the signature
    pub args: Vec<SpecArg>,
    /// Hints and budgets of the search
    pub search: Search,
    /// The file
    pub source: Arc<SourceText>,
    pub(crate) written: Written,
}

/// An argument as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecArg {
    /// Its name
    pub name: String,
    /// The type of its elements, or the variable that stands for it
    pub dtype: DTypeOrVariable,
    /// Names of the sizes of its dimensions, outermost first
    pub shape: Vec<String>,
    /// Name of the size that consecutive rows lie apart, in elements; none: dense and row-major
    pub row_stride: Option<String>,
    /// Whether it is passed by value
    pub scalar: bool,
    /// Whether it is read, written or both
    pub role: Role,
}

/// A name that stands for one of several dtypes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DTypeVariable {
    /// Its name
    pub name: String,
    /// What it may stand for
    pub choices: Vec<DType>,
}

/// Hints and budgets of the search, in the table `[search]`. They are no part of any key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Search {
    /// Seed of everything that is drawn
    pub seed: Option<u64>,
    /// How long to search, in seconds
    pub seconds: Option<f64>,
    /// How many candidates to consider at most
    pub candidates: Option<u64>,
    /// Hints to proposers: what they mean is the proposers' business
    pub hints: BTreeMap<String, String>,
}

impl Spec {
    /// Reads the spec at `path`.
    pub fn read(path: &Path) -> Result<Spec, SpecErrors> {
        read::read(path)
    }

    /// Reads a spec from text. `path` is for messages, and a C reference is looked for in its folder.
    pub fn parse(path: &Path, text: &str) -> Result<Spec, SpecErrors> {
        read::parse(path, text)
    }

    /// Binds the dtype variables and checks everything.
    pub fn bind(&self, bindings: &BTreeMap<String, DType>) -> Result<BoundSpec, SpecErrors> {
        bind::bind(self, bindings)
    }

    /// Every way to bind the dtype variables, in the order of their choices; one empty way when there are none.
    pub fn all_bindings(&self) -> Vec<BTreeMap<String, DType>> {
        let mut all = vec![BTreeMap::new()];
        for variable in &self.dtype_variables {
            all = all
                .iter()
                .flat_map(|bound| {
                    variable.choices.iter().map(|&choice| {
                        let mut bound = bound.clone();
                        bound.insert(variable.name.clone(), choice);
                        bound
                    })
                })
                .collect();
        }
        all
    }
}
