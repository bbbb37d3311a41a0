//! Independent jobs on several threads.

use std::sync::{Mutex, PoisonError};

/// Runs every job, each thread with a state of its own. The caller's thread works too, so that the jobs are done even
/// where no thread can be started. Which thread runs a job must not matter for its result.
pub(super) fn run<J: Send, S>(
    threads: usize,
    jobs: impl Iterator<Item = J> + Send,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, J) + Sync,
) {
    let jobs = Mutex::new(jobs);
    let serve = || {
        let mut state = state();
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
            match job {
                Some(job) => work(&mut state, job),
                None => return,
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Fewer threads than asked for only take longer.
            if std::thread::Builder::new().name("oracle".to_owned()).spawn_scoped(scope, serve).is_err() {
                break;
            }
        }
        serve();
    });
}
