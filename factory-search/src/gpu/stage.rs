//! Memory of the device gate: what cases read, and room for what they write. Kept from one candidate to the next, since
//! mapping pages takes longer than running a small case.

use std::borrow::Cow;
use std::collections::BTreeMap;

use factory_spec::{Arg, ArgId, BoundSpec};

use super::device::{Buffer, Gpu, Trouble};
use super::driver::DriverError;
use super::familiar::Familiar;
use super::helpers::Range;
use super::kernels::Table;
use super::memory::{Access, BAND, Pinned, Placement, Room};
use crate::cases::PreparedCase;
use crate::verdict::Reason;

/// Bytes of inputs that stay on the device for the cases of one spec; more make room by going.
const MOST_HELD: usize = 8 << 30;

/// A guard band's pattern.
pub(super) const BAND_WORD: u32 = u32::from_ne_bytes([BAND; 4]);

/// What a stage holds.
#[derive(Default)]
pub(super) struct Stage {
    /// The spec that everything here is for.
    spec: String,
    cases: BTreeMap<(String, Placement, usize), CaseInputs>,
    held: usize,
    /// Inputs of sequences, whose contents change in place: by placement, alignment and sizes.
    sequences: BTreeMap<(String, Placement, usize), CaseInputs>,
    /// Rooms for what is written, by argument or scratch buffer, each for the largest case so far.
    written: BTreeMap<String, Room>,
    pub(super) results: Option<Pinned>,
    pub(super) work: Option<Buffer>,
    /// What was found right, in digests of this key.
    pub(super) familiar: Familiar,
    /// Keys of the digests: drawn by the system, so that no kernel can know what keeps a digest the same.
    pub(super) key: u64,
}

/// The inputs of one case in one placement.
pub(super) struct CaseInputs {
    pub(super) tensors: Vec<Input>,
}

/// One tensor that is read.
pub(super) struct Input {
    pub(super) arg: usize,
    pub(super) name: String,
    /// Its room; `None` for what is written too, which is copied to a room for that before each run.
    room: Option<Room>,
    source: Option<Buffer>,
    pub(super) address: u64,
    pub(super) bytes: usize,
    /// Its digest when it was uploaded.
    pub(super) digest: u64,
    /// What it holds, and the range that a digest is taken of.
    content: Vec<u8>,
    table: Option<Table>,
}

impl Input {
    /// The bands around it: everything else in its room.
    pub(super) fn bands(&self) -> Vec<Range> {
        self.room.as_ref().map_or_else(Vec::new, |room| bands(room, self.address, self.bytes))
    }

    /// Where the data is that a run must find in memory that it writes.
    pub(super) fn source(&self) -> Option<u64> {
        self.source.as_ref().map(|buffer| buffer.address)
    }
}

/// What of a room is not the tensor.
pub(super) fn bands(room: &Room, address: u64, bytes: usize) -> Vec<Range> {
    let end = address + bytes as u64;
    let last = room.address + room.bytes as u64;
    [(room.address, address), (end, last)]
        .into_iter()
        .filter(|(from, to)| to > from)
        .map(|(from, to)| Range { address: from, bytes: (to - from) as usize, pattern: BAND_WORD })
        .collect()
}

impl Stage {
    /// Makes the stage one for this spec.
    pub(super) fn serve(&mut self, spec: &BoundSpec) {
        let key = spec.key().to_string();
        if self.spec != key {
            // Results and work serve any spec.
            let (results, work) = (self.results.take(), self.work.take());
            *self = Stage { spec: key, results, work, key: super::secret::draw(), ..Stage::default() };
        }
    }

    /// What tells a case from all others of a spec.
    pub(super) fn name(spec: &BoundSpec, case: &PreparedCase) -> String {
        format!("{}; {}", case.label, case.case.describe(spec))
    }

