//! Numbers: every literal form, and the arithmetic of constant expressions.

/// A literal's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    Integer(Constant),
    F32(u32),
    F64(u64),
}

/// A 64-bit integer constant with C's idea of its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Constant {
    pub(crate) bits: u64,
    pub(crate) unsigned: bool,
}

impl Constant {
    /// The value as a number.
    pub(crate) fn value(self) -> i128 {
        if self.unsigned { i128::from(self.bits) } else { i128::from(self.bits as i64) }
    }

    pub(crate) fn signed(value: i64) -> Constant {
        Constant { bits: value as u64, unsigned: false }
    }

    /// `-x`; the most negative number can be written as a negated literal although its magnitude is unsigned.
    pub(crate) fn negate(self) -> Constant {
        let bits = self.bits.wrapping_neg();
        Constant { bits, unsigned: self.unsigned && bits != 1 << 63 }
    }

    /// `a op b` for the operators of PTX constant expressions; `None` for a division by zero.
    pub(crate) fn apply(op: Operator, a: Constant, b: Constant) -> Option<Constant> {
        use Operator as O;
        let unsigned = a.unsigned || b.unsigned;
        let (x, y) = (a.bits, b.bits);
        let (sx, sy) = (x as i64, y as i64);
        let same = |bits| Some(Constant { bits, unsigned });
        let truth = |value: bool| Some(Constant::signed(i64::from(value)));
        match op {
            O::Add => same(x.wrapping_add(y)),
            O::Sub => same(x.wrapping_sub(y)),
            O::Mul => same(x.wrapping_mul(y)),
            O::Div | O::Rem if y == 0 => None,
            O::Div if unsigned => same(x / y),
            O::Div => same(sx.wrapping_div(sy) as u64),
            O::Rem if unsigned => same(x % y),
            O::Rem => same(sx.wrapping_rem(sy) as u64),
            // The type of a shift is its left side's; the count is taken modulo the width.
            O::Shl => Some(Constant { bits: x.wrapping_shl(y as u32), unsigned: a.unsigned }),
            O::Shr if a.unsigned => Some(Constant { bits: x.wrapping_shr(y as u32), unsigned: true }),
            O::Shr => Some(Constant { bits: sx.wrapping_shr(y as u32) as u64, unsigned: false }),
            O::And => same(x & y),
            O::Xor => same(x ^ y),
            O::Or => same(x | y),
            O::Lt => truth(if unsigned { x < y } else { sx < sy }),
            O::Le => truth(if unsigned { x <= y } else { sx <= sy }),
            O::Gt => truth(if unsigned { x > y } else { sx > sy }),
            O::Ge => truth(if unsigned { x >= y } else { sx >= sy }),
            O::Eq => truth(x == y),
            O::Ne => truth(x != y),
            O::LogicalAnd => truth(x != 0 && y != 0),
            O::LogicalOr => truth(x != 0 || y != 0),
        }
    }
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Mul,
    Div,
    Rem,
    Add,
    Sub,
    Shl,
    Shr,
    Lt,
    Le,
    Gt,
    Ge,
    Eq,
    Ne,
    And,
    Xor,
    Or,
    LogicalAnd,
    LogicalOr,
}

impl Operator {
    /// C's precedence, tighter is larger.
    pub(crate) fn precedence(self) -> u8 {
        use Operator as O;
        match self {
            O::Mul | O::Div | O::Rem => 10,
            O::Add | O::Sub => 9,
            O::Shl | O::Shr => 8,
            O::Lt | O::Le | O::Gt | O::Ge => 7,
            O::Eq | O::Ne => 6,
            O::And => 5,
            O::Xor => 4,
            O::Or => 3,
            O::LogicalAnd => 2,
            O::LogicalOr => 1,
        }
    }
}

/// Reads a literal; the error says why it is none.
pub(crate) fn read(text: &str) -> Result<Literal, &'static str> {
    let bytes = text.as_bytes();
    // The common case first: a short decimal number.
    if bytes.len() <= 18 && bytes.iter().all(u8::is_ascii_digit) && (bytes.len() == 1 || bytes[0] != b'0') {
        let value = bytes.iter().fold(0, |value: i64, digit| value * 10 + i64::from(digit - b'0'));
        return Ok(Literal::Integer(Constant::signed(value)));
    }
    if let [b'0', kind, digits @ ..] = bytes {
        match kind {
            b'f' | b'F' => return float_bits(digits, 8).map(|bits| Literal::F32(bits as u32)),
            b'd' | b'D' => return float_bits(digits, 16).map(Literal::F64),
            _ => {}
        }
    }
    let decimal_float = text.contains('.')
        || (text.contains(['e', 'E']) && !text.starts_with("0x") && !text.starts_with("0X"));
    if decimal_float {
        let valid = bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        return match text.parse::<f64>() {
            Ok(value) if valid => Ok(Literal::F64(value.to_bits())),
            _ => Err("a decimal float is digits, a point, digits, and perhaps an exponent"),
        };
    }
    let (digits, suffix) = match text.strip_suffix(['U', 'u']) {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if digits.is_empty() {
        return Err("it has no digits");
    }
    if !digits.bytes().all(|digit| char::from(digit).is_digit(radix)) {
        return Err("a digit does not fit the base");
    }
    match u64::from_str_radix(digits, radix) {
        Ok(bits) => Ok(Literal::Integer(Constant { bits, unsigned: suffix || bits > i64::MAX as u64 })),
        Err(_) => Err("it has more than 64 bits"),
    }
}

/// Exactly `count` hexadecimal digits.
fn float_bits(digits: &[u8], count: usize) -> Result<u64, &'static str> {
    if digits.len() != count || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(if count == 8 {
            "`0f` takes 8 hexadecimal digits"
        } else {
            "`0d` takes 16 hexadecimal digits"
        });
    }
    let value = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or(0);
    Ok(digits.iter().fold(0, |bits, digit| bits << 4 | u64::from(value(digit))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(text: &str) -> i128 {
        match read(text) {
            Ok(Literal::Integer(constant)) => constant.value(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_form_of_integer() {
        assert_eq!(integer("0"), 0);
        assert_eq!(integer("42U"), 42);
        assert_eq!(integer("0x1fU"), 31);
        assert_eq!(integer("0X1F"), 31);
        assert_eq!(integer("017"), 15);
        assert_eq!(integer("0b101"), 5);
        assert_eq!(integer("18446744073709551615"), i128::from(u64::MAX));
        assert_eq!(integer("0xFFFFFFFFFFFFFFFF"), i128::from(u64::MAX));
    }

    #[test]
    fn every_form_of_float() {
        assert_eq!(read("0f3F800000"), Ok(Literal::F32(1f32.to_bits())));
        assert_eq!(read("0d3FF0000000000000"), Ok(Literal::F64(1f64.to_bits())));
        assert_eq!(read("1.5"), Ok(Literal::F64(1.5f64.to_bits())));
        assert_eq!(read("2.5e-3"), Ok(Literal::F64(2.5e-3f64.to_bits())));
        assert_eq!(read("1e3"), Ok(Literal::F64(1e3f64.to_bits())));
    }

    #[test]
    fn bad_numbers_are_refused() {
        for text in
            ["0x", "0xg", "08", "0b2", "18446744073709551616", "0f3F80", "0d00", "12a", "1.5x", "0f3F80000G"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
