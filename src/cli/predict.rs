//! `wgseg predict`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use super::{AdapterArg, Outcome, say};
use crate::data::{decode, list_images, prepare_image, resize};
use crate::report::{self, Overlay};
use crate::train::model::ModelFile;

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
    #[arg(long)]
    threshold: Option<f64>,
    #[command(flatten)]
    adapter: AdapterArg,
}

pub fn run(args: Args) -> Outcome {
    let model = ModelFile::open(&args.model)?;
    let (size, channels) = (model.config.data.size, model.config.model.in_channels);
    let threshold = args.threshold.unwrap_or(model.info.threshold);
    let files = list_images(&args.images)?;
    report::check_free(&args.out)?;

    let gpu = args.adapter.open()?;
    let mut model = model.load(&gpu, 1)?;
    let [masks, probabilities, overlays] =
        ["masks", "probabilities", "overlays"].map(|name| args.out.join(name));
    for folder in [&masks, &probabilities, &overlays] {
        report::make_folder(folder)?;
    }
    let start = Instant::now();
    let mut failed = 0;
    for file in &files {
        let prepared = match prepare_image(&file.path, size, channels) {
            Ok(prepared) => prepared,
            Err(error) => {
                // One bad file among many must not cost the results of the others.
                eprintln!("error: {error}");
                failed += 1;
                continue;
            }
        };
        let map = model.predict(&prepared.pixels)?;
        let (width, height) = (prepared.width, prepared.height);
        let map = resize::resize_back(&map, size, width, height);
        let mask: Vec<bool> = map.iter().map(|p| f64::from(*p) > threshold).collect();
        let name = format!("{}.png", file.id);
        let (w, h) = (width as u32, height as u32);
        report::write_mask(&masks.join(&name), &mask, w, h)?;
        report::write_probability_map(&probabilities.join(&name), &map, w, h)?;
        let image = decode::decode_image(&file.path, channels)?;
        let picture = report::picture(&image.pixels, channels, w, h)?;
        let overlay = Overlay { picture: &picture, truth: None, prediction: &mask };
        report::write_overlay(&overlays.join(&name), &overlay)?;
        let foreground = mask.iter().filter(|m| **m).count();
        say!("{}: {:.2} % foreground", file.id, 100.0 * foreground as f64 / mask.len().max(1) as f64);
    }
    let done = files.len() - failed;
    eprintln!(
        "{done} images in {:.1} s; masks, probabilities and overlays are in {}",
        start.elapsed().as_secs_f64(),
        args.out.display()
    );
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
