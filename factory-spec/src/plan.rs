//! How a kernel is launched.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Arch, BoundSpec, CompileError, DType, JsonError, MapBase, SizeExpr, SizeKind, TensorMapFault,
    TensorMapPlan, json,
};

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
    /// The alignment in bytes that every tensor pointer must have: a power of two. Scratch buffers have it too, up to
    /// 256, and at least 16
    pub alignment: u32,
    /// Buffers to provide for the call
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
    /// Whether the launcher sets it to zero before the first launch of each call. Otherwise its contents are not defined
    #[serde(default, skip_serializing_if = "is_false")]
    pub zero: bool,
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
    /// Whether it may begin before the launch before it has ended (programmatic dependent launch). Its entry then has to
    /// wait (`griddepcontrol.wait`) before it touches what that one writes. Never of the first launch, which would run
    /// into the caller's own work
    #[serde(default, skip_serializing_if = "is_false")]
    pub programmatic: bool,
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
    /// A tensor map, by value: `.param .align 64 .b8 name[128]`, in CUDA C++ `const __grid_constant__ CUtensorMap`
    TensorMap(Box<TensorMapPlan>),
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Why a plan is no plan for a spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A target of the spec has no plan
    #[error("the plan has no target {arch}, which the spec asks for")]
    MissingTarget {
        /// The target
        arch: Arch,
    },
    /// A target has two plans
    #[error("the plan has two entries for {arch}")]
    TwiceTarget {
        /// The target
        arch: Arch,
    },
    /// A target's PTX is not a plain file name
    #[error("{arch}: `{file}` is not the name of a PTX file")]
    PtxFile {
        /// The target
        arch: Arch,
        /// The name
        file: String,
    },
    /// A target has no variants, or a variant no launches
    #[error("{place}: there is no {what}")]
    Empty {
        /// Where
        place: Place,
        /// What is missing
        what: &'static str,
    },
    /// Two things of one name
    #[error("{place}: the name `{name}` is used twice")]
    Twice {
        /// Where
        place: Place,
        /// The name
        name: String,
    },
    /// Not a power of two
    #[error("{place}: an alignment of {alignment} bytes is not a power of two")]
    Alignment {
        /// Where
        place: Place,
        /// The alignment
        alignment: u32,
    },
    /// An expression that cannot be computed from the spec's sizes
    #[error("{place}: `{expression}` cannot be computed: {error}")]
    Expression {
        /// Where
        place: Place,
        /// The expression
        expression: String,
        /// Why
        error: CompileError,
    },
    /// Not an entry's name
    #[error("{place}: `{entry}` is not the name of an entry")]
    Entry {
        /// Where
        place: Place,
        /// The name
        entry: String,
    },
    /// A block or a cluster that no device takes
    #[error("{place}: {what} is {}, {}, {}, which no device takes", .shape[0], .shape[1], .shape[2])]
    Shape {
        /// Where
        place: Place,
        /// `block` or `cluster`
        what: &'static str,
        /// Its extents
        shape: [u32; 3],
    },
    /// A parameter for an argument that the spec does not have
    #[error("{place}: the spec has no argument `{arg}`")]
    UnknownArg {
        /// Where
        place: Place,
        /// The name
        arg: String,
    },
    /// A pointer to a scalar, or a tensor by value
    #[error("{place}: `{arg}` is passed as a {passed}, but is a {is}")]
    ArgKind {
        /// Where
        place: Place,
        /// The argument
        arg: String,
        /// How the plan passes it
        passed: &'static str,
        /// What the spec says
        is: &'static str,
    },
    /// A parameter for a scratch buffer that the variant does not have
    #[error("{place}: the variant has no scratch buffer `{name}`")]
    UnknownScratch {
        /// Where
        place: Place,
        /// The name
        name: String,
    },
    /// An integer of another width than 4 or 8
    #[error("{place}: an integer parameter has {bytes} bytes, but must have 4 or 8")]
    Width {
        /// Where
        place: Place,
        /// The width
        bytes: u8,
    },
    /// Parameters that make no tensor map
    #[error("{place}: {fault}")]
    TensorMap {
        /// Where
        place: Place,
        /// Why not
        fault: Box<TensorMapFault>,
    },
    /// A tensor map over pointers that need not be aligned for it
    #[error(
        "{place}: a tensor map needs an alignment of {needed} bytes, but the variant asks for {alignment} alone"
    )]
    MapAlignment {
        /// Where
        place: Place,
        /// What the variant asks for
        alignment: u32,
        /// What it must
        needed: u64,
    },
    /// A first launch that would not wait for the caller's work
    #[error("{place}: the first launch cannot be programmatic: it has no launch before it to overlap with")]
    ProgrammaticFirst {
        /// Where
        place: Place,
    },
    /// An output that no launch of a variant gets
    #[error("{place}: no launch gets the output `{arg}`")]
    OutputUnused {
        /// Where
        place: Place,
        /// The output
        arg: String,
    },
}

