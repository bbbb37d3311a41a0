//! One instruction against its forms.

use std::rc::Rc;

use super::scope::{Meaning, special_register};
use super::table::{Class, Form, OperandForm, Requirement, Second, Shape};
use super::{Checker, Fault, shorten};
use crate::ast::{AddressBase, Instruction, Operand, Span, Type};
use crate::suggest;

/// Which forms' modifiers fit a mnemonic, and its types.
pub(super) struct Matched {
    forms: Vec<&'static Form>,
    types: Vec<Type>,
}

/// How far a form's slots took the modifiers.
enum Fit {
    Yes,
    /// The modifier at this index has no free slot.
    Stray(usize),
    /// All modifiers have slots, but this slot is empty.
    Lacks(usize),
}

fn fit(form: &Form, modifiers: &[String]) -> Fit {
    for (position, word) in form.head.iter().enumerate() {
        match modifiers.get(position) {
            Some(modifier) if modifier == word => {}
            _ => return Fit::Stray(position),
        }
    }
    // No form has this many slots.
    let mut filled = [false; 24];
    let count = form.slots.len().min(filled.len());
    // The order is free, except that types keep theirs, and so do state spaces: they say source and destination.
    let (mut type_floor, mut space_floor) = (0, 0);
    for (position, modifier) in modifiers.iter().enumerate().skip(form.head.len()) {
        let floor = if Type::parse(modifier).is_some() {
            &mut type_floor
        } else if is_space(modifier) {
            &mut space_floor
        } else {
            &mut 0
        };
        let takes = |slot: &usize| !filled[*slot] && form.slots[*slot].words.contains(&modifier.as_str());
        let Some(slot) = (*floor..count).find(takes) else { return Fit::Stray(position) };
        filled[slot] = true;
        *floor = slot + 1;
    }
    match form.slots.iter().zip(filled).position(|(slot, filled)| slot.required && !filled) {
        Some(slot) => Fit::Lacks(slot),
        None => Fit::Yes,
    }
}

impl<'m> Checker<'m> {
    pub(super) fn instruction(&mut self, instruction: &'m Instruction) {
        if let Some(guard) = &instruction.guard
            && !matches!(self.scopes.find(&guard.register), Some(Meaning::Register(Type::Pred, _)))
        {
            self.error(instruction.span, Fault::Guard { name: shorten(&guard.register) });
        }
        let key = (instruction.opcode.as_str(), instruction.modifiers.as_slice());
        let matched = match self.matched.get(&key) {
            Some(matched) => Rc::clone(matched),
            None => {
                let Some(matched) = self.modifiers(instruction).map(Rc::new) else { return };
                self.matched.insert(key, Rc::clone(&matched));
                matched
            }
        };
        let (major, minor) = super::version::least_version(instruction);
        if self.version < (major, minor) {
            let mnemonic = shorten(&instruction.mnemonic());
            self.error(instruction.span, Fault::Older { mnemonic, major, minor });
            return;
        }
        self.operands(instruction, &matched);
    }

