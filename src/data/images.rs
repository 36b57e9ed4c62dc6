//! Images without masks, to predict or to learn from. They may be NIfTI files of one slice, too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::dataset::{files, stem};
use super::decode::{Image, decode_image};
use super::error::{DataError, Problem};
use super::nifti::{Volume, is_nifti};
use super::resize::resize_image;
use super::standardise::standardise;

/// How endings that are read are told.
const READ: &str = ".png, .jpg, .jpeg, .tif, .tiff, .dcm, .dicom, .nii or .nii.gz";

/// An image file.
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
            let paths = files(path, &mut problems);
            if let Some(error) = problems.into_iter().next() {
                return Err(error);
            }
            let mut found = Vec::new();
            for path in paths {
                found.extend(id_of(&path)?.map(|id| ImageFile { id, path }));
            }
            if found.is_empty() {
                return Err(DataError::at(path, Problem::NoImages { endings: READ }));
            }
            found.sort_by(|a, b| a.id.cmp(&b.id));
            list.append(&mut found);
        } else {
            let id = id_of(path)?.ok_or_else(|| {
                let found = format!("a name with another ending than {READ}");
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

/// The name of an image file without its ending, or none for a file that is no image.
fn id_of(path: &Path) -> Result<Option<String>, DataError> {
    if !is_nifti(path) {
        return stem(path);
    }
    let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| {
        let lower = name.to_ascii_lowercase();
        let ending = [".nii.gz", ".nii"].into_iter().find(|ending| lower.ends_with(ending))?;
        Some(name[..name.len() - ending.len()].to_owned()).filter(|id| !id.is_empty())
    });
    id.map(Some).ok_or_else(|| DataError::at(path, Problem::FileName))
}

/// Decodes an image file as [`decode_image`] does, NIfTI too: of that the least value becomes 0 and the largest 1.
///
/// # Errors
/// Those of [`decode_image`]; a NIfTI file of several slices, or without a finite value.
pub fn read_image(path: &Path, channels: usize) -> Result<Image, DataError> {
    if is_nifti(path) {
        Ok(Volume::read_picture(path)?.to_image(channels))
    } else {
        decode_image(path, channels)
    }
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
    fn nifti_files_are_images_too() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nifti");
        let dir = folder(2);
        let images = dir.path().join("images");
        std::fs::copy(fixtures.join("flat.nii"), images.join("a00b.nii")).unwrap();
        std::fs::copy(fixtures.join("label.nii.gz"), images.join("z.1.nii.gz")).unwrap();
        let listed = list_images(std::slice::from_ref(&images)).unwrap();
        let ids: Vec<&str> = listed.iter().map(|f| f.id.as_str()).collect();
        assert_eq!(ids, ["a00", "a00b", "a01", "z.1"]);
        let image = read_image(&listed[1].path, 3).unwrap();
        assert_eq!((image.width, image.height, image.channels), (6, 5, 3));
        assert_eq!((image.pixels[0], image.pixels[6 * 5 * 3 - 1]), (0.0, 1.0));
        assert!(matches!(read_image(&listed[3].path, 1).unwrap_err().problem, Problem::NiftiSlices { .. }));
        std::fs::copy(fixtures.join("flat.nii"), images.join("a00.nii")).unwrap();
        assert!(matches!(list_images(&[images]).unwrap_err().problem, Problem::SameName { .. }));
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
        assert_eq!(problem(dir.path().to_path_buf()), Problem::NoImages { endings: READ });
        assert!(matches!(problem(at("notes.txt")), Problem::UnknownFormat { .. }));
    }
}
