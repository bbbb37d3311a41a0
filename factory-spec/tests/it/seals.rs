//! Plans, certificates, sealed folders and locks.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use factory_spec::{
    Arch, Basis, CandidateCounts, Certificate, Figure, GateRecord, JsonError, LaunchPlan, Lock, LockEntry,
    LockError, Outcome, ParamPlan, Plan, PlanError, Scratch, SealError, Sealed, SizeExpr, TargetPlan,
    Variant,
};

use crate::support::{RMSNORM, bound};

fn variant() -> Variant {
    Variant {
        name: "rows".into(),
        when: SizeExpr::constant(1),
        alignment: 16,
        scratch: vec![Scratch { name: "partial".into(), bytes: SizeExpr::size("m").mul(4), zero: false }],
        launches: vec![LaunchPlan {
            entry: "kernel_rows".into(),
            grid: ["m".into(), 1.into(), 1.into()],
            block: [256, 1, 1],
            cluster: [1, 1, 1],
            shared_bytes: SizeExpr::size("n").mul(2).min(49152),
            programmatic: false,
            params: vec![
                ParamPlan::pointer("x"),
                ParamPlan::pointer("w"),
                ParamPlan::pointer("y"),
                ParamPlan::scalar("eps"),
                ParamPlan::Size { value: "n".into(), bytes: 4 },
                ParamPlan::Scratch { name: "partial".into() },
            ],
        }],
    }
}

fn plan() -> Plan {
    let target = |arch: Arch| TargetPlan { arch, ptx: format!("{arch}.ptx"), variants: vec![variant()] };
    Plan { schema: Plan::SCHEMA, targets: vec![target(Arch::Sm90), target(Arch::Sm100)] }
}

fn sealed() -> Sealed {
    let spec = bound(RMSNORM);
    let passed = |gate: &str| GateRecord {
        gate: gate.into(),
        target: None,
        outcome: Outcome::Passed { cases: 12, detail: "drawn and stated cases".into() },
    };
    let not_run = GateRecord {
        gate: "device".into(),
        target: Some(Arch::Sm90),
        outcome: Outcome::NotRun { reason: "no GPU".into() },
    };
    let certificate = Certificate {
        schema: Certificate::SCHEMA,
        name: spec.name.clone(),
        key: spec.key(),
        meaning: spec.meaning(),
        bindings: BTreeMap::new(),
        spec: spec.canonical(),
        versions: BTreeMap::from([("kernel-factory".into(), "0.1.0".into())]),
        seed: 1,
        candidates: CandidateCounts { considered: 120, refused: BTreeMap::from([("machine".into(), 3)]) },
        gates: vec![passed("parse"), passed("machine"), not_run],
        figures: vec![Figure {
            target: Arch::Sm90,
            sizes: BTreeMap::from([("m".into(), 32768), ("n".into(), 256)]),
            variant: "rows".into(),
            seconds: Some(1.25e-5),
            roofline_seconds: None,
            basis: Basis::Modelled,
        }],
        files: BTreeMap::new(),
    };
    let ptx = BTreeMap::from([
        ("sm_90.ptx".into(), "// ninety\n".into()),
        ("sm_100.ptx".into(), "// hundred\n".into()),
    ]);
    Sealed::new(plan(), certificate, ptx)
}

fn write(sealed: &Sealed, dir: &Path) {
    for (name, text) in sealed.files() {
        fs::write(dir.join(name), text).expect("it is writable");
    }
}

/// What reading says after a change of one file.
fn after(file: &str, change: impl Fn(String) -> Option<String>) -> SealError {
    let dir = tempfile::tempdir().expect("a folder");
    write(&sealed(), dir.path());
    let path = dir.path().join(file);
    match change(fs::read_to_string(&path).expect("it was written")) {
        Some(text) => fs::write(&path, text).expect("it is writable"),
        None => fs::remove_file(&path).expect("it is there"),
    }
    let error = Sealed::read(dir.path()).expect_err("the folder was changed");
    assert!(error.to_string().contains(file), "{error}");
    error
}

