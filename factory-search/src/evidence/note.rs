//! One verdict, and one lesson, as they are exchanged.

use factory_spec::{BoundSpec, Key};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::candidate::{Candidate, Origin, Tunables};
use crate::learn::{Experience, Outcome, Task};
use crate::verdict::Verdict;

/// A candidate as evidence names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// Digest of PTX and plan, in hexadecimal.
    pub digest: String,
    /// Its name in the search.
    pub name: String,
    /// Who proposed it.
    pub proposer: String,
    /// Its target.
    pub arch: String,
    /// What it was made from.
    pub tunables: Tunables,
    /// Source, compiler and flags, where there are any.
    pub origin: Origin,
}

impl Judged {
    /// The candidate without its text.
    pub fn of(candidate: &Candidate) -> Judged {
        Judged {
            digest: hex(&candidate.digest()),
            name: candidate.id.clone(),
            proposer: candidate.proposer.to_owned(),
            arch: candidate.arch.to_string(),
            tunables: candidate.tunables.clone(),
            origin: candidate.origin.clone(),
        }
    }
}

/// What was asked, so that a task can be understood when its spec is gone: the canonical text of what is correct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecText {
    /// The text's digest, which tasks name.
    pub meaning: String,
    /// The text.
    pub text: String,
}

impl SpecText {
    /// That of a spec.
    pub fn of(spec: &BoundSpec) -> SpecText {
        let text = spec.canonical_meaning();
        SpecText { meaning: Key::of(&text).to_string(), text }
    }

    /// Refuses a text that tasks of this meaning were not about.
    pub(super) fn check(&self) -> Result<(), String> {
        match Key::of(&self.text).to_string() == self.meaning {
            true => Ok(()),
            false => Err(format!("the spec's text does not have the digest `{}`", self.meaning)),
        }
    }
}

/// One verdict on one candidate for one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// What it was judged for.
    pub task: Task,
    /// The candidate.
    pub candidate: Judged,
    /// The device that judged it; a refusal before any device has none.
    pub device: Option<String>,
    /// The version of the factory whose gates and clock judged it.
    pub harness: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// Seconds of one execution, a sample a window, in the order in which they were taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<f64>,
    /// What a model learns from it, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experience: Option<Experience>,
    /// The version of the device's driver, where a device judged it and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The version of the ptxas of that search, where there was one. Compilers stand in the candidate's origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assembler: Option<String>,
}

impl Note {
    /// SHA-256 of everything that the note says, in hexadecimal: equal notes are kept once.
    pub fn digest(&self) -> String {
        digest_of(self)
    }

    /// Seconds of one execution, where it was measured.
    pub fn seconds(&self) -> Option<f64> {
        match self.outcome {
            Outcome::Measured { seconds } => Some(seconds),
            Outcome::Refused { .. } => None,
        }
    }

    /// Refuses what no gate and no clock says, so that nobody has to believe it later.
    pub(super) fn check(&self) -> Result<(), String> {
        let digest = &self.candidate.digest;
        if digest.len() != 64 || !digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("`{digest}` is no SHA-256 digest of a candidate"));
        }
        match &self.outcome {
            Outcome::Measured { seconds } if !(seconds.is_finite() && *seconds > 0.0) => {
                return Err(format!("a measurement of {seconds} seconds"));
            }
            Outcome::Measured { .. } if self.device.is_none() => {
                return Err("a measurement without a device".to_owned());
            }
            _ if self.driver.is_some() && self.device.is_none() => {
                return Err("a driver without a device".to_owned());
            }
            Outcome::Refused { verdict: Verdict::Pass, .. } => {
                return Err("a refusal with the verdict `pass`".to_owned());
            }
            _ => {}
        }
        // JSON has no infinity: what cannot be read back is not written.
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        serde_json::from_str::<Note>(&text).map(drop).map_err(|error| format!("not a finite number: {error}"))
    }
}

/// A sentence that was learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    /// The sentence.
    pub text: String,
    /// The evidence that it rests on: digests of notes, files, a measurement.
    pub rests_on: String,
    /// Where it holds: devices, sizes, versions.
    pub holds: String,
    /// When it was written down, in seconds since 1970.
    pub at: i64,
}

impl Lesson {
    /// SHA-256 of everything that the lesson says, in hexadecimal.
    pub fn digest(&self) -> String {
        digest_of(self)
    }
}

fn digest_of(value: &impl Serialize) -> String {
    // Fields stand in the order of their declaration and maps are sorted, so equal values have equal text. A value that
    // cannot be printed as JSON does not exist among these types.
    let text = serde_json::to_string(value).unwrap_or_default();
    hex(&Sha256::digest(text.as_bytes()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
