//! What a run will cost, without a device.

use std::collections::HashMap;

use super::distil::{UNLABELLED, answered_at_once, asked_once, put_unlabelled};
use super::plan::ImageCounts;
use super::run::{RunSpec, Work};
use crate::config::Config;
use crate::config::schema::Teachers;
use crate::nn::Layers;
use crate::program::{Caps, compile, compile_for};
use crate::tape::Tape;
use crate::tasks::{self, Dims};
use crate::train::TrainError;
use crate::train::branch::{TARGET, segment};
use crate::train::single::steps_per_epoch;
use crate::train::step::{Build, Mix, inference, segmentation_loss, step_of_branches};
use crate::train::task_branch::{measured, put_on_tape};

/// What a run costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// None where they are a pass through the labelled images, and how many there are is not known.
    pub steps: Option<usize>,
    /// Floating-point operations of a step.
    pub flops: u64,
    /// Most device memory at a time in bytes: that of a step, and of teachers where there are any.
    pub bytes: u64,
    /// Floating-point operations of all answers outside of the steps: those by which epochs, tasks and
    /// the end are measured, and those of teachers. 0 where the images are not known.
    pub answers: u64,
}

impl Forecast {
    /// Operations of the whole run; none where the steps are not known.
    pub fn total_flops(&self) -> Option<f64> {
        Some(self.steps? as f64 * self.flops as f64 + self.answers as f64)
    }
}

/// Makes forecasts; runs of the same work and width share a compiled step.
#[derive(Default)]
pub struct Forecaster {
    /// By branches and width of the network: operations and bytes of a step.
    steps: HashMap<(Vec<String>, bool, usize), (u64, u64)>,
    /// By width: operations of an answer to one image.
    answers: HashMap<usize, u64>,
    /// By width: bytes of a network that answers.
    networks: HashMap<usize, u64>,
}

impl Forecaster {
    /// The cost of `spec` on an adapter with `caps`, with these images. All runs asked for must be of one
    /// config.
    ///
    /// The step is built and compiled as the training does it. A task's measure on an image counts as one
    /// answer of the whole network, though that of some ends at the encoder.
    ///
    /// # Errors
    /// The step cannot be built or is too large for the adapter.
    pub fn forecast(
        &mut self,
        spec: &RunSpec,
        images: Option<&ImageCounts>,
        caps: &Caps,
    ) -> Result<Forecast, TrainError> {
        let labelled = images.map(|images| images.train);
        // How many steps an epoch has is not known without images; then nor is how many there are of them.
        let epoch = epoch(&spec.config, labelled);
        let config = spec.training_config(epoch.unwrap_or(1));
        let (branches, coupled) = match &spec.work {
            Work::Target { .. } => (vec![TARGET.to_owned()], false),
            Work::Joint { tasks, .. } => ([&[TARGET.to_owned()], &tasks[..]].concat(), true),
            Work::Pretrain { tasks } => (tasks.clone(), false),
            Work::Distil { .. } => (vec![TARGET.to_owned(), UNLABELLED.to_owned()], false),
            Work::Ensemble { .. } => {
                let answers = self.answers(spec, &config, Some(0), images, caps)?;
                let bytes = self.teachers(spec, caps)?;
                return Ok(Forecast { steps: Some(0), flops: 0, bytes, answers });
            }
        };
        let steps = epoch.map(|epoch| epoch * config.train.epochs);
        let answers = self.answers(spec, &config, steps, images, caps)?;
        let key = (branches, coupled, config.model.base_channels);
        let (flops, bytes) = match self.steps.get(&key) {
            Some(known) => *known,
            None => {
                let tape = step(&config, &key.0, coupled)?;
                let program = compile_for(&tape, caps, config.train.precision)?;
                *self.steps.entry(key).or_insert((program.flops(), program.peak_bytes()))
            }
        };
        // Teachers that are asked once are gone before the student's step is made.
        let of_teachers = self.teachers(spec, caps)?;
        let bytes = if asked_once(&config) { bytes.max(of_teachers) } else { bytes + of_teachers };
        Ok(Forecast { steps, flops, bytes, answers })
    }

    /// Bytes of the teachers of `spec`, all of them there at once.
    fn teachers(&mut self, spec: &RunSpec, caps: &Caps) -> Result<u64, TrainError> {
        let (Work::Distil { teachers } | Work::Ensemble { teachers }) = &spec.work else { return Ok(0) };
        let config = &spec.config;
        let width = config.model.base_channels;
        let one = match self.networks.get(&width) {
            Some(known) => *known,
            None => {
                let (tape, _) = inference(config, answered_at_once(config), config.data.size)?;
                *self.networks.entry(width).or_insert(compile(&tape, caps)?.peak_bytes())
            }
        };
        Ok(teachers.len() as u64 * one)
    }

