//! The comparator and the cases by themselves: rows C1 to C6, C9 and C13 of the catalogue.

use std::collections::BTreeMap;

use factory_search::cases::Cases;
use factory_search::{Reason, Verdict, judge};
use factory_spec::compare::{Mismatch, compare};
use factory_spec::draw::{Case, draw_cases, draw_inputs};
use factory_spec::oracle::{Outputs, evaluate};
use factory_spec::tolerance::{Tolerances, tolerances_for};
use factory_spec::{BoundSpec, InputKind, SizeExpr};

use crate::corpus::Corpus;

struct Example {
    case: Case,
    expected: Outputs,
    tolerances: Tolerances,
    /// What is right, rounded to the outputs' dtypes.
    right: Vec<Vec<f64>>,
}

impl Example {
    fn new(spec: &BoundSpec, sizes: &[(&str, u64)]) -> Example {
        let free: BTreeMap<String, u64> =
            sizes.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let sizes = spec.size_values(&free).unwrap_or_else(|error| panic!("{error}"));
        let kinds = spec.inputs().map(|(_, arg)| (arg.name.clone(), InputKind::Normal)).collect();
        let case = Case { sizes, kinds, seed: 5 };
        let inputs = draw_inputs(spec, &case);
        let expected = evaluate(spec, &case.sizes, &inputs).unwrap_or_else(|error| panic!("{error}"));
        let tolerances =
            tolerances_for(spec, &case, &inputs, &expected).unwrap_or_else(|error| panic!("{error}"));
        let right = spec
            .outputs()
            .map(|(id, arg)| {
                let values = expected.get(id).unwrap_or_default();
                values.iter().map(|value| arg.dtype.round(*value)).collect()
            })
            .collect();
        Example { case, expected, tolerances, right }
    }

    fn bytes(&self, spec: &BoundSpec, values: &[Vec<f64>]) -> Vec<Vec<u8>> {
        spec.outputs()
            .zip(values)
            .map(|((_, arg), values)| {
                let mut bytes = Vec::new();
                arg.dtype.encode(values, &mut bytes);
                bytes
            })
            .collect()
    }

    fn compare(&self, spec: &BoundSpec, bytes: &[Vec<u8>]) -> Result<u64, Mismatch> {
        let slices: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        compare(spec, &self.case, &self.expected, &slices, &self.tolerances)
            .map(|agreement| agreement.outputs.iter().map(|output| output.compared).sum())
    }
}

fn corpus() -> Corpus {
    Corpus::read().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_element_of_every_output_is_looked_at() {
    // C1, C2: whichever element is off, it is noticed, and the count of compared elements is that of all.
    let corpus = corpus();
    for (name, sizes) in [("pair", &[("n", 67)][..]), ("rmsnorm", &[("m", 3), ("n", 21)])] {
        let spec = &corpus.specs[name];
        let example = Example::new(spec, sizes);
        let all: usize = example.right.iter().map(Vec::len).sum();
        let compared = example.compare(spec, &example.bytes(spec, &example.right));
        assert_eq!(compared.ok(), Some(all as u64), "{name}");
        for output in 0..example.right.len() {
            for element in 0..example.right[output].len() {
                let mut values = example.right.clone();
                values[output][element] += 0.125;
                let found = example.compare(spec, &example.bytes(spec, &values));
                assert!(found.is_err(), "{name}: element {element} of output {output} is not looked at");
            }
        }
    }
}

#[test]
fn every_bound_is_kept_within_a_few_per_cent() {
    // C3: just inside passes, twice the bound does not.
    let corpus = corpus();
    let spec = &corpus.specs["loose"];
    let example = Example::new(spec, &[("n", 4000)]);
    let off = |relative: f64| {
        let values: Vec<Vec<f64>> = example
            .right
            .iter()
            .map(|values| values.iter().map(|value| value * (1.0 + relative)).collect())
            .collect();
        example.compare(spec, &example.bytes(spec, &values)).is_ok()
    };
    assert!(off(0.019) && !off(0.021) && !off(0.04));
    // A norm of two per cent does not leave room for one element that is all wrong.
    let mut one = example.right.clone();
    let worst = (0..4000).max_by(|a, b| one[0][*a].abs().total_cmp(&one[0][*b].abs())).unwrap_or(0);
    one[0][worst] *= 0.6;
    let found = example.compare(spec, &example.bytes(spec, &one));
    assert!(matches!(found, Err(Mismatch::Element { .. })), "{found:?}");
}

#[test]
fn too_few_outputs_and_bytes_are_no_match() {
    // C4, C5: nothing is cut to the shorter one, nothing is taken for another type.
    let corpus = corpus();
    let spec = &corpus.specs["pair"];
    let example = Example::new(spec, &[("n", 40)]);
    let bytes = example.bytes(spec, &example.right);
    assert!(matches!(example.compare(spec, &bytes[..1]), Err(Mismatch::Outputs { expected: 2, given: 1 })));
    let mut short = bytes.clone();
    short[1].truncate(80);
    assert!(matches!(example.compare(spec, &short), Err(Mismatch::Length { expected: 160, given: 80, .. })));
    let mut long = bytes;
    long[0].extend([0; 160]);
    assert!(matches!(example.compare(spec, &long), Err(Mismatch::Length { .. })));
}

#[test]
fn what_was_not_checked_has_not_passed() {
    // C6, C9: a condition under which no case falls is a refusal, whatever else there is to say.
    let corpus = corpus();
    let Some(entry) = corpus.entries.iter().find(|entry| entry.name == "k01/twin") else { panic!("no twin") };
    let spec = &corpus.specs[&entry.spec];
    let cases = Cases::draw(spec, 3, &spec.better.over);
    let mut candidate = entry.candidate.clone();
    candidate.variant.when = SizeExpr::size("n").gt(16_000_000);
    let found = judge(spec, &candidate, &cases, None, 3);
    assert!(
        matches!(&found, Err(rejection) if matches!(rejection.reason, Reason::NoCase { .. })),
        "{found:?}"
    );
    assert!(found.is_err_and(|rejection| rejection.verdict != Verdict::Pass));
}

#[test]
fn every_case_of_another_seed_has_other_data() {
    // C13: nothing about the data follows from the spec alone.
    let corpus = corpus();
    let spec = &corpus.specs["rmsnorm"];
    let (x, _) = spec.inputs().next().unwrap_or_else(|| panic!("no input"));
    let data = |seed: u64| -> Vec<Vec<u64>> {
        let cases = draw_cases(spec, seed);
        let random = cases.iter().filter(|case| case.kinds["x"] == InputKind::Normal);
        random
            .map(|case| draw_inputs(spec, case).0[&x].iter().map(|value| value.to_bits()).collect())
            .collect()
    };
    let (first, second) = (data(1), data(2));
    assert!(first.len() >= 4 && second.len() >= 4);
    assert!(first.iter().all(|values| !second.contains(values)));
    assert_eq!(first, data(1), "and a seed says all, so that a case can be had again");
}
