//! NVIDIA's tools: where they are, what ptxas says about a module, and how to get them.

mod find;
mod install;
mod ptxas;

pub use find::{CudaTools, cache_root, cuda_tools};
pub use install::{InstallError, PACKAGES, install, installed_folder, remove};
pub use ptxas::{AssembleError, EntryResources, Ptxas, Resources};
