//! The search, as a build runs it.

use std::fmt::Write as _;
use std::time::Instant;

use factory_search::{Budget, Event, GpuPolicy, SearchOptions};
use factory_spec::{BoundSpec, Sealed, Search};

use crate::env::{self, Variables};

/// What a search found.
pub(crate) struct Searched {
    pub(crate) sealed: Sealed,
    /// A line for the user
    pub(crate) summary: String,
}

/// Above this, a user may want to know what would make a search faster.
const SLOW: f64 = 30.0;

/// Searches for a kernel, or says in words why there is none. `asked` is the spec's own budget; what the environment
/// says goes before it.
pub(crate) fn search(spec: &BoundSpec, asked: &Search, variables: &Variables) -> Result<Searched, String> {
    let defaults = SearchOptions::default();
    let candidates = asked.candidates.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let options = SearchOptions {
        seed: variables.seed.or(asked.seed).unwrap_or(defaults.seed),
        budget: Budget {
            candidates: candidates.unwrap_or(defaults.budget.candidates),
            seconds: variables.budget.map(|budget| budget.as_secs_f64()).or(asked.seconds),
        },
        threads: env::jobs(),
        gpu: if env::machine_only() { GpuPolicy::Off } else { defaults.gpu },
        ..defaults
    };
    let start = Instant::now();
    let mut notes = Vec::new();
    let found = factory_search::search(spec, &options, &mut |event: &Event<'_>| {
        if let Event::Note { message } = event {
            notes.push((*message).to_owned());
        }
    })
    .map_err(|error| error.to_string())?;
    let seconds = start.elapsed().as_secs_f64();
    let mut summary = format!(
        "kernel `{}` ({}): best of {} candidates in {:.1} s, {}; `cargo factory tune {}` seals it into the crate",
        spec.name,
        spec.key().short(),
        found.candidates.len(),
        seconds,
        if found.modelled { "ordered by a model, not measured" } else { "measured" },
        spec.name,
    );
    // Cargo repeats a build script's warnings at every build, so there is one line and not one for each note.
    if let Some(first) = notes.first() {
        let _ = write!(summary, "; {first}");
        if notes.len() > 1 {
            let _ = write!(
                summary,
                " (and {} more of this kind, which `cargo factory tune` lists)",
                notes.len() - 1
            );
        }
    }
    if seconds > SLOW && cfg!(debug_assertions) {
        summary.push_str(
            "; unless it is there already, `opt-level = 3` in `[profile.dev.build-override]` makes the search many times faster",
        );
    }
    Ok(Searched { sealed: found.sealed, summary })
}
