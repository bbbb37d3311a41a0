//! A PTX file's entry, its launch, and one execution of it on the machine.

use std::ops::Range;
use std::path::{Path, PathBuf};

use factory_ptx::ast::Module;
use factory_ptx::machine::{Fault, Kernel, Launch, Memory, Options, Report, Stop, run};

use super::LaunchError;
use super::operand::{Operand, Role, Value};

/// A PTX file with one of its entries decoded.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) module: Module,
    pub(crate) entry: String,
}

impl Program {
    /// Reads a file and finds the entry: the one that is named, or the only one.
    pub(crate) fn read(path: &Path, entry: Option<&str>) -> Result<Program, LaunchError> {
        let bytes =
            std::fs::read(path).map_err(|source| LaunchError::Read { path: path.to_owned(), source })?;
        // cuobjdump and nvcc may leave a zero byte at the end.
        let text = String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned();
        let module =
            factory_ptx::parse(&text).map_err(|errors| LaunchError::Ptx { path: path.to_owned(), errors })?;
        let known: Vec<String> = module.entries().map(|function| function.name.clone()).collect();
        let entry = match entry {
            Some(name) if known.iter().any(|known| known == name) => name.to_owned(),
            Some(name) => {
                return Err(LaunchError::NoEntry { path: path.to_owned(), name: name.to_owned(), known });
            }
            None if known.len() == 1 => known[0].clone(),
            None => return Err(LaunchError::WhichEntry { path: path.to_owned(), known }),
        };
        Ok(Program { path: path.to_owned(), text, module, entry })
    }

    /// The entry, ready to run.
    pub(crate) fn kernel(&self) -> Result<Kernel, LaunchError> {
        Ok(Kernel::new(&self.module, &self.entry)?)
    }
}

/// What became of one execution.
pub(crate) struct Execution {
    pub(crate) result: Result<Report, Box<Fault>>,
    /// The bytes of each argument that is a buffer and may be written.
    pub(crate) after: Vec<Option<Vec<u8>>>,
    /// The first bytes of each output that nobody wrote.
    pub(crate) unwritten: Vec<Option<Range<usize>>>,
}

/// Compares what is given with what the entry takes.
pub(crate) fn check_arity(kernel: &Kernel, operands: &[Operand]) -> Result<(), LaunchError> {
    let params = kernel.params();
    if params.len() != operands.len() {
        return Err(LaunchError::Arity {
            entry: kernel.name().to_owned(),
            expected: params.len(),
            given: operands.len(),
            params: params.iter().map(|param| format!("`{}` ({} bytes)", param.name, param.size)).collect(),
        });
    }
    for (param, operand) in params.iter().zip(operands) {
        let given = match &operand.value {
            Value::Bytes(bytes) => bytes.len(),
            Value::Map(_) => 128,
            _ => 8,
        };
        if given != param.size {
            return Err(LaunchError::ParameterSize {
                entry: kernel.name().to_owned(),
                param: param.name.clone(),
                size: param.size,
                text: operand.text.clone(),
                given,
            });
        }
    }
    Ok(())
}

/// Runs a launch over fresh copies of the buffers. `launch` has everything but the parameters.
pub(crate) fn execute(
    kernel: &Kernel,
    launch: &Launch,
    operands: &[Operand],
    options: &Options,
) -> Result<Execution, LaunchError> {
    check_arity(kernel, operands)?;
    let mut after: Vec<Option<Vec<u8>>> = operands
        .iter()
        .map(|operand| match &operand.value {
            Value::Buffer(buffer) if buffer.role != Role::In => Some(buffer.bytes.clone()),
            _ => None,
        })
        .collect();
    let (result, unwritten) = {
        let mut memory = Memory::new();
        let mut addresses: Vec<u64> = Vec::new();
        let mut params = vec![0u8; kernel.params_size()];
        for ((operand, bytes), param) in operands.iter().zip(&mut after).zip(kernel.params()) {
            let address = match (&operand.value, bytes) {
                (Value::Buffer(buffer), Some(bytes)) => match buffer.role {
                    Role::Out => memory.output(&param.name, bytes),
                    _ => memory.inout(&param.name, bytes),
                },
                (Value::Buffer(buffer), None) => memory.input(&param.name, &buffer.bytes),
                (Value::Scratch(bytes), _) => memory.scratch(&param.name, *bytes as usize),
                (Value::Pointer { argument, offset }, _) => addresses[*argument].wrapping_add(*offset),
                (Value::Bytes(_) | Value::Map(_), _) => 0,
            };
            addresses.push(address);
            let place = &mut params[param.offset..param.offset + param.size];
            match &operand.value {
                Value::Bytes(bytes) => place.copy_from_slice(bytes),
                Value::Map(map) => {
                    let encoded = map
                        .encode(addresses[map.argument])
                        .map_err(|message| LaunchError::Argument { text: operand.text.clone(), message })?;
                    place.copy_from_slice(&encoded);
                }
                _ => place.copy_from_slice(&address.to_le_bytes()),
            }
        }
        let launch = Launch { params, ..launch.clone() };
        let result = match run(kernel, &launch, &mut memory, options) {
            Ok(report) => Ok(report),
            Err(Stop::Fault(fault)) => Err(fault),
            Err(Stop::Machine(error)) => return Err(error.into()),
        };
        let unwritten: Vec<Option<Range<usize>>> = operands
            .iter()
            .zip(&addresses)
            .map(|(operand, address)| match &operand.value {
                Value::Buffer(buffer) if buffer.role == Role::Out => memory.unwritten(*address),
                _ => None,
            })
            .collect();
        (result, unwritten)
    };
    Ok(Execution { result, after, unwritten })
}
