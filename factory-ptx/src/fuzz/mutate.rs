//! Changing programs: their bytes, their lines, and the instructions of their trees.

use super::random::Random;
use crate::ast::{FunctionDirective, Instruction, Item, Module, Operand, Statement, Variable};
use crate::parse;

/// Numbers that break things.
const EDGES: [i128; 18] = [
    0,
    1,
    -1,
    2,
    3,
    4,
    7,
    8,
    16,
    31,
    32,
    64,
    255,
    4096,
    0x7fff_ffff,
    0xffff_ffff,
    i64::MAX as i128,
    u64::MAX as i128,
];

/// Pieces of text that break things.
const PIECES: [&[u8]; 16] = [
    b"{", b"}", b"(", b")", b"[", b"]", b";", b".b32", b"-", b"0x", b"\"", b"/*", b"%r1", b"\xff", b"@%p1 ",
    b",",
];

/// A program changed in one to eight places: half of the time its tree, else its lines and bytes. `other` lends pieces.
pub fn mutated(text: &str, other: &str, random: &mut Random) -> Vec<u8> {
    if random.below(2) == 0
        && let (Ok(mut module), Ok(donor)) = (parse(text), parse(other))
    {
        let donor = instructions(&donor);
        for _ in 0..1 + random.below(8) {
            change_module(&mut module, &donor, random);
        }
        return module.to_string().into_bytes();
    }
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..1 + random.below(8) {
        change_text(&mut bytes, other.as_bytes(), random);
    }
    bytes
}

/// One line of a text, as a range of bytes.
fn line(bytes: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let at = random.below(bytes.len());
    let start = bytes[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |found| found + 1);
    let end = bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |found| at + found + 1);
    start..end
}

fn change_text(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(9) {
        0 => drop(
            bytes.splice(at..at, random.pick(&PIECES).into_iter().flat_map(|piece| piece.iter().copied())),
        ),
        1 if at < bytes.len() => drop(bytes.remove(at)),
        2 if at < bytes.len() => bytes[at] = random.below(256) as u8,
        3 => drop(bytes.drain(line(bytes, random))),
        4 => {
            let copy = bytes[line(bytes, random)].to_vec();
            let to = line(bytes, random).start;
            drop(bytes.splice(to..to, copy));
        }
        5 if !other.is_empty() => {
            let copy = &other[line(other, random)];
            let to = line(bytes, random).start;
            drop(bytes.splice(to..to, copy.iter().copied()));
        }
        6 => {
            // A number for a number.
            if let Some(from) = bytes[at..].iter().position(u8::is_ascii_digit) {
                let from = at + from;
                let len = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let edge = random.pick(&EDGES).copied().unwrap_or(0).to_string();
                drop(bytes.splice(from..from + len, edge.into_bytes()));
            }
        }
        7 => bytes.truncate(at),
        _ => {
            let end = (at + random.below(60)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            drop(bytes.splice(to..to, copy));
        }
    }
}

/// Every instruction of a module.
fn instructions(module: &Module) -> Vec<Instruction> {
    fn gather(body: &[Statement], into: &mut Vec<Instruction>) {
        for statement in body {
            match statement {
                Statement::Instruction(instruction) => into.push(instruction.clone()),
                Statement::Block(body) => gather(body, into),
                _ => {}
            }
        }
    }
    let mut all = Vec::new();
    for function in module.functions() {
        gather(function.body.as_deref().unwrap_or_default(), &mut all);
    }
    all
}

fn change_module(module: &mut Module, donor: &[Instruction], random: &mut Random) {
    let count = module.items.len();
    let at = random.below(count);
    match module.items.get_mut(at) {
        Some(Item::Function(function)) => match (random.below(12), &mut function.body) {
            (0, _) => {
                let edge = random.pick(&EDGES).map_or(0, |edge| *edge as u32);
                function.directives.push(match random.below(3) {
                    0 => FunctionDirective::MaxNTid(vec![edge]),
                    1 => FunctionDirective::ReqNTid(vec![edge, 1]),
                    _ => FunctionDirective::ReqNCtaPerCluster(vec![edge]),
                });
            }
            (1, _) => drop(function.params.pop()),
            (_, Some(body)) => change_body(body, donor, random),
            (_, None) => {}
        },
        Some(Item::Variable(variable)) => change_variable(variable, random),
        _ => {}
    }
}

fn change_variable(variable: &mut Variable, random: &mut Random) {
    let edge = random.pick(&EDGES).copied().unwrap_or(1).unsigned_abs() as u64;
    match random.below(4) {
        0 => variable.array = vec![Some(edge)],
        1 => variable.array.push(Some(edge)),
        2 => variable.align = Some(1 << random.below(12)),
        _ => variable.init = None,
    }
}

fn change_body(body: &mut Vec<Statement>, donor: &[Instruction], random: &mut Random) {
    if body.is_empty() {
        return;
    }
    let at = random.below(body.len());
    match random.below(7) {
        0 => drop(body.remove(at)),
        1 => {
            let copy = body[at].clone();
            body.insert(random.below(body.len()), copy);
        }
        2 => {
            let other = random.below(body.len());
            body.swap(at, other);
        }
        3 => {
            if let Some(instruction) = random.pick(donor) {
                body.insert(at, Statement::Instruction(instruction.clone()));
            }
        }
        _ => match &mut body[at] {
            Statement::Instruction(instruction) => change_instruction(instruction, donor, random),
            Statement::Variable(variable) => change_variable(variable, random),
            Statement::Block(inner) => change_body(inner, donor, random),
            _ => {}
        },
    }
}

fn change_instruction(instruction: &mut Instruction, donor: &[Instruction], random: &mut Random) {
    let lender = random.pick(donor);
    match random.below(8) {
        0 => instruction.guard = lender.and_then(|lender| lender.guard.clone()),
        1 => {
            if let Some(lender) = lender {
                instruction.opcode.clone_from(&lender.opcode);
                instruction.modifiers.clone_from(&lender.modifiers);
            }
        }
        2 => {
            let count = instruction.modifiers.len();
            let word = lender.and_then(|lender| random.pick(&lender.modifiers).cloned());
            match (random.below(3), word) {
                (0, Some(word)) => instruction.modifiers.insert(random.below(count + 1), word),
                (1, Some(word)) if count > 0 => instruction.modifiers[random.below(count)] = word,
                _ => drop(instruction.modifiers.pop()),
            }
        }
        3 => drop(instruction.operands.pop()),
        _ => {
            let count = instruction.operands.len();
            let lent = lender.and_then(|lender| random.pick(&lender.operands).cloned());
            let place = random.below(count);
            match (instruction.operands.get_mut(place), random.below(3), lent) {
                (Some(operand), 0, _) => change_operand(operand, random),
                (Some(operand), 1, Some(lent)) => *operand = lent,
                (None, _, Some(lent)) | (_, 2, Some(lent)) => instruction.operands.push(lent),
                _ => {}
            }
        }
    }
}

fn change_operand(operand: &mut Operand, random: &mut Random) {
    let edge = random.pick(&EDGES).copied().unwrap_or(0);
    match operand {
        Operand::Integer(value) => *value = edge,
        Operand::Address { offset, .. } => *offset = edge as i64,
        Operand::Vector(parts) => {
            if random.below(2) == 0 {
                parts.pop();
            } else if let Some(part) = parts.first().cloned() {
                parts.push(part);
            }
        }
        Operand::F32(bits) => *bits = random.below(usize::MAX) as u32,
        other => *other = Operand::Integer(edge),
    }
}
