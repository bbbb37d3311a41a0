//! An entry under construction: registers, parameters, labels and control flow.

use super::class::{B32, B64, CLASSES, Class, F32, F64, Pred, Reg, Src};
use crate::ast::{
    AddressBase, Function, FunctionDirective, FunctionKind, Guard, Instruction, Item, Linking, Module,
    Operand, PointerAttribute, Space, Span, Statement, Type, Variable,
};

/// A label of one [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(u32);

impl Label {
    fn name(self) -> String {
        format!("$L{}", self.0)
    }
}

/// Builds a module from finished entries.
pub fn module(version: (u32, u32), target: &str, entries: impl IntoIterator<Item = Vec<Item>>) -> Module {
    Module {
        version,
        target: vec![target.to_owned()],
        address_size: 64,
        items: entries.into_iter().flatten().collect(),
    }
}

/// A kernel entry under construction.
#[derive(Debug)]
pub struct Entry {
    name: String,
    params: Vec<Variable>,
    directives: Vec<FunctionDirective>,
    outside: Vec<Variable>,
    declarations: Vec<Variable>,
    body: Vec<Statement>,
    registers: [u32; CLASSES],
    labels: u32,
    guard: Option<Guard>,
    /// Made before everything else, where anything asks for it.
    evict_last: Option<Reg<B64>>,
}

impl Entry {
    /// An entry without parameters and directives.
    pub fn new(name: &str) -> Self {
        Entry {
            name: name.to_owned(),
            params: Vec::new(),
            directives: Vec::new(),
            outside: Vec::new(),
            declarations: Vec::new(),
            body: Vec::new(),
            registers: [0; CLASSES],
            labels: 0,
            guard: None,
            evict_last: None,
        }
    }

    /// Adds a performance directive (`.reqntid`, `.maxnreg`, …).
    pub fn directive(&mut self, directive: FunctionDirective) {
        self.directives.push(directive);
    }

    /// Appends `ret` and returns the entry, behind the variables of module scope that it needs.
    pub fn finish(mut self) -> Vec<Item> {
        self.emit("ret", &[], Vec::new());
        if let Some(policy) = self.evict_last {
            let words = ["fractional", "L2::evict_last", "b64"];
            self.emit("createpolicy", &words, vec![policy.operand(), Operand::F32(1.0f32.to_bits())]);
            // It comes before all that was emitted.
            self.body.rotate_right(1);
        }
        let mut body = Vec::with_capacity(self.body.len() + self.declarations.len() + CLASSES);
        for (name, ty, count) in [
            (Pred::PREFIX, Pred::TYPE, self.registers[Pred::INDEX]),
            (super::B16::PREFIX, super::B16::TYPE, self.registers[super::B16::INDEX]),
            (B32::PREFIX, B32::TYPE, self.registers[B32::INDEX]),
            (B64::PREFIX, B64::TYPE, self.registers[B64::INDEX]),
            (F32::PREFIX, F32::TYPE, self.registers[F32::INDEX]),
            (F64::PREFIX, F64::TYPE, self.registers[F64::INDEX]),
        ] {
            if count > 0 {
                body.push(Statement::Variable(Variable {
                    range: Some(count),
                    ..variable(Space::Reg, ty, name)
                }));
            }
        }
        body.extend(self.declarations.into_iter().map(Statement::Variable));
        body.append(&mut self.body);
        let mut items: Vec<Item> = self.outside.into_iter().map(Item::Variable).collect();
        items.push(Item::Function(Function {
            kind: FunctionKind::Entry,
            linking: Some(Linking::Visible),
            attributes: Vec::new(),
            name: self.name,
            returns: Vec::new(),
            params: self.params,
            directives: self.directives,
            body: Some(body),
            span: Span::default(),
        }));
        items
    }

    /// The cache policy of lines that the second level keeps longest: one for the whole entry.
    pub(super) fn evict_last(&mut self) -> Reg<B64> {
        if let Some(policy) = self.evict_last {
            return policy;
        }
        let policy = self.register();
        self.evict_last = Some(policy);
        policy
    }

