//! Decoding one function: scopes, registers, constants, and the instructions that opcodes turn into.

use std::collections::HashMap;

use super::words::unsupported;
use super::{Code, Fill, Place, Program};
use crate::ast::{AddressBase, Directive, Guard, Instruction, Operand, Space, Statement, Type, Variable};
use crate::machine::error::Unsupported;
use crate::machine::inst::{Address, Element, Inst, Kind};
use crate::machine::lanes::{AluFn, LANES, NONE, Slots, nothing, predicate_nand};
use crate::machine::report::Class;

/// The most 32-bit words that one frame of one warp may take.
const FRAME_LIMIT: u32 = 1 << 22;
/// The deepest nesting of `{ … }`.
const SCOPE_LIMIT: usize = 64;

/// A register: where, and how wide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Register {
    pub(super) slot: u32,
    pub(super) ty: Type,
}

impl Register {
    /// 32-bit rows.
    pub(super) fn rows(self) -> u32 {
        rows(self.ty)
    }
}

/// 32-bit rows of a value of this type; 0 for a predicate.
pub(super) fn rows(ty: Type) -> u32 {
    if ty == Type::Pred { 0 } else { ty.bits().div_ceil(32).max(1) }
}

/// What a name in a function stands for.
#[derive(Clone, Debug)]
enum Name {
    Register(Register),
    /// `.v2`/`.v4` register: its components.
    Vector(Vec<Register>),
    /// `.param` variable of a function body or of a device function: rows from a slot.
    Rows {
        slot: u32,
        size: u64,
    },
    Place(Place),
    Local(u64),
}

#[derive(Default)]
struct Scope {
    names: HashMap<String, Name>,
    /// Prefix of `%r<n>`, its count and type.
    ranges: HashMap<String, (u32, Type)>,
    labels: HashMap<String, usize>,
    tables: HashMap<String, Vec<String>>,
    /// Lists of functions that an indirect call may reach.
    call_targets: HashMap<String, Option<Vec<String>>>,
}

/// A branch whose label is not placed yet.
struct Pending {
    inst: usize,
    labels: Vec<usize>,
}

pub(super) struct Decoder<'p, 'm> {
    pub(super) program: &'p Program<'m>,
    pub(super) code: &'p mut Code,
    scopes: Vec<Scope>,
    /// Program counter of each label, once known.
    labels: Vec<Option<u32>>,
    pending: Vec<Pending>,
    constants: HashMap<(u64, u32), u32>,
    /// The frame's words when it is entered: constants, and zeros.
    pub(super) image: Vec<(u32, u32, u64)>,
    pub(super) fills: Vec<(u32, Fill)>,
    fill_slots: HashMap<Fill, u32>,
    next_slot: u32,
    /// Bytes of `.local` variables.
    pub(super) local: u64,
    pub(super) entry: bool,
    guard: u32,
    guard_negated: bool,
    line: u32,
    carry: u32,
    current: Option<&'m Instruction>,
}

impl<'p, 'm> Decoder<'p, 'm> {
    pub(super) fn new(program: &'p Program<'m>, code: &'p mut Code, entry: bool) -> Decoder<'p, 'm> {
        Decoder {
            program,
            code,
            scopes: vec![Scope::default()],
            labels: Vec::new(),
            pending: Vec::new(),
            constants: HashMap::new(),
            image: Vec::new(),
            fills: Vec::new(),
            fill_slots: HashMap::new(),
            next_slot: 0,
            local: 0,
            entry,
            guard: NONE,
            guard_negated: false,
            line: 0,
            carry: NONE,
            current: None,
        }
    }

    /// 32-bit words of a frame.
    pub(super) fn words(&self) -> u32 {
        self.next_slot
    }

    fn overflow(&self) -> Unsupported {
        Unsupported {
            line: self.line,
            form: "registers".to_owned(),
            needs: format!("more than {FRAME_LIMIT} register words in one function"),
        }
    }

    pub(super) fn allocate(&mut self, words: u32) -> Result<u32, Unsupported> {
        let slot = self.next_slot;
        self.next_slot =
            slot.checked_add(words).filter(|next| *next <= FRAME_LIMIT).ok_or(self.overflow())?;
        Ok(slot)
    }

