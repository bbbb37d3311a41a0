//! `cargo factory watch`, and the logs that searches leave.

use crate::{Package, text};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// The one log of a package's cache.
fn log(package: &Package) -> PathBuf {
    let logs: Vec<PathBuf> = fs::read_dir(package.path().join("cache/logs"))
        .expect("a folder of logs")
        .map(|entry| entry.expect("readable").path())
        .collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs[0].clone()
}

fn start(seconds: Option<f64>) -> Value {
    json!({
        "time": 1.7e9, "elapsed": 0.0, "event": "start", "format": 1, "kernel": "gate", "key": "0123456789abcdef",
        "by": "tune", "version": "0.1.0", "process": 7, "seed": 1, "candidates": 8, "seconds": seconds,
        "targets": ["sm_90"], "over": ["n=4096"],
    })
}

fn verdict(id: &str, verdict: &str, gate: &str) -> Value {
    json!({
        "time": 1.7e9, "elapsed": 1.5, "event": "verdict", "phase": "screen",
        "candidate": {
            "id": id, "proposer": "generator", "arch": "sm_90", "sizes": "n=4096", "gate": gate, "verdict": verdict,
            "modelled": 2e-6,
        },
    })
}

fn end() -> Value {
    json!({
        "time": 1.7e9, "elapsed": 2.5, "event": "end", "outcome": "found", "winners": ["a"], "considered": 2,
        "refused": { "machine": 1 }, "modelled": true,
    })
}

fn write(package: &Package, name: &str, lines: &[Value]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    package.write(name, &lines);
    package.path().join(name).to_str().expect("a path in UTF-8").to_owned()
}

#[test]
fn tune_leaves_a_log_and_watch_tells_it() {
    let package = Package::new();
    let output = package.run(&["tune", "--gpu", "off", "--ptxas", "off", "--candidates", "6"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let path = log(&package);
    assert!(text(&output.stdout).contains(&format!("log: {}", path.display())), "{}", text(&output.stdout));

    let watched = package.run(&["watch"]);
    assert_eq!(watched.status.code(), Some(0), "{}", text(&watched.stderr));
    assert!(text(&watched.stderr).contains(&path.display().to_string()), "it says which log it took");
    let said = text(&watched.stdout);
    for part in [
        "gate ",
        "ended after",
        "6 candidates; refused: none",
        "gate `assemble` is not run: it was switched off",
        "best on sm_90 at n=4096",
        "winners (ordered by a model, not measured)",
    ] {
        assert!(said.contains(part), "`{part}` is missing in:\n{said}");
    }

    // With `--json` every line goes through as it is.
    let passed = package.run(&["watch", "--json"]);
    assert_eq!(text(&passed.stdout), fs::read_to_string(&path).expect("the log"));
    let events: Vec<String> = text(&passed.stdout)
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["event"].as_str().expect("a name").to_owned()
        })
        .collect();
    assert_eq!(events.first().map(String::as_str), Some("start"));
    assert_eq!(events.last().map(String::as_str), Some("end"));
    assert_eq!(events.iter().filter(|event| *event == "phase").count(), 5, "{events:?}");
}

#[test]
fn a_build_that_searches_leaves_a_log_that_watch_tells() {
    let package = Package::new();
    let spec = fs::read_to_string(package.path().join("kernels/gate.toml")).expect("the spec");
    package.write("kernels/gate.toml", &(spec + "[search]\ncandidates = 6\n"));
    // What `factory_build::compile` does, but for printing.
    let report = factory_build::Factory::new()
        .package_dir(package.path())
        .out_dir(package.path().join("out"))
        .cache_dir(package.path().join("cache"))
        .policy(factory_build::Policy::Auto)
        .quiet()
        .try_compile()
        .unwrap_or_else(|error| panic!("{error}"));
    let path = log(&package);
    assert_eq!(report.warnings.len(), 1, "one line a kernel: {:?}", report.warnings);
    assert!(report.warnings[0].contains(&format!("log: {}", path.display())), "{:?}", report.warnings);
    assert_eq!(report.warnings[0].lines().count(), 1);
    assert!(report.watched_variables.contains("KERNEL_FACTORY_EVIDENCE"));
    let watched = package.run(&["watch"]);
    assert_eq!(watched.status.code(), Some(0), "{}", text(&watched.stderr));
    let said = text(&watched.stdout);
    for part in ["gate ", "ended after", "6 candidates", "best on sm_90 at n=4096", "winners ("] {
        assert!(said.contains(part), "`{part}` is missing in:\n{said}");
    }
    let first = text(&package.run(&["watch", "--json"]).stdout);
    let first: Value = serde_json::from_str(first.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["event"], &first["by"]), (&json!("start"), &json!("build")));
}

#[test]
fn a_search_that_fails_says_so_in_its_log() {
    let package = Package::new();
    let spec = fs::read_to_string(package.path().join("kernels/gate.toml")).expect("the spec");
    package.write("kernels/gate.toml", &spec.replace("[better]", "[better]\nminimize = \"registers\""));
    assert_eq!(package.run(&["tune", "--gpu", "off", "--ptxas", "off"]).status.code(), Some(1));
    let watched = package.run(&["watch"]);
    assert_eq!(watched.status.code(), Some(1), "{}", text(&watched.stdout));
    assert!(text(&watched.stdout).contains("failed: `[better]` of `gate`"), "{}", text(&watched.stdout));
}

