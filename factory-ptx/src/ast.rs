//! The thin syntax tree of one PTX module.
//!
//! The tree says what was written, in order, and no more: an opcode is its name, modifiers are the dotted words
//! behind it, an operand is a shape. What a form *means* is decided by [`crate::check()`] and [`crate::machine`].
//! Positions are kept in [`Span`]s, which never take part in comparison: two modules are equal when they say the
//! same thing, however they were laid out.

use std::hash::{Hash, Hasher};

/// A place in the source text; always equal to every other place, so that trees compare by meaning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Line, counted from 1; 0 for a node that was built rather than parsed.
    pub line: u32,
    /// Column in bytes, counted from 1.
    pub column: u32,
    /// Offset of the first byte in the source.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Span {}

impl Hash for Span {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// One PTX module: what a `.ptx` file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// `.version major.minor`.
    pub version: (u32, u32),
    /// `.target` words in order: `sm_90a`, `debug`, …
    pub target: Vec<String>,
    /// `.address_size`: 32 or 64 (64 when the file does not say).
    pub address_size: u32,
    /// Everything else, in order.
    pub items: Vec<Item>,
}

impl Module {
    /// The function of this name that has a body, or else its first declaration.
    pub fn function(&self, name: &str) -> Option<&Function> {
        let mut found = None;
        for function in self.functions().filter(|function| function.name == name) {
            if function.body.is_some() {
                return Some(function);
            }
            found = found.or(Some(function));
        }
        found
    }

    /// All functions and declarations of functions, in order.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.items.iter().filter_map(|item| match item {
            Item::Function(function) => Some(function),
            _ => None,
        })
    }

    /// All entries that have a body, in order.
    pub fn entries(&self) -> impl Iterator<Item = &Function> {
        self.functions().filter(|function| function.kind == FunctionKind::Entry && function.body.is_some())
    }

    /// All variables of module scope, in order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.items.iter().filter_map(|item| match item {
            Item::Variable(variable) => Some(variable),
            _ => None,
        })
    }
}

/// What stands at module scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// `.entry` or `.func`, defined or only declared.
    Function(Function),
    /// A `.global`, `.const`, `.shared`, … variable.
    Variable(Variable),
    /// `.file`, `.section`, `.alias`, `.pragma`, …
    Directive(Directive),
}

/// Kernel or device function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionKind {
    /// `.entry`: launched from the host.
    Entry,
    /// `.func`: called from other PTX.
    Func,
}

/// How a name is seen by the linker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Linking {
    /// `.extern`
    Extern,
    /// `.visible`
    Visible,
    /// `.weak`
    Weak,
    /// `.common`
    Common,
}

impl Linking {
    /// The directive's word, without the dot.
    pub fn name(self) -> &'static str {
        match self {
            Linking::Extern => "extern",
            Linking::Visible => "visible",
            Linking::Weak => "weak",
            Linking::Common => "common",
        }
    }
}

/// A function or the declaration of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// `.entry` or `.func`.
    pub kind: FunctionKind,
    /// Linking directive, if any.
    pub linking: Option<Linking>,
    /// `.attribute(…)` words.
    pub attributes: Vec<Attribute>,
    /// Name.
    pub name: String,
    /// Return parameters (`.func` only); `.param` or `.reg` variables.
    pub returns: Vec<Variable>,
    /// Parameters; `.param` (or, in a `.func`, also `.reg`) variables.
    pub params: Vec<Variable>,
    /// Performance and linkage directives between the parameters and the body.
    pub directives: Vec<FunctionDirective>,
    /// Statements; `None` for a declaration.
    pub body: Option<Vec<Statement>>,
    /// From the first directive to the end of the head.
    pub span: Span,
}

/// A directive between a function's parameters and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionDirective {
    /// `.maxntid x, y, z` (1 to 3 values).
    MaxNTid(Vec<u32>),
    /// `.reqntid x, y, z` (1 to 3 values).
    ReqNTid(Vec<u32>),
    /// `.minnctapersm n`
    MinNCtaPerSm(u32),
    /// `.maxnctapersm n`
    MaxNCtaPerSm(u32),
    /// `.maxnreg n`
    MaxNReg(u32),
    /// `.noreturn`
    NoReturn,
    /// `.reqnctapercluster x, y, z` (1 to 3 values).
    ReqNCtaPerCluster(Vec<u32>),
    /// `.explicitcluster`
    ExplicitCluster,
    /// `.maxclusterrank n`
    MaxClusterRank(u32),
    /// `.blocksareclusters`
    BlocksAreClusters,
    /// `.abi_preserve n`
    AbiPreserve(u32),
    /// `.abi_preserve_control n`
    AbiPreserveControl(u32),
    /// `.pragma "…";`
    Pragma(Vec<String>),
}

