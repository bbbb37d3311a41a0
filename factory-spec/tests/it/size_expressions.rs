//! Size expressions: values, canonical spelling, compiled code.

use factory_spec::{CompileError, EvalError, SizeBinary, SizeExpr, SizeUnary};
use proptest::prelude::*;

const NAMES: [&str; 3] = ["m", "n", "k"];

fn eval(text: &str) -> Result<i64, EvalError> {
    let expr = SizeExpr::parse(text).unwrap_or_else(|error| panic!("`{text}`: {error}"));
    let size = |name: &str| NAMES.iter().position(|known| *known == name).map(|index| [10, 7, 0][index]);
    let value = expr.eval(&size);
    let compiled = expr.compile(&NAMES).expect("only known names").eval(&[10, 7, 0]);
    assert_eq!(value, compiled, "`{text}`");
    value
}

#[test]
fn values() {
    for (text, value) in [
        ("m + n * 2", 24),
        ("(m + n) * 2", 34),
        ("m - n - 1", 2),
        ("m / 3", 3),
        ("-m / 3", -3),
        ("-m % 3", -1),
        ("ceil_div(m, 3)", 4),
        ("ceil_div(9, 3)", 3),
        ("ceil_div(-m, 3)", -3),
        ("ceil_div(-m, -3)", 4),
        ("min(m, n, 3)", 3),
        ("max(m, n)", 10),
        ("next_pow2(n)", 8),
        ("next_pow2(8)", 8),
        ("next_pow2(0)", 1),
        ("next_pow2(-5)", 1),
        ("m == 10 and n != 10", 1),
        ("not m < n", 1),
        ("not (m < n) and k", 0),
        ("k == 0 or m / k > 1", 1),
        ("k != 0 and m / k > 1", 0),
        ("3 and 4", 1),
        ("0 or 4", 1),
        ("--m", 10),
        ("-9223372036854775808", i64::MIN),
        ("1_000", 1000),
        ("-9223372036854775808 % -1", 0),
    ] {
        assert_eq!(eval(text), Ok(value), "`{text}`");
    }
}

#[test]
fn no_value() {
    assert_eq!(eval("m / k"), Err(EvalError::DivisionByZero));
    assert_eq!(eval("m % k"), Err(EvalError::DivisionByZero));
    assert_eq!(eval("ceil_div(m, k)"), Err(EvalError::DivisionByZero));
    assert_eq!(eval("9223372036854775807 + 1"), Err(EvalError::Overflow));
    assert_eq!(eval("9223372036854775807 * m"), Err(EvalError::Overflow));
    assert_eq!(eval("-9223372036854775808 - 1"), Err(EvalError::Overflow));
    assert_eq!(eval("-(-9223372036854775808)"), Err(EvalError::Overflow));
    assert_eq!(eval("-9223372036854775808 / -1"), Err(EvalError::Overflow));
    assert_eq!(eval("next_pow2(9223372036854775807)"), Err(EvalError::Overflow));
    let unknown = SizeExpr::parse("m + q").expect("it is well formed");
    assert_eq!(unknown.eval(&|_| Some(1).filter(|_| false)), Err(EvalError::UnknownSize("m".into())));
    assert_eq!(unknown.compile(&["m"]), Err(CompileError::UnknownSize("q".into())));
    assert_eq!(unknown.compile(&["m", "q"]).expect("all known").eval(&[1]), Err(EvalError::MissingValue(1)));
}

