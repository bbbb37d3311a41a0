//! The cases of one search: drawn once, evaluated by the oracle once, and shared by every candidate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};

use factory_spec::draw::{self, Case};
use factory_spec::oracle::{self, Inputs, OracleOptions, Outputs};
use factory_spec::tolerance::{self, Tolerances};
use factory_spec::{ArgId, BoundSpec, InputKind, SizeId, SizeKind, SizeValues, Variant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::gpu::Telling;
use crate::launch;
use crate::model::{halve, reduced_sizes, with_size};
use crate::screen::Depth;
pub use crate::sequences::{Change, Step};
use crate::splice::Splice;

/// Elements that all tensors of a case made here have together.
const CASE_ELEMENTS: usize = 1 << 17;
/// The same where one size is large alone.
const ALONE_ELEMENTS: usize = 1 << 18;

/// Elements that all tensors of a case have at most that starts a sequence.
const START_ELEMENTS: usize = 1 << 15;

/// A case with everything that a run needs.
#[derive(Debug)]
pub struct PreparedCase {
    /// Sizes, kinds and seed.
    pub case: Case,
    /// The sizes, as `m=3 n=8`.
    pub label: String,
    /// Elements of all tensors.
    pub elements: usize,
    /// What part of the inputs is of other kinds than `case` says.
    splice: Option<Splice>,
    /// Inputs that were changed by hand and are not those that `case` draws.
    made: Option<Inputs>,
    inputs: OnceLock<BTreeMap<ArgId, Vec<u8>>>,
    ready: OnceLock<Result<Ready, String>>,
    steps: OnceLock<Vec<Step>>,
    /// Digests of outputs that were compared and found right, and what that tells: most candidates leave the same bits.
    right: Mutex<BTreeMap<[u8; 32], Telling>>,
}

/// What comes out of the inputs of a case.
#[derive(Debug)]
pub struct Ready {
    /// What the oracle says.
    pub expected: Outputs,
    /// How far an output may be off.
    pub tolerances: Tolerances,
}

/// Digests of right outputs that are remembered for a case, at most.
const RIGHT: usize = 64;

impl PreparedCase {
    /// Prepares a case; inputs and expected outputs are computed when they are first asked for.
    pub fn new(spec: &BoundSpec, case: Case) -> PreparedCase {
        let label = launch::label(spec, &case.sizes);
        let elements = spec.elements_of_all(&case.sizes);
        PreparedCase {
            case,
            label,
            elements,
            splice: None,
            made: None,
            inputs: OnceLock::new(),
            ready: OnceLock::new(),
            steps: OnceLock::new(),
            right: Mutex::default(),
        }
    }

    /// The same with a part of the inputs replaced.
    fn spliced(spec: &BoundSpec, case: Case, splice: Splice) -> PreparedCase {
        let plain = PreparedCase::new(spec, case);
        PreparedCase { label: format!("{}, {}", plain.label, splice.words()), splice: Some(splice), ..plain }
    }

    /// A call of a sequence, whose inputs were changed by hand.
    pub(crate) fn made(spec: &BoundSpec, case: Case, change: &Change, inputs: Inputs) -> PreparedCase {
        let mut this = PreparedCase::new(spec, case);
        this.label = format!("{}, {change}", this.label);
        this.made = Some(inputs);
        this
    }

    /// Calls that start from this case and go on at the same addresses with changed inputs.
    pub fn steps(&self, spec: &BoundSpec) -> &[Step] {
        self.steps.get_or_init(|| crate::sequences::steps(spec, &self.case))
    }

    /// Bytes of each tensor and scalar that is read. The oracle is not asked for them.
    pub fn inputs(&self, spec: &BoundSpec) -> &BTreeMap<ArgId, Vec<u8>> {
        self.inputs.get_or_init(|| {
            let values = self.values(spec);
            spec.inputs().filter_map(|(id, _)| Some((id, values.bytes(spec, id)?))).collect()
        })
    }

    /// Expected outputs and how far an output may be from them.
    ///
    /// # Errors
    /// The oracle cannot evaluate this case; its words.
    pub fn ready(&self, spec: &BoundSpec) -> Result<&Ready, &str> {
        self.ready.get_or_init(|| self.evaluate(spec)).as_ref().map_err(String::as_str)
    }

    /// What it tells that these very outputs are right, where they were found so before.
    pub(crate) fn known_right(&self, outputs: &[u8; 32]) -> Option<Telling> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner).get(outputs).copied()
    }

    /// Remembers outputs that were found right.
    pub(crate) fn note_right(&self, outputs: [u8; 32], telling: Telling) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() < RIGHT {
            right.insert(outputs, telling);
        }
    }

    /// The digest of the outputs of a run.
    pub(crate) fn digest<T: AsRef<[u8]>>(outputs: &[T]) -> [u8; 32] {
        let mut hash = Sha256::new();
        for output in outputs {
            hash.update((output.as_ref().len() as u64).to_le_bytes());
            hash.update(output);
        }
        hash.finalize().into()
    }

    fn values(&self, spec: &BoundSpec) -> Inputs {
        if let Some(made) = &self.made {
            return made.clone();
        }
        let mut inputs = draw::draw_inputs(spec, &self.case);
        if let Some(splice) = self.splice {
            splice.apply(spec, &self.case, &mut inputs);
        }
        inputs
    }

    fn evaluate(&self, spec: &BoundSpec) -> Result<Ready, String> {
        let inputs = self.values(spec);
        // Cases are evaluated side by side: one thread each.
        let options = OracleOptions { threads: 1, ..OracleOptions::default() };
        let expected =
            oracle::evaluate_with(spec, &self.case.sizes, &inputs, &options).map_err(|e| e.to_string())?;
        let tolerances =
            tolerance::tolerances_for(spec, &self.case, &inputs, &expected).map_err(|e| e.to_string())?;
        Ok(Ready { expected, tolerances })
    }
}

