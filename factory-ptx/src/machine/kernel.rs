//! A kernel, decoded and ready to run.

use super::error::Unsupported;
use crate::ast::Module;

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
    params: Vec<ParamLayout>,
}

impl Kernel {
    /// Decodes the entry of this name.
    ///
    /// # Errors
    /// [`Unsupported`] names the first form that the machine does not run, its line, and what it would need.
    pub fn new(module: &Module, entry: &str) -> Result<Kernel, Unsupported> {
        let _ = (module, entry);
        Err(Unsupported { line: 0, form: entry.to_owned(), needs: "the decoder".to_owned() })
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
        0
    }

    /// `.reqntid`, with missing dimensions 1.
    pub fn required_block(&self) -> Option<[u32; 3]> {
        None
    }

    /// `.maxntid`: the most threads that a block may have.
    pub fn max_threads(&self) -> Option<u32> {
        None
    }

    /// `.reqnctapercluster`, with missing dimensions 1.
    pub fn required_cluster(&self) -> Option<[u32; 3]> {
        None
    }
}
