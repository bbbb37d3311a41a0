//! The sections of a spec, one function each.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::reader::{Entry, Reader, Section, Text};
use super::row_stride;
use super::{DTypeOrVariable, Head, Written, WrittenArg, WrittenReference, WrittenSizes};
use crate::program::{self, is_reserved};
use crate::spec::SpecArg;
use crate::{
    Allowance, Arch, Arg, CReference, DType, DTypeVariable, InputKind, Metric, Minimize, Problem,
    Requirement, Role, Search, Size, SizeExpr, SizeId, SizeKind, Span, Spec, Tolerance,
};

/// Words that a generated Rust function or its arguments cannot be called.
const RUST_WORDS: [&str; 53] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "Self",
    "static", "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield", "_",
];

/// The names that are taken, with what has each and where.
type Names = BTreeMap<String, (&'static str, Span)>;

pub(super) fn spec(reader: &mut Reader, root: &Section<'_>) -> Option<Spec> {
    const SECTIONS: [&str; 9] =
        ["kernel", "sizes", "dtypes", "arg", "reference", "correct", "better", "targets", "search"];
    reader.only(root, &SECTIONS);
    let mut names = Names::new();
    let kernel = kernel(reader, root);
    let (sizes, size_spans) = sizes(reader, root, &mut names);
    let dtype_variables = dtypes(reader, root, &mut names);
    let args = args(reader, root, &sizes, &dtype_variables, &mut names);
    let reference = reference(reader, root);
    let (head, constraints) = kernel.unzip();
    let size_names: Vec<&str> = sizes.iter().map(|size| size.name.as_str()).collect();
    let mut checked = Vec::new();
    for text in constraints.into_iter().flatten() {
        if let Some(expr) = reader.expression(&text)
            && reader.expression_names(&text, &expr, &size_names)
        {
            checked.push((expr, text.span));
        }
    }
    checked.extend(row_stride::constraints(&sizes, &args));
    let (cases, inputs, tolerance) = correct(reader, root, &size_names, &args);
    let better = better(reader, root, &size_names);
    let targets = targets(reader, root);
    let search = search(reader, root);
    let head = head.map(|head: Head| Head { search, ..head })?;
    let Better { minimize, over, require, allow, span: better_span } = better;
    let public_args = args.iter().map(|written| SpecArg {
        name: written.arg.name.clone(),
        dtype: written.dtype.clone(),
        scalar: written.arg.scalar,
        role: written.arg.role,
        shape: written.arg.shape.iter().map(|size| sizes[size.index()].name.clone()).collect(),
        row_stride: written.arg.row_stride.map(|size| sizes[size.index()].name.clone()),
    });
    Some(Spec {
        name: head.name,
        doc: head.doc,
        dtype_variables,
        args: public_args.collect(),
        search: head.search,
        source: std::sync::Arc::clone(&reader.source),
        written: Written {
            sizes: sizes.clone(),
            size_spans,
            constraints: checked,
            args,
            reference: reference?,
            cases,
            inputs,
            tolerance,
            minimize,
            over,
            better_span,
            require,
            allow,
            targets,
        },
    })
}

fn section<'a>(reader: &mut Reader, root: &Section<'a>, key: &str, known: &[&str]) -> Option<Section<'a>> {
    let entry = root.get(key)?;
    let mut section = reader.table(entry, &format!("[{key}]"))?;
    // A table spreads over the file; complaints about the whole point at its name.
    section.span = entry.key_span;
    if !known.is_empty() {
        reader.only(&section, known);
    }
    Some(section)
}

