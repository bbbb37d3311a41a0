//! Where the elements of one box lie: from coordinates to runs of global and shared memory.

use super::{Interleave, Swizzle, TensorMap};

/// A run of bytes that lies together in global and in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Address in shared memory, swizzled.
    pub(crate) shared: u64,
    /// Bytes.
    pub(crate) len: u32,
    /// Address in global memory; `None` outside the tensor.
    pub(crate) global: Option<u64>,
}

/// The address at which a byte lies that would lie at this one without a swizzle: the number of the 16-byte chunk is
/// combined with that of the row of 128 bytes (PTX ISA, "Swizzling Modes").
pub(crate) fn swizzled(swizzle: Swizzle, address: u64) -> u64 {
    let row = address >> 7;
    match swizzle {
        Swizzle::None => address,
        Swizzle::Bytes32 => address ^ (row & 1) << 4,
        Swizzle::Bytes64 => address ^ (row & 3) << 4,
        Swizzle::Bytes128 => address ^ (row & 7) << 4,
        Swizzle::Bytes128Atom32 => address ^ (row & 3) << 5,
        Swizzle::Bytes128Atom32Flip8 => address ^ (row & 3) << 5 ^ (row & 1) << 3,
        Swizzle::Bytes128Atom64 => address ^ (row & 1) << 6,
    }
}

/// Bytes that a swizzle keeps together.
fn chunk(swizzle: Swizzle) -> u64 {
    match swizzle {
        Swizzle::None => 1 << 32,
        Swizzle::Bytes128Atom32Flip8 => 8,
        _ => 16,
    }
}

impl TensorMap {
    /// Bytes of what dimension 0 counts: elements, or the slices of an interleaved layout.
    ///
    /// In an interleaved layout the dimensions are those of `W`, (`H`, `D`,) the slices of channels, and `N`, as an
    /// H200 has it: the slices of neighbours along `W` lie together, and a box is one slice thick whatever its size in
    /// that dimension.
    pub(crate) fn unit(&self) -> u32 {
        match self.interleave {
            Interleave::None => self.ty.size(),
            Interleave::Bytes16 => 16,
            Interleave::Bytes32 => 32,
        }
    }

    /// Units of the box along each dimension, element strides taken into account.
    pub(crate) fn box_counts(&self) -> [u32; 5] {
        std::array::from_fn(|axis| {
            if axis >= self.rank {
                return 1;
            }
            let step = self.element_strides[axis].max(1);
            match self.interleave {
                Interleave::None if axis == 0 => self.box_dims[axis],
                Interleave::None => self.box_dims[axis].div_ceil(step),
                _ if axis + 2 == self.rank => 1,
                _ => self.box_dims[axis].div_ceil(step),
            }
        })
    }

    /// Bytes from one row of the box to the next in shared memory: a swizzle spreads narrow rows to its span.
    fn pitch(&self, inner: u64) -> u64 {
        match (self.interleave, self.swizzle.span()) {
            (Interleave::None, Some(span)) => inner.max(u64::from(span)),
            _ => inner,
        }
    }

