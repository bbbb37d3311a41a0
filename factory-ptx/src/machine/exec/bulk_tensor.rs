//! Copies of boxes of a tensor: `cp.async.bulk.tensor` and its kin.

use super::bulk::{aligned, in_block, merged};
use super::bulk_move::{Move, Part, reduction_type};
use super::collective::lanes_of;
use super::pending::{Completion, Pending, Place, Span};
use super::spot::{SpotKind, addresses};
use super::state::Warp;
use super::{Trouble, Worker, plain_trouble, trouble};
use crate::machine::error::FaultKind;
use crate::machine::inst::bulk::{Reduction, Route, TensorCopy};
use crate::machine::inst::{AtomicOp, Space};
use crate::machine::lanes::{LANES, Lane, NONE};
use crate::machine::tensor_map::{Piece, TensorMap, TensorMapType};

/// One lane's operands.
struct Tile {
    lane: u32,
    map: TensorMap,
    at: [i32; 5],
    /// Block and offset in its shared memory.
    block: usize,
    offset: usize,
}

impl Worker<'_> {
    pub(super) fn tile_copy(
        &mut self,
        warp: &mut Warp,
        base: usize,
        copy: &TensorCopy,
        active: u32,
    ) -> Result<(), Trouble> {
        let words = &warp.words[base..];
        let maps = addresses(words, &copy.map, active);
        let tiles = copy.tile.map(|tile| addresses(words, &tile, active));
        let barriers = copy.barrier.map(|barrier| addresses(words, &barrier, active));
        let masks = (copy.multicast != NONE).then(|| u32::load(words, copy.multicast));
        let coordinates: Vec<[u32; LANES]> =
            copy.coordinates.iter().map(|slot| u32::load(words, *slot)).collect();
        for index in lanes_of(active) {
            let lane = index as u32;
            let map = self.read_map(warp, maps[index], lane)?;
            if map.rank() != coordinates.len() {
                let detail = format!(
                    "the instruction gives {} coordinates, the tensor map has {} dimensions",
                    coordinates.len(),
                    map.rank()
                );
                return Err(trouble(FaultKind::UndefinedOperand, lane, maps[index], detail));
            }
            let at: [i32; 5] =
                std::array::from_fn(|axis| coordinates.get(axis).map_or(0, |c| c[index] as i32));
            // What follows is no rule of the PTX ISA: an H200 calls such instructions illegal.
            let start = i64::from(at[0]) * i64::from(map.unit());
            if start % 16 != 0 {
                let detail = format!(
                    "the innermost coordinate {} is byte {start} of a row: copies begin at multiples of 16 bytes",
                    at[0]
                );
                return Err(plain_trouble(FaultKind::Misaligned, lane, detail));
            }
            if copy.route == Some(Route::SharedToGlobal) && at.iter().any(|coordinate| *coordinate < 0) {
                let detail = format!("the coordinates {at:?}: copies to global memory begin at 0 or above");
                return Err(plain_trouble(FaultKind::UndefinedOperand, lane, detail));
            }
            let (Some(route), Some(tiles)) = (copy.route, &tiles) else {
                self.tile_prefetch(warp, &map, &at, lane)?;
                continue;
            };
            aligned(lane, tiles[index], 128, "the address of a tile in shared memory")?;
            let space = match route {
                Route::GlobalToShared { cluster: true } => Space::SharedCluster,
                _ => Space::Shared,
            };
            let start = self.span(warp, space, tiles[index], 16, lane)?;
            let Place::Shared(block) = start.place else {
                let detail = "a tile lies in shared memory";
                return Err(trouble(FaultKind::OutOfBounds, lane, tiles[index], detail));
            };
            let tile = Tile { lane, map, at, block, offset: start.start };
            match &barriers {
                None => self.tile_store(warp, tile, copy.reduction)?,
                Some(barriers) => {
                    let (owner, offset) = self.barrier_place(warp, space, barriers[index], lane)?;
                    if owner != block && !copy.pair {
                        let detail =
                            "the mbarrier must lie in the same block's shared memory as the destination";
                        return Err(trouble(FaultKind::UndefinedOperand, lane, barriers[index], detail));
                    }
                    let blocks = match &masks {
                        None => vec![(block, owner)],
                        Some(masks) => self
                            .multicast_blocks(masks[index], lane)?
                            .into_iter()
                            // With pairs the mbarrier's block says which of the two is told.
                            .map(|block| (block, if copy.pair { block & !1 | owner & 1 } else { block }))
                            .collect(),
                    };
                    self.tile_load(warp, tile, &blocks, offset)?;
                }
            }
        }
        Ok(())
    }

    /// Reads the tensor map at a generic address.
    fn read_map(&self, warp: &Warp, address: u64, lane: u32) -> Result<TensorMap, Trouble> {
        aligned(lane, address, 64, "the address of a tensor map")?;
        let spot = self
            .locate(warp, Space::Generic, address)
            .map_err(|(kind, detail)| trouble(kind, lane, address, detail))?;
        let wrong = |kind, detail: String| {
            trouble(kind, lane, address, detail).in_buffer(self.spot_name(&spot, address))
        };
        if !matches!(spot.kind, SpotKind::Global(_) | SpotKind::Param) {
            let detail = "a tensor map must lie in parameters, constant or global memory".to_owned();
            return Err(wrong(FaultKind::UndefinedOperand, detail));
        }
        if self.cluster.changed_maps.contains(&address) {
            let detail =
                "the tensor map was changed, and no `fence.proxy.tensormap::generic.acquire` came since";
            return Err(wrong(FaultKind::MissingProxyFence, detail.to_owned()));
        }
        let start = (address - spot.base) as usize;
        if spot.len - (start as u64) < 128 {
            return Err(wrong(FaultKind::OutOfBounds, "a tensor map has 128 bytes".to_owned()));
        }
        let mut bytes = [0; 128];
        if let SpotKind::Global(region) = spot.kind
            && self.context.options.checks.uninitialised
            && let Some(index) = self.first_unwritten(region, start, 128)
        {
            let detail = format!("nobody wrote byte {index} of the tensor map");
            return Err(wrong(FaultKind::Uninitialised, detail));
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: 128 bytes from here lie inside the spot.
            *byte = unsafe { super::access::read_raw::<1>(spot.data.add(start + index)) } as u8;
        }
        TensorMap::decode(&bytes).map_err(|error| wrong(FaultKind::UndefinedOperand, error.to_string()))
    }

    /// The parts of a tile, the shared side first; every byte is found to exist.
    fn tile_parts(
        &self,
        warp: &Warp,
        tile: &Tile,
        store: bool,
    ) -> Result<Vec<(Span, Option<Span>)>, Trouble> {
        let mut parts = Vec::new();
        let mut failed: Option<Trouble> = None;
        // The region of the piece before: most lie in the same one.
        let mut region: Option<(u64, u64, Place)> = None;
        let limit = self.context.shared_bytes as u64;
        tile.map.pieces(&tile.at, tile.offset as u64, store, |piece: Piece| {
            if failed.is_some() {
                return;
            }
            let len = piece.len as usize;
            let shared = Span { place: Place::Shared(tile.block), start: piece.shared as usize, len };
            if piece.shared + u64::from(piece.len) > limit {
                let detail =
                    format!("the tile ends behind the end of the block's shared memory ({limit} bytes)");
                failed = Some(plain_trouble(FaultKind::OutOfBounds, tile.lane, detail));
                return;
            }
            let global = match (piece.global, region) {
                (None, _) => None,
                (Some(address), Some((base, size, place)))
                    if address >= base && address - base + u64::from(piece.len) <= size =>
                {
                    Some(Span { place, start: (address - base) as usize, len })
                }
                (Some(address), _) => match self.span(warp, Space::Global, address, len, tile.lane) {
                    Ok(span) => {
                        if let Place::Global(index) = span.place {
                            let found = &self.context.regions[index];
                            region = Some((found.base, found.len, span.place));
                        }
                        Some(span)
                    }
                    Err(mut trouble) => {
                        trouble.detail =
                            format!("the tensor map reaches outside its buffer: {}", trouble.detail);
                        failed = Some(trouble);
                        return;
                    }
                },
            };
            parts.push((shared, global));
        });
        failed.map_or(Ok(parts), Err)
    }

    fn tile_prefetch(
        &mut self,
        warp: &Warp,
        map: &TensorMap,
        at: &[i32; 5],
        lane: u32,
    ) -> Result<(), Trouble> {
        let mut result = Ok(());
        map.pieces(at, 0, false, |piece| {
            if let (Some(address), Ok(())) = (piece.global, &result) {
                result = self.span(warp, Space::Global, address, piece.len as usize, lane).map(|_| ());
            }
        });
        result
    }

    fn tile_load(
        &mut self,
        warp: &mut Warp,
        tile: Tile,
        blocks: &[(usize, usize)],
        barrier: usize,
    ) -> Result<(), Trouble> {
        let parts = self.tile_parts(warp, &tile, false)?;
        let bytes = tile.map.box_bytes();
        let reads = merged(parts.iter().filter_map(|(_, global)| *global).collect());
        let writes = merged(parts.iter().map(|(shared, _)| *shared).collect());
        self.count_async(bytes);
        self.count_spans(&reads, false);
        for (block, owner) in blocks {
            let moved =
                parts.iter().map(|(shared, global)| Part { from: *global, to: in_block(*shared, *block) });
            self.issue(
                warp,
                Pending {
                    lane: tile.lane,
                    action: Box::new(Move::load(moved.collect(), tile.map.ty, tile.map.fill)),
                    reads: reads.clone(),
                    writes: writes.iter().map(|span| in_block(*span, *block)).collect(),
                    reduces: false,
                    async_proxy: true,
                    queue: None,
                    completion: Completion::Transaction {
                        block: *owner,
                        offset: barrier,
                        bytes: bytes as u32,
                    },
                },
            )?;
        }
        Ok(())
    }

    fn tile_store(
        &mut self,
        warp: &mut Warp,
        tile: Tile,
        reduction: Option<AtomicOp>,
    ) -> Result<(), Trouble> {
        let reduction = match reduction {
            None => None,
            Some(op) => Some(tensor_reduction(op, &tile.map).ok_or_else(|| {
                let detail = format!("a reduction that elements of type {:?} do not have", tile.map.ty);
                plain_trouble(FaultKind::UndefinedOperand, tile.lane, detail)
            })?),
        };
        let parts: Vec<Part> = self
            .tile_parts(warp, &tile, true)?
            .into_iter()
            .filter_map(|(shared, global)| Some(Part { from: Some(shared), to: global? }))
            .collect();
        let reads = merged(parts.iter().filter_map(|part| part.from).collect());
        let writes = merged(parts.iter().map(|part| part.to).collect());
        self.count_async(tile.map.box_bytes());
        self.count_spans(&writes, true);
        self.issue(
            warp,
            Pending {
                lane: tile.lane,
                action: Box::new(Move::new(parts, reduction)),
                reads,
                writes,
                reduces: reduction.is_some(),
                async_proxy: true,
                queue: None,
                completion: Completion::BulkGroup,
            },
        )
    }
}

/// The reduction of a tensor copy over the map's elements.
fn tensor_reduction(op: AtomicOp, map: &TensorMap) -> Option<Reduction> {
    use crate::machine::inst::AtomicType as T;
    let ty = reduction_type(map.ty)?;
    let float = matches!(ty, T::F16 | T::BF16 | T::F32 | T::F64);
    let allowed = match op {
        AtomicOp::Add => ty != T::S64,
        AtomicOp::Min | AtomicOp::Max => !matches!(ty, T::F32 | T::F64),
        AtomicOp::Increment | AtomicOp::Decrement => ty == T::U32,
        AtomicOp::And | AtomicOp::Or | AtomicOp::Xor => !float,
        AtomicOp::Exchange | AtomicOp::CompareSwap => false,
    };
    let flush = matches!(map.ty, TensorMapType::F32Ftz | TensorMapType::TF32Ftz);
    allowed.then_some(Reduction { op, ty, flush })
}
