//! A fault for people, with the PTX line under a caret and the CUDA line that it came from, and for scripts.

use std::path::{Path, PathBuf};

use factory_ptx::ast::{Instruction, Span, Statement};
use factory_ptx::machine::{Fault, Kernel, Unsupported};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Severity};
use serde::Serialize;

use super::program::Program;

/// A fault as JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FaultFacts {
    /// `out_of_bounds`, `shared_race`, …
    pub(crate) kind: &'static str,
    pub(crate) detail: String,
    /// Line of the PTX file.
    pub(crate) line: u32,
    pub(crate) instruction: String,
    pub(crate) thread: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) address: Option<u64>,
    pub(crate) buffer: Option<String>,
    pub(crate) source: Option<SourceFacts>,
}

/// A place in the source that the PTX was compiled from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SourceFacts {
    pub(crate) file: String,
    pub(crate) line: u32,
    /// `file:line` of the call, for an inlined function.
    pub(crate) inlined_at: Option<String>,
    /// The line itself, when the file is there.
    pub(crate) text: Option<String>,
}

impl SourceFacts {
    pub(crate) fn new(source: &factory_ptx::machine::Source, ptx: &Path) -> SourceFacts {
        SourceFacts {
            file: source.file.to_string(),
            line: source.line,
            inlined_at: source.inlined_at.as_ref().map(|(file, line)| format!("{file}:{line}")),
            text: line_of(&source.file, source.line, ptx),
        }
    }

    fn place(&self) -> String {
        let inlined = self.inlined_at.as_ref().map(|at| format!(" (inlined at {at})")).unwrap_or_default();
        format!("{}:{}{inlined}", self.file, self.line)
    }
}

/// A line of a source file that lies where the compiler saw it, or beside the PTX.
fn line_of(file: &str, line: u32, ptx: &Path) -> Option<String> {
    let named = PathBuf::from(file);
    let beside = ptx.parent().map(|folder| folder.join(named.file_name().unwrap_or_default()));
    let text = [Some(named), beside].into_iter().flatten().find_map(|path| std::fs::read(path).ok())?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().nth(line.checked_sub(1)? as usize)?.trim();
    Some(line.chars().take(160).collect())
}

impl FaultFacts {
    pub(crate) fn new(fault: &Fault, kernel: &Kernel, program: &Program) -> FaultFacts {
        FaultFacts {
            kind: fault.kind.name(),
            detail: fault.detail.clone(),
            line: fault.line,
            instruction: fault.instruction.clone(),
            thread: fault.thread,
            block: fault.block,
            address: fault.address,
            buffer: fault.buffer.clone(),
            source: kernel.source(fault.line).map(|source| SourceFacts::new(source, &program.path)),
        }
    }

    /// The fault with its excerpt, as text.
    pub(crate) fn render(&self, program: &Program, seeds: &str) -> String {
        let three = |[x, y, z]: [u32; 3]| format!("({x}, {y}, {z})");
        let mut help = format!("thread {} of block {}{seeds}", three(self.thread), three(self.block));
        if let Some(address) = self.address {
            help.push_str(&format!("\naddress {address:#x}"));
            if let Some(buffer) = &self.buffer {
                help.push_str(&format!(" in or next to `{buffer}`"));
            }
        }
        if let Some(source) = &self.source {
            help.push_str(&format!("\nfrom {}", source.place()));
            if let Some(text) = &source.text {
                help.push_str(&format!("\n    {} | {text}", source.line));
            }
        }
        let span = find(program, self.line, &self.instruction);
        draw(program, format!("{}: {}", self.kind, self.detail), span, help)
    }
}

/// A form that the machine does not run, with its excerpt.
pub(crate) fn render_unsupported(program: &Program, error: &Unsupported) -> String {
    let span = find(program, error.line, "");
    let help = format!("running it would need {}", error.needs);
    draw(program, format!("the machine does not run `{}`", error.form), span, help)
}

fn draw(program: &Program, message: String, span: Option<Span>, help: String) -> String {
    let mut diagnostic = MietteDiagnostic::new(message).with_severity(Severity::Error).with_help(help);
    if let Some(span) = span {
        let place = span.offset as usize..(span.offset + span.len) as usize;
        diagnostic = diagnostic.with_label(LabeledSpan::new_primary_with_span(None, place));
    }
    let name = program.path.to_string_lossy();
    let report =
        miette::Report::new(diagnostic).with_source_code(NamedSource::new(name, program.text.clone()));
    let mut text = String::new();
    // Plain characters without colour: it goes into logs, and scripts read it.
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(120);
    match handler.render_report(&mut text, report.as_ref()) {
        Ok(()) => text,
        Err(_) => report.to_string(),
    }
}

/// The place of an instruction: that on the line which reads so, or the line's first.
fn find(program: &Program, line: u32, text: &str) -> Option<Span> {
    let mut found: Vec<&Instruction> = Vec::new();
    for function in program.module.functions() {
        collect(function.body.as_deref().unwrap_or_default(), line, &mut found, 0);
    }
    let same = found.iter().find(|instruction| instruction.to_string() == text);
    let span = same.or(found.first()).map(|instruction| instruction.span)?;
    let end = (span.offset as usize).checked_add(span.len as usize)?;
    (end <= program.text.len() && program.text.is_char_boundary(span.offset as usize)).then_some(span)
}

fn collect<'m>(statements: &'m [Statement], line: u32, found: &mut Vec<&'m Instruction>, depth: usize) {
    for statement in statements {
        match statement {
            Statement::Block(inner) if depth < 64 => collect(inner, line, found, depth + 1),
            Statement::Instruction(instruction) if line > 0 && instruction.span.line == line => {
                found.push(instruction);
            }
            _ => {}
        }
    }
}
