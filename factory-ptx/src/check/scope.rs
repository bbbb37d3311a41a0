//! The names that are visible at a point of a module.

use std::collections::HashMap;

use crate::ast::{Function, Space, Type, Variable};

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning<'m> {
    /// A register; the vector width is 1 for a plain one.
    Register(Type, u8),
    /// Memory: a variable or parameter.
    Memory,
    /// A function, or the name of a table or prototype.
    Function(&'m Function),
    /// A label or a table.
    Label,
    /// A name declared by a directive: prototype, call table, alias.
    Table,
}

/// One `{ … }`.
#[derive(Default)]
struct Frame<'m> {
    names: HashMap<&'m str, Meaning<'m>>,
    /// `%r<100>`: prefix to type and count.
    ranges: HashMap<&'m str, (Type, u8, u32)>,
}

/// Frames from the module inwards.
pub(super) struct Scopes<'m> {
    frames: Vec<Frame<'m>>,
}

impl<'m> Scopes<'m> {
    pub(super) fn new() -> Scopes<'m> {
        Scopes { frames: vec![Frame::default()] }
    }

    pub(super) fn enter(&mut self) {
        self.frames.push(Frame::default());
    }

    pub(super) fn leave(&mut self) {
        self.frames.pop();
    }

    /// Declares a name in the innermost frame; `false` when that frame has it already.
    pub(super) fn declare(&mut self, name: &'m str, meaning: Meaning<'m>) -> bool {
        match self.frames.last_mut() {
            Some(frame) => frame.names.insert(name, meaning).is_none(),
            None => true,
        }
    }

    pub(super) fn declare_variable(&mut self, variable: &'m Variable) -> bool {
        let vector = variable.vector.unwrap_or(1);
        match (variable.space, variable.range) {
            (Space::Reg, Some(count)) => match self.frames.last_mut() {
                Some(frame) => frame.ranges.insert(&variable.name, (variable.ty, vector, count)).is_none(),
                None => true,
            },
            (Space::Reg, None) => self.declare(&variable.name, Meaning::Register(variable.ty, vector)),
            _ => self.declare(&variable.name, Meaning::Memory),
        }
    }

    /// The innermost meaning of a name.
    pub(super) fn find(&self, name: &str) -> Option<Meaning<'m>> {
        for frame in self.frames.iter().rev() {
            if let Some(meaning) = frame.names.get(name) {
                return Some(*meaning);
            }
            if frame.ranges.is_empty() {
                continue;
            }
            // `%r12` may be number 12 of `%r<…>` or number 2 of `%r1<…>`; leading zeros are no number.
            let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            for split in (name.len() - digits.min(8)..name.len()).rev() {
                let (prefix, number) = name.split_at(split);
                if number.len() > 1 && number.starts_with('0') {
                    continue;
                }
                if let (Some((ty, vector, count)), Ok(number)) =
                    (frame.ranges.get(prefix), number.parse::<u32>())
                    && number < *count
                {
                    return Some(Meaning::Register(*ty, *vector));
                }
            }
        }
        None
    }
}

/// Type of a special register, by its name with the `%` and any component.
pub(super) fn special_register(name: &str) -> Option<Type> {
    let plain = name.strip_prefix('%')?;
    let (base, component) =
        plain.split_once('.').map_or((plain, None), |(base, component)| (base, Some(component)));
    if let Some(component) = component {
        let vector = matches!(
            base,
            "tid"
                | "ntid"
                | "ctaid"
                | "nctaid"
                | "clusterid"
                | "nclusterid"
                | "cluster_ctaid"
                | "cluster_nctaid"
        );
        return (vector && matches!(component, "x" | "y" | "z" | "w")).then_some(Type::U32);
    }
    Some(match base {
        "laneid"
        | "warpid"
        | "nwarpid"
        | "smid"
        | "nsmid"
        | "cluster_ctarank"
        | "cluster_nctarank"
        | "lanemask_eq"
        | "lanemask_le"
        | "lanemask_lt"
        | "lanemask_ge"
        | "lanemask_gt"
        | "clock"
        | "clock_hi"
        | "globaltimer_lo"
        | "globaltimer_hi"
        | "total_smem_size"
        | "aggr_smem_size"
        | "dynamic_smem_size"
        | "reserved_smem_offset_begin"
        | "reserved_smem_offset_end"
        | "reserved_smem_offset_cap" => Type::U32,
        "clock64" | "globaltimer" | "gridid" | "current_graph_exec" => Type::U64,
        "is_explicit_cluster" => Type::Pred,
        _ => {
            let numbered = |prefix: &str, limit: u32| {
                base.strip_prefix(prefix)
                    .and_then(|number| number.parse::<u32>().ok())
                    .is_some_and(|n| n < limit)
            };
            let offset = base.strip_prefix("reserved_smem_offset_").is_some_and(|n| matches!(n, "0" | "1"));
            if numbered("envreg", 32) || numbered("pm", 8) || offset {
                Type::U32
            } else if base.strip_suffix("_64").is_some_and(|b| b.len() == 3 && b.starts_with("pm")) {
                Type::U64
            } else {
                return None;
            }
        }
    })
}
