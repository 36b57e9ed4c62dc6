//! The course of a run as one picture: losses, Dice and learning rate over steps.

use super::images::write_png;
use super::text::{FONT, register};
use super::{History, ReportError};
use image::{RgbImage, imageops};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::ops::Range;
use std::path::Path;

const WIDTH: u32 = 1200;
const HEIGHT: u32 = 800;
/// Everything is drawn this many times as large and then reduced, which smooths lines and letters.
const SCALE: u32 = 3;
const FAINT: RGBColor = RGBColor(178, 205, 227);
const BLUE: RGBColor = RGBColor(31, 119, 180);
const ORANGE: RGBColor = RGBColor(224, 108, 0);
const GREEN: RGBColor = RGBColor(30, 135, 60);
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(226, 226, 226);

/// Points above which a curve is thinned.
const MOST_POINTS: usize = 2400;

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Writes the curves as PNG, 1200 × 800 pixels: above the loss of each step and
/// epoch and the validation loss, below the validation Dice and the learning rate.
/// Values that are not finite are left out.
///
/// # Errors
/// The file cannot be written.
pub fn write_curves(path: &Path, history: &History) -> Result<(), ReportError> {
    register()?;
    let (width, height) = (WIDTH * SCALE, HEIGHT * SCALE);
    let mut image = RgbImage::new(width, height);
    let area = BitMapBackend::with_buffer(&mut image, (width, height)).into_drawing_area();
    area.fill(&WHITE).map_err(ReportError::draw)?;
    let (top, bottom) = area.split_vertically(height * 11 / 20);
    let (left, right) = bottom.split_horizontally(width / 2);
    let end = last_step(history);
    draw_panel(&top, &loss_panel(history), end)?;
    draw_panel(&left, &dice_panel(history), end)?;
    draw_panel(&right, &rate_panel(history), end)?;
    area.present().map_err(ReportError::draw)?;
    drop((area, top, bottom, left, right));
    write_png(path, imageops::thumbnail(&image, WIDTH, HEIGHT))
}

struct Panel {
    title: &'static str,
    y_label: &'static str,
    y_range: Range<f64>,
    y_format: fn(f64) -> String,
    legend: SeriesLabelPosition,
    lines: Vec<Line>,
}

struct Line {
    label: &'static str,
    colour: RGBColor,
    thickness: u32,
    /// Marks each point, so that a single epoch can be seen.
    marked: bool,
    points: Vec<(f64, f64)>,
}

fn loss_panel(history: &History) -> Panel {
    let epochs = |value: fn(&super::EpochRow) -> Option<f64>| epoch_points(history, value);
    let steps = history.steps.iter().map(|row| (row.step as f64, row.loss));
    let lines = vec![
        line("training, each step", FAINT, 1, false, thin(finite(steps))),
        line("training, mean of the epoch", BLUE, 2, true, epochs(|row| Some(row.train_loss))),
        line("validation", ORANGE, 2, true, epochs(|row| row.val_loss)),
    ];
    Panel {
        title: "Loss",
        y_label: "loss",
        y_range: 0.0..top_of_losses(&lines),
        y_format: plain,
        legend: SeriesLabelPosition::UpperRight,
        lines,
    }
}

fn dice_panel(history: &History) -> Panel {
    let lines = vec![
        line("all images", BLUE, 2, true, epoch_points(history, |row| row.val_dice)),
        line("images with a mask", GREEN, 2, true, epoch_points(history, |row| row.val_dice_positives_only)),
    ];
    let lowest = values(&lines).fold(1.0, f64::min);
    // A Dice of 0.95 and one of 0.97 must be told apart, so the axis need not start at 0.
    let low = ((lowest * 10.0 - 0.5).floor() / 10.0).clamp(0.0, 0.9);
    Panel {
        title: "Dice of validation images",
        y_label: "Dice (0 to 1)",
        y_range: low..1.0,
        y_format: plain,
        legend: SeriesLabelPosition::LowerRight,
        lines,
    }
}

fn rate_panel(history: &History) -> Panel {
    let steps = finite(history.steps.iter().map(|row| (row.step as f64, row.learning_rate)));
    // Runs that log no steps still have the rate of each epoch.
    let points =
        if steps.is_empty() { epoch_points(history, |row| Some(row.learning_rate)) } else { thin(steps) };
    let lines = vec![line("learning rate", BLUE, 2, points.len() == 1, points)];
    let highest = values(&lines).fold(0.0, f64::max);
    Panel {
        title: "Learning rate",
        y_label: "learning rate",
        y_range: 0.0..if highest > 0.0 { highest * 1.1 } else { 1.0 },
        y_format: scientific,
        legend: SeriesLabelPosition::UpperRight,
        lines,
    }
}

