//! What goes into `OUT_DIR` for the attribute to include.
//!
//! ```text
//! $OUT_DIR/kernel_factory/<64 digits of the key>/
//!     kernel.rs           constants and `SOURCE`, which include the files beside it
//!     interface.json      sizes and arguments, for the runtime
//!     plan.json           as sealed
//!     certificate.json    as sealed
//!     sm_90.ptx …         as sealed
//! ```
//!
//! A stub has `kernel.rs` and `interface.json` alone. Files are written only where their content changes, and a
//! module is written after the files that it includes.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use factory_spec::{BoundSpec, Key, Sealed, generated};

use crate::BuildError;

/// Writes everything for a kernel that there is.
pub(crate) fn kernel(out_dir: &Path, spec: &BoundSpec, key: &Key, sealed: &Sealed) -> Result<(), BuildError> {
    let files = sealed.files();
    let ptx: String = sealed.ptx.keys().map(|file| format!("({file:?}, include_str!({file:?})), ")).collect();
    let certificate = &sealed.certificate;
    let targets: Vec<String> = sealed.plan.targets.iter().map(|target| target.arch.to_string()).collect();
    let module = Module {
        key: key.to_string(),
        meaning: spec.meaning().to_string(),
        gates_passed: strings(&certificate.gates_passed()),
        gates_not_run: strings(&certificate.gates_not_run()),
        targets: strings(&targets),
        measured: certificate.measured(),
        plan: format!("include_str!({:?})", generated::PLAN),
        certificate: format!("include_str!({:?})", generated::CERTIFICATE),
        ptx,
        missing: "None".to_owned(),
    };
    write(out_dir, spec, key, files, &module)
}

/// Writes a module that compiles, and whose launch says why there is no kernel.
pub(crate) fn stub(out_dir: &Path, spec: &BoundSpec, key: &Key, reason: &str) -> Result<(), BuildError> {
    let module = Module {
        key: key.to_string(),
        meaning: spec.meaning().to_string(),
        gates_passed: strings::<&str>(&[]),
        gates_not_run: strings::<&str>(&[]),
        targets: strings::<&str>(&[]),
        measured: "nothing".to_owned(),
        plan: "\"\"".to_owned(),
        certificate: "\"\"".to_owned(),
        ptx: String::new(),
        missing: format!("Some({reason:?})"),
    };
    write(out_dir, spec, key, Vec::new(), &module)
}

/// The parts of `kernel.rs` that differ; all but `key`, `meaning` and `measured` are Rust already.
struct Module {
    key: String,
    meaning: String,
    gates_passed: String,
    gates_not_run: String,
    targets: String,
    measured: String,
    plan: String,
    certificate: String,
    ptx: String,
    missing: String,
}

impl Module {
    /// The text of `kernel.rs`. `KernelSource` is brought into scope by the attribute, which knows what the runtime is
    /// called in the user's crate.
    fn print(&self, name: &str) -> String {
        let Module {
            key,
            meaning,
            gates_passed,
            gates_not_run,
            targets,
            measured,
            plan,
            certificate,
            ptx,
            missing,
        } = self;
        let mut text = String::with_capacity(2048);
        let mut constant = |doc: &str, name: &str, ty: &str, value: &str| {
            let _ = writeln!(text, "/// {doc}\npub const {name}: {ty} = {value};");
        };
        let list = "&[&str]";
        constant("The kernel's name.", "NAME", "&str", &format!("{name:?}"));
        constant("SHA-256 of what was searched for, in hexadecimal.", "KEY", "&str", &format!("{key:?}"));
        constant("SHA-256 of what is correct, in hexadecimal.", "MEANING", "&str", &format!("{meaning:?}"));
        constant("The gates that the kernel passed.", "GATES_PASSED", list, gates_passed);
        constant(
            "The gates that were not run, so nothing is known of them.",
            "GATES_NOT_RUN",
            list,
            gates_not_run,
        );
        constant("The architectures that there is PTX for.", "TARGETS", list, targets);
        constant(
            "What the kernel was measured on, or `modelled`.",
            "MEASURED",
            "&str",
            &format!("{measured:?}"),
        );
        let interface = generated::INTERFACE;
        let _ = write!(
            text,
            "/// The kernel with its plan, certificate and PTX.
pub static SOURCE: KernelSource = KernelSource {{
    name: NAME,
    key: KEY,
    spec: include_str!({interface:?}),
    plan: {plan},
    certificate: {certificate},
    ptx: &[{ptx}],
    missing: {missing},
}};
"
        );
        text
    }
}

fn write(
    out_dir: &Path,
    spec: &BoundSpec,
    key: &Key,
    mut files: Vec<(String, String)>,
    module: &Module,
) -> Result<(), BuildError> {
    let folder = generated::folder_in(out_dir, key);
    fs::create_dir_all(&folder).map_err(|source| BuildError::Write { path: folder.clone(), source })?;
    files.push((generated::INTERFACE.to_owned(), spec.interface().to_json()));
    files.push((generated::MODULE.to_owned(), module.print(&spec.name)));
    for (name, text) in files {
        let path = folder.join(name);
        write_if_changed(&path, text.as_bytes()).map_err(|source| BuildError::Write { path, source })?;
    }
    Ok(())
}

/// Leaves a file alone that has the content already, so that its time stamp says when it last changed.
fn write_if_changed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) { Ok(()) } else { fs::write(path, bytes) }
}

fn strings<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("{:?}", item.as_ref())).collect();
    format!("&[{}]", items.join(", "))
}
