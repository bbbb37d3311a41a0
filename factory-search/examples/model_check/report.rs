//! From samples to a report: how far apart model and measurement are, where, and what it costs a search.

use crate::specs::Subject;
use crate::statistics::{median, spearman};
use crate::{Sample, Samples};
use factory_search::model::{LaunchProfile, Target, estimate_variant};
use std::collections::BTreeMap;

/// A sample with both times.
struct Point<'a> {
    sample: &'a Sample,
    measured: f64,
    /// With ptxas's registers, and with guessed ones; infinite where the model says that it cannot run.
    modelled: f64,
    guessed: f64,
}

impl Point<'_> {
    /// The group within which candidates compete.
    fn group(&self) -> (&str, &BTreeMap<String, u64>) {
        (&self.sample.spec, &self.sample.sizes)
    }

    fn error(&self) -> f64 {
        self.modelled / self.measured
    }
}

fn point(sample: &Sample) -> Option<Point<'_>> {
    if sample.refused.is_some() || sample.samples.is_empty() {
        return None;
    }
    let model = |profiles: &[LaunchProfile]| {
        estimate_variant(profiles, sample.compulsory, &Target::H200).map_or(f64::INFINITY, |e| e.seconds)
    };
    let guessed: Vec<LaunchProfile> = sample
        .profiles
        .iter()
        .zip(&sample.guessed_registers)
        .map(|(profile, registers)| LaunchProfile {
            registers: *registers,
            spill_bytes: 0.0,
            ..profile.clone()
        })
        .collect();
    Some(Point {
        sample,
        measured: median(&sample.samples),
        modelled: model(&sample.profiles),
        guessed: model(&guessed),
    })
}

/// What is said of a set of points that compete in groups.
struct Summary {
    candidates: usize,
    groups: usize,
    /// Spearman within groups, averaged by their sizes.
    within: f64,
    within_guessed: f64,
    /// Of all together, each time divided by the median of its group.
    pooled: f64,
    /// Of all together as they are: sizes alone make this high.
    raw: f64,
    /// The best measured time among the first so many by the model, over the best of the group; geometric mean.
    regret: [f64; 3],
    /// Median of |modelled / measured - 1|.
    error: f64,
}

const FIRST: [usize; 3] = [1, 3, 5];

