//! From a file's leading comment to a [`Header`].

use std::sync::Arc;

use factory_spec::{Arch, SizeExpr, SourceText, Span, did_you_mean};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{TemplateError, TemplateErrors, TemplateProblem};
use super::header::{Buffer, Header, Launch, Located, Param, word_number};
use super::map;
use super::tunable;

/// What a header begins with.
pub(super) const OPENING: &str = "/*kernel_factory";

/// Reads the header of a file's text.
pub(super) fn header(source: &Arc<SourceText>) -> Result<Header, TemplateErrors> {
    let text = source.text();
    let start = text.len() - text.trim_start_matches('\u{feff}').trim_start().len();
    if !text[start..].starts_with(OPENING) {
        return Err(TemplateError::at(source, Span::new(start, 1), TemplateProblem::NoHeader).into());
    }
    let begin = start + OPENING.len();
    let Some(length) = text[begin..].find("*/") else {
        let span = Span::new(start, OPENING.len());
        return Err(TemplateError::at(source, span, TemplateProblem::Unclosed).into());
    };
    // Blanks where the rest of the file is, so that the parser's places are the file's.
    let blank: String = text[..begin].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
    let document = format!("{blank}{}", &text[begin..begin + length]);
    let table = DeTable::parse(&document).map_err(|error| {
        let span = error.span().map_or(Span::new(start, OPENING.len()), Span::from);
        let message = error.message().trim().replace('\n', ", ");
        TemplateError::at(source, span, TemplateProblem::Toml { message })
    })?;
    let mut reader = Reader { source: Arc::clone(source), errors: Vec::new() };
    let header = reader.header(table.get_ref(), Span::new(start, begin + length + 2 - start));
    TemplateErrors::check(reader.errors)?;
    // Nothing is left out without a complaint.
    header.ok_or_else(|| {
        TemplateError::at(source, Span::new(start, OPENING.len()), TemplateProblem::NoHeader).into()
    })
}

pub(super) struct Reader {
    pub(super) source: Arc<SourceText>,
    pub(super) errors: Vec<TemplateError>,
}

/// A key with its value.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) key_span: Span,
    pub(super) value: &'a DeValue<'a>,
    pub(super) span: Span,
}

const TOP: &[&str] = &[
    "name",
    "spec",
    "arch",
    "when",
    "alignment",
    "fallback",
    "bake",
    "types",
    "flags",
    "tunables",
    "constraints",
    "scratch",
    "launch",
];
const LAUNCH: &[&str] = &["entry", "grid", "block", "cluster", "shared", "programmatic", "params"];
const SCRATCH: &[&str] = &["name", "bytes", "zero"];

impl Reader {
    pub(super) fn note(&mut self, span: Span, problem: TemplateProblem) {
        self.errors.push(TemplateError::at(&self.source, span, problem));
    }

    pub(super) fn wrong<T>(&mut self, entry: Entry<'_>, wanted: &'static str) -> Option<T> {
        self.note(entry.span, TemplateProblem::WrongType { key: entry.key.to_owned(), wanted });
        None
    }

    pub(super) fn entries<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
        let mut entries: Vec<Entry<'a>> = table
            .iter()
            .map(|(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| Entry {
                key: key.get_ref(),
                key_span: key.span().into(),
                value: value.get_ref(),
                span: value.span().into(),
            })
            .collect();
        // The parser sorts by name; the file's order says which tunable comes first.
        entries.sort_by_key(|entry| entry.key_span.offset);
        entries
    }

