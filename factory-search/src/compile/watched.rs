//! Child processes that may not take for ever.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::CompileLimits;

/// Bytes that a compiler may write into one file.
const MOST_OUTPUT: u64 = 256 << 20;

/// A command that runs `program` in a process group of its own, with limits on memory and file sizes where there is a
/// POSIX shell to set them: a limit set from outside after the start would come too late for a fast child.
pub(super) fn command(program: &Path, limits: &CompileLimits) -> Command {
    if !cfg!(unix) {
        return Command::new(program);
    }
    let mut command = Command::new("/bin/sh");
    // A limit that the system does not know or does not allow is left out rather than the compilation.
    command.args(["-c", "ulimit -v \"$1\" 2>/dev/null; ulimit -f \"$2\" 2>/dev/null; ulimit -c 0 2>/dev/null; shift 2; exec \"$@\"", "sh"]);
    command.arg((limits.memory / 1024).to_string()).arg((MOST_OUTPUT / 512).to_string()).arg(program);
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        command.process_group(0);
    }
    command
}

/// How a watched child ended.
pub(super) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// It was late and was killed with everything that it had started.
    Late,
}

/// Runs a command to its end, or to the end of its time.
pub(super) fn run(command: &mut Command, time: Duration) -> std::io::Result<Ended> {
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).spawn()?;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Exited(status));
        }
        if started.elapsed() >= time {
            kill(&mut child);
            return Ok(Ended::Late);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Ends a child and its children.
pub(super) fn kill(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}
