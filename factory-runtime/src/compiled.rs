//! A plan made ready: names are indices, expressions are flat code.

use factory_spec::{
    Arch, CompiledDomain, CompiledExpr, DType, Interface, MapBase, ParamPlan, Role, SizeExpr, TargetPlan,
    TensorMapLayout, TensorMapNumbers,
};

use crate::{Error, Result};

/// The most sizes that a kernel may have: their values are kept on the stack.
pub(crate) const MAX_SIZES: usize = 32;
/// The most arguments that a kernel may have.
pub(crate) const MAX_ARGS: usize = 32;
/// The most parameters that an entry may have.
pub(crate) const MAX_PARAMS: usize = 64;

/// The kernel's arguments and sizes.
pub(crate) struct Contract {
    pub(crate) args: Vec<Arg>,
    pub(crate) sizes: Vec<String>,
    pub(crate) domain: CompiledDomain,
}

/// One argument; `dims` are indices of sizes, outermost first.
pub(crate) struct Arg {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) scalar: bool,
    pub(crate) role: Role,
    pub(crate) dims: Vec<usize>,
}

impl Arg {
    /// Bytes of the tensor at these sizes.
    pub(crate) fn bytes(&self, values: &[i64]) -> u64 {
        let extents = self.dims.iter().map(|&size| values[size].unsigned_abs());
        extents.fold(self.dtype.size() as u64, u64::saturating_mul)
    }
}

/// The variants for one target.
pub(crate) struct Target {
    pub(crate) arch: Arch,
    pub(crate) ptx: String,
    pub(crate) variants: Vec<Variant>,
}

pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) when: CompiledExpr,
    pub(crate) alignment: u32,
    pub(crate) scratch: Vec<Scratch>,
    pub(crate) launches: Vec<Launch>,
}

pub(crate) struct Scratch {
    pub(crate) name: String,
    pub(crate) bytes: CompiledExpr,
    pub(crate) zero: bool,
}

pub(crate) struct Launch {
    pub(crate) entry: String,
    pub(crate) grid: [CompiledExpr; 3],
    pub(crate) block: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) shared_bytes: CompiledExpr,
    pub(crate) programmatic: bool,
    pub(crate) params: Vec<Param>,
}

/// What an entry's parameter holds.
pub(crate) enum Param {
    /// The address of the argument of this index
    Pointer(usize),
    /// The bits of the argument of this index
    Scalar(usize),
    /// The value of an expression, in so many bytes
    Size { value: CompiledExpr, bytes: u8 },
    /// The address of the scratch buffer of this index
    Scratch(usize),
    /// A tensor map
    Map(Box<Map>),
}

/// A tensor map before its sizes are known.
pub(crate) struct Map {
    pub(crate) base: Base,
    pub(crate) layout: TensorMapLayout,
    pub(crate) numbers: TensorMapNumbers<CompiledExpr>,
}

/// The buffer of a tensor map.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base {
    /// The argument of this index
    Arg(usize),
    /// The scratch buffer of this index
    Scratch(usize),
}

impl Contract {
    pub(crate) fn new(kernel: &'static str, interface: &Interface) -> Result<Contract> {
        let bad = |what: String| Error::BadKernel { kernel, what };
        if interface.sizes.len() > MAX_SIZES || interface.args.len() > MAX_ARGS {
            return Err(bad(format!("it has more than {MAX_SIZES} sizes or {MAX_ARGS} arguments")));
        }
        let sizes: Vec<String> = interface.sizes.iter().map(|size| size.name.clone()).collect();
        let domain = interface
            .domain()
            .map_err(|(expression, error)| bad(format!("`{expression}` in its interface: {error}")))?;
        let args = interface.args.iter().map(|arg| {
            let dims = arg.shape.iter().map(|name| {
                let index = sizes.iter().position(|size| size == name);
                index.ok_or_else(|| {
                    bad(format!("argument `{}` mentions the size `{name}`, which there is not", arg.name))
                })
            });
            let dims = dims.collect::<Result<Vec<usize>>>()?;
            if dims.len() > crate::MAX_RANK {
                return Err(bad(format!(
                    "argument `{}` has more than {} dimensions",
                    arg.name,
                    crate::MAX_RANK
                )));
            }
            Ok(Arg { name: arg.name.clone(), dtype: arg.dtype, scalar: arg.scalar, role: arg.role, dims })
        });
        Ok(Contract { args: args.collect::<Result<_>>()?, sizes, domain })
    }

    fn arg(&self, kernel: &'static str, name: &str) -> Result<usize> {
        let index = self.args.iter().position(|arg| arg.name == name);
        index.ok_or_else(|| Error::BadKernel {
            kernel,
            what: format!("its plan mentions the argument `{name}`, which there is not"),
        })
    }
}

