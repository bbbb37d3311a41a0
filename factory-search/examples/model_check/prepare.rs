//! Draws candidates and profiles them.

use crate::specs::{SUBJECTS, Subject, size_values};
use crate::{Prepared, Samples};
use factory_search::gates::{self, Subject as GateSubject};
use factory_search::model::{PROFILED, compulsory_bytes, profile};
use factory_search::toolchain::Ptxas;
use factory_search::{Candidate, Generator, Proposer, PtxasPolicy};
use factory_spec::{Arch, BoundSpec};
use std::collections::BTreeMap;

/// Candidates of each spec and size.
const DRAWN: usize = 14;
/// How many of them are those that the proposer thinks likeliest.
const LIKELIEST: usize = 3;

pub(crate) fn prepare(to: &str) -> Result<(), String> {
    let ptxas = Ptxas::find(&PtxasPolicy::Find).map_err(|error| error.to_string())??;
    let mut all = Vec::new();
    // Size after size rather than spec after spec: a measurement that ends early has something of everything.
    for position in 0..5 {
        for subject in SUBJECTS {
            let Some(&(m, n)) = subject.sizes.get(position) else { continue };
            let before = all.len();
            group(subject, m, n, &ptxas, &mut all)?;
            eprintln!("{} m={m} n={n}: {} candidates", subject.name, all.len() - before);
        }
    }
    crate::write(to, &serde_json::to_string(&all).map_err(|error| error.to_string())?)
}

/// Puts the profiles of candidates into the samples of the same candidates.
pub(crate) fn reprofile(candidates: &str, samples: &str) -> Result<(), String> {
    let prepared: Vec<Prepared> = crate::read(candidates)?;
    let mut known = BTreeMap::new();
    for candidate in &prepared {
        known.insert((&candidate.spec, &candidate.sizes, &candidate.id), candidate);
    }
    let mut all: Samples = crate::read(samples)?;
    for sample in &mut all.samples {
        let candidate = known
            .get(&(&sample.spec, &sample.sizes, &sample.id))
            .ok_or_else(|| format!("`{}` was not prepared again", sample.id))?;
        sample.profiles.clone_from(&candidate.profiles);
        sample.guessed_registers.clone_from(&candidate.guessed_registers);
    }
    crate::write(samples, &serde_json::to_string(&all).map_err(|error| error.to_string())?)
}

fn group(subject: &Subject, m: u64, n: u64, ptxas: &Ptxas, all: &mut Vec<Prepared>) -> Result<(), String> {
    let spec = subject.spec()?;
    let free = BTreeMap::from([("m".to_owned(), m), ("n".to_owned(), n)]);
    let over = size_values(&spec, &free)?;
    let generator = Generator::new(&spec).map_err(|error| error.to_string())?;
    let mut proposals = generator.propose(Arch::Sm90, &over);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ m.rotate_left(20) ^ n ^ (subject.name.len() as u64) << 40;
    let mut wanted = 0;
    let mut taken = 0;
    while taken < DRAWN && !proposals.is_empty() {
        // The likeliest first, then any.
        let at = if wanted < LIKELIEST { 0 } else { (next(&mut state) % proposals.len() as u64) as usize };
        wanted += 1;
        let proposal = proposals.remove(at);
        let Ok(candidate) = proposal.make() else { continue };
        match one(&spec, &over, &candidate, ptxas) {
            Ok((profiles, guessed_registers)) => {
                taken += 1;
                all.push(Prepared {
                    spec: subject.name.to_owned(),
                    sizes: free.clone(),
                    id: candidate.id,
                    tunables: candidate.tunables,
                    ptx: candidate.ptx,
                    variant: candidate.variant,
                    profiles,
                    guessed_registers,
                    compulsory: compulsory_bytes(&spec, &over),
                });
            }
            Err(reason) => eprintln!("{}: {reason}", candidate.id),
        }
    }
    Ok(())
}

type Profiled = (Vec<factory_search::model::LaunchProfile>, Vec<u32>);

fn one(
    spec: &BoundSpec,
    over: &factory_spec::SizeValues,
    candidate: &Candidate,
    ptxas: &Ptxas,
) -> Result<Profiled, String> {
    let module =
        gates::parse::parse(spec, &GateSubject::from(candidate)).map_err(|error| error.to_string())?;
    let resources =
        gates::assemble::assemble(ptxas, &candidate.ptx, candidate.arch).map_err(|e| e.to_string())?;
    let with = profile(spec, candidate.arch, &module, &candidate.variant, Some(&resources), over, PROFILED);
    let without = profile(spec, candidate.arch, &module, &candidate.variant, None, over, PROFILED);
    let without = without.map_err(|error| error.to_string())?;
    Ok((with.map_err(|error| error.to_string())?, without.iter().map(|profile| profile.registers).collect()))
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
