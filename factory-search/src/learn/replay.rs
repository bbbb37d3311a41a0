//! A strategy on recorded times: what it would have paid for, without a GPU.

use super::{Experience, Strategy, Task};

/// One run of a strategy over recorded candidates of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// Positions in the record, in the order in which they were paid for.
    pub order: Vec<usize>,
    /// The least seconds after each of them; infinite as long as all were refused.
    pub best: Vec<f64>,
}

impl Trajectory {
    /// A trajectory in a given order.
    pub fn in_order(order: Vec<usize>, records: &[Experience]) -> Trajectory {
        let mut least = f64::INFINITY;
        let best = order
            .iter()
            .map(|&position| {
                least = least.min(records[position].seconds.unwrap_or(f64::INFINITY));
                least
            })
            .collect();
        Trajectory { order, best }
    }

    /// Candidates needed to come within `share` (0.02: two per cent) of `known`; `None` when it never did.
    pub fn needed(&self, known: f64, share: f64) -> Option<usize> {
        self.best.iter().position(|&best| best <= known * (1.0 + share)).map(|position| position + 1)
    }
}

/// Runs a strategy until `limit` candidates are paid for or all are, in batches as a search does. All records are of one
/// task; `memory` may hold them, they are left out of what is learnt beforehand.
pub fn replay(
    records: &[Experience],
    memory: &[Experience],
    batch: usize,
    limit: usize,
    seed: u64,
) -> Trajectory {
    let Some(first) = records.first() else { return Trajectory::in_order(Vec::new(), records) };
    let task: Task = first.task.clone();
    let mut strategy = Strategy::new(task, memory, seed);
    strategy.add(records.iter().map(|record| record.view.clone()).collect());
    let mut order = Vec::new();
    while order.len() < limit {
        let positions = strategy.next(batch.min(limit - order.len()));
        if positions.is_empty() {
            break;
        }
        for &position in &positions {
            strategy.tell(position, records[position].seconds);
        }
        order.extend(positions);
    }
    Trajectory::in_order(order, records)
}

/// The cost model's order: what a search without learning measures.
pub fn by_model(records: &[Experience], limit: usize) -> Trajectory {
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by(|&a, &b| records[a].view.modelled.total_cmp(&records[b].view.modelled).then(a.cmp(&b)));
    order.truncate(limit);
    Trajectory::in_order(order, records)
}

/// Candidates in an order drawn by chance.
pub fn by_chance(records: &[Experience], limit: usize, seed: u64) -> Trajectory {
    let mut random = super::Random::new(seed);
    let mut order: Vec<usize> = (0..records.len()).collect();
    for position in (1..order.len()).rev() {
        order.swap(position, random.below(position + 1));
    }
    order.truncate(limit);
    Trajectory::in_order(order, records)
}
