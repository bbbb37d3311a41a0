//! The page's words and pictures, ready for the template.

use super::chart::{self, Curve, Panel, RatePoint};
use super::data;
use super::facts::Facts;
use super::number::{count, duration, percent, scaled, time};
use super::sections::{self, Asked, Case, Faster, GateRow, Refusal, VariantRow};
use factory_search::log::LogOutcome;
use factory_search::model::{Target, compulsory_bytes};
use factory_spec::Arch;
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// How many faster-but-refused candidates and kinds of refusals the page lists by itself; the table has them all.
const LISTED: usize = 12;
/// How many candidates stand in the page without its script.
const STATIC_ROWS: usize = 25;

#[derive(askama::Template)]
#[template(path = "report/page.html")]
pub(crate) struct View {
    style: &'static str,
    script: &'static str,
    data: String,
    name: String,
    doc: String,
    key: String,
    short_key: String,
    chips: Vec<Chip>,
    tiles: Vec<Tile>,
    origins: Vec<String>,
    asked: Vec<Asked>,
    measured: bool,
    cases: Vec<Case>,
    variants: Vec<VariantRow>,
    files: Vec<FileRow>,
    winner_tunables: Option<Matrix>,
    panels: Vec<Pictures>,
    has_times: bool,
    timeline_order: &'static str,
    learning: Option<Learning>,
    roofs: Vec<Roofs>,
    refusals: Vec<Refusal>,
    more_refusals: usize,
    refused: usize,
    untimed: usize,
    faster: Vec<Faster>,
    more_faster: usize,
    rows: Vec<[String; 6]>,
    candidates: String,
    groups: Vec<(String, String)>,
    verdicts: Vec<String>,
    gates: Vec<GateRow>,
    proved: Vec<GateRow>,
    environment: Vec<(String, String)>,
    unrecorded: Vec<&'static str>,
    of_evidence: bool,
    notes: Vec<String>,
    commands: Vec<String>,
    seed: String,
    samples: usize,
    version: &'static str,
}

pub(crate) struct Chip {
    class: &'static str,
    text: String,
}

pub(crate) struct Tile {
    label: &'static str,
    value: String,
    hint: String,
}

pub(crate) struct FileRow {
    name: String,
    size: String,
    digest: String,
}

/// Winners and the tunables in which they differ.
pub(crate) struct Matrix {
    names: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
    same: Vec<String>,
}

pub(crate) struct Pictures {
    title: String,
    best: String,
    by_candidates: String,
    by_seconds: Option<String>,
}

pub(crate) struct Learning {
    picture: String,
    marks: Vec<(String, String)>,
    order: &'static str,
    groups: usize,
    most: usize,
}

pub(crate) struct Roofs {
    arch: String,
    device: &'static str,
    bandwidth: String,
    rate: String,
    intensity: Option<String>,
}

impl View {
    pub(crate) fn new(facts: &Facts) -> View {
        let cases = sections::cases(facts);
        let mut faster = sections::faster(facts);
        let mut refusals = sections::refusals(facts);
        let (more_faster, more_refusals) =
            (faster.len().saturating_sub(LISTED), refusals.len().saturating_sub(LISTED));
        faster.truncate(LISTED);
        refusals.truncate(LISTED);
        let refused = facts.candidates.iter().filter(|candidate| !candidate.passed());
        let mut verdicts: Vec<String> =
            facts.candidates.iter().map(|candidate| candidate.verdict.clone()).collect();
        verdicts.sort();
        verdicts.dedup();
        let key = facts.key.clone().unwrap_or_default();
        let has_times = facts.candidates.iter().any(|candidate| candidate.at.is_some());
        View {
            style: include_str!("../../templates/report/page.css"),
            script: include_str!("../../templates/report/page.js"),
            data: data::embedded(facts),
            name: facts.name.clone(),
            doc: facts.spec.as_ref().and_then(|spec| spec.doc.clone()).unwrap_or_default(),
            short_key: key.get(..12).unwrap_or(&key).to_owned(),
            key,
            chips: chips(facts),
            tiles: tiles(facts, &cases),
            origins: facts.origins.clone(),
            asked: sections::asked(facts),
            measured: facts.measured(),
            variants: sections::variants(facts),
            files: files(facts),
            winner_tunables: winner_tunables(facts),
            panels: panels(facts),
            has_times,
            timeline_order: if has_times {
                "in the order of their last verdicts"
            } else {
                "in the order of the record, which has no times"
            },
            learning: learning(facts),
            roofs: roofs(facts),
            refused: refused.clone().count(),
            untimed: refused.filter(|candidate| candidate.seconds().is_none()).count(),
            refusals,
            more_refusals,
            faster,
            more_faster,
            rows: rows(facts),
            candidates: count(facts.candidates.len() as u64),
            groups: facts.groups(),
            verdicts,
            gates: sections::gates(facts),
            proved: sections::proved(facts),
            environment: environment(facts),
            unrecorded: unrecorded(facts),
            of_evidence: facts.of_evidence,
            notes: facts.notes.clone(),
            commands: facts.commands.clone(),
            seed: facts.search.seed.map_or_else(|| "not recorded".to_owned(), |seed| seed.to_string()),
            samples: facts.candidates.iter().map(|candidate| candidate.samples.len()).sum::<usize>()
                + facts.references.iter().map(|reference| reference.samples.len()).sum::<usize>(),
            version: env!("CARGO_PKG_VERSION"),
            cases,
        }
    }
}