/// From what [`Cases`] were made: the same spec and recipe give the same cases, in another process too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    seed: u64,
    over: Vec<Vec<u64>>,
    added: Vec<(Vec<u64>, u64)>,
}

impl Recipe {
    /// What tells the cases that it makes for this spec from others.
    pub(crate) fn digest(&self, spec: &BoundSpec) -> [u8; 32] {
        Sha256::new().chain_update(spec.key().to_string()).chain_update(format!("{self:?}")).finalize().into()
    }
}

/// All cases of one search.
#[derive(Debug)]
pub struct Cases {
    all: Vec<PreparedCase>,
    recipe: Recipe,
}

impl Cases {
    /// Draws the spec's cases and adds, for each entry of `over`, sizes that the machine can run and that a variant made
    /// for that entry still serves: with ordinary inputs and, since such a variant may serve nothing else, with others.
    /// Last come sizes at which one free size is as large as in `over` and the others are as small as they can be.
    pub fn draw(spec: &BoundSpec, seed: u64, over: &[SizeValues]) -> Cases {
        let mut cases = draw::draw_cases(spec, seed);
        let drawn = cases.len();
        let mut seen: BTreeSet<SizeValues> = cases.iter().map(|case| case.sizes.clone()).collect();
        for (index, sizes) in over.iter().enumerate() {
            let seed = seed ^ (0x517c_c1b7_2722_0a95 + index as u64);
            for small in reduced_in_size(spec, sizes) {
                if !seen.insert(small.clone()) {
                    continue;
                }
                let total = spec.elements_of_all(&small);
                cases.push(case_at(spec, small.clone(), seed));
                if total <= CASE_ELEMENTS / 4 {
                    cases.extend(with_other_inputs(spec, &small, seed));
                }
            }
        }
        let spliced = spliced(spec, &cases, drawn, seed);
        for (index, sizes) in alone_in_size(spec, over).into_iter().enumerate() {
            if seen.insert(sizes.clone()) {
                cases.push(case_at(spec, sizes, seed ^ (0x2545_f491_4f6c_dd1d + index as u64)));
            }
        }
        let mut all: Vec<PreparedCase> =
            cases.into_iter().map(|case| PreparedCase::new(spec, case)).collect();
        all.extend(spliced);
        let over = over.iter().map(|sizes| sizes.0.clone()).collect();
        Cases { all, recipe: Recipe { seed, over, added: Vec::new() } }
    }

