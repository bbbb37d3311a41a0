//! The 128 bytes of a tensor map, and `tensormap.replace`.
//!
//! The layout is the one of sm_90, found by encoding maps with the driver of an H200 and by replacing their fields
//! there; tests hold [`write`](self::write) and [`replace`] to what that driver and that GPU gave. Numbers are
//! little-endian.
//!
//! | bytes | bits | holds |
//! |---|---|---|
//! | 0–7 | | global address |
//! | 8–11 | 4–6 | rank − 1 |
//! | | 7–10 | element type: 0–10 as `tensormap.replace` numbers them |
//! | | 11–12 | interleave |
//! | | 13–14 | swizzle |
//! | | 15 | fill with NaN |
//! | | 16 | round f32 to tf32 |
//! | | 17–18 | L2 promotion |
//! | 12–27 | | strides ÷ 16 of dimensions 1 to 4, the low 32 bits of each |
//! | 28–29 | | their bits 32–35, four bits each |
//! | 32–51 | | dimensions − 1, 32 bits each |
//! | 52–53 | | element strides − 1, three bits each |
//! | 55–59 | | box − 1, a byte each |
//! | 64–71 | | bytes of a box, as the driver reckons them; the GPU does not read it |
//! | 72–79 | | alignment of a tile; the GPU does not read it |
//!
//! The atomicity of a swizzle exists from sm_100 on, where it could not be looked up: bits 19–20 of the word at 8 are
//! this machine's own choice.

use super::{Interleave, L2Promotion, OutOfBounds, Swizzle, TensorMap, TensorMapError, TensorMapType};

/// First bit and width of the fields of the word at byte 8.
const RANK: (u32, u32) = (4, 3);
const TYPE: (u32, u32) = (7, 4);
const INTERLEAVE: (u32, u32) = (11, 2);
const SWIZZLE: (u32, u32) = (13, 2);
const FILL: (u32, u32) = (15, 1);
const TF32: (u32, u32) = (16, 1);
const L2: (u32, u32) = (17, 2);
const ATOMICITY: (u32, u32) = (19, 2);

/// The word of the fields above.
const WORD: usize = 8;
const STRIDES: usize = 12;
const STRIDES_HIGH: usize = 28;
const DIMS: usize = 32;
const ELEMENT_STRIDES: usize = 52;
const BOX: usize = 55;
const BOX_BYTES: usize = 64;
const ALIGNMENT: usize = 72;

fn put<const N: usize>(bytes: &mut [u8; 128], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

fn get(bytes: &[u8; 128], at: usize, len: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..len].copy_from_slice(&bytes[at..at + len]);
    u64::from_le_bytes(wide)
}

fn set_bits(bytes: &mut [u8; 128], (first, width): (u32, u32), value: u64) {
    let mask = ((1u32 << width) - 1) << first;
    let word = get(bytes, WORD, 4) as u32 & !mask | ((value as u32) << first) & mask;
    put(bytes, WORD, word.to_le_bytes());
}

fn bits(bytes: &[u8; 128], (first, width): (u32, u32)) -> u64 {
    get(bytes, WORD, 4) >> first & ((1 << width) - 1)
}

fn set_stride(bytes: &mut [u8; 128], axis: usize, stride: u64) {
    let units = stride >> 4;
    put(bytes, STRIDES + 4 * axis, (units as u32).to_le_bytes());
    let high = &mut bytes[STRIDES_HIGH + axis / 2];
    let shift = axis % 2 * 4;
    *high = *high & !(0xf << shift) | ((units >> 32) as u8 & 0xf) << shift;
}

fn set_element_stride(bytes: &mut [u8; 128], axis: usize, stride: u32) {
    let shift = 3 * axis;
    let old = get(bytes, ELEMENT_STRIDES, 2) as u16;
    let new = old & !(7 << shift) | (stride.wrapping_sub(1) as u16 & 7) << shift;
    put(bytes, ELEMENT_STRIDES, new.to_le_bytes());
}

/// The number of a type in its field, and whether f32 is rounded to tf32.
fn type_bits(ty: TensorMapType) -> (u64, bool) {
    let number = PTX_TYPES.iter().position(|known| *known == ty).unwrap_or(0) as u64;
    match ty {
        TensorMapType::TF32 => (7, true),
        TensorMapType::TF32Ftz => (8, true),
        _ => (number, false),
    }
}

