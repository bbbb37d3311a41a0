//! Runs of the device gate: queued one behind the other, awaited together, read back together.

use std::collections::BTreeMap;

use factory_spec::{ArgId, BoundSpec, Variant};

use super::device::{Gpu, Loaded, Trouble};
use super::familiar::{Familiar, Fingerprint, Known};
use super::gaps::Gaps;
use super::helpers::{self, ENTRY_BYTES, Range};
use super::memory::{Pinned, Placement};
use super::poison::Poison;
use super::secret::Stream;
use super::stage::{CaseInputs, Stage, bands};
use crate::cases::PreparedCase;
use crate::launch::{self, Bindings};
use crate::verdict::Reason;

/// Bytes of outputs that are read back at once.
const BATCH_BYTES: usize = 64 << 20;

/// One execution that is wanted.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) case: &'a PreparedCase,
    pub(super) placement: Placement,
    pub(super) poison: Poison,
    /// Whether shared memory and registers are scrubbed before it, or some other kernel runs.
    pub(super) before: Before,
}

/// What the device does before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// NaN goes over shared memory and registers.
    Scrub,
    /// A kernel that has nothing to do with the candidate.
    Unrelated,
    /// Nothing.
    Nothing,
}

/// What an execution left.
pub(super) struct Ran {
    /// The memory of each output, with the gaps between its rows; none where they are known.
    pub(super) outputs: Vec<Vec<u8>>,
    /// What the device says of them.
    pub(super) fingerprint: Fingerprint,
    /// What is known of them, where they and all others of the same case were found right before and are the same.
    pub(super) known: Option<Known>,
    /// Where each output was, and the word that it was poisoned with; `None` for what is read too.
    pub(super) poisons: Vec<(u64, Option<u32>)>,
}

/// An execution that is queued.
struct Queued {
    label: String,
    /// The case, for [`super::familiar`].
    case: String,
    /// Position of its counters among the results: one that is never 0 once the run is over, then one for each band, one
    /// for each input, one for each output.
    counters: usize,
    starts: Vec<u8>,
    bands: Vec<String>,
    inputs: Vec<(String, u64)>,
    /// Position and bytes of each output among the results.
    outputs: Vec<(usize, usize)>,
    /// Name and gaps of each output.
    gaps: Vec<(String, Option<Gaps>)>,
    poisons: Vec<(u64, Option<u32>)>,
}

/// What runs are made with.
pub(super) struct Runs<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) stage: &'a mut Stage,
    pub(super) spec: &'a BoundSpec,
    pub(super) variant: &'a Variant,
    pub(super) loaded: &'a Loaded,
    pub(super) random: Stream,
    pub(super) scrubbed: bool,
}

/// A run with everything that it takes on the device.
struct Prepared {
    launches: Vec<super::device::ReadyLaunch>,
    poison: Vec<Range>,
    bands: Vec<(String, Range)>,
    inputs: Vec<(String, u64, Range)>,
    copies: Vec<(u64, u64, usize)>,
    outputs: Vec<(u64, usize)>,
    /// Of each output.
    gaps: Vec<Option<Gaps>>,
    poisons: Vec<(u64, Option<u32>)>,
    before: Before,
    label: String,
    case: String,
}

impl Prepared {
    /// Words that say what came of it.
    fn counters(&self) -> usize {
        1 + self.bands.len() + self.inputs.len() + self.outputs.len()
    }

    /// What digests are taken of: inputs, then outputs.
    fn digested(&self) -> impl Iterator<Item = Range> {
        let inputs = self.inputs.iter().map(|(_, _, range)| *range);
        inputs.chain(self.outputs.iter().map(|&(address, bytes)| Range { address, bytes, pattern: 0 }))
    }

    /// Where each output begins within a word.
    fn starts(&self) -> Vec<u8> {
        self.outputs.iter().map(|(address, _)| (address % 4) as u8).collect()
    }
}

