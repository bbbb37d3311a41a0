//! Measuring in rounds: a strategy says what to time next, its answers say what to look at next.

use std::collections::BTreeSet;
use std::time::Instant;

use factory_spec::SizeValues;

use super::Run;
use super::entry::{Entry, ranked, winner};
use super::share::{FINALISTS, Share};
use super::supply::{Reserve, Supply};
use crate::candidate::Candidate;
use crate::found::{Learned, Time, TimeBasis};
use crate::gpu::{MeasureOptions, Timing};
use crate::launch;
use crate::learn::{Experience, Outcome, Random, Strategy};
use crate::measurer::Measurer;
use crate::model::{Target, compulsory_bytes};
use crate::observer::{Event, Observer, Phase};
use crate::priority;
use crate::screen::Screen;
use crate::verdict::{Gate, Reason, Rejection, Verdict};

/// Candidates that are timed side by side, at least; more where many are to be timed, because each call fills buffers and
/// asks the oracle anew.
const BATCH: usize = 8;
const MOST_AT_ONCE: usize = 48;
/// So many times as many are looked at before the first are timed.
const CHOICE: usize = 2;
/// A search that may time so many candidates learns as often as it can.
const CALLS: usize = 12;
/// The least number of candidates of each size that are timed, as far as there are so many and nothing ends the search.
const LEAST: usize = 24;
/// A gain that is not worth a further round.
const GAIN: f64 = 0.002;
/// So many candidates without such a gain, and none expected, end the rounds. A model that was fitted on the first few is
/// too sure of itself.
const PATIENCE: usize = 32;
/// So close to the time that the compulsory bytes need, nothing better is looked for.
const FLOOR: f64 = 1.02;
/// Bytes that a window of a round goes over at least: an eighth of a millisecond of an H200, of which the events around it
/// are some 0.3 %. Slow candidates cost as much less as it is shorter.
const BRIEF: usize = 512 << 20;

impl<'a> Run<'a> {
    /// A strategy for an entry of `better.over` with everything that memory knows, what this search found out about the entries
    /// before included, and the first candidates that it wants. `first` is how many were looked at before.
    fn begin(&self, over: usize, screen: &Screen<'_>, reserve: &mut Reserve<'a>, first: usize) -> Begun {
        let memory = self.memory.zip(self.device.as_deref());
        let (experiences, trouble) = match memory.map(|(memory, device)| memory.experiences(device)) {
            None => (Vec::new(), None),
            Some(Ok(experiences)) => (experiences, None),
            Some(Err(message)) => (Vec::new(), Some(message)),
        };
        let seed = self.options.seed ^ (over as u64) << 32;
        let mut strategy = Strategy::new(self.tasks[over].clone(), &experiences, seed);
        reserve.prefer(&strategy);
        let (_, at_once) = self.sizes_of_rounds();
        let screened = match self.supply(over, screen, reserve) {
            Some(mut supply) => supply.begin(&mut strategy, CHOICE * at_once, first),
            None => Vec::new(),
        };
        Begun { strategy, screened, trouble }
    }