/// Checks that a word can be a name, and takes it.
fn name(reader: &mut Reader, names: &mut Names, what: &'static str, name: &str, span: Span) -> bool {
    let first = name.chars().next().unwrap_or('0');
    let reason = if !(first.is_ascii_alphabetic() || first == '_')
        || name.contains(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
    {
        "it is not made of letters, digits and `_`, beginning with a letter"
    } else if RUST_WORDS.contains(&name) {
        "it is a word of Rust"
    } else if is_reserved(name) || ["ceil_div", "next_pow2"].contains(&name) {
        "it means something in programs and expressions"
    } else if let Some(&(taken_by, first)) = names.get(name) {
        let (line, _) = reader.source.line_column(first.offset);
        reader.note(span, Problem::DuplicateName { name: name.to_owned(), taken_by, line });
        return false;
    } else {
        names.insert(name.to_owned(), (what, span));
        return true;
    };
    reader.note(span, Problem::BadName { name: name.to_owned(), what, reason });
    false
}

/// `[kernel]`: name, doc, and the texts of the constraints.
fn kernel(reader: &mut Reader, root: &Section<'_>) -> Option<(Head, Vec<Text>)> {
    let Some(section) = section(reader, root, "kernel", &["name", "doc", "constraints"]) else {
        if root.get("kernel").is_none() {
            reader.missing(root, "[kernel]", "`[kernel]` and below it `name = \"…\"`");
        }
        return None;
    };
    let constraints = section.get("constraints").and_then(|entry| reader.strings(entry)).unwrap_or_default();
    let doc = section.get("doc").and_then(|entry| reader.string(entry)).map(|text| text.text);
    let Some(entry) = section.get("name") else {
        reader.missing(&section, "name", "`name = \"…\"`");
        return None;
    };
    let text = reader.string(entry)?;
    if text.text.contains(|c: char| c.is_ascii_uppercase()) {
        let reason = "it becomes a Rust function, whose name is in lower case";
        reader.note(text.span, Problem::BadName { name: text.text, what: "a kernel", reason });
        return None;
    }
    // A kernel may be called like one of its arguments, or like a function.
    let mut own = Names::new();
    if !is_reserved(&text.text) && !name(reader, &mut own, "a kernel", &text.text, text.span) {
        return None;
    }
    Some((Head { name: text.text, doc, search: Search::default() }, constraints))
}

/// `[sizes]`, in the order of the file.
fn sizes(reader: &mut Reader, root: &Section<'_>, names: &mut Names) -> (Vec<Size>, Vec<Span>) {
    let Some(section) = section(reader, root, "sizes", &[]) else { return Default::default() };
    let entries = section.entries();
    let known: Vec<&str> = entries.iter().map(|entry| entry.key).collect();
    let (mut sizes, mut spans) = (Vec::new(), Vec::new());
    for entry in entries {
        name(reader, names, "a size", entry.key, entry.key_span);
        // A size that is not right stays known, so that its uses are not complained about too.
        let kind =
            size_kind(reader, entry, &known).unwrap_or(SizeKind::Free { min: 1, max: None, multiple_of: 1 });
        sizes.push(Size { name: entry.key.to_owned(), kind });
        spans.push(entry.span);
    }
    (sizes, spans)
}

fn size_kind(reader: &mut Reader, entry: Entry<'_>, known: &[&str]) -> Option<SizeKind> {
    match entry.value {
        DeValue::Integer(_) => return reader.integer(entry, 1).map(SizeKind::Fixed),
        DeValue::Table(_) => {}
        _ => {
            reader.wrong_type(
                entry,
                "`{ min = …, max = …, multiple_of = … }`, a whole number or `{ value = \"…\" }`",
            );
            return None;
        }
    }
    let section = reader.table(entry, &format!("size `{}`", entry.key))?;
    if let Some(value) = section.get("value") {
        reader.only(&section, &["value"]);
        let text = reader.string(value)?;
        let expr = reader.expression(&text)?;
        return reader.expression_names(&text, &expr, known).then_some(SizeKind::Derived(expr));
    }
    reader.only(&section, &["min", "max", "multiple_of", "value"]);
    let mut read = |key, least, default| {
        section.get(key).map_or(Some(default), |entry| reader.integer(entry, least).map(Some))
    };
    let (min, max, multiple_of) =
        (read("min", 0, Some(1))?, read("max", 0, None)?, read("multiple_of", 1, Some(1))?);
    let (min, multiple_of) = (min.unwrap_or(1), multiple_of.unwrap_or(1));
    let contradiction = match max {
        Some(max) if max < min => Some(format!("`max` is {max}, below `min`, which is {min}")),
        Some(max) if max / multiple_of * multiple_of < min => {
            Some(format!("there is no multiple of {multiple_of} from {min} to {max}"))
        }
        None if min.checked_next_multiple_of(multiple_of).is_none_or(|least| least > i64::MAX as u64) => {
            Some(format!("there is no multiple of {multiple_of} from {min} to 2^63 - 1"))
        }
        _ => None,
    };
    if let Some(detail) = contradiction {
        reader.note(entry.span, Problem::ContradictoryBounds { size: entry.key.to_owned(), detail });
        return None;
    }
    Some(SizeKind::Free { min, max, multiple_of })
}

fn dtype_names() -> Vec<&'static str> {
    DType::ALL.iter().map(|dtype| dtype.name()).collect()
}

