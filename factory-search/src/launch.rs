//! A variant's launches at given sizes: dimensions and parameter bytes, for the machine and for a GPU alike.

use std::collections::BTreeMap;

use factory_ptx::ast::Module;
use factory_ptx::machine::{Kernel, Launch, Memory, TensorMap};
use factory_spec::{
    BoundSpec, LaunchPlan, MAP_BYTES, MapBase, ParamPlan, SizeExpr, SizeValues, TensorMapPlan,
    TensorMapShape, Variant,
};

use crate::verdict::Reason;

/// Evaluates an expression over the sizes.
pub(crate) fn evaluate(spec: &BoundSpec, sizes: &SizeValues, expression: &SizeExpr) -> Result<i64, Reason> {
    let value = |name: &str| spec.size_id(name).and_then(|id| i64::try_from(sizes[id]).ok());
    expression.eval(&value).map_err(|error| Reason::Plan {
        message: format!("`{expression}` has no value at {}: {error}", label(spec, sizes)),
    })
}

/// Whether a variant claims these sizes. A condition without a value claims nothing.
pub(crate) fn serves(spec: &BoundSpec, sizes: &SizeValues, variant: &Variant) -> bool {
    holds(spec, sizes, &variant.when)
}

/// Whether a condition holds at these sizes.
pub(crate) fn holds(spec: &BoundSpec, sizes: &SizeValues, when: &SizeExpr) -> bool {
    evaluate(spec, sizes, when).is_ok_and(|value| value != 0)
}

/// The variant that a launch at these sizes would take: the first whose condition holds.
pub(crate) fn chosen<'a>(
    spec: &BoundSpec,
    sizes: &SizeValues,
    variants: &'a [Variant],
) -> Option<&'a Variant> {
    variants.iter().find(|variant| serves(spec, sizes, variant))
}

/// Sizes for people: `m=3 n=4096`, derived and fixed ones left out unless there is nothing else.
pub(crate) fn label(spec: &BoundSpec, sizes: &SizeValues) -> String {
    use factory_spec::SizeKind;
    let part = |free_only: bool| {
        spec.sizes
            .iter()
            .zip(&sizes.0)
            .filter(|(size, _)| !free_only || matches!(size.kind, SizeKind::Free { .. }))
            .map(|(size, value)| format!("{}={value}", size.name))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let free = part(true);
    if free.is_empty() { part(false) } else { free }
}

/// Dimensions of one launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dimensions {
    pub(crate) grid: [u32; 3],
    pub(crate) shared_bytes: u32,
}

impl Dimensions {
    pub(crate) fn blocks(&self) -> u64 {
        self.grid.iter().map(|&x| u64::from(x)).product()
    }
}

/// Threads of all launches of a variant together; the most there can be where a launch has no dimensions at these sizes.
pub(crate) fn threads(spec: &BoundSpec, sizes: &SizeValues, variant: &Variant) -> u64 {
    let of = |launch: &LaunchPlan| match dimensions(spec, sizes, launch, u32::MAX) {
        Ok(found) => {
            let block: u64 = launch.block.iter().map(|&x| u64::from(x)).product();
            found.map_or(0, |found| found.blocks().saturating_mul(block))
        }
        Err(_) => u64::MAX,
    };
    variant.launches.iter().map(of).fold(0, u64::saturating_add)
}

