//! Where NVIDIA's tools may be.
//!
//! In this order: what a variable names (`KERNEL_FACTORY_PTXAS`, `KERNEL_FACTORY_NVCC`, `KERNEL_FACTORY_NVRTC`), `PATH`,
//! the toolkits that `CUDA_HOME`, `CUDA_PATH` and `CUDA_ROOT` name, `/usr/local/cuda`, the wheels of the Python
//! environments at hand, and last what `cargo factory toolchain install` fetched. A variable rules alone: a tool that was
//! named and does not work is an error, not a reason to take another.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use factory_spec::generated::CACHE_VARIABLE;

use super::install::installed_folder;

/// What was found, each list likeliest first. Nothing has been run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CudaTools {
    /// Assemblers.
    pub ptxas: Vec<PathBuf>,
    /// Compilers.
    pub nvcc: Vec<PathBuf>,
    /// Libraries of NVRTC.
    pub nvrtc: Vec<PathBuf>,
    /// Toolkits and wheels that have headers or tools.
    pub roots: Vec<PathBuf>,
    nvcc_is_named: bool,
    nvrtc_is_named: bool,
}

impl CudaTools {
    /// Whether NVRTC goes before nvcc: it does, unless nvcc alone was named.
    pub fn prefers_nvrtc(&self) -> bool {
        !self.nvrtc.is_empty() && (self.nvrtc_is_named || !self.nvcc_is_named)
    }

    /// The tools of one toolkit, and nothing else.
    pub fn at(root: &Path) -> Self {
        let mut tools = Self::default();
        tools.add_root(root.to_owned());
        tools
    }

    fn add_root(&mut self, root: PathBuf) {
        if !root.is_dir() || self.roots.contains(&root) {
            return;
        }
        let mut add = |list: fn(&mut Self) -> &mut Vec<PathBuf>, file: PathBuf| {
            if file.is_file() && !list(self).contains(&file) {
                list(self).push(file);
            }
        };
        add(|tools| &mut tools.ptxas, root.join("bin").join(program("ptxas")));
        add(|tools| &mut tools.nvcc, root.join("bin").join(program("nvcc")));
        for library in libraries(&root) {
            add(|tools| &mut tools.nvrtc, library);
        }
        self.roots.push(root);
    }
}

/// Looks everywhere.
pub fn cuda_tools() -> CudaTools {
    let mut tools = CudaTools::default();
    // What lies beside a tool that was named fits it best.
    for variable in ["KERNEL_FACTORY_NVCC", "KERNEL_FACTORY_NVRTC"] {
        if let Some(root) = set(variable).as_deref().and_then(Path::parent).and_then(Path::parent) {
            tools.add_root(root.to_owned());
        }
    }
    for folder in env::var_os("PATH").iter().flat_map(env::split_paths) {
        let ptxas = folder.join(program("ptxas"));
        let nvcc = folder.join(program("nvcc"));
        let found = ptxas.is_file() || nvcc.is_file();
        if ptxas.is_file() {
            tools.ptxas.push(ptxas);
        }
        if nvcc.is_file() {
            tools.nvcc.push(nvcc);
        }
        if let (true, Some(root)) = (found, folder.parent()) {
            tools.add_root(root.to_owned());
        }
    }
    for variable in ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT"] {
        if let Some(root) = set(variable) {
            tools.add_root(root);
        }
    }
    tools.add_root(PathBuf::from("/usr/local/cuda"));
    for site in site_packages() {
        add_site(&mut tools, &site);
    }
    if let Some(folder) = installed_folder() {
        add_site(&mut tools, &folder);
    }
    if let Some(path) = set("KERNEL_FACTORY_PTXAS") {
        tools.ptxas = vec![path];
    }
    if let Some(path) = set("KERNEL_FACTORY_NVCC") {
        tools.nvcc = vec![path];
        tools.nvcc_is_named = true;
    }
    if let Some(path) = set("KERNEL_FACTORY_NVRTC") {
        tools.nvrtc = vec![path];
        tools.nvrtc_is_named = true;
    }
    tools
}

