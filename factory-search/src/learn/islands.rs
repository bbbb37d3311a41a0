//! Islands: candidates of one structure, which are improved apart so that one lucky structure does not end the search of
//! the others.

use std::collections::BTreeMap;

use super::nearness::nearest;
use super::random::Random;
use crate::candidate::{TunableValue, Tunables};

/// Tunables that decide how a kernel is built; the others are degrees of the same build.
const STRUCTURAL: [&str; 6] = ["cluster", "keep", "persistent", "pipeline", "stages", "split"];

/// The island of a configuration: its structural tunables. A number counts as 0, 1 or more.
pub fn island(tunables: &Tunables) -> String {
    let mut name = String::new();
    for structural in STRUCTURAL {
        // Templates write them as macros are written.
        let found = tunables.iter().find(|(name, _)| name.eq_ignore_ascii_case(structural));
        let Some((_, value)) = found else { continue };
        let value = match value {
            TunableValue::Integer(value) => (*value).clamp(0, 2).to_string(),
            TunableValue::Word(word) => word.clone(),
        };
        name.push_str(&format!("{structural}={value} "));
    }
    name
}

/// Configurations that nobody has looked at yet, bred from those that are known: for each island in turn, its best ones are
/// crossed with each other and now and then with another island's, one or two tunables are changed, and the nearest
/// configuration that there is becomes the child. `known` is sorted, best first; `fresh` are those to choose from.
pub(crate) fn offspring(
    known: &[&Tunables],
    fresh: &BTreeMap<usize, &Tunables>,
    count: usize,
    random: &mut Random,
) -> Vec<usize> {
    let mut values: BTreeMap<&str, Vec<&TunableValue>> = BTreeMap::new();
    for (name, value) in fresh.values().flat_map(|tunables| tunables.iter()) {
        let seen = values.entry(name).or_default();
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    let names: Vec<&str> = values.keys().copied().collect();
    let mut islands: Vec<(String, Vec<&Tunables>)> = Vec::new();
    for tunables in known {
        let name = island(tunables);
        match islands.iter_mut().find(|(known, _)| *known == name) {
            Some((_, members)) => members.push(tunables),
            None => islands.push((name, vec![tunables])),
        }
    }
    let mut left = fresh.clone();
    let mut children = Vec::new();
    let mut turn = 0;
    while children.len() < count && !left.is_empty() && !islands.is_empty() && !names.is_empty() {
        let (_, members) = &islands[turn % islands.len()];
        turn += 1;
        let first = members[random.below(members.len().min(2))];
        let second = match random.below(5) {
            0 => islands[random.below(islands.len())].1[0],
            _ => members[random.below(members.len().min(4))],
        };
        let mut child = first.clone();
        for (name, value) in second {
            if random.below(2) == 0 {
                child.insert(name.clone(), value.clone());
            }
        }
        for _ in 0..=random.below(2) {
            let name = names[random.below(names.len())];
            let choices = &values[name];
            child.insert(name.to_owned(), choices[random.below(choices.len())].clone());
        }
        let Some(index) = nearest(&child, left.iter().map(|(&index, &tunables)| (index, tunables))) else {
            break;
        };
        left.remove(&index);
        children.push(index);
    }
    children
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cluster: i64, threads: i64) -> Tunables {
        Tunables::from([("cluster".to_owned(), cluster.into()), ("threads".to_owned(), threads.into())])
    }

    #[test]
    fn children_are_fresh_and_near_their_parents() {
        let space: Vec<Tunables> =
            [1, 2, 4].iter().flat_map(|&c| [32, 64, 128, 256, 512].map(|t| config(c, t))).collect();
        let known = [&space[2]];
        let fresh: BTreeMap<usize, &Tunables> =
            space.iter().enumerate().filter(|(index, _)| *index != 2).collect();
        let children = offspring(&known, &fresh, 6, &mut Random::new(3));
        assert_eq!(children.len(), 6);
        assert!(!children.contains(&2));
        let mut distinct = children.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 6, "nobody is bred twice: {children:?}");
        assert_eq!(children, offspring(&known, &fresh, 6, &mut Random::new(3)));
        // There are only so many.
        assert_eq!(offspring(&known, &fresh, 99, &mut Random::new(3)).len(), 14);
    }

    #[test]
    fn an_island_is_a_structure_not_a_degree() {
        assert_eq!(island(&config(1, 32)), island(&config(1, 512)));
        assert_eq!(island(&config(2, 32)), island(&config(8, 32)));
        assert_ne!(island(&config(1, 32)), island(&config(2, 32)));
    }
}
