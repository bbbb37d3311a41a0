//! Which winner serves which sizes.

use std::collections::{BTreeMap, BTreeSet};

use factory_spec::{BoundSpec, SizeExpr, SizeId, SizeKind, SizeValues, Variant};

use crate::launch;
use crate::model::with_size;

/// Who serves which sizes: `when` conditions in the order in which they are tried, each with a winner.
///
/// The entries of `over` are split at the boundary that tells winners apart best, again and again. Only upper bounds are
/// written: the first match wins, so sizes that a winner's own condition excludes fall through to the next one.
/// `asked` are the sizes that winners have conditions on.
pub(crate) fn regions(
    spec: &BoundSpec,
    over: &[(SizeValues, usize)],
    asked: &BTreeSet<SizeId>,
) -> Vec<Region> {
    let mut found = Vec::new();
    divide(spec, over, asked, &mut Vec::new(), &mut found);
    found
}

/// The sizes by which conditions tell entries of `over` apart: one of them holds for an entry, and no more with another entry's
/// value of the size. A grid that ends at 2^28 rows says nothing about who fits.
pub(crate) fn asked(spec: &BoundSpec, over: &[SizeValues], conditions: &[&SizeExpr]) -> BTreeSet<SizeId> {
    let names: BTreeSet<String> = conditions.iter().flat_map(|when| when.names()).collect();
    let tells = |id: &SizeId| {
        let values: BTreeSet<u64> = over.iter().map(|sizes| sizes[*id]).collect();
        conditions.iter().any(|when| {
            over.iter().filter(|sizes| launch::holds(spec, sizes, when)).any(|sizes| {
                let mut others = values.iter().filter_map(|&value| with_size(spec, sizes, *id, value));
                others.any(|other| !launch::holds(spec, &other, when))
            })
        })
    };
    names.iter().filter_map(|name| spec.size_id(name)).filter(tells).collect()
}

/// A part of the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Upper bounds: this size is at most this.
    pub(crate) bounds: Vec<(SizeId, u64)>,
    pub(crate) winner: usize,
}

/// Winners once more, without bounds, for sizes that fall out of every region: a winner that is alone on its side of a boundary
/// may serve only some of what lies there, and another one more of it.
///
/// Ascending by the sizes that winners have conditions on, so that what fits best comes first; of those with the same, the one
/// for the most of the other sizes.
pub(crate) fn everywhere(
    spec: &BoundSpec,
    over: &[(SizeValues, usize)],
    asked: &BTreeSet<SizeId>,
    fallback: usize,
    regions: &[Region],
) -> Vec<Region> {
    let (asked, free): (Vec<SizeId>, Vec<SizeId>) =
        (0..spec.sizes.len() as u32).map(SizeId).partition(|id| asked.contains(id));
    let mut order: Vec<&(SizeValues, usize)> =
        over.iter().filter(|(_, winner)| *winner != fallback).collect();
    order.sort_by_key(|(sizes, _)| {
        let asked: Vec<u64> = asked.iter().map(|&id| sizes[id]).collect();
        let free: Vec<std::cmp::Reverse<u64>> = free.iter().map(|&id| std::cmp::Reverse(sizes[id])).collect();
        (asked, free)
    });
    let mut seen: BTreeSet<usize> =
        regions.iter().filter(|region| region.bounds.is_empty()).map(|region| region.winner).collect();
    let fresh = order.into_iter().filter(|(_, winner)| seen.insert(*winner));
    fresh.map(|(_, winner)| Region { bounds: Vec::new(), winner: *winner }).collect()
}

/// Steps to a neighbour of a size, in the smallest steps that the spec allows: what works on whole vectors serves some of them.
const STEPS: [u64; 4] = [1, 8, 64, 256];

/// Whether a variant serves other values than this one of each size, and not these sizes alone.
pub(crate) fn serves_neighbours(spec: &BoundSpec, at: &SizeValues, variant: &Variant) -> bool {
    spec.sizes.iter().enumerate().all(|(index, size)| {
        let SizeKind::Free { min, max, multiple_of } = size.kind else { return true };
        let (id, here) = (SizeId(index as u32), at.0[index]);
        let near = STEPS.iter().flat_map(|step| {
            let step = step * multiple_of.max(1);
            [here.checked_add(step), here.checked_sub(step)].into_iter().flatten()
        });
        let others: Vec<u64> = near.filter(|value| (min..=max.unwrap_or(u64::MAX)).contains(value)).collect();
        let mut beside = others.iter().filter_map(|&value| with_size(spec, at, id, value));
        others.is_empty() || beside.any(|sizes| launch::serves(spec, &sizes, variant))
    })
}

