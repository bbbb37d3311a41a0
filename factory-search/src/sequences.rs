//! Calls one after another on the same addresses, with the inputs changed in between.
//!
//! A kernel that keeps an answer from an earlier call, under the pointers or under a few of the values that it was given,
//! is right in every case that is run once. Here the same pointers come again, with one element changed, with one operand
//! drawn anew, with everything drawn anew, and with the first data again; each time the oracle says anew what is right.

use factory_spec::draw::{self, Case};
use factory_spec::oracle::{Inputs, Outputs};
use factory_spec::{ArgId, BoundSpec, compare};
use serde::{Deserialize, Serialize};

use crate::cases::PreparedCase;

/// What changed since the call before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Nothing yet: the first call.
    First,
    /// One element of an input.
    Element {
        /// The input.
        input: String,
        /// The element, row-major.
        index: u64,
    },
    /// All of one input.
    Operand {
        /// The input.
        input: String,
    },
    /// Every input and scalar.
    Everything,
    /// Back to what the first call had.
    Back,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::First => f.write_str("the first call"),
            Self::Element { input, index } => write!(f, "after element {index} of `{input}` changed"),
            Self::Operand { input } => write!(f, "after `{input}` was drawn anew"),
            Self::Everything => f.write_str("after every input was drawn anew"),
            Self::Back => f.write_str("after the first inputs came back"),
        }
    }
}

/// One call of a sequence.
#[derive(Debug)]
pub struct Step {
    /// What changed.
    pub change: Change,
    /// Inputs and what is right now.
    pub case: PreparedCase,
}

/// Whether the answer of the call before would be refused at the step of this number. Where it would not, the step shows
/// nothing.
///
/// # Errors
/// The oracle cannot evaluate one of the two; its words.
pub(crate) fn is_telling(spec: &BoundSpec, steps: &[Step], number: usize) -> Result<bool, String> {
    let (Some(step), Some(before)) = (steps.get(number), number.checked_sub(1).map(|before| &steps[before]))
    else {
        return Ok(true);
    };
    let (now, before) = (step.case.ready(spec)?, before.case.ready(spec)?);
    let old = encode(spec, &before.expected);
    let slices: Vec<&[u8]> = old.iter().map(Vec::as_slice).collect();
    Ok(compare::compare(spec, &step.case.case, &now.expected, &slices, &now.tolerances).is_err())
}

/// Elements of one input that are changed one by one.
const ELEMENTS: usize = 2;

/// The calls that start from a case.
pub(crate) fn steps(spec: &BoundSpec, case: &Case) -> Vec<Step> {
    let first = draw::draw_inputs(spec, case);
    let mut now = first.clone();
    let mut plan: Vec<(Change, Inputs)> = vec![(Change::First, first.clone())];
    let tensors: Vec<(ArgId, usize)> = spec
        .inputs()
        .filter(|(_, arg)| !arg.scalar)
        .map(|(id, arg)| (id, spec.elements(arg, &case.sizes)))
        .filter(|(_, elements)| *elements > 0)
        .collect();
    let mut state = case.seed ^ 0x7365_7175_656e_6365;
    for &(id, elements) in &tensors {
        let arg = &spec.args[id.index()];
        for turn in 0..ELEMENTS {
            // Once anywhere, once in the last quarter: what is sampled is seldom there.
            let random = next(&mut state);
            let index = match turn {
                0 => elements - 1 - (random % elements.div_ceil(4) as u64) as usize,
                _ => (random % elements as u64) as usize,
            };
            let Some(values) = now.0.get_mut(&id) else { continue };
            values[index] = other_value(arg.dtype, values, index);
            plan.push((Change::Element { input: arg.name.clone(), index: index as u64 }, now.clone()));
        }
    }
    for &(id, _) in &tensors {
        let again = draw::draw_inputs(spec, &Case { seed: next(&mut state), ..case.clone() });
        let Some(values) = again.get(id) else { continue };
        now.0.insert(id, values.to_vec());
        plan.push((Change::Operand { input: spec.args[id.index()].name.clone() }, now.clone()));
    }
    plan.push((
        Change::Everything,
        draw::draw_inputs(spec, &Case { seed: next(&mut state), ..case.clone() }),
    ));
    plan.push((Change::Back, first));

    plan.into_iter()
        .map(|(change, inputs)| {
            let case = PreparedCase::made(spec, case.clone(), &change, inputs);
            Step { change, case }
        })
        .collect()
}

