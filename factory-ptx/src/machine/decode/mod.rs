//! From the thin tree to flat code: layout of variables and parameters, reachable functions, and one pass over each
//! function's statements that resolves every name.

mod bits;
mod blackwell;
mod bulk;
mod collective;
mod compare;
mod control;
mod convert;
mod float;
mod function;
mod half;
mod integer;
mod launch_control;
mod matrix;
mod mbarrier;
mod memory;
mod moves;
mod resize;
mod tcgen05;
mod video;
mod wgmma;
mod wmma;
mod words;

use std::collections::{HashMap, HashSet};

use self::function::Decoder;
use crate::ast::{
    AddressBase, Directive, Function, Initializer, Instruction, Item, Linking, Module, Operand, Space,
    Statement, Variable,
};
use crate::machine::error::Unsupported;
use crate::machine::inst::Inst;
use crate::machine::kernel::ParamLayout;

/// Generic address of the kernel's parameters.
pub(crate) const PARAM_WINDOW: u64 = 0x7d00_0000_0000;
/// Generic address of a thread's local memory.
pub(crate) const LOCAL_WINDOW: u64 = 0x7e00_0000_0000;
/// Generic address of shared memory.
pub(crate) const SHARED_WINDOW: u64 = 0x7f00_0000_0000;
/// Size of each of the three windows.
pub(crate) const WINDOW: u64 = 1 << 32;
/// "Addresses" of device functions: not memory.
pub(crate) const FUNCTION_WINDOW: u64 = 0x7c00_0000_0000;
/// First address of shared memory: 0 is never a variable, as on hardware, where the system keeps the first KiB.
pub(crate) const SHARED_START: u64 = 1024;
/// First address of local memory.
pub(crate) const LOCAL_START: u64 = 256;
/// First address of `.global` and `.const` variables.
pub(crate) const MODULE_START: u64 = 0x1_0000_0000;
/// The most bytes that all module variables may take.
const MODULE_LIMIT: u64 = 1 << 28;
/// The most bytes of local variables of one thread.
pub(crate) const LOCAL_LIMIT: u64 = 512 << 10;
/// The most bytes of static shared memory that can be laid out (launches are limited further).
const SHARED_LIMIT: u64 = 1 << 20;

/// Where a variable lies: an address in its own space (which for `.global` and `.const` is the generic one).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) address: u64,
    pub(crate) space: Space,
}

/// A module variable in memory.
#[derive(Clone, Debug)]
pub(crate) struct ModuleVariable {
    pub(crate) name: String,
    pub(crate) address: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) writable: bool,
}

/// Values that are put into registers when a warp enters a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fill {
    Tid(u8),
    NTid(u8),
    CtaId(u8),
    NCtaId(u8),
    LaneId,
    WarpId,
    NWarpId,
    LaneMaskEq,
    LaneMaskLt,
    LaneMaskLe,
    LaneMaskGt,
    LaneMaskGe,
    SmId,
    NSmId,
    GridId,
    ClusterId(u8),
    NClusterId(u8),
    ClusterCtaId(u8),
    ClusterNCtaId(u8),
    ClusterCtaRank,
    ClusterNCtaRank,
    IsExplicitCluster,
    DynamicShared,
    TotalShared,
    /// Address of a local variable at this offset of the frame.
    Local(u64),
}

