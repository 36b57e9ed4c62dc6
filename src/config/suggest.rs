//! A config for a data folder, with its reasons.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError};
use crate::config::schema::DataConfig;
use crate::data::{CheckReport, check};

/// A config and its text, which says why each key is as it is.
#[derive(Clone, Debug)]
pub struct Suggestion {
    pub text: String,
    pub config: Config,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum SuggestError {
    #[error("{what}. {mend} `wgseg data check {}` lists all that is wrong.", .folder.display())]
    Unsound { folder: PathBuf, what: String, mend: String },
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Largest side that is suggested: what fits a small GPU, and shows what a radiograph's masks show.
const LARGEST: usize = 256;
/// A batch that batch normalisation likes, where there are as many images.
const BATCH: usize = 8;
/// Fewest steps of an epoch: of small sets several passes make one, so that validation costs less than training.
const STEPS: usize = 50;

/// Looks at the whole folder and makes a config of what is there.
///
/// # Errors
/// The folder is not sound.
pub fn of(folder: &Path) -> Result<Suggestion, SuggestError> {
    let mut report = check(folder, &DataConfig::default());
    let threshold = mask_threshold(&report);
    if threshold.is_some() {
        report = check(folder, &DataConfig { mask_threshold: threshold, ..DataConfig::default() });
    }
    if let Some(problem) = report.problems.first() {
        let file = problem.file.as_ref().map_or(String::new(), |file| format!("{}: ", file.display()));
        let (what, mend) = (format!("{file}{}", problem.what), problem.mend.clone());
        return Err(SuggestError::Unsound { folder: folder.to_owned(), what, mend });
    }
    let text = text(folder, &report, threshold);
    let config = Config::parse(&text, "the suggested config", &[])?;
    Ok(Suggestion { text, config })
}

/// None where masks are 0/1 or 0/255. JPEG's greys are split in the middle; few values are labels, and all above 0 count.
fn mask_threshold(report: &CheckReport) -> Option<f64> {
    let values: Vec<u16> = report.mask_values.iter().map(|counted| counted.value).collect();
    let plain = |top: u16| values.iter().all(|value| *value == 0 || *value == top);
    if plain(1) || plain(255) {
        return None;
    }
    let labels = values.iter().all(|value| *value < 32);
    let wide = report.mask_pixels.iter().any(|pixels| pixels.bits == 16);
    Some(if labels {
        0.0
    } else if wide {
        32767.0
    } else {
        127.0
    })
}

fn text(folder: &Path, report: &CheckReport, threshold: Option<f64>) -> String {
    let side = |spread: Option<crate::data::check::Spread>| spread.map_or(LARGEST, |s| s.median as usize);
    let (width, height) = (side(report.width), side(report.height));
    let depth = if width.min(height) >= 64 { 4 } else { 2 };
    let unit = 1 << depth;
    let size = (width.min(height).min(LARGEST) / unit).max(1) * unit;
    let colour = report.image_pixels.iter().any(|pixels| pixels.channels == 3);
    let train = report
        .parts
        .iter()
        .find(|count| count.part == crate::data::Part::Train)
        .map_or(report.images, |count| count.images);
    let batch = train.clamp(1, BATCH);
    let pass = train.div_ceil(batch);
    let positives = report.positive_share.unwrap_or(1.0);
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);

    let mut lines = vec![
        format!("# For {}: {} images, {} to train on.", folder.display(), report.images, train),
        "# Keys that are not here have their defaults: `wgseg config default` lists all, with their meaning."
            .to_owned(),
        String::new(),
        "[data]".to_owned(),
        format!(
            "# The images' median is {width}×{height}. Larger shows finer structures and costs by its square."
        ),
        format!("size = {size}"),
    ];
    if let Some(threshold) = threshold {
        lines.push(
            "# The masks have other values than 0 and 1 or 0 and 255: those above this are foreground."
                .into(),
        );
        lines.push(format!("mask_threshold = {threshold}"));
    }
    if report.split_file.is_none() {
        lines.push(
            "# There is no split.csv: images are drawn. `wgseg data split` writes one, by patient too."
                .into(),
        );
        lines.push("seed = 0".into());
    }
    lines.extend([
        String::new(),
        "[model]".to_owned(),
        format!("# The images are {}.", if colour { "in colour, some or all" } else { "grey" }),
        format!("in_channels = {}", if colour { 3 } else { 1 }),
        "# Twice as many cost four times as much.".to_owned(),
        "base_channels = 16".to_owned(),
        format!("depth = {depth}"),
        String::new(),
        "[train]".to_owned(),
        format!("batch_size = {batch}"),
        "epochs = 20".to_owned(),
    ]);
    if pass < STEPS {
        lines.push(format!("# A pass through the images is {pass} steps: an epoch is several."));
        lines.push(format!("steps_per_epoch = {STEPS}"));
    }
    if positives > 0.0 && positives < 0.5 {
        lines.push(format!(
            "# Only {} of the masks have foreground: half of each batch has.",
            percent(positives)
        ));
        lines.push("positive_fraction = 0.5".into());
    }
    lines.push(String::new());
    lines.push("[loss]".into());
    let share = report.foreground_share.unwrap_or(0.0);
    lines.push(format!(
        "# {} of all pixels are foreground. The rarer it is, the more Dice keeps masks from staying empty.",
        percent(share)
    ));
    lines.extend(["bce = 1.0".to_owned(), "dice = 1.0".to_owned(), String::new()]);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::{folder, picture};

    #[test]
    fn a_config_for_a_small_grey_folder() {
        let dir = folder(12);
        let Suggestion { text, config } = of(dir.path()).unwrap();
        assert_eq!((config.data.size, config.model.depth, config.model.in_channels), (8, 2, 1));
        assert_eq!(config.data.mask_threshold, None);
        assert_eq!(config.train.steps_per_epoch, Some(STEPS));
        assert!(text.contains("12 images"), "{text}");
    }

    #[test]
    fn grey_masks_get_a_threshold_and_colour_three_channels() {
        let dir = folder(12);
        picture(8, 8, 3, 8).save(dir.path().join("images/a00.png")).unwrap();
        // As JPEG leaves them: nearly 0 and nearly 255.
        let grey = image::GrayImage::from_fn(8, 8, |x, _| image::Luma([if x < 4 { 3 } else { 250 }]));
        grey.save(dir.path().join("masks/a00.png")).unwrap();
        let config = of(dir.path()).unwrap().config;
        assert_eq!((config.data.mask_threshold, config.model.in_channels), (Some(127.0), 3));
    }

    #[test]
    fn a_folder_that_is_not_sound_is_told() {
        let dir = folder(6);
        std::fs::remove_file(dir.path().join("masks/a01.png")).unwrap();
        let error = of(dir.path()).unwrap_err().to_string();
        assert!(error.contains("a01") && error.contains("wgseg data check"), "{error}");
    }
}
