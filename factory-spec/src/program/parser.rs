//! From tokens to statements, by precedence climbing.

use super::lexer::{Token, tokens};
use super::syntax::{Expr, ExprKind, Statement};
use super::{BinaryOp, CompareOp, LogicOp};
use crate::source::StringMap;
use crate::{Problem, Span};

/// Bounded, so that no text can exhaust the stack.
const MAX_NESTING: usize = 64;
/// Bounded, so that checking stays cheap.
const MAX_TOKENS: usize = 8_000;
/// Bounded for the stack too: `a + a + …` is as deep as it is long.
const MAX_STATEMENT: usize = 600;

/// How tightly operators bind.
const NOT: u8 = 3;
const COMPARISON: u8 = 4;
const NEGATION: u8 = 7;
const POWER: u8 = 8;

struct Parser<'a> {
    tokens: Vec<(Token<'a>, Span)>,
    next: usize,
    nesting: usize,
}

type Result<T> = std::result::Result<T, (Span, Problem)>;

/// Reads a program; spans are places in the file.
pub(crate) fn parse(text: &str, map: &StringMap) -> Result<Vec<Statement>> {
    let tokens = tokens(text, map).map_err(|(span, message)| (span, Problem::ProgramSyntax { message }))?;
    let mut parser = Parser { tokens, next: 0, nesting: 0 };
    if parser.tokens.len() > MAX_TOKENS {
        return Err(parser.error(format!("it has more than {MAX_TOKENS} tokens")));
    }
    let mut statements = Vec::new();
    loop {
        while parser.peek() == Token::Newline {
            parser.next += 1;
        }
        if parser.peek() == Token::End {
            return Ok(statements);
        }
        statements.push(parser.statement()?);
    }
}

fn infix(token: Token<'_>) -> Option<(Infix, u8)> {
    Some(match token {
        Token::Name("or") => (Infix::Logic(LogicOp::Or), 1),
        Token::Name("and") => (Infix::Logic(LogicOp::And), 2),
        Token::Symbol(symbol) => match symbol {
            "+" | "-" => (Infix::Binary(BinaryOp::parse(symbol)?), 5),
            "*" | "/" | "%" => (Infix::Binary(BinaryOp::parse(symbol)?), 6),
            _ => (Infix::Compare(CompareOp::parse(symbol)?), COMPARISON),
        },
        _ => return None,
    })
}

