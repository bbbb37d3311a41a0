//! The cases of one search: drawn once, evaluated by the oracle once, and shared by every candidate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use factory_spec::draw::{self, Case};
use factory_spec::oracle::{self, OracleOptions, Outputs};
use factory_spec::tolerance::{self, Tolerances};
use factory_spec::{ArgId, BoundSpec, InputKind, SizeId, SizeKind, SizeValues, Variant};

use crate::launch;
use crate::model::{halve, reduced_sizes, with_size};

/// Elements that all tensors of a case made here have together.
const CASE_ELEMENTS: usize = 1 << 17;

/// A case with everything that a run needs.
#[derive(Debug)]
pub struct PreparedCase {
    /// Sizes, kinds and seed.
    pub case: Case,
    /// The sizes, as `m=3 n=8`.
    pub label: String,
    /// Elements of all tensors.
    pub elements: usize,
    ready: OnceLock<Result<Ready, String>>,
}

/// Inputs and what comes out of them.
#[derive(Debug)]
pub struct Ready {
    /// Bytes of each tensor and scalar that is read.
    pub inputs: BTreeMap<ArgId, Vec<u8>>,
    /// What the oracle says.
    pub expected: Outputs,
    /// How far an output may be off.
    pub tolerances: Tolerances,
}

impl PreparedCase {
    /// Prepares a case; inputs and expected outputs are computed when they are first asked for.
    pub fn new(spec: &BoundSpec, case: Case) -> PreparedCase {
        let label = launch::label(spec, &case.sizes);
        let elements =
            spec.args.iter().filter(|arg| !arg.scalar).map(|arg| spec.elements(arg, &case.sizes)).sum();
        PreparedCase { case, label, elements, ready: OnceLock::new() }
    }

    /// Inputs and expected outputs.
    ///
    /// # Errors
    /// The oracle cannot evaluate this case; its words.
    pub fn ready(&self, spec: &BoundSpec) -> Result<&Ready, &str> {
        self.ready.get_or_init(|| self.evaluate(spec)).as_ref().map_err(String::as_str)
    }

    fn evaluate(&self, spec: &BoundSpec) -> Result<Ready, String> {
        let inputs = draw::draw_inputs(spec, &self.case);
        // Cases are evaluated side by side: one thread each.
        let options = OracleOptions { threads: 1, ..OracleOptions::default() };
        let expected =
            oracle::evaluate_with(spec, &self.case.sizes, &inputs, &options).map_err(|e| e.to_string())?;
        let tolerances =
            tolerance::tolerances_for(spec, &self.case, &inputs, &expected).map_err(|e| e.to_string())?;
        let bytes = spec.inputs().filter_map(|(id, _)| Some((id, inputs.bytes(spec, id)?))).collect();
        Ok(Ready { inputs: bytes, expected, tolerances })
    }
}

/// All cases of one search.
#[derive(Debug)]
pub struct Cases {
    all: Vec<PreparedCase>,
}

impl Cases {
    /// Draws the spec's cases and adds, for each entry of `over`, sizes that the machine can run and that a variant made
    /// for that entry still serves.
    pub fn draw(spec: &BoundSpec, seed: u64, over: &[SizeValues]) -> Cases {
        let mut cases = draw::draw_cases(spec, seed);
        let mut seen: BTreeSet<SizeValues> = cases.iter().map(|case| case.sizes.clone()).collect();
        for (index, sizes) in over.iter().enumerate() {
            for small in reduced_in_size(spec, sizes) {
                if seen.insert(small.clone()) {
                    cases.push(case_at(spec, small, seed ^ (0x517c_c1b7_2722_0a95 + index as u64)));
                }
            }
        }
        Cases { all: cases.into_iter().map(|case| PreparedCase::new(spec, case)).collect() }
    }

