//! The table and the curve in words.

use crate::recorded::median;
use crate::replay::{Found, Group, WITHIN, Way};

/// After so many candidates the curve is told.
const PLACES: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

pub(crate) fn print(found: &Found) {
    println!("Recorded on: {}.", found.from.join("; "));
    println!(
        "{} seeds, batches of {}; memory: {}. Needed: candidates until the best of them is within {:.0} % of the best known; \
         medians over seeds.\n",
        found.seeds,
        found.batch,
        found.memory,
        100.0 * WITHIN
    );
    println!(
        "| spec | sizes | candidates | within {:.0} % | by chance | cost model alone | empty memory | with memory | memory saved |",
        100.0 * WITHIN
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for group in &found.groups {
        let (empty, memory) = (group.empty.median(), group.memory.median());
        println!(
            "| {} | {} | {} | {} | {} | {} | {empty} | {memory} | {} |",
            group.spec,
            group.sizes,
            group.candidates,
            group.good,
            group.chance.median(),
            group.model.median(),
            saved(empty, memory)
        );
    }
    let of = |way: fn(&Group) -> &Way| {
        median(&found.groups.iter().map(|group| way(group).median()).collect::<Vec<_>>())
    };
    let (empty, memory) = (of(|group| &group.empty), of(|group| &group.memory));
    println!(
        "| **median** | | | | {} | {} | {empty} | {memory} | {} |",
        of(|group| &group.chance),
        of(|group| &group.model),
        saved(empty, memory)
    );
    let ratios: Vec<f64> =
        found.groups.iter().map(|group| group.memory.median() / group.empty.median()).collect();
    let count = |wanted: fn(f64) -> bool| ratios.iter().filter(|&&ratio| wanted(ratio)).count();
    println!(
        "\nWith memory a task needs {:.2} times as many in the median; fewer in {} tasks, as many in {}, more in {}.\n",
        median(&ratios),
        count(|ratio| ratio < 1.0),
        count(|ratio| ratio == 1.0),
        count(|ratio| ratio > 1.0)
    );
    curve(found);
}

fn saved(empty: f64, memory: f64) -> String {
    format!("{:.0} %", 100.0 * (1.0 - memory / empty))
}

fn curve(found: &Found) {
    println!(
        "Best time over the best known after so many candidates, geometric mean over seeds and tasks:\n"
    );
    println!(
        "| candidates | by chance | cost model alone | empty memory | with memory |\n|---|---|---|---|---|"
    );
    let longest = found.groups.iter().map(|group| group.candidates).max().unwrap_or(0);
    for place in PLACES.into_iter().filter(|&place| place <= longest) {
        let of = |way: fn(&Group) -> &Way| mean(found, way, place);
        println!(
            "| {place} | {:.3} | {:.3} | {:.3} | {:.3} |",
            of(|group| &group.chance),
            of(|group| &group.model),
            of(|group| &group.empty),
            of(|group| &group.memory)
        );
    }
}

/// The geometric mean over tasks after `place` candidates; a task with fewer stays where it ended.
pub(crate) fn mean(found: &Found, way: fn(&Group) -> &Way, place: usize) -> f64 {
    let logs: Vec<f64> = found
        .groups
        .iter()
        .filter_map(|group| {
            let curve = &way(group).curve;
            Some(curve.get(place - 1).or(curve.last())?.ln())
        })
        .collect();
    (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp()
}
