//! Tensor maps: what `cp.async.bulk.tensor` needs to know of a tensor in global memory and of the tile that it moves.

mod layout;
mod tile;

pub(crate) use layout::{Field, replace};
pub(crate) use tile::Piece;

/// The most bytes of a box: the shared memory of a multiprocessor, 228 KiB.
const SHARED_LIMIT: u64 = 228 << 10;

/// Type of a tensor's elements: `CU_TENSOR_MAP_DATA_TYPE_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorMapType {
    /// `UINT8`
    U8,
    /// `UINT16`
    U16,
    /// `UINT32`
    U32,
    /// `INT32`
    S32,
    /// `UINT64`
    U64,
    /// `INT64`
    S64,
    /// `FLOAT16`
    F16,
    /// `FLOAT32`
    F32,
    /// `FLOAT64`
    F64,
    /// `BFLOAT16`
    BF16,
    /// `FLOAT32_FTZ`: subnormals become zeros on the way.
    F32Ftz,
    /// `TFLOAT32`: the lowest 13 bits are rounded away on the way.
    TF32,
    /// `TFLOAT32_FTZ`: both.
    TF32Ftz,
    /// `16U4_ALIGN8B`: 16 values of 4 bits in 8 bytes (sm_100; the machine names it and does not run it).
    U4Align8,
    /// `16U4_ALIGN16B`: 16 values of 4 bits in 16 bytes of shared memory (sm_100; as above).
    U4Align16,
    /// `16U6_ALIGN16B`: 16 values of 6 bits in 16 bytes of shared memory (sm_100; as above).
    U6Align16,
}

impl TensorMapType {
    /// Every type, in the order of the driver's numbers.
    pub const ALL: [TensorMapType; 16] = [
        TensorMapType::U8,
        TensorMapType::U16,
        TensorMapType::U32,
        TensorMapType::S32,
        TensorMapType::U64,
        TensorMapType::S64,
        TensorMapType::F16,
        TensorMapType::F32,
        TensorMapType::F64,
        TensorMapType::BF16,
        TensorMapType::F32Ftz,
        TensorMapType::TF32,
        TensorMapType::TF32Ftz,
        TensorMapType::U4Align8,
        TensorMapType::U4Align16,
        TensorMapType::U6Align16,
    ];

    /// Bytes of an element; 0 for the packed types.
    pub fn size(self) -> u32 {
        match self {
            TensorMapType::U8 => 1,
            TensorMapType::U16 | TensorMapType::F16 | TensorMapType::BF16 => 2,
            TensorMapType::U32
            | TensorMapType::S32
            | TensorMapType::F32
            | TensorMapType::F32Ftz
            | TensorMapType::TF32
            | TensorMapType::TF32Ftz => 4,
            TensorMapType::U64 | TensorMapType::S64 | TensorMapType::F64 => 8,
            TensorMapType::U4Align8 | TensorMapType::U4Align16 | TensorMapType::U6Align16 => 0,
        }
    }

    /// Whether an element is a floating-point number, so that it can be filled with NaN.
    pub fn is_float(self) -> bool {
        matches!(
            self,
            TensorMapType::F16
                | TensorMapType::F32
                | TensorMapType::F64
                | TensorMapType::BF16
                | TensorMapType::F32Ftz
                | TensorMapType::TF32
                | TensorMapType::TF32Ftz
        )
    }
}

/// Layout of the tensor's channels in global memory: `CU_TENSOR_MAP_INTERLEAVE_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interleave {
    /// Channels lie together.
    #[default]
    None,
    /// Slices of 16 bytes (`NC/8HWC8` for 2-byte channels).
    Bytes16,
    /// Slices of 32 bytes (`NC/16HWC16`).
    Bytes32,
}

