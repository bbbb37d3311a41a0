//! Every candidate of the corpus goes through the gates as in a search: the hostile ones are refused by the gate and for
//! the reason that their header names, the honest twins pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use factory_search::cases::Cases;
use factory_search::toolchain::Ptxas;
use factory_search::{Judged, PtxasPolicy, Rejection, judge};

use crate::corpus::{Corpus, Entry};

/// The seed of the cases; the corpus has to be refused whatever it is.
const SEED: u64 = 0x00c0_ffee;

/// Cases of every spec.
pub(crate) fn cases(corpus: &Corpus, seed: u64) -> BTreeMap<String, Cases> {
    corpus
        .specs
        .iter()
        .map(|(name, spec)| (name.clone(), Cases::draw(spec, seed, &spec.better.over)))
        .collect()
}

/// Does something with every entry, on all cores; the answers in order.
pub(crate) fn on_all_cores<T: Send>(entries: &[&Entry], work: impl Fn(usize, &Entry) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<(usize, T)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(entry) = entries.get(index) else { return mine };
                        mine.push((index, work(index, entry)));
                    }
                })
            })
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| match handle.join() {
                Ok(mine) => mine,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    });
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, value)| value).collect()
}

fn judge_all(corpus: &Corpus, seed: u64, ptxas: Option<&Ptxas>) -> Vec<Result<Judged, Rejection>> {
    let cases = cases(corpus, seed);
    let entries: Vec<&Entry> = corpus.entries.iter().collect();
    // Many twins are the same kernel: each is judged once, as a search does.
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    let judged: Vec<usize> =
        entries.iter().enumerate().map(|(index, entry)| *first.entry(key(entry)).or_insert(index)).collect();
    let distinct: Vec<&Entry> = judged
        .iter()
        .enumerate()
        .filter(|(index, first)| index == *first)
        .map(|(index, _)| entries[index])
        .collect();
    let verdicts = on_all_cores(&distinct, |_, entry| {
        judge(&corpus.specs[&entry.spec], &entry.candidate, &cases[&entry.spec], ptxas, seed)
    });
    let by_name: BTreeMap<&str, Result<Judged, Rejection>> =
        distinct.iter().map(|entry| entry.name.as_str()).zip(verdicts).collect();
    judged.iter().map(|&first| by_name[entries[first].name.as_str()].clone()).collect()
}

/// The same for candidates that differ in their names and headers alone.
fn key(entry: &Entry) -> String {
    let body: Vec<&str> = entry.candidate.ptx.lines().filter(|line| !line.starts_with("//:")).collect();
    let variant = &entry.candidate.variant;
    format!(
        "{} {} {} {:?} {:?} {}",
        entry.spec,
        variant.when,
        variant.alignment,
        variant.scratch,
        variant.launches,
        body.join("\n")
    )
}

/// What is not as the corpus says, one line a candidate.
fn surprises(corpus: &Corpus, verdicts: &[Result<Judged, Rejection>]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (entry, verdict) in corpus.entries.iter().zip(verdicts) {
        let surprise = match (&entry.refused, verdict) {
            (Some(refusal), Err(found)) => refusal.differs(found),
            (Some(refusal), Ok(judged)) => {
                Some(format!("it passed {} cases; {} should refuse it", judged.cases, refusal.by))
            }
            (None, Err(found)) => Some(format!("it was refused: {found}")),
            (None, Ok(judged)) if judged.cases < 8 => Some(format!("only {} cases were run", judged.cases)),
            (None, Ok(_)) => None,
        };
        wrong.extend(surprise.map(|surprise| format!("{}: {surprise}", entry.name)));
    }
    wrong
}

#[test]
fn every_candidate_is_judged_as_its_header_says() {
    let corpus = Corpus::read().unwrap_or_else(|error| panic!("{error}"));
    let ptxas = Ptxas::find(&PtxasPolicy::Find).ok().and_then(Result::ok);
    let verdicts = judge_all(&corpus, SEED, ptxas.as_ref());
    let wrong = surprises(&corpus, &verdicts);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.entries.len(), wrong.join("\n"));
}

#[test]
fn another_seed_gives_the_same_verdicts() {
    // What passes is run on every case, so that twins and holes are left to the test above.
    let mut corpus = Corpus::read().unwrap_or_else(|error| panic!("{error}"));
    corpus.entries.retain(|entry| entry.refused.is_some());
    let wrong = surprises(&corpus, &judge_all(&corpus, 1, None));
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.entries.len(), wrong.join("\n"));
}

#[test]
fn every_row_has_a_twin_or_a_reason_in_the_readme() {
    let corpus = Corpus::read().unwrap_or_else(|error| panic!("{error}"));
    let path = crate::corpus::folder().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let rows: BTreeSet<&str> = corpus.entries.iter().map(|entry| entry.row.as_str()).collect();
    let harness = rows.iter().filter(|row| row.starts_with('C')).map(|row| (*row).to_owned());
    for row in (1..=46).map(|number| format!("K{number}")).chain(harness) {
        let of_row = |twin: bool| {
            corpus.entries.iter().filter(|entry| entry.row == row && entry.is_twin() == twin).count()
        };
        if rows.contains(row.as_str()) {
            assert!(of_row(true) >= 1, "{row} has no honest twin");
            assert!(of_row(false) >= 1, "{row} has nothing but a twin");
        } else {
            assert!(
                readme.contains(&format!("| {row} |")),
                "{row} is neither a candidate nor in {}",
                path.display()
            );
        }
    }
    for entry in &corpus.entries {
        let says = &entry.says;
        assert!(says.ends_with('.') && says.len() > 10, "{}: `{says}` is no sentence", entry.name);
    }
    for entry in corpus.entries.iter().filter(|entry| entry.device.is_some() || entry.open.is_some()) {
        assert!(
            readme.contains(&entry.name),
            "{} passes without a GPU, and {} does not say so",
            entry.name,
            path.display()
        );
    }
}
