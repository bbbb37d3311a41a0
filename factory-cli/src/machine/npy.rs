//! NumPy's .npy files: a header that says type and shape, and the elements behind it.
//!
//! Format versions 1 to 3 as `numpy.lib.format` describes them. The header is a Python dictionary with three keys whose
//! values are a string, a boolean and a tuple of integers, which takes less to read than any crate that reads all of
//! Python's literals would bring with it.

use std::fs;
use std::path::Path;

use super::LaunchError;
use super::element::Element;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header that is read: NumPy's own are far below.
const HEADER_LIMIT: usize = 1 << 16;

/// The content of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Array {
    pub(crate) element: Element,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Array, LaunchError> {
    let bytes = fs::read(path).map_err(|source| LaunchError::Read { path: path.to_owned(), source })?;
    parse(bytes).map_err(|message| LaunchError::Npy { path: path.to_owned(), message })
}

/// Writes a file.
pub(crate) fn write(path: &Path, element: Element, shape: &[u64], bytes: &[u8]) -> Result<(), LaunchError> {
    let mut content = header(element, shape);
    content.extend_from_slice(bytes);
    fs::write(path, content).map_err(|source| LaunchError::Write { path: path.to_owned(), source })
}

fn header(element: Element, shape: &[u64]) -> Vec<u8> {
    let mut tuple: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    // `(3,)` but `(3, 4)`, as Python prints them.
    match shape.len() {
        0 => {}
        1 => tuple.truncate(tuple.len() - 1),
        _ => tuple.truncate(tuple.len() - 2),
    }
    let mut text =
        format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({tuple}), }}", element.descriptor());
    // Magic, version, length and text together are a multiple of 64 bytes and end a line.
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.push_str(&" ".repeat(length - 1 - text.len()));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

fn parse(mut bytes: Vec<u8>) -> Result<Array, String> {
    if !bytes.starts_with(MAGIC) {
        return Err("it does not begin as a .npy file does".to_owned());
    }
    let short = || "it ends within its header".to_owned();
    let byte = |at: usize| bytes.get(at).copied().map(usize::from).ok_or_else(short);
    let (length, start) = match byte(6)? {
        1 => (byte(8)? | byte(9)? << 8, 10),
        2 | 3 => (byte(8)? | byte(9)? << 8 | byte(10)? << 16 | byte(11)? << 24, 12),
        version => return Err(format!("its format version is {version}, and 1 to 3 are known")),
    };
    if length > HEADER_LIMIT {
        return Err(format!("its header has {length} bytes"));
    }
    let text = bytes.get(start..start + length).ok_or_else(short)?;
    let text = std::str::from_utf8(text).map_err(|_| "its header is no text".to_owned())?;
    let (descriptor, fortran, shape) = dictionary(text)?;
    let element = Element::of_descriptor(&descriptor).ok_or_else(|| {
        let why = if descriptor.starts_with('>') { " (big-endian)" } else { "" };
        format!("its elements are `{descriptor}`{why}, which no buffer holds")
    })?;
    if fortran && shape.iter().filter(|extent| **extent > 1).count() > 1 {
        return Err("it is in Fortran order; save `numpy.ascontiguousarray` of it".to_owned());
    }
    let count = shape.iter().try_fold(1u64, |product, extent| product.checked_mul(*extent));
    let size = count.and_then(|count| count.checked_mul(element.size() as u64));
    let given = (bytes.len() - start - length) as u64;
    if size != Some(given) {
        let size = size.map_or_else(|| "too many".to_owned(), |size| size.to_string());
        return Err(format!("its shape asks for {size} bytes, behind the header there are {given}"));
    }
    bytes.drain(..start + length);
    Ok(Array { element, shape, bytes })
}

/// `descr`, `fortran_order` and `shape`.
fn dictionary(text: &str) -> Result<(String, bool, Vec<u64>), String> {
    let value = |key: &str| -> Result<&str, String> {
        let found = ["'", "\""].iter().find_map(|quote| text.split_once(&format!("{quote}{key}{quote}")));
        let (_, rest) = found.ok_or_else(|| format!("its header has no `{key}`"))?;
        Ok(rest.trim_start().strip_prefix(':').unwrap_or(rest).trim_start())
    };
    let descriptor = value("descr")?;
    let quote = descriptor.chars().next().filter(|quote| matches!(quote, '\'' | '"'));
    let quote = quote.ok_or("its elements are records")?;
    let descriptor = descriptor[1..].split(quote).next().unwrap_or_default().to_owned();
    let fortran = value("fortran_order")?.starts_with("True");
    let shape = value("shape")?;
    let inner = shape.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(inner, _)| inner);
    let inner = inner.ok_or("its shape is no tuple")?;
    let shape = inner
        .split(',')
        .map(str::trim)
        .filter(|extent| !extent.is_empty())
        .map(|extent| extent.trim_end_matches('L').parse().map_err(|_| format!("its shape holds `{extent}`")))
        .collect::<Result<Vec<u64>, _>>()?;
    Ok((descriptor, fortran, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for shape in [vec![], vec![3], vec![2, 3], vec![0, 7], vec![1; 40]] {
            let count: u64 = shape.iter().product();
            let bytes: Vec<u8> = (0..2 * count).map(|i| i as u8).collect();
            let mut content = header(Element::F16, &shape);
            assert_eq!(content.len() % 64, 0);
            content.extend(&bytes);
            assert_eq!(parse(content), Ok(Array { element: Element::F16, shape, bytes }));
        }
    }

    #[test]
    fn nothing_that_a_file_holds_panics() {
        let good = [header(Element::U32, &[2, 2]), vec![0; 16]].concat();
        for length in 0..good.len() {
            assert!(parse(good[..length].to_vec()).is_err());
        }
        for at in 0..good.len() {
            for value in [0, b'(', b')', b'\'', b',', 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let _ = parse(bytes);
            }
        }
        let refused = |text: &str| {
            let mut bytes = MAGIC.to_vec();
            bytes.extend([1, 0, text.len() as u8, 0]);
            bytes.extend(text.as_bytes());
            parse(bytes).expect_err("it is refused")
        };
        assert!(refused("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}").contains("big-endian"));
        assert!(
            refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}").contains("records")
        );
        assert!(refused("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}").contains("Fortran"));
        let huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 2)}";
        assert!(refused(huge).contains("too many"));
    }
}
