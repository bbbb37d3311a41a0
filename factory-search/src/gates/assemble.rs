//! ptxas accepts the PTX.

use factory_spec::Arch;

use crate::image::Image;
use crate::toolchain::{AssembleError, Ptxas, Resources};
use crate::verdict::{Gate, Reason, Rejection};

/// Assembles a module for its target.
///
/// # Errors
/// ptxas refuses it (`Unsupported`), or ptxas could not be run (`Infrastructure`).
pub fn assemble(ptxas: &Ptxas, ptx: &str, arch: Arch) -> Result<Resources, Rejection> {
    ptxas.assemble(ptx, arch).map_err(|error| rejection(error, arch))
}

/// The same, with the machine code unless this text was assembled before.
///
/// # Errors
/// As [`assemble`].
pub fn assemble_to_image(
    ptxas: &Ptxas,
    ptx: &str,
    arch: Arch,
) -> Result<(Resources, Option<Image>), Rejection> {
    ptxas.assemble_to_image(ptx, arch).map_err(|error| rejection(error, arch))
}

fn rejection(error: AssembleError, arch: Arch) -> Rejection {
    let reason = match error {
        AssembleError::Refused(message) => Reason::NotAssembled { arch: arch.to_string(), message },
        AssembleError::NotRun(message) => Reason::Infrastructure { message: format!("ptxas: {message}") },
    };
    Rejection::new(Gate::Assemble, reason)
}
