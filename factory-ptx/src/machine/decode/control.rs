//! Which decoder an opcode belongs to; branches, calls, returns.

use super::function::{Decoder, rows};
use super::words::{Words, unsupported};
use crate::ast::{Instruction, Operand, Type};
use crate::machine::error::Unsupported;
use crate::machine::inst::{Call, Kind};
use crate::machine::lanes::{NONE, Slots};
use crate::machine::report::Class;

const NO_SLOTS: Slots = Slots { d: NONE, a: NONE, b: NONE, c: NONE, e: NONE };

fn is_video(opcode: &str) -> bool {
    ["vadd", "vsub", "vabsdiff", "vmin", "vmax", "vavrg", "vshl", "vshr", "vset", "vmad"]
        .contains(&opcode.trim_end_matches(['2', '4']))
}

impl<'m> Decoder<'_, 'm> {
    pub(super) fn dispatch(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let ty = i.types().next();
        let half = matches!(ty, Some(Type::F16 | Type::F16x2 | Type::BF16 | Type::BF16x2));
        let float = matches!(ty, Some(Type::F32 | Type::F64));
        match i.opcode.as_str() {
            "add" | "sub" | "mul" | "fma" if ty == Some(Type::F32x2) => self.packed_f32(i),
            "add" | "sub" | "fma"
                if ty == Some(Type::F32) && matches!(i.types().nth(1), Some(Type::F16 | Type::BF16)) =>
            {
                self.mixed_f32(i)
            }
            "cvt" if super::blackwell::is_small(i) => self.convert_small(i),
            "clusterlaunchcontrol" => self.launch_control(i),
            "multimem" => Err(unsupported(i, "memory of several GPUs behind one address")),
            "add" | "sub" | "mul" | "fma" | "mad" | "div" | "abs" | "neg" | "min" | "max" | "ex2"
            | "tanh" | "rcp" | "sqrt" | "rsqrt" | "lg2" | "sin" | "cos" | "copysign"
                if half =>
            {
                // `add.f32.bf16` and its kin mix types: they have a second one.
                self.half(i)
            }
            "add" | "sub" | "mul" | "fma" | "mad" | "div" | "abs" | "neg" | "min" | "max" | "ex2"
            | "tanh" | "rcp" | "sqrt" | "rsqrt" | "lg2" | "sin" | "cos" | "copysign"
                if float =>
            {
                self.float(i)
            }
            "add" | "sub" | "mul" | "mad" | "addc" | "subc" | "madc" | "mul24" | "mad24" | "sad" | "div"
            | "rem" | "abs" | "neg" | "min" | "max" | "dp4a" | "dp2a" => self.integer(i),
            opcode if is_video(opcode) => self.video(i),
            "and" | "or" | "xor" | "not" | "cnot" | "shl" | "shr" | "shf" | "popc" | "clz" | "brev"
            | "bfind" | "bfe" | "bfi" | "bmsk" | "szext" | "fns" | "lop3" | "prmt" => self.bits(i),
            "setp" | "set" | "selp" | "slct" | "testp" => self.compare(i),
            "cvt" => self.convert(i),
            "mov" => self.mov(i),
            "cvta" | "isspacep" | "mapa" | "getctarank" => self.address_form(i),
            "st" | "red" if i.modifiers.iter().any(|word| matches!(word.as_str(), "async" | "bulk")) => {
                self.bulk(i)
            }
            "cp" if i
                .modifiers
                .iter()
                .any(|word| matches!(word.as_str(), "bulk" | "mbarrier" | "reduce")) =>
            {
                self.bulk(i)
            }
            "tensormap" => self.bulk(i),
            "mbarrier" => self.mbarrier(i),
            "ldmatrix" | "stmatrix" | "movmatrix" | "mma" | "wgmma" => self.matrix(i),
            "wmma" => self.wmma(i),
            "tcgen05" => self.tcgen05(i),
            "ld" | "ldu" | "st" => self.load_store(i),
            "atom" | "red" => self.atomic(i),
            "cp" => self.copy_async(i),
            "prefetch" | "prefetchu" | "discard" | "applypriority" | "createpolicy" => self.hint(i),
            "setmaxnreg" => self.set_registers(i),
            "griddepcontrol" | "pmevent" => {
                self.emit(Class::Control, Kind::Nop, NO_SLOTS);
                Ok(())
            }
            "nanosleep" => {
                self.emit(Class::Control, Kind::Yield, NO_SLOTS);
                Ok(())
            }
            "shfl" => self.shuffle(i),
            "vote" | "match" | "redux" | "elect" | "activemask" => self.vote(i),
            "bar" | "barrier" => self.barrier(i),
            "membar" | "fence" => self.fence(i),
            "bra" => {
                let mut words = Words::new(i);
                let _ = words.take("uni");
                words.finish()?;
                let [Operand::Name(label)] = i.operands.as_slice() else {
                    return Err(unsupported(i, "a label"));
                };
                self.branch(i, &[label], Kind::Branch(0), NO_SLOTS)
            }
            "brx" => {
                let mut words = Words::new(i);
                let _ = (words.take("idx"), words.take("uni"));
                words.finish()?;
                let [index, Operand::Name(table)] = i.operands.as_slice() else {
                    return Err(unsupported(i, "an index and a table"));
                };
                let a = self.source(i, index, Type::B32)?;
                let labels =
                    self.table(table).ok_or_else(|| unsupported(i, format!("the table `{table}`")))?;
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                self.branch(i, &labels, Kind::BranchTable(Box::new([])), Slots { a, ..NO_SLOTS })
            }
            "call" => self.call(i),
            "ret" => {
                let kind = if self.entry { Kind::Exit } else { Kind::Return };
                self.emit(Class::Control, kind, NO_SLOTS);
                Ok(())
            }
            "exit" => {
                self.emit(Class::Control, Kind::Exit, NO_SLOTS);
                Ok(())
            }
            "trap" | "brkpt" => {
                self.emit(Class::Control, Kind::Trap, NO_SLOTS);
                Ok(())
            }
            _ => Err(unsupported(i, "this opcode")),
        }
    }

    fn call(&mut self, i: &'m Instruction) -> Result<(), Unsupported> {
        let mut words = Words::new(i);
        let _ = words.take("uni");
        words.finish()?;
        let mut operands = i.operands.as_slice();
        let mut result_operands: &[Operand] = &[];
        if let Some((Operand::Group(group), rest)) = operands.split_first() {
            result_operands = group;
            operands = rest;
        }
        let Some((Operand::Name(target), rest)) = operands.split_first() else {
            return Err(unsupported(i, "a function"));
        };
        operands = rest;
        let mut argument_operands: &[Operand] = &[];
        if let Some((Operand::Group(group), rest)) = operands.split_first() {
            argument_operands = group;
            operands = rest;
        }
        let mut arguments = Vec::new();
        for operand in argument_operands {
            arguments.push(self.call_operand(i, operand)?);
        }
        let mut results = Vec::new();
        for operand in result_operands {
            results.push(self.call_operand(i, operand)?);
        }
        let mut call = Call { function: None, targets: Vec::new(), arguments, results };
        let mut slots = NO_SLOTS;
        if let Some(register) = self.register(target) {
            slots.a = register.slot;
            if register.rows() != 2 {
                return Err(unsupported(i, "a function address of 64 bits"));
            }
            let listed = match operands.first() {
                Some(Operand::Name(table)) => self.call_targets(table).flatten(),
                _ => None,
            };
            call.targets = match listed {
                Some(names) => names
                    .iter()
                    .filter_map(|name| self.program.functions.get(name.as_str()).copied())
                    .collect(),
                None => self.program.functions.values().copied().filter(|index| *index != 0).collect(),
            };
            call.targets.sort_unstable();
        } else if let Some(index) = self.program.functions.get(target.as_str()) {
            if *index == 0 {
                return Err(unsupported(i, "a call of the entry"));
            }
            call.function = Some(*index);
        } else if matches!(target.as_str(), "__assertfail" | "__trap") {
            self.emit(Class::Control, Kind::Trap, NO_SLOTS);
            return Ok(());
        } else {
            return Err(unsupported(i, format!("the body of `{target}`")));
        }
        self.emit(Class::Control, Kind::Call(Box::new(call)), slots);
        Ok(())
    }

    /// Slot and rows of an argument or result.
    fn call_operand(&mut self, i: &'m Instruction, operand: &Operand) -> Result<(u32, u32), Unsupported> {
        if let Operand::Name(name) = operand {
            if let Some((slot, size)) = self.param_rows(name) {
                return Ok((slot, (size as u32).div_ceil(4)));
            }
            if let Some(register) = self.register(name) {
                if register.ty == Type::Pred {
                    return Err(unsupported(i, "predicates as arguments"));
                }
                return Ok((register.slot, rows(register.ty)));
            }
        }
        if let Operand::Integer(_) | Operand::F32(_) = operand {
            return Ok((self.source(i, operand, Type::B32)?, 1));
        }
        Err(unsupported(i, "a parameter variable or register as argument"))
    }
}
