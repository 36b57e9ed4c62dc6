//! From files on disk to batches of pixels.
//!
//! A data folder holds `images/` and `masks/` with the same file stems, and
//! maybe a `split.csv`. [`Dataset`] pairs and splits the files, [`Cache`] holds
//! them decoded at training size, [`Sampler`] says which items make up a
//! batch, and [`Loader`] prepares augmented batches ahead of the training loop.

pub mod augment;
pub mod cache;
pub mod check;
pub mod dataset;
pub mod decode;
mod dicom;
pub mod dicom_seg;
pub mod error;
pub mod fingerprint;
pub mod header;
pub mod images;
pub mod import;
pub mod loader;
pub mod make_split;
mod new_folder;
mod nifti;
mod parallel;
mod partition;
pub mod patients;
pub mod phantom;
pub mod resize;
pub mod rle;
pub mod sampler;
pub mod scoring;
pub mod split;
pub mod standardise;
pub mod unlabelled;

#[cfg(test)]
pub(crate) mod testing;

pub use cache::{Batch, Cache};
pub use check::{CheckReport, check};
pub use dataset::{Dataset, Item};
pub use error::{DataError, Problem};
pub use images::{ImageFile, list_images, prepare, read_image};
pub use loader::Loader;
pub use sampler::Sampler;
pub use scoring::Scoring;
pub use split::Part;
pub use unlabelled::Unlabelled;
