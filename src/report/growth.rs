//! The plot of how time and memory of a training step grow.

use std::path::Path;

use image::{RgbImage, imageops};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::ReportError;
use super::images::write_png;
use super::text::{FONT, register};
use crate::bench::growth::{GrowthPoint, GrowthReport};

const WIDTH: u32 = 1100;
const HEIGHT: u32 = 760;
/// Drawn at twice the size and made smaller, for smooth lines.
const SCALE: u32 = 2;
const INK: RGBColor = RGBColor(40, 40, 40);
const MEASURED: RGBColor = RGBColor(0, 90, 181);

/// A curve and how its axes are called.
struct Panel {
    caption: String,
    x: &'static str,
    y: &'static str,
    points: Vec<(f64, f64)>,
}

/// Draws time an image and memory over batch and over size as a PNG.
///
/// # Errors
/// The file cannot be written.
pub fn write_plot(path: &Path, report: &GrowthReport) -> Result<(), ReportError> {
    register()?;
    let (width, height) = (WIDTH * SCALE, HEIGHT * SCALE);
    let mut image = RgbImage::new(width, height);
    {
        let area = BitMapBackend::with_buffer(&mut image, (width, height)).into_drawing_area();
        area.fill(&WHITE).map_err(ReportError::draw)?;
        for (area, panel) in area.split_evenly((2, 2)).iter().zip(panels(report)) {
            draw(area, &panel)?;
        }
        area.present().map_err(ReportError::draw)?;
    }
    write_png(path, imageops::thumbnail(&image, WIDTH, HEIGHT))
}

fn panels(report: &GrowthReport) -> [Panel; 4] {
    let (batches, sizes) = (&report.by_batch.points, &report.by_size.points);
    let size = batches.first().map_or(0, |p| p.size);
    let batch = sizes.first().map_or(0, |p| p.batch);
    let of = |points: &[GrowthPoint],
              x: &dyn Fn(&GrowthPoint) -> usize,
              y: &dyn Fn(&GrowthPoint) -> Option<f64>| {
        points.iter().filter_map(|p| Some((x(p) as f64, y(p)?))).collect::<Vec<_>>()
    };
    let time = |p: &GrowthPoint| p.ms_per_image;
    let memory = |p: &GrowthPoint| Some(p.peak_bytes? as f64 / f64::from(1 << 20));
    let by_batch = format!("{size}² pixels, growing batch");
    let by_size = format!("batch {batch}, growing image");
    let pixels = |p: &GrowthPoint| p.size * p.size;
    let panel = |caption: &str, x, y, points| Panel { caption: caption.to_owned(), x, y, points };
    [
        panel(&by_batch, "images in a batch", "ms an image", of(batches, &|p| p.batch, &time)),
        panel(&by_size, "pixels of an image", "ms an image", of(sizes, &pixels, &time)),
        panel(&by_batch, "images in a batch", "MiB", of(batches, &|p| p.batch, &memory)),
        panel(&by_size, "pixels of an image", "MiB", of(sizes, &pixels, &memory)),
    ]
}

fn draw(area: &DrawingArea<BitMapBackend<'_>, Shift>, panel: &Panel) -> Result<(), ReportError> {
    // Something to draw axes for where nothing was measured.
    let high = |of: fn(&(f64, f64)) -> f64| panel.points.iter().map(of).fold(0.0, f64::max).max(1e-3) * 1.1;
    let text = |size: u32| (FONT, size * SCALE).into_font().color(&INK);
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.caption, text(18))
        .margin(12 * SCALE)
        .x_label_area_size(44 * SCALE)
        .y_label_area_size(66 * SCALE)
        .build_cartesian_2d(0.0..high(|p| p.0), 0.0..high(|p| p.1))
        .map_err(ReportError::draw)?;
    chart
        .configure_mesh()
        .x_desc(panel.x)
        .y_desc(panel.y)
        .x_labels(6)
        .label_style(text(13))
        .axis_desc_style(text(15))
        .light_line_style(WHITE)
        .draw()
        .map_err(ReportError::draw)?;
    chart
        .draw_series(LineSeries::new(panel.points.iter().copied(), MEASURED.stroke_width(2 * SCALE)))
        .map_err(ReportError::draw)?;
    chart
        .draw_series(panel.points.iter().map(|p| Circle::new(*p, 4 * SCALE, MEASURED.filled())))
        .map_err(ReportError::draw)?;
    Ok(())
}
