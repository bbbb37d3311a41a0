//! PTX does nothing that an honest kernel has no use for.
//!
//! This is an allowlist: what is not known to be harmless is refused. It looks at the parsed tree, so spelling does not
//! matter. What it cannot see (an address that is computed out of thin air, a branch that only some input takes) is the
//! machine's and the device gate's to find; this gate removes the means of telling one launch from another, of keeping
//! something for the next one, and of holding data in a cache across the timer's flush (reads that do, where the spec allows it,
//! are the clock's to deal with).

use std::collections::{BTreeMap, BTreeSet};

use factory_ptx::ast::{
    AddressBase, Directive, Function, FunctionKind, Instruction, Item, Linking, Module, Operand, Space,
    Statement, Type, Variable,
};

use factory_spec::Allowance;

use crate::verdict::{Gate, Reason, Rejection};

/// Opcodes that may occur. Some are looked at more closely below.
const OPCODES: &[&str] = &[
    // Integer, logic, moves.
    "abs",
    "add",
    "addc",
    "and",
    "bfe",
    "bfi",
    "bfind",
    "bmsk",
    "brev",
    "clz",
    "cnot",
    "div",
    "dp2a",
    "dp4a",
    "fns",
    "lop3",
    "mad",
    "mad24",
    "madc",
    "max",
    "min",
    "mov",
    "mul",
    "mul24",
    "neg",
    "not",
    "or",
    "popc",
    "prmt",
    "rem",
    "sad",
    "selp",
    "set",
    "setp",
    "shf",
    "shl",
    "shr",
    "slct",
    "sub",
    "subc",
    "szext",
    "xor",
    // Floating point.
    "copysign",
    "cos",
    "cvt",
    "ex2",
    "fma",
    "lg2",
    "rcp",
    "rsqrt",
    "sin",
    "sqrt",
    "tanh",
    "testp",
    // Memory.
    "atom",
    "cp",
    "createpolicy",
    "cvta",
    "fence",
    // Where it may stand is for `dependent` to say, which knows the plan.
    "griddepcontrol",
    "isspacep",
    "ld",
    "ldmatrix",
    "ldu",
    "mapa",
    "getctarank",
    "membar",
    "movmatrix",
    "red",
    "st",
    "stmatrix",
    // Control, warps, barriers.
    "activemask",
    "bar",
    "barrier",
    "bra",
    "brx",
    "call",
    "elect",
    "exit",
    "match",
    "mbarrier",
    "redux",
    "ret",
    "setmaxnreg",
    "shfl",
    "vote",
    // Tensor cores.
    "mma",
    "tcgen05",
    "wgmma",
    "wmma",
];

/// Opcodes that are refused for a reason worth telling; every other unknown one is just not on the list.
const REFUSED: &[(&str, &str)] = &[
    ("trap", "an honest kernel has nothing to stop for"),
    ("brkpt", "it stops for a debugger"),
    ("pmevent", "it talks to a profiler"),
    ("nanosleep", "it waits for time to pass"),
    ("prefetch", "it may warm a cache for the next launch"),
    ("prefetchu", "it may warm a cache for the next launch"),
    ("applypriority", "it changes what stays in a cache across launches"),
    ("discard", "it drops data that others wrote"),
    ("alloca", "it allocates stack whose size is not known"),
    ("multimem", "the plan passes no multicast memory"),
];

/// Special registers that may be read: where a thread is in its launch, and nothing about when or where that runs.
const REGISTERS: &[&str] = &[
    "%tid",
    "%ntid",
    "%ctaid",
    "%nctaid",
    "%laneid",
    "%lanemask_eq",
    "%lanemask_le",
    "%lanemask_lt",
    "%lanemask_ge",
    "%lanemask_gt",
    "%clusterid",
    "%nclusterid",
    "%cluster_ctaid",
    "%cluster_nctaid",
    "%cluster_ctarank",
    "%cluster_nctarank",
    "%is_explicit_cluster",
    "%total_smem_size",
    "%aggr_smem_size",
    "%dynamic_smem_size",
];

/// Why a special register that is not on the list is refused.
fn register_reason(base: &str) -> &'static str {
    if base.starts_with("%clock") || base.starts_with("%globaltimer") {
        "it tells the time"
    } else if base == "%gridid" {
        "it tells one launch from another"
    } else if base.starts_with("%pm") || base.starts_with("%envreg") {
        "it is set from outside the plan"
    } else if matches!(base, "%smid" | "%nsmid" | "%warpid" | "%nwarpid") {
        "it tells where on the device a thread runs, which may change at any time"
    } else {
        "it is not on the list of registers that a kernel needs"
    }
}

