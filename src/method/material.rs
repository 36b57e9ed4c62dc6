//! The images that all runs of an experiment share.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::check::{check_counts, check_freezing, check_held_out, images_in};
use super::error::MethodError;
use super::plan::ImageCounts;
use crate::config::Config;
use crate::data::fingerprint::hex;
use crate::data::{Cache, Dataset, ImageFile, Part, Unlabelled, list_images};
use crate::report::words::count;
use crate::train::TrainError;

/// Everything in memory, at training size.
pub struct Material {
    /// Labelled images to train on.
    pub train: Arc<Cache>,
    pub val: Arc<Cache>,
    pub test: Arc<Cache>,
    /// What tasks and student learn from besides: the labelled images of `train`, without their
    /// masks, and those that came without.
    pub unlabelled: Arc<Unlabelled>,
    /// Unlabelled images that nothing is trained on.
    pub held_out: Arc<Unlabelled>,
    /// The patient of each test image that the split's file names.
    pub patients: BTreeMap<String, String>,
    pub fingerprint: Fingerprint,
    /// What the user should know of the images.
    pub notes: Vec<String>,
    dataset: Dataset,
}

impl Material {
    /// Reads `data` (`images/`, `masks/`, maybe `split.csv`) and the image folders `unlabelled`. The
    /// labelled training images count as unlabelled ones too; validation and test images never do.
    ///
    /// # Errors
    /// Files that cannot be read, too few images for a batch, no foreground.
    pub fn open(config: &Config, data: &Path, unlabelled: &[&Path]) -> Result<Material, TrainError> {
        let mut dataset = Dataset::open(data, &config.data)?;
        let labelled = dataset.labelled(config.train.labelled, config.data.seed)?;
        dataset.keep_labelled(&labelled);
        let channels = config.model.in_channels;
        let mut patients = dataset.patients().clone();
        // An image that the split leaves out may still be of a patient who is tested on.
        let of_scored = dataset.of_scored_patients(&patients);
        let mut files = vec![];
        for folder in unlabelled {
            let folder = images_in(folder);
            let images = list_images(std::slice::from_ref(&folder))?;
            if is_same(&folder, &data.join("masks")) {
                return Err(MethodError::UnlabelledMasks { path: folder }.into());
            }
            if is_same(&folder, &data.join("images")) {
                files.extend(images.into_iter().filter(|image| !of_scored.contains(image.id.as_str())));
            } else {
                files.extend(images);
            }
        }
        // Counted before anything is decoded, which may take long. Held out is what came without masks.
        let held_out = (config.method.held_out * files.len() as f64).round() as usize;
        check_counts(config, labelled.len(), labelled.len() + files.len() - held_out)?;
        check_freezing(config, labelled.len())?;

        let cache = |indices: &[usize]| {
            let items = indices.iter().map(|i| &dataset.items()[*i]);
            Cache::of_items(items, channels, &config.data)
        };
        let train = cache(&labelled)?;
        train.require_foreground(Part::Train, &config.data)?;
        let (val, test) = (cache(&dataset.part(Part::Val))?, cache(&dataset.part(Part::Test))?);
        val.require_foreground(Part::Val, &config.data)?;
        let mut others = Unlabelled::of_files(&files, channels, &config.data)?;
        // A task that has seen a test image would have an unfair start on it, and one that has seen a
        // held-out image would be measured on what it was trained on.
        let mut seen: HashSet<Vec<u8>> =
            [&train, &val, &test].iter().flat_map(|c| (0..c.len()).map(|i| digest(c.image(i)))).collect();
        // Nor may a copy of one come in by another folder. Validation and test images are seen already.
        let unused = dataset.part(Part::Unused).into_iter().map(|i| &dataset.items()[i]);
        let withheld: Vec<ImageFile> = unused
            .filter(|item| of_scored.contains(item.id.as_str()))
            .map(|item| ImageFile { id: item.id.clone(), path: item.image.clone() })
            .collect();
        let withheld = Unlabelled::of_files(&withheld, channels, &config.data)?;
        seen.extend((0..withheld.len()).map(|i| digest(withheld.image(i))));
        let given = others.len();
        others.retain(|image| seen.insert(digest(image)));
        let copies = given - others.len();
        let (others, held_out) = others.hold_out(config.method.held_out, config.data.seed);
        check_counts(config, train.len(), train.len() + others.len())?;
        check_held_out(config, held_out.len(), copies)?;
        let parts: [(&str, &Cache); 3] = [("training", &train), ("validation", &val), ("test", &test)];
        let mut notes: Vec<String> =
            parts.iter().filter_map(|(part, images)| images.thin_note(part)).collect();
        if copies > 0 {
            notes.push(format!(
                "{copies} of {given} unlabelled images are the same as labelled ones or as each other and are left out"
            ));
        }
        let mut unlabelled = Unlabelled::of_cache(&train);
        unlabelled.append(others);

        notes.extend(shared_images(&parts));
        patients.retain(|id, _| test.ids().contains(id));
        let mut hash = Sha256::new();
        for (part, images) in [("train", &train), ("val", &val), ("test", &test)] {
            hash.update(part);
            for (i, id) in images.ids().iter().enumerate() {
                hash.update(id);
                hash.update(bytemuck::cast_slice(images.image(i)));
                hash.update(images.mask(i));
            }
        }
        let labelled = hex(hash.clone());
        for (part, images) in [("unlabelled", &unlabelled), ("held out", &held_out)] {
            hash.update(part);
            for (i, id) in images.ids().iter().enumerate() {
                hash.update(id);
                hash.update(bytemuck::cast_slice(images.image(i)));
            }
        }
        Ok(Material {
            train: Arc::new(train),
            val: Arc::new(val),
            test: Arc::new(test),
            unlabelled: Arc::new(unlabelled),
            held_out: Arc::new(held_out),
            patients,
            notes,
            dataset,
            fingerprint: Fingerprint { labelled, all: hex(hash) },
        })
    }