    /// Finds the forms that the modifiers fit, and that the target has.
    fn modifiers(&mut self, instruction: &Instruction) -> Option<Matched> {
        let Some(forms) = self.table.forms(&instruction.opcode) else {
            self.unknown_opcode(instruction);
            return None;
        };
        let modifiers = &instruction.modifiers;
        let mut fitting = Vec::new();
        let mut stray = 0;
        let mut lacks: Option<&Form> = None;
        let mut lacking = 0;
        for form in forms {
            match fit(form, modifiers) {
                Fit::Yes => fitting.push(form),
                Fit::Stray(position) => stray = stray.max(position),
                Fit::Lacks(slot) if lacks.is_none() => {
                    lacks = Some(form);
                    lacking = slot;
                }
                Fit::Lacks(_) => {}
            }
        }
        if fitting.is_empty() {
            let mnemonic = shorten(&instruction.mnemonic());
            if let Some(form) = lacks {
                let words =
                    form.slots[lacking].words.iter().take(12).map(|word| (*word).to_owned()).collect();
                self.error(instruction.span, Fault::Missing { mnemonic, words });
            } else if let Some(modifier) = modifiers.get(stray) {
                let words = forms
                    .iter()
                    .flat_map(|form| form.head.iter().chain(form.slots.iter().flat_map(|s| &s.words)));
                let near = suggest::nearest(modifier, words.copied()).map(|near| format!(".{near}"));
                let span = modifier_span(instruction, stray);
                self.error(span, Fault::Modifier { modifier: shorten(modifier), mnemonic, near });
            } else {
                let words =
                    forms.iter().filter_map(|form| form.head.get(stray)).take(12).map(|w| (*w).to_owned());
                let words = words.collect();
                self.error(instruction.span, Fault::Missing { mnemonic, words });
            }
            return None;
        }
        let have: Vec<&Form> = fitting.iter().copied().filter(|form| self.has(form.requirement)).collect();
        if have.is_empty() {
            let needs = requirement_name(fitting[0].requirement);
            let (what, target) = (shorten(&instruction.mnemonic()), self.target.name.clone());
            self.error(instruction.span, Fault::Target { what, needs, target });
            return None;
        }
        for (position, word) in modifiers.iter().enumerate() {
            let least = match word.as_str() {
                "cluster" | "shared::cluster" | "multicast::cluster" => 90,
                // Reductions of eight halves are older than loads and stores of 32 bytes.
                "v8" if matches!(instruction.opcode.as_str(), "atom" | "red") => 90,
                "v8" | "cta_group::1" | "cta_group::2" => 100,
                _ => 0,
            };
            if self.target.arch < least {
                let (what, target) = (format!(".{word}"), self.target.name.clone());
                let fault = Fault::Target { what, needs: format!("sm_{least}"), target };
                self.error(modifier_span(instruction, position), fault);
                return None;
            }
        }
        Some(Matched { forms: have, types: instruction.types().collect() })
    }

    fn has(&self, requirement: Requirement) -> bool {
        let Requirement { arch, specific, family_only, own, without } = requirement;
        if own && !self.target.name.ends_with('a') || without != 0 && self.target.arch == without {
            return false;
        }
        if family_only {
            // 100, 101, 103 and 110 are one family as far as tensor memory goes; 90 stands alone.
            let family = match arch {
                100 => 100..=110,
                120 => 120..=121,
                _ => arch..=arch,
            };
            return self.target.specific && family.contains(&self.target.arch);
        }
        self.target.arch >= arch && (!specific || self.target.specific)
    }

    fn operands(&mut self, instruction: &Instruction, matched: &Matched) {
        let mut failure: Option<(usize, String)> = None;
        let mut few = false;
        let mut count_only = true;
        for form in &matched.forms {
            let mut attempt = Attempt { instruction, types: &matched.types, furthest: 0, why: None };
            if self.walk(&mut attempt, &form.operands, &instruction.operands, 0) {
                return;
            }
            match attempt.why {
                Some(why) if failure.as_ref().is_none_or(|(before, _)| attempt.furthest >= *before) => {
                    count_only = false;
                    failure = Some((attempt.furthest, why));
                }
                Some(_) => count_only = false,
                None => {
                    few = form.operands.iter().filter(|o| !o.optional).count() > instruction.operands.len()
                }
            }
        }
        let mnemonic = shorten(&instruction.mnemonic());
        match failure {
            Some((position, why)) if !count_only => {
                self.error(instruction.span, Fault::Operand { position: position + 1, mnemonic, why });
            }
            _ => {
                let found = instruction.operands.len();
                self.error(instruction.span, Fault::Count { mnemonic, found, few });
            }
        }
    }

    /// Matches operands with their forms; an optional form may be skipped.
    fn walk(
        &self,
        attempt: &mut Attempt<'_>,
        forms: &[OperandForm],
        operands: &[Operand],
        position: usize,
    ) -> bool {
        let Some((form, forms_rest)) = forms.split_first() else {
            return operands.is_empty();
        };
        if let Some((operand, operands_rest)) = operands.split_first() {
            match self.operand(attempt, form, operand) {
                Ok(()) => {
                    if self.walk(attempt, forms_rest, operands_rest, position + 1) {
                        return true;
                    }
                }
                Err(why) => {
                    if position >= attempt.furthest {
                        attempt.furthest = position;
                        attempt.why = Some(why);
                    }
                }
            }
        }
        form.optional && self.walk(attempt, forms_rest, operands, position)
    }

