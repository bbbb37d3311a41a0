//! Why a launch could not be made: the command line, a file, or the machine; never the program that was to run.

use std::path::PathBuf;

use factory_ptx::machine::{MachineError, Unsupported};

/// Why a launch could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("could not read `{}`: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("could not write `{}`: {source}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}`: {message}", path.display())]
    Npy { path: PathBuf, message: String },
    #[error("`{}` is no PTX that can be read:\n{errors}", path.display())]
    Ptx { path: PathBuf, errors: factory_ptx::ParseErrors },
    #[error("`{}` has no entry called `{name}`{}", path.display(), entries(known))]
    NoEntry { path: PathBuf, name: String, known: Vec<String> },
    #[error("`{}` has several entries, or none{}\n\nhint: name one with `--entry`", path.display(), entries(known))]
    WhichEntry { path: PathBuf, known: Vec<String> },
    #[error("`--arg {text}`: {message}")]
    Argument { text: String, message: String },
    #[error("the kernel does not say how many threads a block has\n\nhint: say it, as in `--block 128`")]
    NoBlock,
    #[error("`{entry}` takes {expected} parameters, {given} were given{}", wanted(params))]
    Arity { entry: String, expected: usize, given: usize, params: Vec<String> },
    #[error("`{entry}`: parameter `{param}` has {size} bytes, `--arg {text}` gives {given}")]
    ParameterSize { entry: String, param: String, size: usize, text: String, given: usize },
    #[error(
        "the buffers need {bytes} bytes in all, which is more than there is or than the {limit} bytes that are allowed"
    )]
    TooLarge { bytes: u64, limit: u64 },
    #[error("{message}")]
    Profile { message: String },
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    #[error(transparent)]
    Machine(#[from] MachineError),
}

fn entries(known: &[String]) -> String {
    match known {
        [] => String::new(),
        names => format!("\n\nhint: its entries are {}", names.join(", ")),
    }
}

fn wanted(params: &[String]) -> String {
    match params {
        [] => String::new(),
        params => format!("\n\nhint: in order, they are {}", params.join(", ")),
    }
}
