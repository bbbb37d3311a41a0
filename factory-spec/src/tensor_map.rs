//! Tensor maps of a plan: what `cp.async.bulk.tensor` is told of a tensor, in expressions of the sizes.
//!
//! The rules are those of the driver's `cuTensorMapEncodeTiled`, which answers "invalid value" to whatever it does not
//! take. They are checked here, with names and numbers: when a plan is read, as far as they are decided by then
//! ([`TensorMapPlan::check`]), and again for the sizes of a launch ([`TensorMapLayout::shape`]), where one more is added
//! that the driver does not have: the tensor must lie within the buffer.

use serde::{Deserialize, Serialize};

use crate::{DType, SizeExpr};

/// The most dimensions of a tensor map.
pub const MAX_MAP_RANK: usize = 5;
/// Bytes of an encoded tensor map.
pub const MAP_BYTES: usize = 128;
/// What an encoded tensor map must be aligned to as a parameter.
pub const MAP_ALIGNMENT: u64 = 64;

/// A tensor map: a tensor in global memory and the box of it that one copy moves.
///
/// Lists begin with the innermost dimension, as the driver has it. In JSON the optional parts are left out where they
/// are as by default:
///
/// ```json
/// { "over": { "arg": "x" }, "dims": ["n", "m"], "strides": ["n * 2"], "box": ["64", "8"], "swizzle": "128B" }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorMapPlan {
    /// The memory
    pub over: MapBase,
    /// Where in it the tensor begins, in bytes; nothing is the beginning
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<SizeExpr>,
    /// The type of an element; nothing takes it from the argument's dtype. A scratch buffer has none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<MapElement>,
    /// Extents in elements
    pub dims: Vec<SizeExpr>,
    /// Bytes between neighbours in each dimension but the first
    pub strides: Vec<SizeExpr>,
    /// Extents of the box in elements
    #[serde(rename = "box")]
    pub box_dims: Vec<SizeExpr>,
    /// Every how-many-th element of each dimension is taken; empty takes all
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub element_strides: Vec<SizeExpr>,
    /// Layout of channels
    #[serde(default, skip_serializing_if = "is_default")]
    pub interleave: MapInterleave,
    /// How chunks of the box are permuted in shared memory
    #[serde(default, skip_serializing_if = "is_default")]
    pub swizzle: MapSwizzle,
    /// How much the L2 cache fetches at once
    #[serde(default, skip_serializing_if = "is_default")]
    pub l2_promotion: MapL2Promotion,
    /// What stands for elements outside the tensor
    #[serde(default, skip_serializing_if = "is_default")]
    pub fill: MapFill,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The memory that a tensor map describes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MapBase {
    /// A tensor argument
    Arg(String),
    /// A scratch buffer of the variant
    Scratch(String),
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every one, in the order of the driver's numbers.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The driver's number.
            pub fn number(self) -> u32 {
                self as u32
            }

            /// The word that a plan has for it.
            pub fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// Type of an element: `CU_TENSOR_MAP_DATA_TYPE_*`.
    MapElement {
        /// `UINT8`; also for bytes that are anything else
        #[default]
        U8 = "u8",
        /// `UINT16`
        U16 = "u16",
        /// `UINT32`
        U32 = "u32",
        /// `INT32`
        I32 = "i32",
        /// `UINT64`
        U64 = "u64",
        /// `INT64`
        I64 = "i64",
        /// `FLOAT16`
        F16 = "f16",
        /// `FLOAT32`
        F32 = "f32",
        /// `FLOAT64`
        F64 = "f64",
        /// `BFLOAT16`
        BF16 = "bf16",
        /// `FLOAT32_FTZ`: subnormals become zeros on the way
        F32Ftz = "f32_ftz",
        /// `TFLOAT32`: rounded to tf32 on the way
        Tf32 = "tf32",
        /// `TFLOAT32_FTZ`: both
        Tf32Ftz = "tf32_ftz",
    }
}

