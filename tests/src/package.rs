//! A crate in a temporary folder, and cargo at work on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use factory_build::cache::Cache;
use factory_spec::{Lock, LockEntry, Sealed};

/// Variables that would make a build here another one than there.
const FOREIGN: [&str; 18] = [
    "KERNEL_FACTORY",
    "KERNEL_FACTORY_CACHE_DIR",
    "KERNEL_FACTORY_SEED",
    "KERNEL_FACTORY_EVIDENCE",
    "KERNEL_FACTORY_LAUNCHER",
    "KERNEL_FACTORY_WORKERS",
    "KERNEL_FACTORY_PROVERS",
    "KERNEL_FACTORY_WORKER_SECONDS",
    "KERNEL_FACTORY_BUDGET",
    "KERNEL_FACTORY_DEVICE",
    "DOCS_RS",
    "RA_RUSTC_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
];

/// A crate of its own, with an empty cache of its own.
#[derive(Debug)]
pub struct Package {
    name: String,
    dir: PathBuf,
    cache: PathBuf,
    /// The folder that all packages share
    target: PathBuf,
}

/// What a program did.
#[derive(Debug)]
pub struct Run {
    /// Whether it ended well
    pub success: bool,
    /// What it printed, errors first
    pub output: String,
}

impl Package {
    /// An empty package below `folder`: a manifest, and a build script that calls `compile`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn new(folder: &str, name: &str) -> Package {
        let folder = Path::new(folder).join("end-to-end");
        let package = Package {
            name: name.to_owned(),
            dir: folder.join("packages").join(name),
            cache: folder.join("caches").join(name),
            target: folder.join("target"),
        };
        for old in [&package.dir, &package.cache] {
            if old.exists() {
                fs::remove_dir_all(old)
                    .unwrap_or_else(|error| panic!("cannot remove {}: {error}", old.display()));
            }
        }
        package.manifest("factory-build = { path = \"@/factory-build\" }");
        package.write("build.rs", "fn main() {\n    factory_build::compile();\n}\n");
        // The versions that the workspace was built with are those that were downloaded.
        let lock = workspace().join("Cargo.lock");
        fs::copy(&lock, package.path("Cargo.lock"))
            .unwrap_or_else(|error| panic!("cannot copy {}: {error}", lock.display()));
        package
    }

    /// Writes the manifest with these build dependencies; `@` stands for the workspace.
    pub fn manifest(&self, build_dependencies: &str) {
        let workspace = workspace();
        let dependencies = build_dependencies.replace('@', &workspace.display().to_string());
        let (name, runtime) = (&self.name, workspace.join("factory-runtime"));
        self.write(
            "Cargo.toml",
            &format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\nfactory-runtime = {{ path = {runtime:?} }}\n\n[build-dependencies]\n{dependencies}\n\n[profile.dev]\ndebug = false\n\n[workspace]\n"
            ),
        );
    }

    /// A library with these annotated signatures.
    pub fn library(&self, signatures: &str) {
        self.write(
            "src/lib.rs",
            &format!(
                "#![allow(unused_imports)]\nuse factory_runtime::{{Tensor, kernel_factory}};\n{signatures}"
            ),
        );
    }

    /// Writes a file of the package.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        let written = fs::create_dir_all(path.parent().expect("a file in a folder"))
            .and_then(|()| fs::write(&path, text));
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// Reads a file of the package.
    ///
    /// # Panics
    /// When that fails.
    pub fn read(&self, path: &str) -> String {
        let path = self.path(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }

    /// Removes a file or folder of the package, if it is there.
    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }

    /// A path in the package.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// The folder of the package's own cache.
    pub fn cache_dir(&self) -> &Path {
        &self.cache
    }

    /// The package's own cache.
    pub fn cache(&self) -> Cache {
        Cache::at(&self.cache)
    }

    /// Seals a kernel into the package, as the command line would, and returns the sealed folder.
    pub fn seal(&self, sealed: &Sealed) -> String {
        let folder = format!("kernels/{}/{}", sealed.certificate.name, sealed.certificate.key.short());
        for (file, text) in sealed.files() {
            self.write(&format!("{folder}/{file}"), &text);
        }
        let path = format!("kernels/{}", Lock::FILE);
        let mut lock = if self.path(&path).exists() {
            Lock::parse(&self.read(&path)).unwrap_or_else(|error| panic!("{error}"))
        } else {
            Lock::default()
        };
        lock.insert(LockEntry::of(sealed));
        self.write(&path, &lock.print());
        folder
    }

    /// Runs cargo on the package, offline, with these variables.
    ///
    /// # Panics
    /// When cargo cannot be started.
    pub fn cargo(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).arg("--offline").current_dir(&self.dir);
        self.run(command, variables)
    }

    /// `cargo build`, verbose enough to say what ran.
    pub fn build(&self, variables: &[(&str, &str)]) -> Run {
        self.cargo(&["build", "-v"], variables)
    }

    /// `program`, in the environment that cargo gives to a build script, with `out_dir` for its results.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn build_script(&self, program: &str, out_dir: &Path, variables: &[(&str, &str)]) -> Command {
        fs::create_dir_all(out_dir)
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", out_dir.display()));
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .env("CARGO_MANIFEST_DIR", &self.dir)
            .env("OUT_DIR", out_dir)
            .env("NUM_JOBS", "2");
        self.prepare(&mut command, variables);
        command
    }

    /// Runs a program with the package's cache.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, mut command: Command, variables: &[(&str, &str)]) -> Run {
        self.prepare(&mut command, variables);
        Run::of(&command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")))
    }

    fn prepare(&self, command: &mut Command, variables: &[(&str, &str)]) {
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.env("KERNEL_FACTORY_CACHE_DIR", &self.cache).env("CARGO_TARGET_DIR", &self.target);
        command.env("CARGO_TERM_COLOR", "never");
        // No test here is about a GPU, and the answers must not depend on whether there is one.
        command.env("KERNEL_FACTORY_DEVICE", "machine").envs(variables.iter().copied());
    }
}