    /// Operations of the answers outside of the steps of `spec`, whose network is that of `config`.
    fn answers(
        &mut self,
        spec: &RunSpec,
        config: &Config,
        steps: Option<usize>,
        images: Option<&ImageCounts>,
        caps: &Caps,
    ) -> Result<u64, TrainError> {
        let (Some(images), Some(steps)) = (images, steps) else { return Ok(0) };
        let epochs = steps / steps_per_epoch(config, images.train);
        let of_task = measured(images.held_out, config.task_batch());
        let (mut own, mut of_teachers) = (0, 0);
        match &spec.work {
            Work::Target { .. } => own = epochs * images.val + images.test,
            Work::Joint { tasks, .. } => {
                own = epochs * (images.val + tasks.len() * of_task) + images.test;
            }
            Work::Pretrain { tasks } => own = epochs * tasks.len() * of_task,
            Work::Distil { teachers } => {
                own = epochs * images.val + images.test;
                let asked = match config.distillation.teachers {
                    Teachers::OnePerStep => 1,
                    Teachers::Uniform | Teachers::Weighted => teachers.len(),
                };
                of_teachers = match asked_once(config) {
                    true => teachers.len() * images.unlabelled,
                    false => asked * steps * (config.train.batch_size + config.task_batch()),
                };
            }
            Work::Ensemble { teachers } => of_teachers = teachers.len() * (images.val + images.test),
        }
        let (own_one, teacher_one) = (self.answer(config, caps)?, self.answer(&spec.config, caps)?);
        Ok(own as u64 * own_one + of_teachers as u64 * teacher_one)
    }

    /// Operations of an answer to one image.
    fn answer(&mut self, config: &Config, caps: &Caps) -> Result<u64, TrainError> {
        let width = config.model.base_channels;
        if let Some(known) = self.answers.get(&width) {
            return Ok(*known);
        }
        let (tape, _) = inference(config, 1, config.data.size)?;
        let flops = compile(&tape, caps)?.flops();
        self.answers.insert(width, flops);
        Ok(flops)
    }
}

/// The tape of a step with these branches.
fn step(config: &Config, branches: &[String], coupled: bool) -> Result<Tape, TrainError> {
    let (size, channels) = (config.data.size, config.model.in_channels);
    let target = |layers: &mut Layers, tape: &mut Tape| {
        let (logits, masks) = segment(layers, tape, config.train.batch_size, size)?;
        segmentation_loss(tape, logits, masks, &config.loss)
    };
    let dims = Dims { batch: config.task_batch(), size, channels };
    let other = |name: &str, layers: &mut Layers, tape: &mut Tape| match tasks::by_name(name) {
        Some(task) => Ok(put_on_tape(task, dims, layers, tape)?.loss),
        None => put_unlabelled(layers, tape, dims, config.distillation.temperature),
    };
    let others: Vec<_> = branches
        .iter()
        .map(|name| move |layers: &mut Layers, tape: &mut Tape| other(name, layers, tape))
        .collect();
    let builds: Vec<(&str, Build)> = branches
        .iter()
        .zip(&others)
        .map(|(name, other)| (name.as_str(), if name == TARGET { &target as Build } else { other as Build }))
        .collect();
    let weights = vec![1.0; branches.len()];
    let mix = if coupled { Mix::Coupled } else { Mix::Sum(&weights) };
    Ok(step_of_branches(config, &builds, mix, &|_| false)?.tape)
}

