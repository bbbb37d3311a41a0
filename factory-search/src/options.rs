//! What a caller may choose about a search.

use std::path::PathBuf;

use factory_spec::Arch;

use crate::host::HostProgram;
use crate::worker::WorkerLimits;

/// How much a search may spend.
///
/// Only the number of candidates is deterministic. A limit in seconds stops between two steps wherever the clock says so;
/// a search that it cut short says that in its certificate, and may name another winner when it is repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Configurations considered, over all sizes of `better.over` and for each target.
    pub candidates: usize,
    /// Seconds after which no further candidate is started. `None`: as long as it takes.
    ///
    /// With a GPU, targets that nothing measures come last, with a seventh of the time at least and what measuring left of it;
    /// when that is over, candidates that were proved for the measured target go before others. The time for measuring is
    /// shared out among the sizes. The limit bounds what is begun and not what must end: one candidate for each size is
    /// proved, one check and three rounds of a measurement that began are finished, the best one is measured a second time,
    /// and the winner is proved as a whole and sealed after it. Sizes that nobody measured in time are chosen by the model,
    /// and the certificate says so.
    pub seconds: Option<f64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { candidates: 256, seconds: None }
    }
}

/// Where the assembler comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PtxasPolicy {
    /// `KERNEL_FACTORY_PTXAS`, `PATH`, `CUDA_HOME`, `/usr/local/cuda`, then pip's wheels; none is no error.
    #[default]
    Find,
    /// This file; it is an error when it does not run.
    At(PathBuf),
    /// Do not assemble. The certificate says so.
    Off,
}

/// Whether a GPU takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GpuPolicy {
    /// GPU 0 when there is one that works and the spec names its architecture; none is no error.
    #[default]
    Auto,
    /// This GPU; it is an error when it does not work.
    Require(usize),
    /// No GPU. The certificate says so.
    Off,
}

/// How many workers there are, and how they are started; see [`crate::worker`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerOptions {
    /// Workers with a GPU; 0: one.
    pub gpus: usize,
    /// Workers with the PTX machine, which prove the best candidates instead of this process's threads; 0: these threads. What
    /// a worker cannot do these threads do after all.
    pub machines: usize,
    /// What stands before a worker's command line, such as `srun --gres=gpu:1`; `{worker}` is the worker's number from 0.
    /// Empty: workers are started here.
    pub launcher: Vec<String>,
    /// The program to start; `None`: this one, which must call [`crate::serve_if_asked`].
    pub program: Option<HostProgram>,
    /// What each may take.
    pub limits: WorkerLimits,
}

impl WorkerOptions {
    /// The variables that [`WorkerOptions::of_environment`] reads.
    pub const VARIABLES: [&str; 4] = [
        "KERNEL_FACTORY_LAUNCHER",
        "KERNEL_FACTORY_WORKERS",
        "KERNEL_FACTORY_PROVERS",
        "KERNEL_FACTORY_WORKER_SECONDS",
    ];

    /// What the environment says: the launcher's command line, quoted as for a shell, the numbers of workers with a GPU and
    /// with the PTX machine, and for how long a worker may be silent. What is not set is the default.
    ///
    /// # Errors
    /// A variable that cannot be read, by name.
    pub fn of_environment() -> Result<WorkerOptions, String> {
        let mut options = WorkerOptions::default();
        let [launcher, gpus, machines, seconds] = WorkerOptions::VARIABLES;
        if let Some(words) = text(launcher)? {
            options.launcher = launcher_words(&words).map_err(|message| format!("{launcher}: {message}"))?;
        }
        let count = |name: &str| -> Result<Option<usize>, String> {
            let parse = |text: String| {
                text.parse().map_err(|_| format!("{name}: `{text}` is no number of workers, such as `2`"))
            };
            text(name)?.map(parse).transpose()
        };
        options.gpus = count(gpus)?.unwrap_or(0);
        options.machines = count(machines)?.unwrap_or(0);
        if let Some(text) = text(seconds)? {
            options.limits.answer = silence(&text).map_err(|message| format!("{seconds}: {message}"))?;
        }
        Ok(options)
    }
}

fn text(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{name} is not UTF-8")),
    }
}

/// The words of a launcher's command line.
///
/// # Errors
/// A quote that is never closed.
pub fn launcher_words(line: &str) -> Result<Vec<String>, String> {
    shlex::split(line).ok_or_else(|| format!("`{line}` has a quote or a backslash that nothing follows"))
}

/// Seconds for which a worker may be silent.
fn silence(text: &str) -> Result<std::time::Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    seconds
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("`{text}` is no number of seconds, such as `60`"))
}

/// What a caller may choose about a search.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// Decides the cases that are drawn and the order in which configurations are tried.
    pub seed: u64,
    /// How much to spend.
    pub budget: Budget,
    /// Targets to search for; empty means those of the spec. Others than the spec's make it another spec: what is sealed
    /// then has the key of the spec with these targets.
    pub arches: Vec<Arch>,
    /// Threads that work at once; 0 means one for each core. Never changes the result.
    pub threads: usize,
    /// Where the assembler comes from.
    pub ptxas: PtxasPolicy,
    /// Whether a GPU takes part.
    pub gpu: GpuPolicy,
    /// Template files to search besides what the generator writes; see [`crate::template`].
    pub templates: Vec<PathBuf>,
    /// The processes that run candidates.
    pub workers: WorkerOptions,
    /// Seconds for which each of the best candidates runs on end so that the device's counter tells its energy; `None`: no
    /// energy. It is told and decides nothing.
    pub energy_seconds: Option<f64>,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            budget: Budget::default(),
            arches: Vec::new(),
            threads: 0,
            ptxas: PtxasPolicy::Find,
            gpu: GpuPolicy::Auto,
            templates: Vec::new(),
            workers: WorkerOptions::default(),
            energy_seconds: None,
        }
    }
}

impl SearchOptions {
    /// The number of threads to use.
    pub fn worker_threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}
