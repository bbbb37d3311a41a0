//! The package at hand: its annotated kernels, or spec files named by hand.

use crate::error::Error;
use factory_build::package::{AnnotatedKernel, Package};
use factory_spec::{BoundSpec, Key, Spec};
use std::path::{Path, PathBuf};

/// A kernel that a command is about.
pub(crate) struct Kernel {
    pub(crate) spec: BoundSpec,
    pub(crate) key: Key,
    /// Where the spec is, for messages
    pub(crate) spec_path: PathBuf,
}

/// Reads the package at `dir`.
pub(crate) fn read(dir: &Path) -> Result<Package, Error> {
    if !dir.join("Cargo.toml").is_file() {
        return Err(Error::NoPackage { path: dir.to_owned() });
    }
    Ok(Package::read(dir)?)
}

/// The kernels that `names` mean: names of annotated kernels, or paths of specs (every dtype binding of each); all
/// annotated ones when there are no names.
pub(crate) fn choose(dir: &Path, names: &[String]) -> Result<Vec<Kernel>, Error> {
    if names.is_empty() {
        let package = read(dir)?;
        if package.kernels().is_empty() {
            return Err(Error::NoKernels { path: dir.to_owned() });
        }
        return Ok(package.kernels().iter().map(|kernel| of_annotated(dir, kernel)).collect());
    }
    let mut chosen = Vec::new();
    let mut package = None;
    for name in names {
        // A path is one that looks like it: a kernel's name holds neither dots nor slashes.
        if name.ends_with(".toml") {
            chosen.extend(of_file(Path::new(name))?);
            continue;
        }
        if package.is_none() {
            package = Some(read(dir)?);
        }
        let kernels = package.as_ref().map_or(&[][..], Package::kernels);
        let before = chosen.len();
        let named = kernels.iter().filter(|kernel| kernel.spec.name == *name);
        chosen.extend(named.map(|kernel| of_annotated(dir, kernel)));
        if chosen.len() == before {
            let mut known: Vec<String> = kernels.iter().map(|kernel| kernel.spec.name.clone()).collect();
            known.dedup();
            return Err(Error::UnknownKernel { name: name.clone(), known_names: known });
        }
    }
    Ok(chosen)
}

/// Paths of specs are relative to the package, which need not be the current folder.
fn of_annotated(dir: &Path, kernel: &AnnotatedKernel) -> Kernel {
    Kernel { spec: kernel.spec.clone(), key: kernel.key, spec_path: dir.join(&kernel.spec_path) }
}

fn of_file(path: &Path) -> Result<Vec<Kernel>, Error> {
    let spec = Spec::read(path)?;
    let mut kernels = Vec::new();
    for bindings in spec.all_bindings() {
        let spec = spec.bind(&bindings)?;
        kernels.push(Kernel { key: spec.key(), spec, spec_path: path.to_owned() });
    }
    Ok(kernels)
}