    /// The pieces of the box at these coordinates, whose tile begins at an address of shared memory. Every byte of the
    /// box is in exactly one.
    ///
    /// Loads fill in from the first element behind the tensor on. Stores (and reductions) write whole 16-byte chunks
    /// along dimension 0, up to 15 bytes behind the tensor's edge: an H200 does.
    pub(crate) fn pieces(&self, at: &[i32; 5], tile: u64, store: bool, mut piece: impl FnMut(Piece)) {
        let size = u64::from(self.unit());
        let counts = self.box_counts();
        let inner = u64::from(counts[0]) * size;
        let pitch = self.pitch(inner);
        let inner_step = match self.interleave {
            Interleave::None => 1,
            _ => i64::from(self.element_strides[0].max(1)),
        };
        // The part of the innermost dimension that lies inside the tensor, as units of the box.
        let first = i64::from(at[0]);
        let mut last = i64::try_from(self.dims[0]).unwrap_or(i64::MAX);
        if store && size < 16 {
            last = last.saturating_add(16 / size as i64 - 1) / (16 / size as i64) * (16 / size as i64);
        }
        let until = |limit: i64| {
            let steps = limit.saturating_sub(first).saturating_add(inner_step - 1).div_euclid(inner_step);
            steps.clamp(0, i64::from(counts[0])) as u64
        };
        let low = until(0);
        let high = until(last).max(low);
        let mut row = 0u64;
        let mut index = [0u32; 5];
        loop {
            let mut inside = true;
            let mut address = self.address.wrapping_add_signed(first.wrapping_mul(size as i64));
            for axis in 1..self.rank {
                let step = i64::from(self.element_strides[axis]);
                let coordinate = i64::from(at[axis]) + i64::from(index[axis]) * step;
                inside &= coordinate >= 0 && (coordinate as u64) < self.dims[axis];
                let stride = self.strides[axis - 1] as i64;
                address = address.wrapping_add_signed(coordinate.wrapping_mul(stride));
            }
            let start = tile + row * pitch;
            let mut part = |from: u64, to: u64, inside: bool| {
                let (mut from, to) = (from * size, to * size);
                while from < to {
                    let limit = chunk(self.swizzle);
                    let mut len = (limit - (start + from) % limit).min(to - from);
                    let mut ahead = from;
                    if inner_step > 1 {
                        // Units that are taken do not lie together.
                        len = len.min(size - from % size);
                        ahead = from / size * size * inner_step as u64 + from % size;
                    }
                    piece(Piece {
                        shared: swizzled(self.swizzle, start + from),
                        len: len as u32,
                        global: inside.then(|| address.wrapping_add(ahead)),
                    });
                    from += len;
                }
            };
            if inside {
                part(0, low, false);
                part(low, high, true);
                part(high, u64::from(counts[0]), false);
            } else {
                part(0, u64::from(counts[0]), false);
            }
            row += 1;
            let Some(axis) = (1..self.rank).find(|axis| index[*axis] + 1 < counts[*axis]) else { return };
            index[axis] += 1;
            index[1..axis].fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Swizzle, TensorMap, TensorMapType};
    use super::*;

    fn collect(map: &TensorMap, at: [i32; 5], tile: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        map.pieces(&at, tile, false, |piece| pieces.push(piece));
        pieces
    }

    #[test]
    fn rows_of_a_matrix() {
        let map = TensorMap::new(TensorMapType::F32, 4096, &[100, 50], &[512], &[8, 3]);
        let pieces = collect(&map, [4, 10, 0, 0, 0], 1024);
        let expected: Vec<Piece> = (0..3)
            .map(|row| Piece { shared: 1024 + 32 * row, len: 32, global: Some(4096 + (10 + row) * 512 + 16) })
            .collect();
        assert_eq!(pieces, expected);
    }

    #[test]
    fn corners_are_filled() {
        let map = TensorMap::new(TensorMapType::F16, 0, &[10, 4], &[32], &[16, 2]);
        let pieces = collect(&map, [-2, 3, 0, 0, 0], 0);
        let expected = [
            Piece { shared: 0, len: 4, global: None },
            Piece { shared: 4, len: 20, global: Some(96) },
            Piece { shared: 24, len: 8, global: None },
            Piece { shared: 32, len: 32, global: None },
        ];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn a_swizzle_of_128_bytes_is_chunk_xor_row() {
        let map =
            TensorMap::new(TensorMapType::F16, 0, &[64, 64], &[128], &[64, 8]).swizzle(Swizzle::Bytes128);
        for piece in collect(&map, [0; 5], 1024) {
            let global = piece.global.unwrap_or(u64::MAX);
            let (row, column) = (global / 128, global % 128 / 16);
            assert_eq!(piece.shared, 1024 + row * 128 + (column ^ (row % 8)) * 16);
            assert_eq!(piece.len, 16);
        }
    }

    #[test]
    fn swizzles_permute() {
        for swizzle in Swizzle::ALL {
            let mut seen = vec![false; 4096];
            for address in 0..4096 {
                let there = swizzled(swizzle, address);
                assert!(!std::mem::replace(&mut seen[there as usize], true), "{swizzle:?} {address}");
                let span = u64::from(swizzle.span().unwrap_or(1));
                assert_eq!(there / span, address / span, "{swizzle:?} {address}");
            }
        }
    }

    #[test]
    fn every_byte_of_a_box_is_moved_once() {
        let map = TensorMap::new(
            TensorMapType::U16,
            0,
            &[20, 9, 7, 5, 3],
            &[48, 480, 4800, 48_000],
            &[16, 5, 4, 3, 2],
        )
        .element_strides(&[2, 2, 1, 3, 1])
        .swizzle(Swizzle::Bytes32);
        let mut covered = vec![0u8; map.box_bytes() as usize];
        for piece in collect(&map, [-3, 7, -1, 4, 2], 0) {
            for byte in &mut covered[piece.shared as usize..][..piece.len as usize] {
                *byte += 1;
            }
        }
        assert_eq!(covered.len(), 16 * 3 * 4 * 2 * 2);
        assert!(covered.iter().all(|count| *count == 1));
    }
}