    pub(super) fn allocate_type(&mut self, ty: Type) -> Result<Register, Unsupported> {
        let words = if ty == Type::Pred { 1 } else { rows(ty) * LANES as u32 };
        Ok(Register { slot: self.allocate(words)?, ty })
    }

    /// Declares a formal parameter of a device function; returns its slot and rows.
    pub(super) fn formal(&mut self, variable: &Variable) -> Result<(u32, u32), Unsupported> {
        self.declare(variable)?;
        match self.lookup(&variable.name) {
            Some(Name::Register(register)) if register.ty != Type::Pred => {
                Ok((register.slot, register.rows()))
            }
            Some(Name::Rows { slot, size }) => Ok((slot, (size as u32).div_ceil(4))),
            _ => Err(self.odd(variable, "this kind of parameter in a device function")),
        }
    }

    fn odd(&self, variable: &Variable, needs: &str) -> Unsupported {
        Unsupported {
            line: variable.span.line,
            form: format!(".{} {}", variable.space.name(), variable.name),
            needs: needs.to_owned(),
        }
    }

    fn declare(&mut self, variable: &Variable) -> Result<(), Unsupported> {
        self.line = variable.span.line;
        let name = match variable.space {
            Space::Reg => {
                if let Some(count) = variable.range {
                    let scope = self.scopes.last_mut().expect("a function has a scope");
                    scope.ranges.insert(variable.name.clone(), (count, variable.ty));
                    return Ok(());
                }
                match variable.vector {
                    None => Name::Register(self.allocate_type(variable.ty)?),
                    Some(count) => Name::Vector(
                        (0..count).map(|_| self.allocate_type(variable.ty)).collect::<Result<_, _>>()?,
                    ),
                }
            }
            Space::Param => {
                let size = variable.size().filter(|size| *size <= 4096);
                let size =
                    size.ok_or_else(|| self.odd(variable, "a parameter of a known size up to 4096"))?;
                let slot = self.allocate((size as u32).div_ceil(4).next_multiple_of(2) * LANES as u32)?;
                Name::Rows { slot, size }
            }
            Space::Local => {
                let size =
                    variable.size().ok_or_else(|| self.odd(variable, "a local variable of a known size"))?;
                let align = variable.alignment().clamp(1, 256);
                let offset = self.local.next_multiple_of(align);
                self.local = offset
                    .checked_add(size)
                    .filter(|end| *end <= super::LOCAL_LIMIT)
                    .ok_or_else(|| self.odd(variable, "more local memory than a thread can have"))?;
                Name::Local(offset)
            }
            Space::Shared | Space::Global | Space::Const => {
                let key = std::ptr::from_ref(variable) as usize;
                match self.program.scoped.get(&key) {
                    Some(place) => Name::Place(*place),
                    None => return Ok(()),
                }
            }
            Space::Sreg | Space::Tex => return Err(self.odd(variable, "this state space")),
        };
        let scope = self.scopes.last_mut().expect("a function has a scope");
        scope.names.insert(variable.name.clone(), name);
        Ok(())
    }

    fn lookup(&mut self, name: &str) -> Option<Name> {
        for index in (0..self.scopes.len()).rev() {
            if let Some(found) = self.scopes[index].names.get(name) {
                return Some(found.clone());
            }
            let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
            for split in name.len() - digits..name.len() {
                let (prefix, number) = name.split_at(split);
                if number.len() > 1 && number.starts_with('0') {
                    continue;
                }
                if let (Some(&(count, ty)), Ok(number)) =
                    (self.scopes[index].ranges.get(prefix), number.parse::<u32>())
                    && number < count
                {
                    let register = self.allocate_type(ty).ok()?;
                    self.scopes[index].names.insert(name.to_owned(), Name::Register(register));
                    return Some(Name::Register(register));
                }
            }
            if let Some((base, component)) = name.rsplit_once('.')
                && let Some(Name::Vector(registers)) = self.scopes[index].names.get(base)
            {
                let at = match component {
                    "x" | "r" => 0,
                    "y" | "g" => 1,
                    "z" | "b" => 2,
                    "w" | "a" => 3,
                    _ => return None,
                };
                return registers.get(at).copied().map(Name::Register);
            }
        }
        None
    }

    // --- Statements ---------------------------------------------------------------------------------------------

