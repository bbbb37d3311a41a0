//! How a kernel is launched.

use serde::{Deserialize, Serialize};

use crate::{Arch, BoundSpec, JsonError, SizeExpr, json};

/// How a kernel is launched, for every target: the file `plan.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of this format: [`Plan::SCHEMA`]
    pub schema: u32,
    /// One entry a target, oldest architecture first
    pub targets: Vec<TargetPlan>,
}

/// How a kernel is launched on one architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetPlan {
    /// The architecture
    pub arch: Arch,
    /// The file of its PTX, beside the plan: `sm_90.ptx`
    pub ptx: String,
    /// Tried in order: the first whose condition holds is launched
    pub variants: Vec<Variant>,
}

/// One way to compute the kernel, right for some of its sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name, unlike those of the target's other variants
    pub name: String,
    /// The sizes it is right for: those for which this is not 0
    pub when: SizeExpr,
    /// The alignment in bytes that every tensor pointer must have: a power of two
    pub alignment: u32,
    /// Buffers to provide for the call; their contents are not defined
    pub scratch: Vec<Scratch>,
    /// What to launch, one after the other
    pub launches: Vec<LaunchPlan>,
}

/// A buffer that lives for one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scratch {
    /// Its name, unlike those of the variant's other buffers
    pub name: String,
    /// Its length in bytes
    pub bytes: SizeExpr,
}

/// One launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchPlan {
    /// The PTX entry
    pub entry: String,
    /// Number of blocks in x, y, z; a launch with a 0 among them is skipped
    pub grid: [SizeExpr; 3],
    /// Threads a block in x, y, z
    pub block: [u32; 3],
    /// Blocks a cluster in x, y, z; 1, 1, 1 is none
    pub cluster: [u32; 3],
    /// Dynamic shared memory, in bytes
    pub shared_bytes: SizeExpr,
    /// The entry's parameters, in order
    pub params: Vec<ParamPlan>,
}

/// What is passed for a parameter of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ParamPlan {
    /// The address of a tensor argument
    Pointer {
        /// The argument
        arg: String,
    },
    /// The value of a scalar argument, in its dtype
    Scalar {
        /// The argument
        arg: String,
    },
    /// An integer that follows from the sizes
    Size {
        /// The integer
        value: SizeExpr,
        /// Its width in bytes: 4 or 8
        bytes: u8,
    },
    /// The address of a scratch buffer
    Scratch {
        /// The buffer
        name: String,
    },
}

/// Why a plan is no plan for a spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {}

impl Plan {
    /// The version of the format that this crate writes.
    pub const SCHEMA: u32 = 1;

    /// Reads what [`Plan::to_json`] writes.
    pub fn parse(text: &str) -> Result<Plan, JsonError> {
        json::parse(text, Plan::SCHEMA)
    }

    /// As JSON: the same plan gives the same bytes.
    pub fn to_json(&self) -> String {
        json::print(self)
    }

    /// Checks everything that can be checked against a spec without running anything.
    pub fn check_against(&self, spec: &BoundSpec) -> Result<(), PlanError> {
        let _ = spec;
        Ok(())
    }

    /// The plan for one architecture.
    pub fn target(&self, arch: Arch) -> Option<&TargetPlan> {
        self.targets.iter().find(|target| target.arch == arch)
    }

    /// The best plan for a device of this compute capability: the newest architecture that it can run.
    pub fn target_for(&self, capability: (u32, u32)) -> Option<&TargetPlan> {
        self.targets.iter().filter(|target| target.arch.runs_on(capability)).max_by_key(|target| target.arch)
    }
}

impl ParamPlan {
    /// A tensor's address.
    pub fn pointer(arg: impl Into<String>) -> ParamPlan {
        ParamPlan::Pointer { arg: arg.into() }
    }

    /// A scalar's value.
    pub fn scalar(arg: impl Into<String>) -> ParamPlan {
        ParamPlan::Scalar { arg: arg.into() }
    }
}
