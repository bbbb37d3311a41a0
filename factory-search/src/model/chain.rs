//! How often a warp waits for memory.
//!
//! The assembler moves loads up as far as nothing holds them: loads of one stretch of code, between labels, branches and
//! barriers, are in flight together unless the address of one comes from the value of another. So each stretch costs one
//! round trip, plus one for each step of such a chain, and the machine's counts for each line say how often each is run.

use std::collections::{BTreeMap, BTreeSet};

use factory_ptx::ast::{AddressBase, Function, Instruction, Operand, Statement};
use factory_ptx::machine::Line;

/// Round trips that all warps together wait for.
pub(super) fn round_trips(function: &Function, lines: &[Line]) -> f64 {
    let counts: BTreeMap<u32, u64> = lines.iter().map(|line| (line.line, line.count.warp)).collect();
    let mut walk = Walk { pending: BTreeSet::new(), open: false, counts: &counts, trips: 0.0 };
    if let Some(body) = &function.body {
        walk.statements(body);
    }
    walk.trips
}

struct Walk<'a> {
    /// Registers that a load in flight will write, or that are computed from one.
    pending: BTreeSet<String>,
    /// Whether this stretch has a load in flight.
    open: bool,
    counts: &'a BTreeMap<u32, u64>,
    trips: f64,
}

impl Walk<'_> {
    fn statements(&mut self, body: &[Statement]) {
        for statement in body {
            match statement {
                Statement::Block(inner) => self.statements(inner),
                Statement::Instruction(instruction) => self.instruction(instruction),
                Statement::Label(..) => self.cut(),
                _ => {}
            }
        }
    }

    /// Ends a stretch.
    fn cut(&mut self) {
        self.pending.clear();
        self.open = false;
    }

    fn executed(&self, instruction: &Instruction) -> f64 {
        self.counts.get(&instruction.span.line).copied().unwrap_or(0) as f64
    }

    fn instruction(&mut self, instruction: &Instruction) {
        match instruction.opcode.as_str() {
            "bra" | "brx" | "call" | "ret" | "exit" | "bar" | "barrier" => return self.cut(),
            "cp" if instruction.has("async") => {
                // Waiting until all but n groups are there spreads one round trip over n + 1 of them.
                let ahead = match instruction.operands.first() {
                    Some(Operand::Integer(groups)) if instruction.has("wait_group") => *groups as f64,
                    _ if instruction.has("wait_all") => 0.0,
                    _ => return,
                };
                self.trips += self.executed(instruction) / (ahead + 1.0);
                return self.cut();
            }
            _ => {}
        }
        let load = matches!(instruction.opcode.as_str(), "ld" | "ldu" | "atom")
            && !["shared", "shared::cta", "local", "param", "const"]
                .iter()
                .any(|space| instruction.has(space));
        let skip = usize::from(instruction.opcode != "st" && instruction.opcode != "red");
        let waits = instruction.operands.iter().skip(skip).any(|operand| self.reads(operand))
            || instruction.guard.as_ref().is_some_and(|guard| self.pending.contains(&guard.register));
        if load {
            if waits {
                self.cut();
            }
            if !self.open {
                self.trips += self.executed(instruction);
                self.open = true;
            }
        }
        if (load || waits)
            && skip == 1
            && let Some(target) = instruction.operands.first()
        {
            self.write(target);
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
            Operand::Pair(first, second) => {
                self.write(first);
                self.write(second);
            }
            _ => {}
        }
    }
}
