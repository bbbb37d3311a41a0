//! Text to tree: a recursive parser over the tokens of the lexer with a limit on its depth.
//!
//! After an error the parser skips to the next `;` (inside a body) or to the next function or variable (outside), so that
//! one run reports several independent mistakes; it never guesses what was meant.

mod directive;
mod function;
mod operand;
mod variable;

use crate::ast::{Item, Module, Span};
use crate::error::{Excerpt, ParseError, ParseErrors, Problem};
use crate::lexer::{Kind, Lexer, Token};
use crate::literal::{self, Literal};
use crate::suggest;

/// Nested blocks, operands, initialisers and parentheses together may be this deep.
const DEPTH_LIMIT: u32 = 64;

/// After this many errors the rest of the text is not read.
const ERROR_LIMIT: usize = 20;

/// Longer texts are refused, because positions are 32 bits.
const LENGTH_LIMIT: usize = 1 << 30;

/// Reads a module.
///
/// # Errors
/// All syntax errors that can be told apart safely, in order of place, at most 20.
///
/// ```
/// let module = factory_ptx::parse(".version 7.8\n.target sm_90\n.address_size 64\n").unwrap();
/// assert_eq!(module.version, (7, 8));
/// let error = factory_ptx::parse(".version 7.8\n.target sm_90\n.visible .entri k() { ret; }").unwrap_err();
/// assert!(error.to_string().starts_with("3:10: unknown directive `.entri`; did you mean `.entry`?"));
/// ```
pub fn parse(text: &str) -> Result<Module, ParseErrors> {
    if text.len() > LENGTH_LIMIT {
        let problem = Problem::TooLong { bytes: text.len(), limit: LENGTH_LIMIT };
        let error =
            ParseError { span: Span { line: 1, column: 1, offset: 0, len: 1 }, problem, excerpt: None };
        return Err(ParseErrors { errors: vec![error] });
    }
    let mut parser = Parser::new(text);
    let module = parser.module();
    if parser.errors.is_empty() { Ok(module) } else { Err(ParseErrors { errors: parser.errors }) }
}

/// The error is already in the list; the caller resynchronises.
#[derive(Clone, Copy, Debug)]
struct Failed;

