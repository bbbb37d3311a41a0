//! Whether a spec's own checks could be passed without doing the work.
//!
//! A kernel is accepted when it passes every case. So a spec is refused when an answer that needs no work would: nothing
//! but zeros, one constant, a constant that depends on the sizes alone, or a copy of an input. It is refused as well when
//! an operand could be ignored: when replacing it changes no output of any case by more than is tolerated.

use std::collections::BTreeMap;

use crate::compare::compare;
use crate::draw::{Case, draw_cases, draw_inputs, mix};
use crate::oracle::{Inputs, OracleError, Outputs, evaluate};
use crate::tolerance::{Tolerances, tolerances_for};
use crate::{Arg, ArgId, BoundSpec, SizeValues};

/// That a spec's checks cannot be passed trivially, and on what grounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Cases that were drawn
    pub cases: usize,
    /// Trivial answers that were tried, all of which fail
    pub trivial_answers: Vec<String>,
    /// Operands whose influence was shown
    pub operands: Vec<String>,
}

/// Why a spec cannot tell a right kernel from a wrong one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The reference could not be evaluated
    #[error("the reference could not be evaluated")]
    Oracle(#[from] OracleError),
    /// No case was drawn that could show anything
    #[error(
        "no case with any output element could be drawn\n\nhint: add sizes to `cases` in [correct], or allow smaller ones in [sizes]"
    )]
    NoCases,
    /// A trivial answer passes
    #[error(
        "output `{output}`: {answer} passes all {cases} cases\n\nhint: tighten `tolerance` or add kinds of `inputs` in [correct] that such an answer fails, or remove the output"
    )]
    Trivial {
        /// The output
        output: String,
        /// What passes
        answer: String,
        /// Cases that it passes
        cases: usize,
    },
    /// An operand can be ignored
    #[error(
        "{what} `{operand}` changes no output of any of {cases} cases by more than is tolerated\n\nhint: {hint}"
    )]
    NoInfluence {
        /// The operand
        operand: String,
        /// Whether it is a tensor or a scalar
        what: &'static str,
        /// Cases that were tried
        cases: usize,
        /// What to do
        hint: String,
    },
}

/// Refuses a spec whose tolerance a trivial answer passes, or one of whose operands has no influence.
pub fn admit(spec: &BoundSpec) -> Result<Admission, Refused> {
    admit_with(spec, 0)
}

/// As [`admit`], with the seed of the cases.
pub fn admit_with(spec: &BoundSpec, seed: u64) -> Result<Admission, Refused> {
    let mut examples = Vec::new();
    for case in draw_cases(spec, seed) {
        if spec.outputs().all(|(_, arg)| spec.elements(arg, &case.sizes) == 0) {
            continue;
        }
        let inputs = draw_inputs(spec, &case);
        let expected = evaluate(spec, &case.sizes, &inputs)?;
        let tolerances = tolerances_for(spec, &case, &inputs, &expected)?;
        examples.push(Example { case, inputs, expected, tolerances });
    }
    if examples.is_empty() {
        return Err(Refused::NoCases);
    }
    let mut admission = Admission { cases: examples.len(), ..Admission::default() };
    for (id, output) in spec.outputs() {
        for answer in answers(spec, id, output, &examples) {
            let passed =
                examples.iter().all(|example| example.passes(spec, id, &answer.values(spec, id, example)));
            if passed {
                return Err(Refused::Trivial {
                    output: output.name.clone(),
                    answer: answer.describe(spec),
                    cases: examples.len(),
                });
            }
            admission.trivial_answers.push(format!("{}: {}", output.name, answer.describe(spec)));
        }
    }
    for (id, operand) in spec.inputs() {
        if !has_influence(spec, id, operand, &examples)? {
            return Err(no_influence(operand, examples.len()));
        }
        admission.operands.push(operand.name.clone());
    }
    Ok(admission)
}

/// A case with all that belongs to it.
struct Example {
    case: Case,
    inputs: Inputs,
    expected: Outputs,
    tolerances: Tolerances,
}

impl Example {
    /// Whether the comparison accepts `values` for one output, all others being right.
    fn passes(&self, spec: &BoundSpec, output: ArgId, values: &[f64]) -> bool {
        let replaced = |id: ArgId| if id == output { values } else { self.expected.get(id).unwrap_or(&[]) };
        self.accepts(spec, replaced)
    }

    fn accepts<'a>(&self, spec: &BoundSpec, values: impl Fn(ArgId) -> &'a [f64]) -> bool {
        let bytes: Vec<Vec<u8>> = spec
            .outputs()
            .map(|(id, arg)| {
                let mut bytes = Vec::new();
                arg.dtype.encode(values(id), &mut bytes);
                bytes
            })
            .collect();
        let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        compare(spec, &self.case, &self.expected, &bytes, &self.tolerances).is_ok()
    }
}

