//! Overlays of the student's best, median and worst test images, with the baseline's beside.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat};

use super::source::{Chosen, Experiment};
use crate::data::{Cache, Item, Scoring};
use crate::gpu::{Gpu, GpuOptions};
use crate::method::plan::Role;
use crate::report::{Overlay, ReportError, picture, select};
use crate::train::TrainError;
use crate::train::checkpoint::BEST;
use crate::train::model::ModelFile;
use crate::train::validation::Predicted;

/// Images of each kind.
const COUNT: usize = 3;
/// Side of a drawn image in pixels.
const SIDE: u32 = 288;

/// A test image as two models see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Best, median or worst.
    pub kind: &'static str,
    pub id: String,
    pub drawn: Vec<Drawn>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    pub method: String,
    pub dice: f64,
    /// `data:image/png;base64,…`
    pub uri: String,
}

/// What was drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cases {
    pub seed: u64,
    pub cases: Vec<Case>,
    /// What a reader must know of them, or why there are none.
    pub note: Option<String>,
}

/// Predicts and draws the images of the first seed that has a student.
pub fn draw(experiment: &Experiment, adapter: &GpuOptions) -> Cases {
    let none = |note: String| Cases { note: Some(note), ..Cases::default() };
    let found = |seed: &u64| Some((*seed, models(experiment, *seed)?));
    let Some((seed, models)) = experiment.plan.seeds.iter().find_map(found) else {
        return none("No student is complete yet.".into());
    };
    match draw_models(experiment, &models, adapter) {
        Ok((cases, note)) => Cases { seed, cases, note },
        Err(error) => {
            none(format!("The overlays could not be drawn: {}.", error.to_string().trim_end_matches('.')))
        }
    }
}

/// The student, and the baseline if there is one.
fn models(experiment: &Experiment, seed: u64) -> Option<Vec<(&str, Chosen<'_>)>> {
    let of = |role| {
        let method = experiment.of_role(role)?;
        Some((method.name.as_str(), experiment.chosen(seed, &method.runs)?))
    };
    Some([of(Role::Method)?].into_iter().chain(of(Role::Baseline)).collect())
}

fn draw_models(
    experiment: &Experiment,
    models: &[(&str, Chosen)],
    adapter: &GpuOptions,
) -> Result<(Vec<Case>, Option<String>), TrainError> {
    let plan = &experiment.plan;
    let scores = &models[0].1.segmentation.test.images;
    let selection = select(scores, COUNT);
    let kinds = [("Best", selection.best), ("Median", selection.median), ("Worst", selection.worst)];
    let shown: Vec<(&'static str, &str)> = kinds
        .into_iter()
        .flat_map(|(kind, places)| places.into_iter().map(move |place| (kind, place)))
        .map(|(kind, place)| (kind, scores[place].id.as_str()))
        .collect();
    // All images of the folder; which of them were the test images the results know.
    let mut data = plan.config.data.clone();
    data.split_file = None;
    let items: Vec<Item> = Scoring::select(&plan.data, &data, None, None)?.items;
    let items: Vec<Item> =
        items.into_iter().filter(|item| shown.iter().any(|(_, id)| *id == item.id)).collect();
    if items.is_empty() {
        return Ok((vec![], Some(format!("{} holds none of the test images.", plan.data.display()))));
    }
    let cache = Cache::of_items(&items, plan.config.model.in_channels, &data)?;
    let gpu = Gpu::open(adapter)?;
    let mut predicted = Vec::new();
    for (name, chosen) in models {
        predicted.push((*name, *chosen, predict(&experiment.root, chosen, &gpu, &cache)?));
    }
    let mut cases = Vec::new();
    for (kind, id) in &shown {
        if let Some(place) = cache.ids().iter().position(|found| found == id) {
            let drawn = predicted.iter().map(|(name, _, predicted)| draw_one(&cache, place, name, predicted));
            cases.push(Case { kind, id: (*id).to_owned(), drawn: drawn.collect::<Result<_, _>>()? });
        }
    }
    Ok((cases, note(&predicted, shown.len(), cache.len())))
}

fn predict(root: &Path, chosen: &Chosen, gpu: &Arc<Gpu>, cache: &Cache) -> Result<Predicted, TrainError> {
    let file = ModelFile::open(&root.join(&chosen.run.folder).join(BEST))?;
    file.load(gpu, cache.len())?.evaluate(cache, chosen.segmentation.threshold)
}

fn draw_one(cache: &Cache, place: usize, method: &str, predicted: &Predicted) -> Result<Drawn, ReportError> {
    let side = cache.size() as u32;
    let truth: Vec<bool> = cache.mask(place).iter().map(|y| *y == 1).collect();
    let picture = picture(cache.image(place), cache.channels(), side, side)?;
    let overlay = Overlay { picture: &picture, truth: Some(&truth), prediction: &predicted.masks[place] };
    let dice = predicted.evaluation.images[place].dice;
    Ok(Drawn { method: method.to_owned(), dice, uri: data_uri(overlay.draw(SIDE, SIDE)?.into())? })
}

fn data_uri(image: DynamicImage) -> Result<String, ReportError> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).map_err(ReportError::draw)?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(bytes.get_ref())))
}

/// Whether these are the scores that the runs had: the data may have changed since.
fn note(predicted: &[(&str, Chosen, Predicted)], wanted: usize, found: usize) -> Option<String> {
    let mut notes = Vec::new();
    if found < wanted {
        notes.push(format!(
            "{} of the {wanted} images to show are no longer in the data folder.",
            wanted - found
        ));
    }
    let differs = predicted.iter().any(|(_, chosen, predicted)| {
        predicted.evaluation.images.iter().any(|image| {
            let before = chosen.segmentation.test.images.iter().find(|before| before.id == image.id);
            before.is_some_and(|before| (before.dice - image.dice).abs() > 0.005)
        })
    });
    if differs {
        notes.push(
            "The Dice of some of these images differs from that of the run: data, checkpoints or adapter have changed \
             since."
                .into(),
        );
    }
    (!notes.is_empty()).then(|| notes.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_becomes_a_uri_that_holds_it() {
        let image = DynamicImage::new_rgb8(3, 2);
        let uri = data_uri(image.clone()).unwrap();
        let bytes = STANDARD.decode(uri.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8(), image.to_rgb8());
    }
}
