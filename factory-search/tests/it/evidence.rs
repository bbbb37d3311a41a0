//! The evidence file: many processes, sudden ends, bad files, and what it may be believed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use factory_search::evidence::{Evidence, EvidenceError, Filter, Judged, Lesson, Note, Prune};
use factory_search::gpu::Timing;
use factory_search::learn::{Experience, Memory, Outcome, Task, View};
use factory_search::{Candidate, Event, Gate, Generator, Proposer, PtxasPolicy, SearchOptions, Verdict};
use factory_spec::Arch;
use rusqlite::Connection;

use crate::kernels::bind;

const SPEC: &str = r#"
[kernel]
name = "double"
[sizes]
n = { min = 1 }
[[arg]]
name = "x"
dtype = "f32"
shape = ["n"]
[[arg]]
name = "y"
dtype = "f32"
shape = ["n"]
role = "out"
[reference]
program = "y = x + x"
[better]
over = [{ n = 4096 }]
[targets]
arch = ["sm_90"]
"#;

const HARNESS: &str = env!("CARGO_PKG_VERSION");
/// Where a child process finds the file that it writes to, and what it calls its notes.
const CHILD: &str = "KERNEL_FACTORY_TEST_EVIDENCE";

/// A task with a candidate for it.
fn one() -> (Task, Candidate) {
    let spec = bind(SPEC);
    let sizes = &spec.better.over[0];
    let generator = Generator::new(&spec).expect("a generator");
    let proposal = generator.propose(Arch::Sm90, sizes).swap_remove(0);
    (Task::of(&spec, sizes), proposal.make().expect("a candidate"))
}

/// A refusal of the `number`th candidate of `kernel`.
fn note(kernel: &str, number: u32) -> Note {
    let task = Task {
        kernel: kernel.to_owned(),
        meaning: format!("meaning of {kernel}"),
        sizes: "n=4096".to_owned(),
        traits: [("bytes".to_owned(), 15.1)].into(),
    };
    let candidate = Judged {
        digest: format!("{number:064x}"),
        name: format!("{kernel}-{number}"),
        proposer: "generator".to_owned(),
        arch: "sm_90".to_owned(),
        tunables: [("threads".to_owned(), 128u32.into()), ("keep".to_owned(), "yes".into())].into(),
        origin: Default::default(),
    };
    let outcome = Outcome::Refused {
        gate: Gate::Machine,
        verdict: Verdict::Wrong,
        reason: "`y[3]` is 1.5 instead of 2".to_owned(),
    };
    Note {
        task,
        candidate,
        device: None,
        harness: HARNESS.to_owned(),
        at: 1_700_000_000 + i64::from(number),
        outcome,
        samples: Vec::new(),
        experience: None,
        driver: None,
        assembler: None,
    }
}

/// The same, measured.
fn measured(kernel: &str, number: u32, seconds: f64) -> Note {
    let note = note(kernel, number);
    let view = View {
        id: note.candidate.name.clone(),
        tunables: note.candidate.tunables.clone(),
        modelled: 0.1 + 0.2,
        figures: BTreeMap::from([("registers".to_owned(), 40.0)]),
    };
    let experience = Experience { task: note.task.clone(), view, seconds: Some(seconds) };
    Note {
        device: Some("a device".to_owned()),
        outcome: Outcome::Measured { seconds },
        samples: vec![seconds, seconds * 1.1],
        experience: Some(experience),
        ..note
    }
}

