//! Random changes to an image and what belongs to its pixels, drawn anew for each step.
//!
//! They work on standardised images at training size, in this order: flip,
//! rotation and zoom, shift, contrast, brightness, gamma, noise. What comes in
//! from outside the image is 0, its mean. Each image has its own random
//! numbers, keyed by seed, step and place in the batch, and all are always
//! drawn, so turning one change off leaves the others as they were.

use rand::{Rng, RngExt};

use crate::config::schema::AugmentConfig;
use crate::rng::{Purpose, rng};

/// The changes to one image.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Change {
    flip: bool,
    /// Whole pixels, to the right and down.
    shift: (i32, i32),
    zoom: f32,
    /// Radians.
    angle: f32,
    contrast: f32,
    brightness: f32,
    gamma: f32,
    noise: f32,
}

/// Changes one image and its planes in place.
///
/// `image` is `[size, size, channels]`, standardised; each of `planes` is `[size, size]`, a mask or a
/// probability, and what comes in from outside is 0. Rotation and zoom resample the image bilinearly
/// and the planes by the nearest pixel; flip and shift alone move pixels without changing them.
pub fn augment(
    image: &mut [f32],
    planes: &mut [&mut [f32]],
    size: usize,
    channels: usize,
    config: &AugmentConfig,
    key: Key,
) {
    // Steps and places share the counter; a batch has far fewer than 2²⁰ images.
    let counter = key.step.wrapping_mul(1 << 20).wrapping_add(key.place as u64);
    let mut rng = rng(key.seed, Purpose::Augment, counter);
    let change = Change::draw(config, size, &mut rng);
    let resample = config.scale > 0.0 || config.rotate > 0.0;
    let source = change.source(size);
    let moves = resample || change.flip || change.shift != (0, 0);
    if moves {
        let moved = match resample {
            true => {
                move_pixels(image, size, channels, |x, y, c| bilinear(image, size, channels, source(x, y), c))
            }
            false => {
                move_pixels(image, size, channels, |x, y, c| nearest(image, size, channels, source(x, y), c))
            }
        };
        image.copy_from_slice(&moved);
        for plane in planes {
            let moved = move_pixels(plane, size, 1, |x, y, _| nearest(plane, size, 1, source(x, y), 0));
            plane.copy_from_slice(&moved);
        }
    }
    change.colour(image);
    if config.noise > 0.0 {
        for value in image {
            *value += change.noise * normal(&mut rng);
        }
    }
}

impl AugmentConfig {
    /// Whether images are only flipped and shifted by whole pixels, so that what is known of an image's
    /// pixels can be moved along with them without loss. Brightness and the like move nothing.
    pub fn moves_whole_pixels(&self) -> bool {
        self.scale == 0.0 && self.rotate == 0.0
    }

    /// The same without what changes brightness or adds noise.
    pub fn geometric(&self) -> AugmentConfig {
        AugmentConfig { brightness: 0.0, contrast: 0.0, gamma: 0.0, noise: 0.0, ..self.clone() }
    }
}

/// What the random numbers of one image depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub seed: u64,
    pub step: u64,
    /// Place in the batch.
    pub place: usize,
}

impl Change {
    fn draw(config: &AugmentConfig, size: usize, rng: &mut impl Rng) -> Change {
        let flip = rng.random::<f64>() < config.flip;
        // A number in -1..1, times the largest change.
        let mut spread = |most: f64| (rng.random::<f64>() * 2.0 - 1.0) * most;
        let reach = (config.shift * size as f64).round();
        // Uniform over the whole numbers -reach..=reach.
        let mut pixels = || (spread(reach + 0.5).round() as i32).clamp(-(reach as i32), reach as i32);
        let shift = (pixels(), pixels());
        Change {
            flip,
            shift,
            zoom: (1.0 + spread(config.scale)) as f32,
            angle: spread(config.rotate).to_radians() as f32,
            contrast: (1.0 + spread(config.contrast)) as f32,
            brightness: spread(config.brightness) as f32,
            gamma: spread(config.gamma).exp() as f32,
            noise: (rng.random::<f64>() * config.noise) as f32,
        }
    }

