//! Tensor maps as run lines describe them.

use super::Element;

/// Element type of a tensor map: those that `cuTensorMapEncodeTiled` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of PTX")]
pub enum TensorElement {
    U8,
    U16,
    U32,
    S32,
    U64,
    S64,
    F16,
    F32,
    F64,
    BF16,
    /// f32, rounded to tf32 on its way.
    TF32,
}

impl TensorElement {
    /// The type behind its name in a run line.
    pub(super) fn named(name: &str) -> Option<TensorElement> {
        if name == "tf32" {
            return Some(TensorElement::TF32);
        }
        Element::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(element, _)| TensorElement::of(*element))
    }

    /// The type for a buffer of these elements.
    pub(super) fn of(element: Element) -> TensorElement {
        match element {
            Element::U8 | Element::S8 => TensorElement::U8,
            Element::U16 | Element::S16 => TensorElement::U16,
            Element::U32 => TensorElement::U32,
            Element::S32 => TensorElement::S32,
            Element::U64 => TensorElement::U64,
            Element::S64 => TensorElement::S64,
            Element::F16 => TensorElement::F16,
            Element::BF16 => TensorElement::BF16,
            Element::F32 => TensorElement::F32,
            Element::F64 => TensorElement::F64,
        }
    }

    /// Bytes.
    pub fn size(self) -> usize {
        match self {
            TensorElement::U8 => 1,
            TensorElement::U16 | TensorElement::F16 | TensorElement::BF16 => 2,
            TensorElement::U64 | TensorElement::S64 | TensorElement::F64 => 8,
            _ => 4,
        }
    }

    /// Its number in `CUtensorMapDataType`.
    pub fn driver_code(self) -> u32 {
        match self {
            TensorElement::U8 => 0,
            TensorElement::U16 => 1,
            TensorElement::U32 => 2,
            TensorElement::S32 => 3,
            TensorElement::U64 => 4,
            TensorElement::S64 => 5,
            TensorElement::F16 => 6,
            TensorElement::F32 => 7,
            TensorElement::F64 => 8,
            TensorElement::BF16 => 9,
            TensorElement::TF32 => 11,
        }
    }
}

/// A tiled tensor map over a buffer. Dimensions stand with the fastest one first, as the driver wants them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorMapSpec {
    /// Name of the argument whose buffer it describes.
    pub buffer: String,
    /// Element type; always there once a run line has been read.
    pub element: Option<TensorElement>,
    /// Elements in each dimension, 1 to 5 of them.
    pub dims: Vec<u64>,
    /// Bytes between neighbours in each dimension but the first.
    pub strides: Vec<u64>,
    /// Elements of a box in each dimension.
    pub box_dims: Vec<u32>,
    /// Step through the elements in each dimension.
    pub steps: Vec<u32>,
    /// 0 (none), 32, 64 or 128 bytes.
    pub swizzle: u32,
    /// 0 (none), 16 or 32 bytes.
    pub interleave: u32,
    /// Whether what lies outside is NaN instead of zero.
    pub nan_fill: bool,
}