    /// Writes which image is in which part, so that a model's folder says what it may be scored on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_split(&self, path: &Path) -> Result<(), TrainError> {
        Ok(self.dataset.write_split(path)?)
    }

    pub fn counts(&self) -> ImageCounts {
        ImageCounts {
            train: self.train.len(),
            val: self.val.len(),
            test: self.test.len(),
            unlabelled: self.unlabelled.len(),
            held_out: self.held_out.len(),
        }
    }
}

/// Whether both name one folder that is there.
fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Tells of images whose pixels are in two parts: what is trained on must not be scored.
fn shared_images(parts: &[(&str, &Cache)]) -> Option<String> {
    let mut first: HashMap<Vec<u8>, (&str, &str)> = HashMap::new();
    let mut shared = vec![];
    for (part, images) in parts {
        for (i, id) in images.ids().iter().enumerate() {
            match first.entry(digest(images.image(i))) {
                Entry::Vacant(entry) => drop(entry.insert((part, id))),
                Entry::Occupied(entry) if entry.get().0 != *part => shared.push((entry.get().1, id)),
                Entry::Occupied(_) => {}
            }
        }
    }
    let (one, other) = shared.first()?;
    let count = count(shared.len(), "image");
    Some(format!(
        "{count} of one part of the split with the same pixels in another, such as {one} and {other}: scores are better \
         than they should be; keep one of each, `wgseg data check` lists all"
    ))
}

/// SHA-256 of pixels, masks and ids and of who is in which part, as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of the labelled images alone.
    pub labelled: String,
    pub all: String,
}

