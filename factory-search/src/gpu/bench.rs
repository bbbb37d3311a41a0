//! What candidates are timed on: buffers with data in them, and what is right there.
//!
//! To fill buffers and to have the oracle evaluate parts of them takes longer than to time a candidate. So a process whose judge
//! remembers keeps a bench from one race to the next of the same sizes. Races only order candidates: whoever wins is measured
//! again by a process that knows neither buffers nor data of theirs.

use factory_spec::{BoundSpec, SizeValues};

use super::device::{Gpu, Trouble};
use super::driver::DriverError;
use super::figures::{Overhead, first_difference};
use super::graph;
use super::judge::Judge;
use super::kept_lines::KeptLines;
use super::sets::Sets;
use super::truth::Truth;

/// Buffers, what is right in them, and what a window costs there.
pub(super) struct Bench {
    key: Key,
    pub(super) sets: Sets,
    pub(super) truth: Truth,
    /// Digests of what is only read.
    pub(super) inputs: Vec<u64>,
    pub(super) overhead: Overhead,
    pub(super) kept_lines: Option<KeptLines>,
}

/// For what a bench can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    spec: String,
    sizes: SizeValues,
    seed: u64,
    window_bytes: usize,
}

impl Key {
    pub(super) fn new(spec: &BoundSpec, sizes: &SizeValues, seed: u64, window_bytes: usize) -> Key {
        Key { spec: spec.key().to_string(), sizes: sizes.clone(), seed, window_bytes }
    }
}

impl Bench {
    pub(super) fn new(gpu: &Gpu, spec: &BoundSpec, key: Key, judge: &dyn Judge) -> Result<Bench, Trouble> {
        let Key { sizes, seed, window_bytes, .. } = &key;
        let sets = Sets::new(gpu, spec, sizes, *seed, *window_bytes)?;
        let truth = Truth::new(gpu, spec, sizes, &sets, *seed, judge)?;
        let inputs = sets.fingerprints(gpu, false)?;
        // Its first resets may make every launch after them slower.
        let kept_lines = KeptLines::new(gpu, spec)?;
        let overhead = graph::overhead(gpu)?;
        Ok(Bench { key, sets, truth, inputs, overhead, kept_lines })
    }

    /// Whether it is for this, and nobody changed what is only read or the bands.
    pub(super) fn serves(&self, gpu: &Gpu, key: &Key) -> Result<bool, DriverError> {
        if self.key != *key {
            return Ok(false);
        }
        let same = first_difference(&self.inputs, &self.sets.fingerprints(gpu, false)?).is_none();
        Ok(same && self.sets.strays(gpu)?.is_none())
    }
}