/// The folder of everything that the factory keeps for a user: the one that `KERNEL_FACTORY_CACHE_DIR` names, else
/// `kernel-factory` in the user's cache folder.
pub fn cache_root() -> Option<PathBuf> {
    set(CACHE_VARIABLE).or_else(|| dirs::cache_dir().map(|folder| folder.join("kernel-factory")))
}

fn set(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn program(name: &str) -> String {
    format!("{name}{}", env::consts::EXE_SUFFIX)
}

/// What wheels install into one folder: CUDA 13 shares one, before that each had its own.
fn add_site(tools: &mut CudaTools, site: &Path) {
    let nvidia = site.join("nvidia");
    for folder in ["cu13", "cu12", "cuda_nvcc", "cuda_nvrtc", "cuda_runtime"] {
        tools.add_root(nvidia.join(folder));
    }
    let triton = site.join("triton/backends/nvidia/bin").join(program("ptxas"));
    if triton.is_file() && !tools.ptxas.contains(&triton) {
        tools.ptxas.push(triton);
    }
}

/// The libraries of NVRTC below a root, newest first.
fn libraries(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in ["lib", "lib64", "bin", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let unix = name.starts_with("libnvrtc.so") || name == "libnvrtc.dylib";
            let windows =
                name.starts_with("nvrtc64_") && name.ends_with(".dll") && !name.contains("builtins");
            if unix || windows {
                found.push(entry.path());
            }
        }
    }
    // Of one library under several names (`.so`, `.so.13`, `.so.13.0.88`) one is enough.
    found.sort_by(|a, b| b.as_os_str().len().cmp(&a.as_os_str().len()).then(b.cmp(a)));
    let mut seen = Vec::new();
    found.retain(|path| {
        let file = path.canonicalize().unwrap_or_else(|_| path.clone());
        let new = !seen.contains(&file);
        seen.push(file);
        new && !path.to_string_lossy().contains(".alt.")
    });
    found
}

/// Folders that pip installs into, newest Python first.
fn site_packages() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = Vec::new();
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        roots.extend(env::var_os(variable).map(PathBuf::from));
    }
    if let Some(home) = env::var_os("HOME") {
        roots.push(Path::new(&home).join(".local"));
    }
    roots.extend(["/usr/local", "/usr"].map(PathBuf::from));
    let mut found = Vec::new();
    for root in roots {
        for library in ["lib", "lib64"] {
            let Ok(entries) = std::fs::read_dir(root.join(library)) else { continue };
            let mut pythons: Vec<PathBuf> = entries
                .flatten()
                .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("python3")))
                .map(|entry| entry.path())
                .collect();
            pythons.sort();
            for python in pythons.into_iter().rev() {
                for packages in ["site-packages", "dist-packages"] {
                    let folder = python.join(OsStr::new(packages));
                    if folder.is_dir() {
                        found.push(folder);
                    }
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheels_of_both_layouts_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |path: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            std::fs::write(path, "").expect("written");
        };
        let exe = env::consts::EXE_SUFFIX;
        put(&format!("nvidia/cu13/bin/nvcc{exe}"));
        put("nvidia/cu13/lib/libnvrtc.so.13");
        put("nvidia/cu13/lib/libnvrtc.alt.so.13");
        put("nvidia/cu13/lib/libnvrtc-builtins.so.13.0");
        put(&format!("nvidia/cuda_nvcc/bin/ptxas{exe}"));
        put(&format!("triton/backends/nvidia/bin/ptxas{exe}"));
        let mut tools = CudaTools::default();
        add_site(&mut tools, folder.path());
        assert_eq!(tools.ptxas.len(), 2);
        assert_eq!(tools.nvcc, [folder.path().join(format!("nvidia/cu13/bin/nvcc{exe}"))]);
        assert_eq!(tools.nvrtc, [folder.path().join("nvidia/cu13/lib/libnvrtc.so.13")]);
        assert!(tools.prefers_nvrtc());
    }
}