    /// A fresh register, not yet written.
    pub fn register<C: Class>(&mut self) -> Reg<C> {
        let number = self.registers[C::INDEX];
        self.registers[C::INDEX] += 1;
        Reg::new(number)
    }

    /// Appends one instruction under the current guard.
    pub(super) fn emit(&mut self, opcode: &str, modifiers: &[&str], operands: Vec<Operand>) {
        self.body.push(Statement::Instruction(Instruction {
            guard: self.guard.clone(),
            opcode: opcode.to_owned(),
            modifiers: modifiers.iter().map(|&word| word.to_owned()).collect(),
            operands,
            span: Span::default(),
        }));
    }

    /// Appends an instruction with one fresh result.
    pub(super) fn result<D: Class>(
        &mut self,
        opcode: &str,
        modifiers: &[&str],
        sources: impl IntoIterator<Item = Operand>,
    ) -> Reg<D> {
        let destination = self.register::<D>();
        let mut operands = vec![destination.operand()];
        operands.extend(sources);
        self.emit(opcode, modifiers, operands);
        destination
    }

    fn parameter(&mut self, name: &str, ty: Type, pointer: Option<PointerAttribute>) -> Operand {
        self.params.push(Variable { pointer, ..variable(Space::Param, ty, name) });
        Operand::Address { base: AddressBase::Name(name.to_owned()), offset: 0 }
    }

    /// Declares a 64-bit parameter that holds an address, and loads it as an address of global memory.
    pub fn param_pointer(&mut self, name: &str) -> Reg<B64> {
        let source = self.parameter(name, Type::U64, None);
        let generic: Reg<B64> = self.result("ld", &["param", "u64"], [source]);
        self.result("cvta", &["to", "global", "u64"], [generic.operand()])
    }

    /// Declares and loads a 32-bit integer parameter.
    pub fn param_b32(&mut self, name: &str) -> Reg<B32> {
        let source = self.parameter(name, Type::U32, None);
        self.result("ld", &["param", "u32"], [source])
    }

    /// Declares and loads a 64-bit integer parameter.
    pub fn param_b64(&mut self, name: &str) -> Reg<B64> {
        let source = self.parameter(name, Type::U64, None);
        self.result("ld", &["param", "u64"], [source])
    }

    /// Declares and loads an `f32` parameter.
    pub fn param_f32(&mut self, name: &str) -> Reg<F32> {
        let source = self.parameter(name, Type::F32, None);
        self.result("ld", &["param", "f32"], [source])
    }

    /// Declares and loads an `f64` parameter.
    pub fn param_f64(&mut self, name: &str) -> Reg<F64> {
        let source = self.parameter(name, Type::F64, None);
        self.result("ld", &["param", "f64"], [source])
    }

    /// Declares a parameter of a type narrower than 32 bits and loads it; `ty` is its load type (`B8`, `B16`, `S8`, …).
    pub fn param_narrow(&mut self, name: &str, ty: Type) -> Reg<super::B16> {
        let source = self.parameter(name, ty, None);
        self.result("ld", &["param", ty.name()], [source])
    }

    /// Declares a shared array of this entry and returns its address (an offset in the shared window, 32 bits).
    pub fn shared_array(&mut self, name: &str, bytes: u32, align: u32) -> Reg<B32> {
        self.declarations.push(Variable {
            align: Some(align),
            array: vec![Some(u64::from(bytes))],
            ..variable(Space::Shared, Type::B8, name)
        });
        self.result("mov", &["b32"], [Operand::Name(name.to_owned())])
    }

    /// Declares the dynamic shared memory (`extern`, at module scope) and returns its address in the shared window.
    pub fn dynamic_shared(&mut self, name: &str, align: u32) -> Reg<B32> {
        self.outside.push(Variable {
            align: Some(align),
            array: vec![None],
            linking: Some(Linking::Extern),
            ..variable(Space::Shared, Type::B8, name)
        });
        self.result("mov", &["b32"], [Operand::Name(name.to_owned())])
    }