    /// Adds a case at these sizes unless there is one.
    pub fn add(&mut self, spec: &BoundSpec, sizes: SizeValues, seed: u64) {
        if !self.all.iter().any(|known| known.case.sizes == sizes) {
            self.all.push(PreparedCase::new(spec, case_at(spec, sizes, seed)));
        }
    }

    /// Every case, the spec's own first.
    pub fn all(&self) -> &[PreparedCase] {
        &self.all
    }

    /// The cases that a variant claims to serve, by position.
    pub fn served(&self, spec: &BoundSpec, variant: &Variant) -> Vec<usize> {
        (0..self.all.len())
            .filter(|&index| launch::serves(spec, &self.all[index].case.sizes, variant))
            .collect()
    }

    /// A few small ones among the cases that a variant serves: the first screen.
    pub fn screen(&self, spec: &BoundSpec, variant: &Variant) -> Vec<usize> {
        let mut served = self.served(spec, variant);
        served.sort_by_key(|&index| (self.all[index].elements, index));
        let small = served.partition_point(|&index| self.all[index].elements <= 12_000);
        let pick = match (served.len(), small) {
            (0, _) => Vec::new(),
            // Only large ones: the smallest of them.
            (_, 0) => vec![served[0]],
            (_, small) => vec![served[small / 3], served[small * 2 / 3], served[small - 1]],
        };
        let mut distinct = Vec::new();
        for index in pick {
            if !distinct.contains(&index) {
                distinct.push(index);
            }
        }
        distinct
    }
}

/// A case with ordinary inputs.
pub(crate) fn case_at(spec: &BoundSpec, sizes: SizeValues, seed: u64) -> Case {
    let kinds = spec
        .inputs()
        .filter(|(_, arg)| !arg.scalar)
        .map(|(_, arg)| {
            let stated = spec.correct.inputs.get(&arg.name).and_then(|kinds| kinds.first()).copied();
            (arg.name.clone(), stated.unwrap_or(InputKind::Normal))
        })
        .collect();
    Case { sizes, kinds, seed }
}

/// Sizes like `sizes`, small enough for the machine: what nothing reduces over becomes 1, 3 and a few more, what is
/// reduced over stays as it is as long as one row of it is affordable.
pub(crate) fn reduced_in_size(spec: &BoundSpec, sizes: &SizeValues) -> Vec<SizeValues> {
    let reduced = reduced_sizes(spec);
    let free = |index: usize| matches!(spec.sizes[index].kind, SizeKind::Free { .. });
    let kept: Vec<SizeId> = (0..spec.sizes.len())
        .map(|index| SizeId(index as u32))
        .filter(|id| free(id.index()) && !reduced.contains(id))
        .collect();
    let total = |sizes: &SizeValues| -> usize {
        spec.args.iter().filter(|arg| !arg.scalar).map(|arg| spec.elements(arg, sizes)).sum()
    };
    let mut found = Vec::new();
    for wanted in [3, 1] {
        let mut now = sizes.clone();
        if reduced.is_empty() {
            // Elementwise: the innermost size stays long enough to have whole vectors and a tail.
            while total(&now) > CASE_ELEMENTS / 8 {
                let Some(largest) = kept.iter().copied().max_by_key(|&id| now[id]) else { break };
                match halve(spec, &now, largest) {
                    Some(smaller) => now = smaller,
                    None => break,
                }
            }
        } else {
            for &id in &kept {
                let SizeKind::Free { min, multiple_of, .. } = spec.size(id).kind else { continue };
                let value = wanted.max(min).next_multiple_of(multiple_of.max(1));
                if value < now[id] {
                    now = with_size(spec, &now, id, value).unwrap_or(now);
                }
            }
        }
        // One row of 2^18 elements is still affordable; more rows of it are not.
        let limit = if wanted == 1 { 16 * CASE_ELEMENTS } else { CASE_ELEMENTS };
        if total(&now) <= limit && !found.contains(&now) {
            found.push(now);
        }
    }
    found
}