impl Run {
    /// What a finished program did.
    pub fn of(output: &Output) -> Run {
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        Run { success: output.status.success(), output: text }
    }

    /// Checks that it ended well.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn passes(&self) -> &Run {
        assert!(self.success, "this should have succeeded:\n{}", self.output);
        self
    }

    /// Checks that it failed.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn fails(&self) -> &Run {
        assert!(!self.success, "this should have failed:\n{}", self.output);
        assert!(
            !self.output.contains("panicked at"),
            "this should have been an error, not a panic:\n{}",
            self.output
        );
        self
    }

    /// Checks that all of these were printed.
    ///
    /// # Panics
    /// When one was not.
    #[track_caller]
    pub fn says(&self, texts: &[&str]) -> &Run {
        for text in texts {
            assert!(self.output.contains(text), "`{text}` is missing in:\n{}", self.output);
        }
        self
    }

    /// Checks that none of these was printed.
    ///
    /// # Panics
    /// When one was.
    #[track_caller]
    pub fn does_not_say(&self, texts: &[&str]) -> &Run {
        for text in texts {
            assert!(!self.output.contains(text), "`{text}` should not be in:\n{}", self.output);
        }
        self
    }

    /// Whether cargo started the build script of the package.
    pub fn ran_build_script(&self, package: &Package) -> bool {
        self.output.lines().any(|line| {
            line.trim_start().starts_with("Running")
                && line.contains(&format!("/{}-", package.name))
                && line.contains("build-script-build`")
        })
    }
}

/// A package that several tests use, one after the other.
#[derive(Debug)]
pub struct Shared(LazyLock<Mutex<Package>>);

impl Shared {
    /// A package that `make` prepares when it is first used.
    pub const fn new(make: fn() -> Mutex<Package>) -> Shared {
        Shared(LazyLock::new(make))
    }

    /// Waits for the package. A test that failed in it does not keep the others out.
    pub fn take(&self) -> MutexGuard<'_, Package> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every file below a folder, with its time stamp and content.
///
/// # Panics
/// When the folder cannot be read.
pub fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
        for entry in entries.flatten() {
            let (path, metadata) = (entry.path(), entry.metadata().expect("an entry that was just listed"));
            if metadata.is_dir() {
                // The time of a folder tells of files that came and went.
                files.insert(path.clone(), (metadata.modified().expect("a time stamp"), Vec::new()));
                folders.push(path);
            } else {
                let content =
                    fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
                files.insert(path, (metadata.modified().expect("a time stamp"), content));
            }
        }
    }
    files
}

/// The workspace that the package under test is from.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}
