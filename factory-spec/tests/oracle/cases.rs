//! Cases and inputs.

use std::collections::BTreeSet;

use factory_spec::draw::{Case, DrawOptions, draw_cases, draw_cases_with, draw_inputs};
use factory_spec::{DType, InputKind};

use crate::support::spec;

#[test]
fn cases_cover_the_edges_of_the_domain_and_stay_in_it() {
    let args = [
        ("x", "bf16", "\"m\", \"n\"", "in"),
        ("w", "f32", "\"n\"", "in"),
        ("y", "bf16", "\"m\", \"n\"", "out"),
        ("eps", "f32", "scalar", "values = [1e-6, 1e-5]\n"),
    ];
    let rest = "[correct]\ncases = [{ m = 3, n = 8 }, { m = 5, n = 4096 }]\ninputs = { x = [\"normal\", \"zeros\", \"huge\", \"one_hot\", \"subnormal\"] }";
    let spec = spec(
        "m = { min = 0 }\nn = { min = 8, max = 262144, multiple_of = 8 }",
        &args,
        "y = x * rsqrt(mean(x * x, n) + eps) * w",
        rest,
    );
    let cases = draw_cases(&spec, 1);
    assert_eq!(cases.len(), 24);
    assert_eq!(cases, draw_cases(&spec, 1), "the same seed, the same cases");
    assert_ne!(cases, draw_cases(&spec, 2));
    assert_eq!(cases[0].sizes.0, [3, 8]);
    assert_eq!(cases[1].sizes.0, [5, 4096]);
    assert!(cases.iter().any(|case| case.sizes.0[0] == 0), "nothing, where allowed");
    assert!(cases.iter().any(|case| case.sizes.0[1] == 8));
    for case in &cases {
        let named = spec.named_values(&case.sizes);
        assert_eq!(spec.size_values(&named).as_ref(), Ok(&case.sizes));
        let elements: u64 = case.sizes.0[0] * case.sizes.0[1] * 2 + case.sizes.0[1] + 1;
        assert!(elements <= 1 << 16);
    }
    for kind in
        [InputKind::Normal, InputKind::Zeros, InputKind::Huge, InputKind::OneHot, InputKind::Subnormal]
    {
        assert!(cases.iter().any(|case| case.kinds["x"] == kind), "{kind}");
    }
    let distinct: BTreeSet<_> = cases.iter().map(|case| &case.sizes).collect();
    assert!(distinct.len() >= 12, "many sizes");
    assert!(distinct.len() < cases.len(), "some of them twice");
    let eps: BTreeSet<u64> = cases
        .iter()
        .map(|case| draw_inputs(&spec, case).get(spec.arg_id("eps").unwrap()).unwrap()[0].to_bits())
        .collect();
    assert_eq!(eps.len(), 2, "every value of a scalar");
    assert_eq!(
        draw_cases_with(&spec, 1, &DrawOptions { count: 1, max_elements: 100 }).len(),
        7,
        "as many as the spec asks for"
    );
}

#[test]
fn constraints_and_derived_sizes_are_met() {
    let args = [
        ("x", "f32", "\"n\"", "in"),
        ("g", "f32", "\"h\"", "in"),
        ("y", "f32", "\"n\"", "out"),
        ("z", "f32", "\"h\"", "out"),
    ];
    let mut text = "n = { min = 1 }\nh = { min = 1 }".to_owned();
    text += "\n";
    let text = format!(
        "[kernel]\nname = \"test\"\nconstraints = [\"n % h == 0\"]\n[sizes]\n{text}{}[reference]\nprogram = '''\ny = x + 1\nz = g + 1\n'''\n[targets]\narch = [\"sm_90\"]\n",
        args.iter()
            .map(|(name, dtype, shape, role)| format!(
                "[[arg]]\nname = \"{name}\"\ndtype = \"{dtype}\"\nshape = [{shape}]\nrole = \"{role}\"\n"
            ))
            .collect::<String>()
    );
    let spec = crate::support::parse(&text);
    let cases = draw_cases(&spec, 1);
    assert_eq!(cases.len(), 24);
    assert!(cases.iter().all(|case| case.sizes.0[0] % case.sizes.0[1] == 0));
    assert!(cases.iter().any(|case| case.sizes.0[1] > 1 && case.sizes.0[0] > case.sizes.0[1]));
}

