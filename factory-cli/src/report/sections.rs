//! What the sections of the page say, as rows of text. Raw facts go in; nothing here is escaped, the template does that.

use super::facts::{Candidate, Facts};
use super::number::{self, count, percent, time};
use factory_search::Gate;
use factory_search::model::{Target, compulsory_bytes};
use factory_spec::{Arch, Basis, Outcome};
use std::collections::BTreeMap;

/// What one kernel reaches at some sizes.
pub(crate) struct Case {
    pub(crate) arch: String,
    pub(crate) sizes: String,
    pub(crate) time: String,
    pub(crate) measured: bool,
    /// Share of the roofline's rate that was reached
    pub(crate) share: Option<f64>,
    pub(crate) share_text: String,
    pub(crate) width: String,
    pub(crate) rate: String,
    pub(crate) beside: Vec<String>,
    pub(crate) winner: String,
    pub(crate) registers: String,
}

/// Every size and its winner, the smallest share of the roofline first.
pub(crate) fn cases(facts: &Facts) -> Vec<Case> {
    let mut cases = if facts.sealed.is_some() { of_figures(facts) } else { of_candidates(facts) };
    cases.sort_by(|a, b| {
        let key = |case: &Case| (!case.measured, case.share.unwrap_or(f64::INFINITY));
        key(a).0.cmp(&key(b).0).then(key(a).1.total_cmp(&key(b).1))
    });
    cases
}

fn of_figures(facts: &Facts) -> Vec<Case> {
    let figures = facts.sealed.iter().flat_map(|sealed| &sealed.certificate.figures);
    figures
        .map(|figure| {
            let label: Vec<String> =
                figure.sizes.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let measured = matches!(figure.basis, Basis::Measured { .. });
            let roofline = figure.roofline_seconds;
            let variant = format!("variant {}", figure.variant);
            case(
                facts,
                figure.target.name(),
                &label.join(" "),
                figure.seconds,
                measured,
                roofline,
                variant,
                None,
            )
        })
        .collect()
}

fn of_candidates(facts: &Facts) -> Vec<Case> {
    facts
        .groups()
        .iter()
        .filter_map(|group| {
            let best = facts.best(group)?;
            let roofline = roofline(facts, &group.0, &group.1);
            Some(case(
                facts,
                &group.0,
                &group.1,
                best.seconds(),
                best.measured.is_some(),
                roofline,
                best.id.clone(),
                best.registers,
            ))
        })
        .collect()
}

#[expect(clippy::too_many_arguments, reason = "one row's cells, put together in one place")]
fn case(
    facts: &Facts,
    arch: &str,
    sizes: &str,
    seconds: Option<f64>,
    measured: bool,
    roofline: Option<f64>,
    winner: String,
    registers: Option<u32>,
) -> Case {
    let share = roofline.zip(seconds).map(|(roofline, seconds)| roofline / seconds);
    let bytes =
        facts.spec.as_ref().zip(facts.sizes(sizes)).map(|(spec, sizes)| compulsory_bytes(spec, &sizes));
    let beside = facts.references.iter().filter(|reference| reference.sizes == sizes && measured);
    Case {
        arch: arch.to_owned(),
        sizes: sizes.to_owned(),
        time: seconds.map_or_else(|| "not known".to_owned(), time),
        measured,
        share,
        share_text: share.map_or_else(|| "–".to_owned(), percent),
        width: format!("{:.1}", share.unwrap_or(0.0).clamp(0.0, 1.0) * 100.0),
        rate: bytes
            .zip(seconds)
            .map_or_else(String::new, |(bytes, seconds)| number::scaled(bytes / seconds, "B/s")),
        beside: beside
            .filter_map(|reference| {
                let share = percent(reference.seconds / seconds?);
                let run = if reference.same_run { "" } else { ", timed in another run" };
                Some(format!("{share} of the rate of {}{run}", reference.label))
            })
            .collect(),
        winner,
        registers: registers.map_or_else(String::new, |registers| format!("{registers} registers")),
    }
}

/// The least time that memory allows.
pub(crate) fn roofline(facts: &Facts, arch: &str, sizes: &str) -> Option<f64> {
    let spec = facts.spec.as_ref()?;
    let target = Target::of(Arch::parse(arch)?);
    Some(compulsory_bytes(spec, &facts.sizes(sizes)?) / target.memory_bandwidth)
}

/// A part of what was asked.
pub(crate) struct Asked {
    pub(crate) title: &'static str,
    pub(crate) lines: Vec<String>,
    /// Set in a fixed pitch
    pub(crate) code: bool,
}

