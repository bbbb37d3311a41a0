//! A plan made ready: names are indices, expressions are flat code.

use factory_spec::{
    Arch, CompiledDomain, CompiledExpr, DType, Interface, MapBase, ParamPlan, Role, SizeExpr, SizeKind,
    TargetPlan, TensorMapLayout, TensorMapNumbers,
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
    /// Whether some argument has a row stride
    pub(crate) strided: bool,
}

/// One argument; `dims` are indices of sizes, outermost first. `stride` is the one that rows lie apart; none: dense.
pub(crate) struct Arg {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) scalar: bool,
    pub(crate) role: Role,
    pub(crate) dims: Vec<usize>,
    pub(crate) stride: Option<usize>,
}

impl Arg {
    /// Bytes of the tensor's memory at these sizes, with the gaps between its rows.
    pub(crate) fn bytes(&self, values: &[i64]) -> u64 {
        let of = |sizes: &[usize]| {
            sizes.iter().map(|&size| values[size].unsigned_abs()).fold(1, u64::saturating_mul)
        };
        let elements = match (self.stride, self.dims.split_last()) {
            (Some(stride), Some((&row, outer))) if of(&self.dims) > 0 => {
                (of(outer) - 1).saturating_mul(values[stride].unsigned_abs()).saturating_add(of(&[row]))
            }
            _ => of(&self.dims),
        };
        elements.saturating_mul(self.dtype.size() as u64)
    }

    /// The sizes of a row and of its stride.
    pub(crate) fn row(&self) -> Option<(usize, usize)> {
        Some((*self.dims.last()?, self.stride?))
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
            let index = |name: &String| {
                let index = sizes.iter().position(|size| size == name);
                index.ok_or_else(|| {
                    bad(format!("argument `{}` mentions the size `{name}`, which there is not", arg.name))
                })
            };
            let dims = arg.shape.iter().map(index).collect::<Result<Vec<usize>>>()?;
            let stride = arg.row_stride.as_ref().map(index).transpose()?;
            if stride.is_some() && dims.len() < 2 {
                return Err(bad(format!("argument `{}` has a row stride and no rows", arg.name)));
            }
            if dims.len() > crate::MAX_RANK {
                return Err(bad(format!(
                    "argument `{}` has more than {} dimensions",
                    arg.name,
                    crate::MAX_RANK
                )));
            }
            Ok(Arg {
                name: arg.name.clone(),
                dtype: arg.dtype,
                scalar: arg.scalar,
                role: arg.role,
                dims,
                stride,
            })
        });
        let args = args.collect::<Result<Vec<Arg>>>()?;
        let strided = args.iter().any(|arg| arg.stride.is_some());
        Ok(Contract { args, sizes, domain, strided })
    }

    /// The least value that the stride of these rows may have at these sizes; `None` where it is not for the caller to choose.
    pub(crate) fn least_stride(&self, (row, stride): (usize, usize), values: &[i64]) -> Option<i64> {
        let SizeKind::Free { min, multiple_of, .. } = self.domain.sizes()[stride].kind else { return None };
        let least =
            values[row].max(0).unsigned_abs().max(min).checked_next_multiple_of(multiple_of.max(1))?;
        i64::try_from(least).ok()
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
