//! From text to [`SizeExpr`], by precedence climbing.

use super::{SizeBinary, SizeExpr, SizeExprError, SizeUnary};

/// Nesting and length are bounded so that no text can exhaust the stack.
const MAX_NESTING: usize = 64;
const MAX_TOKENS: usize = 600;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    Number(u64),
    Name(&'a str),
    Symbol(&'static str),
    End,
}

struct Parser<'a> {
    tokens: Vec<(Token<'a>, usize, usize)>,
    next: usize,
    nesting: usize,
}

/// Longer symbols first: `<=` must not be read as `<`.
const SYMBOLS: [&str; 14] = ["==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ","];

pub(super) fn parse(text: &str) -> Result<SizeExpr, SizeExprError> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, nesting: 0 };
    let expr = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(expr),
        Token::Symbol("==" | "!=" | "<" | "<=" | ">" | ">=") => {
            Err(parser.error("comparisons do not chain; join two with `and`"))
        }
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

fn tokens(text: &str) -> Result<Vec<(Token<'_>, usize, usize)>, SizeExprError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let length_while = |accept: fn(char) -> bool| rest.find(|c| !accept(c)).unwrap_or(rest.len());
        let (token, len) = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if first.is_ascii_digit() {
            let len = length_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
            let number = rest[..len].replace('_', "").parse().map_err(|_| SizeExprError {
                offset: at,
                len,
                message: format!("`{}` is not a whole number that fits 64 bits", &rest[..len]),
            })?;
            (Token::Number(number), len)
        } else if first.is_ascii_alphabetic() || first == '_' {
            let len = length_while(|c| c.is_ascii_alphanumeric() || c == '_');
            (Token::Name(&rest[..len]), len)
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            let message = match first {
                '=' => "`=` means nothing here; equality is `==`".to_owned(),
                '&' | '|' | '!' => format!("`{first}` means nothing here; write `and`, `or`, `not`"),
                _ => format!("`{first}` means nothing in a size expression"),
            };
            return Err(SizeExprError { offset: at, len: first.len_utf8(), message });
        };
        tokens.push((token, at, len));
        at += len;
        if tokens.len() > MAX_TOKENS {
            return Err(SizeExprError {
                offset: at,
                len: 0,
                message: format!("the expression has more than {MAX_TOKENS} tokens"),
            });
        }
    }
    tokens.push((Token::End, text.len(), 0));
    Ok(tokens)
}

