//! Specs from a few words, and a slow evaluator to compare the oracle with.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use factory_spec::draw::{Case, draw_inputs};
use factory_spec::oracle::{Inputs, Outputs};
use factory_spec::*;

/// A spec of `x[m, n]: f32`, more arguments as TOML, and a program.
pub(crate) fn spec(sizes: &str, args: &[(&str, &str, &str, &str)], program: &str, rest: &str) -> BoundSpec {
    let mut text = format!("[kernel]\nname = \"test\"\n[sizes]\n{sizes}\n");
    for (name, dtype, shape, role) in args {
        text += &format!("[[arg]]\nname = \"{name}\"\ndtype = \"{dtype}\"\n");
        if *shape != "scalar" {
            text += &format!("shape = [{shape}]\n");
        }
        text += match *role {
            "in" => "",
            "out" => "role = \"out\"\n",
            "inout" => "role = \"inout\"\n",
            values => values,
        };
    }
    text += &format!("[reference]\nprogram = '''\n{program}\n'''\n{rest}\n[targets]\narch = [\"sm_90\"]\n");
    parse(&text)
}

pub(crate) fn parse(text: &str) -> BoundSpec {
    let text = if text.contains("[better]") {
        text.to_owned()
    } else {
        format!("{text}[better]\nminimize = \"time\"\n")
    };
    Spec::parse(Path::new("test.toml"), &text)
        .and_then(|spec| spec.bind(&BTreeMap::new()))
        .unwrap_or_else(|errors| panic!("{errors:?}\n{text}"))
}

pub(crate) fn sizes(spec: &BoundSpec, values: &[(&str, u64)]) -> SizeValues {
    let free = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    spec.size_values(&free).expect("sizes of the domain")
}

pub(crate) fn case(spec: &BoundSpec, values: &[(&str, u64)], kind: InputKind, seed: u64) -> Case {
    let kinds = spec.inputs().map(|(_, arg)| (arg.name.clone(), kind)).collect();
    Case { sizes: sizes(spec, values), kinds, seed }
}

pub(crate) fn inputs(spec: &BoundSpec, case: &Case) -> Inputs {
    draw_inputs(spec, case)
}

pub(crate) fn encode(spec: &BoundSpec, outputs: &Outputs) -> Vec<Vec<u8>> {
    spec.outputs()
        .map(|(id, arg)| {
            let mut bytes = Vec::new();
            arg.dtype.encode(outputs.get(id).expect("every output"), &mut bytes);
            bytes
        })
        .collect()
}

pub(crate) fn slices(bytes: &[Vec<u8>]) -> Vec<&[u8]> {
    bytes.iter().map(Vec::as_slice).collect()
}

/// Walks the program once for every element, as the definition reads.
pub(crate) struct Naive<'a> {
    pub(crate) spec: &'a BoundSpec,
    pub(crate) sizes: &'a SizeValues,
    pub(crate) inputs: &'a Inputs,
    /// Reductions that were walked before: without it, a softmax of 1500 elements takes their cube
    pub(crate) known: RefCell<BTreeMap<(NodeId, Vec<u64>), f64>>,
}