/// Hash of an image's pixels.
fn digest(image: &[f32]) -> Vec<u8> {
    Sha256::digest(bytemuck::cast_slice(image)).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::folder;

    #[test]
    fn what_is_labelled_is_never_taken_for_unlabelled() {
        // The first nine images of the second folder are those of the first.
        let (data, more) = (folder(9), folder(12));
        // And one of the others is there twice.
        let twice = more.path().join("images");
        std::fs::copy(twice.join("a10.png"), twice.join("b10.png")).unwrap();
        let rows =
            (0..9).map(|i| format!("a{i:02},{},p{}", ["train", "val", "test"][i % 3], i % 3 * 10 + i / 6));
        let split = rows.fold("id,split,patient".to_owned(), |text, row| text + "\n" + &row);
        std::fs::write(data.path().join("split.csv"), split).unwrap();
        let mut config = Config::default();
        (config.data.size, config.train.batch_size, config.method.held_out) = (8, 2, 0.67);

        let material = Material::open(&config, data.path(), &[more.path()]).unwrap();
        let expected = ImageCounts { train: 3, val: 3, test: 3, unlabelled: 3 + 1, held_out: 2 };
        assert_eq!(material.counts(), expected);
        let notes = &material.notes;
        assert!(matches!(&notes[..], [note] if note.starts_with("10 of 13 ")), "{notes:?}");
        let mut ids = [&material.unlabelled.ids()[3..], material.held_out.ids()].concat();
        ids.sort();
        assert_eq!(ids, ["a09", "a10", "a11"]);
        let patients: Vec<(&str, &str)> =
            material.patients.iter().map(|(id, patient)| (id.as_str(), patient.as_str())).collect();
        assert_eq!(patients, [("a02", "p20"), ("a05", "p20"), ("a08", "p21")]);

        // A film of a test patient that the split leaves out is no image to learn from, nor is a copy in
        // another part kept a secret.
        let split = std::fs::read_to_string(data.path().join("split.csv")).unwrap();
        let unused = split.replace("a00,train,p0", "a00,unused,p20");
        assert_ne!(unused, split);
        std::fs::write(data.path().join("split.csv"), unused).unwrap();
        std::fs::copy(data.path().join("images/a01.png"), data.path().join("images/a03.png")).unwrap();
        let shared = Material::open(&config, data.path(), &[data.path(), more.path()]).unwrap();
        let all = [shared.unlabelled.ids(), shared.held_out.ids()].concat();
        let expected =
            "1 image of one part of the split with the same pixels in another, such as a03 and a01";
        assert!(shared.notes.iter().any(|note| note.starts_with(expected)), "{:?}", shared.notes);
        assert!(!all.iter().any(|id| id == "a00"), "nor the copy in the other folder: {all:?}");
        let elsewhere = Material::open(&config, data.path(), &[more.path()]).unwrap();
        let all = [elsewhere.unlabelled.ids(), elsewhere.held_out.ids()].concat();
        assert!(!all.iter().any(|id| id == "a00"), "nor where that is the only folder: {all:?}");
        std::fs::write(data.path().join("split.csv"), split).unwrap();
        std::fs::copy(more.path().join("images/a03.png"), data.path().join("images/a03.png")).unwrap();

        let masks = data.path().join("masks");
        let error = Material::open(&config, data.path(), &[&masks]).err().unwrap().to_string();
        assert!(error.contains("holds the masks"), "{error}");

        // Other masks are other data.
        let mask = data.path().join("masks");
        std::fs::copy(mask.join("a00.png"), mask.join("a03.png")).unwrap();
        let other = Material::open(&config, data.path(), &[more.path()]).unwrap();
        assert_ne!(other.fingerprint.labelled, material.fingerprint.labelled);
        assert_ne!(other.fingerprint.all, material.fingerprint.all);

        // One unlabelled image more is other data for what learns from them alone.
        std::fs::copy(mask.join("a01.png"), twice.join("c00.png")).unwrap();
        let more = Material::open(&config, data.path(), &[more.path()]).unwrap();
        assert_eq!(more.fingerprint.labelled, other.fingerprint.labelled);
        assert_ne!(more.fingerprint.all, other.fingerprint.all);
    }
}
