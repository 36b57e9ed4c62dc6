//! What a run will cost, without a device.

use std::collections::HashMap;

use super::run::{RunSpec, Work};
use crate::config::Config;
use crate::program::{Caps, compile};
use crate::train::TrainError;
use crate::train::step::{TrainStep, train_step};

/// What a run costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// None where they are a pass through the labelled images, and how many there are is not known.
    pub steps: Option<usize>,
    /// Floating-point operations of a step.
    pub flops: u64,
    /// Device memory of a step in bytes.
    pub bytes: u64,
}

impl Forecast {
    /// Operations of the whole training; none where the steps are not known.
    pub fn total_flops(&self) -> Option<f64> {
        Some(self.steps? as f64 * self.flops as f64)
    }
}

/// Makes forecasts; the program of a step is compiled once.
#[derive(Default)]
pub struct Forecaster {
    /// By width of the network: operations and bytes of a step of the target alone.
    steps: HashMap<usize, (u64, u64)>,
}

impl Forecaster {
    /// The cost of `spec` on an adapter with `caps`, with `labelled` images to train on. All runs asked for
    /// must be of one config.
    ///
    /// A step counts as that of the target for each branch: target, tasks, and the unlabelled images
    /// of a student. The heads of tasks and the answers of teachers are left out.
    ///
    /// # Errors
    /// The step cannot be built or is too large for the adapter.
    pub fn forecast(
        &mut self,
        spec: &RunSpec,
        labelled: Option<usize>,
        caps: &Caps,
    ) -> Result<Forecast, TrainError> {
        let mut config = spec.config.clone();
        let branches = match &spec.work {
            Work::Target { .. } => 1,
            Work::Joint { tasks, .. } => 1 + tasks.len(),
            Work::Pretrain { tasks } => tasks.len(),
            Work::Distil { .. } => {
                config.model.base_channels =
                    config.distillation.base_channels.unwrap_or(config.model.base_channels);
                2
            }
            Work::Ensemble { .. } => return Ok(Forecast { steps: Some(0), flops: 0, bytes: 0 }),
        } as u64;
        let (flops, bytes) = match self.steps.get(&config.model.base_channels) {
            Some(known) => *known,
            None => {
                let TrainStep { tape, .. } = train_step(&config, config.train.batch_size, config.data.size)?;
                let program = compile(&tape, caps)?;
                *self
                    .steps
                    .entry(config.model.base_channels)
                    .or_insert((program.flops(), program.peak_bytes()))
            }
        };
        let steps = steps(&config, &spec.work, labelled);
        Ok(Forecast { steps, flops: flops * branches, bytes: bytes * branches })
    }
}

/// Steps of a training; `labelled` images are there.
fn steps(config: &Config, work: &Work, labelled: Option<usize>) -> Option<usize> {
    let train = &config.train;
    if let (Work::Pretrain { .. }, Some(steps)) = (work, config.pretrain.steps) {
        return Some(steps);
    }
    let a_pass = || Some(labelled.or(train.labelled)?.div_ceil(train.batch_size).max(1));
    Some(train.epochs * train.steps_per_epoch.or_else(a_pass)?)
}

#[cfg(test)]
mod tests {
    use super::super::inputs::tests::spec;
    use super::*;
    use crate::method::run::CouplingChoice;

    fn small() -> RunSpec {
        let mut spec = spec("a", &[]);
        spec.config.data.size = 32;
        spec.config.model.base_channels = 8;
        spec.config.model.depth = 2;
        (spec.config.train.epochs, spec.config.train.batch_size) = (3, 4);
        spec
    }

    #[test]
    fn a_training_costs_its_steps_times_its_branches() {
        let mut forecaster = Forecaster::default();
        let mut spec = small();
        let mut of = |spec: &RunSpec| forecaster.forecast(spec, Some(10), &Caps::default()).unwrap();
        let alone = of(&spec);
        assert_eq!(alone.steps, Some(9));
        assert!(alone.flops > 0 && alone.bytes > 0);
        let coupling = CouplingChoice::Fixed(vec![0.1]);
        spec.work = Work::Joint { tasks: vec!["edges".into()], coupling };
        assert_eq!(of(&spec).flops, 2 * alone.flops);
        spec.work = Work::Distil { teachers: vec![] };
        spec.config.distillation.base_channels = Some(4);
        // A convolution between the stages costs a quarter at half the width.
        let student = of(&spec).flops as f64 / (2 * alone.flops) as f64;
        assert!((0.2..0.5).contains(&student), "{student}");
        spec.work = Work::Ensemble { teachers: vec![] };
        assert_eq!(of(&spec).total_flops(), Some(0.0));
    }

    #[test]
    fn steps_come_from_the_config_or_from_the_images() {
        let mut spec = small();
        let target = Work::Target { pretrained: None };
        assert_eq!(steps(&spec.config, &target, None), None);
        assert_eq!(steps(&spec.config, &target, Some(9)), Some(9));
        spec.config.train.labelled = Some(20);
        assert_eq!(steps(&spec.config, &target, None), Some(15));
        spec.config.train.steps_per_epoch = Some(50);
        assert_eq!(steps(&spec.config, &target, Some(9)), Some(150));
        spec.config.pretrain.steps = Some(7);
        assert_eq!(steps(&spec.config, &Work::Pretrain { tasks: vec![] }, Some(9)), Some(7));
    }
}
