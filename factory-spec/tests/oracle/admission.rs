//! Specs that would accept a kernel that does not do the work are refused; others are not.

use factory_spec::admission::{Refused, admit};

use crate::support::spec;

const MN: &str = "m = { min = 1 }\nn = { min = 2 }";
const XY: [(&str, &str, &str, &str); 2] =
    [("x", "f32", "\"m\", \"n\"", "in"), ("y", "f32", "\"m\", \"n\"", "out")];

#[test]
fn honest_specs_are_admitted() {
    let args = [
        ("x", "bf16", "\"m\", \"n\"", "in"),
        ("w", "f32", "\"n\"", "in"),
        ("y", "bf16", "\"m\", \"n\"", "out"),
        ("eps", "f32", "scalar", "values = [1e-6, 1e-5]\n"),
    ];
    let rmsnorm = spec(MN, &args, "y = x * rsqrt(mean(x * x, n) + eps) * w", "");
    let admission = admit(&rmsnorm).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(admission.operands, ["x", "w", "eps"]);
    assert!(admission.cases >= 20 && admission.trivial_answers.len() >= 4);
    for program in ["e = exp(x - max(x, n))\ny = e / sum(e, n)", "y = sum(x, m, n)", "y = max(x, 0)"] {
        admit(&spec(MN, &XY, program, "")).unwrap_or_else(|refused| panic!("{program}: {refused}"));
    }
    let gated = [
        ("a", "bf16", "\"m\", \"n\"", "in"),
        ("b", "bf16", "\"m\", \"n\"", "in"),
        ("bias", "f32", "\"n\"", "in"),
        ("y", "bf16", "\"m\", \"n\"", "out"),
    ];
    admit(&spec(MN, &gated, "z = silu(a) * b + bias\ne = exp(z - max(z, n))\ny = e / sum(e, n)", ""))
        .unwrap_or_else(|refused| panic!("{refused}"));
}

#[test]
fn trivial_answers_are_found() {
    for (program, rest, found) in [
        (
            "y = x * 1e-6",
            "[correct]\ntolerance = { max_absolute = 1e-2 }\ninputs = { x = [\"normal\", \"uniform\"] }",
            "zeros",
        ),
        (
            "y = x * 1e-6 + 1",
            "[correct]\ntolerance = { max_absolute = 1e-2 }\ninputs = { x = [\"normal\", \"uniform\"] }",
            "the constant",
        ),
        ("e = exp(x - max(x, n))\ny = mean(e / sum(e, n), n)", "", "same sizes"),
        ("y = x * 1.0001", "[correct]\ntolerance = { relative_l2 = 1e-2 }", "a copy of `x`"),
    ] {
        match admit(&spec(MN, &XY, program, rest)) {
            Err(Refused::Trivial { output, answer, .. }) => {
                assert_eq!(output, "y");
                assert!(answer.contains(found), "{program}: {answer}");
            }
            other => panic!("{program}: {other:?}"),
        }
    }
}

#[test]
fn operands_without_influence_are_found() {
    let args = [
        ("x", "bf16", "\"m\", \"n\"", "in"),
        ("eps", "f32", "scalar", "values = [1e-6, 1e-5]\n"),
        ("y", "bf16", "\"m\", \"n\"", "out"),
    ];
    let rest = "[correct]\ninputs = { x = [\"normal\"] }";
    let refused = admit(&spec(MN, &args, "y = x * rsqrt(mean(x * x, n) + eps)", rest)).unwrap_err();
    assert!(
        matches!(&refused, Refused::NoInfluence { operand, what: "scalar", .. } if operand == "eps"),
        "{refused}"
    );
    assert!(refused.to_string().contains("tiny"), "{refused}");

    let args = [
        ("x", "f32", "\"m\", \"n\"", "in"),
        ("w", "f32", "\"n\"", "in"),
        ("y", "f32", "\"m\", \"n\"", "out"),
    ];
    let refused = admit(&spec(MN, &args, "y = x * 2 + 0 * w", "")).unwrap_err();
    assert!(matches!(&refused, Refused::NoInfluence { operand, .. } if operand == "w"), "{refused}");
}
