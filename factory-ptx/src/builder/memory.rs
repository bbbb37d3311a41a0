//! Loads, stores and asynchronous copies.

use super::class::{B16, B32, B64, Class, F32, F64, Reg};
use super::entry::Entry;
use crate::ast::{AddressBase, Operand};

/// A class that memory is accessed with.
pub trait Word: Class {
    /// Type word of the access.
    const ACCESS: &'static str;
}

impl Word for B16 {
    const ACCESS: &'static str = "b16";
}
impl Word for B32 {
    const ACCESS: &'static str = "b32";
}
impl Word for B64 {
    const ACCESS: &'static str = "b64";
}
impl Word for F32 {
    const ACCESS: &'static str = "f32";
}
impl Word for F64 {
    const ACCESS: &'static str = "f64";
}

/// What an access that names a policy says.
const POLICY: &str = "L2::cache_hint";

/// How long a line is expected to be of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// Say nothing.
    #[default]
    Normal,
    /// `.cs`: touched once.
    Streaming,
    /// `.L1::no_allocate`: past the first level.
    NoAllocate,
    /// `.L1::evict_first`: the first to go from the first level.
    EvictFirst,
    /// Past the first level, and the last to go from the second: what was written goes before what was read. For loads, by a
    /// policy of the whole entry (PTX ISA, `createpolicy`); a store that says so says nothing.
    EvictLast,
}

/// Cache hints of a global load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoadHint {
    /// Replacement.
    pub priority: Priority,
    /// `.nc`: the memory is read-only while the kernel runs.
    pub read_only: bool,
    /// `.L2::128B`: fetch 128 bytes to the second level.
    pub prefetch_128: bool,
}

impl LoadHint {
    fn words(self) -> Vec<&'static str> {
        let mut words = vec!["global"];
        if self.priority == Priority::Streaming {
            words.push("cs");
        }
        if self.read_only {
            words.push("nc");
        }
        match self.priority {
            Priority::NoAllocate => words.push("L1::no_allocate"),
            Priority::EvictFirst => words.push("L1::evict_first"),
            Priority::EvictLast => words.extend(["L1::no_allocate", POLICY]),
            Priority::Normal | Priority::Streaming => {}
        }
        if self.prefetch_128 {
            words.push("L2::128B");
        }
        words
    }
}

/// Cache hint of a global store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreHint {
    /// Replacement.
    pub priority: Priority,
}

impl StoreHint {
    fn words(self) -> Vec<&'static str> {
        match self.priority {
            Priority::Normal | Priority::EvictLast => vec!["global"],
            Priority::Streaming => vec!["global", "cs"],
            Priority::NoAllocate => vec!["global", "L1::no_allocate"],
            Priority::EvictFirst => vec!["global", "L1::evict_first"],
        }
    }
}

fn at<C: Class>(base: Reg<C>, offset: i64) -> Operand {
    Operand::Address { base: AddressBase::Name(base.name()), offset }
}

/// `.v2` / `.v4` and the operand for one to four registers.
fn vector<C: Class>(registers: &[Reg<C>]) -> (Option<&'static str>, Operand) {
    let list = || Operand::Vector(registers.iter().map(|register| register.operand()).collect());
    match registers.len() {
        1 => (None, registers[0].operand()),
        2 => (Some("v2"), list()),
        4 => (Some("v4"), list()),
        other => unreachable!("a vector access has 1, 2 or 4 elements, not {other}"),
    }
}

impl Entry {
    /// Loads one element of global memory.
    pub fn load_global<C: Word>(&mut self, base: Reg<B64>, offset: i64, hint: LoadHint) -> Reg<C> {
        let register = self.register();
        self.load_global_into(&[register], base, offset, hint);
        register
    }

    /// Loads 1, 2 or 4 elements of global memory into given registers (which a guard may leave as they are).
    pub fn load_global_into<C: Word>(
        &mut self,
        registers: &[Reg<C>],
        base: Reg<B64>,
        offset: i64,
        hint: LoadHint,
    ) {
        let (count, list) = vector(registers);
        let mut words = hint.words();
        words.extend(count);
        words.push(C::ACCESS);
        self.load(&words, list, at(base, offset), hint);
    }

    /// Loads one byte of global memory, zero-extended, into a 16-bit register.
    pub fn load_global_byte_into(&mut self, register: Reg<B16>, base: Reg<B64>, offset: i64, hint: LoadHint) {
        let mut words = hint.words();
        words.push("u8");
        self.load(&words, register.operand(), at(base, offset), hint);
    }

    fn load(&mut self, words: &[&str], into: Operand, from: Operand, hint: LoadHint) {
        let policy = self.policy(hint);
        self.emit("ld", words, [into, from].into_iter().chain(policy).collect());
    }