impl Fill {
    fn named(name: &str) -> Option<Fill> {
        let (base, axis) = match name.rsplit_once('.') {
            Some((base, "x")) => (base, Some(0)),
            Some((base, "y")) => (base, Some(1)),
            Some((base, "z")) => (base, Some(2)),
            _ => (name, None),
        };
        Some(match (base, axis) {
            ("%tid", Some(axis)) => Fill::Tid(axis),
            ("%ntid", Some(axis)) => Fill::NTid(axis),
            ("%ctaid", Some(axis)) => Fill::CtaId(axis),
            ("%nctaid", Some(axis)) => Fill::NCtaId(axis),
            ("%clusterid", Some(axis)) => Fill::ClusterId(axis),
            ("%nclusterid", Some(axis)) => Fill::NClusterId(axis),
            ("%cluster_ctaid", Some(axis)) => Fill::ClusterCtaId(axis),
            ("%cluster_nctaid", Some(axis)) => Fill::ClusterNCtaId(axis),
            ("%cluster_ctarank", None) => Fill::ClusterCtaRank,
            ("%cluster_nctarank", None) => Fill::ClusterNCtaRank,
            ("%is_explicit_cluster", None) => Fill::IsExplicitCluster,
            ("%laneid", None) => Fill::LaneId,
            ("%warpid", None) => Fill::WarpId,
            ("%nwarpid", None) => Fill::NWarpId,
            ("%lanemask_eq", None) => Fill::LaneMaskEq,
            ("%lanemask_lt", None) => Fill::LaneMaskLt,
            ("%lanemask_le", None) => Fill::LaneMaskLe,
            ("%lanemask_gt", None) => Fill::LaneMaskGt,
            ("%lanemask_ge", None) => Fill::LaneMaskGe,
            ("%smid", None) => Fill::SmId,
            ("%nsmid", None) => Fill::NSmId,
            ("%gridid", None) => Fill::GridId,
            ("%dynamic_smem_size", None) => Fill::DynamicShared,
            ("%total_smem_size" | "%aggr_smem_size", None) => Fill::TotalShared,
            _ => return None,
        })
    }

    fn is_predicate(self) -> bool {
        self == Fill::IsExplicitCluster
    }
}

/// All decoded instructions, function after function.
#[derive(Default)]
pub(crate) struct Code {
    pub(crate) insts: Vec<Inst>,
    /// Line of each instruction.
    pub(crate) debug: Vec<u32>,
    /// Text of each instruction.
    pub(crate) texts: Vec<String>,
    /// Registers that `wgmma` instructions name, as runs of rows.
    pub(crate) product_rows: Vec<(u32, u32)>,
    /// How many `wgmma.mma_async` there are.
    pub(crate) products: usize,
    /// Which instructions come from a `mov`.
    pub(crate) moves: Vec<bool>,
    /// Slots that instructions other than `mov` and `wgmma` write, in functions with `wgmma`.
    pub(crate) computed: std::collections::HashSet<u32>,
}

/// A decoded function.
pub(crate) struct Decoded {
    pub(crate) name: String,
    pub(crate) start: u32,
    /// 32-bit words of a frame of one warp.
    pub(crate) words: u32,
    /// Constants: slot, rows (0: predicate), value.
    pub(crate) image: Vec<(u32, u32, u64)>,
    pub(crate) fills: Vec<(u32, Fill)>,
    /// Bytes of local variables of one thread.
    pub(crate) local: u64,
    /// Slot and rows of each parameter and result.
    pub(crate) params: Vec<(u32, u32)>,
    pub(crate) returns: Vec<(u32, u32)>,
}

/// What decoding a function needs to know of the module.
pub(crate) struct Program<'m> {
    /// Module variables by name.
    places: HashMap<&'m str, Place>,
    /// Variables of function scope in shared, global or const space, by the address of their declaration.
    scoped: HashMap<usize, Place>,
    functions: HashMap<&'m str, u32>,
    params: &'m [ParamLayout],
}

impl Program<'_> {
    fn param_offset(&self, name: &str) -> Option<u64> {
        self.params.iter().find(|param| param.name == name).map(|param| param.offset as u64)
    }
}

/// A decoded entry with everything it can reach.
pub(crate) struct Whole {
    pub(crate) code: Code,
    /// The entry first.
    pub(crate) functions: Vec<Decoded>,
    pub(crate) variables: Vec<ModuleVariable>,
    pub(crate) static_shared: u32,
    /// Names and addresses of shared variables, for reports.
    pub(crate) shared_names: Vec<(String, u64, u64)>,
}

fn fail(line: u32, form: impl Into<String>, needs: impl Into<String>) -> Unsupported {
    Unsupported { line, form: form.into(), needs: needs.into() }
}

/// Lays out parameters one after the other, each at its alignment.
pub(crate) fn layout_params(function: &Function) -> Result<Vec<ParamLayout>, Unsupported> {
    let mut offset = 0usize;
    let mut params = Vec::new();
    for param in &function.params {
        let size = param.size().filter(|size| *size <= 32_764);
        let size = size.ok_or_else(|| {
            fail(param.span.line, &param.name, "a parameter of a known size up to 32764 bytes")
        })?;
        let align = (param.alignment() as usize).clamp(1, 256);
        offset = offset.next_multiple_of(align);
        params.push(ParamLayout { name: param.name.clone(), offset, size: size as usize, align });
        offset += size as usize;
    }
    Ok(params)
}