fn summary(points: &[&Point<'_>]) -> Summary {
    let mut groups: BTreeMap<_, Vec<&Point<'_>>> = BTreeMap::new();
    for point in points {
        groups.entry(point.group()).or_default().push(point);
    }
    let (mut within, mut within_guessed, mut weight) = (0.0, 0.0, 0.0);
    let mut regret = [0.0; 3];
    let (mut relative_measured, mut relative_modelled) = (Vec::new(), Vec::new());
    for group in groups.values() {
        let measured: Vec<f64> = group.iter().map(|point| point.measured).collect();
        let modelled: Vec<f64> = group.iter().map(|point| point.modelled).collect();
        let guessed: Vec<f64> = group.iter().map(|point| point.guessed).collect();
        let correlation = spearman(&measured, &modelled);
        if correlation.is_finite() {
            within += correlation * group.len() as f64;
            within_guessed += spearman(&measured, &guessed) * group.len() as f64;
            weight += group.len() as f64;
        }
        relative_measured.extend(measured.iter().map(|value| value / median(&measured)));
        relative_modelled.extend(modelled.iter().map(|value| value / median(&modelled)));
        let mut order: Vec<&&Point<'_>> = group.iter().collect();
        order.sort_by(|a, b| a.modelled.total_cmp(&b.modelled));
        let best = measured.iter().copied().fold(f64::INFINITY, f64::min);
        for (sum, first) in regret.iter_mut().zip(FIRST) {
            let found = order.iter().take(first).map(|point| point.measured).fold(f64::INFINITY, f64::min);
            *sum += (found / best).ln();
        }
    }
    let all = |value: fn(&Point<'_>) -> f64| points.iter().map(|point| value(point)).collect::<Vec<f64>>();
    Summary {
        candidates: points.len(),
        groups: groups.len(),
        within: within / weight,
        within_guessed: within_guessed / weight,
        pooled: spearman(&relative_measured, &relative_modelled),
        raw: spearman(&all(|point| point.measured), &all(|point| point.modelled)),
        regret: regret.map(|sum| (sum / groups.len() as f64).exp() - 1.0),
        error: median(&all(|point| (point.error() - 1.0).abs())),
    }
}

fn row(name: &str, points: &[&Point<'_>]) {
    if points.is_empty() {
        return;
    }
    let s = summary(points);
    println!(
        "| {name} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} % | {:.1} % | {:.1} % | {:.1} % |",
        s.candidates,
        s.groups,
        s.within,
        s.within_guessed,
        s.pooled,
        s.raw,
        100.0 * s.error,
        100.0 * s.regret[0],
        100.0 * s.regret[1],
        100.0 * s.regret[2],
    );
}

fn heading(first: &str) {
    println!(
        "| {first} | candidates | groups | Spearman within groups | without ptxas | pooled | raw | median error | best of 1 | best of 3 | best of 5 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
}

pub(crate) fn report(from: &str) -> Result<(), String> {
    let read: Samples = crate::read(from)?;
    let points: Vec<Point<'_>> = read.samples.iter().filter_map(point).collect();
    let refused: Vec<&Sample> = read.samples.iter().filter(|sample| sample.refused.is_some()).collect();
    println!(
        "{}, driver {}; {} candidates, {} refused.\n",
        read.gpu,
        read.driver,
        points.len(),
        refused.len()
    );
    let all: Vec<&Point<'_>> = points.iter().collect();
    heading("spec");
    let mut specs: Vec<&str> = points.iter().map(|point| point.sample.spec.as_str()).collect();
    specs.dedup();
    specs.sort_unstable();
    specs.dedup();
    for spec in &specs {
        let part: Vec<&Point<'_>> = all.iter().copied().filter(|point| point.sample.spec == *spec).collect();
        let fitted = Subject::named(spec)?.fitted;
        row(&format!("{spec}{}", if fitted { "" } else { " (held out)" }), &part);
    }
    let of = |fitted: bool| -> Vec<&Point<'_>> {
        let wanted =
            |point: &&Point<'_>| Subject::named(&point.sample.spec).is_ok_and(|s| s.fitted == fitted);
        all.iter().copied().filter(wanted).collect()
    };
    row("**fitted**", &of(true));
    row("**held out**", &of(false));
    row("**all**", &all);
    println!();
    heading("sizes");
    let mut sizes: Vec<&BTreeMap<String, u64>> = points.iter().map(|point| &point.sample.sizes).collect();
    sizes.sort();
    sizes.dedup();
    for size in sizes {
        let part: Vec<&Point<'_>> = all.iter().copied().filter(|point| point.sample.sizes == *size).collect();
        row(&label(size), &part);
    }
    println!();
    by_choice(&all);
    residuals(&all);
    for sample in refused {
        println!(
            "refused: {} {} {}: {}",
            sample.spec,
            label(&sample.sizes),
            sample.id,
            sample.refused.as_deref().unwrap_or("")
        );
    }
    Ok(())
}

fn label(sizes: &BTreeMap<String, u64>) -> String {
    sizes.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// How far off the model is, on average, for each value of each tunable: a bias shows what it does not see.
fn by_choice(points: &[&Point<'_>]) {
    println!("Modelled over measured, relative to the median of the group, by tunable:\n");
    println!("| tunable | value | candidates | ratio |\n|---|---|---|---|");
    let mut groups: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for point in points {
        groups.entry(point.group()).or_default().push(point.error());
    }
    let middle: BTreeMap<_, f64> =
        groups.into_iter().map(|(group, errors)| (group, median(&errors))).collect();
    let mut ratios: BTreeMap<(&str, String), Vec<f64>> = BTreeMap::new();
    for point in points {
        for (name, value) in &point.sample.tunables {
            let of_group = middle.get(&point.group()).copied().unwrap_or(1.0);
            ratios.entry((name, value.to_string())).or_default().push((point.error() / of_group).ln());
        }
    }
    for ((name, value), logs) in ratios {
        let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
        if logs.len() >= 8 && !(0.95..=1.05).contains(&mean) {
            println!("| {name} | {value} | {} | {mean:.2} |", logs.len());
        }
    }
    println!();
}

/// The candidates that the model is furthest off.
fn residuals(points: &[&Point<'_>]) {
    println!(
        "Worst residuals:\n\n| spec | sizes | candidate | measured µs | modelled µs | ratio | ruled by | registers | blocks a multiprocessor |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut order: Vec<&&Point<'_>> = points.iter().collect();
    order.sort_by(|a, b| b.error().ln().abs().total_cmp(&a.error().ln().abs()));
    for point in order.into_iter().take(24) {
        let estimate = estimate_variant(&point.sample.profiles, point.sample.compulsory, &Target::H200);
        let (ruled, blocks) = estimate.map_or(("-", 0), |e| {
            let terms =
                [("bandwidth", e.bandwidth), ("l2", e.l2), ("issue", e.issue), ("latency", e.latency)];
            let most = terms.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("-", |(name, _)| name);
            (most, e.occupancy)
        });
        println!(
            "| {} | {} | `{}` | {:.1} | {:.1} | {:.2} | {ruled} | {} | {blocks} |",
            point.sample.spec,
            label(&point.sample.sizes),
            point.sample.id,
            point.measured * 1e6,
            point.modelled * 1e6,
            point.error(),
            point.sample.registers,
        );
    }
    println!();
}
