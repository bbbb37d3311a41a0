//! What a search measures with, started as the options say.

use crate::gpu::Gpu;
use crate::host;
use crate::measurer::Measurer;
use crate::options::WorkerOptions;
use crate::worker::{DeviceKind, Launcher, Workers};

/// The GPU of this number: in worker processes where a program can be started as one, else in this process. What a user
/// should know is said.
///
/// # Errors
/// It cannot be used; in words.
pub(crate) fn gpu(
    ordinal: usize,
    options: &WorkerOptions,
    say: &mut dyn FnMut(&str),
) -> Result<Box<dyn Measurer>, String> {
    let here = options.launcher.is_empty();
    if here {
        // A machine without a driver needs no process to find that out.
        Gpu::has_driver()?;
    }
    let Some(launchers) = launchers(options, DeviceKind::Gpu(ordinal), count(options)) else {
        if !here {
            return Err("a launcher was given, and this program cannot be started as a worker".to_owned());
        }
        say(
            "candidates run in this process: a hang or a crash of one ends the search (the program does not offer itself as a worker)",
        );
        return Ok(Box::new(Gpu::open(ordinal)?));
    };
    Ok(Box::new(started(&launchers, options, say)?))
}

/// Workers with the PTX machine; `None` where none are wanted.
///
/// # Errors
/// They cannot be started; in words.
pub(crate) fn machines(
    options: &WorkerOptions,
    say: &mut dyn FnMut(&str),
) -> Result<Option<Workers>, String> {
    if options.machines == 0 {
        return Ok(None);
    }
    let launchers = launchers(options, DeviceKind::Machine, options.machines);
    let launchers = launchers.ok_or("this program cannot be started as a worker")?;
    started(&launchers, options, say).map(Some)
}

fn started(
    launchers: &[Launcher],
    options: &WorkerOptions,
    say: &mut dyn FnMut(&str),
) -> Result<Workers, String> {
    let workers = Workers::start(launchers, options.limits)?;
    for message in workers.failed() {
        say(&format!("a worker did not start: {message}"));
    }
    if !options.launcher.is_empty() {
        say(&format!("{} workers: {}", workers.count(), workers.places().join(", ")));
    }
    Ok(workers)
}

/// One for each GPU, unless more are asked for: processes that share a GPU get it in turns of milliseconds, and checks are short.
/// On an H100 one worker needed 25 ms for a candidate, and two to eight together 30 to 40.
fn count(options: &WorkerOptions) -> usize {
    options.gpus.max(1)
}

fn launchers(options: &WorkerOptions, device: DeviceKind, count: usize) -> Option<Vec<Launcher>> {
    let program = options.program.clone().or_else(host::offered)?;
    let launcher = |number: usize| {
        let number = number.to_string();
        let words = options.launcher.iter().map(|word| word.replace("{worker}", &number)).collect();
        Launcher::of_worker(words, &program, device, options.limits)
    };
    Some((0..count).map(launcher).collect())
}
