//! From a program and a configuration to one PTX entry.
//!
//! The shape of a kernel with reductions: a row belongs to `threads` threads of one block, or of each block of a cluster.
//! A thread owns `chunks` vectors of the row, `threads * vector` columns apart. Pass 0 computes what the first reductions
//! take, the threads exchange partial results, pass 1 goes on with them, and so on; an output is stored in the first pass
//! that knows it. Values that do not vary along the columns are computed by every thread of the row between the passes.
//!
//! Without reductions the columns are cut into tiles of that size, one a block in x, and blocks in y walk over the rows.

mod element;
mod exchange;
pub(super) mod load;
mod pass;
mod place;
mod store;

use std::collections::HashMap;

use factory_ptx::ast::{FunctionDirective, Item};
use factory_ptx::builder::{B32, B64, Entry, F32, Pred, Reg, Src};
use factory_spec::{ArgId, BoundSpec, DType, NodeId, Op, ParamPlan, Program, SizeExpr};

use super::config::{Config, Keep, Weights};
use super::kinds::{Kinds, Scope};
use super::split::{Across, Along, Split, product};
use super::value::{Floats, Value};

pub(super) use load::piece_bytes;
use place::Position;

/// Everything that a lowering reads.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) spec: &'a BoundSpec,
    pub(super) program: &'a Program,
    pub(super) split: &'a Split,
    pub(super) kinds: &'a Kinds,
    pub(super) config: &'a Config,
}

/// A lowered entry.
pub(super) struct Lowered {
    pub(super) items: Vec<Item>,
    pub(super) params: Vec<ParamPlan>,
    /// Bytes of dynamic shared memory.
    pub(super) shared_bytes: u32,
}

/// Loaded bytes of one vector, as they came.
#[derive(Clone)]
enum Raw {
    /// Four bytes a register.
    Words(Vec<Reg<B32>>),
    /// Two bytes, or one, zero-extended.
    Half(Reg<factory_ptx::builder::B16>),
}

struct Lowering<'a> {
    source: Source<'a>,
    e: Entry,
    floats: Floats,
    params: Vec<ParamPlan>,
    pointers: HashMap<ArgId, Reg<B64>>,
    sizes: Vec<(SizeExpr, Reg<B64>, Reg<B32>)>,
    /// Values of launch and row scope.
    known: Vec<Option<Value>>,
    /// Values of element scope, by chunk and element.
    elements: HashMap<(NodeId, u32, u32), Value>,
    raw: HashMap<(ArgId, u32), Raw>,
    /// For divisors that do not vary along the columns: `a / b = (a * first) * second`.
    divisors: HashMap<NodeId, (Src<F32>, Src<F32>)>,
    /// First column of this thread.
    column: Reg<B32>,
    thread: Reg<B32>,
    row_in_block: Reg<B32>,
    rank: Option<Reg<B32>>,
    /// Where the tile starts (in columns), when not at 0.
    tile: Option<Reg<B64>>,
    /// Whether each chunk lies inside the row; `None`: all of it does.
    inside: Vec<Option<Reg<Pred>>>,
    /// This thread speaks for the row.
    leader: Option<Reg<Pred>>,
    position: Position,
    /// Address of this thread's first element of each dense tensor, in the current row and tile.
    addresses: HashMap<ArgId, Reg<B64>>,
    staged: Option<load::Staged>,
    exchanges: u32,
    toggle: Option<Reg<B32>>,
    awaits_cluster: bool,
}

