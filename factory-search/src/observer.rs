//! What a search tells while it runs.

use factory_spec::Arch;

use crate::found::CandidateRecord;
use crate::gpu::Timing;
use crate::verdict::Gate;

/// The steps of a search, in order. Where something measures, screening and proving come again after it, for the targets that
/// nothing measures; sealing and holding out come once for each target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The spec is checked: would a trivial answer pass, does every operand matter.
    Admit,
    /// Configurations are listed.
    Enumerate,
    /// Every candidate: generate, parse, policy, a few small cases on the PTX machine, a profile for the model.
    Screen,
    /// The best by the model are assembled and run on all cases.
    Prove,
    /// The proved ones are checked on a GPU and timed there.
    Measure,
    /// The winners are put into one plan for each target, and the plan is proved as a whole.
    Seal,
    /// Every variant of a plan that is measured runs on cases of a secret seed.
    HoldOut,
}

impl Phase {
    /// The phase in lower case, for a log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Enumerate => "enumerate",
            Self::Screen => "screen",
            Self::Prove => "prove",
            Self::Measure => "measure",
            Self::Seal => "seal",
            Self::HoldOut => "hold out",
        }
    }
}

/// One thing that happened. Events of one phase may come in any order; the records in `Found` are in a fixed one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A phase begins; `total` is how many `Verdict` events may follow in it.
    Phase {
        /// The phase.
        phase: Phase,
        /// Steps that it may take.
        total: usize,
    },
    /// Configurations were listed for one target and one entry of `better.over`.
    Enumerated {
        /// The target.
        arch: Arch,
        /// The sizes, as `m=32768 n=4096`.
        sizes: &'a str,
        /// Configurations in the space.
        configurations: usize,
        /// How many of them the budget allows.
        considered: usize,
    },
    /// A candidate passed or failed in this phase.
    Verdict {
        /// The phase.
        phase: Phase,
        /// What is known about it by now.
        record: &'a CandidateRecord,
    },
    /// A candidate is the best so far for these sizes.
    Best {
        /// What is known about it.
        record: &'a CandidateRecord,
        /// Estimated or measured seconds.
        seconds: f64,
        /// Whether `seconds` was measured on a GPU; if not, it comes from a model.
        measured: bool,
    },
    /// Candidates were timed at one entry of `better.over`: raw samples, noise, and the device around them.
    Timed {
        /// The sizes, as `m=32768 n=4096`.
        sizes: &'a str,
        /// Everything that the clock says.
        timing: &'a Timing,
    },
    /// A gate will not run, and why. The certificate says the same.
    NotRun {
        /// The gate.
        gate: Gate,
        /// The reason.
        reason: &'a str,
    },
    /// Something that a person would want to know, such as a budget that ran out.
    Note {
        /// One sentence.
        message: &'a str,
    },
}

/// Listens to a search. Called on the thread that called `search`.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: &Event<'_>);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _event: &Event<'_>) {}
}

impl<F: FnMut(&Event<'_>)> Observer for F {
    fn event(&mut self, event: &Event<'_>) {
        self(event);
    }
}