fn divide(
    spec: &BoundSpec,
    over: &[(SizeValues, usize)],
    asked: &BTreeSet<SizeId>,
    bounds: &mut Vec<(SizeId, u64)>,
    found: &mut Vec<Region>,
) {
    let Some((_, first)) = over.first() else { return };
    let split =
        if over.iter().all(|(_, winner)| winner == first) { None } else { best_split(spec, over, asked) };
    let Some((size, bound)) = split else {
        found.push(Region { bounds: bounds.clone(), winner: *first });
        return;
    };
    let (low, high): (Vec<_>, Vec<_>) = over.iter().cloned().partition(|(sizes, _)| sizes[size] <= bound);
    bounds.push((size, bound));
    divide(spec, &low, asked, bounds, found);
    bounds.pop();
    divide(spec, &high, asked, bounds, found);
}

/// A boundary of a size that winners have conditions on, as long as one of these tells entries apart: others say little about
/// who fits. A winner for rows of one length must be asked first for all such rows, however many there are, although some other
/// entry has as many rows. Of those the one that leaves the most entries with the winner of their side's majority; among equals
/// the widest gap.
fn best_split(
    spec: &BoundSpec,
    over: &[(SizeValues, usize)],
    asked: &BTreeSet<SizeId>,
) -> Option<(SizeId, u64)> {
    let majority = |side: &mut dyn Iterator<Item = usize>| -> usize {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        side.for_each(|winner| *counts.entry(winner).or_default() += 1);
        counts.values().copied().max().unwrap_or(0)
    };
    /// Whether the size is asked for, entries with their majority, the gap.
    type Score = (bool, usize, u64);
    let mut best: Option<(Score, (SizeId, u64))> = None;
    for (index, size) in spec.sizes.iter().enumerate() {
        let id = SizeId(index as u32);
        // How far rows lie apart says little about who is fast, and callers have strides that nobody timed.
        if !matches!(size.kind, SizeKind::Free { .. }) || spec.is_row_stride(id) {
            continue;
        }
        let values: BTreeSet<u64> = over.iter().map(|(sizes, _)| sizes[id]).collect();
        let values: Vec<u64> = values.into_iter().collect();
        for pair in values.windows(2) {
            let bound = ((pair[0] as f64) * (pair[1] as f64)).sqrt().floor() as u64;
            let bound = bound.clamp(pair[0], pair[1] - 1);
            let side = |low: bool| {
                over.iter().filter(move |(sizes, _)| (sizes[id] <= bound) == low).map(|(_, winner)| *winner)
            };
            let pure = majority(&mut side(true)) + majority(&mut side(false));
            // The gap as a ratio in 1/1024, so that the choice is made in integers.
            let gap = pair[1].saturating_mul(1024) / pair[0].max(1);
            let score = (asked.contains(&id), pure, gap);
            if best.as_ref().is_none_or(|(best, _)| score > *best) {
                best = Some((score, (id, bound)));
            }
        }
    }
    best.map(|(_, split)| split)
}

/// Sizes that are looked at to see which conditions are reached, at most.
const PROBES: usize = 20_000;

/// For each of these conditions, whether any size comes to it: one at which it holds and none before it does. Looked at are
/// the entries of `over`, and a grid of what lies at, beside and between their values, the powers of two and their halves.
pub(crate) fn reached(spec: &BoundSpec, over: &[SizeValues], conditions: &[&SizeExpr]) -> Vec<bool> {
    let mut reached = vec![false; conditions.len()];
    let mut probe = |sizes: &SizeValues| {
        let first = conditions.iter().position(|when| launch::holds(spec, sizes, when));
        first.into_iter().for_each(|position| reached[position] = true);
    };
    over.iter().for_each(&mut probe);
    let Some(base) = over.first() else { return reached };
    let mut axes: Vec<(SizeId, Vec<u64>)> = Vec::new();
    for (index, size) in spec.sizes.iter().enumerate() {
        let SizeKind::Free { min, max, multiple_of } = size.kind else { continue };
        let id = SizeId(index as u32);
        axes.push((id, axis(over.iter().map(|sizes| sizes[id]), min, max.unwrap_or(1 << 32), multiple_of)));
    }
    let points = |axes: &[(SizeId, Vec<u64>)]| {
        axes.iter().fold(1usize, |points, (_, values)| points.saturating_mul(values.len()))
    };
    while points(&axes) > PROBES {
        let Some((_, longest)) = axes.iter_mut().max_by_key(|(_, values)| values.len()) else { break };
        let mut keep = false;
        longest.retain(|_| {
            keep = !keep;
            keep
        });
    }
    for point in 0..points(&axes) {
        let mut left = point;
        let mut sizes = Some(base.clone());
        for (id, values) in &axes {
            let value = values[left % values.len()];
            left /= values.len();
            sizes = sizes.and_then(|sizes| with_size(spec, &sizes, *id, value));
        }
        sizes.iter().for_each(&mut probe);
    }
    reached
}