    fn operand(&self, attempt: &Attempt<'_>, form: &OperandForm, operand: &Operand) -> Result<(), String> {
        if let Some(or) = form.or
            && self.class(attempt, form, or, operand).is_ok()
        {
            return Ok(());
        }
        match (form.second, operand) {
            (Second::Required, Operand::Pair(first, second))
            | (Second::Optional, Operand::Pair(first, second)) => {
                if **first != Operand::Discard {
                    self.class(attempt, form, form.class, first)?;
                }
                return match **second {
                    Operand::Discard => Ok(()),
                    _ => self.class(attempt, form, Class::Predicate, second),
                };
            }
            (Second::Required, _) => return Err("it must be a pair such as `%r1|%p1`".to_owned()),
            (Second::None, Operand::Pair(..)) => return Err("a pair does not fit here".to_owned()),
            _ => {}
        }
        if *operand == Operand::Discard && form.sink {
            return Ok(());
        }
        let wanted = match form.shape {
            Shape::Scalar => return self.class(attempt, form, form.class, operand),
            Shape::Modifier => match vector_width(attempt.instruction) {
                None => return self.class(attempt, form, form.class, operand),
                Some(width) => Some(width),
            },
            Shape::Vector(1) if !matches!(operand, Operand::Vector(_)) => {
                return self.class(attempt, form, form.class, operand);
            }
            Shape::Vector(count) => Some(count),
            Shape::AnyVector => None,
            Shape::Columns(divisor) => columns(attempt.instruction).map(|n| n / divisor),
            Shape::TensorMemory => tensor_memory_words(attempt.instruction),
        };
        if form.shape == Shape::Modifier
            && attempt.types.first().is_some_and(|ty| self.too_wide(attempt.instruction, *ty))
        {
            return Err(
                "vectors of more than 16 bytes have 8 elements of 32 bits or 4 of 64, and need `sm_100` and global \
                 memory"
                    .to_owned()
            );
        }
        match operand {
            Operand::Vector(elements) => {
                if let Some(wanted) = wanted
                    && elements.len() != wanted
                {
                    return Err(format!("the vector has {} elements instead of {wanted}", elements.len()));
                }
                elements
                    .iter()
                    .filter(|element| **element != Operand::Discard || !form.written)
                    .try_for_each(|element| self.class(attempt, form, form.class, element))
            }
            // A register that was declared as a vector is one operand.
            Operand::Name(name) => match (self.scopes.find(name), wanted) {
                (Some(Meaning::Register(_, width)), Some(wanted))
                    if width > 1 && usize::from(width) == wanted =>
                {
                    Ok(())
                }
                (Some(Meaning::Register(_, 1)), Some(1)) if form.shape != Shape::TensorMemory => {
                    self.class(attempt, form, form.class, operand)
                }
                _ => Err("it must be a vector such as `{%r1, %r2}`".to_owned()),
            },
            Operand::Integer(_)
                if wanted == Some(1) || (form.shape == Shape::TensorMemory && !form.written) =>
            {
                Ok(())
            }
            _ => Err("it must be a vector such as `{%r1, %r2}`".to_owned()),
        }
    }

    fn too_wide(&self, instruction: &Instruction, ty: Type) -> bool {
        let width = vector_width(instruction).unwrap_or(1) as u32;
        let access = matches!(instruction.opcode.as_str(), "ld" | "st");
        if access && (ty.bits() * width > 256 || (width == 8 && ty.bits() != 32)) {
            return true;
        }
        ty.bits() * width > 128 && (self.target.arch < 100 || !instruction.has("global"))
    }