#[test]
fn folders_round_trip() {
    let dir = tempfile::tempdir().expect("a folder");
    let kernel = sealed();
    write(&kernel, dir.path());
    let read = Sealed::read(dir.path()).expect("it was just written");
    assert_eq!(read, kernel);
    assert_eq!(read.files(), sealed().files());
    assert!(Sealed::read_key(dir.path(), &bound(RMSNORM).key()).is_ok());
    let other = bound(RMSNORM).meaning();
    assert!(matches!(Sealed::read_key(dir.path(), &other), Err(SealError::OtherKey { .. })));
    let names: Vec<String> = kernel.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["certificate.json", "plan.json", "sm_100.ptx", "sm_90.ptx"]);
    assert!(kernel.files().iter().all(|(_, text)| text.ends_with('\n')));
}

#[test]
fn changed_files() {
    let digest = |error| assert!(matches!(error, SealError::Digest { .. }), "{error}");
    digest(after("sm_90.ptx", |text| Some(text + " ")));
    digest(after("plan.json", |text| Some(text.replace("256", "128"))));
    digest(after("plan.json", |text| Some(text[..text.len() / 2].to_owned())));
    let missing = |error| assert!(matches!(error, SealError::Missing { .. }), "{error}");
    missing(after("sm_100.ptx", |_| None));
    missing(after("plan.json", |_| None));
    missing(after("certificate.json", |_| None));
}

#[test]
fn changed_certificates() {
    let json = |error: SealError| match error {
        SealError::Json { error, .. } => error,
        other => panic!("{other}"),
    };
    let cut = json(after("certificate.json", |text| Some(text[..text.len() / 2].to_owned())));
    assert!(matches!(cut, JsonError::Truncated(_)), "{cut}");
    let newer =
        json(after("certificate.json", |text| Some(text.replacen("\"schema\": 1", "\"schema\": 2", 1))));
    assert!(matches!(newer, JsonError::Newer { found: 2, known: 1 }), "{newer}");
    let older =
        json(after("certificate.json", |text| Some(text.replacen("\"schema\": 1", "\"schema\": 0", 1))));
    assert!(matches!(older, JsonError::Older { found: 0, .. }), "{older}");
    let unknown = json(after("certificate.json", |text| Some(text.replacen("\"seed\"", "\"seeds\"", 1))));
    assert!(unknown.to_string().contains("unknown field `seeds`"), "{unknown}");
    json(after("certificate.json", |_| Some("nothing".into())));
    let inconsistent = |error| assert!(matches!(error, SealError::Inconsistent { .. }), "{error}");
    inconsistent(after("certificate.json", |text| Some(text.replacen("multiple_of 8", "multiple_of 4", 1))));
    inconsistent(after("certificate.json", |text| Some(text + "\n")));
    inconsistent(after("certificate.json", |text| {
        Some(text.replacen("\"sm_90.ptx\"", "\"../sm_90.ptx\"", 1))
    }));
}

#[test]
fn what_was_verified_is_compared_instead() {
    let kernel = sealed();
    let key = kernel.certificate.key;
    let (dir, verified) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    write(&kernel, dir.path());
    let read = || Sealed::read_key_beside(dir.path(), &key, Some(verified.path()));
    assert_eq!(read().expect("nothing was verified yet"), kernel);
    write(&kernel, verified.path());
    assert_eq!(read().expect("it is the same"), kernel);
    let ptx = |folder: &Path| folder.join("sm_90.ptx");
    let text = fs::read_to_string(ptx(dir.path())).expect("it was just written");
    fs::write(ptx(dir.path()), format!("{text} ")).expect("a folder of our own");
    assert!(matches!(read(), Err(SealError::Digest { .. })), "another file than the one that was verified");
    // The folder of what was verified is taken at its word, which is what makes it fast, under the same certificate alone.
    fs::write(ptx(verified.path()), format!("{text} ")).expect("a folder of our own");
    assert!(read().is_ok());
    fs::write(verified.path().join(Sealed::CERTIFICATE), "{}").expect("a folder of our own");
    assert!(matches!(read(), Err(SealError::Digest { .. })), "verified under another certificate");
}

