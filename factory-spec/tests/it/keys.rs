//! What belongs into `meaning` and `key`, and what does not.

use factory_spec::{BoundSpec, Key};
use proptest::prelude::*;

use crate::support::{RMSNORM, bound, small, with};

#[derive(Debug, PartialEq)]
struct Keys {
    meaning: Key,
    key: Key,
}

fn keys(text: &str) -> Keys {
    let spec: BoundSpec = bound(text);
    Keys { meaning: spec.meaning(), key: spec.key() }
}

fn same(part: &str, other: &str) {
    assert_eq!(keys(&with(RMSNORM, part, other)), keys(RMSNORM), "`{part}` to `{other}`");
}

fn other_search(part: &str, other: &str) {
    let (before, after) = (keys(RMSNORM), keys(&with(RMSNORM, part, other)));
    assert_eq!(before.meaning, after.meaning, "`{part}` to `{other}`");
    assert_ne!(before.key, after.key, "`{part}` to `{other}`");
}

fn other_meaning(part: &str, other: &str) {
    let (before, after) = (keys(RMSNORM), keys(&with(RMSNORM, part, other)));
    assert_ne!(before.meaning, after.meaning, "`{part}` to `{other}`");
    assert_ne!(before.key, after.key, "`{part}` to `{other}`");
}

/// These change only together with `SCHEMA` in `canonical.rs`: every sealed kernel is known by its key.
#[test]
fn golden() {
    let found = keys(RMSNORM);
    assert_eq!(
        found.meaning.to_string(),
        "db8e49b5e613376a55011e058baa7066feb2eb3ab2b557949776fa9fefa65f90",
        "{}",
        bound(RMSNORM).canonical()
    );
    assert_eq!(found.key.to_string(), "d70fd389e541f83b43c1b1be208a76f43f26cfe155864dbffda19986b3116dbf");
    assert_eq!(found.key.short(), &found.key.to_string()[..12]);
    assert_eq!(Key::parse(&found.key.to_string()), Some(found.key));
    assert_eq!(Key::parse("12"), None);
}

#[test]
fn canonical_text() {
    let expected = "kernel-factory spec 1
size m free min 1 multiple_of 1
size n free min 8 max 262144 multiple_of 8
arg x bf16 in [m, n]
arg w f32 in [n]
arg y bf16 out [m, n]
arg eps f32 in scalar 1e-6 1e-5
program
%0 = arg x
%1 = * %0 %0
%2 = reduce mean over n: %1
%3 = arg eps
%4 = + %2 %3
%5 = rsqrt %4
%6 = * %0 %5
%7 = arg w
%8 = * %6 %7
y = %8
case m=3 n=8
case m=5 n=4096
inputs x normal zeros
tolerance y relative_l2 0.004 max_relative 0.02
minimize time
over m=32768 n=256
over m=32768 n=4096
require deterministic
require workspace <= 67108864
target sm_100
target sm_90
";
    assert_eq!(bound(RMSNORM).canonical(), expected);
    assert!(expected.starts_with(&bound(RMSNORM).canonical_meaning()));
}

/// What a candidate may do is asked of the search, not of what is correct; specs that allow nothing are what they were.
#[test]
fn what_is_allowed_is_part_of_the_search() {
    let minimize = "minimize = \"time\"";
    other_search(minimize, &format!("{minimize}\nallow = [\"l2_evict_last\"]"));
    same(minimize, &format!("{minimize}\nallow = []"));
    let spec = bound(&with(RMSNORM, minimize, &format!("{minimize}\nallow = [\"l2_evict_last\"]")));
    assert_eq!(spec.better.allow, [factory_spec::Allowance::L2EvictLast]);
    assert!(spec.canonical().contains("\nallow l2_evict_last\n"), "{}", spec.canonical());
}

#[test]
fn spelling_is_no_meaning() {
    same("name = \"rmsnorm\"", "name = \"normalise\"");
    same("doc = \"Root-mean-square normalisation.\"\n", "");
    same("[sizes]", "# comment\n[sizes] # more");
    same("max = 262144", "max = 0x40000");
    same("m = { min = 1 }", "m = {}");
}

