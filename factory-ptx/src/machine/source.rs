//! Where instructions came from: `.file` and `.loc`, which nvcc writes with `-lineinfo` or `-G`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::ast::{Directive, Item, Module, Statement};

/// The deepest nesting of `{ … }` that is looked into.
const DEPTH: usize = 64;

/// A place in the source that the PTX was compiled from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// File, as the compiler wrote it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 when it is not known.
    pub column: u32,
    /// File and line of the call that the function was inlined at.
    pub inlined_at: Option<(Arc<str>, u32)>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if let Some((file, line)) = &self.inlined_at {
            write!(f, " (inlined at {file}:{line})")?;
        }
        Ok(())
    }
}

/// The source of each PTX line that has an instruction and a `.loc` before it.
pub(crate) fn sources(module: &Module) -> BTreeMap<u32, Source> {
    let mut walk = Walk { files: HashMap::new(), found: BTreeMap::new(), now: None };
    for item in &module.items {
        if let Item::Directive(Directive::File { index, name, .. }) = item {
            walk.files.insert(*index, name.as_str().into());
        }
    }
    if !walk.files.is_empty() {
        for function in module.functions() {
            walk.now = None;
            walk.statements(function.body.as_deref().unwrap_or_default(), 0);
        }
    }
    walk.found
}

struct Walk {
    files: HashMap<u32, Arc<str>>,
    found: BTreeMap<u32, Source>,
    now: Option<Source>,
}

impl Walk {
    fn statements(&mut self, statements: &[Statement], depth: usize) {
        for statement in statements {
            match statement {
                Statement::Block(inner) if depth < DEPTH => self.statements(inner, depth + 1),
                Statement::Directive(Directive::Loc(at)) => {
                    self.now = self.files.get(&at.file).filter(|_| at.line > 0).map(|file| Source {
                        file: file.clone(),
                        line: at.line,
                        column: at.column,
                        inlined_at: at
                            .inlined
                            .as_ref()
                            .and_then(|inlined| Some((self.files.get(&inlined.at.0)?.clone(), inlined.at.1))),
                    });
                }
                Statement::Instruction(instruction) => {
                    if let Some(source) = self.now.as_ref().filter(|_| instruction.span.line > 0) {
                        self.found.entry(instruction.span.line).or_insert_with(|| source.clone());
                    }
                }
                _ => {}
            }
        }
    }
}
