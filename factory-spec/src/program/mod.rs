//! Reference programs: what the outputs are, in a small language over named sizes.
//!
//! ```text
//! ms = mean(x * x, n)              # statements end at the line's end or at `;`
//! y  = x * rsqrt(ms + eps) * w     # a `#` starts a comment
//! ```
//!
//! Every value has a set of named sizes (its dimensions) and is computed in f64. Operands broadcast by name: `x` over
//! `m, n` times `w` over `n` is over `m, n`. A reduction names the sizes it removes, so `sum(a * b, k)` is a matrix
//! product. A line goes on as long as a parenthesis is open or it ends in an operator.
//!
//! | written | means |
//! | --- | --- |
//! | `+ - * /`, unary `-` | as usual |
//! | `a % b` | remainder with the sign of `a` |
//! | `a ** b`, `pow(a, b)` | power; `**` binds tighter than unary minus and groups to the right |
//! | `== != < <= > >=` | comparisons, of numbers, give truth values; they do not chain |
//! | `and or not` | on truth values |
//! | `select(c, a, b)`, `where(c, a, b)` | `a` where `c` holds, else `b` |
//! | `min(a, b, …)`, `max(a, b, …)`, `clamp(a, low, high)` | a NaN operand is ignored, as by PTX `min.f32`; `clamp` is `min(max(a, low), high)` |
//! | `cast(a, bf16)` | rounded to a value of that dtype (or of a dtype variable), still held in f64; a truth value becomes 0 or 1 |
//! | `abs exp exp2 log log2 sqrt rsqrt recip tanh sigmoid silu gelu erf sin cos floor ceil round` | one operand; `gelu` is the exact form with `erf`; `round` rounds half to even |
//! | `sum mean prod (a, n, …)` | over the named sizes; 0, NaN and 1 of nothing |
//! | `min max (a, n, …)` | with sizes behind the first operand: a reduction; infinity and its negative of nothing |
//! | `argmin argmax (a, n)` | the index along one size, the first of equals; NaN is never chosen unless all are |
//! | `any all (c, n, …)` | of truth values |
//! | `iota(n)` | the index along `n`, from 0 |
//! | a size's name | its value |
//! | `1.5e-3`, `inf`, `pi` | numbers |
//!
//! A statement gives a name to a value: a new local name, or an output. Every output is assigned exactly once, and its
//! shape must hold every size of the value; sizes that the value lacks broadcast. An `inout` argument means its old
//! contents until it is assigned. Reading an output after its assignment reads the value before it is rounded to the
//! output's dtype. Names of arguments, sizes, functions and dtypes cannot be used for locals.

mod check;
mod lexer;
mod parser;
mod print;
mod syntax;

use crate::{ArgId, DType, SizeId, Span};

pub(crate) use check::{Scope, check};
pub(crate) use lexer::is_reserved;
pub(crate) use parser::parse;
pub(crate) use print::print;
pub(crate) use syntax::Statement;

/// Index of a node in [`Program::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A program as a graph of values: each node appears once however often it was written, operands come before their
/// users, and only what an output needs is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The values, operands first
    pub nodes: Vec<Node>,
    /// What each output is, in the order of the arguments
    pub outputs: Vec<(ArgId, NodeId)>,
}

impl Program {
    /// A node by its index.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The values that one is computed from, itself included, operands first.
    pub fn cone(&self, root: NodeId) -> impl Iterator<Item = NodeId> {
        cone(&self.nodes, root, |_| false)
    }
}

/// The nodes that one is computed from, itself included, operands first; what is `given` is computed from nothing.
pub(crate) fn cone(
    nodes: &[Node],
    root: NodeId,
    given: impl Fn(NodeId) -> bool,
) -> impl Iterator<Item = NodeId> {
    let needed = needed(nodes, [root], given);
    (0..=root.0).map(NodeId).filter(move |id| needed[id.index()])
}

/// Which nodes these are computed from, themselves included; what is `given` is computed from nothing.
fn needed(
    nodes: &[Node],
    roots: impl IntoIterator<Item = NodeId>,
    given: impl Fn(NodeId) -> bool,
) -> Vec<bool> {
    let mut needed = vec![false; nodes.len()];
    roots.into_iter().for_each(|root| needed[root.index()] = true);
    for index in (0..nodes.len()).rev() {
        if needed[index] && !given(NodeId(index as u32)) {
            nodes[index].op.operands().iter().for_each(|operand| needed[operand.index()] = true);
        }
    }
    needed
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// How it is computed
    pub op: Op,
    /// The sizes it varies over, in the order of the spec's sizes
    pub dims: Vec<SizeId>,
    /// A number or a truth value
    pub ty: Ty,
    /// Where in the spec's file it was first written
    pub span: Span,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    /// A number, held in f64
    Real,
    /// A truth value
    Bool,
}