/// `[dtypes]`: variables and what they may be.
fn dtypes(reader: &mut Reader, root: &Section<'_>, names: &mut Names) -> Vec<DTypeVariable> {
    let Some(section) = section(reader, root, "dtypes", &[]) else { return Vec::new() };
    let mut variables = Vec::new();
    for entry in section.entries() {
        name(reader, names, "a dtype variable", entry.key, entry.key_span);
        let mut choices = Vec::new();
        let Some(texts) = reader.strings(entry) else { continue };
        if texts.is_empty() {
            let problem = Problem::OutOfRange {
                key: entry.key.to_owned(),
                value: "[]".into(),
                wanted: "one dtype or more".into(),
            };
            reader.note(entry.span, problem);
            continue;
        }
        for text in texts {
            match DType::parse(&text.text) {
                Some(dtype) => choices.push(dtype),
                None => reader.unknown("dtype", &text, &dtype_names()),
            }
        }
        variables.push(DTypeVariable { name: entry.key.to_owned(), choices });
    }
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    variables
}

/// `[[arg]]`, in order.
fn args(
    reader: &mut Reader,
    root: &Section<'_>,
    sizes: &[Size],
    variables: &[DTypeVariable],
    names: &mut Names,
) -> Vec<WrittenArg> {
    let Some(entry) = root.get("arg") else {
        reader.missing(root, "[[arg]]", "`[[arg]]` and below it `name = \"…\"`, `dtype = \"…\"`, `shape = [\"…\"]`, one for each argument");
        return Vec::new();
    };
    let Some(elements) = reader.list(entry, "tables under `[[arg]]`, one for each argument") else {
        return Vec::new();
    };
    let before = reader.errors.len();
    let args: Vec<WrittenArg> =
        elements.into_iter().filter_map(|element| arg(reader, element, sizes, variables, names)).collect();
    if reader.errors.len() == before && !args.iter().any(|written| written.arg.role.writes()) {
        reader.note(entry.key_span, Problem::NoOutput);
    }
    args
}

