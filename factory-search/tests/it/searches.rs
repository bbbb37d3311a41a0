//! Whole searches.

use factory_search::{
    Budget, Candidate, Event, Gate, GpuPolicy, Phase, Proposal, Proposer, PtxasPolicy, Reason, SearchError,
    SearchOptions, Silent, Verdict, search, search_with,
};
use factory_spec::{Arch, DType, Metric, Minimize, Outcome, Requirement, SizeExpr, SizeValues};

use crate::kernels::{SCALE, bind, bind_with, honest, scale, scale_ptx};

fn options(candidates: usize) -> SearchOptions {
    SearchOptions {
        budget: Budget { candidates, seconds: None },
        threads: 2,
        ptxas: PtxasPolicy::Off,
        gpu: GpuPolicy::Off,
        ..SearchOptions::default()
    }
}

const RMSNORM: &str = r#"
[kernel]
name = "rmsnorm"
[types]
T = ["f32", "bf16"]
[sizes]
m = { min = 1 }
n = { min = 8, max = 65536, multiple_of = 8 }
[[arg]]
name = "x"
dtype = "T"
shape = ["m", "n"]
[[arg]]
name = "w"
dtype = "f32"
shape = ["n"]
[[arg]]
name = "y"
dtype = "T"
shape = ["m", "n"]
role = "out"
[[arg]]
name = "eps"
dtype = "f32"
values = [1e-6, 1e-5]
[reference]
program = '''
ms = mean(x * x, n)
y  = x * rsqrt(ms + eps) * w
'''
[better]
minimize = "time"
over = [{ m = 4096, n = 256 }, { m = 1024, n = 8192 }]
[targets]
arch = ["sm_90", "sm_100"]
"#;

fn rmsnorm(dtype: &str) -> factory_spec::BoundSpec {
    // Written out rather than bound: what a dtype variable looks like is the spec's own test.
    let text =
        RMSNORM.replace("[types]\nT = [\"f32\", \"bf16\"]\n", "").replace("\"T\"", &format!("\"{dtype}\""));
    bind(&text)
}

#[test]
fn rmsnorm_is_found_and_sealed() {
    for dtype in ["f32", "bf16"] {
        let spec = rmsnorm(dtype);
        let mut phases = Vec::new();
        let mut verdicts = 0;
        let found = search(&spec, &options(24), &mut |event: &Event<'_>| match event {
            Event::Phase { phase, .. } => phases.push(*phase),
            Event::Verdict { phase: Phase::Screen, .. } => verdicts += 1,
            _ => {}
        })
        .unwrap_or_else(|error| panic!("{dtype}: {error}"));
        use Phase::{Admit, Enumerate, Prove, Screen, Seal};
        assert_eq!(phases, [Admit, Enumerate, Screen, Prove, Seal, Seal], "one plan a target");
        assert!(found.modelled);
        assert_eq!(verdicts, found.candidates.len());
        assert!(found.candidates.len() <= 48 && found.candidates.len() > 8, "{}", found.candidates.len());
        for record in &found.candidates {
            assert_eq!(record.verdict, Verdict::Pass, "{}: {:?}", record.id, record.rejection);
            assert!(record.modelled.is_some() && record.measured.is_none());
        }
        let certificate = &found.sealed.certificate;
        assert_eq!(certificate.key, spec.key());
        assert_eq!(certificate.gates_passed(), ["parse", "policy", "machine"]);
        assert_eq!(certificate.gates_not_run(), ["assemble", "device", "time", "holdout"]);
        assert_eq!(certificate.measured(), "modelled");
        assert_eq!(found.sealed.plan.targets.len(), 2);
        for target in &found.sealed.plan.targets {
            assert!(target.variants.len() >= 2, "a winner and the fallback");
            assert_eq!(target.variants.last().and_then(|last| last.when.as_constant()), Some(1));
        }
        let cases: u32 = certificate
            .gates
            .iter()
            .filter(|record| record.gate == "machine")
            .map(|record| match &record.outcome {
                Outcome::Passed { cases, .. } => *cases,
                other => panic!("{other:?}"),
            })
            .sum();
        assert!(cases >= 20, "{cases}");
    }
}

