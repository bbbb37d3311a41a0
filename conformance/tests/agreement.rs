//! Every form on the PTX machine, against what the GPU answered.

use std::path::Path;

use factory_conformance::{Recording, Verdict, all_forms, answers, compare, group_names};

/// Runs a group; every form must have a recording.
fn check(group: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recorded/{group}.rec"));
    let recording = match std::fs::read(&path) {
        Ok(bytes) => Recording::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let mut wrong = Vec::new();
    let mut agreeing = 0;
    for form in all_forms(group) {
        let machine = match answers(&form) {
            Ok(machine) => machine,
            Err(trouble) => {
                wrong.push(format!("{}: {trouble}", form.name));
                continue;
            }
        };
        match recording.entries.get(&form.name).map(|entry| compare(&form, &machine, entry)) {
            None => wrong.push(format!("{}: not recorded", form.name)),
            Some(Verdict::Agree(agreement)) => {
                agreeing += 1;
                if form.bound.is_some() {
                    println!(
                        "{}: at most {:.3} ulp, {:.3e} relative, {:.3e} absolute",
                        form.name, agreement.ulps, agreement.relative, agreement.absolute
                    );
                }
            }
            Some(Verdict::Differ(difference)) => wrong.push(format!("{}: {difference}", form.name)),
            Some(Verdict::Stale) => wrong.push(format!("{}: changed since it was recorded", form.name)),
        }
    }
    println!("{group}: {agreeing} forms agree");
    let shown = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{agreeing} forms agree, {} do not:\n{shown}", wrong.len());
}

macro_rules! groups {
    ($($group:ident),*) => {
        $(
            #[test]
            fn $group() {
                check(stringify!($group));
            }
        )*

        #[test]
        fn every_group_is_checked() {
            assert_eq!(group_names(), [$(stringify!($group)),*]);
        }
    };
}

groups!(float, half, approx, convert, integer, bits, comparison, video, moves, warp, atomic, memory);
