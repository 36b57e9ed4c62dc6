//! An image of any size in windows of the training size, at the image's own resolution.
//!
//! Windows overlap by half or a little more and lie evenly, the first at one edge and the last at the other, as in
//! nnU-Net (Isensee et al., 2021, `compute_steps_for_sliding_window`). A window's answer counts most in its middle: by a
//! Gaussian of an eighth of the window's side, as in nnU-Net and MONAI (`sliding_window_inference`). A Gaussian is a
//! product of one along each axis, and so is the sum of those of all windows: what each counts at a pixel is known before
//! anything is predicted, and beside the image there is no more than its map and the windows of one batch.

use crate::data::decode::Image;
use crate::data::standardise::standardise;

/// Where windows begin along an axis, and what they count there.
struct Axis {
    /// Pixels of the image along the axis.
    length: usize,
    /// Pixels of a window before the image begins, where the image is smaller.
    margin: usize,
    starts: Vec<usize>,
    /// For each window the share of each of its pixels; those of all windows sum to 1 at each pixel of the image.
    shares: Vec<Vec<f32>>,
}

impl Axis {
    fn new(length: usize, size: usize) -> Axis {
        let starts = starts(length, size);
        let weight = gaussian(size);
        let mut sums = vec![0.0; length.max(size)];
        for start in &starts {
            sums[*start..].iter_mut().zip(&weight).for_each(|(sum, w)| *sum += w);
        }
        let of =
            |start: &usize| weight.iter().zip(&sums[*start..]).map(|(w, sum)| (w / sum) as f32).collect();
        let shares = starts.iter().map(of).collect();
        Axis { length, margin: size.saturating_sub(length) / 2, starts, shares }
    }

    /// The pixel of the image that is pixel `at` of window `index`; none where the window reaches beyond.
    fn pixel(&self, index: usize, at: usize) -> Option<usize> {
        (self.starts[index] + at).checked_sub(self.margin).filter(|pixel| *pixel < self.length)
    }
}

/// Where windows of `size` begin along `length` pixels: evenly, half a window or less apart.
fn starts(length: usize, size: usize) -> Vec<usize> {
    let Some(beyond) = length.checked_sub(size).filter(|beyond| *beyond > 0) else { return vec![0] };
    let steps = beyond.div_ceil((size / 2).max(1));
    (0..=steps).map(|i| (i * beyond + steps / 2) / steps).collect()
}

/// What the pixels of a window count along an axis: exp(−(x − c)² / 2σ²) with its middle c and σ of an eighth of its side.
fn gaussian(size: usize) -> Vec<f64> {
    let (middle, sigma) = ((size as f64 - 1.0) / 2.0, size as f64 / 8.0);
    (0..size).map(|x| (-((x as f64 - middle) / sigma).powi(2) / 2.0).exp()).collect()
}

/// The windows of an image.
pub struct Windows<'a> {
    image: &'a Image,
    size: usize,
    x: Axis,
    y: Axis,
}

