//! Values of nodes: once a launch, once a row, or for one element.

use factory_ptx::builder::{Float, Src};
use factory_spec::{BinaryOp, NodeId, Op, UnaryOp};

use super::Lowering;
use crate::generator::kinds::{Kind, Scope};
use crate::generator::split::Along;
use crate::generator::value::{self, Value};

impl Lowering<'_> {
    /// Computes every node of a scope that becomes known at a level, and what divisions by such nodes need.
    pub(super) fn evaluate_scope(&mut self, scope: Scope, level: usize) {
        let program = self.source.program;
        for (index, node) in program.nodes.iter().enumerate() {
            let info = self.source.kinds.info[index];
            if info.scope != scope || info.level != level || self.known[index].is_some() {
                continue;
            }
            let id = NodeId(index as u32);
            let value = match node.op {
                Op::Reduce { .. } => continue,
                Op::Arg(arg) => {
                    let position = self.position.clone();
                    let address = self.row_address(arg, &position);
                    self.load_element(arg, address, None)
                }
                Op::Const(constant) => Value::constant(constant, info.kind, self.floats),
                Op::Size(size) => {
                    let size = crate::generator::split::product(self.source.spec, &[size]);
                    self.integer64(info.kind, |lowering| lowering.size64(&size))
                }
                Op::Iota(size) => {
                    let index = self
                        .source
                        .split
                        .rows
                        .iter()
                        .position(|&row| row == size)
                        .expect("a row index is along a row size");
                    let index = self.position.indices[index];
                    self.integer64(info.kind, |_| index.into())
                }
                _ => {
                    let operands =
                        node.op.operands().iter().map(|operand| self.known_value(*operand)).collect();
                    self.apply(id, operands)
                }
            };
            self.known[index] = Some(value);
        }
        self.prepare_divisors(scope, level);
    }

    fn integer64(
        &mut self,
        kind: Kind,
        value: impl FnOnce(&mut Self) -> Src<factory_ptx::builder::B64>,
    ) -> Value {
        let value = Value::S64(value(self));
        value.to(&mut self.e, if kind == Kind::S32 { Kind::S32 } else { Kind::S64 }, self.floats)
    }

    fn known_value(&self, node: NodeId) -> Value {
        self.known[node.index()].expect("operands of launch and row values come first")
    }

    /// `a / b` for many a and one b: two products, right over the whole range.
    ///
    /// With k a power of two that brings b k within [2^-100, 2^100] where b is far from 1, a / b = (a k) (1 / (b k)); where
    /// a k overflows or vanishes, so does the quotient.
    fn prepare_divisors(&mut self, scope: Scope, level: usize) {
        if self.floats.double {
            return;
        }
        let program = self.source.program;
        for (index, node) in program.nodes.iter().enumerate() {
            let Op::Binary(BinaryOp::Div, _, divisor) = node.op else { continue };
            let (own, of) = (self.source.kinds.info[index], self.source.kinds[divisor]);
            if own.scope != Scope::Element
                || of.scope != scope
                || of.level != level
                || self.divisors.contains_key(&divisor)
            {
                continue;
            }
            let value = self.known_value(divisor).float(&mut self.e, self.floats);
            let Value::F32(value) = value else { unreachable!("floats are single here") };
            let pair = if let Src::Immediate(bits) = value {
                let constant = f32::from_bits(bits as u32);
                let inverse = 1.0 / constant;
                if !(constant.is_normal() && inverse.is_normal()) {
                    continue;
                }
                (Src::from(1.0f32), Src::from(inverse))
            } else {
                let e = &mut self.e;
                let magnitude = e.abs(value);
                let small = e.setp("lt", magnitude, 2f32.powi(-100));
                let large = e.setp("gt", magnitude, 2f32.powi(100));
                let factor = e.select(2f32.powi(64), 1.0f32, small);
                let factor = e.select(2f32.powi(-64), factor, large);
                let scaled = e.mul_rn(value, factor);
                let inverse = if self.floats.precise { e.rcp_rn(scaled) } else { e.rcp_approx(scaled) };
                (factor.into(), inverse.into())
            };
            self.divisors.insert(divisor, pair);
        }
    }

    /// The value of a node for one element.
    pub(super) fn element(&mut self, id: NodeId, chunk: u32, element: u32) -> Value {
        let info = self.source.kinds[id];
        if info.scope != Scope::Element {
            return self.known_value(id);
        }
        if let Some(&value) = self.elements.get(&(id, chunk, element)) {
            return value;
        }
        let node = self.source.program.node(id);
        let value = match node.op {
            Op::Arg(arg) => match self.source.split.tensor(arg).along {
                Along::Dense => {
                    let raw = self.raw(arg, chunk);
                    let dtype = self.dtype(arg);
                    self.unpack(&raw, dtype, element)
                }
                _ => {
                    let address = self.scattered_address(arg, chunk, element);
                    let inside = self.inside[chunk as usize];
                    self.load_element(arg, address, inside)
                }
            },
            Op::Iota(size) => {
                let index = self.source.split.columns.iter().position(|&column| column == size);
                let index = self.column_index(
                    index.expect("an element's index is along a column size"),
                    chunk,
                    element,
                );
                self.integer64(info.kind, |_| index.into())
            }
            _ => {
                let operands =
                    node.op.operands().iter().map(|operand| self.element(*operand, chunk, element)).collect();
                self.apply(id, operands)
            }
        };
        self.elements.insert((id, chunk, element), value);
        value
    }

    /// Forgets element values: at the start of a row or tile and, unless they are kept, of a pass.
    pub(super) fn forget_elements(&mut self) {
        self.elements.clear();
    }

    /// The node's operation on its operands' values.
    fn apply(&mut self, id: NodeId, operands: Vec<Value>) -> Value {
        let floats = self.floats;
        let node = self.source.program.node(id);
        let info = self.source.kinds[id];
        let kind_of = |node: NodeId| self.source.kinds[node].kind;
        match node.op {
            Op::Unary(op, _) => {
                let operand = operands[0].to(&mut self.e, info.kind, floats);
                value::unary(&mut self.e, op, operand, floats)
            }
            Op::Binary(op, a, b) => {
                if op == BinaryOp::Div
                    && info.scope == Scope::Element
                    && let Some(&(first, second)) = self.divisors.get(&b)
                {
                    let a = operands[0].float(&mut self.e, floats).f32(&mut self.e);
                    let scaled = if matches!(first, Src::Immediate(bits) if bits == u64::from(1f32.to_bits()))
                    {
                        a
                    } else {
                        self.e.mul(a, first)
                    };
                    return Value::F32(self.e.mul(scaled, second).into());
                }
                // A remainder or a minimum may be narrower than what it is taken of.
                let wide = info.kind == Kind::S32 && (kind_of(a) == Kind::S64 || kind_of(b) == Kind::S64);
                let kind = if wide { Kind::S64 } else { info.kind };
                let left = operands[0].to(&mut self.e, kind, floats);
                if op == BinaryOp::Pow
                    && let Some(value) = self.constant_power(left, b)
                {
                    return value;
                }
                if op == BinaryOp::Mul && a == b {
                    return value::binary(&mut self.e, op, left, left, floats);
                }
                let right = operands[1].to(&mut self.e, kind, floats);
                let value = value::binary(&mut self.e, op, left, right, floats);
                value.to(&mut self.e, info.kind, floats)
            }
            Op::Compare(op, a, b) => {
                let kind = match (kind_of(a), kind_of(b)) {
                    (Kind::S32, Kind::S32) => Kind::S32,
                    (Kind::S32 | Kind::S64, Kind::S32 | Kind::S64) => Kind::S64,
                    _ => Kind::Float,
                };
                let left = operands[0].to(&mut self.e, kind, floats);
                let right = operands[1].to(&mut self.e, kind, floats);
                Value::Bool(value::compare(&mut self.e, op, left, right))
            }
            Op::Logic(op, ..) => value::logic(&mut self.e, op, operands[0], operands[1]),
            Op::Not(_) => Value::Bool(self.e.not_pred(operands[0].predicate())),
            Op::Select(..) => {
                let a = operands[1].to(&mut self.e, info.kind, floats);
                let b = operands[2].to(&mut self.e, info.kind, floats);
                value::select(&mut self.e, operands[0].predicate(), a, b)
            }
            Op::Cast(dtype, a) => {
                if dtype.is_float() {
                    let value = operands[0].float(&mut self.e, floats);
                    return value::round_to_float(&mut self.e, value, dtype, floats);
                }
                let value = match kind_of(a) {
                    Kind::Float => value::round_to_integer(&mut self.e, operands[0], dtype),
                    Kind::Bool => operands[0],
                    _ => {
                        let interval = self.source.kinds[a].interval.expect("an integer has limits");
                        value::saturate(&mut self.e, operands[0], interval, dtype)
                    }
                };
                value.to(&mut self.e, info.kind, floats)
            }
            Op::Arg(_) | Op::Const(_) | Op::Size(_) | Op::Iota(_) | Op::Reduce { .. } => {
                unreachable!("leaves have no operands")
            }
        }
    }

    /// Small whole exponents as products.
    fn constant_power(&mut self, base: Value, exponent: NodeId) -> Option<Value> {
        let constant = self.constant_of(exponent)?;
        fn power<F: Float>(e: &mut factory_ptx::builder::Entry, base: Src<F>, exponent: i32) -> Src<F> {
            let base = e.copy(base);
            let square = e.mul(base, base);
            match exponent {
                2 => square.into(),
                3 => e.mul(square, base).into(),
                _ => e.mul(square, square).into(),
            }
        }
        let whole = [2, 3, 4].into_iter().find(|&whole| f64::from(whole) == constant);
        match (base, whole) {
            (_, None) if constant == 1.0 => Some(base),
            (_, None) if constant == -1.0 => {
                Some(value::unary(&mut self.e, UnaryOp::Recip, base, self.floats))
            }
            (Value::F32(base), Some(whole)) => Some(Value::F32(power(&mut self.e, base, whole))),
            (Value::F64(base), Some(whole)) => Some(Value::F64(power(&mut self.e, base, whole))),
            _ => None,
        }
    }

    fn constant_of(&self, node: NodeId) -> Option<f64> {
        match self.source.program.node(node).op {
            Op::Const(value) => Some(value),
            Op::Unary(UnaryOp::Neg, a) => self.constant_of(a).map(|value| -value),
            _ => None,
        }
    }
}
