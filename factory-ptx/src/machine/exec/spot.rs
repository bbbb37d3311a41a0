//! Where the lanes of an access point: finding the memory, its bounds and its alignment.

use super::state::Warp;
use super::{Trouble, Worker, trouble};
use crate::machine::decode::{LOCAL_START, LOCAL_WINDOW, PARAM_WINDOW, SHARED_START, SHARED_WINDOW, WINDOW};
use crate::machine::error::FaultKind;
use crate::machine::inst::{Address, Space};
use crate::machine::lanes::{LANES, Lane, NONE};

/// Distance between the shared windows of two blocks of a cluster.
pub(super) const RANK_SHIFT: u32 = 24;

/// Where a run of memory lies and what may be done with it.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) kind: SpotKind,
    pub(super) data: *mut u8,
    /// One byte a byte (in global memory: see `epoch`), or null where everything counts as written.
    pub(super) shadow: *mut u8,
    pub(super) base: u64,
    pub(super) len: u64,
    pub(super) writable: bool,
    /// Distance between the memory of two lanes (local memory only).
    pub(super) stride: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpotKind {
    /// Index of the region.
    Global(usize),
    /// Block of the cluster.
    Shared(usize),
    Local,
    Param,
}

/// The offsets of the lanes of one access inside one spot.
pub(super) struct Run {
    pub(super) spot: Spot,
    pub(super) mask: u32,
    pub(super) offsets: [usize; LANES],
    pub(super) shape: Shape,
}

/// How the lanes of an access lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// All 32 lanes, each one's bytes following those of the lane before.
    Contiguous,
    /// All 32 lanes at one address.
    Uniform,
    /// Anything else.
    Scattered,
}

/// The shape of an access of all 32 lanes.
#[inline(always)]
fn shape_of(lanes: &[u64; LANES], total: usize) -> Shape {
    let (mut straight, mut same) = (0, 0);
    let mut expected = lanes[0];
    for lane in lanes {
        straight |= lane ^ expected;
        same |= lane ^ lanes[0];
        expected = expected.wrapping_add(total as u64);
    }
    match (straight, same) {
        (0, _) => Shape::Contiguous,
        (_, 0) => Shape::Uniform,
        _ => Shape::Scattered,
    }
}

/// The address of each lane; lanes that are not active get that of the first active one.
pub(super) fn addresses(words: &[u32], address: &Address, active: u32) -> [u64; LANES] {
    let mut lanes = if address.base == NONE {
        return [address.offset as u64; LANES];
    } else if address.wide {
        u64::load(words, address.base).map(|base| base.wrapping_add(address.offset as u64))
    } else {
        u32::load(words, address.base).map(|base| u64::from(base.wrapping_add(address.offset as u32)))
    };
    if active != u32::MAX {
        let first = lanes[active.trailing_zeros() as usize & 31];
        for (lane, address) in lanes.iter_mut().enumerate() {
            if active >> lane & 1 == 0 {
                *address = first;
            }
        }
    }
    lanes
}

