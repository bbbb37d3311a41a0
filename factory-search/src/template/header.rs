//! What a template's header says.

use std::sync::Arc;

use factory_spec::{Arch, BoundSpec, SizeExpr, SourceText, Span, TensorMapPlan};

use crate::candidate::TunableValue;

/// A value and its place in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// Something to vary, likeliest value first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tunable {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) values: Vec<TunableValue>,
}

/// What is passed for a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Param {
    /// An argument of the spec or a scratch buffer.
    Named(String),
    /// An integer of so many bytes.
    Integer { value: SizeExpr, bytes: u8 },
    /// A tensor map over an argument or a scratch buffer of this name.
    Map { over: String, map: Box<TensorMapPlan> },
}

/// One launch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launch {
    pub(crate) span: Span,
    /// A name, or a C++ name expression such as `rows<VEC>`.
    pub(crate) entry: Located<String>,
    pub(crate) grid: [Located<SizeExpr>; 3],
    pub(crate) block: [Located<SizeExpr>; 3],
    pub(crate) cluster: [Located<SizeExpr>; 3],
    pub(crate) shared: Located<SizeExpr>,
    pub(crate) programmatic: bool,
    pub(crate) params: Vec<Located<Param>>,
}

/// A scratch buffer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Buffer {
    pub(crate) name: Located<String>,
    pub(crate) bytes: Located<SizeExpr>,
    pub(crate) zero: bool,
}

/// What a header says. Expressions may name tunables and sizes alike.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) source: Arc<SourceText>,
    /// The whole header.
    pub(crate) span: Span,
    pub(crate) name: String,
    pub(crate) spec: Option<Located<String>>,
    /// Empty: every target of the spec.
    pub(crate) arch: Vec<Arch>,
    pub(crate) arch_span: Span,
    pub(crate) when: Located<SizeExpr>,
    pub(crate) alignment: Located<SizeExpr>,
    /// Whether its likeliest configuration serves every size.
    pub(crate) fallback: Option<Span>,
    /// Whether that is all that it is for.
    pub(crate) fallback_only: bool,
    /// Sizes that reach the source as constants.
    pub(crate) bake: Vec<Located<String>>,
    /// Macros that name the C++ type of an argument.
    pub(crate) types: Vec<(Located<String>, String)>,
    pub(crate) flags: Vec<String>,
    pub(crate) tunables: Vec<Tunable>,
    pub(crate) constraints: Vec<Located<SizeExpr>>,
    pub(crate) scratch: Vec<Buffer>,
    pub(crate) launches: Vec<Launch>,
}

impl Header {
    /// Every expression, for checks that concern all of them.
    pub(crate) fn expressions(&self) -> Vec<&Located<SizeExpr>> {
        let mut found = vec![&self.when, &self.alignment];
        found.extend(&self.constraints);
        found.extend(self.plan_expressions());
        found
    }

    /// The expressions of the plan: grids, blocks, shared memory, scratch buffers.
    pub(crate) fn plan_expressions(&self) -> Vec<&Located<SizeExpr>> {
        let mut found: Vec<&Located<SizeExpr>> = self.scratch.iter().map(|buffer| &buffer.bytes).collect();
        for launch in &self.launches {
            found.extend(launch.grid.iter().chain(&launch.block).chain(&launch.cluster));
            found.push(&launch.shared);
        }
        found
    }

    /// The expressions of the parameters of all launches: integers and tensor maps.
    pub(crate) fn integers(&self) -> impl Iterator<Item = (&SizeExpr, Span)> {
        self.launches.iter().flat_map(|launch| &launch.params).flat_map(|param| {
            let found: Vec<&SizeExpr> = match &param.value {
                Param::Integer { value, .. } => vec![value],
                Param::Map { map, .. } => map.expressions().collect(),
                Param::Named(_) => Vec::new(),
            };
            found.into_iter().map(|value| (value, param.span))
        })
    }

    /// Bytes of an element of the type `T`, which expressions call `T_BYTES`.
    pub(crate) fn type_bytes(&self, spec: &BoundSpec, name: &str) -> Option<i64> {
        let wanted = name.strip_suffix("_BYTES")?;
        let (_, arg) = self.types.iter().find(|(name, _)| name.value == wanted)?;
        spec.arg(arg).map(|arg| arg.dtype.size() as i64)
    }

    /// Words of tunables with the number that stands for each in expressions: its position among the tunable's words in
    /// alphabetic order, so that no change of order changes a meaning.
    pub(crate) fn word(&self, word: &str) -> Option<i64> {
        self.tunables.iter().find_map(|tunable| word_number(&tunable.values, word))
    }
}

/// The number that stands for a word in expressions.
pub(crate) fn word_number(values: &[TunableValue], word: &str) -> Option<i64> {
    let mut words: Vec<&str> = values
        .iter()
        .filter_map(|value| match value {
            TunableValue::Word(word) => Some(word.as_str()),
            TunableValue::Integer(_) => None,
        })
        .collect();
    words.sort_unstable();
    words.iter().position(|known| *known == word).map(|position| position as i64)
}
