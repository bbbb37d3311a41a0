//! NVIDIA's tools from PyPI, into the user's cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use super::find::cache_root;

/// The wheels with their versions: one toolkit, so that its parts fit together.
pub const PACKAGES: [&str; 6] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
];

/// Why nothing was installed or removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The user has no cache folder.
    #[error("there is no folder for caches; name one in `KERNEL_FACTORY_CACHE_DIR`")]
    NoFolder,
    /// There is no Python to run pip with.
    #[error(
        "`{python}` could not be run: {message}; the tools come as Python wheels, so Python 3 with pip is needed (name another in `PYTHON`)"
    )]
    NoPython {
        /// The program.
        python: String,
        /// Why.
        message: String,
    },
    /// pip failed.
    #[error("pip could not install the CUDA tools:\n{message}")]
    Pip {
        /// The last lines of what pip said.
        message: String,
    },
    /// pip was content, but a tool is not there.
    #[error("pip installed its packages, but `{}` is not among their files", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A folder could not be written or removed.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
}

/// Where the tools are installed. The name holds the version, so that another version does not mix with it.
pub fn installed_folder() -> Option<PathBuf> {
    cache_root().map(|root| root.join("toolchain").join("cuda-13.0.88"))
}

/// Fetches the wheels, unless they are there. They appear all at once or not at all.
///
/// # Errors
/// There is no Python with pip, or the network or the disk does not do.
pub fn install() -> Result<PathBuf, InstallError> {
    let folder = installed_folder().ok_or(InstallError::NoFolder)?;
    install_into(&folder)?;
    Ok(folder)
}

fn install_into(folder: &Path) -> Result<(), InstallError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { path, source }
    };
    if complete(folder).is_ok() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(io(parent))?;
    let staged = tempfile::Builder::new().prefix("installing-").tempdir_in(parent).map_err(io(parent))?;
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"])
        .arg(staged.path())
        .args(PACKAGES)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| InstallError::NoPython { python, message: error.to_string() })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let message = lines[lines.len().saturating_sub(6)..].join("\n");
        return Err(InstallError::Pip { message });
    }
    complete(staged.path())?;
    if folder.exists() {
        // What an earlier version left, or what is damaged.
        std::fs::remove_dir_all(folder).map_err(io(folder))?;
    }
    std::fs::rename(staged.path(), folder).map_err(io(folder))
}

fn complete(folder: &Path) -> Result<(), InstallError> {
    let root = folder.join("nvidia/cu13");
    let exe = std::env::consts::EXE_SUFFIX;
    for file in [format!("bin/nvcc{exe}"), format!("bin/ptxas{exe}"), "include/cuda_bf16.h".to_owned()] {
        let path = root.join(file);
        if !path.is_file() {
            return Err(InstallError::Missing { path });
        }
    }
    Ok(())
}

/// Removes what was installed; whether there was anything.
///
/// # Errors
/// It cannot be removed.
pub fn remove() -> Result<bool, InstallError> {
    let folder = installed_folder().ok_or(InstallError::NoFolder)?;
    if !folder.exists() {
        return Ok(false);
    }
    std::fs::remove_dir_all(&folder).map_err(|source| InstallError::Io { path: folder, source })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contributors_test_with_what_users_install() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/src/tools.rs");
        let text = std::fs::read_to_string(path).expect("the workspace is whole");
        for package in PACKAGES {
            assert!(text.contains(&format!("\"{package}\"")), "{package}");
        }
    }

    #[test]
    #[ignore = "downloads the wheels; run it when their versions change"]
    fn the_wheels_make_a_toolchain() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("cuda");
        install_into(&folder).unwrap_or_else(|error| panic!("{error}"));
        assert!(complete(&folder).is_ok());
        let others = std::fs::read_dir(folder.parent().expect("it has one")).expect("readable").count();
        assert_eq!(others, 1, "nothing is left of the installation's own folder");
        install_into(&folder).unwrap_or_else(|error| panic!("{error}"));
    }

    #[test]
    fn half_an_installation_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = complete(folder.path()).expect_err("it is empty");
        assert!(missing.to_string().contains("nvcc"), "{missing}");
    }
}
