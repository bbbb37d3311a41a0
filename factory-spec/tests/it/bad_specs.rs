//! Everything that can be wrong with a spec: each mistake's place and message.

use std::collections::BTreeMap;
use std::path::Path;

use factory_spec::{DType, Problem, Spec, SpecErrors};

use crate::support::{RMSNORM, parse, small, with};

fn errors(text: &str) -> SpecErrors {
    match Spec::parse(Path::new("kernels/test.toml"), text) {
        Ok(_) => panic!("no mistake was found in\n{text}"),
        Err(errors) => errors,
    }
}

/// The spec of a normalisation with one part changed has this mistake alone, at the first place of `marker` in it.
fn mistake(part: &str, other: &str, marker: &str, message: &str, hint: &str) {
    let text = with(RMSNORM, part, other);
    expect(&text, marker, message, hint);
}

pub(crate) fn expect(text: &str, marker: &str, message: &str, hint: &str) {
    let errors = errors(text);
    let error = errors.first();
    assert_eq!(error.message(), message, "all: {errors}");
    assert_eq!(error.hint(), hint);
    let at = text.find(marker).expect("the marker is in the text");
    let line = text[..at].matches('\n').count() + 1;
    let column = text[..at].chars().rev().take_while(|&c| c != '\n').count() + 1;
    assert_eq!((error.line(), error.column()), (Some(line), Some(column)), "{}", error.render());
    assert_eq!(errors.len(), 1, "{errors}");
}

/// The program in a spec over sizes m, n, k with `x` over m, n and `y` over m.
fn in_program(program: &str, marker: &str, message: &str, hint: &str) {
    let text = small("m = {}\nn = {}\nk = {}", "\"m\", \"n\"", "\"m\"", program);
    expect(&text, marker, message, hint);
}

#[test]
fn missing_file() {
    let errors = Spec::read(Path::new("no/such.toml")).expect_err("there is no such file");
    assert_eq!(errors.first().to_string(), "no/such.toml: the spec does not exist");
    assert_eq!(errors.first().line(), None);
    assert!(errors.render().contains("\n\nhint: paths of specs are relative"));
}

#[test]
fn unreadable_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let errors = Spec::read(folder.path()).expect_err("a folder is no file");
    assert!(errors.first().message().starts_with("the spec cannot be read: "), "{errors}");
    let file = folder.path().join("latin.toml");
    std::fs::write(&file, b"[kernel]\nname = \"\xe9\"\n").expect("it is writable");
    let errors = Spec::read(&file).expect_err("not UTF-8");
    assert_eq!(errors.first().message(), "the spec cannot be read: it is not UTF-8");
}

#[test]
fn not_toml() {
    let text = "[kernel]\nname = \n";
    let errors = errors(text);
    assert!(matches!(errors.first().problem(), Problem::Toml { .. }));
    assert_eq!(errors.first().line(), Some(2));
    let twice = with(RMSNORM, "m = { min = 1 }", "m = { min = 1 }\nm = 3");
    let errors = Spec::parse(Path::new("t"), &twice).expect_err("a key stands twice");
    assert_eq!((errors.first().line(), errors.first().column()), (Some(7), Some(1)));
    assert_eq!(errors.first().message(), "this is not TOML: duplicate key");
}

#[test]
fn unknown_keys() {
    mistake("doc = ", "docs = ", "docs", "[kernel] has no key `docs`", "did you mean `doc`?");
    mistake("[better]", "[beter]", "beter", "a spec has no key `beter`", "did you mean `better`?");
    mistake("role = ", "rolle = ", "rolle", "[[arg]] has no key `rolle`", "did you mean `role`?");
    mistake(
        "min = 8",
        "least = 8",
        "least",
        "size `n` has no key `least`",
        "the keys here are `min`, `max`, `multiple_of`, `value`",
    );
    mistake("cases = ", "zases = ", "zases", "[correct] has no key `zases`", "did you mean `cases`?");
    mistake(
        "relative_l2",
        "relativ_l2",
        "relativ_l2",
        "`tolerance` has no key `relativ_l2`",
        "did you mean `relative_l2`?",
    );
    mistake("arch = ", "archs = ", "archs", "[targets] has no key `archs`", "did you mean `arch`?");
    mistake("minimize", "minimise", "minimise", "[better] has no key `minimise`", "did you mean `minimize`?");
    mistake(
        "program = ",
        "programm = ",
        "programm",
        "[reference] has no key `programm`",
        "did you mean `program`?",
    );
}

