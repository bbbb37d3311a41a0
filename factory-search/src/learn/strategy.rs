//! What to measure next.

use std::collections::{BTreeMap, VecDeque};

use super::ensemble::{Ensemble, MEMBERS};
use super::features::Columns;
use super::islands::island;
use super::nearness::{apart, distance, nearest, warm_start};
use super::random::Random;
use super::{Experience, Task, View};
use crate::candidate::Tunables;

/// Measurements here before a forest is fitted on them.
const ENOUGH: usize = 8;
/// Measurements here before the end may be declared.
const LEAST: usize = 16;
/// Of so many questions, one is drawn from all that is left, and one asks the best of the island that was asked least.
const EXPLORE: usize = 6;
/// Experiences that a search learns from, those of the nearest tasks first.
const MEMORY: usize = 4000;
/// How sure a prediction can be at most: the spread of equal kernels, as a logarithm.
const NOISE: f64 = 0.01;
/// How much of what others say is believed before anything is known here. On the recorded times of an H200 all of it costs
/// about as often as it helps; one half helps more often.
const HALF: f64 = 0.5;
/// Candidates that are tried because something like them won elsewhere, every second one of the first.
const SEEDS: usize = 2;
/// How far apart two configurations may be that are called alike: half a doubling of one number.
const ALIKE: f64 = 0.5;
/// How many measurements of its own a search sets against what it was told by others.
const TRUST: f64 = 6.0;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    Asked,
    Measured(f64),
    Refused,
}

#[derive(Debug)]
struct Slot {
    view: View,
    island: String,
    state: State,
    /// What other tasks say about the model's error here, as a logarithm, one a forest.
    prior: Vec<f64>,
}

/// What memory gave to a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// Measured candidates of other tasks that were learnt from.
    pub experiences: usize,
    /// How many tasks they are of.
    pub tasks: usize,
    /// Candidates that were asked for because something like them won elsewhere.
    pub seeds: usize,
}

/// Decides which candidates of one task to measure, and in which order.
#[derive(Debug)]
pub struct Strategy {
    task: Task,
    slots: Vec<Slot>,
    elsewhere: Option<(Columns, Ensemble)>,
    seeds: VecDeque<Tunables>,
    asked: usize,
    seed: u64,
    random: Random,
    contribution: Contribution,
    seeded: Vec<usize>,
    /// Predictions of the last answers: one list a forest; `None` after a new answer.
    predictions: Option<Vec<Vec<f64>>>,
}

impl Strategy {
    /// A strategy for one task. `memory` is what was measured before; experiences of the same task are left out, those are
    /// told one by one.
    pub fn new(task: Task, memory: &[Experience], seed: u64) -> Strategy {
        let mut useful: Vec<(f64, &Experience, f64)> = memory
            .iter()
            .filter(|experience| !experience.task.is(&task))
            .filter_map(|experience| {
                let ratio = (experience.seconds? / experience.view.modelled).ln();
                ratio.is_finite().then(|| (distance(&task, &experience.task), experience, ratio))
            })
            .collect();
        useful.sort_by(|a, b| a.0.total_cmp(&b.0));
        useful.truncate(MEMORY);
        let mut groups: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
        for (_, experience, ratio) in &useful {
            groups.entry((&experience.task.meaning, &experience.task.sizes)).or_default().push(*ratio);
        }
        // How far the model is off for a whole task is of no use elsewhere; what is off within it is.
        let middles: BTreeMap<(&str, &str), f64> =
            groups.into_iter().map(|(task, ratios)| (task, median(ratios))).collect();
        let targets: Vec<f64> = useful
            .iter()
            .map(|(_, experience, ratio)| {
                ratio - middles[&(experience.task.meaning.as_str(), experience.task.sizes.as_str())]
            })
            .collect();
        let columns =
            Columns::of(useful.iter().map(|(_, experience, _)| (&experience.task, &experience.view)));
        let rows: Vec<Vec<f64>> =
            useful.iter().map(|(_, experience, _)| columns.row(&experience.task, &experience.view)).collect();
        let ensemble = Ensemble::fit(&rows, &targets, seed);
        let others: Vec<Experience> =
            memory.iter().filter(|experience| !experience.task.is(&task)).cloned().collect();
        let seeds = warm_start(&task, &others).into();
        let contribution = Contribution { experiences: useful.len(), tasks: middles.len(), seeds: 0 };
        Strategy {
            elsewhere: ensemble.map(|ensemble| (columns, ensemble)),
            slots: Vec::new(),
            seeds,
            asked: 0,
            seed,
            random: Random::new(seed ^ 0x2545_f491_4f6c_dd1d),
            contribution,
            seeded: Vec::new(),
            predictions: None,
            task,
        }
    }

