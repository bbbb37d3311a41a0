//! Our own harness broken on purpose, one thing at a time: the corpus has to notice, by a candidate that slips through.
//!
//! A harness is what runs the cases and compares the outputs. [`Harness::whole`] does as the machine gate does; each
//! mutation takes one thing away. What slips through the mutated harness must be refused by the whole one, so that a change
//! of the gates which does the same harm fails here or in [`crate::gates`].

use std::collections::BTreeMap;

use factory_ptx::machine::Checks;
use factory_search::cases::{Cases, PreparedCase, Ready};
use factory_search::gates::machine::{How, MachineGate};
use factory_search::gates::{self, Subject};
use factory_search::{Gate, Reason, Rejection};
use factory_spec::tolerance::Tolerances;
use factory_spec::{BoundSpec, compare};

use crate::corpus::{Corpus, Entry};
use crate::gates::{cases, on_all_cores};

const SEED: u64 = 0x00c0_ffee;

/// Changes what is compared: the outputs' bytes and the tolerances.
type Before = fn(&BoundSpec, &PreparedCase, &Ready, &mut Vec<Vec<u8>>, &mut Tolerances);

/// What a harness does.
#[derive(Clone, Copy)]
struct Harness {
    policy: bool,
    /// Whether an output that was not written counts.
    poison: bool,
    /// Whether what lies between rows of an output must stay.
    gaps: bool,
    /// Whether inputs lie at the alignment that the plan states.
    shifted: bool,
    /// Whether kernels are run in several orders.
    orders: bool,
    checks: Checks,
    /// Which cases are run.
    keep: fn(&BoundSpec, &PreparedCase) -> bool,
    before: Before,
    /// Whether NaN, infinities and bounds of elements and rows count, or the norm of everything alone.
    norm_alone: bool,
}

impl Harness {
    const fn whole() -> Harness {
        Harness {
            policy: true,
            poison: true,
            gaps: true,
            shifted: true,
            orders: true,
            checks: Checks::all(),
            keep: |_, _| true,
            before: |_, _, _, _, _| (),
            norm_alone: false,
        }
    }

    fn judge(&self, spec: &BoundSpec, cases: &Cases, entry: &Entry) -> Result<(), Rejection> {
        let subject = Subject::from(&entry.candidate);
        let module = gates::parse::parse(spec, &subject)?;
        if self.policy {
            gates::policy::policy(&module, &spec.better.allow)?;
        }
        let gate = MachineGate::new(spec, subject, &module, SEED)?;
        let served = cases.served(spec, &entry.candidate.variant);
        let mut run = 0;
        for case in served.iter().map(|&index| &cases.all()[index]).filter(|case| (self.keep)(spec, case)) {
            let how = gate.how(case);
            let how = How { shifted: how.shifted && self.shifted, checks: self.checks, ..how };
            let mut outputs = match gate.outputs(case, &how) {
                Err(Rejection { reason: Reason::Unwritten { .. }, .. }) if !self.poison => continue,
                Err(Rejection { reason: Reason::RowGap { .. }, .. }) if !self.gaps => continue,
                other => other?,
            };
            run += 1;
            self.compare(spec, case, &mut outputs)?;
        }
        assert!(run > 0 || !self.poison, "{}: the mutated harness runs no case", entry.name);
        if self.orders { gate.orders(cases, &served) } else { Ok(()) }
    }

    fn compare(
        &self,
        spec: &BoundSpec,
        case: &PreparedCase,
        outputs: &mut Vec<Vec<u8>>,
    ) -> Result<(), Rejection> {
        let refuse = |message: String| {
            Rejection::new(Gate::Machine, Reason::Mismatch { sizes: case.label.clone(), message })
        };
        let ready = case.ready(spec).map_err(|message| refuse(message.to_owned()))?;
        let mut tolerances = ready.tolerances.clone();
        (self.before)(spec, case, ready, outputs, &mut tolerances);
        if self.norm_alone {
            return norm_alone(spec, ready, outputs).map_err(refuse);
        }
        let slices: Vec<&[u8]> = outputs.iter().map(Vec::as_slice).collect();
        compare::compare(spec, &case.case, &ready.expected, &slices, &tolerances)
            .map(|_| ())
            .map_err(|mismatch| refuse(mismatch.to_string()))
    }
}

