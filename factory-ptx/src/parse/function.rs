//! Functions, their directives and bodies.

use super::{Parsed, Parser};
use crate::ast::{
    Function, FunctionDirective, FunctionKind, Guard, Instruction, Item, Linking, Space, Statement, Variable,
};
use crate::lexer::{Kind, Token};

/// Words that may start a declaration at module scope, for suggestions.
const ITEM_WORDS: &[&str] = &[
    "version",
    "target",
    "address_size",
    "file",
    "section",
    "pragma",
    "alias",
    "extern",
    "visible",
    "weak",
    "common",
    "entry",
    "func",
    "global",
    "const",
    "shared",
    "local",
    "param",
    "reg",
    "tex",
];

/// Words between a function's parameters and its body.
const FUNCTION_WORDS: &[&str] = &[
    "maxntid",
    "reqntid",
    "minnctapersm",
    "maxnctapersm",
    "maxnreg",
    "noreturn",
    "reqnctapercluster",
    "explicitcluster",
    "maxclusterrank",
    "blocksareclusters",
    "pragma",
    "abi_preserve",
    "abi_preserve_control",
];

/// Words that may start a statement.
const STATEMENT_WORDS: &[&str] = &[
    "reg",
    "local",
    "shared",
    "param",
    "global",
    "const",
    "pragma",
    "loc",
    "sreg",
    "branchtargets",
    "callprototype",
];

