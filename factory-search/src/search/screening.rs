//! Configurations are listed, and the cheap gates run on each that the budget allows.

use std::collections::BTreeSet;
use std::sync::Arc;

use factory_spec::Arch;

use super::Run;
use super::entry::Entry;
use super::proving::registers;
use super::supply::Reserve;
use crate::candidate::{Candidate, Tunables};
use crate::found::{CandidateRecord, Time, TimeBasis};
use crate::gates;
use crate::launch;
use crate::learn::{Outcome, Random, View};
use crate::observer::{Event, Observer, Phase};
use crate::parallel;
use crate::proposer::Proposal;
use crate::screen::Screen;
use crate::verdict::{Gate, Reason, Rejection, Verdict};

/// A configuration that is to be looked at.
pub(super) struct Work<'a> {
    pub(super) arch: Arch,
    pub(super) over: usize,
    pub(super) proposal: Proposal<'a>,
}

/// What a search may look at.
pub(super) struct Listed<'a> {
    /// Of targets that nothing measures, in the order in which they are looked at.
    pub(super) work: Vec<Work<'a>>,
    /// Of the target that is measured, one for each entry of `better.over`: they come out while others are timed.
    pub(super) reserves: Vec<Reserve<'a>>,
}

impl<'a> Run<'a> {
    /// Lists configurations, and chooses which may be looked at.
    pub(super) fn list(&self, observer: &mut dyn Observer) -> Listed<'a> {
        observer.event(&Event::Phase { phase: Phase::Enumerate, total: self.arches.len() * self.over.len() });
        // With how many stand before it of its target and sizes.
        let mut work: Vec<(usize, Work<'a>)> = Vec::new();
        let mut later = 0;
        let mut reserves: Vec<Reserve<'a>> = Vec::new();
        for &arch in self.arches {
            for (over, sizes) in self.over.iter().enumerate() {
                let proposals = self.proposer.propose(arch, sizes);
                let share = self.options.budget.candidates / self.over.len();
                let extra = usize::from(over < self.options.budget.candidates % self.over.len());
                let share = (share + extra).max(1);
                let configurations = proposals.len();
                let considered = share.min(configurations);
                let seed = self.options.seed ^ over as u64;
                if self.measured == Some(arch) {
                    let first = choose(configurations, share.div_ceil(2), seed);
                    reserves.push(Reserve::new(proposals, first, considered));
                    later += considered;
                } else {
                    let keep: BTreeSet<usize> = choose(configurations, share, seed).into_iter().collect();
                    let kept =
                        proposals.into_iter().enumerate().filter(|(position, _)| keep.contains(position));
                    work.extend(
                        kept.enumerate().map(|(rank, (_, proposal))| (rank, Work { arch, over, proposal })),
                    );
                }
                observer.event(&Event::Enumerated {
                    arch,
                    sizes: &launch::label(self.spec, sizes),
                    configurations,
                    considered,
                });
            }
        }
        observer.event(&Event::Phase { phase: Phase::Screen, total: work.len() + later });
        // When time runs out, all sizes shall have had their turn.
        work.sort_by_key(|(rank, _)| *rank);
        Listed { work: work.into_iter().map(|(_, work)| work).collect(), reserves }
    }

