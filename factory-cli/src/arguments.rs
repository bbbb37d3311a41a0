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
    /// Follow a search while it runs, or look at its log afterwards
    Watch(Watch),
    /// Write a page about a search or a sealed kernel: one HTML file that needs nothing else
    Report(Report),
    /// Say of every annotated kernel whether it is sealed, cached, missing or stale
    Status,
    /// Run the gates again on sealed kernels
    Verify(Verify),
    /// For CI: every annotated kernel is sealed and matches `kernels.lock`; needs no GPU and no network
    Check,
    /// Say what a spec means, what its key is, and what the certificate of its kernel proves and does not prove
    Explain(Explain),
    /// Run a kernel of a PTX file on the PTX machine, buffers from .npy files: exit status 1 when it is at fault
    Run(Run),
    /// Run a kernel with every check under several orders of blocks and warps, and compare the results
    Sanitize(Sanitize),
    /// Count what a kernel asks of a GPU, by line, with occupancy, rooflines and a modelled time: a PTX file or a sealed kernel
    Profile(Profile),
    /// NVIDIA's compilers and assembler: which are found, and getting them from PyPI into the cache
    #[command(subcommand)]
    Toolchain(Toolchain),
    /// What searches found out: look at it, exchange it, remove some
    Evidence(EvidenceArguments),
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
    /// Start no further candidate after this many seconds, but for the first few of each size that a GPU measures
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
    /// Search this CUDA C++ template too, besides those in the folder of the kernel's name beside its spec; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) template: Vec<PathBuf>,
    /// Search the templates alone
    #[arg(long)]
    pub(crate) no_generator: bool,
    /// Search, print the result, and write nothing into the package
    #[arg(long)]
    pub(crate) no_seal: bool,
    /// The evidence file to learn from and to add to; what `KERNEL_FACTORY_EVIDENCE` names (`off`: none), or that of the cache
    /// folder, when left out
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: Option<PathBuf>,
    /// Learn nothing from earlier searches, and keep nothing for later ones
    #[arg(long, conflicts_with = "evidence")]
    pub(crate) no_evidence: bool,
    /// Run each of the best on end for this many seconds and read its energy from the GPU's counter
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = energy_seconds)]
    pub(crate) energy: Option<f64>,
    /// Worker processes with a GPU; one when left out, since those that share a GPU wait for each other. Candidates never run in this process
    #[arg(long, value_name = "COUNT")]
    pub(crate) workers: Option<usize>,
    /// Worker processes with the PTX machine, for more cores than this machine has
    #[arg(long, value_name = "COUNT")]
    pub(crate) provers: Option<usize>,
    /// What stands before a worker's command line, such as `srun --gres=gpu:1` or `ssh node7`; `{worker}` is its number
    #[arg(long, value_name = "COMMAND")]
    pub(crate) launcher: Option<String>,
    /// This program, as it is named where the launcher starts it, when that is not where it is here
    #[arg(long, value_name = "PATH")]
    pub(crate) worker_program: Option<PathBuf>,
    /// Write every candidate with its verdict and time to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) records: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The log; the newest of the cache when left out
    pub(crate) log: Option<PathBuf>,
    /// Show what there is by now and end, also when the search still runs
    #[arg(long)]
    pub(crate) once: bool,
    /// Wait this many seconds for a log when there is none yet
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    pub(crate) wait: f64,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The name of an annotated kernel, the path of a spec file, or a sealed folder; may be left out where there is one kernel
    pub(crate) kernel: Option<String>,
    /// Which search: the name or path of a log; the newest log of this kernel when left out
    #[arg(long, value_name = "ID", conflicts_with = "records")]
    pub(crate) run: Option<String>,
    /// Take the candidates from this file, which `tune --records` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) records: Option<PathBuf>,
    /// Take the candidates from this evidence file, or from what `evidence export` wrote (`.jsonl`): those of all searches; the kernel
    /// need not be annotated here
    #[arg(long, value_name = "FILE", conflicts_with_all = ["run", "records"])]
    pub(crate) evidence: Option<PathBuf>,
    /// The device of the evidence that the page is about; the one with most measurements when left out
    #[arg(long, value_name = "NAME", requires = "evidence")]
    pub(crate) device: Option<String>,
    /// A remark for the page, such as the machine that records are from; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Vec<String>,
    /// Where to write the page; `KERNEL.html` in the current folder when left out
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
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

/// What to do about the toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Toolchain {
    /// Fetch nvcc, NVRTC, ptxas and their headers as pinned Python wheels, with `python3 -m pip`, into the cache
    Install,
    /// Say what is found where, and which of it would be used
    List,
    /// Remove what `install` fetched
    Remove,
    /// Say how much of what templates were compiled to is in the cache, and how much may be
    Compiled {
        /// Remove all of it
        #[arg(long)]
        empty: bool,
    },
}