words! {
    /// Layout of channels: `CU_TENSOR_MAP_INTERLEAVE_*`.
    MapInterleave {
        /// They lie together
        #[default]
        None = "none",
        /// Slices of 16 bytes
        Bytes16 = "16B",
        /// Slices of 32 bytes
        Bytes32 = "32B",
    }
}

words! {
    /// How chunks of a box are permuted in shared memory: `CU_TENSOR_MAP_SWIZZLE_*`.
    MapSwizzle {
        /// They are not
        #[default]
        None = "none",
        /// Within 32 bytes
        Bytes32 = "32B",
        /// Within 64 bytes
        Bytes64 = "64B",
        /// Within 128 bytes
        Bytes128 = "128B",
        /// Chunks of 32 bytes within 128 (from sm_100 on)
        Bytes128Atom32 = "128B_atom_32B",
        /// The same, with halves of 8 bytes exchanged in every other row (from sm_100 on)
        Bytes128Atom32Flip8 = "128B_atom_32B_flip_8B",
        /// Chunks of 64 bytes within 128 (from sm_100 on)
        Bytes128Atom64 = "128B_atom_64B",
    }
}

words! {
    /// How much the L2 cache fetches at once: `CU_TENSOR_MAP_L2_PROMOTION_*`. No effect on values.
    MapL2Promotion {
        /// What is asked for
        #[default]
        None = "none",
        /// 64 bytes
        Bytes64 = "64B",
        /// 128 bytes
        Bytes128 = "128B",
        /// 256 bytes
        Bytes256 = "256B",
    }
}

words! {
    /// What stands for elements outside the tensor: `CU_TENSOR_MAP_FLOAT_OOB_FILL_*`.
    MapFill {
        /// Zero
        #[default]
        Zero = "zero",
        /// A NaN; for floating-point types alone
        Nan = "nan",
    }
}

impl MapElement {
    /// The type for an argument's dtype: bytes where the driver has no such type.
    pub fn of(dtype: DType) -> MapElement {
        match dtype {
            DType::F64 => MapElement::F64,
            DType::F32 => MapElement::F32,
            DType::F16 => MapElement::F16,
            DType::BF16 => MapElement::BF16,
            DType::F8E4M3 | DType::F8E5M2 | DType::I8 | DType::U8 => MapElement::U8,
            DType::I32 => MapElement::I32,
            DType::U32 => MapElement::U32,
            DType::I64 => MapElement::I64,
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> u64 {
        match self {
            MapElement::U8 => 1,
            MapElement::U16 | MapElement::F16 | MapElement::BF16 => 2,
            MapElement::U64 | MapElement::I64 | MapElement::F64 => 8,
            _ => 4,
        }
    }

    /// Whether it can be filled with NaN.
    pub fn is_float(self) -> bool {
        use MapElement::{BF16, F16, F32, F32Ftz, F64, Tf32, Tf32Ftz};
        matches!(self, F16 | F32 | F64 | BF16 | F32Ftz | Tf32 | Tf32Ftz)
    }
}

impl MapInterleave {
    /// What addresses and strides must be multiples of, in bytes.
    pub fn alignment(self) -> u64 {
        if self == MapInterleave::Bytes32 { 32 } else { 16 }
    }
}

impl MapSwizzle {
    /// Bytes within which chunks are permuted.
    pub fn span(self) -> Option<u64> {
        match self {
            MapSwizzle::None => None,
            MapSwizzle::Bytes32 => Some(32),
            MapSwizzle::Bytes64 => Some(64),
            _ => Some(128),
        }
    }

    /// Whether devices before sm_100 do not know it.
    pub fn is_blackwell(self) -> bool {
        self.number() > MapSwizzle::Bytes128.number()
    }
}

/// Why a tensor map is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorMapFault {
    /// Too few or too many dimensions
    #[error("a tensor map of {rank} dimensions: {least} to 5 are possible")]
    Rank {
        /// How many
        rank: usize,
        /// The fewest, for its interleave
        least: usize,
    },
    /// Lists that do not go together
    #[error("a tensor map of {rank} dimensions has {given} {what}, but needs {needed}")]
    Count {
        /// Its dimensions
        rank: usize,
        /// Of what
        what: &'static str,
        /// How many there are
        given: usize,
        /// How many there must be
        needed: usize,
    },
    /// A scratch buffer has no dtype to go by
    #[error("a tensor map over a scratch buffer must say its `element`")]
    NoElement,
    /// A number outside its range
    #[error("{what} {axis} of the tensor map is {value}, but must be {least} to {most}")]
    Range {
        /// Of what
        what: &'static str,
        /// Which dimension
        axis: usize,
        /// The number
        value: i64,
        /// The least
        least: i64,
        /// The most
        most: i64,
    },
    /// A number that must be a multiple
    #[error("{what} of the tensor map is {value} bytes, but must be a multiple of {multiple}")]
    Multiple {
        /// Of what
        what: &'static str,
        /// The number
        value: i64,
        /// Of what it must be a multiple
        multiple: u64,
    },
    /// A box wider than its swizzle
    #[error("the box of the tensor map is {bytes} bytes wide, but a swizzle of {span} bytes allows {span}")]
    Swizzle {
        /// Its width
        bytes: u64,
        /// The swizzle's
        span: u64,
    },
    /// A box that no shared memory holds
    #[error("the box of the tensor map has {bytes} bytes, but shared memory has at most {most}")]
    Box {
        /// Its size
        bytes: u128,
        /// What there is
        most: u64,
    },
    /// Parts that do not go together
    #[error("{what}")]
    Combination {
        /// Which
        what: &'static str,
    },
    /// A tensor that ends behind its buffer
    #[error("the tensor map reaches {end} bytes into a buffer of {bytes}")]
    Beyond {
        /// Where it ends
        end: u128,
        /// The buffer's length
        bytes: u64,
    },
}

/// What of a tensor map does not depend on the sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorMapLayout {
    /// Type of an element
    pub element: MapElement,
    /// Layout of channels
    pub interleave: MapInterleave,
    /// How chunks are permuted
    pub swizzle: MapSwizzle,
    /// How much L2 fetches
    pub l2_promotion: MapL2Promotion,
    /// What stands outside
    pub fill: MapFill,
}

