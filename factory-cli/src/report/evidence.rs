//! Facts from an evidence file: what many searches found out about one kernel on one device.

use super::ReportError;
use super::facts::{Candidate, Facts};
use factory_search::Verdict;
use factory_search::evidence::{Evidence, Note};
use factory_search::learn::Outcome;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// Adds what the file holds of the kernel that the facts are about, or of `kernel`, or of its only one. Times of two devices do
/// not compare, so the page is about `device`, or about the one with most measurements.
///
/// # Errors
/// The file cannot be read, or holds nothing about the kernel or the device.
pub(super) fn add(
    facts: &mut Facts,
    path: &Path,
    kernel: Option<&str>,
    device: Option<&str>,
) -> Result<(), ReportError> {
    // What `export` wrote, and is committed beside a kernel, is text.
    let evidence = match path.extension().is_some_and(|end| end == "jsonl") {
        true => Evidence::of_lines(path)?,
        false => Evidence::read_only(path)?,
    };
    let mut notes = evidence.notes(None)?;
    let known = kernels(&notes);
    if facts.name.is_empty() {
        facts.name = match (kernel, known.as_slice()) {
            (Some(kernel), _) => kernel.to_owned(),
            (None, [one]) => one.clone(),
            (None, []) => String::new(),
            (None, _) => return Err(ReportError::Several { names: known }),
        };
    }
    let meaning = facts
        .spec
        .as_ref()
        .map(|spec| spec.meaning())
        .or(facts.sealed.as_ref().map(|sealed| sealed.certificate.meaning))
        .map(|meaning| meaning.to_string());
    match &meaning {
        // A kernel may have had another name.
        Some(meaning) => notes.retain(|note| note.task.meaning == *meaning),
        None => notes.retain(|note| note.task.kernel == facts.name),
    }
    let Some(newest) = notes.last() else {
        let (path, kernel) = (path.to_owned(), facts.name.clone());
        return Err(ReportError::NoEvidence { path, kernel, there: listed(&known) });
    };
    let meaning = newest.task.meaning.clone();
    let others = leave_out(&mut notes, |note| note.task.meaning != meaning);
    if others > 0 {
        facts.notes.push(format!(
            "Left out: {} on other specs of that name; this page is about the one that was judged last.",
            counted(others, "verdict")
        ));
    }
    let device = choose(&notes, device, path)?;
    let others = leave_out(&mut notes, |note| note.device.is_some() && note.device != device);
    if others > 0 {
        let others = counted(others, "verdict");
        facts.notes.push(format!("Left out: {others} of other devices, whose times do not compare."));
    }
    if facts.canonical.is_none() {
        let specs = evidence.specs(None)?;
        facts.canonical = specs.into_iter().find(|spec| spec.meaning == meaning).map(|spec| spec.text);
    }
    describe(facts, path, &notes, device.as_deref());
    facts.candidates = candidates(&notes);
    let repeated = notes.len() - facts.candidates.len();
    if repeated > 0 {
        facts.notes.push(format!(
            "Not shown: {} on candidates that were judged more than once. The last one counts, but for a failure of our own tools.",
            counted(repeated, "verdict")
        ));
    }
    facts.of_evidence = true;
    Ok(())
}

