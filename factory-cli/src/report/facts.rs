//! What is known of a search, in one form wherever it is from. What is not known is absent, and the page says so.

use factory_search::Tunables;
use factory_search::log::LogOutcome;
use factory_spec::{BoundSpec, Sealed};
use serde::Serialize;
use std::collections::BTreeMap;

/// All of it.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    /// The canonical text of the spec
    pub(crate) canonical: Option<String>,
    pub(crate) spec: Option<BoundSpec>,
    pub(crate) sealed: Option<Sealed>,
    /// What the page rests on, a sentence each
    pub(crate) origins: Vec<String>,
    pub(crate) search: Search,
    /// Every candidate, in the order of the search
    pub(crate) candidates: Vec<Candidate>,
    /// Other kernels that were timed beside them
    pub(crate) references: Vec<Reference>,
    /// Gates that did not run, and why
    pub(crate) not_run: BTreeMap<String, String>,
    pub(crate) notes: Vec<String>,
    /// What was recorded of the machine, by name
    pub(crate) environment: Vec<(String, String)>,
    /// What else a reader would ask for and this record cannot say
    pub(crate) unrecorded: Vec<&'static str>,
    /// Whether the candidates are of many searches, and not of one
    pub(crate) of_evidence: bool,
    /// Words that bring this page about again
    pub(crate) commands: Vec<String>,
}

/// How it was searched.
#[derive(Default)]
pub(crate) struct Search {
    /// Seconds since 1970
    pub(crate) began: Option<f64>,
    pub(crate) seconds: Option<f64>,
    pub(crate) by: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) seed: Option<u64>,
    pub(crate) budget_candidates: Option<usize>,
    pub(crate) budget_seconds: Option<f64>,
    pub(crate) outcome: Option<LogOutcome>,
    /// Whether the record of it ends before the search did
    pub(crate) unfinished: bool,
}

/// One candidate.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) id: String,
    pub(crate) proposer: String,
    pub(crate) arch: String,
    pub(crate) sizes: String,
    pub(crate) tunables: Tunables,
    pub(crate) gate: String,
    pub(crate) verdict: String,
    pub(crate) reason: Option<String>,
    pub(crate) modelled: Option<f64>,
    pub(crate) measured: Option<f64>,
    pub(crate) registers: Option<u32>,
    /// Seconds from the beginning of the search to its last verdict; in evidence from the first verdict of all
    pub(crate) at: Option<f64>,
    /// Seconds of each window that was timed
    pub(crate) samples: Vec<f64>,
    /// The device that judged it, where the record says that for each candidate
    pub(crate) device: Option<String>,
    /// The version of the factory that judged it, likewise
    pub(crate) harness: Option<String>,
}

impl Candidate {
    pub(crate) fn passed(&self) -> bool {
        self.verdict == "pass"
    }

    /// The measured time, or the modelled one.
    pub(crate) fn seconds(&self) -> Option<f64> {
        self.measured.or(self.modelled)
    }
}

/// A kernel that is no candidate: a plain copy, another library's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Reference {
    pub(crate) label: String,
    pub(crate) sizes: String,
    pub(crate) seconds: f64,
    /// Whether it was timed in the same run
    pub(crate) same_run: bool,
    pub(crate) samples: Vec<f64>,
}

impl Facts {
    /// Targets and sizes in the order in which they first appear, the sizes by their numbers.
    pub(crate) fn groups(&self) -> Vec<(String, String)> {
        let mut groups: Vec<(String, String)> = Vec::new();
        for candidate in &self.candidates {
            let group = (candidate.arch.clone(), candidate.sizes.clone());
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups.sort_by_cached_key(|(arch, sizes)| {
            let numbers: Vec<u64> = numbers(sizes);
            // Targets as they were first met: sm_90 before sm_100.
            let position = self.candidates.iter().position(|candidate| candidate.arch == *arch);
            (position, numbers.iter().product::<u64>(), numbers, sizes.clone())
        });
        groups
    }

    pub(crate) fn of_group<'a, 'g>(
        &'a self,
        group: &'g (String, String),
    ) -> impl Iterator<Item = &'a Candidate> + use<'a, 'g> {
        self.candidates
            .iter()
            .filter(move |candidate| candidate.arch == group.0 && candidate.sizes == group.1)
    }

    /// The best of a group: by measurement where there is one, else by the model.
    pub(crate) fn best(&self, group: &(String, String)) -> Option<&Candidate> {
        let fastest = |time: fn(&Candidate) -> Option<f64>| {
            self.of_group(group)
                .filter(|candidate| candidate.passed())
                .filter_map(|candidate| Some((candidate, time(candidate)?)))
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .map(|(candidate, _)| candidate)
        };
        fastest(|candidate| candidate.measured).or_else(|| fastest(|candidate| candidate.modelled))
    }

    /// Whether anything was measured on a GPU.
    pub(crate) fn measured(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.measured.is_some())
            || self.sealed.as_ref().is_some_and(|sealed| sealed.certificate.measured() != "modelled")
    }

    /// The sizes of a label such as `m=32768 n=256`, for the spec.
    pub(crate) fn sizes(&self, label: &str) -> Option<factory_spec::SizeValues> {
        let spec = self.spec.as_ref()?;
        let mut values = BTreeMap::new();
        for word in label.split([' ', ',']).filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=')?;
            // Sizes that follow from others are computed.
            let free = spec.size(spec.size_id(name)?);
            if matches!(free.kind, factory_spec::SizeKind::Free { .. }) {
                values.insert(name.to_owned(), value.parse().ok()?);
            }
        }
        spec.size_values(&values).ok()
    }
}

fn numbers(sizes: &str) -> Vec<u64> {
    sizes.split([' ', '=', ',']).filter_map(|word| word.parse().ok()).collect()
}
