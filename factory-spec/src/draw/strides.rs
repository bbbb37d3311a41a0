//! Which row strides to check at: they follow from the lengths of the rows.

use std::collections::BTreeMap;

use crate::{BoundSpec, SizeId, SizeKind};

/// A free size that is a row stride.
pub(super) struct Stride {
    pub(super) id: SizeId,
    name: String,
    min: u64,
    max: u64,
    multiple_of: u64,
}

/// The free sizes that are row strides, in the order of the spec.
pub(super) fn strides(spec: &BoundSpec) -> Vec<Stride> {
    let ids = (0..spec.sizes.len() as u32).map(SizeId).filter(|id| spec.is_row_stride(*id));
    ids.filter_map(|id| match &spec.size(id).kind {
        SizeKind::Free { min, max, multiple_of } => Some(Stride {
            id,
            name: spec.size(id).name.clone(),
            min: *min,
            max: max.unwrap_or(i64::MAX as u64),
            multiple_of: (*multiple_of).max(1),
        }),
        SizeKind::Fixed(_) | SizeKind::Derived(_) => None,
    })
    .collect()
}

impl Stride {
    /// Adds its value to those of the other free sizes: one of its choices there, which `pick` counts through.
    pub(super) fn choose(&self, spec: &BoundSpec, free: &mut BTreeMap<String, u64>, pick: u64) {
        let choices = self.choices(spec.longest_row(self.id, free).unwrap_or(0));
        let chosen = choices.get((pick % choices.len().max(1) as u64) as usize);
        // Where nothing fits, neither does what is given instead.
        free.insert(self.name.clone(), chosen.copied().unwrap_or(self.min));
    }

    /// No gap, the least gap, gaps that keep rows aligned and gaps that do not, and more gap than row.
    fn choices(&self, row: u64) -> Vec<u64> {
        let wanted = [
            row,
            row.saturating_add(1),
            (row / 8).saturating_add(1).saturating_mul(8),
            row.saturating_mul(2),
            row.saturating_mul(3).saturating_add(8),
            row.saturating_add(5),
        ];
        let up = |value: u64| value.max(self.min).max(1).checked_next_multiple_of(self.multiple_of);
        let mut choices: Vec<u64> = Vec::new();
        for value in wanted.into_iter().filter_map(up).filter(|value| *value <= self.max) {
            if !choices.contains(&value) {
                choices.push(value);
            }
        }
        choices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_at_least_a_row_and_in_the_domain() {
        let stride =
            |min, max, multiple_of| Stride { id: SizeId(0), name: "xs".into(), min, max, multiple_of };
        assert_eq!(stride(1, 1 << 40, 1).choices(8), [8, 9, 16, 32, 13]);
        assert_eq!(stride(1, 1 << 40, 8).choices(12), [16, 24, 48]);
        assert_eq!(stride(64, 70, 1).choices(20), [64, 68]);
        assert_eq!(stride(1, 7, 1).choices(8), [0u64; 0]);
    }
}