enum Infix {
    Logic(LogicOp),
    Compare(CompareOp),
    Binary(BinaryOp),
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens[self.next].0
    }

    fn span(&self) -> Span {
        self.tokens[self.next].1
    }

    fn error(&self, message: impl Into<String>) -> (Span, Problem) {
        (self.span(), Problem::ProgramSyntax { message: message.into() })
    }

    fn unexpected(&self, wanted: &str) -> (Span, Problem) {
        self.error(match self.peek() {
            Token::End => format!("the program ends where {wanted} should follow"),
            Token::Newline => format!("the statement ends where {wanted} should follow"),
            Token::Number(_) => format!("found a number where {wanted} should be"),
            Token::Name(name) => format!("found `{name}` where {wanted} should be"),
            Token::Symbol(symbol) => format!("found `{symbol}` where {wanted} should be"),
        })
    }

    fn expect(&mut self, symbol: &'static str) -> Result<Span> {
        if self.peek() != Token::Symbol(symbol) {
            return Err(self.unexpected(&format!("`{symbol}`")));
        }
        self.next += 1;
        Ok(self.tokens[self.next - 1].1)
    }

    fn statement(&mut self) -> Result<Statement> {
        let Token::Name(name) = self.peek() else {
            return Err(self.unexpected("a statement, `name = expression`,"));
        };
        let name_span = self.span();
        self.next += 1;
        self.expect("=")?;
        let first = self.next;
        let value = self.expression(0)?;
        if self.next - first > MAX_STATEMENT {
            self.next = first;
            return Err(self.error(format!(
                "the statement has more than {MAX_STATEMENT} tokens; give names to parts of it"
            )));
        }
        match self.peek() {
            Token::Newline | Token::End => Ok(Statement { name: name.to_owned(), name_span, value }),
            Token::Symbol("==" | "!=" | "<" | "<=" | ">" | ">=") => {
                Err(self.error("comparisons do not chain; join two with `and`"))
            }
            _ => Err(self.unexpected("an operator or the end of the statement")),
        }
    }

    /// Reads operators that bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<Expr> {
        if self.nesting == MAX_NESTING {
            return Err(self.error(format!("it nests deeper than {MAX_NESTING} levels")));
        }
        self.nesting += 1;
        let mut left = self.prefix(least)?;
        // `1 < 2 < 3` stops at the second comparison, for the caller to complain about.
        let mut most = u8::MAX;
        while let Some((op, binds)) = infix(self.peek()).filter(|&(_, binds)| binds >= least && binds <= most)
        {
            self.next += 1;
            let right = self.expression(binds + 1)?;
            let span = left.span.to(right.span);
            let (a, b) = (Box::new(left), Box::new(right));
            let kind = match op {
                Infix::Logic(op) => ExprKind::Logic(op, a, b),
                Infix::Compare(op) => ExprKind::Compare(op, a, b),
                Infix::Binary(op) => ExprKind::Binary(op, a, b),
            };
            left = Expr { kind, span };
            most = if binds == COMPARISON { binds - 1 } else { binds };
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn prefix(&mut self, least: u8) -> Result<Expr> {
        let span = self.span();
        match self.peek() {
            Token::Name("not") => {
                if least > NOT {
                    return Err(self.error("`not` needs parentheses here"));
                }
                self.next += 1;
                let operand = self.expression(NOT)?;
                Ok(Expr { span: span.to(operand.span), kind: ExprKind::Not(Box::new(operand)) })
            }
            Token::Symbol("-") => {
                self.next += 1;
                let operand = self.expression(NEGATION)?;
                Ok(Expr { span: span.to(operand.span), kind: ExprKind::Neg(Box::new(operand)) })
            }
            _ => {
                let base = self.atom()?;
                if self.peek() != Token::Symbol("**") {
                    return Ok(base);
                }
                self.next += 1;
                // The exponent may have a sign of its own, and groups to the right.
                let exponent = self.expression(POWER)?;
                let span = base.span.to(exponent.span);
                Ok(Expr { kind: ExprKind::Binary(BinaryOp::Pow, Box::new(base), Box::new(exponent)), span })
            }
        }
    }

    fn atom(&mut self) -> Result<Expr> {
        let span = self.span();
        match self.peek() {
            Token::Number(value) => {
                self.next += 1;
                Ok(Expr { kind: ExprKind::Number(value), span })
            }
            Token::Symbol("(") => {
                self.next += 1;
                let inner = self.expression(0)?;
                let close = self.expect(")")?;
                Ok(Expr { kind: inner.kind, span: span.to(close) })
            }
            Token::Name(name) if !matches!(name, "and" | "or" | "not") => {
                self.next += 1;
                if self.peek() == Token::Symbol("(") {
                    return self.call(name, span);
                }
                let kind = match name {
                    "inf" => ExprKind::Number(f64::INFINITY),
                    "pi" => ExprKind::Number(std::f64::consts::PI),
                    _ => ExprKind::Name(name.to_owned()),
                };
                Ok(Expr { kind, span })
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    fn call(&mut self, function: &str, function_span: Span) -> Result<Expr> {
        self.expect("(")?;
        let mut operands = Vec::new();
        while self.peek() != Token::Symbol(")") {
            operands.push(self.expression(0)?);
            if self.peek() != Token::Symbol(",") {
                break;
            }
            self.next += 1;
        }
        let close = self.expect(")")?;
        Ok(Expr {
            kind: ExprKind::Call { function: function.to_owned(), function_span, operands },
            span: function_span.to(close),
        })
    }
}