/// Lowers to an entry of this name.
pub(super) fn lower(source: Source<'_>, name: &str) -> Lowered {
    let config = source.config;
    let mut e = Entry::new(name);
    e.directive(FunctionDirective::ReqNTid(vec![config.threads, config.rows, 1]));
    if config.cluster > 1 {
        e.directive(FunctionDirective::ReqNCtaPerCluster(vec![config.cluster, 1, 1]));
    }
    if let Some(registers) = config.max_registers {
        e.directive(FunctionDirective::MaxNReg(registers));
    }
    if let Some(blocks) = config.min_blocks {
        e.directive(FunctionDirective::MinNCtaPerSm(blocks));
    }
    let thread = e.special("%tid.x");
    let row_in_block = if config.rows > 1 { e.special("%tid.y") } else { e.copy(0) };
    let mut lowering = Lowering {
        source,
        floats: Floats { double: source.kinds.double, precise: source.kinds.precise },
        params: Vec::new(),
        pointers: HashMap::new(),
        sizes: Vec::new(),
        known: vec![None; source.program.nodes.len()],
        elements: HashMap::new(),
        raw: HashMap::new(),
        divisors: HashMap::new(),
        column: thread,
        thread,
        row_in_block,
        rank: None,
        tile: None,
        inside: vec![None; config.chunks as usize],
        leader: None,
        position: Position::default(),
        addresses: HashMap::new(),
        staged: None,
        exchanges: 0,
        toggle: None,
        awaits_cluster: false,
        e,
    };
    lowering.parameters();
    lowering.launch();
    let shared_bytes = lowering.staged.as_ref().map_or(0, load::Staged::bytes);
    Lowered { items: lowering.e.finish(), params: lowering.params, shared_bytes }
}

