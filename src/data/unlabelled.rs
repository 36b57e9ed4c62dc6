//! Images without masks in memory, at training size.

use super::cache::Cache;
use super::error::DataError;
use super::images::{ImageFile, prepare, read_image};
use super::parallel;
use super::sampler::permutation;
use crate::config::schema::DataConfig;
use crate::config::validate::in_channels;
use crate::rng::{Purpose, rng};

/// Decoded, resized and standardised images.
#[derive(Clone, Debug, PartialEq)]
pub struct Unlabelled {
    size: usize,
    channels: usize,
    ids: Vec<String>,
    /// `[size, size, channels]` each.
    images: Vec<Vec<f32>>,
}

impl Unlabelled {
    /// Decodes `files`, in their order, on `config.workers` threads. `channels` is 1 or 3.
    ///
    /// # Errors
    /// The error of the first file that cannot be decoded; a config that [`DataConfig::validate`]
    /// refuses, or another number of channels.
    pub fn of_files(files: &[ImageFile], channels: usize, config: &DataConfig) -> Result<Self, DataError> {
        config.validate()?;
        in_channels(channels)?;
        let size = config.size;
        let images = parallel::map(files.len(), config.workers, |i| {
            Ok(prepare(&read_image(&files[i].path, channels)?, size))
        })?;
        Ok(Unlabelled { size, channels, ids: files.iter().map(|f| f.id.clone()).collect(), images })
    }

    /// The images of `cache` without their masks.
    pub fn of_cache(cache: &Cache) -> Unlabelled {
        Unlabelled {
            size: cache.size(),
            channels: cache.channels(),
            ids: cache.ids().to_vec(),
            images: (0..cache.len()).map(|i| cache.image(i).to_vec()).collect(),
        }
    }

    /// Adds the images of `other`, which are of the same size and channels.
    pub fn append(&mut self, mut other: Unlabelled) {
        self.ids.append(&mut other.ids);
        self.images.append(&mut other.images);
    }

    /// Keeps the images for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&[f32]) -> bool) {
        let kept: Vec<bool> = self.images.iter().map(|image| keep(image)).collect();
        let mut of_ids = kept.iter();
        self.ids.retain(|_| of_ids.next().is_some_and(|kept| *kept));
        let mut of_images = kept.iter();
        self.images.retain(|_| of_images.next().is_some_and(|kept| *kept));
    }

    /// Divides the images into those to train on and a share `held_out`, drawn by `seed`, to measure
    /// on. Each keeps the order of the images.
    pub fn hold_out(self, held_out: f64, seed: u64) -> (Unlabelled, Unlabelled) {
        let count = (held_out * self.len() as f64).round() as usize;
        let order = permutation(self.len(), &mut rng(seed, Purpose::HeldOut, 0));
        let mut is_held_out = vec![false; self.len()];
        order.iter().take(count).for_each(|i| is_held_out[*i] = true);
        let empty = Unlabelled { ids: vec![], images: vec![], ..self };
        let mut parts = (empty.clone(), empty);
        for ((id, image), held_out) in self.ids.into_iter().zip(self.images).zip(is_held_out) {
            let part = if held_out { &mut parts.1 } else { &mut parts.0 };
            part.ids.push(id);
            part.images.push(image);
        }
        parts
    }

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

    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// `[size, size, channels]`, standardised. Panics when `index` is not below [`Unlabelled::len`].
    pub fn image(&self, index: usize) -> &[f32] {
        &self.images[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::images::list_images;
    use crate::data::testing::folder;

    fn images(count: usize) -> Unlabelled {
        let dir = folder(count);
        let files = list_images(&[dir.path().join("images")]).unwrap();
        let config = DataConfig { size: 8, ..DataConfig::default() };
        Unlabelled::of_files(&files, 1, &config).unwrap()
    }

    #[test]
    fn held_out_images_are_in_one_part_alone_and_none_is_lost() {
        let all = images(11);
        let (train, held_out) = all.clone().hold_out(0.3, 5);
        assert_eq!((train.len(), held_out.len()), (8, 3));
        let mut ids = [train.ids(), held_out.ids()].concat();
        ids.sort();
        assert_eq!(ids, all.ids());
        let position = all.ids().iter().position(|id| *id == held_out.ids()[1]).unwrap();
        assert_eq!(held_out.image(1), all.image(position));
        assert_ne!(all.clone().hold_out(0.3, 6).1.ids(), held_out.ids());
        assert_eq!(all.hold_out(0.0, 5).1.len(), 0);
    }

    #[test]
    fn images_are_kept_with_their_ids() {
        let mut some = images(4);
        let unwanted = some.image(1).to_vec();
        some.retain(|image| image != unwanted);
        assert_eq!(some.ids(), ["a00", "a02", "a03"]);
        assert!((0..3).all(|i| some.image(i) != unwanted));
    }

    #[test]
    fn images_of_two_sources_are_put_together() {
        let mut all = images(3);
        all.append(images(2));
        assert_eq!(all.ids(), ["a00", "a01", "a02", "a00", "a01"]);
        assert_eq!(all.image(3), all.image(0));
    }
}