    /// The tunables that won on the nearest tasks, for whoever decides which candidates there are to choose from.
    pub fn wanted(&self) -> impl Iterator<Item = &Tunables> {
        self.seeds.iter()
    }

    /// Adds candidates to choose from; the first gets the next free position.
    pub fn add(&mut self, views: Vec<View>) {
        let prior = self.elsewhere.as_ref().and_then(|(columns, ensemble)| {
            let rows: Vec<Vec<f64>> = views.iter().map(|view| columns.row(&self.task, view)).collect();
            ensemble.predict(&rows)
        });
        for (index, view) in views.into_iter().enumerate() {
            let prior = match &prior {
                Some(members) => members.iter().map(|member| member[index]).collect(),
                None => vec![0.0; MEMBERS],
            };
            self.slots.push(Slot { island: island(&view.tunables), view, state: State::Waiting, prior });
        }
        self.predictions = None;
    }

    /// An answer, asked for or not: seconds, or `None` for a refusal.
    pub fn tell(&mut self, position: usize, seconds: Option<f64>) {
        if let Some(slot) = self.slots.get_mut(position) {
            slot.state = seconds.map_or(State::Refused, State::Measured);
            self.predictions = None;
        }
    }

    /// The least time so far.
    pub fn best(&self) -> Option<f64> {
        self.measured().map(|(_, seconds)| seconds).min_by(f64::total_cmp)
    }

    /// What memory gave so far.
    pub fn contribution(&self) -> Contribution {
        self.contribution
    }

    /// Positions of the candidates that were asked for because something like them won elsewhere.
    pub fn seeded(&self) -> &[usize] {
        &self.seeded
    }

    /// Positions of at most `count` candidates to measure next. Fewer, or none, when there are no more.
    pub fn next(&mut self, count: usize) -> Vec<usize> {
        let mut batch: Vec<usize> = Vec::new();
        while batch.len() < count {
            let Some(position) = self.choose(&batch) else { break };
            self.slots[position].state = State::Asked;
            self.asked += 1;
            batch.push(position);
        }
        batch
    }

    /// The relative gain that is expected of the most promising candidate that nobody asked for; infinite as long as too
    /// little is known to say.
    pub fn expected_gain(&mut self) -> f64 {
        let Some(best) = self.best() else { return f64::INFINITY };
        if self.measured().count() < LEAST {
            return f64::INFINITY;
        }
        let members = self.predict();
        let waiting = (0..self.slots.len()).filter(|&position| self.slots[position].state == State::Waiting);
        let gain = waiting.map(|position| improvement(&members, position, best.ln())).fold(0.0, f64::max);
        self.predictions = Some(members);
        gain
    }