const EVICT_LAST: &str = "L2::evict_last";

/// Modifiers that are refused on whatever instruction they stand.
const MODIFIERS: &[(&str, &str)] =
    &[(EVICT_LAST, "it keeps data in L2 across launches"), ("mmio", "the plan passes no device registers")];

/// Checks a module against the allowlist, and against what its spec allows besides.
///
/// # Errors
/// The first thing that is not on it.
pub fn policy(module: &Module, allow: &[Allowance]) -> Result<(), Rejection> {
    inspect(module, allow).map_err(|reason| Rejection::new(Gate::Policy, reason))
}

fn inspect(module: &Module, allow: &[Allowance]) -> Result<(), Reason> {
    let defined: BTreeSet<&str> = module
        .functions()
        .filter(|function| function.body.is_some())
        .map(|function| function.name.as_str())
        .collect();
    let mut constants = 0u64;
    for item in &module.items {
        match item {
            Item::Variable(variable) => {
                check_variable(variable)?;
                check_module_variable(variable, &mut constants)?;
            }
            Item::Function(function) => {
                let outside = matches!(function.linking, Some(Linking::Extern | Linking::Common));
                if outside || !defined.contains(function.name.as_str()) {
                    return Err(Reason::External { name: function.name.clone(), line: function.span.line });
                }
            }
            Item::Directive(Directive::Alias { name, span, .. }) => {
                return Err(Reason::External { name: name.clone(), line: span.line });
            }
            Item::Directive(_) => {}
        }
    }
    let constants: BTreeMap<String, u64> = module
        .variables()
        .filter(|variable| variable.space == Space::Const)
        .filter_map(|variable| Some((variable.name.clone(), variable.size()?)))
        .collect();
    let mut variables = Names::default();
    for variable in module.variables() {
        variables.add(variable);
    }
    for function in module.functions() {
        let Some(body) = &function.body else { continue };
        let mut names = variables.clone();
        names.parameters = function.params.iter().map(|param| (param.name.clone(), param.size())).collect();
        for param in function.params.iter().chain(&function.returns) {
            names.add(param);
        }
        collect(body, &mut names);
        let policies = cache_policies(function, body);
        let context = Context {
            function,
            names: &names,
            defined: &defined,
            policies: &policies,
            constants: &constants,
            keeps: allow.contains(&Allowance::L2EvictLast),
        };
        statements(body, &context)?;
    }
    Ok(())
}

/// A variable may not outlive a launch or carry data into it.
fn check_variable(variable: &Variable) -> Result<(), Reason> {
    let refuse = |why: &'static str| {
        Err(Reason::ModuleVariable {
            name: variable.name.clone(),
            space: variable.space.name().to_owned(),
            line: variable.span.line,
            why: why.into(),
        })
    };
    match variable.space {
        Space::Reg | Space::Local | Space::Param => Ok(()),
        // `.extern .shared` is how dynamic shared memory is named.
        Space::Shared if variable.init.is_none() => Ok(()),
        Space::Shared => refuse("shared memory has no initial value"),
        Space::Global => refuse("it outlives a launch, so that one launch can leave something to the next"),
        Space::Const if matches!(variable.linking, Some(Linking::Extern | Linking::Common)) => {
            refuse("it is filled from outside the plan")
        }
        // A table of coefficients is harmless, a table of answers is not: the limit keeps it to a few coefficients.
        Space::Const if variable.init.is_none() => refuse("it is filled from outside the plan"),
        Space::Const if variable.size().is_none_or(|bytes| bytes > CONST_LIMIT) => {
            refuse("it holds more than 256 bytes of data; a kernel's data are its arguments")
        }
        Space::Const => Ok(()),
        Space::Sreg | Space::Tex => refuse("no kernel needs this space"),
    }
}

/// Bytes of constants that one table may hold, and all of a module together.
const CONST_LIMIT: u64 = 256;
const ALL_CONSTANTS: u64 = 1024;

/// At module scope only shared memory and constants are known to end with the launch. Many small tables are one large one.
fn check_module_variable(variable: &Variable, constants: &mut u64) -> Result<(), Reason> {
    let why = match variable.space {
        Space::Const => {
            *constants = constants.saturating_add(variable.size().unwrap_or(u64::MAX));
            if *constants <= ALL_CONSTANTS {
                return Ok(());
            }
            "the constants of a module are more than 1024 bytes; a kernel's data are its arguments"
        }
        Space::Shared => return Ok(()),
        _ => "only shared memory and constants are declared outside functions",
    };
    Err(Reason::ModuleVariable {
        name: variable.name.clone(),
        space: variable.space.name().to_owned(),
        line: variable.span.line,
        why: why.into(),
    })
}

