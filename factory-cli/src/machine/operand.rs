//! `--arg`: what a kernel's parameters are given, in their order.

use std::path::{Path, PathBuf};

use super::LaunchError;
use super::element::Element;
use super::npy;

/// The most bytes that all buffers of a launch may have.
const LIMIT: u64 = 1 << 36;

/// How a kernel may use a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    In,
    Out,
    InOut,
}

/// Where a result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    File(PathBuf),
    /// Standard output, as text: `-`.
    Print,
}

/// Elements with a type and a shape.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    pub(crate) role: Role,
    pub(crate) element: Element,
    pub(crate) shape: Vec<u64>,
    /// Before the launch.
    pub(crate) bytes: Vec<u8>,
    pub(crate) destination: Option<Destination>,
}

/// One parameter.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Buffer(Buffer),
    /// So many bytes of the machine's own.
    Scratch(u64),
    /// The bytes of a scalar or structure.
    Bytes(Vec<u8>),
    /// The address of the buffer of an earlier `--arg`, counted from 0, and so many bytes behind it.
    Pointer {
        argument: usize,
        offset: u64,
    },
    /// A tensor map of the buffer of an earlier `--arg`.
    Map(super::map::Map),
}

/// An `--arg` as written, and what it means.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) text: String,
    pub(crate) value: Value,
}

/// Reads all of them. `seed` decides what `random` is.
pub(crate) fn parse(texts: &[String], seed: u64) -> Result<Vec<Operand>, LaunchError> {
    let mut operands: Vec<Operand> = Vec::new();
    let mut total = 0u64;
    for (index, text) in texts.iter().enumerate() {
        let value = one(text, index, &operands, seed ^ (index as u64 + 1).rotate_right(16), &mut total)?;
        operands.push(Operand { text: text.clone(), value });
    }
    Ok(operands)
}

fn wrong(text: &str, message: impl Into<String>) -> LaunchError {
    LaunchError::Argument { text: text.to_owned(), message: message.into() }
}

fn one(
    text: &str,
    index: usize,
    before: &[Operand],
    seed: u64,
    total: &mut u64,
) -> Result<Value, LaunchError> {
    let Some((word, rest)) = text.split_once(':') else {
        if text == "null" {
            return Ok(Value::Bytes(vec![0; 8]));
        }
        return Err(wrong(
            text,
            "`KIND:VALUE` is expected, such as `in:x.npy`, `out:y.npy:f32[64]` or `u32:7`",
        ));
    };
    match word {
        "in" => Ok(Value::Buffer(buffer(text, Role::In, rest, seed, total)?)),
        "out" => Ok(Value::Buffer(buffer(text, Role::Out, rest, seed, total)?)),
        "inout" => Ok(Value::Buffer(buffer(text, Role::InOut, rest, seed, total)?)),
        "scratch" => {
            let bytes = rest.parse().map_err(|_| wrong(text, format!("`{rest}` is no number of bytes")))?;
            reserve(bytes, total)?;
            Ok(Value::Scratch(bytes))
        }
        "bytes" => {
            let digits: Vec<char> = rest.chars().filter(|c| *c != '_').collect();
            let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok();
            let even = digits.len().is_multiple_of(2) && digits.iter().all(char::is_ascii_hexdigit);
            let bytes = even.then(|| digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()).flatten();
            bytes.map(Value::Bytes).ok_or_else(|| wrong(text, "pairs of hexadecimal digits are expected"))
        }
        "ptr" => {
            let (argument, offset) = rest.split_once('+').unwrap_or((rest, "0"));
            let argument: usize =
                argument.parse().ok().filter(|argument| *argument < index).ok_or_else(|| {
                    wrong(text, format!("`{argument}` is not the number of an `--arg` before it (from 0)"))
                })?;
            let offset =
                offset.parse().map_err(|_| wrong(text, format!("`{offset}` is no number of bytes")))?;
            match before[argument].value {
                Value::Buffer(_) | Value::Scratch(_) => Ok(Value::Pointer { argument, offset }),
                _ => Err(wrong(text, format!("`--arg {}` is no buffer", before[argument].text))),
            }
        }
        "map" => super::map::parse(rest, before).map(Value::Map).map_err(|message| wrong(text, message)),
        word => {
            let Some(element) = Element::parse(word) else {
                let known =
                    format!("in, out, inout, scratch, ptr, map, bytes, or a type: {}", Element::names());
                return Err(wrong(text, format!("`{word}` is not known; there are {known}")));
            };
            let bytes = element.encode(rest);
            bytes.map(Value::Bytes).ok_or_else(|| wrong(text, format!("`{rest}` is no {}", element.name())))
        }
    }
}

