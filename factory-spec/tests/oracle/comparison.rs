//! The comparator itself: whatever is changed, it notices; and honest rounding passes.

use factory_spec::compare::{Measure, Mismatch, Why, compare};
use factory_spec::draw::{Case, draw_cases, draw_inputs};
use factory_spec::oracle::{Outputs, evaluate};
use factory_spec::tolerance::{Tolerances, tolerances, tolerances_for};
use factory_spec::{BoundSpec, DType, InputKind};

use crate::support::{case, encode, slices, spec};

const MN: &str = "m = { min = 1 }\nn = { min = 1 }";

fn rmsnorm(dtype: &str) -> BoundSpec {
    let args = [
        ("x", dtype, "\"m\", \"n\"", "in"),
        ("w", "f32", "\"n\"", "in"),
        ("y", dtype, "\"m\", \"n\"", "out"),
        ("r", "f32", "\"m\"", "out"),
        ("top", "i32", "\"m\"", "out"),
    ];
    spec(MN, &args, "ms = mean(x * x, n)\ny = x * rsqrt(ms + 1e-5) * w\nr = ms\ntop = argmax(x, n)", "")
}

fn prepared(spec: &BoundSpec, case: &Case) -> (Outputs, Tolerances) {
    let inputs = draw_inputs(spec, case);
    let expected = evaluate(spec, &case.sizes, &inputs).expect("an answer");
    let tolerances = tolerances_for(spec, case, &inputs, &expected).expect("tolerances");
    (expected, tolerances)
}

#[test]
fn rounded_answers_pass_and_every_element_is_counted() {
    for dtype in ["f64", "f32", "f16", "bf16", "f8e4m3", "f8e5m2"] {
        let spec = rmsnorm(dtype);
        for case in draw_cases(&spec, 3) {
            let (expected, tolerances) = prepared(&spec, &case);
            let bytes = encode(&spec, &expected);
            let agreement = compare(&spec, &case, &expected, &slices(&bytes), &tolerances)
                .unwrap_or_else(|mismatch| panic!("{dtype}: {}: {mismatch}", case.describe(&spec)));
            for (error, (_, arg)) in agreement.outputs.iter().zip(spec.outputs()) {
                assert_eq!(error.compared, spec.elements(arg, &case.sizes) as u64);
            }
        }
    }
}