/// A word of `.attribute(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// `.managed`
    Managed,
    /// `.unified(high, low)`: the two halves of a 128-bit identity.
    Unified(u64, u64),
}

/// State space of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// `.reg`
    Reg,
    /// `.sreg`
    Sreg,
    /// `.const`
    Const,
    /// `.global`
    Global,
    /// `.local`
    Local,
    /// `.param`
    Param,
    /// `.shared`
    Shared,
    /// `.tex` (deprecated)
    Tex,
}

impl Space {
    /// Every space.
    pub const ALL: [Space; 8] = [
        Space::Reg,
        Space::Sreg,
        Space::Const,
        Space::Global,
        Space::Local,
        Space::Param,
        Space::Shared,
        Space::Tex,
    ];

    /// The directive's word, without the dot.
    pub fn name(self) -> &'static str {
        match self {
            Space::Reg => "reg",
            Space::Sreg => "sreg",
            Space::Const => "const",
            Space::Global => "global",
            Space::Local => "local",
            Space::Param => "param",
            Space::Shared => "shared",
            Space::Tex => "tex",
        }
    }

    /// Reads a directive's word, without the dot.
    pub fn parse(word: &str) -> Option<Space> {
        Space::ALL.into_iter().find(|space| space.name() == word)
    }
}

macro_rules! types {
    ($($(#[$doc:meta])* $variant:ident $name:literal $bits:literal,)*) => {
        /// A type word. Variables are declared with the fundamental ones; the alternate and packed formats only
        /// occur as modifiers of instructions, where [`Type::parse`] reads them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Type { $($(#[$doc])* #[doc = concat!("`.", $name, "`")] $variant,)* }

        impl Type {
            /// Every type.
            pub const ALL: &'static [Type] = &[$(Type::$variant,)*];

            /// The word without its dot.
            pub fn name(self) -> &'static str {
                match self { $(Type::$variant => $name,)* }
            }

            /// Width in bits of one value (1 for a predicate, 0 for opaque references).
            pub fn bits(self) -> u32 {
                match self { $(Type::$variant => $bits,)* }
            }

            /// Reads the word without its dot.
            pub fn parse(word: &str) -> Option<Type> {
                match word { $($name => Some(Type::$variant),)* _ => None }
            }
        }
    };
}

types! {
    B8 "b8" 8,
    B16 "b16" 16,
    B32 "b32" 32,
    B64 "b64" 64,
    B128 "b128" 128,
    U8 "u8" 8,
    U16 "u16" 16,
    U32 "u32" 32,
    U64 "u64" 64,
    S8 "s8" 8,
    S16 "s16" 16,
    S32 "s32" 32,
    S64 "s64" 64,
    F16 "f16" 16,
    F16x2 "f16x2" 32,
    BF16 "bf16" 16,
    BF16x2 "bf16x2" 32,
    F32 "f32" 32,
    F32x2 "f32x2" 64,
    F64 "f64" 64,
    Pred "pred" 1,
    TF32 "tf32" 32,
    U4 "u4" 4,
    S4 "s4" 4,
    B1 "b1" 1,
    B4 "b4" 4,
    B6 "b6" 6,
    U16x2 "u16x2" 32,
    S16x2 "s16x2" 32,
    U8x4 "u8x4" 32,
    S8x4 "s8x4" 32,
    E4M3 "e4m3" 8,
    E5M2 "e5m2" 8,
    E3M2 "e3m2" 6,
    E2M3 "e2m3" 6,
    E2M1 "e2m1" 4,
    E4M3x2 "e4m3x2" 16,
    E5M2x2 "e5m2x2" 16,
    E3M2x2 "e3m2x2" 16,
    E2M3x2 "e2m3x2" 16,
    E2M1x2 "e2m1x2" 8,
    E4M3x4 "e4m3x4" 32,
    E5M2x4 "e5m2x4" 32,
    E3M2x4 "e3m2x4" 32,
    E2M3x4 "e2m3x4" 32,
    E2M1x4 "e2m1x4" 16,
    UE8M0 "ue8m0" 8,
    UE4M3 "ue4m3" 8,
    UE8M0x2 "ue8m0x2" 16,
    Texref "texref" 0,
    Samplerref "samplerref" 0,
    Surfref "surfref" 0,
}

impl Type {
    /// Bytes that one value takes in memory (a predicate has no memory form: 1).
    pub fn size(self) -> u32 {
        self.bits().div_ceil(8)
    }

    /// Whether a variable may be declared with this type.
    pub fn is_fundamental(self) -> bool {
        use Type as T;
        matches!(
            self,
            T::B8
                | T::B16
                | T::B32
                | T::B64
                | T::B128
                | T::U8
                | T::U16
                | T::U32
                | T::U64
                | T::S8
                | T::S16
                | T::S32
                | T::S64
                | T::F16
                | T::F16x2
                | T::BF16
                | T::BF16x2
                | T::F32
                | T::F64
                | T::Pred
                | T::Texref
                | T::Samplerref
                | T::Surfref
        )
    }
}

/// `.ptr` and what follows it on a kernel parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PointerAttribute {
    /// The space that is pointed to, when stated.
    pub space: Option<Space>,
    /// Alignment in bytes of what is pointed to, when stated.
    pub align: Option<u32>,
}