/// A register that is named like a special one would be read as one thing here and as another by an assembler.
fn check_register(variable: &Variable) -> Result<(), Reason> {
    let base = variable.name.trim_end_matches(|c: char| c.is_ascii_digit());
    let names = [variable.name.as_str(), base];
    let special = names.iter().any(|name| REGISTERS.contains(name) || SPECIAL.contains(name));
    if variable.space != Space::Reg || !special {
        return Ok(());
    }
    Err(Reason::SpecialRegister {
        register: variable.name.clone(),
        line: variable.span.line,
        why: "a declared register may not have the name of a special one".into(),
    })
}

/// Special registers that are not on the list of those that may be read, without the digits at the end.
const SPECIAL: &[&str] = &[
    "%clock",
    "%clock_hi",
    "%globaltimer",
    "%globaltimer_lo",
    "%globaltimer_hi",
    "%gridid",
    "%smid",
    "%nsmid",
    "%warpid",
    "%nwarpid",
    "%envreg",
    "%pm",
    "%current_graph_exec",
];

/// What names mean inside one function.
#[derive(Clone, Default)]
struct Names {
    registers: BTreeSet<String>,
    /// `%r<10>` as `("%r", 10)`.
    ranges: Vec<(String, u32)>,
    /// Everything that has an address.
    variables: BTreeSet<String>,
    /// Parameters of the function with their sizes.
    parameters: Vec<(String, Option<u64>)>,
}

impl Names {
    fn add(&mut self, variable: &Variable) {
        match (variable.space, variable.range) {
            (Space::Reg, Some(count)) => self.ranges.push((variable.name.clone(), count)),
            (Space::Reg, None) => {
                self.registers.insert(variable.name.clone());
            }
            _ => {
                self.variables.insert(variable.name.clone());
            }
        }
    }

    fn is_register(&self, name: &str) -> bool {
        let base = whole(name);
        self.registers.contains(base)
            || self.ranges.iter().any(|(prefix, count)| {
                base.strip_prefix(prefix.as_str())
                    .and_then(|number| number.parse::<u32>().ok())
                    .is_some_and(|number| number < *count)
            })
    }
}

/// The register of a name: `%v.x` is a part of the vector register `%v`.
fn whole(name: &str) -> &str {
    name.split_once('.').map_or(name, |(base, _)| base)
}

fn collect(body: &[Statement], names: &mut Names) {
    for statement in body {
        match statement {
            Statement::Variable(variable) => names.add(variable),
            Statement::Block(inner) => collect(inner, names),
            _ => {}
        }
    }
}

/// Registers of a function that hold a cache policy made by `createpolicy` and by nothing else, and whether it may be `evict_last`.
/// A part of a vector is another name for a register, a parameter comes from whoever calls, and a guard may leave what was there:
/// of none of those is known what it holds.
fn cache_policies(function: &Function, body: &[Statement]) -> BTreeMap<String, bool> {
    fn walk(body: &[Statement], visit: &mut dyn FnMut(&Instruction)) {
        for statement in body {
            match statement {
                Statement::Block(inner) => walk(inner, visit),
                Statement::Instruction(instruction) => visit(instruction),
                _ => {}
            }
        }
    }
    let mut made: BTreeMap<String, bool> = BTreeMap::new();
    let passed = function.params.iter().chain(&function.returns);
    let mut other: BTreeSet<String> = passed.map(|variable| variable.name.clone()).collect();
    walk(body, &mut |instruction| {
        if let Some(Operand::Name(target)) = instruction.operands.first() {
            let known = whole(target) == target && instruction.guard.is_none();
            if instruction.opcode == "createpolicy" && known {
                *made.entry(target.clone()).or_default() |= instruction.has(EVICT_LAST);
            } else {
                other.insert(whole(target).to_owned());
            }
        }
        // Vector loads and calls write several registers.
        for operand in &instruction.operands {
            if let Operand::Vector(parts) | Operand::Group(parts) = operand {
                let names = parts.iter().filter_map(|part| match part {
                    Operand::Name(name) => Some(whole(name).to_owned()),
                    _ => None,
                });
                other.extend(names);
            }
        }
    });
    made.retain(|name, _| !other.contains(name));
    made
}