/// A place in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The target
    pub arch: Arch,
    /// The variant's name
    pub variant: Option<String>,
    /// Index of the launch
    pub launch: Option<usize>,
    /// Index of the parameter
    pub param: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.arch)?;
        if let Some(variant) = &self.variant {
            write!(f, ", variant `{variant}`")?;
        }
        if let Some(launch) = self.launch {
            write!(f, ", launch {launch}")?;
        }
        if let Some(param) = self.param {
            write!(f, ", parameter {param}")?;
        }
        Ok(())
    }
}

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
    ///
    /// Not that the variants serve every size of the domain: that is for those who run them to find out.
    pub fn check_against(&self, spec: &BoundSpec) -> Result<(), PlanError> {
        for (index, target) in self.targets.iter().enumerate() {
            if self.targets[..index].iter().any(|other| other.arch == target.arch) {
                return Err(PlanError::TwiceTarget { arch: target.arch });
            }
            target.check(spec)?;
        }
        match spec.targets.iter().find(|arch| self.target(**arch).is_none()) {
            Some(&arch) => Err(PlanError::MissingTarget { arch }),
            None => Ok(()),
        }
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

/// Threads that a block may have, in all and in x, y, z; blocks that a cluster may have where the device allows the
/// non-portable 16.
const MAX_THREADS: u64 = 1024;
const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];
const MAX_CLUSTER: u64 = 16;

impl TargetPlan {
    fn check(&self, spec: &BoundSpec) -> Result<(), PlanError> {
        let arch = self.arch;
        let place = Place { arch, variant: None, launch: None, param: None };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !self.ptx.strip_suffix(".ptx").is_some_and(|stem| !stem.is_empty() && stem.chars().all(plain)) {
            return Err(PlanError::PtxFile { arch, file: self.ptx.clone() });
        }
        if self.variants.is_empty() {
            return Err(PlanError::Empty { place, what: "variant" });
        }
        for (index, variant) in self.variants.iter().enumerate() {
            if self.variants[..index].iter().any(|other| other.name == variant.name) {
                return Err(PlanError::Twice { place, name: variant.name.clone() });
            }
            variant.check(spec, &Place { variant: Some(variant.name.clone()), ..place.clone() })?;
        }
        Ok(())
    }
}

impl Variant {
    fn check(&self, spec: &BoundSpec, place: &Place) -> Result<(), PlanError> {
        computable(spec, place, &self.when)?;
        if !self.alignment.is_power_of_two() {
            return Err(PlanError::Alignment { place: place.clone(), alignment: self.alignment });
        }
        for (index, scratch) in self.scratch.iter().enumerate() {
            if self.scratch[..index].iter().any(|other| other.name == scratch.name) {
                return Err(PlanError::Twice { place: place.clone(), name: scratch.name.clone() });
            }
            computable(spec, place, &scratch.bytes)?;
        }
        if self.launches.is_empty() {
            return Err(PlanError::Empty { place: place.clone(), what: "launch" });
        }
        if self.launches[0].programmatic {
            return Err(PlanError::ProgrammaticFirst { place: Place { launch: Some(0), ..place.clone() } });
        }
        for (index, launch) in self.launches.iter().enumerate() {
            self.check_launch(spec, launch, &Place { launch: Some(index), ..place.clone() })?;
        }
        let passed = |name: &str| {
            let is = |param: &ParamPlan| match param {
                ParamPlan::Pointer { arg } => arg == name,
                ParamPlan::TensorMap(map) => map.over == MapBase::Arg(name.to_owned()),
                _ => false,
            };
            self.launches.iter().any(|launch| launch.params.iter().any(is))
        };
        match spec.outputs().find(|(_, arg)| !passed(&arg.name)) {
            Some((_, arg)) => Err(PlanError::OutputUnused { place: place.clone(), arg: arg.name.clone() }),
            None => Ok(()),
        }
    }

