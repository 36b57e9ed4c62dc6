//! Images without masks, for prediction.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::dataset::{stem, stems};
use super::decode::Image;
use super::error::{DataError, Problem};
use super::resize::resize_image;
use super::standardise::standardise;

/// An image file to predict on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    /// The file name without its ending.
    pub id: String,
    pub path: PathBuf,
}

/// The image files among `paths`; a folder stands for the images in it (not in its subfolders).
///
/// Files come in the order given, those of a folder sorted by name.
///
/// # Errors
/// A path does not exist or is no image, a folder has no images, or two files
/// share a stem (results are named after it).
pub fn list_images(paths: &[PathBuf]) -> Result<Vec<ImageFile>, DataError> {
    let mut list: Vec<ImageFile> = Vec::new();
    for path in paths {
        if !path.exists() {
            return Err(DataError::at(path, Problem::Missing));
        }
        if path.is_dir() {
            let mut problems = Vec::new();
            let found = stems(path, &mut problems);
            if let Some(error) = problems.into_iter().next() {
                return Err(error);
            }
            if found.is_empty() {
                return Err(DataError::at(path, Problem::NoImages));
            }
            list.extend(found.into_iter().map(|(id, path)| ImageFile { id, path }));
        } else {
            let id = stem(path)?.ok_or_else(|| {
                let found =
                    "a name with another ending than .png, .jpg, .jpeg, .tif, .tiff, .dcm and .dicom".into();
                DataError::at(path, Problem::UnknownFormat { found })
            })?;
            list.push(ImageFile { id, path: path.clone() });
        }
    }
    let mut seen: BTreeMap<&str, &Path> = BTreeMap::new();
    for file in &list {
        if let Some(other) = seen.insert(&file.id, &file.path) {
            let problem = Problem::SameName { stem: file.id.clone(), other: other.to_path_buf() };
            return Err(DataError::at(&file.path, problem));
        }
    }
    Ok(list)
}

/// Resizes and standardises a decoded image: `[size, size, channels]`, as the network takes it.
pub fn prepare(image: &Image, size: usize) -> Vec<f32> {
    let mut pixels = resize_image(image, size);
    standardise(&mut pixels);
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decode::decode_image;
    use crate::data::testing::folder;

    #[test]
    fn lists_files_and_folders() {
        let dir = folder(3);
        let listed = list_images(&[dir.path().join("images")]).unwrap();
        assert_eq!(listed.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), ["a00", "a01", "a02"]);
        let one = list_images(&[dir.path().join("images/a01.png")]).unwrap();
        assert_eq!(one[0].id, "a01");
    }

    #[test]
    fn prepares_at_training_size() {
        let dir = folder(1);
        let image = decode_image(&dir.path().join("images/a00.png"), 3).unwrap();
        let prepared = prepare(&image, 4);
        assert_eq!((prepared.len(), image.width, image.height), (48, 8, 8));
        assert!(prepared.iter().sum::<f32>().abs() < 1e-3);
    }

    #[test]
    fn the_same_image_twice() {
        let dir = folder(2);
        let images = dir.path().join("images");
        let error = list_images(&[images.clone(), images.join("a01.png")]).unwrap_err();
        assert!(matches!(error.problem, Problem::SameName { .. }));
    }

    #[test]
    fn paths_that_are_no_images() {
        let dir = folder(1);
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("notes.txt"), "x").unwrap();
        let problem = |path: PathBuf| list_images(&[path]).unwrap_err().problem;
        assert_eq!(problem(at("none")), Problem::Missing);
        assert_eq!(problem(dir.path().to_path_buf()), Problem::NoImages);
        assert!(matches!(problem(at("notes.txt")), Problem::UnknownFormat { .. }));
    }
}
