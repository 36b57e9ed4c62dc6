//! Models that answer together: the teachers of a student, and the ensemble that is its ceiling.

use crate::config::schema::{DistillationConfig, Teachers};
use crate::data::Cache;
use crate::train::TrainError;
use crate::train::model::Model;
use crate::train::validation::{Segmenter, Visit};

/// Models that teach, with their shares in the mean.
pub struct Faculty {
    pub models: Vec<Model>,
    /// Sum to 1.
    pub weights: Vec<f64>,
}

impl Faculty {
    /// For each image `[size, size, in_channels]` the mean of the models' probabilities `[size, size, 1]`.
    pub fn predict_all(&mut self, images: &[&[f32]]) -> Result<Vec<Vec<f32>>, TrainError> {
        let mut means: Vec<Vec<f32>> = vec![];
        for (model, weight) in self.models.iter_mut().zip(&self.weights) {
            let answers = model.predict_all(images)?;
            means.resize_with(images.len(), Vec::new);
            for (mean, answer) in means.iter_mut().zip(answers) {
                mean.resize(answer.len(), 0.0);
                mean.iter_mut().zip(answer).for_each(|(sum, p)| *sum += *weight as f32 * p);
            }
        }
        // A mean of ones may round to a little more.
        means.iter_mut().flatten().for_each(|p| *p = p.clamp(0.0, 1.0));
        Ok(means)
    }
}

impl Segmenter for Faculty {
    fn segment(&mut self, cache: &Cache, visit: &mut Visit) -> Result<(), TrainError> {
        let images: Vec<&[f32]> = (0..cache.len()).map(|i| cache.image(i)).collect();
        for (i, probabilities) in self.predict_all(&images)?.iter().enumerate() {
            let mask: Vec<f32> = cache.mask(i).iter().map(|y| f32::from(*y)).collect();
            visit(i, probabilities, &mask)?;
        }
        Ok(())
    }
}

/// The shares of teachers with these validation Dices.
pub fn shares(config: &DistillationConfig, val_dices: &[f64]) -> Vec<f64> {
    let total: f64 = val_dices.iter().sum();
    match config.teachers {
        Teachers::Weighted if total > 0.0 => val_dices.iter().map(|dice| dice / total).collect(),
        _ => vec![1.0 / val_dices.len() as f64; val_dices.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_equal_or_by_validation_dice() {
        let mut config = DistillationConfig::default();
        assert_eq!(shares(&config, &[0.9, 0.3]), [0.5, 0.5]);
        config.teachers = Teachers::Weighted;
        let [first, second] = shares(&config, &[0.9, 0.3])[..] else { panic!("two shares") };
        assert!((first - 0.75).abs() < 1e-12 && (second - 0.25).abs() < 1e-12);
        assert_eq!(shares(&config, &[0.0, 0.0]), [0.5, 0.5]);
    }
}