    fn supply<'s>(
        &'s self,
        over: usize,
        screen: &'s Screen<'s>,
        reserve: &'s mut Reserve<'a>,
    ) -> Option<Supply<'s, 'a>> {
        let random = Random::new(self.options.seed ^ 0x00c0_ffee ^ (over as u64) << 32);
        Some(Supply { run: self, arch: self.measured?, over, screen, reserve, random })
    }

    /// How many candidates are timed for each entry of `better.over` at most, and how many of them side by side.
    fn sizes_of_rounds(&self) -> (usize, usize) {
        let most = LEAST.max(self.options.budget.candidates / self.over.len().max(1));
        (most, (most / CALLS).clamp(BATCH, MOST_AT_ONCE))
    }

    /// What memory says of a candidate for an entry of `better.over`.
    pub(super) fn known(&self, over: usize, candidate: &Candidate) -> Option<Outcome> {
        self.memory?.known(&self.tasks[over], candidate, self.device.as_deref()?)
    }

    /// Keeps the outcome of a candidate that was not known before: a new one, or a refusal where memory had a time. Says so
    /// once when that fails.
    pub(super) fn remember(&self, entry: &Entry, on_device: bool, failed: &mut Option<String>) {
        let (Some(memory), Some(candidate)) = (self.memory, &entry.candidate) else { return };
        let known = match &entry.record.rejection {
            Some(rejection) => matches!(rejection.reason, Reason::Remembered { .. }),
            None => entry.remembered,
        };
        if known {
            return;
        }
        let task = &self.tasks[entry.over];
        let (outcome, experience) = match (&entry.record.rejection, &entry.record.measured) {
            // What our own tools failed at may be tried again.
            (Some(rejection), _) if rejection.verdict == Verdict::Infrastructure => return,
            (Some(rejection), _) => {
                let reason = rejection.reason.to_string();
                (Outcome::Refused { gate: rejection.gate, verdict: rejection.verdict, reason }, None)
            }
            (None, Some(time)) => {
                let view = entry.view.clone();
                let seconds = Some(time.seconds);
                let experience = view.map(|view| Experience { task: task.clone(), view, seconds });
                (Outcome::Measured { seconds: time.seconds }, experience)
            }
            (None, None) => return,
        };
        let device = self.device.as_deref().filter(|_| on_device);
        if let Err(message) =
            memory.record(task, candidate, device, &outcome, &entry.samples, experience.as_ref())
        {
            failed.get_or_insert(message);
        }
    }

    /// Times candidates of every entry of `better.over` until nothing better is expected or the budget is spent.
    pub(super) fn rounds(
        &self,
        measurer: &mut dyn Measurer,
        screen: &Screen<'_>,
        pool: &mut Vec<Entry>,
        mut reserves: Vec<Reserve<'a>>,
        observer: &mut dyn Observer,
    ) -> Learned {
        observer.event(&Event::Phase { phase: Phase::Measure, total: self.over.len() });
        let mut learned = Learned::default();
        let (mut failed, mut unread) = (None, None);
        let mut reserves = reserves.iter_mut();
        let mut reserve = reserves.next();
        let mut begun = reserve.as_deref_mut().map(|reserve| self.begin(0, screen, reserve, pool.len()));
        // How long a finalist of the last entry took.
        let mut pace = None;
        for over in 0..self.over.len() {
            let (Some(here), Some(Begun { mut strategy, screened, trouble })) = (reserve, begun) else {
                break;
            };
            unread = unread.or(trouble);
            let strategy = &mut strategy;
            let mut one = One { run: self, over, screen, pool: &mut *pool, strategy, places: Vec::new() };
            let share = self.share_of_time(over, pace);
            one.rounds(measurer, here, screened, share.rounds, &mut failed, observer);
            let settled = Instant::now();
            reserve = reserves.next();
            let (next, first) = (reserve.as_deref_mut(), one.pool.len());
            // While the finalists are proved and measured again, the cores begin with the next entry.
            begun = std::thread::scope(|scope| {
                let aside = next.map(|next| {
                    scope.spawn(move || {
                        priority::give_way();
                        self.begin(over + 1, screen, next, first)
                    })
                });
                let finalists = one.finals(measurer, &share, &mut failed, observer);
                pace = Some(settled.elapsed().as_secs_f64() / finalists.max(1) as f64);
                aside.map(|aside| aside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            });
            let contribution = one.strategy.contribution();
            learned.experiences = learned.experiences.max(contribution.experiences);
            learned.tasks = learned.tasks.max(contribution.tasks);
            learned.seeds += contribution.seeds;
        }
        for entry in pool.iter().filter(|entry| self.is_timed(entry)) {
            learned.remembered += usize::from(entry.remembered);
            learned.timed += usize::from(entry.record.measured.is_some() && !entry.remembered);
        }
        if let Some(message) = unread {
            let message = format!("the memory of earlier searches cannot be read: {message}");
            observer.event(&Event::Note { message: &message });
        }
        if let Some(message) = failed {
            let message = format!("what was found out could not be kept for the next search: {message}");
            observer.event(&Event::Note { message: &message });
        }
        learned
    }

    /// Asks for the times of those of these that no gate refused; `None` when there are none.
    fn ask(
        &self,
        over: usize,
        screen: &Screen<'_>,
        pool: &[Entry],
        measurer: &mut dyn Measurer,
        these: &[usize],
        options: &MeasureOptions,
    ) -> Option<Result<Timing, String>> {
        let alive = these.iter().map(|&index| &pool[index]).filter(|entry| entry.record.rejection.is_none());
        let candidates: Vec<&Candidate> = alive.filter_map(|entry| entry.candidate.as_ref()).collect();
        if candidates.is_empty() {
            return None;
        }
        Some(measurer.check_and_time(self.spec, screen.cases, &self.over[over], &candidates, options))
    }

    fn is_timed(&self, entry: &Entry) -> bool {
        self.measured == Some(entry.record.arch)
    }
}