#[test]
fn softmax_of_a_gated_sum_is_found() {
    let spec = bind(
        r#"
[kernel]
name = "fused"
[sizes]
m = { min = 1 }
n = { min = 1, max = 16384 }
[[arg]]
name = "a"
dtype = "bf16"
shape = ["m", "n"]
[[arg]]
name = "b"
dtype = "bf16"
shape = ["m", "n"]
[[arg]]
name = "bias"
dtype = "f32"
shape = ["n"]
[[arg]]
name = "y"
dtype = "bf16"
shape = ["m", "n"]
role = "out"
[reference]
program = '''
t = silu(a) * b + bias
e = exp(t - max(t, n))
y = e / sum(e, n)
'''
[better]
over = [{ m = 4096, n = 4096 }]
[targets]
arch = ["sm_90"]
"#,
    );
    let found = search(&spec, &options(24), &mut Silent).unwrap_or_else(|error| panic!("{error}"));
    assert!(found.candidates.iter().any(|record| record.verdict == Verdict::Pass));
    assert!(!found.winners.is_empty());
}

#[test]
fn the_same_search_gives_the_same_bytes_on_any_number_of_threads() {
    let spec = rmsnorm("bf16");
    let run = |threads: usize, seed: u64| {
        let options = SearchOptions { threads, seed, ..options(12) };
        search(&spec, &options, &mut Silent).unwrap_or_else(|error| panic!("{error}")).sealed.files()
    };
    let first = run(1, 5);
    assert_eq!(first, run(3, 5));
    let text: String = first.iter().map(|(_, text)| text.as_str()).collect();
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "no paths");
}

#[test]
fn a_program_that_nobody_can_write_is_declined_with_the_reason() {
    let spec = bind(
        r#"
[kernel]
name = "matmul"
[sizes]
m = { min = 1 }
n = { min = 1 }
k = { min = 1 }
[[arg]]
name = "a"
dtype = "f32"
shape = ["m", "k"]
[[arg]]
name = "b"
dtype = "f32"
shape = ["k", "n"]
[[arg]]
name = "c"
dtype = "f32"
shape = ["m", "n"]
role = "out"
[reference]
program = "s = sum(a, m)\nc = sum(a * b, k) + sum(s, k)"
"#,
    );
    match search(&spec, &options(4), &mut Silent) {
        Err(SearchError::Declined { kernel, reason }) => {
            assert_eq!(kernel, "matmul");
            assert!(!reason.is_empty());
        }
        other => panic!("{:?}", other.map(|found| found.winners)),
    }
}

#[test]
fn an_objective_that_would_be_ignored_is_refused() {
    let mut spec = bind(SCALE);
    spec.better.minimize = Minimize::Metric(Metric::Energy);
    match search(&spec, &options(2), &mut Silent) {
        Err(SearchError::Objective { what, .. }) => assert_eq!(what, "minimize = \"energy\""),
        other => panic!("{:?}", other.map(|found| found.winners)),
    }
    let mut spec = bind(SCALE);
    spec.better.require = vec![Requirement::AtMost { metric: Metric::Registers, limit: 32 }];
    assert!(matches!(search(&spec, &options(2), &mut Silent), Err(SearchError::Objective { .. })));
    // What holds for every generated kernel is no reason to refuse.
    spec.better.require =
        vec![Requirement::Deterministic, Requirement::AtMost { metric: Metric::Workspace, limit: 1 << 20 }];
    assert!(search(&spec, &options(2), &mut Silent).is_ok());
}

#[test]
fn a_tool_that_was_asked_for_and_does_not_run_is_an_error() {
    let spec = bind(SCALE);
    let ptxas = SearchOptions { ptxas: PtxasPolicy::At("/nowhere/ptxas".into()), ..options(2) };
    assert!(matches!(search(&spec, &ptxas, &mut Silent), Err(SearchError::Ptxas { .. })));
    let gpu = SearchOptions { gpu: GpuPolicy::Require(97), ..options(2) };
    assert!(matches!(search(&spec, &gpu, &mut Silent), Err(SearchError::Gpu { ordinal: 97, .. })));
}

/// Proposes hand-made candidates.
struct Hand(Vec<Candidate>);

impl Proposer for Hand {
    fn name(&self) -> &'static str {
        "hand"
    }

    fn propose<'a>(&'a self, _arch: Arch, _over: &SizeValues) -> Vec<Proposal<'a>> {
        self.0.iter().map(|candidate| Proposal::new(move || Ok(candidate.clone()))).collect()
    }

    fn fallback(&self, _arch: Arch) -> Result<Candidate, Reason> {
        let mut candidate = honest();
        candidate.id = "fallback".to_owned();
        candidate.variant.name = "fallback".to_owned();
        Ok(candidate)
    }
}

