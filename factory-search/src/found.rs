//! What a search comes back with.

use std::fmt;

use factory_spec::{Arch, Sealed};
use serde::Serialize;

use crate::candidate::{Origin, Tunables};
use crate::gpu::Energy;
use crate::verdict::{Gate, Rejection, Verdict};

/// Where a time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeBasis {
    /// The cost model over the PTX machine's counters. An order, not a measurement.
    Modelled,
    /// A GPU, by this crate's clock.
    Measured,
}

/// A time for one entry of `better.over`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Time {
    /// Seconds of one execution of the whole plan.
    pub seconds: f64,
    /// Where it comes from.
    pub basis: TimeBasis,
}

/// What became of one candidate.
#[derive(Clone, Debug, Serialize)]
pub struct CandidateRecord {
    /// The candidate's name.
    pub id: String,
    /// Who proposed it.
    pub proposer: &'static str,
    /// Its target.
    #[serde(serialize_with = "display")]
    pub arch: Arch,
    /// What it was made from.
    pub tunables: Tunables,
    /// Which source, compiler and flags made it.
    pub origin: Origin,
    /// The entry of `better.over` that it was proposed for, as `m=32768 n=4096`.
    pub sizes: String,
    /// The last gate that it went through.
    pub gate: Gate,
    /// `Pass` as long as no gate refused it. A candidate that was too slow to be worth further gates has passed only
    /// those up to `gate`.
    pub verdict: Verdict,
    /// Which gate refused it, and why.
    pub rejection: Option<Rejection>,
    /// The cost model's time.
    pub modelled: Option<Time>,
    /// The measured time, where a GPU took part.
    pub measured: Option<Time>,
    /// Registers a thread, where it was assembled.
    pub registers: Option<u32>,
    /// Energy of one execution, where it was asked for and a GPU told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
}

impl CandidateRecord {
    /// The measured time, or the modelled one.
    pub fn best_time(&self) -> Option<&Time> {
        self.measured.as_ref().or(self.modelled.as_ref())
    }
}

fn display<S: serde::Serializer, T: std::fmt::Display>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// What a search comes back with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found {
    /// Plan, PTX for each target, certificate.
    pub sealed: Sealed,
    /// Every candidate that was considered, in the order of the search.
    pub candidates: Vec<CandidateRecord>,
    /// The winners' names, in the order of the plan's variants, for the first target.
    pub winners: Vec<String>,
    /// Whether the order of the candidates comes from a model. It does unless a GPU measured them.
    pub modelled: bool,
    /// What the search learnt and what memory gave to it; `None` when nothing measured or nothing was remembered.
    pub learned: Option<Learned>,
}

/// What memory gave to a search, over all sizes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Learned {
    /// Measured candidates of other tasks that the search learnt from.
    pub experiences: usize,
    /// How many specs and sizes they are of.
    pub tasks: usize,
    /// Candidates that were tried first because something like them won elsewhere.
    pub seeds: usize,
    /// How many of the winners are among them.
    pub seeded_winners: usize,
    /// Verdicts of earlier searches that were not paid for again.
    pub remembered: usize,
    /// Candidates that were timed.
    pub timed: usize,
}

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.experiences == 0 && self.remembered == 0 {
            return write!(f, "memory: empty; {} candidates were timed", self.timed);
        }
        write!(
            f,
            "memory: learnt from {} timed candidates of {} other tasks; {} of {} timed here were like winners there, of the \
             winners {}; {} known verdicts not paid for again",
            self.experiences, self.tasks, self.seeds, self.timed, self.seeded_winners, self.remembered
        )
    }
}
