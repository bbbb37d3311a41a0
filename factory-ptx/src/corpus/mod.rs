//! Small PTX programs that carry their own expected results, for every engine that runs PTX.
//!
//! A program says in comment lines how it is launched and what must come out. Arguments stand in the order of the
//! kernel's parameters:
//!
//! ```text
//! // run: grid=2 block=32 in x:f32=[1, 2.5, nan] out y:f32[3]=[2, 5, nan] scalar n:u32=3
//! // run: grid=2,1,1 block=8,4 cluster=2 shared=1024 inout z:u32=iota(64) -> fill(64, 7)
//! // run: block=32 out y:f32[32]=? tolerance=1e-6
//! // run: block=32 in x:f16=random(64, 1) tensor m=x dims=8,8 box=8,4 out y:f16[64]=recorded
//! // fault: out_of_bounds
//! ```
//!
//! - `in`, `out`, `inout`, `scalar` introduce an argument `name:type`. Types are those of PTX: `u8` to `u64`, `s8` to
//!   `s64`, `f16`, `bf16`, `f32`, `f64`. A scalar of several values is a structure passed by value.
//! - Values are `[v, …]`, `iota(n)` (0, 1, 2, …), `fill(n, v)`, `random(n, seed)` and `random(n, seed, low, high)` (drawn
//!   evenly from low to below high; without bounds from -1 to 1, or from all integers of the type), `bits(n, seed)`
//!   (every bit pattern); an `inout` says `before -> after`; `?` expects nothing, `recorded` what the file of answers
//!   beside the program holds ([`Answers`]). A hexadecimal value of a floating-point type is its bits.
//! - `tolerance=e` after an expectation allows a relative error, and `absolute=e` an error that large besides; without
//!   them results are equal bit for bit, but that all NaNs count as equal.
//! - `tensor name=argument dims=… box=…` is a tensor map over that argument's buffer, passed by value as 128 bytes. It
//!   may say `strides=…` in bytes (of the dimensions behind the first; dense without them), `steps=…` in elements,
//!   `swizzle=32|64|128`, `interleave=16|32`, `fill=nan`, `type=…` (the argument's own without it; `tf32` is one too).
//! - `// entry: name` chooses the entry of the `run` lines behind it (the module's first one by default).
//! - `// fault: kind` says that the run before it must end with this fault (on a machine that can tell).
//! - A line that begins with `//   ` (three blanks or more) behind a `run` line goes on with it.

mod answers;
mod element;
mod read;
mod tensor;

pub use answers::{Answer, Answers, fnv};
pub use element::Element;
pub use read::runs;
pub use tensor::{TensorElement, TensorMapSpec};

/// What is wrong with a corpus line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct CorpusError {
    /// Line of the file.
    pub line: usize,
    /// What was expected.
    pub message: String,
}

/// What an argument is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read only.
    In,
    /// Written; its bytes before the launch do not matter.
    Out,
    /// Read and written.
    InOut,
    /// Passed by value.
    Scalar,
    /// A tensor map over another argument's buffer, passed by value.
    TensorMap,
}

/// One argument of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Name, for messages.
    pub name: String,
    /// What it is to the kernel.
    pub role: Role,
    /// Type of its elements.
    pub element: Element,
    /// Bytes before the launch (of an output: zeros, which say how many).
    pub before: Vec<u8>,
    /// Bytes expected behind the launch.
    pub after: Option<Vec<u8>>,
    /// What is expected stands in the file of answers.
    pub recorded: bool,
    /// Relative error that is allowed.
    pub tolerance: Option<f64>,
    /// Absolute error that is allowed besides.
    pub absolute: Option<f64>,
    /// What a tensor map describes.
    pub tensor: Option<TensorMapSpec>,
}

impl Argument {
    /// Whether the launch must have written every byte of it.
    pub fn is_checked(&self) -> bool {
        self.after.is_some() || self.recorded
    }

    /// Compares what came out with what the run line says must: the first difference, in words.
    pub fn difference(&self, actual: &[u8]) -> Option<String> {
        self.difference_from(actual, self.after.as_ref()?)
    }