/// A launch of a kernel.
#[derive(Debug, Args)]
pub(crate) struct LaunchArguments {
    /// The PTX file (for `profile` also the name of a sealed kernel, or its folder)
    pub(crate) file: PathBuf,
    /// The kernel; may be left out when the file has one
    #[arg(long, value_name = "NAME")]
    pub(crate) entry: Option<String>,
    /// Blocks in x, y, z
    #[arg(long, default_value = "1", value_parser = three, value_name = "X,Y,Z")]
    pub(crate) grid: [u32; 3],
    /// Threads of a block in x, y, z; that of `.reqntid` when left out
    #[arg(long, value_parser = three, value_name = "X,Y,Z")]
    pub(crate) block: Option<[u32; 3]>,
    /// Blocks of a cluster in x, y, z
    #[arg(long, value_parser = three, value_name = "X,Y,Z")]
    pub(crate) cluster: Option<[u32; 3]>,
    /// Dynamic shared memory of a block
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub(crate) shared: u32,
    /// One parameter after the other: `in:FILE.npy[:TYPE]`, `out:FILE.npy:TYPE[SHAPE]`, `inout:FILE.npy[=FILE.npy]`,
    /// `scratch:BYTES`, `u32:7`, `f32:1e-5`, `ptr:0+16`, `map:0:box=64,16`, `null`, `bytes:00ff`; for FILE also `zeros`, `ones`, `iota`,
    /// `random` with a type and shape, and `-` to print a result
    #[arg(long, value_name = "KIND:VALUE")]
    pub(crate) arg: Vec<String>,
    /// Chooses the order of blocks and warps, and what `random` is
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Warp-instructions that the launch may take
    #[arg(long, default_value_t = 10_000_000_000)]
    pub(crate) budget: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) launch: LaunchArguments,
    /// What is checked beside bounds, alignment and barriers: races and uninitialised reads, or nothing
    #[arg(long, value_enum, default_value_t = CheckLevel::All)]
    pub(crate) checks: CheckLevel,
    /// Threads of this computer that share the blocks; 0 means one for each core
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Sanitize {
    #[command(flatten)]
    pub(crate) launch: LaunchArguments,
    /// Orders to try, from `--seed` on
    #[arg(long, default_value_t = 8)]
    pub(crate) seeds: u32,
    /// Threads of this computer that share the blocks; one alone repeats exactly
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Profile {
    #[command(flatten)]
    pub(crate) launch: LaunchArguments,
    /// Sizes of a sealed kernel, as `m=4096,n=1024`; the first of its spec's `over` when left out
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) size: Vec<String>,
    /// Run so many blocks from the middle of the grid and scale the figures
    #[arg(long, value_name = "COUNT")]
    pub(crate) blocks: Option<u64>,
    /// Lines to show
    #[arg(long, default_value_t = 12)]
    pub(crate) lines: usize,
    /// Which ptxas says registers and spills: `auto`, `off`, or a path
    #[arg(long, default_value = "auto", value_parser = ptxas)]
    pub(crate) ptxas: factory_search::PtxasPolicy,
    /// Threads of this computer that share the blocks; 0 means one for each core
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
}

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckLevel {
    All,
    Fast,
}

#[derive(Debug, Args)]
pub(crate) struct EvidenceArguments {
    /// The evidence file; what `KERNEL_FACTORY_EVIDENCE` names, or that of the cache folder, when left out
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: EvidenceCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Say of every kernel and sizes how many candidates were measured and refused, and which is the best
    Summary,
    /// List verdicts, newest first
    List {
        /// Of this kernel alone
        #[arg(long)]
        kernel: Option<String>,
        /// Spoken by this gate alone, such as `machine`
        #[arg(long)]
        gate: Option<String>,
        /// This verdict alone, such as `wrong`
        #[arg(long)]
        verdict: Option<String>,
        /// On this device alone, such as `NVIDIA H200`
        #[arg(long)]
        device: Option<String>,
        /// So many at most
        #[arg(long, default_value_t = 50)]
        limit: u64,
    },
    /// Ask in SQL; tables are `task`, `candidate`, `verdict`, `lesson`, and nothing can be changed
    Query {
        /// The question, such as `SELECT gate, count(*) FROM verdict GROUP BY gate`
        sql: String,
    },
    /// Write notes and lessons as JSON lines, to commit beside a kernel or to send
    Export {
        /// The file; standard output when left out
        to: Option<PathBuf>,
        /// Notes of this kernel alone
        #[arg(long)]
        kernel: Option<String>,
    },
    /// Add what `export` wrote; what is known already stays as it is
    Import {
        /// Exported files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Add everything of other evidence files
    Merge {
        /// Evidence files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Remove notes; those for which everything stated here holds
    Prune {
        /// Of this kernel
        #[arg(long)]
        kernel: Option<String>,
        /// Older than so many days
        #[arg(long, value_name = "DAYS")]
        older_than_days: Option<u32>,
        /// By other versions of the factory, which no search believes any more
        #[arg(long)]
        other_versions: bool,
        /// All of them, or with the other conditions all that meet those
        #[arg(long)]
        all: bool,
    },
    /// Say where the file is
    Path,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The name of an annotated kernel, or the path of a spec file
    pub(crate) kernel: String,
}

fn three(text: &str) -> Result<[u32; 3], String> {
    let mut values = [1; 3];
    let mut count = 0;
    for (position, word) in text.split([',', 'x']).enumerate() {
        let place = values.get_mut(position).ok_or("there are three dimensions at most")?;
        *place = word.trim().parse().map_err(|_| format!("`{word}` is no number"))?;
        count += 1;
    }
    if count == 0 { Err("a number is expected".to_owned()) } else { Ok(values) }
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

fn energy_seconds(text: &str) -> Result<f64, String> {
    // A worker says nothing meanwhile, and the search would take it for dead.
    let seconds = text.parse().ok().filter(|seconds| (0.1..=20.0).contains(seconds));
    seconds.ok_or_else(|| format!("`{text}` is no number of seconds from 0.1 to 20"))
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
