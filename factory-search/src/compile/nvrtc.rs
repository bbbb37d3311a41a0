//! NVRTC: the library, and a pool of processes that have it loaded.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::child::Server;
use super::nvcc::messages_of;
use super::{CompileError, CompileLimits, Compiled, Unit, include_folders};
use crate::host::HostProgram;
use crate::toolchain::CudaTools;

/// NVRTC in processes of its own.
#[derive(Debug)]
pub struct Nvrtc {
    path: PathBuf,
    identity: String,
    includes: Vec<PathBuf>,
    host: HostProgram,
    idle: Mutex<Vec<Server>>,
}

impl Nvrtc {
    /// The library that `KERNEL_FACTORY_NVRTC` names, or the first that works.
    ///
    /// # Errors
    /// None works; in words.
    pub fn find(tools: &CudaTools, host: HostProgram) -> Result<Self, String> {
        let mut last = "no NVRTC library was found".to_owned();
        for path in &tools.nvrtc {
            match Self::at(path, tools, host.clone()) {
                Ok(nvrtc) => return Ok(nvrtc),
                Err(message) => last = format!("`{}` does not work as NVRTC: {message}", path.display()),
            }
        }
        Err(last)
    }

    /// The library at `path`, to be loaded by `host`.
    ///
    /// # Errors
    /// It cannot be loaded there.
    pub fn at(path: &Path, tools: &CudaTools, host: HostProgram) -> Result<Self, String> {
        let server =
            Server::start(&host, path, &CompileLimits::default()).map_err(|error| error.to_string())?;
        let (major, minor) = server.version;
        // The library tells no more than two numbers; its file often has a third in its name.
        let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let full = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once(".so."));
        let identity = match full.map(|(_, version)| version.to_owned()) {
            Some(version) if version.starts_with(&format!("{major}.{minor}.")) => format!("nvrtc {version}"),
            _ => format!("nvrtc {major}.{minor}"),
        };
        let includes = include_folders(tools, path);
        Ok(Self { path: path.to_owned(), identity, includes, host, idle: Mutex::new(vec![server]) })
    }

    /// `nvrtc` with its version.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn compile(&self, unit: &Unit, limits: &CompileLimits) -> Result<Compiled, CompileError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        let mut server = match waiting {
            Some(server) => server,
            None => Server::start(&self.host, &self.path, limits)?,
        };
        let outcome = server.compile(unit, &self.includes, limits);
        if matches!(outcome, Ok(_) | Err(CompileError::Refused(_))) {
            idle().push(server);
        }
        outcome
    }
}

type Program = *mut std::ffi::c_void;

/// The functions of the library that are used.
#[derive(Debug)]
pub(super) struct Library {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    add_name: unsafe extern "C" fn(Program, *const c_char) -> c_int,
    lowered_name: unsafe extern "C" fn(Program, *const c_char, *mut *const c_char) -> c_int,
    ptx_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    ptx: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    log: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    /// Kept open: the functions above are its code. First the parts that it looks for by name.
    _libraries: Vec<libloading::Library>,
}

/// `NVRTC_ERROR_COMPILATION`.
const REFUSED: c_int = 6;

