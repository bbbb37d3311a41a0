//! A sealed kernel: a folder with everything that is needed to launch it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::key::hex_digest;
use crate::{Certificate, JsonError, Key, Plan};

/// A sealed kernel, held in memory. Its folder:
///
/// ```text
/// <kernels>/<name>/<key12>/
///     certificate.json    what was checked and measured, and the digests of the other files
///     plan.json           how it is launched
///     sm_90.ptx           one a target
///     sm_100.ptx
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sealed {
    /// How it is launched
    pub plan: Plan,
    /// What is known of it
    pub certificate: Certificate,
    /// The PTX by file name
    pub ptx: BTreeMap<String, String>,
}

/// Why a folder is no sealed kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A file is not there
    #[error("`{}` is missing", path.display())]
    Missing {
        /// The file
        path: PathBuf,
    },
    /// A file cannot be read
    #[error("`{}` cannot be read: {error}", path.display())]
    Unreadable {
        /// The file
        path: PathBuf,
        /// Why
        error: std::io::Error,
    },
    /// A file has other bytes than the certificate says
    #[error("`{}` was changed after it was sealed: its SHA-256 is {found}, the certificate says {expected}", path.display())]
    Digest {
        /// The file
        path: PathBuf,
        /// What the certificate says
        expected: String,
        /// What it is
        found: String,
    },
    /// A JSON file is not what it should be
    #[error("`{}` is not valid: {error}", path.display())]
    Json {
        /// The file
        path: PathBuf,
        /// Why
        error: JsonError,
    },
    /// The certificate's own statements contradict each other
    #[error("`{}` was changed after it was sealed: {detail}", path.display())]
    Inconsistent {
        /// The file
        path: PathBuf,
        /// What contradicts what
        detail: String,
    },
    /// The folder is of another kernel than the one asked for
    #[error("`{}` is a kernel of key {found}, not of {expected}", path.display())]
    OtherKey {
        /// The certificate
        path: PathBuf,
        /// The key that was asked for
        expected: Key,
        /// The key it has
        found: Key,
    },
}

impl Sealed {
    /// The certificate's file name.
    pub const CERTIFICATE: &str = "certificate.json";
    /// The plan's file name.
    pub const PLAN: &str = "plan.json";

    /// Puts a kernel together, and writes the digests of its files into the certificate.
    pub fn new(plan: Plan, mut certificate: Certificate, ptx: BTreeMap<String, String>) -> Sealed {
        certificate.files =
            ptx.iter().map(|(name, text)| (name.clone(), hex_digest(text.as_bytes()))).collect();
        certificate.files.insert(Sealed::PLAN.to_owned(), hex_digest(plan.to_json().as_bytes()));
        Sealed { plan, certificate, ptx }
    }

    /// Reads a folder and checks every digest.
    pub fn read(dir: &Path) -> Result<Sealed, SealError> {
        Sealed::read_beside(dir, None)
    }

    fn read_beside(dir: &Path, verified: Option<&Path>) -> Result<Sealed, SealError> {
        let path = dir.join(Sealed::CERTIFICATE);
        let text = read_text(&path)?;
        let certificate =
            Certificate::parse(&text).map_err(|error| SealError::Json { path: path.clone(), error })?;
        let inconsistent = |detail: String| SealError::Inconsistent { path: path.clone(), detail };
        if Key::of(&certificate.spec) != certificate.key {
            return Err(inconsistent("its key is not the digest of its spec".to_owned()));
        }
        // The certificate is also what `digest_of_certificate` speaks of, so its bytes must be the ones we would write.
        if certificate.to_json() != text {
            return Err(inconsistent("it is not written as Kernel Factory writes it".to_owned()));
        }
        let same = |folder: &Path, name: &str, text: &str| {
            std::fs::read(folder.join(name)).is_ok_and(|there| there == text.as_bytes())
        };
        let verified = verified.filter(|folder| same(folder, Sealed::CERTIFICATE, &text));
        let mut files = BTreeMap::new();
        for (name, expected) in &certificate.files {
            if !is_plain(name) {
                return Err(inconsistent(format!(
                    "it names the file `{name}`, which is not a plain file name"
                )));
            }
            let path = dir.join(name);
            let text = read_text(&path)?;
            if verified.is_some_and(|folder| same(folder, name, &text)) {
                files.insert(name.clone(), text);
                continue;
            }
            let found = hex_digest(text.as_bytes());
            if found != *expected {
                return Err(SealError::Digest { path, expected: expected.clone(), found });
            }
            files.insert(name.clone(), text);
        }
        let plan_path = dir.join(Sealed::PLAN);
        let plan = files.remove(Sealed::PLAN).ok_or_else(|| inconsistent("it lists no plan".to_owned()))?;
        let plan = Plan::parse(&plan).map_err(|error| SealError::Json { path: plan_path.clone(), error })?;
        for target in &plan.targets {
            if !files.contains_key(&target.ptx) {
                let detail = format!("it names `{}`, which the certificate does not list", target.ptx);
                return Err(SealError::Inconsistent { path: plan_path, detail });
            }
        }
        Ok(Sealed { plan, certificate, ptx: files })
    }

    /// Reads a folder that must hold the kernel of that key.
    pub fn read_key(dir: &Path, key: &Key) -> Result<Sealed, SealError> {
        Sealed::read_key_beside(dir, key, None)
    }

    /// As [`Sealed::read_key`], faster where it was done before: files that are byte for byte those in `verified`, under
    /// the same certificate, are not digested again.
    ///
    /// `verified` must be a folder into which nothing but the [`Sealed::files`] of kernels that were read is written, as
    /// a build script does into its `OUT_DIR`. Comparing bytes is many times faster than SHA-256 in a build script, which
    /// is compiled without optimisation. It need not be there.
    pub fn read_key_beside(dir: &Path, key: &Key, verified: Option<&Path>) -> Result<Sealed, SealError> {
        let sealed = Sealed::read_beside(dir, verified)?;
        if sealed.certificate.key != *key {
            let path = dir.join(Sealed::CERTIFICATE);
            return Err(SealError::OtherKey { path, expected: *key, found: sealed.certificate.key });
        }
        Ok(sealed)
    }

    /// The files by name, sorted: the same kernel gives the same bytes.
    pub fn files(&self) -> Vec<(String, String)> {
        let mut files: Vec<_> = self.ptx.iter().map(|(name, text)| (name.clone(), text.clone())).collect();
        files.push((Sealed::CERTIFICATE.to_owned(), self.certificate.to_json()));
        files.push((Sealed::PLAN.to_owned(), self.plan.to_json()));
        files.sort();
        files
    }

    /// SHA-256 of the plan's file.
    pub fn digest_of_plan(&self) -> String {
        hex_digest(self.plan.to_json().as_bytes())
    }

    /// SHA-256 of the certificate's file.
    pub fn digest_of_certificate(&self) -> String {
        hex_digest(self.certificate.to_json().as_bytes())
    }
}

/// Whether a name stays inside its folder on every system.
fn is_plain(name: &str) -> bool {
    !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn read_text(path: &Path) -> Result<String, SealError> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => SealError::Missing { path: path.to_owned() },
        _ => SealError::Unreadable { path: path.to_owned(), error },
    })
}
