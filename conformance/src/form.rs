//! One instruction form and its cases.

use crate::bound::Bound;
use crate::expand::expand;
use crate::inputs::cases;
use crate::kernel::{BLOCK, CELL, HEADER, SCRATCH, layout, module};
use crate::kind::{Register, register};
use crate::random::Random;

/// The tables: name of the group, text.
const TABLES: &[(&str, &str)] = &[
    ("float", include_str!("../forms/float.txt")),
    ("half", include_str!("../forms/half.txt")),
    ("approx", include_str!("../forms/approx.txt")),
    ("convert", include_str!("../forms/convert.txt")),
    ("integer", include_str!("../forms/integer.txt")),
    ("bits", include_str!("../forms/bits.txt")),
    ("comparison", include_str!("../forms/comparison.txt")),
    ("video", include_str!("../forms/video.txt")),
    ("moves", include_str!("../forms/moves.txt")),
    ("warp", include_str!("../forms/warp.txt")),
    ("atomic", include_str!("../forms/atomic.txt")),
    ("memory", include_str!("../forms/memory.txt")),
];

/// How answers of a form are laid out: every case has `stride` bytes, with outputs of these sizes at these offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Bytes of a case.
    pub stride: usize,
    /// Offset, size in bytes and kind (`f32`, `b32`, `pred`, …) of each output.
    pub fields: Vec<(usize, usize, String)>,
}

/// One instruction form: a kernel that tries it on many cases, and how its answers are judged.
#[derive(Clone, Debug)]
pub struct Form {
    /// The group it is recorded with: one file.
    pub group: String,
    /// The instruction, as it stands in the kernel; unique.
    pub name: String,
    /// A module with the entry `form`, whose three parameters are the addresses of inputs, outputs and scratch memory.
    pub ptx: String,
    /// Blocks, threads of a block, blocks of a cluster.
    pub grid: u32,
    /// Threads of a block.
    pub block: u32,
    /// Blocks of a cluster; 1 is none.
    pub cluster: u32,
    /// Dynamic shared memory in bytes.
    pub shared_bytes: u32,
    /// The bytes that the first parameter points to.
    pub inputs: Vec<u8>,
    /// Bytes that the second parameter points to.
    pub output_bytes: usize,
    /// Bytes that the third parameter points to: for the kernel's own use.
    pub scratch_bytes: usize,
    /// Layout of the answers, for messages and for approximate forms.
    pub output: Output,
    /// How far answers may be off; `None` for not at all.
    pub bound: Option<Bound>,
    /// Cases whose answers are stored in full; the rest is hashed.
    pub raw_cases: usize,
    /// Cases of one hash.
    pub run: usize,
    /// The bits of each operand of each case, for messages; may be empty.
    pub operands: Vec<Vec<u64>>,
}

impl Form {
    /// What a recording of this form depends on: its kernel and its inputs.
    pub fn digest(&self) -> u64 {
        let mut bytes = self.ptx.as_bytes().to_vec();
        bytes.extend_from_slice(&self.inputs);
        crate::recording::hash(&bytes)
    }

    /// Cases, as the answers are laid out.
    pub fn cases(&self) -> usize {
        self.output_bytes / self.output.stride.max(1)
    }

    /// The entry of this form under another name, for a module of many.
    pub fn entry_named(&self, entry: &str) -> String {
        self.ptx.strip_prefix(HEADER).unwrap_or(&self.ptx).replacen(" form(", &format!(" {entry}("), 1)
    }
}

fn scalar(group: &str, line: &crate::expand::Line) -> Form {
    let outputs: Vec<&str> = line.outputs.iter().map(String::as_str).collect();
    let inputs: Vec<&str> = line.inputs.iter().map(String::as_str).collect();
    let name = match line.template.contains('$') {
        true => line.template.clone(),
        false => format!("{} : {} = {}", line.template, outputs.join(" "), inputs.join(" ")),
    };
    let bound = line.bound.as_deref().map(Bound::named);
    let kinds = if inputs.is_empty() { vec!["b32"] } else { inputs.clone() };
    let operands = cases(&name, &kinds, bound.is_some());
    let count = operands.len();
    let registers: Vec<Register> = outputs.iter().map(|kind| register(kind)).collect();
    let (offsets, stride) = layout(&registers);
    let mut bytes = vec![0; count * CELL * kinds.len()];
    let mut upper = Random::named("upper halves of the cells");
    for (case, values) in operands.iter().enumerate() {
        for (operand, value) in values.iter().enumerate() {
            let at = (operand * count + case) * CELL;
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            bytes[at + 8..at + CELL].copy_from_slice(&upper.bits().to_le_bytes());
        }
    }
    let fields = registers
        .iter()
        .zip(&offsets)
        .zip(&outputs)
        .map(|((register, at), kind)| (*at, register.bytes(), (*kind).to_owned()))
        .collect();
    Form {
        group: group.to_owned(),
        ptx: format!("{HEADER}{}", module("form", &line.template, &outputs, &inputs, count)),
        name,
        grid: (count / BLOCK) as u32,
        block: BLOCK as u32,
        cluster: 1,
        shared_bytes: 0,
        inputs: bytes,
        output_bytes: count * stride,
        scratch_bytes: count * SCRATCH,
        output: Output { stride, fields },
        raw_cases: if bound.is_some() { count } else { 64 },
        run: if count > 4096 { 2048 } else { 128 },
        bound,
        operands,
    }
}

/// Names of all groups.
pub fn group_names() -> Vec<&'static str> {
    TABLES.iter().map(|(name, _)| *name).collect()
}

/// Every form of a group, in the order of its table.
pub fn all_forms(group: &str) -> Vec<Form> {
    let table = TABLES.iter().find(|(name, _)| *name == group).map_or("", |(_, table)| table);
    expand(table).iter().map(|line| scalar(group, line)).collect()
}