    /// Decodes a body; branches are resolved when it ends.
    pub(super) fn body(&mut self, statements: &'m [Statement]) -> Result<(), Unsupported> {
        self.statements(statements)?;
        let end = self.code.insts.len() as u32;
        self.emit_plain(Class::Control, if self.entry { Kind::Exit } else { Kind::Return }, true);
        for pending in std::mem::take(&mut self.pending) {
            let resolved: Vec<u32> =
                pending.labels.iter().map(|label| self.labels[*label].unwrap_or(end)).collect();
            match &mut self.code.insts[pending.inst].kind {
                Kind::Branch(target) => *target = resolved[0],
                Kind::BranchTable(targets) => *targets = resolved.into(),
                _ => {}
            }
        }
        Ok(())
    }

    fn statements(&mut self, statements: &'m [Statement]) -> Result<(), Unsupported> {
        // Labels and tables can be named before they stand.
        for statement in statements {
            match statement {
                Statement::Label(name, _) => {
                    let label = self.labels.len();
                    self.labels.push(None);
                    self.scope().labels.insert(name.clone(), label);
                }
                Statement::Directive(Directive::BranchTargets { label, targets, .. }) => {
                    self.scope().tables.insert(label.clone(), targets.clone());
                }
                Statement::Directive(Directive::CallTargets { label, targets, .. }) => {
                    self.scope().call_targets.insert(label.clone(), Some(targets.clone()));
                }
                Statement::Directive(Directive::CallPrototype(prototype)) => {
                    self.scope().call_targets.insert(prototype.label.clone(), None);
                }
                _ => {}
            }
        }
        for statement in statements {
            match statement {
                Statement::Label(name, _) => {
                    let label = self.scope().labels[name];
                    self.labels[label] = Some(self.code.insts.len() as u32);
                }
                Statement::Block(inner) => {
                    if self.scopes.len() >= SCOPE_LIMIT {
                        return Err(Unsupported {
                            line: self.line,
                            form: "{".to_owned(),
                            needs: format!("blocks nested deeper than {SCOPE_LIMIT}"),
                        });
                    }
                    self.scopes.push(Scope::default());
                    self.statements(inner)?;
                    self.scopes.pop();
                }
                Statement::Variable(variable) => self.declare(variable)?,
                Statement::Instruction(instruction) => self.instruction(instruction)?,
                Statement::Directive(_) => {}
            }
        }
        Ok(())
    }

    fn scope(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("a function has a scope")
    }

    fn instruction(&mut self, instruction: &'m Instruction) -> Result<(), Unsupported> {
        self.line = instruction.span.line;
        self.current = Some(instruction);
        self.guard = NONE;
        if let Some(Guard { negated, register }) = &instruction.guard {
            self.guard = self.predicate_name(instruction, register)?;
            self.guard_negated = *negated;
        }
        self.dispatch(instruction)
    }

    // --- Emitting -----------------------------------------------------------------------------------------------

    fn push(&mut self, inst: Inst) {
        self.code.debug.push(
            self.current
                .map_or((self.line, None), |instruction| {
                    (instruction.span.line, Some(std::ptr::from_ref(instruction)))
                })
                .0,
        );
        self.code.texts.push(self.current.map(ToString::to_string).unwrap_or_default());
        self.code.moves.push(self.current.is_some_and(|instruction| instruction.opcode == "mov"));
        self.code.insts.push(inst);
    }

    fn emit_plain(&mut self, class: Class, kind: Kind, hidden: bool) {
        let slots = Slots { d: NONE, a: NONE, b: NONE, c: NONE, e: NONE };
        self.current = None;
        self.push(Inst { alu: nothing, slots, guard: NONE, guard_negated: false, class, hidden, kind });
    }

    /// Emits an ALU instruction under the current guard.
    pub(super) fn alu(&mut self, class: Class, alu: AluFn, slots: Slots) {
        let (guard, guard_negated) = (self.guard, self.guard_negated);
        self.push(Inst { alu, slots, guard, guard_negated, class, hidden: false, kind: Kind::Alu });
    }

    /// Emits an ALU instruction that is not in the text.
    pub(super) fn hidden(&mut self, class: Class, alu: AluFn, slots: Slots) {
        let (guard, guard_negated) = (self.guard, self.guard_negated);
        self.push(Inst { alu, slots, guard, guard_negated, class, hidden: true, kind: Kind::Alu });
    }

