//! Integer expressions over size names.
//!
//! Constraints, derived sizes, grids, scratch sizes and the conditions of variants are all written this way, in specs
//! and in plans alike.
//!
//! | written | means |
//! | --- | --- |
//! | `a + b`, `a - b`, `a * b`, `-a` | as usual, in 64 bits; overflow is an error |
//! | `a / b`, `a % b` | quotient rounded towards zero, and its remainder; dividing by zero is an error |
//! | `ceil_div(a, b)` | quotient rounded towards plus infinity |
//! | `min(a, b, …)`, `max(a, b, …)` | the least, the greatest |
//! | `next_pow2(a)` | the least power of two that is not below `a`; 1 when `a` is 1 or less |
//! | `== != < <= > >=` | 1 when it holds, else 0; not to be chained |
//! | `a and b`, `a or b`, `not a` | everything but 0 is true; gives 0 or 1; the right side is only looked at when it matters |
//!
//! From loosest to tightest: `or`, `and`, `not`, comparisons, `+ -`, `* / %`, unary minus.

mod compile;
mod parse;
mod print;
mod substitute;

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use compile::{CompileError, CompiledExpr};

/// An integer expression over size names; see [the language](#the-language).
///
/// # The language
///
/// `+ - * / %`, `ceil_div(a, b)`, `min`, `max`, `next_pow2`, comparisons (giving 0 or 1), `and`, `or`, `not`,
/// parentheses, decimal literals. Arithmetic is in `i64` and checked. `/` and `%` round towards zero.
///
/// In JSON it is a string in canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SizeExpr {
    /// A literal
    Constant(i64),
    /// The value of a size
    Size(String),
    /// An operation on one value
    Unary(SizeUnary, Box<SizeExpr>),
    /// An operation on two values
    Binary(SizeBinary, Box<SizeExpr>, Box<SizeExpr>),
}

/// Operations on one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SizeUnary {
    /// `-a`
    Neg,
    /// `not a`
    Not,
    /// `next_pow2(a)`
    NextPow2,
}

/// Operations on two sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SizeBinary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`, towards zero
    Div,
    /// `a % b`, with the sign of `a`
    Rem,
    /// `ceil_div(a, b)`
    CeilDiv,
    /// `min(a, b)`
    Min,
    /// `max(a, b)`
    Max,
    /// `a == b`
    Eq,
    /// `a != b`
    Ne,
    /// `a < b`
    Lt,
    /// `a <= b`
    Le,
    /// `a > b`
    Gt,
    /// `a >= b`
    Ge,
    /// `a and b`
    And,
    /// `a or b`
    Or,
}

/// Why a text is not a size expression, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at byte {offset})")]
pub struct SizeExprError {
    /// First byte of the trouble
    pub offset: usize,
    /// Its length in bytes; 0 at the end of the text
    pub len: usize,
    /// What is wrong
    pub message: String,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A result does not fit 64 bits
    #[error("the value does not fit a 64-bit integer")]
    Overflow,
    /// A divisor is zero
    #[error("division by zero")]
    DivisionByZero,
    /// A name has no value
    #[error("no size is called `{0}`")]
    UnknownSize(String),
    /// A compiled expression was given fewer values than it was compiled for
    #[error("value {0} is missing")]
    MissingValue(usize),
}

impl SizeExpr {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<SizeExpr, SizeExprError> {
        parse::parse(text)
    }

    /// A literal.
    pub fn constant(value: i64) -> SizeExpr {
        SizeExpr::Constant(value)
    }

    /// The value of a size.
    pub fn size(name: impl Into<String>) -> SizeExpr {
        SizeExpr::Size(name.into())
    }

    /// The expression's value, with `size` giving the values of names.
    pub fn eval(&self, size: &dyn Fn(&str) -> Option<i64>) -> Result<i64, EvalError> {
        match self {
            SizeExpr::Constant(value) => Ok(*value),
            SizeExpr::Size(name) => size(name).ok_or_else(|| EvalError::UnknownSize(name.clone())),
            SizeExpr::Unary(op, a) => op.apply(a.eval(size)?),
            SizeExpr::Binary(SizeBinary::And, a, b) => Ok((a.eval(size)? != 0 && b.eval(size)? != 0).into()),
            SizeExpr::Binary(SizeBinary::Or, a, b) => Ok((a.eval(size)? != 0 || b.eval(size)? != 0).into()),
            SizeExpr::Binary(op, a, b) => op.apply(a.eval(size)?, b.eval(size)?),
        }
    }