    /// Where the pixel that ends up at (x, y) comes from.
    fn source(self, size: usize) -> impl Fn(usize, usize) -> (f32, f32) {
        let centre = (size as f32 - 1.0) / 2.0;
        let (sin, cos) = self.angle.sin_cos();
        move |x, y| {
            let (dx, dy) = (x as f32 - self.shift.0 as f32 - centre, y as f32 - self.shift.1 as f32 - centre);
            let sx = (cos * dx + sin * dy) / self.zoom;
            let sy = (cos * dy - sin * dx) / self.zoom;
            (centre + if self.flip { -sx } else { sx }, centre + sy)
        }
    }

    fn colour(self, image: &mut [f32]) {
        for value in image.iter_mut() {
            *value = *value * self.contrast + self.brightness;
        }
        let low = image.iter().copied().fold(f32::INFINITY, f32::min);
        let high = image.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if self.gamma != 1.0 && high > low {
            for value in image {
                let unit = (*value - low) / (high - low);
                *value = unit.powf(self.gamma) * (high - low) + low;
            }
        }
    }
}

fn move_pixels(
    pixels: &[f32],
    size: usize,
    channels: usize,
    value: impl Fn(usize, usize, usize) -> f32,
) -> Vec<f32> {
    let mut moved = Vec::with_capacity(pixels.len());
    for y in 0..size {
        for x in 0..size {
            moved.extend((0..channels).map(|c| value(x, y, c)));
        }
    }
    moved
}

/// The sample at whole pixels, 0 outside.
fn sample(pixels: &[f32], size: usize, channels: usize, x: i64, y: i64, c: usize) -> f32 {
    let inside = |v: i64| v >= 0 && v < size as i64;
    if inside(x) && inside(y) { pixels[(y as usize * size + x as usize) * channels + c] } else { 0.0 }
}

fn nearest(pixels: &[f32], size: usize, channels: usize, (x, y): (f32, f32), c: usize) -> f32 {
    sample(pixels, size, channels, x.round() as i64, y.round() as i64, c)
}

fn bilinear(pixels: &[f32], size: usize, channels: usize, (x, y): (f32, f32), c: usize) -> f32 {
    let (x0, y0) = (x.floor(), y.floor());
    let (fx, fy) = (x - x0, y - y0);
    let at = |dx: i64, dy: i64| sample(pixels, size, channels, x0 as i64 + dx, y0 as i64 + dy, c);
    let top = at(0, 0) * (1.0 - fx) + at(1, 0) * fx;
    let bottom = at(0, 1) * (1.0 - fx) + at(1, 1) * fx;
    top * (1.0 - fy) + bottom * fy
}