#[test]
fn several_at_once() {
    let text = with(&with(RMSNORM, "doc = ", "docs = "), "sm_100", "sm_101");
    let errors = errors(&text);
    let lines: Vec<_> = errors.iter().map(|error| error.line()).collect();
    assert_eq!(lines, [Some(3), Some(47)], "{errors}");
}

#[test]
fn missing_keys() {
    mistake("name = \"rmsnorm\"\n", "", "kernel]", "[kernel] lacks `name`", "write `name = \"…\"`");
    mistake(
        "dtype = \"bf16\"\nshape = [\"m\", \"n\"]\n\n",
        "shape = [\"m\", \"n\"]\n\n",
        "[[arg]]",
        "[[arg]] lacks `dtype`",
        "write `dtype = \"f32\"`",
    );
    let errors = errors("");
    let messages: Vec<String> = errors.iter().map(|error| error.message()).collect();
    assert_eq!(messages, ["a spec lacks `[kernel]`", "a spec lacks `[[arg]]`", "a spec lacks `[reference]`"]);
}

#[test]
fn wrong_types() {
    mistake(
        "name = \"rmsnorm\"",
        "name = 3",
        "3",
        "`name` takes a string, found an integer",
        "write a string here",
    );
    mistake(
        "min = 1 ",
        "min = 1.5 ",
        "1.5",
        "`min` takes a whole number, found a number with a fraction",
        "write a whole number here",
    );
    mistake(
        "values = [1e-6,",
        "values = [true,",
        "true",
        "`values` takes a number, found a truth value",
        "write a number here",
    );
    mistake(
        "m = { min = 1 }",
        "m = \"any\"",
        "\"any\"",
        "`m` takes `{ min = …, max = …, multiple_of = … }`, a whole number or `{ value = \"…\" }`, found a string",
        "write `{ min = …, max = …, multiple_of = … }`, a whole number or `{ value = \"…\" }` here",
    );
}

#[test]
fn unknown_words() {
    mistake("\"f32\"", "\"fp32\"", "\"fp32\"", "there is no dtype `fp32`", "did you mean `f32`?");
    mistake(
        "\"out\"",
        "\"output\"",
        "\"output\"",
        "there is no role `output`",
        "there are `in`, `out`, `inout`",
    );
    mistake(
        "\"sm_100\"]",
        "\"sm_101\"]",
        "\"sm_101\"",
        "there is no architecture `sm_101`",
        "did you mean `sm_100`?",
    );
    mistake(
        "\"zeros\"",
        "\"zeroes\"",
        "\"zeroes\"",
        "there is no kind of input `zeroes`",
        "did you mean `zeros`?",
    );
    mistake("\"time\"", "\"tyme\"", "\"tyme\"", "there is no metric `tyme`", "did you mean `time`?");
    mistake(
        "inputs = { x",
        "inputs = { z",
        "z = [\"normal",
        "there is no input tensor `z`",
        "there are `x`, `w`",
    );
    mistake(
        "tolerance = { relative_l2 = 4e-3, max_relative = 2e-2 }",
        "tolerance = { z = { exact = true } }",
        "z = { exact",
        "there is no output `z`",
        "there are `y`",
    );
}

#[test]
fn undefined_sizes() {
    mistake("shape = [\"n\"]", "shape = [\"nn\"]", "nn\"]", "size `nn` is not defined", "did you mean `n`?");
    mistake(
        "shape = [\"n\"]",
        "shape = [\"hidden\"]",
        "hidden\"]",
        "size `hidden` is not defined",
        "define it in [sizes], as in `hidden = { min = 1 }`",
    );
    mistake(
        "{ m = 3, n = 8 }",
        "{ m = 3, q = 8 }",
        "q = 8",
        "size `q` is not defined",
        "define it in [sizes], as in `q = { min = 1 }`",
    );
    mistake(
        "multiple_of = 8 }",
        "multiple_of = 8 }\nh = { value = \"n / 2 + heads\" }",
        "heads",
        "size `heads` is not defined",
        "define it in [sizes], as in `heads = { min = 1 }`",
    );
    mistake(
        "doc = ",
        "constraints = [\"n % heads == 0\"]\ndoc = ",
        "heads",
        "size `heads` is not defined",
        "define it in [sizes], as in `heads = { min = 1 }`",
    );
    in_program(
        "y = sum(x, q)",
        "q)",
        "size `q` is not defined",
        "define it in [sizes], as in `q = { min = 1 }`",
    );
}