    /// Compares what came out with what was expected: the first difference, in words.
    pub fn difference_from(&self, actual: &[u8], expected: &[u8]) -> Option<String> {
        if actual.len() != expected.len() {
            return Some(format!(
                "`{}` has {} bytes, {} were expected",
                self.name,
                actual.len(),
                expected.len()
            ));
        }
        let size = self.element.size();
        for (index, (a, e)) in actual.chunks_exact(size).zip(expected.chunks_exact(size)).enumerate() {
            let (x, y) = (self.element.value(a), self.element.value(e));
            let same = a == e
                || (x.is_nan() && y.is_nan())
                || self.tolerance.is_some_and(|t| (x - y).abs() <= t * y.abs().max(f64::MIN_POSITIVE))
                || self.absolute.is_some_and(|t| (x - y).abs() <= t);
            if !same {
                return Some(format!(
                    "`{}[{index}]` is {x} ({a:02x?}), {y} ({e:02x?}) was expected",
                    self.name
                ));
            }
        }
        None
    }
}

/// One launch of a program with its expectations.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The entry, if the file names one.
    pub entry: Option<String>,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Blocks of a cluster.
    pub cluster: [u32; 3],
    /// Dynamic shared memory in bytes.
    pub shared_bytes: u32,
    /// Arguments, in the order of the kernel's parameters.
    pub arguments: Vec<Argument>,
    /// The fault that must end it.
    pub fault: Option<String>,
    /// Line of the file.
    pub line: usize,
}

impl Run {
    /// The bytes of each parameter, given the address of each argument (scalars ignore theirs). A tensor map is what
    /// `encode` makes of its description and its buffer's address.
    ///
    /// # Errors
    /// What `encode` says.
    pub fn values(
        &self,
        addresses: &[u64],
        mut encode: impl FnMut(&TensorMapSpec, u64) -> Result<[u8; 128], String>,
    ) -> Result<Vec<Vec<u8>>, String> {
        let value = |(argument, address): (&Argument, &u64)| match (&argument.tensor, argument.role) {
            (Some(tensor), _) => {
                let at = self.arguments.iter().position(|other| other.name == tensor.buffer);
                let address = at.and_then(|at| addresses.get(at)).ok_or("a tensor map of no buffer")?;
                Ok(encode(tensor, *address)?.to_vec())
            }
            (None, Role::Scalar) => Ok(argument.before.clone()),
            (None, _) => Ok(address.to_le_bytes().to_vec()),
        };
        self.arguments.iter().zip(addresses).map(value).collect()
    }

    /// The bytes of all parameters: those of [`Run::values`], each at its natural alignment (64 for a tensor map).
    ///
    /// # Errors
    /// What `encode` says.
    pub fn params(
        &self,
        addresses: &[u64],
        encode: impl FnMut(&TensorMapSpec, u64) -> Result<[u8; 128], String>,
    ) -> Result<Vec<u8>, String> {
        let mut bytes: Vec<u8> = Vec::new();
        for (argument, value) in self.arguments.iter().zip(self.values(addresses, encode)?) {
            let align = match argument.role {
                Role::TensorMap => 64,
                Role::Scalar => argument.element.size(),
                _ => 8,
            };
            bytes.resize(bytes.len().next_multiple_of(align), 0);
            bytes.extend_from_slice(&value);
        }
        Ok(bytes)
    }

    /// A number for everything that goes into the run, so that an answer knows what it is the answer to.
    pub fn fingerprint(&self) -> u64 {
        let mut bytes = format!(
            "{:?} {:?} {:?} {:?} {}",
            self.entry, self.grid, self.block, self.cluster, self.shared_bytes
        )
        .into_bytes();
        for argument in &self.arguments {
            bytes.extend_from_slice(
                format!("{} {:?} {} {:?}", argument.name, argument.role, argument.element, argument.tensor)
                    .as_bytes(),
            );
            bytes.extend_from_slice(&argument.before);
        }
        fnv(&bytes)
    }
}