    /// Positions of everything measured, best first.
    pub fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<(usize, f64)> = self.measured().collect();
        order.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        order.into_iter().map(|(position, _)| position).collect()
    }

    fn measured(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.slots.iter().enumerate().filter_map(|(position, slot)| match slot.state {
            State::Measured(seconds) => Some((position, seconds)),
            _ => None,
        })
    }

    fn choose(&mut self, batch: &[usize]) -> Option<usize> {
        let waiting: Vec<usize> =
            (0..self.slots.len()).filter(|&position| self.slots[position].state == State::Waiting).collect();
        if waiting.is_empty() {
            return None;
        }
        while self.asked.is_multiple_of(2)
            && self.contribution.seeds < SEEDS
            && let Some(wanted) = self.seeds.pop_front()
        {
            let free = waiting.iter().map(|&position| (position, &self.slots[position].view.tunables));
            let found = nearest(&wanted, free);
            // The nearest one may be nothing like it, or have been asked already.
            let found =
                found.filter(|&position| apart(&wanted, &self.slots[position].view.tunables) <= ALIKE);
            if let Some(position) = found {
                self.contribution.seeds += 1;
                self.seeded.push(position);
                return Some(position);
            }
        }
        if self.asked % EXPLORE == EXPLORE - 1 {
            return Some(waiting[self.random.below(waiting.len())]);
        }
        let members = self.predict();
        let mean = |position: usize| members.iter().map(|member| member[position]).sum::<f64>();
        let least = |among: &[usize], value: &dyn Fn(usize) -> f64| {
            among.iter().copied().min_by(|&a, &b| value(a).total_cmp(&value(b)).then(a.cmp(&b)))
        };
        let chosen = if self.asked % EXPLORE == EXPLORE / 2 - 1 {
            let of_island = self.quietest_island(&waiting);
            least(&of_island, &mean)
        } else {
            // Those that hardly differ from another of the batch can wait for what that one says.
            let news: Vec<usize> =
                waiting.iter().copied().filter(|&position| self.is_news(position, batch)).collect();
            let among = if news.is_empty() { &waiting } else { &news };
            match self.best() {
                Some(best) if self.asked.is_multiple_of(2) => {
                    let gain = |position: usize| -improvement(&members, position, best.ln());
                    least(among, &gain)
                }
                None => least(among, &mean),
                _ => {
                    let member = &members[self.random.below(members.len())];
                    least(among, &|position| member[position])
                }
            }
        };
        self.predictions = Some(members);
        chosen
    }

    /// Configurations that nobody has looked at yet and that, by their tunables alone, promise most: for choosing among more
    /// than can be looked at. None as long as too little was measured here.
    pub fn promising(&mut self, fresh: &BTreeMap<usize, &Tunables>, count: usize) -> Vec<usize> {
        let bare = |tunables: &Tunables| View {
            id: String::new(),
            tunables: tunables.clone(),
            modelled: 1.0,
            figures: BTreeMap::new(),
        };
        let (seen, seconds): (Vec<View>, Vec<f64>) = self
            .measured()
            .map(|(position, seconds)| (bare(&self.slots[position].view.tunables), seconds.ln()))
            .unzip();
        let Some(best) = seconds.iter().copied().min_by(f64::total_cmp).filter(|_| seen.len() >= LEAST)
        else {
            return Vec::new();
        };
        let places: Vec<usize> = fresh.keys().copied().collect();
        let unseen: Vec<View> = fresh.values().map(|tunables| bare(tunables)).collect();
        let columns = Columns::of(seen.iter().chain(&unseen).map(|view| (&self.task, view)));
        let rows = |views: &[View]| -> Vec<Vec<f64>> {
            views.iter().map(|view| columns.row(&self.task, view)).collect()
        };
        let fitted = Ensemble::fit(&rows(&seen), &seconds, self.seed ^ seen.len() as u64);
        let Some(members) = fitted.and_then(|ensemble| ensemble.predict(&rows(&unseen))) else {
            return Vec::new();
        };
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < count.min(unseen.len()) {
            // In turn the one that is expected to gain most and the one that some forest thinks best.
            let member = self.random.below(members.len());
            let value = |at: usize| match chosen.len() % 2 {
                0 => -improvement(&members, at, best),
                _ => members[member][at],
            };
            let left = (0..unseen.len()).filter(|at| !chosen.contains(at));
            let Some(next) = left.min_by(|&a, &b| value(a).total_cmp(&value(b)).then(a.cmp(&b))) else {
                break;
            };
            chosen.push(next);
        }
        chosen.into_iter().map(|at| places[at]).collect()
    }

    fn is_news(&self, position: usize, batch: &[usize]) -> bool {
        let tunables = &self.slots[position].view.tunables;
        tunables.is_empty()
            || batch.iter().all(|&other| apart(tunables, &self.slots[other].view.tunables) > 1.0)
    }

    /// The candidates that wait on the island that was asked least.
    fn quietest_island(&self, waiting: &[usize]) -> Vec<usize> {
        let asked = |island: &str| {
            self.slots.iter().filter(|slot| slot.island == island && slot.state != State::Waiting).count()
        };
        let quietest = waiting
            .iter()
            .map(|&position| self.slots[position].island.as_str())
            .map(|island| (asked(island), island))
            .min();
        let Some((_, quietest)) = quietest else { return Vec::new() };
        waiting.iter().copied().filter(|&position| self.slots[position].island == quietest).collect()
    }

    /// The logarithm of the time of every candidate, one list a forest.
    fn predict(&mut self) -> Vec<Vec<f64>> {
        if let Some(predictions) = self.predictions.take() {
            return predictions;
        }
        let answers: Vec<(usize, f64)> = self
            .measured()
            .map(|(position, seconds)| (position, (seconds / self.slots[position].view.modelled).ln()))
            .filter(|(_, ratio)| ratio.is_finite())
            .collect();
        let told = |position: usize| {
            let prior = &self.slots[position].prior;
            prior.iter().sum::<f64>() / prior.len().max(1) as f64
        };
        let trust = trust(&answers.iter().map(|&(at, ratio)| (told(at), ratio)).collect::<Vec<_>>());
        let residuals: Vec<f64> = answers.iter().map(|&(at, ratio)| ratio - trust * told(at)).collect();
        let offset = if residuals.is_empty() { 0.0 } else { median(residuals.clone()) };
        let own = self.fit_own(&answers, &residuals, offset);
        (0..MEMBERS)
            .map(|member| {
                let slots = self.slots.iter().enumerate();
                slots
                    .map(|(at, slot)| {
                        let here = own.as_ref().map_or(0.0, |own| own[member][at]);
                        slot.view.modelled.max(1e-12).ln() + trust * slot.prior[member] + offset + here
                    })
                    .collect()
            })
            .collect()
    }

    fn fit_own(&self, answers: &[(usize, f64)], residuals: &[f64], offset: f64) -> Option<Vec<Vec<f64>>> {
        if answers.len() < ENOUGH {
            return None;
        }
        let columns = Columns::of(self.slots.iter().map(|slot| (&self.task, &slot.view)));
        let rows: Vec<Vec<f64>> = self.slots.iter().map(|slot| columns.row(&self.task, &slot.view)).collect();
        let seen: Vec<Vec<f64>> = answers.iter().map(|&(at, _)| rows[at].clone()).collect();
        let targets: Vec<f64> = residuals.iter().map(|residual| residual - offset).collect();
        Ensemble::fit(&seen, &targets, self.seed ^ answers.len() as u64)?.predict(&rows)
    }
}