fn draw_panel(area: &Area, panel: &Panel, end: f64) -> Result<(), ReportError> {
    let text = |size: u32| (FONT, size * SCALE).into_font().color(&INK);
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, text(24))
        .margin(16 * SCALE)
        .margin_right(28 * SCALE)
        .x_label_area_size(48 * SCALE)
        .y_label_area_size(78 * SCALE)
        .build_cartesian_2d(0.0..end, panel.y_range.clone())
        .map_err(ReportError::draw)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc(panel.y_label)
        .x_label_formatter(&|step| plain(*step))
        .y_label_formatter(&|value| (panel.y_format)(*value))
        .set_all_tick_mark_size(6 * SCALE)
        .x_labels(10)
        .y_labels(8)
        .label_style(text(16))
        .axis_desc_style(text(18))
        .axis_style(INK.stroke_width(SCALE))
        .bold_line_style(GRID.stroke_width(SCALE))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(ReportError::draw)?;
    let lines: Vec<&Line> = panel.lines.iter().filter(|line| !line.points.is_empty()).collect();
    for line in &lines {
        // Outliers above the axis stay at its end instead of leaving the panel.
        let on_axis = |&(x, y): &(f64, f64)| (x, y.min(panel.y_range.end));
        let style = line.colour.stroke_width(line.thickness * SCALE);
        // One piece at a time: the joints of a whole path are drawn as spikes
        // where it turns sharply, which reach far out of the panel.
        let pieces = line.points.windows(2).map(|pair| {
            let ends: Vec<_> = pair.iter().map(on_axis).collect();
            PathElement::new(ends, style)
        });
        let series = chart.draw_series(pieces).map_err(ReportError::draw)?;
        if lines.len() > 1 {
            // Letters stand a little above the middle of their line.
            let unit = SCALE as i32;
            let swatch = line.colour.stroke_width(3 * SCALE);
            series.label(line.label).legend(move |(x, y)| {
                PathElement::new([(x, y - 2 * unit), (x + 24 * unit, y - 2 * unit)], swatch)
            });
        }
        if line.marked {
            let dots =
                line.points.iter().map(|point| Circle::new(on_axis(point), 4 * SCALE, line.colour.filled()));
            chart.draw_series(dots).map_err(ReportError::draw)?;
        }
    }
    if lines.is_empty() {
        return draw_note(area, "no values yet");
    }
    if lines.len() > 1 {
        chart
            .configure_series_labels()
            .position(panel.legend.clone())
            .margin(12 * SCALE)
            .legend_area_size(34 * SCALE)
            .background_style(WHITE.mix(0.85))
            .border_style(GRID.stroke_width(SCALE))
            .label_font(text(17))
            .draw()
            .map_err(ReportError::draw)?;
    }
    Ok(())
}

fn draw_note(area: &Area, note: &str) -> Result<(), ReportError> {
    let (width, height) = area.dim_in_pixel();
    let style = TextStyle::from((FONT, 20 * SCALE).into_font()).color(&INK);
    let (text_width, _) = area.estimate_text_size(note, &style).map_err(ReportError::draw)?;
    let place = (width.saturating_sub(text_width) as i32 / 2, height as i32 / 2);
    area.draw_text(note, &style, place).map_err(ReportError::draw)
}

fn line(
    label: &'static str,
    colour: RGBColor,
    thickness: u32,
    marked: bool,
    points: Vec<(f64, f64)>,
) -> Line {
    Line { label, colour, thickness, marked, points }
}

fn finite(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    points.filter(|(_, value)| value.is_finite()).collect()
}

/// At most [`MOST_POINTS`] points with the same outline: of each stretch the
/// lowest and the highest. More points than pixels only take time to draw.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let stretch = points.len().div_ceil(MOST_POINTS / 2);
    if stretch <= 2 {
        return points;
    }
    let extremes = |stretch: &[(f64, f64)]| {
        let lowest = stretch.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let highest = stretch.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut both: Vec<_> = lowest.into_iter().chain(highest).collect();
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        both.dedup();
        both
    };
    points.chunks(stretch).flat_map(extremes).collect()
}

fn epoch_points(history: &History, value: fn(&super::EpochRow) -> Option<f64>) -> Vec<(f64, f64)> {
    finite(history.epochs.iter().filter_map(|row| Some((row.step as f64, value(row)?))))
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|line| &line.points).map(|&(_, value)| value)
}

fn last_step(history: &History) -> f64 {
    let steps = history.steps.iter().map(|row| row.step);
    let epochs = history.epochs.iter().map(|row| row.step);
    steps.chain(epochs).max().unwrap_or(0).max(1) as f64
}

/// Top of the axis of losses: the highest, unless a few rise far above the rest.
fn top_of_losses(lines: &[Line]) -> f64 {
    let mut sorted: Vec<f64> = values(lines).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(&highest) = sorted.last() else { return 1.0 };
    let usual = sorted[(sorted.len() - 1) * 99 / 100];
    let top = if highest > 3.0 * usual { 1.5 * usual } else { highest };
    if top > 0.0 { top * 1.05 } else { 1.0 }
}

