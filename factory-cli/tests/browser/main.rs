//! The page of `cargo factory report` in a real browser: `cargo xtask browser` runs this, and installs one if need be.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const DRIVER: &str = include_str!("driver.js");
const WIDTHS: [u32; 2] = [1440, 390];
const DESKTOP: u32 = WIDTHS[0];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Where pages and pictures go, for whoever wants to look at them.
fn folder() -> PathBuf {
    let folder = root().join("target/browser");
    fs::create_dir_all(&folder).expect("a folder below `target`");
    folder
}

/// A page of the command's, written to a file of that name.
fn report(name: &str, arguments: &[&str]) -> PathBuf {
    let page = folder().join(format!("{name}.html"));
    let empty = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_cargo-factory"))
        .arg("report")
        .args(arguments)
        .arg("--output")
        .arg(&page)
        .env("KERNEL_FACTORY_CACHE_DIR", empty.path())
        .current_dir(root())
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    page
}

/// A browser that loads `page` at a width; what it prints.
fn browse(page: &Path, width: u32, height: u32, dark: bool, more: &[String]) -> String {
    let program = std::env::var("KERNEL_FACTORY_BROWSER").unwrap_or_else(|_| "chromium".to_owned());
    let profile = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(&program)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--hide-scrollbars", "--virtual-time-budget=20000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},{height}"))
        .arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }))
        .args(more)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap_or_else(|error| panic!("`{program}`: {error}; `cargo xtask browser` installs one"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the driver found out about a page.
fn drive(page: &Path, width: u32, dark: bool) -> Value {
    let html = fs::read_to_string(page).expect("the page");
    let errors = "<script>window.driverErrors = []; onerror = (message) => driverErrors.push(message); \
                  onunhandledrejection = (event) => driverErrors.push(String(event.reason)); \
                  addEventListener('securitypolicyviolation', (event) => driverErrors.push(event.violatedDirective));</script>";
    let driven = html.replacen("<body>", &format!("<body>{errors}"), 1).replacen(
        "</body>",
        &format!("<script>{DRIVER}</script></body>"),
        1,
    );
    let copy = page.with_extension(format!("{width}.driven.html"));
    fs::write(&copy, driven).expect("a copy of the page");
    let dom = browse(&framed(&copy, width, 1000), width, 1000, dark, &["--dump-dom".to_owned()]);
    let hex = dom.split("<pre id=\"driver\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let hex = hex.unwrap_or_else(|| panic!("the driver did not finish on {}: {dom:.2000}", copy.display()));
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal digits"))
        .collect();
    serde_json::from_slice(&bytes).expect("the driver writes JSON")
}

/// A page that shows `page` at just that width, and writes down what its driver says: a window is never narrower than 500 pixels,
/// a frame is.
fn framed(page: &Path, width: u32, height: u32) -> PathBuf {
    let frame = page.with_extension(format!("{width}.frame.html"));
    let name = page.file_name().expect("a file").to_string_lossy();
    let html = format!(
        "<!doctype html><meta name=\"color-scheme\" content=\"light dark\"><body style=\"margin:0\">\
         <iframe src=\"{name}\" style=\"display:block;border:0;color-scheme:light dark;width:{width}px;height:{height}px\"></iframe>\
         <script>onmessage = (event) => {{ const result = document.createElement('pre'); result.id = 'driver';\
         result.textContent = event.data; document.body.append(result); }};</script>"
    );
    fs::write(&frame, html).expect("a frame");
    frame
}

fn screenshots(page: &Path, height: u32) {
    for (width, dark) in [(DESKTOP, false), (DESKTOP, true), (390, false), (390, true)] {
        let picture = page.with_extension(format!("{width}{}.png", if dark { ".dark" } else { "" }));
        let height = if width == DESKTOP { height } else { height * 2 };
        browse(
            &framed(page, width, height),
            width,
            height,
            dark,
            &[format!("--screenshot={}", picture.display())],
        );
        assert!(fs::metadata(&picture).is_ok_and(|file| file.len() > 20_000), "{}", picture.display());
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}

/// Times as the page writes them, in seconds.
fn seconds(value: &Value) -> Vec<f64> {
    let parse = |text: &str| {
        let (number, unit) = text.split_once('\u{a0}').expect("a number and a unit");
        let factor = match unit {
            "s" => 1.0,
            "ms" => 1e-3,
            "µs" => 1e-6,
            unit => panic!("`{unit}` is no unit"),
        };
        number.parse::<f64>().expect("a number") * factor
    };
    strings(value).into_iter().filter(|text| !text.is_empty()).map(parse).collect()
}

/// What holds of every page at every width.
fn check(page: &Path) {
    for width in WIDTHS {
        for dark in [false, true] {
            let facts = drive(page, width, dark);
            let place = format!("{} at {width}, dark {dark}: {facts:.3000}", page.display());
            assert_eq!(facts["width"], width, "{place}");
            assert_eq!(facts["dark"], dark, "{place}");
            assert!(facts["scroll"].as_u64() <= Some(u64::from(width)), "overflows: {place}");
            assert_eq!(facts["outside"], json!([]), "{place}");
            assert_eq!(facts["errors"], json!([]), "{place}");
            assert_eq!(facts["faint"], json!({}), "too little contrast: {place}");
            assert_eq!(facts["unnamed"], 0, "{place}");
            assert_eq!(facts["loads"], 0, "it loads something: {place}");
            // The page's two, and the driver's two.
            assert_eq!(facts["scripts"], 4, "{place}");
            assert_eq!(facts["foreign"], 0, "{place}");
            assert!(facts["hacked"].is_null() && facts["hackedAfter"].is_null(), "{place}");
            assert!(facts["raw"].as_u64() > Some(100), "{place}");
            let levels: Vec<u64> =
                facts["headings"].as_array().expect("headings").iter().filter_map(Value::as_u64).collect();
            assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1, "{place}");
            assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "a level is left out: {place}");
        }
    }
}

/// What holds of a page with candidates.
fn check_table(facts: &Value, candidates: u64) {
    assert_eq!(facts["shown"], format!("{candidates} candidates"));
    let rising = seconds(&facts["rising"]);
    assert!(rising.len() > 1 && rising.is_sorted(), "{rising:?}");
    let falling = seconds(&facts["falling"]);
    assert!(falling.iter().rev().is_sorted() && falling[0] > rising[0], "{falling:?}");
    assert_eq!(facts["sorted"], "descending");
    assert_eq!(facts["none"], format!("0 of {candidates} candidates"));
    assert!(strings(&facts["found"]).contains(&facts["first"].as_str().expect("a name")), "{facts}");
    assert_eq!(strings(&facts["verdict"]).len(), 1, "{facts}");
    assert_eq!(strings(&facts["group"]).len(), 1, "{facts}");
    assert!(facts["pageBefore"].as_str().is_some_and(|page| page.starts_with("Page 1 of ")));
    assert!(facts["pageAfter"].as_str().is_some_and(|page| page.starts_with("Page 2 of ")));
    assert!(facts["details"].as_str().is_some_and(|details| details.starts_with("true ")), "{facts}");
    assert_eq!(facts["closed"], true);
    assert_eq!(facts["outsideOpen"], json!([]));
    assert!(strings(&facts["gates"]).windows(2).all(|pair| pair[0] >= pair[1]), "{facts}");
}

#[test]
#[ignore = "needs a browser: `cargo xtask browser`"]
fn measured_records() {
    let results = "benches/results/rmsnorm-forward-h200";
    let (spec, records) = (format!("{results}/rmsnorm.toml"), format!("{results}/rmsnorm-forward.json"));
    let page = report("measured", &[&spec, "--records", &records]);
    check(&page);
    let facts = drive(&page, DESKTOP, false);
    check_table(&facts, 1760);
    assert!(facts["axis"].is_null(), "records have no times, so there is nothing to switch");
    screenshots(&page, 6400);
}

#[test]
#[ignore = "needs a browser: `cargo xtask browser`"]
fn a_sealed_kernel_alone() {
    let sealed = "examples/rmsnorm/kernels/rmsnorm/d744eee4f1cc";
    let page = report("sealed", &[sealed, "--dir", "examples/rmsnorm"]);
    check(&page);
    screenshots(&page, 4200);
}

const HOSTILE: &str =
    "</script><script>window.hacked=1</script><img src=x onerror=\"window.hacked=2\">\"'><b><b>";

#[test]
#[ignore = "needs a browser: `cargo xtask browser`"]
fn five_thousand_hostile_candidates() {
    let folder = folder();
    let spec = folder.join("hostile.toml");
    let text =
        fs::read_to_string(root().join("benches/results/rmsnorm-forward-h200/rmsnorm.toml")).expect("a spec");
    let line = text.lines().find(|line| line.starts_with("doc = ")).expect("a doc");
    fs::write(&spec, text.replace(line, &format!("doc = {}", json!(HOSTILE)))).expect("a spec");
    let verdicts = ["pass", "wrong", "unsafe", "gaming", "unsupported", HOSTILE];
    let log = folder.join("hostile.jsonl");
    let mut lines = vec![json!({
        "time": 1.7e9, "elapsed": 0.0, "event": "start", "format": 1, "kernel": HOSTILE,
        "key": key(&spec), "by": HOSTILE, "version": HOSTILE, "process": 1, "seed": 7, "candidates": 5000,
        "seconds": 60.0, "targets": ["sm_90", HOSTILE], "over": [HOSTILE],
    })];
    for number in 0..5000 {
        let verdict = verdicts[number % verdicts.len()];
        let time = 1e-5 * (1.0 + (number * 7919 % 5003) as f64 / 1000.0);
        lines.push(json!({
            "time": 1.7e9, "elapsed": number as f64 / 100.0, "event": "verdict", "phase": "measure",
            "candidate": {
                "id": format!("{HOSTILE}{number}"), "proposer": HOSTILE,
                "arch": if number % 5 == 0 { HOSTILE } else { "sm_90" },
                "sizes": if number % 3 == 0 { HOSTILE } else { "m=32768 n=256" },
                "tunables": { HOSTILE: HOSTILE, "threads": number },
                "gate": if number % 7 == 0 { HOSTILE } else { "time" },
                "verdict": verdict, "reason": (verdict != "pass").then_some(HOSTILE),
                "modelled": time, "measured": (number % 2 == 0).then_some(time * 1.1), "registers": number % 255,
            },
        }));
    }
    for event in [
        json!({ "event": "not_run", "gate": HOSTILE, "reason": HOSTILE }),
        json!({ "event": "note", "message": HOSTILE }),
        json!({ "event": "end", "outcome": "failed", "message": HOSTILE }),
    ] {
        let mut event = event;
        event["time"] = json!(1.7e9);
        event["elapsed"] = json!(50.0);
        lines.push(event);
    }
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    fs::write(&log, lines.join("\n") + "\n").expect("a log");
    let paths = [&spec, &log].map(|path| path.to_str().expect("a path in UTF-8"));
    let page = report("hostile", &[paths[0], "--run", paths[1], "--note", HOSTILE]);
    check(&page);
    let facts = drive(&page, DESKTOP, false);
    check_table(&facts, 5000);
    assert!(facts["milliseconds"].as_f64() < Some(3000.0), "slow with 5,000 rows: {}", facts["milliseconds"]);
    let [by_seconds, by_candidates] = [0, 1].map(|at| facts["axis"][at].as_u64().expect("a number"));
    assert!(by_seconds > 0 && by_candidates == 0, "{facts}");
    eprintln!("5,000 rows: 2 sorts by time, 1 by name, 7 filters, 2 pages in {} ms", facts["milliseconds"]);
}

/// The key of a spec, from the command that says it.
fn key(spec: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cargo-factory"))
        .args(["explain", "--json"])
        .arg(spec)
        .output()
        .expect("the binary starts");
    let facts: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    facts[0]["key"].as_str().expect("a key").to_owned()
}