struct Context<'a> {
    function: &'a Function,
    names: &'a Names,
    defined: &'a BTreeSet<&'a str>,
    policies: &'a BTreeMap<String, bool>,
    /// Constants of the module with their sizes.
    constants: &'a BTreeMap<String, u64>,
    /// Whether what is read may stay in the L2 before what is written.
    keeps: bool,
}

impl Context<'_> {
    /// Whether the name is a parameter of the entry that holds one number.
    fn is_plain_parameter(&self, name: &str) -> bool {
        self.function.kind == FunctionKind::Entry
            && self.function.params.iter().any(|param| param.name == name && param.array.is_empty())
            && !self.names.registers.contains(name)
    }
}

fn statements(body: &[Statement], context: &Context<'_>) -> Result<(), Reason> {
    for statement in body {
        match statement {
            Statement::Block(inner) => statements(inner, context)?,
            Statement::Variable(variable) => {
                check_variable(variable)?;
                check_register(variable)?;
            }
            Statement::Instruction(instruction) => check_instruction(instruction, context)?,
            Statement::Directive(Directive::CallTargets { targets, span, .. }) => {
                if let Some(name) = targets.iter().find(|name| !context.defined.contains(name.as_str())) {
                    return Err(Reason::External { name: name.clone(), line: span.line });
                }
            }
            Statement::Label(..) | Statement::Directive(_) => {}
        }
    }
    Ok(())
}

fn check_instruction(instruction: &Instruction, context: &Context<'_>) -> Result<(), Reason> {
    let line = instruction.span.line;
    let refuse = |why: &'static str| {
        Err(Reason::Instruction { instruction: instruction.mnemonic(), line, why: why.into() })
    };
    let opcode = instruction.opcode.as_str();
    if let Some((_, why)) = REFUSED.iter().find(|(name, _)| *name == opcode) {
        return refuse(why);
    }
    if !OPCODES.contains(&opcode) {
        return refuse("it is not on the list of instructions that a kernel needs");
    }
    // Of all ways to say it, the one that a spec can allow says for a whole policy what it is.
    let whole = opcode == "createpolicy" && instruction.has("fractional");
    for modifier in &instruction.modifiers {
        if modifier == EVICT_LAST && context.keeps && whole {
            continue;
        }
        if let Some((_, why)) = MODIFIERS.iter().find(|(name, _)| name == modifier) {
            return refuse(why);
        }
    }
    match opcode {
        "cp" if instruction.has("prefetch") => return refuse("it may warm a cache for the next launch"),
        "createpolicy" if instruction.has("cvt") => return refuse("it makes a cache policy out of a number"),
        "call" => check_call(instruction, context)?,
        _ => {}
    }
    if instruction.has("L2::cache_hint") {
        // A policy is 64 opaque bits: one that comes from anywhere but `createpolicy` may say `evict_last`.
        let known = match instruction.operands.last() {
            Some(Operand::Name(name)) => context.policies.get(name).copied(),
            _ => None,
        };
        match known {
            None => return refuse("its cache policy does not come from `createpolicy`"),
            // What is written and not written back when the launch ends is work that no clock sees.
            Some(true) if !reads(instruction) => {
                return refuse("it keeps what it writes in L2 across launches");
            }
            Some(_) => {}
        }
    }
    for operand in &instruction.operands {
        check_operand(operand, instruction, context)?;
    }
    if let Some(guard) = &instruction.guard {
        check_name(&guard.register, line, context)?;
    }
    Ok(())
}

/// Whether it only reads global memory: a load, or a copy whose first space, that of its target, is shared memory.
fn reads(instruction: &Instruction) -> bool {
    match instruction.opcode.as_str() {
        "ld" => true,
        "cp" => !instruction.has("reduce") && address_space(instruction) == "shared",
        _ => false,
    }
}

/// A call goes to a function of this module; an indirect one names its targets.
fn check_call(instruction: &Instruction, context: &Context<'_>) -> Result<(), Reason> {
    let callee = instruction.operands.iter().find_map(|operand| match operand {
        Operand::Name(name) => Some(name),
        _ => None,
    });
    let line = instruction.span.line;
    match callee {
        Some(name) if context.defined.contains(name.as_str()) => Ok(()),
        Some(name) if context.names.is_register(name) => Err(Reason::Instruction {
            instruction: instruction.mnemonic(),
            line,
            why: "its target is not known".into(),
        }),
        Some(name) => Err(Reason::External { name: name.clone(), line }),
        None => Err(Reason::Instruction {
            instruction: instruction.mnemonic(),
            line,
            why: "its target is not known".into(),
        }),
    }
}

