//! How the best fell while the search went on, for one target and sizes.

use super::{Axis, Frame, Svg, steps};
use crate::report::number;

/// What a panel shows. Times in seconds, places in candidates or in seconds of the search.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x_name: &'static str,
    /// Candidates that only a model judged
    pub(crate) modelled: Vec<(f64, f64)>,
    pub(crate) measured: Vec<(f64, f64)>,
    /// Where a candidate was refused
    pub(crate) refused: Vec<f64>,
    /// The best so far, falling
    pub(crate) best: Vec<(f64, f64)>,
    pub(crate) winner: Option<(f64, f64, String)>,
    pub(crate) roofline: Option<f64>,
    pub(crate) end: f64,
}

/// More than so many times the best is drawn at the upper edge.
const WORST: f64 = 6.0;

/// The panel's picture.
pub(crate) fn progress(panel: &Panel) -> String {
    let frame = Frame { width: 340.0, height: 176.0, left: 52.0, right: 12.0, top: 10.0, bottom: 34.0 };
    let times = || panel.modelled.iter().chain(&panel.measured).map(|point| point.1);
    let best = times().fold(f64::INFINITY, f64::min);
    let low = panel.roofline.unwrap_or(best).min(best);
    let high = times().fold(0.0, f64::max).min(best * WORST).max(low * 1.3);
    let x = Axis::linear(0.0, panel.end, frame.left, frame.x1());
    let y = Axis::logarithmic(low * 0.93, high * 1.05, frame.y1(), frame.top).unit(label);
    let mut svg = Svg::new(frame, &panel.title);
    svg.axes(frame, &x, &y, panel.x_name, "");
    if let Some(roofline) = panel.roofline {
        svg.line("roof", (frame.left, y.at(roofline)), (frame.x1(), y.at(roofline)));
    }
    for &place in &panel.refused {
        svg.line("refused", (x.at(place), frame.top), (x.at(place), frame.top + 5.0));
    }
    svg.dots("dot modelled", panel.modelled.iter().map(|&(place, time)| (x.at(place), y.at(time))));
    svg.dots("dot measured", panel.measured.iter().map(|&(place, time)| (x.at(place), y.at(time))));
    let best: Vec<(f64, f64)> = panel.best.iter().map(|&(place, time)| (x.at(place), y.at(time))).collect();
    svg.path("best", &steps(&best, frame.x1()));
    if let Some((place, time, title)) = &panel.winner {
        svg.mark("winner", (x.at(*place), y.at(*time)), 4.5, title);
    }
    svg.finish()
}

/// A round time without needless digits.
fn label(seconds: f64) -> String {
    let text = number::time(seconds);
    let (value, unit) = text.split_once('\u{a0}').unwrap_or((&text, ""));
    let value = if value.contains('.') { value.trim_end_matches('0').trim_end_matches('.') } else { value };
    format!("{value}\u{a0}{unit}")
}
