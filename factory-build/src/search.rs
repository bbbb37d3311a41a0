//! The search, as a build runs it.

use std::time::Instant;

use factory_search::{Budget, Event, SearchOptions};
use factory_spec::{BoundSpec, Sealed};

use crate::env::{self, Variables};

/// What a search found.
pub(crate) struct Searched {
    pub(crate) sealed: Sealed,
    /// A line or two for the user
    pub(crate) summary: Vec<String>,
}

/// Searches for a kernel, or says in words why there is none.
pub(crate) fn search(spec: &BoundSpec, variables: &Variables) -> Result<Searched, String> {
    let defaults = SearchOptions::default();
    let options = SearchOptions {
        seed: variables.seed.unwrap_or(defaults.seed),
        budget: Budget { seconds: variables.budget.map(|budget| budget.as_secs_f64()), ..defaults.budget },
        threads: env::jobs(),
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
    let mut summary = vec![format!(
        "kernel `{}` ({}): best of {} candidates in {:.1} s, {}; `cargo factory tune {}` seals it into the crate",
        spec.name,
        spec.key().short(),
        found.candidates.len(),
        start.elapsed().as_secs_f64(),
        if found.modelled { "ordered by a model, not measured" } else { "measured" },
        spec.name,
    )];
    summary.extend(notes.into_iter().map(|note| format!("kernel `{}`: {note}", spec.name)));
    if env::unoptimised() {
        summary.push("hint: the search ran without optimisation; `[profile.dev.build-override]` with `opt-level = 3` in Cargo.toml makes it many times faster".to_owned());
    }
    Ok(Searched { sealed: found.sealed, summary })
}