    /// Looks at what the other targets may have, after the one that is measured: first at the twins of what was best there,
    /// which cost next to nothing where both targets have the same code, then at `work` as long as there is time.
    pub(super) fn follow(
        &self,
        screen: &Screen<'_>,
        pool: &mut Vec<Entry>,
        work: Vec<Work<'a>>,
        observer: &mut dyn Observer,
    ) {
        if self.unmeasured().next().is_none() {
            return;
        }
        let good = pool.iter().filter(|entry| entry.proved && entry.record.measured.is_some());
        let good: BTreeSet<(usize, &Tunables)> =
            good.map(|entry| (entry.over, &entry.record.tunables)).collect();
        let is_twin = |work: &Work<'_>| {
            work.proposal.tunables().is_some_and(|tunables| good.contains(&(work.over, tunables)))
        };
        let mut all: Vec<Work<'a>> = Vec::new();
        for (over, sizes) in self.over.iter().enumerate() {
            for arch in self.unmeasured() {
                let proposals = self.proposer.propose(arch, sizes).into_iter();
                all.extend(proposals.map(|proposal| Work { arch, over, proposal }).filter(is_twin));
            }
        }
        let twins = all.len();
        all.extend(work.into_iter().filter(|work| !is_twin(work)));
        observer.event(&Event::Phase { phase: Phase::Screen, total: all.len() });
        self.screen_these(screen, pool, &all, twins, observer);
    }

    /// Runs the cheap gates on the first `sure`, and on the others as long as there is time.
    pub(super) fn screen_these(
        &self,
        screen: &Screen<'_>,
        pool: &mut Vec<Entry>,
        work: &[Work<'a>],
        sure: usize,
        observer: &mut dyn Observer,
    ) {
        let first = pool.len();
        let mut best = vec![f64::INFINITY; self.over.len()];
        let entries = parallel::map(
            self.threads,
            work,
            |index, work| match index >= sure && self.out_of_time() {
                true => None,
                false => Some(self.screen_one(screen, first + index, work)),
            },
            |_, entry: &Option<Entry>| {
                let Some(entry) = entry else { return };
                let record = &entry.record;
                observer.event(&Event::Verdict { phase: Phase::Screen, record });
                let seconds = entry.seconds();
                if record.arch == self.arches[0] && seconds < best[entry.over] {
                    best[entry.over] = seconds;
                    observer.event(&Event::Best { record, seconds, measured: false });
                }
            },
        );
        pool.extend(self.only_screened(entries, observer));
    }

    /// The same for a few, without a word: for a thread that works beside the one that hears the events.
    pub(super) fn screen_aside(
        &self,
        screen: &Screen<'_>,
        work: &[Work<'a>],
        sure: usize,
        first: usize,
    ) -> Vec<Option<Entry>> {
        let screen_one = |index: usize, work: &Work<'_>| match index >= sure && self.out_of_time() {
            true => None,
            false => Some(self.screen_one(screen, first + index, work)),
        };
        parallel::map(self.threads, work, screen_one, |_, _| ())
    }

    /// Those that there was time for.
    pub(super) fn only_screened(
        &self,
        entries: Vec<Option<Entry>>,
        observer: &mut dyn Observer,
    ) -> Vec<Entry> {
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
        let mut candidate = work.proposal.make().map_err(|reason| Rejection::new(Gate::Generate, reason))?;
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
        // What is timed runs what ptxas makes of it; the driver would take longer, and one after the other.
        let resources = match self.ptxas {
            Ok(ptxas) if measured && known.is_none() => {
                let (resources, image) =
                    gates::assemble::assemble_to_image(ptxas, &candidate.ptx, candidate.arch)?;
                candidate.image = image.map(Arc::new);
                entry.record.registers = registers(&resources);
                Some(resources)
            }
            _ => None,
        };
        let (profiles, estimate) = screen.detail(&candidate, &module, over, resources.as_ref())?;
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

/// Which of `proposals` are looked at, at most `count`, and in which order: a quarter as they come, because a proposer puts the
/// likeliest first, and after each of them three that are drawn from what remains.
fn choose(proposals: usize, count: usize, seed: u64) -> Vec<usize> {
    let count = count.min(proposals);
    let sure = count.div_ceil(4);
    let mut rest: Vec<usize> = (sure..proposals).collect();
    let mut random = Random::new(seed ^ 0x9e37_79b9_7f4a_7c15);
    for position in 0..count - sure {
        let other = position + random.below(rest.len() - position);
        rest.swap(position, other);
    }
    rest.truncate(count - sure);
    let mut drawn = rest.into_iter();
    (0..sure)
        .flat_map(|head| std::iter::once(head).chain(drawn.by_ref().take(3)).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn as_many_are_chosen_as_may_be_each_once() {
        for (proposals, count) in [(0, 4), (3, 8), (8, 8), (100, 1), (100, 10), (101, 37)] {
            let mut chosen = choose(proposals, count, 7);
            assert_eq!(chosen.first().copied(), (proposals > 0).then_some(0));
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(chosen.len(), count.min(proposals));
            assert!(chosen.iter().all(|&position| position < proposals));
        }
        assert_ne!(choose(100, 10, 1), choose(100, 10, 2));
    }
}