/// Decodes an entry and every function that it can reach.
pub(crate) fn decode(
    module: &Module,
    entry: &Function,
    params: &[ParamLayout],
) -> Result<Whole, Unsupported> {
    let aliases: HashMap<&str, &str> = module
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Directive(Directive::Alias { name, target, .. }) => Some((name.as_str(), target.as_str())),
            _ => None,
        })
        .collect();
    let by_name: HashMap<&str, &Function> =
        module.functions().filter(|function| function.body.is_some()).map(|f| (f.name.as_str(), f)).collect();
    let resolve = |name: &str| by_name.get(aliases.get(name).copied().unwrap_or(name)).copied();

    // Reachable functions, the entry first, and every name they use.
    let mut reached: Vec<&Function> = vec![entry];
    let mut functions: HashMap<&str, u32> = HashMap::from([(entry.name.as_str(), 0)]);
    let mut used: HashSet<&str> = HashSet::new();
    let mut scoped_variables: Vec<&Variable> = Vec::new();
    let variables: HashMap<&str, &Variable> =
        module.variables().map(|variable| (variable.name.as_str(), variable)).collect();
    let mut next = 0;
    while next < reached.len() {
        let mut names = Vec::new();
        walk(reached[next].body.as_deref().unwrap_or_default(), &mut names, &mut scoped_variables, 0)?;
        while let Some(name) = names.pop() {
            if !used.insert(name) {
                continue;
            }
            // An initialiser may name functions and further variables.
            if let Some(init) = variables.get(name).and_then(|variable| variable.init.as_ref()) {
                name_initializer(init, &mut names, 0);
            }
            if let Some(function) = resolve(name) {
                let index = match functions.get(function.name.as_str()) {
                    Some(index) => *index,
                    None => {
                        reached.push(function);
                        reached.len() as u32 - 1
                    }
                };
                functions.insert(&function.name, index);
                functions.insert(name, index);
            }
        }
        next += 1;
    }
    let mut layout = Layout::default();
    for variable in module.variables() {
        if used.contains(variable.name.as_str()) {
            let place = layout.add(variable)?;
            layout.places.insert(&variable.name, place);
        }
    }
    let mut scoped = HashMap::new();
    for variable in scoped_variables {
        if matches!(variable.space, Space::Shared | Space::Global | Space::Const) {
            let place = layout.add(variable)?;
            scoped.insert(std::ptr::from_ref(variable) as usize, place);
        }
    }
    let static_shared = layout.shared;
    // Dynamic shared memory begins behind the static part, at the greatest alignment that is asked for.
    let dynamic = (SHARED_START + static_shared).next_multiple_of(layout.dynamic_align.max(16));
    for variable in layout.dynamic.drain(..) {
        let place = Place { address: dynamic, space: Space::Shared };
        layout.places.insert(&variable.name, place);
        scoped.insert(std::ptr::from_ref(variable) as usize, place);
        layout.shared_names.push((variable.name.clone(), dynamic, 1 << 24));
    }
    let has_dynamic = layout.shared_names.iter().any(|(_, _, size)| *size == 1 << 24);
    let static_shared = if has_dynamic { dynamic - SHARED_START } else { static_shared };
    initialise(&mut layout, &functions)?;

    let program = Program { places: layout.places, scoped, functions, params };
    let mut code = Code::default();
    let mut decoded = Vec::new();
    for (index, function) in reached.iter().enumerate() {
        let is_entry = index == 0;
        let start = code.insts.len() as u32;
        let mut decoder = Decoder::new(&program, &mut code, is_entry);
        let mut returns = Vec::new();
        let mut formals = Vec::new();
        if !is_entry {
            for variable in &function.returns {
                returns.push(decoder.formal(variable)?);
            }
            for variable in &function.params {
                formals.push(decoder.formal(variable)?);
            }
        }
        let products = decoder.code.products;
        decoder.body(function.body.as_deref().unwrap_or_default())?;
        if decoder.code.products != products {
            wgmma::note_computed(decoder.code, start as usize);
        }
        decoded.push(Decoded {
            name: function.name.clone(),
            start,
            words: decoder.words(),
            image: std::mem::take(&mut decoder.image),
            fills: std::mem::take(&mut decoder.fills),
            local: decoder.local,
            params: formals,
            returns,
        });
    }
    Ok(Whole {
        code,
        functions: decoded,
        variables: layout.variables,
        static_shared: static_shared as u32,
        shared_names: layout.shared_names,
    })
}

