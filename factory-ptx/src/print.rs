//! Tree to text, laid out as nvcc lays it out. What is printed parses to an equal tree.

use std::fmt::{self, Display, Formatter, Write};

use crate::ast::*;

/// Writes elements with a separator between them.
fn join<T>(
    f: &mut Formatter<'_>,
    elements: &[T],
    separator: &str,
    mut write: impl FnMut(&T, &mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (position, element) in elements.iter().enumerate() {
        if position > 0 {
            f.write_str(separator)?;
        }
        write(element, f)?;
    }
    Ok(())
}

/// `+8` or `+-8`, as nvcc writes offsets.
fn offset(f: &mut Formatter<'_>, offset: i64) -> fmt::Result {
    write!(f, "+{offset}")
}

fn indent(f: &mut Formatter<'_>, depth: usize) -> fmt::Result {
    (0..depth).try_for_each(|_| f.write_char('\t'))
}

impl Display for Module {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, ".version {}.{}", self.version.0, self.version.1)?;
        if !self.target.is_empty() {
            writeln!(f, ".target {}", self.target.join(", "))?;
        }
        writeln!(f, ".address_size {}\n", self.address_size)?;
        for item in &self.items {
            match item {
                Item::Function(function) => writeln!(f, "{function}")?,
                Item::Variable(variable) => writeln!(f, "{variable};")?,
                Item::Directive(directive) => writeln!(f, "{directive}")?,
            }
        }
        Ok(())
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(linking) = self.linking {
            write!(f, ".{} ", linking.name())?;
        }
        f.write_str(match self.kind {
            FunctionKind::Entry => ".entry ",
            FunctionKind::Func => ".func ",
        })?;
        attributes(f, &self.attributes)?;
        if !self.returns.is_empty() {
            parameters(f, &self.returns, false)?;
            f.write_char(' ')?;
        }
        f.write_str(&self.name)?;
        parameters(f, &self.params, !self.params.is_empty())?;
        function_directives(f, &self.directives, "\n")?;
        match &self.body {
            None => f.write_str(";"),
            Some(statements) => {
                f.write_str("\n{\n")?;
                block(f, statements, 1)?;
                f.write_str("}")
            }
        }
    }
}

fn parameters(f: &mut Formatter<'_>, parameters: &[Variable], lines: bool) -> fmt::Result {
    f.write_str(if lines { "(\n\t" } else { "(" })?;
    join(f, parameters, if lines { ",\n\t" } else { ", " }, |parameter, f| write!(f, "{parameter}"))?;
    f.write_str(if lines { "\n)" } else { ")" })
}

fn function_directives(f: &mut Formatter<'_>, directives: &[FunctionDirective], before: &str) -> fmt::Result {
    directives.iter().try_for_each(|directive| write!(f, "{before}{directive}"))
}

fn strings(f: &mut Formatter<'_>, words: &[String]) -> fmt::Result {
    f.write_str(".pragma ")?;
    join(f, words, ", ", |word, f| write!(f, "\"{word}\""))?;
    f.write_char(';')
}

impl Display for FunctionDirective {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        use FunctionDirective as D;
        let extents = |f: &mut Formatter<'_>, name: &str, values: &[u32]| {
            write!(f, ".{name} ")?;
            join(f, values, ", ", |value, f| write!(f, "{value}"))
        };
        match self {
            D::MaxNTid(values) => extents(f, "maxntid", values),
            D::ReqNTid(values) => extents(f, "reqntid", values),
            D::ReqNCtaPerCluster(values) => extents(f, "reqnctapercluster", values),
            D::MinNCtaPerSm(value) => write!(f, ".minnctapersm {value}"),
            D::MaxNCtaPerSm(value) => write!(f, ".maxnctapersm {value}"),
            D::MaxNReg(value) => write!(f, ".maxnreg {value}"),
            D::MaxClusterRank(value) => write!(f, ".maxclusterrank {value}"),
            D::AbiPreserve(value) => write!(f, ".abi_preserve {value}"),
            D::AbiPreserveControl(value) => write!(f, ".abi_preserve_control {value}"),
            D::NoReturn => f.write_str(".noreturn"),
            D::ExplicitCluster => f.write_str(".explicitcluster"),
            D::BlocksAreClusters => f.write_str(".blocksareclusters"),
            D::Pragma(words) => strings(f, words),
        }
    }
}