    fn check_launch(&self, spec: &BoundSpec, launch: &LaunchPlan, place: &Place) -> Result<(), PlanError> {
        let first = launch.entry.chars().next();
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
        if first.is_none_or(|c| c.is_ascii_digit()) || !launch.entry.chars().all(word) {
            return Err(PlanError::Entry { place: place.clone(), entry: launch.entry.clone() });
        }
        for expr in launch.grid.iter().chain([&launch.shared_bytes]) {
            computable(spec, place, expr)?;
        }
        let volume = |shape: [u32; 3]| shape.iter().map(|&extent| u64::from(extent)).product::<u64>();
        let block = launch.block;
        if block.contains(&0)
            || block.iter().zip(MAX_BLOCK).any(|(&extent, max)| extent > max)
            || volume(block) > MAX_THREADS
        {
            return Err(PlanError::Shape { place: place.clone(), what: "block", shape: block });
        }
        let cluster = launch.cluster;
        if cluster.iter().any(|&extent| extent == 0 || u64::from(extent) > MAX_CLUSTER)
            || volume(cluster) > MAX_CLUSTER
        {
            return Err(PlanError::Shape { place: place.clone(), what: "cluster", shape: cluster });
        }
        for (index, param) in launch.params.iter().enumerate() {
            self.check_param(spec, param, Place { param: Some(index), ..place.clone() })?;
        }
        Ok(())
    }

    fn check_param(&self, spec: &BoundSpec, param: &ParamPlan, place: Place) -> Result<(), PlanError> {
        let kinds = |arg: &String| match spec.arg(arg) {
            Some(known) => Ok(known.scalar),
            None => Err(PlanError::UnknownArg { place: place.clone(), arg: arg.clone() }),
        };
        match param {
            ParamPlan::Pointer { arg } if kinds(arg)? => Err(PlanError::ArgKind {
                place: place.clone(),
                arg: arg.clone(),
                passed: "pointer",
                is: "scalar",
            }),
            ParamPlan::Scalar { arg } if !kinds(arg)? => Err(PlanError::ArgKind {
                place: place.clone(),
                arg: arg.clone(),
                passed: "scalar",
                is: "tensor",
            }),
            ParamPlan::Size { bytes, .. } if ![4, 8].contains(bytes) => {
                Err(PlanError::Width { place: place.clone(), bytes: *bytes })
            }
            ParamPlan::Size { value, .. } => computable(spec, &place, value),
            ParamPlan::Scratch { name } if !self.scratch.iter().any(|scratch| scratch.name == *name) => {
                Err(PlanError::UnknownScratch { place: place.clone(), name: name.clone() })
            }
            ParamPlan::TensorMap(map) => self.check_map(spec, map, &place),
            ParamPlan::Pointer { .. } | ParamPlan::Scalar { .. } | ParamPlan::Scratch { .. } => Ok(()),
        }
    }

    fn check_map(&self, spec: &BoundSpec, map: &TensorMapPlan, place: &Place) -> Result<(), PlanError> {
        let dtype: Option<DType> = match &map.over {
            MapBase::Arg(arg) => {
                let known = spec
                    .arg(arg)
                    .ok_or_else(|| PlanError::UnknownArg { place: place.clone(), arg: arg.clone() })?;
                if known.scalar {
                    return Err(PlanError::ArgKind {
                        place: place.clone(),
                        arg: arg.clone(),
                        passed: "tensor map",
                        is: "scalar",
                    });
                }
                let needed = map.interleave.alignment();
                if u64::from(self.alignment) < needed {
                    let alignment = self.alignment;
                    return Err(PlanError::MapAlignment { place: place.clone(), alignment, needed });
                }
                Some(known.dtype)
            }
            MapBase::Scratch(name) if !self.scratch.iter().any(|scratch| scratch.name == *name) => {
                return Err(PlanError::UnknownScratch { place: place.clone(), name: name.clone() });
            }
            MapBase::Scratch(_) => None,
        };
        map.expressions().try_for_each(|expr| computable(spec, place, expr))?;
        let fixed = |name: &str| match spec.sizes.iter().find(|size| size.name == name)?.kind {
            SizeKind::Fixed(value) => i64::try_from(value).ok(),
            _ => None,
        };
        let fault = |fault| PlanError::TensorMap { place: place.clone(), fault: Box::new(fault) };
        map.check(dtype, |expr| expr.eval(&fixed).ok()).map_err(fault)?;
        if map.swizzle.is_blackwell() && place.arch < Arch::Sm100 {
            let what = "a tensor map with this swizzle needs sm_100";
            return Err(fault(TensorMapFault::Combination { what }));
        }
        Ok(())
    }
}

fn computable(spec: &BoundSpec, place: &Place, expr: &SizeExpr) -> Result<(), PlanError> {
    let names: Vec<&str> = spec.sizes.iter().map(|size| size.name.as_str()).collect();
    match expr.compile(&names) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(PlanError::Expression { place: place.clone(), expression: expr.to_string(), error })
        }
    }
}