impl Windows<'_> {
    /// Windows of `size × size` over `image`; `size` is at least 1.
    pub fn new(image: &Image, size: usize) -> Windows<'_> {
        Windows { image, size, x: Axis::new(image.width, size), y: Axis::new(image.height, size) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.x.starts.len() * self.y.starts.len()
    }

    /// The map `[height, width]` of the image, of the maps `[size, size]` that `predict` gives of windows
    /// `[size, size, channels]`, `batch` at once.
    ///
    /// Each window is standardised by its own pixels, as each image is in training. Where the image is smaller than a
    /// window it lies in the middle, and what is around it is 0, its mean.
    ///
    /// # Errors
    /// Those of `predict`.
    pub fn predict<E>(
        &self,
        batch: usize,
        mut predict: impl FnMut(&[&[f32]]) -> Result<Vec<Vec<f32>>, E>,
    ) -> Result<Vec<f32>, E> {
        let mut map = vec![0.0; self.image.width * self.image.height];
        let places: Vec<(usize, usize)> =
            (0..self.y.starts.len()).flat_map(|j| (0..self.x.starts.len()).map(move |i| (i, j))).collect();
        for places in places.chunks(batch.max(1)) {
            let windows: Vec<Vec<f32>> = places.iter().map(|place| self.window(*place)).collect();
            let windows: Vec<&[f32]> = windows.iter().map(Vec::as_slice).collect();
            for (place, answer) in places.iter().zip(predict(&windows)?) {
                self.add(&mut map, *place, &answer);
            }
        }
        // Shares of ones may round to a little more. NaN stays.
        map.iter_mut().for_each(|p| *p = p.clamp(0.0, 1.0));
        Ok(map)
    }

    /// The window in column `i` and row `j` of windows, `[size, size, channels]`.
    fn window(&self, (i, j): (usize, usize)) -> Vec<f32> {
        let (channels, width) = (self.image.channels, self.image.width);
        let places = || (0..self.size).flat_map(|y| (0..self.size).map(move |x| (x, y)));
        let pixel = |(x, y)| Some((self.x.pixel(i, x)?, self.y.pixel(j, y)?));
        let seen = places().filter_map(pixel).flat_map(|(x, y)| {
            let first = (y * width + x) * channels;
            &self.image.pixels[first..first + channels]
        });
        let mut seen: Vec<f32> = seen.copied().collect();
        standardise(&mut seen);
        if seen.len() == self.size * self.size * channels {
            return seen;
        }
        let mut seen = seen.chunks_exact(channels);
        let mut window = vec![0.0; self.size * self.size * channels];
        for (to, place) in window.chunks_exact_mut(channels).zip(places()) {
            if pixel(place).is_some()
                && let Some(from) = seen.next()
            {
                to.copy_from_slice(from);
            }
        }
        window
    }

    /// Adds what the `answer` of a window counts.
    fn add(&self, map: &mut [f32], (i, j): (usize, usize), answer: &[f32]) {
        for (row, (y, share_y)) in answer.chunks_exact(self.size).zip(self.y.shares[j].iter().enumerate()) {
            let Some(to_y) = self.y.pixel(j, y) else { continue };
            for (p, (x, share_x)) in row.iter().zip(self.x.shares[i].iter().enumerate()) {
                if let Some(to_x) = self.x.pixel(i, x) {
                    map[to_y * self.image.width + to_x] += p * share_x * share_y;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::data::prepare;

    fn image(width: usize, height: usize, channels: usize) -> Image {
        let pixels = (0..width * height * channels).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
        Image { width, height, channels, pixels }
    }

    /// The map of an image where `answer` is the answer for a window's pixels.
    fn map(image: &Image, size: usize, batch: usize, answer: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
        let predict = |windows: &[&[f32]]| -> Result<Vec<Vec<f32>>, Infallible> {
            assert!(windows.len() <= batch);
            Ok(windows.iter().map(|window| answer(window)).collect())
        };
        Windows::new(image, size).predict(batch, predict).unwrap()
    }

    #[test]
    fn windows_cover_an_axis_evenly_and_overlap_by_half() {
        assert_eq!(starts(16, 16), [0]);
        assert_eq!(starts(3, 16), [0]);
        assert_eq!(starts(17, 16), [0, 1]);
        assert_eq!(starts(24, 16), [0, 8]);
        assert_eq!(starts(25, 16), [0, 5, 9]);
        for (length, size) in [(565, 128), (584, 128), (1024, 128), (101, 2), (7, 1), (1000, 33)] {
            let starts = starts(length, size);
            assert_eq!((starts[0], starts[starts.len() - 1]), (0, length - size));
            let most = (size / 2).max(1);
            assert!(starts.windows(2).all(|pair| (1..=most).contains(&(pair[1] - pair[0]))), "{starts:?}");
        }
    }

    #[test]
    fn a_constant_answer_is_a_constant_map() {
        for (width, height, size) in
            [(37, 29, 16), (16, 16, 16), (5, 40, 16), (1, 1, 16), (33, 3, 2), (9, 9, 1)]
        {
            for p in [0.3, 1.0] {
                let map = map(&image(width, height, 1), size, 3, |window| vec![p; window.len()]);
                assert_eq!(map.len(), width * height);
                assert!(
                    map.iter().all(|found| (found - p).abs() < 1e-6 && *found <= 1.0),
                    "{width}×{height}"
                );
            }
        }
    }

    #[test]
    fn an_image_of_the_windows_size_is_predicted_as_without_windows() {
        for channels in [1, 3] {
            let image = image(8, 8, channels);
            let squash = |window: &[f32]| -> Vec<f32> {
                window.chunks_exact(channels).map(|p| 1.0 / (1.0 + p[0].exp())).collect()
            };
            assert_eq!(map(&image, 8, 1, squash), squash(&prepare(&image, 8)));
        }
    }

    #[test]
    fn each_answer_lands_where_its_pixel_lies() {
        // Marks the brightest pixel of each window, wherever that lies in the image.
        let (width, height) = (21, 11);
        for (x, y) in [(0, 0), (20, 10), (13, 4), (7, 7)] {
            let mut image = image(width, height, 1);
            image.pixels.fill(0.2);
            image.pixels[y * width + x] = 1.0;
            let map =
                map(&image, 8, 2, |window| window.iter().map(|p| f32::from(u8::from(*p > 1.0))).collect());
            for (i, p) in map.iter().enumerate() {
                let expected = f32::from(u8::from(i == y * width + x));
                assert!((p - expected).abs() < 1e-6, "{i}: {p}");
            }
        }
    }

    #[test]
    fn a_smaller_image_lies_in_the_middle_of_its_mean() {
        let image = image(2, 3, 3);
        let windows = Windows::new(&image, 5);
        assert_eq!(windows.count(), 1);
        let window = windows.window((0, 0));
        let mut expected = image.pixels.clone();
        standardise(&mut expected);
        // One column and one row before it.
        for y in 0..5 {
            for x in 0..5 {
                let found = &window[(y * 5 + x) * 3..][..3];
                match (1..3).contains(&x) && (1..4).contains(&y) {
                    true => assert_eq!(found, &expected[((y - 1) * 2 + x - 1) * 3..][..3]),
                    false => assert_eq!(found, [0.0; 3]),
                }
            }
        }
    }

    #[test]
    fn a_middle_counts_more_than_an_edge() {
        let axis = Axis::new(24, 16);
        // Pixel 8 is the first of the second window and the middle of the first.
        assert!(axis.shares[0][8] > 0.99 && axis.shares[1][0] < 0.01);
        for pixel in 0..24usize {
            let of = |i: usize| pixel.checked_sub(axis.starts[i]).and_then(|at| axis.shares[i].get(at));
            let sum: f32 = (0..2).filter_map(of).sum();
            assert!((sum - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn what_is_no_number_stays_so() {
        let map = map(&image(9, 9, 1), 4, 1, |window| vec![f32::NAN; window.len()]);
        assert!(map.iter().all(|p| p.is_nan()));
    }
}