/// The values of one size that are looked at, ascending.
fn axis(over: impl Iterator<Item = u64>, min: u64, max: u64, multiple_of: u64) -> Vec<u64> {
    let multiple_of = multiple_of.max(1);
    let over: BTreeSet<u64> = over.collect();
    let mut values: BTreeSet<u64> = over.clone();
    values.extend((0..40).flat_map(|power| [1u64 << power, 3 << power]));
    values.extend(over.iter().zip(over.iter().skip(1)).map(|(low, high)| low.midpoint(*high)));
    let beside = values.iter().flat_map(|&value| {
        let steps = [0, 1, 8].map(|step| step * multiple_of);
        steps.into_iter().flat_map(move |step| [value.saturating_sub(step), value.saturating_add(step)])
    });
    let rounded = beside.map(|value| value.clamp(min, max) / multiple_of * multiple_of);
    rounded.filter(|value| (min..=max).contains(value)).collect::<BTreeSet<u64>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = r#"
[kernel]
name = "k"
[sizes]
m = { min = 1 }
n = { min = 1 }
[[arg]]
name = "x"
dtype = "f32"
shape = ["m", "n"]
[[arg]]
name = "y"
dtype = "f32"
shape = ["m", "n"]
role = "out"
[reference]
program = "y = x"
[targets]
arch = ["sm_90"]
"#;

    #[test]
    fn whoever_has_the_right_length_serves_however_many_rows_there_are() {
        let spec = factory_spec::Spec::parse(std::path::Path::new("test.toml"), SPEC).expect("a spec");
        let spec = spec.bind(&BTreeMap::new()).expect("no types to bind");
        let [m, n] = ["m", "n"].map(|name| spec.size_id(name).expect("a size"));
        // One boundary of `m` would tell the two winners apart.
        let over: Vec<(SizeValues, usize)> =
            [(32768, 4096, 0), (32768, 16384, 0), (8192, 8192, 1), (8192, 32768, 1)]
                .map(|(m, n, winner)| (SizeValues(vec![m, n]), winner))
                .to_vec();
        let serving = |asked: &[SizeId], m: u64, n: u64| {
            let sizes = SizeValues(vec![m, n]);
            let regions = regions(&spec, &over, &asked.iter().copied().collect());
            regions
                .iter()
                .find(|one| one.bounds.iter().all(|&(id, most)| sizes[id] <= most))
                .map(|one| one.winner)
        };
        assert_eq!(serving(&[n], 32768, 32768), Some(1));
        assert_eq!(serving(&[n], 8192, 4096), Some(0));
        assert_eq!(serving(&[n], 1, 8192), Some(1));
        // Where winners ask for the number of rows alone, that decides.
        assert_eq!(serving(&[m], 32768, 32768), Some(0));
        assert_eq!(serving(&[m], 8192, 4096), Some(1));
    }

    #[test]
    fn what_a_grid_can_have_is_nothing_that_winners_ask_for() {
        let spec = factory_spec::Spec::parse(std::path::Path::new("test.toml"), SPEC).expect("a spec");
        let spec = spec.bind(&BTreeMap::new()).expect("no types to bind");
        let [m, n] = ["m", "n"].map(|name| spec.size_id(name).expect("a size"));
        let over: Vec<SizeValues> =
            [(32768, 4096), (8192, 32768)].map(|(m, n)| SizeValues(vec![m, n])).to_vec();
        let condition = |text: &str| SizeExpr::parse(text).expect("a condition");
        let asked_by = |texts: &[&str]| {
            let conditions: Vec<SizeExpr> = texts.iter().map(|text| condition(text)).collect();
            asked(&spec, &over, &conditions.iter().collect::<Vec<_>>())
        };
        assert_eq!(
            asked_by(&["n == 4096 and m <= 268435455", "n % 8 == 0 and n <= 32768"]),
            BTreeSet::from([n])
        );
        assert_eq!(asked_by(&["m <= 16384"]), BTreeSet::from([m]));
        assert_eq!(asked_by(&["m <= 268435455", "n % 8 == 0", "m == 1"]), BTreeSet::new());
    }
}
