//! From statements to the graph of values: names, kinds and dimensions.

use std::collections::BTreeMap;

use super::lexer::{functions, is_reserved};
use super::syntax::{Expr, ExprKind, Statement};
use super::{BinaryOp, Node, NodeId, Op, Program, ReduceOp, Ty, UnaryOp};
use crate::error::did_you_mean;
use crate::{Arg, ArgId, DType, Problem, Size, SizeId, SourceText, Span};

/// What a program may refer to.
pub(crate) struct Scope<'a> {
    pub(crate) source: &'a SourceText,
    pub(crate) sizes: &'a [Size],
    pub(crate) args: &'a [Arg],
    pub(crate) dtypes: &'a BTreeMap<String, DType>,
    /// Where the program stands, for outputs that it does not assign
    pub(crate) span: Span,
}

/// The error was already noted; what depends on the value goes unchecked.
struct Noted;

type Checked<T> = Result<T, Noted>;

struct Checker<'a> {
    scope: &'a Scope<'a>,
    nodes: Vec<Node>,
    /// What names mean so far; nothing where a mistake was already noted
    names: BTreeMap<String, Option<NodeId>>,
    /// Where each name was assigned
    assigned: BTreeMap<String, Span>,
    errors: Vec<(Span, Problem)>,
}

/// Checks a program and makes it a graph.
pub(crate) fn check(scope: &Scope<'_>, statements: &[Statement]) -> Result<Program, Vec<(Span, Problem)>> {
    let mut checker = Checker {
        scope,
        nodes: Vec::new(),
        names: BTreeMap::new(),
        assigned: BTreeMap::new(),
        errors: Vec::new(),
    };
    for statement in statements {
        checker.statement(statement);
    }
    let mut outputs = Vec::new();
    for (index, arg) in scope.args.iter().enumerate().filter(|(_, arg)| arg.role.writes()) {
        match checker.names.get(&arg.name) {
            Some(Some(node)) => outputs.push((ArgId(index as u32), *node)),
            Some(None) => {}
            None => checker.errors.push((scope.span, Problem::NeverAssigned { name: arg.name.clone() })),
        }
    }
    if checker.errors.is_empty() { Ok(prune(checker.nodes, outputs)) } else { Err(checker.errors) }
}

/// Drops the values that no output needs.
fn prune(nodes: Vec<Node>, outputs: Vec<(ArgId, NodeId)>) -> Program {
    let needed = super::needed(&nodes, outputs.iter().map(|(_, node)| *node), |_| false);
    let mut renamed = vec![NodeId(0); nodes.len()];
    let mut kept: Vec<Node> = Vec::new();
    for (index, mut node) in nodes.into_iter().enumerate().filter(|(index, _)| needed[*index]) {
        node.op = node.op.map_operands(|operand| renamed[operand.index()]);
        renamed[index] = NodeId(kept.len() as u32);
        kept.push(node);
    }
    let outputs = outputs.into_iter().map(|(arg, node)| (arg, renamed[node.index()])).collect();
    Program { nodes: kept, outputs }
}

