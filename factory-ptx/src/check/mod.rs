//! A module against the table of forms and the names it declares.
//!
//! For every instruction: the opcode exists, its modifiers fit a form of the table, operands agree with the form in
//! number, kind and type, registers and symbols are declared before they are used, labels and callees exist, and the
//! module's `.target` has the form. Beyond that the checker promises nothing; where it is unsure it asks for the
//! narrower reading, because a kernel that is refused can be rewritten and one that is misread cannot be trusted.

mod instruction;
mod scope;
mod table;
mod version;

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use crate::ast::{Directive, Function, Instruction, Item, Module, Span, Statement, Variable};
use crate::error::Excerpt;
use crate::suggest;
use scope::{Meaning, Scopes};
use table::Table;

/// After this many errors the rest of the module is not checked.
const ERROR_LIMIT: usize = 100;

/// One thing that is wrong with a module that parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct CheckError {
    /// Where.
    pub span: Span,
    /// What.
    pub fault: Fault,
}

impl CheckError {
    /// The message with the line of `source`, the text that was parsed, under a caret.
    pub fn render(&self, source: &str) -> String {
        struct Rendered<'e>(&'e CheckError, Option<Excerpt>);
        impl fmt::Display for Rendered<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)?;
                match &self.1 {
                    Some(excerpt) => excerpt.render(f, self.0.span.line),
                    None => Ok(()),
                }
            }
        }
        Rendered(self, Excerpt::of(source, self.span)).to_string()
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.span.line, self.span.column, self.fault)
    }
}

/// `; did you mean …`, or nothing.
fn hint(near: &Option<String>) -> String {
    near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// What the checker can complain about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No such opcode.
    #[error("unknown opcode `{name}`{}", hint(.near))]
    Opcode {
        /// As written.
        name: String,
        /// The nearest known one.
        near: Option<String>,
    },
    /// The opcode has no such modifier, or not with the others.
    #[error("`.{modifier}` does not fit `{mnemonic}`{}", hint(.near))]
    Modifier {
        /// As written.
        modifier: String,
        /// The instruction.
        mnemonic: String,
        /// The nearest one that would fit.
        near: Option<String>,
    },
    /// A modifier is missing.
    #[error("`{mnemonic}` lacks one of {}", .words.iter().map(|word| format!("`.{word}`")).collect::<Vec<_>>().join(" "))]
    Missing {
        /// The instruction.
        mnemonic: String,
        /// What would do (the first few).
        words: Vec<String>,
    },
    /// Too many or too few operands.
    #[error("`{mnemonic}` has {found} operands, which is {}", if *.few { "too few" } else { "too many" })]
    Count {
        /// The instruction.
        mnemonic: String,
        /// As written.
        found: usize,
        /// Whether one is missing.
        few: bool,
    },
    /// An operand of the wrong kind or type.
    #[error("operand {position} of `{mnemonic}`: {why}")]
    Operand {
        /// Counted from 1.
        position: usize,
        /// The instruction.
        mnemonic: String,
        /// Reason.
        why: String,
    },
    /// The guard is no predicate register.
    #[error("guard `{name}` is not a declared predicate register")]
    Guard {
        /// As written.
        name: String,
    },
    /// The target does not have it.
    #[error("`{what}` needs `{needs}`, and the module's target is `{target}`")]
    Target {
        /// Instruction or modifier.
        what: String,
        /// Least target.
        needs: String,
        /// `.target`
        target: String,
    },
    /// Declared twice in one scope.
    #[error("`{name}` is declared twice in the same scope")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A table names a label or function that does not exist.
    #[error("`{name}` is not a {what} here")]
    Unresolved {
        /// The name.
        name: String,
        /// Label or function.
        what: &'static str,
    },
    /// `.target` that this crate does not know.
    #[error("unknown target `{name}`; it has the form `sm_90`, `sm_90a` or `sm_100f`")]
    UnknownTarget {
        /// As written.
        name: String,
    },
    /// `.version` is older than the instruction.
    #[error("`{mnemonic}` needs `.version {major}.{minor}` or later")]
    Older {
        /// The instruction.
        mnemonic: String,
        /// Major version.
        major: u32,
        /// Minor version.
        minor: u32,
    },
    /// `.version` is older than the target.
    #[error("`.target {target}` needs `.version {major}.{minor}` or later")]
    Version {
        /// `.target`
        target: String,
        /// Major version.
        major: u32,
        /// Minor version.
        minor: u32,
    },
}

/// Checks a module.
///
/// # Errors
/// Everything that is wrong, in order of place, at most 100.
pub fn check(module: &Module) -> Result<(), Vec<CheckError>> {
    let mut checker = Checker {
        table: Table::get(),
        scopes: Scopes::new(),
        errors: Vec::new(),
        target: Target::default(),
        version: module.version,
        matched: HashMap::new(),
    };
    checker.target(module);
    for item in &module.items {
        match item {
            Item::Function(function) => checker.function(function),
            Item::Variable(variable) => checker.variable(variable),
            Item::Directive(Directive::Alias { name, target, span }) => {
                if !matches!(checker.scopes.find(target), Some(Meaning::Function(_))) {
                    checker.error(*span, Fault::Unresolved { name: target.clone(), what: "function" });
                }
                checker.scopes.declare(name, Meaning::Table);
            }
            Item::Directive(_) => {}
        }
    }
    if checker.errors.is_empty() { Ok(()) } else { Err(checker.errors) }
}