impl Runs<'_> {
    fn alignment(&self) -> usize {
        self.variant.alignment.max(1) as usize
    }

    /// Runs everything, in this order. On trouble the case that it was about.
    pub(super) fn all(&mut self, wanted: &[Wanted<'_>]) -> Result<Vec<Ran>, (Trouble, String)> {
        self.reserve(wanted)?;
        // What is known is told of all runs of a case at once, so all must be in one batch.
        let total: usize = wanted.iter().map(|one| self.output_bytes(one.case)).sum();
        let together = total <= BATCH_BYTES;
        let mut done = Vec::new();
        let mut from = 0;
        while from < wanted.len() {
            let mut bytes = 0;
            let mut to = from;
            while to < wanted.len() && (to == from || bytes < BATCH_BYTES) {
                bytes += self.output_bytes(wanted[to].case);
                to += 1;
            }
            let mut prepared = Vec::new();
            self.stage.trim(self.gpu).map_err(|error| (error.into(), String::new()))?;
            for one in &wanted[from..to] {
                let label = || one.case.label.clone();
                let alignment = self.alignment();
                // Uploaded before anything is queued, so that nothing waits in between.
                let inputs = self
                    .stage
                    .inputs(self.gpu, self.spec, one.case, one.placement, alignment)
                    .map(Laid::of)
                    .map_err(|trouble| (trouble, label()))?;
                prepared.push(self.prepare(one, &inputs).map_err(|trouble| (trouble, label()))?);
            }
            done.extend(self.batch(prepared, together)?);
            from = to;
        }
        Ok(done)
    }

    /// Runs one execution on inputs that are not the stage's.
    pub(super) fn on(&mut self, wanted: &Wanted<'_>, inputs: &CaseInputs) -> Result<Ran, (Trouble, String)> {
        let label = || wanted.case.label.clone();
        self.reserve(std::slice::from_ref(wanted))?;
        let prepared = self.prepare(wanted, &Laid::of(inputs)).map_err(|trouble| (trouble, label()))?;
        let ran = self.batch(vec![prepared], true)?.pop();
        ran.ok_or_else(|| {
            let message = "a run left nothing".to_owned();
            (Reason::Infrastructure { message }.into(), label())
        })
    }

    /// Makes rooms for the largest of what will be written, so that no room moves once a run was prepared.
    fn reserve(&mut self, wanted: &[Wanted<'_>]) -> Result<(), (Trouble, String)> {
        for one in wanted {
            let sizes = &one.case.case.sizes;
            let label = |trouble: Trouble| (trouble, one.case.label.clone());
            for (_, arg) in self.spec.outputs() {
                let bytes = self.spec.span(arg, sizes) * arg.dtype.size();
                self.stage.room(self.gpu, &arg.name, bytes).map_err(label)?;
            }
            let scratch = launch::scratch_bytes(self.spec, sizes, self.variant);
            for (name, bytes) in scratch.map_err(|reason| label(reason.into()))? {
                self.stage.room(self.gpu, &format!("scratch {name}"), bytes).map_err(label)?;
            }
        }
        Ok(())
    }

    fn output_bytes(&self, case: &PreparedCase) -> usize {
        let sizes = &case.case.sizes;
        self.spec.outputs().map(|(_, arg)| self.spec.span(arg, sizes) * arg.dtype.size()).sum()
    }

    fn prepare(&mut self, wanted: &Wanted<'_>, inputs: &Laid) -> Result<Prepared, Trouble> {
        let (gpu, spec, variant) = (self.gpu, self.spec, self.variant);
        let (case, sizes) = (wanted.case, &wanted.case.case.sizes);
        let drawn = case.inputs(spec);
        let alignment = self.alignment();
        let mut bindings = Bindings::default();
        let mut prepared = Prepared {
            launches: Vec::new(),
            poison: Vec::new(),
            bands: Vec::new(),
            inputs: Vec::new(),
            copies: Vec::new(),
            outputs: Vec::new(),
            gaps: Vec::new(),
            poisons: Vec::new(),
            before: wanted.before,
            label: case.label.clone(),
            case: Stage::name(spec, case),
        };
        for (index, arg) in spec.args.iter().enumerate() {
            if arg.scalar {
                let bytes = drawn.get(&ArgId(index as u32)).ok_or_else(|| Reason::Infrastructure {
                    message: format!("no scalar was drawn for `{}`", arg.name),
                })?;
                bindings.scalars.insert(arg.name.clone(), bytes.clone());
                continue;
            }
            let laid = inputs.0.iter().find(|laid| laid.arg == index);
            if !arg.role.writes() {
                let laid = laid.ok_or_else(|| Reason::Infrastructure {
                    message: format!("no input was drawn for `{}`", arg.name),
                })?;
                bindings.pointers.insert(arg.name.clone(), laid.range.address);
                prepared.inputs.push((arg.name.clone(), laid.digest, laid.range));
                prepared.bands.extend(laid.bands.iter().map(|range| (arg.name.clone(), *range)));
                continue;
            }
            let bytes = spec.span(arg, sizes) * arg.dtype.size();
            let word = wanted.poison.word(arg.dtype, self.random.next());
            let address = self.lay(&arg.name, bytes, alignment, wanted.placement, word, &mut prepared)?;
            bindings.pointers.insert(arg.name.clone(), address);
            prepared.outputs.push((address, bytes));
            prepared.gaps.push(Gaps::of(spec, arg, sizes));
            let source = laid.and_then(|laid| laid.source);
            if let Some(source) = source {
                prepared.copies.push((address, source, bytes));
            }
            prepared.poisons.push((address, source.is_none().then_some(word)));
        }
        for (name, bytes) in launch::scratch_bytes(spec, sizes, variant)? {
            let word = wanted.poison.word(factory_spec::DType::F32, self.random.next());
            let label = format!("scratch {name}");
            let address =
                self.lay(&label, bytes, alignment.clamp(16, 256), wanted.placement, word, &mut prepared)?;
            bindings.scratch.insert(name, address);
        }
        prepared.launches = self.loaded.prepare(gpu, spec, variant, sizes, &bindings)?;
        Ok(prepared)
    }

    /// Room for something that is written, with what must be poisoned and looked after around it.
    fn lay(
        &mut self,
        name: &str,
        bytes: usize,
        alignment: usize,
        placement: Placement,
        word: u32,
        prepared: &mut Prepared,
    ) -> Result<u64, Trouble> {
        let room = self.stage.room(self.gpu, name, bytes)?;
        let address = room.address + room.offset(bytes, alignment, placement) as u64;
        let around = bands(room, address, bytes);
        prepared.poison.extend(around.iter().copied());
        prepared.poison.push(Range { address, bytes, pattern: word });
        prepared.bands.extend(around.into_iter().map(|range| (name.to_owned(), range)));
        Ok(address)
    }

    /// Queues runs one behind the other, waits once, and reads back what is not known. `together`: all runs of each case are
    /// here.
    fn batch(&mut self, prepared: Vec<Prepared>, together: bool) -> Result<Vec<Ran>, (Trouble, String)> {
        let nowhere = |error: super::driver::DriverError| (error.into(), String::new());
        let gpu = self.gpu;
        // Tables, then counters, in one buffer on the device; counters, then outputs, in one on the host.
        let mut tables = Vec::new();
        let mut counters = Vec::new();
        let mut queued = Vec::new();
        let names: Vec<String> = self.spec.outputs().map(|(_, arg)| arg.name.clone()).collect();
        for run in &prepared {
            tables.push(tables_of(run));
            let words = run.counters();
            queued.push(Queued {
                label: run.label.clone(),
                case: run.case.clone(),
                starts: run.starts(),
                counters: counters.len() * 8,
                bands: run.bands.iter().map(|(name, _)| name.clone()).collect(),
                inputs: run.inputs.iter().map(|(name, digest, _)| (name.clone(), *digest)).collect(),
                outputs: Vec::new(),
                gaps: names.iter().cloned().zip(run.gaps.iter().copied()).collect(),
                poisons: run.poisons.clone(),
            });
            counters.push(1u64);
            counters.extend(std::iter::repeat_n(0, words - 1));
        }
        let mut position = (counters.len() * 8).next_multiple_of(256);
        for (run, queued) in prepared.iter().zip(&mut queued) {
            for (_, bytes) in &run.outputs {
                queued.outputs.push((position, *bytes));
                position = (position + bytes).next_multiple_of(256);
            }
        }
        let table_bytes: Vec<u8> = tables.concat();
        let counter_bytes: Vec<u8> = counters.iter().flat_map(|word| word.to_le_bytes()).collect();
        let work_bytes = table_bytes.len() + counter_bytes.len();
        let key = self.stage.key;
        let work = self.stage.work(gpu, work_bytes.max(8)).map_err(nowhere)?.address;
        let results = self.stage.results(gpu, position.max(8)).map_err(nowhere)?;
        results.clear(0, counter_bytes.len());
        let mut image = table_bytes;
        let tables_end = image.len();
        image.extend(&counter_bytes);
        // SAFETY: the buffer has at least that many bytes, and the slice is alive.
        unsafe { gpu.driver.upload(work, image.as_ptr().cast(), image.len()) }.map_err(nowhere)?;
        let mut table = work;
        for (run, queued) in prepared.iter().zip(&queued) {
            let counter = work + (tables_end + queued.counters) as u64;
            let outcome = queue(gpu, run, queued, table, counter, key, results);
            match outcome {
                Ok(scrubbed) => self.scrubbed &= scrubbed,
                Err(error) => {
                    // What is queued already uses memory that somebody may free after this.
                    let _ = gpu.wait();
                    return Err((error.into(), queued.label.clone()));
                }
            }
            let entries = run.poison.len() + run.bands.len() + run.inputs.len() + run.outputs.len();
            table += (entries * ENTRY_BYTES) as u64;
        }
        if let Err(error) = gpu.wait() {
            // The first run whose counters did not arrive is the one that failed.
            let unfinished = queued.iter().find(|queued| results.word(queued.counters) == 0);
            let label = unfinished.map_or_else(String::new, |queued| queued.label.clone());
            return Err((error.into(), label));
        }
        let Stage { results: Some(results), familiar, .. } = &*self.stage else {
            let message = "the memory for results is gone".to_owned();
            return Err((Reason::Infrastructure { message }.into(), String::new()));
        };
        let known = if together { known(familiar, results, &queued) } else { BTreeMap::new() };
        queued
            .into_iter()
            .map(|queued| {
                let (label, known) = (queued.label.clone(), known.get(&queued.case).copied());
                read(results, queued, known).map_err(|reason| (reason.into(), label))
            })
            .collect()
    }

    /// Launches without looking at what comes out, so that no run knows how many went before it.
    pub(super) fn warm(&mut self, wanted: &Wanted<'_>, count: usize) -> Result<(), (Trouble, String)> {
        let warm = vec![*wanted; count];
        self.all(&warm).map(|_| ())
    }
}

/// The inputs of a case as a run needs them.
struct Laid(Vec<LaidInput>);

struct LaidInput {
    arg: usize,
    range: Range,
    digest: u64,
    bands: Vec<Range>,
    source: Option<u64>,
}

impl Laid {
    fn of(inputs: &CaseInputs) -> Laid {
        Laid(
            inputs
                .tensors
                .iter()
                .map(|input| LaidInput {
                    arg: input.arg,
                    range: Range { address: input.address, bytes: input.bytes, pattern: 0 },
                    digest: input.digest,
                    bands: input.bands(),
                    source: input.source(),
                })
                .collect(),
        )
    }
}

fn tables_of(run: &Prepared) -> Vec<u8> {
    let mut bytes = helpers::table(&run.poison);
    let bands: Vec<Range> = run.bands.iter().map(|(_, range)| *range).collect();
    bytes.extend(helpers::table(&bands));
    let digested: Vec<Range> = run.digested().collect();
    bytes.extend(helpers::table(&digested));
    bytes
}

/// Queues one run with everything before and after it. Whether it was scrubbed where that was wanted.
fn queue(
    gpu: &Gpu,
    run: &Prepared,
    queued: &Queued,
    table: u64,
    counter: u64,
    key: u64,
    results: &Pinned,
) -> Result<bool, super::driver::DriverError> {
    let largest =
        |ranges: &mut dyn Iterator<Item = &Range>| ranges.map(|range| range.bytes).max().unwrap_or(0);
    gpu.poison((table, run.poison.len()), largest(&mut run.poison.iter()))?;
    for (to, from, bytes) in &run.copies {
        // SAFETY: both ranges have that many bytes, and the stream is of this context.
        unsafe { gpu.driver.copy(*to, *from, *bytes, gpu.stream) }?;
    }
    for ((address, _), gaps) in run.outputs.iter().zip(&run.gaps) {
        if let Some(gaps) = gaps {
            gaps.fill(gpu, *address)?;
        }
    }
    let scrubbed = match run.before {
        Before::Scrub => gpu.scrub()?,
        Before::Unrelated => {
            gpu.unrelated(key)?;
            true
        }
        Before::Nothing => true,
    };
    for launch in &run.launches {
        launch.queue(gpu)?;
    }
    let bands = table + (run.poison.len() * ENTRY_BYTES) as u64;
    if !run.bands.is_empty() {
        let most = largest(&mut run.bands.iter().map(|(_, range)| range));
        gpu.intact((bands, run.bands.len()), most, counter + 8)?;
    }
    let inputs = bands + (run.bands.len() * ENTRY_BYTES) as u64;
    let digests = counter + 8 + (run.bands.len() * 8) as u64;
    let digested: Vec<Range> = run.digested().collect();
    if !digested.is_empty() {
        gpu.digest((inputs, digested.len()), largest(&mut digested.iter()), key, digests)?;
    }
    for ((address, bytes), (position, _)) in run.outputs.iter().zip(&queued.outputs) {
        if *bytes > 0 {
            results.fetch(gpu, *position, *address, *bytes)?;
        }
    }
    results.fetch(gpu, queued.counters, counter, run.counters() * 8)?;
    Ok(scrubbed)
}

/// The cases all of whose runs left what is known to be right, by name.
fn known(familiar: &Familiar, results: &Pinned, queued: &[Queued]) -> BTreeMap<String, Known> {
    let mut by_case: BTreeMap<&str, Vec<Fingerprint>> = BTreeMap::new();
    for one in queued {
        by_case.entry(&one.case).or_default().push(one.fingerprint(results));
    }
    by_case
        .into_iter()
        .filter_map(|(case, fingerprints)| Some((case.to_owned(), familiar.of_all(case, &fingerprints)?)))
        .collect()
}

impl Queued {
    fn fingerprint(&self, results: &Pinned) -> Fingerprint {
        let first = 1 + self.bands.len() + self.inputs.len();
        let digests = (first..first + self.outputs.len()).map(|at| results.word(self.counters + at * 8));
        Fingerprint { starts: self.starts.clone(), digests: digests.collect() }
    }
}

/// What a run left, unless it touched what it must not. What is known stays where it is.
fn read(results: &Pinned, queued: Queued, known: Option<Known>) -> Result<Ran, Reason> {
    let fingerprint = queued.fingerprint(results);
    let word = |index: usize| results.word(queued.counters + index * 8);
    for (index, name) in queued.bands.iter().enumerate() {
        if word(1 + index) != 0 {
            return Err(Reason::GuardBand { sizes: queued.label, buffer: name.clone() });
        }
    }
    for (index, (name, digest)) in queued.inputs.iter().enumerate() {
        if word(1 + queued.bands.len() + index) != *digest {
            return Err(Reason::InputChanged { sizes: queued.label, input: name.clone() });
        }
    }
    let wanted = if known.is_some() { &[][..] } else { &queued.outputs[..] };
    let mut outputs = Vec::new();
    for ((position, bytes), (name, gaps)) in wanted.iter().zip(&queued.gaps) {
        let mut content = vec![0; *bytes];
        results.read(*position, &mut content);
        if let Some(byte) = gaps.and_then(|gaps| gaps.first_stray(&content)) {
            let (sizes, output) = (queued.label, name.clone());
            return Err(Reason::RowGap { sizes, output, byte: byte as u64 });
        }
        outputs.push(content);
    }
    Ok(Ran { outputs, fingerprint, known, poisons: queued.poisons })
}