/// A standard normal number (Box-Muller).
pub(super) fn normal(rng: &mut impl Rng) -> f32 {
    // 1 − u is never 0, so its logarithm is finite.
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: AugmentConfig = AugmentConfig {
        flip: 0.0,
        shift: 0.0,
        scale: 0.0,
        rotate: 0.0,
        brightness: 0.0,
        contrast: 0.0,
        gamma: 0.0,
        noise: 0.0,
    };

    fn run(config: &AugmentConfig, step: u64) -> (Vec<f32>, Vec<f32>) {
        let mut image: Vec<f32> = (0..64).map(|i| (i as f32 - 31.5) / 18.0).collect();
        let mut mask: Vec<f32> = (0..64).map(|i| f32::from(u8::from(i % 8 < 3))).collect();
        augment(&mut image, &mut [&mut mask], 8, 1, config, Key { seed: 1, step, place: 0 });
        (image, mask)
    }

    #[test]
    fn all_off_changes_nothing() {
        let plain: Vec<f32> = (0..64).map(|i| (i as f32 - 31.5) / 18.0).collect();
        assert_eq!(run(&OFF, 3).0, plain);
    }

    #[test]
    fn a_flip_is_exact() {
        let (plain, plain_mask) = run(&OFF, 0);
        let (flipped, mask) = run(&AugmentConfig { flip: 1.0, ..OFF }, 0);
        for i in 0..64 {
            let mirror = i / 8 * 8 + 7 - i % 8;
            assert_eq!(flipped[i], plain[mirror]);
            assert_eq!(mask[i], plain_mask[mirror]);
        }
    }

    #[test]
    fn a_shift_is_exact_and_fills_with_0() {
        let (plain, plain_mask) = run(&OFF, 0);
        let mut shifts = std::collections::BTreeSet::new();
        for step in 0..60 {
            let config = AugmentConfig { shift: 0.25, ..OFF };
            let (moved, mask) = run(&config, step);
            let mut rng = rng(1, Purpose::Augment, step << 20);
            let (dx, dy) = Change::draw(&config, 8, &mut rng).shift;
            shifts.insert(dx);
            for y in 0..8 {
                for x in 0..8 {
                    let (fx, fy) = (x - i64::from(dx), y - i64::from(dy));
                    let at = (y * 8 + x) as usize;
                    assert_eq!(moved[at], sample(&plain, 8, 1, fx, fy, 0));
                    assert_eq!(mask[at], sample(&plain_mask, 8, 1, fx, fy, 0));
                }
            }
        }
        assert_eq!(shifts.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
    }

    #[test]
    fn rotation_keeps_image_and_mask_together() {
        // The image is the mask, so after any move they must agree up to interpolation.
        let size = 32;
        let disc = |i: usize| {
            let (x, y) = ((i % size) as f32 - 12.0, (i / size) as f32 - 18.0);
            f32::from(u8::from(x * x + y * y < 60.0))
        };
        for step in 0..20 {
            let mut image: Vec<f32> = (0..size * size).map(disc).collect();
            let mut mask = image.clone();
            let config = AugmentConfig { rotate: 30.0, scale: 0.3, shift: 0.1, flip: 0.5, ..OFF };
            augment(&mut image, &mut [&mut mask], size, 1, &config, Key { seed: 2, step, place: 1 });
            assert!(mask.iter().all(|&v| v == 0.0 || v == 1.0));
            let differ = image.iter().zip(&mask).filter(|(a, b)| (**a > 0.5) != (**b > 0.5)).count();
            assert!(differ <= 12, "{differ} pixels differ in step {step}");
        }
    }

    #[test]
    fn colour_changes_leave_the_mask() {
        let (plain, plain_mask) = run(&OFF, 0);
        let config = AugmentConfig { brightness: 0.2, contrast: 0.2, gamma: 0.3, noise: 0.1, ..OFF };
        let (image, mask) = run(&config, 0);
        assert_eq!(mask, plain_mask);
        assert_ne!(image, plain);
        assert!(image.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn gamma_keeps_the_range() {
        let (plain, _) = run(&OFF, 0);
        let (bent, _) = run(&AugmentConfig { gamma: 0.5, ..OFF }, 4);
        assert!((bent[0] - plain[0]).abs() < 1e-5 && (bent[63] - plain[63]).abs() < 1e-5);
        assert!((bent[32] - plain[32]).abs() > 1e-3);
    }

    #[test]
    fn turning_one_change_off_leaves_the_draws_of_the_others() {
        let draw = |config: &AugmentConfig| Change::draw(config, 64, &mut rng(1, Purpose::Augment, 9));
        let all = draw(&AugmentConfig::default());
        let less = draw(&AugmentConfig { rotate: 0.0, shift: 0.0, ..Default::default() });
        assert_eq!(Change { angle: less.angle, shift: less.shift, ..all }, less);
    }
}
