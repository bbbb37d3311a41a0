//! A search as its log tells it, up to the line that was read last.

use crate::print::{self, seconds};
use factory_search::log::{LogEvent, LogLine, LogOutcome, LogStart};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What is known by now.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) start: Option<LogStart>,
    /// The phase, its verdicts so far and those that may come
    phase: Option<(String, usize, usize)>,
    considered: BTreeSet<(String, String, String)>,
    refused: BTreeMap<String, usize>,
    /// The best of each target and sizes: seconds, name, whether they were measured
    best: BTreeMap<(String, String), (f64, String, bool)>,
    not_run: BTreeMap<String, String>,
    notes: Vec<String>,
    elapsed: f64,
    pub(crate) end: Option<LogOutcome>,
}

impl Watched {
    /// Takes one line in.
    pub(crate) fn hear(&mut self, line: &LogLine) {
        self.elapsed = self.elapsed.max(line.elapsed);
        match &line.event {
            LogEvent::Start(start) => self.start = Some(start.clone()),
            LogEvent::Phase { phase, total } => self.phase = Some((phase.clone(), 0, *total)),
            LogEvent::Verdict { candidate, .. } => {
                if let Some((_, done, _)) = &mut self.phase {
                    *done += 1;
                }
                let place = (candidate.arch.clone(), candidate.sizes.clone(), candidate.id.clone());
                self.considered.insert(place);
                if candidate.refused() {
                    *self.refused.entry(candidate.gate.clone()).or_default() += 1;
                }
            }
            LogEvent::Best { id, arch, sizes, seconds, measured } => {
                self.best.insert((arch.clone(), sizes.clone()), (*seconds, id.clone(), *measured));
            }
            LogEvent::NotRun { gate, reason } => {
                self.not_run.insert(gate.clone(), reason.clone());
            }
            LogEvent::Note { message } => self.notes.push(message.clone()),
            LogEvent::Timed { sizes, notes, .. } => {
                self.notes.extend(notes.iter().map(|note| format!("at {sizes} {note}")));
            }
            LogEvent::End(outcome) => self.end = Some(outcome.clone()),
            _ => {}
        }
    }

    /// Seconds of the budget that were left at the last line; `None` where there is no limit.
    fn seconds_left(&self) -> Option<f64> {
        Some((self.start.as_ref()?.seconds? - self.elapsed).max(0.0))
    }

    /// Everything, for a person. `state` says how the writer is.
    pub(crate) fn text(&self, state: &str) -> String {
        let mut text = String::new();
        let mut line = |words: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{words}");
        };
        if let Some(start) = &self.start {
            let key = start.key.get(..12).unwrap_or(&start.key);
            line(format!(
                "{} {key}, {} of process {}, seed {}",
                start.kernel, start.by, start.process, start.seed
            ));
        }
        line(format!("  {state} after {:.1} s{}", self.elapsed, self.budget()));
        if let (Some((phase, done, total)), None) = (&self.phase, &self.end) {
            line(match total {
                0 => format!("  phase {phase}"),
                total => format!("  phase {phase}: {done} of at most {total}"),
            });
        }
        line(format!("  {} candidates; refused: {}", self.considered.len(), self.refused()));
        for (gate, reason) in &self.not_run {
            line(format!("  gate `{gate}` is not run: {reason}"));
        }
        for ((arch, sizes), (time, id, measured)) in &self.best {
            let basis = if *measured { "measured" } else { "modelled" };
            line(format!("  best on {arch} at {sizes}: {} {basis}, {id}", seconds(*time)));
        }
        for note in &self.notes {
            line(format!("  note: {note}"));
        }
        match &self.end {
            Some(LogOutcome::Found { winners, modelled, .. }) => {
                let order = if *modelled { "ordered by a model, not measured" } else { "measured" };
                line(format!("  winners ({order}): {}", winners.join(", ")));
            }
            Some(LogOutcome::Failed { message }) => line(format!("  failed: {message}")),
            _ => {}
        }
        text
    }

    /// One line for an event that someone who reads along wants to see; most verdicts are not.
    pub(crate) fn line(&self, line: &LogLine) -> Option<String> {
        let words = match &line.event {
            LogEvent::Start(start) => {
                format!("{} {}", start.kernel, start.key.get(..12).unwrap_or(&start.key))
            }
            LogEvent::Phase { phase, total: 0 } => format!("phase {phase}"),
            LogEvent::Phase { phase, total } => format!(
                "phase {phase}, at most {total}; so far {} candidates, refused: {}",
                self.considered.len(),
                self.refused()
            ),
            LogEvent::Enumerated { arch, sizes, configurations, considered } => {
                format!("{arch} {sizes}: {considered} of {configurations} configurations")
            }
            LogEvent::Best { id, arch, sizes, seconds, measured } => {
                let basis = if *measured { "measured" } else { "modelled" };
                format!("best on {arch} at {sizes}: {} {basis}, {id}", print::seconds(*seconds))
            }
            LogEvent::NotRun { gate, reason } => format!("gate `{gate}` is not run: {reason}"),
            LogEvent::Note { message } => format!("note: {message}"),
            LogEvent::Timed { sizes, notes, .. } if !notes.is_empty() => {
                format!("note: at {sizes} {}", notes.join("; "))
            }
            _ => return None,
        };
        Some(format!("{:9.2} s  {words}", line.elapsed))
    }

    fn budget(&self) -> String {
        match (self.seconds_left(), self.start.as_ref().and_then(|start| start.seconds), &self.end) {
            (Some(left), Some(limit), None) => format!(", {left:.1} s of {limit} s left"),
            (_, Some(limit), _) => format!(" of {limit} s allowed"),
            _ => String::new(),
        }
    }

    fn refused(&self) -> String {
        match self.refused.is_empty() {
            true => "none".to_owned(),
            false => {
                let gates: Vec<String> =
                    self.refused.iter().map(|(gate, count)| format!("{gate} {count}")).collect();
                gates.join(", ")
            }
        }
    }
}