impl Target {
    pub(crate) fn new(kernel: &'static str, contract: &Contract, plan: &TargetPlan) -> Result<Target> {
        let bad = |what: String| Error::BadKernel { kernel, what };
        let names: Vec<&str> = contract.sizes.iter().map(String::as_str).collect();
        let compile = |expr: &SizeExpr| {
            expr.compile(&names).map_err(|error| bad(format!("`{expr}` in its plan: {error}")))
        };
        let variants = plan.variants.iter().map(|variant| {
            let scratch = variant.scratch.iter().map(|scratch| {
                let bytes = compile(&scratch.bytes)?;
                Ok(Scratch { name: scratch.name.clone(), bytes, zero: scratch.zero })
            });
            let scratch = scratch.collect::<Result<Vec<_>>>()?;
            let scratch_index = |name: &str| {
                scratch.iter().position(|scratch| scratch.name == name).ok_or_else(|| {
                    bad(format!("its plan mentions the scratch buffer `{name}`, which there is not"))
                })
            };
            if variant.launches.first().is_some_and(|launch| launch.programmatic) {
                return Err(bad(format!("variant `{}` begins with a programmatic launch", variant.name)));
            }
            let launches = variant.launches.iter().map(|launch| {
                if launch.params.len() > MAX_PARAMS {
                    return Err(bad(format!(
                        "entry `{}` has more than {MAX_PARAMS} parameters",
                        launch.entry
                    )));
                }
                let params = launch.params.iter().map(|param| {
                    Ok(match param {
                        ParamPlan::Pointer { arg } => Param::Pointer(contract.arg(kernel, arg)?),
                        ParamPlan::Scalar { arg } => Param::Scalar(contract.arg(kernel, arg)?),
                        ParamPlan::Size { value, bytes } if matches!(bytes, 4 | 8) => {
                            Param::Size { value: compile(value)?, bytes: *bytes }
                        }
                        ParamPlan::Size { bytes, .. } => {
                            return Err(bad(format!("a size parameter of {bytes} bytes")));
                        }
                        ParamPlan::Scratch { name } => Param::Scratch(scratch_index(name)?),
                        ParamPlan::TensorMap(map) => {
                            let (base, dtype) = match &map.over {
                                MapBase::Arg(name) => {
                                    let index = contract.arg(kernel, name)?;
                                    (Base::Arg(index), Some(contract.args[index].dtype))
                                }
                                MapBase::Scratch(name) => (Base::Scratch(scratch_index(name)?), None),
                            };
                            let layout = map.layout(dtype).map_err(|fault| bad(fault.to_string()))?;
                            Param::Map(Box::new(Map { base, layout, numbers: map.numbers(compile)? }))
                        }
                    })
                });
                for param in &launch.params {
                    let (name, scalar) = match param {
                        ParamPlan::Pointer { arg } => (arg, false),
                        ParamPlan::Scalar { arg } => (arg, true),
                        ParamPlan::TensorMap(map) => match &map.over {
                            MapBase::Arg(arg) => (arg, false),
                            MapBase::Scratch(_) => continue,
                        },
                        _ => continue,
                    };
                    if contract.args[contract.arg(kernel, name)?].scalar != scalar {
                        return Err(bad(format!("its plan passes `{name}` as what it is not")));
                    }
                }
                Ok(Launch {
                    entry: launch.entry.clone(),
                    grid: [compile(&launch.grid[0])?, compile(&launch.grid[1])?, compile(&launch.grid[2])?],
                    block: launch.block,
                    cluster: launch.cluster,
                    shared_bytes: compile(&launch.shared_bytes)?,
                    programmatic: launch.programmatic,
                    params: params.collect::<Result<_>>()?,
                })
            });
            let launches = launches.collect::<Result<_>>()?;
            if !variant.alignment.is_power_of_two() {
                return Err(bad(format!(
                    "variant `{}` asks for an alignment of {} bytes",
                    variant.name, variant.alignment
                )));
            }
            Ok(Variant {
                name: variant.name.clone(),
                when: compile(&variant.when)?,
                alignment: variant.alignment,
                scratch,
                launches,
            })
        });
        Ok(Target { arch: plan.arch, ptx: plan.ptx.clone(), variants: variants.collect::<Result<_>>()? })
    }

    /// Every entry that the plan launches, once.
    pub(crate) fn entries(&self) -> Vec<&str> {
        let mut entries: Vec<&str> = Vec::new();
        for launch in self.variants.iter().flat_map(|variant| &variant.launches) {
            if !entries.contains(&launch.entry.as_str()) {
                entries.push(&launch.entry);
            }
        }
        entries
    }
}
