//! `[tunables]`: what to vary, and over which values.

use factory_spec::Span;
use toml::de::DeValue;

use super::error::TemplateProblem;
use super::header::Tunable;
use super::read::{Entry, Reader, is_identifier};
use crate::candidate::TunableValue;

/// More values than this and somebody meant something else.
const MOST_VALUES: usize = 4096;

pub(super) fn tunables(reader: &mut Reader, entry: Option<Entry<'_>>) -> Option<Vec<Tunable>> {
    let Some(entry) = entry else { return Some(Vec::new()) };
    let DeValue::Table(table) = entry.value else { return reader.wrong(entry, "a table of tunables") };
    let found: Vec<Option<Tunable>> =
        Reader::entries(table).into_iter().map(|entry| tunable(reader, entry)).collect();
    found.into_iter().collect()
}

fn tunable(reader: &mut Reader, entry: Entry<'_>) -> Option<Tunable> {
    const WANTED: &str = "a list, `true`, `false`, or a table with `values`, `range` or `powers`";
    let values = match entry.value {
        DeValue::Array(_) => values(reader, entry)?,
        DeValue::Boolean(first) => vec![TunableValue::from(*first), TunableValue::from(!*first)],
        DeValue::Table(table) => {
            let entries = Reader::entries(table);
            reader.only(&entries, "a tunable", &["values", "range", "step", "powers", "default"]);
            let get = |key: &str| entries.iter().copied().find(|entry| entry.key == key);
            let values = match (get("values"), get("range"), get("powers")) {
                (Some(list), None, None) => values(reader, list)?,
                (None, Some(range), None) => {
                    let step = get("step").map_or(Some(1), |entry| reader.integer(entry))?;
                    range_values(reader, range, step)?
                }
                (None, None, Some(powers)) => power_values(reader, powers)?,
                _ => return reader.wrong(entry, WANTED),
            };
            if let (Some(step), None) = (get("step"), get("range")) {
                return reader.wrong(step, "nothing here: it goes with `range`");
            }
            match get("default") {
                Some(default) => with_default(reader, entry, default, values)?,
                None => values,
            }
        }
        _ => return reader.wrong(entry, WANTED),
    };
    let name = entry.key.to_owned();
    let mut fault = values.is_empty().then(|| "has no values".to_owned());
    for (index, value) in values.iter().enumerate() {
        if values[..index].contains(value) {
            fault = Some(format!("has the value {value} twice"));
        }
    }
    let words = values.iter().filter(|value| matches!(value, TunableValue::Word(_))).count();
    if words != 0 && words != values.len() {
        fault = Some("mixes words and numbers".to_owned());
    }
    if let Some(fault) = fault {
        reader.note(entry.span, TemplateProblem::Values { name, fault });
        return None;
    }
    Some(Tunable { name, span: entry.key_span, values })
}

fn value(reader: &mut Reader, entry: Entry<'_>) -> Option<TunableValue> {
    match entry.value {
        DeValue::Integer(_) => reader.integer(entry).map(TunableValue::Integer),
        DeValue::Boolean(value) => Some(TunableValue::from(*value)),
        DeValue::String(word) if is_identifier(word) => Some(TunableValue::Word(word.to_string())),
        _ => reader.wrong(entry, "whole numbers, truth values, or words that are C++ identifiers"),
    }
}

fn values(reader: &mut Reader, entry: Entry<'_>) -> Option<Vec<TunableValue>> {
    let list = reader.list(entry, "a list of values")?;
    list.into_iter().map(|element| value(reader, element)).collect()
}

/// Two whole numbers, the first not above the second.
fn bounds(reader: &mut Reader, entry: Entry<'_>) -> Option<(i64, i64)> {
    let list = reader.list(entry, "two whole numbers: the first and the last value")?;
    let numbers: Option<Vec<i64>> = list.into_iter().map(|element| reader.integer(element)).collect();
    match numbers?[..] {
        [first, last] if first <= last => Some((first, last)),
        _ => reader.wrong(entry, "two whole numbers, the first not above the second"),
    }
}

fn range_values(reader: &mut Reader, entry: Entry<'_>, step: i64) -> Option<Vec<TunableValue>> {
    let (first, last) = bounds(reader, entry)?;
    let step = usize::try_from(step).ok().filter(|&step| step > 0);
    let Some(step) = step else { return reader.wrong(entry, "a step above 0") };
    let count = (i128::from(last) - i128::from(first)) / step as i128 + 1;
    if count > MOST_VALUES as i128 {
        return reader.wrong(entry, "at most 4096 values");
    }
    Some((first..=last).step_by(step).map(TunableValue::Integer).collect())
}

fn power_values(reader: &mut Reader, entry: Entry<'_>) -> Option<Vec<TunableValue>> {
    let (first, last) = bounds(reader, entry)?;
    let power = |value: i64| value > 0 && (value as u64).is_power_of_two();
    if !power(first) || !power(last) {
        return reader.wrong(entry, "two powers of two");
    }
    let values = std::iter::successors(Some(first), |value| value.checked_mul(2));
    Some(values.take_while(|value| *value <= last).map(TunableValue::Integer).collect())
}

/// The default first; the others by their distance from it, as neighbours of a good value are likelier than others.
fn with_default(
    reader: &mut Reader,
    entry: Entry<'_>,
    default: Entry<'_>,
    values: Vec<TunableValue>,
) -> Option<Vec<TunableValue>> {
    let wanted = value(reader, default)?;
    let Some(at) = values.iter().position(|value| *value == wanted) else {
        let fault = format!("has the default {wanted}, which is none of its values");
        let span: Span = default.span;
        reader.note(span, TemplateProblem::Values { name: entry.key.to_owned(), fault });
        return None;
    };
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&index| (index.abs_diff(at), index));
    Some(order.into_iter().map(|index| values[index].clone()).collect())
}