#[test]
fn names() {
    let bad =
        "a name is of lower-case letters, digits and `_`, and means nothing else in Rust or in a program";
    let taken = "rename one; sizes, arguments and dtype variables share their names";
    mistake(
        "name = \"w\"",
        "name = \"x\"",
        "\"x\"\ndtype = \"f32\"",
        "the name `x` is taken: line 10 gives it to an argument",
        taken,
    );
    mistake(
        "name = \"eps\"",
        "name = \"n\"",
        "\"n\"\ndtype = \"f32\"\nvalues",
        "the name `n` is taken: line 7 gives it to a size",
        taken,
    );
    mistake(
        "name = \"rmsnorm\"",
        "name = \"rms norm\"",
        "\"rms norm\"",
        "`rms norm` cannot be the name of a kernel: it is not made of letters, digits and `_`, beginning with a letter",
        bad,
    );
    mistake(
        "name = \"rmsnorm\"",
        "name = \"RmsNorm\"",
        "\"RmsNorm\"",
        "`RmsNorm` cannot be the name of a kernel: it becomes a Rust function, whose name is in lower case",
        bad,
    );
    mistake(
        "name = \"rmsnorm\"",
        "name = \"fn\"",
        "\"fn\"",
        "`fn` cannot be the name of a kernel: it is a word of Rust",
        bad,
    );
    let sum = small("sum = {}", "\"sum\"", "\"sum\"", "y = x");
    expect(
        &sum,
        "sum = {}",
        "`sum` cannot be the name of a size: it means something in programs and expressions",
        bad,
    );
    mistake(
        "\"m\", \"n\"]\n\n",
        "\"n\", \"n\"]\n\n",
        "\"n\"]\n\n",
        "`n` stands twice in `shape`",
        "remove one",
    );
}

#[test]
fn size_expressions() {
    let hint = "it may have + - * / %, ceil_div, min, max, next_pow2, comparisons, and, or, not";
    mistake(
        "doc = ",
        "constraints = [\"n %% 2 == 0\"]\ndoc = ",
        "% 2",
        "not a size expression: found `%` where a size, a number or `(` should be",
        hint,
    );
    // Escapes do not shift the place.
    mistake(
        "doc = ",
        "constraints = [\"\\u006e %% 2 == 0\"]\ndoc = ",
        "% 2",
        "not a size expression: found `%` where a size, a number or `(` should be",
        hint,
    );
    mistake(
        "doc = ",
        "constraints = [\"1 / 0 == n\"]\ndoc = ",
        "\"1 / 0",
        "not a size expression: it divides by zero",
        hint,
    );
}

#[test]
fn contradictory_bounds() {
    let hint = "change `min`, `max` or `multiple_of`";
    mistake(
        "max = 262144",
        "max = 4",
        "{ min = 8",
        "no value of size `n` is possible: `max` is 4, below `min`, which is 8",
        hint,
    );
    mistake(
        "min = 8, max = 262144",
        "min = 9, max = 15",
        "{ min = 9",
        "no value of size `n` is possible: there is no multiple of 8 from 9 to 15",
        hint,
    );
    mistake(
        "m = { min = 1 }",
        "m = { min = 1 }\nh = 4\nq = { value = \"h - 5\" }",
        "{ value",
        "no value of size `q` is possible: `h - 5` is -1",
        hint,
    );
    mistake(
        "multiple_of = 8",
        "multiple_of = 0",
        "0 }\n\n",
        "`multiple_of` is 0, but takes a whole number of at least 1",
        "choose a whole number of at least 1",
    );
    let text =
        with(&with(RMSNORM, "doc = ", "constraints = [\"h % 3 == 0\"]\ndoc = "), "m = {", "h = 4\nm = {");
    expect(
        &text,
        "\"h % 3",
        "no sizes satisfy `h % 3 == 0`: its sizes are all fixed, and it does not hold for them",
        "change the constraint, or one of the sizes",
    );
}

#[test]
fn cyclic_sizes() {
    let text = with(
        RMSNORM,
        "m = { min = 1 }",
        "m = { min = 1 }\na = { value = \"b + 1\" }\nb = { value = \"c\" }\nc = { value = \"a - 1\" }",
    );
    expect(
        &text,
        "{ value = \"b + 1\"",
        "size `a` is derived from itself: a -> b -> c -> a",
        "make one of them free, as in `{ min = 1 }`",
    );
    let own = with(RMSNORM, "m = { min = 1 }", "m = { min = 1 }\na = { value = \"a + 1\" }");
    expect(
        &own,
        "{ value",
        "size `a` is derived from itself: a -> a",
        "make one of them free, as in `{ min = 1 }`",
    );
}