type Parsed<T> = Result<T, Failed>;

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    token: Token,
    /// End of the token before `token`.
    previous_end: u32,
    depth: u32,
    errors: Vec<ParseError>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        let mut lexer = Lexer::new(text);
        let token = lexer.next();
        Parser { text, lexer, token, previous_end: 0, depth: 0, errors: Vec::new() }
    }

    // ---- tokens

    fn slice(&self, token: Token) -> &'a str {
        &self.text[token.start as usize..token.end as usize]
    }

    fn bump(&mut self) -> Token {
        let token = self.token;
        self.previous_end = token.end;
        self.token = self.lexer.next();
        token
    }

    fn at(&self, punct: u8) -> bool {
        self.token.kind == Kind::Punct(punct)
    }

    fn eat(&mut self, punct: u8) -> bool {
        let found = self.at(punct);
        if found {
            self.bump();
        }
        found
    }

    fn expect(&mut self, punct: u8) -> Parsed<()> {
        if self.eat(punct) { Ok(()) } else { self.expected(&format!("`{}`", char::from(punct))) }
    }

    /// The word of a [`Kind::Dotted`] token without its dot, or nothing.
    fn dotted(&self) -> Option<&'a str> {
        (self.token.kind == Kind::Dotted).then(|| &self.slice(self.token)[1..])
    }

    fn eat_dotted(&mut self, word: &str) -> bool {
        let found = self.dotted() == Some(word);
        if found {
            self.bump();
        }
        found
    }

    /// An identifier.
    fn word(&mut self, what: &str) -> Parsed<&'a str> {
        if self.token.kind == Kind::Word {
            let token = self.bump();
            Ok(self.slice(token))
        } else {
            self.expected(what)
        }
    }

    /// A string without its quotes, escapes as written.
    fn string(&mut self) -> Parsed<String> {
        if self.token.kind == Kind::String {
            let token = self.bump();
            let text = self.slice(token);
            Ok(text[1..text.len() - 1].to_owned())
        } else {
            self.expected("a string")
        }
    }

    /// The current number token's value.
    fn literal(&mut self) -> Parsed<Literal> {
        if self.token.kind != Kind::Number {
            return self.expected("a number");
        }
        let text = self.slice(self.token);
        match literal::read(text) {
            Ok(value) => {
                self.bump();
                Ok(value)
            }
            Err(why) => self.fail(Problem::Number { text: shorten(text), why }),
        }
    }

    /// A plain non-negative integer up to `u64::MAX`.
    fn unsigned(&mut self, what: &'static str) -> Parsed<u64> {
        let token = self.token;
        match self.literal()? {
            Literal::Integer(constant) => Ok(constant.bits),
            _ => {
                let value = shorten(self.slice(token));
                self.fail_at(token.span(), Problem::Range { what, value, must: "an integer" })
            }
        }
    }

    /// A plain non-negative integer up to `u32::MAX`.
    fn small(&mut self, what: &'static str) -> Parsed<u32> {
        let token = self.token;
        let value = self.unsigned(what)?;
        match u32::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) => {
                let value = value.to_string();
                self.fail_at(token.span(), Problem::Range { what, value, must: "less than 2^32" })
            }
        }
    }

    // ---- errors

    fn fail_at<T>(&mut self, span: Span, problem: Problem) -> Parsed<T> {
        if self.errors.len() < ERROR_LIMIT {
            let excerpt = Excerpt::of(self.text, span);
            self.errors.push(ParseError { span, problem, excerpt });
        }
        Err(Failed)
    }

    fn fail<T>(&mut self, problem: Problem) -> Parsed<T> {
        self.fail_at(self.token.span(), problem)
    }

    fn expected<T>(&mut self, expected: &str) -> Parsed<T> {
        let problem = match (self.token.kind, self.lexer.problem.take()) {
            (Kind::Bad, Some(problem)) => problem,
            (Kind::End, _) => {
                Problem::Expected { expected: expected.to_owned(), found: "the end of the text".to_owned() }
            }
            _ => Problem::Expected {
                expected: expected.to_owned(),
                found: format!("`{}`", shorten(self.slice(self.token))),
            },
        };
        self.fail(problem)
    }

    fn unknown_directive<T>(&mut self, known: &[&'static str]) -> Parsed<T> {
        let name = self.dotted().unwrap_or_default();
        let near = suggest::nearest(name, known.iter().copied()).map(str::to_owned);
        self.fail(Problem::Directive { name: shorten(name), near })
    }

    /// Runs `body` one level deeper.
    fn nested<T>(&mut self, body: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_LIMIT {
            return self.fail(Problem::Depth { limit: DEPTH_LIMIT });
        }
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        result
    }

    fn too_many(&self) -> bool {
        self.errors.len() >= ERROR_LIMIT
    }

    /// Skips to a place where an item can start again: behind a `;` or `}` outside braces, or at a word that
    /// starts a function or a variable. `position` guards progress.
    fn skip_item(&mut self) {
        let mut depth = 0u32;
        loop {
            match self.token.kind {
                Kind::End => return,
                Kind::Punct(b'{') => depth += 1,
                Kind::Punct(b'}') => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        self.bump();
                        return;
                    }
                }
                Kind::Punct(b';') if depth == 0 => {
                    self.bump();
                    return;
                }
                Kind::Dotted if depth == 0 => {
                    let word = self.dotted().unwrap_or_default();
                    if matches!(word, "visible" | "extern" | "weak" | "entry" | "func" | "global" | "const") {
                        return;
                    }
                }
                _ => {}
            }
            self.bump();
        }
    }

    // ---- module

    fn module(&mut self) -> Module {
        let mut version = None;
        let mut target = Vec::new();
        let mut address_size = 64;
        let mut items = Vec::new();
        let mut header_checked = false;
        while self.token.kind != Kind::End && !self.too_many() {
            let before = self.token.start;
            let result = match self.dotted() {
                Some("version") => self.version().map(|found| version = Some(found)),
                Some("target") => self.target(&mut target),
                Some("address_size") => self.address_size().map(|size| address_size = size),
                _ => {
                    if !header_checked {
                        header_checked = true;
                        self.header(version.is_some(), !target.is_empty());
                    }
                    self.item(&mut items)
                }
            };
            if result.is_err() {
                if self.token.start == before {
                    self.bump();
                }
                self.skip_item();
            }
        }
        if !header_checked && self.errors.is_empty() {
            self.header(version.is_some(), !target.is_empty());
        }
        Module { version: version.unwrap_or_default(), target, address_size, items }
    }

    fn header(&mut self, version: bool, target: bool) {
        // A broken header has already said so.
        if !self.errors.is_empty() || (version && target) {
            return;
        }
        let missing = if version { "target" } else { "version" };
        let _: Parsed<()> = self.fail(Problem::Header { missing });
    }

    /// `.version 9.0`
    fn version(&mut self) -> Parsed<(u32, u32)> {
        self.bump();
        let token = self.token;
        if token.kind == Kind::Number {
            let text = self.slice(token);
            let parts = text.split_once('.').map(|(major, minor)| (major.parse(), minor.parse()));
            if let Some((Ok(major), Ok(minor))) = parts {
                self.bump();
                return Ok((major, minor));
            }
        }
        self.expected("a version such as `9.0`")
    }

    /// `.target sm_90a, debug`
    fn target(&mut self, words: &mut Vec<String>) -> Parsed<()> {
        self.bump();
        loop {
            words.push(self.word("a target such as `sm_90`")?.to_owned());
            if !self.eat(b',') {
                return Ok(());
            }
        }
    }

    /// `.address_size 64`
    fn address_size(&mut self) -> Parsed<u32> {
        self.bump();
        let token = self.token;
        let size = self.small("`.address_size`")?;
        if size == 32 || size == 64 {
            return Ok(size);
        }
        let problem = Problem::Range { what: "`.address_size`", value: size.to_string(), must: "32 or 64" };
        self.fail_at(token.span(), problem)
    }

    fn item(&mut self, items: &mut Vec<Item>) -> Parsed<()> {
        match self.dotted() {
            Some("file" | "loc" | "section" | "pragma" | "alias") => {
                let directive = self.directive()?;
                items.push(Item::Directive(directive));
                Ok(())
            }
            Some(_) => self.declaration(items),
            // `;` alone is nothing, and ptxas reads it so.
            None if self.eat(b';') => Ok(()),
            None => self.expected("a directive such as `.visible .entry` or `.global`"),
        }
    }
}

/// At most 40 characters of a hostile word.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 40;
    if text.chars().nth(LONGEST).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LONGEST).collect();
    short.push('…');
    short
}