#[test]
fn every_kind_gives_values_of_every_dtype() {
    for dtype in DType::ALL {
        let args = [("x", dtype.name(), "\"m\", \"n\"", "in"), ("y", "f64", "\"m\", \"n\"", "out")];
        let spec = spec("m = { min = 0 }\nn = { min = 0 }", &args, "y = x + 1", "");
        let x = spec.arg_id("x").unwrap();
        for kind in InputKind::ALL {
            for [m, n] in [[0, 3], [3, 0], [1, 1], [30, 70]] {
                let case = Case {
                    sizes: crate::support::sizes(&spec, &[("m", m), ("n", n)]),
                    kinds: [("x".to_owned(), *kind)].into(),
                    seed: 9,
                };
                let inputs = draw_inputs(&spec, &case);
                let values = inputs.get(x).unwrap();
                assert_eq!(values.len() as u64, m * n);
                let mut rounded = values.to_vec();
                dtype.round_slice(&mut rounded);
                let same = values.iter().zip(&rounded).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
                assert!(same, "{dtype:?} {kind}");
                if m == 30 {
                    check_kind(*kind, dtype, values);
                }
            }
        }
    }
}

fn check_kind(kind: InputKind, dtype: DType, values: &[f64]) {
    let what = format!("{dtype:?} {kind}");
    match kind {
        InputKind::Zeros => assert!(values.iter().all(|x| *x == 0.0)),
        InputKind::Ones => assert!(values.iter().all(|x| *x == 1.0)),
        InputKind::Constant => {
            assert!(values.iter().all(|x| *x == values[0] && *x != 0.0 && *x != 1.0), "{what}")
        }
        InputKind::OneHot => {
            assert!(values.chunks(70).all(|row| row.iter().filter(|x| **x != 0.0).count() <= 1), "{what}")
        }
        InputKind::Subnormal if dtype.is_float() => {
            assert!(values.iter().all(|x| *x != 0.0 && x.abs() < dtype.min_normal()), "{what}");
        }
        InputKind::Prefix => {
            let mean = |values: &[f64]| values.iter().map(|x| x.abs()).sum::<f64>() / values.len() as f64;
            let (first, last) = (mean(&values[..values.len() / 4]), mean(&values[values.len() * 7 / 8..]));
            assert!(last > 16.0 * first, "{what}: {first} then {last}");
        }
        InputKind::Outlier => {
            let mut sorted: Vec<f64> = values.iter().map(|x| x.abs()).collect();
            sorted.sort_by(f64::total_cmp);
            let [.., second, largest] = sorted[..] else { panic!("{what}") };
            assert!(largest > 2.0 * second, "{what}: {second} and {largest}");
        }
        InputKind::Blocks | InputKind::Shuffled => {
            let mut blocks: Vec<f64> =
                values.chunks(32).map(|block| block.iter().map(|x| x.abs()).fold(0.0, f64::max)).collect();
            blocks.sort_by(f64::total_cmp);
            let (low, high) = (blocks[blocks.len() / 8], blocks[blocks.len() * 7 / 8]);
            // A block has a scale of its own; shuffled ones all have the large values.
            assert_eq!(high > 3.0 * low.max(1e-3), kind == InputKind::Blocks, "{what}: {low} and {high}");
        }
        InputKind::Nan if dtype.is_float() => assert!(values.iter().any(|x| x.is_nan()), "{what}"),
        InputKind::Infinite if dtype.is_float() && dtype.round(f64::INFINITY).is_infinite() => {
            assert!(values.iter().any(|x| x.is_infinite()), "{what}");
        }
        _ => {
            let distinct: BTreeSet<u64> = values.iter().map(|x| x.to_bits()).collect();
            assert!(distinct.len() > 1, "{what}");
            assert!(values.iter().all(|x| !x.is_nan()), "{what}");
        }
    }
}