#[test]
fn certificates_speak() {
    let mut certificate = sealed().certificate;
    assert_eq!(certificate.gates_passed(), ["parse", "machine"]);
    assert_eq!(certificate.gates_not_run(), ["device"]);
    assert_eq!(certificate.measured(), "modelled");
    certificate.figures[0].basis = Basis::Measured { device: "NVIDIA H200".into(), driver: "580.1".into() };
    assert_eq!(certificate.measured(), "NVIDIA H200 (driver 580.1)");
    assert_eq!(Certificate::parse(&certificate.to_json()).expect("it was just written"), certificate);
}

#[test]
fn plans_choose_a_target() {
    let plan = plan();
    assert_eq!(Plan::parse(&plan.to_json()).expect("it was just written"), plan);
    let chosen = |capability| plan.target_for(capability).map(|target| target.arch);
    assert_eq!(chosen((8, 0)), None);
    assert_eq!(chosen((9, 0)), Some(Arch::Sm90));
    assert_eq!(chosen((10, 0)), Some(Arch::Sm100));
    assert_eq!(chosen((12, 0)), Some(Arch::Sm100));
    assert!(Arch::Sm90a.runs_on((9, 0)) && !Arch::Sm90a.runs_on((10, 0)));
}

/// What checking says after a change of the first target's variant.
fn check(change: impl Fn(&mut Plan, &mut Variant)) -> String {
    let mut plan = plan();
    let mut variant = variant();
    change(&mut plan, &mut variant);
    if let Some(target) = plan.targets.first_mut()
        && let Some(first) = target.variants.first_mut()
    {
        *first = variant;
    }
    plan.check_against(&bound(RMSNORM)).expect_err("the plan was changed").to_string()
}

#[test]
fn plans_agree_with_specs() {
    assert_eq!(plan().check_against(&bound(RMSNORM)), Ok(()));
    let param = |param: ParamPlan| {
        move |_: &mut Plan, variant: &mut Variant| variant.launches[0].params.push(param.clone())
    };
    let place = "sm_90, variant `rows`";
    let at = format!("{place}, launch 0, parameter 6");
    for (error, message) in [
        (
            check(|plan, _| _ = plan.targets.pop()),
            "the plan has no target sm_100, which the spec asks for".to_owned(),
        ),
        (check(|plan, _| plan.targets[1].arch = Arch::Sm90), "the plan has two entries for sm_90".into()),
        (
            check(|plan, _| plan.targets[0].ptx = "../a.ptx".into()),
            "sm_90: `../a.ptx` is not the name of a PTX file".into(),
        ),
        (check(|plan, _| plan.targets[0].variants.clear()), "sm_90: there is no variant".into()),
        (check(|_, variant| variant.launches.clear()), format!("{place}: there is no launch")),
        (
            check(|_, variant| variant.alignment = 12),
            format!("{place}: an alignment of 12 bytes is not a power of two"),
        ),
        (
            check(|_, variant| variant.when = "q".into()),
            format!("{place}: `q` cannot be computed: no size is called `q`"),
        ),
        (
            check(|_, variant| variant.launches[0].block = [1024, 2, 1]),
            format!("{place}, launch 0: block is 1024, 2, 1, which no device takes"),
        ),
        (
            check(|_, variant| variant.launches[0].cluster = [0, 1, 1]),
            format!("{place}, launch 0: cluster is 0, 1, 1, which no device takes"),
        ),
        (
            check(|_, variant| variant.launches[0].entry = "a b".into()),
            format!("{place}, launch 0: `a b` is not the name of an entry"),
        ),
        (
            check(|_, variant| variant.launches[0].grid[1] = "q".into()),
            format!("{place}, launch 0: `q` cannot be computed: no size is called `q`"),
        ),
        (
            check(|_, variant| variant.scratch.push(variant.scratch[0].clone())),
            format!("{place}: the name `partial` is used twice"),
        ),
        (
            check(|_, variant| _ = variant.launches[0].params.remove(2)),
            format!("{place}: no launch gets the output `y`"),
        ),
        (check(param(ParamPlan::pointer("z"))), format!("{at}: the spec has no argument `z`")),
        (
            check(param(ParamPlan::pointer("eps"))),
            format!("{at}: `eps` is passed as a pointer, but is a scalar"),
        ),
        (check(param(ParamPlan::scalar("x"))), format!("{at}: `x` is passed as a scalar, but is a tensor")),
        (
            check(param(ParamPlan::Scratch { name: "no".into() })),
            format!("{at}: the variant has no scratch buffer `no`"),
        ),
        (
            check(param(ParamPlan::Size { value: 1.into(), bytes: 2 })),
            format!("{at}: an integer parameter has 2 bytes, but must have 4 or 8"),
        ),
    ] {
        assert_eq!(error, message);
    }
    let mut twice = plan();
    twice.targets[0].variants.push(variant());
    assert!(matches!(twice.check_against(&bound(RMSNORM)), Err(PlanError::Twice { .. })));
}

