//! Reading the comment lines.

use super::{Argument, CorpusError, Element, Role, Run, TensorElement, TensorMapSpec};

/// The most elements of one argument.
const MOST: u32 = 1 << 24;

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

    /// A number of any sign, whole or not, as a word of its own.
    fn decimal(&mut self) -> Result<f64, CorpusError> {
        let word = self.word();
        word.parse().or_else(|_| self.fail(format!("`{word}` is no number")))
    }

    fn integer(&mut self) -> Result<i128, CorpusError> {
        let word = self.word();
        word.parse().or_else(|_| self.fail(format!("`{word}` is no whole number")))
    }

    /// `[…]`, `iota(n)`, `fill(n, v)`, `random(n, seed, low, high)`, `bits(n, seed)`; `None` for `?` and `recorded`.
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
            let count = self.number()?.min(MOST);
            self.expect(")")?;
            for value in 0..count {
                push(self, &value.to_string())?;
            }
        } else if self.eat("fill(") {
            let count = self.number()?.min(MOST);
            self.expect(",")?;
            let word = self.word();
            self.expect(")")?;
            for _ in 0..count {
                push(self, word)?;
            }
        } else if self.eat("random(") {
            let count = self.number()?.min(MOST);
            self.expect(",")?;
            let seed = u64::from(self.number()?);
            if element.is_float() {
                let (mut low, mut high) = (-1.0, 1.0);
                if self.eat(",") {
                    low = self.decimal()?;
                    self.expect(",")?;
                    high = self.decimal()?;
                }
                self.expect(")")?;
                return Ok(Some(element.random_floats(count, seed, low, high)));
            }
            let mut range = None;
            if self.eat(",") {
                let low = self.integer()?;
                self.expect(",")?;
                let high = self.integer()?;
                if low >= high {
                    return self.fail("nothing lies between the bounds");
                }
                range = Some(low..high);
            }
            self.expect(")")?;
            return Ok(Some(element.random_integers(count, seed, range)));
        } else if self.eat("bits(") {
            let count = self.number()?.min(MOST);
            self.expect(",")?;
            let seed = u64::from(self.number()?);
            self.expect(")")?;
            return Ok(Some(element.random_integers(count, seed, None)));
        } else {
            let word = self.word();
            push(self, word)?;
        }
        Ok(Some(bytes))
    }

    /// Numbers with commas between them.
    fn list<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, CorpusError>,
    ) -> Result<Vec<T>, CorpusError> {
        let mut values = vec![one(self)?];
        while self.rest.starts_with(',') {
            self.rest = &self.rest[1..];
            values.push(one(self)?);
        }
        Ok(values)
    }

    fn wide(&mut self) -> Result<u64, CorpusError> {
        let word = self.word();
        word.parse().or_else(|_| self.fail(format!("`{word}` is no number")))
    }

    /// `name=buffer dims=… box=… …`, up to the first word that says nothing about a tensor map.
    fn tensor(&mut self) -> Result<Argument, CorpusError> {
        let name = self.word().to_owned();
        self.expect("=")?;
        let mut tensor = TensorMapSpec { buffer: self.word().to_owned(), ..TensorMapSpec::default() };
        loop {
            let before = self.rest;
            match self.word() {
                "dims" => {
                    self.expect("=")?;
                    tensor.dims = self.list(Self::wide)?;
                }
                "strides" => {
                    self.expect("=")?;
                    tensor.strides = self.list(Self::wide)?;
                }
                "box" => {
                    self.expect("=")?;
                    tensor.box_dims = self.list(Self::number)?;
                }
                "steps" => {
                    self.expect("=")?;
                    tensor.steps = self.list(Self::number)?;
                }
                "swizzle" => {
                    self.expect("=")?;
                    tensor.swizzle = self.number()?;
                }
                "interleave" => {
                    self.expect("=")?;
                    tensor.interleave = self.number()?;
                }
                "fill" => {
                    self.expect("=")?;
                    tensor.nan_fill = self.word() == "nan";
                }
                "type" => {
                    self.expect("=")?;
                    let word = self.word();
                    tensor.element = match TensorElement::named(word) {
                        Some(element) => Some(element),
                        None => return self.fail(format!("`{word}` is no type of a tensor map")),
                    };
                }
                _ => {
                    self.rest = before;
                    break;
                }
            }
        }
        let rank = tensor.dims.len();
        if rank == 0 || rank > 5 || tensor.box_dims.len() != rank {
            return self.fail(format!("the tensor map `{name}` needs 1 to 5 `dims` and as many of `box`"));
        }
        if tensor.steps.is_empty() {
            tensor.steps = vec![1; rank];
        }
        Ok(Argument {
            name,
            role: Role::TensorMap,
            element: Element::U8,
            before: Vec::new(),
            after: None,
            recorded: false,
            tolerance: None,
            absolute: None,
            tensor: Some(tensor),
        })
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
        let mut recorded = role == Role::Out && self.eat("recorded");
        let first = if recorded { None } else { self.values(element)? };
        let mut second = None;
        if role == Role::InOut && self.eat("->") {
            recorded = self.eat("recorded");
            if !recorded {
                second = self.values(element)?;
            }
        }
        let tolerance = if self.eat("tolerance=") { Some(self.decimal()?) } else { None };
        let absolute = if self.eat("absolute=") { Some(self.decimal()?) } else { None };
        let (before, after) = match role {
            Role::Out => {
                let len = count.map(|count| count * element.size()).or(first.as_ref().map(Vec::len));
                let Some(len) = len else { return self.fail(format!("how many elements has `{name}`?")) };
                (vec![0; len], first)
            }
            Role::InOut => (first.unwrap_or_default(), second),
            _ => (first.unwrap_or_default(), None),
        };
        Ok(Argument {
            name: name.to_owned(),
            role,
            element,
            before,
            after,
            recorded,
            tolerance,
            absolute,
            tensor: None,
        })
    }
}