#[test]
fn overflow() {
    let hint = "sizes, and bytes of an argument, must stay below 2^63";
    mistake(
        "min = 1 ",
        "min = 9223372036854775808 ",
        "92233",
        "`min` overflows: 9223372036854775808 is more than 2^63 - 1",
        hint,
    );
    let big = small("m = 4294967296\nn = 4294967296", "\"m\", \"n\"", "\"m\"", "y = sum(x, n)");
    expect(
        &big,
        "[\"m\", \"n\"]",
        "argument `x` overflows: 4294967296 * 4294967296 elements of 4 bytes even at the least sizes",
        hint,
    );
    let derived = small("m = { min = 4294967296 }\nn = { value = \"m * m * m\" }", "\"m\"", "\"m\"", "y = x");
    expect(
        &derived,
        "{ value",
        "size `n` overflows: `m * m * m` does not fit 64 bits even at the least sizes",
        hint,
    );
    mistake(
        "{ m = 5, n = 4096 }",
        "{ m = 10000000000000000, n = 4096 }",
        "{ m = 1000",
        "this case overflows: argument `x` would have more than 2^63 bytes",
        hint,
    );
}

#[test]
fn cases_outside_the_domain() {
    let hint = "change these sizes, or the bounds in [sizes]";
    let outside = |detail: &str| format!("these sizes are outside the kernel's domain: {detail}");
    mistake(
        "{ m = 3, n = 8 }",
        "{ m = 3, n = 9 }",
        "9 }",
        &outside("size `n` is 9, which is no multiple of 8"),
        hint,
    );
    mistake(
        "{ m = 3, n = 8 }",
        "{ m = 0, n = 8 }",
        "0, n",
        &outside("size `m` is 0, below its least value 1"),
        hint,
    );
    mistake(
        "n = 4096 }]\ninputs",
        "n = 300000 }]\ninputs",
        "300000",
        &outside("size `n` is 300000, above its greatest value 262144"),
        hint,
    );
    mistake("{ m = 3, n = 8 }", "{ n = 8 }", "{ n = 8 }", &outside("size `m` has no value"), hint);
    mistake(
        "doc = ",
        "constraints = [\"m != 3\"]\ndoc = ",
        "{ m = 3",
        &outside("the sizes do not satisfy `m != 3`"),
        hint,
    );
}

#[test]
fn dtypes() {
    let text =
        with(&with(RMSNORM, "\"bf16\"", "\"T\""), "[sizes]", "[dtypes]\nT = [\"bf16\", \"f16\"]\n\n[sizes]");
    let spec = parse(&text);
    let errors = spec.bind(&BTreeMap::new()).expect_err("T is not bound");
    assert_eq!(errors.first().message(), "dtype variable `T` is not bound");
    assert_eq!(errors.first().hint(), "bind it to one of `bf16`, `f16`, as in `T = \"bf16\"`");
    let errors = spec.bind(&BTreeMap::from([("T".to_owned(), DType::F64)])).expect_err("not a choice");
    assert_eq!(errors.first().message(), "dtype variable `T` cannot be f64");
    let both = BTreeMap::from([("T".to_owned(), DType::F16), ("S".to_owned(), DType::F16)]);
    assert_eq!(spec.bind(&both).expect_err("no S").first().message(), "there is no dtype variable `S`");
    let whole = "choose a whole number in its range";
    mistake(
        "dtype = \"f32\"\nvalues = [1e-6,",
        "dtype = \"i32\"\nvalues = [1.5, 2, 3] #",
        "1.5, 2",
        "dtype mismatch: `eps` is of dtype i32, which cannot hold 1.5",
        whole,
    );
}

#[test]
fn roles() {
    mistake(
        "values = [1e-6, 1e-5]",
        "role = \"out\"",
        "\"out\"\n\n[reference]",
        "scalar `eps` cannot have the role `out`: a scalar is passed by value",
        "give it a `shape`; `shape = []` is a tensor of one element",
    );
    mistake(
        "role = \"out\"\n",
        "",
        "arg]]",
        "no argument is an output",
        "give one argument `role = \"out\"` or `role = \"inout\"`",
    );
}