/// Dimensions of a launch at these sizes; `None` when it is skipped because a dimension is 0.
pub(crate) fn dimensions(
    spec: &BoundSpec,
    sizes: &SizeValues,
    launch: &LaunchPlan,
    shared_limit: u32,
) -> Result<Option<Dimensions>, Reason> {
    let limits = [u64::from(i32::MAX.unsigned_abs()), 65_535, 65_535];
    let mut grid = [0; 3];
    for axis in 0..3 {
        let value = evaluate(spec, sizes, &launch.grid[axis])?;
        let outside = || Reason::LaunchLimit {
            entry: launch.entry.clone(),
            what: format!("dimension {axis} of the grid at {}", label(spec, sizes)),
            asked: value.max(0).unsigned_abs(),
            limit: limits[axis],
        };
        let value = u64::try_from(value).map_err(|_| outside())?;
        if value > limits[axis] {
            return Err(outside());
        }
        grid[axis] = value as u32;
    }
    if grid.contains(&0) {
        return Ok(None);
    }
    for (blocks, cluster) in grid.into_iter().zip(launch.cluster) {
        if blocks % cluster.max(1) != 0 {
            return Err(Reason::Plan {
                message: format!(
                    "`{}`: {blocks} blocks at {} are not a whole number of clusters of {cluster}",
                    launch.entry,
                    label(spec, sizes),
                ),
            });
        }
    }
    let shared = evaluate(spec, sizes, &launch.shared_bytes)?;
    if shared < 0 || shared > i64::from(shared_limit) {
        return Err(Reason::LaunchLimit {
            entry: launch.entry.clone(),
            what: format!("dynamic shared memory at {}", label(spec, sizes)),
            asked: shared.max(0).unsigned_abs(),
            limit: u64::from(shared_limit),
        });
    }
    Ok(Some(Dimensions { grid, shared_bytes: shared as u32 }))
}

/// What the parameters of a variant's launches point to and hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings {
    /// Addresses of tensors by argument.
    pub(crate) pointers: BTreeMap<String, u64>,
    /// Bytes of scalars by argument.
    pub(crate) scalars: BTreeMap<String, Vec<u8>>,
    /// Addresses of scratch buffers by name.
    pub(crate) scratch: BTreeMap<String, u64>,
}

/// Encodes a tensor map over the buffer at an address: the driver does it for a GPU, [`machine_map`] for the machine.
pub(crate) type EncodeMap<'a> = &'a dyn Fn(&TensorMapShape, u64) -> Result<[u8; MAP_BYTES], String>;

/// A tensor map as the machine reads it.
pub(crate) fn machine_map(shape: &TensorMapShape, buffer: u64) -> Result<[u8; MAP_BYTES], String> {
    TensorMap::planned(shape, buffer).encode().map_err(|error| error.to_string())
}

/// The bytes of each parameter, in order.
pub(crate) fn parameters(
    spec: &BoundSpec,
    sizes: &SizeValues,
    variant: &Variant,
    launch: &LaunchPlan,
    bindings: &Bindings,
    encode: EncodeMap<'_>,
) -> Result<Vec<Vec<u8>>, Reason> {
    let missing =
        |what: &str, name: &str| Reason::Plan { message: format!("the {what} `{name}` is not there") };
    launch
        .params
        .iter()
        .map(|param| {
            Ok(match param {
                ParamPlan::Pointer { arg } => {
                    bindings.pointers.get(arg).ok_or_else(|| missing("argument", arg))?.to_le_bytes().to_vec()
                }
                ParamPlan::Scalar { arg } => {
                    bindings.scalars.get(arg).ok_or_else(|| missing("scalar", arg))?.clone()
                }
                ParamPlan::Scratch { name } => bindings
                    .scratch
                    .get(name)
                    .ok_or_else(|| missing("scratch buffer", name))?
                    .to_le_bytes()
                    .to_vec(),
                ParamPlan::TensorMap(map) => {
                    let wrong = |message: String| Reason::Plan {
                        message: format!("`{}` at {}: {message}", launch.entry, label(spec, sizes)),
                    };
                    let shape = map_shape(spec, sizes, variant, map, &wrong)?;
                    let (what, name, address) = match &map.over {
                        MapBase::Arg(arg) => ("argument", arg, bindings.pointers.get(arg)),
                        MapBase::Scratch(name) => ("scratch buffer", name, bindings.scratch.get(name)),
                    };
                    let address = *address.ok_or_else(|| missing(what, name))?;
                    encode(&shape, address).map_err(wrong)?.to_vec()
                }
                ParamPlan::Size { value, bytes } => {
                    let number = evaluate(spec, sizes, value)?;
                    match bytes {
                        8 => number.to_le_bytes().to_vec(),
                        // An unsigned 32-bit size is as good as a signed one.
                        _ => match i32::try_from(number)
                            .map(i32::cast_unsigned)
                            .or_else(|_| u32::try_from(number))
                        {
                            Ok(word) => word.to_le_bytes().to_vec(),
                            Err(_) => {
                                return Err(Reason::Plan {
                                    message: format!(
                                        "`{value}` is {number} at {} and does not fit 32 bits",
                                        label(spec, sizes)
                                    ),
                                });
                            }
                        },
                    }
                }
            })
        })
        .collect()
}

