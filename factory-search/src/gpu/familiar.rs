//! Outputs that were found right before, told by what the device says of them.
//!
//! Most candidates leave the same bits in most cases. To copy outputs to the host, to look for poison in them and to compare
//! them takes longer than to run a small case, so that is done for bits that nobody has seen yet. A digest is taken on the
//! device with a key that the system drew, over every byte: where poison was left, or one bit differs, it is another one.

use std::collections::BTreeMap;

use super::judge::Telling;

/// Digests that are remembered for a case, at most.
const MOST: usize = 64;

/// What the device says of the outputs of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fingerprint {
    /// Where each output begins within a word: the same bytes elsewhere have another digest.
    pub(super) starts: Vec<u8>,
    /// Of each output.
    pub(super) digests: Vec<u64>,
}

/// What is known of outputs that were found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Digest of all their bits, wherever they begin.
    pub(super) bits: [u8; 32],
    /// Whether a wrong answer would have been noticed.
    pub(super) telling: Telling,
}

/// By case.
#[derive(Debug, Default)]
pub(super) struct Familiar(BTreeMap<String, BTreeMap<Fingerprint, Known>>);

impl Familiar {
    pub(super) fn get(&self, case: &str, fingerprint: &Fingerprint) -> Option<Known> {
        self.0.get(case)?.get(fingerprint).copied()
    }

    /// Remembers outputs that were found right.
    pub(super) fn note(&mut self, case: &str, fingerprint: Fingerprint, known: Known) {
        // Without outputs there is nothing to tell runs apart by.
        if fingerprint.digests.is_empty() {
            return;
        }
        let of_case = self.0.entry(case.to_owned()).or_default();
        if of_case.len() < MOST {
            of_case.insert(fingerprint, known);
        }
    }

    /// What is known of all these runs of one case, if all are known and left the same bits.
    pub(super) fn of_all<'a>(
        &self,
        case: &str,
        fingerprints: impl IntoIterator<Item = &'a Fingerprint>,
    ) -> Option<Known> {
        let mut found: Option<Known> = None;
        for fingerprint in fingerprints {
            let known = self.get(case, fingerprint)?;
            if found.is_some_and(|found| found.bits != known.bits) {
                return None;
            }
            found = Some(known);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(start: u8, digest: u64) -> Fingerprint {
        Fingerprint { starts: vec![start], digests: vec![digest] }
    }

    fn known(bits: u8) -> Known {
        Known { bits: [bits; 32], telling: Telling(true) }
    }

    #[test]
    fn runs_are_familiar_when_each_was_seen_and_all_left_the_same_bits() {
        let mut familiar = Familiar::default();
        let (even, odd, other) = (fingerprint(0, 1), fingerprint(2, 9), fingerprint(0, 3));
        familiar.note("a", even.clone(), known(1));
        assert_eq!(familiar.of_all("a", [&even, &even]), Some(known(1)));
        assert_eq!(familiar.of_all("b", [&even]), None, "another case");
        assert_eq!(familiar.of_all("a", [&even, &odd]), None, "never seen");
        familiar.note("a", odd.clone(), known(1));
        familiar.note("a", other.clone(), known(2));
        assert_eq!(familiar.of_all("a", [&even, &odd]), Some(known(1)), "the same bits elsewhere in a word");
        assert_eq!(familiar.of_all("a", [&even, &other]), None, "right, and not the same");
        assert_eq!(familiar.of_all("a", []), None);
    }

    #[test]
    fn what_has_no_outputs_is_never_familiar() {
        let mut familiar = Familiar::default();
        let none = Fingerprint { starts: Vec::new(), digests: Vec::new() };
        familiar.note("a", none.clone(), known(1));
        assert_eq!(familiar.get("a", &none), None);
    }
}