impl Checker<'_> {
    fn note<T>(&mut self, span: Span, problem: Problem) -> Checked<T> {
        self.errors.push((span, problem));
        Err(Noted)
    }

    fn arg(&self, name: &str) -> Option<(ArgId, &Arg)> {
        let index = self.scope.args.iter().position(|arg| arg.name == name)?;
        Some((ArgId(index as u32), &self.scope.args[index]))
    }

    fn size(&self, name: &str) -> Option<SizeId> {
        self.scope.sizes.iter().position(|size| size.name == name).map(|index| SizeId(index as u32))
    }

    fn size_names(&self, sizes: &[SizeId]) -> Vec<String> {
        sizes.iter().map(|size| self.scope.sizes[size.index()].name.clone()).collect()
    }

    fn statement(&mut self, statement: &Statement) {
        let value = self.value(&statement.value);
        // A name that was assigned wrongly still counts as assigned: one complaint is enough.
        let value = self.assign(statement, value).ok();
        self.names.entry(statement.name.clone()).or_insert(value);
        self.assigned.entry(statement.name.clone()).or_insert(statement.name_span);
    }

    fn assign(&mut self, statement: &Statement, value: Checked<NodeId>) -> Checked<NodeId> {
        let name = &statement.name;
        let not_assignable = |what| Problem::NotAssignable { name: name.clone(), what };
        if is_reserved(name) {
            return self.note(statement.name_span, not_assignable("a word of the language"));
        }
        if self.size(name).is_some() {
            return self.note(statement.name_span, not_assignable("a size"));
        }
        if self.scope.dtypes.contains_key(name) {
            return self.note(statement.name_span, not_assignable("a dtype variable"));
        }
        if let Some(first) = self.assigned.get(name) {
            let (line, _) = self.scope.source.line_column(first.offset);
            return self.note(statement.name_span, Problem::AssignedTwice { name: name.clone(), line });
        }
        let Some((_, arg)) = self.arg(name) else { return value };
        if !arg.role.writes() {
            let what = if arg.scalar { "a scalar" } else { "an input" };
            return self.note(statement.name_span, not_assignable(what));
        }
        let shape = arg.shape.clone();
        let value = value?;
        let node = &self.nodes[value.index()];
        if node.ty == Ty::Bool {
            let problem = Problem::DTypeMismatch {
                detail: format!("`{name}` holds numbers, but this is a truth value"),
                advice: "turn it into 0 and 1 with `cast(…, f32)`, or choose with `select(…, a, b)`".into(),
            };
            return self.note(statement.value.span, problem);
        }
        let extra: Vec<SizeId> = node.dims.iter().copied().filter(|size| !shape.contains(size)).collect();
        if !extra.is_empty() {
            let problem = Problem::ShapeMismatch {
                output: name.clone(),
                extra: self.size_names(&extra),
                shape: self.size_names(&shape),
            };
            return self.note(statement.value.span, problem);
        }
        Ok(value)
    }

    fn add(&mut self, op: Op, dims: Vec<SizeId>, ty: Ty, span: Span) -> NodeId {
        let same = |node: &Node| match (&node.op, &op) {
            // `==` would take 0 and -0 for the same.
            (Op::Const(a), Op::Const(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        };
        let index = self.nodes.iter().position(same).unwrap_or_else(|| {
            self.nodes.push(Node { op, dims, ty, span });
            self.nodes.len() - 1
        });
        NodeId(index as u32)
    }

    /// Dimensions of a value computed from others: all of theirs, in the order of the sizes.
    fn union(&self, operands: &[NodeId]) -> Vec<SizeId> {
        let mut dims: Vec<SizeId> =
            operands.iter().flat_map(|operand| self.nodes[operand.index()].dims.clone()).collect();
        dims.sort();
        dims.dedup();
        dims
    }

    fn typed(&mut self, expr: &Expr, wanted: Ty, by: &str) -> Checked<NodeId> {
        let node = self.value(expr)?;
        let (detail, advice) = match (self.nodes[node.index()].ty, wanted) {
            (Ty::Bool, Ty::Real) => (
                format!("{by} takes a number, but this is a truth value"),
                "turn it into 0 and 1 with `cast(…, f32)`, or choose with `select(…, a, b)`",
            ),
            (Ty::Real, Ty::Bool) => {
                (format!("{by} takes a truth value, but this is a number"), "compare it, as in `… != 0`")
            }
            _ => return Ok(node),
        };
        self.note(expr.span, Problem::DTypeMismatch { detail, advice: advice.into() })
    }

    /// Both operands, so that both are complained about.
    fn pair(&mut self, a: &Expr, b: &Expr, wanted: Ty, by: &str) -> Checked<(NodeId, NodeId)> {
        let (a, b) = (self.typed(a, wanted, by), self.typed(b, wanted, by));
        Ok((a?, b?))
    }

    fn value(&mut self, expr: &Expr) -> Checked<NodeId> {
        let (op, ty) = match &expr.kind {
            ExprKind::Number(value) => (Op::Const(*value), Ty::Real),
            ExprKind::Name(name) => return self.name(name, expr.span),
            ExprKind::Neg(a) => (Op::Unary(UnaryOp::Neg, self.typed(a, Ty::Real, "`-`")?), Ty::Real),
            ExprKind::Not(a) => (Op::Not(self.typed(a, Ty::Bool, "`not`")?), Ty::Bool),
            ExprKind::Binary(op, a, b) => {
                let symbol =
                    if *op == BinaryOp::Pow { "`**`".to_owned() } else { format!("`{}`", op.name()) };
                let (a, b) = self.pair(a, b, Ty::Real, &symbol)?;
                (Op::Binary(*op, a, b), Ty::Real)
            }
            ExprKind::Compare(op, a, b) => {
                let (a, b) = self.pair(a, b, Ty::Real, &format!("`{}`", op.name()))?;
                (Op::Compare(*op, a, b), Ty::Bool)
            }
            ExprKind::Logic(op, a, b) => {
                let (a, b) = self.pair(a, b, Ty::Bool, &format!("`{}`", op.name()))?;
                (Op::Logic(*op, a, b), Ty::Bool)
            }
            ExprKind::Call { function, function_span, operands } => {
                return self.call(function, *function_span, operands, expr.span);
            }
        };
        let dims = self.union(&op.operands());
        Ok(self.add(op, dims, ty, expr.span))
    }

    fn name(&mut self, name: &str, span: Span) -> Checked<NodeId> {
        if let Some(value) = self.names.get(name) {
            return value.ok_or(Noted);
        }
        if let Some((id, arg)) = self.arg(name) {
            if !arg.role.reads() {
                return self.note(span, Problem::ReadsOutput { name: name.to_owned() });
            }
            let mut dims = arg.shape.clone();
            dims.sort();
            return Ok(self.add(Op::Arg(id), dims, Ty::Real, span));
        }
        if let Some(size) = self.size(name) {
            return Ok(self.add(Op::Size(size), vec![], Ty::Real, span));
        }
        let args = self.scope.args.iter().map(|arg| &arg.name);
        let sizes = self.scope.sizes.iter().map(|size| &size.name);
        let known: Vec<String> = args.chain(sizes).chain(self.names.keys()).cloned().collect();
        let close = did_you_mean(name, known.iter().map(String::as_str)).map(str::to_owned);
        self.note(span, Problem::UnknownName { what: "value", name: name.to_owned(), close, known })
    }

    fn call(
        &mut self,
        function: &str,
        function_span: Span,
        operands: &[Expr],
        span: Span,
    ) -> Checked<NodeId> {
        let count = |checker: &mut Self, wanted| {
            checker.note(
                function_span,
                Problem::OperandCount { function: function.to_owned(), wanted, found: operands.len() },
            )
        };
        let by = format!("`{function}`");
        if let Some(op) = ReduceOp::parse(function) {
            let elementwise = BinaryOp::parse(function);
            let names_sizes =
                |expr: &Expr| matches!(&expr.kind, ExprKind::Name(name) if self.size(name).is_some());
            match elementwise {
                Some(op) if operands.len() < 2 || !operands[1..].iter().all(names_sizes) => {
                    if operands.len() < 2 {
                        return count(self, "two operands or more, or an operand and sizes");
                    }
                    return self.fold(op, operands, span, &by);
                }
                _ => return self.reduce(op, function, function_span, operands, span),
            }
        }
        let op = match (function, operands) {
            ("iota", [size]) => {
                let size = self.size_operand(function, size)?;
                return Ok(self.add(Op::Iota(size), vec![size], Ty::Real, span));
            }
            ("iota", _) => return count(self, "the name of a size"),
            ("select" | "where", [condition, a, b]) => {
                let condition = self.typed(condition, Ty::Bool, &format!("the first operand of {by}"));
                let (a, b) = self.pair(a, b, Ty::Real, &by)?;
                Op::Select(condition?, a, b)
            }
            ("select" | "where" | "clamp", operands) if operands.len() != 3 => {
                return count(self, "three operands");
            }
            ("clamp", [a, low, high]) => {
                let bounds = self.pair(low, high, Ty::Real, &by);
                let a = self.typed(a, Ty::Real, &by)?;
                let (low, high) = bounds?;
                let dims = self.union(&[a, low]);
                let raised = self.add(Op::Binary(BinaryOp::Max, a, low), dims, Ty::Real, span);
                Op::Binary(BinaryOp::Min, raised, high)
            }
            ("cast", [a, dtype]) => {
                let dtype = self.dtype_operand(dtype);
                let a = self.value(a)?;
                Op::Cast(dtype?, a)
            }
            ("cast", _) => return count(self, "an operand and a dtype"),
            ("pow", [a, b]) => {
                let (a, b) = self.pair(a, b, Ty::Real, &by)?;
                Op::Binary(BinaryOp::Pow, a, b)
            }
            ("pow", _) => return count(self, "two operands"),
            _ => match (UnaryOp::parse(function).filter(|op| *op != UnaryOp::Neg), operands) {
                (Some(op), [a]) => Op::Unary(op, self.typed(a, Ty::Real, &by)?),
                (Some(_), _) => return count(self, "one operand"),
                (None, _) => {
                    let close = did_you_mean(function, functions()).map(str::to_owned);
                    let known = functions().map(str::to_owned).collect();
                    let name = function.to_owned();
                    return self
                        .note(function_span, Problem::UnknownName { what: "function", name, close, known });
                }
            },
        };
        let dims = self.union(&op.operands());
        Ok(self.add(op, dims, Ty::Real, span))
    }

    /// `min(a, b, c)` is `min(min(a, b), c)`.
    fn fold(&mut self, op: BinaryOp, operands: &[Expr], span: Span, by: &str) -> Checked<NodeId> {
        let values: Vec<_> = operands.iter().map(|operand| self.typed(operand, Ty::Real, by)).collect();
        let values = values.into_iter().collect::<Checked<Vec<_>>>()?;
        let (first, rest) = values.split_first().ok_or(Noted)?;
        Ok(rest.iter().fold(*first, |a, &b| {
            let dims = self.union(&[a, b]);
            self.add(Op::Binary(op, a, b), dims, Ty::Real, span)
        }))
    }

    fn reduce(
        &mut self,
        op: ReduceOp,
        function: &str,
        function_span: Span,
        operands: &[Expr],
        span: Span,
    ) -> Checked<NodeId> {
        let one_size = matches!(op, ReduceOp::ArgMin | ReduceOp::ArgMax);
        let wanted = if one_size { "an operand and one size" } else { "an operand and one size or more" };
        if operands.len() < 2 || (one_size && operands.len() > 2) {
            let problem =
                Problem::OperandCount { function: function.to_owned(), wanted, found: operands.len() };
            return self.note(function_span, problem);
        }
        let truth = matches!(op, ReduceOp::Any | ReduceOp::All);
        let ty = if truth { Ty::Bool } else { Ty::Real };
        let input = self.typed(&operands[0], ty, &format!("`{function}`"));
        let mut over = Vec::new();
        for operand in &operands[1..] {
            let size = self.size_operand(function, operand)?;
            let name = self.scope.sizes[size.index()].name.clone();
            if over.contains(&size) {
                return self.note(operand.span, Problem::Repeated { name, key: function.to_owned() });
            }
            if let Ok(input) = input {
                let dims = self.nodes[input.index()].dims.clone();
                if !dims.contains(&size) {
                    let dims = self.size_names(&dims);
                    return self.note(
                        operand.span,
                        Problem::ReductionOverMissing { function: function.to_owned(), size: name, dims },
                    );
                }
            }
            over.push(size);
        }
        over.sort();
        let input = input?;
        let dims =
            self.nodes[input.index()].dims.iter().copied().filter(|size| !over.contains(size)).collect();
        Ok(self.add(Op::Reduce { op, input, over }, dims, ty, span))
    }

    fn size_operand(&mut self, function: &str, operand: &Expr) -> Checked<SizeId> {
        if let ExprKind::Name(name) = &operand.kind {
            if let Some(size) = self.size(name) {
                return Ok(size);
            }
            if self.arg(name).is_none() && !self.names.contains_key(name) {
                let known: Vec<String> = self.scope.sizes.iter().map(|size| size.name.clone()).collect();
                let close = did_you_mean(name, known.iter().map(String::as_str)).map(str::to_owned);
                return self.note(operand.span, Problem::UndefinedSize { name: name.clone(), close, known });
            }
        }
        let known = self.scope.sizes.iter().map(|size| size.name.clone()).collect();
        self.note(operand.span, Problem::NotASize { function: function.to_owned(), known })
    }

    fn dtype_operand(&mut self, operand: &Expr) -> Checked<DType> {
        let name = match &operand.kind {
            ExprKind::Name(name) => name.clone(),
            _ => "…".to_owned(),
        };
        if let Some(dtype) = DType::parse(&name).or_else(|| self.scope.dtypes.get(&name).copied()) {
            return Ok(dtype);
        }
        let known: Vec<String> = DType::ALL
            .iter()
            .map(|dtype| dtype.name().to_owned())
            .chain(self.scope.dtypes.keys().cloned())
            .collect();
        let close = did_you_mean(&name, known.iter().map(String::as_str)).map(str::to_owned);
        self.note(operand.span, Problem::UnknownName { what: "dtype", name, close, known })
    }
}
