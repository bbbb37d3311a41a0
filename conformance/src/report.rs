//! The report: what agreed, and how far approximate forms were off.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::form::{Form, all_forms, group_names};
use crate::judge::{Agreement, Verdict, compare};
use crate::on_machine::answers;
use crate::recording::Recording;

/// What a report counts.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The text, in Markdown.
    pub text: String,
    /// Forms whose answers agree.
    pub agreeing: usize,
    /// Forms that differ, are stale or do not run: name and why.
    pub failing: Vec<(String, String)>,
    /// Forms that were not recorded.
    pub unrecorded: Vec<String>,
}

/// What the tables leave out, and why.
const NOT_COVERED: &str = "\
## Not covered

- `vshl` with `.sat` or a second operation, `vmad` with `.shr7`, `.shr15` or `.po`, negated operands of `vmad`: the machine
  declines them. ptxas makes several instructions of them, whose answers do not follow the PTX ISA's pseudocode.
- Operands for which the ISA leaves the answer open: lanes outside of a member mask, `shfl` from a lane that is not there,
  `fns` without `n`-th bit beyond its edge cases, clocks and identities (their reading alone is tried).
- Textures, surfaces, `multimem`, `stacksave` and its kin.
- Matrix instructions, tensor copies, mbarriers and everything of sm_100: recorded or described elsewhere.
";

fn judge(form: &Form, recording: &Recording) -> Result<Option<Agreement>, String> {
    let Some(entry) = recording.entries.get(&form.name) else { return Ok(None) };
    let machine = answers(form).map_err(|trouble| trouble.to_string())?;
    match compare(form, &machine, entry) {
        Verdict::Agree(agreement) => Ok(Some(agreement)),
        Verdict::Differ(difference) => Err(difference.to_string()),
        Verdict::Stale => Err("the form or its inputs changed since it was recorded".to_owned()),
    }
}

/// Runs every form on the PTX machine and compares it with the recordings, given by group.
pub fn report(recordings: &BTreeMap<String, Recording>) -> Summary {
    let mut summary = Summary::default();
    let mut table = String::new();
    let mut approximate = String::new();
    for group in group_names() {
        let empty = Recording::default();
        let recording = recordings.get(group).unwrap_or(&empty);
        let (mut exact, mut cases, mut forms) = (0usize, 0usize, 0usize);
        for form in all_forms(group) {
            forms += 1;
            match judge(&form, recording) {
                Err(why) => summary.failing.push((form.name.clone(), why)),
                Ok(None) => summary.unrecorded.push(form.name.clone()),
                Ok(Some(agreement)) => {
                    summary.agreeing += 1;
                    cases += agreement.cases;
                    exact += usize::from(form.bound.is_none());
                    if let Some(bound) = form.bound {
                        let _ = writeln!(
                            approximate,
                            "| `{}` | {bound} | {:.3} | {:.3e} | {:.3e} | {} of {} |",
                            form.name.split(" : ").next().unwrap_or_default(),
                            agreement.ulps,
                            agreement.relative,
                            agreement.absolute,
                            agreement.equal,
                            agreement.cases
                        );
                    }
                }
            }
        }
        let _ = writeln!(table, "| {group} | {forms} | {exact} | {cases} | {} |", recording.origin);
    }
    let text = &mut summary.text;
    let _ = writeln!(text, "# The PTX machine against a GPU\n");
    let _ = writeln!(
        text,
        "Written by `cargo run -p factory-conformance --bin record -- report`. Each form is one instruction with its \
         modifiers and operand types.\nExact forms agree bit for bit on every case, NaN payloads included.\n"
    );
    let _ = writeln!(
        text,
        "| group | forms | exact and equal | cases | recorded on |\n|---|---|---|---|---|\n{table}"
    );
    let _ = writeln!(
        text,
        "Forms that agree: {}. Forms that differ: {}. Forms without a recording: {}.\n",
        summary.agreeing,
        summary.failing.len(),
        summary.unrecorded.len()
    );
    let _ = writeln!(
        text,
        "## Approximate forms\n\nThe farthest that the GPU was from the correctly rounded result, which is what the machine \
         gives. A unit in\nthe last place says little near zeros of `lg2`, `sin` and `cos`, whose bounds are absolute; the coarse f64 forms answer \
         in\nthe upper 32 bits alone.\n\n| form | stated bound | ulp | relative | absolute | same bits |\n|---|---|---|---|---|---|\n{approximate}"
    );
    let _ = writeln!(text, "{NOT_COVERED}");
    for (title, list) in [("Differing", &summary.failing)] {
        if !list.is_empty() {
            let _ = writeln!(text, "## {title}\n");
            for (name, why) in list {
                let _ = writeln!(text, "- `{name}`: {why}");
            }
            let _ = writeln!(text);
        }
    }
    if !summary.unrecorded.is_empty() {
        let _ = writeln!(text, "## Not recorded\n");
        for name in &summary.unrecorded {
            let _ = writeln!(text, "- `{name}`");
        }
    }
    summary
}
