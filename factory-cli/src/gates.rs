//! What gates said, in a few lines.

use factory_spec::{Arch, GateRecord, Outcome};

/// Gates that passed for every target, then those that passed for some, then those that did not run, with the reason: targets
/// of which the same is to be said stand together.
pub(crate) fn lines(gates: &[GateRecord], passed: &[String]) -> Vec<String> {
    let some = grouped(gates.iter().filter_map(|record| match (&record.outcome, record.target) {
        (Outcome::Passed { .. }, Some(target)) if !passed.contains(&record.gate) => {
            Some((target, record.gate.as_str()))
        }
        _ => None,
    }));
    let not_run = grouped(gates.iter().filter_map(|record| match &record.outcome {
        Outcome::NotRun { reason } => Some(((record.target, reason), record.gate.as_str())),
        _ => None,
    }));
    let not_run = grouped(not_run.into_iter().map(|((target, reason), gates)| ((gates, reason), target)));
    let mut lines = vec![format!("gates passed: {}", passed.join(", "))];
    for (target, gates) in some {
        lines.push(format!("gates passed on {target}: {}", gates.join(", ")));
    }
    for ((gates, reason), targets) in not_run {
        let targets: Vec<String> = targets.iter().flatten().map(Arch::to_string).collect();
        let on = if targets.is_empty() { String::new() } else { format!(" on {}", targets.join(", ")) };
        lines.push(format!("gates not run{on}: {} ({reason})", gates.join(", ")));
    }
    lines
}

/// The different values of each key, in the order in which they came.
fn grouped<K: PartialEq, V: PartialEq>(pairs: impl Iterator<Item = (K, V)>) -> Vec<(K, Vec<V>)> {
    let mut groups: Vec<(K, Vec<V>)> = Vec::new();
    for (key, value) in pairs {
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) if values.contains(&value) => {}
            Some((_, values)) => values.push(value),
            None => groups.push((key, vec![value])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(gate: &str, target: Option<Arch>, reason: Option<&str>) -> GateRecord {
        let outcome = match reason {
            None => Outcome::Passed { cases: 1, detail: String::new() },
            Some(reason) => Outcome::NotRun { reason: reason.to_owned() },
        };
        GateRecord { gate: gate.to_owned(), target, outcome }
    }

    #[test]
    fn a_target_that_was_measured_does_not_seem_unmeasured_for_the_other_one() {
        let (here, there) = (Some(Arch::Sm90), Some(Arch::Sm100));
        let gates = [
            record("machine", here, None),
            record("device", here, None),
            record("time", here, Some("1 of 2 winners were measured a second time")),
            record("machine", there, None),
            record("device", there, Some("no such GPU")),
            record("time", there, Some("no such GPU")),
        ];
        assert_eq!(
            lines(&gates, &["machine".to_owned()]),
            [
                "gates passed: machine",
                "gates passed on sm_90: device",
                "gates not run on sm_90: time (1 of 2 winners were measured a second time)",
                "gates not run on sm_100: device, time (no such GPU)",
            ]
        );
    }

    #[test]
    fn what_is_said_of_both_targets_is_said_once_and_of_no_other_gate() {
        let (here, there) = (Some(Arch::Sm90), Some(Arch::Sm100));
        let off = Some("it was switched off");
        let both = [record("time", here, off), record("time", there, off)];
        assert_eq!(lines(&both, &[])[1..], ["gates not run on sm_90, sm_100: time (it was switched off)"]);
        let each = [record("device", here, off), record("time", there, off)];
        assert_eq!(
            lines(&each, &[])[1..],
            [
                "gates not run on sm_90: device (it was switched off)",
                "gates not run on sm_100: time (it was switched off)",
            ]
        );
    }
}
