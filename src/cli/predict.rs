//! `wgseg predict`

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::mask_rule::{MaskRuleArg, MirrorArg};
use super::{DeviceArg, Outcome, say};
use crate::data::decode::Image;
use crate::data::{ImageFile, dicom_seg, list_images, prepare, read_image, resize, rle};
use crate::report::console::tell;
use crate::report::words::count;
use crate::report::{self, Overlay};
use crate::train::TrainError;
use crate::train::mask_rule::{MaskRule, RuledMask};
use crate::train::model::{Model, ModelFile};

#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint
    #[arg(long)]
    model: PathBuf,
    /// Folder for the results: must be new or empty
    #[arg(long)]
    out: PathBuf,
    /// Images (PNG, JPEG, TIFF, DICOM, NIfTI of one slice), or folders of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    rule: MaskRuleArg,
    #[command(flatten)]
    mirror: MirrorArg,
    /// Predict in windows of the training size at the image's own resolution, overlapping by half: for a model trained on
    /// patches or at native scale. Without it the whole image is resized to the training size, which is right for a model
    /// trained on whole images
    #[arg(long)]
    window: bool,
    /// Also write each mask as a DICOM Segmentation object, segmentations/NAME.dcm, which refers to its image: DICOM images
    /// alone
    #[arg(long)]
    dicom_seg: bool,
    /// Also write the masks as run-length codes, in the form of the SIIM-ACR competition: ImageId,EncodedPixels; must not
    /// exist
    #[arg(long, value_name = "FILE.csv")]
    submission: Option<PathBuf>,
    #[command(flatten)]
    adapter: DeviceArg,
}

pub fn run(args: Args) -> Outcome {
    let model = ModelFile::open(&args.model)?;
    let (size, channels) = (model.config.data.size, model.config.model.in_channels);
    let rule = args.rule.or_of(&model.info);
    let mirrored = args.mirror.of(&model);
    let files = list_images(&args.images)?;
    if args.dicom_seg {
        dicom_seg::check(&files)?;
    }
    report::check_free(&args.out)?;
    args.submission.as_deref().map(report::check_new_file).transpose()?;

    let gpu = args.adapter.open()?;
    tell(&format!(
        "loading {} onto {}; kernels are compiled first, unless the driver's cache has them",
        args.model.display(),
        gpu.description().name
    ));
    let model = model.load(&gpu, 1)?.mirrored(mirrored);
    let folders = Folders {
        masks: args.out.join("masks"),
        probabilities: args.out.join("probabilities"),
        overlays: args.out.join("overlays"),
        segmentations: args.dicom_seg.then(|| args.out.join("segmentations")),
    };
    // So that it is told now if it cannot be made; those in it with the first result.
    report::make_folder(&args.out)?;
    let start = Instant::now();
    let mut predicting = Predicting {
        model,
        size,
        channels,
        window: args.window,
        rule,
        folders,
        spent: Spent::default(),
        told: false,
    };
    let mut failed = 0;
    let mut codes = Vec::new();
    for file in &files {
        match predicting.predict(file) {
            Ok(Predicted { foreground, emptied, code }) => {
                match emptied > 0.0 {
                    true => say!(
                        "{}: 0.00 % foreground, as {:.2} % is below the smallest area",
                        file.id,
                        100.0 * emptied
                    ),
                    false => say!("{}: {:.2} % foreground", file.id, 100.0 * foreground),
                }
                codes.push((file.id.as_str(), code));
            }
            Err(error) => {
                // One bad file among many must not cost the results of the others.
                tell(&format!("error: {}: {error}", file.id));
                failed += 1;
            }
        }
    }
    if let Some(path) = &args.submission {
        report::atomic::write(path, &submission(&codes)?)?;
    }
    let done = files.len() - failed;
    if done == 0 {
        return Ok(ExitCode::FAILURE);
    }
    let seconds = start.elapsed().as_secs_f64();
    tell(&format!(
        "{} in {seconds:.1} s, {:.1} a second: {}; by {rule}; masks, probabilities and overlays are in {}",
        count(done, "image"),
        done as f64 / seconds,
        predicting.spent,
        args.out.display()
    ));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where results go.
struct Folders {
    masks: PathBuf,
    probabilities: PathBuf,
    overlays: PathBuf,
    /// Of DICOM Segmentation objects; none where they are not asked for.
    segmentations: Option<PathBuf>,
}

impl Folders {
    fn make(&self) -> Result<(), TrainError> {
        let made = [&self.masks, &self.probabilities, &self.overlays];
        for folder in made.into_iter().chain(&self.segmentations) {
            report::make_folder(folder)?;
        }
        Ok(())
    }
}

/// What the time went to.
#[derive(Default)]
struct Spent {
    reading: Duration,
    network: Duration,
    writing: Duration,
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [reading, network, writing] =
            [self.reading, self.network, self.writing].map(|spent| spent.as_secs_f64());
        write!(f, "reading {reading:.1} s, network {network:.1} s, writing {writing:.1} s")
    }
}

