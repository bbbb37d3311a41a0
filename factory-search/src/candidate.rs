//! A candidate: PTX for one architecture, and how it is launched.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use factory_spec::{Arch, Variant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::image::Image;

/// One value of a tunable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TunableValue {
    /// A number, or a switch as 0 and 1.
    Integer(i64),
    /// A choice by name.
    Word(String),
}

impl fmt::Display for TunableValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Word(word) => f.pad(word),
        }
    }
}

impl From<i64> for TunableValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u32> for TunableValue {
    fn from(value: u32) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<bool> for TunableValue {
    fn from(value: bool) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<&str> for TunableValue {
    fn from(value: &str) -> Self {
        Self::Word(value.to_owned())
    }
}

/// What a proposer was asked to vary, by name.
pub type Tunables = BTreeMap<String, TunableValue>;

/// What a candidate's PTX was made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OriginKind {
    /// It was written as PTX.
    #[default]
    Ptx,
    /// A compiler made it from a template in CUDA C++.
    Template,
}

/// Which source, compiler and flags made a candidate. It is for the record: no gate looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// What it was made from.
    pub kind: OriginKind,
    /// SHA-256 of the source and of what it includes from its own folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The compiler with its version, such as `nvcc 13.0.88`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiler: Option<String>,
    /// The flags that it was given, but for macros: those are the candidate's tunables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// A kernel that somebody proposes: text and a plan, never host code.
///
/// Everything around it (allocating, launching, timing, comparing) is the factory's. Nothing in a candidate is believed:
/// its `when` is a claim that the gates test.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// A name that is unique in one search and the same in each run of it, such as `row-v8-t128-r2-keep`.
    pub id: String,
    /// Who proposed it, such as `generator`.
    pub proposer: &'static str,
    /// The tunables that it was made from.
    pub tunables: Tunables,
    /// The architecture that `ptx` is for.
    pub arch: Arch,
    /// A whole PTX module with every entry that `variant` launches.
    pub ptx: String,
    /// How to launch it, and for which sizes it claims to be right (`when`).
    pub variant: Variant,
    /// Which source, compiler and flags made it.
    pub origin: Origin,
    /// What an assembler made of `ptx`, where a GPU is to load that instead of compiling it anew. No part of what a candidate
    /// is.
    pub image: Option<Arc<Image>>,
}

impl Candidate {
    /// SHA-256 of the PTX and the variant: equal candidates are checked once, whatever their names.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.arch.to_string().as_bytes());
        hash.update([0]);
        hash.update(self.ptx.as_bytes());
        hash.update([0]);
        // A variant is plain data: the debug form names every field and is the same in each run.
        hash.update(format!("{:?}", self.variant).as_bytes());
        hash.finalize().into()
    }
}