#[test]
fn watch_follows_while_another_writes() {
    let package = Package::new();
    let path = package.path().join("live.jsonl");
    let mut file = File::create(&path).expect("a log");
    // As the writer of a log holds it.
    file.lock().expect("a lock");
    let mut write = |bytes: &[u8]| file.write_all(bytes).expect("written");
    write(format!("{}\n", start(Some(100.0))).as_bytes());
    let mut child = package
        .command(&["watch", path.to_str().expect("a path in UTF-8"), "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("readable");
    assert_eq!(next(), start(Some(100.0)).to_string());
    // A line in two pieces, with time to read between them: it arrives as one.
    let line = verdict("a", "pass", "machine").to_string();
    let (head, tail) = line.split_at(line.len() / 2);
    write(head.as_bytes());
    thread::sleep(Duration::from_millis(400));
    assert!(child.try_wait().expect("a status").is_none(), "it waits for the rest");
    write(format!("{tail}\n").as_bytes());
    assert_eq!(next(), line);
    write(format!("{}\n", end()).as_bytes());
    assert_eq!(next(), end().to_string());
    assert!(lines.next().is_none(), "nothing follows the end");
    assert_eq!(child.wait().expect("a status").code(), Some(0));
}

#[test]
fn a_writer_that_was_killed_is_noticed() {
    let package = Package::new();
    let path = write(&package, "killed.jsonl", &[start(Some(60.0)), verdict("a", "wrong", "machine")]);
    // Half a line, as a kill or a full disk leaves it.
    let mut file = File::options().append(true).open(&path).expect("the log");
    file.write_all(&verdict("b", "pass", "machine").to_string().as_bytes()[..60]).expect("written");
    drop(file);
    let output = package.run(&["watch", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the last line of") && text(&output.stderr).contains("is cut off"));
    let said = text(&output.stdout);
    assert!(said.contains("killed: its process is gone"), "{said}");
    assert!(said.contains("1 candidates; refused: machine 1"), "{said}");
    assert!(said.contains("58.5 s of 60 s left"), "{said}");
}

#[test]
fn watch_once_looks_and_leaves() {
    let package = Package::new();
    let path = write(&package, "running.jsonl", &[start(None), verdict("a", "pass", "machine")]);
    let file = File::open(&path).expect("the log");
    file.lock().expect("a lock");
    let output = package.run(&["watch", &path, "--once"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("running, after 1.5 s"), "{}", text(&output.stdout));
}

#[test]
fn no_log_and_no_logs_are_errors_that_help() {
    let package = Package::new();
    let output = package.run(&["watch"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("there is no log") && said.contains("cargo factory tune"), "{said}");
    let output = package.run(&["watch", "nowhere.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nowhere.jsonl"), "{}", text(&output.stderr));
    package.write("empty.jsonl", "");
    package.write("other.jsonl", "{\"what\": 1}\nnot even JSON\n");
    for (name, words) in
        [("empty.jsonl", "it is empty"), ("other.jsonl", "line 1"), ("src", "could not read")]
    {
        let path = package.path().join(name);
        let output = package.run(&["watch", path.to_str().expect("a path in UTF-8")]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(text(&output.stderr).contains(words), "{name}: {}", text(&output.stderr));
    }
}

#[test]
fn what_is_to_be_told_of_a_measurement_is_told() {
    let package = Package::new();
    let timed = |note: Option<&str>| {
        let mut line =
            json!({ "time": 1.7e9, "elapsed": 2.0, "event": "timed", "sizes": "n=4096", "timing": {} });
        if let Some(note) = note {
            line["notes"] = json!([note]);
        }
        line
    };
    let tie = timed(Some("`a` and `b` differ by no more than equals do by chance"));
    let path = write(&package, "tie.jsonl", &[start(None), timed(None), tie, end()]);
    let said = text(&package.run(&["watch", &path]).stdout);
    assert!(said.contains("note: at n=4096 `a` and `b` differ by no more than equals do"), "{said}");
    assert_eq!(said.matches("note:").count(), 2, "once along the way and once in the summary:\n{said}");
}

#[test]
fn broken_and_unknown_lines_are_left_out() {
    let package = Package::new();
    let mut lines: Vec<String> =
        [start(None), verdict("a", "pass", "machine")].iter().map(Value::to_string).collect();
    lines.insert(1, "{\"time\": 1, \"elapsed\": 1, \"event\": \"verdict\", \"phase\": 3}".to_owned());
    lines.insert(2, "\u{0}\u{1}".to_owned());
    lines.push(json!({ "time": 1, "elapsed": 2.0, "event": "of a later version", "new": [1] }).to_string());
    lines.push(end().to_string());
    package.write("broken.jsonl", &(lines.join("\n") + "\n"));
    let path = package.path().join("broken.jsonl");
    let output = package.run(&["watch", path.to_str().expect("a path in UTF-8")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("line 2 of") && said.contains("line 3 of") && !said.contains("line 5"), "{said}");
    assert!(text(&output.stdout).contains("1 candidates"), "{}", text(&output.stdout));
}
