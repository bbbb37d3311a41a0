//! What is read from good specs.

use std::collections::BTreeMap;
use std::path::Path;

use factory_spec::{
    Arch, CompiledDomain, DType, DTypeOrVariable, DomainError, InputKind, Interface, Metric, Minimize,
    Reference, Requirement, Role, SizeExpr, SizeKind, SizeValues, Spec, Tolerance,
};

use crate::support::{RMSNORM, bound, parse, small, with};

fn free(values: &[(&str, u64)]) -> BTreeMap<String, u64> {
    values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

#[test]
fn everything_written() {
    let spec = bound(RMSNORM);
    assert_eq!(spec.name, "rmsnorm");
    assert_eq!(spec.doc.as_deref(), Some("Root-mean-square normalisation."));
    assert_eq!(spec.sizes[0].kind, SizeKind::Free { min: 1, max: None, multiple_of: 1 });
    assert_eq!(spec.sizes[1].kind, SizeKind::Free { min: 8, max: Some(262_144), multiple_of: 8 });
    let args: Vec<_> =
        spec.args.iter().map(|arg| (arg.name.as_str(), arg.dtype, arg.role, arg.scalar)).collect();
    assert_eq!(
        args,
        [
            ("x", DType::BF16, Role::In, false),
            ("w", DType::F32, Role::In, false),
            ("y", DType::BF16, Role::Out, false),
            ("eps", DType::F32, Role::In, true),
        ]
    );
    assert_eq!(spec.args[3].values, [1e-6, 1e-5]);
    assert_eq!(spec.correct.cases, [SizeValues(vec![3, 8]), SizeValues(vec![5, 4096])]);
    assert_eq!(spec.correct.inputs["x"], [InputKind::Normal, InputKind::Zeros]);
    let tolerance =
        Tolerance { relative_l2: Some(4e-3), max_relative: Some(2e-2), max_absolute: None, exact: false };
    assert_eq!(spec.correct.tolerance, BTreeMap::from([("y".to_owned(), tolerance)]));
    assert_eq!(spec.better.minimize, Minimize::Metric(Metric::Time));
    assert_eq!(spec.better.over.len(), 2);
    let limit = Requirement::AtMost { metric: Metric::Workspace, limit: 64 << 20 };
    assert_eq!(spec.better.require, [Requirement::Deterministic, limit]);
    assert_eq!(spec.targets, [Arch::Sm90, Arch::Sm100]);
    assert!(matches!(&spec.reference, Reference::Program(program) if program.outputs.len() == 1));
    assert_eq!(spec.inputs().map(|(_, arg)| arg.name.as_str()).collect::<Vec<_>>(), ["x", "w", "eps"]);
    assert_eq!(spec.outputs().map(|(_, arg)| arg.name.as_str()).collect::<Vec<_>>(), ["y"]);
    assert_eq!(spec.elements(&spec.args[0], &spec.correct.cases[1]), 5 * 4096);
    assert_eq!(spec.elements(&spec.args[3], &spec.correct.cases[1]), 1);
}

#[test]
fn defaults() {
    let spec = bound(&small("m = {}\nn = { multiple_of = 3 }", "\"m\", \"n\"", "\"m\"", "y = sum(x, n)"));
    assert_eq!(spec.sizes[0].kind, SizeKind::Free { min: 1, max: None, multiple_of: 1 });
    assert_eq!(spec.targets, [Arch::Sm90, Arch::Sm100]);
    assert_eq!(spec.better.minimize, Minimize::Metric(Metric::Time));
    assert_eq!(spec.better.over, [SizeValues(vec![4096, 4095])]);
    assert!(
        spec.correct.cases.is_empty() && spec.correct.tolerance.is_empty() && spec.better.require.is_empty()
    );
    let one = bound(&small("n = {}", "\"n\"", "", "y = sum(x, n)"));
    assert_eq!(one.better.over, [SizeValues(vec![1 << 24])]);
    assert!(!one.args[1].scalar);
    let constrained = small("n = {}", "\"n\"", "", "y = sum(x, n)");
    let constrained =
        with(&constrained, "name = \"small\"", "name = \"small\"\nconstraints = [\"n <= 1000\"]");
    assert_eq!(bound(&constrained).better.over, [SizeValues(vec![512])]);
}

#[test]
fn search_and_metrics() {
    let text = format!(
        "{RMSNORM}\n[search]\nseed = 7\nseconds = 2.5\ncandidates = 100\nhints = {{ stages = 3, cluster = \"yes\" }}\n"
    );
    let search = parse(&text).search;
    assert_eq!((search.seed, search.seconds, search.candidates), (Some(7), Some(2.5), Some(100)));
    assert_eq!(
        search.hints,
        BTreeMap::from([("cluster".into(), "yes".into()), ("stages".into(), "3".into())])
    );
    let text = with(RMSNORM, "minimize = \"time\"", "minimize = \"time*2 + energy\"");
    assert_eq!(bound(&text).better.minimize.to_string(), "time * 2 + energy");
    let text = with(RMSNORM, "workspace <= 64 MiB", "time < 2 us");
    assert_eq!(bound(&text).better.require[1].to_string(), "time <= 1999");
}

#[test]
fn dtype_variables() {
    let text = with(RMSNORM, "dtype = \"bf16\"", "dtype = \"T\"");
    let text = with(&text, "[sizes]", "[dtypes]\nT = [\"bf16\", \"f32\"]\nA = [\"f16\", \"f64\"]\n[sizes]");
    let text = with(&text, "x * rsqrt", "cast(x, A) * rsqrt");
    let spec = parse(&text);
    assert_eq!(spec.args[0].dtype, DTypeOrVariable::Variable("T".into()));
    let all = spec.all_bindings();
    assert_eq!(all.len(), 4);
    assert_eq!(all[0], BTreeMap::from([("A".into(), DType::F16), ("T".into(), DType::BF16)]));
    let keys: std::collections::BTreeSet<_> =
        all.iter().map(|bindings| spec.bind(bindings).expect("allowed").key()).collect();
    assert_eq!(keys.len(), 4);
    assert_eq!(spec.bind(&all[3]).expect("allowed").args[0].dtype, DType::F32);
}

#[test]
fn per_output_tolerance() {
    let text = with(
        RMSNORM,
        "{ relative_l2 = 4e-3, max_relative = 2e-2 }",
        "{ y = { max_absolute = 1, exact = true } }",
    );
    let expected = Tolerance { relative_l2: None, max_relative: None, max_absolute: Some(1.0), exact: true };
    assert_eq!(bound(&text).correct.tolerance["y"], expected);
}

#[test]
fn sizes_of_a_launch() {
    let sizes = "m = { min = 2, max = 10, multiple_of = 2 }\nh = 4\nn = { value = \"m * h + q\" }\nq = { value = \"h - 1\" }";
    let text = small(sizes, "\"m\", \"n\"", "\"m\"", "y = sum(x, n)");
    let spec = bound(&with(&text, "name = \"small\"", "name = \"small\"\nconstraints = [\"m != 8\"]"));
    assert_eq!(spec.size_values(&free(&[("m", 4)])), Ok(SizeValues(vec![4, 4, 19, 3])));
    assert_eq!(spec.size_values(&free(&[("m", 4), ("h", 4), ("n", 19)])), Ok(SizeValues(vec![4, 4, 19, 3])));
    let size = || "m".to_owned();
    assert_eq!(spec.size_values(&free(&[])), Err(DomainError::Missing { size: size() }));
    assert_eq!(
        spec.size_values(&free(&[("m", 0)])),
        Err(DomainError::BelowMin { size: size(), value: 0, min: 2 })
    );
    assert_eq!(
        spec.size_values(&free(&[("m", 12)])),
        Err(DomainError::AboveMax { size: size(), value: 12, max: 10 })
    );
    assert_eq!(
        spec.size_values(&free(&[("m", 3)])),
        Err(DomainError::NotMultiple { size: size(), value: 3, multiple_of: 2 })
    );
    assert_eq!(
        spec.size_values(&free(&[("m", 8)])),
        Err(DomainError::Constraint { constraint: "m != 8".into() })
    );
    assert_eq!(
        spec.size_values(&free(&[("m", 4), ("n", 20)])),
        Err(DomainError::Differs { size: "n".into(), value: 20, expected: 19 })
    );
    assert_eq!(
        spec.size_values(&free(&[("m", 4), ("z", 1)])),
        Err(DomainError::Unknown { size: "z".into() })
    );
    assert_eq!(
        spec.size_values(&free(&[("m", u64::MAX)])),
        Err(DomainError::TooLarge { size: size(), value: u64::MAX })
    );
}

#[test]
fn interface_round_trips() {
    let spec = bound(RMSNORM);
    let interface = spec.interface();
    let text = interface.to_json();
    assert!(text.ends_with("}\n"));
    assert_eq!(Interface::parse(&text).expect("it was just written"), interface);
    assert_eq!(interface.key, spec.key());
    assert_eq!(interface.args[0].shape, ["m", "n"]);
    let domain = interface.domain().expect("it compiles");
    let mut values = [5, 16];
    assert_eq!(domain.complete(&mut values), Ok(()));
    let mut unset = [CompiledDomain::UNSET, 16];
    assert_eq!(domain.complete(&mut unset), Err(DomainError::Missing { size: "m".into() }));
    let unknown = text.replacen("\"schema\": 1,", "\"schema\": 1, \"more\": 2,", 1);
    assert!(Interface::parse(&unknown).expect_err("unknown field").to_string().contains("more"));
}

#[test]
fn a_c_reference() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.c"), "void run (const int64_t *s) {}\r\n").expect("it is writable");
    let start = RMSNORM.find("program").expect("it has one");
    let end = RMSNORM.find("[correct]").expect("it has one");
    let text = format!("{}c = \"a.c\"\nfunction = \"run\"\n\n{}", &RMSNORM[..start], &RMSNORM[end..]);
    let path = folder.path().join("spec.toml");
    std::fs::write(&path, &text).expect("it is writable");
    let spec = Spec::read(&path).expect("it is fine").bind(&BTreeMap::new()).expect("it is fine");
    let Reference::C(c) = &spec.reference else { panic!("it is a C reference") };
    assert_eq!((c.function.as_str(), c.source.as_str()), ("run", "void run (const int64_t *s) {}\n"));
    // The sizes reach a C function by position, so their order is meaning.
    let swapped = with(
        &text,
        "m = { min = 1 }\nn = { min = 8, max = 262144, multiple_of = 8 }",
        "n = { min = 8, max = 262144, multiple_of = 8 }\nm = { min = 1 }",
    );
    let swapped =
        Spec::parse(&path, &swapped).expect("it is fine").bind(&BTreeMap::new()).expect("it is fine");
    assert_ne!(swapped.meaning(), spec.meaning());
}

#[test]
fn deep_and_long_texts_are_refused() {
    for program in [
        format!("y = {}x{}", "(".repeat(500), ")".repeat(500)),
        format!("y = x{}", " + x".repeat(20_000)),
        format!("y = x{}", " + x".repeat(400)),
    ] {
        let text = small("n = {}", "\"n\"", "\"n\"", &program);
        assert!(Spec::parse(Path::new("t"), &text).is_err());
    }
    let long = small("n = {}", "\"n\"", "\"n\"", &format!("y = x{}", " + x".repeat(200)));
    assert!(Spec::parse(Path::new("t"), &long).is_ok());
    assert!(SizeExpr::parse(&"-".repeat(1000)).is_err());
}
