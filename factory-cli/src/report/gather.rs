//! Facts from where they lie: a log, a file of records, evidence, a sealed folder.

use super::facts::{Candidate, Facts, Reference, Search};
use super::{ReportError, number};
use factory_search::Tunables;
use factory_search::log::{LogEvent, LogRead, LogReader};
use factory_spec::{Basis, BoundSpec, Sealed};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where the candidates are from.
pub(crate) enum Source {
    /// A log
    Log(PathBuf),
    /// What `tune --records` wrote
    Records(PathBuf),
    /// What searches kept: an evidence file, or lines that were exported from one
    Evidence {
        path: PathBuf,
        /// The kernel's name, for where there is no spec
        kernel: Option<String>,
        device: Option<String>,
    },
    /// Nowhere: the certificate has to do
    None,
}

/// What is known of a kernel.
///
/// # Errors
/// The source cannot be read, or is of another kernel.
pub(crate) fn gather(
    spec: Option<BoundSpec>,
    sealed: Option<Sealed>,
    source: &Source,
) -> Result<Facts, ReportError> {
    let mut facts = Facts::default();
    if let Some(spec) = spec {
        facts.name.clone_from(&spec.name);
        facts.key = Some(spec.key().to_string());
        facts.canonical = Some(spec.canonical());
        facts.spec = Some(spec);
    }
    if let Some(sealed) = sealed {
        of_sealed(&mut facts, sealed);
    }
    match source {
        Source::Log(path) => of_log(&mut facts, path)?,
        Source::Records(path) => of_records(&mut facts, path)?,
        Source::Evidence { path, kernel, device } => {
            super::evidence::add(&mut facts, path, kernel.as_deref(), device.as_deref())?;
        }
        Source::None => facts.origins.push(
            "No record of the search was given, so single candidates, the timeline and raw samples are not known.".to_owned(),
        ),
    }
    compare(&mut facts);
    Ok(facts)
}

fn of_sealed(facts: &mut Facts, sealed: Sealed) {
    let certificate = &sealed.certificate;
    facts.name.clone_from(&certificate.name);
    facts.key = Some(certificate.key.to_string());
    facts.canonical.get_or_insert_with(|| certificate.spec.clone());
    facts
        .origins
        .push("The sealed kernel: its plan, its PTX and its certificate, all digests checked.".to_owned());
    facts.search.seed = Some(certificate.seed);
    for (name, version) in &certificate.versions {
        facts.environment.push((name.clone(), version.clone()));
    }
    let mut devices: Vec<&str> = Vec::new();
    for figure in &certificate.figures {
        if let Basis::Measured { device, .. } = &figure.basis
            && !devices.contains(&device.as_str())
        {
            devices.push(device);
        }
    }
    if !devices.is_empty() {
        facts.environment.insert(0, ("device".to_owned(), devices.join(", ")));
    }
    facts.sealed = Some(sealed);
}

