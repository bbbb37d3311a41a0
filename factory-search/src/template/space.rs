//! Which configurations a template has.

use factory_spec::{BoundSpec, SizeExpr, SizeValues};

use super::header::{Header, word_number};
use crate::candidate::TunableValue;

/// Combinations that can be listed.
pub(super) const MOST_COMBINATIONS: u128 = 4_000_000;

/// For each tunable the position of its value.
pub(super) type Configuration = Vec<u16>;

/// The number that a value is in expressions.
pub(super) fn number(values: &[TunableValue], value: &TunableValue) -> i64 {
    match value {
        TunableValue::Integer(value) => *value,
        TunableValue::Word(word) => word_number(values, word).unwrap_or(0),
    }
}

/// Every combination, whether or not it can be listed.
pub(super) fn combinations(header: &Header) -> u128 {
    header.tunables.iter().map(|tunable| tunable.values.len() as u128).product()
}

/// The configurations that no constraint excludes, likeliest first. Constraints and `when` with sizes in them are held
/// against `over`, or left open where there is none. A constraint that has no value, such as one that divides by zero,
/// holds for nothing.
pub(super) fn configurations(
    header: &Header,
    spec: &BoundSpec,
    over: Option<&SizeValues>,
) -> Vec<Configuration> {
    let names: Vec<&str> = header.tunables.iter().map(|tunable| tunable.name.as_str()).collect();
    let numbers: Vec<Vec<i64>> = header
        .tunables
        .iter()
        .map(|tunable| tunable.values.iter().map(|value| number(&tunable.values, value)).collect())
        .collect();
    // Each constraint is looked at as soon as the last tunable that it names has a value.
    let mut checks: Vec<Vec<SizeExpr>> = vec![Vec::new(); names.len() + 1];
    for constraint in header.constraints.iter().chain([&header.when]) {
        let known = constraint.value.substitute(&|name| {
            let word = header.word(name).or_else(|| header.type_bytes(spec, name));
            word.filter(|_| !names.contains(&name))
        });
        let mentioned = known.names();
        let sizes = mentioned.iter().any(|name| !names.contains(&name.as_str()));
        if sizes && over.is_none() {
            continue;
        }
        let known = match over {
            Some(over) => known.substitute(&size_value(spec, over)),
            None => known,
        };
        let last = names.iter().rposition(|name| mentioned.contains(*name)).map_or(0, |index| index + 1);
        checks[last].push(known);
    }
    let mut found = Vec::new();
    let mut chosen: Vec<i64> = Vec::new();
    let mut positions: Configuration = Vec::new();
    walk(&names, &numbers, &checks, &mut chosen, &mut positions, &mut found);
    // Few changes from the likeliest first; the order of the file decides among equals, so the sort must be stable.
    found.sort_by_key(|positions| positions.iter().map(|&position| u32::from(position)).sum::<u32>());
    found
}

fn walk(
    names: &[&str],
    numbers: &[Vec<i64>],
    checks: &[Vec<SizeExpr>],
    chosen: &mut Vec<i64>,
    positions: &mut Configuration,
    found: &mut Vec<Configuration>,
) {
    let depth = chosen.len();
    let value =
        |name: &str| names.iter().position(|known| *known == name).and_then(|at| chosen.get(at).copied());
    if checks[depth].iter().any(|check| check.eval(&value).unwrap_or(0) == 0) {
        return;
    }
    let Some(values) = numbers.get(depth) else {
        found.push(positions.clone());
        return;
    };
    for (position, number) in values.iter().enumerate() {
        chosen.push(*number);
        positions.push(position as u16);
        walk(names, numbers, checks, chosen, positions, found);
        chosen.pop();
        positions.pop();
    }
}

/// The value of a size by name.
pub(super) fn size_value<'a>(spec: &'a BoundSpec, over: &'a SizeValues) -> impl Fn(&str) -> Option<i64> + 'a {
    |name| spec.size_id(name).and_then(|id| i64::try_from(over[id]).ok())
}
