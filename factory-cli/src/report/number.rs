//! Numbers as the page shows them.

/// A time with four digits and the unit that suits it.
pub(crate) fn time(seconds: f64) -> String {
    let (value, unit) = match seconds.abs() {
        s if s >= 1.0 => (seconds, "s"),
        s if s >= 1e-3 => (seconds * 1e3, "ms"),
        s if s >= 1e-6 => (seconds * 1e6, "µs"),
        _ => (seconds * 1e9, "ns"),
    };
    format!("{}\u{a0}{unit}", digits(value, 4))
}

/// A length of time for people.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 5400.0 => format!("{:.1}\u{a0}h", s / 3600.0),
        s if s >= 100.0 => format!("{:.0}\u{a0}min\u{a0}{:.0}\u{a0}s", (s / 60.0).floor(), s % 60.0),
        s => format!("{s:.1}\u{a0}s"),
    }
}

/// A share of one.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}\u{a0}%", share * 100.0)
}

/// Bytes or operations a second, or bytes.
pub(crate) fn scaled(value: f64, unit: &str) -> String {
    let (value, prefix) = match value.abs() {
        v if v >= 1e12 => (value * 1e-12, "T"),
        v if v >= 1e9 => (value * 1e-9, "G"),
        v if v >= 1e6 => (value * 1e-6, "M"),
        v if v >= 1e3 => (value * 1e-3, "k"),
        _ => (value, ""),
    };
    format!("{}\u{a0}{prefix}{unit}", digits(value, 3))
}

/// A whole number with a thin gap between thousands.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `value` with so many significant digits, and no exponent.
pub(crate) fn digits(value: f64, significant: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { "–".to_owned() };
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = (significant - 1 - magnitude).max(0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(time(1.01055e-5), "10.11\u{a0}µs");
        assert_eq!(time(2.986e-3), "2.986\u{a0}ms");
        assert_eq!(time(4.2e-9), "4.200\u{a0}ns");
        assert_eq!(duration(125.0), "2\u{a0}min\u{a0}5\u{a0}s");
        assert_eq!(percent(0.7421), "74.2\u{a0}%");
        assert_eq!(scaled(4.05e12, "B/s"), "4.05\u{a0}TB/s");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(999), "999");
        assert_eq!(digits(f64::NAN, 3), "–");
    }
}