#[test]
fn any_single_wrong_element_is_noticed() {
    let spec = rmsnorm("bf16");
    let case = case(&spec, &[("m", 37), ("n", 515)], InputKind::Normal, 1);
    let (expected, tolerances) = prepared(&spec, &case);
    for (output, (id, arg)) in spec.outputs().enumerate() {
        let count = expected.get(id).unwrap().len();
        for index in [0, 1, count / 3, count / 2, count - 2, count - 1] {
            let mut changes = vec![("one more", expected.get(id).unwrap()[index] + 1.0)];
            if arg.dtype.is_float() {
                changes.extend([
                    ("NaN", f64::NAN),
                    ("infinity", f64::INFINITY),
                    ("minus infinity", f64::NEG_INFINITY),
                ]);
            }
            for (what, value) in changes {
                let mut wrong = expected.clone();
                wrong.0.get_mut(&id).unwrap()[index] = value;
                let bytes = encode(&spec, &wrong);
                match compare(&spec, &case, &expected, &slices(&bytes), &tolerances) {
                    Err(Mismatch::Element { output: name, index: found, .. }) => {
                        assert_eq!((name.as_str(), found), (arg.name.as_str(), index as u64));
                    }
                    other => panic!("output {output}, element {index}, {what}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn twice_the_bound_is_noticed_and_half_of_it_is_not() {
    for (stated, factor) in
        [("max_relative = 1e-3", 1e-3), ("max_absolute = 1e-3", 1e-3), ("relative_l2 = 1e-3", 1e-3)]
    {
        let args = [("x", "f32", "\"m\", \"n\"", "in"), ("y", "f32", "\"m\", \"n\"", "out")];
        let spec = spec(MN, &args, "y = x * 1 + 0.5", &format!("[correct]\ntolerance = {{ {stated} }}"));
        let case = case(&spec, &[("m", 3), ("n", 40)], InputKind::Ones, 1);
        let inputs = draw_inputs(&spec, &case);
        let expected = evaluate(&spec, &case.sizes, &inputs).unwrap();
        let tolerances = tolerances(&spec, &case.sizes);
        for (times, passes) in [(0.5, true), (2.5, false)] {
            let mut wrong = expected.clone();
            let id = spec.arg_id("y").unwrap();
            let relative = if stated.contains("absolute") { 1.0 } else { 1.5 };
            wrong.0.get_mut(&id).unwrap().iter_mut().for_each(|value| *value += factor * times * relative);
            let bytes = encode(&spec, &wrong);
            let result = compare(&spec, &case, &expected, &slices(&bytes), &tolerances);
            assert_eq!(result.is_ok(), passes, "{stated} times {times}: {result:?}");
        }
    }
}

#[test]
fn one_bad_row_among_many_cannot_hide() {
    let args = [("x", "f32", "\"m\", \"n\"", "in"), ("y", "f32", "\"m\", \"n\"", "out")];
    let spec = spec(MN, &args, "y = x + 1", "[correct]\ntolerance = { relative_l2 = 1e-2 }");
    let case = case(&spec, &[("m", 2000), ("n", 32)], InputKind::Normal, 1);
    let (expected, tolerances) = prepared(&spec, &case);
    let mut wrong = expected.clone();
    wrong.0.get_mut(&spec.arg_id("y").unwrap()).unwrap()[1000 * 32..1001 * 32]
        .iter_mut()
        .for_each(|value| *value *= 1.05);
    let bytes = encode(&spec, &wrong);
    let mismatch = compare(&spec, &case, &expected, &slices(&bytes), &tolerances).unwrap_err();
    assert!(
        matches!(&mismatch, Mismatch::Norm { measure: Measure::RowL2, worst, .. } if worst.0[0].1 == 1000),
        "{mismatch}"
    );
}

#[test]
fn errors_that_stand_together_cannot_hide_in_long_rows() {
    let args = [("x", "f32", "\"m\", \"n\"", "in"), ("y", "f32", "\"m\", \"n\"", "out")];
    let spec = spec(MN, &args, "y = x + 1", "[correct]\ntolerance = { relative_l2 = 1e-2 }");
    let case = case(&spec, &[("m", 40), ("n", 4096)], InputKind::Normal, 1);
    let (expected, tolerances) = prepared(&spec, &case);
    let y = spec.arg_id("y").unwrap();
    // Rows 16 to 31, columns 128 to 191: one tile of 16 rows and 64 columns, less than 1% of each row.
    let mut wrong = expected.clone();
    for row in 16..32 {
        wrong.0.get_mut(&y).unwrap()[row * 4096 + 128..row * 4096 + 192]
            .iter_mut()
            .for_each(|value| *value *= 1.05);
    }
    let mismatch =
        compare(&spec, &case, &expected, &slices(&encode(&spec, &wrong)), &tolerances).unwrap_err();
    assert!(
        matches!(&mismatch, Mismatch::Norm { measure: Measure::TileL2, worst, .. } if worst.0[0].1 == 16 && worst.0[1].1 == 128),
        "{mismatch}"
    );
    // As many errors of the same size, spread out, are within the bounds; how far they stand together is told apart.
    let mut spread = expected.clone();
    spread.0.get_mut(&y).unwrap().iter_mut().step_by(160).for_each(|value| *value *= 1.05);
    let agreement = compare(&spec, &case, &expected, &slices(&encode(&spec, &spread)), &tolerances).unwrap();
    assert!(agreement.outputs[0].clustering < 10.0, "{:?}", agreement.outputs[0]);
    let mut together = expected.clone();
    together.0.get_mut(&y).unwrap()[..16].iter_mut().for_each(|value| *value *= 1.03);
    let agreement =
        compare(&spec, &case, &expected, &slices(&encode(&spec, &together)), &tolerances).unwrap();
    assert!(agreement.outputs[0].clustering > 50.0, "{:?}", agreement.outputs[0]);
}

#[test]
fn classes_come_first() {
    let args = [
        ("x", "f32", "\"n\"", "in"),
        ("z", "f32", "\"m\"", "in"),
        ("y", "f16", "\"n\"", "out"),
        ("q", "f16", "\"m\"", "out"),
    ];
    let spec = spec(MN, &args, "y = log(x)\nq = z", "");
    let case = case(&spec, &[("m", 1), ("n", 4)], InputKind::Ones, 1);
    let y = spec.arg_id("y").unwrap();
    let q = spec.arg_id("q").unwrap();
    let expected =
        Outputs([(y, vec![f64::NAN, f64::NEG_INFINITY, f64::INFINITY, 65519.9]), (q, vec![1.0])].into());
    let tolerances = tolerances(&spec, &case.sizes);
    let check = |values: [f64; 4]| {
        let actual = Outputs([(y, values.to_vec()), (q, vec![1.0])].into());
        compare(&spec, &case, &expected, &slices(&encode(&spec, &actual)), &tolerances)
    };
    let right = [f64::NAN, f64::NEG_INFINITY, f64::INFINITY, 65504.0];
    assert!(check(right).is_ok());
    assert!(check([right[0], right[1], right[2], f64::INFINITY]).is_ok(), "a rounding error from overflow");
    for (index, wrong, why) in [
        (0, 0.0, Why::Nan),
        (0, f64::INFINITY, Why::Nan),
        (1, f64::NAN, Why::Nan),
        (1, f64::INFINITY, Why::Infinite),
        (1, -65504.0, Why::Infinite),
        (2, 65504.0, Why::Infinite),
        (3, f64::NAN, Why::Nan),
        (3, f64::NEG_INFINITY, Why::Infinite),
    ] {
        let mut values = right;
        values[index] = wrong;
        match check(values) {
            Err(Mismatch::Element { index: found, why: found_why, .. }) => {
                assert_eq!((found, found_why), (index as u64, why), "{wrong}");
            }
            other => panic!("{index} {wrong}: {other:?}"),
        }
    }
}

#[test]
fn arity_and_lengths_are_checked() {
    let spec = rmsnorm("bf16");
    let case = case(&spec, &[("m", 3), ("n", 8)], InputKind::Normal, 1);
    let (expected, tolerances) = prepared(&spec, &case);
    let bytes = encode(&spec, &expected);
    let all = slices(&bytes);
    assert!(matches!(
        compare(&spec, &case, &expected, &all[..2], &tolerances),
        Err(Mismatch::Outputs { expected: 3, given: 2 })
    ));
    let mut short = all.clone();
    short[1] = &short[1][..4];
    assert!(matches!(
        compare(&spec, &case, &expected, &short, &tolerances),
        Err(Mismatch::Length { given: 4, .. })
    ));
    assert!(matches!(
        compare(&spec, &case, &Outputs::default(), &all, &tolerances),
        Err(Mismatch::NothingExpected { .. })
    ));
}

/// rmsnorm as a kernel would do it, with a precision for every step of the sum and one for what follows.
fn kernel(x: &[f64], w: &[f64], n: usize, sum: DType, after: DType) -> Vec<f64> {
    let mut y = Vec::new();
    for row in x.chunks(n) {
        // As 32 threads do: partial sums, then a tree.
        let mut lanes = [0.0; 32];
        for (index, x) in row.iter().enumerate() {
            let lane = &mut lanes[index % 32];
            *lane = sum.round(*lane + sum.round(x * x));
        }
        let mut width = 16;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] = sum.round(lanes[lane] + lanes[lane + width]);
            }
            width /= 2;
        }
        let ms = sum.round(lanes[0] / n as f64);
        let r = DType::F32.round(1.0 / DType::F32.round(ms + 1e-5).sqrt());
        y.extend(row.iter().zip(w).map(|(x, w)| after.round(after.round(x * r) * w)));
    }
    y
}

#[test]
fn f32_accumulation_passes_and_bf16_accumulation_fails() {
    let args = [
        ("x", "bf16", "\"m\", \"n\"", "in"),
        ("w", "f32", "\"n\"", "in"),
        ("y", "bf16", "\"m\", \"n\"", "out"),
    ];
    let spec = spec(MN, &args, "ms = mean(x * x, n)\ny = x * rsqrt(ms + 1e-5) * w", "");
    let y = spec.arg_id("y").unwrap();
    for n in [64, 256, 4096] {
        for seed in 0..4 {
            let case = case(&spec, &[("m", 8), ("n", n)], InputKind::Normal, seed);
            let inputs = draw_inputs(&spec, &case);
            let (expected, tolerances) = prepared(&spec, &case);
            let verdict = |sum, after| {
                let (x, w) = (
                    inputs.get(spec.arg_id("x").unwrap()).unwrap(),
                    inputs.get(spec.arg_id("w").unwrap()).unwrap(),
                );
                let actual = Outputs([(y, kernel(x, w, n as usize, sum, after))].into());
                compare(&spec, &case, &expected, &slices(&encode(&spec, &actual)), &tolerances)
            };
            let agreement = verdict(DType::F32, DType::F32).expect("an honest kernel");
            let bound = tolerances.0[&y].beyond_rounding.unwrap();
            assert!(agreement.outputs[0].beyond_rounding < bound / 4.0, "with room");
            assert!(verdict(DType::BF16, DType::F32).is_err(), "a sum in bf16, n = {n}");
            assert!(verdict(DType::F32, DType::BF16).is_err(), "rounded between two steps, n = {n}");
        }
    }
}

#[test]
fn what_rounding_does_to_bad_conditions_is_forgiven() {
    // A variance of equal values is nothing but rounding error; in f32 the mean of 0.1 is not 0.1.
    let args = [("x", "f32", "\"m\", \"n\"", "in"), ("y", "f32", "\"m\", \"n\"", "out")];
    let spec = spec(MN, &args, "d = x - mean(x, n)\ny = d * rsqrt(mean(d * d, n) + 1e-12)", "");
    let case = case(&spec, &[("m", 2), ("n", 100)], InputKind::Normal, 1);
    let mut inputs = draw_inputs(&spec, &case);
    let x = spec.arg_id("x").unwrap();
    inputs.0.insert(x, vec![f64::from(1000.1f32); 200]);
    let expected = evaluate(&spec, &case.sizes, &inputs).unwrap();
    let y = spec.arg_id("y").unwrap();
    let honest = {
        let row = vec![1000.1f32; 100];
        let mean = row.iter().sum::<f32>() / 100.0;
        let d = row[0] - mean;
        f64::from(d / (d * d + 1e-12).sqrt())
    };
    assert_ne!(honest, 0.0);
    let actual = Outputs([(y, vec![honest; 200])].into());
    let bytes = encode(&spec, &actual);
    let blind = tolerances(&spec, &case.sizes);
    assert!(compare(&spec, &case, &expected, &slices(&bytes), &blind).is_err());
    let seeing = tolerances_for(&spec, &case, &inputs, &expected).unwrap();
    compare(&spec, &case, &expected, &slices(&bytes), &seeing).expect("rounding errors are forgiven");
}
