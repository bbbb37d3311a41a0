//! How far an approximate instruction may be off, as the PTX ISA states it.

use std::fmt;

/// A bound on the distance from the exact result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Units in the last place of the exact result's format.
    Ulps(f64),
    /// Relative to the exact result.
    Relative(f64),
    /// Absolute, whatever the operand.
    Absolute(f64),
    /// `lg2.approx`: absolute between 0.5 and 2, relative elsewhere.
    Log2,
    /// `sin.approx` and `cos.approx`: 2^-20.5 within 2 pi, 2^-14.7 within 100 pi.
    Trigonometric,
    /// The ISA states none; the farthest seen is reported.
    Unstated,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Ulps(ulps) => write!(f, "{ulps} ulp"),
            Bound::Relative(bound) => write!(f, "2^{:.4} relative", bound.log2()),
            Bound::Absolute(bound) => write!(f, "2^{:.4} absolute", bound.log2()),
            Bound::Log2 => write!(f, "2^-22 absolute in [0.5, 2], relative elsewhere"),
            Bound::Trigonometric => write!(f, "2^-20.5 absolute within 2π, 2^-14.7 within 100π"),
            Bound::Unstated => write!(f, "none stated"),
        }
    }
}

impl Bound {
    /// The bound of a name in the tables. An unknown name is a bug in the table.
    ///
    /// Sources: PTX ISA 9.0, the sections of `ex2`, `lg2`, `sin`, `cos`, `tanh`, `rcp`, `rsqrt`, `sqrt`, `div`.
    pub(crate) fn named(name: &str) -> Bound {
        let power = |exponent: f64| exponent.exp2();
        match name {
            "ex2" => Bound::Ulps(2.0),
            "lg2" => Bound::Log2,
            "sin" => Bound::Trigonometric,
            "tanh" => Bound::Relative(power(-11.0)),
            "rcp" => Bound::Ulps(1.0),
            "rsqrt" => Bound::Relative(power(-22.9)),
            "sqrt" => Bound::Relative(power(-23.0)),
            "div" | "div_full" => Bound::Ulps(2.0),
            "ex2_f16" => Bound::Relative(power(-9.9)),
            "ex2_bf16" => Bound::Relative(power(-7.0)),
            "tanh_f16" => Bound::Absolute(power(-10.987)),
            "tanh_bf16" => Bound::Absolute(power(-8.0)),
            "rcp_f64" | "rsqrt_f64" => Bound::Unstated,
            _ => panic!("`{name}` is no bound"),
        }
    }
}