fn of_log(facts: &mut Facts, path: &Path) -> Result<(), ReportError> {
    let read_error = |source| ReportError::Read { path: path.to_owned(), source };
    let log_error = |message: String| ReportError::Log { path: path.to_owned(), message };
    let mut reader = LogReader::open(path).map_err(read_error)?;
    let mut places: HashMap<(String, String, String), usize> = HashMap::new();
    let mut started = false;
    let mut broken = 0;
    let mut last = 0.0;
    for read in reader.read().map_err(read_error)? {
        let line = match read {
            LogRead::Line { line, .. } => line,
            _ => {
                broken += 1;
                continue;
            }
        };
        last = line.elapsed;
        match line.event {
            LogEvent::Start(start) => {
                if facts.key.as_ref().is_some_and(|key| *key != start.key) {
                    return Err(log_error(format!(
                        "it is of `{}` {}, another kernel or another version of its spec",
                        start.kernel,
                        start.key.get(..12).unwrap_or(&start.key)
                    )));
                }
                started = true;
                if facts.name.is_empty() {
                    facts.name = start.kernel;
                }
                facts.key = Some(start.key);
                facts.search = Search {
                    began: Some(line.time),
                    by: Some(start.by),
                    version: Some(start.version),
                    seed: Some(start.seed),
                    budget_candidates: Some(start.candidates),
                    budget_seconds: start.seconds,
                    ..Search::default()
                };
            }
            LogEvent::Verdict { candidate, .. } => {
                let place = (candidate.arch.clone(), candidate.sizes.clone(), candidate.id.clone());
                let known = Candidate {
                    id: candidate.id,
                    proposer: candidate.proposer,
                    arch: candidate.arch,
                    sizes: candidate.sizes,
                    tunables: candidate.tunables,
                    gate: candidate.gate,
                    verdict: candidate.verdict,
                    reason: candidate.reason,
                    modelled: candidate.modelled,
                    measured: candidate.measured,
                    registers: candidate.registers,
                    at: Some(line.elapsed),
                    ..Candidate::default()
                };
                match places.get(&place) {
                    Some(&position) => facts.candidates[position] = known,
                    None => {
                        places.insert(place, facts.candidates.len());
                        facts.candidates.push(known);
                    }
                }
            }
            LogEvent::NotRun { gate, reason } => {
                facts.not_run.insert(gate, reason);
            }
            LogEvent::Note { message } => facts.notes.push(message),
            LogEvent::Timed { sizes, notes, .. } => {
                facts.notes.extend(notes.iter().map(|note| format!("at {sizes} {note}")));
            }
            LogEvent::End(outcome) => facts.search.outcome = Some(outcome),
            _ => {}
        }
    }
    if !started {
        return Err(log_error("it does not begin as one".to_owned()));
    }
    facts.search.seconds = Some(last);
    facts.search.unfinished = facts.search.outcome.is_none();
    if broken > 0 {
        facts.notes.push(format!("{broken} lines of the log could not be read and are left out."));
    }
    facts.origins.push(format!("The log `{}`, written while the search ran.", file_name(path)));
    Ok(())
}

/// A candidate as `tune --records` writes it.
#[derive(Deserialize)]
struct Record {
    id: String,
    #[serde(default)]
    proposer: String,
    arch: String,
    #[serde(default)]
    tunables: Tunables,
    sizes: String,
    gate: String,
    verdict: String,
    rejection: Option<Rejected>,
    modelled: Option<Seconds>,
    measured: Option<Seconds>,
    registers: Option<u32>,
    #[serde(default)]
    samples: Vec<f64>,
    #[serde(default)]
    final_samples: Vec<f64>,
}

#[derive(Deserialize)]
struct Rejected {
    reason: Value,
}

#[derive(Deserialize)]
struct Seconds {
    seconds: f64,
}

/// The candidates of some sizes and what was timed beside them, as `gpu_check` writes them.
#[derive(Deserialize)]
struct Group {
    candidates: Vec<Record>,
    #[serde(default)]
    copies: Vec<Copy>,
    #[serde(default)]
    peer_seconds: Option<f64>,
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Deserialize)]
struct Copy {
    id: String,
    seconds: Option<f64>,
    #[serde(default)]
    samples: Vec<f64>,
    #[serde(default)]
    final_samples: Vec<f64>,
}

fn of_records(facts: &mut Facts, path: &Path) -> Result<(), ReportError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
    let wrong = |message: String| ReportError::Records { path: path.to_owned(), message };
    let value: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let file = file_name(path);
    match value {
        // By name and key, as `tune` writes them.
        Value::Object(mut kernels) => {
            let short = facts.key.as_ref().and_then(|key| key.get(..12)).unwrap_or_default().to_owned();
            let there: Vec<String> = kernels.keys().map(|name| format!("`{name}`")).collect();
            let ours = kernels.keys().find(|name| name.rsplit(' ').next() == Some(&short)).cloned();
            let records =
                ours.and_then(|name| kernels.remove(&name)).ok_or_else(|| ReportError::OtherKernel {
                    path: path.to_owned(),
                    kernel: facts.name.clone(),
                    key: short.clone(),
                    there: if there.is_empty() { "nothing".to_owned() } else { there.join(", ") },
                })?;
            let records: Vec<Record> =
                serde_json::from_value(records).map_err(|error| wrong(error.to_string()))?;
            facts.candidates.extend(records.into_iter().map(candidate));
            facts.origins.push(format!("The records `{file}`, under this kernel's key."));
        }
        Value::Array(_) => {
            let groups: Vec<Group> =
                serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
            for group in groups {
                let sizes = group.candidates.first().map(|record| record.sizes.clone()).unwrap_or_default();
                facts.references.extend(references(&group, &sizes));
                facts.notes.extend(group.notes.iter().map(|note| format!("{sizes}: {note}")));
                facts.candidates.extend(group.candidates.into_iter().map(candidate));
            }
            facts.origins.push(format!(
                "The records `{file}`. They name no key: that they are of this spec is the word of whoever made this page."
            ));
        }
        _ => return Err(wrong("it is neither an object nor a list".to_owned())),
    }
    if facts.candidates.is_empty() {
        return Err(wrong("it lists none".to_owned()));
    }
    Ok(())
}