fn arg(
    reader: &mut Reader,
    element: Entry<'_>,
    sizes: &[Size],
    variables: &[DTypeVariable],
    names: &mut Names,
) -> Option<WrittenArg> {
    let section = reader.table(element, "[[arg]]")?;
    reader.only(&section, &["name", "dtype", "shape", "row_stride", "role", "values"]);
    let text = match section.get("name") {
        Some(entry) => reader.string(entry),
        None => {
            reader.missing(&section, "name", "`name = \"…\"`");
            None
        }
    };
    if let Some(text) = &text {
        name(reader, names, "an argument", &text.text, text.span);
    }
    let dtype = match section.get("dtype") {
        Some(entry) => reader.string(entry).and_then(|text| {
            let variable = variables.iter().find(|variable| variable.name == text.text);
            let dtype = DType::parse(&text.text).map(DTypeOrVariable::DType);
            let dtype =
                dtype.or_else(|| variable.map(|variable| DTypeOrVariable::Variable(variable.name.clone())));
            if dtype.is_none() {
                let mut known = dtype_names();
                known.extend(variables.iter().map(|variable| variable.name.as_str()));
                reader.unknown("dtype", &text, &known);
            }
            dtype
        }),
        None => {
            reader.missing(&section, "dtype", "`dtype = \"f32\"`");
            None
        }
    };
    let mut shape = Vec::new();
    let shape_entry = section.get("shape");
    if let Some(entry) = shape_entry {
        let known: Vec<&str> = sizes.iter().map(|size| size.name.as_str()).collect();
        for text in reader.strings(entry).unwrap_or_default() {
            match known.iter().position(|&name| name == text.text) {
                Some(index) => shape.push(SizeId(index as u32)),
                None => reader.undefined_size(text.map.span(0, text.text.len()), &text.text, &known),
            }
        }
    }
    let scalar = shape_entry.is_none();
    let named = text.as_ref().map_or("", |text| &text.text);
    let row_stride = section
        .get("row_stride")
        .and_then(|entry| row_stride::read(reader, entry, named, &section, sizes, &shape));
    let mut role = Role::In;
    if let Some(text) = section.get("role").and_then(|entry| reader.string(entry)) {
        match Role::parse(&text.text) {
            Some(known) => role = known,
            None => reader.unknown("role", &text, &["in", "out", "inout"]),
        }
        if scalar && role.writes() {
            let arg_name = section.get("name").and_then(|entry| entry.value.as_str()).unwrap_or_default();
            reader.note(text.span, Problem::ScalarOutput { name: arg_name.to_owned(), role: role.name() });
        }
    }
    let (mut values, mut value_spans) = (Vec::new(), Vec::new());
    if let Some(entry) = section.get("values") {
        if !scalar {
            let problem = Problem::UnknownKey {
                key: "values".into(),
                table: "an argument with a shape".into(),
                close: None,
                known: ["name", "dtype", "shape", "row_stride", "role"].map(str::to_owned).to_vec(),
            };
            reader.note(entry.key_span, problem);
        }
        for element in reader.list(entry, "a list of numbers").unwrap_or_default() {
            if let Some(value) = reader.number(element) {
                values.push(value);
                value_spans.push(element.span);
            }
        }
    }
    let (text, dtype) = (text?, dtype?);
    let shape_span = shape_entry.map_or(text.span, |entry| entry.span);
    // The dtype of a variable is filled in by binding.
    let known = if let DTypeOrVariable::DType(dtype) = dtype { dtype } else { DType::F32 };
    let (row_stride, stride_span) = row_stride.map_or((None, shape_span), |(size, span)| (Some(size), span));
    let arg = Arg { name: text.text, dtype: known, shape, row_stride, scalar, role, values };
    Some(WrittenArg { arg, dtype, shape_span, stride_span, value_spans })
}

