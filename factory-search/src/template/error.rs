//! What is wrong with a template, and where.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use factory_spec::{SourceText, Span};
use thiserror::Error;

/// One thing that is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    path: PathBuf,
    place: Option<(Arc<SourceText>, Span)>,
    problem: TemplateProblem,
}

/// What is wrong, without the place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TemplateProblem {
    /// The file cannot be read.
    #[error("the template cannot be read: {reason}")]
    Unreadable {
        /// The system's words.
        reason: String,
    },
    /// The file does not begin with a header.
    #[error("the file does not begin with `/*kernel_factory`")]
    NoHeader,
    /// The header's comment does not end.
    #[error("the header is not closed by `*/`")]
    Unclosed,
    /// The header is not TOML.
    #[error("the header is not TOML: {message}")]
    Toml {
        /// The parser's words.
        message: String,
    },
    /// A key that means nothing where it stands.
    #[error("{table} has no key `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it stands, in words.
        table: &'static str,
        /// A close key that would mean something.
        close: Option<String>,
        /// All that mean something.
        known: Vec<String>,
    },
    /// A word that a key does not take.
    #[error("`{key}` takes no `{word}`")]
    UnknownWord {
        /// The key.
        key: &'static str,
        /// The word.
        word: String,
        /// A close word that would mean something.
        close: Option<String>,
        /// All that mean something.
        known: Vec<String>,
    },
    /// A key that must be there.
    #[error("{table} lacks `{key}`")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// Where it should stand, in words.
        table: &'static str,
        /// What to write.
        example: &'static str,
    },
    /// A value of another type than the key takes.
    #[error("`{key}` takes {wanted}")]
    WrongType {
        /// The key.
        key: String,
        /// What it takes, in words.
        wanted: &'static str,
    },
    /// Not an expression.
    #[error("not an expression: {message}")]
    Expression {
        /// The parser's words.
        message: String,
    },
    /// An expression with a name that means nothing.
    #[error("`{name}` is neither a tunable nor a size of the spec")]
    UnknownName {
        /// The name.
        name: String,
        /// A close one that would mean something.
        close: Option<String>,
        /// All that mean something.
        known: Vec<String>,
    },
    /// A name that C++ or the header cannot take, or that is taken.
    #[error("`{name}` cannot be the name of a tunable: {reason}")]
    BadName {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A tunable without values, or with one of them twice.
    #[error("the tunable `{name}` {fault}")]
    Values {
        /// The tunable.
        name: String,
        /// What is wrong with its values.
        fault: String,
    },
    /// A tunable that changes nothing.
    #[error("the tunable `{name}` occurs neither in the source nor in the plan")]
    UnusedTunable {
        /// The tunable.
        name: String,
    },
    /// Every configuration is outside the constraints.
    #[error("no configuration satisfies the constraints{}", .at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default())]
    NothingLeft {
        /// The sizes, where they matter.
        at: Option<String>,
    },
    /// More configurations than a search can list.
    #[error("the tunables have {count} combinations; at most {limit} can be listed")]
    TooMany {
        /// How many.
        count: u128,
        /// How many can be listed.
        limit: u128,
    },
    /// The template is for another spec.
    #[error("the template is for the spec `{wanted}`, not for `{found}`")]
    OtherSpec {
        /// What the header says.
        wanted: String,
        /// The spec at hand.
        found: String,
    },
    /// The template and the spec have no architecture in common.
    #[error("the template serves none of the spec's targets ({targets})")]
    NoTarget {
        /// The spec's.
        targets: String,
    },
    /// The plan does not fit the spec or the source.
    #[error("the plan does not fit: {message}")]
    Plan {
        /// What does not fit.
        message: String,
    },
    /// The header says two things that cannot both be.
    #[error("the header contradicts itself: {message}")]
    Contradiction {
        /// What does.
        message: String,
    },
    /// A flag that is not on the list.
    #[error("the flag `{flag}` is not among those that a template may ask for")]
    Flag {
        /// The flag.
        flag: String,
    },
    /// An `#include` that leaves the template's folder and the toolkit, or that cannot be followed.
    #[error("{message}")]
    Include {
        /// What is wrong with it.
        message: String,
    },
    /// The likeliest configuration does not compile.
    #[error(
        "its likeliest configuration ({configuration}) does not compile for {arch} with {compiler}:\n{message}"
    )]
    Compile {
        /// The tunables.
        configuration: String,
        /// The target.
        arch: String,
        /// The compiler.
        compiler: String,
        /// The compiler's words.
        message: String,
    },
}

