//! The table of instruction forms, read once from the `.forms` files.
//!
//! A line is one form: `head slots : operands @requirement`.
//! - The head is the opcode and the words that must directly follow it (`mbarrier.arrive.expect_tx`).
//! - A slot takes one modifier: `word` (must be there), `{a b}` (one of them must), `[a b]` (one of them may); `$name`
//!   stands for a `set`. Behind the head the order of modifiers is free, as it is for ptxas; types keep their order.
//! - An operand is `=` when it is written, `~` when a wider register will do, and then: a digit (the n-th type of the
//!   instruction), `w` (twice the first type), a type's name, `b` (any untyped register), `p` (predicate), `m` (what
//!   `mov` takes), `#` (integer constant), `#15` (one from 0 to 15), `L` (label), `@` (address), `@t` (address that may have coordinates), `_`
//!   (the sink), `*` (anything). Behind it: `|p` (a second predicate), `|` (the same, optional), `_` (or the sink), `v`
//!   (a vector as the modifiers say), `*4` (a vector of 4), `*any`, `*n2`, `*n4` (of N/2, N/4 of the shape), `*t` (as
//!   the shape and count of `tcgen05` say), `?` (may be missing). `a/b` is a choice.
//! - The requirement is the least target, `@90a` an architecture's own features, `@90a+` those of it or any later one,
//!   `@90a!` those that its family does not share (`sm_90a` has them, `sm_90f` has not), `@100a!103` the same but for
//!   one member.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::ast::Type;

/// What one modifier may be.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) words: Vec<&'static str>,
    pub(super) required: bool,
}

/// What an operand is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Class {
    /// The n-th type of the instruction.
    Type(usize),
    /// Twice the width of the first type.
    Wide,
    Fixed(Type),
    /// Any untyped register.
    Bits,
    Predicate,
    Move,
    /// An integer constant; from 0 to this, where it says so.
    Immediate(Option<u16>),
    Label,
    Address,
    TensorAddress,
    Sink,
    Any,
}

/// How many of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Scalar,
    /// By `.v2`, `.v4`, `.v8`.
    Modifier,
    Vector(usize),
    AnyVector,
    /// N of `m64nNk…` divided by this.
    Columns(usize),
    /// As `tcgen05.ld` and `.st` count.
    TensorMemory,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Second {
    None,
    Optional,
    Required,
}

/// One operand of a form.
#[derive(Clone, Debug)]
pub(super) struct OperandForm {
    pub(super) written: bool,
    pub(super) wider: bool,
    pub(super) class: Class,
    pub(super) shape: Shape,
    pub(super) second: Second,
    pub(super) sink: bool,
    pub(super) optional: bool,
    pub(super) or: Option<Class>,
}

/// The least target that has a form.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Requirement {
    pub(super) arch: u32,
    /// Needs a target with `a` or `f`.
    pub(super) specific: bool,
    /// …of this family only.
    pub(super) family_only: bool,
    /// …that ends in `a`.
    pub(super) own: bool,
    /// A member of the family that has it not; 0 for none.
    pub(super) without: u32,
}

/// One form.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// Words directly behind the opcode.
    pub(super) head: Vec<&'static str>,
    pub(super) slots: Vec<Slot>,
    pub(super) operands: Vec<OperandForm>,
    pub(super) requirement: Requirement,
}

/// All forms by opcode.
pub(super) struct Table {
    forms: HashMap<&'static str, Vec<Form>>,
}

impl Table {
    /// The table; reading it takes about a millisecond, once.
    pub(super) fn get() -> &'static Table {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| {
            let mut table = Table { forms: HashMap::new() };
            for text in [
                include_str!("forms/arithmetic.forms"),
                include_str!("forms/memory.forms"),
                include_str!("forms/control.forms"),
                include_str!("forms/matrix.forms"),
            ] {
                table.read(text);
            }
            table
        })
    }

    pub(super) fn forms(&self, opcode: &str) -> Option<&[Form]> {
        self.forms.get(opcode).map(Vec::as_slice)
    }

    pub(super) fn opcodes(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.forms.keys().copied()
    }

    fn read(&mut self, text: &'static str) {
        let mut sets = shapes();
        for line in text.lines() {
            let line = line.split_once("# ").filter(|(before, _)| before.is_empty()).map_or(line, |_| "");
            if line.is_empty() {
                continue;
            }
            if let Some((name, words)) = set_line(line) {
                let words = expand(words, &sets);
                sets.insert(name, words);
                continue;
            }
            let (left, right) = line.split_once(" :").unwrap_or((line, ""));
            let (head, slots) = left.split_once(' ').unwrap_or((left, ""));
            let mut head = head.split('.');
            let opcode = head.next().unwrap_or("");
            let mut form = Form {
                head: head.collect(),
                slots: read_slots(slots, &sets),
                operands: Vec::new(),
                requirement: Requirement::default(),
            };
            for word in right.split_whitespace() {
                match word.strip_prefix('@').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
                    Some(requirement) => form.requirement = read_requirement(requirement),
                    None => form.operands.push(read_operand(word)),
                }
            }
            self.forms.entry(opcode).or_default().push(form);
        }
    }
}

/// `set name = words`; there is also an opcode of that name.
fn set_line(line: &'static str) -> Option<(&'static str, &'static str)> {
    let (name, words) = line.strip_prefix("set ")?.split_once(" = ")?;
    (!name.contains(' ')).then_some((name, words))
}

