//! Small PTX programs that carry their own expected results, for every engine that runs PTX.
//!
//! A program says in comment lines how it is launched and what must come out. Arguments stand in the order of the
//! kernel's parameters:
//!
//! ```text
//! // run: grid=2 block=32 in x:f32=[1, 2.5, nan] out y:f32[3]=[2, 5, nan] scalar n:u32=3
//! // run: grid=2,1,1 block=8,4 cluster=2 shared=1024 inout z:u32=iota(64) -> fill(64, 7)
//! // run: block=32 out y:f32[32]=? tolerance=1e-6
//! // fault: out_of_bounds
//! ```
//!
//! - `in`, `out`, `inout`, `scalar` introduce an argument `name:type`. Types are those of PTX: `u8` to `u64`, `s8` to
//!   `s64`, `f16`, `bf16`, `f32`, `f64`.
//! - Values are `[v, …]`, `iota(n)` (0, 1, 2, …), `fill(n, v)`; an `inout` says `before -> after`; `?` expects nothing.
//!   A hexadecimal value of a floating-point type is its bits.
//! - `tolerance=e` after an expectation allows a relative error; without it results are equal bit for bit, but that all
//!   NaNs count as equal.
//! - `// entry: name` chooses the entry of the `run` lines behind it (the module's first one by default).
//! - `// fault: kind` says that the run before it must end with this fault (on a machine that can tell).

use std::fmt;

/// What is wrong with a corpus line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct CorpusError {
    /// Line of the file.
    pub line: usize,
    /// What was expected.
    pub message: String,
}

/// What an argument is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read only.
    In,
    /// Written; its bytes before the launch do not matter.
    Out,
    /// Read and written.
    InOut,
    /// Passed by value.
    Scalar,
}

/// Element type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of PTX")]
pub enum Element {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F16,
    BF16,
    F32,
    F64,
}

impl Element {
    const NAMES: [(Element, &'static str); 12] = [
        (Element::U8, "u8"),
        (Element::S8, "s8"),
        (Element::U16, "u16"),
        (Element::S16, "s16"),
        (Element::U32, "u32"),
        (Element::S32, "s32"),
        (Element::U64, "u64"),
        (Element::S64, "s64"),
        (Element::F16, "f16"),
        (Element::BF16, "bf16"),
        (Element::F32, "f32"),
        (Element::F64, "f64"),
    ];

    /// Bytes.
    pub fn size(self) -> usize {
        match self {
            Element::U8 | Element::S8 => 1,
            Element::U16 | Element::S16 | Element::F16 | Element::BF16 => 2,
            Element::U32 | Element::S32 | Element::F32 => 4,
            Element::U64 | Element::S64 | Element::F64 => 8,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Element::F16 | Element::BF16 | Element::F32 | Element::F64)
    }

    /// The bits of a value as written.
    fn bits(self, word: &str) -> Option<u64> {
        let word = word.trim();
        if let Some(hex) = word.strip_prefix("0x") {
            return u64::from_str_radix(hex, 16).ok();
        }
        if !self.is_float() {
            return word.parse::<i128>().ok().map(|value| value as u64);
        }
        let value: f64 = word.parse().ok()?;
        Some(match self {
            Element::F64 => value.to_bits(),
            Element::F32 => u64::from((value as f32).to_bits()),
            Element::F16 => u64::from(half::f16::from_f64(value).to_bits()),
            _ => u64::from(half::bf16::from_f64(value).to_bits()),
        })
    }

    /// The value of one element as f64 (integers too).
    pub fn value(self, bytes: &[u8]) -> f64 {
        let mut wide = [0; 8];
        wide[..self.size()].copy_from_slice(&bytes[..self.size()]);
        let bits = u64::from_le_bytes(wide);
        match self {
            Element::U8 | Element::U16 | Element::U32 | Element::U64 => bits as f64,
            Element::S8 => f64::from(bits as i8),
            Element::S16 => f64::from(bits as i16),
            Element::S32 => f64::from(bits as i32),
            Element::S64 => bits as i64 as f64,
            Element::F16 => half::f16::from_bits(bits as u16).to_f64(),
            Element::BF16 => half::bf16::from_bits(bits as u16).to_f64(),
            Element::F32 => f64::from(f32::from_bits(bits as u32)),
            Element::F64 => f64::from_bits(bits),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Element::NAMES.iter().find(|(element, _)| element == self).map_or("", |(_, name)| name))
    }
}

/// One argument of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Name, for messages.
    pub name: String,
    /// What it is to the kernel.
    pub role: Role,
    /// Type of its elements.
    pub element: Element,
    /// Bytes before the launch (of an output: zeros, which say how many).
    pub before: Vec<u8>,
    /// Bytes expected behind the launch.
    pub after: Option<Vec<u8>>,
    /// Relative error that is allowed.
    pub tolerance: Option<f64>,
}

