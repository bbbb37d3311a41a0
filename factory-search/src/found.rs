//! What a search comes back with.

use factory_spec::{Arch, Sealed};
use serde::Serialize;

use crate::candidate::Tunables;
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
}
