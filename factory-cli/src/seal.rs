//! Sealing: a kernel becomes a folder of the package, and an entry in its lock.

use factory_spec::{Lock, LockEntry, LockError, Sealed};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Why a kernel could not be sealed into a package.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealingError {
    /// A file or folder could not be written; what was there before is still there.
    #[error("could not write `{}`: {source}", path.display())]
    Write {
        /// What was being written
        path: PathBuf,
        /// What the system said
        source: std::io::Error,
    },
    /// The lock file that is there makes no sense, so it is not overwritten.
    #[error("`{}`: {error}", path.display())]
    Lock {
        /// The file
        path: PathBuf,
        /// What is wrong with it
        error: LockError,
    },
}

/// Writes a kernel to `kernels/<name>/<key12>/` and enters it in `kernels/kernels.lock`; returns the folder.
///
/// Entries of other keys of the same name stay: they serve other branches, and other bindings of dtype variables.
/// The folder is replaced in one step and the lock is written last, so that a build that runs meanwhile, or after this
/// process was killed, sees the old kernel or the new one, or refuses what does not fit the lock.
///
/// # Errors
/// Something cannot be written, or the lock that is there cannot be read.
pub(crate) fn seal(kernels: &Path, sealed: &Sealed) -> Result<PathBuf, SealingError> {
    let certificate = &sealed.certificate;
    let lock_path = kernels.join(Lock::FILE);
    let write_error = |path: &Path| {
        let path = path.to_owned();
        move |source| SealingError::Write { path, source }
    };
    let mut lock = match fs::read_to_string(&lock_path) {
        Ok(text) => {
            Lock::parse(&text).map_err(|error| SealingError::Lock { path: lock_path.clone(), error })?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Lock::default(),
        Err(source) => return Err(SealingError::Write { path: lock_path, source }),
    };

    let parent = kernels.join(&certificate.name);
    fs::create_dir_all(&parent).map_err(write_error(&parent))?;
    let staged =
        tempfile::Builder::new().prefix(".sealing-").tempdir_in(&parent).map_err(write_error(&parent))?;
    for (name, text) in sealed.files() {
        let path = staged.path().join(name);
        let mut file = fs::File::create_new(&path).map_err(write_error(&path))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(write_error(&path))?;
    }
    // A temporary folder is closed to others; what is sealed gets committed and should not be.
    open_to_others(staged.path()).map_err(write_error(staged.path()))?;
    let folder = parent.join(certificate.key.short());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(write_error(&folder))?;
    }
    fs::rename(staged.keep(), &folder).map_err(write_error(&folder))?;

    lock.insert(LockEntry::of(sealed));
    let mut file = tempfile::NamedTempFile::new_in(kernels).map_err(write_error(kernels))?;
    file.write_all(lock.print().as_bytes()).map_err(write_error(&lock_path))?;
    open_file_to_others(file.path()).map_err(write_error(&lock_path))?;
    file.persist(&lock_path).map_err(|error| SealingError::Write { path: lock_path, source: error.error })?;
    Ok(folder)
}

#[cfg(unix)]
fn open_to_others(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(unix)]
fn open_file_to_others(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn open_file_to_others(_: &Path) -> std::io::Result<()> {
    Ok(())
}