impl Naive<'_> {
    pub(crate) fn output(&self, name: &str) -> Vec<f64> {
        let Reference::Program(program) = &self.spec.reference else { panic!("a program") };
        let id = self.spec.arg_id(name).expect("an argument");
        let node = program.outputs.iter().find(|(output, _)| *output == id).expect("an output").1;
        let shape = &self.spec.args[id.index()].shape;
        let mut values = Vec::new();
        self.each(shape, &BTreeMap::new(), &mut |at| values.push(self.value(program, node, at)));
        values
    }

    fn each(
        &self,
        over: &[SizeId],
        at: &BTreeMap<SizeId, u64>,
        visit: &mut dyn FnMut(&BTreeMap<SizeId, u64>),
    ) {
        let Some((size, rest)) = over.split_first() else { return visit(at) };
        for index in 0..self.sizes[*size] {
            let mut at = at.clone();
            at.insert(*size, index);
            self.each(rest, &at, visit);
        }
    }

    fn value(&self, program: &Program, node: NodeId, at: &BTreeMap<SizeId, u64>) -> f64 {
        let value = |node: NodeId| self.value(program, node, at);
        let truth = |holds: bool| f64::from(u8::from(holds));
        match &program.node(node).op {
            Op::Arg(arg) => {
                let shape = &self.spec.args[arg.index()].shape;
                let index = shape.iter().fold(0, |index, size| index * self.sizes[*size] + at[size]);
                self.inputs.get(*arg).expect("given")[index as usize]
            }
            Op::Const(value) => *value,
            Op::Size(size) => self.sizes[*size] as f64,
            Op::Iota(size) => at[size] as f64,
            Op::Unary(op, a) => {
                let x = value(*a);
                match op {
                    UnaryOp::Neg => -x,
                    UnaryOp::Abs => x.abs(),
                    UnaryOp::Exp => x.exp(),
                    UnaryOp::Exp2 => x.exp2(),
                    UnaryOp::Log => x.ln(),
                    UnaryOp::Log2 => x.log2(),
                    UnaryOp::Sqrt => x.sqrt(),
                    UnaryOp::Rsqrt => 1.0 / x.sqrt(),
                    UnaryOp::Recip => 1.0 / x,
                    UnaryOp::Tanh => x.tanh(),
                    UnaryOp::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                    UnaryOp::Silu => x / (1.0 + (-x).exp()),
                    UnaryOp::Sin => x.sin(),
                    UnaryOp::Cos => x.cos(),
                    UnaryOp::Floor => x.floor(),
                    UnaryOp::Ceil => x.ceil(),
                    UnaryOp::Round => x.round_ties_even(),
                    other => panic!("{other:?} is not in the tests"),
                }
            }
            Op::Binary(op, a, b) => {
                let (x, y) = (value(*a), value(*b));
                match op {
                    BinaryOp::Add => x + y,
                    BinaryOp::Sub => x - y,
                    BinaryOp::Mul => x * y,
                    BinaryOp::Div => x / y,
                    BinaryOp::Rem => x % y,
                    BinaryOp::Pow => x.powf(y),
                    BinaryOp::Min => x.min(y),
                    BinaryOp::Max => x.max(y),
                    other => panic!("{other:?} is not in the tests"),
                }
            }
            Op::Compare(op, a, b) => {
                let (x, y) = (value(*a), value(*b));
                truth(match op {
                    CompareOp::Eq => x == y,
                    CompareOp::Ne => x != y,
                    CompareOp::Lt => x < y,
                    CompareOp::Le => x <= y,
                    CompareOp::Gt => x > y,
                    CompareOp::Ge => x >= y,
                    other => panic!("{other:?} is not in the tests"),
                })
            }
            Op::Logic(LogicOp::And, a, b) => truth(value(*a) != 0.0 && value(*b) != 0.0),
            Op::Logic(_, a, b) => truth(value(*a) != 0.0 || value(*b) != 0.0),
            Op::Not(a) => truth(value(*a) == 0.0),
            Op::Select(c, a, b) => value(if value(*c) != 0.0 { *a } else { *b }),
            Op::Cast(dtype, a) => dtype.round(value(*a)),
            Op::Reduce { op, input, over } => {
                let place = (node, program.node(node).dims.iter().map(|size| at[size]).collect::<Vec<_>>());
                if let Some(known) = self.known.borrow().get(&place) {
                    return *known;
                }
                let mut terms = Vec::new();
                self.each(over, at, &mut |at| terms.push(self.value(program, *input, at)));
                let some = || terms.iter().copied().filter(|term| !term.is_nan());
                let reduced = match op {
                    ReduceOp::Sum => terms.iter().sum(),
                    ReduceOp::Mean => terms.iter().sum::<f64>() / terms.len() as f64,
                    ReduceOp::Prod => terms.iter().product(),
                    ReduceOp::Min => some().fold(f64::INFINITY, f64::min),
                    ReduceOp::Max => some().fold(f64::NEG_INFINITY, f64::max),
                    ReduceOp::ArgMin | ReduceOp::ArgMax => {
                        let extreme =
                            some().reduce(if *op == ReduceOp::ArgMin { f64::min } else { f64::max });
                        terms.iter().position(|term| Some(*term) == extreme).unwrap_or(0) as f64
                    }
                    ReduceOp::Any => truth(terms.iter().any(|term| *term != 0.0)),
                    ReduceOp::All => truth(terms.iter().all(|term| *term != 0.0)),
                    other => panic!("{other:?} is not in the tests"),
                };
                self.known.borrow_mut().insert(place, reduced);
                reduced
            }
        }
    }
}