    /// Lets go of inputs when they have become too many. Nothing that was prepared may be waiting to run.
    pub(super) fn trim(&mut self, gpu: &Gpu) -> Result<(), DriverError> {
        if self.held > MOST_HELD {
            gpu.wait()?;
            self.cases.clear();
            self.held = 0;
        }
        Ok(())
    }

    /// The inputs of a case, uploaded when they are first asked for.
    pub(super) fn inputs(
        &mut self,
        gpu: &Gpu,
        spec: &BoundSpec,
        case: &PreparedCase,
        placement: Placement,
        alignment: usize,
    ) -> Result<&CaseInputs, Trouble> {
        let name = (Stage::name(spec, case), placement, alignment);
        if !self.cases.contains_key(&name) {
            let inputs = CaseInputs::new(gpu, spec, case, placement, alignment, self.key)?;
            self.held += inputs.tensors.iter().map(Input::held).sum::<usize>();
            self.cases.insert(name.clone(), inputs);
        }
        self.cases.get(&name).ok_or_else(|| {
            Reason::Infrastructure { message: "inputs that were just uploaded are gone".to_owned() }.into()
        })
    }

    /// The inputs of a sequence in the state that the last one left them in; they go back by [`Stage::keep_sequence`].
    pub(super) fn take_sequence(
        &mut self,
        gpu: &Gpu,
        spec: &BoundSpec,
        case: &PreparedCase,
        placement: Placement,
        alignment: usize,
    ) -> Result<CaseInputs, Trouble> {
        match self.sequences.remove(&(case.case.describe(spec), placement, alignment)) {
            Some(inputs) => Ok(inputs),
            None => CaseInputs::new(gpu, spec, case, placement, alignment, self.key),
        }
    }

    /// Keeps the inputs of a sequence for the next candidate.
    pub(super) fn keep_sequence(
        &mut self,
        spec: &BoundSpec,
        case: &PreparedCase,
        placement: Placement,
        alignment: usize,
        inputs: CaseInputs,
    ) {
        self.sequences.insert((case.case.describe(spec), placement, alignment), inputs);
    }

    /// A room of at least so many bytes for what `name` writes.
    pub(super) fn room(&mut self, gpu: &Gpu, name: &str, bytes: usize) -> Result<&Room, Trouble> {
        let enough = self.written.get(name).is_some_and(|room| room.holds() >= bytes);
        if !enough {
            // What is queued may still write to the old one.
            gpu.wait()?;
            self.written.remove(name);
            let room = Room::new(gpu, bytes)?;
            self.written.insert(name.to_owned(), room);
        }
        self.written.get(name).ok_or_else(|| {
            Reason::Infrastructure { message: "a room that was just made is gone".to_owned() }.into()
        })
    }

    /// Host memory for so many bytes of results.
    pub(super) fn results(&mut self, gpu: &Gpu, bytes: usize) -> Result<&Pinned, DriverError> {
        if self.results.as_ref().is_none_or(|held| held.len() < bytes) {
            gpu.wait()?;
            self.results = None;
            self.results = Some(Pinned::new(gpu, bytes.next_power_of_two())?);
        }
        // Set just above where it was not.
        self.results.as_ref().ok_or_else(|| unreachable_room("results"))
    }

    /// Device memory for so many bytes of tables and counters.
    pub(super) fn work(&mut self, gpu: &Gpu, bytes: usize) -> Result<&Buffer, DriverError> {
        if self.work.as_ref().is_none_or(|held| held.bytes < bytes) {
            gpu.wait()?;
            self.work = None;
            self.work = Some(Buffer::new(gpu, bytes.next_power_of_two())?);
        }
        self.work.as_ref().ok_or_else(|| unreachable_room("work"))
    }
}

fn unreachable_room(what: &'static str) -> DriverError {
    DriverError { call: what, code: -1, name: "memory that was just made is gone".to_owned() }
}

