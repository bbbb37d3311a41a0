//! What an operand is: the register that holds it and where its inputs come from.

/// An operand's register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    Predicate,
    B16,
    B32,
    B64,
}

impl Register {
    /// Type of the register in PTX, and of its load and store.
    pub(crate) fn ty(self) -> &'static str {
        match self {
            Register::Predicate => "pred",
            Register::B16 => "b16",
            Register::B32 => "b32",
            Register::B64 => "b64",
        }
    }

    /// Bytes of a stored output; a predicate takes one.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Register::Predicate => 1,
            Register::B16 => 2,
            Register::B32 => 4,
            Register::B64 => 8,
        }
    }
}

/// The register of an operand kind. A kind that no table should name is a bug in the table.
pub(crate) fn register(kind: &str) -> Register {
    match kind {
        "pred" | "mostly" => Register::Predicate,
        "b16" | "u16" | "s16" | "f16" | "bf16" | "u8" | "s8" | "e4m3x2" | "e5m2x2" | "few16" | "near16" => {
            Register::B16
        }
        "b64" | "u64" | "s64" | "f64" | "few64" | "same64" => Register::B64,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" | "u16x2" | "s16x2" | "amount" | "lane"
        | "offset" | "clamp" | "selector" | "small" | "few" | "same" | "near" | "nearer" | "least"
        | "f32exp" | "f32pos" | "f32trig" | "f32tanh" => Register::B32,
        _ => panic!("`{kind}` is no kind of operand"),
    }
}