fn chips(facts: &Facts) -> Vec<Chip> {
    let mut chips = Vec::new();
    let mut chip = |class, text: String| chips.push(Chip { class, text });
    match &facts.sealed {
        Some(sealed) if facts.measured() => {
            chip("good", format!("measured on {}", sealed.certificate.measured()))
        }
        _ if facts.measured() => chip("good", "measured on a GPU".to_owned()),
        _ => chip("warn", "modelled, not measured".to_owned()),
    }
    match &facts.sealed {
        Some(_) => chip("good", "sealed".to_owned()),
        None if facts.of_evidence => chip("plain", "evidence of searches, not a sealed kernel".to_owned()),
        None => chip("plain", "a search, not a sealed kernel".to_owned()),
    }
    if let Some(LogOutcome::Failed { message }) = &facts.search.outcome {
        chip("bad", format!("failed: {message}"));
    }
    if facts.search.unfinished {
        chip("bad", "the record ends before the search did".to_owned());
    }
    chips
}

fn tiles(facts: &Facts, cases: &[Case]) -> Vec<Tile> {
    let mut tiles = Vec::new();
    // Measured and modelled times are not to be averaged together.
    let measured = cases.iter().any(|case| case.measured);
    let shares: Vec<f64> =
        cases.iter().filter(|case| case.measured == measured).filter_map(|case| case.share).collect();
    let basis = if measured { "measured" } else { "modelled" };
    if !shares.is_empty() {
        let mean = (shares.iter().map(|share| share.ln()).sum::<f64>() / shares.len() as f64).exp();
        let worst = cases.iter().filter(|case| case.measured == measured).find(|case| case.share.is_some());
        tiles.push(Tile {
            label: "of the roofline",
            value: percent(mean),
            hint: format!("{basis}, geometric mean over {} sizes", shares.len()),
        });
        if let Some(worst) = worst {
            tiles.push(Tile {
                label: "at the slowest size",
                value: worst.share_text.clone(),
                hint: format!("{} {}", worst.arch, worst.sizes),
            });
        }
    }
    let (considered, refused) = match (&facts.sealed, facts.candidates.len()) {
        (Some(sealed), 0) => {
            let counts = &sealed.certificate.candidates;
            (counts.considered, counts.refused.values().sum())
        }
        (_, all) => {
            (all as u64, facts.candidates.iter().filter(|candidate| !candidate.passed()).count() as u64)
        }
    };
    let timed = facts.candidates.iter().filter(|candidate| candidate.measured.is_some()).count();
    tiles.push(Tile {
        label: "candidates",
        value: count(considered),
        hint: match timed {
            0 => format!("{} refused", count(refused)),
            timed => format!("{} refused, {} timed on a GPU", count(refused), count(timed as u64)),
        },
    });
    if let Some(seconds) = facts.search.seconds {
        tiles.push(Tile {
            label: "of searching",
            value: duration(seconds),
            hint: match facts.search.budget_seconds {
                Some(limit) => format!("of {} allowed", duration(limit)),
                None => "without a limit in time".to_owned(),
            },
        });
    }
    tiles
}

