//! How the sizes of a program fall into rows and columns, and where each operand's elements lie.
//!
//! Columns are the innermost sizes: those that reductions run over or, without reductions, as many inner sizes as all
//! operands share. Every other size is a row size. A row is one value of all row sizes, numbered in their order; a column
//! is one value of all column sizes. Several column sizes are one long column range.

use std::collections::BTreeSet;

use factory_spec::{ArgId, BoundSpec, NodeId, Op, Program, Role, SizeExpr, SizeId};

use super::declined::{Declined, Reason};

/// How an operand varies along the columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Along {
    /// Not at all.
    Same,
    /// The column is the element's offset.
    Dense,
    /// The offset is a sum of column indices times strides: `(position in columns, stride)`.
    Scattered(Vec<(usize, SizeExpr)>),
}

/// How an operand varies along the rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Across {
    /// Not at all.
    Same,
    /// Row number times a stride.
    Dense(SizeExpr),
    /// A sum of row indices times strides: `(position in rows, stride)`.
    Scattered(Vec<(usize, SizeExpr)>),
}

/// Where a tensor's elements lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Access {
    /// The tensor.
    pub(crate) arg: ArgId,
    /// Along the columns.
    pub(crate) along: Along,
    /// Across the rows.
    pub(crate) across: Across,
    /// Row sizes (positions) that the tensor lacks: as an output it is written where their indices are 0.
    pub(crate) missing: Vec<usize>,
}

/// Rows, columns and operands of a program.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    /// Row sizes, outermost first.
    pub(crate) rows: Vec<SizeId>,
    /// Column sizes, outermost first.
    pub(crate) columns: Vec<SizeId>,
    /// Every tensor that is read or written, in the order of the arguments.
    pub(crate) tensors: Vec<Access>,
    /// Whether there are reductions.
    pub(crate) reduces: bool,
}

