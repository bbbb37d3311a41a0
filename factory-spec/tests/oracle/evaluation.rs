//! The oracle against the slow evaluator, and its edges.

use factory_spec::oracle::{Inputs, OracleError, OracleOptions, evaluate, evaluate_with};
use factory_spec::{BoundSpec, InputKind};

use crate::support::{Naive, case, inputs, sizes, spec};

const MNK: &str = "m = { min = 0 }\nn = { min = 0 }\nk = { min = 0 }";

fn assert_agrees(spec: &BoundSpec, shapes: &[[u64; 3]], kind: InputKind) {
    for [m, n, k] in shapes {
        let case = case(spec, &[("m", *m), ("n", *n), ("k", *k)], kind, m + n + k);
        let inputs = inputs(spec, &case);
        let outputs = evaluate(spec, &case.sizes, &inputs).expect("an answer");
        let naive = Naive { spec, sizes: &case.sizes, inputs: &inputs, known: Default::default() };
        for (id, arg) in spec.outputs() {
            let (fast, slow) = (outputs.get(id).expect("the output"), naive.output(&arg.name));
            assert_eq!(fast.len(), slow.len());
            let scale = slow.iter().filter(|x| x.is_finite()).fold(0.0f64, |scale, x| scale.max(x.abs()));
            for (index, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
                let same = fast == slow
                    || (fast.is_nan() && slow.is_nan())
                    || (fast - slow).abs() <= 1e-13 * slow.abs().max(0.1 * scale);
                assert!(same, "{} at m={m} n={n} k={k}, {index}: {fast:e} is not {slow:e}", arg.name);
            }
        }
    }
}

/// Long rows, short rows, blocks that end inside rows, and nothing.
const SHAPES: [[u64; 3]; 8] =
    [[3, 5, 2], [1, 1, 1], [2, 65, 3], [70, 3, 66], [3, 1500, 1], [2, 7, 130], [0, 4, 2], [3, 0, 5]];

#[test]
fn rows() {
    let args = [
        ("x", "f32", "\"m\", \"n\"", "in"),
        ("w", "f32", "\"n\"", "in"),
        ("b", "f32", "\"m\"", "in"),
        ("k1", "f32", "\"k\"", "in"),
        ("y", "f32", "\"m\", \"n\"", "out"),
        ("s", "f32", "\"m\"", "out"),
        ("t", "f32", "\"k\"", "out"),
    ];
    let program = "ms = mean(x * x, n)\ne = exp(x - max(x, n))\ny = e / sum(e, n) * w + x * rsqrt(ms + 1e-5) - b\ns = min(x, n) + prod(1 + x / 100, n)\nt = tanh(k1) + k";
    assert_agrees(&spec(MNK, &args, program, ""), &SHAPES, InputKind::Normal);
}

#[test]
fn columns_products_and_whole_tensors() {
    let args = [
        ("a", "f32", "\"m\", \"k\"", "in"),
        ("b", "f32", "\"k\", \"n\"", "in"),
        ("bt", "f32", "\"n\", \"k\"", "in"),
        ("c", "f32", "\"m\", \"n\"", "out"),
        ("d", "f32", "\"n\", \"m\"", "out"),
        ("columns", "f32", "\"n\"", "out"),
        ("total", "f32", "\"m\"", "out"),
        ("least", "f32", "\"k\"", "out"),
    ];
    let program = "c = sum(a * b, k)\nd = sum(a * bt, k) + sigmoid(c)\ncolumns = sum(abs(b), k)\ntotal = sum(a, m, k)\nleast = max(b, n) - min(a, m)";
    let shapes =
        [[3, 5, 2], [1, 1, 1], [5, 70, 130], [66, 3, 70], [2, 1100, 3], [3, 64, 200], [2, 3, 0], [0, 0, 3]];
    assert_agrees(&spec(MNK, &args, program, ""), &shapes, InputKind::Normal);
}

#[test]
fn masks_indices_casts_and_truth() {
    let args = [
        ("x", "bf16", "\"m\", \"n\"", "in"),
        ("z", "f32", "\"k\"", "in"),
        ("y", "bf16", "\"m\", \"n\"", "out"),
        ("best", "i32", "\"m\"", "out"),
        ("worst", "i64", "\"n\"", "out"),
        ("some", "u8", "\"m\"", "out"),
        ("every", "u8", "\"n\"", "out"),
        ("q", "f8e4m3", "\"k\"", "out"),
    ];
    let program = "y = select(iota(n) <= iota(m) and not (x > 1), cast(x * 3, f8e5m2), clamp(x, -0.5, 0.5)) + floor(x) % 3\n\
                   best = argmax(cast(x, f8e4m3), n)\nworst = argmin(x, m)\nsome = cast(any(x > 1.5, n), u8)\nevery = cast(all(x < 2 or x > 2.2, m), u8)\nq = z ** 2 + iota(k) + round(z)";
    let shapes = [[3, 5, 2], [1, 1, 1], [5, 70, 130], [66, 3, 70], [2, 1100, 3], [3, 0, 5]];
    assert_agrees(&spec(MNK, &args, program, ""), &shapes, InputKind::Normal);
    assert_agrees(&spec(MNK, &args, program, ""), &shapes, InputKind::Nan);
}