/// How a value is computed.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The contents of an argument: of an `in` one, or the old ones of an `inout` one
    Arg(ArgId),
    /// A number, never NaN; negative ones are negations
    Const(f64),
    /// The value of a size
    Size(SizeId),
    /// The index along a size
    Iota(SizeId),
    /// A function of a number
    Unary(UnaryOp, NodeId),
    /// A function of two numbers
    Binary(BinaryOp, NodeId, NodeId),
    /// A comparison of two numbers
    Compare(CompareOp, NodeId, NodeId),
    /// A combination of two truth values
    Logic(LogicOp, NodeId, NodeId),
    /// The opposite truth value
    Not(NodeId),
    /// The second operand where the first holds, else the third
    Select(NodeId, NodeId, NodeId),
    /// Rounded to a dtype; of a truth value: 0 or 1
    Cast(DType, NodeId),
    /// One value from all along some sizes
    Reduce {
        /// How they combine
        op: ReduceOp,
        /// What is reduced
        input: NodeId,
        /// The sizes that go, in the order of the spec's sizes
        over: Vec<SizeId>,
    },
}

impl Op {
    /// The nodes that it reads, in order.
    pub fn operands(&self) -> Vec<NodeId> {
        match *self {
            Op::Arg(_) | Op::Const(_) | Op::Size(_) | Op::Iota(_) => vec![],
            Op::Unary(_, a) | Op::Not(a) | Op::Cast(_, a) | Op::Reduce { input: a, .. } => vec![a],
            Op::Binary(_, a, b) | Op::Compare(_, a, b) | Op::Logic(_, a, b) => vec![a, b],
            Op::Select(a, b, c) => vec![a, b, c],
        }
    }

    /// The same operation on other nodes.
    pub(crate) fn map_operands(&self, map: impl Fn(NodeId) -> NodeId) -> Op {
        match self.clone() {
            op @ (Op::Arg(_) | Op::Const(_) | Op::Size(_) | Op::Iota(_)) => op,
            Op::Unary(op, a) => Op::Unary(op, map(a)),
            Op::Not(a) => Op::Not(map(a)),
            Op::Cast(dtype, a) => Op::Cast(dtype, map(a)),
            Op::Reduce { op, input, over } => Op::Reduce { op, input: map(input), over },
            Op::Binary(op, a, b) => Op::Binary(op, map(a), map(b)),
            Op::Compare(op, a, b) => Op::Compare(op, map(a), map(b)),
            Op::Logic(op, a, b) => Op::Logic(op, map(a), map(b)),
            Op::Select(a, b, c) => Op::Select(map(a), map(b), map(c)),
        }
    }
}

macro_rules! operations {
    ($($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every one of them.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The name or symbol in programs and in canonical text.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The one of that name or symbol.
            pub fn parse(name: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|known| known.name() == name)
            }
        }
    )*};
}

operations! {
    /// Functions of one number.
    UnaryOp {
        /// `-a`
        Neg = "neg",
        /// magnitude
        Abs = "abs",
        /// e to the power
        Exp = "exp",
        /// 2 to the power
        Exp2 = "exp2",
        /// natural logarithm
        Log = "log",
        /// binary logarithm
        Log2 = "log2",
        /// square root
        Sqrt = "sqrt",
        /// 1 / sqrt(a)
        Rsqrt = "rsqrt",
        /// 1 / a
        Recip = "recip",
        /// hyperbolic tangent
        Tanh = "tanh",
        /// 1 / (1 + exp(-a))
        Sigmoid = "sigmoid",
        /// a * sigmoid(a)
        Silu = "silu",
        /// a * (1 + erf(a / sqrt(2))) / 2
        Gelu = "gelu",
        /// error function
        Erf = "erf",
        /// sine
        Sin = "sin",
        /// cosine
        Cos = "cos",
        /// greatest whole number not above
        Floor = "floor",
        /// least whole number not below
        Ceil = "ceil",
        /// nearest whole number, half to even
        Round = "round",
    }
    /// Functions of two numbers.
    BinaryOp {
        /// `a + b`
        Add = "+",
        /// `a - b`
        Sub = "-",
        /// `a * b`
        Mul = "*",
        /// `a / b`
        Div = "/",
        /// remainder with the sign of `a`
        Rem = "%",
        /// power
        Pow = "pow",
        /// the lesser; a NaN operand is ignored
        Min = "min",
        /// the greater; a NaN operand is ignored
        Max = "max",
    }
    /// Comparisons of two numbers.
    CompareOp {
        /// equal
        Eq = "==",
        /// not equal; holds for NaN
        Ne = "!=",
        /// less
        Lt = "<",
        /// less or equal
        Le = "<=",
        /// greater
        Gt = ">",
        /// greater or equal
        Ge = ">=",
    }
    /// Combinations of two truth values.
    LogicOp {
        /// both
        And = "and",
        /// at least one
        Or = "or",
    }
    /// Ways to make one value from many.
    ReduceOp {
        /// sum
        Sum = "sum",
        /// sum over count
        Mean = "mean",
        /// product
        Prod = "prod",
        /// least; NaN is ignored
        Min = "min",
        /// greatest; NaN is ignored
        Max = "max",
        /// index of the least, the first of equals
        ArgMin = "argmin",
        /// index of the greatest, the first of equals
        ArgMax = "argmax",
        /// whether one holds
        Any = "any",
        /// whether all hold
        All = "all",
    }
}
