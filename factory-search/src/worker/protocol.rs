//! What a search and its workers say to each other.
//!
//! A worker writes [`MARKER`] to standard output, then frames ([`super::frame`]): first [`Reply::Ready`] or
//! [`Reply::Failed`], then what it is asked for. It serves one request at a time. While it does, it may ask back: whether
//! what a candidate left is right ([`Reply::Ask`], [`Reply::Open`], [`Reply::Agree`]), which the search answers in the
//! same order. With a GPU it never has an expected
//! value; the machine of the other kind interprets candidates, which reach nothing. It ends when its standard input does.

use std::sync::Arc;

use factory_spec::{Arch, Variant};
use serde::{Deserialize, Serialize};

use super::shipped::ShippedSpec;
use crate::candidate::Candidate;
use crate::cases::Recipe;
use crate::gpu::{
    Answer, DeviceReport, FinalMeasurement, MeasureError, MeasureOptions, Question, Timing, WindowInputs,
    WindowOutputs,
};
use crate::image::Image;
use crate::verdict::{Gate, Reason, Rejection};

/// The version of everything here. Both sides must have the same.
pub const VERSION: u32 = 3;

/// What a worker writes first. Whatever comes before it, such as the banner of a login, is passed over.
pub const MARKER: &[u8] = b"\nkernel-factory-worker-1\n";

/// A candidate as a worker needs it: nothing says who made it, or from what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShippedCandidate {
    id: String,
    arch: Arch,
    ptx: String,
    variant: Variant,
    image: Option<Image>,
}

impl From<&Candidate> for ShippedCandidate {
    fn from(candidate: &Candidate) -> ShippedCandidate {
        ShippedCandidate {
            id: candidate.id.clone(),
            arch: candidate.arch,
            ptx: candidate.ptx.clone(),
            variant: candidate.variant.clone(),
            image: candidate.image.as_deref().cloned(),
        }
    }
}

impl From<ShippedCandidate> for Candidate {
    fn from(shipped: ShippedCandidate) -> Candidate {
        Candidate {
            id: shipped.id,
            proposer: "another process",
            tunables: Default::default(),
            arch: shipped.arch,
            ptx: shipped.ptx,
            variant: shipped.variant,
            origin: Default::default(),
            image: shipped.image.map(Arc::new),
        }
    }
}

/// What a search says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The spec that everything after it is about; answered by [`Reply::Accepted`].
    Spec(ShippedSpec),
    /// Run every case that a candidate serves on the PTX machine.
    Prove {
        /// The cases.
        cases: Recipe,
        /// Seed of the order of warps and blocks.
        seed: u64,
        /// The candidate.
        candidate: ShippedCandidate,
    },
    /// The device gate, or the holdout gate.
    Check {
        /// Which of the two.
        gate: Gate,
        /// The cases.
        cases: Recipe,
        /// The candidate.
        candidate: ShippedCandidate,
    },
    /// The first measurement.
    Race(Measure),
    /// The second one.
    Finale(Measure),
    /// To [`Reply::Ask`].
    Answers(Vec<Answer>),
    /// To [`Reply::Open`].
    Opened(Result<Vec<f64>, Reason>),
    /// To [`Reply::Agree`].
    Agrees(Vec<Result<(), String>>),
}

/// What to measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The sizes.
    pub sizes: Vec<u64>,
    /// How.
    pub options: MeasureOptions,
    /// What.
    pub candidates: Vec<ShippedCandidate>,
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It has a device and waits for requests.
    Ready(About),
    /// It cannot do what it is asked for; in words.
    Failed(String),
    /// It understands the spec as the search does.
    Accepted,
    /// What a candidate left in some cases.
    Ask(Vec<Question>),
    /// Rows of the buffers of a measurement, to be evaluated.
    Open {
        /// The number that the rows have from now on.
        number: usize,
        /// What is in them.
        inputs: WindowInputs,
    },
    /// What a candidate left in such rows.
    Agree(Vec<WindowOutputs>),
    /// The candidate at this position is about to run.
    At(usize),
    /// The outcome of [`Request::Prove`]: how many cases it passed.
    Proved(Result<u32, Rejection>),
    /// The outcome of [`Request::Check`].
    Checked {
        /// What the gate says.
        outcome: Result<DeviceReport, Rejection>,
        /// The process is of no further use: what the candidate did may still be felt in it.
        spent: bool,
    },
    /// The outcome of [`Request::Race`].
    Raced(Box<Result<Timing, MeasureError>>),
    /// The outcome of [`Request::Finale`].
    Measured(Box<Result<FinalMeasurement, MeasureError>>),
}

/// What a worker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// [`VERSION`].
    pub protocol: u32,
    /// The version of its program: gates and clock have to be the same.
    pub version: String,
    /// The host's name, where it has one.
    pub host: String,
    /// The process, as its host numbers it.
    pub process: u32,
    /// What candidates run on.
    pub device: Device,
}

/// What candidates run on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The PTX machine.
    Machine {
        /// How many candidates it could run at once; it is asked for one at a time.
        cores: usize,
    },
    /// A GPU.
    Gpu {
        /// Its name.
        name: String,
        /// The driver's version.
        driver: String,
        /// Compute capability.
        capability: (u32, u32),
        /// Where it is on the host's bus: which GPU of the host it is.
        bus: String,
    },
}