/// A variable, a parameter, or a range of registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// State space.
    pub space: Space,
    /// Linking directive (module scope only).
    pub linking: Option<Linking>,
    /// `.attribute(…)` words.
    pub attributes: Vec<Attribute>,
    /// `.align n` in bytes.
    pub align: Option<u32>,
    /// `.v2`, `.v4` or `.v8`.
    pub vector: Option<u8>,
    /// Element type.
    pub ty: Type,
    /// `.ptr …` of a kernel parameter.
    pub pointer: Option<PointerAttribute>,
    /// Name; for a range the prefix; `_` where a prototype leaves it out.
    pub name: String,
    /// `%r<100>` declares `%r0` to `%r99`: this is the 100.
    pub range: Option<u32>,
    /// Array dimensions, outermost first; `None` for `[]`.
    pub array: Vec<Option<u64>>,
    /// Initial value.
    pub init: Option<Initializer>,
    /// The declarator.
    pub span: Span,
}

impl Variable {
    /// Bytes of one element, a vector counted whole (`.v3` does not exist).
    pub fn element_size(&self) -> u64 {
        u64::from(self.ty.size()) * u64::from(self.vector.unwrap_or(1))
    }

    /// Bytes in memory: `None` when a dimension is open and no initialiser closes it, or when it overflows.
    pub fn size(&self) -> Option<u64> {
        let mut total = self.element_size();
        for (position, dimension) in self.array.iter().enumerate() {
            let dimension = match (dimension, &self.init) {
                (Some(dimension), _) => *dimension,
                (None, Some(Initializer::List(elements))) if position == 0 => elements.len() as u64,
                _ => return None,
            };
            total = total.checked_mul(dimension)?;
        }
        Some(total)
    }

    /// Alignment in bytes: stated, or the natural one of the element.
    pub fn alignment(&self) -> u64 {
        self.align.map_or_else(|| self.element_size().max(1), u64::from)
    }
}

/// Initial value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Initializer {
    /// `{ …, … }`, possibly nested; missing elements are zero.
    List(Vec<Initializer>),
    /// An integer constant.
    Integer(i128),
    /// `0f…`: the bits.
    F32(u32),
    /// `0d…` or a decimal float: the bits.
    F64(u64),
    /// The address of a symbol, with `generic(…)` as a generic one.
    Symbol {
        /// Name of a variable or function.
        name: String,
        /// Byte offset.
        offset: i64,
        /// Whether it stands in `generic(…)`.
        generic: bool,
    },
    /// `0xFF00(symbol)`: the bits of the address that the mask selects, shifted down.
    Mask {
        /// The mask.
        mask: u64,
        /// The address.
        symbol: Box<Initializer>,
    },
}

/// What stands in a function body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `name:` (not the label of a table or prototype: that is part of its [`Directive`]).
    Label(String, Span),
    /// `{ … }`: a scope of its own.
    Block(Vec<Statement>),
    /// A declaration; one with several declarators becomes several.
    Variable(Variable),
    /// An instruction.
    Instruction(Instruction),
    /// `.loc`, `.pragma`, `.branchtargets`, …
    Directive(Directive),
}

/// `@p` or `@!p`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    /// `@!p`
    pub negated: bool,
    /// The predicate register.
    pub register: String,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Guard predicate.
    pub guard: Option<Guard>,
    /// First word: `ld`, `mad`, `cp`, `wgmma`, …
    pub opcode: String,
    /// The words behind it without their dots, in order; `shared::cta` and `L2::128B` are one word each.
    pub modifiers: Vec<String>,
    /// Operands in order.
    pub operands: Vec<Operand>,
    /// From the first byte of the opcode (behind the guard) to the last operand.
    pub span: Span,
}

impl Instruction {
    /// Whether a modifier occurs.
    pub fn has(&self, modifier: &str) -> bool {
        self.modifiers.iter().any(|word| word == modifier)
    }

