//! References written in C: compiled by the system's compiler, loaded, and called in this process.
//!
//! The source is part of the spec, and as trusted as a build script: it can do whatever the process may. The function is
//! given sizes, inputs and outputs as [`CReference`] says. It is compiled once a process, with optimisation, without
//! fused multiplication and addition and without any other liberty about floating point.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use crate::oracle::{Inputs, Outputs};
use crate::{BoundSpec, CReference, SizeValues};

/// Why a C reference could not be called.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CReferenceError {
    /// There is no compiler for this system
    #[error(
        "no C compiler was found for the reference `{file}`: {reason}\n\nhint: install one (`cc`, `gcc` or `clang`) or name it in the environment variable `CC`"
    )]
    NoCompiler {
        /// The source
        file: String,
        /// What was tried
        reason: String,
    },
    /// The compiler refuses the source
    #[error("the C reference `{file}` does not compile:\n{message}")]
    Compile {
        /// The source
        file: String,
        /// What the compiler says
        message: String,
    },
    /// The compiled source lacks the function
    #[error("the C reference `{file}` has no function `{function}` that is not static")]
    NoFunction {
        /// The source
        file: String,
        /// The function
        function: String,
    },
    /// The compiled source cannot be loaded
    #[error("the compiled C reference `{file}` cannot be loaded")]
    Load {
        /// The source
        file: String,
        /// Why
        #[source]
        source: libloading::Error,
    },
    /// A file could not be written
    #[error("the C reference `{file}` could not be prepared in a temporary folder")]
    Io {
        /// The source
        file: String,
        /// Why
        #[source]
        source: io::Error,
    },
}

type Function = unsafe extern "C" fn(*const i64, *const *const f64, *const *mut f64);

/// A loaded library. The folder that it lies in goes when it does.
struct Compiled {
    // Fields are dropped in order: the library must be closed before its file can be removed on Windows.
    library: libloading::Library,
    _folder: tempfile::TempDir,
}

/// Calls a C reference. `outputs` holds a zeroed buffer of the right length for every argument that is written, and
/// `inputs` has the right lengths too.
pub(crate) fn call(
    spec: &BoundSpec,
    reference: &CReference,
    sizes: &SizeValues,
    inputs: &Inputs,
    outputs: &mut Outputs,
) -> Result<(), CReferenceError> {
    let compiled = compiled(reference)?;
    let missing = || CReferenceError::NoFunction {
        file: reference.file.display().to_string(),
        function: reference.function.clone(),
    };
    let name = CString::new(reference.function.as_str()).map_err(|_| missing())?;
    // SAFETY: that the function has this signature is what the spec's documentation asks of its author.
    let function =
        unsafe { compiled.library.get::<Function>(name.as_bytes_with_nul()) }.map_err(|_| missing())?;

    let sizes: Vec<i64> = sizes.0.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
    let inputs: Vec<*const f64> =
        spec.inputs().map(|(id, _)| inputs.get(id).map_or(std::ptr::null(), <[f64]>::as_ptr)).collect();
    let pointers: Vec<*mut f64> = spec
        .outputs()
        .map(|(id, _)| outputs.0.get_mut(&id).map_or(std::ptr::null_mut(), Vec::as_mut_ptr))
        .collect();
    // SAFETY: the buffers have as many elements as the sizes say and live until the call returns; inputs and outputs are
    // different allocations. The rest is up to the author of the function, as the module's documentation states.
    unsafe { function(sizes.as_ptr(), inputs.as_ptr(), pointers.as_ptr()) };
    Ok(())
}

/// The library of a reference: compiled at first, then kept.
fn compiled(reference: &CReference) -> Result<Arc<Compiled>, CReferenceError> {
    static LIBRARIES: Mutex<Option<HashMap<String, Arc<Compiled>>>> = Mutex::new(None);
    // Held while compiling, so that two threads do not compile the same source.
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let libraries = libraries.get_or_insert_default();
    if let Some(compiled) = libraries.get(&reference.source) {
        return Ok(compiled.clone());
    }
    let compiled = Arc::new(compile(reference)?);
    libraries.insert(reference.source.clone(), compiled.clone());
    Ok(compiled)
}

fn compile(reference: &CReference) -> Result<Compiled, CReferenceError> {
    let file = reference.file.display().to_string();
    let io = |source| CReferenceError::Io { file: file.clone(), source };
    let folder = tempfile::Builder::new().prefix("kernel-factory-reference-").tempdir().map_err(io)?;
    let source = folder.path().join("reference.c");
    std::fs::write(&source, &reference.source).map_err(io)?;
    let library = folder.path().join(libloading::library_filename("reference"));

    let target = target();
    let compiler = cc::Build::new()
        .cargo_metadata(false)
        .cargo_warnings(false)
        .target(&target)
        .host(&target)
        .opt_level(2)
        .debug(false)
        .warnings(false)
        .pic(true)
        .out_dir(folder.path())
        .try_get_compiler()
        .map_err(|error| CReferenceError::NoCompiler { file: file.clone(), reason: error.to_string() })?;
    let mut command = compiler.to_command();
    arguments(&mut command, compiler.is_like_msvc(), &source, &library);
    command.current_dir(folder.path());
    // The headers that the source includes by a relative path lie beside it.
    if let Some(parent) = reference.file.parent().and_then(|parent| parent.canonicalize().ok()) {
        command.arg(if compiler.is_like_msvc() { "/I" } else { "-I" }).arg(parent);
    }
    let output = command.output().map_err(|error| CReferenceError::NoCompiler {
        file: file.clone(),
        reason: format!("`{}`: {error}", compiler.path().display()),
    })?;
    if !output.status.success() {
        let text = [output.stderr, output.stdout].concat();
        let message = String::from_utf8_lossy(&text).replace(&*source.to_string_lossy(), &file);
        return Err(CReferenceError::Compile { file, message: message.trim_end().to_owned() });
    }
    // SAFETY: loading runs what the source declares as constructors; it is trusted as the module's documentation states.
    let library = unsafe { libloading::Library::new(&library) }
        .map_err(|source| CReferenceError::Load { file, source })?;
    Ok(Compiled { library, _folder: folder })
}

fn arguments(command: &mut Command, msvc: bool, source: &Path, library: &Path) {
    if msvc {
        command.arg("/LD").arg("/fp:precise").arg(source).arg(format!("/Fe:{}", library.display()));
    } else {
        command.args(["-shared", "-ffp-contract=off", "-o"]).arg(library).arg(source).arg("-lm");
    }
}

/// The triple of the system that this runs on, which outside a build script nobody tells.
fn target() -> String {
    let arch = std::env::consts::ARCH;
    match std::env::consts::OS {
        "macos" => format!("{arch}-apple-darwin"),
        "windows" => format!("{arch}-pc-windows-{}", if cfg!(target_env = "gnu") { "gnu" } else { "msvc" }),
        os => {
            let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
            let arch = if arch == "x86" { "i686" } else { arch };
            format!("{arch}-unknown-{os}-{libc}")
        }
    }
}
