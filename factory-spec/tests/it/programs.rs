//! Reference programs: from text to graphs.

use factory_spec::{
    ArgId, BinaryOp, BoundSpec, NodeId, Op, Program, ReduceOp, Reference, SizeId, Ty, UnaryOp,
};

use crate::support::{bound, small};

fn spec(program: &str) -> BoundSpec {
    bound(&small("m = {}\nn = {}\nk = 4", "\"m\", \"n\"", "\"n\", \"m\"", program))
}

fn graph(program: &str) -> Program {
    match spec(program).reference {
        Reference::Program(program) => program,
        Reference::C(_) => panic!("it is a program"),
    }
}

/// The lines between `program` and the outputs.
fn canonical(program: &str) -> Vec<String> {
    let text = spec(program).canonical_meaning();
    text.lines()
        .skip_while(|line| *line != "program")
        .skip(1)
        .take_while(|line| line.contains('=') && !line.contains("over m="))
        .map(str::to_owned)
        .collect()
}

#[test]
fn nodes_are_shared() {
    let program = graph("a = x * x\nb = sum(x * x, n)\ny = a + b + b");
    let ops: Vec<&Op> = program.nodes.iter().map(|node| &node.op).collect();
    let [x, square, total] = [NodeId(0), NodeId(1), NodeId(2)];
    assert_eq!(
        ops,
        [
            &Op::Arg(ArgId(0)),
            &Op::Binary(BinaryOp::Mul, x, x),
            &Op::Reduce { op: ReduceOp::Sum, input: square, over: vec![SizeId(1)] },
            &Op::Binary(BinaryOp::Add, square, total),
            &Op::Binary(BinaryOp::Add, NodeId(3), total),
        ]
    );
    assert_eq!(program.nodes[2].dims, [SizeId(0)]);
    assert_eq!(program.nodes[4].dims, [SizeId(0), SizeId(1)]);
    assert_eq!(program.outputs, [(ArgId(1), NodeId(4))]);
}

#[test]
fn spans_point_into_the_file() {
    let spec = spec("y = x *\n    rsqrt(x)");
    let Reference::Program(program) = &spec.reference else { panic!("it is a program") };
    let call = program
        .nodes
        .iter()
        .find(|node| matches!(node.op, Op::Unary(UnaryOp::Rsqrt, _)))
        .expect("it is there");
    assert_eq!(spec.line_column(call.span), (19, 5));
    assert_eq!(&spec.source.text()[call.span.offset..call.span.offset + call.span.len], "rsqrt(x)");
}

#[test]
fn how_operators_bind() {
    for (text, meant) in [
        ("-x ** 2", "-(x ** 2)"),
        ("x ** -2", "x ** (-2)"),
        ("x ** 2 ** 3", "x ** (2 ** 3)"),
        ("x - 1 - 2", "(x - 1) - 2"),
        ("x * -x + 1", "(x * (-x)) + 1"),
        ("x / 2 % 3", "(x / 2) % 3"),
        ("pow(x, 2)", "x ** 2"),
        ("where(x < 1, x, 2)", "select((x < 1), x, 2)"),
        ("clamp(x, 0, 1)", "min(max(x, 0), 1)"),
        ("max(x, 1, 2)", "max(max(x, 1), 2)"),
        (
            "select(not x < 1 and x > 0 or x == 5, 1, 0)",
            "select(((not (x < 1)) and (x > 0)) or (x == 5), 1, 0)",
        ),
        ("(x\n + 1)", "x + 1"),
        ("x +\n\n 1", "x + 1"),
    ] {
        assert_eq!(canonical(&format!("y = {text}")), canonical(&format!("y = {meant}")), "`{text}`");
    }
    assert_ne!(canonical("y = x + 1"), canonical("y = 1 + x"));
    assert_ne!(canonical("y = x - (1 - 2)"), canonical("y = x - 1 - 2"));
}

#[test]
fn everything_the_language_has() {
    for op in UnaryOp::ALL.iter().filter(|op| **op != UnaryOp::Neg) {
        let program = graph(&format!("y = {}(x)", op.name()));
        assert_eq!(program.nodes[1].op, Op::Unary(*op, NodeId(0)));
    }
    for op in ReduceOp::ALL {
        let (operand, ty) = match op {
            ReduceOp::Any | ReduceOp::All => ("x > 0", Ty::Bool),
            _ => ("x", Ty::Real),
        };
        let program = graph(&format!("r = {}({operand}, n)\ny = cast(r, f32)", op.name()));
        let node =
            program.nodes.iter().find(|node| matches!(node.op, Op::Reduce { .. })).expect("it reduces");
        assert_eq!((node.ty, node.dims.as_slice()), (ty, &[SizeId(0)][..]), "{}", op.name());
    }
    let program = graph(
        "total = sum(x, n, m)\nmask = iota(n) <= iota(m)\ny = select(mask, x / (m * n), -inf) + pi * total + k",
    );
    let has = |wanted: Op| program.nodes.iter().any(|node| node.op == wanted);
    assert!(has(Op::Iota(SizeId(1))) && has(Op::Size(SizeId(2))));
    assert!(has(Op::Const(f64::INFINITY)) && has(Op::Const(std::f64::consts::PI)));
    assert!(
        program
            .nodes
            .iter()
            .any(|node| matches!(&node.op, Op::Reduce { over, .. } if *over == [SizeId(0), SizeId(1)]))
    );
}

#[test]
fn matrix_product() {
    let text = "[kernel]\nname = \"matmul\"\n[sizes]\nm = {}\nn = {}\nk = {}\n\
        [[arg]]\nname = \"a\"\ndtype = \"f16\"\nshape = [\"m\", \"k\"]\n\
        [[arg]]\nname = \"b\"\ndtype = \"f16\"\nshape = [\"k\", \"n\"]\n\
        [[arg]]\nname = \"c\"\ndtype = \"f32\"\nshape = [\"m\", \"n\"]\nrole = \"inout\"\n\
        [reference]\nprogram = \"c = c + sum(a * b, k)\"\n";
    let spec = bound(text);
    let Reference::Program(program) = &spec.reference else { panic!("it is a program") };
    // The old contents of an `inout` argument are a value like any other.
    assert_eq!(program.nodes[0].op, Op::Arg(ArgId(2)));
    assert_eq!(program.node(program.outputs[0].1).dims, [SizeId(0), SizeId(1)]);
    assert_eq!(spec.inputs().count(), 3);
}

#[test]
fn what_nobody_needs_is_dropped() {
    assert_eq!(graph("a = exp(x)\nb = a + 1\ny = x").nodes.len(), 1);
    let broadcast = graph("y = sum(x, n)");
    assert_eq!(broadcast.node(broadcast.outputs[0].1).dims, [SizeId(0)]);
}

#[test]
fn an_output_can_be_read_back() {
    let text = small("n = {}", "\"n\"", "\"n\"", "z = y * 2\ny = x");
    assert!(factory_spec::Spec::parse(std::path::Path::new("t"), &text).is_err());
    assert_eq!(graph("y = x * 2\nz = y + 1").nodes.len(), 3);
}