/// `[reference]`: a program, or a C file and a function in it.
fn reference(reader: &mut Reader, root: &Section<'_>) -> Option<WrittenReference> {
    let before = reader.errors.len();
    let Some(section) = section(reader, root, "reference", &["program", "c", "function"]) else {
        if root.get("reference").is_none() {
            reader.missing(root, "[reference]", "`[reference]` and below it `program = '''…'''`");
        }
        return None;
    };
    let texts = ["program", "c", "function"].map(|key| section.get(key));
    match texts {
        [Some(entry), None, None] => {
            let text = reader.string(entry)?;
            match program::parse(&text.text, &text.map) {
                Ok(statements) => {
                    Some(WrittenReference::Program { statements, span: section.get("program")?.key_span })
                }
                Err((span, problem)) => {
                    reader.note(span, problem);
                    None
                }
            }
        }
        [None, Some(file), Some(function)] => {
            let (file, function) = (reader.string(file)?, reader.string(function)?);
            let path = reader
                .source
                .path()
                .parent()
                .map_or_else(|| (&file.text).into(), |folder| folder.join(&file.text));
            let source = match std::fs::read_to_string(&path) {
                Ok(source) => source,
                Err(error) => {
                    reader.note(file.span, Problem::CFile { file: path, reason: error.to_string() });
                    return None;
                }
            };
            let calls = |at: usize| source[at + function.text.len()..].trim_start().starts_with('(');
            let whole = |at: usize| !source[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            if function.text.is_empty()
                || !source.match_indices(&function.text).any(|(at, _)| whole(at) && calls(at))
            {
                reader.note(function.span, Problem::CFunction { file: path, function: function.text });
                return None;
            }
            // Line ends are not meaning: a checkout on Windows has the same key.
            Some(WrittenReference::C(CReference {
                file: path,
                function: function.text,
                source: source.replace("\r\n", "\n"),
            }))
        }
        _ => {
            // A misspelt key is complained about already.
            if reader.errors.len() == before {
                reader.note(section.span, Problem::WhichReference);
            }
            None
        }
    }
}

type Correct = (Vec<WrittenSizes>, Vec<(String, Vec<InputKind>)>, Vec<(String, Tolerance)>);

/// `[correct]`: cases, inputs, tolerance.
fn correct(reader: &mut Reader, root: &Section<'_>, size_names: &[&str], args: &[WrittenArg]) -> Correct {
    let Some(section) = section(reader, root, "correct", &["cases", "inputs", "tolerance"]) else {
        return Correct::default();
    };
    let cases = section.get("cases").map(|entry| cases(reader, entry, size_names)).unwrap_or_default();
    let written =
        root.get("arg").and_then(|entry| entry.value.as_array()).map_or(0, |array| array.iter().count());
    let all_read = written == args.len();
    let mut inputs = Vec::new();
    let tensors: Vec<&str> = args
        .iter()
        .filter(|written| !written.arg.scalar && written.arg.role.reads())
        .map(|written| written.arg.name.as_str())
        .collect();
    if let Some(table) = section.get("inputs").and_then(|entry| reader.table(entry, "`inputs`")) {
        for entry in table.entries() {
            known_arg(reader, entry, "input tensor", &tensors, all_read);
            let mut kinds = Vec::new();
            for text in reader.strings(entry).unwrap_or_default() {
                match InputKind::parse(&text.text) {
                    Some(kind) => kinds.push(kind),
                    None => {
                        let known: Vec<&str> = InputKind::ALL.iter().map(|kind| kind.name()).collect();
                        reader.unknown("kind of input", &text, &known);
                    }
                }
            }
            inputs.push((entry.key.to_owned(), kinds));
        }
    }
    let outputs: Vec<&str> = args
        .iter()
        .filter(|written| written.arg.role.writes())
        .map(|written| written.arg.name.as_str())
        .collect();
    let mut tolerances = Vec::new();
    if let Some(table) = section.get("tolerance").and_then(|entry| reader.table(entry, "`tolerance`")) {
        if table.entries().iter().any(|entry| matches!(entry.value, DeValue::Table(_))) {
            for entry in table.entries() {
                known_arg(reader, entry, "output", &outputs, all_read);
                if let Some(table) = reader.table(entry, "`tolerance`") {
                    tolerances.push((entry.key.to_owned(), tolerance(reader, &table)));
                }
            }
        } else {
            let all = tolerance(reader, &table);
            tolerances.extend(outputs.iter().map(|&output| (output.to_owned(), all)));
        }
    }
    (cases, inputs, tolerances)
}

/// Complains about a key that is none of these arguments, unless some arguments could not be read.
fn known_arg(reader: &mut Reader, entry: Entry<'_>, what: &'static str, known: &[&str], all_read: bool) {
    if all_read && !known.contains(&entry.key) {
        let close = crate::error::did_you_mean(entry.key, known.iter().copied()).map(str::to_owned);
        let known = known.iter().map(|&name| name.to_owned()).collect();
        reader.note(entry.key_span, Problem::UnknownName { what, name: entry.key.to_owned(), close, known });
    }
}

fn tolerance(reader: &mut Reader, section: &Section<'_>) -> Tolerance {
    reader.only(section, &["relative_l2", "max_relative", "max_absolute", "exact"]);
    let mut bound = |key| {
        let entry: Entry<'_> = section.get(key)?;
        let value = reader.number(entry)?;
        if !(value.is_finite() && value >= 0.0) {
            let problem = Problem::OutOfRange {
                key: key.to_owned(),
                value: value.to_string(),
                wanted: "a finite number of at least 0".into(),
            };
            reader.note(entry.span, problem);
            return None;
        }
        Some(value)
    };
    let mut tolerance = Tolerance {
        relative_l2: bound("relative_l2"),
        max_relative: bound("max_relative"),
        max_absolute: bound("max_absolute"),
        exact: false,
    };
    if let Some(entry) = section.get("exact") {
        tolerance.exact = reader.boolean(entry).unwrap_or_default();
    }
    tolerance
}

fn cases(reader: &mut Reader, entry: Entry<'_>, size_names: &[&str]) -> Vec<WrittenSizes> {
    let mut cases = Vec::new();
    for element in reader.list(entry, "a list of sizes, as in `[{ m = 3, n = 8 }]`").unwrap_or_default() {
        let Some(section) = reader.table(element, &format!("`{}`", entry.key)) else { continue };
        let mut values = Vec::new();
        for entry in section.entries() {
            if size_names.contains(&entry.key) {
                values
                    .extend(reader.integer(entry, 0).map(|value| (entry.key.to_owned(), entry.span, value)));
            } else {
                reader.undefined_size(entry.key_span, entry.key, size_names);
            }
        }
        cases.push(WrittenSizes { span: element.span, values });
    }
    cases
}

/// What `[better]` says, and where it stands.
struct Better {
    minimize: Minimize,
    over: Option<Vec<WrittenSizes>>,
    require: Vec<Requirement>,
    allow: Vec<Allowance>,
    span: Span,
}

/// `[better]`: minimize, over, require, allow.
fn better(reader: &mut Reader, root: &Section<'_>, size_names: &[&str]) -> Better {
    let default = Minimize::Metric(Metric::Time);
    let Some(section) = section(reader, root, "better", &["minimize", "over", "require", "allow"]) else {
        let span = Span::default();
        return Better { minimize: default, over: None, require: Vec::new(), allow: Vec::new(), span };
    };
    let minimize = section
        .get("minimize")
        .and_then(|entry| reader.string(entry))
        .and_then(|text| minimize(reader, &text));
    let over = section.get("over").map(|entry| {
        let over = cases(reader, entry, size_names);
        if over.is_empty() {
            let problem = Problem::OutOfRange {
                key: "over".into(),
                value: "[]".into(),
                wanted: "one case or more".into(),
            };
            reader.note(entry.span, problem);
        }
        over
    });
    let mut require = Vec::new();
    for text in section.get("require").and_then(|entry| reader.strings(entry)).unwrap_or_default() {
        match requirement(&text.text) {
            Ok(requirement) => require.push(requirement),
            Err(message) => reader.note(text.span, Problem::Requirement { message }),
        }
    }
    let mut allow = Vec::new();
    for text in section.get("allow").and_then(|entry| reader.strings(entry)).unwrap_or_default() {
        match Allowance::ALL.into_iter().find(|known| known.name() == text.text) {
            Some(known) => allow.push(known),
            None => reader.unknown("allowance", &text, &Allowance::ALL.map(Allowance::name)),
        }
    }
    Better { minimize: minimize.unwrap_or(default), over, require, allow, span: section.span }
}

fn metric_names() -> Vec<&'static str> {
    Metric::ALL.iter().map(|metric| metric.name()).collect()
}