/// The spec in parts. They are read from its canonical form, which every certificate holds: it says what counts, and
/// nothing else.
pub(crate) fn asked(facts: &Facts) -> Vec<Asked> {
    let mut parts: BTreeMap<usize, (&'static str, bool, Vec<String>)> = BTreeMap::new();
    let mut reference = false;
    // Bytes that are left of the source of a reference in C, which may look like anything.
    let mut source = 0usize;
    for line in facts.canonical.as_deref().unwrap_or_default().lines().skip(1) {
        if source > 0 {
            source = source.saturating_sub(line.len() + 1);
            if let Some((_, _, lines)) = parts.get_mut(&2) {
                lines.push(line.to_owned());
            }
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let known = match word {
            "size" => Some((0, "Sizes", false)),
            "constraint" => Some((0, "Sizes", false)),
            "arg" => Some((1, "Arguments", true)),
            "program" | "c" => Some((2, "Reference, evaluated in f64", true)),
            "case" | "inputs" => Some((3, "Cases besides those that are drawn", false)),
            "tolerance" => Some((4, "Tolerance", false)),
            "minimize" | "over" => Some((5, "Better", false)),
            "require" => Some((6, "Required", false)),
            "allow" => Some((7, "Allowed", false)),
            "target" => Some((8, "Targets", false)),
            _ => None,
        };
        match known {
            // Lines of a program are no parts, until the first word that can follow it.
            Some((position, title, code)) if !reference || position > 2 => {
                reference = position == 2;
                let lines = &mut parts.entry(position).or_insert((title, code, Vec::new())).2;
                if !reference {
                    lines.push(plainly(word, rest));
                } else if word == "c" {
                    lines.push(line.to_owned());
                    source = rest.rsplit(' ').next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
                    reference = false;
                }
            }
            _ => {
                if let Some((_, _, lines)) = parts.get_mut(&2) {
                    lines.push(line.to_owned());
                }
            }
        }
    }
    if !parts.is_empty() {
        parts.entry(4).or_insert((
            "Tolerance",
            false,
            vec!["derived from the dtypes, the casts and the reduction lengths".to_owned()],
        ));
    }
    parts.into_values().map(|(title, code, lines)| Asked { title, code, lines }).collect()
}

fn plainly(word: &str, rest: &str) -> String {
    match word {
        "size" => rest
            .replace(" free min ", ": from ")
            .replace(" max ", " to ")
            .replace(" multiple_of 1", "")
            .replace(" multiple_of ", ", a multiple of ")
            .replace(" fixed ", ": always ")
            .replace(" derived ", " = "),
        "constraint" => format!("where {rest}"),
        "minimize" => format!("least {rest}, in geometric mean over"),
        _ => rest.to_owned(),
    }
}

/// One gate and how many candidates it let through.
pub(crate) struct GateRow {
    pub(crate) gate: String,
    pub(crate) reached: String,
    pub(crate) refused: String,
    pub(crate) state: &'static str,
    pub(crate) detail: String,
}

/// The gates in their order: what the candidates met.
pub(crate) fn gates(facts: &Facts) -> Vec<GateRow> {
    let mut names: Vec<String> = Gate::ALL.iter().map(|gate| gate.name().to_owned()).collect();
    for candidate in &facts.candidates {
        if !names.contains(&candidate.gate) {
            names.push(candidate.gate.clone());
        }
    }
    let position = |name: &str| names.iter().position(|known| known == name).unwrap_or(0);
    let mut rows = Vec::new();
    for (at, name) in names.iter().enumerate() {
        // Only the likeliest are assembled before they run on the machine: registers tell which.
        let came = |candidate: &Candidate| match name == Gate::Assemble.name() {
            true => candidate.registers.is_some() || (candidate.gate == *name && !candidate.passed()),
            false => position(&candidate.gate) >= at,
        };
        let reached = facts.candidates.iter().filter(|candidate| came(candidate)).count();
        let refused = facts
            .candidates
            .iter()
            .filter(|candidate| !candidate.passed() && candidate.gate == *name)
            .count();
        let reason = facts.not_run.get(name);
        if reached == 0 && reason.is_none() {
            continue;
        }
        rows.push(GateRow {
            gate: name.clone(),
            reached: if reason.is_some() { "–".to_owned() } else { count(reached as u64) },
            refused: count(refused as u64),
            state: if reason.is_some() { "not run" } else { "run" },
            detail: reason.cloned().unwrap_or_default(),
        });
    }
    rows
}

/// What became of a gate for the sealed plan.
pub(crate) fn proved(facts: &Facts) -> Vec<GateRow> {
    let records = facts.sealed.iter().flat_map(|sealed| &sealed.certificate.gates);
    records
        .map(|record| {
            let (state, cases, detail) = match &record.outcome {
                Outcome::Passed { cases, detail } => ("passed", *cases, detail.clone()),
                Outcome::NotRun { reason } => ("not run", 0, reason.clone()),
                _ => ("unknown", 0, String::new()),
            };
            GateRow {
                gate: record.gate.clone(),
                reached: record.target.map_or_else(|| "all".to_owned(), |target| target.to_string()),
                refused: if cases > 0 { format!("{cases} cases") } else { String::new() },
                state,
                detail,
            }
        })
        .collect()
}

/// Refusals of one kind.
pub(crate) struct Refusal {
    pub(crate) gate: String,
    pub(crate) verdict: String,
    pub(crate) count: String,
    pub(crate) example: String,
    pub(crate) reason: String,
}

/// Refusals by gate, verdict and kind of reason, the most frequent first.
pub(crate) fn refusals(facts: &Facts) -> Vec<Refusal> {
    let mut kinds: BTreeMap<(&str, &str, String), (u64, &Candidate)> = BTreeMap::new();
    for candidate in facts.candidates.iter().filter(|candidate| !candidate.passed()) {
        let reason = candidate.reason.as_deref().unwrap_or_default();
        // The same reason with other numbers and names is the same kind: what stands before the first detail decides.
        let kind: String = reason
            .split([':', ',', '`', '('])
            .next()
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_ascii_digit())
            .collect();
        kinds.entry((&candidate.gate, &candidate.verdict, kind)).or_insert((0, candidate)).0 += 1;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.0.cmp(&a.1.0).then(a.0.cmp(&b.0)));
    kinds
        .into_iter()
        .map(|((gate, verdict, _), (number, example))| Refusal {
            gate: gate.to_owned(),
            verdict: verdict.to_owned(),
            count: count(number),
            example: example.id.clone(),
            reason: example.reason.clone().unwrap_or_default(),
        })
        .collect()
}

/// A candidate that would have won, had it been right.
pub(crate) struct Faster {
    pub(crate) id: String,
    pub(crate) place: String,
    pub(crate) time: String,
    pub(crate) gain: String,
    pub(crate) gate: String,
    pub(crate) verdict: String,
    pub(crate) reason: String,
}

/// Refused candidates whose time is below the winner's, by the same kind of clock; the greatest gain first.
pub(crate) fn faster(facts: &Facts) -> Vec<Faster> {
    let mut faster: Vec<(f64, Faster)> = Vec::new();
    for group in facts.groups() {
        let Some(best) = facts.best(&group) else { continue };
        for candidate in facts.of_group(&group).filter(|candidate| !candidate.passed()) {
            let times = match (candidate.measured, best.measured) {
                (Some(mine), Some(its)) => Some((mine, its, "measured")),
                _ => candidate.modelled.zip(best.modelled).map(|(mine, its)| (mine, its, "modelled")),
            };
            let Some((mine, its, basis)) = times.filter(|(mine, its, _)| mine < its) else { continue };
            faster.push((
                its / mine,
                Faster {
                    id: candidate.id.clone(),
                    place: format!("{} {}", group.0, group.1),
                    time: format!("{} {basis}", time(mine)),
                    gain: format!("{:.2}×", its / mine),
                    gate: candidate.gate.clone(),
                    verdict: candidate.verdict.clone(),
                    reason: candidate.reason.clone().unwrap_or_default(),
                },
            ));
        }
    }
    faster.sort_by(|a, b| b.0.total_cmp(&a.0));
    faster.into_iter().map(|(_, row)| row).collect()
}

/// A variant of the sealed plan.
pub(crate) struct VariantRow {
    pub(crate) arch: String,
    pub(crate) name: String,
    pub(crate) when: String,
    pub(crate) launches: Vec<String>,
}

/// The variants of every target, in the order in which they are tried.
pub(crate) fn variants(facts: &Facts) -> Vec<VariantRow> {
    let targets = facts.sealed.iter().flat_map(|sealed| &sealed.plan.targets);
    targets
        .flat_map(|target| {
            target.variants.iter().map(|variant| VariantRow {
                arch: target.arch.to_string(),
                name: variant.name.clone(),
                when: variant.when.to_string(),
                launches: variant
                    .launches
                    .iter()
                    .map(|launch| {
                        let grid: Vec<String> = launch.grid.iter().map(ToString::to_string).collect();
                        let three = |values: [u32; 3]| values.map(|value| value.to_string()).join(", ");
                        let mut words = format!(
                            "{}: grid ({}), block ({})",
                            launch.entry,
                            grid.join(", "),
                            three(launch.block)
                        );
                        if launch.cluster != [1; 3] {
                            words.push_str(&format!(", cluster ({})", three(launch.cluster)));
                        }
                        let shared = launch.shared_bytes.to_string();
                        if shared != "0" {
                            words.push_str(&format!(", {shared} bytes of dynamic shared memory"));
                        }
                        words
                    })
                    .collect(),
            })
        })
        .collect()
}