/// How the 16-byte chunks of a tile are permuted in shared memory: `CU_TENSOR_MAP_SWIZZLE_*`. The permutation is a
/// function of the address in shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Swizzle {
    /// They are not.
    #[default]
    None,
    /// Within 32 bytes.
    Bytes32,
    /// Within 64 bytes.
    Bytes64,
    /// Within 128 bytes.
    Bytes128,
    /// Chunks of 32 bytes within 128 bytes (sm_100).
    Bytes128Atom32,
    /// The same, and the two 8-byte halves of each 16 bytes change places in every other row (sm_100).
    Bytes128Atom32Flip8,
    /// Chunks of 64 bytes within 128 bytes (sm_100).
    Bytes128Atom64,
}

impl Swizzle {
    /// Every swizzle, in the order of the driver's numbers.
    pub const ALL: [Swizzle; 7] = [
        Swizzle::None,
        Swizzle::Bytes32,
        Swizzle::Bytes64,
        Swizzle::Bytes128,
        Swizzle::Bytes128Atom32,
        Swizzle::Bytes128Atom32Flip8,
        Swizzle::Bytes128Atom64,
    ];

    /// Bytes within which chunks are permuted; `None` without a swizzle.
    pub fn span(self) -> Option<u32> {
        match self {
            Swizzle::None => None,
            Swizzle::Bytes32 => Some(32),
            Swizzle::Bytes64 => Some(64),
            _ => Some(128),
        }
    }
}

/// What elements outside the tensor are filled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutOfBounds {
    /// Zeros.
    #[default]
    Zeros,
    /// A NaN (`NAN_REQUEST_ZERO_FMA`); floating-point types alone.
    Nan,
}

/// Bytes that the L2 cache fetches at once. Has no effect on values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum L2Promotion {
    #[default]
    None,
    Bytes64,
    Bytes128,
    Bytes256,
}

/// Why parameters make no tensor map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorMapError {
    /// Not 1 to 5 dimensions, or too few for an interleaved layout.
    #[error("a tensor of {rank} dimensions: 1 to 5 are possible, 3 to 5 with an interleaved layout")]
    Rank {
        /// What was given.
        rank: usize,
    },
    /// Slices of different lengths.
    #[error("{what} has {given} values, {expected} are needed")]
    Count {
        /// Which parameter.
        what: &'static str,
        /// How many it has.
        given: usize,
        /// How many it needs.
        expected: usize,
    },
    /// An address or stride that is not aligned.
    #[error("{what} is {value}, it must be a multiple of {multiple}")]
    Alignment {
        /// Which parameter.
        what: String,
        /// Its value.
        value: u64,
        /// What it must be a multiple of.
        multiple: u64,
    },
    /// A value outside its range.
    #[error("{what} is {value}, it must be {least} to {most}")]
    Range {
        /// Which parameter.
        what: String,
        /// Its value.
        value: u64,
        /// The least that is possible.
        least: u64,
        /// The most that is possible.
        most: u64,
    },
    /// The box is wider than the swizzle.
    #[error(
        "the innermost box dimension is {bytes} bytes, a swizzle over {span} bytes allows at most {span}"
    )]
    SwizzleSpan {
        /// Bytes of the innermost box dimension.
        bytes: u64,
        /// Bytes of the swizzle.
        span: u32,
    },
    /// Two parameters that do not go together.
    #[error("{what}")]
    Combination {
        /// Which, in words.
        what: &'static str,
    },
    /// A number that stands for nothing in a field of the encoded map.
    #[error("{value} in the field `{field}` of a tensor map stands for nothing")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A form that the machine does not run.
    #[error("the machine does not run tensor maps with {what}")]
    Unsupported {
        /// Which.
        what: &'static str,
    },
}

