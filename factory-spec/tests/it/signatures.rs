//! Rust signatures: found, read, and checked against specs.

use std::collections::BTreeMap;

use factory_spec::DType;
use factory_spec::signature::{ArgTy, Mismatch, check, find_in_file, parse_item, read, read_attribute};

use crate::support::{RMSNORM, parse, with};

const GOOD: &str = "x: &Tensor<bf16>, w: &kf::Tensor<f32>, y: &mut Tensor<half::bf16>, eps: f32";

fn generic() -> String {
    let text = RMSNORM.replace("\"bf16\"", "\"T\"");
    with(&text, "[sizes]", "[dtypes]\nT = [\"bf16\", \"f16\"]\n[sizes]")
}

/// Index of the argument and message of each complaint.
type Complaints = Vec<(Option<usize>, String)>;

fn messages(mismatches: Vec<Mismatch>) -> Complaints {
    mismatches.into_iter().map(|mismatch| (mismatch.arg, mismatch.message)).collect()
}

fn run(attribute: &str, function: &str, spec: &str) -> Result<BTreeMap<String, DType>, Complaints> {
    let tokens = |text: &str| text.parse().unwrap_or_else(|error| panic!("`{text}`: {error}"));
    let item = parse_item(tokens(function)).map_err(messages)?;
    let signature = read(&item).map_err(messages)?;
    let attribute = read_attribute(tokens(attribute)).map_err(messages)?;
    check(&signature, &attribute, &parse(spec)).map_err(messages)
}

/// The only complaint about a function with these arguments.
fn complaint(args: &str) -> (Option<usize>, String) {
    let mut found = run("spec = \"a.toml\"", &format!("pub fn rmsnorm({args});"), RMSNORM).expect_err(args);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// The only complaint about this function.
fn refused(function: &str) -> String {
    let mut found = run("spec = \"a.toml\"", function, RMSNORM).expect_err(function);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).1
}

#[test]
fn agreement() {
    assert_eq!(run("spec = \"a.toml\"", &format!("pub fn rmsnorm({GOOD});"), RMSNORM), Ok(BTreeMap::new()));
    let views = "x: TensorRef<'_, bf16>, w: TensorRef<f32>, y: TensorMut<'a, bf16>, r#eps: (f32)";
    assert_eq!(
        run(
            "spec = \"a.toml\", crate = crate::kf",
            &format!("/// Doc.\nfn rmsnorm({views}) -> kf::Result<()>;"),
            RMSNORM
        ),
        Ok(BTreeMap::new())
    );
    let item = parse_item(format!("fn rmsnorm({GOOD});").parse().expect("it is Rust"))
        .map_err(messages)
        .unwrap_or_else(|found| panic!("{found:?}"));
    let signature = read(&item).expect("it is fine");
    assert_eq!(signature.args[2].ty, ArgTy::Tensor { dtype: DType::BF16, mutable: true, view: false });
    assert_eq!(signature.args[3].ty, ArgTy::Scalar { dtype: DType::F32 });
}

#[test]
fn dtype_variables() {
    let bound = BTreeMap::from([("T".to_owned(), DType::BF16)]);
    let function = format!("fn rmsnorm({GOOD});");
    assert_eq!(run("spec = \"a.toml\"", &function, &generic()), Ok(bound.clone()));
    assert_eq!(run("spec = \"a.toml\", T = \"bf16\"", &function, &generic()), Ok(bound));
    let complaints =
        |attribute: &str, function: &str| run(attribute, function, &generic()).expect_err(attribute);
    assert_eq!(
        complaints("spec = \"a.toml\", T = \"f16\"", &function),
        [
            (Some(0), "`x` has dtype bf16, but `T` is f16 by the attribute; write `&Tensor<f16>`".to_owned()),
            (
                Some(2),
                "`y` has dtype bf16, but `T` is f16 by the attribute; write `&mut Tensor<f16>`".to_owned()
            ),
        ]
    );
    let mixed = function.replace("mut Tensor<half::bf16>", "mut Tensor<f16>");
    assert_eq!(
        complaints("spec = \"a.toml\"", &mixed),
        [(
            Some(2),
            "`y` has dtype f16, but `T` is bf16 by argument `x`; write `&mut Tensor<bf16>`".to_owned()
        )]
    );
    let wide = function.replace("bf16", "f32");
    assert_eq!(
        complaints("spec = \"a.toml\"", &wide)[0],
        (Some(0), "`x` cannot be of dtype f32: `kernels/test.toml` allows bf16, f16 for `T`".to_owned())
    );
    assert_eq!(
        complaints("spec = \"a.toml\", S = \"f16\"", &function),
        [(None, "`kernels/test.toml` has no dtype variable `S`; it has `T`".to_owned())]
    );
    assert_eq!(
        complaints("spec = \"a.toml\", T = \"f64\"", &function)[0].1,
        "`T` cannot be f64: `kernels/test.toml` allows bf16, f16"
    );
}