fn attributes(f: &mut Formatter<'_>, attributes: &[Attribute]) -> fmt::Result {
    if attributes.is_empty() {
        return Ok(());
    }
    f.write_str(".attribute(")?;
    join(f, attributes, ", ", |attribute, f| match attribute {
        Attribute::Managed => f.write_str(".managed"),
        Attribute::Unified(high, low) => write!(f, ".unified({high}, {low})"),
    })?;
    f.write_str(") ")
}

impl Display for Variable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(linking) = self.linking {
            write!(f, ".{} ", linking.name())?;
        }
        write!(f, ".{} ", self.space.name())?;
        attributes(f, &self.attributes)?;
        if let Some(align) = self.align {
            write!(f, ".align {align} ")?;
        }
        if let Some(vector) = self.vector {
            write!(f, ".v{vector} ")?;
        }
        write!(f, ".{} ", self.ty)?;
        if let Some(pointer) = self.pointer {
            f.write_str(".ptr ")?;
            if let Some(space) = pointer.space {
                write!(f, ".{} ", space.name())?;
            }
            if let Some(align) = pointer.align {
                write!(f, ".align {align} ")?;
            }
        }
        f.write_str(&self.name)?;
        if let Some(range) = self.range {
            write!(f, "<{range}>")?;
        }
        for dimension in &self.array {
            match dimension {
                Some(dimension) => write!(f, "[{dimension}]")?,
                None => f.write_str("[]")?,
            }
        }
        match &self.init {
            Some(init) => write!(f, " = {init}"),
            None => Ok(()),
        }
    }
}

impl Display for Initializer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Initializer::List(elements) => {
                f.write_char('{')?;
                join(f, elements, ", ", |element, f| write!(f, "{element}"))?;
                f.write_char('}')
            }
            Initializer::Integer(value) => write!(f, "{value}"),
            Initializer::F32(bits) => write!(f, "0f{bits:08X}"),
            Initializer::F64(bits) => write!(f, "0d{bits:016X}"),
            Initializer::Symbol { name, offset: by, generic } => {
                if *generic {
                    write!(f, "generic({name})")?;
                } else {
                    f.write_str(name)?;
                }
                if *by != 0 { offset(f, *by) } else { Ok(()) }
            }
            Initializer::Mask { mask, symbol } => write!(f, "{mask:#x}({symbol})"),
        }
    }
}

/// Statements, one a line; labels stand at the margin.
fn block(f: &mut Formatter<'_>, statements: &[Statement], depth: usize) -> fmt::Result {
    for statement in statements {
        match statement {
            Statement::Label(name, _) => writeln!(f, "{name}:")?,
            Statement::Block(inner) => {
                indent(f, depth)?;
                f.write_str("{\n")?;
                block(f, inner, depth + 1)?;
                indent(f, depth)?;
                f.write_str("}\n")?;
            }
            Statement::Variable(variable) => {
                indent(f, depth)?;
                writeln!(f, "{variable};")?;
            }
            Statement::Instruction(instruction) => {
                indent(f, depth)?;
                writeln!(f, "{instruction}")?;
            }
            Statement::Directive(directive) => {
                indent(f, depth)?;
                writeln!(f, "{directive}")?;
            }
        }
    }
    Ok(())
}