#[test]
fn a_refused_candidate_never_wins_however_fast_it_looks() {
    let spec = bind(SCALE);
    let mut lazy = scale(scale_ptx("", "ret;", ""));
    lazy.id = "lazy".to_owned();
    let mut clock = scale(scale_ptx("", "mov.u64 %rd9, %clock64;", ""));
    clock.id = "clock".to_owned();
    let found = search_with(&spec, &options(8), &Hand(vec![lazy, clock]), &mut Silent)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.winners, ["fallback"]);
    let gates: Vec<(Gate, Verdict)> =
        found.candidates.iter().map(|record| (record.gate, record.verdict)).collect();
    assert_eq!(gates, [(Gate::Machine, Verdict::Wrong), (Gate::Policy, Verdict::Gaming)]);
    assert_eq!(found.sealed.certificate.candidates.considered, 2);
    assert_eq!(found.sealed.certificate.candidates.refused.values().sum::<u64>(), 2);
}

/// An honest candidate of this name, for these sizes.
fn make(name: &str, when: SizeExpr) -> Candidate {
    let mut candidate = scale(scale_ptx(&format!("// {name}"), "", ""));
    candidate.id = name.to_owned();
    candidate.variant.name = name.to_owned();
    candidate.variant.when = when;
    candidate
}

#[test]
fn winners_of_different_sizes_share_a_plan() {
    let text = SCALE.replace("over = [{ n = 65536 }]", "over = [{ n = 512 }, { n = 65536 }]");
    let spec = bind(&text);
    let small = make("small", SizeExpr::size("n").le(4096));
    let large = make("large", SizeExpr::size("n").gt(4096));
    let found = search_with(&spec, &options(8), &Hand(vec![small, large]), &mut Silent)
        .unwrap_or_else(|error| panic!("{error}"));
    // Between them the two serve everything: the fallback alone comes after them.
    assert_eq!(found.winners, ["small", "large", "fallback"]);
    let target = &found.sealed.plan.targets[0];
    let entries: std::collections::BTreeSet<&str> =
        target.variants.iter().map(|variant| variant.launches[0].entry.as_str()).collect();
    assert_eq!(entries.len(), 3, "entries got names of their own: {entries:?}");
    assert!(target.variants[0].when.to_string().contains("n <= "), "{}", target.variants[0].when);
    // The one that did not serve a size was refused for it, not for being wrong.
    let refused: Vec<(&str, &str)> = found
        .candidates
        .iter()
        .filter(|record| record.rejection.is_some())
        .map(|record| (record.id.as_str(), record.sizes.as_str()))
        .collect();
    // Each size had its first candidate before any had its second.
    assert_eq!(refused, [("small", "n=65536"), ("large", "n=512")]);
}

#[test]
fn behind_a_winner_of_one_size_stands_one_that_serves_its_neighbours_and_nobody_is_sealed_in_vain() {
    let text = SCALE.replace("over = [{ n = 65536 }]", "over = [{ n = 4096 }, { n = 8192 }]");
    let spec = bind(&text);
    let n = || SizeExpr::size("n");
    let exact = make("exact", n().le(4096).and(n().gt(4095)));
    let roomy = make("roomy", n().le(8192));
    let found = search_with(&spec, &options(8), &Hand(vec![exact, roomy]), &mut Silent)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.winners, ["exact", "roomy", "fallback"]);
    // The one that serves every size leaves nothing to the ones behind it, whose entries are not in the module either.
    let all = make("all", SizeExpr::constant(1));
    let small = make("small", n().le(8192));
    let found = search_with(&spec, &options(8), &Hand(vec![all, small]), &mut Silent)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.winners.last().map(String::as_str), Some("fallback"));
    let target = &found.sealed.plan.targets[0];
    let module = &found.sealed.ptx[&target.ptx];
    let entries = module.matches(".entry").count();
    let launched: std::collections::BTreeSet<&str> =
        target.variants.iter().map(|variant| variant.launches[0].entry.as_str()).collect();
    assert_eq!(entries, launched.len(), "every entry is launched by somebody: {launched:?}");
}

#[test]
fn the_budget_counts_candidates() {
    let spec = rmsnorm("f32");
    let options = SearchOptions { arches: vec![Arch::Sm90], ..options(5) };
    let found = search(&spec, &options, &mut Silent).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.candidates.len(), 5);
    let none = SearchOptions { budget: Budget { candidates: 5, seconds: Some(0.0) }, ..options };
    let mut notes = Vec::new();
    let cut = search(&spec, &none, &mut |event: &Event<'_>| {
        if let Event::Note { message } = event {
            notes.push((*message).to_owned());
        }
    })
    .unwrap_or_else(|error| panic!("{error}"));
    assert!(cut.candidates.is_empty());
    assert!(notes.iter().any(|note| note.contains("limit of 0 s")), "{notes:?}");
}

#[test]
fn a_spec_bound_to_other_dtypes_is_another_search() {
    let _ = bind_with(SCALE, &[] as &[(&str, DType)]);
    assert_ne!(rmsnorm("f32").key(), rmsnorm("bf16").key());
}