fn minimize(reader: &mut Reader, text: &Text) -> Option<Minimize> {
    let expr = reader.expression(text)?;
    match &expr {
        SizeExpr::Size(name) => match Metric::parse(name) {
            Some(metric) => Some(Minimize::Metric(metric)),
            None => {
                reader.unknown("metric", text, &metric_names());
                None
            }
        },
        _ => {
            if let Some(unknown) = expr.names().into_iter().find(|name| Metric::parse(name).is_none()) {
                reader.unknown("metric", &Text { text: unknown, ..text.clone() }, &metric_names());
                return None;
            }
            Some(Minimize::Expression(expr))
        }
    }
}

/// `deterministic`, or `<metric> <= <number> <unit>`.
fn requirement(text: &str) -> Result<Requirement, String> {
    let text = text.trim();
    if text == "deterministic" {
        return Ok(Requirement::Deterministic);
    }
    let Some((left, right)) = text.split_once('<') else {
        let close = crate::error::did_you_mean(text, ["deterministic"])
            .map_or_else(String::new, |close| format!("; did you mean `{close}`?"));
        return Err(format!("`{text}` is neither `deterministic` nor a limit on a metric{close}"));
    };
    let metric = Metric::parse(left.trim()).ok_or_else(|| format!("there is no metric `{}`", left.trim()))?;
    let (right, strictly) = right.strip_prefix('=').map_or((right, 1), |right| (right, 0));
    let right = right.trim();
    let digits = right.find(|c: char| !(c.is_ascii_digit() || c == '_')).unwrap_or(right.len());
    let number: u64 = right[..digits]
        .replace('_', "")
        .parse()
        .map_err(|_| format!("`{right}` is not a whole number and a unit"))?;
    let units: &[(&str, u64)] = match metric {
        Metric::Workspace => &[
            ("", 1),
            ("B", 1),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("KB", 1000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
        ],
        Metric::Time => &[("ns", 1), ("us", 1000), ("ms", 1_000_000), ("s", 1_000_000_000)],
        Metric::Energy => &[("nJ", 1), ("uJ", 1000), ("mJ", 1_000_000), ("J", 1_000_000_000)],
        Metric::Registers => &[("", 1)],
    };
    let unit = right[digits..].trim();
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let known: Vec<String> =
            units.iter().filter(|(name, _)| !name.is_empty()).map(|(name, _)| format!("`{name}`")).collect();
        let known = if known.is_empty() {
            "it has none".to_owned()
        } else {
            format!("its units are {}", known.join(", "))
        };
        return Err(format!("`{unit}` is no unit of {metric}: {known}"));
    };
    let limit = number
        .checked_mul(*factor)
        .and_then(|limit| limit.checked_sub(strictly))
        .filter(|&limit| limit <= i64::MAX as u64);
    limit
        .map(|limit| Requirement::AtMost { metric, limit })
        .ok_or_else(|| format!("`{right}` is not possible or does not fit 63 bits"))
}