fn check_operand(operand: &Operand, instruction: &Instruction, context: &Context<'_>) -> Result<(), Reason> {
    let line = instruction.span.line;
    match operand {
        // `mov`, `cvta` and calls take a name for its address. Only what is passed as bytes (a tensor map) has a use for that.
        Operand::Name(name) if context.is_plain_parameter(name) => Err(Reason::Instruction {
            instruction: instruction.mnemonic(),
            line,
            why: "it takes the address of a parameter, behind which lies what the plan did not pass".into(),
        }),
        Operand::Name(name) => check_name(name, line, context),
        Operand::Address { base, offset } => check_address(base, *offset, instruction, context),
        Operand::Vector(parts) | Operand::Group(parts) | Operand::TensorAddress(parts) => {
            parts.iter().try_for_each(|part| check_operand(part, instruction, context))
        }
        Operand::Pair(first, second) => {
            check_operand(first, instruction, context)?;
            check_operand(second, instruction, context)
        }
        Operand::Not(inner) => check_operand(inner, instruction, context),
        Operand::Integer(_)
        | Operand::F32(_)
        | Operand::F64(_)
        | Operand::Discard
        | Operand::SymbolOffset { .. }
        | Operand::Element { .. } => Ok(()),
    }
}

/// A name that starts with `%` is a declared register or an allowed special one.
fn check_name(name: &str, line: u32, context: &Context<'_>) -> Result<(), Reason> {
    if !name.starts_with('%') || context.names.is_register(name) || context.names.variables.contains(name) {
        return Ok(());
    }
    let base = whole(name);
    if REGISTERS.contains(&base) {
        return Ok(());
    }
    Err(Reason::SpecialRegister { register: name.to_owned(), line, why: register_reason(base).into() })
}

fn check_address(
    base: &AddressBase,
    offset: i64,
    instruction: &Instruction,
    context: &Context<'_>,
) -> Result<(), Reason> {
    let line = instruction.span.line;
    let space = address_space(instruction);
    let name = match base {
        AddressBase::Name(name) => name,
        // Shared memory begins at 0 in every block, so a number is as good as a name there.
        AddressBase::Absolute if space == "shared" => return Ok(()),
        AddressBase::Absolute => {
            return Err(Reason::AbsoluteAddress {
                instruction: instruction.mnemonic(),
                space: space.to_owned(),
                line,
            });
        }
    };
    check_name(name, line, context)?;
    if let Some(&size) = context.constants.get(name).filter(|_| space == "const") {
        let end = u64::try_from(offset).ok().and_then(|offset| offset.checked_add(access_bytes(instruction)));
        if end.is_none_or(|end| end > size) {
            return Err(Reason::Instruction {
                instruction: instruction.mnemonic(),
                line,
                why: "it reads beyond the constant".into(),
            });
        }
    }
    if space != "param" || context.function.kind != FunctionKind::Entry {
        return Ok(());
    }
    let refuse = |why: &'static str| {
        Err(Reason::Instruction { instruction: instruction.mnemonic(), line, why: why.into() })
    };
    match context.names.parameters.iter().find(|(parameter, _)| parameter == name) {
        Some((_, size)) => {
            let inside = u64::try_from(offset)
                .ok()
                .and_then(|offset| offset.checked_add(access_bytes(instruction)))
                .zip(*size)
                .is_some_and(|(end, size)| end <= size);
            if inside { Ok(()) } else { refuse("it reads beyond the parameter") }
        }
        // A `.param` variable that passes an argument to a function.
        None if context.names.variables.contains(name) => Ok(()),
        None => refuse("it reads parameters by a computed address"),
    }
}

/// The state space that an access names first; `generic` when it names none.
fn address_space(instruction: &Instruction) -> &str {
    instruction
        .modifiers
        .iter()
        .filter_map(|word| word.split("::").next())
        .find(|word| matches!(*word, "global" | "shared" | "local" | "param" | "const"))
        .unwrap_or("generic")
}

/// Bytes that one thread accesses.
fn access_bytes(instruction: &Instruction) -> u64 {
    let element = instruction.types().last().map_or(1, |ty: Type| u64::from(ty.size()));
    let lanes =
        ["v2", "v4", "v8"].iter().position(|word| instruction.has(word)).map_or(1, |power| 2 << power);
    element * lanes
}
