//! Pictures as SVG inside the page. Colours, fonts and strokes are classes of the page's style sheet, so that a picture is
//! right in light, in dark and in print.

mod axis;
mod learning;
mod progress;
mod roofline;

pub(crate) use axis::Axis;
pub(crate) use learning::{Curve, learning};
pub(crate) use progress::{Panel, progress};
pub(crate) use roofline::{RatePoint, intensity, rate};

use std::fmt::Write as _;

/// A picture that is being drawn.
pub(crate) struct Svg {
    text: String,
}

/// Where things are in a picture: the plot's edges.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

impl Frame {
    pub(crate) fn x1(&self) -> f64 {
        self.width - self.right
    }

    pub(crate) fn y1(&self) -> f64 {
        self.height - self.bottom
    }
}

impl Svg {
    /// `label` is what a screen reader says.
    pub(crate) fn new(frame: Frame, label: &str) -> Svg {
        let mut svg = Svg { text: String::new() };
        let (width, height) = (frame.width, frame.height);
        svg.raw(format_args!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
            escape(label)
        ));
        svg
    }

    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>");
        self.text
    }

    pub(crate) fn raw(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(arguments);
    }

    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.raw(format_args!(
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    pub(crate) fn text(&mut self, class: &str, at: (f64, f64), text: &str) {
        self.raw(format_args!(
            "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            at.0,
            at.1,
            escape(text)
        ));
    }

    /// A mark with words that appear when it is pointed at.
    pub(crate) fn mark(&mut self, class: &str, at: (f64, f64), radius: f64, title: &str) {
        self.raw(format_args!(
            "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"><title>{}</title></circle>",
            at.0,
            at.1,
            escape(title)
        ));
    }

    /// Many small dots as one element: a round cap of a stroke of no length.
    pub(crate) fn dots(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "M{x:.1} {y:.1}h0");
        }
        if !path.is_empty() {
            self.raw(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
        }
    }

    pub(crate) fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        if points.is_empty() {
            return;
        }
        let mut path = String::new();
        for (position, (x, y)) in points.iter().enumerate() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if position == 0 { 'M' } else { 'L' });
        }
        self.raw(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
    }

    /// The axes of a plot with their grid; `y_name` stands above the vertical one, `x_name` below the other.
    pub(crate) fn axes(&mut self, frame: Frame, x: &Axis, y: &Axis, x_name: &str, y_name: &str) {
        for (value, label) in y.ticks(4) {
            let at = y.at(value);
            self.line("grid", (frame.left, at), (frame.x1(), at));
            self.text("tick end", (frame.left - 6.0, at + 4.0), &label);
        }
        for (value, label) in x.ticks(5) {
            let at = x.at(value);
            self.line("grid", (at, frame.top), (at, frame.y1()));
            self.text("tick mid", (at, frame.y1() + 16.0), &label);
        }
        self.line("axis", (frame.left, frame.y1()), (frame.x1(), frame.y1()));
        self.text("name", (2.0, frame.top - 8.0), y_name);
        self.text("name end", (frame.x1(), frame.height - 4.0), x_name);
    }
}

/// Text for an element or an attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A line that falls in steps: the best so far.
pub(crate) fn steps(points: &[(f64, f64)], end: f64) -> Vec<(f64, f64)> {
    let mut line: Vec<(f64, f64)> = Vec::new();
    for &(x, y) in points {
        if let Some(&(_, before)) = line.last() {
            line.push((x, before));
        }
        line.push((x, y));
    }
    if let Some(&(_, last)) = line.last() {
        line.push((end, last));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_escaped() {
        let frame = Frame { width: 10.0, height: 10.0, left: 1.0, right: 1.0, top: 1.0, bottom: 1.0 };
        let mut svg = Svg::new(frame, "\"><script>");
        svg.text("tick", (1.0, 1.0), "<script>&");
        svg.mark("dot", (1.0, 1.0), 2.0, "</title><script>");
        let text = svg.finish();
        assert!(!text.contains("<script>"), "{text}");
        assert!(text.contains("&lt;script&gt;&amp;") && text.contains("&quot;&gt;&lt;script"), "{text}");
    }

    #[test]
    fn steps_go_sideways_first() {
        assert_eq!(steps(&[(1.0, 9.0), (3.0, 5.0)], 4.0), [(1.0, 9.0), (3.0, 9.0), (3.0, 5.0), (4.0, 5.0)]);
        assert!(steps(&[], 1.0).is_empty());
    }
}