impl CaseInputs {
    pub(super) fn new(
        gpu: &Gpu,
        spec: &BoundSpec,
        case: &PreparedCase,
        placement: Placement,
        alignment: usize,
        key: u64,
    ) -> Result<CaseInputs, Trouble> {
        let drawn = case.inputs(spec);
        let mut tensors = Vec::new();
        for (index, arg) in spec.args.iter().enumerate() {
            if arg.scalar || !arg.role.reads() {
                continue;
            }
            let content = drawn.get(&ArgId(index as u32)).ok_or_else(|| missing(&arg.name))?;
            let content = &in_memory(spec, case, arg, content);
            let (name, bytes) = (arg.name.clone(), content.len());
            if arg.role.writes() {
                let source = Buffer::new(gpu, bytes)?;
                source.upload(0, content)?;
                let (room, source) = (None, Some(source));
                let (digest, table, content) = (0, None, Vec::new());
                tensors.push(Input {
                    arg: index,
                    name,
                    room,
                    source,
                    address: 0,
                    bytes,
                    digest,
                    content,
                    table,
                });
                continue;
            }
            let room = Room::new(gpu, bytes)?;
            let address = room.address + room.offset(bytes, alignment, placement) as u64;
            let table = Some(Table::new(gpu, &[Range { address, bytes, pattern: 0 }])?);
            let (room, source) = (Some(room), None);
            let (digest, none) = (0, Vec::new());
            let mut input =
                Input { arg: index, name, room, source, address, bytes, digest, content: none, table };
            input.write(gpu, content, key)?;
            tensors.push(input);
        }
        Ok(CaseInputs { tensors })
    }

    /// Puts other contents at the same addresses. Nothing may be running.
    pub(super) fn rewrite(
        &mut self,
        gpu: &Gpu,
        spec: &BoundSpec,
        case: &PreparedCase,
        key: u64,
    ) -> Result<(), Trouble> {
        let drawn = case.inputs(spec);
        for input in &mut self.tensors {
            let content = drawn.get(&ArgId(input.arg as u32)).ok_or_else(|| missing(&input.name))?;
            let content = &in_memory(spec, case, &spec.args[input.arg], content);
            match &input.source {
                Some(source) => source.upload(0, content)?,
                None => input.write(gpu, content, key)?,
            }
        }
        Ok(())
    }
}

impl Input {
    fn held(&self) -> usize {
        self.room.as_ref().map_or(0, |room| room.bytes)
            + self.source.as_ref().map_or(0, |buffer| buffer.bytes)
    }

    /// Writes band, content, band, takes the digest, and lets nobody write any more.
    fn write(&mut self, gpu: &Gpu, content: &[u8], key: u64) -> Result<(), Trouble> {
        let (Some(room), Some(table)) = (&self.room, &self.table) else { return Ok(()) };
        if !content.is_empty() && self.content == content {
            return Ok(());
        }
        room.protect(Access::ReadWrite)?;
        // SAFETY: the band is the whole room and the content lies in it: the room was made for so many bytes. The upload
        // waits for the stream, since the stream and the default one wait for each other.
        unsafe {
            gpu.driver.fill(room.address, BAND, room.bytes, gpu.stream)?;
            if !content.is_empty() {
                gpu.driver.upload(self.address, content.as_ptr().cast(), content.len())?;
            }
        }
        self.digest = table.digests(gpu, key)?.first().copied().unwrap_or(0);
        self.content = content.to_vec();
        Ok(room.protect(Access::Read)?)
    }
}

/// What a tensor's memory holds: its rows, and between them what bands hold.
fn in_memory<'a>(spec: &BoundSpec, case: &PreparedCase, arg: &Arg, content: &'a [u8]) -> Cow<'a, [u8]> {
    spec.rows(arg, &case.case.sizes).spread(content, arg.dtype.size(), BAND)
}

fn missing(name: &str) -> Reason {
    Reason::Infrastructure { message: format!("no input was drawn for `{name}`") }
}
