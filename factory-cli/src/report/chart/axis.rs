//! A scale between values and places.

use crate::report::number::digits;

/// One axis.
pub(crate) struct Axis {
    min: f64,
    max: f64,
    logarithmic: bool,
    from: f64,
    to: f64,
    unit: fn(f64) -> String,
}

impl Axis {
    /// Values from `min` to `max` between the places `from` and `to`.
    pub(crate) fn linear(min: f64, max: f64, from: f64, to: f64) -> Axis {
        let max = if max > min { max } else { min + 1.0 };
        Axis { min, max, logarithmic: false, from, to, unit: |value| plain(value) }
    }

    /// The same with equal distances for equal ratios; both ends are above 0.
    pub(crate) fn logarithmic(min: f64, max: f64, from: f64, to: f64) -> Axis {
        let min = if min > 0.0 { min } else { 1.0 };
        let max = if max > min { max } else { min * 10.0 };
        Axis { min, max, logarithmic: true, from, to, unit: |value| plain(value) }
    }

    /// How values are written.
    pub(crate) fn unit(mut self, unit: fn(f64) -> String) -> Axis {
        self.unit = unit;
        self
    }

    /// The place of a value; one outside is at the nearest end.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.min) / self.min).ln() / (self.max / self.min).ln()
        } else {
            (value - self.min) / (self.max - self.min)
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// About `count` round values with their labels.
    pub(crate) fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let values = if self.logarithmic { self.ratios(count) } else { self.differences(count) };
        values.into_iter().map(|value| (value, (self.unit)(value))).collect()
    }

    fn differences(&self, count: usize) -> Vec<f64> {
        let rough = (self.max - self.min) / count as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            power * [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough).unwrap_or(10.0);
        let first = (self.min / step).ceil() as i64;
        let last = (self.max / step).floor() as i64;
        (first..=last).map(|position| position as f64 * step).collect()
    }

    fn ratios(&self, count: usize) -> Vec<f64> {
        let decades = (self.min.log10().floor() as i32)..=(self.max.log10().ceil() as i32);
        let inside = |steps: &[f64]| -> Vec<f64> {
            decades
                .clone()
                .flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)))
                .filter(|value| (self.min * 0.999..=self.max * 1.001).contains(value))
                .collect()
        };
        let choices = [
            inside(&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0]),
            inside(&[1.0, 2.0, 5.0]),
            inside(&[1.0, 3.0]),
            inside(&[1.0]),
        ];
        let fits = |values: &&Vec<f64>| values.len() <= count + 1;
        let mut values = choices.iter().find(fits).unwrap_or(&choices[3]).clone();
        // Many decades: every second, every third.
        let every = values.len().div_ceil(count + 1).max(1);
        values = values.into_iter().step_by(every).collect();
        if values.len() < 2 && self.max / self.min < 10.0 {
            values = self.differences(count);
        }
        values
    }
}

/// A number without needless digits.
fn plain(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let text = digits(value, 3);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, count: usize) -> Vec<String> {
        axis.ticks(count).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&Axis::linear(0.0, 160.0, 0.0, 1.0), 4), ["0", "50", "100", "150"]);
        assert_eq!(
            labels(&Axis::linear(0.9, 1.0, 0.0, 1.0), 5),
            ["0.9", "0.92", "0.94", "0.96", "0.98", "1"]
        );
        assert_eq!(labels(&Axis::logarithmic(1.0, 1000.0, 0.0, 1.0), 4), ["1", "10", "100", "1000"]);
        assert_eq!(labels(&Axis::logarithmic(9.0, 30.0, 0.0, 1.0), 4), ["10", "15", "20", "30"]);
    }

    #[test]
    fn places_stay_inside() {
        let axis = Axis::logarithmic(1.0, 100.0, 10.0, 110.0);
        assert!((axis.at(10.0) - 60.0).abs() < 1e-9);
        assert_eq!((axis.at(0.0), axis.at(1e9)), (10.0, 110.0));
        // Equal ends and nonsense make no nonsense.
        assert!(Axis::linear(3.0, 3.0, 0.0, 1.0).at(3.0).is_finite());
        assert!(Axis::logarithmic(0.0, 0.0, 0.0, 1.0).at(1.0).is_finite());
    }
}
