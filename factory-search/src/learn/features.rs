//! Tasks and views as rows of numbers, for regression trees.

use std::collections::BTreeSet;

use super::{Task, View};
use crate::candidate::TunableValue;

/// What stands for an unknown number; no feature has it otherwise.
const UNKNOWN: f64 = -8.0;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Trait(String),
    Figure(String),
    /// The cost model's time over the bytes of the task, as a logarithm.
    Modelled,
    /// A tunable that is a number, as its logarithm.
    Number(String),
    /// Whether a tunable is this word.
    Word(String, String),
}

/// The columns that some experiences have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns(Vec<Column>);

impl Columns {
    /// All columns of these rows, in a fixed order.
    pub(crate) fn of<'a>(rows: impl Iterator<Item = (&'a Task, &'a View)>) -> Columns {
        let mut columns = BTreeSet::from([Column::Modelled]);
        for (task, view) in rows {
            columns.extend(task.traits.keys().cloned().map(Column::Trait));
            columns.extend(view.figures.keys().cloned().map(Column::Figure));
            for (name, value) in &view.tunables {
                columns.insert(match value {
                    TunableValue::Integer(_) => Column::Number(name.clone()),
                    TunableValue::Word(word) => Column::Word(name.clone(), word.clone()),
                });
            }
        }
        Columns(columns.into_iter().collect())
    }

    pub(crate) fn row(&self, task: &Task, view: &View) -> Vec<f64> {
        let value = |column: &Column| match column {
            Column::Trait(name) => task.traits.get(name).copied(),
            Column::Figure(name) => view.figures.get(name).copied(),
            Column::Modelled => Some(view.modelled.log2() - task.traits.get("bytes")?),
            Column::Number(name) => match view.tunables.get(name)? {
                TunableValue::Integer(value) => Some((1.0 + (*value).max(0) as f64).log2()),
                TunableValue::Word(_) => None,
            },
            Column::Word(name, word) => match view.tunables.get(name)? {
                TunableValue::Word(found) => Some(f64::from(u8::from(found == word))),
                TunableValue::Integer(_) => None,
            },
        };
        self.0
            .iter()
            .map(|column| value(column).filter(|value| value.is_finite()).unwrap_or(UNKNOWN))
            .collect()
    }
}
