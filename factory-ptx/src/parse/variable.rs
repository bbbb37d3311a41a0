//! Declarations of variables and registers, and their initial values.

use super::{Parsed, Parser};
use crate::ast::{Attribute, Initializer, Linking, PointerAttribute, Space, Type, Variable};
use crate::error::Problem;
use crate::lexer::{Kind, Token};
use crate::literal::Literal;

/// More registers than this in one range are refused: no kernel has them, and later passes would allocate for them.
const RANGE_LIMIT: u32 = 1 << 24;

/// Words that may stand in a declaration, for suggestions.
const WORDS: &[&str] = &[
    "align",
    "ptr",
    "attribute",
    "v2",
    "v4",
    "v8",
    "b8",
    "b16",
    "b32",
    "b64",
    "b128",
    "u8",
    "u16",
    "u32",
    "u64",
    "s8",
    "s16",
    "s32",
    "s64",
    "f16",
    "f16x2",
    "bf16",
    "bf16x2",
    "f32",
    "f64",
    "pred",
    "texref",
    "samplerref",
    "surfref",
];

impl Parser<'_> {
    /// The declarators of one statement, from the state space (the current token) to before its `;`.
    pub(super) fn variables(
        &mut self,
        space: Space,
        linking: Option<Linking>,
        push: &mut dyn FnMut(Variable),
    ) -> Parsed<()> {
        self.bump();
        let (head, start) = self.variable_head(space, linking)?;
        loop {
            let variable = self.declarator(&head, start)?;
            push(variable);
            if !self.eat(b',') {
                return Ok(());
            }
        }
    }

    /// `( .param …, .param … )`, with the parenthesis as the current token.
    pub(super) fn parameters(&mut self) -> Parsed<Vec<Variable>> {
        self.expect(b'(')?;
        let mut parameters = Vec::new();
        if self.eat(b')') {
            return Ok(parameters);
        }
        loop {
            let space = match self.dotted().and_then(Space::parse) {
                Some(space @ (Space::Param | Space::Reg)) => space,
                _ => return self.expected("a parameter such as `.param .u64 x`"),
            };
            self.bump();
            let (head, start) = self.variable_head(space, None)?;
            parameters.push(self.declarator(&head, start)?);
            if self.eat(b')') {
                return Ok(parameters);
            }
            self.expect(b',')?;
        }
    }

    /// Everything between the state space and the first name; the name is still empty.
    fn variable_head(&mut self, space: Space, linking: Option<Linking>) -> Parsed<(Variable, Token)> {
        let start = self.token;
        let mut ty = None;
        let mut head = Variable {
            space,
            linking,
            attributes: Vec::new(),
            align: None,
            vector: None,
            ty: Type::B32,
            pointer: None,
            name: String::new(),
            range: None,
            array: Vec::new(),
            init: None,
            span: start.span(),
        };
        while let Some(word) = self.dotted() {
            match word {
                "align" => {
                    self.bump();
                    head.align = Some(self.alignment()?);
                }
                "v2" | "v4" | "v8" => {
                    self.bump();
                    head.vector = Some(word.as_bytes()[1] - b'0');
                }
                "attribute" => head.attributes = self.attributes()?,
                "ptr" => {
                    self.bump();
                    let space = self.dotted().and_then(Space::parse);
                    if space.is_some() {
                        self.bump();
                    }
                    let align = if self.eat_dotted("align") { Some(self.alignment()?) } else { None };
                    head.pointer = Some(PointerAttribute { space, align });
                }
                _ => match Type::parse(word) {
                    Some(found) if found.is_fundamental() && ty.is_none() => {
                        self.bump();
                        ty = Some(found);
                    }
                    _ => return self.unknown_directive(WORDS),
                },
            }
        }
        match ty {
            Some(ty) => head.ty = ty,
            None => return self.expected("a type such as `.b32`"),
        }
        Ok((head, start))
    }

    /// A power of two.
    fn alignment(&mut self) -> Parsed<u32> {
        let token = self.token;
        let value = self.small("`.align`")?;
        if value.is_power_of_two() {
            return Ok(value);
        }
        let problem = Problem::Range { what: "`.align`", value: value.to_string(), must: "a power of two" };
        self.fail_at(token.span(), problem)
    }

    /// `.attribute(.managed, .unified(1, 2))`, with the word as the current token.
    pub(super) fn attributes(&mut self) -> Parsed<Vec<Attribute>> {
        self.bump();
        self.expect(b'(')?;
        let mut attributes = Vec::new();
        loop {
            match self.dotted() {
                Some("managed") => {
                    self.bump();
                    attributes.push(Attribute::Managed);
                }
                Some("unified") => {
                    self.bump();
                    self.expect(b'(')?;
                    let high = self.unsigned("`.unified`")?;
                    self.expect(b',')?;
                    let low = self.unsigned("`.unified`")?;
                    self.expect(b')')?;
                    attributes.push(Attribute::Unified(high, low));
                }
                _ => return self.expected("`.managed` or `.unified`"),
            }
            if !self.eat(b',') {
                self.expect(b')')?;
                return Ok(attributes);
            }
        }
    }

    /// `name`, `name<100>`, `name[4][] = …`
    fn declarator(&mut self, head: &Variable, start: Token) -> Parsed<Variable> {
        let mut variable = head.clone();
        let first = self.token;
        variable.name = self.word("a name")?.to_owned();
        variable.span = if first.line == start.line { first.span() } else { start.span() };
        if self.at(b'<') {
            self.bump();
            let token = self.token;
            let count = self.small("a range of registers")?;
            if count == 0 || count > RANGE_LIMIT {
                let problem = Problem::Range {
                    what: "a range of registers",
                    value: count.to_string(),
                    must: "1 to 2^24",
                };
                return self.fail_at(token.span(), problem);
            }
            self.expect(b'>')?;
            variable.range = Some(count);
        }
        while self.eat(b'[') {
            if self.eat(b']') {
                variable.array.push(None);
                continue;
            }
            let token = self.token;
            let size = self.integer("an array dimension")?;
            match u64::try_from(size) {
                Ok(size) => variable.array.push(Some(size)),
                Err(_) => {
                    let problem = Problem::Range {
                        what: "an array dimension",
                        value: size.to_string(),
                        must: "0 or more",
                    };
                    return self.fail_at(token.span(), problem);
                }
            }
            self.expect(b']')?;
        }
        variable.span = first.span_to(self.previous_end);
        if self.eat(b'=') {
            variable.init = Some(self.initializer()?);
        }
        Ok(variable)
    }

    fn initializer(&mut self) -> Parsed<Initializer> {
        match self.token.kind {
            Kind::Punct(b'{') => self.nested(|parser| {
                parser.bump();
                let mut elements = Vec::new();
                loop {
                    elements.push(parser.initializer()?);
                    if parser.eat(b'}') {
                        return Ok(Initializer::List(elements));
                    }
                    parser.expect(b',')?;
                }
            }),
            Kind::Word => self.symbol(),
            _ => {
                let start = self.token;
                match self.constant()? {
                    Literal::F32(bits) => Ok(Initializer::F32(bits)),
                    Literal::F64(bits) => Ok(Initializer::F64(bits)),
                    Literal::Integer(constant) if self.at(b'(') => {
                        if constant.bits == 0 {
                            let problem =
                                Problem::Range { what: "a mask", value: "0".to_owned(), must: "not zero" };
                            return self.fail_at(start.span(), problem);
                        }
                        self.bump();
                        let symbol = Box::new(self.symbol()?);
                        self.expect(b')')?;
                        Ok(Initializer::Mask { mask: constant.bits, symbol })
                    }
                    Literal::Integer(constant) => Ok(Initializer::Integer(constant.value())),
                }
            }
        }
    }

    /// `name+8`, `generic(name)+8`
    fn symbol(&mut self) -> Parsed<Initializer> {
        let name = self.word("a symbol")?;
        let (name, generic) = if name == "generic" && self.at(b'(') {
            self.bump();
            let name = self.word("a symbol")?;
            self.expect(b')')?;
            (name, true)
        } else {
            (name, false)
        };
        let offset = self.offset()?.unwrap_or(0);
        Ok(Initializer::Symbol { name: name.to_owned(), offset, generic })
    }
}