/// An answer that needs no work.
enum Answer {
    Constant(f64),
    /// The mean of what is expected over the cases of the same sizes
    BySizes(BTreeMap<SizeValues, f64>),
    Copy(ArgId),
}

impl Answer {
    fn values(&self, spec: &BoundSpec, output: ArgId, example: &Example) -> Vec<f64> {
        let count = spec.elements(&spec.args[output.index()], &example.case.sizes);
        match self {
            Answer::Constant(value) => vec![*value; count],
            Answer::BySizes(means) => vec![means.get(&example.case.sizes).copied().unwrap_or(0.0); count],
            Answer::Copy(input) => example.inputs.get(*input).unwrap_or(&[]).to_vec(),
        }
    }

    fn describe(&self, spec: &BoundSpec) -> String {
        match self {
            Answer::Constant(value) if *value == 0.0 => "an output of nothing but zeros".to_owned(),
            Answer::Constant(value) => format!("the constant {value:e}"),
            Answer::BySizes(_) => "a constant for all inputs of the same sizes".to_owned(),
            Answer::Copy(input) => format!("a copy of `{}`", spec.args[input.index()].name),
        }
    }
}

fn answers(spec: &BoundSpec, id: ArgId, output: &Arg, examples: &[Example]) -> Vec<Answer> {
    let mean = |examples: &[&Example]| {
        let finite = || {
            examples
                .iter()
                .filter_map(|example| example.expected.get(id))
                .flatten()
                .filter(|value| value.is_finite())
        };
        finite().sum::<f64>() / finite().count().max(1) as f64
    };
    let mut answers = vec![Answer::Constant(0.0), Answer::Constant(1.0)];
    answers.push(Answer::Constant(mean(&examples.iter().collect::<Vec<_>>())));

    let mut by_sizes: BTreeMap<SizeValues, Vec<&Example>> = BTreeMap::new();
    for example in examples {
        by_sizes.entry(example.case.sizes.clone()).or_default().push(example);
    }
    // At sizes with only one case, a constant says nothing about what varies with the inputs.
    if by_sizes.values().any(|examples| examples.len() > 1) {
        answers.push(Answer::BySizes(
            by_sizes.into_iter().map(|(sizes, examples)| (sizes, mean(&examples))).collect(),
        ));
    }
    let copies = spec
        .inputs()
        .filter(|(_, arg)| !arg.scalar && arg.shape == output.shape && arg.dtype == output.dtype)
        .map(|(id, _)| Answer::Copy(id));
    answers.extend(copies);
    answers
}

/// Whether replacing an operand is noticed in any case.
fn has_influence(
    spec: &BoundSpec,
    id: ArgId,
    operand: &Arg,
    examples: &[Example],
) -> Result<bool, OracleError> {
    for example in examples {
        for values in replacements(spec, id, operand, example) {
            let mut inputs = example.inputs.clone();
            inputs.0.insert(id, values);
            let changed = evaluate(spec, &example.case.sizes, &inputs)?;
            if !example.accepts(spec, |id| changed.get(id).unwrap_or(&[])) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Other values that an operand could have: of a scalar, the others of the spec's or a few around; of a tensor, another
/// draw, and the same doubled and one more (which moves elements that are zero or all alike).
fn replacements(spec: &BoundSpec, id: ArgId, operand: &Arg, example: &Example) -> Vec<Vec<f64>> {
    let current = example.inputs.get(id).unwrap_or(&[]);
    let mut replacements = Vec::new();
    if operand.scalar {
        let now = current.first().copied().unwrap_or(0.0);
        let candidates: Vec<f64> = match operand.values.as_slice() {
            [] | [_] => vec![0.0, 2.0 * now + 1.0, -now],
            values => values.to_vec(),
        };
        let rounded = candidates.into_iter().map(|value| operand.dtype.round(value));
        replacements.extend(rounded.filter(|value| *value != now).map(|value| vec![value]));
    } else {
        let again = Case { seed: mix(example.case.seed ^ 0x006f_7468_6572), ..example.case.clone() };
        replacements.extend(draw_inputs(spec, &again).0.remove(&id));
        let mut moved: Vec<f64> = current.iter().map(|value| 2.0 * value + 1.0).collect();
        operand.dtype.round_slice(&mut moved);
        replacements.push(moved);
    }
    replacements
}

fn no_influence(operand: &Arg, cases: usize) -> Refused {
    let (what, hint) = if operand.scalar {
        (
            "scalar",
            format!(
                "give `{}` more `values`, further apart, or its companions kinds of `inputs` in [correct] at which it matters (an epsilon matters for `zeros`, `tiny` or `subnormal` inputs)",
                operand.name
            ),
        )
    } else {
        (
            "operand",
            format!(
                "remove `{}`, tighten `tolerance`, or add kinds of `inputs` in [correct] at which it matters",
                operand.name
            ),
        )
    };
    Refused::NoInfluence { operand: operand.name.clone(), what, cases, hint }
}
