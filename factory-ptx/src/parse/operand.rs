//! Operands and constant expressions.

use super::{Parsed, Parser};
use crate::ast::{AddressBase, Operand};
use crate::error::Problem;
use crate::lexer::Kind;
use crate::literal::{Constant, Literal, Operator};

impl Parser<'_> {
    /// One operand; in a call a parenthesis opens a list, elsewhere a constant expression.
    pub(super) fn operand(&mut self, call: bool) -> Parsed<Operand> {
        match self.token.kind {
            Kind::Word => self.name_operand(),
            Kind::Punct(b'[') => self.nested(Self::address),
            Kind::Punct(b'{') => self.nested(|parser| parser.list(b'}').map(Operand::Vector)),
            Kind::Punct(b'(') if call => self.nested(|parser| {
                let mut elements = Vec::new();
                parser.bump();
                if parser.eat(b')') {
                    return Ok(Operand::Group(elements));
                }
                parser.list_rest(b')', &mut elements)?;
                Ok(Operand::Group(elements))
            }),
            Kind::Punct(b'!') => {
                let start = self.token;
                self.bump();
                if self.token.kind == Kind::Word {
                    let name = self.name()?;
                    return Ok(Operand::Not(Box::new(Operand::Name(name))));
                }
                match self.nested(Self::unary)? {
                    Literal::Integer(value) => {
                        let value = Constant::signed(i64::from(value.bits == 0));
                        let value = self.binary_rest(value, 0)?;
                        Ok(Operand::Integer(value.value()))
                    }
                    _ => self.fail_at(
                        start.span(),
                        Problem::Expected {
                            expected: "an integer behind `!`".to_owned(),
                            found: "a float".to_owned(),
                        },
                    ),
                }
            }
            Kind::Number | Kind::Punct(b'-' | b'+' | b'~' | b'(') => Ok(match self.constant()? {
                Literal::Integer(value) => Operand::Integer(value.value()),
                Literal::F32(bits) => Operand::F32(bits),
                Literal::F64(bits) => Operand::F64(bits),
            }),
            _ => self.expected("an operand"),
        }
    }

    /// An identifier with the component that may hang on it: `%r1`, `%tid.x`, `%v.x`.
    fn name(&mut self) -> Parsed<String> {
        let start = self.token;
        self.word("a name")?;
        let mut end = start.end;
        while self.token.kind == Kind::Dotted && self.token.start == end {
            end = self.bump().end;
        }
        Ok(self.text[start.start as usize..end as usize].to_owned())
    }

    fn name_operand(&mut self) -> Parsed<Operand> {
        let name = self.name()?;
        let first = if name == "_" { Operand::Discard } else { Operand::Name(name) };
        match self.token.kind {
            Kind::Punct(b'|') => {
                self.bump();
                let second = self.name()?;
                let second = if second == "_" { Operand::Discard } else { Operand::Name(second) };
                Ok(Operand::Pair(Box::new(first), Box::new(second)))
            }
            Kind::Punct(b'+' | b'-') => match (first, self.offset()?) {
                (Operand::Name(name), Some(offset)) => Ok(Operand::SymbolOffset { name, offset }),
                _ => self.expected("`,` or `;`"),
            },
            Kind::Punct(b'[') => match first {
                Operand::Name(name) => {
                    self.bump();
                    let index = self.integer64("an index")?;
                    self.expect(b']')?;
                    Ok(Operand::Element { name, index })
                }
                _ => self.expected("`,` or `;`"),
            },
            _ => Ok(first),
        }
    }

    /// `[…]`
    fn address(&mut self) -> Parsed<Operand> {
        self.bump();
        if self.token.kind != Kind::Word {
            let offset = self.integer64("an address")?;
            self.expect(b']')?;
            return Ok(Operand::Address { base: AddressBase::Absolute, offset });
        }
        let name = self.name()?;
        if self.at(b',') {
            let mut parts = vec![Operand::Name(name)];
            self.bump();
            self.list_rest(b']', &mut parts)?;
            return Ok(Operand::TensorAddress(parts));
        }
        if self.at(b'[') {
            // `[array[3]]` is the element's address, written as an offset in elements; nobody emits it.
            return self.expected("`+`, `,` or `]`");
        }
        let offset = self.offset()?.unwrap_or(0);
        self.expect(b']')?;
        Ok(Operand::Address { base: AddressBase::Name(name), offset })
    }

    /// Operands up to `close`, with the opening byte as the current token.
    fn list(&mut self, close: u8) -> Parsed<Vec<Operand>> {
        self.bump();
        let mut elements = Vec::new();
        self.list_rest(close, &mut elements)?;
        Ok(elements)
    }

    fn list_rest(&mut self, close: u8, elements: &mut Vec<Operand>) -> Parsed<()> {
        loop {
            elements.push(self.operand(false)?);
            if self.eat(close) {
                return Ok(());
            }
            if !self.eat(b',') {
                return self.expected(&format!("`,` or `{}`", char::from(close)));
            }
        }
    }

    /// `+8`, `-8`, `+-8`, or nothing.
    pub(super) fn offset(&mut self) -> Parsed<Option<i64>> {
        let negative = match self.token.kind {
            Kind::Punct(b'+') => false,
            Kind::Punct(b'-') => true,
            _ => return Ok(None),
        };
        self.bump();
        let value = self.offset_value()?;
        Ok(Some(if negative { value.wrapping_neg() } else { value }))
    }

    /// A constant that fits 64 bits, read as signed.
    pub(super) fn offset_value(&mut self) -> Parsed<i64> {
        self.integer64("an offset")
    }

    fn integer64(&mut self, what: &'static str) -> Parsed<i64> {
        // Two's complement: `[0xFFFFFFFFFFFFFFFF]` is the last byte of the address space.
        Ok(self.integer(what)? as u64 as i64)
    }

    /// An integer constant expression.
    pub(super) fn integer(&mut self, what: &'static str) -> Parsed<i128> {
        let start = self.token;
        match self.constant()? {
            Literal::Integer(value) => Ok(value.value()),
            _ => {
                let value = super::shorten(self.slice(start));
                self.fail_at(start.span(), Problem::Range { what, value, must: "an integer" })
            }
        }
    }

    /// A constant: a float with an optional sign, or an integer expression.
    pub(super) fn constant(&mut self) -> Parsed<Literal> {
        match self.unary()? {
            Literal::Integer(value) => self.binary_rest(value, 0).map(Literal::Integer),
            float => Ok(float),
        }
    }

    fn unary(&mut self) -> Parsed<Literal> {
        let start = self.token;
        let operator = match self.token.kind {
            Kind::Number => return self.literal(),
            Kind::Punct(operator @ (b'-' | b'+' | b'~' | b'!')) => operator,
            Kind::Punct(b'(') => {
                return self.nested(|parser| {
                    parser.bump();
                    let cast = match parser.dotted() {
                        Some("s64") => Some(false),
                        Some("u64") => Some(true),
                        _ => None,
                    };
                    if let Some(unsigned) = cast {
                        parser.bump();
                        parser.expect(b')')?;
                        return match parser.unary()? {
                            Literal::Integer(value) => Ok(Literal::Integer(Constant { unsigned, ..value })),
                            float => Ok(float),
                        };
                    }
                    let value = parser.constant()?;
                    parser.expect(b')')?;
                    Ok(value)
                });
            }
            _ => return self.expected("a constant"),
        };
        self.bump();
        let value = self.nested(Self::unary)?;
        match (operator, value) {
            (b'+', value) => Ok(value),
            (b'-', Literal::Integer(value)) => Ok(Literal::Integer(value.negate())),
            (b'-', Literal::F32(bits)) => Ok(Literal::F32(bits ^ 1 << 31)),
            (b'-', Literal::F64(bits)) => Ok(Literal::F64(bits ^ 1 << 63)),
            (b'~', Literal::Integer(value)) => Ok(Literal::Integer(Constant { bits: !value.bits, ..value })),
            (b'!', Literal::Integer(value)) => {
                Ok(Literal::Integer(Constant::signed(i64::from(value.bits == 0))))
            }
            _ => {
                let found = "a float".to_owned();
                self.fail_at(start.span(), Problem::Expected { expected: "an integer".to_owned(), found })
            }
        }
    }

    fn operator(&self) -> Option<Operator> {
        const EQUAL: u8 = 0x80;
        const LE: u8 = b'<' | EQUAL;
        const GE: u8 = b'>' | EQUAL;
        const EQ: u8 = b'=' | EQUAL;
        const NE: u8 = b'!' | EQUAL;
        use Operator as O;
        Some(match self.token.kind {
            Kind::Punct(b'*') => O::Mul,
            Kind::Punct(b'/') => O::Div,
            Kind::Punct(b'%') => O::Rem,
            Kind::Punct(b'+') => O::Add,
            Kind::Punct(b'-') => O::Sub,
            Kind::Punct(b'<') => O::Lt,
            Kind::Punct(b'>') => O::Gt,
            Kind::Punct(b'&') => O::And,
            Kind::Punct(b'^') => O::Xor,
            Kind::Punct(b'|') => O::Or,
            Kind::Double(b'<') => O::Shl,
            Kind::Double(b'>') => O::Shr,
            Kind::Double(b'&') => O::LogicalAnd,
            Kind::Double(b'|') => O::LogicalOr,
            Kind::Double(LE) => O::Le,
            Kind::Double(GE) => O::Ge,
            Kind::Double(EQ) => O::Eq,
            Kind::Double(NE) => O::Ne,
            _ => return None,
        })
    }

    /// Operators that bind tighter than `floor` behind `left`, and at the outermost level a `? :`.
    fn binary_rest(&mut self, mut left: Constant, floor: u8) -> Parsed<Constant> {
        while let Some(operator) = self.operator() {
            if operator.precedence() <= floor {
                return Ok(left);
            }
            let place = self.bump().span();
            let right = self.nested(|parser| match parser.unary()? {
                Literal::Integer(value) => parser.binary_rest(value, operator.precedence()),
                _ => parser.expected("an integer"),
            })?;
            left = match Constant::apply(operator, left, right) {
                Some(value) => value,
                None => return self.fail_at(place, Problem::DivisionByZero),
            };
        }
        if floor == 0 && self.eat(b'?') {
            let (yes, no) = self.nested(|parser| {
                let yes = parser.constant()?;
                parser.expect(b':')?;
                Ok((yes, parser.constant()?))
            })?;
            return match if left.bits != 0 { yes } else { no } {
                Literal::Integer(value) => Ok(value),
                _ => self.expected("an integer"),
            };
        }
        Ok(left)
    }
}