impl TemplateProblem {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let close = |close: &Option<String>, known: &[String]| match close {
            Some(close) => format!("did you mean `{close}`?"),
            None if known.is_empty() => "there are none".to_owned(),
            None => {
                format!("it may be {}", known.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "))
            }
        };
        match self {
            Self::Unreadable { .. } => "check the path and its permissions".to_owned(),
            Self::NoHeader => {
                "begin the file with a comment `/*kernel_factory … */` that holds `[tunables]` and `[[launch]]`".to_owned()
            }
            Self::Unclosed => "end the header with `*/`".to_owned(),
            Self::Toml { .. } => "the header is TOML: `key = value`, strings in quotes".to_owned(),
            Self::UnknownKey { close: near, known, .. }
            | Self::UnknownWord { close: near, known, .. }
            | Self::UnknownName { close: near, known, .. } => close(near, known),
            Self::MissingKey { example, .. } => format!("write `{example}`"),
            Self::WrongType { .. } | Self::Values { .. } => {
                "a tunable is `[1, 2, 4]`, `[\"word\", …]`, `true`, `{ range = [1, 8], step = 1 }` or `{ powers = [32, 1024] }`, each with `default = …` if wanted".to_owned()
            }
            Self::Expression { .. } => {
                "expressions are made of sizes, tunables, numbers, `+ - * / %`, `ceil_div`, `min`, `max`, `next_pow2`, comparisons, `and`, `or`, `not`".to_owned()
            }
            Self::BadName { .. } => "choose another name; capitals, as for any macro, are a good choice".to_owned(),
            Self::UnusedTunable { name } => format!("use `{name}` in the source or in the plan, or remove it"),
            Self::NothingLeft { .. } => "loosen a constraint, or add values to the tunables".to_owned(),
            Self::TooMany { .. } => "give the tunables fewer values; constraints do not count here".to_owned(),
            Self::OtherSpec { .. } => "name the other spec's template, or change `spec` in the header".to_owned(),
            Self::NoTarget { .. } => "add the architecture to `arch` in the header, or leave `arch` out".to_owned(),
            Self::Plan { .. } => {
                "`params` lists the entry's parameters in order: arguments and scratch buffers by name, integers as `{ u32 = \"expression\" }`".to_owned()
            }
            Self::Contradiction { .. } => "keep one of the two".to_owned(),
            Self::Flag { .. } => {
                "it may be `-use_fast_math`, `-ftz=true`, `-fmad=false`, `-prec-div=false`, `-prec-sqrt=false`, `-maxrregcount=N`, `-extra-device-vectorization`, `-std=c++17` or `-std=c++20`".to_owned()
            }
            Self::Include { .. } => {
                "keep what is included in the template's folder; the CUDA toolkit's headers are found by themselves".to_owned()
            }
            Self::Compile { .. } => "put the likeliest value of each tunable first, or name it as its `default`".to_owned(),
        }
    }
}

impl TemplateError {
    pub(super) fn at(source: &Arc<SourceText>, span: Span, problem: TemplateProblem) -> Self {
        Self { path: source.path().to_owned(), place: Some((Arc::clone(source), span)), problem }
    }

    pub(super) fn of_file(path: &Path, problem: TemplateProblem) -> Self {
        Self { path: path.to_owned(), place: None, problem }
    }

    /// What is wrong, for programs.
    pub fn problem(&self) -> &TemplateProblem {
        &self.problem
    }

    /// The template's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Line and column, from 1, where there is a place to point at.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|(source, span)| source.line_column(span.offset))
    }

    /// For people, in plain text: the place, the line under a caret, and what to do.
    pub fn render(&self) -> String {
        let mut text = format!("{}:", self.path.display());
        if let Some((line, column)) = self.line_column() {
            text.push_str(&format!("{line}:{column}:"));
        }
        text.push_str(&format!(" {}", self.problem));
        if let Some((source, span)) = &self.place {
            text.push('\n');
            text.push_str(&source.excerpt(*span));
        }
        text.push_str(&format!("\n\nhint: {}", self.problem.hint()));
        text
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

impl std::error::Error for TemplateError {}

/// Everything that was found wrong with a template: at least one problem, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", .0.iter().map(TemplateError::render).collect::<Vec<_>>().join("\n\n"))]
pub struct TemplateErrors(Vec<TemplateError>);

impl TemplateErrors {
    pub(super) fn check(mut errors: Vec<TemplateError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by_key(|error| error.place.as_ref().map_or(0, |(_, span)| span.offset));
        errors.dedup();
        Err(Self(errors))
    }
}

impl From<TemplateError> for TemplateErrors {
    fn from(error: TemplateError) -> Self {
        Self(vec![error])
    }
}

impl std::ops::Deref for TemplateErrors {
    type Target = [TemplateError];

    fn deref(&self) -> &[TemplateError] {
        &self.0
    }
}