/// A tensor map at some sizes, checked: what is left to add is the buffer's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMapShape {
    /// What does not depend on the sizes
    pub layout: TensorMapLayout,
    /// Where the tensor begins in its buffer, in bytes
    pub offset: u64,
    /// Extents
    pub dims: Vec<u64>,
    /// Bytes between neighbours, of all dimensions but the first
    pub strides: Vec<u64>,
    /// Extents of the box
    pub box_dims: Vec<u32>,
    /// Step through the elements
    pub element_strides: Vec<u32>,
}

/// The numbers of a tensor map, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorMapNumbers<N> {
    /// Where the tensor begins
    pub offset: N,
    /// Extents
    pub dims: Vec<N>,
    /// Bytes between neighbours, of all dimensions but the first
    pub strides: Vec<N>,
    /// Extents of the box
    pub box_dims: Vec<N>,
    /// Step through the elements; empty for 1 everywhere
    pub element_strides: Vec<N>,
}

/// The most bytes of a box: the shared memory of a multiprocessor.
const MOST_BOX: u64 = 228 << 10;

impl TensorMapPlan {
    /// The parts that do not depend on the sizes; `dtype` is that of the argument, none of a scratch buffer.
    ///
    /// # Errors
    ///
    /// [`TensorMapFault::NoElement`]
    pub fn layout(&self, dtype: Option<DType>) -> Result<TensorMapLayout, TensorMapFault> {
        Ok(TensorMapLayout {
            element: self.element.or(dtype.map(MapElement::of)).ok_or(TensorMapFault::NoElement)?,
            interleave: self.interleave,
            swizzle: self.swizzle,
            l2_promotion: self.l2_promotion,
            fill: self.fill,
        })
    }

    /// Its expressions, in a fixed order.
    pub fn expressions(&self) -> impl Iterator<Item = &SizeExpr> {
        let lists = [&self.dims, &self.strides, &self.box_dims, &self.element_strides];
        self.offset.iter().chain(lists.into_iter().flatten())
    }

