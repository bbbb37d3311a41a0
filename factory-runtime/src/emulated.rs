//! Launches on the PTX machine.

use factory_ptx::machine::{self, Checks, Kernel, Memory, Options, Stop, TensorMap};
use factory_spec::Role;

use crate::argument::Value;
use crate::compiled::{Base, Contract};
use crate::resolved::{Resolved, ResolvedParam};
use crate::view::{MutPlace, RefPlace};
use crate::{ArgValue, Error, MachineOptions, Result};

/// The entries of a kernel, decoded for the machine.
pub(crate) struct Emulated {
    entries: Vec<Kernel>,
}

impl Emulated {
    /// Decodes the entries.
    pub(crate) fn load(kernel: &'static str, file: &str, ptx: &str, entries: &[String]) -> Result<Emulated> {
        let unsupported = |why: String| Error::MachineUnsupported { kernel, why: format!("`{file}`: {why}") };
        let module = factory_ptx::parse(ptx).map_err(|errors| unsupported(errors.to_string()))?;
        let entries = entries
            .iter()
            .map(|entry| Kernel::new(&module, entry).map_err(|form| unsupported(form.to_string())));
        Ok(Emulated { entries: entries.collect::<Result<_>>()? })
    }

    /// Runs every launch of the plan to its end. The arguments have been checked.
    pub(crate) fn run(
        &self,
        kernel: &'static str,
        contract: &Contract,
        resolved: &Resolved,
        options: &MachineOptions,
        args: &mut [ArgValue<'_>],
    ) -> Result<()> {
        let mut memory = Memory::new();
        let mut bits = Vec::with_capacity(args.len());
        for (arg, value) in contract.args.iter().zip(args) {
            bits.push(match &mut value.0 {
                Value::Scalar { bits, .. } => *bits,
                Value::Ref { place: RefPlace::Host(host), .. } => memory.input(&arg.name, host.bytes),
                Value::Mut { place: MutPlace::Host(host), .. } => match arg.role {
                    Role::In => memory.input(&arg.name, host.bytes),
                    Role::Out => memory.output(&arg.name, host.bytes),
                    Role::InOut => memory.inout(&arg.name, host.bytes),
                },
                // The checks have refused it; an address of 0 would fault.
                Value::Ref { place: RefPlace::Cuda(_), .. } | Value::Mut { place: MutPlace::Cuda(_), .. } => {
                    0
                }
            });
        }
        let scratch: Vec<u64> = resolved
            .scratch
            .iter()
            .enumerate()
            .map(|(index, &(_, bytes))| {
                let (name, bytes) =
                    (format!("scratch {index}"), usize::try_from(bytes).unwrap_or(usize::MAX));
                if resolved.zeroed.contains(&index) {
                    memory.zeroed(&name, bytes)
                } else {
                    memory.scratch(&name, bytes)
                }
            })
            .collect();
        let checks = if options.all_checks { Checks::all() } else { Checks::fast() };
        let options = Options {
            checks,
            instruction_budget: options.instruction_budget,
            seed: options.seed,
            threads: options.threads,
            ..Options::default()
        };
        for launch in &resolved.launches {
            let entry = &self.entries[launch.entry];
            let layouts = entry.params();
            if layouts.len() != launch.params.len() {
                let what = format!(
                    "its plan passes {} parameters, the entry takes {}",
                    launch.params.len(),
                    layouts.len()
                );
                return Err(Error::BadKernel { kernel, what });
            }
            let mut params = vec![0; entry.params_size()];
            for (layout, param) in layouts.iter().zip(&launch.params) {
                let mut encoded = [0u8; factory_spec::MAP_BYTES];
                let (value, width) = match *param {
                    ResolvedParam::Map(index) => {
                        let map = &launch.maps[index];
                        let address = match map.base {
                            Base::Arg(arg) => bits[arg],
                            Base::Scratch(index) => scratch[index],
                        };
                        encoded = TensorMap::planned(&map.shape, address)
                            .encode()
                            .map_err(|error| Error::MachineUnsupported { kernel, why: error.to_string() })?;
                        (0, encoded.len())
                    }
                    ResolvedParam::Pointer(arg) => (bits[arg], 8),
                    ResolvedParam::Scalar(arg) => (bits[arg], contract.args[arg].dtype.size()),
                    ResolvedParam::Constant { bits, bytes } => (bits, usize::from(bytes)),
                    ResolvedParam::Scratch(index) => (scratch[index], 8),
                };
                if layout.size != width {
                    let what = format!(
                        "its plan passes {width} bytes for `{}`, the entry takes {}",
                        layout.name, layout.size
                    );
                    return Err(Error::BadKernel { kernel, what });
                }
                if !matches!(param, ResolvedParam::Map(_)) {
                    encoded[..8].copy_from_slice(&value.to_le_bytes());
                }
                params[layout.offset..layout.offset + width].copy_from_slice(&encoded[..width]);
            }
            let launch = machine::Launch {
                grid: launch.grid,
                block: launch.block,
                cluster: launch.cluster,
                shared_bytes: launch.shared_bytes,
                params,
            };
            machine::run(entry, &launch, &mut memory, &options).map_err(|stop| match stop {
                Stop::Fault(fault) => Error::MachineFault { kernel, fault },
                Stop::Machine(error) => Error::MachineUnsupported { kernel, why: error.to_string() },
            })?;
        }
        Ok(())
    }
}
