//! Images and masks in memory, at training size.

use super::dataset::Item;
use super::decode::{decode_image, decode_mask};
use super::error::{DataError, Problem};
use super::images::prepare;
use super::parallel;
use super::resize::resize_mask;
use super::split::Part;
use crate::config::schema::DataConfig;
use crate::config::validate::in_channels;

/// Images and masks for one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub step: u64,
    /// `[n, size, size, channels]`, standardised.
    pub images: Vec<f32>,
    /// `[n, size, size, 1]`, 0 or 1.
    pub masks: Vec<f32>,
    /// Positions in the [`Cache`], one for each image.
    pub indices: Vec<usize>,
}

/// Decoded, resized and standardised images with their masks.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    size: usize,
    channels: usize,
    ids: Vec<String>,
    /// `[size, size, channels]` each.
    images: Vec<Vec<f32>>,
    /// `[size, size]` each.
    masks: Vec<Vec<u8>>,
    /// Masks that have foreground in the file and none at training size.
    vanished: usize,
    /// Foreground at training size over that of the files, each as a share of its mask; 1 without any.
    foreground_kept: f64,
}

/// Structures as wide as a pixel or two lose more than this.
const LEAST_KEPT: f64 = 0.9;

impl Cache {
    /// Decodes `items`, in their order, on `config.workers` threads. `channels` is 1 or 3.
    ///
    /// # Errors
    /// The error of the first item that cannot be decoded; a config that [`DataConfig::validate`]
    /// refuses, or another number of channels.
    pub fn of_items<'a>(
        items: impl IntoIterator<Item = &'a Item>,
        channels: usize,
        config: &DataConfig,
    ) -> Result<Self, DataError> {
        let items: Vec<&Item> = items.into_iter().collect();
        let size = config.size;
        config.validate()?;
        in_channels(channels)?;
        let pairs = parallel::map(items.len(), config.workers, |i| {
            let item = items[i];
            let image = decode_image(&item.image, channels)?;
            let mask = decode_mask(&item.mask, config.mask_threshold)?;
            // Headers agreed when the folder was opened; the files may have changed since.
            if (mask.width, mask.height) != (image.width, image.height) {
                let problem = Problem::SizeMismatch {
                    image: item.image.clone(),
                    image_size: (image.width as u32, image.height as u32),
                    mask_size: (mask.width as u32, mask.height as u32),
                };
                return Err(DataError::at(&item.mask, problem));
            }
            Ok((prepare(&image, size), resize_mask(&mask, size), share(&mask.pixels)))
        })?;
        let vanished = pairs.iter().filter(|(_, mask, before)| *before > 0.0 && !mask.contains(&1)).count();
        let before: f64 = pairs.iter().map(|(.., before)| before).sum();
        let after: f64 = pairs.iter().map(|(_, mask, _)| share(mask)).sum();
        let foreground_kept = if before > 0.0 { after / before } else { 1.0 };
        let (images, masks) = pairs.into_iter().map(|(image, mask, _)| (image, mask)).unzip();
        let ids = items.iter().map(|i| i.id.clone()).collect();
        Ok(Cache { size, channels, ids, images, masks, vanished, foreground_kept })
    }

    /// What a user should know where the foreground of these masks, the `part` ones, is too thin for the
    /// training size.
    pub fn thin_note(&self, part: &str) -> Option<String> {
        if self.vanished == 0 && self.foreground_kept >= LEAST_KEPT {
            return None;
        }
        let (size, kept) = (self.size, 100.0 * self.foreground_kept);
        let mut note =
            format!("at {size} × {size} pixels the {part} masks keep {kept:.0} % of their foreground");
        if self.vanished > 0 {
            note += &format!(", and {} of {} none, so these count as empty", self.vanished, self.len());
        }
        Some(note + "; a larger data.size keeps more")
    }

    /// Refuses masks of which none has foreground at training size: from such a `part` there is nothing
    /// to learn, nor to choose by.
    ///
    /// # Errors
    /// None has.
    pub fn require_foreground(&self, part: Part, config: &DataConfig) -> Result<(), DataError> {
        if self.positives().contains(&true) {
            return Ok(());
        }
        let (images, threshold) = (self.len(), config.mask_threshold);
        Err(DataError::bare(Problem::NoForeground { part, images, threshold }))
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Side in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// 1 or 3.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The ids, by position.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// `[size, size, channels]`, standardised. Panics when `index` is not below [`Cache::len`].
    pub fn image(&self, index: usize) -> &[f32] {
        &self.images[index]
    }

    /// `[size, size]`, 0 or 1. Panics when `index` is not below [`Cache::len`].
    pub fn mask(&self, index: usize) -> &[u8] {
        &self.masks[index]
    }

    /// For each image whether its mask, at training size, has any foreground.
    pub fn positives(&self) -> Vec<bool> {
        self.masks.iter().map(|m| m.contains(&1)).collect()
    }

    /// The images at `indices` as they are, without augmentation. Panics when an index is not below
    /// [`Cache::len`].
    pub fn batch(&self, step: u64, indices: &[usize]) -> Batch {
        let mut batch = Batch {
            step,
            images: Vec::with_capacity(indices.len() * self.size * self.size * self.channels),
            masks: Vec::with_capacity(indices.len() * self.size * self.size),
            indices: indices.to_vec(),
        };
        for &i in indices {
            batch.images.extend_from_slice(&self.images[i]);
            batch.masks.extend(self.masks[i].iter().map(|&v| f32::from(v)));
        }
        batch
    }
}

