//! `wgseg predict`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use super::{DeviceArg, Outcome, say};
use crate::data::{ImageFile, decode, list_images, prepare, resize, rle};
use crate::report::words::count;
use crate::report::{self, Overlay};
use crate::train::TrainError;
use crate::train::model::{Model, ModelFile};
use crate::train::threshold::Threshold;

#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint
    #[arg(long)]
    model: PathBuf,
    /// Folder for the results: must be new or empty
    #[arg(long)]
    out: PathBuf,
    /// Images, or folders of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Probability above which a pixel is foreground; default: the one chosen on validation data
    #[arg(long, allow_negative_numbers = true)]
    threshold: Option<Threshold>,
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
    let threshold = args.threshold.unwrap_or(model.info.threshold);
    let files = list_images(&args.images)?;
    report::check_free(&args.out)?;
    args.submission.as_deref().map(report::check_new_file).transpose()?;

    let gpu = args.adapter.open()?;
    let mut model = model.load(&gpu, 1)?;
    let folders = Folders {
        masks: args.out.join("masks"),
        probabilities: args.out.join("probabilities"),
        overlays: args.out.join("overlays"),
    };
    for folder in [&folders.masks, &folders.probabilities, &folders.overlays] {
        report::make_folder(folder)?;
    }
    let start = Instant::now();
    let mut failed = 0;
    let mut codes = Vec::new();
    for file in &files {
        match predict(&mut model, file, size, channels, threshold, &folders) {
            Ok(Predicted { foreground, code }) => {
                say!("{}: {:.2} % foreground", file.id, 100.0 * foreground);
                codes.push((file.id.as_str(), code));
            }
            Err(error) => {
                // One bad file among many must not cost the results of the others.
                crate::report::console::tell(&format!("error: {}: {error}", file.id));
                failed += 1;
            }
        }
    }
    if let Some(path) = &args.submission {
        report::atomic::write(path, &submission(&codes)?)?;
    }
    let done = files.len() - failed;
    crate::report::console::tell(&format!(
        "{} in {:.1} s; masks, probabilities and overlays are in {}",
        count(done, "image"),
        start.elapsed().as_secs_f64(),
        args.out.display()
    ));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where results go.
struct Folders {
    masks: PathBuf,
    probabilities: PathBuf,
    overlays: PathBuf,
}

/// What came out for one image.
struct Predicted {
    /// Share of all pixels.
    foreground: f64,
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

/// Writes the results of one image.
fn predict(
    model: &mut Model,
    file: &ImageFile,
    size: usize,
    channels: usize,
    threshold: Threshold,
    folders: &Folders,
) -> Result<Predicted, TrainError> {
    let image = decode::decode_image(&file.path, channels)?;
    let map = model.predict(&prepare(&image, size))?;
    let map = resize::resize_back(&map, size, image.width, image.height);
    let mask: Vec<bool> = map.iter().map(|p| threshold.is_foreground(*p)).collect();
    let name = format!("{}.png", file.id);
    let (width, height) = (image.width as u32, image.height as u32);
    report::write_mask(&folders.masks.join(&name), &mask, width, height)?;
    report::write_probability_map(&folders.probabilities.join(&name), &map, width, height)?;
    let picture = report::picture(&image.pixels, channels, width, height)?;
    let overlay = Overlay { picture: &picture, truth: None, prediction: &mask };
    report::write_overlay(&folders.overlays.join(&name), &overlay)?;
    let foreground = mask.iter().filter(|m| **m).count();
    let code = rle::encode(image.width, image.height, |x, y| mask[y * image.width + x]);
    Ok(Predicted { foreground: foreground as f64 / mask.len().max(1) as f64, code })
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