impl Worker<'_> {
    /// Finds the memory that an address lies in.
    pub(super) fn locate(
        &self,
        warp: &Warp,
        space: Space,
        address: u64,
    ) -> Result<Spot, (FaultKind, String)> {
        let out = |detail: String| (FaultKind::OutOfBounds, detail);
        match space {
            Space::Generic => match address {
                SHARED_WINDOW.. if address - SHARED_WINDOW < WINDOW => {
                    let mut spot = self.locate(warp, Space::SharedCluster, address - SHARED_WINDOW)?;
                    spot.base += SHARED_WINDOW;
                    Ok(spot)
                }
                LOCAL_WINDOW.. if address - LOCAL_WINDOW < WINDOW => {
                    let mut spot = self.locate(warp, Space::Local, address - LOCAL_WINDOW)?;
                    spot.base += LOCAL_WINDOW;
                    Ok(spot)
                }
                PARAM_WINDOW.. if address - PARAM_WINDOW < WINDOW => self.locate(warp, Space::Param, address),
                _ => self.locate(warp, Space::Global, address),
            },
            Space::Global | Space::Const => {
                let regions = &self.context.regions;
                let after = regions.partition_point(|region| region.base <= address);
                let nearest = after.checked_sub(1).map(|index| (index, &regions[index]));
                match nearest {
                    Some((index, region)) if address - region.base < region.len => Ok(Spot {
                        kind: SpotKind::Global(index),
                        data: region.data,
                        shadow: region.shadow.cast(),
                        base: region.base,
                        len: region.len,
                        writable: region.writable && space != Space::Const,
                        stride: 0,
                    }),
                    Some((_, region)) if address - region.base < region.len + (1 << 24) => Err(out(format!(
                        "{} bytes past the end of `{}`",
                        address - region.base - region.len,
                        region.name
                    ))),
                    _ => Err(out("the address belongs to no buffer".to_owned())),
                }
            }
            Space::Shared | Space::SharedCluster => {
                let rank = address >> RANK_SHIFT;
                let block = match (rank, space) {
                    (0, _) => warp.block,
                    (rank, Space::SharedCluster) if (rank as usize) <= self.cluster.blocks.len() => {
                        rank as usize - 1
                    }
                    _ => return Err(out("the address lies outside shared memory".to_owned())),
                };
                let owner = &self.cluster.blocks[block];
                let base = (rank << RANK_SHIFT) + SHARED_START;
                let len = owner.shared_shadow.len() as u64;
                if address < base || address - base >= len {
                    return Err(out(format!(
                        "the block has {len} bytes of shared memory, from {SHARED_START:#x}"
                    )));
                }
                Ok(Spot {
                    kind: SpotKind::Shared(block),
                    data: owner.shared.as_ptr().cast_mut().cast(),
                    shadow: owner.shared_shadow.as_ptr().cast_mut().cast(),
                    base,
                    len,
                    writable: true,
                    stride: 0,
                })
            }
            Space::Local => {
                let len = warp.local_size as u64;
                if address < LOCAL_START || address - LOCAL_START >= len {
                    return Err(out(format!("the thread has {len} bytes of local memory")));
                }
                Ok(Spot {
                    kind: SpotKind::Local,
                    data: warp.local.as_ptr().cast_mut().cast(),
                    shadow: warp.local_shadow.as_ptr().cast_mut().cast(),
                    base: LOCAL_START,
                    len,
                    writable: true,
                    stride: warp.local_size,
                })
            }
            Space::Param => {
                let params = &self.context.params;
                let len = params.len() as u64;
                if address < PARAM_WINDOW || address - PARAM_WINDOW >= len {
                    return Err(out(format!("the kernel has {len} bytes of parameters")));
                }
                Ok(Spot {
                    kind: SpotKind::Param,
                    data: params.as_ptr().cast_mut(),
                    shadow: std::ptr::null_mut(),
                    base: PARAM_WINDOW,
                    len,
                    writable: false,
                    stride: 0,
                })
            }
        }
    }

    /// The name of what a spot belongs to.
    pub(super) fn spot_name(&self, spot: &Spot, address: u64) -> String {
        match spot.kind {
            SpotKind::Global(index) => self.context.regions[index].name.clone(),
            SpotKind::Shared(_) => {
                let offset = (address - spot.base) + SHARED_START;
                let names = &self.context.kernel.whole.shared_names;
                names
                    .iter()
                    .find(|(_, start, size)| offset >= *start && offset - start < *size)
                    .map_or_else(|| "shared memory".to_owned(), |(name, ..)| name.clone())
            }
            SpotKind::Local => "local memory".to_owned(),
            SpotKind::Param => "parameters".to_owned(),
        }
    }

    /// The spot that the first lane of `mask` points into, and all lanes that point into it with `total` bytes.
    pub(super) fn run_of(
        &mut self,
        warp: &Warp,
        space: Space,
        lanes: &[u64; LANES],
        mask: u32,
        total: usize,
    ) -> Result<Run, Trouble> {
        let first = mask.trailing_zeros() as usize & 31;
        let spot = match self.last_spot {
            Some(spot)
                if matches!(space, Space::Global | Space::Generic)
                    && lanes[first].wrapping_sub(spot.base) < spot.len =>
            {
                spot
            }
            _ => {
                let spot = self
                    .locate(warp, space, lanes[first])
                    .map_err(|(kind, detail)| trouble(kind, first as u32, lanes[first], detail))?;
                if matches!(spot.kind, SpotKind::Global(_)) && space != Space::Const {
                    self.last_spot = Some(spot);
                }
                spot
            }
        };
        if mask == u32::MAX && spot.stride == 0 {
            // Most accesses: one range for the whole warp. What is wrong with it is found below, lane by lane.
            let shape = shape_of(lanes, total);
            let bytes = if shape == Shape::Contiguous { LANES * total } else { total };
            let offset = lanes[0].wrapping_sub(spot.base);
            if shape != Shape::Scattered
                && spot.len >= bytes as u64
                && offset <= spot.len - bytes as u64
                && lanes[0].is_multiple_of(total as u64)
            {
                let step = if shape == Shape::Contiguous { total } else { 0 };
                let mut offsets = [offset as usize; LANES];
                for (lane, offset) in offsets.iter_mut().enumerate() {
                    *offset += lane * step;
                }
                return Ok(Run { spot, mask, offsets, shape });
            }
        }
        let mut inside = 0u32;
        let limit = spot.len.wrapping_sub(total as u64);
        let fits = spot.len >= total as u64;
        let mut low_bits = 0;
        let mut offsets = [0usize; LANES];
        for lane in 0..LANES {
            let offset = lanes[lane].wrapping_sub(spot.base);
            inside |= u32::from(offset <= limit) << lane;
            low_bits |= lanes[lane];
            offsets[lane] = offset as usize;
        }
        if !fits || inside >> first & 1 == 0 {
            let over = lanes[first] - spot.base + total as u64 - spot.len;
            let name = self.spot_name(&spot, lanes[first]);
            let detail = format!(
                "the access of {total} bytes ends {over} bytes behind the end of `{name}` ({} bytes)",
                spot.len
            );
            return Err(trouble(FaultKind::OutOfBounds, first as u32, lanes[first], detail).in_buffer(name));
        }
        let align = total as u64;
        if low_bits & (align - 1) != 0 {
            let lane = (0..LANES).find(|lane| mask >> lane & 1 != 0 && lanes[*lane] & (align - 1) != 0);
            if let Some(lane) = lane {
                let name = self.spot_name(&spot, lanes[first]);
                let detail =
                    format!("an access of {total} bytes needs an address that is a multiple of {total}");
                return Err(trouble(FaultKind::Misaligned, lane as u32, lanes[lane], detail).in_buffer(name));
            }
        }
        let mask = inside & mask;
        if spot.stride != 0 {
            for (lane, offset) in offsets.iter_mut().enumerate() {
                *offset = offset.wrapping_add(lane * spot.stride);
            }
        }
        Ok(Run { spot, mask, offsets, shape: Shape::Scattered })
    }
}
