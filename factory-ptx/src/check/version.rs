//! Which `.version` an instruction needs beside the one that its target needs: as ptxas 13.0 says.

use crate::ast::Instruction;

/// Opcode, words that must all be there, words of which none may, and the version.
type Floor = (&'static str, &'static [&'static str], &'static [&'static str], (u32, u32));

/// Every rule that is later than the first target that has the instruction.
const FLOORS: &[Floor] = &[
    ("add", &["u16x2"], &[], (8, 0)),
    ("add", &["s16x2"], &[], (8, 0)),
    ("min", &["u16x2"], &[], (8, 0)),
    ("min", &["s16x2"], &[], (8, 0)),
    ("max", &["u16x2"], &[], (8, 0)),
    ("max", &["s16x2"], &[], (8, 0)),
    ("min", &["relu"], &[], (8, 0)),
    ("max", &["relu"], &[], (8, 0)),
    ("lop3", &["or"], &[], (8, 2)),
    ("lop3", &["and"], &[], (8, 2)),
    ("mov", &["b128"], &[], (8, 3)),
    ("ld", &["b128"], &[], (8, 3)),
    ("st", &["b128"], &[], (8, 3)),
    ("atom", &["b128"], &[], (8, 3)),
    ("ld", &["mmio"], &[], (8, 2)),
    ("st", &["mmio"], &[], (8, 2)),
    ("ld", &["v8"], &[], (8, 8)),
    ("st", &["v8"], &[], (8, 8)),
    ("ld", &["v4", "b64"], &[], (8, 8)),
    ("ld", &["v4", "f64"], &[], (8, 8)),
    ("st", &["v4", "b64"], &[], (8, 8)),
    ("st", &["v4", "f64"], &[], (8, 8)),
    ("st", &["async"], &[], (8, 1)),
    ("red", &["async"], &[], (8, 1)),
    ("atom", &["v2"], &[], (8, 1)),
    ("atom", &["v4"], &[], (8, 1)),
    ("atom", &["v8"], &[], (8, 1)),
    ("multimem", &[], &[], (8, 1)),
    ("multimem", &["acc::f32"], &[], (8, 2)),
    ("prefetch", &["tensormap"], &[], (8, 0)),
    ("cp", &["bulk"], &[], (8, 0)),
    ("tensormap", &[], &[], (8, 3)),
    ("elect", &[], &[], (8, 0)),
    ("barrier", &["cluster", "relaxed"], &[], (8, 0)),
    ("barrier", &["cluster", "acquire"], &[], (8, 0)),
    ("barrier", &["cluster", "release"], &[], (8, 0)),
    ("fence", &["mbarrier_init"], &[], (8, 0)),
    ("fence", &["proxy", "async"], &[], (8, 0)),
    ("fence", &["tensormap::generic"], &[], (8, 3)),
    ("mbarrier", &["shared::cluster"], &[], (8, 0)),
    ("mbarrier", &["expect_tx"], &[], (8, 0)),
    ("mbarrier", &["try_wait", "acquire"], &[], (8, 0)),
    ("mma", &["e4m3"], &["kind::f8f6f4", "kind::mxf8f6f4"], (8, 4)),
    ("mma", &["e5m2"], &["kind::f8f6f4", "kind::mxf8f6f4"], (8, 4)),
    ("mma", &["sp::ordered_metadata"], &[], (8, 5)),
    ("cvt", &["rs"], &[], (8, 7)),
    ("tcgen05", &["kind::mxf4nvf4"], &[], (8, 7)),
    ("tcgen05", &["block16"], &[], (8, 8)),
    ("tcgen05", &["block32"], &[], (8, 8)),
    // Without a size it stands for `.block32`.
    ("tcgen05", &["kind::mxf4"], &["scale_vec::2X"], (8, 8)),
];

/// The least `.version` that has an instruction, as far as it is later than that of its target.
pub(super) fn least_version(instruction: &Instruction) -> (u32, u32) {
    let rules = FLOORS.iter().filter(|(opcode, all, none, _)| {
        instruction.opcode == *opcode
            && all.iter().all(|word| instruction.has(word))
            && !none.iter().any(|word| instruction.has(word))
    });
    let least = rules.map(|(.., version)| *version).max().unwrap_or((0, 0));
    if matches!(instruction.opcode.as_str(), "min" | "max") && instruction.operands.len() == 4 {
        return least.max((8, 8));
    }
    least
}