fn files(facts: &Facts) -> Vec<FileRow> {
    let Some(sealed) = &facts.sealed else { return Vec::new() };
    let digest = |name: &str| match name {
        factory_spec::Sealed::CERTIFICATE => sealed.digest_of_certificate(),
        name => sealed.certificate.files.get(name).cloned().unwrap_or_default(),
    };
    sealed
        .files()
        .into_iter()
        .map(|(name, text)| FileRow { digest: digest(&name), size: scaled(text.len() as f64, "B"), name })
        .collect()
}

/// `None` when the winners are not known, or have no tunables.
fn winner_tunables(facts: &Facts) -> Option<Matrix> {
    let winners: Vec<_> = facts
        .groups()
        .into_iter()
        .filter_map(|group| facts.best(&group).map(|best| (format!("{} {}", group.0, group.1), best.clone())))
        .filter(|(_, best)| !best.tunables.is_empty())
        .collect();
    let (_, first) = winners.first()?;
    let mut names: Vec<String> = winners.iter().flat_map(|(_, best)| best.tunables.keys().cloned()).collect();
    names.sort();
    names.dedup();
    let differs =
        |name: &String| winners.iter().any(|(_, best)| best.tunables.get(name) != first.tunables.get(name));
    let (differ, same): (Vec<String>, Vec<String>) = names.into_iter().partition(differs);
    let value = |best: &super::facts::Candidate, name: &String| {
        best.tunables.get(name).map_or_else(|| "–".to_owned(), ToString::to_string)
    };
    Some(Matrix {
        rows: winners
            .iter()
            .map(|(place, best)| (place.clone(), differ.iter().map(|name| value(best, name)).collect()))
            .collect(),
        same: same.iter().map(|name| format!("{name} = {}", value(first, name))).collect(),
        names: differ,
    })
}

fn panels(facts: &Facts) -> Vec<Pictures> {
    facts
        .groups()
        .iter()
        .filter_map(|group| {
            let best = facts.best(group)?;
            let seconds = best.seconds()?;
            let basis = if best.measured.is_some() { "measured" } else { "modelled" };
            let title = format!("{} {}", group.0, group.1);
            let roofline = sections::roofline(facts, &group.0, &group.1);
            let numbered = |position: usize, _: &super::facts::Candidate| Some(position as f64 + 1.0);
            let timed = |_: usize, candidate: &super::facts::Candidate| candidate.at;
            let picture = |place: &dyn Fn(usize, &super::facts::Candidate) -> Option<f64>, x_name| {
                let mut panel = Panel {
                    title: format!("{title}: the best fell to {}", time(seconds)),
                    x_name,
                    modelled: Vec::new(),
                    measured: Vec::new(),
                    refused: Vec::new(),
                    best: Vec::new(),
                    winner: None,
                    roofline,
                    end: 1.0,
                };
                for (position, candidate) in facts.of_group(group).enumerate() {
                    let Some(x) = place(position, candidate) else { continue };
                    panel.end = panel.end.max(x);
                    match (candidate.passed(), candidate.measured, candidate.modelled) {
                        (false, ..) => panel.refused.push(x),
                        (_, Some(time), _) => panel.measured.push((x, time)),
                        (_, None, Some(time)) => panel.modelled.push((x, time)),
                        _ => {}
                    }
                    if std::ptr::eq(candidate, best) {
                        panel.winner = Some((x, seconds, format!("{}: {} {basis}", best.id, time(seconds))));
                    }
                }
                let clock = if best.measured.is_some() { &panel.measured } else { &panel.modelled };
                panel.best = falling(clock);
                chart::progress(&panel)
            };
            let clock = match facts.of_evidence {
                true => "seconds since the first verdict",
                false => "seconds of the search",
            };
            let by_seconds = best.at.map(|_| picture(&timed, clock));
            Some(Pictures {
                best: format!("{} {basis}", time(seconds)),
                by_candidates: picture(&numbered, "candidates"),
                by_seconds,
                title,
            })
        })
        .collect()
}

/// The points at which a new best was found.
fn falling(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut points = points.to_vec();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut best = f64::INFINITY;
    points.retain(|(_, time)| {
        let better = *time < best;
        best = best.min(*time);
        better
    });
    points
}