    /// The operand that says how long the second level keeps a line, where a hint wants one.
    fn policy(&mut self, hint: LoadHint) -> Option<Operand> {
        (hint.priority == Priority::EvictLast).then(|| self.evict_last().operand())
    }

    /// Stores one element to global memory.
    pub fn store_global<C: Word>(&mut self, base: Reg<B64>, offset: i64, value: Reg<C>, hint: &StoreHint) {
        self.store_global_vector(base, offset, &[value], hint);
    }

    /// Stores 1, 2 or 4 elements to global memory.
    pub fn store_global_vector<C: Word>(
        &mut self,
        base: Reg<B64>,
        offset: i64,
        values: &[Reg<C>],
        hint: &StoreHint,
    ) {
        let (count, list) = vector(values);
        let mut words = hint.words();
        words.extend(count);
        words.push(C::ACCESS);
        self.emit("st", &words, vec![at(base, offset), list]);
    }

    /// Stores the low byte of a register to global memory.
    pub fn store_global_byte(&mut self, base: Reg<B64>, offset: i64, value: Reg<B16>, hint: &StoreHint) {
        let mut words = hint.words();
        words.push("u8");
        self.emit("st", &words, vec![at(base, offset), value.operand()]);
    }

    /// Loads 1, 2 or 4 elements of this block's shared memory.
    pub fn load_shared<C: Word>(&mut self, count: usize, base: Reg<B32>, offset: i64) -> Vec<Reg<C>> {
        let registers: Vec<Reg<C>> = (0..count).map(|_| self.register()).collect();
        self.load_shared_into(&registers, base, offset);
        registers
    }

    /// Loads 1, 2 or 4 elements of shared memory into given registers.
    pub fn load_shared_into<C: Word>(&mut self, registers: &[Reg<C>], base: Reg<B32>, offset: i64) {
        let (count, list) = vector(registers);
        let mut words = vec!["shared"];
        words.extend(count);
        words.push(C::ACCESS);
        self.emit("ld", &words, vec![list, at(base, offset)]);
    }

    /// Loads one byte of shared memory, zero-extended.
    pub fn load_shared_byte_into(&mut self, register: Reg<B16>, base: Reg<B32>, offset: i64) {
        self.emit("ld", &["shared", "u8"], vec![register.operand(), at(base, offset)]);
    }

    /// Stores 1, 2 or 4 elements to this block's shared memory.
    pub fn store_shared<C: Word>(&mut self, base: Reg<B32>, offset: i64, values: &[Reg<C>]) {
        let (count, list) = vector(values);
        let mut words = vec!["shared"];
        words.extend(count);
        words.push(C::ACCESS);
        self.emit("st", &words, vec![at(base, offset), list]);
    }

    /// Stores the low byte of a register to shared memory.
    pub fn store_shared_byte(&mut self, base: Reg<B32>, offset: i64, value: Reg<B16>) {
        self.emit("st", &["shared", "u8"], vec![at(base, offset), value.operand()]);
    }

    /// Stores one element to shared memory of a block of the cluster, at an address made by [`Entry::map_shared`].
    pub fn store_cluster<C: Word>(&mut self, base: Reg<B32>, offset: i64, value: Reg<C>) {
        self.emit("st", &["shared::cluster", C::ACCESS], vec![at(base, offset), value.operand()]);
    }

    /// Starts an asynchronous copy of 4, 8 or 16 bytes from global to shared memory.
    ///
    /// 16-byte copies go past the first level of the cache; the narrower ones exist only through it.
    pub fn copy_async(
        &mut self,
        shared: Reg<B32>,
        shared_offset: i64,
        global: Reg<B64>,
        offset: i64,
        bytes: u32,
        hint: LoadHint,
    ) {
        let mut words = vec!["async", if bytes == 16 { "cg" } else { "ca" }, "shared", "global"];
        let policy = self.policy(hint);
        words.extend(policy.is_some().then_some(POLICY));
        if hint.prefetch_128 {
            words.push("L2::128B");
        }
        let operands = [at(shared, shared_offset), at(global, offset), Operand::Integer(i128::from(bytes))];
        self.emit("cp", &words, operands.into_iter().chain(policy).collect());
    }

    /// Closes a group of asynchronous copies.
    pub fn commit_copies(&mut self) {
        self.emit("cp", &["async", "commit_group"], Vec::new());
    }

    /// Waits until at most `pending` of this thread's latest groups are unfinished.
    pub fn wait_copies(&mut self, pending: u32) {
        self.emit("cp", &["async", "wait_group"], vec![Operand::Integer(i128::from(pending))]);
    }
}
