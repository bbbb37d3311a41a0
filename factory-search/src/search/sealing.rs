//! Winners become one plan, the plan is proved as a whole and sealed.

use std::collections::BTreeMap;

use factory_spec::{Arch, Plan, SizeExpr, SizeValues, TargetPlan};

use super::Run;
use super::entry::{Entry, ranked, winner};
use crate::candidate::Candidate;
use crate::cases::Cases;
use crate::certificate::{Evidence, ServedSizes, certificate};
use crate::compose::{Composed, compose};
use crate::error::SearchError;
use crate::found::{CandidateRecord, Found};
use crate::gates::Subject;
use crate::holdout::{HeldOut, hold_out_target};
use crate::launch;
use crate::measurer::Measurer;
use crate::observer::{Event, Observer, Phase};
use crate::prove::{add_boundaries, prove_target};
use crate::regions::{asked, everywhere, regions};
use crate::verdict::{Gate, Reason, Rejection, Verdict};

impl Run<'_> {
    /// For each target and size the position of the winner in the pool; `None` where only the fallback is left.
    pub(super) fn winners(
        &self,
        pool: &[Entry],
        observer: &mut dyn Observer,
    ) -> BTreeMap<(Arch, usize), Option<usize>> {
        let mut winners = BTreeMap::new();
        for &arch in self.arches {
            for over in 0..self.over.len() {
                let winner = winner(pool, &ranked(pool, arch, over));
                if winner.is_none() {
                    let sizes = launch::label(self.spec, &self.over[over]);
                    let message =
                        format!("no candidate for {arch} at {sizes} passed; the fallback serves these sizes");
                    observer.event(&Event::Note { message: &message });
                }
                winners.insert((arch, over), winner);
            }
        }
        winners
    }

    /// Runs the best measured candidate of each size on cases that nobody has seen, and the next one where it is refused.
    pub(super) fn hold_out(
        &self,
        measurer: &mut dyn Measurer,
        pool: &mut [Entry],
        observer: &mut dyn Observer,
    ) {
        let Some(arch) = self.measured else { return };
        let held_out = HeldOut::draw(self.spec);
        for over in 0..self.over.len() {
            let best = |pool: &[Entry]| {
                let best = winner(pool, &ranked(pool, arch, over));
                best.filter(|&index| pool[index].record.measured.is_some())
            };
            while let Some(index) = best(pool) {
                let Some(candidate) = pool[index].candidate.clone() else { break };
                let checked = held_out.check(measurer, self.spec, &candidate);
                let passed = checked.is_ok();
                match checked {
                    Ok(true) => pool[index].record.gate = Gate::Holdout,
                    Ok(false) => return,
                    // Nothing is known about it: what was measured stands, and the certificate says that nobody held it out.
                    Err(rejection) if rejection.verdict == Verdict::Infrastructure => {
                        let reason = rejection.reason.to_string();
                        observer.event(&Event::NotRun { gate: Gate::Holdout, reason: &reason });
                        return;
                    }
                    Err(rejection) => {
                        pool[index].refuse(rejection);
                        let mut failed = None;
                        self.remember(&pool[index], true, &mut failed);
                        if let Some(message) = failed {
                            observer.event(&Event::Note { message: &message });
                        }
                    }
                }
                observer.event(&Event::Verdict { phase: Phase::Measure, record: &pool[index].record });
                if passed {
                    break;
                }
            }
        }
    }

    /// Puts the winners into one plan, proves it and seals it.
    pub(super) fn seal(
        &self,
        pool: Vec<Entry>,
        winners: &BTreeMap<(Arch, usize), Option<usize>>,
        fallbacks: &[Candidate],
        cases: &mut Cases,
        mut measurer: Result<&mut dyn Measurer, &str>,
        observer: &mut dyn Observer,
    ) -> Result<Found, SearchError> {
        let mut targets = Vec::new();
        let mut ptx = BTreeMap::new();
        let mut evidence = Vec::new();
        let mut names = Vec::new();
        for (&arch, fallback) in self.arches.iter().zip(fallbacks) {
            let refused = |rejection: Rejection| SearchError::Plan {
                kernel: self.spec.name.clone(),
                arch: arch.to_string(),
                rejection: Box::new(rejection),
            };
            let chosen: Vec<Option<usize>> =
                (0..self.over.len()).map(|over| winners[&(arch, over)]).collect();
            let (composed, distinct) = self
                .compose(&pool, &chosen, fallback)
                .map_err(|reason| refused(Rejection::new(Gate::Parse, reason)))?;
            observer.event(&Event::Phase { phase: Phase::Seal, total: 0 });
            let file = format!("{arch}.ptx");
            let target = TargetPlan { arch, ptx: file.clone(), variants: composed.variants };
            add_boundaries(self.spec, &target, cases, self.options.seed);
            let subject = Subject::of_target(&target, &composed.ptx);
            let proof = prove_target(self.spec, &subject, cases, self.ptxas, self.threads, self.options.seed)
                .map_err(refused)?;
            let holdout = match &mut measurer {
                Ok(measurer) if arch.runs_on(measurer.capability()) => {
                    observer.event(&Event::Phase { phase: Phase::HoldOut, total: 0 });
                    match hold_out_target(&mut **measurer, self.spec, &target, &composed.ptx) {
                        Err(rejection) if rejection.verdict == Verdict::Infrastructure => {
                            let reason = rejection.reason.to_string();
                            observer.event(&Event::NotRun { gate: Gate::Holdout, reason: &reason });
                            Err(reason)
                        }
                        outcome => Ok(outcome.map_err(refused)?),
                    }
                }
                _ => Ok(None),
            };
            if names.is_empty() {
                names = composed
                    .sources
                    .iter()
                    .map(|&source| {
                        distinct
                            .get(source)
                            .map_or_else(|| fallback.id.clone(), |&i| pool[i].record.id.clone())
                    })
                    .collect();
            }
            let served = (0..self.over.len())
                .map(|over| ServedSizes {
                    sizes: self.over[over].clone(),
                    time: chosen[over].and_then(|index| pool[index].record.best_time().cloned()),
                    last: chosen[over].is_some_and(|index| pool[index].finalist),
                })
                .collect();
            evidence.push(Evidence { arch, proof, served, holdout });
            ptx.insert(file, composed.ptx);
            targets.push(target);
        }
        targets.sort_by_key(|target| target.arch);
        let plan = Plan { schema: Plan::SCHEMA, targets };
        plan.check_against(self.spec).map_err(|error| SearchError::Seal {
            kernel: self.spec.name.clone(),
            message: error.to_string(),
        })?;
        let candidates: Vec<CandidateRecord> = pool.into_iter().map(|entry| entry.record).collect();
        let modelled = candidates.iter().all(|record| record.measured.is_none());
        let measurer =
            measurer.as_ref().map(|measurer| &**measurer as &dyn Measurer).map_err(|reason| *reason);
        let certificate =
            certificate(self.spec, self.options, &candidates, &evidence, &plan, self.ptxas, measurer);
        let sealed = factory_spec::Sealed::new(plan, certificate, ptx);
        Ok(Found { sealed, candidates, winners: names, modelled, learned: None })
    }

    /// One target's module and variants; the distinct winners by their position in the pool.
    fn compose(
        &self,
        pool: &[Entry],
        chosen: &[Option<usize>],
        fallback: &Candidate,
    ) -> Result<(Composed, Vec<usize>), Reason> {
        let mut distinct = Distinct { pool, fallback: fallback.digest(), members: Vec::new() };
        let winners: Vec<Option<usize>> =
            chosen.iter().map(|&winner| winner.and_then(|index| distinct.place(index))).collect();
        let fallback_won =
            chosen.iter().zip(&winners).any(|(index, place)| index.is_some() && place.is_none());
        // Behind a winner that serves these sizes alone stands the best that also serves what is near them.
        let mut behind: Vec<(usize, usize)> = Vec::new();
        for (over, winner) in chosen.iter().enumerate() {
            let roomy = |index: usize| self.is_roomy(&pool[index]);
            if winner.is_none_or(roomy) {
                continue;
            }
            let mut others = ranked(pool, fallback.arch, over).into_iter();
            let next = others.find(|&index| pool[index].proved && roomy(index));
            behind.extend(next.and_then(|index| distinct.place(index)).map(|place| (over, place)));
        }
        let last = distinct.members.len();
        let served: Vec<(SizeValues, usize)> =
            self.over.iter().cloned().zip(winners.iter().map(|winner| winner.unwrap_or(last))).collect();
        let distinct: Vec<usize> = distinct.members.iter().map(|(_, index)| *index).collect();
        let mut candidates: Vec<&Candidate> =
            distinct.iter().filter_map(|&index| pool[index].candidate.as_ref()).collect();
        candidates.push(fallback);
        let modules = candidates
            .iter()
            .map(|candidate| {
                factory_ptx::parse(&candidate.ptx)
                    .map_err(|errors| Reason::NotPtx { line: 0, message: errors.to_string() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let conditions: Vec<&SizeExpr> = candidates.iter().map(|one| &one.variant.when).collect();
        let asked = asked(self.spec, self.over, &conditions);
        let mut regions = regions(self.spec, &served, &asked);
        // Where the fallback has won, it must not lose that.
        if !fallback_won {
            let behind = behind.into_iter().map(|(over, place)| (self.over[over].clone(), place));
            let all: Vec<(SizeValues, usize)> = served.iter().cloned().chain(behind).collect();
            regions.extend(everywhere(self.spec, &all, &asked, last, &regions));
        }
        let composed = compose(self.spec, self.over, &candidates, modules, &regions)?;
        Ok((composed, distinct))
    }
}

/// Winners that are not the same program, and not the fallback, in the order in which they came up.
struct Distinct<'a> {
    pool: &'a [Entry],
    fallback: [u8; 32],
    /// Digests, and positions in the pool.
    members: Vec<([u8; 32], usize)>,
}

impl Distinct<'_> {
    /// The place of a candidate, which it gets if it had none; `None` for the fallback.
    fn place(&mut self, index: usize) -> Option<usize> {
        let digest = self.pool[index].candidate.as_ref().map(Candidate::digest);
        let digest = digest.filter(|digest| *digest != self.fallback)?;
        let known = self.members.iter().position(|(other, _)| *other == digest);
        Some(known.unwrap_or_else(|| {
            self.members.push((digest, index));
            self.members.len() - 1
        }))
    }
}
