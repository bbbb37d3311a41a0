//! How long one batch may wait for candidates that hang.
//!
//! Each costs the limit of a worker's silence, and is given it twice. A template whose candidates all hang would keep a search for
//! hours; so the rest of a batch is not run any more when some have hung, or one has and the time is over.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::verdict::{Gate, Reason, Rejection};

/// So many candidates of a batch may hang.
const MOST: usize = 4;

/// The patience with one batch.
#[derive(Debug)]
pub(super) struct Patience {
    until: Option<Instant>,
    hung: AtomicUsize,
}

impl Patience {
    /// With a batch that begins now and may take so many seconds.
    pub(super) fn new(seconds: Option<f64>) -> Patience {
        let limit = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        Patience { until, hung: AtomicUsize::new(0) }
    }

    /// Runs a candidate, unless patience is over.
    ///
    /// # Errors
    /// The candidate's refusal; `Infrastructure` where it was not run.
    pub(super) fn with<T>(
        &self,
        gate: Gate,
        run: impl FnOnce() -> Result<T, Rejection>,
    ) -> Result<T, Rejection> {
        if let Some(reason) = self.over() {
            return Err(Rejection::new(gate, reason));
        }
        let outcome = run();
        if let Err(Rejection { reason: Reason::Hang { .. }, .. }) = &outcome {
            self.hung();
        }
        outcome
    }

    /// One more has hung.
    pub(super) fn hung(&self) {
        self.hung.fetch_add(1, Ordering::Relaxed);
    }

    /// Why nobody else is run; `None` while somebody may be. Nothing is held against those that were not.
    pub(super) fn over(&self) -> Option<Reason> {
        let hung = self.hung.load(Ordering::Relaxed);
        let late = self.until.is_some_and(|until| Instant::now() > until);
        let why = match hung {
            0 => return None,
            hung if hung >= MOST => "that is enough",
            _ if late => "the time is over",
            _ => return None,
        };
        let message = format!("not run: {hung} other candidates of the batch hung, and {why}");
        Some(Reason::Infrastructure { message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hang() -> Result<(), Rejection> {
        Err(Rejection::new(Gate::Device, Reason::Hang { sizes: String::new(), seconds: 1.0 }))
    }

    #[test]
    fn after_some_hangs_nobody_is_run_and_nothing_is_held_against_him() {
        let patience = Patience::new(None);
        for _ in 0..MOST {
            assert!(patience.with(Gate::Device, || Ok(())).is_ok());
            assert!(patience.with(Gate::Device, hang).is_err());
        }
        let refused =
            patience.with(Gate::Device, || -> Result<(), _> { panic!("it is run") }).expect_err("no more");
        assert_eq!(refused.verdict, crate::Verdict::Infrastructure);
        assert!(refused.to_string().contains("4 other candidates of the batch hung"), "{refused}");
    }

    #[test]
    fn one_hang_is_enough_when_the_time_is_over_and_none_is_not() {
        let patience = Patience::new(Some(0.0));
        std::thread::sleep(Duration::from_millis(2));
        assert!(patience.with(Gate::Device, || Ok(())).is_ok(), "nobody has hung");
        assert!(patience.with(Gate::Device, hang).is_err());
        assert!(patience.over().is_some());
        let patience = Patience::new(Some(60.0));
        patience.hung();
        assert_eq!(patience.over(), None);
    }
}
