//! What the hardware allows and what was reached.

use super::{Axis, Frame, Svg};
use crate::report::number::scaled;

/// One kernel at some sizes.
pub(crate) struct RatePoint {
    pub(crate) label: String,
    pub(crate) class: &'static str,
    /// Bytes that must move
    pub(crate) bytes: f64,
    /// Operations that the reference asks for
    pub(crate) operations: Option<f64>,
    pub(crate) seconds: f64,
}

const FRAME: Frame = Frame { width: 520.0, height: 300.0, left: 64.0, right: 14.0, top: 28.0, bottom: 40.0 };

/// The rate of the compulsory bytes against how many they are, under the rate that memory gives.
pub(crate) fn rate(points: &[RatePoint], bandwidth: f64) -> String {
    let least = points.iter().map(|point| point.bytes).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|point| point.bytes).fold(0.0, f64::max);
    let fastest = points.iter().map(|point| point.bytes / point.seconds).fold(bandwidth, f64::max);
    let x =
        Axis::logarithmic(least * 0.7, most * 1.4, FRAME.left, FRAME.x1()).unit(|bytes| scaled(bytes, "B"));
    let y = Axis::linear(0.0, fastest * 1.08, FRAME.y1(), FRAME.top).unit(|rate| scaled(rate, "B/s"));
    let mut svg = Svg::new(FRAME, "bytes a second against bytes, under the roof of memory");
    svg.axes(FRAME, &x, &y, "bytes that must move", "rate of these bytes");
    svg.line("roof", (FRAME.left, y.at(bandwidth)), (FRAME.x1(), y.at(bandwidth)));
    svg.text(
        "note end",
        (FRAME.x1(), y.at(bandwidth) - 5.0),
        &format!("memory, as copies reach it: {}", scaled(bandwidth, "B/s")),
    );
    for point in points {
        let rate = point.bytes / point.seconds;
        let title = format!("{}: {}", point.label, scaled(rate, "B/s"));
        mark(&mut svg, point, (x.at(point.bytes), y.at(rate)), &title);
    }
    svg.finish()
}

/// The classical roofline: operations a second against operations a byte, both logarithmic. `None` when the operations are
/// not known.
pub(crate) fn intensity(points: &[RatePoint], bandwidth: f64, peaks: &[(&str, f64)]) -> Option<String> {
    let places: Vec<(&RatePoint, f64, f64)> = points
        .iter()
        .filter_map(|point| Some((point, point.operations? / point.bytes, point.operations? / point.seconds)))
        .filter(|(_, intensity, rate)| *intensity > 0.0 && *rate > 0.0)
        .collect();
    let (first, rest) = places.split_first()?;
    let fold = |take: fn(&(&RatePoint, f64, f64)) -> f64, choose: fn(f64, f64) -> f64| {
        rest.iter().map(take).fold(take(first), choose)
    };
    let peak = peaks.iter().map(|(_, peak)| *peak).fold(0.0, f64::max);
    let ridge = peak / bandwidth;
    let left = fold(|place| place.1, f64::min).min(ridge) / 4.0;
    let right = fold(|place| place.1, f64::max).max(ridge) * 4.0;
    let low = fold(|place| place.2, f64::min).min(left * bandwidth) / 1.5;
    let x = Axis::logarithmic(left, right, FRAME.left, FRAME.x1());
    let y = Axis::logarithmic(low, peak * 1.8, FRAME.y1(), FRAME.top).unit(|rate| scaled(rate, "op/s"));
    let mut svg = Svg::new(FRAME, "roofline: operations a second against operations a byte");
    svg.axes(FRAME, &x, &y, "operations a byte", "operations a second");
    svg.path("roof solid", &[(x.at(left), y.at(left * bandwidth)), (x.at(ridge), y.at(peak))]);
    for (name, peak) in peaks {
        let ridge = peak / bandwidth;
        svg.line("roof", (x.at(ridge), y.at(*peak)), (FRAME.x1(), y.at(*peak)));
        svg.text("note end", (FRAME.x1(), y.at(*peak) - 5.0), &format!("{name}: {}", scaled(*peak, "op/s")));
    }
    for (point, intensity, rate) in &places {
        let title =
            format!("{}: {} at {:.2} operations a byte", point.label, scaled(*rate, "op/s"), intensity);
        mark(&mut svg, point, (x.at(*intensity), y.at(*rate)), &title);
    }
    Some(svg.finish())
}

fn mark(svg: &mut Svg, point: &RatePoint, at: (f64, f64), title: &str) {
    let radius = if point.class == "winner" { 5.0 } else { 4.0 };
    svg.mark(point.class, at, radius, title);
}