/// `TYPE[extent, …]`, or a type alone.
fn typed(text: &str) -> Option<(Element, Option<Vec<u64>>)> {
    let Some((word, shape)) = text.split_once('[') else { return Some((Element::parse(text)?, None)) };
    let shape = shape.strip_suffix(']')?;
    let extents = shape.split(',').map(str::trim).filter(|extent| !extent.is_empty());
    Some((Element::parse(word)?, Some(extents.map(|extent| extent.parse().ok()).collect::<Option<_>>()?)))
}

fn buffer(text: &str, role: Role, rest: &str, seed: u64, total: &mut u64) -> Result<Buffer, LaunchError> {
    // The type stands last, so that a path may hold colons.
    let result = |text: &str| text == "-" || text.ends_with(".npy");
    let (rest, into) = match rest.rsplit_once('=') {
        Some((before, after)) if role == Role::InOut && result(after) => (before, Some(after)),
        _ => (rest, None),
    };
    let (place, declared) = match rest.rsplit_once(':').and_then(|(place, ty)| Some((place, typed(ty)?))) {
        Some((place, declared)) => (place, Some(declared)),
        None => (rest, None),
    };
    let destination = |place: &str| match place {
        "-" => Destination::Print,
        path => Destination::File(path.into()),
    };
    let shaped = || match &declared {
        Some((element, Some(shape))) => Ok((*element, shape.clone())),
        _ => Err(wrong(text, format!("a type and a shape are needed, as in `{place}:f32[1024,64]`"))),
    };
    if role == Role::Out {
        let (element, shape) = shaped()?;
        let bytes = vec![0; reserve(size_of(text, element, &shape)?, total)?];
        return Ok(Buffer { role, element, shape, bytes, destination: Some(destination(place)) });
    }
    let into = into.map(destination);
    if !place.ends_with(".npy") {
        if !matches!(place, "zeros" | "ones" | "iota" | "random") {
            return Err(wrong(
                text,
                "a file that ends in `.npy`, or `zeros`, `ones`, `iota` or `random` is expected",
            ));
        }
        let (element, shape) = shaped()?;
        let length = reserve(size_of(text, element, &shape)?, total)?;
        let bytes = drawn(place, element, length, seed);
        return Ok(Buffer { role, element, shape, bytes, destination: into });
    }
    let path = Path::new(place);
    let array = npy::read(path)?;
    reserve(array.bytes.len() as u64, total)?;
    let (mut element, mut shape) = (array.element, array.shape);
    if let Some((wanted, wanted_shape)) = declared {
        if wanted.size() != element.size() {
            let message = format!("the file holds {} and not {}", element.name(), wanted.name());
            return Err(wrong(text, message));
        }
        element = wanted;
        if let Some(wanted) = wanted_shape {
            if wanted.iter().product::<u64>() != shape.iter().product::<u64>() {
                return Err(wrong(text, format!("the file's shape is {shape:?}")));
            }
            shape = wanted;
        }
    }
    // What changes in place goes back to where it came from, unless it says otherwise.
    let destination = match role {
        Role::InOut => Some(into.unwrap_or_else(|| Destination::File(path.to_owned()))),
        _ => None,
    };
    Ok(Buffer { role, element, shape, bytes: array.bytes, destination })
}

