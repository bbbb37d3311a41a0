//! Row strides: what a spec may say, what it means, and what is drawn.

use factory_spec::draw::{draw_cases, draw_inputs};
use factory_spec::{Interface, SizeValues};

use crate::bad_specs::expect;
use crate::support::{RMSNORM, bound, strided, with};

const HINT: &str = "a row stride is a size of its own that can be as large as a row is long, as in `row_stride = \"xs\"`; leave it out for a dense tensor";

#[test]
fn a_stride_is_part_of_the_meaning_and_a_constraint() {
    let spec = bound(&strided());
    let canonical = spec.canonical();
    for line in [
        "arg x bf16 in [m, n] row_stride xs\n",
        "arg w f32 in [n]\n",
        "arg y bf16 out [m, n] row_stride ys\n",
        "constraint xs >= n\n",
        "constraint ys >= n\n",
    ] {
        assert!(canonical.contains(line), "{canonical}");
    }
    let other = with(&strided(), "row_stride = \"ys\"", "row_stride = \"xs\"");
    assert_ne!(bound(&other).meaning(), spec.meaning());
}

#[test]
fn rows_lie_apart_and_the_last_has_no_gap() {
    let spec = bound(&strided());
    let sizes = &spec.correct.cases[0];
    let (x, w) = (&spec.args[0], &spec.args[1]);
    assert_eq!((spec.elements(x, sizes), spec.span(x, sizes)), (24, 2 * 24 + 8));
    assert_eq!((spec.elements(w, sizes), spec.span(w, sizes)), (8, 8));
    assert_eq!(spec.elements_of_all(sizes), 56 + 8 + (2 * 9 + 8));
    let order = |name: &str| spec.size_id(name).expect("a size").index();
    let mut none = SizeValues(vec![0; 4]);
    (none.0[order("n")], none.0[order("xs")], none.0[order("ys")]) = (8, 24, 9);
    assert_eq!(spec.span(x, &none), 0);
}

#[test]
fn the_interface_says_it_and_that_of_dense_specs_does_not() {
    let interface = bound(&strided()).interface();
    assert_eq!(interface.args[0].row_stride.as_deref(), Some("xs"));
    assert_eq!(Interface::parse(&interface.to_json()).expect("it is its own"), interface);
    assert!(!bound(RMSNORM).interface().to_json().contains("row_stride"));
}

#[test]
fn strides_are_drawn_from_no_gap_to_more_gap_than_row() {
    let spec = bound(&strided());
    let cases = draw_cases(&spec, 7);
    let [n, xs, ys] = ["n", "xs", "ys"].map(|name| spec.size_id(name).expect("a size"));
    let at = |of: &dyn Fn(u64, u64, u64) -> bool| {
        cases.iter().filter(|case| of(case.sizes[n], case.sizes[xs], case.sizes[ys])).count()
    };
    let all = cases.len();
    assert_eq!(at(&|n, xs, ys| xs >= n && ys >= n), all);
    for (what, found) in [
        ("dense", at(&|n, xs, _| xs == n)),
        ("aligned", at(&|n, xs, _| xs > n && xs % 8 == 0)),
        ("unaligned", at(&|_, xs, _| xs % 8 != 0)),
        ("wide", at(&|n, xs, _| xs > 2 * n)),
        ("different", at(&|_, xs, ys| xs != ys)),
    ] {
        assert!(found >= 2, "{what}: {found} of {all}");
    }
    // Values are those of the logical tensor.
    let inputs = draw_inputs(&spec, &cases[0]);
    let x = spec.arg_id("x").expect("an argument");
    assert_eq!(inputs.get(x).map(<[f64]>::len), Some(24));
}

#[test]
fn what_is_drawn_without_strides_stays() {
    // A dense size of the same bounds is drawn on its own, below the length of rows too.
    let spec = bound(
        &with(RMSNORM, "[sizes]\n", "[sizes]\nxs = { min = 8 }\n")
            .replace("over =", "# over =")
            .replace("cases =", "# cases ="),
    );
    let [n, xs] = ["n", "xs"].map(|name| spec.size_id(name).expect("a size"));
    assert!(draw_cases(&spec, 7).iter().any(|case| case.sizes[xs] < case.sizes[n]));
}

