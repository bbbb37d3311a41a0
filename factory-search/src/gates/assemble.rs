//! ptxas accepts the PTX.

use factory_spec::Arch;

use crate::toolchain::{AssembleError, Ptxas, Resources};
use crate::verdict::{Gate, Reason, Rejection};

/// Assembles a module for its target.
///
/// # Errors
/// ptxas refuses it (`Unsupported`), or ptxas could not be run (`Infrastructure`).
pub fn assemble(ptxas: &Ptxas, ptx: &str, arch: Arch) -> Result<Resources, Rejection> {
    ptxas.assemble(ptx, arch).map_err(|error| {
        let reason = match error {
            AssembleError::Refused(message) => Reason::NotAssembled { arch: arch.to_string(), message },
            AssembleError::NotRun(message) => Reason::Infrastructure { message: format!("ptxas: {message}") },
        };
        Rejection::new(Gate::Assemble, reason)
    })
}
