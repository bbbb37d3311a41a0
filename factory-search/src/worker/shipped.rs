//! A bound spec on its way into another process.
//!
//! What travels is the text that it was read from, with what was chosen since: bindings, targets and sizes to measure at. The
//! receiver reads and binds it again and compares keys, so that a receiver that understands the text in another way (another
//! version, above all) says so instead of checking candidates against another meaning.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use factory_spec::{Arch, BoundSpec, DType, Reference, SizeValues, SourceText, Spec};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A bound spec as a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShippedSpec {
    path: PathBuf,
    text: String,
    bindings: BTreeMap<String, DType>,
    targets: Vec<Arch>,
    over: Vec<Vec<u64>>,
    c_reference: Option<ShippedC>,
    key: String,
}

/// A reference in C.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShippedC {
    /// Where the sender read it.
    file: PathBuf,
    /// Where it stands, seen from the folder of the spec.
    beside: PathBuf,
    source: String,
}

/// Why a spec cannot travel, or arrived as another one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShipError {
    /// The C reference lies outside the spec's folder, so the receiver cannot put it where the text names it.
    #[error("the C reference `{file}` lies outside the spec's folder; move it beside the spec")]
    Outside {
        /// The file.
        file: String,
    },
    /// The receiver cannot write the C reference for reading it again.
    #[error("the C reference cannot be written: {0}")]
    Folder(#[from] std::io::Error),
    /// The receiver refuses the text.
    #[error("the spec `{path}` is not valid here: {message}")]
    Invalid {
        /// The sender's file.
        path: String,
        /// Every error.
        message: String,
    },
    /// The receiver understands something else.
    #[error("the spec `{path}` means something else here: its key is {here}, the sender's {there}")]
    OtherKey {
        /// The sender's file.
        path: String,
        /// The receiver's key.
        here: String,
        /// The sender's key.
        there: String,
    },
}

impl ShippedSpec {
    /// Packs a spec.
    ///
    /// # Errors
    /// Its C reference lies outside its folder.
    pub fn new(spec: &BoundSpec) -> Result<ShippedSpec, ShipError> {
        let path = spec.source.path().to_owned();
        let c_reference = match &spec.reference {
            Reference::C(reference) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                let beside = reference.file.strip_prefix(folder).ok().map(Path::to_owned);
                let beside = beside.filter(|path| {
                    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
                });
                let outside = || ShipError::Outside { file: reference.file.display().to_string() };
                Some(ShippedC {
                    file: reference.file.clone(),
                    beside: beside.ok_or_else(outside)?,
                    source: reference.source.clone(),
                })
            }
            Reference::Program(_) => None,
        };
        Ok(ShippedSpec {
            path,
            text: spec.source.text().to_owned(),
            bindings: spec.bindings.clone(),
            targets: spec.targets.clone(),
            over: spec.better.over.iter().map(|sizes| sizes.0.clone()).collect(),
            c_reference,
            key: spec.key().to_string(),
        })
    }

    /// Reads and binds it again.
    ///
    /// # Errors
    /// The text is refused here, or has another key than at the sender's.
    pub fn open(self) -> Result<BoundSpec, ShipError> {
        let shown = self.path.display().to_string();
        // Lives until the text was read: a bound spec holds the source.
        let folder = self.c_reference.is_some().then(tempfile::tempdir).transpose()?;
        let mut path = self.path.clone();
        if let (Some(folder), Some(reference)) = (&folder, &self.c_reference) {
            let inside = reference
                .beside
                .components()
                .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
            if !inside {
                return Err(ShipError::Outside { file: reference.beside.display().to_string() });
            }
            let file = folder.path().join(&reference.beside);
            std::fs::create_dir_all(file.parent().unwrap_or(folder.path()))?;
            std::fs::write(&file, &reference.source)?;
            path = folder.path().join(self.path.file_name().unwrap_or("spec.toml".as_ref()));
        }
        let invalid = |error: &dyn std::fmt::Display| ShipError::Invalid {
            path: shown.clone(),
            message: error.to_string(),
        };
        let spec = Spec::parse(&path, &self.text).map_err(|error| invalid(&error))?;
        let mut spec = spec.bind(&self.bindings).map_err(|error| invalid(&error))?;
        spec.source = Arc::new(SourceText::new(self.path, self.text));
        if let (Reference::C(reference), Some(shipped)) = (&mut spec.reference, self.c_reference) {
            reference.file = shipped.file;
        }
        spec.targets = self.targets;
        spec.better.over = self.over.into_iter().map(SizeValues).collect();
        let here = spec.key().to_string();
        if here != self.key {
            return Err(ShipError::OtherKey { path: shown, here, there: self.key });
        }
        Ok(spec)
    }
}