/// Shares of the final speed, after the first timed candidate, the second, and so on.
fn learning(facts: &Facts) -> Option<Learning> {
    let measured = facts.candidates.iter().any(|candidate| candidate.measured.is_some());
    let mut curves = Vec::new();
    let mut ordered = true;
    for group in facts.groups() {
        let mut timed: Vec<_> = facts
            .of_group(&group)
            .filter(|candidate| candidate.passed())
            .filter_map(|candidate| {
                let seconds = if measured { candidate.measured? } else { candidate.modelled? };
                Some((candidate.at, candidate.modelled.unwrap_or(f64::INFINITY), seconds))
            })
            .collect();
        if timed.len() < 2 {
            continue;
        }
        if timed.iter().all(|(at, ..)| at.is_some()) {
            timed.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
        } else if measured {
            ordered = false;
            // The order in which the search takes candidates to the GPU.
            timed.sort_by(|a, b| a.1.total_cmp(&b.1));
        }
        let last = timed.iter().map(|(.., seconds)| *seconds).fold(f64::INFINITY, f64::min);
        let mut best = f64::INFINITY;
        let shares = timed.iter().map(|(.., seconds)| {
            best = best.min(*seconds);
            last / best
        });
        curves.push(Curve { shares: shares.collect(), label: format!("{} {}", group.0, group.1) });
    }
    let most = curves.iter().map(|curve| curve.shares.len()).max()?;
    let mean: Vec<f64> = (0..most)
        .map(|position| {
            let logs = curves
                .iter()
                .map(|curve| curve.shares.get(position).or(curve.shares.last()).copied().unwrap_or(1.0).ln());
            (logs.sum::<f64>() / curves.len() as f64).exp()
        })
        .collect();
    let marks = [0.10, 0.05, 0.02, 0.01].map(|near| {
        let mut needed: Vec<usize> = curves
            .iter()
            .filter_map(|curve| curve.shares.iter().position(|share| *share >= 1.0 / (1.0 + near)))
            .map(|position| position + 1)
            .collect();
        needed.sort_unstable();
        let (median, worst) = (needed.get(needed.len() / 2), needed.last());
        let text = median.zip(worst).map_or_else(String::new, |(median, worst)| {
            format!("{median} in the median size, {worst} in the worst")
        });
        (format!("within {:.0} %", near * 100.0), text)
    });
    let x_name = if measured { "candidates timed on the GPU" } else { "candidates judged by the model" };
    Some(Learning {
        picture: chart::learning(&curves, &mean, x_name),
        marks: marks.into(),
        order: match (ordered, measured) {
            (true, _) => "in the order of the search",
            (false, _) => "in the order in which the model ranked them",
        },
        groups: curves.len(),
        most,
    })
}