#[test]
fn disagreement() {
    let missing = complaint(&GOOD.replace(", eps: f32", ""));
    assert_eq!(missing, (None, "the argument `eps` is missing: `kernels/test.toml` has 4 arguments, `x`, `w`, `y`, `eps`, and this is an input".into()));
    assert_eq!(
        complaint(&format!("{GOOD}, z: f32")),
        (Some(4), "`kernels/test.toml` has no argument `z`; its arguments are `x`, `w`, `y`, `eps`".into())
    );
    let order = complaint("w: &Tensor<f32>, x: &Tensor<bf16>, y: &mut Tensor<bf16>, eps: f32");
    assert_eq!(
        order,
        (Some(0), "`w` stands where `kernels/test.toml` has `x`: the order is `x`, `w`, `y`, `eps`".into())
    );
    for (part, other, arg, message) in [
        (
            "w: &kf::Tensor<f32>",
            "w: &Tensor<f16>",
            1,
            "`w` is `&Tensor<f16>`, but in `kernels/test.toml` it is of dtype f32; write `&Tensor<f32>`",
        ),
        (
            "y: &mut Tensor",
            "y: &Tensor",
            2,
            "`y` is `&Tensor<bf16>`, but in `kernels/test.toml` it is written; write `&mut Tensor<bf16>`",
        ),
        (
            "x: &Tensor",
            "x: &mut Tensor",
            0,
            "`x` is `&mut Tensor<bf16>`, but in `kernels/test.toml` it is only read; write `&Tensor<bf16>`",
        ),
        (
            "eps: f32",
            "eps: f64",
            3,
            "`eps` is `f64`, but in `kernels/test.toml` it is of dtype f32; write `f32`",
        ),
        (
            "eps: f32",
            "eps: &Tensor<f32>",
            3,
            "`eps` is `&Tensor<f32>`, but in `kernels/test.toml` it is a scalar; write `f32`",
        ),
        (
            "x: &Tensor<bf16>",
            "x: bf16",
            0,
            "`x` is `bf16`, but in `kernels/test.toml` it is a tensor; write `&Tensor<bf16>`",
        ),
    ] {
        assert_eq!(complaint(&with(GOOD, part, other)), (Some(arg), message.to_owned()));
    }
    assert!(
        refused(&format!("fn rms({GOOD});"))
            .starts_with("the function is `rms`, but `kernels/test.toml` names the kernel `rmsnorm`")
    );
    let typo = run(
        "spec = \"a.toml\"",
        "fn rmsnorm(x: &Tensor<bf16>, w: &Tensor<f32>, y: &mut Tensor<bf16>, epss: f32);",
        RMSNORM,
    );
    assert_eq!(
        typo.expect_err("a typo")[0],
        (Some(3), "`kernels/test.toml` has no argument `epss`; did you mean `eps`?".to_owned())
    );
}

#[test]
fn refused_types() {
    let ty = |ty: &str| complaint(&with(GOOD, "w: &kf::Tensor<f32>", &format!("w: {ty}"))).1;
    assert_eq!(
        ty("Tensor<f32>"),
        "a tensor is passed by reference: write `&Tensor<f32>`, or `&mut Tensor<f32>` for an output"
    );
    assert_eq!(ty("&TensorRef<'_, f32>"), "`TensorRef` is a view already: pass it by value");
    assert!(ty("&Tensor<Real>").starts_with("`Real` is no element type: there are f64, f32, "));
    assert!(ty("&[f32]").starts_with("a kernel does not take `& [f32]`"));
    assert!(ty("Vec<f32>").starts_with("a kernel does not take `Vec"));
    assert!(ty("usize").starts_with("a kernel does not take `usize`"));
}