fn infix(token: Token<'_>) -> Option<(SizeBinary, u8, bool)> {
    Some(match token {
        Token::Name("or") => (SizeBinary::Or, 1, true),
        Token::Name("and") => (SizeBinary::And, 2, true),
        Token::Symbol("==") => (SizeBinary::Eq, 4, false),
        Token::Symbol("!=") => (SizeBinary::Ne, 4, false),
        Token::Symbol("<") => (SizeBinary::Lt, 4, false),
        Token::Symbol("<=") => (SizeBinary::Le, 4, false),
        Token::Symbol(">") => (SizeBinary::Gt, 4, false),
        Token::Symbol(">=") => (SizeBinary::Ge, 4, false),
        Token::Symbol("+") => (SizeBinary::Add, 5, true),
        Token::Symbol("-") => (SizeBinary::Sub, 5, true),
        Token::Symbol("*") => (SizeBinary::Mul, 6, true),
        Token::Symbol("/") => (SizeBinary::Div, 6, true),
        Token::Symbol("%") => (SizeBinary::Rem, 6, true),
        _ => return None,
    })
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens[self.next].0
    }

    fn advance(&mut self) -> Token<'a> {
        let token = self.peek();
        if token != Token::End {
            self.next += 1;
        }
        token
    }

    fn error(&self, message: impl Into<String>) -> SizeExprError {
        let (_, offset, len) = self.tokens[self.next];
        SizeExprError { offset, len, message: message.into() }
    }

    fn unexpected(&self, wanted: &str) -> SizeExprError {
        self.error(match self.peek() {
            Token::End => format!("the expression ends where {wanted} should follow"),
            Token::Number(number) => format!("found `{number}` where {wanted} should be"),
            Token::Name(name) => format!("found `{name}` where {wanted} should be"),
            Token::Symbol(symbol) => format!("found `{symbol}` where {wanted} should be"),
        })
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), SizeExprError> {
        if self.peek() == Token::Symbol(symbol) {
            self.advance();
            return Ok(());
        }
        Err(self.unexpected(&format!("`{symbol}`")))
    }

    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<SizeExpr, SizeExprError>,
    ) -> Result<SizeExpr, SizeExprError> {
        if self.nesting == MAX_NESTING {
            return Err(self.error(format!("the expression nests deeper than {MAX_NESTING} levels")));
        }
        self.nesting += 1;
        let expr = read(self)?;
        self.nesting -= 1;
        Ok(expr)
    }

    /// Reads operators that bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<SizeExpr, SizeExprError> {
        let mut left = self.nested(|parser| parser.prefix(least))?;
        // `1 < 2 < 3` stops at the second comparison, for the caller to complain about.
        let mut most = u8::MAX;
        while let Some((op, binds, chains)) =
            infix(self.peek()).filter(|&(_, binds, _)| binds >= least && binds <= most)
        {
            self.advance();
            let right = self.expression(binds + 1)?;
            left = SizeExpr::Binary(op, Box::new(left), Box::new(right));
            most = if chains { binds } else { binds - 1 };
        }
        Ok(left)
    }

    fn prefix(&mut self, least: u8) -> Result<SizeExpr, SizeExprError> {
        match self.peek() {
            Token::Name("not") => {
                if least > 3 {
                    return Err(self.error("`not` needs parentheses here"));
                }
                self.advance();
                Ok(SizeExpr::Unary(SizeUnary::Not, Box::new(self.expression(3)?)))
            }
            Token::Symbol("-") => {
                self.advance();
                if let Token::Number(number) = self.peek() {
                    let value = 0i64
                        .checked_sub_unsigned(number)
                        .ok_or_else(|| self.error("the number does not fit 64 bits"))?;
                    self.advance();
                    return Ok(SizeExpr::Constant(value));
                }
                let operand = self.nested(|parser| parser.prefix(7))?;
                Ok(SizeExpr::Unary(SizeUnary::Neg, Box::new(operand)))
            }
            _ => self.atom(),
        }
    }

    fn atom(&mut self) -> Result<SizeExpr, SizeExprError> {
        match self.peek() {
            Token::Number(number) => {
                let value =
                    i64::try_from(number).map_err(|_| self.error("the number does not fit 64 bits"))?;
                self.advance();
                Ok(SizeExpr::Constant(value))
            }
            Token::Symbol("(") => {
                self.advance();
                let expr = self.expression(0)?;
                self.expect(")")?;
                Ok(expr)
            }
            Token::Name("and" | "or" | "not") | Token::Symbol(_) | Token::End => {
                Err(self.unexpected("a size, a number or `(`"))
            }
            Token::Name(name) if self.tokens[self.next + 1].0 == Token::Symbol("(") => self.call(name),
            Token::Name(name) => {
                self.advance();
                Ok(SizeExpr::size(name))
            }
        }
    }

    fn call(&mut self, name: &str) -> Result<SizeExpr, SizeExprError> {
        const FUNCTIONS: [&str; 4] = ["ceil_div", "min", "max", "next_pow2"];
        if !FUNCTIONS.contains(&name) {
            let close = crate::error::did_you_mean(name, FUNCTIONS)
                .map_or_else(String::new, |close| format!("; did you mean `{close}`?"));
            return Err(self.error(format!("there is no function `{name}`{close}")));
        }
        let (_, offset, _) = self.tokens[self.next];
        self.advance();
        self.expect("(")?;
        let mut operands = vec![self.expression(0)?];
        while self.peek() == Token::Symbol(",") {
            self.advance();
            operands.push(self.expression(0)?);
        }
        self.expect(")")?;
        let wrong = |wanted: &str| {
            Err(SizeExprError {
                offset,
                len: name.len(),
                message: format!("`{name}` takes {wanted}, found {}", operands.len()),
            })
        };
        match (name, operands.len()) {
            ("next_pow2", 1) | ("ceil_div", 2) | ("min" | "max", 2..) => {}
            ("next_pow2", _) => return wrong("one operand"),
            ("ceil_div", _) => return wrong("two operands"),
            _ => return wrong("two operands or more"),
        }
        let combine = |op| {
            let mut operands = operands.into_iter();
            let first = operands.next().expect("a call has an operand: it was read before the first comma");
            operands.fold(first, |a, b| SizeExpr::Binary(op, Box::new(a), Box::new(b)))
        };
        Ok(match name {
            "next_pow2" => combine(SizeBinary::Min).next_pow2(),
            "ceil_div" => combine(SizeBinary::CeilDiv),
            "min" => combine(SizeBinary::Min),
            _ => combine(SizeBinary::Max),
        })
    }
}