#[test]
fn locks_round_trip() {
    let kernel = sealed();
    let mut lock = Lock::default();
    assert!(matches!(lock.check(&kernel), Err(LockError::NoEntry { .. })));
    let entry = LockEntry::of(&kernel);
    lock.insert(LockEntry { name: "softmax".into(), ..entry.clone() });
    lock.insert(LockEntry { measured: "old \"words\" \\ here".into(), ..entry.clone() });
    let text = lock.print();
    assert_eq!(Lock::parse(&text).as_ref(), Ok(&lock), "{text}");
    assert_eq!(lock.check(&kernel), Err(LockError::Claims { name: "rmsnorm".into() }));
    lock.insert(entry.clone());
    assert_eq!(lock.entries().len(), 2);
    assert_eq!(lock.check(&kernel), Ok(&entry));
    assert_eq!(lock.entries()[0].name, "rmsnorm");
    assert!(lock.remove("softmax", &entry.key) && !lock.remove("softmax", &entry.key));
    assert_eq!(Lock::parse(&lock.print()).expect("it was just written").print(), lock.print());
}

#[test]
fn locks_notice() {
    let kernel = sealed();
    let entry = LockEntry::of(&kernel);
    let differs = |change: &dyn Fn(&mut LockEntry)| {
        let mut lock = Lock::default();
        let mut entry = entry.clone();
        change(&mut entry);
        lock.insert(entry);
        match lock.check(&kernel).expect_err("the entry was changed") {
            LockError::Digest { what, .. } => what,
            other => panic!("{other}"),
        }
    };
    assert_eq!(differs(&|entry| entry.plan = "0".into()), "plan");
    assert_eq!(differs(&|entry| entry.certificate = "0".into()), "certificate");
    assert_eq!(differs(&|entry| _ = entry.ptx.insert("sm_90.ptx".into(), "0".into())), "sm_90.ptx");
    assert_eq!(differs(&|entry| _ = entry.ptx.remove("sm_100.ptx")), "sm_100.ptx");
    assert_eq!(differs(&|entry| _ = entry.ptx.insert("sm_120.ptx".into(), "0".into())), "sm_120.ptx");
    let text = {
        let mut lock = Lock::default();
        lock.insert(entry.clone());
        lock.print()
    };
    assert_eq!(
        Lock::parse(&text.replace("version = 1", "version = 9")),
        Err(LockError::Newer { found: 9, known: 1 })
    );
    let doubled = format!("{text}{}", &text[text.find("[[kernel]]").expect("it is there")..]);
    assert!(matches!(Lock::parse(&doubled), Err(LockError::Twice { .. })));
    assert!(matches!(Lock::parse(&text.replace("plan =", "plans =")), Err(LockError::Form { .. })));
    let broken = Lock::parse("version = 1\n[[kernel]\n").expect_err("it is not TOML");
    assert!(matches!(broken, LockError::Form { line: 2, .. }), "{broken}");
}

/// A certificate is compared byte for byte with what its figures print as, so a measured time, which may be any f64, must
/// survive being read.
#[test]
fn measured_times_are_read_back_exactly() {
    let mut bits = 0x3ee4_f8b5_88e3_68f1_u64; // 1e-5
    for _ in 0..200 {
        bits = bits.wrapping_add(0x0000_0003_9e37_79b9_7f4b);
        let mut certificate = sealed().certificate;
        certificate.figures[0].seconds = Some(f64::from_bits(bits));
        let kernel = Sealed::new(plan(), certificate, sealed().ptx);
        let dir = tempfile::tempdir().expect("a folder");
        write(&kernel, dir.path());
        assert_eq!(Sealed::read(dir.path()).expect("it was just written"), kernel, "{bits:#x}");
    }
}