/// A tensor in global memory and the box that one copy moves.
///
/// It is described by the parameters of the driver's `cuTensorMapEncodeTiled`, in the same order and with
/// the same rules (CUDA Driver API, "Tensor Map Object Management"), and turned into the 128 bytes that a kernel takes
/// as a parameter or reads from memory. Dimension 0 is the innermost one everywhere.
///
/// ```
/// use factory_ptx::machine::{Swizzle, TensorMap, TensorMapType};
///
/// // A row-major 1024 × 512 matrix of f16 at this address; tiles of 64 × 64, their rows swizzled over 128 bytes.
/// let map = TensorMap::new(TensorMapType::F16, 0x10_0000_0000, &[512, 1024], &[1024], &[64, 64])
///     .swizzle(Swizzle::Bytes128);
/// let bytes = map.encode()?;
/// assert_eq!(TensorMap::decode(&bytes)?, map);
/// # Ok::<(), factory_ptx::machine::TensorMapError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMap {
    pub(crate) ty: TensorMapType,
    pub(crate) rank: usize,
    pub(crate) address: u64,
    pub(crate) dims: [u64; 5],
    pub(crate) strides: [u64; 4],
    pub(crate) box_dims: [u32; 5],
    pub(crate) element_strides: [u32; 5],
    pub(crate) interleave: Interleave,
    pub(crate) swizzle: Swizzle,
    pub(crate) l2_promotion: L2Promotion,
    pub(crate) fill: OutOfBounds,
    /// Lengths of the slices that were given, for [`TensorMap::check`].
    counts: [usize; 3],
}

/// The first values of a slice, the rest of the array filled up.
fn array<T: Copy, const N: usize>(values: &[T], rest: T) -> [T; N] {
    std::array::from_fn(|index| values.get(index).copied().unwrap_or(rest))
}

impl TensorMap {
    /// A map without interleave, swizzle and NaN fill, all element strides 1. Nothing is checked yet.
    ///
    /// `dims` and `box_dims` count elements, innermost dimension first; `strides` are those of dimension 1 and up in
    /// bytes. The rank is the length of `dims`.
    pub fn new(
        ty: TensorMapType,
        address: u64,
        dims: &[u64],
        strides: &[u64],
        box_dims: &[u32],
    ) -> TensorMap {
        TensorMap {
            ty,
            rank: dims.len(),
            address,
            dims: array(dims, 1),
            strides: array(&strides[..strides.len().min(dims.len().saturating_sub(1))], 0),
            box_dims: array(box_dims, 1),
            element_strides: [1; 5],
            interleave: Interleave::None,
            swizzle: Swizzle::None,
            l2_promotion: L2Promotion::None,
            fill: OutOfBounds::Zeros,
            counts: [strides.len() + 1, box_dims.len(), dims.len()],
        }
    }

    /// The map that a plan describes, at sizes that are known, over the buffer at this address.
    pub fn planned(shape: &factory_spec::TensorMapShape, buffer: u64) -> TensorMap {
        use factory_spec::{MapFill, MapInterleave, MapL2Promotion};
        let layout = &shape.layout;
        // Both sides number types and swizzles as the driver does.
        let ty = TensorMapType::ALL[layout.element.number() as usize];
        let address = buffer.wrapping_add(shape.offset);
        TensorMap::new(ty, address, &shape.dims, &shape.strides, &shape.box_dims)
            .element_strides(&shape.element_strides)
            .swizzle(Swizzle::ALL[layout.swizzle.number() as usize])
            .interleave(match layout.interleave {
                MapInterleave::None => Interleave::None,
                MapInterleave::Bytes16 => Interleave::Bytes16,
                MapInterleave::Bytes32 => Interleave::Bytes32,
            })
            .l2_promotion(match layout.l2_promotion {
                MapL2Promotion::None => L2Promotion::None,
                MapL2Promotion::Bytes64 => L2Promotion::Bytes64,
                MapL2Promotion::Bytes128 => L2Promotion::Bytes128,
                MapL2Promotion::Bytes256 => L2Promotion::Bytes256,
            })
            .fill(match layout.fill {
                MapFill::Zero => OutOfBounds::Zeros,
                MapFill::Nan => OutOfBounds::Nan,
            })
    }

    /// Takes every n-th element of each dimension: `ceil(box / n)` elements are moved. The first stride counts only in
    /// interleaved layouts.
    pub fn element_strides(mut self, strides: &[u32]) -> TensorMap {
        self.element_strides = array(strides, 1);
        self.counts[2] = strides.len();
        self
    }

    /// Sets the layout of channels.
    pub fn interleave(self, interleave: Interleave) -> TensorMap {
        TensorMap { interleave, ..self }
    }