/// Steps of an epoch; `labelled` images are there.
fn epoch(config: &Config, labelled: Option<usize>) -> Option<usize> {
    let known = config.train.steps_per_epoch.or(labelled).or(config.train.labelled).is_some();
    known.then(|| steps_per_epoch(config, labelled.or(config.train.labelled).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::super::inputs::tests::spec;
    use super::*;
    use crate::config::schema::TeacherOutputs;
    use crate::method::run::{Candidates, CouplingChoice, TargetStart};

    const IMAGES: ImageCounts = ImageCounts { train: 10, val: 5, test: 7, unlabelled: 30, held_out: 7 };

    fn small() -> RunSpec {
        let mut spec = spec("a", &[]);
        spec.config.data.size = 32;
        spec.config.model.base_channels = 8;
        spec.config.model.depth = 2;
        (spec.config.train.epochs, spec.config.train.batch_size) = (3, 4);
        spec
    }

    #[test]
    fn a_step_costs_what_its_branches_do() {
        let mut forecaster = Forecaster::default();
        let mut spec = small();
        let mut of = |spec: &RunSpec| forecaster.forecast(spec, Some(&IMAGES), &Caps::default()).unwrap();
        let alone = of(&spec);
        assert_eq!(alone.steps, Some(9));
        assert!(alone.flops > 0 && alone.bytes > 0);
        let coupling = CouplingChoice::Fixed(vec![0.1]);
        spec.work = Work::Joint { tasks: vec!["edges".into()], coupling };
        let times = |flops: u64| flops as f64 / alone.flops as f64;
        let whole = times(of(&spec).flops);
        assert!((1.9..2.1).contains(&whole), "{whole}");
        let coupling = CouplingChoice::Fixed(vec![0.1]);
        spec.work = Work::Joint { tasks: vec!["rotation".into()], coupling };
        let encoder_alone = times(of(&spec).flops);
        assert!((1.2..1.8).contains(&encoder_alone), "{encoder_alone}");
        spec.work = Work::Distil { teachers: vec![] };
        spec.config.distillation.base_channels = Some(4);
        // A convolution between the stages costs a quarter at half the width.
        let student = of(&spec).flops as f64 / (2 * alone.flops) as f64;
        assert!((0.2..0.5).contains(&student), "{student}");
        spec.work = Work::Ensemble { teachers: vec![] };
        assert_eq!((of(&spec).steps, of(&spec).total_flops()), (Some(0), Some(0.0)));
    }

    #[test]
    fn teachers_take_memory_beside_the_step_where_they_are_asked_at_every_step() {
        let mut forecaster = Forecaster::default();
        let mut spec = small();
        let mut bytes =
            |spec: &RunSpec| forecaster.forecast(spec, Some(&IMAGES), &Caps::default()).unwrap().bytes;
        let of = |name: &str| Candidates { name: name.into(), runs: vec![] };
        let (tape, _) = inference(&spec.config, 4, 32).unwrap();
        let one = compile(&tape, &Caps::default()).unwrap().peak_bytes();
        spec.work = Work::Ensemble { teachers: vec![of("a"), of("b"), of("c")] };
        assert_eq!(bytes(&spec), 3 * one);
        spec.work = Work::Distil { teachers: vec![] };
        let alone = bytes(&spec);
        spec.work = Work::Distil { teachers: vec![of("a"), of("b"), of("c")] };
        spec.config.distillation.teacher_outputs = TeacherOutputs::Once;
        assert_eq!(bytes(&spec), alone.max(3 * one));
        spec.config.distillation.teacher_outputs = TeacherOutputs::EveryStep;
        assert_eq!(bytes(&spec), alone + 3 * one);
    }

    #[test]
    fn answers_are_those_of_validation_tasks_and_teachers() {
        let mut forecaster = Forecaster::default();
        let mut spec = small();
        let answer = {
            let (tape, _) = inference(&spec.config, 1, 32).unwrap();
            compile(&tape, &Caps::default()).unwrap().flops()
        };
        let mut images_of = |work: Work, change: fn(&mut Config)| {
            spec.work = work;
            change(&mut spec.config);
            let forecast = forecaster.forecast(&spec, Some(&IMAGES), &Caps::default()).unwrap();
            assert_eq!(forecast.answers % answer, 0);
            forecast.answers / answer
        };
        let tasks = || vec!["edges".to_owned(), "rotation".to_owned()];
        let teachers = || {
            let of = |name: &str| Candidates { name: name.into(), runs: vec![] };
            vec![of("a"), of("b"), of("c")]
        };
        // Three epochs of three steps; 5 validation and 7 test images, and of 7 held out a batch of 4.
        let target = Work::Target { start: TargetStart::Scratch };
        assert_eq!(images_of(target.clone(), |_| {}), 3 * 5 + 7);
        let coupling = CouplingChoice::Named("equal".into());
        assert_eq!(images_of(Work::Joint { tasks: tasks(), coupling }, |_| {}), 3 * (5 + 2 * 4) + 7);
        assert_eq!(images_of(Work::Pretrain { tasks: tasks() }, |_| {}), 3 * 2 * 4);
        assert_eq!(images_of(Work::Ensemble { teachers: teachers() }, |_| {}), 3 * (5 + 7));
        let once = |c: &mut Config| c.distillation.teacher_outputs = TeacherOutputs::Once;
        assert_eq!(images_of(Work::Distil { teachers: teachers() }, once), 3 * 5 + 7 + 3 * 30);
        let every_step = |c: &mut Config| c.distillation.teacher_outputs = TeacherOutputs::EveryStep;
        assert_eq!(images_of(Work::Distil { teachers: teachers() }, every_step), 3 * 5 + 7 + 3 * 9 * (4 + 4));
        let one_a_step = |c: &mut Config| c.distillation.teachers = Teachers::OnePerStep;
        assert_eq!(images_of(Work::Distil { teachers: teachers() }, one_a_step), 3 * 5 + 7 + 9 * (4 + 4));
        let unknown = RunSpec { work: target, ..small() };
        assert_eq!(forecaster.forecast(&unknown, None, &Caps::default()).unwrap().answers, 0);
    }

    #[test]
    fn steps_come_from_the_config_or_from_the_images() {
        let mut spec = small();
        let steps = |spec: &RunSpec, train: Option<usize>| {
            let images = train.map(|train| ImageCounts { train, ..IMAGES });
            Forecaster::default().forecast(spec, images.as_ref(), &Caps::default()).unwrap().steps
        };
        assert_eq!(steps(&spec, None), None);
        assert_eq!(steps(&spec, Some(9)), Some(9));
        spec.config.train.labelled = Some(20);
        assert_eq!(steps(&spec, None), Some(15));
        spec.config.train.steps_per_epoch = Some(50);
        assert_eq!(steps(&spec, Some(9)), Some(150));
        spec.config.pretrain.steps = Some(7);
        // Whole epochs.
        spec.work = Work::Pretrain { tasks: vec!["edges".into()] };
        assert_eq!(steps(&spec, Some(9)), Some(50));
    }
}