    fn class(
        &self,
        attempt: &Attempt<'_>,
        form: &OperandForm,
        class: Class,
        operand: &Operand,
    ) -> Result<(), String> {
        let missing = || "the instruction does not say its type".to_owned();
        match class {
            Class::Any => self.known(operand),
            Class::Type(index) => {
                let ty = *attempt.types.get(index).ok_or_else(missing)?;
                self.value(ty, form, operand)
            }
            Class::Wide => {
                let ty = *attempt.types.first().ok_or_else(missing)?;
                let wide = match ty {
                    Type::U16 => Type::U32,
                    Type::S16 => Type::S32,
                    Type::U32 => Type::U64,
                    _ => Type::S64,
                };
                self.value(wide, form, operand)
            }
            Class::Fixed(ty) => self.value(ty, form, operand),
            Class::Bits => match self.register(operand)? {
                Some((ty, _)) if ty != Type::Pred => Ok(()),
                _ => Err("it must be a register".to_owned()),
            },
            Class::Predicate => self.predicate(form, operand),
            Class::Move => self.moved(attempt, form, operand),
            Class::Immediate(most) => match operand {
                Operand::Integer(value) => match most {
                    Some(most) if !(0..=i128::from(most)).contains(value) => {
                        Err(format!("it must be a constant from 0 to {most}"))
                    }
                    _ => Ok(()),
                },
                _ => Err("it must be an integer constant".to_owned()),
            },
            Class::Label => match operand {
                Operand::Name(name) if matches!(self.scopes.find(name), Some(Meaning::Label)) => Ok(()),
                Operand::Name(name) => Err(format!("there is no label `{}` here", shorten(name))),
                _ => Err("it must be a label".to_owned()),
            },
            Class::Sink => match operand {
                Operand::Discard => Ok(()),
                _ => Err("it must be `_`: a remote barrier gives no state back".to_owned()),
            },
            Class::Address => self.address(attempt.instruction, operand),
            Class::TensorAddress => match operand {
                Operand::TensorAddress(parts) => parts.iter().try_for_each(|part| match part {
                    Operand::Vector(elements) => elements.iter().try_for_each(|element| self.known(element)),
                    other => self.known(other),
                }),
                _ => self.address(attempt.instruction, operand),
            },
        }
    }

    /// The type of a register operand; `None` when it is something else.
    fn register(&self, operand: &Operand) -> Result<Option<(Type, u8)>, String> {
        let Operand::Name(name) = operand else { return Ok(None) };
        match self.scopes.find(name) {
            Some(Meaning::Register(ty, vector)) => return Ok(Some((ty, vector))),
            Some(_) => return Ok(None),
            None => {}
        }
        if name.as_str() == "WARP_SZ" || special_register(name).is_some() {
            return Ok(None);
        }
        // A component of a vector register, or the selector of a video instruction.
        if let Some((base, component)) = name.split_once('.')
            && let Some(Meaning::Register(ty, vector)) = self.scopes.find(base)
        {
            let limit = usize::from(vector);
            let index = ["x", "y", "z", "w"].iter().position(|c| *c == component);
            let colour = ["r", "g", "b", "a"].iter().position(|c| *c == component);
            return match index.or(colour) {
                Some(index) if index < limit && limit > 1 => Ok(Some((ty, 1))),
                _ if is_selector(component) => Ok(Some((Type::B32, 1))),
                _ => Err(format!("`{}` has no component `.{}`", shorten(base), shorten(component))),
            };
        }
        Err(format!("`{}` is not declared", shorten(name)))
    }

    /// A value of type `ty`.
    fn value(&self, ty: Type, form: &OperandForm, operand: &Operand) -> Result<(), String> {
        if ty == Type::Pred {
            return self.predicate(form, operand);
        }
        if let Some((register, vector)) = self.register(operand)? {
            if vector != 1 {
                return Err("it is a vector register".to_owned());
            }
            return match agree(ty, register, form.wider) {
                true => Ok(()),
                false => Err(format!("a `.{register}` register does not fit `.{ty}`")),
            };
        }
        if form.written {
            return Err("it must be a register".to_owned());
        }
        let float = is_float(ty);
        match operand {
            Operand::Integer(_) if !float => Ok(()),
            Operand::F32(_) | Operand::F64(_) if matches!(ty, Type::F32 | Type::F64) => Ok(()),
            Operand::F32(_) | Operand::F64(_) if is_bits(ty) => Ok(()),
            Operand::Integer(_) => Err(format!("an integer constant does not fit `.{ty}`")),
            Operand::F32(_) | Operand::F64(_) => Err(format!("a float constant does not fit `.{ty}`")),
            Operand::Name(name) if name.as_str() == "WARP_SZ" && !float => Ok(()),
            Operand::Name(name) if special_register(name).is_some() => {
                Err("a special register can only be read by `mov`".to_owned())
            }
            Operand::Name(_) | Operand::SymbolOffset { .. } | Operand::Element { .. }
                if !float && ty.bits() >= 32 =>
            {
                self.known(operand)
            }
            _ => Err(format!("it does not fit `.{ty}`")),
        }
    }