/// With what the rounds of an entry of `better.over` begin.
struct Begun {
    strategy: Strategy,
    screened: Vec<Option<Entry>>,
    /// Why memory could not be read.
    trouble: Option<String>,
}

/// The rounds of one entry of `better.over`.
struct One<'a, 'b> {
    run: &'b Run<'a>,
    over: usize,
    screen: &'b Screen<'b>,
    pool: &'b mut Vec<Entry>,
    strategy: &'b mut Strategy,
    /// For each candidate of the strategy its position in the pool.
    places: Vec<usize>,
}

impl<'a> One<'a, '_> {
    fn sizes(&self) -> &'a SizeValues {
        &self.run.over[self.over]
    }

    /// Times candidates, those that were `screened` first; until when, in seconds of the search.
    fn rounds(
        &mut self,
        measurer: &mut dyn Measurer,
        reserve: &mut Reserve<'a>,
        screened: Vec<Option<Entry>>,
        until: Option<f64>,
        failed: &mut Option<String>,
        observer: &mut dyn Observer,
    ) {
        let (run, over, screen) = (self.run, self.over, self.screen);
        let Some(arch) = run.measured else { return };
        let floor = compulsory_bytes(run.spec, self.sizes()) / Target::of(arch).memory_bandwidth * FLOOR;
        let (most, at_once) = run.sizes_of_rounds();
        let Some(mut supply) = run.supply(over, screen, reserve) else { return };
        self.welcome(screened, failed, observer);
        let mut timed = 0;
        // The best so far, and how many had been timed then.
        let (mut best, mut since) = (f64::INFINITY, 0);
        // How long the last turn took: one that would end more beyond the limit than before it is not begun.
        let mut began = Instant::now();
        for turn in 0.. {
            let took = began.elapsed().as_secs_f64();
            began = Instant::now();
            // The first are timed whatever the time: nothing else would stand for these sizes.
            if timed >= most || (turn > 0 && self.run.is_past(until.map(|until| until - 0.5 * took))) {
                break;
            }
            let batch: Vec<usize> = self.strategy.next(at_once.min(most - timed));
            if batch.is_empty() {
                let first = self.pool.len();
                let screened = supply.prepare(self.strategy, self.pool, &self.places, at_once, first);
                if screened.is_empty() {
                    break;
                }
                self.welcome(screened, failed, observer);
                continue;
            }
            timed += batch.len();
            let these: Vec<usize> = batch.iter().map(|&position| self.places[position]).collect();
            // They passed a small case on the machine and meet all of them on the device. What wins runs all of them on the
            // machine too, before the last call: for most that would be in vain, and it takes longer than to time them.
            // Rounds only order candidates; the last call, with all rounds and fresh data, decides.
            let options =
                MeasureOptions { rounds: 5, finalists: 0, window_bytes: BRIEF, ..self.options(until) };
            // While the GPU has these, the cores prepare what comes next, by what was known before.
            let (timing, screened) = std::thread::scope(|scope| {
                let One { pool, places, strategy, .. } = &mut *self;
                let (pool, places, supply) = (pool.as_slice(), places.as_slice(), &mut supply);
                let aside = scope.spawn(move || {
                    priority::give_way();
                    supply.prepare(strategy, pool, places, at_once, pool.len())
                });
                let timing = run.ask(over, screen, pool, measurer, &these, &options);
                (timing, aside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            });
            let measured = !self.note(&these, timing, observer).is_empty();
            for &position in &batch {
                let entry = &self.pool[self.places[position]];
                self.strategy.tell(position, entry.record.measured.as_ref().map(|time| time.seconds));
                self.run.remember(entry, entry.record.gate >= Gate::Device, failed);
            }
            self.welcome(screened, failed, observer);
            if !measured && these.iter().any(|&index| self.pool[index].record.rejection.is_none()) {
                break;
            }
            let now = self.strategy.best().unwrap_or(f64::INFINITY);
            if now < best * (1.0 - GAIN) {
                (best, since) = (now, timed);
            }
            let exhausted = timed - since >= PATIENCE.max(most / 2) && self.strategy.expected_gain() < GAIN;
            if timed >= LEAST && (now <= floor || exhausted) {
                break;
            }
        }
        for &position in self.strategy.seeded() {
            self.pool[self.places[position]].seeded = true;
        }
    }

    /// Gives the strategy what the pool holds from `first` on.
    fn admit(&mut self, first: usize) {
        let mut views = Vec::new();
        let mut known = Vec::new();
        for index in first..self.pool.len() {
            let entry = &self.pool[index];
            if !self.run.is_timed(entry) || entry.over != self.over || entry.record.rejection.is_some() {
                continue;
            }
            let Some(view) = &entry.view else { continue };
            if let Some(time) = &entry.record.measured {
                known.push((self.places.len(), time.seconds));
            }
            self.places.push(index);
            views.push(view.clone());
        }
        self.strategy.add(views);
        for (position, seconds) in known {
            self.strategy.tell(position, Some(seconds));
        }
    }

    fn options(&self, until: Option<f64>) -> MeasureOptions {
        let left = until.map(|until| (until - self.run.started.elapsed().as_secs_f64()).max(1.0));
        MeasureOptions { seed: self.run.options.seed, seconds: left, ..MeasureOptions::default() }
    }

    /// Puts what was looked at into the pool, and gives the strategy what no gate refused.
    fn welcome(
        &mut self,
        screened: Vec<Option<Entry>>,
        failed: &mut Option<String>,
        observer: &mut dyn Observer,
    ) {
        let first = self.pool.len();
        self.pool.extend(self.run.only_screened(screened, observer));
        for entry in &self.pool[first..] {
            observer.event(&Event::Verdict { phase: Phase::Screen, record: &entry.record });
            if entry.record.rejection.is_some() {
                self.run.remember(entry, false, failed);
            }
        }
        self.admit(first);
    }

    /// Times those of these that no gate refused; those that have a time now.
    fn time(
        &mut self,
        measurer: &mut dyn Measurer,
        these: &[usize],
        options: &MeasureOptions,
        observer: &mut dyn Observer,
    ) -> Vec<usize> {
        let timing = self.run.ask(self.over, self.screen, self.pool, measurer, these, options);
        self.note(these, timing, observer)
    }

    /// Notes what came of these; those that have a time now.
    fn note(
        &mut self,
        these: &[usize],
        timing: Option<Result<Timing, String>>,
        observer: &mut dyn Observer,
    ) -> Vec<usize> {
        let Some(timing) = timing else { return Vec::new() };
        let timed: Vec<usize> =
            these.iter().copied().filter(|&index| self.pool[index].record.rejection.is_none()).collect();
        let timing = match timing {
            Ok(timing) => timing,
            Err(message) => {
                observer.event(&Event::NotRun { gate: Gate::Time, reason: &message });
                return Vec::new();
            }
        };
        let label = launch::label(self.run.spec, self.sizes());
        observer.event(&Event::Timed { sizes: &label, timing: &timing });
        for disturbance in &timing.finale.disturbances {
            let message = format!("the measurement at {label} was disturbed: {disturbance}");
            observer.event(&Event::Note { message: &message });
        }
        let mut outcomes = timing.candidates.into_iter();
        let mut told = Vec::new();
        let mut trouble = None;
        for index in timed {
            let entry = &mut self.pool[index];
            // Whoever is measured again is what the driver makes of the text that would be sealed.
            if let Some(candidate) = &mut entry.candidate {
                candidate.image = None;
            }
            let outcome = outcomes.next().map_or_else(
                || {
                    let message = "the measurer did not answer for it".to_owned();
                    Err(Rejection::new(Gate::Time, Reason::Infrastructure { message }))
                },
                |timing| {
                    entry.record.energy = timing.energy.or(entry.record.energy);
                    entry.samples =
                        if timing.final_samples.is_empty() { timing.samples } else { timing.final_samples };
                    timing.outcome
                },
            );
            match outcome {
                Ok(seconds) => {
                    entry.record.gate = Gate::Time;
                    entry.record.measured = Some(Time { seconds, basis: TimeBasis::Measured });
                    told.push(index);
                }
                // Our own tools failed: nothing is known about it, and nothing held against it.
                Err(rejection) if rejection.verdict == Verdict::Infrastructure => {
                    trouble.get_or_insert(rejection.reason.to_string());
                    continue;
                }
                Err(rejection) => entry.refuse(rejection),
            }
            observer.event(&Event::Verdict { phase: Phase::Measure, record: &self.pool[index].record });
        }
        if let Some(message) = trouble {
            observer.event(&Event::NotRun { gate: Gate::Time, reason: &message });
        }
        told
    }

    /// Proves these on the machine; those that hold.
    fn proved_of(
        &mut self,
        these: &[usize],
        failed: &mut Option<String>,
        observer: &mut dyn Observer,
    ) -> Vec<usize> {
        self.run.prove_these(self.screen, self.pool, these, observer);
        let (proved, refused): (Vec<usize>, Vec<usize>) =
            these.iter().copied().partition(|&index| self.pool[index].proved);
        for index in refused {
            self.run.remember(&self.pool[index], false, failed);
        }
        proved
    }

    /// The best of all rounds once more, side by side, after every case on the machine: times of different calls are not to be
    /// compared to the last per cent. How many there were.
    fn finals(
        &mut self,
        measurer: &mut dyn Measurer,
        share: &Share,
        failed: &mut Option<String>,
        observer: &mut dyn Observer,
    ) -> usize {
        let ranking: Vec<usize> =
            self.strategy.ranking().iter().map(|&position| self.places[position]).collect();
        let mut digests = BTreeSet::new();
        let mut best = ranking.iter().copied();
        let mut finalists = Vec::new();
        let wanted = share.finalists(self.run.started.elapsed().as_secs_f64());
        loop {
            let mut group = Vec::new();
            while finalists.len() + group.len() < wanted {
                let Some(index) = best.next() else { break };
                let Some(candidate) = &self.pool[index].candidate else { continue };
                if digests.insert(candidate.digest()) {
                    group.push(index);
                }
            }
            if group.is_empty() {
                break;
            }
            finalists.extend(self.proved_of(&group, failed, observer));
        }
        // Where those serve these sizes alone, sizes near them need somebody too: the best of the others takes part.
        let roomy = |this: &Self, index: usize| {
            this.pool[index].record.rejection.is_none() && this.run.is_roomy(&this.pool[index])
        };
        let mut others = ranking.iter().copied();
        while !finalists.is_empty() && !finalists.iter().any(|&index| roomy(self, index)) {
            let Some(index) = others.find(|&index| roomy(self, index)) else { break };
            finalists.extend(self.proved_of(&[index], failed, observer));
        }
        if finalists.is_empty() {
            // Nothing was measured, or nothing that was holds: the model's best that passes is better than the fallback.
            if let Some(arch) = self.run.measured {
                self.run.prove_groups(self.screen, self.pool, &[(arch, self.over)], observer);
            }
            return 0;
        }
        let options = MeasureOptions {
            finalists: FINALISTS,
            hopeless: f64::INFINITY,
            // Longer than that a worker may not be silent.
            energy_seconds: self.run.options.energy_seconds.map(|seconds| seconds.min(20.0)),
            ..self.options(share.finals)
        };
        // Only those that were compared side by side can win.
        for &index in &self.time(measurer, &finalists, &options, observer) {
            self.pool[index].finalist = true;
        }
        for &index in finalists.iter().filter(|&&index| self.pool[index].record.rejection.is_some()) {
            self.run.remember(&self.pool[index], true, failed);
        }
        let best = self.run.measured.and_then(|arch| winner(self.pool, &ranked(self.pool, arch, self.over)));
        if let Some(index) = best.filter(|&index| self.pool[index].record.measured.is_some()) {
            let entry = &self.pool[index];
            observer.event(&Event::Best { record: &entry.record, seconds: entry.seconds(), measured: true });
        }
        finalists.len()
    }
}
