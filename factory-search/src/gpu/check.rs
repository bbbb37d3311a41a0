//! The device gate: the cases of the machine gate, on the GPU.
//!
//! Each case runs four times: with two poisons, once with every tensor right behind its leading guard band and once with
//! its end right before the trailing one. All four must leave the guard bands and the inputs as they were and agree in
//! every bit of every output where the spec asks for determinism; every one must agree with the oracle.

use factory_spec::{ArgId, BoundSpec, Requirement, compare};

use super::device::{Buffer, Gpu, Loaded, Trouble};
use super::driver::DriverError;
use crate::candidate::Candidate;
use crate::cases::{Cases, PreparedCase};
use crate::launch::{self, Bindings};
use crate::verdict::{Gate, Reason, Rejection};

/// Bytes of each guard band.
const GUARD: usize = 4096;
/// What outputs and scratch hold before a launch: once a NaN of every float type, once a large finite number.
const POISONS: [u8; 2] = [0xff, 0x6d];
/// What the guard bands hold: a NaN of every float type, so that an input read beyond its end shows.
const BAND: u8 = 0xff;

/// Where in its room a tensor lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placement {
    Start,
    End,
}

/// One tensor with its guard bands.
struct Guarded {
    name: String,
    buffer: Buffer,
    offset: usize,
    bytes: usize,
}

impl Guarded {
    fn new(
        gpu: &Gpu,
        name: &str,
        bytes: usize,
        alignment: usize,
        placement: Placement,
    ) -> Result<Guarded, DriverError> {
        let room = bytes.next_multiple_of(256);
        let buffer = Buffer::new(gpu, room + 2 * GUARD)?;
        let slack = match placement {
            Placement::Start => 0,
            Placement::End => (room - bytes) / alignment * alignment,
        };
        Ok(Guarded { name: name.to_owned(), buffer, offset: GUARD + slack, bytes })
    }

    fn address(&self) -> u64 {
        self.buffer.address + self.offset as u64
    }

    /// Band, content, band.
    fn set(&self, content: &[u8]) -> Result<(), DriverError> {
        let mut image = vec![BAND; self.buffer.bytes];
        image[self.offset..self.offset + self.bytes].copy_from_slice(content);
        self.buffer.upload(0, &image)
    }

    /// The content, if the bands are as they were.
    fn get(&self) -> Result<Option<Vec<u8>>, DriverError> {
        let mut image = vec![0; self.buffer.bytes];
        self.buffer.download(0, &mut image)?;
        let end = self.offset + self.bytes;
        let intact = image[..self.offset].iter().chain(&image[end..]).all(|&byte| byte == BAND);
        Ok(intact.then(|| image[self.offset..end].to_vec()))
    }
}

