//! What the generator does not take, and where it says so.

use factory_search::generator::{Config, Keep, Reason, Space};
use factory_spec::{Arch, BoundSpec};

use crate::programs::{Program, bind, bound, spec_text};

fn spec(sizes: &'static str, args: &'static str, text: &'static str) -> BoundSpec {
    let count = sizes.split(',').count();
    let cases: &'static [&'static [u64]] = match count {
        1 => &[&[4]],
        2 => &[&[4, 4]],
        _ => &[&[2, 3, 4]],
    };
    bound(&Program { name: "declined", sizes, args, text, cases })
}

fn declined(spec: &BoundSpec) -> (Reason, Option<(usize, usize)>) {
    let declined = Space::new(spec).expect_err("this is not lowered");
    (declined.reason, declined.span.map(|span| spec.line_column(span)))
}

#[test]
fn a_reduction_over_everything() {
    let spec = spec("m 1 - 1, n 1 - 1", "x f32 m n, >y f32 m n", "y = x / sum(x, m, n)");
    let (reason, place) = declined(&spec);
    assert!(matches!(reason, Reason::ReducesEverything { ref sizes } if sizes == "m, n"), "{reason}");
    assert!(place.is_some());
}

#[test]
fn a_reduction_over_an_outer_size() {
    let spec = spec("m 1 - 1, n 1 - 1", "x f32 m n, >y f32 n", "y = sum(x, m)");
    let (reason, place) = declined(&spec);
    assert!(matches!(reason, Reason::NotInnermost { ref arg, .. } if arg == "x"), "{reason}");
    let line = spec_text_line(&spec, "y = sum");
    assert_eq!(place.map(|(line, _)| line), Some(line));
}

fn spec_text_line(spec: &BoundSpec, start: &str) -> usize {
    let program = Program {
        name: "declined",
        sizes: "m 1 - 1, n 1 - 1",
        args: "x f32 m n, >y f32 n",
        text: "y = sum(x, m)",
        cases: &[&[4, 4]],
    };
    assert_eq!(spec.name, program.name);
    spec_text(&program).lines().position(|line| line.starts_with(start)).expect("the line is there") + 1
}

#[test]
fn reductions_over_different_sizes() {
    let spec = spec(
        "m 1 - 1, h 1 - 1, d 1 - 1",
        "x f32 m h d, >y f32 m, >z f32 m h",
        "z = sum(x, d)\ny = sum(x, h, d)",
    );
    let (reason, _) = declined(&spec);
    assert!(matches!(reason, Reason::DifferentReductions { .. }), "{reason}");
}

#[test]
fn an_output_with_a_part_of_the_reduced_sizes() {
    let spec = spec(
        "m 1 - 1, h 1 - 1, d 1 - 1",
        "x f32 m h d, w f32 d, >y f32 m, >z f32 m d",
        "y = sum(x, h, d)\nz = y * w",
    );
    let (reason, _) = declined(&spec);
    assert!(matches!(reason, Reason::PartialOutput { ref arg, .. } if arg == "z"), "{reason}");
}

#[test]
fn an_argument_that_other_rows_read_while_a_row_writes_it() {
    let spec = spec("m 1 - 1, n 1 - 1", "x f32 m n, =w f32 n, >y f32 m n", "y = x * w\nw = w + 1");
    let (reason, _) = declined(&spec);
    assert!(matches!(reason, Reason::SharedInOut { ref arg } if arg == "w"), "{reason}");
}

#[test]
fn integers_of_rows_that_may_be_empty() {
    let spec = spec("m 1 - 1, n 0 - 1", "x i32 m n, >y i32 m", "y = max(x, n)");
    let (reason, _) = declined(&spec);
    assert!(matches!(reason, Reason::EmptyReduction { .. }), "{reason}");
}

#[test]
fn a_configuration_that_does_not_suit() {
    let spec = spec("m 1 - 1, n 1 - 1", "x f32 m n, >y f32 m", "y = sum(x, n)");
    let space = Space::new(&spec).expect("sums are lowered");
    let over = &spec.better.over[0];
    let good = space.configurations(Arch::Sm90, over).remove(0);
    let bad = [
        Config { vector: 3, ..good.clone() },
        Config { threads: 48, rows: 1, ..good.clone() },
        Config { threads: 2048, rows: 1, ..good.clone() },
        Config { cluster: 2, rows: 4, ..good.clone() },
        Config { stages: 2, ..good.clone() },
        Config { exact: true, keep: Keep::Reread, ..good.clone() },
        Config { keep: Keep::Shared, threads: 1024, rows: 1, vector: 4, chunks: 100, ..good },
    ];
    for config in bad {
        let declined = space.generate(&config, Arch::Sm90).expect_err("this configuration is impossible");
        assert!(matches!(declined.reason, Reason::Configuration { .. }), "{config}");
    }
}

#[test]
fn a_reference_in_c() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join("f.c"), "void f(void) {}\n").expect("the folder can be written to");
    let text = "[kernel]\nname = \"c\"\n[sizes]\nn = { min = 1 }\n[[arg]]\nname = \"x\"\ndtype = \"f32\"\nshape = [\"n\"]\n\
                [[arg]]\nname = \"y\"\ndtype = \"f32\"\nshape = [\"n\"]\nrole = \"out\"\n\
                [reference]\nc = \"f.c\"\nfunction = \"f\"\n[correct]\ncases = [{ n = 4 }]\n[better]\nminimize = \"time\"\nover = [{ n = 4 }]\n";
    let spec = bind(&folder.path().join("c").display().to_string(), text);
    let (reason, _) = declined(&spec);
    assert_eq!(reason, Reason::CReference);
}
