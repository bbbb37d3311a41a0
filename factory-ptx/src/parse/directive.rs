//! `.file`, `.loc`, `.section`, `.pragma`, `.alias`, and the labelled tables of branches and calls.

use super::{Parsed, Parser};
use crate::ast::{CallPrototype, Directive, Inlined, Location, SectionLine, SectionValue, Type};
use crate::lexer::{Kind, Token};

impl Parser<'_> {
    /// A directive that the caller has recognised by its word.
    pub(super) fn directive(&mut self) -> Parsed<Directive> {
        let start = self.token;
        match self.dotted() {
            Some("file") => self.file(),
            Some("loc") => self.location().map(Directive::Loc),
            Some("section") => self.section(),
            Some("pragma") => self.pragma().map(Directive::Pragma),
            Some("alias") => {
                self.bump();
                let name = self.word("a name")?.to_owned();
                self.expect(b',')?;
                let target = self.word("the function that is aliased")?.to_owned();
                let span = start.span_to(self.previous_end);
                self.expect(b';')?;
                Ok(Directive::Alias { name, target, span })
            }
            _ => self.unknown_directive(&["file", "loc", "section", "pragma", "alias"]),
        }
    }

    fn file(&mut self) -> Parsed<Directive> {
        self.bump();
        let index = self.small("a file index")?;
        let name = self.string()?;
        let mut stamp = None;
        if self.eat(b',') {
            let time = self.unsigned("a time stamp")?;
            self.expect(b',')?;
            stamp = Some((time, self.unsigned("a file size")?));
        }
        Ok(Directive::File { index, name, stamp })
    }

    fn location(&mut self) -> Parsed<Location> {
        self.bump();
        let (file, line, column) = self.place()?;
        let mut inlined = None;
        if self.eat(b',') {
            self.keyword("function_name")?;
            let function = self.word("a label in `.debug_str`")?.to_owned();
            let offset = self.offset()?.unwrap_or(0);
            self.expect(b',')?;
            self.keyword("inlined_at")?;
            inlined = Some(Inlined { function, offset, at: self.place()? });
        }
        Ok(Location { file, line, column, inlined })
    }

    fn keyword(&mut self, word: &'static str) -> Parsed<()> {
        if self.token.kind == Kind::Word && self.slice(self.token) == word {
            self.bump();
            Ok(())
        } else {
            self.expected(&format!("`{word}`"))
        }
    }

    fn place(&mut self) -> Parsed<(u32, u32, u32)> {
        Ok((self.small("a file index")?, self.small("a line")?, self.small("a column")?))
    }

    /// `.pragma "…", "…";`
    pub(super) fn pragma(&mut self) -> Parsed<Vec<String>> {
        self.bump();
        let mut words = vec![self.string()?];
        while self.eat(b',') {
            words.push(self.string()?);
        }
        self.expect(b';')?;
        Ok(words)
    }

    fn section(&mut self) -> Parsed<Directive> {
        self.bump();
        let name = match self.token.kind {
            Kind::Dotted | Kind::Word => {
                let token = self.bump();
                self.slice(token).to_owned()
            }
            _ => return self.expected("a section name"),
        };
        self.expect(b'{')?;
        let mut lines = Vec::new();
        while !self.eat(b'}') {
            if self.token.kind == Kind::Word {
                let label = self.word("a label")?.to_owned();
                self.expect(b':')?;
                lines.push(SectionLine::Label(label));
                continue;
            }
            let ty = match self.dotted() {
                Some("b8") => Type::B8,
                Some("b16") => Type::B16,
                Some("b32") => Type::B32,
                Some("b64") => Type::B64,
                _ => return self.expected("`.b8`, `.b16`, `.b32`, `.b64`, a label or `}`"),
            };
            self.bump();
            let mut values = vec![self.section_value()?];
            while self.eat(b',') {
                values.push(self.section_value()?);
            }
            lines.push(SectionLine::Data { ty, values });
        }
        Ok(Directive::Section { name, lines })
    }

    fn section_value(&mut self) -> Parsed<SectionValue> {
        match self.token.kind {
            Kind::Number | Kind::Punct(b'-') => self.integer("a section's value").map(SectionValue::Integer),
            Kind::Word | Kind::Dotted => {
                let token = self.bump();
                let name = self.slice(token).to_owned();
                if self.at(b'-') {
                    self.bump();
                    if self.token.kind == Kind::Word {
                        let other = self.word("a label")?.to_owned();
                        return Ok(SectionValue::Difference(name, other));
                    }
                    let offset = self.offset_value()?.wrapping_neg();
                    return Ok(SectionValue::Symbol(name, offset));
                }
                let offset = self.offset()?.unwrap_or(0);
                Ok(SectionValue::Symbol(name, offset))
            }
            _ => self.expected("a number, label or section"),
        }
    }

    /// `.branchtargets`, `.calltargets`, `.callprototype` behind a label; `None` when something else follows it.
    pub(super) fn labelled(&mut self, label: &str, start: Token) -> Parsed<Option<Directive>> {
        let word = match self.dotted() {
            Some(word @ ("branchtargets" | "calltargets" | "callprototype")) => word,
            _ => return Ok(None),
        };
        self.bump();
        let label = label.to_owned();
        if word == "callprototype" {
            let returns = if self.at(b'(') { self.parameters()? } else { Vec::new() };
            self.word("`_`")?;
            let params = if self.at(b'(') { self.parameters()? } else { Vec::new() };
            let directives = self.function_directives()?;
            let span = start.span_to(self.previous_end);
            self.expect(b';')?;
            return Ok(Some(Directive::CallPrototype(CallPrototype {
                label,
                returns,
                params,
                directives,
                span,
            })));
        }
        let mut targets = vec![self.word("a name")?.to_owned()];
        while self.eat(b',') {
            targets.push(self.word("a name")?.to_owned());
        }
        let span = start.span_to(self.previous_end);
        self.expect(b';')?;
        Ok(Some(if word == "branchtargets" {
            Directive::BranchTargets { label, targets, span }
        } else {
            Directive::CallTargets { label, targets, span }
        }))
    }
}