    /// The names it mentions.
    pub fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.collect_names(&mut names);
        names
    }

    fn collect_names(&self, names: &mut BTreeSet<String>) {
        match self {
            SizeExpr::Constant(_) => {}
            SizeExpr::Size(name) => {
                names.insert(name.clone());
            }
            SizeExpr::Unary(_, a) => a.collect_names(names),
            SizeExpr::Binary(_, a, b) => {
                a.collect_names(names);
                b.collect_names(names);
            }
        }
    }

    /// Flat code for it; `names` tells at which index of the values each size will be.
    pub fn compile(&self, names: &[&str]) -> Result<CompiledExpr, CompileError> {
        CompiledExpr::new(self, names)
    }

    /// The literal that it is, if it is one.
    pub fn as_constant(&self) -> Option<i64> {
        match self {
            SizeExpr::Constant(value) => Some(*value),
            _ => None,
        }
    }

    fn unary(self, op: SizeUnary) -> SizeExpr {
        SizeExpr::Unary(op, Box::new(self))
    }

    fn binary(self, op: SizeBinary, other: impl Into<SizeExpr>) -> SizeExpr {
        SizeExpr::Binary(op, Box::new(self), Box::new(other.into()))
    }
}

macro_rules! builders {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {
        /// Builders, so that generators write `size("m").ceil_div(4)`.
        #[expect(clippy::should_implement_trait, reason = "operands convert, and comparisons build an expression instead of a bool")]
        impl SizeExpr {
            $($(#[$doc])* pub fn $name(self, other: impl Into<SizeExpr>) -> SizeExpr { self.binary(SizeBinary::$op, other) })*

            /// `-self`
            pub fn neg(self) -> SizeExpr {
                self.unary(SizeUnary::Neg)
            }

            /// `not self`
            pub fn not(self) -> SizeExpr {
                self.unary(SizeUnary::Not)
            }

            /// `next_pow2(self)`
            pub fn next_pow2(self) -> SizeExpr {
                self.unary(SizeUnary::NextPow2)
            }
        }
    };
}

builders! {
    /// `self + other`
    add => Add;
    /// `self - other`
    sub => Sub;
    /// `self * other`
    mul => Mul;
    /// `self / other`
    div => Div;
    /// `self % other`
    rem => Rem;
    /// `ceil_div(self, other)`
    ceil_div => CeilDiv;
    /// `min(self, other)`
    min => Min;
    /// `max(self, other)`
    max => Max;
    /// `self == other`
    eq => Eq;
    /// `self != other`
    ne => Ne;
    /// `self < other`
    lt => Lt;
    /// `self <= other`
    le => Le;
    /// `self > other`
    gt => Gt;
    /// `self >= other`
    ge => Ge;
    /// `self and other`
    and => And;
    /// `self or other`
    or => Or;
}

impl From<i64> for SizeExpr {
    fn from(value: i64) -> SizeExpr {
        SizeExpr::Constant(value)
    }
}

impl From<&str> for SizeExpr {
    /// The size of that name; the text is not parsed.
    fn from(name: &str) -> SizeExpr {
        SizeExpr::size(name)
    }
}

impl SizeUnary {
    pub(crate) fn apply(self, a: i64) -> Result<i64, EvalError> {
        match self {
            SizeUnary::Neg => a.checked_neg().ok_or(EvalError::Overflow),
            SizeUnary::Not => Ok((a == 0).into()),
            SizeUnary::NextPow2 => {
                let power = u64::try_from(a).unwrap_or(1).next_power_of_two();
                i64::try_from(power).map_err(|_| EvalError::Overflow)
            }
        }
    }
}

impl SizeBinary {
    pub(crate) fn apply(self, a: i64, b: i64) -> Result<i64, EvalError> {
        let value = match self {
            SizeBinary::Add => a.checked_add(b),
            SizeBinary::Sub => a.checked_sub(b),
            SizeBinary::Mul => a.checked_mul(b),
            SizeBinary::Div | SizeBinary::Rem | SizeBinary::CeilDiv if b == 0 => {
                return Err(EvalError::DivisionByZero);
            }
            SizeBinary::Div => a.checked_div(b),
            // The remainder by -1 is 0 for every number, also where the quotient overflows.
            SizeBinary::Rem => Some(a.wrapping_rem(b)),
            SizeBinary::CeilDiv => {
                let exact_or_negative = a.wrapping_rem(b) == 0 || (a < 0) != (b < 0);
                a.checked_div(b).map(|quotient| if exact_or_negative { quotient } else { quotient + 1 })
            }
            SizeBinary::Min => Some(a.min(b)),
            SizeBinary::Max => Some(a.max(b)),
            SizeBinary::Eq => Some((a == b).into()),
            SizeBinary::Ne => Some((a != b).into()),
            SizeBinary::Lt => Some((a < b).into()),
            SizeBinary::Le => Some((a <= b).into()),
            SizeBinary::Gt => Some((a > b).into()),
            SizeBinary::Ge => Some((a >= b).into()),
            SizeBinary::And => Some((a != 0 && b != 0).into()),
            SizeBinary::Or => Some((a != 0 || b != 0).into()),
        };
        value.ok_or(EvalError::Overflow)
    }
}

impl Serialize for SizeExpr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SizeExpr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SizeExpr, D::Error> {
        let text = String::deserialize(deserializer)?;
        SizeExpr::parse(&text).map_err(|error| {
            serde::de::Error::custom(format_args!("`{text}` is not a size expression: {error}"))
        })
    }
}
