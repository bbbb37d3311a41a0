//! A program's canonical text: its graph, without the names and the order that it was written in.

use super::{NodeId, Op, Program};
use crate::{ArgId, SizeId};

/// One line a value, numbered in the order in which the outputs need them, then one line an output.
///
/// Operands keep their order even where the operation commutes: in f64 too, only two operands commute exactly, and the
/// oracle's bits are part of what is correct.
pub(crate) fn print(
    program: &Program,
    arg: &dyn Fn(ArgId) -> String,
    size: &dyn Fn(SizeId) -> String,
) -> String {
    let mut printer = Printer {
        program,
        arg,
        size,
        numbers: vec![None; program.nodes.len()],
        count: 0,
        text: String::new(),
    };
    for (output, node) in &program.outputs {
        let number = printer.number(*node);
        printer.text.push_str(&format!("{} = %{number}\n", arg(*output)));
    }
    printer.text
}

struct Printer<'a> {
    program: &'a Program,
    arg: &'a dyn Fn(ArgId) -> String,
    size: &'a dyn Fn(SizeId) -> String,
    numbers: Vec<Option<usize>>,
    count: usize,
    text: String,
}

impl Printer<'_> {
    /// The number of a node, printed before if it was not yet. Walks with a stack of its own: programs may be deep.
    fn number(&mut self, root: NodeId) -> usize {
        let mut pending = vec![root];
        while let Some(&id) = pending.last() {
            if self.numbers[id.index()].is_some() {
                pending.pop();
                continue;
            }
            let operands = self.program.node(id).op.operands();
            let before = pending.len();
            pending.extend(operands.iter().rev().filter(|operand| self.numbers[operand.index()].is_none()));
            if pending.len() == before {
                let line = self.line(&self.program.node(id).op);
                self.text.push_str(&format!("%{} = {line}\n", self.count));
                self.numbers[id.index()] = Some(self.count);
                self.count += 1;
                pending.pop();
            }
        }
        self.numbers[root.index()].unwrap_or(0)
    }

    fn line(&self, op: &Op) -> String {
        let head = match op {
            Op::Arg(id) => format!("arg {}", (self.arg)(*id)),
            Op::Const(value) => format!("const {value:?}"),
            Op::Size(id) => format!("size {}", (self.size)(*id)),
            Op::Iota(id) => format!("iota {}", (self.size)(*id)),
            Op::Unary(op, _) => op.name().to_owned(),
            Op::Binary(op, ..) => op.name().to_owned(),
            Op::Compare(op, ..) => op.name().to_owned(),
            Op::Logic(op, ..) => op.name().to_owned(),
            Op::Not(_) => "not".to_owned(),
            Op::Select(..) => "select".to_owned(),
            Op::Cast(dtype, _) => format!("cast {dtype}"),
            Op::Reduce { op, over, .. } => {
                let mut names: Vec<String> = over.iter().map(|&id| (self.size)(id)).collect();
                names.sort();
                format!("reduce {} over {}:", op.name(), names.join(" "))
            }
        };
        op.operands()
            .iter()
            .fold(head, |line, operand| format!("{line} %{}", self.numbers[operand.index()].unwrap_or(0)))
    }
}