    /// Emits another kind of instruction under the current guard.
    pub(super) fn emit(&mut self, class: Class, kind: Kind, slots: Slots) {
        let (guard, guard_negated) = (self.guard, self.guard_negated);
        self.push(Inst { alu: nothing, slots, guard, guard_negated, class, hidden: false, kind });
    }

    /// Emits a branch to labels that are resolved at the end of the function.
    pub(super) fn branch(
        &mut self,
        instruction: &Instruction,
        labels: &[&str],
        kind: Kind,
        slots: Slots,
    ) -> Result<(), Unsupported> {
        let mut found = Vec::new();
        for label in labels {
            let at = self.scopes.iter().rev().find_map(|scope| scope.labels.get(*label).copied());
            found.push(at.ok_or_else(|| unsupported(instruction, format!("the label `{label}`")))?);
        }
        self.pending.push(Pending { inst: self.code.insts.len(), labels: found });
        self.emit(Class::Control, kind, slots);
        Ok(())
    }

    /// The labels of a `.branchtargets` table.
    pub(super) fn table(&self, name: &str) -> Option<Vec<String>> {
        self.scopes.iter().rev().find_map(|scope| scope.tables.get(name).cloned())
    }

    /// The functions of a `.calltargets` table; `Some(None)` for a prototype.
    pub(super) fn call_targets(&self, name: &str) -> Option<Option<Vec<String>>> {
        self.scopes.iter().rev().find_map(|scope| scope.call_targets.get(name).cloned())
    }

    // --- Operands -----------------------------------------------------------------------------------------------

    /// The slot of a constant of this many rows (0: a predicate).
    pub(super) fn constant(&mut self, value: u64, rows: u32) -> Result<u32, Unsupported> {
        if let Some(slot) = self.constants.get(&(value, rows)) {
            return Ok(*slot);
        }
        let slot = self.allocate(if rows == 0 { 1 } else { rows * LANES as u32 })?;
        self.constants.insert((value, rows), slot);
        self.image.push((slot, rows, value));
        Ok(slot)
    }

    /// The slot of a value that is filled in when a warp enters the frame.
    pub(super) fn fill(&mut self, fill: Fill) -> Result<u32, Unsupported> {
        if let Some(slot) = self.fill_slots.get(&fill) {
            return Ok(*slot);
        }
        let slot = self.allocate(if fill.is_predicate() { 1 } else { 2 * LANES as u32 })?;
        self.fill_slots.insert(fill, slot);
        self.fills.push((slot, fill));
        Ok(slot)
    }

    /// The predicate that holds the carry flag of this function.
    pub(super) fn carry(&mut self) -> Result<u32, Unsupported> {
        if self.carry == NONE {
            self.carry = self.allocate(1)?;
        }
        Ok(self.carry)
    }

    /// The register of this name, or `None` when it is not a register.
    pub(super) fn register(&mut self, name: &str) -> Option<Register> {
        match self.lookup(name) {
            Some(Name::Register(register)) => Some(register),
            _ => None,
        }
    }

    /// The rows of a `.param` variable of this function: slot and size in bytes.
    pub(super) fn param_rows(&mut self, name: &str) -> Option<(u32, u64)> {
        match self.lookup(name) {
            Some(Name::Rows { slot, size }) => Some((slot, size)),
            _ => None,
        }
    }

    /// Registers of a `.v2`/`.v4` variable.
    fn vector(&mut self, name: &str) -> Option<Vec<Register>> {
        match self.lookup(name) {
            Some(Name::Vector(registers)) => Some(registers),
            _ => None,
        }
    }

    /// Where a variable lies.
    pub(super) fn place(&mut self, name: &str) -> Option<Place> {
        match self.lookup(name) {
            Some(Name::Place(place)) => Some(place),
            Some(_) => None,
            None => self.program.places.get(name).copied(),
        }
    }

    /// The offset of a local variable in its frame.
    pub(super) fn local_variable(&mut self, name: &str) -> Option<u64> {
        match self.lookup(name) {
            Some(Name::Local(offset)) => Some(offset),
            _ => None,
        }
    }