fn references(group: &Group, sizes: &str) -> Vec<Reference> {
    let timed = group.copies.iter().filter_map(|copy| Some((copy, copy.seconds?)));
    let copy = timed.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(copy, seconds)| Reference {
        label: format!("plain copy ({})", copy.id),
        sizes: sizes.to_owned(),
        seconds,
        same_run: true,
        samples: if copy.final_samples.is_empty() { &copy.samples } else { &copy.final_samples }.clone(),
    });
    let peer = group.peer_seconds.map(|seconds| Reference {
        label: "best other library".to_owned(),
        sizes: sizes.to_owned(),
        seconds,
        same_run: false,
        samples: Vec::new(),
    });
    copy.into_iter().chain(peer).collect()
}

fn candidate(record: Record) -> Candidate {
    Candidate {
        id: record.id,
        proposer: record.proposer,
        arch: record.arch,
        sizes: record.sizes,
        tunables: record.tunables,
        gate: record.gate,
        verdict: record.verdict,
        reason: record.rejection.map(|rejected| reason(&rejected.reason)),
        modelled: record.modelled.map(|time| time.seconds),
        measured: record.measured.map(|time| time.seconds),
        registers: record.registers,
        at: None,
        samples: if record.final_samples.is_empty() { record.samples } else { record.final_samples },
        device: None,
        harness: None,
    }
}

/// A reason in words: it is data, whose fields differ from reason to reason.
fn reason(reason: &Value) -> String {
    let Some(fields) = reason.as_object() else { return words(reason) };
    let kind = fields.get("reason").map(words).unwrap_or_default().replace('_', " ");
    let details: Vec<String> = fields
        .iter()
        .filter(|(name, _)| *name != "reason")
        .map(|(name, value)| match name.as_str() {
            "message" | "detail" | "why" => words(value),
            name => format!("{name} {}", words(value)),
        })
        .collect();
    match (kind.is_empty(), details.is_empty()) {
        (_, true) => kind,
        (true, _) => details.join(", "),
        _ => format!("{kind}: {}", details.join(", ")),
    }
}

fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Says where the certificate and the record of the search do not speak of the same.
fn compare(facts: &mut Facts) {
    let Some(sealed) = &facts.sealed else { return };
    // Evidence is of any number of searches.
    if facts.candidates.is_empty() || facts.of_evidence {
        return;
    }
    let considered = sealed.certificate.candidates.considered;
    if considered != facts.candidates.len() as u64 {
        facts.notes.push(format!(
            "The sealed kernel comes from a search of {} candidates, and the record given here holds {}: they are of two searches, or the record is not whole.",
            number::count(considered),
            number::count(facts.candidates.len() as u64)
        ));
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::reason;
    use serde_json::json;

    #[test]
    fn reasons_are_told_in_words() {
        let limit = json!({ "reason": "launch_limit", "asked": 16, "limit": 8 });
        assert_eq!(reason(&limit), "launch limit: asked 16, limit 8");
        assert_eq!(reason(&json!({ "reason": "plan", "message": "no" })), "plan: no");
        assert_eq!(reason(&json!("plain")), "plain");
        assert_eq!(reason(&json!({ "reason": "new" })), "new");
    }
}
