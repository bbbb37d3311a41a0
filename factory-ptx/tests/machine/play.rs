//! Running the launches that corpus programs describe.

use factory_ptx::ast::Module;
use factory_ptx::corpus::{Role, Run, TensorMapSpec};
use factory_ptx::machine::{
    Interleave, Kernel, Launch, Memory, Options, OutOfBounds, Stop, Swizzle, TensorMap, TensorMapType, run,
};

/// The bytes of a tensor map.
fn tensor_map(spec: &TensorMapSpec, address: u64) -> Result<[u8; 128], String> {
    let element = spec.element.ok_or("a tensor map without an element type")?;
    let ty = TensorMapType::ALL[element.driver_code() as usize];
    let swizzle = match spec.swizzle {
        0 => Swizzle::None,
        32 => Swizzle::Bytes32,
        64 => Swizzle::Bytes64,
        128 => Swizzle::Bytes128,
        other => return Err(format!("a swizzle over {other} bytes")),
    };
    let interleave = match spec.interleave {
        0 => Interleave::None,
        16 => Interleave::Bytes16,
        32 => Interleave::Bytes32,
        other => return Err(format!("an interleaved layout of {other} bytes")),
    };
    let fill = if spec.nan_fill { OutOfBounds::Nan } else { OutOfBounds::Zeros };
    TensorMap::new(ty, address, &spec.dims, &spec.strides, &spec.box_dims)
        .element_strides(&spec.steps)
        .swizzle(swizzle)
        .interleave(interleave)
        .fill(fill)
        .encode()
        .map_err(|error| error.to_string())
}

/// The kernel that a run launches.
pub(crate) fn kernel(module: &Module, case: &Run) -> Result<Kernel, String> {
    let first = module.entries().next().map(|entry| entry.name.clone()).unwrap_or_default();
    Kernel::new(module, case.entry.as_deref().unwrap_or(&first)).map_err(|error| error.to_string())
}

/// Runs one launch; what the buffers of all arguments hold behind it, or why it stopped (a fault as `kind|text`).
pub(crate) fn play(kernel: &Kernel, case: &Run, options: &Options) -> Result<Vec<Vec<u8>>, String> {
    let mut bytes: Vec<Vec<u8>> = case.arguments.iter().map(|argument| argument.before.clone()).collect();
    {
        let mut memory = Memory::new();
        let mut addresses = Vec::new();
        for (argument, bytes) in case.arguments.iter().zip(&mut bytes) {
            addresses.push(match argument.role {
                Role::In => memory.input(&argument.name, bytes),
                Role::Out => memory.output(&argument.name, bytes),
                Role::InOut => memory.inout(&argument.name, bytes),
                Role::Scalar | Role::TensorMap => 0,
            });
        }
        let launch = Launch {
            grid: case.grid,
            block: case.block,
            cluster: case.cluster,
            shared_bytes: case.shared_bytes,
            params: case.params(&addresses, tensor_map)?,
        };
        match run(kernel, &launch, &mut memory, options) {
            Ok(_) => {}
            Err(Stop::Fault(fault)) => return Err(format!("{}|{fault}", fault.kind)),
            Err(stop) => return Err(stop.to_string()),
        }
        for (argument, address) in case.arguments.iter().zip(addresses) {
            if argument.is_checked()
                && let Some(range) = memory.unwritten(address)
            {
                return Err(format!("bytes {range:?} of `{}` were not written", argument.name));
            }
        }
    }
    Ok(bytes)
}