#[derive(Default)]
struct Layout<'m> {
    places: HashMap<&'m str, Place>,
    variables: Vec<ModuleVariable>,
    initial: Vec<(usize, &'m Variable)>,
    shared: u64,
    module: u64,
    dynamic: Vec<&'m Variable>,
    dynamic_align: u64,
    shared_names: Vec<(String, u64, u64)>,
}

impl<'m> Layout<'m> {
    fn add(&mut self, variable: &'m Variable) -> Result<Place, Unsupported> {
        let line = variable.span.line;
        let align = variable.alignment().clamp(1, 1 << 20);
        if !align.is_power_of_two() {
            return Err(fail(line, &variable.name, "an alignment that is a power of two"));
        }
        match variable.space {
            Space::Shared => {
                let Some(size) = variable.size() else {
                    self.dynamic.push(variable);
                    self.dynamic_align = self.dynamic_align.max(align);
                    return Ok(Place { address: 0, space: Space::Shared });
                };
                if size == 0 || (variable.linking == Some(Linking::Extern) && variable.array.is_empty()) {
                    self.dynamic.push(variable);
                    self.dynamic_align = self.dynamic_align.max(align);
                    return Ok(Place { address: 0, space: Space::Shared });
                }
                let offset = (SHARED_START + self.shared).next_multiple_of(align) - SHARED_START;
                self.shared = offset
                    .checked_add(size)
                    .filter(|end| *end <= SHARED_LIMIT)
                    .ok_or_else(|| fail(line, &variable.name, "more shared memory than a block can have"))?;
                let address = SHARED_START + offset;
                self.shared_names.push((variable.name.clone(), address, size));
                Ok(Place { address, space: Space::Shared })
            }
            Space::Global | Space::Const => {
                if variable.linking == Some(Linking::Extern) {
                    return Err(fail(line, &variable.name, "a linker: the variable is defined elsewhere"));
                }
                let size = variable
                    .size()
                    .ok_or_else(|| fail(line, &variable.name, "a variable of a known size"))?;
                let offset = self.module.next_multiple_of(align.max(16));
                let end = offset.checked_add(size).filter(|end| *end <= MODULE_LIMIT).ok_or_else(|| {
                    fail(line, &variable.name, "more module variables than the machine allows")
                })?;
                // A gap, so that running off one variable does not land in the next.
                self.module = end + 4096;
                let address = MODULE_START + offset;
                self.initial.push((self.variables.len(), variable));
                self.variables.push(ModuleVariable {
                    name: variable.name.clone(),
                    address,
                    bytes: vec![0; size as usize],
                    writable: variable.space == Space::Global,
                });
                Ok(Place { address, space: variable.space })
            }
            _ => Err(fail(line, &variable.name, "this state space at module scope")),
        }
    }
}

fn initialise(layout: &mut Layout<'_>, functions: &HashMap<&str, u32>) -> Result<(), Unsupported> {
    for (index, variable) in std::mem::take(&mut layout.initial) {
        let Some(init) = &variable.init else { continue };
        let mut bytes = std::mem::take(&mut layout.variables[index].bytes);
        let element = variable.ty.size() as usize;
        let mut dims: Vec<usize> = variable.array.iter().map(|d| d.unwrap_or(0) as usize).collect();
        if let Some(vector) = variable.vector {
            dims.push(usize::from(vector));
        }
        write_initializer(&mut bytes, init, element, &dims, &layout.places, functions, variable, 0)?;
        layout.variables[index].bytes = bytes;
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "a recursion over one initialiser, with its whole context")]
fn write_initializer(
    bytes: &mut [u8],
    init: &Initializer,
    element: usize,
    dims: &[usize],
    places: &HashMap<&str, Place>,
    functions: &HashMap<&str, u32>,
    variable: &Variable,
    depth: usize,
) -> Result<(), Unsupported> {
    let line = variable.span.line;
    if depth > 8 {
        return Err(fail(line, &variable.name, "initialisers nested deeper than 8"));
    }
    if let Initializer::List(elements) = init {
        let inner = dims.get(1..).unwrap_or_default();
        let stride = inner.iter().product::<usize>() * element;
        for (position, value) in elements.iter().enumerate() {
            // A flat list may also fill several dimensions.
            let step = if matches!(value, Initializer::List(_)) { stride } else { element };
            let start = position * step;
            if start >= bytes.len() {
                break;
            }
            write_initializer(
                &mut bytes[start..],
                value,
                element,
                inner,
                places,
                functions,
                variable,
                depth + 1,
            )?;
        }
        return Ok(());
    }
    let value = initializer_value(init, places, functions).ok_or_else(|| {
        fail(line, &variable.name, "this initialiser (the address of something that is not laid out)")
    })?;
    let value = match (init, variable.ty) {
        (Initializer::F32(bits), crate::ast::Type::F64) => f64::from(f32::from_bits(*bits)).to_bits(),
        (Initializer::F64(bits), crate::ast::Type::F32) => {
            u64::from((f64::from_bits(*bits) as f32).to_bits())
        }
        _ => value,
    };
    let width = element.min(8).min(bytes.len());
    bytes[..width].copy_from_slice(&value.to_le_bytes()[..width]);
    Ok(())
}

