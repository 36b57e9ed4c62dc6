//! What a config needs of a device, known before anything is allocated.

use serde::Serialize;

use crate::config::Config;
use crate::program::{Caps, Precision, compile, compile_for};
use crate::train::TrainError;
use crate::train::step::{inference, train_step};

/// What a training needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Needs {
    /// Learned numbers of the network.
    pub parameters: usize,
    pub batch_size: usize,
    /// Side of the images in pixels.
    pub size: usize,
    /// Device memory of a training step; none where it does not fit.
    pub step_bytes: Option<u64>,
    /// Floating-point operations of a training step.
    pub step_flops: Option<u64>,
    /// Device memory to predict one image, without a training.
    pub predict_bytes: Option<u64>,
    /// Why the step does not fit.
    pub problem: Option<String>,
    /// The largest smaller batch that fits, of those made by halving.
    pub fitting_batch: Option<usize>,
}

/// Builds and compiles the steps of `config` as a training would.
pub fn of(config: &Config, caps: &Caps, precision: Precision) -> Needs {
    let (batch_size, size) = (config.train.batch_size, config.data.size);
    let mut needs = Needs { batch_size, size, ..Needs::default() };
    match step(config, batch_size, caps, precision) {
        Ok(Step { parameters, bytes, flops }) => {
            needs.parameters = parameters;
            (needs.step_bytes, needs.step_flops) = (Some(bytes), Some(flops));
        }
        Err(error) => {
            needs.problem = Some(error.to_string());
            let halves = std::iter::successors(Some(batch_size / 2), |batch| Some(batch / 2));
            let smaller = halves.take_while(|batch| *batch > 0);
            needs.fitting_batch =
                smaller.into_iter().find(|batch| step(config, *batch, caps, precision).is_ok());
        }
    }
    needs.predict_bytes = predict_bytes(config, caps).ok();
    needs
}

/// The first change of `config` with which a step fits, as `KEY=VALUE`: a smaller batch, else a smaller image, else fewer
/// channels; none where none does.
pub fn fitting(config: &Config, needs: &Needs, caps: &Caps, precision: Precision) -> Option<String> {
    if let Some(batch) = needs.fitting_batch {
        return Some(format!("train.batch_size={batch}"));
    }
    let halves = |from: usize, multiple: usize| {
        let half = move |value: &usize| Some(value / 2 / multiple * multiple).filter(|half| *half > 0);
        std::iter::successors(half(&from), half)
    };
    let fits = |config: &Config| {
        config.validate().is_ok() && step(config, config.train.batch_size, caps, precision).is_ok()
    };
    let sizes = halves(config.data.size, 1 << config.model.depth).find(|size| {
        let mut smaller = config.clone();
        smaller.data.size = *size;
        fits(&smaller)
    });
    let channels = || {
        halves(config.model.base_channels, 1).find(|channels| {
            let mut smaller = config.clone();
            smaller.model.base_channels = *channels;
            fits(&smaller)
        })
    };
    match sizes {
        Some(size) => Some(format!("data.size={size}")),
        None => channels().map(|channels| format!("model.base_channels={channels}")),
    }
}

struct Step {
    parameters: usize,
    bytes: u64,
    flops: u64,
}

fn step(config: &Config, batch: usize, caps: &Caps, precision: Precision) -> Result<Step, TrainError> {
    let step = train_step(config, batch, config.data.size)?;
    let learned = step.inits.iter().filter(|(name, ..)| !name.contains("running_"));
    let parameters = learned.map(|(_, shape, _)| shape.len()).sum();
    let program = compile_for(&step.tape, caps, precision)?;
    Ok(Step { parameters, bytes: program.peak_bytes(), flops: program.flops() })
}

fn predict_bytes(config: &Config, caps: &Caps) -> Result<u64, TrainError> {
    let (tape, _) = inference(config, 1, config.data.size)?;
    Ok(compile(&tape, caps)?.peak_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of an adapter whose bindings are of a megabyte at most.
    #[test]
    fn a_change_that_is_advised_fits() {
        let caps = Caps { max_binding_bytes: 1 << 20, ..Caps::default() };
        let mut config = Config::default();
        (config.data.size, config.model.base_channels, config.train.batch_size) = (1040, 8, 1);
        let needs = of(&config, &caps, Precision::F32);
        assert_eq!(needs.fitting_batch, None);
        let advice = fitting(&config, &needs, &caps, Precision::F32).unwrap();
        let size: usize = advice.strip_prefix("data.size=").unwrap().parse().unwrap();
        // 16 channels of f32 fit a megabyte at 128² at most.
        assert!(size.is_multiple_of(16) && (16..=128).contains(&size), "{size}");
        config.data.size = size;
        assert_eq!(of(&config, &caps, Precision::F32).problem, None);
        config.data.size = 2 * size;
        assert!(of(&config, &caps, Precision::F32).problem.is_some());
        // A weight that is too large is mended by no size.
        (config.data.size, config.model.base_channels) = (16, 64);
        let needs = of(&config, &caps, Precision::F32);
        let advice = fitting(&config, &needs, &caps, Precision::F32).unwrap();
        assert!(advice.starts_with("model.base_channels="), "{advice}");
    }

    /// By hand, for depth 1 and two channels: two stages of two 3×3 convolutions without bias, each with a norm's two
    /// vectors, an up-sampling with bias, and the head.
    #[test]
    fn parameters_are_those_of_the_network() {
        let mut config = Config::default();
        (config.model.depth, config.model.base_channels, config.data.size) = (1, 2, 8);
        let stage = |i: usize, o: usize| 9 * i * o + 2 * o + 9 * o * o + 2 * o;
        let up = 2 * 2 * 4 * 2 + 2;
        let expected = stage(1, 2) + stage(2, 4) + up + stage(4, 2) + (2 + 1);
        let needs = of(&config, &Caps::default(), Precision::F32);
        assert_eq!(needs.parameters, expected);
        assert_eq!(needs.problem, None);
        assert!(needs.step_bytes > needs.predict_bytes);
    }

    #[test]
    fn a_batch_that_fits_is_found() {
        let config = Config::default();
        let whole = of(&config, &Caps::default(), Precision::F32);
        // Room for less than the batch of 8, and for more than a batch of 1.
        let caps = Caps { memory_bytes: whole.step_bytes.map(|bytes| bytes / 2), ..Caps::default() };
        let needs = of(&config, &caps, Precision::F32);
        assert!(needs.problem.is_some());
        assert!(needs.fitting_batch.is_some_and(|batch| batch == 2 || batch == 4), "{needs:?}");
    }
}