impl Display for Instruction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(guard) = &self.guard {
            write!(f, "@{}{} ", if guard.negated { "!" } else { "" }, guard.register)?;
        }
        f.write_str(&self.opcode)?;
        for modifier in &self.modifiers {
            f.write_char('.')?;
            f.write_str(modifier)?;
        }
        if !self.operands.is_empty() {
            f.write_char(' ')?;
            join(f, &self.operands, ", ", |operand, f| write!(f, "{operand}"))?;
        }
        f.write_char(';')
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let list = |f: &mut Formatter<'_>, open: char, elements: &[Operand], close: char| {
            f.write_char(open)?;
            join(f, elements, ", ", |element, f| write!(f, "{element}"))?;
            f.write_char(close)
        };
        match self {
            Operand::Name(name) => f.write_str(name),
            Operand::Integer(value) => write!(f, "{value}"),
            Operand::F32(bits) => write!(f, "0f{bits:08X}"),
            Operand::F64(bits) => write!(f, "0d{bits:016X}"),
            Operand::Address { base: AddressBase::Name(name), offset: 0 } => write!(f, "[{name}]"),
            Operand::Address { base: AddressBase::Name(name), offset } => write!(f, "[{name}+{offset}]"),
            Operand::Address { base: AddressBase::Absolute, offset } => write!(f, "[{offset}]"),
            Operand::TensorAddress(parts) => list(f, '[', parts, ']'),
            Operand::Vector(elements) => list(f, '{', elements, '}'),
            Operand::Pair(first, second) => write!(f, "{first}|{second}"),
            Operand::Not(inner) => write!(f, "!{inner}"),
            Operand::Group(elements) => list(f, '(', elements, ')'),
            Operand::Discard => f.write_char('_'),
            Operand::SymbolOffset { name, offset } => write!(f, "{name}+{offset}"),
            Operand::Element { name, index } => write!(f, "{name}[{index}]"),
        }
    }
}

impl Display for Directive {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Directive::File { index, name, stamp } => {
                write!(f, ".file {index} \"{name}\"")?;
                match stamp {
                    Some((time, size)) => write!(f, ", {time}, {size}"),
                    None => Ok(()),
                }
            }
            Directive::Loc(location) => {
                write!(f, ".loc {} {} {}", location.file, location.line, location.column)?;
                let Some(inlined) = &location.inlined else { return Ok(()) };
                write!(f, ", function_name {}", inlined.function)?;
                if inlined.offset != 0 {
                    offset(f, inlined.offset)?;
                }
                let (file, line, column) = inlined.at;
                write!(f, ", inlined_at {file} {line} {column}")
            }
            Directive::Section { name, lines } => {
                writeln!(f, ".section {name}\n{{")?;
                for line in lines {
                    match line {
                        SectionLine::Label(label) => writeln!(f, "{label}:")?,
                        SectionLine::Data { ty, values } => {
                            write!(f, "\t.{ty} ")?;
                            join(f, values, ", ", |value, f| write!(f, "{value}"))?;
                            f.write_char('\n')?;
                        }
                    }
                }
                f.write_char('}')
            }
            Directive::Pragma(words) => strings(f, words),
            Directive::BranchTargets { label, targets, .. } => {
                write!(f, "{label}: .branchtargets {};", targets.join(", "))
            }
            Directive::CallTargets { label, targets, .. } => {
                write!(f, "{label}: .calltargets {};", targets.join(", "))
            }
            Directive::CallPrototype(prototype) => {
                write!(f, "{}: .callprototype ", prototype.label)?;
                if !prototype.returns.is_empty() {
                    parameters(f, &prototype.returns, false)?;
                    f.write_char(' ')?;
                }
                f.write_str("_ ")?;
                parameters(f, &prototype.params, false)?;
                function_directives(f, &prototype.directives, " ")?;
                f.write_char(';')
            }
            Directive::Alias { name, target, .. } => write!(f, ".alias {name}, {target};"),
        }
    }
}

impl Display for SectionValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            SectionValue::Integer(value) => write!(f, "{value}"),
            SectionValue::Symbol(name, 0) => f.write_str(name),
            SectionValue::Symbol(name, by) => {
                f.write_str(name)?;
                offset(f, *by)
            }
            SectionValue::Difference(name, other) => write!(f, "{name}-{other}"),
        }
    }
}
