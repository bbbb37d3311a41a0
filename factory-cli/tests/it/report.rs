//! `cargo factory report`: pages from a log, from records and from a certificate. How they look is the browser test's.

use crate::{Package, text};
use factory_search::evidence::{Evidence, SpecText};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The page of a call, and what is embedded in it.
fn page(package: &Package, arguments: &[&str]) -> (String, Value) {
    let path = package.path().join("page.html");
    let mut words = vec!["report"];
    words.extend(arguments);
    words.extend(["--output", path.to_str().expect("a path in UTF-8")]);
    let output = package.run(&words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let html = fs::read_to_string(&path).expect("the page");
    let data =
        html.split("id=\"data\">").nth(1).and_then(|rest| rest.split("</script>").next()).expect("data");
    let data = serde_json::from_str(data).expect("the data is JSON");
    (html, data)
}

fn refused(package: &Package, arguments: &[&str], words: &[&str]) {
    let output = package.run(&[&["report"], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    for word in words {
        assert!(text(&output.stderr).contains(word), "`{word}` is missing in: {}", text(&output.stderr));
    }
    assert!(!Path::new("gate.html").exists(), "a page was written after all");
}

fn records(package: &Package) -> String {
    let path = package.path().join("records.json");
    let path = path.to_str().expect("a path in UTF-8").to_owned();
    let output =
        package.run(&["tune", "--gpu", "off", "--ptxas", "off", "--candidates", "6", "--records", &path]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    path
}

#[test]
fn a_log_and_a_sealed_kernel_make_a_page() {
    let package = Package::new();
    package.tune();
    let (html, data) = page(&package, &[]);
    assert_eq!(data["candidates"].as_array().map(Vec::len), Some(6));
    assert!(data["candidates"][0][10].is_number(), "a log knows when: {}", data["candidates"][0]);
    assert_eq!(
        data["files"]["sm_90.ptx"],
        fs::read_to_string(package.sealed().join("sm_90.ptx")).expect("PTX")
    );
    for part in [
        "<h1>gate</h1>",
        "modelled, not measured",
        ">sealed<",
        "by-seconds",
        "The plan",
        "n: from 0 to 4096",
        "least time, in geometric mean over",
        "cargo factory tune gate --seed 1",
        "What the certificate proves",
        "it was switched off",
    ] {
        assert!(html.contains(part), "`{part}` is missing");
    }
    for word in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!html.contains(word), "the page refers to something outside: `{word}`");
    }
    // The same page from the same facts.
    assert_eq!(html, page(&package, &[]).0);
}

#[test]
fn records_make_a_page_of_their_kernel_alone() {
    let package = Package::new();
    let path = records(&package);
    let (html, data) = page(&package, &["gate", "--records", &path]);
    assert_eq!(data["candidates"].as_array().map(Vec::len), Some(6));
    assert!(data["candidates"][0][10].is_null(), "records do not know when");
    assert!(html.contains("cannot be shown against seconds") && !html.contains("class=\"by-seconds\""));
    // Another spec, another key: these records are not of it.
    let spec = fs::read_to_string(package.path().join("kernels/gate.toml")).expect("the spec");
    package.write("kernels/gate.toml", &spec.replace("silu(a)", "tanh(a)"));
    refused(&package, &["gate", "--records", &path], &["holds no records of `gate`", "but of `gate "]);
}

#[test]
fn a_certificate_alone_says_what_is_not_known() {
    let package = Package::new();
    package.tune();
    let sealed = package.sealed();
    fs::remove_dir_all(package.path().join("cache")).expect("the cache");
    let (html, data) = page(&package, &[sealed.to_str().expect("a path in UTF-8")]);
    assert_eq!(data["candidates"], json!([]));
    assert!(html.contains("No record of the search was given") && html.contains("Not recorded"));
    // Outside of its package the page has no spec to compute bytes from, and still stands.
    let elsewhere = Package::new();
    elsewhere.write("kernels/gate.toml", &crate::SPEC.replace("silu(a)", "tanh(a)"));
    let (html, _) = page(&elsewhere, &[sealed.to_str().expect("a path in UTF-8")]);
    assert!(html.contains("<h1>gate</h1>"));
    fs::write(sealed.join("sm_90.ptx"), "tampered").expect("written");
    refused(&package, &[sealed.to_str().expect("a path in UTF-8")], &["is no sealed kernel", "sm_90.ptx"]);
}

#[test]
fn hostile_text_stays_text() {
    let package = Package::new();
    let hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&";
    let path = records(&package);
    let mut value: Value = serde_json::from_str(&fs::read_to_string(&path).expect("records")).expect("JSON");
    for records in value.as_object_mut().expect("kernels").values_mut() {
        for record in records.as_array_mut().expect("records") {
            for field in ["id", "sizes", "arch", "proposer", "gate", "verdict"] {
                record[field] = json!(hostile);
            }
            record["tunables"] = json!({ hostile: hostile });
            record["rejection"] = json!({ "gate": hostile, "verdict": hostile, "reason": { "reason": hostile, hostile: hostile } });
        }
        // One that passed, for the sections about winners.
        records[0]["verdict"] = json!("pass");
    }
    fs::write(&path, value.to_string()).expect("written");
    let (html, data) = page(&package, &["gate", "--records", &path, "--note", hostile]);
    assert_eq!(data["candidates"][1][0], hostile);
    assert_eq!(html.matches("<script").count(), 2, "a script came in");
    assert_eq!(html.matches("<img").count(), 0, "an element came in");
    assert!(html.contains("&lt;/script&gt;") || html.contains("&#60;/script&#62;"), "nothing of it is shown");
}

/// What searches wrote down of one kernel: `number` names the candidate, `at` is in seconds after the first.
fn judged(
    meaning: &str,
    kernel: &str,
    number: u32,
    at: i64,
    device: Option<&str>,
    seconds: Option<f64>,
) -> Value {
    let name = format!("{kernel}-{number}");
    let task =
        json!({ "kernel": kernel, "meaning": meaning, "sizes": "n=4096", "traits": { "bytes": 15.0 } });
    let tunables = json!({ "threads": 32 * number });
    let view = json!({ "id": name, "tunables": tunables, "modelled": 1e-6, "figures": {} });
    let mut note = json!({
        "task": task,
        "candidate": {
            "digest": format!("{number:064x}"), "name": name, "proposer": "generator", "arch": "sm_90",
            "tunables": tunables, "origin": { "kind": "ptx" },
        },
        "device": device, "harness": "0.1.0", "at": 1_700_000_000 + at,
    });
    match seconds {
        Some(seconds) => {
            note["outcome"] = json!({ "measured": { "seconds": seconds } });
            note["samples"] = json!([seconds, 2.0 * seconds]);
            note["experience"] = json!({ "task": task, "view": view, "seconds": seconds });
            note["driver"] = json!("580.1");
        }
        None => {
            let reason = "`y[3]` is 1.5 instead of 2";
            note["outcome"] =
                json!({ "refused": { "gate": "machine", "verdict": "wrong", "reason": reason } });
        }
    }
    note
}

/// An evidence file of the package, and the same as lines.
fn evidence(package: &Package, notes: &[Value], specs: &[&SpecText]) -> (String, String) {
    let mut lines: String = specs.iter().map(|spec| format!("{}\n", json!({ "spec": spec }))).collect();
    lines.extend(notes.iter().map(|note| format!("{}\n", json!({ "note": note }))));
    package.write("evidence.jsonl", &lines);
    let (file, lines) = (package.path().join("searches.sqlite"), package.path().join("evidence.jsonl"));
    let _ = fs::remove_file(&file);
    let evidence = Evidence::open(&file).expect("an evidence file");
    evidence.import(&lines).unwrap_or_else(|error| panic!("{error}"));
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    (text(&file), text(&lines))
}

fn spec_text() -> SpecText {
    let spec = factory_spec::Spec::parse(Path::new("gate.toml"), crate::SPEC).expect("a spec");
    SpecText::of(&spec.bind(&Default::default()).expect("no variables"))
}

#[test]
fn evidence_makes_a_page_of_what_many_searches_found_out() {
    let package = Package::new();
    let spec = spec_text();
    let (one, other) = (Some("a device"), Some("another device"));
    let note = |number, at, device, seconds| judged(&spec.meaning, "gate", number, at, device, seconds);
    let mut older = note(3, 120, one, Some(2e-6));
    older["harness"] = json!("0.0.9");
    older.as_object_mut().expect("a note").remove("driver");
    let mut failed = note(3, 7200, one, None);
    failed["outcome"]["refused"]["verdict"] = json!("infrastructure");
    let notes = [
        note(1, 0, None, None),
        note(2, 60, one, Some(3e-6)),
        older,
        note(2, 3600, one, Some(2.5e-6)),
        failed,
        note(4, 30, other, Some(1e-6)),
        judged("another meaning", "gate", 5, 10, one, Some(1e-9)),
        judged(&spec.meaning, "renamed", 6, 90, one, Some(4e-6)),
    ];
    let (file, lines) = evidence(&package, &notes, &[]);
    let (html, data) = page(&package, &["gate", "--evidence", &file]);
    // In the order of last verdicts, seconds after the first; what our own tools failed at is no verdict on what was timed.
    assert_eq!((&data["columns"][12], &data["columns"][13]), (&json!("device"), &json!("harness")));
    let rows = data["candidates"].as_array().expect("rows");
    let shown = |row: &Value| json!([row[0], row[5], row[7], row[8], row[10], row[11], row[12], row[13]]);
    assert_eq!(
        rows.iter().map(shown).collect::<Vec<_>>(),
        [
            json!(["gate-1", "wrong", null, null, 0.0, [32], null, "0.1.0"]),
            json!(["renamed-6", "pass", 1e-6, 4e-6, 90.0, [192], "a device", "0.1.0"]),
            json!(["gate-3", "pass", 1e-6, 2e-6, 120.0, [96], "a device", "0.0.9"]),
            json!(["gate-2", "pass", 1e-6, 2.5e-6, 3600.0, [64], "a device", "0.1.0"]),
        ]
    );
    assert_eq!(rows[0][6], "`y[3]` is 1.5 instead of 2");
    assert_eq!(data["samples"]["2"], json!([2e-6, 4e-6]));
    assert_eq!((&data["seed"], &data["evidence"]), (&Value::Null, &json!(true)));
    for part in [
        "evidence of searches, not a sealed kernel",
        "seconds since the first verdict",
        "class=\"by-seconds\"",
        "Left out: 1 verdict of other devices",
        "Not shown: 2 verdicts on candidates",
        "The driver is not recorded for 1 measurement.",
        "several versions of the factory (0.0.9, 0.1.0)",
        "580.1",
        "2023-11-14 22:13:20 UTC",
        "seeds, budgets and ends of the single searches",
        "Seeds of the searches are not recorded",
        "clocks before and after",
        "n: from 0 to 4096",
    ] {
        assert!(html.contains(part), "`{part}` is missing");
    }
    // Lines that are committed say the same as the file that they are from.
    assert_eq!(page(&package, &["gate", "--evidence", &lines]).1, data);
    let (_, elsewhere) = page(&package, &["gate", "--evidence", &file, "--device", "another device"]);
    let rows = elsewhere["candidates"].as_array().expect("rows");
    assert_eq!(rows.iter().map(|row| &row[0]).collect::<Vec<_>>(), ["gate-1", "gate-4"]);
}

#[test]
fn evidence_of_a_kernel_that_is_not_here_says_what_it_does_not_know() {
    let package = Package::new();
    let spec = spec_text();
    let hostile = "</script><img src=x onerror=alert(2)>";
    let mut note = judged(&spec.meaning, "norm", 1, 0, Some(hostile), Some(1e-6));
    note["candidate"]["name"] = json!(hostile);
    note["driver"] = json!(hostile);
    let (file, _) = evidence(&package, std::slice::from_ref(&note), &[&spec]);
    let (html, data) = page(&package, &["norm", "--evidence", &file]);
    assert_eq!((&data["key"], &data["candidates"][0][12]), (&Value::Null, &json!(hostile)));
    assert_eq!(html.matches("<img").count(), 0, "an element came in");
    assert!(html.contains("n: from 0 to 4096"), "the text of the spec is in the file");
    // From before specs were kept, and of another spec than the one that is here now.
    note["task"]["meaning"] = json!("another meaning");
    let (file, _) = evidence(&package, &[note], &[]);
    let (html, _) = page(&package, &["norm", "--evidence", &file]);
    assert!(html.contains("what was asked: the text of the spec"), "it says what is not known");
    let cases: [(&[&str], &str); 4] = [
        (&["gate", "--evidence", &file], "no verdicts on `gate` as its spec is now, but on `norm`"),
        (&["nobody", "--evidence", &file], "no verdicts on `nobody`"),
        (&["norm", "--evidence", &file, "--device", "mine"], "of the device `mine`"),
        (&["norm", "--evidence", "nowhere.sqlite"], "there is no evidence in `nowhere.sqlite`"),
    ];
    for (arguments, words) in cases {
        refused(&package, arguments, &[words]);
    }
}

#[test]
fn what_cannot_be_reported_is_an_error_that_helps() {
    let package = Package::new();
    refused(&package, &["gate"], &["nothing is known of `gate`", "cargo factory tune gate"]);
    refused(&package, &["gait"], &["its kernels are gate"]);
    refused(&package, &["gate", "--run", "2026"], &["there is no log `2026`", "cargo factory tune"]);
    let broken = [
        ("a.json", "{", "EOF"),
        ("b.json", "7", "neither an object nor a list"),
        ("c.json", "[]", "it lists none"),
        ("d.json", "{}", "but of nothing"),
        ("e.json", "[{\"candidates\": [{}]}]", "missing field"),
    ];
    for (name, content, words) in broken {
        package.write(name, content);
        let path = package.path().join(name);
        refused(&package, &["gate", "--records", path.to_str().expect("a path in UTF-8")], &[name, words]);
    }
    package.write("log.jsonl", "{}\n");
    let path = package.path().join("log.jsonl");
    refused(
        &package,
        &["gate", "--run", path.to_str().expect("a path in UTF-8")],
        &["is no log of a search"],
    );
}