    /// What each expression becomes, with the same roles.
    ///
    /// # Errors
    ///
    /// The first of `number`'s.
    pub fn numbers<N, E>(
        &self,
        mut number: impl FnMut(&SizeExpr) -> Result<N, E>,
    ) -> Result<TensorMapNumbers<N>, E> {
        let zero = SizeExpr::constant(0);
        let mut list = |exprs: &[SizeExpr]| exprs.iter().map(&mut number).collect::<Result<Vec<N>, E>>();
        Ok(TensorMapNumbers {
            dims: list(&self.dims)?,
            strides: list(&self.strides)?,
            box_dims: list(&self.box_dims)?,
            element_strides: list(&self.element_strides)?,
            offset: number(self.offset.as_ref().unwrap_or(&zero))?,
        })
    }

    /// Checks what is decided before the sizes are known; `dtype` as for [`TensorMapPlan::layout`], `known` gives the
    /// values of expressions that are.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn check(
        &self,
        dtype: Option<DType>,
        known: impl Fn(&SizeExpr) -> Option<i64>,
    ) -> Result<(), TensorMapFault> {
        let layout = self.layout(dtype)?;
        let numbers = self.numbers(|expr| Ok::<_, std::convert::Infallible>(known(expr)));
        match numbers {
            Ok(numbers) => layout.check(&numbers),
            Err(never) => match never {},
        }
    }
}

impl<N> TensorMapNumbers<N> {
    /// Other numbers in the same roles.
    ///
    /// # Errors
    ///
    /// The first of `number`'s.
    pub fn map<M, E>(&self, mut number: impl FnMut(&N) -> Result<M, E>) -> Result<TensorMapNumbers<M>, E> {
        let mut list = |from: &[N]| from.iter().map(&mut number).collect::<Result<Vec<M>, E>>();
        Ok(TensorMapNumbers {
            dims: list(&self.dims)?,
            strides: list(&self.strides)?,
            box_dims: list(&self.box_dims)?,
            element_strides: list(&self.element_strides)?,
            offset: number(&self.offset)?,
        })
    }
}

