//! Element types as the command line and .npy files name them.

use factory_spec::DType;

/// The type of a buffer's elements or of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    BF16,
    F8E4M3,
    F8E5M2,
    F32,
    F64,
}

impl Element {
    const ALL: [(Element, &'static str); 14] = [
        (Element::U8, "u8"),
        (Element::I8, "i8"),
        (Element::U16, "u16"),
        (Element::I16, "i16"),
        (Element::U32, "u32"),
        (Element::I32, "i32"),
        (Element::U64, "u64"),
        (Element::I64, "i64"),
        (Element::F16, "f16"),
        (Element::BF16, "bf16"),
        (Element::F8E4M3, "f8e4m3"),
        (Element::F8E5M2, "f8e5m2"),
        (Element::F32, "f32"),
        (Element::F64, "f64"),
    ];

    /// Reads a type's name; PTX's own spellings of it too.
    pub(crate) fn parse(word: &str) -> Option<Element> {
        let word = match word {
            "s8" => "i8",
            "b8" | "bool" => "u8",
            "s16" => "i16",
            "b16" => "u16",
            "s32" => "i32",
            "b32" => "u32",
            "s64" => "i64",
            "b64" => "u64",
            "e4m3" => "f8e4m3",
            "e5m2" => "f8e5m2",
            word => word,
        };
        Element::ALL.into_iter().find(|(_, name)| *name == word).map(|(element, _)| element)
    }

    pub(crate) fn name(self) -> &'static str {
        Element::ALL.into_iter().find(|(element, _)| *element == self).map_or("", |(_, name)| name)
    }

    /// All names, for messages.
    pub(crate) fn names() -> String {
        Element::ALL.map(|(_, name)| name).join(", ")
    }

    /// Bytes.
    pub(crate) fn size(self) -> usize {
        match self {
            Element::U8 | Element::I8 | Element::F8E4M3 | Element::F8E5M2 => 1,
            Element::U16 | Element::I16 | Element::F16 | Element::BF16 => 2,
            Element::U32 | Element::I32 | Element::F32 => 4,
            Element::U64 | Element::I64 | Element::F64 => 8,
        }
    }

    /// What NumPy calls it. Types that NumPy does not have are unsigned integers of their width.
    pub(crate) fn descriptor(self) -> &'static str {
        match self {
            Element::U8 | Element::F8E4M3 | Element::F8E5M2 => "|u1",
            Element::I8 => "|i1",
            Element::U16 | Element::BF16 => "<u2",
            Element::I16 => "<i2",
            Element::U32 => "<u4",
            Element::I32 => "<i4",
            Element::U64 => "<u8",
            Element::I64 => "<i8",
            Element::F16 => "<f2",
            Element::F32 => "<f4",
            Element::F64 => "<f8",
        }
    }

    /// The type that a .npy file names; `|b1` counts as u8, and raw bytes as unsigned integers.
    pub(crate) fn of_descriptor(descriptor: &str) -> Option<Element> {
        Some(match descriptor {
            "|b1" | "|u1" | "|V1" | "<u1" => Element::U8,
            "|i1" | "<i1" => Element::I8,
            "<u2" | "|V2" | "<V2" => Element::U16,
            "<i2" => Element::I16,
            "<u4" | "|V4" => Element::U32,
            "<i4" => Element::I32,
            "<u8" | "|V8" => Element::U64,
            "<i8" => Element::I64,
            "<f2" => Element::F16,
            "<f4" => Element::F32,
            "<f8" => Element::F64,
            _ => return None,
        })
    }

    fn dtype(self) -> Option<DType> {
        Some(match self {
            Element::F16 => DType::F16,
            Element::BF16 => DType::BF16,
            Element::F8E4M3 => DType::F8E4M3,
            Element::F8E5M2 => DType::F8E5M2,
            Element::F32 => DType::F32,
            Element::F64 => DType::F64,
            _ => return None,
        })
    }

    /// The bytes of a value as written: a number, or the bits in hexadecimal behind `0x`.
    pub(crate) fn encode(self, text: &str) -> Option<Vec<u8>> {
        let text = text.trim();
        let cut = |bits: u64| bits.to_le_bytes()[..self.size()].to_vec();
        let width = 8 * self.size() as u32;
        if let Some(hex) = text.strip_prefix("0x") {
            let bits = u64::from_str_radix(hex, 16).ok()?;
            return (width == 64 || bits >> width == 0).then(|| cut(bits));
        }
        if let Some(dtype) = self.dtype() {
            return Some(encode_float(dtype, text.parse().ok()?));
        }
        let value: i128 = text.parse().ok()?;
        let signed = matches!(self, Element::I8 | Element::I16 | Element::I32 | Element::I64);
        let (least, most) = if signed {
            (-(1i128 << (width - 1)), (1i128 << (width - 1)) - 1)
        } else {
            (0, (1i128 << width) - 1)
        };
        (least..=most).contains(&value).then(|| cut(value as u64))
    }

    /// The bytes of a number, rounded to the type.
    pub(crate) fn encode_number(self, value: f64) -> Vec<u8> {
        match self.dtype() {
            Some(dtype) => encode_float(dtype, value),
            None => (value as i64 as u64).to_le_bytes()[..self.size()].to_vec(),
        }
    }

    /// One element for people.
    pub(crate) fn show(self, bytes: &[u8]) -> String {
        let mut wide = [0; 8];
        let size = self.size().min(bytes.len());
        wide[..size].copy_from_slice(&bytes[..size]);
        let bits = u64::from_le_bytes(wide);
        if let Some(dtype) = self.dtype() {
            let mut values = Vec::new();
            dtype.decode(&bytes[..size], &mut values);
            let value = values.first().copied().unwrap_or(f64::NAN);
            if value.is_nan() {
                return format!("nan ({bits:#x})");
            }
            return match self {
                Element::F64 => value.to_string(),
                _ => (value as f32).to_string(),
            };
        }
        let shift = 64 - 8 * size as u32;
        match self {
            Element::I8 | Element::I16 | Element::I32 | Element::I64 => {
                (((bits << shift) as i64) >> shift).to_string()
            }
            _ => bits.to_string(),
        }
    }
}

fn encode_float(dtype: DType, value: f64) -> Vec<u8> {
    let mut bytes = Vec::new();
    dtype.encode(&[value], &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::Element;

    #[test]
    fn values_are_kept_to_their_width() {
        assert_eq!(Element::U8.encode("255"), Some(vec![255]));
        assert_eq!(Element::U8.encode("256"), None);
        assert_eq!(Element::I8.encode("-128"), Some(vec![128]));
        assert_eq!(Element::U32.encode("0xffffffff"), Some(vec![255; 4]));
        assert_eq!(Element::U16.encode("0x10000"), None);
        assert_eq!(Element::BF16.encode("1"), Some(vec![0x80, 0x3f]));
        assert_eq!(Element::F32.encode("1e-5"), Some(1e-5f32.to_le_bytes().to_vec()));
        assert_eq!(Element::F32.encode("one"), None);
    }

    #[test]
    fn values_are_shown_as_numbers() {
        assert_eq!(Element::I16.show(&[0xff, 0xff]), "-1");
        assert_eq!(Element::F16.show(&[0, 0x3c]), "1");
        assert_eq!(Element::F32.show(&0.1f32.to_le_bytes()), "0.1");
        assert_eq!(Element::U64.show(&[255; 8]), u64::MAX.to_string());
    }
}