/// Mode and atomicity of a swizzle.
fn swizzle_bits(swizzle: Swizzle) -> (u64, u64) {
    match swizzle {
        Swizzle::None => (0, 0),
        Swizzle::Bytes32 => (1, 0),
        Swizzle::Bytes64 => (2, 0),
        Swizzle::Bytes128 => (3, 0),
        Swizzle::Bytes128Atom32 => (3, 1),
        Swizzle::Bytes128Atom32Flip8 => (3, 2),
        Swizzle::Bytes128Atom64 => (3, 3),
    }
}

/// The bytes of a map whose parameters have been checked.
pub(super) fn write(map: &TensorMap) -> [u8; 128] {
    let mut bytes = [0; 128];
    put(&mut bytes, 0, map.address.to_le_bytes());
    let (ty, tf32) = type_bits(map.ty);
    let (mode, atomicity) = swizzle_bits(map.swizzle);
    set_bits(&mut bytes, RANK, map.rank as u64 - 1);
    set_bits(&mut bytes, TYPE, ty);
    set_bits(&mut bytes, TF32, u64::from(tf32));
    set_bits(&mut bytes, INTERLEAVE, map.interleave as u64);
    set_bits(&mut bytes, SWIZZLE, mode);
    set_bits(&mut bytes, ATOMICITY, atomicity);
    set_bits(&mut bytes, FILL, map.fill as u64);
    set_bits(&mut bytes, L2, map.l2_promotion as u64);
    let mut box_bytes = u64::from(map.ty.size());
    for axis in 0..map.rank {
        if axis + 1 < map.rank {
            set_stride(&mut bytes, axis, map.strides[axis]);
        }
        put(&mut bytes, DIMS + 4 * axis, (map.dims[axis].wrapping_sub(1) as u32).to_le_bytes());
        set_element_stride(&mut bytes, axis, map.element_strides[axis]);
        bytes[BOX + axis] = map.box_dims[axis].wrapping_sub(1) as u8;
        box_bytes *= u64::from(map.box_dims[axis] / map.element_strides[axis].max(1));
    }
    put(&mut bytes, BOX_BYTES, box_bytes.to_le_bytes());
    let alignment = map.swizzle.span().map_or(16u64, |span| 8 * u64::from(span));
    put(&mut bytes, ALIGNMENT, alignment.to_le_bytes());
    bytes
}

/// Reads a map; values are not checked beyond what they can stand for.
pub(super) fn read(bytes: &[u8; 128]) -> Result<TensorMap, TensorMapError> {
    let wrong = |field, value| TensorMapError::Field { field, value };
    let rank = bits(bytes, RANK) as usize + 1;
    if rank > 5 {
        return Err(TensorMapError::Rank { rank });
    }
    let number = bits(bytes, TYPE);
    let ty = match (number, bits(bytes, TF32)) {
        (0..=10, 0) => PTX_TYPES[number as usize],
        (7, _) => TensorMapType::TF32,
        (8, _) => TensorMapType::TF32Ftz,
        _ => return Err(wrong("element type", number)),
    };
    let swizzle = match (bits(bytes, SWIZZLE), bits(bytes, ATOMICITY)) {
        (0, 0) => Swizzle::None,
        (1, 0) => Swizzle::Bytes32,
        (2, 0) => Swizzle::Bytes64,
        (3, 0) => Swizzle::Bytes128,
        (3, 1) => Swizzle::Bytes128Atom32,
        (3, 2) => Swizzle::Bytes128Atom32Flip8,
        (3, 3) => Swizzle::Bytes128Atom64,
        (mode, _) => return Err(wrong("swizzle", mode)),
    };
    let high = get(bytes, STRIDES_HIGH, 2);
    let steps = get(bytes, ELEMENT_STRIDES, 2);
    // What lies behind the rank says nothing.
    let inside = |axis: usize| axis < rank;
    Ok(TensorMap {
        ty,
        rank,
        address: get(bytes, 0, 8),
        dims: std::array::from_fn(|axis| if inside(axis) { get(bytes, DIMS + 4 * axis, 4) + 1 } else { 1 }),
        strides: std::array::from_fn(|axis| {
            let units = get(bytes, STRIDES + 4 * axis, 4) | (high >> (4 * axis) & 0xf) << 32;
            if inside(axis + 1) { units << 4 } else { 0 }
        }),
        box_dims: std::array::from_fn(|axis| if inside(axis) { u32::from(bytes[BOX + axis]) + 1 } else { 1 }),
        element_strides: std::array::from_fn(|axis| {
            if inside(axis) { (steps >> (3 * axis) & 7) as u32 + 1 } else { 1 }
        }),
        interleave: match bits(bytes, INTERLEAVE) {
            0 => Interleave::None,
            1 => Interleave::Bytes16,
            2 => Interleave::Bytes32,
            other => return Err(wrong("interleave", other)),
        },
        swizzle,
        l2_promotion: match bits(bytes, L2) {
            0 => L2Promotion::None,
            1 => L2Promotion::Bytes64,
            2 => L2Promotion::Bytes128,
            _ => L2Promotion::Bytes256,
        },
        fill: if bits(bytes, FILL) == 0 { OutOfBounds::Zeros } else { OutOfBounds::Nan },
        counts: [rank, rank, rank],
    })
}