fn roofs(facts: &Facts) -> Vec<Roofs> {
    let Some(spec) = &facts.spec else { return Vec::new() };
    let mut points: BTreeMap<Arch, Vec<RatePoint>> = BTreeMap::new();
    let mut add = |arch: &str, sizes: &str, label: String, class: &'static str, seconds: f64| {
        let Some((arch, values)) = Arch::parse(arch).zip(facts.sizes(sizes)) else { return };
        let (bytes, operations) =
            (compulsory_bytes(spec, &values), super::intensity::operations(spec, &values));
        if bytes > 0.0 && seconds > 0.0 {
            points.entry(arch).or_default().push(RatePoint { label, class, bytes, operations, seconds });
        }
    };
    let groups = facts.groups();
    for group in &groups {
        let best = facts.best(group);
        // Others first, so that the winner is drawn over them.
        for candidate in facts.of_group(group).filter(|candidate| candidate.passed()) {
            if let Some(seconds) = candidate.measured {
                add(&group.0, &group.1, format!("{} at {}", candidate.id, group.1), "other", seconds);
            }
        }
        if best.is_some_and(|best| best.measured.is_some()) {
            for reference in facts.references.iter().filter(|reference| reference.sizes == group.1) {
                let class = if reference.same_run { "reference" } else { "reference elsewhere" };
                add(
                    &group.0,
                    &group.1,
                    format!("{} at {}", reference.label, group.1),
                    class,
                    reference.seconds,
                );
            }
        }
        if let Some((best, seconds)) = best.and_then(|best| Some((best, best.seconds()?))) {
            add(&group.0, &group.1, format!("{} at {}", best.id, group.1), "winner", seconds);
        }
    }
    if groups.is_empty() {
        for figure in facts.sealed.iter().flat_map(|sealed| &sealed.certificate.figures) {
            let sizes: Vec<String> =
                figure.sizes.iter().map(|(name, size)| format!("{name}={size}")).collect();
            let sizes = sizes.join(" ");
            if let Some(seconds) = figure.seconds {
                let label = format!("variant {} at {sizes}", figure.variant);
                add(figure.target.name(), &sizes, label, "winner", seconds);
            }
        }
    }
    points
        .into_iter()
        .map(|(arch, points)| {
            let target = Target::of(arch);
            let f32_peak = f64::from(target.multiprocessors) * 128.0 * 2.0 * target.clock;
            let mut peaks = vec![("f32", f32_peak)];
            // The tensor cores' roof is of use only to what has operations enough to come near it.
            if points.iter().any(|point| point.operations.is_some_and(|ops| ops / point.bytes > 8.0)) {
                peaks.push(("tensor cores, f16", target.tensor[0]));
            }
            Roofs {
                arch: arch.to_string(),
                device: target.name,
                bandwidth: scaled(target.memory_bandwidth, "B/s"),
                rate: chart::rate(&points, target.memory_bandwidth),
                intensity: chart::intensity(&points, target.memory_bandwidth, &peaks),
            }
        })
        .collect()
}

/// The first rows of the table, for where no script runs: the best of each size, then the order of the search.
fn rows(facts: &Facts) -> Vec<[String; 6]> {
    facts
        .candidates
        .iter()
        .take(STATIC_ROWS)
        .map(|candidate| {
            [
                candidate.id.clone(),
                format!("{} {}", candidate.arch, candidate.sizes),
                candidate.measured.map_or_else(String::new, time),
                candidate.modelled.map_or_else(String::new, time),
                candidate.verdict.clone(),
                candidate.gate.clone(),
            ]
        })
        .collect()
}

fn environment(facts: &Facts) -> Vec<(String, String)> {
    let mut rows = facts.environment.clone();
    let search = &facts.search;
    if let Some(began) = search.began.and_then(|began| Duration::try_from_secs_f64(began).ok()) {
        let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + began).to_string();
        rows.push(("searched".to_owned(), time.replace('T', " ").replace('Z', " UTC")));
    }
    if let Some(by) = &search.by {
        rows.push((
            "by".to_owned(),
            if by == "build" { "a build".to_owned() } else { format!("`cargo factory {by}`") },
        ));
    }
    if let Some(version) = &search.version
        && !rows.iter().any(|(name, _)| name == "kernel-factory")
    {
        rows.push(("kernel-factory".to_owned(), version.clone()));
    }
    if let Some(candidates) = search.budget_candidates {
        rows.push((
            "budget".to_owned(),
            format!("{} configurations for each target", count(candidates as u64)),
        ));
    }
    if let Some(seconds) = search.budget_seconds {
        rows.push(("time limit".to_owned(), duration(seconds)));
    }
    rows
}

/// What a reader would ask for and nobody wrote down.
fn unrecorded(facts: &Facts) -> Vec<&'static str> {
    let known = |word: &str| facts.environment.iter().any(|(name, _)| name.to_lowercase().contains(word));
    let mut missing = Vec::new();
    if facts.measured() {
        let wanted = [
            ("device", "the device"),
            ("driver", "the driver's version"),
            ("clock", "clocks before and after, and whether the run was disturbed"),
            ("temperature", "temperature and power"),
            ("noise", "the noise floor of the clock (A/A)"),
        ];
        missing.extend(wanted.into_iter().filter(|(word, _)| !known(word)).map(|(_, what)| what));
        if facts.candidates.iter().all(|candidate| candidate.samples.is_empty()) {
            missing.push("the raw samples of single candidates");
        }
    }
    if facts.candidates.is_empty() {
        missing.push("single candidates, their order and their times");
    } else if facts.candidates.iter().all(|candidate| candidate.at.is_none()) {
        missing.push("when each verdict was reached");
    }
    missing.extend(&facts.unrecorded);
    missing
}
