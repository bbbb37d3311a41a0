//! Printing for people and for scripts.

use serde::Serialize;

/// How a command answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON on standard output instead of text.
    pub(crate) json: bool,
}

impl Output {
    /// Prints `facts` as JSON, or calls `text`, which prints them for a person.
    pub(crate) fn show<T: Serialize>(
        self,
        facts: &T,
        text: impl FnOnce(&T),
    ) -> Result<(), crate::error::Error> {
        if self.json {
            let json = serde_json::to_string_pretty(facts).map_err(crate::error::Error::Json)?;
            println!("{json}");
        } else {
            text(facts);
        }
        Ok(())
    }
}

/// Prints rows in columns as wide as their widest cell, the first row as a heading.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    let width: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).chain([heading[column].len()]).max().unwrap_or(0)
    });
    let line = |cells: [&str; N]| {
        let mut text = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let width = width[column];
            text.push_str(&format!("{cell:width$}  "));
        }
        println!("{}", text.trim_end());
    };
    line(heading);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
}

/// Seconds with a unit that keeps the number readable.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        value if value >= 1.0 => format!("{value:.2} s"),
        value if value >= 1e-3 => format!("{:.3} ms", value * 1e3),
        value => format!("{:.2} µs", value * 1e6),
    }
}

/// `m = 3, n = 8`.
pub(crate) fn sizes<'a>(sizes: impl IntoIterator<Item = (&'a String, &'a u64)>) -> String {
    sizes.into_iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn seconds_are_readable() {
        assert_eq!(seconds(1.5), "1.50 s");
        assert_eq!(seconds(0.0125), "12.500 ms");
        assert_eq!(seconds(9.73e-6), "9.73 µs");
    }
}
