//! How many registers a kernel needs where no assembler says it: the most that are live at one place.
//!
//! Each register is taken to live from where it stands first to where it stands last, and through a loop when it comes
//! from before it. Straight code, which is what generators write, is taken exactly; code with many branches a little high.

use std::collections::HashMap;

use factory_ptx::ast::{AddressBase, Function, Instruction, Operand, Space, Statement, Type, Variable};

/// What an assembler needs beside what is live: addresses, constants, room to overlap loads.
const BESIDE: u32 = 12;

/// 32-bit registers a thread.
pub(super) fn registers(function: &Function) -> u32 {
    let mut walk = Walk::default();
    walk.statements(function.body.as_deref().unwrap_or_default(), 0);
    walk.most() + BESIDE
}

#[derive(Default)]
struct Walk<'m> {
    position: u32,
    /// Words of each declared register, and of ranges by prefix.
    words: HashMap<&'m str, u32>,
    ranges: HashMap<&'m str, u32>,
    /// First and last position of each register.
    lives: HashMap<&'m str, (u32, u32)>,
    labels: HashMap<&'m str, u32>,
    /// Loops: where a label stands, and where a branch goes back to it.
    loops: Vec<(u32, u32)>,
}

impl<'m> Walk<'m> {
    fn statements(&mut self, statements: &'m [Statement], depth: usize) {
        for statement in statements {
            match statement {
                Statement::Block(inner) if depth < 64 => self.statements(inner, depth + 1),
                Statement::Variable(variable) if variable.space == Space::Reg => self.declare(variable),
                Statement::Label(name, _) => {
                    self.labels.insert(name, self.position);
                }
                Statement::Instruction(instruction) => self.instruction(instruction),
                _ => {}
            }
        }
    }

    fn declare(&mut self, variable: &'m Variable) {
        let words = match variable.ty {
            Type::Pred => 0,
            ty => ty.bits().div_ceil(32) * u32::from(variable.vector.unwrap_or(1)),
        };
        match variable.range {
            Some(_) => self.ranges.insert(&variable.name, words),
            None => self.words.insert(&variable.name, words),
        };
    }

    fn instruction(&mut self, instruction: &'m Instruction) {
        self.position += 1;
        if instruction.opcode == "bra"
            && let Some(Operand::Name(label)) = instruction.operands.first()
            && let Some(start) = self.labels.get(label.as_str())
        {
            self.loops.push((*start, self.position));
        }
        if let Some(guard) = &instruction.guard {
            self.name(&guard.register);
        }
        instruction.operands.iter().for_each(|operand| self.operand(operand, 0));
    }

    fn operand(&mut self, operand: &'m Operand, depth: usize) {
        match operand {
            Operand::Name(name) | Operand::Address { base: AddressBase::Name(name), .. } => self.name(name),
            Operand::Vector(parts) | Operand::Group(parts) | Operand::TensorAddress(parts) if depth < 8 => {
                parts.iter().for_each(|part| self.operand(part, depth + 1));
            }
            Operand::Pair(first, second) if depth < 8 => {
                self.operand(first, depth + 1);
                self.operand(second, depth + 1);
            }
            Operand::Not(inner) if depth < 8 => self.operand(inner, depth + 1),
            _ => {}
        }
    }

    fn name(&mut self, name: &'m str) {
        let position = self.position;
        self.lives.entry(name).and_modify(|life| life.1 = position).or_insert((position, position));
    }

    fn words_of(&self, name: &str) -> u32 {
        let declared = self.words.get(name);
        let ranged = || self.ranges.get(name.trim_end_matches(|c: char| c.is_ascii_digit()));
        declared.or_else(ranged).copied().unwrap_or(0)
    }

    fn most(&self) -> u32 {
        let mut changes = vec![0i64; self.position as usize + 2];
        for (name, (first, last)) in &self.lives {
            let words = i64::from(self.words_of(name));
            let mut end = *last;
            // Inner loops end first: one pass in order of their ends lets a life grow outwards.
            for (start, back) in &self.loops {
                if *first <= *start && end > *start && end < *back {
                    end = *back;
                }
            }
            changes[*first as usize] += words;
            changes[end as usize] -= words;
        }
        let mut live = 0;
        let most = changes.iter().map(|change| {
            live += change;
            live
        });
        u32::try_from(most.max().unwrap_or(0)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> u32 {
        let text = format!(
            ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k()\n{{\n.reg .pred %p<4>; .reg .b32 %r<9>; \
             .reg .b64 %rd<4>;\n{body}\nret;\n}}\n"
        );
        let module = factory_ptx::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
        registers(module.function("k").expect("it is there")) - BESIDE
    }

    #[test]
    fn registers_are_given_back() {
        assert_eq!(of("mov.u32 %r1, 1; mov.u32 %r2, %r1; mov.u32 %r3, %r2; mov.u32 %r4, %r3;"), 1);
        assert_eq!(of("mov.u32 %r1, 1; mov.u32 %r2, 2; add.u32 %r3, %r1, %r2;"), 2);
        assert_eq!(of("mov.u64 %rd1, 1; mov.u64 %rd2, 2; add.u64 %rd3, %rd1, %rd2;"), 4);
    }

    #[test]
    fn what_a_loop_needs_lives_through_it() {
        let body = "mov.u32 %r1, 1; mov.u32 %r2, 0;\nagain: add.u32 %r2, %r2, %r1; mov.u32 %r3, 5; mov.u32 %r4, %r3; \
                    setp.lt.u32 %p1, %r2, 9; @%p1 bra again;";
        assert_eq!(of(body), 3);
    }
}
