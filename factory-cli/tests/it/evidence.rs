//! `cargo factory evidence`.

use crate::{Package, text};
use factory_search::evidence::{Evidence, Lesson};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Output;

/// A refusal as `export` writes it.
fn refusal(kernel: &str, number: u32) -> String {
    let note = json!({
        "task": { "kernel": kernel, "meaning": kernel, "sizes": "n=4096", "traits": { "bytes": 15.1 } },
        "candidate": {
            "digest": format!("{number:064x}"),
            "name": format!("{kernel}-{number}"),
            "proposer": "generator",
            "arch": "sm_90",
            "tunables": { "threads": 128 },
            "origin": { "kind": "ptx" }
        },
        "device": null,
        "harness": "0.0.1",
        "at": 1_700_000_000 + number,
        "outcome": { "refused": { "gate": "machine", "verdict": "wrong", "reason": "`y[3]` is 1.5\u{1b}[31m" } }
    });
    json!({ "note": note }).to_string()
}

fn path(package: &Package) -> PathBuf {
    package.path().join("cache/evidence.sqlite")
}

/// Three refusals of two kernels and a lesson, imported.
fn filled() -> Package {
    let package = Package::new();
    let lines = [refusal("gate", 1), refusal("gate", 2), refusal("norm", 3)];
    package.write("notes.jsonl", &(lines.join("\n") + "\n"));
    let imported = evidence(&package, &["import", &file(&package, "notes.jsonl")]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    assert!(text(&imported.stdout).contains("3 new, 0 known"), "{}", text(&imported.stdout));
    package
}

fn file(package: &Package, name: &str) -> String {
    package.path().join(name).to_str().expect("a path in UTF-8").to_owned()
}

fn evidence(package: &Package, arguments: &[&str]) -> Output {
    package.run(&[&["evidence"], arguments].concat())
}

fn facts(package: &Package, arguments: &[&str]) -> Value {
    package.json(&[&["evidence"], arguments].concat())
}

#[test]
fn what_was_imported_is_summed_up_listed_and_asked() {
    let package = filled();
    assert_eq!(facts(&package, &["path"]), json!(path(&package).display().to_string()));
    let summary = facts(&package, &["summary"]);
    assert_eq!(summary[0]["kernel"], "gate");
    assert_eq!((&summary[0]["refused"], &summary[0]["measured"]), (&json!(2), &json!(0)));
    assert_eq!(summary[1]["kernel"], "norm");
    let listed = |arguments: &[&str]| {
        let table = facts(&package, &[&["list"], arguments].concat());
        table["rows"].as_array().map(Vec::len)
    };
    assert_eq!(listed(&[]), Some(3));
    assert_eq!(listed(&["--kernel", "gate"]), Some(2));
    assert_eq!(listed(&["--kernel", "gate", "--limit", "1"]), Some(1));
    assert_eq!(listed(&["--gate", "machine", "--verdict", "wrong"]), Some(3));
    assert_eq!(listed(&["--verdict", "pass"]), Some(0));
    assert_eq!(listed(&["--device", "NVIDIA H200"]), Some(0));
    let shown = text(&evidence(&package, &["list"]).stdout);
    assert!(shown.contains("gate-2") && shown.contains("`y[3]` is 1.5"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "what a terminal obeys is not printed: {shown:?}");
    let asked = evidence(
        &package,
        &[
            "query",
            "SELECT kernel, count(*) AS notes FROM verdict JOIN task ON task.id = task GROUP BY kernel",
        ],
    );
    assert_eq!(text(&asked.stdout), "kernel  notes\ngate    2\nnorm    1\n");
}

#[test]
fn a_query_changes_nothing() {
    let package = filled();
    let copy = file(&package, "copy.sqlite");
    let into = format!("VACUUM INTO '{copy}'");
    for sql in ["DELETE FROM verdict", "DROP TABLE verdict", &into] {
        let output = evidence(&package, &["query", sql]);
        assert_eq!(output.status.code(), Some(1), "{sql}");
        assert!(text(&output.stderr).contains("a question was expected"), "{sql}: {}", text(&output.stderr));
    }
    let output = evidence(&package, &["query", "SELEC 1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("SELEC"), "{}", text(&output.stderr));
    assert!(!package.path().join("copy.sqlite").exists());
    assert_eq!(facts(&package, &["list"])["rows"].as_array().map(Vec::len), Some(3));
}

#[test]
fn export_import_and_merge_come_back_to_the_same_bytes() {
    let package = filled();
    let lesson = Lesson {
        text: "wider is faster".to_owned(),
        rests_on: "two notes".to_owned(),
        holds: "sm_90".to_owned(),
        at: 1,
    };
    let open = |name: &str| Evidence::open(&package.path().join(name)).expect("an evidence file");
    open("cache/evidence.sqlite").learn(&lesson).expect("a lesson");
    let all = file(&package, "all.jsonl");
    let output = evidence(&package, &["export", &all]);
    assert!(output.status.success() && text(&output.stderr).contains("4 lines"), "{}", text(&output.stderr));
    let bytes = fs::read(&all).expect("an exported file");
    assert_eq!(evidence(&package, &["export"]).stdout, bytes, "standard output has the same");
    assert_eq!(text(&evidence(&package, &["export", "--kernel", "norm"]).stdout).lines().count(), 2);
    assert_eq!(facts(&package, &["import", &all]), json!({ "added": 0, "known": 4 }));
    // Another file, by import and by merge.
    let (second, third) = (file(&package, "second.sqlite"), file(&package, "third.sqlite"));
    assert_eq!(facts(&package, &["--file", &second, "import", &all])["added"], 4);
    assert_eq!(facts(&package, &["--file", &third, "merge", &second])["added"], 4);
    assert_eq!(facts(&package, &["--file", &third, "merge", &second])["added"], 0);
    for name in [&second, &third] {
        assert_eq!(evidence(&package, &["--file", name, "export"]).stdout, bytes, "{name}");
    }
}

#[test]
fn bad_files_are_named_with_what_to_do() {
    let package = filled();
    package.write("bad.jsonl", &format!("{}\n{{\"note\": 7}}\n", refusal("gate", 9)));
    package.write("newer.sqlite", "");
    let newer = file(&package, "newer.sqlite");
    drop(Evidence::open(newer.as_ref()).expect("an evidence file"));
    // The version stands in bytes 60 to 63 of a database.
    let mut bytes = fs::read(&newer).expect("the file");
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
    fs::write(&newer, bytes).expect("a newer file");
    let (bad, missing) = (file(&package, "bad.jsonl"), file(&package, "missing.sqlite"));
    let cases: [(&[&str], &str); 7] = [
        (&["import", &bad], "bad.jsonl`, line 2"),
        (&["import", &missing], "missing.sqlite"),
        (&["merge", &missing], "there is no evidence"),
        (&["merge", &newer], "version 99"),
        (&["--file", &newer, "import", &bad], "version 99"),
        (&["--file", &bad, "prune", "--all"], "no evidence file"),
        (&["--file", &missing, "summary"], "there is no evidence"),
    ];
    let before = fs::read(&bad).expect("a file");
    for (arguments, words) in cases {
        let output = evidence(&package, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(words), "{arguments:?}: {}", text(&output.stderr));
    }
    assert_eq!(fs::read(&bad).expect("it is still there"), before);
    assert_eq!(facts(&package, &["list"])["rows"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_damaged_file_is_moved_aside_with_a_warning() {
    let package = filled();
    fs::write(path(&package), [0u8; 9000]).expect("a damaged file");
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(package.path().join(format!("cache/evidence.sqlite{end}")));
    }
    let summary = evidence(&package, &["summary"]);
    assert_eq!(summary.status.code(), Some(1), "who only looks moves nothing");
    assert!(text(&summary.stderr).contains("is damaged"), "{}", text(&summary.stderr));
    let output = evidence(&package, &["import", &file(&package, "notes.jsonl")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("was damaged; it is now"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("3 new"), "{}", text(&output.stdout));
    let kept = fs::read_dir(package.path().join("cache")).expect("the cache").filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().contains(".damaged-")
    });
    assert_eq!(kept.count(), 1);
}

#[test]
fn prune_wants_to_be_told_what() {
    let package = filled();
    let output = evidence(&package, &["prune"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--all"), "{}", text(&output.stderr));
    assert_eq!(facts(&package, &["prune", "--kernel", "norm"])["removed"], 1);
    assert_eq!(facts(&package, &["prune", "--other-versions"])["removed"], 2);
    assert_eq!(facts(&package, &["summary"]), json!([]));
}

#[test]
fn a_search_reads_what_is_committed_beside_its_kernel() {
    let package = Package::new();
    package.write("kernels/gate/evidence.jsonl", &(refusal("gate", 1) + "\n"));
    let tune = ["tune", "--gpu", "off", "--ptxas", "off", "--candidates", "2", "--no-seal"];
    let output = package.run(&tune);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(facts(&package, &["list"])["rows"].as_array().map(Vec::len), Some(1));
    // What is wrong with it is told, and the search goes on.
    package.write("kernels/gate/evidence.jsonl", "garbage\n");
    let output = package.run(&tune);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("evidence.jsonl`, line 1"), "{}", text(&output.stderr));
    // A file that was named has to be one.
    let named = file(&package, "src/lib.rs");
    let output = package.run(&[&tune[..], &["--evidence", &named]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no evidence file"), "{}", text(&output.stderr));
    assert!(package.path().join("src/lib.rs").is_file());
}

#[test]
fn a_variable_names_the_file_or_switches_it_off() {
    let package = Package::new();
    let named = file(&package, "named.sqlite");
    let run = |place: &str, arguments: &[&str]| {
        let output = package.command(arguments).env("KERNEL_FACTORY_EVIDENCE", place).output();
        let output = output.expect("the binary starts");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let tune = ["tune", "--gpu", "off", "--ptxas", "off", "--candidates", "2", "--no-seal"];
    run("off", &tune);
    assert!(!path(&package).exists());
    run(&named, &tune);
    assert!(package.path().join("named.sqlite").exists() && !path(&package).exists());
    assert_eq!(run(&named, &["evidence", "path"]).trim(), named);
    assert_eq!(run("off", &["evidence", "path"]).trim(), path(&package).display().to_string());
    run("", &tune);
    assert!(path(&package).exists(), "nothing is said, so it is in the cache");
}