impl Argument {
    /// Compares what came out with what was expected: the first difference, in words.
    pub fn difference(&self, actual: &[u8]) -> Option<String> {
        let expected = self.after.as_ref()?;
        if actual.len() != expected.len() {
            return Some(format!(
                "`{}` has {} bytes, {} were expected",
                self.name,
                actual.len(),
                expected.len()
            ));
        }
        let size = self.element.size();
        for (index, (a, e)) in actual.chunks_exact(size).zip(expected.chunks_exact(size)).enumerate() {
            let (x, y) = (self.element.value(a), self.element.value(e));
            let same = a == e
                || (x.is_nan() && y.is_nan())
                || self.tolerance.is_some_and(|t| (x - y).abs() <= t * y.abs().max(f64::MIN_POSITIVE));
            if !same {
                return Some(format!(
                    "`{}[{index}]` is {x} ({a:02x?}), {y} ({e:02x?}) was expected",
                    self.name
                ));
            }
        }
        None
    }
}

/// One launch of a program with its expectations.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The entry, if the file names one.
    pub entry: Option<String>,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Blocks of a cluster.
    pub cluster: [u32; 3],
    /// Dynamic shared memory in bytes.
    pub shared_bytes: u32,
    /// Arguments, in the order of the kernel's parameters.
    pub arguments: Vec<Argument>,
    /// The fault that must end it.
    pub fault: Option<String>,
    /// Line of the file.
    pub line: usize,
}