impl Gpu {
    /// Runs a candidate on every case that it serves.
    ///
    /// # Errors
    /// The first refusal. After an error that stays with the context, a new context was made; when that fails too the
    /// verdict is `Infrastructure`.
    pub fn check(
        &mut self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Result<u32, Rejection> {
        let outcome = self.check_cases(spec, cases, candidate);
        outcome.map_err(|(trouble, sizes)| self.rejection(Gate::Device, trouble, &sizes))
    }

    /// Turns trouble into a refusal, and gets over a lost context.
    pub(super) fn rejection(&mut self, gate: Gate, trouble: Trouble, sizes: &str) -> Rejection {
        let reason = match trouble {
            Trouble::Candidate(reason) => reason,
            Trouble::Driver(error) if error.is_sticky() => match self.renew() {
                Ok(()) => Reason::DeviceFault {
                    sizes: sizes.to_owned(),
                    code: error.name.clone(),
                    message: format!("`{}` failed; a new context was made", error.call),
                },
                Err(again) => Reason::Infrastructure {
                    message: format!("after {error} no new context could be made: {again}; start again"),
                },
            },
            // The kernel asks for more than the device gives a launch.
            Trouble::Driver(error) if matches!(error.code, 1 | 701) => {
                Reason::Plan { message: error.to_string() }
            }
            Trouble::Driver(error) => Reason::Infrastructure { message: error.to_string() },
        };
        Rejection::new(gate, reason)
    }

    fn check_cases(
        &self,
        spec: &BoundSpec,
        cases: &Cases,
        candidate: &Candidate,
    ) -> Result<u32, (Trouble, String)> {
        let nowhere = |trouble: Trouble| (trouble, String::new());
        let served = cases.served(spec, &candidate.variant);
        if served.is_empty() {
            let when = candidate.variant.when.to_string();
            return Err(nowhere(Reason::NoCase { when }.into()));
        }
        let loaded = Loaded::new(self, candidate).map_err(nowhere)?;
        for &index in &served {
            let case = &cases.all()[index];
            self.check_case(spec, case, candidate, &loaded)
                .map_err(|trouble| (trouble, case.label.clone()))?;
        }
        Ok(served.len() as u32)
    }

    fn check_case(
        &self,
        spec: &BoundSpec,
        case: &PreparedCase,
        candidate: &Candidate,
        loaded: &Loaded,
    ) -> Result<(), Trouble> {
        let deterministic = spec.better.require.contains(&Requirement::Deterministic);
        let mut first: Option<Vec<Vec<u8>>> = None;
        for placement in [Placement::Start, Placement::End] {
            for poison in POISONS {
                let outputs = self.run_case(spec, case, candidate, loaded, placement, poison)?;
                let ready = case
                    .ready(spec)
                    .map_err(|message| Reason::Infrastructure { message: message.to_owned() })?;
                let slices: Vec<&[u8]> = outputs.iter().map(Vec::as_slice).collect();
                let agreed = compare::compare(spec, &case.case, &ready.expected, &slices, &ready.tolerances);
                agreed.map_err(|mismatch| Reason::Mismatch {
                    sizes: case.label.clone(),
                    message: mismatch.to_string(),
                })?;
                let Some(first) = &first else {
                    first = Some(outputs);
                    continue;
                };
                let names: Vec<&str> = spec.outputs().map(|(_, arg)| arg.name.as_str()).collect();
                for ((before, now), name) in first.iter().zip(&outputs).zip(names) {
                    // Poison that survives differs between the two runs at the same byte.
                    let survived = before.iter().zip(now).any(|(a, b)| *a == POISONS[0] && *b == POISONS[1]);
                    if before != now && (survived && poison == POISONS[1]) {
                        let (sizes, output) = (case.label.clone(), name.to_owned());
                        return Err(Reason::PoisonShows { sizes, output }.into());
                    }
                    if before != now && deterministic {
                        let (sizes, output) = (case.label.clone(), name.to_owned());
                        return Err(Reason::NotDeterministic { sizes, output }.into());
                    }
                }
            }
        }
        Ok(())
    }

    /// One execution; the bytes of each output.
    fn run_case(
        &self,
        spec: &BoundSpec,
        case: &PreparedCase,
        candidate: &Candidate,
        loaded: &Loaded,
        placement: Placement,
        poison: u8,
    ) -> Result<Vec<Vec<u8>>, Trouble> {
        let sizes = &case.case.sizes;
        let variant = &candidate.variant;
        let alignment = variant.alignment.max(1) as usize;
        let ready =
            case.ready(spec).map_err(|message| Reason::Infrastructure { message: message.to_owned() })?;
        let mut bindings = Bindings::default();
        let mut tensors: Vec<(usize, Guarded)> = Vec::new();
        let missing =
            |name: &str| Reason::Infrastructure { message: format!("no input was drawn for `{name}`") };
        for (index, arg) in spec.args.iter().enumerate() {
            let input = ready.inputs.get(&ArgId(index as u32));
            if arg.scalar {
                bindings.scalars.insert(arg.name.clone(), input.ok_or_else(|| missing(&arg.name))?.clone());
                continue;
            }
            let bytes = spec.elements(arg, sizes) * arg.dtype.size();
            let tensor = Guarded::new(self, &arg.name, bytes, alignment, placement)?;
            match input {
                Some(content) if arg.role.reads() => tensor.set(content)?,
                _ if arg.role.reads() => return Err(missing(&arg.name).into()),
                _ => tensor.set(&vec![poison; bytes])?,
            }
            bindings.pointers.insert(arg.name.clone(), tensor.address());
            tensors.push((index, tensor));
        }
        let mut scratch = Vec::new();
        for (name, bytes) in launch::scratch_bytes(spec, sizes, variant)? {
            let tensor = Guarded::new(self, &name, bytes, 16, placement)?;
            tensor.set(&vec![poison; bytes])?;
            bindings.scratch.insert(name, tensor.address());
            scratch.push(tensor);
        }
        for launch in loaded.prepare(self, spec, variant, sizes, &bindings)? {
            launch.queue(self)?;
        }
        self.wait()?;
        let band =
            |tensor: &Guarded| Reason::GuardBand { sizes: case.label.clone(), buffer: tensor.name.clone() };
        for tensor in &scratch {
            tensor.get()?.ok_or_else(|| band(tensor))?;
        }
        let mut outputs = Vec::new();
        for (index, tensor) in &tensors {
            let content = tensor.get()?.ok_or_else(|| band(tensor))?;
            let arg = &spec.args[*index];
            if arg.role.writes() {
                outputs.push(content);
            } else if ready.inputs.get(&ArgId(*index as u32)) != Some(&content) {
                let (sizes, input) = (case.label.clone(), arg.name.clone());
                return Err(Reason::InputChanged { sizes, input }.into());
            }
        }
        Ok(outputs)
    }
}
