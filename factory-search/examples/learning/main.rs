//! Does a search learn? Candidates of several specs are timed once, then searches are run on the recorded times.
//!
//! ```text
//! cargo run -p factory-search --example learning -- prepare candidates.json --candidates 240
//! cargo run -p factory-search --example learning -- sweep candidates.json sweep.json --seconds 300
//! cargo run -p factory-search --example learning -- replay sweep.json --to replay.json --chart replay.svg
//! cargo run -p factory-search --example learning -- report replay.json
//! ```
//!
//! `prepare` draws candidates of each spec, assembles and profiles them (it needs ptxas); `sweep` times them on the first
//! GPU and needs nothing else; `replay` runs searches with empty memory and with the memory of the other specs, for several
//! seeds, and writes their curves; `report` prints the table as Markdown. `replay` also reads the samples of `model_check`
//! and the records of `cargo factory tune --records` as `benches/results/rmsnorm-forward-h200` has them.

mod chart;
mod prepare;
mod recorded;
mod replay;
mod report;
#[path = "../model_check/specs.rs"]
#[allow(dead_code, reason = "the other example also wants to know which specs the cost model was fitted to")]
mod specs;
mod sweep;

use serde::{Deserialize, Serialize};

const USAGE: &str = "usage: learning prepare TO [--candidates N] | sweep FROM TO [--seconds S] | \
    replay SAMPLES... --to JSON [--chart SVG] [--seeds N] [--batch N] [--memory specs|tasks] | report JSON";

/// What follows the subcommand: files, and options by name.
struct Words {
    files: Vec<String>,
    options: Vec<(String, String)>,
}

impl Words {
    fn new(words: &[String], known: &[&str]) -> Result<Words, String> {
        let mut this = Words { files: Vec::new(), options: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                None => this.files.push(word.clone()),
                Some(name) if known.contains(&name) => {
                    let value = words.next().ok_or_else(|| format!("`{word}` needs a value\n{USAGE}"))?;
                    this.options.push((name.to_owned(), value.clone()));
                }
                Some(_) => return Err(format!("`{word}` is not known here\n{USAGE}")),
            }
        }
        Ok(this)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(option, _)| option == name).map(|(_, value)| value.as_str())
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("`--{name} {text}` is no number that fits")),
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &str) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("`{path}`: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("`{path}`: {error}"))
}

fn write(path: &str, value: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string(value).map_err(|error| error.to_string())?;
    std::fs::write(path, text).map_err(|error| format!("`{path}`: {error}"))
}

fn main() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = words.split_first().ok_or(USAGE)?;
    match command.as_str() {
        "prepare" => {
            let words = Words::new(rest, &["candidates"])?;
            let [to] = words.files.as_slice() else { return Err(USAGE.to_owned()) };
            prepare::prepare(to, words.number("candidates", 240)?)
        }
        "sweep" => {
            let words = Words::new(rest, &["seconds"])?;
            let [from, to] = words.files.as_slice() else { return Err(USAGE.to_owned()) };
            sweep::sweep(from, to, words.number("seconds", 300.0)?)
        }
        "replay" => {
            let words = Words::new(rest, &["to", "chart", "seeds", "batch", "memory"])?;
            let options = replay::Options {
                seeds: words.number("seeds", 11)?,
                batch: words.number("batch", 8)?,
                other_specs_alone: match words.text("memory") {
                    None | Some("specs") => true,
                    Some("tasks") => false,
                    Some(other) => return Err(format!("`--memory {other}`: it is `specs` or `tasks`")),
                },
            };
            let to = words.text("to").ok_or(USAGE)?;
            let found = replay::replay(&words.files, &options)?;
            write(to, &found)?;
            if let Some(chart) = words.text("chart") {
                chart::draw(&found, chart)?;
            }
            report::print(&found);
            Ok(())
        }
        "report" => {
            let words = Words::new(rest, &[])?;
            let [from] = words.files.as_slice() else { return Err(USAGE.to_owned()) };
            report::print(&read(from)?);
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    }
}