impl Run {
    /// The bytes of the parameters, given the address of each argument (scalars ignore theirs): every parameter at
    /// its natural alignment.
    pub fn params(&self, addresses: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::new();
        for (argument, address) in self.arguments.iter().zip(addresses) {
            let address = address.to_le_bytes();
            let value: &[u8] = if argument.role == Role::Scalar { &argument.before } else { &address };
            bytes.resize(bytes.len().next_multiple_of(value.len().max(1)), 0);
            bytes.extend_from_slice(value);
        }
        bytes
    }
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Reader<'t> {
    fn fail<T>(&self, message: impl Into<String>) -> Result<T, CorpusError> {
        Err(CorpusError { line: self.line, message: message.into() })
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn word(&mut self) -> &'t str {
        self.skip();
        let end =
            self.rest.find(|c: char| c.is_whitespace() || "=[](),?".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn eat(&mut self, text: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, text: &str) -> Result<(), CorpusError> {
        if self.eat(text) { Ok(()) } else { self.fail(format!("`{text}` expected before `{}`", self.rest)) }
    }

    fn number(&mut self) -> Result<u32, CorpusError> {
        let word = self.word();
        word.parse().or_else(|_| self.fail(format!("`{word}` is no number")))
    }

    fn three(&mut self) -> Result<[u32; 3], CorpusError> {
        let mut values = [1; 3];
        values[0] = self.number()?;
        for value in &mut values[1..] {
            if !self.rest.starts_with(',') {
                break;
            }
            self.rest = &self.rest[1..];
            *value = self.number()?;
        }
        Ok(values)
    }

    /// `[…]`, `iota(n)`, `fill(n, v)`; `None` for `?`.
    fn values(&mut self, element: Element) -> Result<Option<Vec<u8>>, CorpusError> {
        let mut bytes = Vec::new();
        let mut push = |reader: &Reader<'_>, word: &str| match element.bits(word) {
            Some(bits) => {
                bytes.extend_from_slice(&bits.to_le_bytes()[..element.size()]);
                Ok(())
            }
            None => reader.fail(format!("`{word}` is no value of type {element}")),
        };
        if self.eat("?") {
            return Ok(None);
        }
        if self.eat("[") {
            let Some((list, rest)) = self.rest.split_once(']') else { return self.fail("`]` is missing") };
            for word in list.split(',').filter(|word| !word.trim().is_empty()) {
                push(self, word)?;
            }
            self.rest = rest;
        } else if self.eat("iota(") {
            let count = self.number()?.min(1 << 24);
            self.expect(")")?;
            for value in 0..count {
                push(self, &value.to_string())?;
            }
        } else if self.eat("fill(") {
            let count = self.number()?.min(1 << 24);
            self.expect(",")?;
            let word = self.word();
            self.expect(")")?;
            for _ in 0..count {
                push(self, word)?;
            }
        } else {
            let word = self.word();
            push(self, word)?;
        }
        Ok(Some(bytes))
    }

    fn argument(&mut self, role: Role) -> Result<Argument, CorpusError> {
        let declared = self.word();
        let Some((name, ty)) = declared.split_once(':') else {
            return self.fail(format!("`name:type` expected, not `{declared}`"));
        };
        let Some((element, _)) = Element::NAMES.iter().find(|(_, known)| *known == ty) else {
            return self.fail(format!("`{ty}` is no type"));
        };
        let element = *element;
        let mut count = None;
        if self.rest.starts_with('[') {
            self.expect("[")?;
            count = Some(self.number()? as usize);
            self.expect("]")?;
        }
        self.expect("=")?;
        let first = self.values(element)?;
        let second = if role == Role::InOut && self.eat("->") { self.values(element)? } else { None };
        let tolerance = if self.eat("tolerance=") {
            let word = self.word();
            Some(word.parse().or_else(|_| self.fail(format!("`{word}` is no tolerance")))?)
        } else {
            None
        };
        let (before, after) = match role {
            Role::Out => {
                let len = count.map(|count| count * element.size()).or(first.as_ref().map(Vec::len));
                let Some(len) = len else { return self.fail(format!("how many elements has `{name}`?")) };
                (vec![0; len], first)
            }
            Role::InOut => (first.unwrap_or_default(), second),
            _ => (first.unwrap_or_default(), None),
        };
        Ok(Argument { name: name.to_owned(), role, element, before, after, tolerance })
    }
}

/// Reads all runs that a program's comments describe.
///
/// # Errors
/// The first line that does not read.
pub fn runs(text: &str) -> Result<Vec<Run>, CorpusError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut entry = None;
    for (index, line) in text.lines().enumerate() {
        let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
        let comment = comment.trim_start();
        let line = index + 1;
        if let Some(name) = comment.strip_prefix("entry:") {
            entry = Some(name.trim().to_owned());
        } else if let Some(kind) = comment.strip_prefix("fault:") {
            match runs.last_mut() {
                Some(run) => run.fault = Some(kind.trim().to_owned()),
                None => {
                    return Err(CorpusError {
                        line,
                        message: "`fault:` needs a `run:` before it".to_owned(),
                    });
                }
            }
        } else if let Some(rest) = comment.strip_prefix("run:") {
            let mut reader = Reader { rest, line };
            let mut run = Run {
                entry: entry.clone(),
                grid: [1; 3],
                block: [32, 1, 1],
                cluster: [1; 3],
                shared_bytes: 0,
                arguments: Vec::new(),
                fault: None,
                line,
            };
            loop {
                match reader.word() {
                    "" if reader.rest.is_empty() => break,
                    "grid" => {
                        reader.expect("=")?;
                        run.grid = reader.three()?;
                    }
                    "block" => {
                        reader.expect("=")?;
                        run.block = reader.three()?;
                    }
                    "cluster" => {
                        reader.expect("=")?;
                        run.cluster = reader.three()?;
                    }
                    "shared" => {
                        reader.expect("=")?;
                        run.shared_bytes = reader.number()?;
                    }
                    "in" => run.arguments.push(reader.argument(Role::In)?),
                    "out" => run.arguments.push(reader.argument(Role::Out)?),
                    "inout" => run.arguments.push(reader.argument(Role::InOut)?),
                    "scalar" => run.arguments.push(reader.argument(Role::Scalar)?),
                    word => return reader.fail(format!("`{word}` is no part of a run")),
                }
            }
            runs.push(run);
        }
    }
    Ok(runs)
}
