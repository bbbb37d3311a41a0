//! How near two tasks, or two configurations, are.

use std::cmp::Ordering;
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
    let all = among.map(|(index, tunables)| (index, apart(wanted, tunables)));
    all.min_by(nearer).map(|(index, _)| index)
}

/// Of two positions and how far apart their configurations are from another: the nearer one first, then the first.
fn nearer(a: &(usize, f64), b: &(usize, f64)) -> Ordering {
    a.1.total_cmp(&b.1).then(a.0.cmp(&b.0))
}

/// The positions of the `count` configurations that are nearest to `wanted`, nearest first, and how far apart they are.
pub(crate) fn some_nearest<'a>(
    wanted: &Tunables,
    among: impl Iterator<Item = (usize, &'a Tunables)>,
    count: usize,
) -> Vec<(usize, f64)> {
    let mut all: Vec<(usize, f64)> =
        among.map(|(index, tunables)| (index, apart(wanted, tunables))).collect();
    if all.len() > count && count > 0 {
        all.select_nth_unstable_by(count - 1, nearer);
    }
    all.truncate(count);
    all.sort_by(nearer);
    all
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cluster: i64, chunks: i64) -> Tunables {
        Tunables::from([("cluster".to_owned(), cluster.into()), ("chunks".to_owned(), chunks.into())])
    }

    #[test]
    fn both_ways_to_a_longer_row_are_near() {
        let space = [config(2, 2), config(8, 8), config(16, 4), config(2, 8), config(16, 8)];
        let among = || space.iter().enumerate();
        let found = some_nearest(&config(8, 4), among(), 3);
        assert_eq!(found.iter().map(|&(at, _)| at).collect::<Vec<_>>(), [1, 2, 4]);
        assert!(found[0].1 > 0.0 && found[0].1 <= found[1].1, "{found:?}");
        assert_eq!(some_nearest(&config(16, 4), among(), 1), [(2, 0.0)]);
        assert_eq!(nearest(&config(8, 4), among()), Some(found[0].0));
        assert_eq!(some_nearest(&config(8, 4), among(), 9).len(), space.len());
    }
}
