//! Which sizes to check at.

use std::collections::BTreeMap;

use super::random::Random;
use super::strides;
use crate::{BoundSpec, SizeId, SizeKind, SizeValues};

/// Where kernels break: next to powers of two (vectors, warps, blocks, tiles), at primes, and at round numbers.
const EDGES: [u64; 58] = [
    1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 31, 32, 33, 47, 61, 63, 64, 65, 95, 96, 97, 100, 127, 128, 129,
    160, 191, 193, 255, 256, 257, 383, 384, 385, 509, 511, 512, 513, 767, 768, 769, 1000, 1021, 1023, 1024,
    1025, 2047, 2048, 2049, 4095, 4096, 4097, 4099, 8191, 8192, 16384,
];

/// A free size with the values to try, ascending.
struct Axis {
    name: String,
    values: Vec<u64>,
}

/// Draws sizes of the domain: first the smallest, then each edge of each free size in turn with the others at random,
/// made smaller until everything fits `max_elements`. None twice; fewer than `count` where the domain has fewer. Row strides
/// follow the lengths of their rows.
pub(super) fn draw(
    spec: &BoundSpec,
    count: usize,
    max_elements: u64,
    random: &mut Random,
) -> Vec<SizeValues> {
    let axes: Vec<Axis> = spec
        .sizes
        .iter()
        .enumerate()
        .filter(|(index, _)| !spec.is_row_stride(SizeId(*index as u32)))
        .filter_map(|(_, size)| match size.kind {
            SizeKind::Free { min, max, multiple_of } => Some(Axis {
                name: size.name.clone(),
                values: axis(min, max.unwrap_or(u64::MAX), multiple_of.max(1), max_elements),
            }),
            SizeKind::Fixed(_) | SizeKind::Derived(_) => None,
        })
        .collect();
    let strides = strides::strides(spec);
    let mut drawn: Vec<SizeValues> = Vec::new();
    let consider = |positions: &[usize], picks: &[u64], drawn: &mut Vec<SizeValues>| {
        let mut free: BTreeMap<String, u64> = axes
            .iter()
            .zip(positions)
            .map(|(axis, position)| (axis.name.clone(), axis.values[*position]))
            .collect();
        for (stride, pick) in strides.iter().zip(picks) {
            stride.choose(spec, &mut free, *pick);
        }
        if let Ok(sizes) = spec.size_values(&free)
            && total(spec, &sizes) <= max_elements
            && !drawn.contains(&sizes)
        {
            drawn.push(sizes);
            return true;
        }
        false
    };
    if axes.iter().any(|axis| axis.values.is_empty()) {
        return drawn;
    }
    let at = |offset: usize| axes.iter().map(|axis| offset.min(axis.values.len() - 1)).collect::<Vec<_>>();
    consider(&at(0), &vec![0; strides.len()], &mut drawn);
    if count > 1 {
        consider(&at(1), &vec![1; strides.len()], &mut drawn);
    }
    if axes.is_empty() && strides.is_empty() {
        return drawn;
    }
    // Odd steps through each list, starting anywhere, so that every edge of every size gets its turn.
    let starts: Vec<usize> =
        axes.iter().map(|axis| random.below(axis.values.len() as u64) as usize).collect();
    let mut turn = 0;
    while drawn.len() < count && turn < count * 64 {
        let lead = turn % axes.len().max(1);
        let mut positions: Vec<usize> = axes
            .iter()
            .enumerate()
            .map(|(index, axis)| {
                let length = axis.values.len();
                if index == lead {
                    (starts[index] + (turn / axes.len()) * 7) % length
                } else {
                    random.below(length as u64) as usize
                }
            })
            .collect();
        turn += 1;
        let picks: Vec<u64> = strides.iter().map(|_| random.next()).collect();
        // Constraints between sizes are met by chance; too many elements are not, so those are cured.
        for _ in 0..(axes.len() * EDGES.len()).max(1) {
            if consider(&positions, &picks, &mut drawn) {
                break;
            }
            let shrink = (0..axes.len())
                .filter(|index| positions[*index] > 0)
                .max_by_key(|index| (*index != lead, axes[*index].values[positions[*index]]));
            match shrink {
                Some(index) => positions[index] -= 1,
                None => break,
            }
        }
    }
    drawn
}

/// The values to try for one size.
fn axis(min: u64, max: u64, multiple_of: u64, most: u64) -> Vec<u64> {
    let fits = |value: &u64| *value >= min && *value <= max;
    let up = |value: u64| value.div_ceil(multiple_of).saturating_mul(multiple_of);
    let first = up(min);
    let mut values: Vec<u64> = EDGES
        .iter()
        .flat_map(|edge| [up(*edge), edge.saturating_mul(multiple_of)])
        .chain([first, first.saturating_add(multiple_of)])
        .chain((max <= most).then_some(max / multiple_of * multiple_of))
        .filter(fits)
        .filter(|value| *value <= most.max(first))
        .collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// Elements of the memory of all arguments together.
pub(super) fn total(spec: &BoundSpec, sizes: &SizeValues) -> u64 {
    spec.args
        .iter()
        .map(|arg| arg.extents(|size| sizes[size]).fold(1u64, u64::saturating_mul))
        .fold(0, u64::saturating_add)
}