fn kernels(notes: &[Note]) -> Vec<String> {
    let names: BTreeSet<&String> = notes.iter().map(|note| &note.task.kernel).collect();
    names.into_iter().cloned().collect()
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

fn counted(number: usize, what: &str) -> String {
    format!("{} {what}{}", super::number::count(number as u64), if number == 1 { "" } else { "s" })
}

/// How many are gone.
fn leave_out(notes: &mut Vec<Note>, unwanted: impl Fn(&Note) -> bool) -> usize {
    let before = notes.len();
    notes.retain(|note| !unwanted(note));
    before - notes.len()
}

/// The device that the page is about; `None` where no device took part.
fn choose(notes: &[Note], asked: Option<&str>, path: &Path) -> Result<Option<String>, ReportError> {
    let mut devices: BTreeMap<&str, usize> = BTreeMap::new();
    for note in notes {
        if let Some(device) = &note.device {
            *devices.entry(device).or_default() +=
                usize::from(matches!(note.outcome, Outcome::Measured { .. }));
        }
    }
    match asked {
        Some(device) if devices.contains_key(device) => Ok(Some(device.to_owned())),
        Some(device) => {
            let known: Vec<String> = devices.into_keys().map(str::to_owned).collect();
            Err(ReportError::NoDevice {
                path: path.to_owned(),
                device: device.to_owned(),
                there: listed(&known),
            })
        }
        None => Ok(devices.into_iter().max_by_key(|(_, count)| *count).map(|(device, _)| device.to_owned())),
    }
}

/// The last verdict on each candidate, in the order of these. What our own tools failed at is no verdict where there is one.
fn candidates(notes: &[Note]) -> Vec<Candidate> {
    let first = notes.first().map_or(0, |note| note.at);
    let mut last: HashMap<(&str, &str, &str), usize> = HashMap::new();
    for (position, note) in notes.iter().enumerate() {
        let place = (note.candidate.arch.as_str(), note.task.sizes.as_str(), note.candidate.digest.as_str());
        if !is_failure(note) || !last.contains_key(&place) {
            last.insert(place, position);
        }
    }
    let mut positions: Vec<usize> = last.into_values().collect();
    positions.sort_unstable();
    positions.into_iter().map(|position| candidate(&notes[position], first)).collect()
}

fn is_failure(note: &Note) -> bool {
    matches!(note.outcome, Outcome::Refused { verdict: Verdict::Infrastructure, .. })
}

fn candidate(note: &Note, first: i64) -> Candidate {
    let (gate, verdict, reason, measured) = match &note.outcome {
        Outcome::Measured { seconds } => ("time", "pass", None, Some(*seconds)),
        Outcome::Refused { gate, verdict, reason } => {
            (gate.name(), verdict.name(), Some(reason.clone()), None)
        }
    };
    Candidate {
        id: note.candidate.name.clone(),
        proposer: note.candidate.proposer.clone(),
        arch: note.candidate.arch.clone(),
        sizes: note.task.sizes.clone(),
        tunables: note.candidate.tunables.clone(),
        gate: gate.to_owned(),
        verdict: verdict.to_owned(),
        reason,
        modelled: note.experience.as_ref().map(|experience| experience.view.modelled),
        measured,
        registers: None,
        at: Some(note.at.saturating_sub(first) as f64),
        samples: note.samples.clone(),
        device: note.device.clone(),
        harness: Some(note.harness.clone()),
    }
}

/// What was judged with what, when, and what such a file cannot say.
fn describe(facts: &mut Facts, path: &Path, notes: &[Note], device: Option<&str>) {
    let all = |of: fn(&Note) -> Option<&String>| {
        let values: BTreeSet<&str> = notes.iter().filter_map(of).map(String::as_str).collect();
        values.into_iter().collect::<Vec<_>>().join(", ")
    };
    let moment = |note: Option<&Note>| {
        let since = Duration::from_secs(note.map_or(0, |note| note.at).max(0).unsigned_abs());
        let time = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
        humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").replace('Z', " UTC")
    };
    let harnesses = all(|note| Some(&note.harness));
    let rows = [
        ("device", device.unwrap_or_default().to_owned()),
        ("driver", all(|note| note.driver.as_ref())),
        ("kernel-factory", harnesses.clone()),
        ("ptxas", all(|note| note.assembler.as_ref())),
        ("compilers", all(|note| note.candidate.origin.compiler.as_ref())),
        ("first verdict", moment(notes.first())),
        ("last verdict", moment(notes.last())),
    ];
    // A certificate has said some of it about the moment of sealing.
    let whose = if facts.environment.is_empty() { "" } else { "evidence: " };
    let known = rows.into_iter().filter(|(_, value)| !value.is_empty());
    facts.environment.extend(known.map(|(name, value)| (format!("{whose}{name}"), value)));
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    facts.origins.push(format!(
        "The evidence `{file}`: {} of every search that wrote to it, in the order in which they were reached.",
        counted(notes.len(), "verdict")
    ));
    let measured = notes.iter().filter(|note| note.seconds().is_some());
    let drivers = measured.clone().filter(|note| note.driver.is_none()).count();
    if drivers > 0 {
        facts.notes.push(format!("The driver is not recorded for {}.", counted(drivers, "measurement")));
    }
    if measured.count() > 1 {
        facts.notes.push(
            "The times are of several calls of the clock, perhaps days apart: what differs by a few per cent was not shown to differ."
                .to_owned(),
        );
    }
    if harnesses.contains(", ") {
        facts.notes.push(format!(
            "Gates and clock are of several versions of the factory ({harnesses}), and one may judge otherwise than another."
        ));
    }
    if facts.canonical.is_none() {
        facts
            .unrecorded
            .push("what was asked: the text of the spec, which files of an older factory do not hold");
    }
    facts.unrecorded.extend([
        "seeds, budgets and ends of the single searches",
        "candidates that passed the gates and were not timed, and what the model said of refused ones",
        "registers",
        "the order of verdicts within one second",
    ]);
}
