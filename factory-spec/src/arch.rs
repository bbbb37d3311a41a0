//! GPU architectures that a kernel is made for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A target of a kernel's PTX, named as PTX's `.target` names it.
///
/// The forms with `a` promise one exact architecture and unlock its own instructions; the driver refuses such PTX on
/// any other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Arch {
    /// Hopper (H100, H200)
    #[serde(rename = "sm_90")]
    Sm90,
    /// Hopper with its own instructions (`wgmma`, `setmaxnreg`)
    #[serde(rename = "sm_90a")]
    Sm90a,
    /// Blackwell of the data centre (B200)
    #[serde(rename = "sm_100")]
    Sm100,
    /// Blackwell with its own instructions (`tcgen05`)
    #[serde(rename = "sm_100a")]
    Sm100a,
}

impl Arch {
    /// Every architecture, oldest first.
    pub const ALL: [Arch; 4] = [Arch::Sm90, Arch::Sm90a, Arch::Sm100, Arch::Sm100a];

    /// The architectures of a spec that names none.
    pub const DEFAULT: [Arch; 2] = [Arch::Sm90, Arch::Sm100];

    /// The name: `sm_90`, `sm_100a`, …
    pub fn name(self) -> &'static str {
        match self {
            Arch::Sm90 => "sm_90",
            Arch::Sm90a => "sm_90a",
            Arch::Sm100 => "sm_100",
            Arch::Sm100a => "sm_100a",
        }
    }

    /// The architecture of that name.
    pub fn parse(name: &str) -> Option<Arch> {
        Arch::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// The compute capability (major, minor) that the architecture begins at.
    pub fn compute_capability(self) -> (u32, u32) {
        match self {
            Arch::Sm90 | Arch::Sm90a => (9, 0),
            Arch::Sm100 | Arch::Sm100a => (10, 0),
        }
    }

    /// Whether PTX for it runs on that one architecture alone (`sm_90a`, `sm_100a`).
    pub fn is_exact(self) -> bool {
        matches!(self, Arch::Sm90a | Arch::Sm100a)
    }

    /// Whether a device of this compute capability can run PTX made for this architecture.
    pub fn runs_on(self, capability: (u32, u32)) -> bool {
        if self.is_exact() {
            capability == self.compute_capability()
        } else {
            capability >= self.compute_capability()
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
