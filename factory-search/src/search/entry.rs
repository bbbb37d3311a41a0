//! Candidates on their way.

use factory_spec::Arch;

use crate::candidate::Candidate;
use crate::found::CandidateRecord;
use crate::learn::View;
use crate::verdict::Rejection;

/// One candidate on its way.
pub(super) struct Entry {
    pub(super) record: CandidateRecord,
    pub(super) over: usize,
    pub(super) candidate: Option<Candidate>,
    /// Whether it passed every case on the machine. Only what did can win.
    pub(super) proved: bool,
    /// What a model can learn from; where a clock takes part.
    pub(super) view: Option<View>,
    /// Whether it was timed in the last call, side by side with the other best ones.
    pub(super) finalist: bool,
    /// Whether it was timed because something like it won elsewhere.
    pub(super) seeded: bool,
    /// Seconds of one execution, a sample a window, where it was timed.
    pub(super) samples: Vec<f64>,
    /// Whether its verdict is from an earlier search.
    pub(super) remembered: bool,
}

impl Entry {
    pub(super) fn refuse(&mut self, rejection: Rejection) {
        self.record.gate = rejection.gate;
        self.record.verdict = rejection.verdict;
        self.record.rejection = Some(rejection);
        self.proved = false;
    }

    pub(super) fn seconds(&self) -> f64 {
        self.record.best_time().map_or(f64::INFINITY, |time| time.seconds)
    }
}

/// Positions of the candidates of one target and size that no gate refused, best first.
pub(super) fn ranked(pool: &[Entry], arch: Arch, over: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pool.len())
        .filter(|&index| {
            let entry = &pool[index];
            entry.record.arch == arch && entry.over == over && entry.record.rejection.is_none()
        })
        .collect();
    order.sort_by(|&a, &b| pool[a].seconds().total_cmp(&pool[b].seconds()).then(a.cmp(&b)));
    order
}

/// The one of `ranked` that wins: a finalist before any other, a measured time before a modelled one. The two are not to be
/// compared, and neither are times of different calls to the last per cent.
pub(super) fn winner(pool: &[Entry], ranked: &[usize]) -> Option<usize> {
    let proved = || ranked.iter().copied().filter(|&index| pool[index].proved);
    let measured = |index: &usize| pool[*index].record.measured.is_some();
    proved()
        .find(|&index| pool[index].finalist && measured(&index))
        .or_else(|| proved().find(measured))
        .or_else(|| proved().next())
}