    /// A source of this type: a register, constant, special register or address, as a slot of `rows(ty)` rows.
    pub(super) fn source(
        &mut self,
        i: &Instruction,
        operand: &Operand,
        ty: Type,
    ) -> Result<u32, Unsupported> {
        let wanted = rows(ty);
        match operand {
            Operand::Name(name) => {
                if let Some(register) = self.register(name) {
                    if register.ty == Type::Pred || register.rows() < wanted {
                        return Err(unsupported(i, format!("`{name}` with {} bits", ty.bits())));
                    }
                    return Ok(register.slot);
                }
                if name == "WARP_SZ" {
                    return self.constant(32, wanted);
                }
                if let Some(fill) = Fill::named(name) {
                    return if fill.is_predicate() || wanted > 2 {
                        Err(unsupported(i, format!("`{name}` as a number of {} bits", ty.bits())))
                    } else {
                        self.fill(fill)
                    };
                }
                self.symbol(i, name, 0, wanted)
            }
            Operand::SymbolOffset { name, offset } => self.symbol(i, name, *offset, wanted),
            Operand::Element { name, index } => {
                // `array[3]` outside brackets is an address: the element size is not known here, so bytes are meant.
                self.symbol(i, name, *index, wanted)
            }
            Operand::Integer(value) => {
                let bits = *value as u64;
                let bits = match ty {
                    Type::F32 | Type::F64 => return Err(unsupported(i, "a floating-point constant")),
                    _ if wanted == 1 => bits & (u64::MAX >> (64 - ty.bits().clamp(16, 32))),
                    _ => bits,
                };
                self.constant(bits, wanted)
            }
            Operand::F32(bits) => match ty {
                Type::F64 => self.constant(f64::from(f32::from_bits(*bits)).to_bits(), 2),
                _ => self.constant(u64::from(*bits), wanted),
            },
            Operand::F64(bits) => match ty {
                Type::F32 => self.constant(u64::from((f64::from_bits(*bits) as f32).to_bits()), 1),
                _ if wanted == 2 => self.constant(*bits, 2),
                _ => Err(unsupported(i, "a constant of the instruction's type")),
            },
            _ => Err(unsupported(i, "a register or constant operand")),
        }
    }

    fn symbol(&mut self, i: &Instruction, name: &str, offset: i64, wanted: u32) -> Result<u32, Unsupported> {
        if let Some(local) = self.local_variable(name) {
            return self.fill(Fill::Local(local.wrapping_add_signed(offset)));
        }
        if let Some(place) = self.place(name) {
            return self.constant(place.address.wrapping_add_signed(offset), wanted);
        }
        if self.entry
            && let Some(at) = self.program.param_offset(name)
        {
            return self.constant((super::PARAM_WINDOW + at).wrapping_add_signed(offset), wanted);
        }
        if let Some(index) = self.program.functions.get(name) {
            return self.constant(super::FUNCTION_WINDOW + 16 * u64::from(*index), wanted);
        }
        let needs = if name.starts_with('%') { "this special register" } else { "this name" };
        Err(unsupported(i, format!("{needs}: `{name}`")))
    }

    /// A destination register of this type; `_` is a register that nobody reads.
    pub(super) fn dest(&mut self, i: &Instruction, operand: &Operand, ty: Type) -> Result<u32, Unsupported> {
        Ok(self.dest_register(i, operand, ty)?.slot)
    }

    /// A destination register at least as wide as this type.
    pub(super) fn dest_register(
        &mut self,
        i: &Instruction,
        operand: &Operand,
        ty: Type,
    ) -> Result<Register, Unsupported> {
        match operand {
            Operand::Name(name) => match self.register(name) {
                Some(register) if register.ty != Type::Pred && register.rows() >= rows(ty) => Ok(register),
                _ => Err(unsupported(i, format!("`{name}` to be a register of {} bits", ty.bits()))),
            },
            Operand::Discard => self.allocate_type(ty),
            _ => Err(unsupported(i, "a register as destination")),
        }
    }

    fn predicate_name(&mut self, i: &Instruction, name: &str) -> Result<u32, Unsupported> {
        match self.register(name) {
            Some(Register { slot, ty: Type::Pred }) => Ok(slot),
            None if name == "%is_explicit_cluster" => self.fill(Fill::IsExplicitCluster),
            _ => Err(unsupported(i, format!("`{name}` to be a predicate"))),
        }
    }

