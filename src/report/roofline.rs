//! The roofline plot: what each op reaches under what the adapter allows.
//!
//! Source: S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance
//! model for multicore architectures", CACM 52(4), 2009.

use std::path::Path;

use image::{RgbImage, imageops};
use plotters::prelude::*;

use super::ReportError;
use super::images::write_png;
use super::text::{FONT, register};
use crate::bench::Report;

const WIDTH: u32 = 1100;
const HEIGHT: u32 = 760;
/// Drawn at twice the size and made smaller, for smooth lines.
const SCALE: u32 = 2;
const INK: RGBColor = RGBColor(40, 40, 40);
const CONVOLUTION: RGBColor = RGBColor(0, 90, 181);
const OTHER: RGBColor = RGBColor(220, 120, 20);

/// Ops of fewer operations a byte compute next to nothing and are not drawn: they would press the others
/// into a corner.
const LEAST_INTENSITY: f64 = 0.01;

/// Operations a byte and 10⁹ operations a second of each op that was timed and computes something, and
/// whether it is a convolution.
pub fn points(report: &Report) -> Vec<(f64, f64, bool)> {
    report
        .ops
        .iter()
        .filter_map(|row| {
            let timing = row.timing.as_ref()?;
            let intensity = row.flops as f64 / row.bytes.max(1) as f64;
            let rate = row.flops as f64 / timing.median_ms / 1e6;
            (intensity >= LEAST_INTENSITY).then(|| (intensity, rate, row.op.starts_with("conv")))
        })
        .collect()
}

/// Draws the roofline of a report as a PNG.
///
/// # Errors
/// The file cannot be written.
pub fn write_plot(path: &Path, report: &Report) -> Result<(), ReportError> {
    register()?;
    let (width, height) = (WIDTH * SCALE, HEIGHT * SCALE);
    let mut image = RgbImage::new(width, height);
    {
        let area = BitMapBackend::with_buffer(&mut image, (width, height)).into_drawing_area();
        area.fill(&WHITE).map_err(ReportError::draw)?;
        draw(&area, report)?;
        area.present().map_err(ReportError::draw)?;
    }
    write_png(path, imageops::thumbnail(&image, WIDTH, HEIGHT))
}

fn draw(
    area: &DrawingArea<BitMapBackend<'_>, plotters::coord::Shift>,
    report: &Report,
) -> Result<(), ReportError> {
    let points = points(report);
    let (peak, bandwidth) = (report.ceilings.multiply_add_gflop_per_s, report.ceilings.copy_gb_per_s);
    let ridge = peak / bandwidth;
    let intensities = || points.iter().map(|p| p.0).chain([ridge]);
    let rates = || points.iter().map(|p| p.1).chain([peak]);
    let low_x = intensities().fold(f64::INFINITY, f64::min) / 2.0;
    let high_x = intensities().fold(0.0, f64::max) * 4.0;
    let low_y = rates().fold(f64::INFINITY, f64::min) / 2.0;
    let high_y = rates().fold(0.0, f64::max) * 3.0;
    let text = |size: u32| (FONT, size * SCALE).into_font().color(&INK);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("Roofline: {}", report.adapter.name), text(22))
        .margin(16 * SCALE)
        .x_label_area_size(52 * SCALE)
        .y_label_area_size(78 * SCALE)
        .build_cartesian_2d((low_x..high_x).log_scale(), (low_y..high_y).log_scale())
        .map_err(ReportError::draw)?;
    chart
        .configure_mesh()
        .x_desc("operations a byte of inputs and results (fewer than 0.01 not drawn)")
        .y_desc("GFLOP/s")
        .label_style(text(15))
        .axis_desc_style(text(17))
        .x_label_formatter(&|x| plain(*x))
        .y_label_formatter(&|y| plain(*y))
        .light_line_style(WHITE)
        .draw()
        .map_err(ReportError::draw)?;
    let roof = [(low_x, low_x * bandwidth), (ridge, peak), (high_x, peak)];
    chart
        .draw_series(LineSeries::new(roof, INK.stroke_width(2 * SCALE)))
        .map_err(ReportError::draw)?
        .label(format!("ceiling: {peak:.1} GFLOP/s, {bandwidth:.1} GB/s"))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 30, y)], INK.stroke_width(2 * SCALE)));
    for (label, colour, convolution) in [("convolutions", CONVOLUTION, true), ("other ops", OTHER, false)] {
        let shown = points.iter().filter(|p| p.2 == convolution);
        chart
            .draw_series(shown.map(|p| Circle::new((p.0, p.1), 5 * SCALE, colour.filled())))
            .map_err(ReportError::draw)?
            .label(label)
            .legend(move |(x, y)| Circle::new((x + 15, y), 5 * SCALE, colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .label_font(text(16))
        .background_style(WHITE.filled())
        .border_style(INK)
        .draw()
        .map_err(ReportError::draw)?;
    Ok(())
}

/// A mark of a logarithmic axis, which is a power of ten but for its rounding.
fn plain(value: f64) -> String {
    let decimals = (-value.log10()).round().max(0.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_an_axis_are_short() {
        let marks = [1000.0, 1.0, 0.09999999999999999, 0.00009999999999999999].map(plain);
        assert_eq!(marks, ["1000", "1", "0.1", "0.0001"]);
    }
}