impl Split {
    pub(crate) fn new(spec: &BoundSpec, program: &Program) -> Result<Split, Declined> {
        if program.outputs.is_empty() {
            return Err(Declined::whole(Reason::NoOutputs));
        }
        let names = |sizes: &[SizeId]| {
            sizes.iter().map(|&size| spec.size(size).name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let reduced = reduced_sizes(spec, program)?;
        let reduces = reduced.is_some();
        let used = used_tensors(spec, program);

        let columns = match &reduced {
            Some((over, node)) => {
                let span = program.node(*node).span;
                let order = column_order(spec, &used, over);
                for &arg in &used {
                    let shape = &spec.args[arg.index()].shape;
                    let held = over.iter().filter(|size| shape.contains(size)).count();
                    if held == over.len() && !shape.ends_with(&order) {
                        let arg = spec.args[arg.index()].name.clone();
                        return Err(Declined::at(Reason::NotInnermost { sizes: names(&order), arg }, span));
                    }
                }
                for &(arg, _) in &program.outputs {
                    let arg = &spec.args[arg.index()];
                    let held = over.iter().filter(|size| arg.shape.contains(size)).count();
                    if held != 0 && held != over.len() {
                        return Err(Declined::at(
                            Reason::PartialOutput { sizes: names(&order), arg: arg.name.clone() },
                            span,
                        ));
                    }
                }
                order
            }
            None => inner_sizes(spec, program, &used),
        };

        let rows = row_sizes(spec, program, &used, &columns);
        if let Some((over, node)) = &reduced {
            let keeps_columns =
                program.outputs.iter().any(|(arg, _)| spec.args[arg.index()].shape.ends_with(&columns));
            if rows.is_empty() && (over.len() > 1 || !keeps_columns) {
                return Err(Declined::at(
                    Reason::ReducesEverything { sizes: names(&columns) },
                    program.node(*node).span,
                ));
            }
        }
        let mut split = Split { rows, columns, tensors: Vec::new(), reduces };
        for &arg in &used {
            let access = split.access(spec, arg);
            let bound = &spec.args[arg.index()];
            if bound.role == Role::InOut {
                let own = matches!(access.along, Along::Dense | Along::Same) && access.missing.is_empty();
                // Without columns every thread of a row reads it and one writes; with several tiles a row, blocks would.
                if !own || (access.along == Along::Same && !split.columns.is_empty() && !split.reduces) {
                    return Err(Declined::whole(Reason::SharedInOut { arg: bound.name.clone() }));
                }
            }
            split.tensors.push(access);
        }
        Ok(split)
    }

    /// Number of rows.
    pub(crate) fn row_count(&self, spec: &BoundSpec) -> SizeExpr {
        product(spec, &self.rows)
    }

    /// Number of columns.
    pub(crate) fn column_count(&self, spec: &BoundSpec) -> SizeExpr {
        product(spec, &self.columns)
    }

    /// The access of a tensor.
    pub(crate) fn tensor(&self, arg: ArgId) -> &Access {
        self.tensors.iter().find(|access| access.arg == arg).expect("every tensor of the program was listed")
    }

    fn access(&self, spec: &BoundSpec, arg: ArgId) -> Access {
        let shape = &spec.args[arg.index()].shape;
        let strides = |sizes: &[SizeId]| -> Vec<(usize, SizeExpr)> {
            shape
                .iter()
                .enumerate()
                .filter_map(|(dimension, size)| {
                    let position = sizes.iter().position(|known| known == size)?;
                    Some((position, product(spec, &shape[dimension + 1..])))
                })
                .collect()
        };
        let held: Vec<SizeId> = shape.iter().copied().filter(|size| self.columns.contains(size)).collect();
        let along = if held.is_empty() {
            Along::Same
        } else if shape.ends_with(&self.columns) {
            Along::Dense
        } else {
            Along::Scattered(strides(&self.columns))
        };
        let outer: Vec<SizeId> = shape.iter().copied().filter(|size| self.rows.contains(size)).collect();
        let across = if outer.is_empty() {
            Across::Same
        } else if outer == self.rows && shape.starts_with(&self.rows) {
            Across::Dense(product(spec, &shape[self.rows.len()..]))
        } else {
            Across::Scattered(strides(&self.rows))
        };
        let missing =
            (0..self.rows.len()).filter(|&position| !shape.contains(&self.rows[position])).collect();
        Access { arg, along, across, missing }
    }
}

/// The product of sizes; fixed ones are folded.
pub(crate) fn product(spec: &BoundSpec, sizes: &[SizeId]) -> SizeExpr {
    let mut fixed = 1i64;
    let mut result: Option<SizeExpr> = None;
    for &size in sizes {
        let size = spec.size(size);
        if let factory_spec::SizeKind::Fixed(value) = size.kind {
            fixed = fixed.saturating_mul(i64::try_from(value).unwrap_or(i64::MAX));
            continue;
        }
        let factor = SizeExpr::size(size.name.clone());
        result = Some(match result {
            Some(product) => product.mul(factor),
            None => factor,
        });
    }
    match result {
        None => SizeExpr::constant(fixed),
        Some(product) if fixed == 1 => product,
        Some(product) => product.mul(SizeExpr::constant(fixed)),
    }
}

fn reduced_sizes(spec: &BoundSpec, program: &Program) -> Result<Option<(Vec<SizeId>, NodeId)>, Declined> {
    let mut found: Option<(Vec<SizeId>, NodeId)> = None;
    for (index, node) in program.nodes.iter().enumerate() {
        let Op::Reduce { over, .. } = &node.op else { continue };
        let mut over = over.clone();
        over.sort_unstable();
        match &found {
            None => found = Some((over, NodeId(index as u32))),
            Some((first, _)) if *first == over => {}
            Some((first, _)) => {
                let names = |sizes: &[SizeId]| {
                    sizes.iter().map(|&size| spec.size(size).name.as_str()).collect::<Vec<_>>().join(", ")
                };
                let reason = Reason::DifferentReductions { first: names(first), second: names(&over) };
                return Err(Declined::at(reason, node.span));
            }
        }
    }
    Ok(found)
}

/// Tensors that the program reads or writes, in the order of the arguments.
fn used_tensors(spec: &BoundSpec, program: &Program) -> Vec<ArgId> {
    let read = program.nodes.iter().filter_map(|node| match node.op {
        Op::Arg(arg) => Some(arg),
        _ => None,
    });
    let written = program.outputs.iter().map(|(arg, _)| *arg);
    let all: BTreeSet<ArgId> = read.chain(written).filter(|arg| !spec.args[arg.index()].scalar).collect();
    all.into_iter().collect()
}

/// The reduced sizes in the order in which a tensor that holds them all has them.
fn column_order(spec: &BoundSpec, used: &[ArgId], over: &[SizeId]) -> Vec<SizeId> {
    used.iter()
        .map(|arg| &spec.args[arg.index()].shape)
        .find(|shape| over.iter().all(|size| shape.contains(size)))
        .map_or_else(
            || over.to_vec(),
            |shape| shape.iter().copied().filter(|size| over.contains(size)).collect(),
        )
}

/// Without reductions: the longest inner part of the largest output that every tensor has whole and innermost, or lacks.
fn inner_sizes(spec: &BoundSpec, program: &Program, used: &[ArgId]) -> Vec<SizeId> {
    let largest = largest_output(spec, program);
    let counted: BTreeSet<SizeId> = program
        .nodes
        .iter()
        .filter_map(|node| match node.op {
            Op::Iota(size) => Some(size),
            _ => None,
        })
        .collect();
    for start in 0..largest.len() {
        let inner = &largest[start..];
        if inner.len() == 1 {
            break;
        }
        let whole = used.iter().all(|arg| {
            let shape = &spec.args[arg.index()].shape;
            shape.ends_with(inner) || !inner.iter().any(|size| shape.contains(size))
        });
        if whole && !inner.iter().any(|size| counted.contains(size)) {
            return inner.to_vec();
        }
    }
    largest.last().map(|&size| vec![size]).unwrap_or_default()
}

fn largest_output(spec: &BoundSpec, program: &Program) -> Vec<SizeId> {
    let mut largest: &[SizeId] = &[];
    for (arg, _) in &program.outputs {
        let shape = &spec.args[arg.index()].shape;
        if shape.len() > largest.len() {
            largest = shape;
        }
    }
    largest.to_vec()
}

/// Row sizes: those of the largest output first, in its order, then those that only others have.
fn row_sizes(spec: &BoundSpec, program: &Program, used: &[ArgId], columns: &[SizeId]) -> Vec<SizeId> {
    let mut rows: Vec<SizeId> = Vec::new();
    let shapes = std::iter::once(largest_output(spec, program))
        .chain(used.iter().map(|arg| spec.args[arg.index()].shape.clone()))
        .chain(program.nodes.iter().map(|node| node.dims.clone()));
    for shape in shapes {
        for size in shape {
            if !columns.contains(&size) && !rows.contains(&size) {
                rows.push(size);
            }
        }
    }
    rows
}