    /// Makes the cases of a recipe.
    pub fn of(spec: &BoundSpec, recipe: &Recipe) -> Cases {
        let over: Vec<SizeValues> = recipe.over.iter().cloned().map(SizeValues).collect();
        let mut cases = Cases::draw(spec, recipe.seed, &over);
        for (sizes, seed) in &recipe.added {
            cases.add(spec, SizeValues(sizes.clone()), *seed);
        }
        cases
    }

    /// From what these were made.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Adds a case at these sizes unless there is one.
    pub fn add(&mut self, spec: &BoundSpec, sizes: SizeValues, seed: u64) {
        if !self.all.iter().any(|known| known.case.sizes == sizes) {
            self.recipe.added.push((sizes.0.clone(), seed));
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

    /// Which of the cases that a variant serves start a sequence of calls: a small one and a larger one whose inputs are
    /// as ordinary as they come, so that a change of them shows.
    pub fn starts(&self, served: &[usize]) -> Vec<usize> {
        let plain = |case: &PreparedCase| {
            case.case
                .kinds
                .values()
                .filter(|kind| matches!(kind, InputKind::Normal | InputKind::Uniform))
                .count()
        };
        let mut fit: Vec<usize> = served
            .iter()
            .copied()
            .filter(|&index| (1..=START_ELEMENTS).contains(&self.all[index].elements))
            .collect();
        let most = fit.iter().map(|&index| plain(&self.all[index])).max().unwrap_or(0);
        fit.retain(|&index| plain(&self.all[index]) == most);
        fit.sort_by_key(|&index| (self.all[index].elements, index));
        match fit.as_slice() {
            [] => Vec::new(),
            [only] => vec![*only],
            [.., last] => vec![fit[fit.len() / 3], *last],
        }
    }

    /// A few small ones among the cases that a variant serves: the first screen.
    pub(crate) fn few(&self, spec: &BoundSpec, variant: &Variant, depth: Depth) -> Vec<usize> {
        let mut served = self.served(spec, variant);
        served.sort_by_key(|&index| (self.all[index].elements, index));
        let small = served.partition_point(|&index| self.all[index].elements <= depth.elements);
        // A few elements can be the work of a great many threads, and it is these that take time.
        let threads = |index: usize| launch::threads(spec, &self.all[index].case.sizes, variant);
        let weighed: Vec<(u64, usize)> =
            served[..small].iter().map(|&index| (threads(index), index)).collect();
        let light: Vec<usize> = weighed
            .iter()
            .filter(|(threads, _)| *threads <= depth.threads)
            .map(|(_, index)| *index)
            .collect();
        let mut pick = match light.len() {
            // None is light: the lightest of them. None is small: the smallest of all.
            0 => match weighed.iter().min_by_key(|(threads, _)| threads) {
                Some((_, lightest)) => vec![*lightest],
                None => served.first().copied().into_iter().collect(),
            },
            count => vec![light[count * 2 / 3], light[count / 3], light[count - 1]],
        };
        pick.truncate(if small == 0 { usize::from(depth.always) } else { depth.cases });
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

/// Kinds of inputs besides the ordinary one, in turn over the operands while the others stay ordinary: those that the spec
/// names, else those that most often show what ordinary inputs hide.
fn with_other_inputs(spec: &BoundSpec, sizes: &SizeValues, seed: u64) -> Vec<Case> {
    const TELLING: [InputKind; 4] = [InputKind::Mixed, InputKind::Huge, InputKind::OneHot, InputKind::Tiny];
    let operands: Vec<&str> =
        spec.inputs().filter(|(_, arg)| !arg.scalar).map(|(_, arg)| arg.name.as_str()).collect();
    (0..TELLING.len() as u64)
        .zip(operands.iter().cycle())
        .map(|(turn, operand)| {
            let mut case = case_at(spec, sizes.clone(), seed.wrapping_add(turn + 1));
            let stated = spec.correct.inputs.get(*operand).filter(|kinds| !kinds.is_empty());
            let kinds = stated.map_or(&TELLING[..], |kinds| kinds);
            case.kinds.insert((*operand).to_owned(), kinds[turn as usize % kinds.len()]);
            case
        })
        .collect()
}

/// Ordinary inputs of which a part is out of the ordinary: at the largest of the sizes that were drawn, so that a part has
/// many elements, and at the largest that no variant for `over` may refuse.
fn spliced(spec: &BoundSpec, cases: &[Case], drawn: usize, seed: u64) -> Vec<PreparedCase> {
    let largest = |cases: &[Case], limit: usize| {
        let fitting =
            cases.iter().map(|case| &case.sizes).filter(|sizes| spec.elements_of_all(sizes) <= limit);
        fitting.max_by_key(|sizes| spec.elements_of_all(sizes)).cloned()
    };
    let (drawn, near) = cases.split_at(drawn.min(cases.len()));
    let mut sizes: Vec<SizeValues> = largest(drawn, CASE_ELEMENTS / 2).into_iter().collect();
    sizes.extend(largest(near, CASE_ELEMENTS / 4).filter(|near| !sizes.contains(near)));
    let mut found = Vec::new();
    for (place, sizes) in sizes.into_iter().enumerate() {
        for (turn, splice) in Splice::ALL.into_iter().enumerate() {
            let seed = seed ^ (0x6a09_e667_f3bc_c909 + (place * Splice::ALL.len() + turn) as u64);
            found.push(PreparedCase::spliced(spec, case_at(spec, sizes.clone(), seed), splice));
        }
    }
    found
}

/// Sizes with one free size as large as in any of `over`, or as the machine can afford, and the others at their least.
fn alone_in_size(spec: &BoundSpec, over: &[SizeValues]) -> Vec<SizeValues> {
    let free: Vec<SizeId> = (0..spec.sizes.len())
        .map(|index| SizeId(index as u32))
        .filter(|id| matches!(spec.size(*id).kind, SizeKind::Free { .. }))
        .collect();
    let mut found = Vec::new();
    for &id in &free {
        let Some(largest) = over.iter().max_by_key(|sizes| sizes[id]) else { continue };
        let mut now = largest.clone();
        // Row strides last: how small they can be follows from the rows.
        let (strides, others): (Vec<SizeId>, Vec<SizeId>) =
            free.iter().filter(|other| **other != id).partition(|other| spec.is_row_stride(**other));
        for other in others.into_iter().chain(strides) {
            let SizeKind::Free { min, multiple_of, .. } = spec.size(other).kind else { continue };
            let row = spec.longest_row(other, &spec.named_values(&now)).unwrap_or(0);
            let least = min.max(row).max(1).next_multiple_of(multiple_of.max(1));
            now = with_size(spec, &now, other, least).unwrap_or(now);
        }
        while spec.elements_of_all(&now) > ALONE_ELEMENTS {
            match halve(spec, &now, id) {
                Some(smaller) => now = smaller,
                None => break,
            }
        }
        if spec.elements_of_all(&now) <= ALONE_ELEMENTS {
            found.push(now);
        }
    }
    found
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
    let mut found = Vec::new();
    for wanted in [3, 1] {
        let mut now = sizes.clone();
        if reduced.is_empty() {
            // Elementwise: the innermost size stays long enough to have whole vectors and a tail.
            while spec.elements_of_all(&now) > CASE_ELEMENTS / 8 {
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
        if spec.elements_of_all(&now) <= limit && !found.contains(&now) {
            found.push(now);
        }
    }
    if found.is_empty() && reduced.len() > 1 {
        found = one_kept(spec, sizes, &reduced);
    }
    found
}

/// The same where no size is left that nothing reduces over, and all of them together are too much: each in turn stays as it
/// is, and the others become small.
fn one_kept(spec: &BoundSpec, sizes: &SizeValues, reduced: &BTreeSet<SizeId>) -> Vec<SizeValues> {
    let mut found = Vec::new();
    for &stays in reduced {
        for (wanted, limit) in [(3, CASE_ELEMENTS), (1, 16 * CASE_ELEMENTS)] {
            let mut now = sizes.clone();
            for &id in reduced.iter().filter(|&&id| id != stays) {
                let SizeKind::Free { min, multiple_of, .. } = spec.size(id).kind else { continue };
                let value = wanted.max(min).next_multiple_of(multiple_of.max(1));
                if value < now[id] {
                    now = with_size(spec, &now, id, value).unwrap_or(now);
                }
            }
            if spec.elements_of_all(&now) <= limit {
                found.push(now);
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use factory_spec::{BoundSpec, SizeId, Spec, Variant};

    use super::Cases;
    use crate::launch;
    use crate::screen::Depth;

    const SPEC: &str = r#"
[kernel]
name = "gradients"
[sizes]
m = { min = 1 }
n = { min = 1 }
[[arg]]
name = "x"
dtype = "f32"
shape = ["m", "n"]
[[arg]]
name = "dx"
dtype = "f32"
shape = ["m", "n"]
role = "out"
[[arg]]
name = "dw"
dtype = "f32"
shape = ["n"]
role = "out"
[reference]
program = '''
dx = x * mean(x, n)
dw = sum(x, m)
'''
[better]
over = [{ m = 32768, n = 6144 }]
[targets]
arch = ["sm_90"]
"#;

    fn spec() -> BoundSpec {
        Spec::parse(Path::new("test.toml"), SPEC).unwrap().bind(&BTreeMap::new()).unwrap()
    }

    #[test]
    fn a_first_look_is_at_few_threads_where_there_is_a_choice() {
        let spec = spec();
        let cases = Cases::draw(&spec, 1, &spec.better.over);
        // One block of 1024 threads a row, or 128.
        let variant = |blocks: &str| -> Variant {
            let launch = format!(
                r#"{{"entry":"sums","grid":["m","{blocks}","1"],"block":[1024,1,1],"cluster":[1,1,1],"shared_bytes":"0","params":[]}}"#
            );
            let text =
                format!(r#"{{"name":"v","when":"1","alignment":4,"scratch":[],"launches":[{launch}]}}"#);
            serde_json::from_str(&text).expect("a variant")
        };
        let depth = Depth { cases: 3, elements: 4_000, threads: 1 << 16, always: false, profiled: 0 };
        let threads = |variant: &Variant| -> Vec<u64> {
            let few = cases.few(&spec, variant, depth);
            few.iter().map(|&index| launch::threads(&spec, &cases.all()[index].case.sizes, variant)).collect()
        };
        let light = threads(&variant("1"));
        assert!(light.len() > 1 && light.iter().all(|&threads| threads <= 1 << 16), "{light:?}");
        // None is light: the lightest of all, which has one row.
        assert_eq!(threads(&variant("128")), [128 * 1024]);
    }

    #[test]
    fn where_everything_is_reduced_over_each_size_is_once_as_large_as_in_over() {
        let spec = spec();
        let cases = Cases::draw(&spec, 1, &spec.better.over);
        let sizes: Vec<(u64, u64)> =
            cases.all().iter().map(|case| (case.case.sizes[SizeId(0)], case.case.sizes[SizeId(1)])).collect();
        assert!(sizes.contains(&(3, 6144)) && sizes.contains(&(32768, 1)), "{sizes:?}");
    }
}