fn initializer_value(
    init: &Initializer,
    places: &HashMap<&str, Place>,
    functions: &HashMap<&str, u32>,
) -> Option<u64> {
    Some(match init {
        Initializer::Integer(value) => *value as u64,
        Initializer::F32(bits) => u64::from(*bits),
        Initializer::F64(bits) => *bits,
        Initializer::Symbol { name, offset, generic } => {
            if let Some(index) = functions.get(name.as_str()) {
                return Some(FUNCTION_WINDOW + 16 * u64::from(*index));
            }
            let place = places.get(name.as_str())?;
            let window = if *generic && place.space == Space::Shared { SHARED_WINDOW } else { 0 };
            (place.address + window).wrapping_add_signed(*offset)
        }
        Initializer::Mask { mask, symbol } => {
            if matches!(**symbol, Initializer::Mask { .. } | Initializer::List(_)) {
                return None;
            }
            let value = initializer_value(symbol, places, functions)?;
            (value & mask) >> mask.trailing_zeros().min(63)
        }
        Initializer::List(_) => return None,
    })
}

fn name_initializer<'m>(init: &'m Initializer, names: &mut Vec<&'m str>, depth: usize) {
    match init {
        Initializer::List(elements) if depth < 16 => {
            for element in elements {
                name_initializer(element, names, depth + 1);
            }
        }
        Initializer::Symbol { name, .. } => names.push(name),
        Initializer::Mask { symbol, .. } if depth < 16 => name_initializer(symbol, names, depth + 1),
        _ => {}
    }
}

fn walk<'m>(
    statements: &'m [Statement],
    names: &mut Vec<&'m str>,
    variables: &mut Vec<&'m Variable>,
    depth: usize,
) -> Result<(), Unsupported> {
    if depth > 64 {
        return Err(fail(0, "{", "blocks nested deeper than 64"));
    }
    for statement in statements {
        match statement {
            Statement::Block(inner) => walk(inner, names, variables, depth + 1)?,
            Statement::Variable(variable) => variables.push(variable),
            Statement::Instruction(Instruction { operands, .. }) => {
                for operand in operands {
                    name_operand(operand, names, 0);
                }
            }
            Statement::Directive(Directive::CallTargets { targets, .. }) => {
                names.extend(targets.iter().map(String::as_str));
            }
            _ => {}
        }
    }
    Ok(())
}

fn name_operand<'m>(operand: &'m Operand, names: &mut Vec<&'m str>, depth: usize) {
    if depth > 16 {
        return;
    }
    match operand {
        Operand::Name(name)
        | Operand::SymbolOffset { name, .. }
        | Operand::Element { name, .. }
        | Operand::Address { base: AddressBase::Name(name), .. } => names.push(name),
        Operand::Vector(inner) | Operand::Group(inner) | Operand::TensorAddress(inner) => {
            for operand in inner {
                name_operand(operand, names, depth + 1);
            }
        }
        Operand::Pair(a, b) => {
            name_operand(a, names, depth + 1);
            name_operand(b, names, depth + 1);
        }
        Operand::Not(inner) => name_operand(inner, names, depth + 1),
        _ => {}
    }
}
