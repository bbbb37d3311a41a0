//! Configurations are listed, and the cheap gates run on each that the budget allows.

use std::collections::BTreeMap;

use factory_spec::Arch;

use super::Run;
use super::entry::Entry;
use crate::candidate::{Candidate, Tunables};
use crate::found::{CandidateRecord, Time, TimeBasis};
use crate::launch;
use crate::learn::{Outcome, Random, Strategy, View, nearest};
use crate::observer::{Event, Observer, Phase};
use crate::parallel;
use crate::proposer::Proposal;
use crate::screen::Screen;
use crate::verdict::{Gate, Reason, Rejection, Verdict};

/// Part of the time limit after which the first screening stops where something is measured.
const SCREENING: f64 = 0.5;

/// Configurations of one entry of `better.over` that nobody has looked at yet, and how many may still be.
#[derive(Default)]
pub(super) struct Reserve<'a> {
    pub(super) proposals: BTreeMap<usize, Proposal<'a>>,
    pub(super) left: usize,
}

impl<'a> Reserve<'a> {
    /// Takes these out.
    pub(super) fn take(&mut self, these: &[usize]) -> Vec<Proposal<'a>> {
        let taken: Vec<Proposal<'a>> =
            these.iter().filter_map(|position| self.proposals.remove(position)).collect();
        self.left = self.left.saturating_sub(taken.len());
        taken
    }

    /// What is left, by its tunables; what does not tell them cannot be bred.
    pub(super) fn tunables(&self) -> BTreeMap<usize, &Tunables> {
        self.proposals
            .iter()
            .filter_map(|(&position, proposal)| Some((position, proposal.tunables()?)))
            .collect()
    }
}

/// A configuration that is to be looked at.
pub(super) struct Work<'a> {
    pub(super) arch: Arch,
    pub(super) over: usize,
    pub(super) proposal: Proposal<'a>,
}

impl<'a> Run<'a> {
    /// Lists configurations and runs the cheap gates on each that is chosen. Of a target that is measured one half is chosen
    /// now and what `strategies` want; the other half comes out of the reserves when something is known.
    pub(super) fn screen_all(
        &self,
        screen: &Screen<'_>,
        strategies: &[Strategy],
        observer: &mut dyn Observer,
    ) -> (Vec<Entry>, Vec<Reserve<'a>>) {
        observer.event(&Event::Phase { phase: Phase::Enumerate, total: self.arches.len() * self.over.len() });
        let mut work: Vec<Work<'a>> = Vec::new();
        let mut reserves: Vec<Reserve<'a>> = Vec::new();
        for &arch in self.arches {
            for (over, sizes) in self.over.iter().enumerate() {
                let proposals = self.proposer.propose(arch, sizes);
                let share = self.options.budget.candidates / self.over.len();
                let extra = usize::from(over < self.options.budget.candidates % self.over.len());
                let share = (share + extra).max(1);
                let configurations = proposals.len();
                let measured = self.measured == Some(arch);
                let at_once = if measured { share.div_ceil(2) } else { share };
                let mut keep = choose(configurations, at_once, self.options.seed ^ over as u64);
                if let Some(strategy) = strategies.get(over).filter(|_| measured) {
                    want(&proposals, strategy, share, &mut keep);
                }
                let mut reserve = Reserve::default();
                let mut considered = 0;
                for (position, (proposal, keep)) in proposals.into_iter().zip(keep).enumerate() {
                    if keep {
                        considered += 1;
                        work.push(Work { arch, over, proposal });
                    } else if measured {
                        reserve.proposals.insert(position, proposal);
                    }
                }
                if measured {
                    reserve.left = share - considered.min(share);
                    considered += reserve.left.min(reserve.proposals.len());
                    reserves.push(reserve);
                }
                observer.event(&Event::Enumerated {
                    arch,
                    sizes: &launch::label(self.spec, sizes),
                    configurations,
                    considered,
                });
            }
        }
        observer.event(&Event::Phase { phase: Phase::Screen, total: work.len() });
        (self.screen_these(screen, &work, 0, observer), reserves)
    }