/// How much of what others say holds here, from 0 to 1: the slope of the errors here over those that were foretold, drawn
/// towards one half as long as there are few of them.
fn trust(pairs: &[(f64, f64)]) -> f64 {
    let count = pairs.len() as f64;
    if pairs.len() < 2 {
        return HALF;
    }
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (told, seen) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let together: f64 = pairs.iter().map(|pair| (pair.0 - told) * (pair.1 - seen)).sum();
    let alone: f64 = pairs.iter().map(|pair| (pair.0 - told) * (pair.0 - told)).sum();
    let weight = TRUST * alone / count;
    if alone + weight > 0.0 { ((together + weight * HALF) / (alone + weight)).clamp(0.0, 1.0) } else { HALF }
}

/// Expected improvement on `best`, both logarithms, for a prediction that is as wide as its forests disagree.
fn improvement(members: &[Vec<f64>], position: usize, best: f64) -> f64 {
    let count = members.len() as f64;
    let mean = members.iter().map(|member| member[position]).sum::<f64>() / count;
    let variance = members.iter().map(|member| (member[position] - mean).powi(2)).sum::<f64>() / count;
    let sigma = (variance + NOISE * NOISE).sqrt();
    let z = (best - mean) / sigma;
    let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    sigma * (z * below(z) + density)
}

/// The share of a normal distribution below `z`: Zelen and Severo's approximation (Abramowitz and Stegun, 26.2.17).
fn below(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let series = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let upper = series * (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z >= 0.0 { 1.0 - upper } else { upper }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}