    /// Complains about keys that are not known.
    pub(super) fn only(&mut self, entries: &[Entry<'_>], table: &'static str, known: &[&str]) {
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key)) {
            let problem = TemplateProblem::UnknownKey {
                key: entry.key.to_owned(),
                table,
                close: did_you_mean(entry.key, known.iter().copied()).map(str::to_owned),
                known: known.iter().map(|&name| name.to_owned()).collect(),
            };
            self.note(entry.key_span, problem);
        }
    }

    pub(super) fn string(&mut self, entry: Entry<'_>) -> Option<Located<String>> {
        match entry.value {
            DeValue::String(text) => Some(Located { value: text.to_string(), span: entry.span }),
            _ => self.wrong(entry, "a string"),
        }
    }

    pub(super) fn list<'a>(&mut self, entry: Entry<'a>, wanted: &'static str) -> Option<Vec<Entry<'a>>> {
        match entry.value {
            DeValue::Array(array) => Some(
                array
                    .iter()
                    .map(|element| Entry { value: element.get_ref(), span: element.span().into(), ..entry })
                    .collect(),
            ),
            _ => self.wrong(entry, wanted),
        }
    }

    fn strings(&mut self, entry: Option<Entry<'_>>) -> Option<Vec<Located<String>>> {
        let Some(entry) = entry else { return Some(Vec::new()) };
        let list = self.list(entry, "a list of strings")?;
        list.into_iter().map(|element| self.string(element)).collect()
    }

    pub(super) fn integer(&mut self, entry: Entry<'_>) -> Option<i64> {
        let value = match entry.value {
            DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix()).ok(),
            _ => None,
        };
        value.or_else(|| self.wrong(entry, "a whole number of 64 bits"))
    }

    /// A number, a truth value or an expression in a string.
    pub(super) fn expression(&mut self, entry: Entry<'_>) -> Option<Located<SizeExpr>> {
        let span = entry.span;
        match entry.value {
            DeValue::Integer(_) => {
                self.integer(entry).map(|value| Located { value: SizeExpr::constant(value), span })
            }
            DeValue::Boolean(value) => Some(Located { value: SizeExpr::constant(i64::from(*value)), span }),
            DeValue::String(text) => match SizeExpr::parse(text) {
                Ok(value) => Some(Located { value, span }),
                Err(error) => {
                    // Inside the string where its text stands in the file as it is.
                    let inner = Span::new(span.offset + 1 + error.offset, error.len.max(1));
                    let plain = self.source.text().get(span.offset + 1..span.offset + 1 + text.len());
                    let place = if plain == Some(text) { inner } else { span };
                    self.note(place, TemplateProblem::Expression { message: error.message });
                    None
                }
            },
            _ => self.wrong(entry, "an expression: a string or a whole number"),
        }
    }

    /// `true` or `false`; false when it is left out.
    fn boolean(&mut self, entry: Option<Entry<'_>>) -> Option<bool> {
        match entry.map(|entry| (entry, entry.value)) {
            None => Some(false),
            Some((_, DeValue::Boolean(value))) => Some(*value),
            Some((entry, _)) => self.wrong(entry, "`true` or `false`"),
        }
    }

    /// Three expressions, or one for x.
    fn three(&mut self, entry: Option<Entry<'_>>, span: Span) -> Option<[Located<SizeExpr>; 3]> {
        let one = || Located { value: SizeExpr::constant(1), span };
        let Some(entry) = entry else { return Some([one(), one(), one()]) };
        if !matches!(entry.value, DeValue::Array(_)) {
            return Some([self.expression(entry)?, one(), one()]);
        }
        let list = self.list(entry, "up to three expressions")?;
        if list.is_empty() || list.len() > 3 {
            return self.wrong(entry, "up to three expressions: x, y, z");
        }
        let mut found = [one(), one(), one()];
        for (place, element) in found.iter_mut().zip(list) {
            *place = self.expression(element)?;
        }
        Some(found)
    }

    fn header(&mut self, table: &DeTable<'_>, span: Span) -> Option<Header> {
        let entries = Self::entries(table);
        self.only(&entries, "the header", TOP);
        let get = |key: &str| entries.iter().copied().find(|entry| entry.key == key);
        let stem = self.source.path().file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = match get("name") {
            Some(entry) => self.string(entry)?.value,
            None => stem.unwrap_or_else(|| "template".to_owned()),
        };
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || !name.chars().all(word) {
            let reason = "a template's name is made of letters, digits, `_` and `-`".to_owned();
            let at = get("name").map_or(span, |entry| entry.span);
            self.note(at, TemplateProblem::BadName { name: name.clone(), reason });
        }
        let spec = get("spec").and_then(|entry| self.string(entry));
        let arch_span = get("arch").map_or(Span::new(span.offset, OPENING.len()), |entry| entry.span);
        let arch = self.arches(get("arch"));
        let constant = |value: i64| Located { value: SizeExpr::constant(value), span };
        let when = get("when").map_or(Some(constant(1)), |entry| self.expression(entry));
        let alignment = get("alignment").map_or(Some(constant(16)), |entry| self.expression(entry));
        let (fallback, fallback_only) = match get("fallback") {
            None => (None, false),
            Some(entry) if matches!(entry.value, DeValue::String(word) if word == "only") => {
                (Some(entry.span), true)
            }
            Some(entry) => (self.boolean(Some(entry)).unwrap_or_default().then_some(entry.span), false),
        };
        let bake = self.strings(get("bake"));
        let types = self.types(get("types"));
        let flags = self.flags(get("flags"));
        let tunables = tunable::tunables(self, get("tunables"));
        let constraints = get("constraints").map_or(Some(Vec::new()), |entry| {
            let list = self.list(entry, "a list of expressions")?;
            list.into_iter().map(|element| self.expression(element)).collect()
        });
        let scratch: Vec<Option<_>> =
            self.tables(get("scratch")).into_iter().map(|(_, entries)| self.scratch(&entries)).collect();
        let scratch = scratch.into_iter().collect::<Option<Vec<_>>>();
        let launches = match get("launch") {
            Some(entry) => {
                let launches: Vec<Option<Launch>> = self
                    .tables(Some(entry))
                    .into_iter()
                    .map(|(at, entries)| self.launch(at, &entries))
                    .collect();
                launches.into_iter().collect::<Option<Vec<_>>>()
            }
            None => {
                let example = "[[launch]]";
                let at = Span::new(span.offset, OPENING.len());
                self.note(at, TemplateProblem::MissingKey { key: "launch", table: "the header", example });
                None
            }
        };
        let header = Header {
            source: Arc::clone(&self.source),
            span: Span::new(span.offset, OPENING.len()),
            name,
            spec,
            arch: arch?,
            arch_span,
            when: when?,
            alignment: alignment?,
            fallback,
            fallback_only,
            bake: bake?,
            types: types?,
            flags: flags?,
            tunables: tunables?,
            constraints: constraints?,
            scratch: scratch?,
            launches: launches?,
        };
        self.names(&header);
        Some(header)
    }

    fn arches(&mut self, entry: Option<Entry<'_>>) -> Option<Vec<Arch>> {
        let mut found = Vec::new();
        for text in self.strings(entry)? {
            match Arch::parse(&text.value) {
                Some(arch) => found.push(arch),
                None => {
                    let known: Vec<&str> = Arch::ALL.iter().map(|arch| arch.name()).collect();
                    let problem = TemplateProblem::UnknownWord {
                        key: "arch",
                        close: did_you_mean(&text.value, known.iter().copied()).map(str::to_owned),
                        word: text.value,
                        known: known.into_iter().map(str::to_owned).collect(),
                    };
                    self.note(text.span, problem);
                }
            }
        }
        Some(found)
    }

    fn types(&mut self, entry: Option<Entry<'_>>) -> Option<Vec<(Located<String>, String)>> {
        let Some(entry) = entry else { return Some(Vec::new()) };
        let DeValue::Table(table) = entry.value else {
            return self.wrong(entry, "a table of macros, as in `{ T = \"x\" }`");
        };
        let mut found = Vec::new();
        for entry in Self::entries(table) {
            let arg = self.string(entry)?;
            found.push((Located { value: entry.key.to_owned(), span: arg.span }, arg.value));
        }
        Some(found)
    }

    fn flags(&mut self, entry: Option<Entry<'_>>) -> Option<Vec<String>> {
        const PLAIN: &[&str] = &[
            "-use_fast_math",
            "-ftz=true",
            "-ftz=false",
            "-fmad=true",
            "-fmad=false",
            "-prec-div=true",
            "-prec-div=false",
            "-prec-sqrt=true",
            "-prec-sqrt=false",
            "-extra-device-vectorization",
            "-std=c++17",
            "-std=c++20",
        ];
        let mut found = Vec::new();
        for flag in self.strings(entry)? {
            let registers =
                flag.value.strip_prefix("-maxrregcount=").is_some_and(|count| count.parse::<u8>().is_ok());
            if PLAIN.contains(&flag.value.as_str()) || registers {
                found.push(flag.value);
            } else {
                self.note(flag.span, TemplateProblem::Flag { flag: flag.value });
            }
        }
        Some(found)
    }

    /// The elements of `[[name]]`.
    fn tables<'a>(&mut self, entry: Option<Entry<'a>>) -> Vec<(Span, Vec<Entry<'a>>)> {
        let Some(entry) = entry else { return Vec::new() };
        let Some(list) = self.list(entry, "a list of tables, as `[[launch]]` makes one") else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for element in list {
            match element.value {
                DeValue::Table(table) => found.push((element.span, Self::entries(table))),
                _ => {
                    self.wrong::<()>(element, "a list of tables, as `[[launch]]` makes one");
                }
            }
        }
        found
    }

    fn scratch(&mut self, entries: &[Entry<'_>]) -> Option<Buffer> {
        self.only(entries, "`[[scratch]]`", SCRATCH);
        let get = |key: &str| entries.iter().copied().find(|entry| entry.key == key);
        let span = entries.first().map_or(Span::default(), |entry| entry.key_span);
        let (Some(name), Some(bytes)) = (get("name"), get("bytes")) else {
            let key = if get("name").is_none() { "name" } else { "bytes" };
            let example = "name = \"partial\", bytes = \"4 * m\"";
            self.note(span, TemplateProblem::MissingKey { key, table: "`[[scratch]]`", example });
            return None;
        };
        let zero = self.boolean(get("zero"))?;
        Some(Buffer { name: self.string(name)?, bytes: self.expression(bytes)?, zero })
    }

    fn launch(&mut self, span: Span, entries: &[Entry<'_>]) -> Option<Launch> {
        self.only(entries, "`[[launch]]`", LAUNCH);
        let get = |key: &str| entries.iter().copied().find(|entry| entry.key == key);
        let span = entries.first().map_or(span, |entry| entry.key_span);
        let needed: [(&'static str, &'static str); 4] = [
            ("entry", "entry = \"kernel\""),
            ("grid", "grid = [\"ceil_div(n, THREADS)\"]"),
            ("block", "block = [\"THREADS\"]"),
            ("params", "params = [\"x\", \"y\", { u32 = \"n\" }]"),
        ];
        for (key, example) in needed {
            if get(key).is_none() {
                self.note(span, TemplateProblem::MissingKey { key, table: "`[[launch]]`", example });
            }
        }
        let entry = self.string(get("entry")?)?;
        let grid = self.three(get("grid"), span);
        let block = self.three(get("block"), span);
        let cluster = self.three(get("cluster"), span);
        let shared = match get("shared") {
            Some(entry) => self.expression(entry),
            None => Some(Located { value: SizeExpr::constant(0), span }),
        };
        let programmatic = self.boolean(get("programmatic"))?;
        let list = self.list(get("params")?, "a list of parameters")?;
        let params: Vec<Option<Located<Param>>> =
            list.into_iter().map(|element| self.param(element)).collect();
        let params = params.into_iter().collect::<Option<_>>();
        Some(Launch {
            span,
            entry,
            grid: grid?,
            block: block?,
            cluster: cluster?,
            shared: shared?,
            programmatic,
            params: params?,
        })
    }

    fn param(&mut self, entry: Entry<'_>) -> Option<Located<Param>> {
        const WANTED: &str = "arguments and scratch buffers by name, integers as `{ u32 = \"m\" }`";
        let span = entry.span;
        let value = match entry.value {
            DeValue::String(name) => Param::Named(name.to_string()),
            DeValue::Table(table) => {
                let entries = Self::entries(table);
                if entries.iter().any(|entry| entry.key == "map") {
                    let map = map::map(self, &entries)?;
                    let factory_spec::MapBase::Arg(over) = map.over.clone() else { return None };
                    return Some(Located { value: Param::Map { over, map: Box::new(map) }, span });
                }
                let [only] = entries[..] else { return self.wrong(entry, WANTED) };
                let bytes = match only.key {
                    "u32" | "i32" => 4,
                    "u64" | "i64" => 8,
                    _ => return self.wrong(entry, WANTED),
                };
                Param::Integer { value: self.expression(only)?.value, bytes }
            }
            _ => return self.wrong(entry, WANTED),
        };
        Some(Located { value, span })
    }

    /// Names that would collide.
    fn names(&mut self, header: &Header) {
        let mut seen: Vec<&str> = Vec::new();
        let macros = header.tunables.iter().map(|tunable| (tunable.name.as_str(), tunable.span));
        let types = header.types.iter().map(|(name, _)| (name.value.as_str(), name.span));
        let bake = header.bake.iter().map(|name| (name.value.as_str(), name.span));
        for (name, span) in macros.chain(types).chain(bake) {
            let reason = if seen.contains(&name) {
                "the header gives it to something else too"
            } else if !is_identifier(name) {
                "it is no C++ identifier"
            } else if ["and", "or", "not", "min", "max", "ceil_div", "next_pow2"].contains(&name) {
                "expressions have a meaning for it"
            } else {
                seen.push(name);
                continue;
            };
            self.note(span, TemplateProblem::BadName { name: name.to_owned(), reason: reason.to_owned() });
        }
        for tunable in &header.tunables {
            for value in &tunable.values {
                let crate::candidate::TunableValue::Word(word) = value else { continue };
                let number = word_number(&tunable.values, word);
                if header.word(word) != number || seen.contains(&word.as_str()) {
                    let reason = format!("its word `{word}` has another meaning elsewhere in the header");
                    self.note(tunable.span, TemplateProblem::BadName { name: tunable.name.clone(), reason });
                }
            }
        }
    }
}

/// Whether C++ takes it as a name.
pub(super) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
