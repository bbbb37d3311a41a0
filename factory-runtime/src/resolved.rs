//! What a launch comes down to for given sizes: computed once, then found again.

use std::sync::OnceLock;

use factory_spec::{CompiledDomain, DomainError, EvalError, Role, SizeKind, TensorMapShape};

use crate::compiled::{Base, Contract, MAX_SIZES, Param, Target};
use crate::{Error, Result};

/// The sizes as the arguments' shapes give them: [`CompiledDomain::UNSET`] where none does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) values: [i64; MAX_SIZES],
    pub(crate) count: usize,
}

/// One plan for one set of sizes.
pub(crate) struct Resolved {
    given: Given,
    /// Nothing to compute: some output has rows, but none of them an element.
    pub(crate) empty: bool,
    pub(crate) alignment: u32,
    /// Offset and length of each scratch buffer in the one block of scratch memory, in bytes.
    pub(crate) scratch: Vec<(u64, u64)>,
    /// Which of them are set to zero before the first launch, by index.
    pub(crate) zeroed: Vec<usize>,
    pub(crate) scratch_bytes: u64,
    pub(crate) launches: Vec<ResolvedLaunch>,
}

pub(crate) struct ResolvedLaunch {
    /// Index into the target's list of entries.
    pub(crate) entry: usize,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) shared_bytes: u32,
    pub(crate) programmatic: bool,
    pub(crate) params: Vec<ResolvedParam>,
    pub(crate) maps: Vec<ResolvedMap>,
}

/// A tensor map that lacks its buffer's address alone.
pub(crate) struct ResolvedMap {
    pub(crate) base: Base,
    pub(crate) shape: TensorMapShape,
}

#[derive(Clone, Copy)]
pub(crate) enum ResolvedParam {
    Pointer(usize),
    Scalar(usize),
    Constant {
        bits: u64,
        #[cfg_attr(not(feature = "machine"), expect(dead_code, reason = "the driver knows the width"))]
        bytes: u8,
    },
    Scratch(usize),
    /// Index into the launch's maps.
    Map(usize),
}

impl ResolvedLaunch {
    pub(crate) fn has_cluster(&self) -> bool {
        self.cluster != [1, 1, 1]
    }
}

impl Given {
    pub(crate) fn as_slice(&self) -> &[i64] {
        &self.values[..self.count]
    }
}

/// Resolved launches by sizes. Reading takes no lock; once a slot is taken it stays.
pub(crate) struct ResolvedCache {
    slots: [OnceLock<Box<Resolved>>; SLOTS],
}

const SLOTS: usize = 64;
/// Slots that are looked at before a launch is resolved anew each time.
const PROBES: usize = 4;

/// A resolved launch, kept or made for this one call.
pub(crate) enum Found<'a> {
    Kept(&'a Resolved),
    Fresh(Box<Resolved>),
}

impl std::ops::Deref for Found<'_> {
    type Target = Resolved;

    fn deref(&self) -> &Resolved {
        match self {
            Found::Kept(resolved) => resolved,
            Found::Fresh(resolved) => resolved,
        }
    }
}

impl ResolvedCache {
    pub(crate) fn new() -> ResolvedCache {
        ResolvedCache { slots: [const { OnceLock::new() }; SLOTS] }
    }

    /// The launch for these sizes.
    #[inline]
    pub(crate) fn find(
        &self,
        given: &Given,
        resolve: impl FnOnce() -> Result<Resolved>,
    ) -> Result<Found<'_>> {
        // Fibonacci hashing of the sizes in turn.
        let hash = given.as_slice().iter().fold(0u64, |hash, &value| {
            (hash ^ value.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        });
        let slots = (0..PROBES).map(|probe| &self.slots[(hash as usize).wrapping_add(probe) % SLOTS]);
        for slot in slots.clone() {
            match slot.get() {
                Some(resolved) if resolved.given == *given => return Ok(Found::Kept(resolved)),
                Some(_) => {}
                None => break,
            }
        }
        let mut fresh = Box::new(resolve()?);
        for slot in slots {
            match slot.set(fresh) {
                Ok(()) => {
                    return slot.get().map(|kept| Found::Kept(kept)).ok_or_else(|| unreachable_slot(given));
                }
                Err(back) => fresh = back,
            }
        }
        Ok(Found::Fresh(fresh))
    }
}

