//! What stops a command, said on standard error: what, where, what to do.

use std::path::PathBuf;
use std::process::ExitCode;

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
    /// A template is wrong; each problem is shown with its line.
    #[error("{0}")]
    Template(#[from] factory_search::template::TemplateErrors),
    #[error("{0}")]
    Install(#[from] factory_search::toolchain::InstallError),
    #[error("{0}")]
    Evidence(#[from] factory_search::evidence::EvidenceError),
    #[error(
        "there is no folder for caches\n\nhint: set `KERNEL_FACTORY_CACHE_DIR`, or name the evidence file"
    )]
    NoCacheFolder,
    #[error(
        "nothing says what to remove\n\nhint: `--kernel`, `--older-than-days`, `--other-versions`, or `--all`"
    )]
    PruneNothing,
    /// Flags or variables about workers that cannot be read.
    #[error("{0}")]
    Workers(String),
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
    /// A launch on the machine cannot be made.
    #[error("{0}")]
    Launch(#[from] crate::machine::LaunchError),
    /// The same, already drawn with its excerpt.
    #[error("{text}")]
    Shown { text: String },
    /// What was to be profiled is at fault; already drawn.
    #[error("{text}")]
    Faulted { text: String },
    #[error("could not read `{}`: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no log of a search in `{}`\n\nhint: `cargo factory tune`, and a build with the feature `search`, leave one; name another as `cargo factory watch LOG`", folder.display())]
    NoLog { folder: PathBuf },
    #[error(
        "there is no folder for caches, so there are no logs to be found\n\nhint: set `KERNEL_FACTORY_CACHE_DIR`, or name the log as `cargo factory watch LOG`"
    )]
    NoCache,
    #[error("`{}` is no log of a search: line {line}: {message}\n\nhint: logs are in the cache's folder `logs`; `cargo factory doctor` names the cache", path.display())]
    NotALog { path: PathBuf, line: u64, message: String },
    /// A page cannot be written about what was named.
    #[error("{0}")]
    Report(#[from] crate::report::ReportError),
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
    /// What the process ends with.
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Error::Launch(_) | Error::Shown { .. } => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }

    /// Prints the error on standard error, specs with their source line under a caret.
    pub(crate) fn report(&self) {
        match self {
            Error::Spec(problems) => {
                for problem in problems.iter() {
                    eprintln!("{:?}", miette::Report::new(crate::error::Diagnosed::new(problem)));
                }
            }
            Error::Shown { text } | Error::Faulted { text } => eprintln!("{text}"),
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