impl Library {
    /// Loads the library at `path`.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let mut libraries = Vec::new();
        // It opens its own second part by name alone, which is found when that part is open already.
        for part in builtins(path) {
            // SAFETY: NVIDIA's library has no initialisers that depend on anything of ours.
            libraries.extend(unsafe { libloading::Library::new(part) });
        }
        // SAFETY: as above.
        let library = unsafe { libloading::Library::new(path) }.map_err(|error| error.to_string())?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the types above are those of NVRTC's documented interface, unchanged since CUDA 8.
                *unsafe { library.get(concat!($name, "\0").as_bytes()) }.map_err(|error| error.to_string())?
            };
        }
        let found = Self {
            version: function!("nvrtcVersion"),
            create: function!("nvrtcCreateProgram"),
            destroy: function!("nvrtcDestroyProgram"),
            compile: function!("nvrtcCompileProgram"),
            add_name: function!("nvrtcAddNameExpression"),
            lowered_name: function!("nvrtcGetLoweredName"),
            ptx_size: function!("nvrtcGetPTXSize"),
            ptx: function!("nvrtcGetPTX"),
            log_size: function!("nvrtcGetProgramLogSize"),
            log: function!("nvrtcGetProgramLog"),
            _libraries: Vec::new(),
        };
        libraries.push(library);
        Ok(Self { _libraries: libraries, ..found })
    }

    pub(super) fn version(&self) -> (u32, u32) {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are valid for writes.
        let code = unsafe { (self.version)(&mut major, &mut minor) };
        if code == 0 { (major.unsigned_abs(), minor.unsigned_abs()) } else { (0, 0) }
    }

    pub(super) fn compile(&self, unit: &Unit, includes: &[PathBuf]) -> Result<Compiled, CompileError> {
        let text = |text: &str| {
            CString::new(text).map_err(|_| CompileError::Refused("the source holds a zero byte".to_owned()))
        };
        let failed =
            |what: &str, code: c_int| CompileError::NotRun(format!("NVRTC: {what} failed with code {code}"));
        let source = text(&unit.text())?;
        let name = text(&unit.file)?;
        let bodies: Vec<CString> = unit.headers.values().map(|body| text(body)).collect::<Result<_, _>>()?;
        let paths: Vec<CString> = unit.headers.keys().map(|path| text(path)).collect::<Result<_, _>>()?;
        let mut options = unit.options();
        options.extend(includes.iter().map(|folder| format!("-I{}", folder.display())));
        let options: Vec<CString> = options.iter().map(|option| text(option)).collect::<Result<_, _>>()?;
        let pointers = |strings: &[CString]| strings.iter().map(|string| string.as_ptr()).collect::<Vec<_>>();
        let (bodies, paths, options) = (pointers(&bodies), pointers(&paths), (pointers(&options), options));

        let mut program: Program = ptr::null_mut();
        // SAFETY: every pointer is to a string, or an array of the given length of strings, that outlives the call; NVRTC
        // copies what it keeps.
        let code = unsafe {
            let headers = bodies.len() as c_int;
            (self.create)(
                &mut program,
                source.as_ptr(),
                name.as_ptr(),
                headers,
                bodies.as_ptr(),
                paths.as_ptr(),
            )
        };
        if code != 0 {
            return Err(failed("creating a program", code));
        }
        let outcome = self.compile_program(program, unit, &options.0);
        // SAFETY: the program was created above and is not used any more.
        unsafe { (self.destroy)(&mut program) };
        outcome
    }

    fn compile_program(
        &self,
        program: Program,
        unit: &Unit,
        options: &[*const c_char],
    ) -> Result<Compiled, CompileError> {
        let failed =
            |what: &str, code: c_int| CompileError::NotRun(format!("NVRTC: {what} failed with code {code}"));
        let mut expressions = Vec::new();
        for expression in &unit.expressions {
            let name = CString::new(expression.as_str())
                .map_err(|_| CompileError::Refused("a name expression holds a zero byte".to_owned()))?;
            // SAFETY: the program is valid and the string outlives the call.
            let code = unsafe { (self.add_name)(program, name.as_ptr()) };
            if code != 0 {
                return Err(failed("adding a name expression", code));
            }
            expressions.push((expression, name));
        }
        // SAFETY: the program is valid, and `options` holds as many strings as it says.
        let code = unsafe { (self.compile)(program, options.len() as c_int, options.as_ptr()) };
        if code != 0 {
            let log = self.text(program, self.log_size, self.log).unwrap_or_default();
            return Err(match code {
                REFUSED => CompileError::Refused(messages_of(&log, unit)),
                _ => CompileError::NotRun(format!("NVRTC failed with code {code}: {}", log.trim())),
            });
        }
        let ptx = self
            .text(program, self.ptx_size, self.ptx)
            .ok_or_else(|| CompileError::NotRun("NVRTC gave no PTX".to_owned()))?;
        let mut names = BTreeMap::new();
        for (expression, name) in expressions {
            let mut lowered: *const c_char = ptr::null();
            // SAFETY: the program was compiled with this expression; the pointer is valid for a write.
            let code = unsafe { (self.lowered_name)(program, name.as_ptr(), &mut lowered) };
            if code != 0 || lowered.is_null() {
                return Err(failed("asking for a name", code));
            }
            // SAFETY: NVRTC gives a string that lives as long as the program.
            let lowered = unsafe { CStr::from_ptr(lowered) };
            names.insert(expression.clone(), lowered.to_string_lossy().into_owned());
        }
        Ok(Compiled { ptx, names })
    }

    /// A text that NVRTC first tells the length of.
    fn text(
        &self,
        program: Program,
        size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
        get: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ) -> Option<String> {
        let mut length = 0;
        // SAFETY: the program is valid and the pointer too.
        if unsafe { size(program, &mut length) } != 0 {
            return None;
        }
        let mut bytes = vec![0_u8; length + 1];
        // SAFETY: the buffer has the length that NVRTC asked for.
        if unsafe { get(program, bytes.as_mut_ptr().cast()) } != 0 {
            return None;
        }
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(length);
        bytes.truncate(end);
        String::from_utf8(bytes).ok()
    }
}

/// The files beside the library that it opens by name.
fn builtins(path: &Path) -> Vec<PathBuf> {
    let Some(folder) = path.parent() else { return Vec::new() };
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.contains("nvrtc-builtins")
                && !name.contains(".alt.")
                && (name.contains(".so") || name.ends_with(".dll"))
        })
        .collect();
    found.sort();
    found
}
