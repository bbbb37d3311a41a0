//! What stops a command, said on standard error: what, where, what to do.

use std::path::PathBuf;

/// Why a command stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The specs have problems; each is shown with its line.
    #[error("{}", .0)]
    Spec(#[from] factory_spec::SpecErrors),
    /// The package cannot be read, or its kernels and lock disagree.
    #[error("{0}")]
    Build(#[from] factory_build::BuildError),
    #[error("{0}")]
    Search(#[from] factory_search::SearchError),
    #[error("{0}")]
    Sealing(#[from] crate::seal::SealingError),
    #[error("there is no `Cargo.toml` in `{}`\n\nhint: go to the package's folder, or name it with `--dir`", path.display())]
    NoPackage { path: PathBuf },
    #[error("there are no annotated kernels in `{}`\n\nhint: `cargo factory new NAME` starts one", path.display())]
    NoKernels { path: PathBuf },
    #[error("`{name}` is neither an annotated kernel of this package nor a spec file{}", known(known_names))]
    UnknownKernel { name: String, known_names: Vec<String> },
    #[error(
        "`{name}` cannot be a kernel's name\n\nhint: take a Rust function name in snake_case that is no keyword, such as `rms_norm`"
    )]
    Name { name: String },
    #[error("`{}` exists already\n\nhint: remove it or choose another name; nothing was overwritten", path.display())]
    Exists { path: PathBuf },
    #[error("could not write `{}`: {source}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("could not print JSON: {0}")]
    Json(#[source] serde_json::Error),
}

fn known(names: &[String]) -> String {
    if names.is_empty() {
        "\n\nhint: this package has no annotated kernels; `cargo factory new NAME` starts one".to_owned()
    } else {
        format!("\n\nhint: its kernels are {}", names.join(", "))
    }
}

impl Error {
    /// Prints the error on standard error, specs with their source line under a caret.
    pub(crate) fn report(&self) {
        match self {
            Error::Spec(problems) => {
                for problem in problems.iter() {
                    eprintln!("{:?}", miette::Report::new(crate::error::Diagnosed::new(problem)));
                }
            }
            error => eprintln!("error: {error}"),
        }
    }
}

/// A spec's problem in the form that miette draws.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Diagnosed {
    message: String,
    hint: Option<String>,
    source_code: Option<miette::NamedSource<String>>,
    label: Option<miette::SourceSpan>,
}

impl Diagnosed {
    fn new(problem: &factory_spec::SpecError) -> Diagnosed {
        let source = problem.source_text();
        Diagnosed {
            message: problem.message(),
            hint: Some(problem.hint()),
            source_code: source.map(|source| {
                miette::NamedSource::new(source.path().to_string_lossy(), source.text().to_owned())
            }),
            label: problem.span().map(|span| (span.offset, span.len).into()),
        }
    }
}

impl miette::Diagnostic for Diagnosed {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source_code.as_ref().map(|source| source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let label = self.label?;
        Some(Box::new(std::iter::once(miette::LabeledSpan::new_with_span(None, label))))
    }
}