    /// Reads a 32-bit special register such as `%tid.x`.
    pub fn special(&mut self, name: &str) -> Reg<B32> {
        self.result("mov", &["u32"], [Operand::Name(name.to_owned())])
    }

    /// `%ctaid.x * %ntid.x + %tid.x`
    pub fn global_thread_index(&mut self) -> Reg<B32> {
        let block = self.special("%ctaid.x");
        let size = self.special("%ntid.x");
        let thread = self.special("%tid.x");
        self.mad_lo_s32(block, size, thread)
    }

    /// Overwrites a register: for accumulators and counters.
    pub fn assign<C: Class>(&mut self, destination: Reg<C>, source: impl Into<Src<C>>) {
        self.emit("mov", &[C::TYPE.name()], vec![destination.operand(), source.into().operand()]);
    }

    /// A fresh register with a copy of the value: for what will be overwritten.
    pub fn copy<C: Class>(&mut self, source: impl Into<Src<C>>) -> Reg<C> {
        let destination = self.register();
        self.assign(destination, source);
        destination
    }

    /// A label, to be placed once.
    pub fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    /// Places a label here.
    pub fn place(&mut self, label: Label) {
        self.body.push(Statement::Label(label.name(), Span::default()));
    }

    /// Jumps.
    pub fn branch(&mut self, label: Label) {
        self.emit("bra", &[], vec![Operand::Name(label.name())]);
    }

    /// Jumps when `predicate` equals `expected`.
    pub fn branch_if(&mut self, predicate: Reg<Pred>, expected: bool, label: Label) {
        self.guarded_with(predicate, expected, |entry| entry.branch(label));
    }

    /// Ends the thread when the predicate holds.
    pub fn exit_if(&mut self, predicate: Reg<Pred>) {
        self.guarded(predicate, |entry| entry.emit("ret", &[], Vec::new()));
    }

    /// Emits what `part` emits under `@predicate`.
    ///
    /// Guards do not nest: only leaf instructions belong inside.
    pub fn guarded<T>(&mut self, predicate: Reg<Pred>, part: impl FnOnce(&mut Self) -> T) -> T {
        self.guarded_with(predicate, true, part)
    }

    /// Emits what `part` emits under `@predicate`, or `@!predicate` when `expected` is false.
    pub fn guarded_with<T>(
        &mut self,
        predicate: Reg<Pred>,
        expected: bool,
        part: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let outer = self.guard.replace(Guard { negated: !expected, register: predicate.name() });
        assert!(outer.is_none(), "guards do not nest");
        let value = part(self);
        self.guard = None;
        value
    }

    /// Emits `part` behind a branch around it: it runs where the predicate holds.
    pub fn when<T>(&mut self, predicate: Reg<Pred>, part: impl FnOnce(&mut Self) -> T) -> T {
        let skip = self.label();
        self.branch_if(predicate, false, skip);
        let value = part(self);
        self.place(skip);
        value
    }

    /// A loop tested at its head: `condition` emits the test, `part` the body.
    pub fn repeat_while(
        &mut self,
        condition: impl FnOnce(&mut Self) -> Reg<Pred>,
        part: impl FnOnce(&mut Self),
    ) {
        let head = self.label();
        let end = self.label();
        self.place(head);
        let goes_on = condition(self);
        self.branch_if(goes_on, false, end);
        part(self);
        self.branch(head);
        self.place(end);
    }

    /// Number of statements so far: a measure of the size of the code.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether nothing was emitted yet.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }
}

fn variable(space: Space, ty: Type, name: &str) -> Variable {
    Variable {
        space,
        linking: None,
        attributes: Vec::new(),
        align: None,
        vector: None,
        ty,
        pointer: None,
        name: name.to_owned(),
        range: None,
        array: Vec::new(),
        init: None,
        span: Span::default(),
    }
}
