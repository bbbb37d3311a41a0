//! "Did you mean": the nearest known word.

/// The known word within a third of the written one's length (at least one edit), nearest first.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // A word longer than any known one is noise, and comparing it would cost time.
    if word.is_empty() || word.len() > 48 {
        return None;
    }
    let limit = (word.len() / 3).max(1);
    known
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= limit && *candidate != word)
        .map(|candidate| (distance(word.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words, where swapping neighbours is one edit.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_wins() {
        assert_eq!(nearest("entri", ["entry", "extern"]), Some("entry"));
        assert_eq!(nearest("wgmam", ["wgmma", "mma"]), Some("wgmma"));
        assert_eq!(nearest("f23", ["f32", "f64"]), Some("f32"));
        assert_eq!(nearest("zebra", ["add", "sub"]), None);
    }
}
