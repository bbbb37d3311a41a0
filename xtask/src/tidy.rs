//! What no lint checks: files stay small, words that do not belong here stay out, crates carry what they must.

use crate::shell::{Failure, output, root};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A Rust file longer than this is more than one thing. Tables and tests may be longer.
const MOST_LINES: usize = 750;

/// Checks every file that git tracks, and reports all complaints at once.
pub(crate) fn check() -> Result<(), Failure> {
    let files = output(Command::new("git").args(["ls-files"]).current_dir(root()))?;
    let mut complaints = Vec::new();
    for file in files.lines() {
        // A file deleted in the work tree is still listed; one that is not text is not ours to judge.
        let Ok(text) = fs::read_to_string(root().join(file)) else { continue };
        if file.ends_with(".rs") {
            check_rust(file, &text, &mut complaints);
        }
        // Outside of the workspace.
        let apart = ["fuzz/", "examples/candle/"].iter().any(|folder| file.starts_with(folder));
        let member = file.ends_with("Cargo.toml") && !apart;
        if member && text.contains("[package]") && !text.contains("license.workspace") {
            complaints.push(format!("{file}: the package does not take `license` from the workspace"));
        }
        if file.ends_with(".md") {
            check_links(file, &text, &mut complaints);
        }
    }
    if complaints.is_empty() {
        return Ok(());
    }
    Err(Failure::Check(format!("tidy found {} things:\n  {}", complaints.len(), complaints.join("\n  "))))
}

fn check_rust(file: &str, text: &str, complaints: &mut Vec<String>) {
    let is_test = file.contains("/tests/") || file.starts_with("tests/");
    let lines = text.lines().count();
    if lines > MOST_LINES && !is_test && !file.contains("/table") {
        complaints.push(format!("{file}: {lines} lines; split it (the limit is {MOST_LINES})"));
    }
    for (number, line) in text.lines().enumerate() {
        // Put together here, so that this file does not complain about itself.
        for word in
            [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME"), concat!("XX", "X")]
        {
            if line.contains(word) {
                complaints.push(format!("{file}:{}: `{word}`", number + 1));
            }
        }
    }
}

/// Every relative link of a Markdown file leads somewhere.
fn check_links(file: &str, text: &str, complaints: &mut Vec<String>) {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let target = link.split('#').next().unwrap_or_default();
        if target.is_empty() || target.contains("://") || target.contains(' ') {
            continue;
        }
        if !root().join(folder).join(target).exists() {
            complaints.push(format!("{file}: the link to `{target}` leads nowhere"));
        }
    }
}