/// The shapes of `wgmma`, which would be long to write out.
fn shapes() -> HashMap<&'static str, Vec<&'static str>> {
    static SHAPES: OnceLock<[Vec<String>; 4]> = OnceLock::new();
    let [k8, k16, k32, k32i] = SHAPES.get_or_init(|| {
        let all = |k: u32| (1..=32).map(|n| format!("m64n{}k{k}", n * 8)).collect();
        // Integer products come in fewer widths.
        let integer = (1..=32).map(|n| n * 8).filter(|n| *n <= 32 || n % 16 == 0);
        [all(8), all(16), all(32), integer.map(|n| format!("m64n{n}k32")).collect()]
    });
    let words = |list: &'static Vec<String>| list.iter().map(String::as_str).collect();
    HashMap::from([
        ("m64k8", words(k8)),
        ("m64k16", words(k16)),
        ("m64k32", words(k32)),
        ("m64k32i", words(k32i)),
    ])
}

fn expand(words: &'static str, sets: &HashMap<&'static str, Vec<&'static str>>) -> Vec<&'static str> {
    words
        .split_whitespace()
        .flat_map(|word| match word.strip_prefix('$') {
            Some(name) => sets.get(name).cloned().unwrap_or_default(),
            None => vec![word],
        })
        .collect()
}

fn read_slots(mut text: &'static str, sets: &HashMap<&'static str, Vec<&'static str>>) -> Vec<Slot> {
    let mut slots = Vec::new();
    loop {
        text = text.trim_start();
        let (words, required, rest) = if let Some(inner) = text.strip_prefix('{') {
            let (words, rest) = inner.split_once('}').unwrap_or((inner, ""));
            (words, true, rest)
        } else if let Some(inner) = text.strip_prefix('[') {
            let (words, rest) = inner.split_once(']').unwrap_or((inner, ""));
            (words, false, rest)
        } else if text.is_empty() {
            return slots;
        } else {
            let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
            (word, true, rest)
        };
        slots.push(Slot { words: expand(words, sets), required });
        text = rest;
    }
}

fn read_requirement(text: &str) -> Requirement {
    let (text, without) = text.split_once('!').unwrap_or((text, "f"));
    let digits = text.trim_end_matches(['a', '+']);
    Requirement {
        arch: digits.parse().unwrap_or(u32::MAX),
        specific: text.contains('a'),
        family_only: text.ends_with('a'),
        own: without != "f",
        without: without.parse().unwrap_or(0),
    }
}

fn read_operand(text: &'static str) -> OperandForm {
    let mut form = OperandForm {
        written: false,
        wider: false,
        class: Class::Any,
        shape: Shape::Scalar,
        second: Second::None,
        sink: false,
        optional: false,
        or: None,
    };
    let mut text = text;
    if text.len() > 1 && text.ends_with('?') {
        form.optional = true;
        text = &text[..text.len() - 1];
    }
    if let Some((first, second)) = text.split_once('/') {
        form.or = Some(read_class(second));
        text = first;
    }
    if let Some(rest) = text.strip_prefix('=') {
        form.written = true;
        text = rest;
    }
    if let Some(rest) = text.strip_prefix('~') {
        form.wider = true;
        text = rest;
    }
    for (suffix, second) in [("|p", Second::Required), ("|", Second::Optional)] {
        if let Some(rest) = text.strip_suffix(suffix) {
            form.second = second;
            text = rest;
        }
    }
    if text.len() > 1 && text.ends_with('_') {
        form.sink = true;
        text = &text[..text.len() - 1];
    }
    if let Some((class, count)) = text.split_once('*').filter(|(class, _)| !class.is_empty()) {
        form.shape = match count {
            "any" => Shape::AnyVector,
            "n2" => Shape::Columns(2),
            "n4" => Shape::Columns(4),
            "t" => Shape::TensorMemory,
            count => Shape::Vector(count.parse().unwrap_or(0)),
        };
        text = class;
    } else if let Some(class) = text.strip_suffix('v') {
        form.shape = Shape::Modifier;
        text = class;
    }
    form.class = read_class(text);
    form
}

fn read_class(text: &str) -> Class {
    match text {
        "w" => Class::Wide,
        "b" => Class::Bits,
        "p" => Class::Predicate,
        "m" => Class::Move,
        "#" => Class::Immediate(None),
        "L" => Class::Label,
        "@" => Class::Address,
        "@t" => Class::TensorAddress,
        "_" => Class::Sink,
        "1" | "2" | "3" | "4" => Class::Type(usize::from(text.as_bytes()[0] - b'1')),
        _ => match text.strip_prefix('#').and_then(|most| most.parse().ok()) {
            Some(most) => Class::Immediate(Some(most)),
            None => Type::parse(text).map_or(Class::Any, Class::Fixed),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A typing mistake in a table would otherwise quietly accept everything.
    #[test]
    fn tables_are_well_formed() {
        let table = Table::get();
        for text in [
            include_str!("forms/arithmetic.forms"),
            include_str!("forms/memory.forms"),
            include_str!("forms/control.forms"),
            include_str!("forms/matrix.forms"),
        ] {
            for line in text
                .lines()
                .filter(|line| !line.is_empty() && !line.starts_with("# ") && set_line(line).is_none())
            {
                assert!(line.contains(" :"), "no operands: {line}");
                let (_, operands) = line.split_once(" :").unwrap_or_default();
                for word in operands.split_whitespace() {
                    if word.starts_with('@') && word.len() > 1 && word.as_bytes()[1].is_ascii_digit() {
                        assert_ne!(read_requirement(&word[1..]).arch, u32::MAX, "{line}");
                    } else if read_operand(word).class == Class::Any {
                        assert!(word == "*" || word == "*?", "unknown operand `{word}`: {line}");
                    }
                }
            }
        }
        let forms: Vec<&Form> = table.forms.values().flatten().collect();
        for slot in forms.iter().flat_map(|form| &form.slots) {
            assert!(!slot.words.is_empty(), "a slot without words, or with an unknown set");
        }
        assert!(forms.len() > 300, "{} forms", forms.len());
    }
}