/// A field that `tensormap.replace` names, with the dimension where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    GlobalAddress,
    Rank,
    BoxDim(usize),
    GlobalDim(usize),
    GlobalStride(usize),
    ElementStride(usize),
    ElementType,
    Interleave,
    SwizzleMode,
    SwizzleAtomicity,
    Fill,
}

/// Types in the order of the numbers that `tensormap.replace.tile.elemtype` takes (PTX ISA, `tensormap.replace`).
const PTX_TYPES: [TensorMapType; 16] = [
    TensorMapType::U8,
    TensorMapType::U16,
    TensorMapType::U32,
    TensorMapType::S32,
    TensorMapType::U64,
    TensorMapType::S64,
    TensorMapType::F16,
    TensorMapType::F32,
    TensorMapType::F32Ftz,
    TensorMapType::F64,
    TensorMapType::BF16,
    TensorMapType::TF32,
    TensorMapType::TF32Ftz,
    TensorMapType::U4Align8,
    TensorMapType::U4Align16,
    TensorMapType::U6Align16,
];

/// Replaces one field of a map in place; the rest may hold anything.
///
/// # Errors
/// [`TensorMapError::Field`] when the value stands for nothing.
pub(crate) fn replace(bytes: &mut [u8; 128], field: Field, value: u64) -> Result<(), TensorMapError> {
    let below = |limit: u64, field| {
        if value < limit { Ok(value) } else { Err(TensorMapError::Field { field, value }) }
    };
    match field {
        Field::GlobalAddress => put(bytes, 0, value.to_le_bytes()),
        // The number counts from zero.
        Field::Rank => set_bits(bytes, RANK, below(5, "rank")?),
        Field::BoxDim(axis) => {
            bytes[BOX + axis] = below(257, "box_dim")?.wrapping_sub(1) as u8;
        }
        Field::GlobalDim(axis) => {
            put(bytes, DIMS + 4 * axis, (value as u32).wrapping_sub(1).to_le_bytes());
        }
        Field::GlobalStride(axis) => set_stride(bytes, axis, below(1 << 40, "global_stride")?),
        Field::ElementStride(axis) => {
            set_element_stride(bytes, axis, below(9, "element_stride")? as u32);
        }
        Field::ElementType => {
            let ty = PTX_TYPES[below(16, "elemtype")? as usize];
            if ty.size() == 0 {
                return Err(TensorMapError::Unsupported { what: "packed elements of 4 and 6 bits" });
            }
            let (number, tf32) = type_bits(ty);
            set_bits(bytes, TYPE, number);
            set_bits(bytes, TF32, u64::from(tf32));
        }
        Field::Interleave => set_bits(bytes, INTERLEAVE, below(3, "interleave_layout")?),
        Field::SwizzleMode => set_bits(bytes, SWIZZLE, below(4, "swizzle_mode")?),
        Field::SwizzleAtomicity => set_bits(bytes, ATOMICITY, below(4, "swizzle_atomicity")?),
        Field::Fill => set_bits(bytes, FILL, below(2, "fill_mode")?),
    }
    Ok(())
}