/// A tensor map of a plan at these sizes.
fn map_shape(
    spec: &BoundSpec,
    sizes: &SizeValues,
    variant: &Variant,
    map: &TensorMapPlan,
    wrong: &dyn Fn(String) -> Reason,
) -> Result<TensorMapShape, Reason> {
    let (dtype, bytes) = match &map.over {
        MapBase::Arg(name) => {
            let arg = spec.arg(name).ok_or_else(|| wrong(format!("there is no argument `{name}`")))?;
            (Some(arg.dtype), spec.span(arg, sizes) * arg.dtype.size())
        }
        MapBase::Scratch(name) => {
            let all = scratch_bytes(spec, sizes, variant)?;
            let found = all.into_iter().find(|(other, _)| other == name);
            (None, found.ok_or_else(|| wrong(format!("there is no scratch buffer `{name}`")))?.1)
        }
    };
    let numbers = map.numbers(|expr| evaluate(spec, sizes, expr))?;
    let layout = map.layout(dtype).map_err(|fault| wrong(fault.to_string()))?;
    layout.shape(&numbers, bytes as u64).map_err(|fault| wrong(fault.to_string()))
}

/// Adds a variant's scratch buffers to the machine's memory.
pub(crate) fn machine_scratch(
    spec: &BoundSpec,
    sizes: &SizeValues,
    variant: &Variant,
    memory: &mut Memory<'_>,
    bindings: &mut Bindings,
) -> Result<(), Reason> {
    for (plan, (name, bytes)) in variant.scratch.iter().zip(scratch_bytes(spec, sizes, variant)?) {
        let address = if plan.zero { memory.zeroed(&name, bytes) } else { memory.scratch(&name, bytes) };
        bindings.scratch.insert(name, address);
    }
    Ok(())
}

/// The kernels of a variant, decoded for the machine, one for each launch.
pub(crate) fn kernels(module: &Module, variant: &Variant) -> Result<Vec<Kernel>, Reason> {
    variant
        .launches
        .iter()
        .map(|launch| {
            Kernel::new(module, &launch.entry)
                .map_err(|error| Reason::Unsupported { message: error.to_string() })
        })
        .collect()
}

/// The launch as the machine takes it.
pub(crate) fn machine_launch(
    kernel: &Kernel,
    plan: &LaunchPlan,
    dimensions: Dimensions,
    values: &[Vec<u8>],
) -> Result<Launch, Reason> {
    let mut bytes = vec![0; kernel.params_size()];
    if kernel.params().len() != values.len() {
        return Err(Reason::Plan {
            message: format!("`{}` does not take {} parameters", plan.entry, values.len()),
        });
    }
    for (layout, value) in kernel.params().iter().zip(values) {
        if layout.size != value.len() {
            return Err(Reason::Plan {
                message: format!(
                    "`{}`: `{}` takes {} bytes, not {}",
                    plan.entry,
                    layout.name,
                    layout.size,
                    value.len()
                ),
            });
        }
        bytes[layout.offset..layout.offset + layout.size].copy_from_slice(value);
    }
    Ok(Launch {
        grid: dimensions.grid,
        block: plan.block,
        cluster: plan.cluster,
        shared_bytes: dimensions.shared_bytes,
        params: bytes,
    })
}

/// Bytes of each scratch buffer at these sizes.
pub(crate) fn scratch_bytes(
    spec: &BoundSpec,
    sizes: &SizeValues,
    variant: &Variant,
) -> Result<Vec<(String, usize)>, Reason> {
    variant
        .scratch
        .iter()
        .map(|scratch| {
            let bytes = evaluate(spec, sizes, &scratch.bytes)?;
            let bytes = usize::try_from(bytes).map_err(|_| Reason::Plan {
                message: format!(
                    "the scratch buffer `{}` has {bytes} bytes at {}",
                    scratch.name,
                    label(spec, sizes)
                ),
            })?;
            Ok((scratch.name.clone(), bytes))
        })
        .collect()
}
