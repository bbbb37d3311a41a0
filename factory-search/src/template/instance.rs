//! A configuration becomes a candidate.

use factory_spec::{
    Arch, BoundSpec, DType, LaunchPlan, MapBase, ParamPlan, Scratch, SizeExpr, SizeValues, Variant,
};

use super::Template;
use super::header::{Launch, Param};
use super::map;
use super::space::{Configuration, number};
use crate::candidate::{Candidate, Origin, OriginKind, TunableValue, Tunables};
use crate::compile::{CompileError, Compiled, Compiler, Unit};
use crate::verdict::Reason;

/// The name that candidates from templates carry.
pub(super) const PROPOSER: &str = "template";

/// A template with a value for everything that is not a size of the launch.
pub(super) struct Instance<'a> {
    template: &'a Template,
    spec: &'a BoundSpec,
    arch: Arch,
    values: Vec<(&'a str, &'a TunableValue, i64)>,
    baked: Vec<(&'a str, u64)>,
}

impl<'a> Instance<'a> {
    pub(super) fn new(
        template: &'a Template,
        spec: &'a BoundSpec,
        arch: Arch,
        configuration: &Configuration,
        over: Option<&SizeValues>,
    ) -> Self {
        let header = &template.header;
        let values = header
            .tunables
            .iter()
            .zip(configuration)
            .filter_map(|(tunable, &position)| {
                let value = tunable.values.get(usize::from(position))?;
                Some((tunable.name.as_str(), value, number(&tunable.values, value)))
            })
            .collect();
        let baked = header
            .bake
            .iter()
            .filter_map(|name| Some((name.value.as_str(), over?[spec.size_id(&name.value)?])))
            .collect();
        Self { template, spec, arch, values, baked }
    }

