//! Processes that answer messages, in all the ways in which they do not, and specs that travel.

use std::time::{Duration, Instant};

use factory_search::worker::frame::FrameError;
use factory_search::worker::{Connection, ConnectionError, Launcher, ShipError, ShippedSpec};
use factory_spec::{Arch, SizeValues, Spec};

use crate::kernels;

const LONG: Duration = Duration::from_secs(60);

/// A shell that runs `script`, started through `env` as a launcher would be.
fn shell(script: &str) -> Launcher {
    let words = vec!["env".to_owned(), "LAUNCHED=yes".to_owned()];
    Launcher {
        words,
        program: "sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        variables: Vec::new(),
    }
}

fn start(script: &str) -> Connection<String> {
    Connection::start(&shell(script)).expect("a shell starts")
}

#[test]
fn large_messages_do_not_block_each_other() {
    // Far more than pipes hold, and nothing is read before all is sent.
    let mut echo = start("exec cat");
    let message = "x".repeat(8 << 20);
    for _ in 0..3 {
        echo.send(&message).expect("short enough");
    }
    for _ in 0..3 {
        assert!(echo.receive(LONG).expect("an echo") == message);
    }
}

#[test]
fn a_launcher_that_does_not_exist_is_named() {
    let launcher = Launcher {
        words: vec!["/nowhere/srun".to_owned()],
        program: "worker".into(),
        arguments: vec!["worker".to_owned()],
        variables: Vec::new(),
    };
    let error = Connection::<String>::start(&launcher).err().expect("there is no such launcher");
    assert!(
        matches!(&error, ConnectionError::Start { launcher, .. } if launcher == "/nowhere/srun worker worker")
    );
}

#[test]
fn a_launcher_that_fails_is_quoted() {
    let error = start("echo \"no node: $LAUNCHED\" >&2; exit 3").receive(LONG).expect_err("it failed");
    let ConnectionError::Lost { cause: FrameError::Closed, status, stderr, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(status.contains("exit status: 3"), "{status}");
    assert_eq!(stderr, "no node: yes");
}

#[test]
fn garbage_on_standard_output_is_quoted() {
    let error = start("echo 'Welcome to node7'; sleep 600").receive(LONG).expect_err("no message");
    let ConnectionError::Lost { cause: FrameError::Garbage { bytes }, status, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(bytes.starts_with("Welcome"), "{bytes}");
    assert!(status.contains("killed"), "{status}");
}

#[test]
fn a_message_cut_short_by_death_is_told() {
    let error =
        start("printf '\\020\\000\\000\\000\"begun'; kill -9 $$").receive(LONG).expect_err("it was killed");
    let ConnectionError::Lost { cause: FrameError::Cut { read: 6, length: 16 }, status, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(status.contains("signal: 9"), "{status}");
}

#[test]
fn a_hang_ends_at_its_limit_with_its_whole_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("grandchild");
    let mut hung = start(&format!("sleep 600 & echo $! > {}; wait", file.display()));
    let begun = Instant::now();
    let grandchild = loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        match text.trim().parse::<i32>() {
            Ok(id) => break id,
            Err(_) => assert!(begun.elapsed() < LONG, "the grandchild never started"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let error = hung.receive(Duration::from_millis(100)).expect_err("it hangs");
    assert!(matches!(error, ConnectionError::TimedOut { .. }), "{error:?}");
    // Gone, or a zombie that nobody has waited for.
    let begun = Instant::now();
    let lives = || {
        let status = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        !(status.is_empty() || status.contains(") Z "))
    };
    while lives() {
        assert!(begun.elapsed() < LONG, "the grandchild lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_spec_arrives_as_it_was_sent() {
    let mut spec = kernels::bind(kernels::SCALE);
    spec.targets = vec![Arch::Sm90];
    spec.better.over = vec![SizeValues(vec![4096])];
    let message = serde_json::to_string(&ShippedSpec::new(&spec).expect("it can travel")).expect("JSON");
    let shipped: ShippedSpec = serde_json::from_str(&message).expect("a shipped spec");
    let arrived = shipped.open().expect("it is valid");
    assert_eq!(arrived.key(), spec.key());
    assert_eq!(format!("{arrived:?}"), format!("{spec:?}"));
}

#[test]
fn a_spec_with_another_key_is_refused() {
    let spec = kernels::bind(kernels::SCALE);
    let mut message = serde_json::to_value(ShippedSpec::new(&spec).expect("it can travel")).expect("JSON");
    message["text"] = kernels::SCALE.replace("100000", "100001").into();
    let shipped: ShippedSpec = serde_json::from_value(message).expect("a shipped spec");
    let error = shipped.open().expect_err("it means something else");
    assert!(matches!(error, ShipError::OtherKey { .. }), "{error}");
}

#[test]
fn a_reference_in_c_travels_with_its_spec() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = kernels::SCALE.find("[reference]").expect("a reference");
    let text = format!("{}[reference]\nc = \"scale.c\"\nfunction = \"scale\"\n", &kernels::SCALE[..start]);
    let path = folder.path().join("scale.toml");
    std::fs::write(folder.path().join("scale.c"), "void scale(void) {}\n").expect("a file");
    let spec = Spec::parse(&path, &text).expect("valid").bind(&Default::default()).expect("binds");
    let shipped = ShippedSpec::new(&spec).expect("it can travel");
    // The receiver has another disk.
    drop(folder);
    let arrived = shipped.open().expect("it is valid");
    assert_eq!(format!("{arrived:?}"), format!("{spec:?}"));
}
