//! Draws candidates of each spec, assembles and profiles them.

use crate::recorded::Prepared;
use crate::specs::{SUBJECTS, Subject, size_values};
use factory_search::gates::{self, Subject as GateSubject};
use factory_search::model::{PROFILED, compulsory_bytes, profile};
use factory_search::toolchain::Ptxas;
use factory_search::{Candidate, Generator, Proposal, Proposer, PtxasPolicy};
use factory_spec::{Arch, BoundSpec, SizeValues};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where each spec is swept: long enough to be more than a launch, short enough that hundreds of candidates take seconds.
const ROWS: (u64, u64) = (8192, 4096);
const ELEMENTS: (u64, u64) = (4096, 4096);

pub(crate) fn prepare(to: &str, wanted: usize) -> Result<(), String> {
    let ptxas = Ptxas::find(&PtxasPolicy::Find).map_err(|error| error.to_string())??;
    let mut all = Vec::new();
    for subject in SUBJECTS {
        let (m, n) = if subject.sizes[0].1 == 1024 { ROWS } else { ELEMENTS };
        let before = all.len();
        task(subject, m, n, wanted, &ptxas, &mut all)?;
        eprintln!("{} m={m} n={n}: {} candidates", subject.name, all.len() - before);
    }
    crate::write(to, &all)
}

fn task(
    subject: &Subject,
    m: u64,
    n: u64,
    wanted: usize,
    ptxas: &Ptxas,
    all: &mut Vec<Prepared>,
) -> Result<(), String> {
    let spec = subject.spec()?;
    let free = BTreeMap::from([("m".to_owned(), m), ("n".to_owned(), n)]);
    let over = size_values(&spec, &free)?;
    let generator = Generator::new(&spec).map_err(|error| error.to_string())?;
    let proposals = spread(generator.propose(Arch::Sm90, &over), wanted);
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(proposal) = proposals.get(index) else { break };
                    match one(&spec, &over, proposal, ptxas) {
                        Ok((candidate, profiles)) => found
                            .lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner())
                            .push((index, candidate, profiles)),
                        Err(reason) => eprintln!("{}: {reason}", subject.name),
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    found.sort_by_key(|(index, ..)| *index);
    all.extend(found.into_iter().map(|(_, candidate, profiles)| Prepared {
        spec: subject.name.to_owned(),
        sizes: free.clone(),
        id: candidate.id,
        tunables: candidate.tunables,
        ptx: candidate.ptx,
        variant: candidate.variant,
        profiles,
        compulsory: compulsory_bytes(&spec, &over),
    }));
    Ok(())
}

/// At most `wanted` proposals, evenly over their order: the whole space in small.
fn spread(proposals: Vec<Proposal<'_>>, wanted: usize) -> Vec<Proposal<'_>> {
    let count = proposals.len();
    let kept = |index: usize| count <= wanted || index * wanted / count != (index + 1) * wanted / count;
    proposals
        .into_iter()
        .enumerate()
        .filter(|(index, _)| kept(*index))
        .map(|(_, proposal)| proposal)
        .collect()
}

type Profiles = Vec<factory_search::model::LaunchProfile>;

fn one(
    spec: &BoundSpec,
    over: &SizeValues,
    proposal: &Proposal<'_>,
    ptxas: &Ptxas,
) -> Result<(Candidate, Profiles), String> {
    let candidate = proposal.make().map_err(|error| error.to_string())?;
    let module =
        gates::parse::parse(spec, &GateSubject::from(&candidate)).map_err(|error| error.to_string())?;
    let resources =
        gates::assemble::assemble(ptxas, &candidate.ptx, candidate.arch).map_err(|e| e.to_string())?;
    let profiles =
        profile(spec, candidate.arch, &module, &candidate.variant, Some(&resources), over, PROFILED)
            .map_err(|error| error.to_string())?;
    Ok((candidate, profiles))
}
