//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `cargo factory …` reaches this binary as `cargo-factory factory …`, a call by hand as `cargo-factory …`.
pub(crate) fn parse() -> Arguments {
    let mut words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "factory") {
        words.remove(1);
    }
    Arguments::parse_from(words)
}

/// Verified GPU kernels for annotated Rust signatures.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo factory", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// The package's folder: the one with `Cargo.toml`
    #[arg(long, global = true, default_value = ".", value_name = "FOLDER")]
    pub(crate) dir: PathBuf,
    /// Print JSON on standard output, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a kernel: write its spec, a build script and an annotated signature
    New(New),
    /// Search for the kernels of this package and seal the winners into `kernels/`
    Tune(Tune),
    /// Say of every annotated kernel whether it is sealed, cached, missing or stale
    Status,
    /// Run the gates again on sealed kernels
    Verify(Verify),
    /// For CI: every annotated kernel is sealed and matches `kernels.lock`; needs no GPU and no network
    Check,
    /// Say what a spec means, what its key is, and what the certificate of its kernel proves and does not prove
    Explain(Explain),
    /// Say what this machine has: driver, GPUs, CUDA toolkit, cache, versions
    Doctor,
}

#[derive(Debug, Args)]
pub(crate) struct New {
    /// The kernel's name: a Rust function name
    pub(crate) name: String,
    /// What the spec starts from
    #[arg(long, value_enum, default_value_t = Template::Rmsnorm)]
    pub(crate) template: Template,
}

/// What a new spec starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// `y = silu(a) * b`, element by element
    Elementwise,
    /// Root-mean-square normalisation of rows
    Rmsnorm,
    /// Softmax over rows
    Softmax,
}

#[derive(Debug, Args)]
pub(crate) struct Tune {
    /// Names of annotated kernels, or paths of spec files; all annotated kernels when none is named
    pub(crate) kernels: Vec<String>,
    /// Decides which cases are drawn and in which order configurations are tried
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Configurations to consider for each target, over all sizes
    #[arg(long, value_name = "COUNT")]
    pub(crate) candidates: Option<usize>,
    /// Start no further candidate after this many seconds
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// Which GPU takes part: `auto`, `off`, or a number
    #[arg(long, default_value = "auto", value_parser = gpu)]
    pub(crate) gpu: factory_search::GpuPolicy,
    /// Which ptxas assembles: `auto`, `off`, or a path
    #[arg(long, default_value = "auto", value_parser = ptxas)]
    pub(crate) ptxas: factory_search::PtxasPolicy,
    /// Threads that work at once; 0 means one for each core. Never changes the result
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Search, print the result, and write nothing into the package
    #[arg(long)]
    pub(crate) no_seal: bool,
    /// Write every candidate with its verdict and time to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) records: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Names of annotated kernels; all that are sealed when none is named
    pub(crate) kernels: Vec<String>,
    /// Run the `device` gate too; fails when there is no GPU
    #[arg(long)]
    pub(crate) gpu: bool,
    /// Decides which cases are drawn; the certificate's own seed when left out
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Which ptxas assembles: `auto`, `off`, or a path
    #[arg(long, default_value = "auto", value_parser = ptxas)]
    pub(crate) ptxas: factory_search::PtxasPolicy,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The name of an annotated kernel, or the path of a spec file
    pub(crate) kernel: String,
}

fn gpu(text: &str) -> Result<factory_search::GpuPolicy, String> {
    match text {
        "auto" => Ok(factory_search::GpuPolicy::Auto),
        "off" => Ok(factory_search::GpuPolicy::Off),
        number => match number.parse() {
            Ok(ordinal) => Ok(factory_search::GpuPolicy::Require(ordinal)),
            Err(_) => Err("it may be `auto`, `off` or the number of a GPU".to_owned()),
        },
    }
}

// The signature is clap's: a value parser may fail, though every path is one here.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a clap value parser")]
fn ptxas(text: &str) -> Result<factory_search::PtxasPolicy, String> {
    Ok(match text {
        "auto" => factory_search::PtxasPolicy::Find,
        "off" => factory_search::PtxasPolicy::Off,
        path => factory_search::PtxasPolicy::At(path.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn gpus_are_named_by_number() {
        assert_eq!(gpu("1"), Ok(factory_search::GpuPolicy::Require(1)));
        assert!(gpu("cuda:1").is_err());
    }
}