#[test]
fn without_over_the_middle_case_has_gaps() {
    let text = strided();
    let line = text.lines().find(|line| line.starts_with("over")).expect("it is there").to_owned();
    let spec = bound(&with(&text, &line, ""));
    let [n, xs] = ["n", "xs"].map(|name| spec.size_id(name).expect("a size"));
    let sizes = &spec.better.over[0];
    assert_eq!(sizes[xs], 2 * sizes[n]);
}

#[test]
fn a_stride_may_be_derived_or_fixed() {
    let spec = bound(
        &with(&strided(), "xs = { min = 8, max = 1048576 }", "xs = { value = \"3 * n\" }")
            .replace("xs = 24, ", "")
            .replace("xs = 768, ", ""),
    );
    let xs = spec.size_id("xs").expect("a size");
    assert_eq!(spec.correct.cases[0][xs], 24);
    assert!(draw_cases(&spec, 1).len() > 10);
}

#[test]
fn a_stride_that_is_no_size() {
    let text = with(&strided(), "row_stride = \"xs\"", "row_stride = \"xz\"");
    expect(&text, "xz\"", "size `xz` is not defined", "did you mean `xs`?");
}

#[test]
fn a_stride_of_a_scalar() {
    let text = with(&strided(), "values = [1e-6, 1e-5]", "row_stride = \"xs\"");
    let at = "\"xs\"\n\n[reference]";
    expect(&text, at, "`eps` cannot have the row stride `xs`: it is a scalar", HINT);
}

#[test]
fn a_stride_of_one_dimension() {
    let text = with(&strided(), "shape = [\"n\"]", "shape = [\"n\"]\nrow_stride = \"ys\"");
    let message = "`w` cannot have the row stride `ys`: it has fewer than two dimensions, so that no row follows another";
    expect(&text, "\"ys\"", message, HINT);
}

#[test]
fn a_stride_that_is_the_row_itself() {
    let text = with(&strided(), "row_stride = \"xs\"", "row_stride = \"n\"");
    let message = "`x` cannot have the row stride `n`: that is the length of a row, so that the tensor is dense for all values of `n`";
    expect(&text, "\"n\"\n\n", message, HINT);
}

#[test]
fn a_stride_that_can_never_reach_the_row() {
    let text = with(&strided(), "xs = { min = 8, max = 1048576 }", "xs = { min = 1, max = 7 }");
    let message =
        "`x` cannot have the row stride `xs`: it is at most 7, and a row has at least 8 elements (`n`)";
    expect(&text, "\"xs\"", message, HINT);
}

#[test]
fn a_stride_that_is_another_dimension_must_leave_room_for_it() {
    // `m` may be the stride as long as it can be as large as a row.
    let text = with(&strided(), "row_stride = \"xs\"", "row_stride = \"m\"");
    let text = with(&text, "m = 3, n = 8", "m = 9, n = 8");
    bound(&text);
    let text = with(&text, "m = { min = 1 }", "m = { min = 1, max = 4 }");
    let message =
        "`x` cannot have the row stride `m`: it is at most 4, and a row has at least 8 elements (`n`)";
    expect(&text, "\"m\"\n\n", message, HINT);
}

#[test]
fn strides_below_the_row_in_over_and_cases() {
    let hint = "change these sizes, or the bounds in [sizes]";
    for (part, other) in [("n = 256, xs = 768", "n = 256, xs = 255"), ("n = 8, xs = 24", "n = 16, xs = 15")] {
        let text = with(&strided(), part, other);
        let marker = format!("{{ m = {}, {other}", if other.contains("256") { 32768 } else { 3 });
        let message = "these sizes are outside the kernel's domain: the sizes do not satisfy `xs >= n`";
        let text = text.replace("ys = 9", "ys = 32");
        expect(&text, &marker, message, hint);
    }
}

#[test]
fn a_stride_makes_the_buffer_and_with_it_an_overflow() {
    let text = with(&strided(), "xs = 768, ys = 256", "xs = 768, ys = 4611686018427387904");
    let error = "this case overflows: argument `y` would have more than 2^63 bytes";
    expect(&text, "{ m = 32768", error, "sizes, and bytes of an argument, must stay below 2^63");
}
