//! Text on images, in a font that comes with the program.

use super::ReportError;
use image::{Rgb, RgbImage, imageops};
use plotters::prelude::*;
use plotters::style::register_font;
use std::sync::OnceLock;

/// Name under which the font is registered.
pub const FONT: &str = "wgseg";

/// Makes [`FONT`] known to the plotting library; once is enough, more do no harm.
pub fn register() -> Result<(), ReportError> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let done = DONE
        .get_or_init(|| register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok());
    if *done { Ok(()) } else { Err(ReportError::draw("the built-in font is damaged")) }
}

/// Width of `text` in pixels at a font size in pixels.
pub fn width(text: &str, size: u32) -> Result<u32, ReportError> {
    register()?;
    let (width, _) = (FONT, size).into_font().box_size(text).map_err(ReportError::draw)?;
    Ok(width)
}

/// `text`, cut and with an ellipsis if it is wider than `room` pixels.
pub fn fit(text: &str, size: u32, room: u32) -> Result<String, ReportError> {
    if width(text, size)? <= room {
        return Ok(text.into());
    }
    let mut kept: Vec<char> = text.chars().collect();
    while kept.pop().is_some() {
        let cut: String = kept.iter().chain(&['…']).collect();
        if width(&cut, size)? <= room {
            return Ok(cut);
        }
    }
    Ok(String::new())
}

/// Text is drawn this many times as large and then reduced, because the plotting
/// library puts each letter on a whole pixel, which spaces small letters unevenly.
const OVERSAMPLING: u32 = 4;

/// Draws one line whose tallest letters have their top left corner at `(x, y)`;
/// what lies outside the image is left out.
pub fn draw(
    image: &mut RgbImage,
    (x, y): (u32, u32),
    text: &str,
    size: u32,
    colour: Rgb<u8>,
) -> Result<(), ReportError> {
    let coverage = coverage(text, size)?;
    for (column, row, covered) in coverage.enumerate_pixels() {
        let Some(pixel) = image.get_pixel_mut_checked(x + column, y + row) else { continue };
        let share = f32::from(covered.0[0]) / 255.0;
        for (value, colour) in pixel.0.iter_mut().zip(colour.0) {
            *value = (f32::from(*value) * (1.0 - share) + f32::from(colour) * share).round() as u8;
        }
    }
    Ok(())
}

/// The text in white on black.
fn coverage(text: &str, size: u32) -> Result<RgbImage, ReportError> {
    let (columns, rows) = (width(text, size)? + 2, size + size / 2);
    let large = size * OVERSAMPLING;
    let dimensions = (columns * OVERSAMPLING, rows * OVERSAMPLING);
    let mut canvas = RgbImage::new(dimensions.0, dimensions.1);
    let area = BitMapBackend::with_buffer(&mut canvas, dimensions).into_drawing_area();
    let style = TextStyle::from((FONT, large).into_font()).color(&WHITE);
    // The library puts the baseline half a size below the place it is given, and
    // the tallest letters of this font rise 0.7 of a size above it.
    area.draw_text(text, &style, (0, (large / 5) as i32)).map_err(ReportError::draw)?;
    area.present().map_err(ReportError::draw)?;
    drop(area);
    Ok(imageops::thumbnail(&canvas, columns, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_drawn_where_it_is_asked_for() {
        let mut image = RgbImage::new(200, 100);
        draw(&mut image, (20, 30), "Dice 0.93", 20, Rgb([255, 255, 255])).unwrap();
        let lit: Vec<_> = image.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] > 128).collect();
        assert!(lit.len() > 50);
        assert!(lit.iter().all(|(x, y, _)| (19..140).contains(x) && (29..50).contains(y)));
    }

    #[test]
    fn long_text_is_cut_to_fit() {
        assert_eq!(fit("short", 14, 100).unwrap(), "short");
        let cut = fit(&"long ".repeat(20), 14, 100).unwrap();
        assert!(cut.ends_with('…') && width(&cut, 14).unwrap() <= 100);
        assert_eq!(fit("word", 14, 1).unwrap(), "");
    }
}
