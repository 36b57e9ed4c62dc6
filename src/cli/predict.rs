//! `wgseg predict`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use super::mask_rule::MaskRuleArg;
use super::{DeviceArg, Outcome, say};
use crate::data::{ImageFile, decode, list_images, prepare, resize, rle};
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
    /// Images, or folders of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    rule: MaskRuleArg,
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
        match predict(&mut model, file, size, channels, rule, &folders) {
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
        "{} in {:.1} s by {rule}; masks, probabilities and overlays are in {}",
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

/// Writes the results of one image.
fn predict(
    model: &mut Model,
    file: &ImageFile,
    size: usize,
    channels: usize,
    rule: MaskRule,
    folders: &Folders,
) -> Result<Predicted, TrainError> {
    let image = decode::decode_image(&file.path, channels)?;
    let map = model.predict(&prepare(&image, size))?;
    let map = resize::resize_back(&map, size, image.width, image.height);
    let RuledMask { pixels: mask, emptied } = rule.mask(&map);
    let name = format!("{}.png", file.id);
    let (width, height) = (image.width as u32, image.height as u32);
    report::write_mask(&folders.masks.join(&name), &mask, width, height)?;
    report::write_probability_map(&folders.probabilities.join(&name), &map, width, height)?;
    let picture = report::picture(&image.pixels, channels, width, height)?;
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