/// Gives every tensor map its element type and its strides.
fn complete(run: &mut Run) -> Result<(), CorpusError> {
    let elements: Vec<(String, Element)> =
        run.arguments.iter().map(|argument| (argument.name.clone(), argument.element)).collect();
    for argument in &mut run.arguments {
        let Some(tensor) = &mut argument.tensor else { continue };
        let Some((_, element)) = elements.iter().find(|(name, _)| *name == tensor.buffer) else {
            return Err(CorpusError { line: run.line, message: format!("there is no `{}`", tensor.buffer) });
        };
        let element = *tensor.element.get_or_insert(TensorElement::of(*element));
        if tensor.strides.is_empty() {
            let mut stride = element.size() as u64;
            for dim in &tensor.dims[..tensor.dims.len() - 1] {
                stride = stride.saturating_mul(*dim);
                tensor.strides.push(stride);
            }
        }
    }
    Ok(())
}

/// The text of a `run` line and of the lines that go on with it.
fn continued(first: &str, behind: &[&str]) -> String {
    let mut whole = first.to_owned();
    for line in behind {
        match line.trim_start().strip_prefix("//") {
            Some(more) if more.starts_with("   ") => whole.push_str(more),
            _ => break,
        }
    }
    whole
}

/// Reads all runs that a program's comments describe.
///
/// # Errors
/// The first line that does not read.
pub fn runs(text: &str) -> Result<Vec<Run>, CorpusError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut entry = None;
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
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
            let rest = continued(rest, &lines[line..]);
            let mut reader = Reader { rest: &rest, line };
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
                    "tensor" => run.arguments.push(reader.tensor()?),
                    word => return reader.fail(format!("`{word}` is no part of a run")),
                }
            }
            complete(&mut run)?;
            runs.push(run);
        }
    }
    Ok(runs)
}