    /// A predicate source, `!p` and constants included; `(slot, negated)`.
    pub(super) fn predicate(
        &mut self,
        i: &Instruction,
        operand: &Operand,
    ) -> Result<(u32, bool), Unsupported> {
        match operand {
            Operand::Name(name) => Ok((self.predicate_name(i, name)?, false)),
            Operand::Not(inner) => {
                let (slot, negated) = self.predicate(i, inner)?;
                Ok((slot, !negated))
            }
            Operand::Integer(value) => {
                Ok((self.constant(if *value != 0 { u64::from(u32::MAX) } else { 0 }, 0)?, false))
            }
            _ => Err(unsupported(i, "a predicate operand")),
        }
    }

    /// As [`Self::predicate`], with a negation done beforehand.
    pub(super) fn plain_predicate(&mut self, i: &Instruction, operand: &Operand) -> Result<u32, Unsupported> {
        let (slot, negated) = self.predicate(i, operand)?;
        if !negated {
            return Ok(slot);
        }
        let d = self.allocate(1)?;
        self.hidden(Class::Integer, predicate_nand, Slots { d, a: slot, b: slot, c: NONE, e: NONE });
        Ok(d)
    }

    /// A predicate destination; `_` is none.
    pub(super) fn predicate_dest(&mut self, i: &Instruction, operand: &Operand) -> Result<u32, Unsupported> {
        match operand {
            Operand::Name(name) => self.predicate_name(i, name),
            Operand::Discard => Ok(NONE),
            _ => Err(unsupported(i, "a predicate as destination")),
        }
    }

    /// The registers of a memory operand: one, or a `{…}` of them; `None` elements are `_`.
    pub(super) fn elements(
        &mut self,
        i: &Instruction,
        operand: &Operand,
        ty: Type,
        write: bool,
    ) -> Result<Vec<Element>, Unsupported> {
        let one = |decoder: &mut Self, operand: &Operand| -> Result<Element, Unsupported> {
            if *operand == Operand::Discard {
                return Ok(Element { slot: NONE, rows: rows(ty) as u8 });
            }
            if write {
                let register = decoder.dest_register(i, operand, ty)?;
                return Ok(Element { slot: register.slot, rows: register.rows() as u8 });
            }
            Ok(Element { slot: decoder.source(i, operand, ty)?, rows: rows(ty) as u8 })
        };
        match operand {
            Operand::Vector(operands) => operands.iter().map(|operand| one(self, operand)).collect(),
            Operand::Name(name) => match self.vector(name) {
                Some(registers) => {
                    Ok(registers.iter().map(|r| Element { slot: r.slot, rows: r.rows() as u8 }).collect())
                }
                None => Ok(vec![one(self, operand)?]),
            },
            _ => Ok(vec![one(self, operand)?]),
        }
    }

    /// `[base+offset]`, with variables resolved to their addresses.
    pub(super) fn address(&mut self, i: &Instruction, operand: &Operand) -> Result<Address, Unsupported> {
        let Operand::Address { base, offset } = operand else {
            return Err(unsupported(i, "an address operand"));
        };
        let name = match base {
            AddressBase::Absolute => return Ok(Address { base: NONE, wide: true, offset: *offset }),
            AddressBase::Name(name) => name,
        };
        if let Some(register) = self.register(name) {
            if !matches!(register.rows(), 1 | 2) || register.ty.bits() < 32 {
                return Err(unsupported(i, format!("`{name}` to be a register of 32 or 64 bits")));
            }
            return Ok(Address { base: register.slot, wide: register.rows() == 2, offset: *offset });
        }
        if let Some(local) = self.local_variable(name) {
            let base = self.fill(Fill::Local(local))?;
            return Ok(Address { base, wide: true, offset: *offset });
        }
        let absolute = if let Some(place) = self.place(name) {
            place.address
        } else if let Some(at) = self.program.param_offset(name).filter(|_| self.entry) {
            super::PARAM_WINDOW + at
        } else {
            return Err(unsupported(i, format!("this name: `{name}`")));
        };
        Ok(Address { base: NONE, wide: true, offset: (absolute as i64).wrapping_add(*offset) })
    }
}