#[test]
fn spelling_is_no_meaning_in_other_places() {
    // Locals, blanks, comments, statements that nobody needs, and repeated work.
    same(
        "ms = mean(x * x, n)\ny  = x * rsqrt(ms + eps) * w",
        "unused = x + 1; a = eps # e\ny = ((x) * rsqrt(mean(x * x, n) + a)) * w",
    );
    // Cases, kinds of inputs and requirements are sets.
    same(
        "[{ m = 3, n = 8 }, { m = 5, n = 4096 }]",
        "[{ n = 4096, m = 5 }, { n = 8, m = 3 }, { m = 3, n = 8 }]",
    );
    same("[\"normal\", \"zeros\"]", "[\"zeros\", \"normal\"]");
    same("[\"deterministic\", \"workspace <= 64 MiB\"]", "[\"workspace < 67108865\", \"deterministic\"]");
    same("[\"sm_90\", \"sm_100\"]", "[\"sm_100\", \"sm_90\"]");
    same("minimize = \"time\"\n", "");
    // A tolerance for all outputs is one for each.
    same(
        "{ relative_l2 = 4e-3, max_relative = 2e-2 }",
        "{ y = { max_relative = 0.02, relative_l2 = 0.004 } }",
    );
    // Hints and budgets.
    same("[targets]", "[search]\nseed = 3\nseconds = 100\ncandidates = 5\nhints = { stages = 2 }\n[targets]");
}

#[test]
fn order_of_sizes_and_sections_is_no_meaning() {
    same(
        "m = { min = 1 }\nn = { min = 8, max = 262144, multiple_of = 8 }",
        "n = { multiple_of = 8, max = 262144, min = 8 }\nm = { min = 1 }",
    );
    let better = RMSNORM.find("[better]").expect("it is there");
    let kernel = RMSNORM.find("[kernel]").expect("it is there");
    let moved = format!("{}\n{}", &RMSNORM[better..], &RMSNORM[kernel..better]);
    assert_eq!(keys(&moved), keys(RMSNORM));
}

#[test]
fn what_is_searched_for() {
    other_search("minimize = \"time\"", "minimize = \"energy\"");
    other_search("{ m = 32768, n = 256 }", "{ m = 32768, n = 512 }");
    other_search("\"deterministic\", ", "");
    other_search("64 MiB", "65 MiB");
    other_search("\"sm_90\", ", "");
    other_search("\"sm_90\"", "\"sm_90a\"");
}

#[test]
fn what_is_correct() {
    other_meaning("min = 1 ", "min = 2 ");
    other_meaning("max = 262144", "max = 131072");
    other_meaning("multiple_of = 8", "multiple_of = 4");
    other_meaning("doc = ", "constraints = [\"n != 24\"]\ndoc = ");
    other_meaning("dtype = \"bf16\"", "dtype = \"f16\"");
    other_meaning("[1e-6, 1e-5]", "[1e-6]");
    other_meaning("role = \"out\"", "role = \"inout\"");
    other_meaning("x * rsqrt(ms + eps) * w", "w * rsqrt(ms + eps) * x");
    other_meaning("mean(x * x, n)", "sum(x * x, n)");
    other_meaning("{ m = 3, n = 8 }", "{ m = 4, n = 8 }");
    other_meaning("[\"normal\", \"zeros\"]", "[\"normal\"]");
    other_meaning("relative_l2 = 4e-3", "relative_l2 = 5e-3");
    other_meaning("max_relative = 2e-2", "max_absolute = 2e-2");
}

#[test]
fn names_and_order_of_arguments_are_meaning() {
    let renamed = RMSNORM.replace("\"w\"", "\"weight\"").replace("* w\n", "* weight\n");
    assert_ne!(keys(&renamed).meaning, keys(RMSNORM).meaning);
    let x = "[[arg]]\nname = \"x\"\ndtype = \"bf16\"\nshape = [\"m\", \"n\"]\n\n";
    let w = "[[arg]]\nname = \"w\"\ndtype = \"f32\"\nshape = [\"n\"]\n\n";
    let swapped = with(RMSNORM, &format!("{x}{w}"), &format!("{w}{x}"));
    assert_ne!(keys(&swapped).meaning, keys(RMSNORM).meaning);
}

proptest! {
    /// Names of locals, order of statements, blanks and comments never matter.
    #[test]
    fn programs_are_graphs(names in prop::collection::hash_set("[a-z]{4,8}_", 3), swap: bool, blanks in "[ \t]{0,4}", comment in "[a-z ]{0,10}") {
        let names: Vec<String> = names.into_iter().collect();
        let spec = |a: &str, b: &str, c: &str, swap: bool| {
            let (first, second) = (format!("{a} = sum(x * x, n){blanks}# {comment}"), format!("{b} ={blanks} max(x, n)"));
            let (first, second) = if swap { (second, first) } else { (first, second) };
            small("m = {}\nn = {}", "\"m\", \"n\"", "\"m\"", &format!("{first}\n{second}\n{blanks}{c} = {a} / {b}; y = {c} + 1"))
        };
        prop_assert_eq!(keys(&spec(&names[0], &names[1], &names[2], swap)), keys(&spec("a", "b", "c", false)));
    }
}