/// `[targets]`: arch.
fn targets(reader: &mut Reader, root: &Section<'_>) -> Vec<Arch> {
    let section = section(reader, root, "targets", &["arch"]);
    let Some(entry) = section.and_then(|section| section.get("arch")) else { return Arch::DEFAULT.to_vec() };
    let known: Vec<&str> = Arch::ALL.iter().map(|arch| arch.name()).collect();
    let mut targets = Vec::new();
    for text in reader.strings(entry).unwrap_or_default() {
        match Arch::parse(&text.text) {
            Some(arch) => targets.push(arch),
            None => reader.unknown("architecture", &text, &known),
        }
    }
    if entry.value.as_array().is_some_and(|array| array.iter().next().is_none()) {
        let problem = Problem::OutOfRange {
            key: "arch".into(),
            value: "[]".into(),
            wanted: "one architecture or more".into(),
        };
        reader.note(entry.span, problem);
    }
    targets.sort();
    targets
}

/// `[search]`: seed, seconds, candidates, hints.
fn search(reader: &mut Reader, root: &Section<'_>) -> Search {
    let Some(section) = section(reader, root, "search", &["seed", "seconds", "candidates", "hints"]) else {
        return Search::default();
    };
    let mut search = Search {
        seed: section.get("seed").and_then(|entry| reader.integer(entry, 0)),
        candidates: section.get("candidates").and_then(|entry| reader.integer(entry, 1)),
        ..Search::default()
    };
    if let Some(entry) = section.get("seconds") {
        search.seconds = reader.number(entry);
        if let Some(seconds) = search.seconds.filter(|seconds| !(seconds.is_finite() && *seconds > 0.0)) {
            let problem = Problem::OutOfRange {
                key: "seconds".into(),
                value: seconds.to_string(),
                wanted: "a finite number above 0".into(),
            };
            reader.note(entry.span, problem);
        }
    }
    if let Some(hints) = section.get("hints").and_then(|entry| reader.table(entry, "[search.hints]")) {
        for entry in hints.entries() {
            let value = match entry.value {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(integer) => integer.to_string(),
                DeValue::Float(float) => float.as_str().to_owned(),
                DeValue::Boolean(truth) => truth.to_string(),
                _ => {
                    reader.wrong_type(entry, "a string, a number or a truth value");
                    continue;
                }
            };
            search.hints.insert(entry.key.to_owned(), value);
        }
    }
    search
}
