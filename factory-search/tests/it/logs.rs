//! Logs of searches: written by one, read by another.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::thread;

use factory_search::log::{
    EventLog, KEPT, LogEvent, LogLine, LogOutcome, LogRead, LogReader, LogStart, logs, newest,
};
use factory_search::{Event, Observer as _, Phase, SearchOptions};

use crate::kernels::{SCALE, bind};

fn start() -> LogStart {
    LogStart::new(&bind(SCALE), &SearchOptions::default(), "test")
}

fn lines(reads: Vec<LogRead>) -> Vec<LogLine> {
    reads
        .into_iter()
        .map(|read| match read {
            LogRead::Line { line, .. } => *line,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut log = EventLog::create(folder.path(), &start()).expect("a log");
    let path = log.path().to_owned();
    let mut reader = LogReader::open(&path).expect("it is there");
    assert_eq!(lines(reader.read().expect("readable"))[0].event, LogEvent::Start(start()));
    if let Some(written) = reader.is_written() {
        assert!(written, "its writer lives");
    }
    log.event(&Event::Phase { phase: Phase::Screen, total: 3 });
    log.event(&Event::Note { message: "two\nlines and \u{2028} more" });
    log.finish(LogOutcome::Failed { message: "enough".to_owned() });
    assert!(log.trouble().is_none());
    drop(log);
    let read = lines(reader.read().expect("readable"));
    let note = LogEvent::Note { message: "two\nlines and \u{2028} more".to_owned() };
    let phase = LogEvent::Phase { phase: "screen".to_owned(), total: 3 };
    let end = LogEvent::End(LogOutcome::Failed { message: "enough".to_owned() });
    assert_eq!(read.iter().map(|line| line.event.clone()).collect::<Vec<_>>(), [phase, note, end]);
    assert!(read.windows(2).all(|pair| pair[0].elapsed <= pair[1].elapsed));
    assert_ne!(reader.is_written(), Some(true), "its writer has gone");
}

#[test]
fn a_reader_beside_a_writer_meets_whole_lines_in_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut log = EventLog::create(folder.path(), &start()).expect("a log");
    let mut reader = LogReader::open(log.path()).expect("it is there");
    const NOTES: usize = 2000;
    let read = thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..NOTES {
                log.event(&Event::Note { message: &format!("{number} {}", "x".repeat(number % 300)) });
            }
        });
        let mut read = Vec::new();
        while read.len() < NOTES + 1 {
            read.extend(lines(reader.read().expect("readable")));
        }
        read
    });
    for (number, line) in read[1..].iter().enumerate() {
        let LogEvent::Note { message } = &line.event else { panic!("{line:?}") };
        assert!(message.starts_with(&format!("{number} ")), "{number}: {message}");
    }
}

#[test]
fn a_cut_line_is_waited_for_and_a_broken_one_left_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = EventLog::create(folder.path(), &start()).expect("a log");
    let path = log.path().to_owned();
    drop(log);
    let mut reader = LogReader::open(&path).expect("it is there");
    assert_eq!(reader.read().expect("readable").len(), 1);
    let mut file = fs::File::options().append(true).open(&path).expect("the log");
    file.write_all(b"{\"time\":1,\"elapsed\":1,\"event\":\"note\",").expect("written");
    assert_eq!(reader.read().expect("readable"), []);
    assert_eq!(reader.unfinished(), 37);
    file.write_all(b"\"message\":\"m\"}\n\xff\xfe\n\n").expect("written");
    let read = reader.read().expect("readable");
    assert!(matches!(&read[0], LogRead::Line { .. }), "{read:?}");
    assert!(matches!(&read[1], LogRead::Broken { number: 3, .. }), "{read:?}");
    assert_eq!((read.len(), reader.unfinished()), (2, 0));
    // Somebody wrote the file anew: it is read anew.
    fs::write(&path, "{\"time\":1,\"elapsed\":1,\"event\":\"phase\",\"phase\":\"p\",\"total\":1}\n")
        .expect("written");
    assert_eq!(reader.read().expect("readable").len(), 1);
}

#[test]
fn the_newest_is_found_and_old_ones_go() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(newest(folder.path()), None);
    assert_eq!(newest(&folder.path().join("nowhere")), None);
    let old: Vec<PathBuf> = (0..KEPT + 5)
        .map(|number| folder.path().join(format!("20200101T000000.{number:03}Z-old.jsonl")))
        .collect();
    for path in &old {
        fs::write(path, "").expect("written");
    }
    fs::write(folder.path().join("zz-not-a-log.txt"), "").expect("written");
    let first = EventLog::create(folder.path(), &start()).expect("a log");
    assert_eq!(newest(folder.path()).as_deref(), Some(first.path()));
    assert_eq!(logs(folder.path()).len(), KEPT);
    assert!(!old[5].exists() && old[6].exists(), "the oldest go first");
    // Two that begin in the same moment have two files.
    let second = EventLog::create(folder.path(), &start()).expect("a log");
    assert_ne!(first.path(), second.path());
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    assert!(EventLog::create(&file.join("logs"), &start()).is_err());
}
