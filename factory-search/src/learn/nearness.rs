//! How near two tasks, or two configurations, are.

use std::collections::{BTreeMap, BTreeSet};

use super::{Experience, Task};
use crate::candidate::{TunableValue, Tunables};

/// Tasks whose winners start a search.
const TASKS: usize = 4;
/// Winners taken of each.
const WINNERS: usize = 2;

/// How far apart two tasks are: 0 for equal traits, about 1 for one doubling of one size.
pub fn distance(a: &Task, b: &Task) -> f64 {
    let names: BTreeSet<&String> = a.traits.keys().chain(b.traits.keys()).collect();
    let squares = names.into_iter().map(|name| match (a.traits.get(name), b.traits.get(name)) {
        (Some(a), Some(b)) => (a - b) * (a - b),
        _ => 4.0,
    });
    squares.sum::<f64>().sqrt()
}

/// How far apart two configurations are. A number counts by its logarithm, a word by being another one; no tunable counts
/// more than two doublings.
pub(crate) fn apart(a: &Tunables, b: &Tunables) -> f64 {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let log = |value: i64| (1.0 + value.max(0) as f64).log2();
    let parts = names.into_iter().map(|name| match (a.get(name), b.get(name)) {
        (Some(a), Some(b)) if a == b => 0.0,
        (Some(TunableValue::Integer(a)), Some(TunableValue::Integer(b))) => {
            (log(*a) - log(*b)).abs().min(2.0)
        }
        _ => 1.0,
    });
    parts.sum()
}

/// The position of the configuration that is nearest to `wanted`, the first of several.
pub fn nearest<'a>(wanted: &Tunables, among: impl Iterator<Item = (usize, &'a Tunables)>) -> Option<usize> {
    among
        .map(|(index, tunables)| (apart(wanted, tunables), index))
        .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
        .map(|(_, index)| index)
}

/// The tunables of the winners of the nearest other tasks, nearest first, the best of each before the second of any.
pub fn warm_start(task: &Task, memory: &[Experience]) -> Vec<Tunables> {
    let mut tasks: BTreeMap<(&str, &str), Vec<&Experience>> = BTreeMap::new();
    for experience in memory.iter().filter(|experience| experience.seconds.is_some()) {
        tasks.entry((&experience.task.meaning, &experience.task.sizes)).or_default().push(experience);
    }
    let mut order: Vec<(f64, Vec<&Experience>)> =
        tasks.into_values().map(|group| (distance(task, &group[0].task), group)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    order.truncate(TASKS);
    for (_, group) in &mut order {
        let seconds = |experience: &Experience| experience.seconds.unwrap_or(f64::INFINITY);
        group.sort_by(|a, b| seconds(a).total_cmp(&seconds(b)).then(a.view.id.cmp(&b.view.id)));
    }
    let mut found: Vec<Tunables> = Vec::new();
    for place in 0..WINNERS {
        for (_, group) in &order {
            if let Some(experience) = group.get(place)
                && !found.contains(&experience.view.tunables)
            {
                found.push(experience.view.tunables.clone());
            }
        }
    }
    found
}