/// Adds the time that `work` takes to `spent`.
fn timed<T>(spent: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *spent += start.elapsed();
    result
}

/// How images are predicted.
struct Predicting {
    model: Model,
    /// Side in pixels that the model was trained at.
    size: usize,
    channels: usize,
    window: bool,
    rule: MaskRule,
    folders: Folders,
    spent: Spent,
    /// It was told what `--window` is for.
    told: bool,
}

/// What came out for one image.
struct Predicted {
    /// Share of all pixels.
    foreground: f64,
    /// Share that was above the threshold in a mask that was emptied.
    emptied: f64,
    /// The mask's run-length code.
    code: String,
}

/// The table of the competition.
fn submission(codes: &[(&str, String)]) -> Result<Vec<u8>, csv::Error> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["ImageId", "EncodedPixels"])?;
    for (id, code) in codes {
        csv.write_record([id, code.as_str()])?;
    }
    csv.into_inner().map_err(|e| e.into_error().into())
}

impl Predicting {
    /// Writes the results of one image.
    fn predict(&mut self, file: &ImageFile) -> Result<Predicted, TrainError> {
        let image = timed(&mut self.spent.reading, || read_image(&file.path, self.channels))?;
        if self.window && !self.told && image.width.min(image.height) > self.size {
            self.told = true;
            tell(&format!(
                "--window shows the model {0}×{0} of {1}×{2} pixels at a time, which is right for a model that was trained on \
                 such pieces; one that was trained on whole images needs predict without --window",
                self.size, image.width, image.height
            ));
        }
        let map = timed(&mut self.spent.network, || match self.window {
            true => self.model.predict_windows(&image),
            false => whole(&mut self.model, &image, self.size),
        })?;
        // A smallest area is a share of what the network sees at once.
        let view = if self.window { self.size * self.size } else { map.len() };
        let mask = self.rule.mask_of_view(&map, view);
        timed(&mut self.spent.writing, || write(file, &image, &map, mask, &self.folders))
    }
}

/// The probabilities `[height, width]` of an image that the network sees as a whole, at its own size.
fn whole(model: &mut Model, image: &Image, size: usize) -> Result<Vec<f32>, TrainError> {
    let prepared = prepare(image, size);
    let maps = model.predict_all(&[&prepared])?;
    Ok(maps.iter().flat_map(|map| resize::resize_back(map, size, image.width, image.height)).collect())
}

/// Writes the mask, the map that it was made of, and the mask on the image.
fn write(
    file: &ImageFile,
    image: &Image,
    map: &[f32],
    mask: RuledMask,
    folders: &Folders,
) -> Result<Predicted, TrainError> {
    let RuledMask { pixels: mask, emptied } = mask;
    let name = format!("{}.png", file.id);
    let (width, height) = (image.width as u32, image.height as u32);
    let segmentation = match &folders.segmentations {
        // First, as this is what may be refused.
        Some(_) => Some(dicom_seg::encode(&file.path, &mask, image.width, image.height)?),
        None => None,
    };
    folders.make()?;
    if let (Some(folder), Some(bytes)) = (&folders.segmentations, segmentation) {
        report::atomic::write(&folder.join(format!("{}.dcm", file.id)), &bytes)?;
    }
    report::write_mask(&folders.masks.join(&name), &mask, width, height)?;
    report::write_probability_map(&folders.probabilities.join(&name), map, width, height)?;
    let picture = report::picture(&image.pixels, image.channels, width, height)?;
    let overlay = Overlay { picture: &picture, truth: None, prediction: &mask };
    report::write_overlay(&folders.overlays.join(&name), &overlay)?;
    let share = |count: usize| count as f64 / mask.len().max(1) as f64;
    let foreground = share(mask.iter().filter(|m| **m).count());
    let code = rle::encode(image.width, image.height, |x, y| mask[y * image.width + x]);
    Ok(Predicted { foreground, emptied: share(emptied), code })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_has_the_form_of_the_competition() {
        let text = submission(&[("1.2.276", "5 3 2 1".into()), ("1.2.277", "-1".into())]).unwrap();
        assert_eq!(text, b"ImageId,EncodedPixels\n1.2.276,5 3 2 1\n1.2.277,-1\n");
    }
}