/// The outputs as a kernel that makes no error but the last rounding would leave them.
fn encode(spec: &BoundSpec, outputs: &Outputs) -> Vec<Vec<u8>> {
    spec.outputs()
        .map(|(id, arg)| {
            let mut values = outputs.get(id).unwrap_or_default().to_vec();
            arg.dtype.round_slice(&mut values);
            let mut bytes = Vec::new();
            arg.dtype.encode(&values, &mut bytes);
            bytes
        })
        .collect()
}

/// A value for an element that is far from its own, among those that the input holds.
fn other_value(dtype: factory_spec::DType, values: &[f64], index: usize) -> f64 {
    let old = values[index];
    let finite = values.iter().map(|value| value.abs()).filter(|value| value.is_finite());
    let largest = finite.fold(0.0, f64::max);
    if !dtype.is_float() {
        let up = dtype.round(old + 1.0);
        return if up == old { dtype.round(old - 1.0) } else { up };
    }
    let far = dtype.round((4.0 * largest).clamp(1.0, dtype.max_value() / 4.0));
    if old.is_finite() && old > far / 2.0 { -far } else { far }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn spec() -> BoundSpec {
        let text = "[kernel]\nname = \"norm\"\n[sizes]\nm = { min = 1 }\nn = { min = 1 }\n\
            [[arg]]\nname = \"x\"\ndtype = \"bf16\"\nshape = [\"m\", \"n\"]\n[[arg]]\nname = \"w\"\ndtype = \"f32\"\nshape = [\"n\"]\n\
            [[arg]]\nname = \"y\"\ndtype = \"bf16\"\nshape = [\"m\", \"n\"]\nrole = \"out\"\n\
            [reference]\nprogram = \"y = x * rsqrt(mean(x * x, n) + 1e-5) * w\"\n[targets]\narch = [\"sm_90\"]\n";
        let spec = factory_spec::Spec::parse(std::path::Path::new("test.toml"), text).expect("a spec");
        spec.bind(&BTreeMap::new()).expect("no types to bind")
    }

    #[test]
    fn each_change_is_one_that_an_old_answer_does_not_survive() {
        let spec = spec();
        let sizes =
            spec.size_values(&BTreeMap::from([("m".to_owned(), 5), ("n".to_owned(), 96)])).expect("sizes");
        let case = crate::cases::case_at(&spec, sizes, 3);
        let made = steps(&spec, &case);
        let changes: Vec<&Change> = made.iter().map(|step| &step.change).collect();
        assert_eq!(changes.len(), 1 + 2 * ELEMENTS + 2 + 2, "{changes:?}");
        assert!((0..made.len()).all(|number| is_telling(&spec, &made, number) == Ok(true)), "{changes:?}");
        assert!(
            matches!(changes[1], Change::Element { input, index } if input == "x" && *index >= 360),
            "{changes:?}"
        );
        let inputs = |step: &Step| step.case.inputs(&spec).clone();
        let x = spec.arg_id("x").expect("x");
        let (first, second) = (inputs(&made[0]), inputs(&made[1]));
        let differing = first[&x].chunks(2).zip(second[&x].chunks(2)).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 1, "one element of x");
        assert_eq!(first, inputs(&made[made.len() - 1]), "back again");
        // The same case gives the same steps.
        let again = steps(&spec, &case);
        assert!(made.iter().zip(&again).all(|(a, b)| a.change == b.change && inputs(a) == inputs(b)));
    }

    #[test]
    fn a_step_that_would_show_nothing_says_so() {
        let spec = spec();
        let sizes =
            spec.size_values(&BTreeMap::from([("m".to_owned(), 2), ("n".to_owned(), 64)])).expect("sizes");
        let mut case = crate::cases::case_at(&spec, sizes, 3);
        // Whatever x is, the output is 0.
        case.kinds.insert("w".to_owned(), factory_spec::InputKind::Zeros);
        let made = steps(&spec, &case);
        assert!(made.iter().enumerate().any(|(number, step)| {
            is_telling(&spec, &made, number) == Ok(false)
                && matches!(&step.change, Change::Element { input, .. } if input == "x")
        }));
    }
}
