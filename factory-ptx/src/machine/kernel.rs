//! A kernel, decoded and ready to run.

use std::collections::BTreeMap;

use super::decode::{Whole, decode, layout_params};
use super::error::Unsupported;
use super::report::Class;
use super::source::{Source, sources};
use crate::ast::{FunctionDirective, FunctionKind, Module};

/// Where one parameter of an entry lies in the bytes of [`Launch::params`](super::Launch::params).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamLayout {
    /// Name in the PTX text.
    pub name: String,
    /// Offset in bytes.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
    /// Alignment in bytes.
    pub align: usize,
}

/// An entry of a module, with every function it can call, decoded once. Launches borrow it, from any thread.
pub struct Kernel {
    name: String,
    params: Vec<ParamLayout>,
    pub(crate) whole: Whole,
    required_block: Option<[u32; 3]>,
    max_threads: Option<u32>,
    required_cluster: Option<[u32; 3]>,
    sources: BTreeMap<u32, Source>,
}

/// 1 to 3 values, the missing ones 1.
fn three(values: &[u32]) -> [u32; 3] {
    std::array::from_fn(|axis| values.get(axis).copied().unwrap_or(1))
}

impl Kernel {
    /// Decodes the entry of this name.
    ///
    /// # Errors
    /// [`Unsupported`] names the first form that the machine does not run, its line, and what it would need.
    pub fn new(module: &Module, entry: &str) -> Result<Kernel, Unsupported> {
        let Some(function) = module.entries().find(|function| function.name == entry) else {
            return Err(Unsupported {
                line: 0,
                form: format!(".entry {entry}"),
                needs: "an entry of this name with a body".to_owned(),
            });
        };
        debug_assert!(function.kind == FunctionKind::Entry);
        if module.address_size != 64 {
            return Err(Unsupported {
                line: 0,
                form: format!(".address_size {}", module.address_size),
                needs: "addresses of 64 bits".to_owned(),
            });
        }
        let params = layout_params(function)?;
        let whole = decode(module, function, &params)?;
        let mut kernel = Kernel {
            name: entry.to_owned(),
            params,
            whole,
            required_block: None,
            max_threads: None,
            required_cluster: None,
            sources: sources(module),
        };
        for directive in &function.directives {
            match directive {
                FunctionDirective::ReqNTid(values) => kernel.required_block = Some(three(values)),
                FunctionDirective::MaxNTid(values) => {
                    kernel.max_threads =
                        Some(values.iter().fold(1, |product, value| product.saturating_mul(*value)));
                }
                FunctionDirective::ReqNCtaPerCluster(values) => kernel.required_cluster = Some(three(values)),
                _ => {}
            }
        }
        Ok(kernel)
    }

    /// The entry's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters in order.
    pub fn params(&self) -> &[ParamLayout] {
        &self.params
    }

    /// Bytes that all parameters take.
    pub fn params_size(&self) -> usize {
        self.params.last().map_or(0, |last| last.offset + last.size)
    }

    /// Static shared memory of a block in bytes.
    pub fn static_shared(&self) -> u32 {
        self.whole.static_shared
    }

    /// `.reqntid`, with missing dimensions 1.
    pub fn required_block(&self) -> Option<[u32; 3]> {
        self.required_block
    }

    /// `.maxntid`: the most threads that a block may have.
    pub fn max_threads(&self) -> Option<u32> {
        self.max_threads
    }

    /// `.reqnctapercluster`, with missing dimensions 1.
    pub fn required_cluster(&self) -> Option<[u32; 3]> {
        self.required_cluster
    }

    /// Where the instructions of a PTX line came from, when the module says so (`nvcc -lineinfo`).
    pub fn source(&self, line: u32) -> Option<&Source> {
        self.sources.get(&line)
    }

    /// Families of this kernel's instructions that the machine knows from the PTX ISA's description alone, and that
    /// were never compared with hardware. Sorted.
    pub fn not_compared(&self) -> Vec<&'static str> {
        let families = self.whole.code.texts.iter().filter_map(|text| super::compared::not_compared(text));
        families.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// Class and line of every decoded instruction that is in the text.
    pub fn instructions(&self) -> impl Iterator<Item = (Class, u32)> + '_ {
        self.whole
            .code
            .insts
            .iter()
            .zip(&self.whole.code.debug)
            .filter(|(inst, _)| !inst.hidden)
            .map(|(inst, line)| (inst.class, *line))
    }
}
