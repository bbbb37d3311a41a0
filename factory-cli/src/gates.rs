//! What gates said, in a few lines.

use factory_spec::{Arch, GateRecord, Outcome};

/// Gates that passed for every target, then those that passed for some, then those that did not run, with the reason: gates
/// and targets of the same reason stand together.
pub(crate) fn lines(gates: &[GateRecord], passed: &[String]) -> Vec<String> {
    let mut some: Vec<(Arch, Vec<&str>)> = Vec::new();
    let mut not_run: Vec<NotRun<'_>> = Vec::new();
    for record in gates {
        let gate = record.gate.as_str();
        match (&record.outcome, record.target) {
            (Outcome::Passed { .. }, Some(target)) if !passed.iter().any(|name| name == gate) => {
                match some.iter_mut().find(|(known, _)| *known == target) {
                    Some((_, gates)) => push_once(gates, gate),
                    None => some.push((target, vec![gate])),
                }
            }
            (Outcome::NotRun { reason }, target) => {
                let at = not_run.iter().position(|known| known.reason == reason).unwrap_or_else(|| {
                    not_run.push(NotRun { reason, gates: Vec::new(), targets: Vec::new() });
                    not_run.len() - 1
                });
                let place = &mut not_run[at];
                push_once(&mut place.gates, gate);
                target.into_iter().for_each(|target| push_once(&mut place.targets, target));
            }
            _ => {}
        }
    }
    let mut lines = vec![format!("gates passed: {}", passed.join(", "))];
    lines
        .extend(some.iter().map(|(target, gates)| format!("gates passed on {target}: {}", gates.join(", "))));
    lines.extend(not_run.iter().map(NotRun::line));
    lines
}

struct NotRun<'a> {
    reason: &'a str,
    gates: Vec<&'a str>,
    targets: Vec<Arch>,
}

impl NotRun<'_> {
    fn line(&self) -> String {
        let targets: Vec<String> = self.targets.iter().map(Arch::to_string).collect();
        let on = if targets.is_empty() { String::new() } else { format!(" on {}", targets.join(", ")) };
        format!("gates not run{on}: {} ({})", self.gates.join(", "), self.reason)
    }
}

fn push_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
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
}