    /// The configuration in words, such as `VEC=4 THREADS=256`.
    pub(super) fn label(&self) -> String {
        self.values.iter().map(|(name, value, _)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    /// The values of the tunables.
    pub(super) fn tunables(&self) -> Tunables {
        self.values.iter().map(|(name, value, _)| ((*name).to_owned(), (*value).clone())).collect()
    }

    /// An expression with the tunables, words and baked sizes put in.
    fn put(&self, expression: &SizeExpr) -> SizeExpr {
        expression.substitute(&|name| {
            let tunable = self.values.iter().find(|(known, ..)| *known == name).map(|(_, _, number)| *number);
            let baked = || {
                self.baked
                    .iter()
                    .find(|(known, _)| *known == name)
                    .and_then(|(_, value)| i64::try_from(*value).ok())
            };
            let header = &self.template.header;
            tunable
                .or_else(baked)
                .or_else(|| header.word(name))
                .or_else(|| header.type_bytes(self.spec, name))
        })
    }

    /// The sizes that it claims to be right for.
    pub(super) fn when(&self) -> SizeExpr {
        let header = &self.template.header;
        let mut parts: Vec<SizeExpr> = Vec::new();
        for (name, value) in &self.baked {
            parts.push(SizeExpr::size(*name).eq(i64::try_from(*value).unwrap_or(i64::MAX)));
        }
        // A constraint on sizes says for which sizes a configuration is right, as `when` does.
        for expression in [&header.when].into_iter().chain(&header.constraints) {
            let part = self.put(&expression.value);
            if part.as_constant().is_none_or(|value| value == 0) {
                parts.push(part);
            }
        }
        parts.into_iter().reduce(SizeExpr::and).unwrap_or(SizeExpr::constant(1))
    }

    fn constants(&self, what: &str, of: &[super::header::Located<SizeExpr>; 3]) -> Result<[u32; 3], Reason> {
        let mut found = [1; 3];
        for (place, expression) in found.iter_mut().zip(of) {
            let value = self.put(&expression.value);
            *place = value.as_constant().and_then(|value| u32::try_from(value).ok()).ok_or_else(|| {
                Reason::Plan {
                    message: format!("the {what} is `{value}`, which is no number from 0 to 2^32 - 1"),
                }
            })?;
        }
        Ok(found)
    }

    fn launch(&self, launch: &Launch, entry: String) -> Result<LaunchPlan, Reason> {
        let params = launch.params.iter().map(|param| match &param.value {
            Param::Integer { value, bytes } => ParamPlan::Size { value: self.put(value), bytes: *bytes },
            Param::Map { over, map } => {
                let base = match self.spec.arg(over) {
                    Some(_) => MapBase::Arg(over.clone()),
                    None => MapBase::Scratch(over.clone()),
                };
                ParamPlan::TensorMap(Box::new(map::put(map, base, &|expression| self.put(expression))))
            }
            Param::Named(name) => match self.spec.arg(name) {
                Some(arg) if arg.scalar => ParamPlan::scalar(name.clone()),
                Some(_) => ParamPlan::pointer(name.clone()),
                None => ParamPlan::Scratch { name: name.clone() },
            },
        });
        let grid = [0, 1, 2].map(|axis| self.put(&launch.grid[axis].value));
        Ok(LaunchPlan {
            entry,
            grid,
            block: self.constants("block", &launch.block)?,
            cluster: self.constants("cluster", &launch.cluster)?,
            shared_bytes: self.put(&launch.shared.value),
            programmatic: launch.programmatic,
            params: params.collect(),
        })
    }

    fn entry(&self, launch: &Launch) -> String {
        self.expand(&launch.entry.value)
    }

    /// A C++ name expression with the macros put in: NVRTC does not expand them there.
    fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            if word == 0 {
                out.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            let name = &rest[..word];
            match self.defines().into_iter().find(|(known, _)| known == name) {
                Some((_, value)) => out.push_str(&value),
                None => out.push_str(name),
            }
            rest = &rest[word..];
        }
        out
    }

    fn defines(&self) -> Vec<(String, String)> {
        let mut defines: Vec<(String, String)> = Vec::new();
        for (name, value, _) in &self.values {
            defines.push(((*name).to_owned(), value.to_string()));
            if let TunableValue::Word(word) = value {
                defines.push((format!("{name}_{word}"), "1".to_owned()));
            }
        }
        for (name, value) in &self.baked {
            // Not the bare name: half of the toolkit's headers have something called `n`.
            defines.push((format!("SIZE_{name}"), value.to_string()));
        }
        for (name, arg) in &self.template.header.types {
            if let Some(arg) = self.spec.arg(arg) {
                defines.push((name.value.clone(), cpp_type(arg.dtype).to_owned()));
            }
        }
        defines
    }

    /// What is to be compiled.
    pub(super) fn unit(&self) -> Unit {
        let header = &self.template.header;
        let file = header
            .source
            .path()
            .file_name()
            .map_or_else(|| "template.cu".to_owned(), |name| name.to_string_lossy().into_owned());
        let mut expressions: Vec<String> = Vec::new();
        for launch in &header.launches {
            let entry = self.entry(launch);
            if !super::read::is_identifier(&entry) && !expressions.contains(&entry) {
                expressions.push(entry);
            }
        }
        Unit {
            file,
            shown: header.source.path().display().to_string(),
            source: header.source.text().to_owned(),
            headers: self.template.files.clone(),
            defines: self.defines(),
            flags: header.flags.clone(),
            arch: self.arch,
            expressions,
        }
    }

    /// Compiles it.
    pub(super) fn candidate(&self, compiler: &Compiler) -> Result<Candidate, Reason> {
        let header = &self.template.header;
        let unit = self.unit();
        // What no device takes need not be compiled.
        let mut launches = Vec::new();
        for launch in &header.launches {
            launches.push(self.launch(launch, String::new())?);
        }
        let alignment = self.put(&header.alignment.value);
        let alignment = alignment
            .as_constant()
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| value.is_power_of_two());
        let alignment = alignment.ok_or_else(|| Reason::Plan {
            message: format!(
                "`alignment` is `{}`, which is no power of two",
                self.put(&header.alignment.value)
            ),
        })?;
        let compiled = compiler.compile(&unit).map_err(|error| {
            let compiler = compiler.identity().to_owned();
            match error {
                CompileError::NotRun(message) => Reason::Infrastructure { message },
                CompileError::Limit(message) => Reason::CompileLimit { compiler, message },
                CompileError::Refused(message) => Reason::NotCompiled { compiler, message },
            }
        })?;
        let entries = entries(&compiled.ptx)?;
        for (launch, planned) in header.launches.iter().zip(&mut launches) {
            planned.entry = lowered(&self.entry(launch), &compiled, &entries)?;
        }
        let mut id = header.name.clone();
        for (name, value, _) in &self.values {
            id.push_str(&format!("-{name}{value}"));
        }
        for (name, value) in &self.baked {
            id.push_str(&format!("-{name}{value}"));
        }
        let scratch = header
            .scratch
            .iter()
            .map(|buffer| Scratch {
                name: buffer.name.value.clone(),
                bytes: self.put(&buffer.bytes.value),
                zero: buffer.zero,
            })
            .collect();
        let origin = Origin {
            kind: OriginKind::Template,
            source: Some(unit.source_digest()),
            compiler: Some(compiler.identity().to_owned()),
            flags: unit.options(),
        };
        let variant = Variant { name: id.clone(), when: self.when(), alignment, scratch, launches };
        Ok(Candidate {
            id,
            proposer: PROPOSER,
            tunables: self.tunables(),
            arch: self.arch,
            ptx: compiled.ptx,
            variant,
            origin,
            image: None,
        })
    }
}