/// The module's `.target`, read.
#[derive(Default)]
struct Target {
    name: String,
    arch: u32,
    /// `a` or `f` at the end.
    specific: bool,
}

struct Checker<'m> {
    table: &'static Table,
    scopes: Scopes<'m>,
    errors: Vec<CheckError>,
    target: Target,
    /// The module's `.version`.
    version: (u32, u32),
    /// Forms whose modifiers fit, by mnemonic: a module repeats few mnemonics many times.
    matched: HashMap<(&'m str, &'m [String]), Rc<instruction::Matched>>,
}

impl<'m> Checker<'m> {
    fn error(&mut self, span: Span, fault: Fault) {
        if self.errors.len() < ERROR_LIMIT {
            self.errors.push(CheckError { span, fault });
        }
    }

    fn target(&mut self, module: &Module) {
        for word in &module.target {
            let Some(number) = word.strip_prefix("sm_") else {
                let known = ["texmode_unified", "texmode_independent", "debug", "map_f64_to_f32"];
                if !known.contains(&word.as_str()) {
                    self.error(
                        Span { line: 1, column: 1, ..Span::default() },
                        Fault::UnknownTarget { name: word.clone() },
                    );
                }
                continue;
            };
            let digits = number.trim_end_matches(['a', 'f']);
            match digits.parse() {
                Ok(arch) if number.len() - digits.len() <= 1 => {
                    self.target = Target { name: word.clone(), arch, specific: digits.len() != number.len() };
                }
                _ => self.error(
                    Span { line: 1, column: 1, ..Span::default() },
                    Fault::UnknownTarget { name: word.clone() },
                ),
            }
        }
        let least = match (self.target.arch, self.target.specific) {
            (120.., _) => (8, 7),
            (103, _) => (8, 8),
            (100..=119, _) => (8, 6),
            (90, true) => (8, 0),
            (89 | 90, _) => (7, 8),
            (80..=88, _) => (7, 0),
            _ => (0, 0),
        };
        if module.version < least {
            let (major, minor) = least;
            let target = self.target.name.clone();
            self.error(
                Span { line: 1, column: 1, ..Span::default() },
                Fault::Version { target, major, minor },
            );
        }
    }

    fn variable(&mut self, variable: &'m Variable) {
        let anonymous = variable.name == "_";
        // `.extern` may be declared any number of times.
        if !anonymous && !self.scopes.declare_variable(variable) && variable.linking.is_none() {
            self.error(variable.span, Fault::Duplicate { name: variable.name.clone() });
        }
    }

    fn function(&mut self, function: &'m Function) {
        let known = self.scopes.find(&function.name);
        let redefined = matches!(known, Some(Meaning::Function(before)) if before.body.is_some() && function.body.is_some());
        if redefined || matches!(known, Some(Meaning::Memory)) {
            self.error(function.span, Fault::Duplicate { name: function.name.clone() });
        }
        let _ = self.scopes.declare(&function.name, Meaning::Function(function));
        let Some(body) = &function.body else { return };
        self.scopes.enter();
        for variable in function.returns.iter().chain(&function.params) {
            self.variable(variable);
        }
        self.block(body);
        self.scopes.leave();
    }

    /// The statements of a scope that the caller has entered.
    fn block(&mut self, statements: &'m [Statement]) {
        for statement in statements {
            let (name, span, meaning) = match statement {
                Statement::Label(name, span) => (name, *span, Meaning::Label),
                Statement::Directive(Directive::BranchTargets { label, span, .. }) => {
                    (label, *span, Meaning::Label)
                }
                Statement::Directive(Directive::CallTargets { label, span, .. }) => {
                    (label, *span, Meaning::Table)
                }
                Statement::Directive(Directive::CallPrototype(prototype)) => {
                    (&prototype.label, prototype.span, Meaning::Table)
                }
                _ => continue,
            };
            if !self.scopes.declare(name, meaning) {
                self.error(span, Fault::Duplicate { name: name.clone() });
            }
        }
        for statement in statements {
            if self.errors.len() >= ERROR_LIMIT {
                return;
            }
            match statement {
                Statement::Variable(variable) => self.variable(variable),
                Statement::Instruction(instruction) => self.instruction(instruction),
                Statement::Block(inner) => {
                    self.scopes.enter();
                    self.block(inner);
                    self.scopes.leave();
                }
                Statement::Directive(Directive::BranchTargets { targets, span, .. }) => {
                    for name in targets {
                        if !matches!(self.scopes.find(name), Some(Meaning::Label)) {
                            self.error(*span, Fault::Unresolved { name: name.clone(), what: "label" });
                        }
                    }
                }
                Statement::Directive(Directive::CallTargets { targets, span, .. }) => {
                    for name in targets {
                        if !matches!(self.scopes.find(name), Some(Meaning::Function(_))) {
                            self.error(*span, Fault::Unresolved { name: name.clone(), what: "function" });
                        }
                    }
                }
                Statement::Label(..) | Statement::Directive(_) => {}
            }
        }
    }

    fn unknown_opcode(&mut self, instruction: &Instruction) {
        let span = Span { len: instruction.opcode.len() as u32, ..instruction.span };
        let near = suggest::nearest(&instruction.opcode, self.table.opcodes()).map(str::to_owned);
        self.error(span, Fault::Opcode { name: shorten(&instruction.opcode), near });
    }
}

/// At most 80 characters of a hostile word.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}
