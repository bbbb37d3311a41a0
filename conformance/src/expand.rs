//! Expansion of the tables in `forms/`.
//!
//! A line is `TEMPLATE : OUTPUTS = INPUTS @ BOUND`, the bound only for approximate forms. `(a|b)` in it stands for two
//! lines, one with `a` and one with `b`; `(T:a|b)` gives the choice a name, and `(T)` repeats it; `(T,W:a,x|b,y)` chooses
//! two things together (`&` stands for a comma inside). A template without `$` gets its operands in order.
//! In a template `$0`, `$1`, … are the inputs and `$x0`, `$x1`, … the outputs; `$m` is the address of 32 bytes of global
//! memory of the thread's own, `$s` of shared memory (`$S` in 64 bits), `$l` of local memory, and `$i` where its first input lies.

/// One expanded line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) template: String,
    pub(crate) outputs: Vec<String>,
    pub(crate) inputs: Vec<String>,
    pub(crate) bound: Option<String>,
}

/// All lines of a table. A malformed line of our own tables is a bug, and says so.
pub(crate) fn expand(table: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut open = vec![line.to_owned()];
        while let Some(line) = open.pop() {
            match alternatives(&line) {
                Some(several) => open.extend(several.into_iter().rev()),
                None => lines.push(parse(&line)),
            }
        }
    }
    lines
}

/// The lines that the first choice of a line stands for; `None` when it has no choice left.
fn alternatives(line: &str) -> Option<Vec<String>> {
    let start = line.find('(')?;
    let end = start + line[start..].find(')').unwrap_or_else(|| panic!("`{line}` closes its parentheses"));
    let inside = &line[start + 1..end];
    let (names, choices) = match inside.split_once(':') {
        Some((names, choices)) if names.chars().all(|c| c.is_ascii_uppercase() || c == ',') => {
            (names.split(',').collect::<Vec<_>>(), choices)
        }
        _ => (Vec::new(), inside),
    };
    let several = choices.split('|').map(|choice| {
        let mut rest = line[end + 1..].to_owned();
        let mut parts: Vec<&str> = if names.len() > 1 { choice.split(',').collect() } else { vec![choice] };
        parts.resize(names.len().max(1), "");
        for (name, part) in names.iter().zip(&parts) {
            rest = rest.replace(&format!("({name})"), &part.replace('&', ","));
        }
        format!("{}{}{rest}", &line[..start], parts[0].replace('&', ","))
    });
    Some(several.collect())
}

fn parse(line: &str) -> Line {
    let (rest, bound) = match line.split_once(" @ ") {
        Some((rest, bound)) => (rest, Some(bound.trim().to_owned())),
        None => (line, None),
    };
    let (template, signature) =
        rest.rsplit_once(" : ").unwrap_or_else(|| panic!("`{line}` says its types after ` : `"));
    let (outputs, inputs) =
        signature.split_once('=').unwrap_or_else(|| panic!("`{line}` says its types with `=`"));
    let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    Line { template: template.trim().to_owned(), outputs: list(outputs), inputs: list(inputs), bound }
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn choices_multiply_and_names_repeat() {
        let lines = expand("add(|.sat).(T,W:u16,u32|s16,s32) : (T) = (T) (W)\n# nothing\n");
        let texts: Vec<String> = lines
            .iter()
            .map(|line| format!("{} {:?} {:?}", line.template, line.outputs, line.inputs))
            .collect();
        assert_eq!(texts.len(), 4);
        assert_eq!(texts[0], r#"add.u16 ["u16"] ["u16", "u32"]"#);
        assert_eq!(texts[3], r#"add.sat.s16 ["s16"] ["s16", "s32"]"#);
    }
}
