//! Putting numbers in for names.

use super::{SizeBinary, SizeExpr};

impl SizeExpr {
    /// The expression with `value` put in for the names that it knows, and everything computed that can be.
    ///
    /// What has no value (a division by zero) stays as it is written, so that evaluating it still says so.
    pub fn substitute(&self, value: &dyn Fn(&str) -> Option<i64>) -> SizeExpr {
        match self {
            SizeExpr::Constant(_) => self.clone(),
            SizeExpr::Size(name) => match value(name) {
                Some(value) => SizeExpr::Constant(value),
                None => self.clone(),
            },
            SizeExpr::Unary(op, a) => {
                let a = a.substitute(value);
                match a.as_constant().and_then(|a| op.apply(a).ok()) {
                    Some(value) => SizeExpr::Constant(value),
                    None => SizeExpr::Unary(*op, Box::new(a)),
                }
            }
            SizeExpr::Binary(op, a, b) => fold(*op, a.substitute(value), b.substitute(value)),
        }
    }
}

fn fold(op: SizeBinary, a: SizeExpr, b: SizeExpr) -> SizeExpr {
    match (op, a.as_constant(), b.as_constant()) {
        // The right side is not looked at when the left one decides.
        (SizeBinary::And, Some(0), _) => return SizeExpr::Constant(0),
        (SizeBinary::Or, Some(left), _) if left != 0 => return SizeExpr::Constant(1),
        (_, Some(left), Some(right)) => {
            if let Ok(value) = op.apply(left, right) {
                return SizeExpr::Constant(value);
            }
        }
        (SizeBinary::And, Some(_), None) if is_truth(&b) => return b,
        (SizeBinary::And, None, Some(right)) if right != 0 && is_truth(&a) => return a,
        _ => {}
    }
    SizeExpr::Binary(op, Box::new(a), Box::new(b))
}

/// Whether it gives 0 or 1 and nothing else.
fn is_truth(expr: &SizeExpr) -> bool {
    use SizeBinary::{And, Eq, Ge, Gt, Le, Lt, Ne, Or};
    match expr {
        SizeExpr::Binary(op, ..) => matches!(op, Eq | Ne | Lt | Le | Gt | Ge | And | Or),
        SizeExpr::Unary(op, _) => *op == super::SizeUnary::Not,
        SizeExpr::Constant(value) => matches!(value, 0 | 1),
        SizeExpr::Size(_) => false,
    }
}