impl Parser<'_> {
    /// A function or variables at module scope, linking directive first.
    pub(super) fn declaration(&mut self, items: &mut Vec<Item>) -> Parsed<()> {
        let start = self.token;
        let linking = match self.dotted() {
            Some("extern") => Some(Linking::Extern),
            Some("visible") => Some(Linking::Visible),
            Some("weak") => Some(Linking::Weak),
            Some("common") => Some(Linking::Common),
            _ => None,
        };
        if linking.is_some() {
            self.bump();
        }
        match self.dotted() {
            Some("entry") => {
                let function = self.function(FunctionKind::Entry, linking, start)?;
                items.push(Item::Function(function));
                Ok(())
            }
            Some("func") => {
                let function = self.function(FunctionKind::Func, linking, start)?;
                items.push(Item::Function(function));
                Ok(())
            }
            Some(word) => {
                let Some(space) = Space::parse(word) else { return self.unknown_directive(ITEM_WORDS) };
                self.variables(space, linking, &mut |variable| items.push(Item::Variable(variable)))?;
                self.expect(b';')
            }
            None => self.expected("`.entry`, `.func` or a state space"),
        }
    }

    fn function(&mut self, kind: FunctionKind, linking: Option<Linking>, start: Token) -> Parsed<Function> {
        self.bump();
        let attributes = if self.dotted() == Some("attribute") { self.attributes()? } else { Vec::new() };
        let returns =
            if kind == FunctionKind::Func && self.at(b'(') { self.parameters()? } else { Vec::new() };
        let name = self.word("the function's name")?.to_owned();
        let span = start.span_to(self.previous_end);
        let params = if self.at(b'(') { self.parameters()? } else { Vec::new() };
        let directives = self.function_directives()?;
        let body = if self.at(b'{') {
            let mut statements = Vec::new();
            self.block(&mut statements)?;
            Some(statements)
        } else if self.eat(b';') {
            None
        } else {
            return self.expected("`{`, `;` or a directive such as `.maxntid`");
        };
        Ok(Function { kind, linking, attributes, name, returns, params, directives, body, span })
    }

    /// `.maxntid 256, 1, 1 .noreturn …`
    pub(super) fn function_directives(&mut self) -> Parsed<Vec<FunctionDirective>> {
        use FunctionDirective as D;
        let mut directives = Vec::new();
        while let Some(word) = self.dotted() {
            if word == "pragma" {
                directives.push(D::Pragma(self.pragma()?));
                continue;
            }
            if !FUNCTION_WORDS.contains(&word) {
                return self.unknown_directive(FUNCTION_WORDS);
            }
            self.bump();
            directives.push(match word {
                "maxntid" => D::MaxNTid(self.extents()?),
                "reqntid" => D::ReqNTid(self.extents()?),
                "reqnctapercluster" => D::ReqNCtaPerCluster(self.extents()?),
                "minnctapersm" => D::MinNCtaPerSm(self.small("`.minnctapersm`")?),
                "maxnctapersm" => D::MaxNCtaPerSm(self.small("`.maxnctapersm`")?),
                "maxnreg" => D::MaxNReg(self.small("`.maxnreg`")?),
                "maxclusterrank" => D::MaxClusterRank(self.small("`.maxclusterrank`")?),
                "abi_preserve" => D::AbiPreserve(self.small("`.abi_preserve`")?),
                "abi_preserve_control" => D::AbiPreserveControl(self.small("`.abi_preserve_control`")?),
                "noreturn" => D::NoReturn,
                "explicitcluster" => D::ExplicitCluster,
                _ => D::BlocksAreClusters,
            });
        }
        Ok(directives)
    }

    /// One to three numbers.
    fn extents(&mut self) -> Parsed<Vec<u32>> {
        let mut extents = vec![self.small("an extent")?];
        while extents.len() < 3 && self.eat(b',') {
            extents.push(self.small("an extent")?);
        }
        Ok(extents)
    }

    /// `{ … }`; a statement with an error is skipped, and the block goes on.
    fn block(&mut self, statements: &mut Vec<Statement>) -> Parsed<()> {
        self.nested(|parser| {
            parser.expect(b'{')?;
            loop {
                if parser.eat(b'}') {
                    return Ok(());
                }
                if parser.token.kind == Kind::End {
                    return parser.expected("`}`");
                }
                if parser.statement(statements).is_err() {
                    if parser.too_many() || parser.token.kind == Kind::End {
                        return Err(super::Failed);
                    }
                    parser.skip_statement();
                }
            }
        })
    }

    /// Skips behind the next `;`, or to the `}` that ends the block.
    fn skip_statement(&mut self) {
        let mut depth = 0u32;
        loop {
            match self.token.kind {
                Kind::End => return,
                Kind::Punct(b';') => {
                    self.bump();
                    return;
                }
                Kind::Punct(b'{') => depth += 1,
                Kind::Punct(b'}') if depth == 0 => return,
                Kind::Punct(b'}') => depth -= 1,
                _ => {}
            }
            self.bump();
        }
    }

    fn statement(&mut self, statements: &mut Vec<Statement>) -> Parsed<()> {
        match self.token.kind {
            Kind::Word => {
                let start = self.bump();
                if self.at(b':') {
                    self.bump();
                    let name = self.slice(start);
                    let statement = match self.labelled(name, start)? {
                        Some(directive) => Statement::Directive(directive),
                        None => Statement::Label(name.to_owned(), start.span()),
                    };
                    statements.push(statement);
                    return Ok(());
                }
                let instruction = self.instruction(None, start)?;
                statements.push(Statement::Instruction(instruction));
                Ok(())
            }
            Kind::Punct(b'@') => {
                self.bump();
                let negated = self.eat(b'!');
                let register = self.word("a predicate register")?.to_owned();
                let start = self.token;
                self.word("an instruction")?;
                let instruction = self.instruction(Some(Guard { negated, register }), start)?;
                statements.push(Statement::Instruction(instruction));
                Ok(())
            }
            Kind::Dotted => self.statement_directive(statements),
            Kind::Punct(b'{') => {
                let mut inner = Vec::new();
                self.block(&mut inner)?;
                statements.push(Statement::Block(inner));
                Ok(())
            }
            Kind::Punct(b';') => {
                self.bump();
                Ok(())
            }
            _ => self.expected("an instruction, a label or a directive"),
        }
    }

    fn statement_directive(&mut self, statements: &mut Vec<Statement>) -> Parsed<()> {
        let word = self.dotted().unwrap_or_default();
        if matches!(word, "loc" | "pragma" | "file") {
            let directive = self.directive()?;
            statements.push(Statement::Directive(directive));
            return Ok(());
        }
        let linking = match word {
            "extern" => Some(Linking::Extern),
            "weak" => Some(Linking::Weak),
            _ => None,
        };
        if linking.is_some() {
            self.bump();
        }
        let Some(space) = self.dotted().and_then(Space::parse) else {
            return self.unknown_directive(STATEMENT_WORDS);
        };
        self.variables(space, linking, &mut |variable: Variable| {
            statements.push(Statement::Variable(variable))
        })?;
        self.expect(b';')
    }

    /// The rest of an instruction behind its opcode.
    fn instruction(&mut self, guard: Option<Guard>, start: Token) -> Parsed<Instruction> {
        let opcode = self.slice(start);
        let mut modifiers = Vec::new();
        while let Some(word) = self.dotted() {
            modifiers.push(word.to_owned());
            self.bump();
        }
        let mut operands = Vec::new();
        if !self.at(b';') {
            let call = opcode == "call";
            loop {
                operands.push(self.operand(call)?);
                if !self.eat(b',') {
                    break;
                }
            }
        }
        let span = start.span_to(self.previous_end);
        if !self.at(b';') {
            return self.expected("`,` or `;`");
        }
        self.bump();
        Ok(Instruction { guard, opcode: opcode.to_owned(), modifiers, operands, span })
    }
}
