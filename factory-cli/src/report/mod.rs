//! A page about a search or a sealed kernel: one HTML file that needs nothing else.
//!
//! [`Facts`] is what is known, wherever it is from (`gather`): a log, a file of records, evidence, a sealed folder, a spec. `View` is the
//! same in the words and pictures of the page (`view`, `chart`), and the template `templates/report/page.html` sets it.
//! The facts are also embedded as JSON, from which the page's script draws the table of candidates and offers raw data.
//!
//! Everything that comes from a spec, a candidate or a log is text of somebody else's: the template escapes it, the charts
//! escape it, the script sets it as text, and the embedded JSON holds no `<`. The page loads nothing and its policy forbids it to.
//!
//! The charts are made here and not by a plotting crate: they take their colours from the page, so that one picture is
//! right in light, in dark and in print, and a few hundred lines of axes are less than the dependencies of a crate whose
//! colours are fixed when it draws, or that needs a script of its own in the page.

mod chart;
mod data;
mod evidence;
mod facts;
mod gather;
mod intensity;
mod number;
mod sections;
mod view;

pub(crate) use facts::Facts;
pub(crate) use gather::{Source, gather};

use askama::Template as _;
use std::path::PathBuf;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ReportError {
    #[error("could not read `{}`: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}` holds no records of candidates: {message}\n\nhint: `cargo factory tune --records FILE` writes them", path.display())]
    Records { path: PathBuf, message: String },
    #[error(
        "`{}` holds no records of `{kernel}` {key}, but of {there}\n\nhint: the spec may have changed since they were written; name the spec that they are of",
        path.display()
    )]
    OtherKernel { path: PathBuf, kernel: String, key: String, there: String },
    #[error("`{}` is no log of a search: {message}", path.display())]
    Log { path: PathBuf, message: String },
    #[error("there is no log `{run}` in `{}`\n\nhint: {known}", folder.display())]
    NoRun { run: String, folder: PathBuf, known: String },
    #[error("`{}` is no sealed kernel: {error}", path.display())]
    Sealed { path: PathBuf, error: factory_spec::SealError },
    #[error(
        "nothing is known of `{kernel}`: it is not sealed, and no search of it left a log\n\nhint: `cargo factory tune {kernel}` searches, or name records with `--records`"
    )]
    Nothing { kernel: String },
    #[error(transparent)]
    Evidence(#[from] factory_search::evidence::EvidenceError),
    #[error(
        "`{}` holds no verdicts on `{kernel}` as its spec is now, but on {there}\n\nhint: a kernel without its spec is named alone; `cargo factory evidence --file FILE summary` lists what there is",
        path.display()
    )]
    NoEvidence { path: PathBuf, kernel: String, there: String },
    #[error("`{}` holds no verdicts of the device `{device}` on this kernel, but of {there}", path.display())]
    NoDevice { path: PathBuf, device: String, there: String },
    #[error("there are several kernels: {}\n\nhint: name one of them", names.join(", "))]
    Several { names: Vec<String> },
    #[error("the page could not be set: {0}")]
    Template(#[from] askama::Error),
}

/// The page.
///
/// # Errors
/// The template fails, which none of our facts makes it do.
pub(crate) fn page(facts: &Facts) -> Result<String, ReportError> {
    Ok(view::View::new(facts).render()?)
}