/// The norm of the whole error within two per cent, and nothing else.
fn norm_alone(spec: &BoundSpec, ready: &Ready, outputs: &[Vec<u8>]) -> Result<(), String> {
    for ((id, arg), bytes) in spec.outputs().zip(outputs) {
        let mut actual = Vec::new();
        arg.dtype.decode(bytes, &mut actual);
        let expected = ready.expected.get(id).unwrap_or_default();
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
        let error = square(&mut expected.iter().zip(&actual).map(|(a, b)| a - b));
        if error > 0.0004 * square(&mut expected.iter().copied()) {
            return Err(format!("the norm of `{}`", arg.name));
        }
    }
    Ok(())
}

/// Puts the right answer in the place of some elements, so that nothing can be said against them.
fn forgive(
    spec: &BoundSpec,
    ready: &Ready,
    outputs: &mut [Vec<u8>],
    which: impl Fn(usize, usize, f64) -> bool,
) {
    for (position, ((id, arg), bytes)) in spec.outputs().zip(outputs).enumerate() {
        let mut actual = Vec::new();
        arg.dtype.decode(bytes, &mut actual);
        for (index, value) in actual.iter_mut().enumerate() {
            if which(position, index, *value) {
                *value = arg.dtype.round(ready.expected.get(id).unwrap_or_default()[index]);
            }
        }
        bytes.clear();
        arg.dtype.encode(&actual, bytes);
    }
}

fn free_sizes<'a>(spec: &'a BoundSpec, case: &'a PreparedCase) -> impl Iterator<Item = (&'a str, u64)> {
    spec.sizes.iter().zip(&case.case.sizes.0).map(|(size, value)| (size.name.as_str(), *value))
}

fn is_ordinary(case: &PreparedCase) -> bool {
    case.case.kinds.values().all(|kind| kind.to_string() == "normal") && !case.label.contains("ordinary")
}

/// Whether no tensor holds values of different kinds side by side.
fn is_uniform(case: &PreparedCase) -> bool {
    let mixed = ["prefix", "outlier", "blocks", "shuffled"];
    let is_mixed = |kind: String| mixed.contains(&kind.as_str());
    !case.case.kinds.values().any(|kind| is_mixed(kind.to_string())) && !case.label.contains("ordinary")
}

/// A mutation and the candidates that slip through it.
struct Mutation {
    /// What is broken, with the row of the catalogue.
    what: &'static str,
    harness: Harness,
    slips: &'static [&'static str],
}

const WHOLE: Harness = Harness::whole();