/// Up to three decimals, without zeros at the end.
fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').into()
}

/// Two digits and a power of ten, as 2.5e-4; plain from 0.01 up.
fn scientific(value: f64) -> String {
    // Ticks are sums, so what should be 0 may be off by a rounding error.
    if value.abs() < 1e-15 {
        return "0".into();
    }
    if value.abs() >= 0.01 { plain(value) } else { format!("{value:.1e}").replace(".0e", "e") }
}

#[cfg(test)]
mod tests {
    use super::super::StepRow;
    use super::super::metrics_log::tests::{epoch, step};
    use super::*;

    fn history() -> History {
        let mut history = History::default();
        for number in 1..=900usize {
            let mut row = step((number - 1) / 100 + 1, number);
            let wave = ((number * 7919) % 101) as f64 / 101.0 - 0.5;
            row.loss = 0.08 + (-(number as f64) / 120.0).exp() * 1.1 + wave * 0.08;
            row.learning_rate = 0.0005 * (1.0 + (std::f64::consts::PI * number as f64 / 900.0).cos());
            history.steps.push(row);
            if number % 100 == 0 {
                let done = number as f64 / 900.0;
                let mut row = epoch(number / 100, number);
                row.train_loss = 0.08 + (-6.5 * done).exp();
                row.val_loss = Some(0.11 + 1.05 * (-6.0 * done).exp());
                row.val_dice = Some(0.955 - 0.4 * (-6.0 * done).exp());
                row.val_dice_positives_only = Some(0.94 - 0.5 * (-6.0 * done).exp());
                history.epochs.push(row);
            }
        }
        history
    }

    fn written(history: &History) -> RgbImage {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curves.png");
        write_curves(&path, history).unwrap();
        image::open(&path).unwrap().into_rgb8()
    }

    fn pixels(image: &RgbImage, RGBColor(red, green, blue): RGBColor) -> usize {
        image.pixels().filter(|pixel| pixel.0 == [red, green, blue]).count()
    }

    #[test]
    fn every_curve_is_drawn() {
        let image = written(&history());
        assert_eq!(image.dimensions(), (WIDTH, HEIGHT));
        for colour in [FAINT, BLUE, ORANGE, GREEN] {
            assert!(pixels(&image, colour) > 200, "{colour:?}");
        }
    }

    #[test]
    fn empty_and_broken_histories_are_drawn_too() {
        written(&History::default());
        let mut broken = history();
        for row in &mut broken.steps {
            row.loss = f64::NAN;
        }
        for row in &mut broken.epochs {
            (row.train_loss, row.val_loss, row.val_dice) = (f64::INFINITY, Some(f64::NAN), None);
        }
        written(&broken);
        let mut single = History::default();
        single.epochs.push(epoch(1, 1));
        assert!(pixels(&written(&single), ORANGE) > 20);
    }

    #[test]
    fn a_spike_does_not_flatten_the_losses() {
        let mut spiked = history();
        spiked.steps[500].loss = 1e6;
        assert!(loss_panel(&spiked).y_range.end < 3.0);
        assert_eq!(loss_panel(&History::default()).y_range, 0.0..1.0);
    }

    #[test]
    fn a_jagged_curve_stays_in_its_panel() {
        let mut jagged = History::default();
        for number in 1..=2000 {
            let loss = if number % 2 == 0 { 0.0 } else { 100.0 };
            jagged.steps.push(StepRow { loss, ..step(1, number) });
        }
        let image = written(&jagged);
        let faint = |pixel: &image::Rgb<u8>| pixel.0 == [FAINT.0, FAINT.1, FAINT.2];
        assert!(image.enumerate_pixels().any(|(_, y, pixel)| y < 380 && faint(pixel)));
        assert!(!image.enumerate_pixels().any(|(_, y, pixel)| y > 390 && faint(pixel)));
    }

    #[test]
    fn long_curves_keep_their_outline() {
        let mut points: Vec<_> = (0..100_000).map(|step| (f64::from(step), 1.0)).collect();
        (points[50_000].1, points[70_000].1) = (9.0, -9.0);
        let thinned = thin(points.clone());
        assert!(thinned.len() <= MOST_POINTS);
        assert!(thinned.contains(&points[50_000]) && thinned.contains(&points[70_000]));
        assert!(thinned.is_sorted_by(|a, b| a.0 <= b.0));
        assert_eq!(thin(points[..1000].to_vec()), points[..1000]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.25, 1.0, 900.0].map(plain), ["0", "0.25", "1", "900"]);
        assert_eq!([0.0, 0.00025, 0.001, 0.1].map(scientific), ["0", "2.5e-4", "1e-3", "0.1"]);
    }
}
