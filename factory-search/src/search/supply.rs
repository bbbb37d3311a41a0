//! What is looked at while the GPU is busy: some of it whatever becomes known, the rest bred from what was good.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use factory_spec::Arch;

use super::Run;
use super::entry::Entry;
use super::screening::Work;
use crate::candidate::Tunables;
use crate::learn::{Random, Strategy, offspring, some_nearest};
use crate::proposer::Proposal;
use crate::screen::Screen;

/// Configurations that are looked at in the place of one that is wanted and not to be had.
const WAYS: usize = 3;
/// Configurations that are looked at for each entry of `better.over` although the time is over.
const SURE: usize = 4;

/// Configurations of one entry of `better.over` that nobody has looked at yet, and how many may still be.
#[derive(Default)]
pub(super) struct Reserve<'a> {
    proposals: BTreeMap<usize, Proposal<'a>>,
    /// Those that are looked at whatever becomes known, in this order.
    first: VecDeque<usize>,
    left: usize,
}

impl<'a> Reserve<'a> {
    /// Of these proposals `left` may be looked at, those of `first` whatever becomes known.
    pub(super) fn new(proposals: Vec<Proposal<'a>>, first: Vec<usize>, left: usize) -> Reserve<'a> {
        Reserve { proposals: proposals.into_iter().enumerate().collect(), first: first.into(), left }
    }

    /// Those that are nearest to what a strategy wants to try are looked at first. Where that very configuration is not to be
    /// had, as for a longer row, there are several ways to come near it, and the nearest need not be the best.
    pub(super) fn prefer(&mut self, strategy: &Strategy) {
        let told = self.tunables();
        let mut found: Vec<(usize, usize)> = Vec::new();
        for tunables in strategy.wanted().take(self.left) {
            let near = some_nearest(tunables, told.iter().map(|(&at, &tunables)| (at, tunables)), WAYS);
            let ways = if near.first().is_some_and(|&(_, apart)| apart > 0.0) { WAYS } else { 1 };
            found.extend(near.into_iter().take(ways).enumerate().map(|(way, (at, _))| (way, at)));
        }
        // The nearest of all before the second of any: `sort_by_key` keeps the order of equals.
        found.sort_by_key(|&(way, _)| usize::from(way > 0));
        let mut seen = BTreeSet::new();
        let wanted: Vec<usize> = found.into_iter().map(|(_, at)| at).filter(|&at| seen.insert(at)).collect();
        self.first.retain(|position| !seen.contains(position));
        wanted.into_iter().rev().for_each(|position| self.first.push_front(position));
    }

    /// Takes out at most so many of those that are looked at whatever becomes known.
    fn take_first(&mut self, count: usize) -> Vec<Proposal<'a>> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(position) = self.first.pop_front()
        {
            taken.extend(self.take(&[position]));
        }
        taken
    }

    /// Takes these out.
    fn take(&mut self, these: &[usize]) -> Vec<Proposal<'a>> {
        let taken = these.iter().filter_map(|position| self.proposals.remove(position));
        let taken: Vec<Proposal<'a>> = taken.take(self.left).collect();
        self.left -= taken.len();
        taken
    }

    /// What is left, by its tunables; what does not tell them cannot be bred.
    fn tunables(&self) -> BTreeMap<usize, &Tunables> {
        self.proposals
            .iter()
            .filter_map(|(&position, proposal)| Some((position, proposal.tunables()?)))
            .collect()
    }
}

/// Brings further configurations of one entry of `better.over`.
pub(super) struct Supply<'s, 'a> {
    pub(super) run: &'s Run<'a>,
    pub(super) arch: Arch,
    pub(super) over: usize,
    pub(super) screen: &'s Screen<'s>,
    pub(super) reserve: &'s mut Reserve<'a>,
    pub(super) random: Random,
}

impl<'a> Supply<'_, 'a> {
    /// What an entry of `better.over` begins with: of at most `count` the first [`SURE`] whatever the time. Without them its sizes
    /// would be left to the fallback, however good the memory is. `first` is how many were looked at before.
    pub(super) fn begin(
        &mut self,
        strategy: &mut Strategy,
        count: usize,
        first: usize,
    ) -> Vec<Option<Entry>> {
        let count = if self.run.out_of_time() { SURE.min(count) } else { count };
        self.look_at(strategy, &[], &[], count, SURE, first)
    }

    /// Chooses at most so many and runs the cheap gates on each; `None` for one that there was no time for. `places` are the
    /// positions in the pool of the strategy's candidates, and `first` is how many were looked at before.
    pub(super) fn prepare(
        &mut self,
        strategy: &mut Strategy,
        pool: &[Entry],
        places: &[usize],
        count: usize,
        first: usize,
    ) -> Vec<Option<Entry>> {
        if self.run.out_of_time() {
            return Vec::new();
        }
        self.look_at(strategy, pool, places, count, 0, first)
    }

    fn look_at(
        &mut self,
        strategy: &mut Strategy,
        pool: &[Entry],
        places: &[usize],
        count: usize,
        sure: usize,
        first: usize,
    ) -> Vec<Option<Entry>> {
        let (arch, over) = (self.arch, self.over);
        let proposals = self.choose(strategy, pool, places, count);
        let work: Vec<Work<'a>> =
            proposals.into_iter().map(|proposal| Work { arch, over, proposal }).collect();
        self.run.screen_aside(self.screen, &work, sure, first)
    }

    /// One half are those that were chosen in advance, one quarter what the times that are known promise, one quarter comes
    /// of crossing what is good.
    fn choose(
        &mut self,
        strategy: &mut Strategy,
        pool: &[Entry],
        places: &[usize],
        count: usize,
    ) -> Vec<Proposal<'a>> {
        let ranking = strategy.ranking();
        let in_advance = if ranking.is_empty() { count } else { count.div_ceil(2) };
        let mut proposals = self.reserve.take_first(in_advance);
        let bred = {
            let wanted = count - proposals.len();
            let mut fresh = self.reserve.tunables();
            let mut bred = strategy.promising(&fresh, wanted.div_ceil(2));
            fresh.retain(|position, _| !bred.contains(position));
            let best: Vec<&Tunables> =
                ranking.iter().map(|&position| &pool[places[position]].record.tunables).collect();
            bred.extend(offspring(&best, &fresh, wanted - bred.len(), &mut self.random));
            bred
        };
        proposals.extend(self.reserve.take(&bred));
        // Nothing to breed from, or nothing that tells its tunables.
        proposals.extend(self.reserve.take_first(count - proposals.len()));
        let rest: Vec<usize> = self.reserve.proposals.keys().copied().take(count - proposals.len()).collect();
        proposals.extend(self.reserve.take(&rest));
        proposals
    }
}
