//! A search, seen while it runs: a progress bar and a table of the best candidates, on standard error.

use crate::print::seconds;
use factory_search::log::{LogCandidate, LogEvent};
use factory_search::{Event, Observer, Phase};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How many candidates the live table shows.
const ROWS: usize = 6;

/// Draws the progress of one search.
pub(crate) struct Progress {
    bars: MultiProgress,
    bar: ProgressBar,
    rows: Vec<ProgressBar>,
    refused: BTreeMap<String, usize>,
    passed: usize,
    /// Whether nothing at all is said
    quiet: bool,
    /// Lines that were said: what holds for several sizes is said once
    said: BTreeSet<String>,
    /// When the budget ends
    deadline: Option<Instant>,
    /// The best candidate of each target and size
    best: BTreeMap<(String, String), (f64, String, bool)>,
}

impl Progress {
    /// A display for the search of `name`; silent when `quiet`. Where standard error is no terminal only lines that stay are
    /// written: why something was not measured is not to be found at the end alone.
    pub(crate) fn new(name: &str, quiet: bool) -> Progress {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bars = MultiProgress::with_draw_target(target);
        let bar = bars.add(ProgressBar::new(0));
        bar.set_style(style("{prefix:<16} {msg:<10} [{bar:30}] {pos}/{len} {elapsed}"));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        let rows = (0..ROWS)
            .map(|_| {
                let row = bars.add(ProgressBar::new_spinner());
                row.set_style(style("  {msg}"));
                row
            })
            .collect();
        Progress {
            bars,
            bar,
            rows,
            refused: BTreeMap::new(),
            passed: 0,
            quiet,
            said: BTreeSet::new(),
            deadline: None,
            best: BTreeMap::new(),
        }
    }

    /// Shows how much of a time budget is left.
    pub(crate) fn budget(&mut self, seconds: Option<f64>) {
        let length = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
        self.deadline = length.and_then(|length| Instant::now().checked_add(length));
    }

    fn seconds_left(&self) -> Option<f64> {
        Some(self.deadline?.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    /// Takes the display away.
    pub(crate) fn finish(&self) {
        for row in &self.rows {
            row.finish_and_clear();
        }
        self.bar.finish_and_clear();
    }

    /// A line that stays.
    fn say(&mut self, line: &str) {
        if self.quiet || !self.said.insert(line.to_owned()) {
            return;
        }
        if self.bars.is_hidden() {
            eprintln!("{line}");
        } else {
            // Nobody is there to be told that a terminal is gone.
            let _ = self.bars.println(line);
        }
    }

    fn count(&mut self, candidate: &LogCandidate) {
        self.bar.inc(1);
        if candidate.refused() {
            *self.refused.entry(format!("{} at {}", candidate.verdict, candidate.gate)).or_default() += 1;
        } else {
            self.passed += 1;
        }
        self.draw();
    }

    /// Draws what happened, here or in the process that wrote a log.
    pub(crate) fn hear(&mut self, event: &LogEvent) {
        match event {
            LogEvent::Phase { phase, total } => {
                self.bar.set_message(phase.clone());
                self.bar.set_length(*total as u64);
                self.bar.set_position(0);
                if phase == Phase::Screen.name() {
                    self.passed = 0;
                }
            }
            LogEvent::Verdict { candidate, .. } => self.count(candidate),
            LogEvent::Best { id, arch, sizes, seconds, measured } => {
                self.best.insert((arch.clone(), sizes.clone()), (*seconds, id.clone(), *measured));
                self.draw();
            }
            LogEvent::NotRun { gate, reason } => self.say(&format!("gate `{gate}` is not run: {reason}")),
            LogEvent::Note { message } => self.say(message),
            LogEvent::Timed { sizes, notes, .. } => {
                for note in notes {
                    self.say(&format!("at {sizes} {note}"));
                }
            }
            _ => {}
        }
    }

    fn draw(&self) {
        let refused: Vec<String> = self.refused.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let budget = self.seconds_left().map_or_else(String::new, |left| format!("   {left:.0} s left"));
        let mut lines = vec![format!(
            "passed {}   refused: {}{budget}",
            self.passed,
            if refused.is_empty() { "none".into() } else { refused.join(", ") }
        )];
        for ((arch, sizes), (time, id, measured)) in &self.best {
            let basis = if *measured { "measured" } else { "modelled" };
            lines.push(format!("{arch:<7} {sizes:<24} {:>11} {basis}  {id}", seconds(*time)));
        }
        for (row, line) in self.rows.iter().zip(lines.into_iter().chain(std::iter::repeat(String::new()))) {
            row.set_message(line);
        }
    }
}

impl Observer for Progress {
    fn event(&mut self, event: &Event<'_>) {
        self.hear(&event.into());
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
