//! The facts as JSON inside the page: what the script draws the table from, and what it hands out as files.

use super::facts::{Facts, Reference};
use factory_search::TunableValue;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Version of the embedded data's form.
///
/// - 1: rows without device and harness.
const SCHEMA: u32 = 2;
/// PTX above this many bytes is not embedded: a page is for reading, and the sealed folder has it.
const LARGEST_FILE: usize = 256 << 10;

#[derive(Serialize)]
struct Data<'a> {
    schema: u32,
    kernel: &'a str,
    key: Option<&'a str>,
    seed: Option<u64>,
    /// Whether the candidates are of many searches
    evidence: bool,
    /// Names of tunables, in the order of a row's values
    tunables: Vec<&'a str>,
    /// What a candidate's row holds, in order
    columns: [&'static str; 14],
    candidates: Vec<Row<'a>>,
    /// Raw seconds of each timed window, by the candidate's position
    samples: BTreeMap<usize, &'a [f64]>,
    references: &'a [Reference],
    files: BTreeMap<String, String>,
}

const COLUMNS: [&str; 14] = [
    "id",
    "proposer",
    "target",
    "sizes",
    "gate",
    "verdict",
    "reason",
    "modelled_seconds",
    "measured_seconds",
    "registers",
    "at_seconds",
    "tunables",
    "device",
    "harness",
];

#[derive(Serialize)]
struct Row<'a>(
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    Option<&'a str>,
    Option<f64>,
    Option<f64>,
    Option<u32>,
    Option<f64>,
    Vec<Option<&'a TunableValue>>,
    Option<&'a str>,
    Option<&'a str>,
);

/// JSON that can stand in a `script` element: nothing in it ends one or begins a comment.
pub(crate) fn embedded(facts: &Facts) -> String {
    let names: BTreeSet<&str> =
        facts.candidates.iter().flat_map(|candidate| candidate.tunables.keys()).map(String::as_str).collect();
    let tunables: Vec<&str> = names.into_iter().collect();
    let candidates = facts
        .candidates
        .iter()
        .map(|c| {
            let values = tunables.iter().map(|name| c.tunables.get(*name)).collect();
            Row(
                &c.id,
                &c.proposer,
                &c.arch,
                &c.sizes,
                &c.gate,
                &c.verdict,
                c.reason.as_deref(),
                c.modelled,
                c.measured,
                c.registers,
                c.at,
                values,
                c.device.as_deref(),
                c.harness.as_deref(),
            )
        })
        .collect();
    let samples = facts
        .candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| !candidate.samples.is_empty())
        .map(|(position, candidate)| (position, candidate.samples.as_slice()))
        .collect();
    let files = facts.sealed.iter().flat_map(factory_spec::Sealed::files);
    let data = Data {
        schema: SCHEMA,
        kernel: &facts.name,
        key: facts.key.as_deref(),
        seed: facts.search.seed,
        evidence: facts.of_evidence,
        tunables,
        columns: COLUMNS,
        candidates,
        samples,
        references: &facts.references,
        files: files.filter(|(_, text)| text.len() <= LARGEST_FILE).collect(),
    };
    // Strings, numbers and lists: this cannot fail, and NaN becomes null.
    harmless(&serde_json::to_string(&data).unwrap_or_else(|_| "null".to_owned()))
}

/// The same JSON without characters that mean something to HTML.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // They stand in strings alone, where the escape means the same.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::facts::Candidate;

    #[test]
    fn nothing_ends_the_element() {
        let id = "</script><script>alert(1)</script><!--\u{2028}";
        let mut facts = Facts { name: id.to_owned(), ..Facts::default() };
        facts.candidates.push(Candidate {
            id: id.to_owned(),
            samples: vec![f64::NAN],
            ..Candidate::default()
        });
        let json = embedded(&facts);
        assert!(!json.contains(['<', '>', '&', '\u{2028}']), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON still");
        assert_eq!(value["candidates"][0][0], id);
        assert!(value["samples"]["0"][0].is_null());
    }
}