/// The entries that a module defines.
fn entries(ptx: &str) -> Result<Vec<String>, Reason> {
    let module = factory_ptx::parse(ptx).map_err(|errors| match errors.errors.first() {
        Some(first) => Reason::NotPtx { line: first.span.line, message: first.problem.to_string() },
        None => Reason::NotPtx { line: 0, message: errors.to_string() },
    })?;
    Ok(module.entries().map(|entry| entry.name.clone()).collect())
}

/// The entry that a name or a name expression became: what the compiler told, the name itself where it is `extern "C"`,
/// else the one entry whose mangled name holds it.
fn lowered(entry: &str, compiled: &Compiled, entries: &[String]) -> Result<String, Reason> {
    if let Some(name) = compiled.names.get(entry) {
        return Ok(name.clone());
    }
    if entries.iter().any(|known| known == entry) {
        return Ok(entry.to_owned());
    }
    let base = entry.split('<').next().unwrap_or(entry);
    let base = base.rsplit("::").next().unwrap_or(base).trim();
    let part = format!("{}{base}", base.len());
    let holds = |name: &str| {
        name.starts_with("_Z")
            && name.match_indices(&part).any(|(at, _)| !name[..at].ends_with(|c: char| c.is_ascii_digit()))
    };
    let mut found = entries.iter().filter(|name| holds(name));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(Reason::EntryMissing { entry: entry.to_owned() }),
        (Some(_), Some(_)) => Err(Reason::Plan {
            message: format!(
                "`{entry}` may be several entries of the compiled source; write a kernel of its own for each launch, `extern \"C\"`"
            ),
        }),
    }
}

/// The C++ type of an element.
fn cpp_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "double",
        DType::F32 => "float",
        DType::F16 => "__half",
        DType::BF16 => "__nv_bfloat16",
        DType::F8E4M3 => "__nv_fp8_e4m3",
        DType::F8E5M2 => "__nv_fp8_e5m2",
        DType::I8 => "signed char",
        DType::U8 => "unsigned char",
        DType::I32 => "int",
        DType::U32 => "unsigned int",
        DType::I64 => "long long",
    }
}

/// Whether its condition holds for every size.
pub(super) fn serves_all(instance: &Instance<'_>) -> bool {
    instance.when().as_constant().is_some_and(|value| value != 0)
}

/// The constant that block and cluster must be, for checks that have no compiler.
pub(super) fn shape(instance: &Instance<'_>, launch: &Launch) -> Result<(), Reason> {
    instance.constants("block", &launch.block)?;
    instance.constants("cluster", &launch.cluster)?;
    Ok(())
}