#[test]
fn references() {
    let which = "[reference] must have either `program`, or `c` and `function`";
    mistake(
        "[reference]\n",
        "[reference]\nc = \"a.c\"\n",
        "reference]",
        which,
        "a program is enough for most kernels; C is for recurrences",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spec.toml");
    let start = RMSNORM.find("program").expect("it has one");
    let end = RMSNORM.find("[correct]").expect("it has one");
    let text = format!("{}c = \"a.c\"\nfunction = \"run\"\n\n{}", &RMSNORM[..start], &RMSNORM[end..]);
    let errors = Spec::parse(&path, &text).expect_err("no file");
    assert!(errors.first().message().starts_with("the C reference `"), "{errors}");
    assert_eq!((errors.first().line(), errors.first().column()), (Some(31), Some(5)));
    std::fs::write(folder.path().join("a.c"), "void other(void) {}\nvoid rerun(void) {}\n")
        .expect("it is writable");
    let errors = Spec::parse(&path, &text).expect_err("no function");
    assert!(errors.first().message().ends_with("has no function `run`"), "{errors}");
    assert_eq!((errors.first().line(), errors.first().column()), (Some(32), Some(12)));
}

#[test]
fn allowances() {
    mistake(
        "minimize = \"time\"",
        "minimize = \"time\"\nallow = [\"l2_evict_lst\"]",
        "\"l2_evict",
        "there is no allowance `l2_evict_lst`",
        "did you mean `l2_evict_last`?",
    );
}

#[test]
fn requirements() {
    let hint =
        "as in `deterministic` or `workspace <= 64 MiB`; limits are on time, energy, workspace, registers";
    mistake(
        "\"deterministic\"",
        "\"determinstic\"",
        "\"determin",
        "not a requirement: `determinstic` is neither `deterministic` nor a limit on a metric; did you mean `deterministic`?",
        hint,
    );
    mistake(
        "64 MiB",
        "64 Mib",
        "\"workspace",
        "not a requirement: `Mib` is no unit of workspace: its units are `B`, `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB`",
        hint,
    );
    mistake("workspace <=", "space <=", "\"space", "not a requirement: there is no metric `space`", hint);
    mistake(
        "64 MiB",
        "lots",
        "\"workspace",
        "not a requirement: `lots` is not a whole number and a unit",
        hint,
    );
}

#[test]
fn no_middle_case() {
    let text = small("m = {}\nn = {}", "\"m\", \"n\"", "\"m\"", "y = sum(x, n)");
    let text = with(&text, "name = \"small\"", "name = \"small\"\nconstraints = [\"m == n + 1\"]");
    expect(
        &text,
        "[kernel]",
        "[better] has no `over`, and no middle case satisfies the constraints",
        "state the sizes to measure at, as in `over = [{ m = 4096, n = 1024 }]`",
    );
}

#[test]
fn program_syntax() {
    let hint = "a statement is `name = expression`, one a line";
    in_program("y = sum(x, n) +* 2", "* 2", "program: found `*` where a value should be", hint);
    let text = small("m = {}\nn = {}", "\"m\", \"n\"", "\"m\"", "y = (sum(x, n)");
    let errors = errors(&text);
    assert_eq!(errors.first().message(), "program: the program ends where `)` should follow");
    assert_eq!((errors.first().line(), errors.first().column()), (Some(18), Some(1)));
}

#[test]
fn program_syntax_places() {
    let hint = "a statement is `name = expression`, one a line";
    in_program("z = x\nsum(x, n)", "(x, n)", "program: found `(` where `=` should be", hint);
    in_program("y = sum(x, n) ^ 2", "^", "program: `^` means nothing in a program; a power is `**`", hint);
    in_program(
        "y = sum(x, n) 2",
        "2\n'''",
        "program: found a number where an operator or the end of the statement should be",
        hint,
    );
    in_program("y = 1 < 2 < 3", "< 3", "program: comparisons do not chain; join two with `and`", hint);
    in_program("y = 12abc", "12abc", "program: `12abc` is not a number that f64 can hold", hint);
    in_program(
        "3 = x",
        "3 = x",
        "program: found a number where a statement, `name = expression`, should be",
        hint,
    );
}

#[test]
fn program_names() {
    in_program("y = sum(xx, n)", "xx", "there is no value `xx`", "did you mean `x`?");
    in_program("y = summ(x, n)", "summ", "there is no function `summ`", "did you mean `sum`?");
    in_program("y = sum(cast(x, bf61), n)", "bf61", "there is no dtype `bf61`", "did you mean `bf16`?");
    in_program("y = sum(x, x)", "x)", "`sum` takes the name of a size here", "the sizes are `m`, `n`, `k`");
}

#[test]
fn operand_counts() {
    in_program(
        "y = exp(sum(x, n), 2)",
        "exp",
        "`exp` takes one operand, found 2",
        "see `exp` in the language's table",
    );
    in_program(
        "y = sum(x)",
        "sum",
        "`sum` takes an operand and one size or more, found 1",
        "see `sum` in the language's table",
    );
    in_program(
        "y = argmax(x, m, n)",
        "argmax",
        "`argmax` takes an operand and one size, found 3",
        "see `argmax` in the language's table",
    );
    in_program(
        "y = select(1 < 2, 3)",
        "select",
        "`select` takes three operands, found 2",
        "see `select` in the language's table",
    );
    in_program(
        "y = min(sum(x, n))",
        "min",
        "`min` takes two operands or more, or an operand and sizes, found 1",
        "see `min` in the language's table",
    );
}

#[test]
fn shape_mismatch() {
    in_program(
        "y = x * 2",
        "x * 2",
        "shape mismatch: the value of `y` varies over `n`, which `y`[m] lacks",
        "reduce it, as in `sum(…, n)`, or give `y` that size",
    );
}

#[test]
fn reduction_over_missing() {
    let hint =
        "reduce over a size that the operand varies over, or multiply by the size where repeating is meant";
    in_program(
        "y = sum(x, k)",
        "k)",
        "`sum` over `k`: the operand does not vary over `k`, only over [m, n]",
        hint,
    );
    in_program(
        "z = sum(x, n)\ny = max(z, n)",
        "n)\n'''",
        "`max` over `n`: the operand does not vary over `n`, only over [m]",
        hint,
    );
    in_program("y = sum(x, n, n)", "n)", "`n` stands twice in `sum`", "remove one");
}

#[test]
fn dtype_mismatch() {
    let cast = "turn it into 0 and 1 with `cast(…, f32)`, or choose with `select(…, a, b)`";
    in_program(
        "y = sum(x < 0, n)",
        "x < 0",
        "dtype mismatch: `sum` takes a number, but this is a truth value",
        cast,
    );
    in_program(
        "y = any(x, n)",
        "x, n)",
        "dtype mismatch: `any` takes a truth value, but this is a number",
        "compare it, as in `… != 0`",
    );
    in_program(
        "y = sum(select(x, x, 0), n)",
        "x, x",
        "dtype mismatch: the first operand of `select` takes a truth value, but this is a number",
        "compare it, as in `… != 0`",
    );
    in_program(
        "y = any(x < 0, n)",
        "any",
        "dtype mismatch: `y` holds numbers, but this is a truth value",
        cast,
    );
    in_program(
        "y = sum(not x, n)",
        "x, n",
        "dtype mismatch: `not` takes a truth value, but this is a number",
        "compare it, as in `… != 0`",
    );
}

#[test]
fn assignments() {
    in_program(
        "z = x",
        "program =",
        "output `y` is never assigned",
        "add a statement `y = …`, or change the argument's role",
    );
    in_program(
        "y = sum(x, n)\ny = 2",
        "y = 2",
        "`y` is assigned twice: first on line 18",
        "give the second value a name of its own",
    );
    in_program(
        "z = 1\nz = 2\ny = z",
        "z = 2",
        "`z` is assigned twice: first on line 18",
        "give the second value a name of its own",
    );
    let hint = "choose another name, or give the argument the role `out` or `inout`";
    in_program("x = 1\ny = 2", "x = 1", "`x` cannot be assigned: it is an input", hint);
    in_program("m = 1\ny = 2", "m = 1", "`m` cannot be assigned: it is a size", hint);
    in_program("exp = 1\ny = 2", "exp = 1", "`exp` cannot be assigned: it is a word of the language", hint);
    in_program(
        "z = y\ny = 2",
        "y\ny",
        "output `y` is read before it is assigned",
        "assign `y` first, or give it the role `inout` to read its old contents",
    );
}

#[test]
fn rendered() {
    let text = with(RMSNORM, "shape = [\"n\"]", "shape = [\"nn\"]");
    assert_eq!(
        errors(&text).render(),
        "kernels/test.toml:17:11: size `nn` is not defined\n   |\n17 | shape = [\"nn\"]\n   |           ^^\n\nhint: did you mean `n`?"
    );
}
