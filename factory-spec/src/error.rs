//! What is wrong with a spec, and where.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Problem, SourceText, Span};

/// One thing that is wrong with a spec, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError(Box<Located>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Located {
    path: PathBuf,
    place: Option<(Arc<SourceText>, Span)>,
    problem: Problem,
}

/// Everything that was found wrong with a spec: at least one problem, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecErrors(Vec<SpecError>);

impl SpecError {
    /// A problem at a place.
    pub(crate) fn at(source: &Arc<SourceText>, span: Span, problem: Problem) -> SpecError {
        SpecError(Box::new(Located {
            path: source.path().to_owned(),
            place: Some((Arc::clone(source), span)),
            problem,
        }))
    }

    /// A problem with the file itself.
    pub(crate) fn of_file(path: &Path, problem: Problem) -> SpecError {
        SpecError(Box::new(Located { path: path.to_owned(), place: None, problem }))
    }

    /// What is wrong, for programs.
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// The spec's path.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The text of the spec, when there is a place in it to point at.
    pub fn source_text(&self) -> Option<&SourceText> {
        self.0.place.as_ref().map(|(source, _)| &**source)
    }

    /// The place in the text, in bytes.
    pub fn span(&self) -> Option<Span> {
        self.0.place.as_ref().map(|(_, span)| *span)
    }

    /// The line, from 1.
    pub fn line(&self) -> Option<usize> {
        self.line_column().map(|(line, _)| line)
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> Option<usize> {
        self.line_column().map(|(_, column)| column)
    }

    fn line_column(&self) -> Option<(usize, usize)> {
        self.0.place.as_ref().map(|(source, span)| source.line_column(span.offset))
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> String {
        self.0.problem.to_string()
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        self.0.problem.hint()
    }

    /// For people, in plain text:
    ///
    /// ```text
    /// kernels/rmsnorm.toml:14:11: there is no size `k`
    ///    |
    /// 14 | shape = ["k", "n"]
    ///    |           ^^^
    ///
    /// hint: did you mean `m`?
    /// ```
    pub fn render(&self) -> String {
        let mut text = self.to_string();
        if let Some((source, span)) = &self.0.place {
            text.push('\n');
            text.push_str(&source.excerpt(*span));
        }
        text.push_str(&format!("\n\nhint: {}", self.hint()));
        text
    }
}

impl fmt::Display for SpecError {
    /// One line: `path:line:column: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path().display())?;
        if let Some((line, column)) = self.line_column() {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.0.problem)
    }
}

impl std::error::Error for SpecError {}

impl SpecErrors {
    /// Nothing, when there is no problem.
    pub(crate) fn check(errors: Vec<SpecError>) -> Result<(), SpecErrors> {
        if errors.is_empty() { Ok(()) } else { Err(SpecErrors::new(errors)) }
    }

    pub(crate) fn new(mut errors: Vec<SpecError>) -> SpecErrors {
        errors.sort_by_key(|error| error.span().map_or(0, |span| span.offset));
        errors.dedup();
        SpecErrors(errors)
    }

    /// The first problem.
    pub fn first(&self) -> &SpecError {
        &self.0[0]
    }

    /// All of them rendered, with a blank line between.
    pub fn render(&self) -> String {
        self.0.iter().map(SpecError::render).collect::<Vec<_>>().join("\n\n")
    }
}

impl std::ops::Deref for SpecErrors {
    type Target = [SpecError];

    fn deref(&self) -> &[SpecError] {
        &self.0
    }
}

impl From<SpecError> for SpecErrors {
    fn from(error: SpecError) -> SpecErrors {
        SpecErrors(vec![error])
    }
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

impl std::error::Error for SpecErrors {}

/// The known name that is closest to what was written, if it is close.
pub fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (distance(&written.to_lowercase(), &name.to_lowercase()), name))
        .filter(|&(distance, _)| distance <= limit && distance < written.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// Edits between two words, where swapping two neighbours is one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
