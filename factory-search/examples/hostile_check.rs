//! Runs the hostile corpus on a GPU: what the device gate and the clock say of every candidate, beside what the gates say
//! that need none.
//!
//! ```text
//! cargo run --release -p factory-search --example hostile_check -- [--gpu 0] [--seconds 60] [--only k15] [--json FILE]
//! ```
//! Every candidate has a process of its own, which is ended after `--seconds`: one that hangs, or takes the context with it,
//! costs its own line. Candidates that the other gates refuse run on the GPU all the same, to see what it would have said.
//! Exit status 1: something was not as the corpus says.

#[path = "../tests/hostile/corpus.rs"]
mod corpus;

use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use corpus::{Corpus, Entry, reason_name};
use factory_search::cases::Cases;
use factory_search::gpu::{Gpu, MeasureOptions, time_candidates};
use factory_search::toolchain::Ptxas;
use factory_search::{Candidate, PtxasPolicy, Rejection, Verdict, judge};
use serde_json::{Value, json};

struct Arguments {
    ordinal: usize,
    seconds: u64,
    only: Option<String>,
    json: Option<String>,
    seed: u64,
    /// The candidate that this process is for.
    one: Option<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { ordinal: 0, seconds: 60, only: None, json: None, seed: 11, one: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` wants a value"));
        let number = |text: String| text.parse::<u64>().map_err(|error| format!("`{text}`: {error}"));
        match word.as_str() {
            "--gpu" => parsed.ordinal = number(value()?)? as usize,
            "--seconds" => parsed.seconds = number(value()?)?,
            "--seed" => parsed.seed = number(value()?)?,
            "--only" => parsed.only = Some(value()?),
            "--json" => parsed.json = Some(value()?),
            "--one" => parsed.one = Some(value()?),
            _ => {
                return Err(format!(
                    "`{word}` is not known; there are --gpu, --seconds, --seed, --only and --json"
                ));
            }
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let outcome = arguments().and_then(|arguments| match &arguments.one {
        Some(name) => one(&arguments, name).map(|()| true),
        None => all(&arguments),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn of<T>(outcome: Result<T, Rejection>) -> Value {
    match outcome {
        Ok(_) => json!({ "verdict": "pass" }),
        Err(rejection) => json!({
            "by": rejection.gate, "verdict": rejection.verdict, "reason": reason_name(&rejection),
            "message": rejection.reason.to_string(),
        }),
    }
}

/// One candidate: prints what each gate says as one line of JSON each, as soon as it is known.
fn one(arguments: &Arguments, name: &str) -> Result<(), String> {
    let corpus = Corpus::read().map_err(|error| error.to_string())?;
    let entry = corpus.entries.iter().find(|entry| entry.name == name).ok_or("there is no such candidate")?;
    let spec = &corpus.specs[&entry.spec];
    let cases = Cases::draw(spec, arguments.seed, &spec.better.over);
    let say = |gate: &str, value: Value| println!("{}", json!({ "gate": gate, "said": value }));
    let ptxas = Ptxas::find(&PtxasPolicy::Find).ok().and_then(Result::ok);
    say("without", of(judge(spec, &entry.candidate, &cases, ptxas.as_ref(), arguments.seed)));

    let mut gpu = Gpu::open(arguments.ordinal)?;
    let device = gpu.check(spec, &cases, &entry.candidate);
    let lost = device.as_ref().is_err_and(|rejection| rejection.verdict == Verdict::Infrastructure);
    say("device", of(device));
    if lost {
        return Ok(());
    }
    // The clock, beside the honest twin: what passes here would be measured.
    let twin = corpus
        .entries
        .iter()
        .find(|other| other.is_twin() && other.row == entry.row && other.spec == entry.spec);
    let mut candidates: Vec<&Candidate> = vec![&entry.candidate];
    candidates.extend(twin.filter(|twin| twin.name != entry.name).map(|twin| &twin.candidate));
    let options = MeasureOptions { seed: arguments.seed, rounds: 3, final_rounds: 3, ..Default::default() };
    let sizes = spec.better.over.first().ok_or("the spec names no sizes to time")?;
    let timing = time_candidates(&mut gpu, spec, sizes, &candidates, &options)?;
    let outcome = timing.candidates.into_iter().next().ok_or("nothing was timed")?.outcome;
    say(
        "time",
        match outcome {
            Ok(seconds) => json!({ "verdict": "pass", "seconds": seconds }),
            Err(rejection) => of::<()>(Err(rejection)),
        },
    );
    Ok(())
}

/// What a candidate's own process said, by gate; `null` where it said nothing.
fn in_a_process_of_its_own(arguments: &Arguments, entry: &Entry) -> Result<Value, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(["--one", &entry.name, "--gpu", &arguments.ordinal.to_string()])
        .args(["--seed", &arguments.seed.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let begun = Instant::now();
    let ended = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status.to_string();
        }
        if begun.elapsed() > Duration::from_secs(arguments.seconds) {
            child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
            break format!("ended after {} s", arguments.seconds);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // What a child writes is a few lines, which a pipe holds until it is read.
    let mut text = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut text).map_err(|error| error.to_string())?;
    }
    let mut errors = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_string(&mut errors).map_err(|error| error.to_string())?;
    }
    let mut record =
        json!({ "name": entry.name, "says": entry.says, "ended": ended, "errors": errors.trim() });
    for line in text.lines() {
        let Ok(mut value) = serde_json::from_str::<Value>(line) else { continue };
        if let Some(gate) = value["gate"].as_str().map(str::to_owned) {
            record[gate] = value["said"].take();
        }
    }
    Ok(record)
}

fn all(arguments: &Arguments) -> Result<bool, String> {
    let corpus = Corpus::read().map_err(|error| error.to_string())?;
    {
        let gpu = Gpu::open(arguments.ordinal)?;
        println!("{}, driver {}, seed {}", gpu.name(), gpu.driver(), arguments.seed);
    }
    println!("{:<36} {:<34} {:<34} {:<34} as expected", "candidate", "without a GPU", "device", "time");
    let mut records = Vec::new();
    let mut surprises = 0;
    for entry in corpus.matching(arguments.only.as_deref().unwrap_or("")) {
        let mut record = in_a_process_of_its_own(arguments, entry)?;
        let show = |gate: &str| match (&record[gate]["verdict"], &record[gate]["reason"]) {
            (Value::String(verdict), Value::String(reason)) => format!("{verdict}: {reason}"),
            (Value::String(verdict), _) => verdict.clone(),
            _ => "(nothing)".to_owned(),
        };
        let passed = |gate: &str| record[gate]["verdict"] == "pass";
        let surprise = if entry.is_twin() || entry.open.is_some() {
            (!["without", "device", "time"].into_iter().all(passed)).then_some("all gates should pass it")
        } else if let Some(refusal) = &entry.device {
            let said = &record[refusal.by.name()];
            (said["reason"] != refusal.reason.as_str()).then_some("the GPU should refuse it for that reason")
        } else {
            passed("without").then_some("it should be refused without a GPU")
        };
        surprises += usize::from(surprise.is_some());
        let (without, device, time) = (show("without"), show("device"), show("time"));
        println!("{:<36} {without:<34} {device:<34} {time:<34} {}", entry.name, surprise.unwrap_or("yes"));
        record["as_expected"] = json!(surprise.is_none());
        records.push(record);
    }
    println!("{} candidates, {surprises} not as the corpus says", records.len());
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&records).map_err(|error| error.to_string())?;
        std::fs::write(path, text).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(surprises == 0)
}