    fn predicate(&self, form: &OperandForm, operand: &Operand) -> Result<(), String> {
        match operand {
            Operand::Not(inner) if !form.written => self.predicate(form, inner),
            Operand::Integer(_) if !form.written => Ok(()),
            Operand::Discard if form.written => Ok(()),
            _ => match self.register(operand)? {
                Some((Type::Pred, _)) => Ok(()),
                Some((ty, _)) => Err(format!("it must be a predicate, not a `.{ty}` register")),
                None => Err("it must be a predicate".to_owned()),
            },
        }
    }

    /// What `mov` takes: registers, constants, special registers, addresses, packed vectors.
    fn moved(&self, attempt: &Attempt<'_>, form: &OperandForm, operand: &Operand) -> Result<(), String> {
        let Some(ty) = attempt.types.first().copied() else { return Err("`mov` needs a type".to_owned()) };
        match operand {
            Operand::Vector(elements) => {
                let mut bits = 0;
                for element in elements {
                    bits += match (element, self.register(element)?) {
                        (_, Some((register, 1))) if register != Type::Pred => register.bits(),
                        (Operand::Discard, _) if form.written => ty.bits() / elements.len().max(1) as u32,
                        (Operand::Integer(_) | Operand::F32(_) | Operand::F64(_), _) if !form.written => {
                            ty.bits() / elements.len().max(1) as u32
                        }
                        _ => return Err("a packed vector is made of registers".to_owned()),
                    };
                }
                if is_bits(ty) && bits == ty.bits() {
                    Ok(())
                } else {
                    Err(format!("the vector has {bits} bits, and `.{ty}` does not hold that"))
                }
            }
            Operand::Name(name) if !form.written && special_register(name).is_some() => Ok(()),
            _ => self.value(ty, form, operand),
        }
    }

    fn address(&self, instruction: &Instruction, operand: &Operand) -> Result<(), String> {
        let base = match operand {
            Operand::Address { base: AddressBase::Name(name), .. } => name,
            Operand::Address { base: AddressBase::Absolute, .. } => return Ok(()),
            _ => return Err("it must be an address such as `[%rd1]`".to_owned()),
        };
        let name = Operand::Name(base.clone());
        match self.register(&name)? {
            Some((Type::B64 | Type::U64 | Type::S64, 1)) => Ok(()),
            Some((Type::B32 | Type::U32 | Type::S32, 1)) => {
                let plain = matches!(instruction.opcode.as_str(), "ld" | "st" | "atom" | "red");
                if plain && instruction.has("global") {
                    return Err("global addresses have 64 bits".to_owned());
                }
                Ok(())
            }
            Some((ty, _)) => Err(format!("a `.{ty}` register is no address")),
            None => match self.scopes.find(base) {
                Some(Meaning::Memory | Meaning::Function(_)) => Ok(()),
                _ => Err(format!("`{}` is not a variable or register", shorten(base))),
            },
        }
    }

    /// Any operand whose names are declared.
    fn known(&self, operand: &Operand) -> Result<(), String> {
        match operand {
            Operand::Name(_) => self.register(operand).map(|_| ()),
            Operand::SymbolOffset { name, .. } | Operand::Element { name, .. } => {
                match self.scopes.find(name) {
                    Some(Meaning::Memory | Meaning::Function(_)) => Ok(()),
                    _ => Err(format!("`{}` is not declared", shorten(name))),
                }
            }
            Operand::Address { base: AddressBase::Name(name), .. } => {
                self.known(&Operand::Name(name.clone()))
            }
            Operand::Vector(elements) | Operand::Group(elements) | Operand::TensorAddress(elements) => {
                elements.iter().try_for_each(|element| self.known(element))
            }
            Operand::Pair(first, second) => self.known(first).and_then(|()| self.known(second)),
            Operand::Not(inner) => self.known(inner),
            _ => Ok(()),
        }
    }
}