#[test]
fn mistakes_have_a_place() {
    for (text, offset, len, message) in [
        ("", 0, 0, "the expression ends where a size, a number or `(` should follow"),
        ("m +", 3, 0, "the expression ends where a size, a number or `(` should follow"),
        ("m n", 2, 1, "found `n` where an operator or the end should be"),
        ("m = 3", 2, 1, "`=` means nothing here; equality is `==`"),
        ("m && n", 2, 1, "`&` means nothing here; write `and`, `or`, `not`"),
        ("a < b < c", 6, 1, "comparisons do not chain; join two with `and`"),
        ("(m", 2, 0, "the expression ends where `)` should follow"),
        ("ceildiv(m, 2)", 0, 7, "there is no function `ceildiv`; did you mean `ceil_div`?"),
        ("ceil_div(m)", 0, 8, "`ceil_div` takes two operands, found 1"),
        ("min(m)", 0, 3, "`min` takes two operands or more, found 1"),
        ("12x", 0, 3, "`12x` is not a whole number that fits 64 bits"),
        ("1.5", 0, 3, "`1.5` is not a whole number that fits 64 bits"),
        ("9223372036854775808", 0, 19, "the number does not fit 64 bits"),
        ("1 + not m", 4, 3, "`not` needs parentheses here"),
        ("m § n", 2, 2, "`§` means nothing in a size expression"),
    ] {
        let error = SizeExpr::parse(text).expect_err(text);
        assert_eq!((error.offset, error.len, error.message.as_str()), (offset, len, message), "`{text}`");
    }
    let deep = format!("{}m{}", "(".repeat(200), ")".repeat(200));
    assert!(SizeExpr::parse(&deep).expect_err("deep").message.contains("nests deeper"));
    let long = vec!["m"; 3000].join(" + ");
    assert!(SizeExpr::parse(&long).expect_err("long").message.contains("tokens"));
}

#[test]
fn canonical_spelling() {
    for (text, canonical) in [
        ("((m))+(n*2)", "m + n * 2"),
        ("(m+n)*2", "(m + n) * 2"),
        ("m-(n-k)", "m - (n - k)"),
        ("(m-n)-k", "m - n - k"),
        ("not(m==n)", "not m == n"),
        ("(not m)==n", "(not m) == n"),
        ("min(m,n,k)", "min(min(m, n), k)"),
        ("-(5)", "-(5)"),
        ("- 5", "-5"),
        ("-(m*n)", "-(m * n)"),
        ("(m<n)==(n<k)", "(m < n) == (n < k)"),
        ("(m or n) and k", "(m or n) and k"),
    ] {
        assert_eq!(SizeExpr::parse(text).expect(text).to_string(), canonical);
    }
}

#[test]
fn builders_write_the_same() {
    let built = SizeExpr::size("m").ceil_div(4).mul("n").le(1024).and(SizeExpr::size("n").rem(8).eq(0));
    assert_eq!(built.to_string(), "ceil_div(m, 4) * n <= 1024 and n % 8 == 0");
    assert_eq!(SizeExpr::parse(&built.to_string()), Ok(built.clone()));
    assert_eq!(
        serde_json::to_string(&built).expect("a string"),
        "\"ceil_div(m, 4) * n <= 1024 and n % 8 == 0\""
    );
}

/// Expressions that can be written: a minus before a literal is the literal's.
fn expressions() -> impl Strategy<Value = SizeExpr> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(SizeExpr::Constant),
        (-20i64..20).prop_map(SizeExpr::Constant),
        prop::sample::select(&NAMES).prop_map(SizeExpr::size),
    ];
    let unary = prop::sample::select(vec![SizeUnary::Neg, SizeUnary::Not, SizeUnary::NextPow2]);
    use SizeBinary::*;
    let binary = prop::sample::select(vec![
        Add, Sub, Mul, Div, Rem, CeilDiv, Min, Max, Eq, Ne, Lt, Le, Gt, Ge, And, Or,
    ]);
    leaf.prop_recursive(6, 40, 2, move |inner| {
        prop_oneof![
            (unary.clone(), inner.clone()).prop_map(|(op, a)| SizeExpr::Unary(op, Box::new(a))),
            (binary.clone(), inner.clone(), inner).prop_map(|(op, a, b)| SizeExpr::Binary(
                op,
                Box::new(a),
                Box::new(b)
            )),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(expr in expressions()) {
        prop_assert_eq!(SizeExpr::parse(&expr.to_string()), Ok(expr));
    }

    #[test]
    fn compiled_code_gives_the_same(expr in expressions(), values in prop::array::uniform3(-40i64..40)) {
        let size = |name: &str| NAMES.iter().position(|known| *known == name).map(|index| values[index]);
        prop_assert_eq!(expr.compile(&NAMES).expect("shallow").eval(&values), expr.eval(&size));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[mnk0-9 ()+*/%<>=,a-e_-]{0,40}|\\PC{0,20}") {
        if let Ok(expr) = SizeExpr::parse(&text) {
            prop_assert_eq!(SizeExpr::parse(&expr.to_string()), Ok(expr));
        }
    }
}