/// Foreground over all pixels.
fn share(mask: &[u8]) -> f64 {
    mask.iter().filter(|&&v| v == 1).count() as f64 / mask.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::Dataset;
    use crate::data::testing::{folder, write_grey};

    fn config(size: usize, workers: usize) -> DataConfig {
        DataConfig { size, workers, ..Default::default() }
    }

    #[test]
    fn the_cache_does_not_depend_on_the_number_of_workers() {
        let dir = folder(7);
        let data = Dataset::open(dir.path(), &config(4, 1)).unwrap();
        let one = Cache::of_items(data.items(), 1, &config(4, 1)).unwrap();
        let four = Cache::of_items(data.items(), 1, &config(4, 4)).unwrap();
        assert_eq!(one, four);
        assert_eq!(one.ids()[2], "a02");
        assert_eq!(one.positives(), [true, false, true, false, true, false, true]);
    }

    #[test]
    fn a_batch_is_the_images_one_after_another() {
        let dir = folder(3);
        let data = Dataset::open(dir.path(), &config(8, 2)).unwrap();
        let cache = Cache::of_items(data.items(), 3, &config(8, 2)).unwrap();
        let batch = cache.batch(5, &[2, 0]);
        assert_eq!(batch.images.len(), 2 * 8 * 8 * 3);
        assert_eq!(batch.images[..192], *cache.image(2));
        assert_eq!(batch.masks[64..72], [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn the_first_bad_file_by_order_is_named() {
        let dir = folder(6);
        let data = Dataset::open(dir.path(), &config(8, 3)).unwrap();
        for name in ["masks/a04.png", "images/a01.png"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let error = Cache::of_items(data.items(), 1, &config(8, 3)).unwrap_err();
        assert_eq!(error, DataError::at(&dir.path().join("images/a01.png"), Problem::EmptyFile));
    }

    #[test]
    fn foreground_that_is_too_thin_is_told() {
        let dir = folder(3);
        let data = Dataset::open(dir.path(), &config(8, 1)).unwrap();
        let note =
            |size: usize| Cache::of_items(data.items(), 1, &config(size, 1)).unwrap().thin_note("training");
        assert_eq!(note(8), None);
        // A line of one pixel in two, in one of the two masks that have 24 pixels of 64 in the file.
        let line: Vec<u8> = (0..64).map(|p| if p % 8 == 4 { 255 } else { 0 }).collect();
        write_grey(&dir.path().join("masks/a02.png"), 8, &line);
        assert_eq!(note(8), None);
        let expected = "at 4 × 4 pixels the training masks keep 50 % of their foreground, and 1 of 3 none, so these count as \
                        empty; a larger data.size keeps more";
        assert_eq!(note(4).as_deref(), Some(expected));
    }

    #[test]
    fn masks_without_foreground_are_refused() {
        let dir = folder(3);
        let data = Dataset::open(dir.path(), &config(8, 1)).unwrap();
        let of = |items: &[Item]| {
            Cache::of_items(items, 1, &config(8, 1)).unwrap().require_foreground(Part::Val, &config(8, 1))
        };
        of(data.items()).unwrap();
        let error = of(&data.items()[1..2]).unwrap_err().to_string();
        assert!(
            error.starts_with("none of the 1 val masks has foreground (data.mask_threshold is unset). "),
            "{error}"
        );
    }

    #[test]
    fn settings_that_cannot_be_used() {
        let none: [&Item; 0] = [];
        assert!(Cache::of_items(none, 1, &config(0, 1)).is_err());
        assert!(Cache::of_items(none, 2, &config(8, 1)).is_err());
        let nan = DataConfig { mask_threshold: Some(f64::NAN), ..config(8, 1) };
        assert!(Cache::of_items(none, 1, &nan).is_err());
    }
}