/// Words that name a state space.
fn is_space(word: &str) -> bool {
    matches!(word, "global" | "shared" | "shared::cta" | "shared::cluster" | "local" | "const" | "param")
}

/// One form tried on one instruction.
struct Attempt<'a> {
    instruction: &'a Instruction,
    types: &'a [Type],
    /// The furthest operand that did not fit, and why.
    furthest: usize,
    why: Option<String>,
}

/// The place of a modifier, counted from the opcode: modifiers follow it without gaps in all but contrived texts.
fn modifier_span(instruction: &Instruction, index: usize) -> Span {
    let before: usize = instruction.modifiers[..index].iter().map(|word| word.len() + 1).sum();
    let skip = (instruction.opcode.len() + before) as u32;
    let len = instruction.modifiers.get(index).map_or(1, |word| word.len() as u32 + 1);
    let span = instruction.span;
    Span { column: span.column + skip, offset: span.offset + skip, len, ..span }
}

fn requirement_name(requirement: Requirement) -> String {
    let Requirement { arch, specific, family_only, .. } = requirement;
    match (specific, family_only) {
        (true, false) => format!("sm_{arch}a or a later one with `a`"),
        (true, true) => format!("sm_{arch}a"),
        _ => format!("sm_{arch}"),
    }
}

fn is_bits(ty: Type) -> bool {
    matches!(ty, Type::B8 | Type::B16 | Type::B32 | Type::B64 | Type::B128)
}

fn is_integer(ty: Type) -> bool {
    use Type as T;
    matches!(ty, T::U8 | T::U16 | T::U32 | T::U64 | T::S8 | T::S16 | T::S32 | T::S64)
}

fn is_float(ty: Type) -> bool {
    matches!(ty, Type::F16 | Type::F16x2 | Type::BF16 | Type::BF16x2 | Type::F32 | Type::F64)
}

/// Whether a register may hold an operand of an instruction's type: same width, and integer with integer, float with
/// the same float, untyped with all.
fn agree(ty: Type, register: Type, wider: bool) -> bool {
    let (bits, have) = (ty.bits(), register.bits());
    if register == Type::Pred || !(bits == have || (wider && have > bits)) {
        return false;
    }
    if is_bits(register) || is_bits(ty) {
        return true;
    }
    if is_integer(ty) {
        return is_integer(register);
    }
    if matches!(ty, Type::F32 | Type::F64) {
        return register == ty;
    }
    register == ty || (!is_float(register) && !is_float(ty))
}

/// Parts of a register, as video instructions name them: `.b0`, `.h1`, `.h10`, `.b7531`.
fn is_selector(text: &str) -> bool {
    let mut bytes = text.bytes();
    let most = match bytes.next() {
        Some(b'b') => 7,
        Some(b'h') => 3,
        _ => return false,
    };
    matches!(text.len(), 2..=5) && bytes.all(|digit| (b'0'..=b'0' + most).contains(&digit))
}

fn vector_width(instruction: &Instruction) -> Option<usize> {
    instruction.modifiers.iter().find_map(|word| match word.as_str() {
        "v2" => Some(2),
        "v4" => Some(4),
        "v8" => Some(8),
        _ => None,
    })
}

/// N of `m64nNk16`.
fn columns(instruction: &Instruction) -> Option<usize> {
    let shape = instruction.modifiers.iter().find_map(|word| word.strip_prefix("m64n"))?;
    shape.split_once('k')?.0.parse().ok()
}

/// 32-bit registers of a `tcgen05.ld` or `.st`: words of the shape times the count.
fn tensor_memory_words(instruction: &Instruction) -> Option<usize> {
    let words = instruction.modifiers.iter().find_map(|word| match word.as_str() {
        "16x64b" | "32x32b" | "16x32bx2" => Some(1),
        "16x128b" => Some(2),
        "16x256b" => Some(4),
        _ => None,
    })?;
    let count: usize = instruction.modifiers.iter().find_map(|word| word.strip_prefix('x')?.parse().ok())?;
    Some(words * count)
}