const MUTATIONS: &[Mutation] = &[
    Mutation {
        what: "C1: a comparator that skips one element in four",
        harness: Harness {
            before: |spec, _, ready, outputs, _| forgive(spec, ready, outputs, |_, index, _| index % 4 == 1),
            ..WHOLE
        },
        slips: &["k21/one-element"],
    },
    Mutation {
        what: "C2: only the last output is compared",
        harness: Harness {
            before: |spec, _, ready, outputs, _| {
                let last = outputs.len() - 1;
                forgive(spec, ready, outputs, |output, _, _| output != last);
            },
            ..WHOLE
        },
        slips: &["k21/first-of-two-outputs"],
    },
    Mutation {
        what: "C4: only the first output is compared",
        harness: Harness {
            before: |spec, _, ready, outputs, _| forgive(spec, ready, outputs, |output, _, _| output > 0),
            ..WHOLE
        },
        slips: &["k21/second-of-two-outputs"],
    },
    Mutation {
        what: "C3: the tolerance is ten thousand times what it should be",
        harness: Harness {
            before: |_, _, _, _, tolerances| {
                for tolerance in tolerances.0.values_mut() {
                    for bound in [
                        &mut tolerance.relative_l2,
                        &mut tolerance.max_relative,
                        &mut tolerance.beyond_rounding,
                    ] {
                        *bound = bound.map(|bound| bound * 10_000.0);
                    }
                }
            },
            ..WHOLE
        },
        slips: &["k18/bfloat-output", "k43/half-exp"],
    },
    Mutation {
        what: "C6: what is large is not compared",
        harness: Harness { keep: |_, case| case.elements <= 1000, ..WHOLE },
        slips: &["k19/half-on-long-rows", "k19/wrong-on-many-rows"],
    },
    Mutation {
        what: "K23: a comparator to which NaN is as good as anything",
        harness: Harness {
            before: |spec, _, ready, outputs, _| {
                forgive(spec, ready, outputs, |_, _, value| value.is_nan());
            },
            ..WHOLE
        },
        slips: &["k23/nan", "k23/all-nan"],
    },
    Mutation {
        what: "K21: the norm of everything, and no bound on rows and elements",
        harness: Harness { norm_alone: true, ..WHOLE },
        slips: &["k21/one-row"],
    },
    Mutation {
        what: "K1: outputs are not poisoned, so that they may hold the answer",
        harness: Harness { poison: false, ..WHOLE },
        slips: &["k01/empty", "k02/tail", "k02/last-column", "k04/half-the-grid", "k20/unwritten-rows"],
    },
    Mutation {
        what: "K36: nobody looks who wrote what is read",
        harness: Harness { checks: Checks { uninitialised: false, ..Checks::all() }, poison: false, ..WHOLE },
        slips: &["k01/keeps-what-looks-right"],
    },
    Mutation {
        what: "K47: nobody looks between the rows of outputs",
        harness: Harness { gaps: false, ..WHOLE },
        slips: &["k47/writes-between-rows", "k47/writes-bands-between-rows"],
    },
    Mutation {
        what: "K47: nobody looks who wrote what is read between the rows of inputs",
        harness: Harness { checks: Checks { uninitialised: false, ..Checks::all() }, ..WHOLE },
        slips: &["k47/reads-between-rows"],
    },
    Mutation {
        what: "K38: tensors always begin at multiples of 256 bytes",
        harness: Harness { shifted: false, ..WHOLE },
        slips: &["k38/says-4-needs-16"],
    },
    Mutation {
        what: "K33, K44: one order of blocks, and all of them resident",
        harness: Harness { orders: false, ..WHOLE },
        slips: &["k33/atomic-sum", "k44/waits-for-the-last-block"],
    },
    Mutation {
        what: "C12: no policy",
        harness: Harness { policy: false, ..WHOLE },
        slips: &["k29/three-times-right", "k40/evict-last", "k41/prefetches-the-next"],
    },
    Mutation {
        what: "K2: no sizes with a tail",
        harness: Harness {
            keep: |spec, case| free_sizes(spec, case).all(|(name, value)| name != "n" || value % 256 == 0),
            ..WHOLE
        },
        slips: &["k02/tail", "k04/a-block-less", "k35/reads-the-neighbour"],
    },
    Mutation {
        what: "K15: ordinary inputs alone",
        harness: Harness { keep: |_, case| is_ordinary(case), ..WHOLE },
        slips: &["k15/prefix-of-8", "k15/prefix-of-256", "k22/no-maximum", "k17/diagonal"],
    },
    Mutation {
        what: "K15: every tensor is all of one kind",
        harness: Harness { keep: |_, case| is_uniform(case), ..WHOLE },
        slips: &["k15/prefix-of-32", "k15/prefix-of-256", "k15/prefix-of-the-tensor"],
    },
    Mutation {
        what: "K19: the timed sizes are not among those that are checked",
        harness: Harness {
            keep: |spec, case| free_sizes(spec, case).all(|(_, value)| value != 1024),
            ..WHOLE
        },
        slips: &["k19/half-at-the-timed-size", "k19/wrong-with-many-rows"],
    },
    Mutation {
        what: "K12: the scalar that is timed, and no other",
        harness: Harness {
            keep: |spec, case| {
                let id = spec.inputs().find(|(_, arg)| arg.name == "a").map(|(id, _)| id);
                let bytes = id.and_then(|id| case.inputs(spec).get(&id));
                bytes.is_some_and(|bytes| bytes[..] == 0.75f32.to_le_bytes())
            },
            ..WHOLE
        },
        slips: &["k12/scalar-of-the-benchmark"],
    },
];

#[test]
fn the_corpus_notices_every_mutation_of_the_harness() {
    let corpus = Corpus::read().unwrap_or_else(|error| panic!("{error}"));
    let cases: BTreeMap<String, Cases> = cases(&corpus, SEED);
    let mut wanted: Vec<(&Mutation, &Entry)> = Vec::new();
    for mutation in MUTATIONS {
        for name in mutation.slips {
            let found = corpus.entries.iter().find(|entry| entry.name == *name);
            wanted.push((mutation, found.unwrap_or_else(|| panic!("there is no `{name}`"))));
        }
    }
    let entries: Vec<&Entry> = wanted.iter().map(|(_, entry)| *entry).collect();
    let judge = |harness: &Harness, entry: &Entry| {
        harness.judge(&corpus.specs[&entry.spec], &cases[&entry.spec], entry)
    };
    let whole = on_all_cores(&entries, |_, entry| judge(&WHOLE, entry));
    let mutated = on_all_cores(&entries, |index, entry| judge(&wanted[index].0.harness, entry));
    let mut wrong = Vec::new();
    for (((mutation, entry), whole), mutated) in wanted.iter().zip(whole).zip(mutated) {
        if whole.is_ok() {
            wrong.push(format!("{} passes the whole harness", entry.name));
        }
        if let Err(rejection) = mutated {
            wrong.push(format!("{}: {} is refused all the same: {rejection}", mutation.what, entry.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
