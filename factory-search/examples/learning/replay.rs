//! Searches on recorded times.

use crate::recorded::{experiences, median};
use factory_search::learn::Experience;
use factory_search::learn::replay::{Trajectory, by_chance, by_model, replay as run};
use serde::{Deserialize, Serialize};

/// How close to the best known counts as found.
pub(crate) const WITHIN: f64 = 0.02;

pub(crate) struct Options {
    pub(crate) seeds: u64,
    pub(crate) batch: usize,
    /// Memory holds no candidate of the same spec, not even at other sizes.
    pub(crate) other_specs_alone: bool,
}

/// One way to search a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Way {
    /// Candidates needed, one a seed; as many as there are and one more where they did not suffice.
    pub(crate) needed: Vec<usize>,
    /// The best time over the best known after each candidate: geometric mean over seeds.
    pub(crate) curve: Vec<f64>,
}

impl Way {
    pub(crate) fn median(&self) -> f64 {
        median(&self.needed.iter().map(|&needed| needed as f64).collect::<Vec<_>>())
    }
}

/// One task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) spec: String,
    pub(crate) sizes: String,
    pub(crate) candidates: usize,
    pub(crate) best: f64,
    /// How many candidates are that good.
    pub(crate) good: usize,
    pub(crate) model: Way,
    pub(crate) chance: Way,
    pub(crate) empty: Way,
    pub(crate) memory: Way,
}

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) from: Vec<String>,
    pub(crate) seeds: u64,
    pub(crate) batch: usize,
    pub(crate) memory: String,
    pub(crate) groups: Vec<Group>,
}

pub(crate) fn replay(paths: &[String], options: &Options) -> Result<Found, String> {
    if paths.is_empty() {
        return Err(crate::USAGE.to_owned());
    }
    let (mut from, mut groups) = (Vec::new(), Vec::new());
    for path in paths {
        let (source, found) = experiences(path)?;
        from.push(source);
        groups.extend(found);
    }
    let all: Vec<Experience> = groups.iter().flatten().cloned().collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let done = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(records) = groups.get(index) else { break };
                    let found = group(records, &all, options);
                    done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((index, found));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(index, _)| *index);
    Ok(Found {
        from,
        seeds: options.seeds,
        batch: options.batch,
        memory: if options.other_specs_alone { "other specs" } else { "other tasks" }.to_owned(),
        groups: done.into_iter().filter_map(|(_, group)| group).collect(),
    })
}

fn group(records: &[Experience], all: &[Experience], options: &Options) -> Option<Group> {
    let best = records.iter().filter_map(|record| record.seconds).min_by(f64::total_cmp)?;
    let task = &records[0].task;
    let memory: Vec<Experience> = all
        .iter()
        .filter(|other| {
            if options.other_specs_alone { other.task.kernel != task.kernel } else { !other.task.is(task) }
        })
        .cloned()
        .collect();
    let count = records.len();
    let seeds = |of: &dyn Fn(u64) -> Trajectory| way((0..options.seeds).map(of).collect(), best, count);
    Some(Group {
        spec: task.kernel.clone(),
        sizes: task.sizes.clone(),
        candidates: count,
        best,
        good: records
            .iter()
            .filter(|record| record.seconds.is_some_and(|seconds| seconds <= best * (1.0 + WITHIN)))
            .count(),
        model: way(vec![by_model(records, count)], best, count),
        chance: seeds(&|seed| by_chance(records, count, seed)),
        empty: seeds(&|seed| run(records, &[], options.batch, count, seed)),
        memory: seeds(&|seed| run(records, &memory, options.batch, count, seed)),
    })
}

fn way(trajectories: Vec<Trajectory>, best: f64, count: usize) -> Way {
    let needed =
        trajectories.iter().map(|trajectory| trajectory.needed(best, WITHIN).unwrap_or(count + 1)).collect();
    let curve = (0..count)
        .map(|place| {
            // Until something was measured there is no time to take a mean of: the worst that can be told is ten times.
            let logs =
                trajectories.iter().filter_map(|t| t.best.get(place)).map(|&b| (b / best).min(10.0).ln());
            (logs.sum::<f64>() / trajectories.len() as f64).exp()
        })
        .collect();
    Way { needed, curve }
}
