//! The user's cache, through a build that may not search.

use std::fs;
use std::sync::Mutex;

use factory_spec::{Key, Sealed};
use factory_tests::{Package, SPEC, Shared, bound, seal};

static PACKAGE: Shared = Shared::new(|| Mutex::new(crate::package("cached")));

/// An offline build that runs even if nothing changed.
fn build(package: &Package) -> factory_tests::Run {
    package.library(factory_tests::FUNCTION);
    package.build(&[("KERNEL_FACTORY", "offline")])
}

/// Puts the kernel into an empty cache.
fn fill(package: &Package) -> (Key, Sealed) {
    let _ = fs::remove_dir_all(package.cache_dir());
    let spec = bound(SPEC);
    let sealed = seal(&spec);
    let stored = package.cache().store(&spec.key(), &sealed).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(stored, sealed);
    (spec.key(), sealed)
}

#[test]
fn a_sound_entry_is_taken() {
    let package = PACKAGE.take();
    let (key, sealed) = fill(&package);
    build(&package).passes().does_not_say(&["warning: cached@"]);
    assert_eq!(package.cache().load(&key), Some(sealed));
    assert_eq!(package.cache().keys(), [key]);
    let tag = fs::read_to_string(package.cache_dir().join("CACHEDIR.TAG")).expect("a tag");
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55"), "{tag}");
}

/// A build with a damaged entry: a miss, and the entry is gone afterwards.
#[track_caller]
fn damaged(damage: impl Fn(&std::path::Path)) {
    let package = PACKAGE.take();
    let (key, sealed) = fill(&package);
    let entry = package.cache().entry(&key);
    damage(&entry);
    build(&package).fails().says(&["neither sealed in `kernels` nor in the cache"]);
    assert!(!entry.exists(), "a damaged entry is removed");
    package.cache().store(&key, &sealed).unwrap_or_else(|error| panic!("{error}"));
    build(&package).passes();
}

#[test]
fn a_truncated_entry_is_a_miss() {
    for file in ["sm_90.ptx", "plan.json", "certificate.json", "entry.json"] {
        damaged(|entry| {
            let path = entry.join(file);
            let text = fs::read(&path).expect("a file of the entry");
            fs::write(&path, &text[..text.len() / 2]).expect("the cache is ours");
        });
    }
}

#[test]
fn a_corrupt_entry_is_a_miss() {
    for file in ["sm_90.ptx", "plan.json", "certificate.json", "entry.json"] {
        damaged(|entry| {
            let path = entry.join(file);
            let mut text = fs::read(&path).expect("a file of the entry");
            let middle = text.len() / 2;
            text[middle] ^= 1;
            fs::write(&path, &text).expect("the cache is ours");
        });
    }
}

#[test]
fn an_incomplete_entry_is_a_miss() {
    damaged(|entry| fs::remove_file(entry.join("sm_90.ptx")).expect("a file of the entry"));
    damaged(|entry| fs::remove_file(entry.join("entry.json")).expect("a file of the entry"));
}

#[test]
fn an_entry_of_another_kernel_is_a_miss() {
    let other = bound(&SPEC.replace("x * factor", "x * factor + 1"));
    damaged(|entry| {
        let package = Package::new(crate::FOLDER, "other-cache");
        package.cache().store(&other.key(), &seal(&other)).unwrap_or_else(|error| panic!("{error}"));
        for file in fs::read_dir(package.cache().entry(&other.key())).expect("the other entry").flatten() {
            fs::copy(file.path(), entry.join(file.file_name())).expect("the cache is ours");
        }
    });
}

#[test]
fn the_first_of_two_stores_stays() {
    let package = PACKAGE.take();
    let (key, first) = fill(&package);
    let mut other = first.clone();
    other.certificate.seed = 7;
    let other = Sealed::new(other.plan, other.certificate, other.ptx);
    let stored = package.cache().store(&key, &other).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(stored, first, "both builds go on with the same kernel");
    let leftovers =
        fs::read_dir(package.cache_dir().join("v1/tmp")).expect("the folder for temporaries").count();
    assert_eq!(leftovers, 0);
}

#[test]
fn many_stores_and_loads_at_once_agree() {
    let package = crate::package("many-at-once");
    let spec = bound(SPEC);
    let (key, sealed) = (spec.key(), seal(&spec));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let loaded = package.cache().load(&key);
                    assert!(loaded.is_none() || loaded.as_ref() == Some(&sealed), "half an entry was seen");
                    assert_eq!(
                        package.cache().store(&key, &sealed).unwrap_or_else(|error| panic!("{error}")),
                        sealed
                    );
                }
            });
        }
    });
    assert_eq!(package.cache().load(&key), Some(sealed));
}

#[test]
fn a_lock_is_waited_for_but_not_for_ever() {
    let package = crate::package("locks");
    let key = bound(SPEC).key();
    let short = std::time::Duration::from_millis(50);
    let first = package.cache().lock(&key, short).expect("nobody holds it");
    assert!(package.cache().lock(&key, short).is_none(), "two hold one lock");
    let other = bound(&SPEC.replace("x * factor", "x * factor + 1")).key();
    assert!(package.cache().lock(&other, short).is_some(), "another key has another lock");
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| package.cache().lock(&key, std::time::Duration::from_secs(60)).is_some());
        drop(first);
        assert!(waiting.join().expect("no panic"), "a lock that is released goes to whoever waits");
    });
}
