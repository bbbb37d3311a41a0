//! How often a warp waits for memory.
//!
//! Loads that nothing reads yet are in flight together; the first instruction that reads one of them waits for all. So
//! the loads of a function fall into groups, each of which costs one round trip, and the machine's counts for each line
//! say how often each group begins.

use std::collections::{BTreeMap, BTreeSet};

use factory_ptx::ast::{AddressBase, Function, Instruction, Operand, Statement};
use factory_ptx::machine::Count;

/// Round trips that all warps together wait for.
pub(super) fn round_trips(function: &Function, lines: &[(u32, Count)]) -> f64 {
    let counts: BTreeMap<u32, u64> = lines.iter().map(|(line, count)| (*line, count.warp)).collect();
    let mut walk = Walk { pending: BTreeSet::new(), counts: &counts, trips: 0.0 };
    if let Some(body) = &function.body {
        walk.statements(body);
    }
    walk.trips
}

struct Walk<'a> {
    /// Registers that a load in flight will write.
    pending: BTreeSet<String>,
    counts: &'a BTreeMap<u32, u64>,
    trips: f64,
}

impl Walk<'_> {
    fn statements(&mut self, body: &[Statement]) {
        for statement in body {
            match statement {
                Statement::Block(inner) => self.statements(inner),
                Statement::Instruction(instruction) => self.instruction(instruction),
                _ => {}
            }
        }
    }

    fn executed(&self, instruction: &Instruction) -> f64 {
        self.counts.get(&instruction.span.line).copied().unwrap_or(0) as f64
    }

    fn instruction(&mut self, instruction: &Instruction) {
        if instruction.opcode == "cp" && instruction.has("async") {
            // Waiting until all but n groups are there spreads one round trip over n + 1 of them.
            let ahead = match instruction.operands.first() {
                Some(Operand::Integer(groups)) if instruction.has("wait_group") => *groups as f64,
                _ if instruction.has("wait_all") => 0.0,
                _ => return,
            };
            self.trips += self.executed(instruction) / (ahead + 1.0);
            return;
        }
        let load = matches!(instruction.opcode.as_str(), "ld" | "ldu" | "atom")
            && !["shared", "shared::cta", "local", "param", "const"]
                .iter()
                .any(|space| instruction.has(space));
        let skip = usize::from(instruction.opcode != "st" && instruction.opcode != "red");
        let waits = instruction.operands.iter().skip(skip).any(|operand| self.reads(operand))
            || instruction.guard.as_ref().is_some_and(|guard| self.pending.contains(&guard.register));
        if waits {
            self.pending.clear();
        }
        if load {
            if self.pending.is_empty() {
                self.trips += self.executed(instruction);
            }
            if let Some(target) = instruction.operands.first() {
                self.write(target);
            }
        }
    }

    fn reads(&self, operand: &Operand) -> bool {
        match operand {
            Operand::Name(name) => self.pending.contains(name),
            Operand::Address { base: AddressBase::Name(name), .. } => self.pending.contains(name),
            Operand::Vector(parts) | Operand::Group(parts) | Operand::TensorAddress(parts) => {
                parts.iter().any(|part| self.reads(part))
            }
            Operand::Pair(first, second) => self.reads(first) || self.reads(second),
            Operand::Not(inner) => self.reads(inner),
            _ => false,
        }
    }

    fn write(&mut self, operand: &Operand) {
        match operand {
            Operand::Name(name) => {
                self.pending.insert(name.clone());
            }
            Operand::Vector(parts) => parts.iter().for_each(|part| self.write(part)),
            _ => {}
        }
    }
}
