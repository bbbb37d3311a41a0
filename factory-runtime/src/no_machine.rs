//! In the place of the PTX machine where the feature `machine` is off: kernels are refused, in words.

use crate::compiled::Contract;
use crate::resolved::Resolved;
use crate::{ArgValue, Error, MachineOptions, Result};

/// There is none.
pub(crate) enum Emulated {}

impl Emulated {
    pub(crate) fn load(
        kernel: &'static str,
        _file: &str,
        _ptx: &str,
        _entries: &[String],
    ) -> Result<Emulated> {
        let why = "factory-runtime was built without its feature `machine`; launch on a GPU, or turn the feature on";
        Err(Error::MachineUnsupported { kernel, why: why.to_owned() })
    }

    pub(crate) fn run(
        &self,
        _kernel: &'static str,
        _contract: &Contract,
        _resolved: &Resolved,
        _options: &MachineOptions,
        _args: &mut [ArgValue<'_>],
    ) -> Result<()> {
        match *self {}
    }
}
