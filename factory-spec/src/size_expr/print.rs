//! Canonical spelling: one space around binary operators, no parentheses that could go.

use std::fmt;

use super::{SizeBinary, SizeExpr, SizeUnary};

/// How tightly a form binds; an operand that binds less tightly than its place asks for goes into parentheses.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const COMPARISON: u8 = 4;
const SUM: u8 = 5;
const PRODUCT: u8 = 6;
const NEGATION: u8 = 7;
const ATOM: u8 = 8;

enum Spelling {
    Infix { symbol: &'static str, binds: u8, chains: bool },
    Call(&'static str),
}

fn spelling(op: SizeBinary) -> Spelling {
    let chain = |symbol, binds| Spelling::Infix { symbol, binds, chains: true };
    let compare = |symbol| Spelling::Infix { symbol, binds: COMPARISON, chains: false };
    match op {
        SizeBinary::Add => chain("+", SUM),
        SizeBinary::Sub => chain("-", SUM),
        SizeBinary::Mul => chain("*", PRODUCT),
        SizeBinary::Div => chain("/", PRODUCT),
        SizeBinary::Rem => chain("%", PRODUCT),
        SizeBinary::CeilDiv => Spelling::Call("ceil_div"),
        SizeBinary::Min => Spelling::Call("min"),
        SizeBinary::Max => Spelling::Call("max"),
        SizeBinary::Eq => compare("=="),
        SizeBinary::Ne => compare("!="),
        SizeBinary::Lt => compare("<"),
        SizeBinary::Le => compare("<="),
        SizeBinary::Gt => compare(">"),
        SizeBinary::Ge => compare(">="),
        SizeBinary::And => chain("and", AND),
        SizeBinary::Or => chain("or", OR),
    }
}

fn binds(expr: &SizeExpr) -> u8 {
    match expr {
        SizeExpr::Constant(value) if *value < 0 => NEGATION,
        SizeExpr::Constant(_) | SizeExpr::Size(_) | SizeExpr::Unary(SizeUnary::NextPow2, _) => ATOM,
        SizeExpr::Unary(SizeUnary::Neg, _) => NEGATION,
        SizeExpr::Unary(SizeUnary::Not, _) => NOT,
        SizeExpr::Binary(op, ..) => match spelling(*op) {
            Spelling::Infix { binds, .. } => binds,
            Spelling::Call(_) => ATOM,
        },
    }
}

fn operand(f: &mut fmt::Formatter<'_>, expr: &SizeExpr, at_least: u8) -> fmt::Result {
    if binds(expr) < at_least { write!(f, "({expr})") } else { write!(f, "{expr}") }
}

impl fmt::Display for SizeExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SizeExpr::Constant(value) => write!(f, "{value}"),
            SizeExpr::Size(name) => f.write_str(name),
            SizeExpr::Unary(SizeUnary::Neg, a) => {
                f.write_str("-")?;
                // `-5` is the literal, so the negation of the literal 5 keeps its parentheses.
                match **a {
                    SizeExpr::Constant(value) if value >= 0 => write!(f, "({value})"),
                    _ => operand(f, a, NEGATION),
                }
            }
            SizeExpr::Unary(SizeUnary::Not, a) => {
                f.write_str("not ")?;
                operand(f, a, NOT)
            }
            SizeExpr::Unary(SizeUnary::NextPow2, a) => write!(f, "next_pow2({a})"),
            SizeExpr::Binary(op, a, b) => match spelling(*op) {
                Spelling::Call(name) => write!(f, "{name}({a}, {b})"),
                Spelling::Infix { symbol, binds, chains } => {
                    operand(f, a, if chains { binds } else { binds + 1 })?;
                    write!(f, " {symbol} ")?;
                    operand(f, b, binds + 1)
                }
            },
        }
    }
}
