//! The learning curve as a picture.

use crate::replay::{Found, Group, Way};
use crate::report::mean;
use plotters::prelude::*;

/// Draws the mean curves of all ways to search.
pub(crate) fn draw(found: &Found, path: &str) -> Result<(), String> {
    chart(found, path).map_err(|error| format!("`{path}`: {error}"))
}

type Line = (&'static str, fn(&Group) -> &Way, RGBColor);

fn chart(found: &Found, path: &str) -> Result<(), Box<dyn std::error::Error>> {
    const LINES: [Line; 4] = [
        ("by chance", |group| &group.chance, RGBColor(160, 160, 160)),
        ("cost model alone", |group| &group.model, RGBColor(200, 140, 30)),
        ("empty memory", |group| &group.empty, RGBColor(40, 100, 190)),
        ("with memory", |group| &group.memory, RGBColor(20, 140, 70)),
    ];
    let longest = found.groups.iter().map(|group| group.candidates).max().unwrap_or(1).max(2);
    let points = |way: fn(&Group) -> &Way| -> Vec<(f64, f64)> {
        (1..=longest).map(|place| (place as f64, mean(found, way, place))).collect()
    };
    // What the first candidate reaches by chance is off the picture: it would press the rest flat.
    let top = points(LINES[2].1).first().map_or(1.1, |point| point.1).max(1.02);
    let root = SVGBackend::new(path, (720, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((1f64..longest as f64).log_scale(), 1f64..1.0 + (top - 1.0) * 1.2)?;
    chart
        .configure_mesh()
        .x_desc("candidates measured")
        .y_desc("best time / best known")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.2}"))
        .draw()?;
    for (name, way, colour) in LINES {
        chart
            .draw_series(LineSeries::new(points(way), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(RGBColor(200, 200, 200)).draw()?;
    root.present()?;
    Ok(())
}