impl TensorMapLayout {
    /// The map for these numbers, over a buffer of so many bytes.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn shape(
        self,
        numbers: &TensorMapNumbers<i64>,
        bytes: u64,
    ) -> Result<TensorMapShape, TensorMapFault> {
        let known = numbers.map(|&number| Ok::<_, TensorMapFault>(Some(number)))?;
        self.check(&known)?;
        let wide = |list: &[i64]| list.iter().map(|value| value.unsigned_abs()).collect::<Vec<u64>>();
        let narrow = |list: &[i64]| {
            list.iter().map(|&value| u32::try_from(value).unwrap_or(u32::MAX)).collect::<Vec<u32>>()
        };
        let shape = TensorMapShape {
            layout: self,
            offset: numbers.offset.unsigned_abs(),
            dims: wide(&numbers.dims),
            strides: wide(&numbers.strides),
            box_dims: narrow(&numbers.box_dims),
            element_strides: match numbers.element_strides.as_slice() {
                [] => vec![1; numbers.dims.len()],
                strides => narrow(strides),
            },
        };
        match shape.end() {
            end if end > u128::from(bytes) => Err(TensorMapFault::Beyond { end, bytes }),
            _ => Ok(shape),
        }
    }

    /// Bytes of what dimension 0 counts: elements, or slices of an interleaved layout.
    fn unit(self) -> u64 {
        match self.interleave {
            MapInterleave::None => self.element.bytes(),
            MapInterleave::Bytes16 => 16,
            MapInterleave::Bytes32 => 32,
        }
    }

    fn check(self, numbers: &TensorMapNumbers<Option<i64>>) -> Result<(), TensorMapFault> {
        let rank = numbers.dims.len();
        let least = if self.interleave == MapInterleave::None { 1 } else { 3 };
        if rank < least || rank > MAX_MAP_RANK {
            return Err(TensorMapFault::Rank { rank, least });
        }
        let steps = match numbers.element_strides.len() {
            0 => rank,
            given => given,
        };
        for (what, given, needed) in [
            ("strides", numbers.strides.len(), rank - 1),
            ("extents of the box", numbers.box_dims.len(), rank),
            ("element strides", steps, rank),
        ] {
            if given != needed {
                return Err(TensorMapFault::Count { rank, what, given, needed });
            }
        }
        for (what, list, least, most) in [
            ("extent", &numbers.dims, 1, 1 << 32),
            ("box extent", &numbers.box_dims, 1, 256),
            ("element stride", &numbers.element_strides, 1, 8),
            ("stride", &numbers.strides, 0, (1 << 40) - 1),
        ] {
            // The strides begin with that of dimension 1.
            let first = usize::from(what == "stride");
            for (axis, value) in list.iter().enumerate() {
                if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                    return Err(TensorMapFault::Range { what, axis: axis + first, value, least, most });
                }
            }
        }
        let multiple = self.interleave.alignment();
        for (what, value) in
            numbers.strides.iter().map(|value| ("a stride", *value)).chain([("the offset", numbers.offset)])
        {
            if let Some(value) =
                value.filter(|value| *value < 0 || !value.unsigned_abs().is_multiple_of(multiple))
            {
                return Err(TensorMapFault::Multiple { what, value, multiple });
            }
        }
        self.check_box(numbers)?;
        let combination = |what| Err(TensorMapFault::Combination { what });
        if self.interleave == MapInterleave::Bytes32 && self.swizzle != MapSwizzle::Bytes32 {
            return combination(
                "a tensor map with an interleave of 32 bytes must have a swizzle of 32 bytes",
            );
        }
        if self.fill == MapFill::Nan && !self.element.is_float() {
            return combination("a tensor map of integers cannot be filled with NaN");
        }
        Ok(())
    }

    fn check_box(self, numbers: &TensorMapNumbers<Option<i64>>) -> Result<(), TensorMapFault> {
        // Numbers are in their ranges by now.
        if let Some(inner) = numbers.box_dims[0] {
            let bytes = inner.unsigned_abs() * self.element.bytes();
            if !bytes.is_multiple_of(16) {
                let what = "the width of the box";
                return Err(TensorMapFault::Multiple {
                    what,
                    value: i64::try_from(bytes).unwrap_or(i64::MAX),
                    multiple: 16,
                });
            }
            if let Some(span) =
                self.swizzle.span().filter(|span| self.interleave == MapInterleave::None && bytes > *span)
            {
                return Err(TensorMapFault::Swizzle { bytes, span });
            }
        }
        let rank = numbers.dims.len();
        let count = |axis: usize| -> Option<u128> {
            let extent = u128::from(numbers.box_dims[axis]?.unsigned_abs());
            let step = match numbers.element_strides.get(axis) {
                Some(step) => u128::from((*step)?.unsigned_abs()),
                None => 1,
            };
            // The driver takes no element stride into account along dimension 0, and one slice at a time.
            Some(match self.interleave {
                MapInterleave::None if axis == 0 => extent,
                MapInterleave::None => extent.div_ceil(step),
                _ if axis + 2 == rank => 1,
                _ => extent.div_ceil(step),
            })
        };
        let elements = (0..rank).try_fold(1u128, |product, axis| Some(product * count(axis)?));
        match elements.map(|elements| elements * u128::from(self.unit())) {
            Some(bytes) if bytes > u128::from(MOST_BOX) => Err(TensorMapFault::Box { bytes, most: MOST_BOX }),
            _ => Ok(()),
        }
    }
}

impl TensorMapShape {
    /// How many bytes of its buffer the tensor needs.
    pub fn end(&self) -> u128 {
        let rows = self.dims.iter().skip(1).zip(&self.strides);
        let rows: u128 = rows.map(|(&extent, &stride)| (u128::from(extent) - 1) * u128::from(stride)).sum();
        u128::from(self.offset) + rows + u128::from(self.dims[0]) * u128::from(self.layout.unit())
    }
}
