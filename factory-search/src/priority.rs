//! Who gives way when there are more that want to compute than cores.
//!
//! While a GPU has candidates, the cores compile and interpret the next ones. The few threads that the GPU waits for must not
//! wait for those. Where the system knows no such thing, everybody is equal.

use std::process::Child;

/// Steps of niceness: a tenth of the share of those that give way to nobody.
#[cfg(target_os = "linux")]
const STEPS: i32 = 10;

/// The calling thread gives way from now on, and so do the threads and processes that it starts.
pub(crate) fn give_way() {
    // Niceness is a thread's own on Linux, and a process's elsewhere.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(STEPS);
}

/// A child gives way from now on.
pub(crate) fn let_give_way(child: &Child) {
    #[cfg(target_os = "linux")]
    if let Some(process) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::setpriority_process(Some(process), STEPS);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = child;
}