/// A slot that was set is set; this is only here so that no panic is.
fn unreachable_slot(given: &Given) -> Error {
    Error::Extent { what: format!("no launch for the sizes {:?}", given.as_slice()) }
}

/// Evaluates the plan for these sizes, after checking that they lie in the verified domain.
pub(crate) fn resolve(
    kernel: &'static str,
    contract: &Contract,
    target: &Target,
    entries: &[String],
    given: &Given,
) -> Result<Resolved> {
    let domain = |source: DomainError| Error::Domain { kernel, source };
    let mut resolved = Resolved {
        given: *given,
        empty: false,
        alignment: 1,
        scratch: Vec::new(),
        zeroed: Vec::new(),
        scratch_bytes: 0,
        launches: Vec::new(),
    };
    let mut values = given.values;
    let values = &mut values[..given.count];
    if nothing_to_write(contract, values) {
        // Zero rows are no work rather than sizes that nobody verified; the other sizes must still be in the domain.
        for (value, size) in values.iter_mut().zip(contract.domain.sizes()) {
            if let (0, SizeKind::Free { min, multiple_of, .. }) = (*value, &size.kind) {
                *value = i64::try_from(min.div_ceil(*multiple_of).saturating_mul(*multiple_of)).unwrap_or(0);
            }
        }
        for row in contract.args.iter().filter_map(crate::compiled::Arg::row) {
            if let Some(least) = contract.least_stride(row, values).filter(|least| values[row.1] < *least) {
                values[row.1] = least;
            }
        }
        resolved.empty = true;
        return contract.domain.complete(values).map(|()| resolved).map_err(domain);
    }
    contract.domain.complete(values).map_err(domain)?;
    let values: &[i64] = values;

    let failed = |what: &str| {
        let what = what.to_owned();
        move |source: EvalError| Error::Expression { kernel, what, source }
    };
    let mut chosen = None;
    for variant in &target.variants {
        if variant.when.eval(values).map_err(failed("the condition of a variant"))? != 0 {
            chosen = Some(variant);
            break;
        }
    }
    let Some(variant) = chosen else {
        let sizes: Vec<String> =
            contract.sizes.iter().zip(values).map(|(name, value)| format!("{name} = {value}")).collect();
        return Err(Error::NoVariant { kernel, target: target.arch.to_string(), sizes: sizes.join(", ") });
    };
    resolved.alignment = variant.alignment;
    for scratch in &variant.scratch {
        let bytes = scratch
            .bytes
            .eval(values)
            .map_err(failed(&format!("the length of scratch buffer `{}`", scratch.name)))?;
        let limit = |what: String| Error::LaunchLimit { kernel, entry: variant.name.clone(), what };
        let bytes = u64::try_from(bytes)
            .map_err(|_| limit(format!("scratch buffer `{}` of {bytes} bytes", scratch.name)))?;
        if scratch.zero && bytes > 0 {
            resolved.zeroed.push(resolved.scratch.len());
        }
        resolved.scratch.push((resolved.scratch_bytes, bytes));
        let end = resolved.scratch_bytes.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(256));
        resolved.scratch_bytes =
            end.ok_or_else(|| limit("more scratch memory than there are addresses".to_owned()))?;
    }
    for launch in &variant.launches {
        let limit = |what: String| Error::LaunchLimit { kernel, entry: launch.entry.clone(), what };
        let mut grid = [0u32; 3];
        for (axis, (slot, expr)) in grid.iter_mut().zip(&launch.grid).enumerate() {
            let blocks = expr.eval(values).map_err(failed(&format!("the grid of `{}`", launch.entry)))?;
            let most = if axis == 0 { i64::from(i32::MAX) } else { 65535 };
            if !(0..=most).contains(&blocks) {
                return Err(limit(format!(
                    "a grid of {blocks} blocks along {}, the limit is {most}",
                    ["x", "y", "z"][axis]
                )));
            }
            *slot = blocks as u32;
        }
        if grid.contains(&0) {
            continue;
        }
        let threads: u64 = launch.block.iter().map(|&extent| u64::from(extent)).product();
        if threads == 0 || threads > 1024 {
            return Err(limit(format!("blocks of {threads} threads, there may be 1 to 1024")));
        }
        if launch.cluster.iter().zip(&grid).any(|(&cluster, &blocks)| cluster == 0 || blocks % cluster != 0) {
            return Err(limit(format!(
                "the grid {grid:?} is not a multiple of the cluster {:?}",
                launch.cluster
            )));
        }
        let shared = launch
            .shared_bytes
            .eval(values)
            .map_err(failed(&format!("the shared memory of `{}`", launch.entry)))?;
        let shared_bytes = u32::try_from(shared).ok().filter(|&bytes| bytes <= MOST_SHARED);
        let shared_bytes =
            shared_bytes.ok_or_else(|| limit(format!("{shared} bytes of dynamic shared memory")))?;
        let mut maps = Vec::new();
        let params = launch.params.iter().map(|param| {
            Ok(match param {
                Param::Map(map) => {
                    let number = format!("a tensor map of `{}`", launch.entry);
                    let numbers = map.numbers.map(|expr| expr.eval(values).map_err(failed(&number)))?;
                    let bytes = match map.base {
                        Base::Scratch(index) => resolved.scratch[index].1,
                        Base::Arg(index) => contract.args[index].bytes(values),
                    };
                    let shape =
                        map.layout.shape(&numbers, bytes).map_err(|fault| limit(fault.to_string()))?;
                    maps.push(ResolvedMap { base: map.base, shape });
                    ResolvedParam::Map(maps.len() - 1)
                }
                Param::Pointer(arg) => ResolvedParam::Pointer(*arg),
                Param::Scalar(arg) => ResolvedParam::Scalar(*arg),
                Param::Scratch(index) => ResolvedParam::Scratch(*index),
                Param::Size { value, bytes } => {
                    let value =
                        value.eval(values).map_err(failed(&format!("a parameter of `{}`", launch.entry)))?;
                    if *bytes == 4 && i32::try_from(value).is_err() && u32::try_from(value).is_err() {
                        return Err(limit(format!("a parameter of 4 bytes would have to hold {value}")));
                    }
                    ResolvedParam::Constant { bits: value.cast_unsigned(), bytes: *bytes }
                }
            })
        });
        let params = params.collect::<Result<_>>()?;
        let entry = entries.iter().position(|entry| *entry == launch.entry);
        // Where the launches before it are skipped, it is the first.
        let programmatic = launch.programmatic && !resolved.launches.is_empty();
        resolved.launches.push(ResolvedLaunch {
            entry: entry.ok_or_else(|| limit("it was not loaded".to_owned()))?,
            grid,
            block: launch.block,
            cluster: launch.cluster,
            shared_bytes,
            programmatic,
            params,
            maps,
        });
    }
    Ok(resolved)
}

/// The most shared memory that a block can have on any architecture there is PTX for (compute capability 9.0 and 10.0). The
/// machine would give more, and then a program that works there would not work on a GPU.
const MOST_SHARED: u32 = 227 * 1024;

/// Whether every output has a dimension of extent 0.
fn nothing_to_write(contract: &Contract, values: &[i64]) -> bool {
    contract
        .args
        .iter()
        .filter(|arg| arg.role != Role::In)
        .all(|arg| arg.dims.iter().any(|&size| values[size] == 0))
}

/// An unset size, for those that no argument's shape names.
pub(crate) const UNSET: i64 = CompiledDomain::UNSET;