    /// Runs the cheap gates on each; `first` is how many were looked at before.
    pub(super) fn screen_these(
        &self,
        screen: &Screen<'_>,
        work: &[Work<'a>],
        first: usize,
        observer: &mut dyn Observer,
    ) -> Vec<Entry> {
        let mut best = vec![f64::INFINITY; self.over.len()];
        // There must be time left to measure.
        let share = if first == 0 && self.measured.is_some() { SCREENING } else { 1.0 };
        let limit = self.options.budget.seconds.map(|seconds| seconds * share);
        let entries = parallel::map(
            self.threads,
            work,
            |index, work| match self.is_past(limit) {
                true => None,
                false => Some(self.screen_one(screen, first + index, work)),
            },
            |_, entry: &Option<Entry>| {
                let Some(entry) = entry else { return };
                let record = &entry.record;
                observer.event(&Event::Verdict { phase: Phase::Screen, record });
                let seconds = entry.seconds();
                if first == 0 && record.arch == self.arches[0] && seconds < best[entry.over] {
                    best[entry.over] = seconds;
                    observer.event(&Event::Best { record, seconds, measured: false });
                }
            },
        );
        let listed = entries.len();
        let entries: Vec<Entry> = entries.into_iter().flatten().collect();
        if entries.len() < listed {
            let message = format!(
                "the limit of {} s was reached after {} of {listed} candidates; a search without it may find a better one",
                self.options.budget.seconds.unwrap_or_default(),
                entries.len()
            );
            observer.event(&Event::Note { message: &message });
        }
        entries
    }

    fn screen_one(&self, screen: &Screen<'_>, index: usize, work: &Work<'_>) -> Entry {
        let over = work.over;
        let mut entry = Entry {
            record: CandidateRecord {
                id: format!("{}-{index}", self.proposer.name()),
                proposer: self.proposer.name(),
                arch: work.arch,
                tunables: Tunables::new(),
                origin: Default::default(),
                sizes: launch::label(self.spec, &self.over[over]),
                gate: Gate::Generate,
                verdict: Verdict::Pass,
                rejection: None,
                modelled: None,
                measured: None,
                registers: None,
                energy: None,
            },
            over,
            candidate: None,
            proved: false,
            view: None,
            finalist: false,
            seeded: false,
            samples: Vec::new(),
            remembered: false,
        };
        match self.glance(screen, &mut entry, work) {
            Ok(candidate) => {
                if entry.record.measured.is_none() {
                    entry.record.gate = Gate::Machine;
                }
                entry.candidate = Some(candidate);
            }
            Err(rejection) => entry.refuse(rejection),
        }
        entry
    }

    fn glance(
        &self,
        screen: &Screen<'_>,
        entry: &mut Entry,
        work: &Work<'_>,
    ) -> Result<Candidate, Rejection> {
        let over = &self.over[work.over];
        let measured = self.measured == Some(work.arch);
        let candidate = work.proposal.make().map_err(|reason| Rejection::new(Gate::Generate, reason))?;
        entry.record.id.clone_from(&candidate.id);
        entry.record.proposer = candidate.proposer;
        entry.record.tunables.clone_from(&candidate.tunables);
        entry.record.origin.clone_from(&candidate.origin);
        if measured {
            // A refusal is kept with what was refused.
            entry.candidate = Some(candidate.clone());
        }
        let known = if measured { self.known(work.over, &candidate) } else { None };
        if let Some(Outcome::Refused { gate, verdict, reason }) = known {
            entry.remembered = true;
            let reason = Reason::Remembered { verdict, message: reason };
            return Err(Rejection::new(gate, reason));
        }
        let module = screen.read(&candidate)?;
        if !launch::serves(self.spec, over, &candidate.variant) {
            let when = candidate.variant.when.to_string();
            let message = format!("it was proposed for {} but serves only `{when}`", entry.record.sizes);
            return Err(Rejection::new(Gate::Parse, Reason::Plan { message }));
        }
        if known.is_none() {
            screen.quick(&candidate, &module)?;
        }
        let (profiles, estimate) = screen.detail(&candidate, &module, over, None)?;
        entry.record.modelled = Some(Time { seconds: estimate.seconds, basis: TimeBasis::Modelled });
        if measured {
            entry.view = Some(View::new(&candidate.id, &candidate.tunables, &profiles, &estimate));
        }
        if let Some(Outcome::Measured { seconds }) = known {
            entry.remembered = true;
            entry.record.gate = Gate::Time;
            entry.record.measured = Some(Time { seconds, basis: TimeBasis::Measured });
        }
        Ok(candidate)
    }
}

/// Keeps the proposals that are nearest to what a strategy wants to try first.
fn want(proposals: &[Proposal<'_>], strategy: &Strategy, most: usize, keep: &mut [bool]) {
    let told: Vec<(usize, &Tunables)> = proposals
        .iter()
        .enumerate()
        .filter_map(|(position, proposal)| Some((position, proposal.tunables()?)))
        .collect();
    for wanted in strategy.wanted() {
        if keep.iter().filter(|&&keep| keep).count() >= most {
            break;
        }
        if let Some(position) = nearest(wanted, told.iter().copied()) {
            keep[position] = true;
        }
    }
}

/// Which of `proposals` are looked at, at most `count`: the first quarter as they come, because a proposer puts the likeliest
/// first, the rest drawn from what remains.
fn choose(proposals: usize, count: usize, seed: u64) -> Vec<bool> {
    if proposals <= count {
        return vec![true; proposals];
    }
    let sure = count.div_ceil(4);
    let mut rest: Vec<usize> = (sure..proposals).collect();
    let mut random = Random::new(seed ^ 0x9e37_79b9_7f4a_7c15);
    for position in 0..count - sure {
        let other = position + random.below(rest.len() - position);
        rest.swap(position, other);
    }
    let mut keep = vec![false; proposals];
    (0..sure).chain(rest.into_iter().take(count - sure)).for_each(|index| keep[index] = true);
    keep
}