#[test]
fn refused_functions() {
    for (function, start) in [
        (format!("const fn rmsnorm({GOOD});"), "a kernel's function cannot be `const`"),
        (format!("async fn rmsnorm({GOOD});"), "a kernel's function cannot be `async`"),
        (format!("unsafe fn rmsnorm({GOOD});"), "a kernel's function cannot be `unsafe`"),
        (format!("extern \"C\" fn rmsnorm({GOOD});"), "a kernel's function cannot be `extern`"),
        (
            format!("fn rmsnorm<T>({GOOD});"),
            "a kernel's function cannot be generic: each kernel is verified for its own dtypes",
        ),
        (format!("fn rmsnorm({GOOD}) -> f32;"), "a kernel returns nothing"),
        (format!("fn rmsnorm({GOOD}) {{ }}"), "a kernel's function has no body"),
        (format!("fn rmsnorm(&self, {GOOD});"), "a kernel's function has no `self`"),
        (format!("fn rmsnorm({GOOD}, (a, b): f32);"), "an argument needs a plain name"),
        (format!("fn rmsnorm(mut {GOOD});"), "an argument needs a plain name"),
        (format!("fn rmsnorm({GOOD}, x: f32);"), "the name `x` is used twice"),
        ("struct Kernel;".to_owned(), "expected `fn`; `#[kernel_factory]` goes on a function without a body"),
    ] {
        let message = refused(&function);
        assert!(message.starts_with(start), "`{function}`: {message}");
    }
}

#[test]
fn attributes() {
    let complaint = |attribute: &str| {
        run(attribute, &format!("fn rmsnorm({GOOD});"), RMSNORM).expect_err(attribute).remove(0).1
    };
    assert_eq!(complaint(""), "`spec` is missing; write `#[kernel_factory(spec = \"kernels/name.toml\")]`");
    assert_eq!(complaint("spec = \"a\", spec = \"b\""), "`spec` stands twice");
    assert!(complaint("spec = \"a\", T = \"half\"").starts_with("there is no dtype `half`; there are f64"));
    assert!(complaint("spec = 3").starts_with("expected string literal; write `#[kernel_factory(spec"));
    assert!(complaint("\"a.toml\"").contains("write `#[kernel_factory(spec"));
}

#[test]
fn found_anywhere() {
    let source = r##"#!/usr/bin/env run
//! #[kernel_factory(spec = "comment.toml")] fn no();
use factory_runtime::kernel_factory;

/// Docs.
#[kernel_factory(spec = "a.toml")]
#[must_use]
pub fn first(x: &Tensor<f32>);

pub mod inner {
    mod deep {
        #[cfg(feature = "x")]
        #[factory_runtime::kernel_factory(spec = "b.toml", T = "bf16")]
        pub(crate) fn second(x: &Tensor<f32>);
    }
}

fn main() {
    let text = "#[kernel_factory(spec = \"text.toml\")] fn no();";
    #[kernel_factory(spec = "c.toml")]
    fn third();
}

#[kernel_factory(spec = "d.toml")]
struct NotAFunction;

#[other(kernel_factory)]
fn unrelated();
"##;
    let found = find_in_file(source).expect("it is Rust");
    let summary: Vec<_> = found
        .iter()
        .map(|one| {
            (
                one.item.sig.ident.to_string(),
                one.modules.join("::"),
                one.line,
                read_attribute(one.attr.clone()).expect("fine").spec,
            )
        })
        .collect();
    let row = |name: &str, modules: &str, line, spec: &str| {
        (name.to_owned(), modules.to_owned(), line, spec.to_owned())
    };
    assert_eq!(
        summary,
        [
            row("first", "", 6, "a.toml"),
            row("second", "inner::deep", 13, "b.toml"),
            row("third", "", 20, "c.toml")
        ]
    );
    assert_eq!(found[0].item.attrs.len(), 2);
    assert!(find_in_file("fn main() {}").expect("it is Rust").is_empty());
    assert!(find_in_file("kernel_factory \"").is_err());
}
