//! What is wrong with a header is told with its place.

use std::path::Path;

use factory_search::template::{Template, TemplateProblem};

use crate::support::{SPEC, TEMPLATE, bind, changed, checked};

/// Line, column and text of the first thing that is wrong.
fn complaint(text: &str) -> (usize, usize, String) {
    let errors = checked(text).expect_err("it is wrong");
    let (line, column) = errors[0].line_column().expect("it has a place");
    let rendered = errors[0].render();
    assert!(rendered.starts_with(&format!("kernels/scale/scale.cu:{line}:{column}:")), "{rendered}");
    assert!(rendered.contains('^') && rendered.contains("hint: "), "{rendered}");
    (line, column, rendered)
}

#[test]
fn an_honest_header_is_read() {
    let template = checked(TEMPLATE).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((template.name(), template.spec()), ("scale", Some("scale")));
    let tunables: Vec<String> = template
        .tunables()
        .map(|(name, values)| {
            format!("{name}: {}", values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        })
        .collect();
    // The default first, then its neighbours.
    assert_eq!(tunables, ["VEC: 4 2 1", "THREADS: 256 128 512 64 1024 32"]);
    let spec = bind(SPEC);
    // 3 x 6, without 4 x 1024.
    assert_eq!(template.configurations(&spec, &spec.better.over[0]), 17);
}

#[test]
fn expressions_know_how_large_elements_are() {
    let line = "constraints = [\"VEC * THREADS <= 2048\"]";
    let sized = "types = { T = \"x\" }\nconstraints = [\"VEC * T_BYTES <= 8\"]";
    let template = checked(&changed(line, sized)).unwrap_or_else(|errors| panic!("{errors}"));
    let spec = bind(SPEC);
    // Two or one of 4 bytes each, times 6.
    assert_eq!(template.configurations(&spec, &spec.better.over[0]), 12);
    let (.., rendered) = complaint(&changed(line, &sized.replace("T_BYTES", "U_BYTES")));
    assert!(rendered.contains("did you mean `T_BYTES`?"), "{rendered}");
}

#[test]
fn every_fault_has_its_place() {
    let cases: &[(&str, &str, usize, usize, &str)] = &[
        ("/*kernel_factory", "/* kernel_factory", 1, 1, "does not begin with"),
        ("*/\n", "\n", 1, 1, "not closed"),
        ("fallback = true", "fallback = = true", 3, 12, "not TOML"),
        ("fallback = true", "falback = true", 3, 1, "did you mean `fallback`?"),
        ("fallback = true", "fallback = 1", 3, 12, "takes `true` or `false`"),
        ("fallback = true", "fallback = \"onyl\"", 3, 12, "takes `true` or `false`"),
        ("spec = \"scale\"", "spec = \"shift\"", 2, 8, "for the spec `shift`, not for `scale`"),
        ("VEC * THREADS <= 2048", "VEC * THREADS << 2048", 4, 32, "not an expression"),
        ("VEC * THREADS <= 2048", "VEC * THREAD <= 2048", 4, 23, "did you mean `THREADS`?"),
        ("VEC * THREADS <= 2048", "VEC * THREADS <= 2", 4, 16, "no configuration satisfies"),
        ("VEC * THREADS <= 2048", "n < VEC * THREADS", 4, 16, "at n=65536"),
        ("VEC = [4, 2, 1]", "VEC = []", 6, 7, "has no values"),
        ("VEC = [4, 2, 1]", "VEC = [4, 2, 4]", 6, 7, "the value 4 twice"),
        ("VEC = [4, 2, 1]", "VEC = [4, \"two\"]", 6, 7, "mixes words and numbers"),
        ("VEC = [4, 2, 1]", "VEC = { range = [4, 1] }", 6, 17, "first not above the second"),
        ("VEC = [4, 2, 1]", "VEC = 4", 6, 7, "takes a list"),
        ("VEC = [4, 2, 1]", "VEC = [4]\nn = [1]", 7, 1, "the spec has a size of that name"),
        ("VEC = [4, 2, 1]", "VEC = [4]\nSPARE = [1, 2]", 7, 1, "neither in the source nor in the plan"),
        ("default = 256", "default = 300", 7, 44, "none of its values"),
        ("powers = [32, 1024]", "powers = [32, 1000]", 7, 22, "two powers of two"),
        ("entry = \"scale\"\n", "", 9, 1, "lacks `entry`"),
        ("[\"THREADS\"]", "[\"n\"]", 11, 10, "blocks and clusters are made of tunables"),
        (
            "\"x\", \"y\", \"a\"",
            "\"x\", \"y\", \"b\"",
            12,
            21,
            "neither an argument of the spec nor a scratch buffer",
        ),
        ("\"x\", \"y\", \"a\"", "\"x\", \"y\", \"n\"", 12, 21, "`n` is a size"),
        ("\"x\", \"y\", \"a\"", "\"x\", \"x\", \"a\"", 9, 1, "no launch gets the output `y`"),
        ("{ u32 = \"n\" }", "{ u16 = \"n\" }", 12, 26, "integers as"),
        ("fallback = true", "flags = [\"-I/etc\"]", 3, 10, "not among those"),
        ("fallback = true", "arch = [\"sm_80\"]", 3, 9, "did you mean `sm_90`?"),
        ("fallback = true", "arch = [\"sm_100\"]", 3, 8, "none of the spec's targets (sm_90)"),
        ("fallback = true", "fallback = true\nbake = [\"n\"]", 3, 12, "contradicts itself"),
        ("fallback = true", "fallback = true\nwhen = \"n % 8 == 0\"", 3, 12, "remains `n % 8 == 0`"),
        ("fallback = true", "types = { T = \"z\" }", 3, 15, "no argument `z`"),
        (
            "[[launch]]",
            "[[scratch]]\nname = \"p\"\nbytes = 4\n[[launch]]",
            9,
            8,
            "no launch gets the scratch buffer `p`",
        ),
        (
            "\"THREADS\"]\nparams",
            "\"THREADS\"]\nprogrammatic = true\nparams",
            9,
            1,
            "the first launch has none before it",
        ),
        (
            "\"x\", \"y\", \"a\"",
            "{ map = \"x\", dims = [\"n\"], strides = [] }, \"y\", \"a\"",
            12,
            13,
            "a tensor map lacks `box`",
        ),
        (
            "\"x\", \"y\", \"a\"",
            "{ map = \"a\", dims = [\"n\"], strides = [], box = [4] }, \"y\"",
            12,
            11,
            "`a` is a scalar",
        ),
        (
            "\"x\", \"y\", \"a\"",
            "{ map = \"x\", dims = [\"n\"], strides = [], box = [4], swizzle = \"128\" }, \"y\"",
            12,
            73,
            "did you mean `128B`?",
        ),
    ];
    let mut failures = Vec::new();
    for (from, to, line, column, words) in cases {
        let (found_line, found_column, text) = complaint(&changed(from, to));
        if !text.contains(words) || (found_line, found_column) != (*line, *column) {
            failures.push(format!(
                "{to} at {found_line}:{found_column}, not {line}:{column} with `{words}`: {text}"
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn all_faults_are_told_at_once() {
    let text = changed("fallback = true", "falback = true").replace("grid =", "gird =");
    let errors = checked(&text).expect_err("it is wrong");
    assert_eq!(errors.len(), 3, "{errors}");
    assert!(matches!(errors[0].problem(), TemplateProblem::UnknownKey { .. }));
    assert!(errors.to_string().contains("`[[launch]]` lacks `grid`"), "{errors}");
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let errors = Template::read(Path::new("/nowhere/x.cu")).expect_err("there is none");
    assert!(errors.to_string().starts_with("/nowhere/x.cu: the template cannot be read"), "{errors}");
}

#[test]
fn too_many_combinations_are_not_listed() {
    let many =
        changed("VEC = [4, 2, 1]", "VEC = [4, 2, 1]\nA = { range = [1, 4000] }\nB = { range = [1, 4000] }")
            .replace("y[first + i] =", "y[first + i] = A * B *");
    let (_, _, text) = complaint(&many);
    assert!(text.contains("288000000 combinations"), "{text}");
}
