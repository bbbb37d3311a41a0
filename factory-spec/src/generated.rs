//! Names that the macro and the build script must agree on.

use std::path::{Path, PathBuf};

use crate::Key;

/// The folder of everything generated, inside `OUT_DIR`.
pub const ROOT: &str = "kernel_factory";
/// The generated module's file.
pub const MODULE: &str = "kernel.rs";
/// The interface's file.
pub const INTERFACE: &str = "interface.json";
/// The plan's file.
pub const PLAN: &str = "plan.json";
/// The certificate's file.
pub const CERTIFICATE: &str = "certificate.json";

/// Says how far a build may go: see [`Policy`].
pub const POLICY_VARIABLE: &str = "KERNEL_FACTORY";
/// The cache's folder.
pub const CACHE_VARIABLE: &str = "KERNEL_FACTORY_CACHE_DIR";
/// The search's seed.
pub const SEED_VARIABLE: &str = "KERNEL_FACTORY_SEED";
/// The search's time limit, in seconds.
pub const BUDGET_VARIABLE: &str = "KERNEL_FACTORY_BUDGET";
/// The device that the runtime takes: `machine`, `cuda`, `cuda:1`.
pub const DEVICE_VARIABLE: &str = "KERNEL_FACTORY_DEVICE";

/// How far a build may go to get a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Sealed, else cached, else searched; no search for documentation or an IDE
    #[default]
    Auto,
    /// Sealed or cached; never searched
    Offline,
    /// The same as `auto`, said aloud: sealed, else cached, else searched; no search for documentation or an IDE
    Search,
    /// Searched anew, whatever there is
    Refresh,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Policy; 4] = [Policy::Auto, Policy::Offline, Policy::Search, Policy::Refresh];

    /// As written in the variable.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Auto => "auto",
            Policy::Offline => "offline",
            Policy::Search => "search",
            Policy::Refresh => "refresh",
        }
    }

    /// The policy of that name.
    pub fn parse(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// The folder of one kernel, relative to `OUT_DIR`, with forward slashes: `kernel_factory/<64 digits>`.
pub fn folder(key: &Key) -> String {
    format!("{ROOT}/{key}")
}

/// The folder of one kernel inside a given `OUT_DIR`.
pub fn folder_in(out_dir: &Path, key: &Key) -> PathBuf {
    out_dir.join(ROOT).join(key.to_string())
}