#[test]
fn operands_in_any_layout() {
    let args = [
        ("x", "f32", "\"n\", \"k\", \"m\"", "in"),
        ("w", "f32", "\"k\", \"n\"", "in"),
        ("y", "f32", "\"m\", \"n\", \"k\"", "out"),
        ("s", "f32", "\"k\", \"m\"", "out"),
        ("r", "f32", "\"n\"", "out"),
    ];
    let program = "y = x * w - sum(x, n)\ns = sum(x * w, n)\nr = max(y, m, k)";
    let shapes = [[3, 5, 2], [7, 70, 3], [70, 3, 9], [2, 9, 300]];
    assert_agrees(&spec(MNK, &args, program, ""), &shapes, InputKind::Normal);
}

#[test]
fn long_reductions_in_segments_find_the_first_and_keep_their_digits() {
    let args = [
        ("x", "f32", "\"n\"", "in"),
        ("z", "f32", "\"m\", \"k\"", "in"),
        ("top", "i32", "\"m\"", "out"),
        ("total", "f32", "\"m\"", "out"),
        ("zz", "f32", "\"m\", \"k\"", "out"),
    ];
    let spec = spec(MNK, &args, "top = argmax(x, n)\ntotal = sum(x, n)\nzz = z", "");
    let sizes = sizes(&spec, &[("m", 1), ("n", 200_003), ("k", 1)]);
    let mut x = vec![0.1; 200_003];
    x[131_073] = 2.0;
    x[131_074] = 2.0;
    let inputs = Inputs([(spec.arg_id("x").unwrap(), x), (spec.arg_id("z").unwrap(), vec![0.0])].into());
    let outputs = evaluate(&spec, &sizes, &inputs).expect("an answer");
    assert_eq!(outputs.get(spec.arg_id("top").unwrap()).unwrap(), [131_073.0]);
    let total = outputs.get(spec.arg_id("total").unwrap()).unwrap()[0];
    assert!((total - (200_001.0 * 0.1 + 4.0)).abs() < 1e-10, "{total}");
}

#[test]
fn threads_do_not_change_a_bit() {
    let args = [
        ("x", "f32", "\"m\", \"n\"", "in"),
        ("w", "f32", "\"n\", \"k\"", "in"),
        ("y", "f32", "\"m\", \"n\"", "out"),
        ("c", "f32", "\"m\", \"k\"", "out"),
        ("t", "f32", "\"k\"", "out"),
    ];
    let spec = spec(
        MNK,
        &args,
        "y = gelu(x) / sum(abs(x), n)\nc = sum(x * w, n)\nt = sum(x * x, m, n) + sum(w, n)",
        "",
    );
    let case = case(&spec, &[("m", 131), ("n", 1029), ("k", 70)], InputKind::Normal, 5);
    let inputs = inputs(&spec, &case);
    let run = |threads| {
        let options = OracleOptions { threads, ..OracleOptions::default() };
        evaluate_with(&spec, &case.sizes, &inputs, &options).expect("an answer")
    };
    let one = run(1);
    for threads in [2, 3, 8] {
        assert_eq!(one, run(threads));
    }
}

#[test]
fn what_cannot_be_evaluated_is_an_error() {
    let args = [
        ("x", "f32", "\"m\", \"k\"", "in"),
        ("w", "f32", "\"n\"", "in"),
        ("y", "f32", "\"m\", \"n\", \"k\"", "out"),
    ];
    let spec = spec(MNK, &args, "y = x + w", "");
    let large = sizes(&spec, &[("m", 1 << 14), ("n", 1 << 14), ("k", 1)]);
    let x = spec.arg_id("x").unwrap();
    let w = spec.arg_id("w").unwrap();
    let given = Inputs([(x, vec![1.0; 1 << 14]), (w, vec![1.0; 1 << 14])].into());
    let options = OracleOptions { threads: 1, memory_limit: 1 << 20 };
    assert!(matches!(
        evaluate_with(&spec, &large, &given, &options),
        Err(OracleError::Memory { limit: 1_048_576, .. })
    ));
    assert!(
        matches!(evaluate(&spec, &large, &Inputs::default()), Err(OracleError::MissingInput { arg }) if arg == "x")
    );
    let short = Inputs([(x, vec![1.0; 3]), (w, vec![1.0; 1 << 14])].into());
    assert!(matches!(evaluate(&spec, &large, &short), Err(OracleError::InputLength { given: 3, .. })));
}