fn lesson(text: &str, at: i64) -> Lesson {
    Lesson { text: text.to_owned(), rests_on: "two notes".to_owned(), holds: "sm_90".to_owned(), at }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, name: &str) -> Evidence {
        Evidence::open(&self.file(name)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn with(&self, name: &str, notes: &[Note]) -> Evidence {
        let evidence = self.open(name);
        for note in notes {
            evidence.keep(note).unwrap_or_else(|error| panic!("{error}"));
        }
        evidence
    }
}

fn exported(evidence: &Evidence) -> String {
    let mut bytes = Vec::new();
    evidence.export(None, &mut bytes).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

fn count(evidence: &Evidence) -> usize {
    evidence.notes(None).unwrap_or_else(|error| panic!("{error}")).len()
}

/// The names of the files in a folder that are there because something was damaged.
fn moved(folder: &Folder) -> Vec<String> {
    let names =
        fs::read_dir(folder.0.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names
        .filter(|name| name.contains(".damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect()
}

/// A process that runs [`child_writes`].
fn child(path: &Path, name: &str, most: u32) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "evidence::child_writes", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(CHILD, format!("{name}|{most}|{}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test starts again")
}

#[test]
#[ignore = "other tests start it as a process of its own"]
fn child_writes() {
    let told = std::env::var(CHILD).expect("what to write");
    let [name, most, path] = told.splitn(3, '|').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let evidence = Evidence::open(Path::new(path)).unwrap_or_else(|error| panic!("{error}"));
    for number in 0..most.parse().expect("a number") {
        assert!(evidence.keep(&note(name, number)).unwrap_or_else(|error| panic!("{error}")));
        println!("\nkept {number}");
    }
}

#[test]
fn many_processes_begin_one_file_and_write_at_once() {
    let folder = Folder::new();
    let path = folder.file("evidence.sqlite");
    let children: Vec<Child> = (0..4).map(|number| child(&path, &format!("k{number}"), 40)).collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let evidence = folder.open("evidence.sqlite");
    assert_eq!(count(&evidence), 160);
    assert_eq!(evidence.notes(Some("k2")).expect("notes").len(), 40);
    assert!(moved(&folder).is_empty());
}

#[test]
fn threads_write_through_one_file_at_once() {
    let folder = Folder::new();
    let evidence = folder.open("evidence.sqlite");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let evidence = &evidence;
            scope.spawn(move || {
                // Half of the notes are the same in all threads.
                for number in 0..20 {
                    evidence.keep(&note("same", number)).unwrap_or_else(|error| panic!("{error}"));
                    evidence
                        .keep(&note(&format!("k{thread}"), number))
                        .unwrap_or_else(|error| panic!("{error}"));
                }
            });
        }
    });
    assert_eq!(count(&evidence), 100);
}

#[test]
fn a_killed_writer_loses_nothing_that_it_was_told_is_kept() {
    let folder = Folder::new();
    let path = folder.file("evidence.sqlite");
    for round in 0..8u32 {
        let name = format!("k{round}");
        let mut child = child(&path, &name, 1_000_000);
        let mut lines =
            BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        // Each round ends elsewhere; the kill comes while the next note is being written.
        lines.by_ref().filter(|line| line.starts_with("kept")).take(3 + 7 * round as usize).for_each(drop);
        child.kill().expect("SIGKILL");
        child.wait().expect("it ends");
        let told = 3 + 7 * round as usize + lines.filter(|line| line.starts_with("kept")).count();
        let evidence = folder.open("evidence.sqlite");
        assert_eq!(evidence.moved(), None, "round {round}");
        let kept = evidence.notes(Some(&name)).expect("notes").len();
        assert!(kept == told || kept == told + 1, "round {round}: told {told}, kept {kept}");
        let check = evidence.query("SELECT * FROM pragma_integrity_check").expect("a check");
        assert_eq!(check.rows, [["ok"]]);
    }
}

#[test]
fn a_locked_file_can_be_read_and_says_so_when_it_is_to_be_written() {
    let folder = Folder::new();
    let evidence = folder.with("evidence.sqlite", &[note("k", 1)]);
    let other = Connection::open(evidence.path()).expect("a second connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    // Opening does not wait either.
    let second = folder.open("evidence.sqlite");
    second.wait(Duration::from_millis(20)).expect("a time");
    assert_eq!(count(&second), 1);
    match second.keep(&note("k", 2)) {
        Err(error @ EvidenceError::Locked { .. }) => assert!(error.to_string().contains("another process")),
        other => panic!("{other:?}"),
    }
    other.execute_batch("ROLLBACK").expect("no lock");
    assert!(second.keep(&note("k", 2)).expect("room"));
}

#[test]
fn a_full_disk_is_an_error_and_what_was_kept_stays() {
    let folder = Folder::new();
    let evidence = folder.with("evidence.sqlite", &[note("k", 1)]);
    let pages = evidence.query("SELECT page_count FROM pragma_page_count").expect("pages");
    evidence.query(&format!("PRAGMA max_page_count = {}", pages.rows[0][0])).expect("a limit");
    let mut large = note("k", 2);
    large.outcome =
        Outcome::Refused { gate: Gate::Machine, verdict: Verdict::Wrong, reason: "long ".repeat(10_000) };
    match evidence.keep(&large) {
        Err(error @ EvidenceError::Full { .. }) => assert!(error.to_string().contains("prune"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(evidence.notes(None).expect("notes"), [note("k", 1)]);
    // As a search sees it: words, no panic.
    let (task, candidate) = one();
    let Outcome::Refused { reason, .. } = &large.outcome else { panic!("{large:?}") };
    assert_eq!(reason.len(), 50_000);
    let told = evidence.record(&task, &candidate, None, &large.outcome, &[], None).expect_err("no room");
    assert!(told.contains("no room"), "{told}");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = Folder::new();
    fs::write(folder.file("plain"), "").expect("a file");
    match Evidence::open(&folder.file("plain/evidence.sqlite")) {
        Err(EvidenceError::File { .. }) => {}
        other => panic!("{other:?}"),
    }
    fs::create_dir(folder.file("evidence.sqlite")).expect("a folder");
    match Evidence::open(&folder.file("evidence.sqlite")) {
        Err(EvidenceError::ReadOnly { .. }) => {}
        other => panic!("{other:?}"),
    }
    // Permissions do not hold root back, but nobody makes files there.
    #[cfg(target_os = "linux")]
    match Evidence::open(Path::new("/proc/evidence.sqlite")) {
        Err(EvidenceError::ReadOnly { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_opened_for_reading_cannot_change() {
    let folder = Folder::new();
    let path = folder.file("evidence.sqlite");
    match Evidence::read_only(&path) {
        Err(EvidenceError::Missing { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(!path.exists());
    drop(folder.with("evidence.sqlite", &[note("k", 1)]));
    let evidence = Evidence::read_only(&path).expect("an evidence file");
    match evidence.keep(&note("k", 2)) {
        Err(EvidenceError::ReadOnly { .. }) => {}
        other => panic!("{other:?}"),
    }
    let copy = folder.file("copy.sqlite");
    for sql in [
        "DELETE FROM lesson".to_owned(),
        "DROP TRIGGER verdict_stays".to_owned(),
        format!("VACUUM INTO '{}'", copy.display()),
    ] {
        match evidence.query(&sql) {
            Err(EvidenceError::NoQuestion) => {}
            other => panic!("{sql}: {other:?}"),
        }
    }
    assert!(!copy.exists());
    match evidence.query("SELECT nothing FROM verdict") {
        Err(EvidenceError::Sqlite { message, .. }) => assert!(message.contains("nothing"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(count(&evidence), 1);
}

#[test]
fn a_damaged_file_is_moved_aside_and_a_new_one_begun() {
    let folder = Folder::new();
    let path = folder.file("evidence.sqlite");
    let notes: Vec<Note> = (0..200).map(|number| note("k", number)).collect();
    drop(folder.with("evidence.sqlite", &notes));
    let whole = fs::read(&path).expect("the file");
    let mut header = whole.clone();
    header[..64].fill(0);
    let mut middle = whole.clone();
    middle[8192..whole.len() / 2].fill(0xa5);
    let half = whole[..whole.len() / 2 / 4096 * 4096].to_vec();
    for (round, bytes) in [header, middle, half].iter().enumerate() {
        fs::write(&path, bytes).expect("a damaged file");
        let evidence = folder.open("evidence.sqlite");
        let aside = evidence.moved().unwrap_or_else(|| panic!("round {round}")).to_owned();
        assert_eq!(&fs::read(&aside).expect("what was damaged"), bytes, "round {round}");
        assert_eq!(count(&evidence), 0);
        assert!(evidence.keep(&note("k", 1)).expect("a new file"));
        drop(evidence);
        assert_eq!(folder.open("evidence.sqlite").moved(), None);
    }
    assert_eq!(moved(&folder).len(), 3);
}

#[test]
fn of_many_that_find_a_damaged_file_one_moves_it() {
    let folder = Folder::new();
    fs::write(folder.file("evidence.sqlite"), [0u8; 5000]).expect("a damaged file");
    let path = folder.file("evidence.sqlite");
    let children: Vec<Child> = (0..4).map(|number| child(&path, &format!("k{number}"), 5)).collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(moved(&folder).len(), 1);
    assert_eq!(count(&folder.open("evidence.sqlite")), 20);
}

#[test]
fn files_of_something_else_and_of_newer_factories_stay_to_the_byte() {
    let folder = Folder::new();
    let other = Connection::open(folder.file("other.sqlite")).expect("a database");
    other.execute_batch("CREATE TABLE task (id); INSERT INTO task VALUES (1)").expect("a table");
    drop(other);
    drop(folder.with("newer.sqlite", &[note("k", 1)]));
    let newer = Connection::open(folder.file("newer.sqlite")).expect("a database");
    newer.execute_batch("PRAGMA user_version = 99").expect("a version");
    drop(newer);
    fs::write(folder.file("evidence.jsonl"), "{\"note\": {}}\n").expect("a file");
    for name in ["other.sqlite", "newer.sqlite", "evidence.jsonl"] {
        let before = fs::read(folder.file(name)).expect("a file");
        for reads in [false, true] {
            let opened = if reads {
                Evidence::read_only(&folder.file(name))
            } else {
                Evidence::open(&folder.file(name))
            };
            match opened {
                Err(EvidenceError::Newer { found: 99, .. }) if name == "newer.sqlite" => {}
                Err(EvidenceError::Foreign { .. }) if name != "newer.sqlite" => {}
                Err(EvidenceError::Damaged { .. }) if name == "evidence.jsonl" && reads => {}
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(fs::read(folder.file(name)).expect("a file"), before, "{name}");
    }
    assert!(moved(&folder).is_empty());
}

/// A file as an older version wrote it, with what is in `new`: other keys and fewer triggers at first, then device and harness in
/// the verdict.
fn old_file(folder: &Folder, name: &str, version: u32, new: &Path) -> PathBuf {
    let (task, candidate) = match version {
        1 => ("meaning, sizes", "digest"),
        _ => ("meaning, sizes, kernel, traits", "digest, name, proposer, arch, tunables, origin"),
    };
    let old = Connection::open(folder.file(name)).expect("a database");
    old.execute_batch(&format!(
        "CREATE TABLE task (id INTEGER PRIMARY KEY, kernel TEXT NOT NULL, meaning TEXT NOT NULL, sizes TEXT NOT NULL,
             traits TEXT NOT NULL, UNIQUE ({task}));
         CREATE TABLE candidate (id INTEGER PRIMARY KEY, digest TEXT NOT NULL, name TEXT NOT NULL,
             proposer TEXT NOT NULL, arch TEXT NOT NULL, tunables TEXT NOT NULL, origin TEXT NOT NULL, UNIQUE ({candidate}));
         CREATE TABLE verdict (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, task INTEGER NOT NULL REFERENCES task,
             candidate INTEGER NOT NULL REFERENCES candidate, device TEXT, harness TEXT NOT NULL, at INTEGER NOT NULL,
             gate TEXT NOT NULL, verdict TEXT NOT NULL, reason TEXT, seconds REAL, samples TEXT, experience TEXT);
         CREATE TABLE lesson (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, at INTEGER NOT NULL,
             text TEXT NOT NULL, rests_on TEXT NOT NULL, holds TEXT NOT NULL);
         CREATE TRIGGER verdict_stays BEFORE DELETE ON verdict BEGIN SELECT RAISE(ABORT, 'append-only'); END;
         ATTACH '{}' AS new;
         INSERT INTO task SELECT * FROM new.task;
         INSERT INTO candidate SELECT * FROM new.candidate;
         INSERT INTO verdict SELECT v.id, digest, task, candidate, device, harness, at, gate, verdict, reason, seconds, samples,
             experience FROM new.verdict AS v JOIN new.environment AS e ON e.id = v.environment;
         INSERT INTO lesson SELECT * FROM new.lesson;
         DETACH new;
         PRAGMA application_id = 0x4b466576;
         PRAGMA user_version = {version};",
        new.display()
    ))
    .expect("an old file");
    folder.file(name)
}

#[test]
fn a_file_of_an_older_version_is_made_new() {
    let folder = Folder::new();
    let notes = [note("k", 1), measured("k", 2, 1e-5)];
    let evidence = folder.with("evidence.sqlite", &notes);
    evidence.learn(&lesson("wider is faster", 5)).expect("a lesson");
    let before = exported(&evidence);
    drop(evidence);
    for version in [1, 2] {
        let name = format!("version-{version}.sqlite");
        let path = old_file(&folder, &name, version, &folder.file("evidence.sqlite"));
        // Who only looks sees the same and changes nothing.
        let bytes = fs::read(&path).expect("the old file");
        let looked = Evidence::read_only(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(exported(&looked), before, "{name}");
        assert_eq!(looked.summary().expect("a summary")[0].measured, 1, "{name}");
        match looked.keep(&note("k", 3)) {
            Err(EvidenceError::ReadOnly { .. }) => {}
            other => panic!("{name}: {other:?}"),
        }
        drop(looked);
        assert_eq!(fs::read(&path).expect("the old file"), bytes, "{name}");
        let evidence = folder.open(&name);
        assert_eq!(evidence.moved(), None, "{name}");
        assert_eq!(exported(&evidence), before, "{name}");
        let count = |sql: &str| evidence.query(sql).expect("a count").rows[0][0].clone();
        assert_eq!(count("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"), "18", "{name}");
        assert_eq!(count("SELECT count(*) FROM environment WHERE driver IS NULL"), "2", "{name}");
        assert_eq!(count("SELECT count(*) FROM spec"), "0", "nobody knows what it was: {name}");
    }
}

#[test]
fn lines_that_an_older_version_exported_come_back_as_they_were() {
    // As version 2 wrote it, to the byte.
    let line = "{\"note\":{\"task\":{\"kernel\":\"k\",\"meaning\":\"meaning of k\",\"sizes\":\"n=4096\",\"traits\":{\"bytes\":15.1}},\
        \"candidate\":{\"digest\":\"0000000000000000000000000000000000000000000000000000000000000001\",\"name\":\"k-1\",\
        \"proposer\":\"generator\",\"arch\":\"sm_90\",\"tunables\":{\"keep\":\"yes\",\"threads\":128},\"origin\":{\"kind\":\"ptx\"}},\
        \"device\":null,\"harness\":\"0.0.1\",\"at\":1700000001,\
        \"outcome\":{\"refused\":{\"gate\":\"machine\",\"verdict\":\"wrong\",\"reason\":\"`y[3]` is 1.5 instead of 2\"}}}}\n";
    let folder = Folder::new();
    let evidence = folder.open("evidence.sqlite");
    let file = folder.file("evidence.jsonl");
    fs::write(&file, line).expect("a file");
    assert_eq!(evidence.import(&file).expect("an import").added, 1);
    assert_eq!(exported(&evidence), line);
    assert_eq!(evidence.import(&file).expect("an import").known, 1, "its digest is what it was");
    let looked = Evidence::of_lines(&file).expect("lines");
    assert_eq!(exported(&looked), line);
    match looked.keep(&note("k", 2)) {
        Err(EvidenceError::ReadOnly { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_search_leaves_its_spec_and_its_environment() {
    let folder = Folder::new();
    let (task, candidate) = one();
    let spec = bind(SPEC);
    let options = SearchOptions { ptxas: PtxasPolicy::Off, ..SearchOptions::default() };
    let evidence = folder.open("evidence.sqlite");
    let run = evidence.run(&spec, &options);
    let refused = Outcome::Refused { gate: Gate::Machine, verdict: Verdict::Wrong, reason: "why".to_owned() };
    let keep = |device, outcome: &Outcome| {
        run.record(&task, &candidate, device, outcome, &[], None).unwrap_or_else(|error| panic!("{error}"));
    };
    let timed = |seconds| Outcome::Measured { seconds };
    keep(None, &refused);
    keep(Some("a device"), &timed(1e-6));
    let timing = Timing::recorded(Vec::new(), "a device", "580.1");
    run.hears(&Event::Timed { sizes: "n=4096", timing: &timing });
    keep(Some("a device"), &timed(2e-6));
    keep(Some("another device"), &timed(3e-6));
    // Nothing is said of what nobody told.
    let notes = evidence.notes(None).expect("notes");
    let driver = |seconds| {
        let note = notes.iter().find(|note| note.outcome == timed(seconds)).expect("a note");
        note.driver.as_deref()
    };
    assert_eq!([driver(1e-6), driver(2e-6), driver(3e-6)], [None, Some("580.1"), None]);
    assert!(notes.iter().all(|note| note.assembler.is_none()));
    assert_eq!(run.known(&task, &candidate, "a device"), Some(timed(2e-6)), "whatever the driver");
    // The text is there once, and is what its digest says.
    let specs = evidence.specs(Some("double")).expect("specs");
    assert_eq!(specs.len(), 1);
    assert_eq!((&specs[0].meaning, &specs[0].text), (&task.meaning, &spec.canonical_meaning()));
    assert!(evidence.specs(Some("another")).expect("specs").is_empty());
    // It goes along, by lines and by files.
    let text = exported(&evidence);
    assert!(text.starts_with("{\"spec\":") && text.lines().count() == 5, "{text}");
    let file = folder.file("evidence.jsonl");
    fs::write(&file, &text).expect("a file");
    let second = folder.open("second.sqlite");
    assert_eq!(second.import(&file).expect("an import").added, 5);
    assert_eq!((exported(&second), second.import(&file).expect("an import").known), (text.clone(), 5));
    assert_eq!(folder.open("third.sqlite").merge(&second).expect("a merge").added, 5);
    // Another text under that digest is nobody's spec.
    fs::write(&file, text.replacen("kernel-factory spec", "another spec", 1)).expect("a file");
    match folder.open("fourth.sqlite").import(&file) {
        Err(EvidenceError::Line { line: 1, message, .. }) => assert!(message.contains("digest"), "{message}"),
        other => panic!("{other:?}"),
    }
    // And it goes with the last note about it.
    assert_eq!(second.prune(&Prune::default()).expect("a pruned file"), 4);
    let left = second.query("SELECT (SELECT count(*) FROM spec), (SELECT count(*) FROM environment)");
    assert_eq!(left.expect("counts").rows, [["0", "0"]]);
}

#[test]
fn environments_are_told_apart_where_something_is_not_known() {
    let folder = Folder::new();
    let base = measured("k", 1, 1e-5);
    let driver = Note { driver: Some("580".to_owned()), ..base.clone() };
    let both = Note { assembler: Some("13.0.88".to_owned()), ..driver.clone() };
    let evidence =
        folder.with("evidence.sqlite", &[base, driver, both, measured("k", 2, 1e-5), note("k", 3)]);
    assert_eq!(count(&evidence), 5);
    let rows = evidence.query("SELECT device, driver, assembler FROM environment ORDER BY id").expect("rows");
    let expected =
        [["a device", "", ""], ["a device", "580", ""], ["a device", "580", "13.0.88"], ["", "", ""]];
    assert_eq!(rows.rows, expected);
    match evidence.keep(&Note { driver: Some("580".to_owned()), ..note("k", 4) }) {
        Err(EvidenceError::Note { message }) => assert!(message.contains("without a device"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn exports_are_the_same_to_the_byte_and_imports_change_nothing_twice() {
    let folder = Folder::new();
    // The same candidate and the same task under other names: each note says what it said.
    let mut renamed = note("other", 1);
    renamed.task.meaning = "meaning of k".to_owned();
    let notes = [note("k", 1), measured("k", 2, 1.0 / 3.0), renamed, note("l", 1)];
    let first = folder.with("first.sqlite", &notes);
    let mut backwards = notes.to_vec();
    backwards.reverse();
    let second = folder.with("second.sqlite", &backwards);
    let lessons = [lesson("wider is faster", 7), lesson("deeper is slower", 7)];
    for (evidence, order) in [(&first, [0, 1]), (&second, [1, 0])] {
        for index in order {
            assert!(evidence.learn(&lessons[index]).expect("a lesson"));
            assert!(!evidence.learn(&lessons[index]).expect("a lesson"));
        }
    }
    let text = exported(&first);
    assert_eq!(text.lines().count(), 6);
    assert_eq!(exported(&second), text);
    let file = folder.file("evidence.jsonl");
    fs::write(&file, &text).expect("a file");
    // Into itself and into a new one, twice each.
    let third = folder.open("third.sqlite");
    assert_eq!(third.import(&file).expect("an import").added, 6);
    for evidence in [&first, &second, &third] {
        let imported = evidence.import(&file).expect("an import");
        assert_eq!((imported.added, imported.known), (0, 6));
        assert_eq!(exported(evidence), text);
    }
    assert_eq!(third.merge(&first).expect("a merge").known, 6);
    let mut read = third.notes(None).expect("notes");
    assert_eq!(read.len(), 4);
    for note in &notes {
        let place = read.iter().position(|read| read == note).unwrap_or_else(|| panic!("{note:?}"));
        read.remove(place);
    }
}

#[test]
fn a_line_that_is_wrong_is_named_and_nothing_of_the_file_is_taken() {
    let folder = Folder::new();
    let source = folder.with("source.sqlite", &[note("k", 1), measured("k", 2, 1e-5)]);
    let text = exported(&source);
    let good: Vec<&str> = text.lines().collect();
    let evidence = folder.open("evidence.sqlite");
    let file = folder.file("bad.jsonl");
    let cases: [(Vec<u8>, &str); 8] = [
        (b"not JSON".to_vec(), "expected"),
        (b"{\"notes\": []}".to_vec(), "unknown variant"),
        (vec![b'"', 0xff, 0xfe], "UTF-8"),
        (good[0].replace("\"wrong\"", "\"splendid\"").into_bytes(), "splendid"),
        (good[0].replace("\"harness\"", "\"harnes\"").into_bytes(), "harnes"),
        (good[0].replace(&format!("{:064x}", 1), "1").into_bytes(), "SHA-256"),
        (good[1].replace("\"device\":\"a device\"", "\"device\":null").into_bytes(), "without a device"),
        (
            good[1].replace("\"measured\":{\"seconds\":", "\"measured\":{\"seconds\":-").into_bytes(),
            "seconds",
        ),
    ];
    for (bad, words) in cases {
        assert!(
            !good.contains(&String::from_utf8_lossy(&bad).as_ref()),
            "nothing was replaced for `{words}`"
        );
        let bytes = [good[0].as_bytes(), b"\n\n", &bad, b"\n", good[1].as_bytes(), b"\n"].concat();
        fs::write(&file, bytes).expect("a file");
        match evidence.import(&file) {
            Err(error @ EvidenceError::Line { line: 3, .. }) => {
                assert!(error.to_string().contains(words), "`{words}` is missing: {error}");
            }
            other => panic!("{words}: {other:?}"),
        }
        assert_eq!(count(&evidence), 0, "{words}");
    }
    match evidence.import(&folder.file("nowhere.jsonl")) {
        Err(EvidenceError::File { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_noted_stays_as_it_is() {
    let folder = Folder::new();
    let evidence = folder.with("evidence.sqlite", &[note("k", 1)]);
    evidence.learn(&lesson("wider is faster", 1)).expect("a lesson");
    let other = Connection::open(evidence.path()).expect("a second connection");
    other.execute("INSERT INTO spec (meaning, text) VALUES ('a digest', 'a text')", []).expect("a spec");
    let before = exported(&evidence);
    for (table, column) in [
        ("verdict", "reason"),
        ("candidate", "name"),
        ("task", "kernel"),
        ("environment", "harness"),
        ("spec", "text"),
        ("lesson", "text"),
    ] {
        for sql in [format!("DELETE FROM {table}"), format!("UPDATE {table} SET {column} = 'x'")] {
            let error = other.execute(&sql, []).expect_err("a trigger");
            assert!(error.to_string().contains("append-only"), "{sql}: {error}");
        }
        let columns: Vec<String> = evidence
            .query(&format!("SELECT name FROM pragma_table_info('{table}')"))
            .expect("columns")
            .rows
            .into_iter()
            .map(|row| if row[0] == column { "'x'".to_owned() } else { row[0].clone() })
            .collect();
        let replace = format!("INSERT OR REPLACE INTO {table} SELECT {} FROM {table}", columns.join(", "));
        assert_eq!(other.execute(&replace, []).expect("nothing to do"), 0, "{table}");
    }
    assert_eq!(exported(&evidence), before);
}

#[test]
fn pruning_removes_what_it_was_told_and_leaves_the_guards() {
    let folder = Folder::new();
    let mut old_harness = note("k", 3);
    old_harness.harness = "0.0.1".to_owned();
    let recent = Note { at: i64::from(u32::MAX), ..note("k", 4) };
    let all = [note("k", 1), note("l", 1), old_harness, recent.clone(), note("l", 5)];
    let evidence = folder.with("evidence.sqlite", &all);
    evidence.learn(&lesson("wider is faster", 1)).expect("a lesson");
    let prune = |what: Prune| evidence.prune(&what).expect("a pruned file");
    assert_eq!(prune(Prune { kernel: Some("none".to_owned()), ..Prune::default() }), 0);
    assert_eq!(prune(Prune { other_harness: true, ..Prune::default() }), 1);
    let old = Prune { kernel: Some("k".to_owned()), older_than_days: Some(30), ..Prune::default() };
    assert_eq!(prune(old), 1);
    assert_eq!(evidence.notes(Some("k")).expect("notes"), [recent]);
    let left = evidence.query("SELECT (SELECT count(*) FROM candidate), (SELECT count(*) FROM task)");
    assert_eq!(left.expect("counts").rows, [["3", "2"]]);
    let other = Connection::open(evidence.path()).expect("a second connection");
    assert!(other.execute("DELETE FROM verdict", []).is_err());
    assert_eq!(prune(Prune::default()), 3);
    assert_eq!(count(&evidence), 0);
    assert_eq!(evidence.lessons().expect("lessons").len(), 1);
    assert!(evidence.keep(&note("k", 1)).expect("room"));
}

#[test]
fn what_cannot_be_is_not_noted() {
    let folder = Folder::new();
    let evidence = folder.open("evidence.sqlite");
    let mut infinite = measured("k", 1, 1e-5);
    infinite.samples.push(f64::INFINITY);
    for note in [measured("k", 1, f64::NAN), measured("k", 1, 0.0), infinite] {
        match evidence.keep(&note) {
            Err(EvidenceError::Note { .. }) => {}
            other => panic!("{note:?}: {other:?}"),
        }
    }
    assert_eq!(count(&evidence), 0);
}

#[test]
fn only_what_holds_here_is_known() {
    let folder = Folder::new();
    let (task, candidate) = one();
    let judged = Judged::of(&candidate);
    let base = Note { task: task.clone(), candidate: judged.clone(), ..note("double", 1) };
    let wrong = base.outcome.clone();
    let refused = |verdict| Outcome::Refused { gate: Gate::Device, verdict, reason: "why".to_owned() };
    let here = Some("a device".to_owned());
    let unknown = [
        Note { outcome: refused(Verdict::Infrastructure), device: here.clone(), ..base.clone() },
        Note { harness: "0.0.1".to_owned(), ..base.clone() },
        Note { device: Some("another device".to_owned()), ..base.clone() },
        Note { task: Task { sizes: "n=1".to_owned(), ..task.clone() }, ..base.clone() },
        Note { task: Task { meaning: "another".to_owned(), ..task.clone() }, ..base.clone() },
        Note { candidate: Judged { digest: format!("{:064x}", 9), ..judged }, ..base.clone() },
    ];
    let evidence = folder.with("evidence.sqlite", &unknown);
    assert_eq!(count(&evidence), unknown.len());
    assert_eq!(evidence.known(&task, &candidate, "a device"), None);
    // A refusal before any device holds on each.
    evidence.keep(&base).expect("room");
    assert_eq!(evidence.known(&task, &candidate, "a device"), Some(wrong.clone()));
    assert_eq!(evidence.known(&task, &candidate, "a third device"), Some(wrong));
    // The newest word counts, but for one of our own tools' failures.
    let timed = Outcome::Measured { seconds: 2e-6 };
    let at = base.at + 1;
    evidence.keep(&Note { outcome: timed.clone(), device: here.clone(), at, ..base.clone() }).expect("room");
    let failed = Note { outcome: refused(Verdict::Infrastructure), device: here, at: at + 1, ..base };
    evidence.keep(&failed).expect("room");
    assert_eq!(evidence.known(&task, &candidate, "a device"), Some(timed));
    // A kernel may be renamed: what is correct, and for which sizes, counts.
    let renamed = Task { kernel: "twice".to_owned(), ..task };
    assert!(evidence.known(&renamed, &candidate, "a device").is_some());
}

#[test]
fn a_later_process_knows_what_an_earlier_one_recorded() {
    let folder = Folder::new();
    let (task, candidate) = one();
    let Note { experience, .. } = measured("double", 1, 3e-6);
    let timed = Outcome::Measured { seconds: 3e-6 };
    let first = folder.open("evidence.sqlite");
    let kept = first.record(&task, &candidate, Some("a device"), &timed, &[3e-6], experience.as_ref());
    kept.unwrap_or_else(|error| panic!("{error}"));
    drop(first);
    let evidence = folder.open("evidence.sqlite");
    assert_eq!(evidence.known(&task, &candidate, "a device"), Some(timed));
    assert_eq!(evidence.experiences("a device"), Ok(experience.into_iter().collect()));
    assert_eq!(evidence.experiences("another device"), Ok(Vec::new()));
    let summary = &evidence.summary().expect("a summary")[0];
    assert_eq!((summary.measured, summary.refused, summary.best), (1, 0, Some(3e-6)));
    assert_eq!(summary.best_candidate.as_ref(), Some(&candidate.id));
    let filter = Filter { gate: Some("machine".to_owned()), ..Filter::default() };
    assert!(evidence.list(&filter).expect("a list").rows.is_empty());
    assert_eq!(evidence.list(&Filter::default()).expect("a list").rows.len(), 1);
}
