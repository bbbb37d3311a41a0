//! A candidate before and after it was timed.

use std::collections::BTreeMap;

use factory_ptx::machine::Class;
use serde::{Deserialize, Serialize};

use super::Task;
use crate::candidate::Tunables;
use crate::model::{Estimate, LaunchProfile};

/// What is known of a candidate before it is timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The candidate's name.
    pub id: String,
    /// What it was made from.
    pub tunables: Tunables,
    /// The cost model's seconds.
    pub modelled: f64,
    /// What the machine counted and the model made of it, by name. A search with an older or newer factory may lack some
    /// or have others; what is missing counts as unknown.
    pub figures: BTreeMap<String, f64>,
}

impl View {
    /// A candidate with its profiles and its estimate.
    pub fn new(id: &str, tunables: &Tunables, profiles: &[LaunchProfile], estimate: &Estimate) -> View {
        let mut figures = BTreeMap::new();
        let mut put = |name: &str, value: f64| {
            figures.insert(name.to_owned(), value);
        };
        let parts = [
            ("share_of_bandwidth", estimate.bandwidth),
            ("share_of_l2", estimate.l2),
            ("share_of_issue", estimate.issue),
            ("share_of_latency", estimate.latency),
        ];
        for (name, part) in parts {
            put(name, part / estimate.seconds.max(1e-12));
        }
        put("blocks_a_multiprocessor", f64::from(estimate.occupancy));
        let sum = |of: fn(&LaunchProfile) -> f64| profiles.iter().map(of).sum::<f64>();
        let most = |of: fn(&LaunchProfile) -> f64| profiles.iter().map(of).fold(0.0, f64::max);
        let warps = sum(|p| p.blocks as f64 * f64::from(p.threads.div_ceil(32))).max(1.0);
        let loads = profiles.iter().map(|p| p.instructions[Class::GlobalLoad as usize]).sum::<f64>();
        put("launches", profiles.len() as f64);
        put("blocks", log(sum(|p| p.blocks as f64)));
        put("threads", log(most(|p| f64::from(p.threads))));
        put("registers", most(|p| f64::from(p.registers)));
        put("shared_bytes", log(most(|p| f64::from(p.shared_bytes))));
        put(
            "warps_a_multiprocessor",
            f64::from(estimate.occupancy) * most(|p| f64::from(p.threads.div_ceil(32))),
        );
        put("instructions_a_warp", log(sum(|p| p.instructions.iter().sum()) / warps));
        put("loads_a_warp", log(loads / warps));
        put("bytes_a_warp", log(sum(|p| p.load_bytes + p.store_bytes) / warps));
        put("common_bytes", log(most(|p| p.common_bytes)));
        put("shared_passes_a_warp", log(sum(|p| p.shared_passes) / warps));
        put("barriers_a_block", log(sum(|p| p.barriers) / sum(|p| p.blocks as f64).max(1.0)));
        put("async_bytes_a_warp", log(sum(|p| p.async_bytes) / warps));
        put("round_trips", log(sum(|p| p.round_trips)));
        put("spill_bytes_a_warp", log(sum(|p| p.spill_bytes) / warps));
        View { id: id.to_owned(), tunables: tunables.clone(), modelled: estimate.seconds, figures }
    }
}

/// A candidate that a clock has judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experience {
    /// What it was measured for.
    pub task: Task,
    /// What was known of it.
    pub view: View,
    /// Measured seconds; `None` when a gate refused it.
    pub seconds: Option<f64>,
}

fn log(value: f64) -> f64 {
    (1.0 + value.max(0.0)).log2()
}