impl<'a> Lowering<'a> {
    fn config(&self) -> &'a Config {
        self.source.config
    }

    fn dtype(&self, arg: ArgId) -> DType {
        self.source.spec.args[arg.index()].dtype
    }

    fn looping(&self) -> bool {
        self.config().persistent.is_some() || self.config().wide
    }

    /// Declares and loads every parameter.
    fn parameters(&mut self) {
        let Source { spec, program, split, .. } = self.source;
        for access in &split.tensors {
            let name = &spec.args[access.arg.index()].name;
            let pointer = self.e.param_pointer(&format!("p_{name}"));
            self.pointers.insert(access.arg, pointer);
            self.params.push(ParamPlan::pointer(name));
        }
        for (index, node) in program.nodes.iter().enumerate() {
            match node.op {
                Op::Arg(arg) if spec.args[arg.index()].scalar => {
                    let name = &spec.args[arg.index()].name;
                    let value = self.scalar(&format!("s_{name}"), spec.args[arg.index()].dtype);
                    self.known[index] = Some(value);
                    self.params.push(ParamPlan::scalar(name));
                }
                Op::Size(size) => self.declare_size(product(spec, &[size])),
                _ => {}
            }
        }
        self.declare_size(split.column_count(spec));
        self.declare_size(split.row_count(spec));
        if self.needs_indices() {
            for &size in &split.rows {
                self.declare_size(product(spec, &[size]));
            }
        }
        if self.needs_column_indices() {
            for &size in &split.columns {
                self.declare_size(product(spec, &[size]));
            }
        }
        for access in &split.tensors {
            match &access.across {
                Across::Dense(stride) => self.declare_size(stride.clone()),
                Across::Scattered(strides) => {
                    strides.iter().for_each(|(_, stride)| self.declare_size(stride.clone()))
                }
                Across::Same => {}
            }
            if let Along::Scattered(strides) = &access.along {
                strides.iter().for_each(|(_, stride)| self.declare_size(stride.clone()));
            }
        }
    }

    fn scalar(&mut self, name: &str, dtype: DType) -> Value {
        use factory_ptx::ast::Type;
        let value = match dtype {
            DType::F32 => Value::F32(self.e.param_f32(name).into()),
            DType::F64 => Value::F64(self.e.param_f64(name).into()),
            DType::I32 => Value::S32(self.e.param_b32(name).into()),
            DType::U32 => {
                let word = self.e.param_b32(name);
                Value::S64(self.e.u64_from_u32(word).into())
            }
            DType::I64 => Value::S64(self.e.param_b64(name).into()),
            DType::F16 | DType::BF16 => {
                let half = self.e.param_narrow(name, Type::U16);
                self.unpack(&Raw::Half(half), dtype, 0)
            }
            _ => {
                let half = self.e.param_narrow(name, Type::U8);
                self.unpack(&Raw::Half(half), dtype, 0)
            }
        };
        if dtype.is_float() { value.float(&mut self.e, self.floats) } else { value }
    }

    fn declare_size(&mut self, size: SizeExpr) {
        if size.as_constant().is_some()
            || self.is_capacity(&size)
            || self.sizes.iter().any(|(known, ..)| *known == size)
        {
            return;
        }
        let long = self.e.param_b64(&format!("n_{}", self.sizes.len()));
        let short = self.e.u32_from_u64(long);
        self.params.push(ParamPlan::Size { value: size.clone(), bytes: 8 });
        self.sizes.push((size, long, short));
    }

    /// An exact configuration knows the number of columns.
    fn is_capacity(&self, size: &SizeExpr) -> bool {
        self.config().exact && *size == self.source.split.column_count(self.source.spec)
    }

    fn constant_size(&self, size: &SizeExpr) -> Option<i64> {
        if self.is_capacity(size) { Some(self.config().capacity() as i64) } else { size.as_constant() }
    }

    /// A declared size in 64 bits.
    fn size64(&self, size: &SizeExpr) -> Src<B64> {
        match self.constant_size(size) {
            Some(value) => Src::from(value),
            None => self
                .sizes
                .iter()
                .find(|(known, ..)| known == size)
                .expect("sizes are declared first")
                .1
                .into(),
        }
    }

    /// A declared size in 32 bits.
    fn size32(&self, size: &SizeExpr) -> Src<B32> {
        match self.constant_size(size) {
            Some(value) => Src::from(value as i32),
            None => self
                .sizes
                .iter()
                .find(|(known, ..)| known == size)
                .expect("sizes are declared first")
                .2
                .into(),
        }
    }

    /// Whether some tensor, mask or output needs the single row indices.
    fn needs_indices(&self) -> bool {
        let Source { program, split, .. } = self.source;
        split.tensors.iter().any(|access| matches!(access.across, Across::Scattered(_)))
            || program.outputs.iter().any(|(arg, _)| !split.tensor(*arg).missing.is_empty())
            || program
                .nodes
                .iter()
                .any(|node| matches!(node.op, Op::Iota(size) if split.rows.contains(&size)))
    }

    /// Whether the single column indices are needed: several column sizes, and something that tells them apart.
    fn needs_column_indices(&self) -> bool {
        let Source { program, split, .. } = self.source;
        split.columns.len() > 1
            && (split.tensors.iter().any(|access| matches!(access.along, Along::Scattered(_)))
                || program
                    .nodes
                    .iter()
                    .any(|node| matches!(node.op, Op::Iota(size) if split.columns.contains(&size))))
    }

    /// Tensors that element values are read from, once each: those that vary with the row first.
    fn element_reads(&self) -> Vec<ArgId> {
        let Source { program, split, .. } = self.source;
        let mut reads: Vec<ArgId> = Vec::new();
        for by_row in [true, false] {
            for node in &program.nodes {
                if let Op::Arg(arg) = node.op
                    && !self.source.spec.args[arg.index()].scalar
                    && !reads.contains(&arg)
                {
                    let access = split.tensor(arg);
                    if access.along != Along::Same && (access.across != Across::Same) == by_row {
                        reads.push(arg);
                    }
                }
            }
        }
        reads
    }

    /// The whole kernel behind its parameters.
    fn launch(&mut self) {
        self.thread_place();
        self.evaluate_scope(Scope::Launch, 0);
        if self.config().keep == Keep::Shared {
            self.stage_layout();
        }
        if self.config().weights == Weights::Resident {
            self.load_weights();
        }
        if self.source.split.reduces {
            self.rows_by_block();
        } else {
            self.rows_by_tile();
        }
    }
}