    /// Sets the swizzle.
    pub fn swizzle(self, swizzle: Swizzle) -> TensorMap {
        TensorMap { swizzle, ..self }
    }

    /// Sets the fetch size of the L2 cache.
    pub fn l2_promotion(self, l2_promotion: L2Promotion) -> TensorMap {
        TensorMap { l2_promotion, ..self }
    }

    /// Sets what stands for elements outside the tensor.
    pub fn fill(self, fill: OutOfBounds) -> TensorMap {
        TensorMap { fill, ..self }
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Bytes of one box, elements outside the tensor counted: what a copy adds to the transaction count of its mbarrier.
    /// A box narrower than its swizzle takes more of shared memory: its rows lie a swizzle apart.
    pub fn box_bytes(&self) -> u64 {
        self.box_counts().iter().map(|count| u64::from(*count)).product::<u64>() * u64::from(self.unit())
    }

    /// Looks for parameters that the driver would refuse.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), TensorMapError> {
        let rank = self.rank;
        let least_rank = if self.interleave == Interleave::None { 1 } else { 3 };
        if rank < least_rank || rank > 5 {
            return Err(TensorMapError::Rank { rank });
        }
        let given = [("the strides", self.counts[0] - 1, rank - 1), ("the box", self.counts[1], rank)];
        for (what, given, expected) in
            given.into_iter().chain([("the element strides", self.counts[2], rank)])
        {
            if given != expected {
                return Err(TensorMapError::Count { what, given, expected });
            }
        }
        if self.ty.size() == 0 {
            return Err(TensorMapError::Unsupported { what: "packed elements of 4 and 6 bits" });
        }
        let unit = if self.interleave == Interleave::Bytes32 { 32 } else { 16 };
        let aligned = |what: &str, value: u64, multiple: u64| {
            if value.is_multiple_of(multiple) {
                Ok(())
            } else {
                Err(TensorMapError::Alignment { what: what.to_owned(), value, multiple })
            }
        };
        let within = |what: String, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(TensorMapError::Range { what, value, least, most })
            }
        };
        aligned("the global address", self.address, unit)?;
        for axis in 0..rank {
            within(format!("dimension {axis}"), self.dims[axis], 1, 1 << 32)?;
            within(format!("box dimension {axis}"), u64::from(self.box_dims[axis]), 1, 256)?;
            within(format!("element stride {axis}"), u64::from(self.element_strides[axis]), 1, 8)?;
            if axis + 1 < rank {
                let what = format!("the stride of dimension {}", axis + 1);
                aligned(&what, self.strides[axis], unit)?;
                within(what, self.strides[axis], 0, (1 << 40) - 1)?;
            }
        }
        let inner = u64::from(self.box_dims[0]) * u64::from(self.ty.size());
        aligned("the innermost box dimension in bytes", inner, 16)?;
        if self.interleave == Interleave::None
            && let Some(span) = self.swizzle.span()
            && inner > u64::from(span)
        {
            return Err(TensorMapError::SwizzleSpan { bytes: inner, span });
        }
        within("the box in bytes".to_owned(), self.box_bytes(), 1, SHARED_LIMIT)?;
        if self.interleave == Interleave::Bytes32 && self.swizzle != Swizzle::Bytes32 {
            return Err(TensorMapError::Combination {
                what: "an interleaved layout of 32 bytes needs the swizzle over 32 bytes",
            });
        }
        if self.fill == OutOfBounds::Nan && !self.ty.is_float() {
            return Err(TensorMapError::Combination {
                what: "only elements of a floating-point type can be filled with NaN",
            });
        }
        Ok(())
    }

    /// The 128 bytes that stand for the map in memory.
    ///
    /// # Errors
    /// As [`TensorMap::check`].
    pub fn encode(&self) -> Result<[u8; 128], TensorMapError> {
        self.check()?;
        Ok(layout::write(self))
    }

    /// Reads what [`TensorMap::encode`] wrote.
    ///
    /// # Errors
    /// [`TensorMapError::Field`] for bytes that are no tensor map, and as [`TensorMap::check`].
    pub fn decode(bytes: &[u8; 128]) -> Result<TensorMap, TensorMapError> {
        let map = layout::read(bytes)?;
        map.check()?;
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> TensorMap {
        TensorMap::new(TensorMapType::F16, 0x1000, &[256, 64, 8], &[512, 32_768], &[64, 8, 2])
    }

    #[test]
    fn every_rule_has_its_error() {
        assert_eq!(good().check(), Ok(()));
        let new = |dims: &[u64], strides: &[u64], boxes: &[u32]| {
            TensorMap::new(TensorMapType::F16, 0x1000, dims, strides, boxes)
        };
        let wrong: [(TensorMap, &str); 17] = [
            (new(&[], &[], &[]), "a tensor of 0 dimensions"),
            (new(&[8; 6], &[16; 5], &[8; 6]), "a tensor of 6 dimensions"),
            (new(&[8, 8], &[16], &[8, 8]).interleave(Interleave::Bytes16), "3 to 5 with an interleaved"),
            (new(&[8, 8], &[], &[8, 8]), "the strides has 0 values, 1 are needed"),
            (new(&[8, 8], &[16], &[8]), "the box has 1 values"),
            (good().element_strides(&[1, 1]), "the element strides has 2 values"),
            (TensorMap { ty: TensorMapType::U4Align8, ..good() }, "packed elements"),
            (TensorMap { address: 0x1008, ..good() }, "the global address is 4104"),
            (new(&[0, 8], &[16], &[8, 8]), "dimension 0 is 0"),
            (new(&[8, (1 << 32) + 1], &[16], &[8, 8]), "dimension 1 is 4294967297"),
            (new(&[8, 8], &[24], &[8, 8]), "the stride of dimension 1 is 24"),
            (new(&[8, 8], &[1 << 40], &[8, 8]), "it must be 0 to 1099511627775"),
            (new(&[8, 8], &[16], &[8, 257]), "box dimension 1 is 257"),
            (new(&[8, 8], &[16], &[4, 8]), "the innermost box dimension in bytes is 8"),
            (good().element_strides(&[1, 9, 1]), "element stride 1 is 9, it must be 1 to 8"),
            (good().swizzle(Swizzle::Bytes64), "a swizzle over 64 bytes allows at most 64"),
            (TensorMap { ty: TensorMapType::U16, ..good().fill(OutOfBounds::Nan) }, "filled with NaN"),
        ];
        for (map, message) in wrong {
            let error = map.encode().expect_err(message).to_string();
            assert!(error.contains(message), "`{error}` does not say `{message}`");
        }
    }

    #[test]
    fn a_map_of_the_driver_reads() {
        // What the driver of an H200 wrote for these parameters.
        let map = TensorMap::new(TensorMapType::F16, 0x7f12_3456_7000, &[256, 64], &[512], &[64, 8])
            .swizzle(Swizzle::Bytes128)
            .l2_promotion(L2Promotion::None);
        let mut bytes = [0; 128];
        bytes[..14].copy_from_slice(&[0x00, 0x70, 0x56, 0x34, 0x12, 0x7f, 0, 0, 0x10, 0x63, 0, 0, 0x20, 0]);
        (bytes[32], bytes[36], bytes[55], bytes[56]) = (0xff, 0x3f, 0x3f, 0x07);
        (bytes[65], bytes[73]) = (0x04, 0x04);
        assert_eq!(map.encode(), Ok(bytes));
        assert_eq!(TensorMap::decode(&bytes), Ok(map));
    }

    #[test]
    fn any_bytes_read_or_say_why() {
        let mut state = 1u64;
        for _ in 0..2000 {
            let bytes = std::array::from_fn(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            });
            if let Ok(map) = TensorMap::decode(&bytes) {
                assert!(map.box_bytes() <= SHARED_LIMIT);
                let mut bytes_moved = 0;
                map.pieces(&[-5, 3, i32::MAX, i32::MIN, 0], 0, false, |piece| {
                    bytes_moved += u64::from(piece.len);
                });
                assert_eq!(bytes_moved, map.box_bytes());
            }
        }
    }
}
