//! Programmatic dependent launch: who may let the next launch begin, and who has to wait.
//!
//! A launch that the plan calls programmatic may begin while the one before it still runs. Two rules keep that within the
//! variant. `griddepcontrol.launch_dependents` stands only in entries behind which the plan has a programmatic launch:
//! behind a variant's last launch comes what is not the variant's, the harness's own work among it. And the entry of a
//! programmatic launch waits (`griddepcontrol.wait`): without it nothing says that what it reads has been written.
//!
//! That it waits early enough no gate can read off the text, and the PTX machine runs launches one after the other; a GPU
//! shows it, in its wrong outputs.

use std::collections::BTreeSet;

use factory_ptx::ast::{FunctionKind, Instruction, Module, Statement};
use factory_spec::Variant;

use crate::verdict::Reason;

/// Checks both rules.
///
/// # Errors
/// The first entry or instruction that breaks one.
pub(super) fn check(module: &Module, variants: &[Variant]) -> Result<(), Reason> {
    // Entries behind which a programmatic launch follows, wherever they are launched.
    let mut leading = BTreeSet::new();
    let mut last = BTreeSet::new();
    let mut waiting = BTreeSet::new();
    for variant in variants {
        for (index, launch) in variant.launches.iter().enumerate() {
            let followed = variant.launches.get(index + 1).is_some_and(|next| next.programmatic);
            if followed { &mut leading } else { &mut last }.insert(launch.entry.as_str());
            if launch.programmatic {
                waiting.insert(launch.entry.as_str());
            }
        }
    }
    // A function may be called from anywhere, so it must be right for all: nobody leads unless every entry does.
    let all_lead = last.is_empty();
    let called_waits = module
        .functions()
        .filter(|function| function.kind != FunctionKind::Entry)
        .filter_map(|function| function.body.as_deref())
        .any(|body| find(body, "wait").is_some());
    for function in module.functions() {
        let Some(body) = &function.body else { continue };
        let name = function.name.as_str();
        let leads = if function.kind == FunctionKind::Entry {
            leading.contains(name) && !last.contains(name)
        } else {
            all_lead
        };
        if let (false, Some(instruction)) = (leads, find(body, "launch_dependents")) {
            return Err(Reason::Instruction {
                instruction: instruction.mnemonic(),
                line: instruction.span.line,
                why: "it lets work run past the end of a timed launch: no programmatic launch of the plan follows"
                    .into(),
            });
        }
        if waiting.contains(name) && find(body, "wait").is_none() && !called_waits {
            return Err(Reason::Plan {
                message: format!(
                    "`{name}` is launched programmatically and has no `griddepcontrol.wait`: it may run before what \
                     it reads is written"
                ),
            });
        }
    }
    Ok(())
}

/// The first `griddepcontrol` of this kind.
fn find<'a>(body: &'a [Statement], kind: &str) -> Option<&'a Instruction> {
    body.iter().find_map(|statement| match statement {
        Statement::Block(inner) => find(inner, kind),
        Statement::Instruction(instruction)
            if instruction.opcode == "griddepcontrol" && instruction.has(kind) =>
        {
            Some(instruction)
        }
        _ => None,
    })
}