    /// The types among the modifiers, in order.
    pub fn types(&self) -> impl Iterator<Item = Type> + '_ {
        self.modifiers.iter().filter_map(|word| Type::parse(word))
    }

    /// Opcode and modifiers as written: `ld.global.f32`.
    pub fn mnemonic(&self) -> String {
        let mut text = self.opcode.clone();
        for modifier in &self.modifiers {
            text.push('.');
            text.push_str(modifier);
        }
        text
    }
}

/// An operand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// Register, label, symbol, special register (`%tid.x`), vector component (`%v.x`), `WARP_SZ`.
    Name(String),
    /// An integer constant; a constant expression is folded.
    Integer(i128),
    /// `0f…`: the bits.
    F32(u32),
    /// `0d…` or a decimal float: the bits.
    F64(u64),
    /// `[base+offset]`
    Address {
        /// What the offset is added to.
        base: AddressBase,
        /// Byte offset.
        offset: i64,
    },
    /// `[a, {x, y}]`, `[a, b, {x, y}]`: tensor maps and textures with coordinates.
    TensorAddress(Vec<Operand>),
    /// `{a, b}`
    Vector(Vec<Operand>),
    /// `d|p`
    Pair(Box<Operand>, Box<Operand>),
    /// `!p`
    Not(Box<Operand>),
    /// `(a, b)`: the lists of a call.
    Group(Vec<Operand>),
    /// `_`
    Discard,
    /// `symbol+8` outside brackets.
    SymbolOffset {
        /// Symbol.
        name: String,
        /// Byte offset, not zero.
        offset: i64,
    },
    /// `array[3]` outside brackets.
    Element {
        /// Array variable.
        name: String,
        /// Index.
        index: i64,
    },
}

/// Base of an [`Operand::Address`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AddressBase {
    /// A register or symbol.
    Name(String),
    /// An absolute address: the offset alone.
    Absolute,
}

/// A directive that is neither a variable nor a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// `.file index "name", timestamp, size`
    File {
        /// Index that `.loc` refers to.
        index: u32,
        /// File name, escapes as written.
        name: String,
        /// Time stamp and size, given together.
        stamp: Option<(u64, u64)>,
    },
    /// `.loc …`
    Loc(Location),
    /// `.section name { … }`
    Section {
        /// Name with its leading dot, if it has one.
        name: String,
        /// Lines.
        lines: Vec<SectionLine>,
    },
    /// `.pragma "…", "…";`
    Pragma(Vec<String>),
    /// `label: .branchtargets a, b;`
    BranchTargets {
        /// Name of the table.
        label: String,
        /// Labels.
        targets: Vec<String>,
        /// Place.
        span: Span,
    },
    /// `label: .calltargets f, g;`
    CallTargets {
        /// Name of the table.
        label: String,
        /// Functions.
        targets: Vec<String>,
        /// Place.
        span: Span,
    },
    /// `label: .callprototype (…) _ (…);`
    CallPrototype(CallPrototype),
    /// `.alias name, target;`
    Alias {
        /// The new name.
        name: String,
        /// The function it stands for.
        target: String,
        /// Place.
        span: Span,
    },
}

/// `.loc file line column`, where an instruction came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// Index of a `.file`.
    pub file: u32,
    /// Line in it.
    pub line: u32,
    /// Column in it.
    pub column: u32,
    /// `function_name … inlined_at …`
    pub inlined: Option<Inlined>,
}

/// The inlining part of a `.loc`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inlined {
    /// Label in `.debug_str`.
    pub function: String,
    /// Offset added to the label.
    pub offset: i64,
    /// File, line and column of the call.
    pub at: (u32, u32, u32),
}

/// A line of a `.section`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SectionLine {
    /// `name:`
    Label(String),
    /// `.b8 …`, `.b16 …`, `.b32 …`, `.b64 …`
    Data {
        /// `.b8` to `.b64`.
        ty: Type,
        /// Values.
        values: Vec<SectionValue>,
    },
}

/// A value in a `.section`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SectionValue {
    /// A number.
    Integer(i128),
    /// `name` or `name+offset`; a section's name keeps its dot.
    Symbol(String, i64),
    /// `name-name`
    Difference(String, String),
}

/// `.callprototype`: the shape of an indirect call's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPrototype {
    /// Name.
    pub label: String,
    /// Return parameters.
    pub returns: Vec<Variable>,
    /// Parameters.
    pub params: Vec<Variable>,
    /// `.noreturn`, `.abi_preserve`, `.abi_preserve_control`
    pub directives: Vec<FunctionDirective>,
    /// Place.
    pub span: Span,
}
