//! How soon a search came near its best: the share of the final speed against the candidates that were timed.

use super::{Axis, Frame, Svg, steps};
use crate::report::number::percent;

/// One curve: shares of 1 after the first candidate, the second, …
pub(crate) struct Curve {
    pub(crate) label: String,
    pub(crate) shares: Vec<f64>,
}

/// The picture: a thin line for each curve, a thick one for `mean`.
pub(crate) fn learning(curves: &[Curve], mean: &[f64], x_name: &str) -> String {
    let frame = Frame { width: 520.0, height: 300.0, left: 52.0, right: 14.0, top: 28.0, bottom: 40.0 };
    let longest = curves.iter().map(|curve| curve.shares.len()).max().unwrap_or(1).max(2);
    let lowest = curves.iter().flat_map(|curve| &curve.shares).copied().fold(1.0, f64::min);
    let floor = ((lowest.max(0.02) - 0.02) * 20.0).floor() / 20.0;
    let x = Axis::linear(1.0, longest as f64, frame.left, frame.x1());
    let y = Axis::linear(floor, 1.0, frame.y1(), frame.top).unit(|share| percent(share).replace(".0", ""));
    let mut svg = Svg::new(frame, "share of the final speed against candidates timed");
    svg.axes(frame, &x, &y, x_name, "of the final speed");
    let near = y.at(0.98);
    svg.line("roof", (frame.left, near), (frame.x1(), near));
    svg.text("note end", (frame.x1(), near + 14.0), "within 2 %");
    let place = |shares: &[f64]| -> Vec<(f64, f64)> {
        let points: Vec<(f64, f64)> = shares
            .iter()
            .enumerate()
            .map(|(position, &share)| (x.at(position as f64 + 1.0), y.at(share)))
            .collect();
        steps(&points, frame.x1())
    };
    for curve in curves {
        svg.raw(format_args!("<g class=\"curve\"><title>{}</title>", super::escape(&curve.label)));
        svg.path("thin", &place(&curve.shares));
        svg.raw(format_args!("</g>"));
    }
    svg.path("best", &place(mean));
    svg.finish()
}
