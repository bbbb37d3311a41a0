//! Flat code for size expressions: what a launch evaluates.

use super::{EvalError, SizeBinary, SizeExpr, SizeUnary};

/// Values that an expression may hold at once; evaluation keeps them on the machine's stack.
const MAX_DEPTH: usize = 32;

/// Why an expression cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A name is not among those given
    #[error("no size is called `{0}`")]
    UnknownSize(String),
    /// It would hold too many values at once
    #[error("the expression nests too deeply: it holds more than {MAX_DEPTH} values at once")]
    TooDeep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Constant(i64),
    Value(u32),
    Unary(SizeUnary),
    Binary(SizeBinary),
    /// When the top is 0, make it 0 and jump; else drop it
    AndThen(u32),
    /// When the top is not 0, make it 1 and jump; else drop it
    OrElse(u32),
    /// Make the top 0 or 1
    Truth,
}

/// A size expression as postfix code over values by index. Evaluating it allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledExpr {
    code: Box<[Code]>,
}

impl CompiledExpr {
    pub(super) fn new(expr: &SizeExpr, names: &[&str]) -> Result<CompiledExpr, CompileError> {
        let mut code = Vec::new();
        emit(expr, names, 0, &mut code)?;
        Ok(CompiledExpr { code: code.into() })
    }

    /// The value, where `values` stand in the order of the names given to [`SizeExpr::compile`].
    pub fn eval(&self, values: &[i64]) -> Result<i64, EvalError> {
        let value =
            |index: u32| values.get(index as usize).copied().ok_or(EvalError::MissingValue(index as usize));
        match *self.code {
            [Code::Constant(constant)] => return Ok(constant),
            [Code::Value(index)] => return value(index),
            _ => {}
        }
        let mut stack = [0i64; MAX_DEPTH];
        let mut depth = 0;
        let mut at = 0;
        while let Some(&code) = self.code.get(at) {
            at += 1;
            match code {
                Code::Constant(constant) => {
                    stack[depth] = constant;
                    depth += 1;
                }
                Code::Value(index) => {
                    stack[depth] = value(index)?;
                    depth += 1;
                }
                Code::Unary(op) => stack[depth - 1] = op.apply(stack[depth - 1])?,
                Code::Binary(op) => {
                    depth -= 1;
                    stack[depth - 1] = op.apply(stack[depth - 1], stack[depth])?;
                }
                Code::AndThen(target) if stack[depth - 1] == 0 => at = target as usize,
                Code::OrElse(target) if stack[depth - 1] != 0 => {
                    stack[depth - 1] = 1;
                    at = target as usize;
                }
                Code::AndThen(_) | Code::OrElse(_) => depth -= 1,
                Code::Truth => stack[depth - 1] = (stack[depth - 1] != 0).into(),
            }
        }
        Ok(stack[0])
    }
}

/// Appends code that pushes one value, with `depth` values below it.
fn emit(expr: &SizeExpr, names: &[&str], depth: usize, code: &mut Vec<Code>) -> Result<(), CompileError> {
    if depth == MAX_DEPTH {
        return Err(CompileError::TooDeep);
    }
    match expr {
        SizeExpr::Constant(value) => code.push(Code::Constant(*value)),
        SizeExpr::Size(name) => {
            let index = names
                .iter()
                .position(|known| known == name)
                .ok_or_else(|| CompileError::UnknownSize(name.clone()))?;
            code.push(Code::Value(index as u32));
        }
        SizeExpr::Unary(op, a) => {
            emit(a, names, depth, code)?;
            code.push(Code::Unary(*op));
        }
        SizeExpr::Binary(op @ (SizeBinary::And | SizeBinary::Or), a, b) => {
            emit(a, names, depth, code)?;
            let jump = code.len();
            code.push(Code::Truth);
            emit(b, names, depth, code)?;
            code.push(Code::Truth);
            let target = code.len() as u32;
            code[jump] = if *op == SizeBinary::And { Code::AndThen(target) } else { Code::OrElse(target) };
        }
        SizeExpr::Binary(op, a, b) => {
            emit(a, names, depth, code)?;
            emit(b, names, depth + 1, code)?;
            code.push(Code::Binary(*op));
        }
    }
    Ok(())
}