fn size_of(text: &str, element: Element, shape: &[u64]) -> Result<u64, LaunchError> {
    let start = Some(element.size() as u64);
    let bytes = shape.iter().fold(start, |product, extent| product?.checked_mul(*extent));
    bytes.ok_or_else(|| wrong(text, "the shape has more elements than can be counted"))
}

/// Whether there is so much memory: an error now is better than a process that is killed.
fn reserve(bytes: u64, total: &mut u64) -> Result<usize, LaunchError> {
    *total = total.saturating_add(bytes);
    let too_large = LaunchError::TooLarge { bytes: *total, limit: LIMIT };
    let Some(length) = usize::try_from(bytes).ok().filter(|_| *total <= LIMIT) else { return Err(too_large) };
    match Vec::<u8>::new().try_reserve_exact(length) {
        Ok(()) => Ok(length),
        Err(_) => Err(too_large),
    }
}

fn drawn(what: &str, element: Element, length: usize, seed: u64) -> Vec<u8> {
    let count = length / element.size();
    let mut bytes = Vec::with_capacity(length);
    let mut state = seed;
    for index in 0..count {
        let value = match what {
            "zeros" => 0.0,
            "ones" => 1.0,
            "iota" => index as f64,
            // A sum of 12 uniform numbers is as good as normal for this; integers are 0 to 99.
            _ if matches!(element.descriptor().as_bytes()[1], b'f') || element == Element::BF16 => {
                (0..12).map(|_| next(&mut state)).sum::<f64>() - 6.0
            }
            _ => (next(&mut state) * 100.0).floor(),
        };
        bytes.extend(element.encode_number(value));
    }
    bytes
}

/// A number from 0 up to 1, by SplitMix64 (Steele, Lea and Flood, 2014).
fn next(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(texts: &[&str]) -> Result<Vec<Operand>, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        parse(&texts, 0).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_mean_what_they_say() {
        let operands =
            values(&["out:a:b.npy:bf16[2, 3]", "u32:7", "ptr:0+4", "scratch:64", "null", "bytes:00ff"]);
        let operands = operands.expect("they are right");
        let Value::Buffer(buffer) = &operands[0].value else { panic!("a buffer") };
        assert_eq!(
            (buffer.element, buffer.shape.as_slice(), buffer.bytes.len()),
            (Element::BF16, &[2, 3][..], 12)
        );
        assert_eq!(buffer.destination, Some(Destination::File("a:b.npy".into())));
        assert!(matches!(operands[2].value, Value::Pointer { argument: 0, offset: 4 }));
        assert!(matches!(&operands[5].value, Value::Bytes(bytes) if *bytes == [0, 255]));
    }

    #[test]
    fn tensor_maps_take_the_shape_of_their_buffer() {
        let operands =
            values(&["in:zeros:bf16[64,32]", "map:0:box=32,8:swizzle=64"]).expect("they are right");
        let Value::Map(map) = &operands[1].value else { panic!("a map") };
        assert!(map.encode(0x1000).is_ok());
        for (text, message) in [
            ("map:0:box=32,8:swizzle=32", "swizzle"),
            ("map:0:box=32", "box"),
            ("map:0:box=32,8:colour=red", "is not known"),
        ] {
            let error = values(&["in:zeros:bf16[64,32]", text]).expect_err(text);
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, message) in [
            ("x", "KIND:VALUE"),
            ("f31:1", "is not known"),
            ("u8:300", "is no u8"),
            ("out:y.npy", "a type and a shape"),
            ("out:y.npy:f32", "a type and a shape"),
            ("out:y.npy:f32[99999999999,99999999999]", "more elements"),
            ("out:y.npy:f32[99999999999]", "more than there is"),
            ("scratch:99999999999999", "more than there is"),
            ("in:x.txt", "ends in `.npy`"),
            ("in:nowhere.npy", "could not read"),
            ("ptr:0", "before it"),
            ("bytes:0", "hexadecimal"),
            ("map:0:box=8", "no buffer before it"),
        ] {
            let error = values(&[text]).expect_err(text);
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
