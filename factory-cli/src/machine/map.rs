//! `map:…`: tensor maps of buffers.

use factory_ptx::machine::{Interleave, OutOfBounds, Swizzle, TensorMap, TensorMapType};

use super::element::Element;
use super::operand::{Operand, Value};

/// A tensor map as `--arg` describes it; dimensions stand with the innermost one first, as the driver wants them.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    /// The `--arg` whose buffer it is of.
    pub(crate) argument: usize,
    ty: TensorMapType,
    dims: Vec<u64>,
    strides: Vec<u64>,
    box_dims: Vec<u32>,
    steps: Vec<u32>,
    swizzle: Swizzle,
    interleave: Interleave,
    fill: OutOfBounds,
}

/// Reads `ARG:box=16,64`, and what may follow: `dims`, `strides` (bytes), `steps`, `swizzle`, `interleave`, `fill=nan`,
/// `type`. Without `dims` they are the buffer's shape.
pub(crate) fn parse(text: &str, before: &[Operand]) -> Result<Map, String> {
    let mut words = text.split(':');
    let number = words.next().unwrap_or_default();
    let argument: usize = number.parse().map_err(|_| format!("`{number}` is no number of an `--arg`"))?;
    let Some(Value::Buffer(buffer)) = before.get(argument).map(|operand| &operand.value) else {
        return Err(format!("`--arg` {argument} (from 0) is no buffer before it"));
    };
    let mut map = Map {
        argument,
        ty: type_of(buffer.element),
        dims: buffer.shape.iter().rev().copied().collect(),
        strides: Vec::new(),
        box_dims: Vec::new(),
        steps: Vec::new(),
        swizzle: Swizzle::None,
        interleave: Interleave::None,
        fill: OutOfBounds::Zeros,
    };
    for word in words {
        let (key, value) =
            word.split_once('=').ok_or_else(|| format!("`{word}`: `key=value` is expected"))?;
        let unknown = || format!("`{key}` cannot be `{value}`");
        match key {
            "box" => map.box_dims = list(value).ok_or_else(unknown)?,
            "dims" => map.dims = list(value).ok_or_else(unknown)?,
            "strides" => map.strides = list(value).ok_or_else(unknown)?,
            "steps" => map.steps = list(value).ok_or_else(unknown)?,
            "swizzle" => {
                map.swizzle = match value {
                    "0" => Swizzle::None,
                    "32" => Swizzle::Bytes32,
                    "64" => Swizzle::Bytes64,
                    "128" => Swizzle::Bytes128,
                    _ => return Err(unknown()),
                }
            }
            "interleave" => {
                map.interleave = match value {
                    "0" => Interleave::None,
                    "16" => Interleave::Bytes16,
                    "32" => Interleave::Bytes32,
                    _ => return Err(unknown()),
                }
            }
            "fill" => {
                map.fill = match value {
                    "zeros" => OutOfBounds::Zeros,
                    "nan" => OutOfBounds::Nan,
                    _ => return Err(unknown()),
                }
            }
            "type" => {
                map.ty = match value {
                    "tf32" => TensorMapType::TF32,
                    value => type_of(Element::parse(value).ok_or_else(unknown)?),
                }
            }
            _ => {
                let known = "box, dims, strides, steps, swizzle, interleave, fill and type";
                return Err(format!("`{key}` is not known; there are {known}"));
            }
        }
    }
    if map.strides.is_empty() {
        let mut stride = u64::from(map.ty.size());
        for extent in map.dims.iter().take(map.dims.len().saturating_sub(1)) {
            stride = stride.saturating_mul(*extent);
            map.strides.push(stride);
        }
    }
    if map.steps.is_empty() {
        map.steps = vec![1; map.dims.len()];
    }
    // What does not depend on the address is wrong now or never.
    map.encode(0).map(|_| map)
}

impl Map {
    /// The map of a buffer at this address.
    pub(crate) fn encode(&self, address: u64) -> Result<[u8; 128], String> {
        TensorMap::new(self.ty, address, &self.dims, &self.strides, &self.box_dims)
            .element_strides(&self.steps)
            .swizzle(self.swizzle)
            .interleave(self.interleave)
            .fill(self.fill)
            .encode()
            .map_err(|error| error.to_string())
    }
}

fn list<T: std::str::FromStr>(text: &str) -> Option<Vec<T>> {
    text.split([',', 'x']).map(|word| word.trim().parse().ok()).collect()
}

fn type_of(element: Element) -> TensorMapType {
    match element {
        Element::U8 | Element::I8 | Element::F8E4M3 | Element::F8E5M2 => TensorMapType::U8,
        Element::U16 | Element::I16 => TensorMapType::U16,
        Element::U32 => TensorMapType::U32,
        Element::I32 => TensorMapType::S32,
        Element::U64 => TensorMapType::U64,
        Element::I64 => TensorMapType::S64,
        Element::F16 => TensorMapType::F16,
        Element::BF16 => TensorMapType::BF16,
        Element::F32 => TensorMapType::F32,
        Element::F64 => TensorMapType::F64,
    }
}
