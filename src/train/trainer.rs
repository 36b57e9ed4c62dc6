//! The training loop.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::TrainError;
use super::branch::Feed;
use super::checkpoint::{self, BEST, Checkpoint, CheckpointInfo, LAST, Tensors};
use super::coupled::{OBSERVED, Observed, WEIGHTS, read_observed};
use super::loss_scale::{LEAST, LOSS_SCALE};
use super::metrics::MetricsError;
use super::min_area::MinArea;
use super::predictor::{Predictor, load_weights};
use super::resume::{Progressed, STATE, open_saved};
use super::schedule::learning_rate;
use super::setup::{Mixing, Setup, Start, build_step, initialise, is_networks};
use super::sheet::draw_row;
use super::step::{HELD_HYPER, HYPER, LOSS, TrainStep, loss_of};
use super::task_branch::Probe;
use super::threshold::Threshold;
use super::validation::{Network, Validation, evaluate, validate};
use crate::data::Loader;
use crate::gpu::{Gpu, Session, States};
use crate::ops::Hyper;
use crate::program::{Precision, Program, compile_for};
use crate::report::{BranchRow, EpochRow, RunFolder, RunInfo, StepRow};
use crate::tape::Shape;

/// Longest time between two savings of the training state, so that a run that is killed loses
/// no more than this.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// Kernels that take a software driver so long to compile that the user is told.
const MANY_KERNELS: usize = 10;

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSummary {
    /// It was stopped from outside and can be resumed.
    pub interrupted: bool,
    pub steps: usize,
    pub best_epoch: usize,
    /// Mean Dice on the validation images after the best epoch.
    pub best_dice: f64,
    pub threshold: Threshold,
    /// Chosen after the threshold; `best_dice` is without it.
    pub min_area: MinArea,
    /// Numbers that are trained.
    pub parameters: usize,
}

/// What is written of the adapter that a run is made on.
pub fn run_info(gpu: &Gpu) -> RunInfo {
    let adapter = gpu.description();
    let info = RunInfo::new(&adapter.name, &adapter.backend, &adapter.driver);
    RunInfo { tuning: gpu.caps().choices.id(), ..info }
}

/// A training under way.
pub struct Trainer<'a> {
    gpu: Arc<Gpu>,
    setup: Setup<'a>,
    folder: RunFolder,
    session: Session,
    /// Steps in which the parameters taken from a checkpoint stay as they are.
    held_steps: usize,
    predictor: Option<Predictor>,
    probes: Vec<Probe>,
    states: States,
    /// The segmentation network's states, else those of all branches: what a checkpoint holds.
    weights: Vec<(String, Shape)>,
    /// What else is saved to resume: heads and statistics of tasks, the optimiser's moments, the loss's scale.
    others: Vec<(String, Shape)>,
    parameters: usize,
    progressed: Progressed,
    /// Since when the time of the current epoch is not yet in `progressed`.
    clock: Instant,
    /// Steps whose loss has not been read yet, with their learning rate.
    unread: VecDeque<(usize, f64)>,
}

impl<'a> Trainer<'a> {
    /// Compiles the step, and makes or opens the run folder. The folder is made only when the program
    /// fits.
    pub fn new(gpu: &Arc<Gpu>, setup: Setup<'a>) -> Result<Trainer<'a>, TrainError> {
        let config = setup.config;
        let saved = if setup.resume { Some(open_saved(setup.out, config)?) } else { None };
        let given = match &setup.start {
            Start::Scratch => None,
            Start::From { checkpoint, frozen_steps } => Some((Checkpoint::open(checkpoint)?, *frozen_steps)),
        };

        let held_steps = given.as_ref().map_or(0, |(_, steps)| *steps);
        let held = |name: &str| {
            held_steps > 0 && given.as_ref().is_some_and(|(given, _)| given.contains(name).unwrap_or(false))
        };
        let TrainStep { tape, inits, moments, scaling, .. } = build_step(&setup, &held)?;
        let program = compile_for(&tape, gpu.caps(), config.train.precision)?;
        let parameters = tape.parameters().iter().map(|(_, v)| tape.shape(*v).len()).sum();
        let mut states = States::new();
        let kernels = gpu.kernels_to_compile(&program);
        if kernels >= MANY_KERNELS {
            setup.watch.note(&format!("{kernels} kernels to compile, unless the driver's cache has them"));
        }
        let session = Session::new(gpu, program, &mut states)?;
        let predictor = match &setup.val {
            None => None,
            Some(val) => {
                let mut predictor = Predictor::new(gpu, config, config.data.size);
                predictor.prepare(config.train.batch_size.min(val.len()), &mut states)?;
                Some(predictor)
            }
        };
        let probes = (setup.probes)(gpu, &mut states)?;

        let in_checkpoint = |name: &str| predictor.is_none() || is_networks(name, &setup);
        let (weights, mut others): (Vec<_>, Vec<_>) =
            inits.iter().map(|(n, s, _)| (n.clone(), s.clone())).partition(|(name, _)| in_checkpoint(name));
        others.extend(moments);
        others.extend(scaling.iter().map(|(name, _)| (name.clone(), Shape::scalar())));

        let mut info = run_info(gpu);
        let (folder, progressed) = match saved {
            None => {
                initialise(gpu, &states, &inits, config.train.seed, given.as_ref().map(|(c, _)| c))?;
                for (name, init) in &scaling {
                    states.write(gpu, name, &init.numbers(1, config.train.seed, name))?;
                }
                let folder = RunFolder::create(setup.out, STATE)?;
                folder.write_config(config)?;
                info.weights = given.as_ref().map(|(checkpoint, _)| checkpoint.sha256());
                folder.write_info(&info)?;
                (folder, Progressed::default())
            }
            Some((checkpoint, progressed)) => {
                let started = RunInfo::read(setup.out);
                if let Some(started) = started.as_ref().filter(|started| started.tuning != info.tuning) {
                    let path = setup.out.to_owned();
                    return Err(TrainError::ResumeTuning {
                        path,
                        found: started.tuning.clone(),
                        wanted: info.tuning,
                    });
                }
                for (name, shape) in weights.iter().chain(&others) {
                    states.write(gpu, name, &checkpoint.tensor(name, shape)?)?;
                }
                info.weights = started.as_ref().and_then(|started| started.weights.clone());
                if started.is_some_and(|started| started != info) {
                    setup.watch.note(
                        "the run was started by another adapter, driver or version: it goes on, but not to the same bits",
                    );
                }
                (RunFolder::resume(setup.out, progressed.step)?, progressed)
            }
        };
        let mut trainer = Trainer {
            gpu: Arc::clone(gpu),
            setup,
            folder,
            session,
            held_steps,
            predictor,
            probes,
            states,
            weights,
            others,
            parameters,
            progressed,
            clock: Instant::now(),
            unread: VecDeque::new(),
        };
        if let Mixing::Coupled(coupling) = &mut trainer.setup.mixing
            && trainer.setup.resume
        {
            coupling
                .restore(&trainer.progressed.coupling)
                .map_err(|message| TrainError::Coupling { path: trainer.setup.out.join(STATE), message })?;
        }
        Ok(trainer)
    }

    /// The program of a step.
    pub fn program(&self) -> &Program {
        self.session.program()
    }

    pub fn total_steps(&self) -> usize {
        self.setup.config.train.epochs * self.setup.steps_per_epoch
    }

    /// Trains to the end, or until it is stopped from outside.
    pub fn run(&mut self) -> Result<TrainSummary, TrainError> {
        if !self.setup.resume {
            // From here on a run that is killed can be resumed.
            if let Mixing::Coupled(coupling) = &self.setup.mixing {
                self.progressed.coupling = coupling.save();
            }
            self.save_state()?;
        }
        let total = self.total_steps();
        self.setup.watch.start(self.setup.config.train.epochs, total, self.progressed.step);
        let branches = self.setup.branches.clone();
        let feed = move |step| {
            let mut feed = vec![];
            for branch in &branches {
                feed.extend(branch.feed(step)?);
            }
            Ok(feed)
        };
        let first = self.progressed.step as u64;
        let mut loader = Loader::start(Arc::new(feed), first, self.setup.config.data.workers)?;
        let mut last_save = Instant::now();
        self.clock = Instant::now();
        while self.progressed.step < total && !self.progressed.finished {
            self.step(loader.next_batch()?)?;
            if self.progressed.step.is_multiple_of(self.setup.steps_per_epoch) {
                self.drain()?;
                self.finish_epoch()?;
                last_save = Instant::now();
            } else if last_save.elapsed() > SAVE_EVERY {
                self.save_within_epoch()?;
                last_save = Instant::now();
            }
            if self.setup.stop.load(Ordering::Relaxed) && self.progressed.step < total {
                self.save_within_epoch()?;
                self.setup.watch.finish();
                return Ok(self.summary(true));
            }
        }
        self.setup.watch.finish();
        Ok(self.summary(false))
    }

    fn summary(&self, interrupted: bool) -> TrainSummary {
        TrainSummary {
            interrupted,
            steps: self.progressed.step,
            best_epoch: self.progressed.best_epoch,
            best_dice: self.progressed.best_dice,
            threshold: self.progressed.threshold,
            min_area: self.progressed.min_area,
            parameters: self.parameters,
        }
    }

    fn step(&mut self, mut feed: Feed) -> Result<(), TrainError> {
        let step = self.progressed.step;
        let rate = learning_rate(&self.setup.config.train, step, self.total_steps());
        if let Some(teach) = &mut self.setup.teach {
            teach(step as u64, &mut feed)?;
        }
        let session = &mut self.session;
        for (name, data) in &feed {
            session.write(name, data)?;
        }
        let hyper = |rate| Hyper::adam_defaults(rate, step + 1).to_array();
        session.write(HYPER, &hyper(rate))?;
        if self.held_steps > 0 {
            // Their moments are gathered from the start, so that they do not leap when they are let go.
            session.write(HELD_HYPER, &hyper(if step < self.held_steps { 0.0 } else { rate }))?;
        }
        match &mut self.setup.mixing {
            Mixing::Sum(_) => {
                self.unread.push_back((step + 1, rate));
                let read = session.run_step()?;
                self.progressed.step += 1;
                self.note(read)
            }
            Mixing::Coupled(coupling) => {
                session.run_part(0)?;
                let branches = self.setup.branches.len();
                let (losses, gram, scale) = read_observed(&session.read(OBSERVED)?, branches);
                let weights = coupling.weights(&Observed { step, losses: &losses, gram: &gram });
                let all: Vec<f32> = weights.shared.iter().chain(&weights.own).map(|w| *w as f32).collect();
                session.write(WEIGHTS, &all)?;
                session.run_part(1)?;
                self.progressed.step += 1;
                self.progressed.coupling = coupling.save();
                let loss = losses.iter().zip(&weights.own).map(|(loss, weight)| loss * weight).sum();
                self.note_loss(step + 1, loss, rate)?;
                self.check_scale(step + 1, scale)?;
                for (k, branch) in self.setup.branches.iter().enumerate() {
                    let cosine = gram[0][k] / (gram[0][0] * gram[k][k]).sqrt();
                    self.folder.log_branch(BranchRow {
                        step: step + 1,
                        branch: branch.name().to_owned(),
                        loss: losses[k],
                        weight: weights.shared[k],
                        cosine: (k > 0 && cosine.is_finite()).then_some(cosine),
                    })?;
                }
                Ok(())
            }
        }
    }

    /// Waits for the losses still under way.
    fn drain(&mut self) -> Result<(), TrainError> {
        let read = self.session.finish_steps()?;
        self.note(read)
    }

    /// Logs the losses that were read, oldest first.
    fn note(&mut self, read: Vec<Vec<f32>>) -> Result<(), TrainError> {
        let names: Vec<String> = self.session.scalar_names().into_iter().map(str::to_owned).collect();
        let at = |name: &str| names.iter().position(|n| n == name);
        for values in read {
            let Some((step, rate)) = self.unread.pop_front() else { continue };
            let value = |name: &str| at(name).and_then(|i| values.get(i)).map(|v| f64::from(*v));
            self.note_loss(step, value(LOSS).unwrap_or(f64::NAN), rate)?;
            self.check_scale(step, value(LOSS_SCALE).unwrap_or(1.0))?;
            let Mixing::Sum(weights) = &self.setup.mixing else { continue };
            for (branch, weight) in self.setup.branches.iter().zip(weights) {
                let Some(loss) = value(&loss_of(branch.name())) else { continue };
                let (branch, weight) = (branch.name().to_owned(), *weight);
                self.folder.log_branch(BranchRow { step, branch, loss, weight, cosine: None })?;
            }
        }
        Ok(())
    }

    fn note_loss(&mut self, step: usize, loss: f64, learning_rate: f64) -> Result<(), TrainError> {
        let epoch = (step - 1) / self.setup.steps_per_epoch + 1;
        if !loss.is_finite() {
            let also = match self.setup.config.train.precision {
                Precision::F32 => "",
                Precision::Mixed | Precision::MixedMatrices => ", or train.precision = \"f32\"",
            };
            let (kept, key) = (self.kept(), self.setup.rate_key);
            return Err(TrainError::LossNotFinite { step, epoch, value: loss, kept, key, also });
        }
        self.progressed.epoch_loss += loss;
        self.folder.log_step(&StepRow { epoch, step, loss, learning_rate })?;
        let images = self.setup.branches.iter().map(|branch| branch.images()).sum();
        self.setup.watch.step(epoch, step, loss, images);
        Ok(())
    }

    /// Errors when there is no scale left to try.
    fn check_scale(&self, step: usize, scale: f64) -> Result<(), TrainError> {
        if scale >= LEAST {
            return Ok(());
        }
        Err(TrainError::LossScale { step, scale, kept: self.kept(), key: self.setup.rate_key })
    }

    /// What a training that stops leaves.
    fn kept(&self) -> String {
        match self.progressed.epoch {
            // Without validation there are no checkpoints to choose among.
            _ if self.setup.val.is_none() => format!("{STATE} holds what was saved before"),
            0 => "before the first checkpoint".to_owned(),
            done => format!("{LAST} and {BEST} hold epoch {done} and {}", self.progressed.best_epoch),
        }
    }

    /// Validates, measures the tasks, logs the epoch, saves checkpoints and decides on an early stop.
    fn finish_epoch(&mut self) -> Result<(), TrainError> {
        let config = self.setup.config;
        // Before anything is predicted with them, which would not say what is wrong.
        let weights = self.read_states(&self.weights)?;
        let (step, kept, key) = (self.progressed.step, self.kept(), self.setup.rate_key);
        let diverged = |error| match error {
            TrainError::Metrics(MetricsError::Probability { .. }) => {
                TrainError::AnswersNotFinite { step, kept, key }
            }
            other => other,
        };
        let validation = match (&mut self.predictor, &self.setup.val) {
            (Some(predictor), Some(val)) => {
                let batch = config.train.batch_size.min(val.len());
                let mut network = Network { predictor, states: &mut self.states, batch };
                Some(validate(&mut network, val, &config.loss).map_err(diverged)?)
            }
            _ => None,
        };
        let done = &mut self.progressed;
        done.epoch = done.step / self.setup.steps_per_epoch;
        let (epoch, step) = (done.epoch, done.step);
        let mut tasks = vec![];
        for probe in &mut self.probes {
            tasks.push(probe.measure(epoch, step)?);
        }
        let train_loss = done.epoch_loss / self.setup.steps_per_epoch as f64;
        done.epoch_loss = 0.0;
        // Without validation the last epoch counts.
        let is_best = validation.as_ref().is_none_or(|v| epoch == 1 || v.best.dice > done.best_dice);
        if is_best {
            done.best_epoch = epoch;
            if let Some(Validation { best, .. }) = &validation {
                (done.best_dice, done.threshold, done.min_area) = (best.dice, best.threshold, best.min_area);
            }
        }
        let patience = config.train.early_stop;
        done.finished = patience > 0 && epoch - done.best_epoch >= patience;
        let seconds = std::mem::take(&mut done.epoch_seconds) + self.clock.elapsed().as_secs_f64();
        self.clock = Instant::now();
        let stopped_early = done.finished && step < self.total_steps();

        if let Some(Validation { best, .. }) = &validation {
            let info = CheckpointInfo {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                model: config.model.clone(),
                size: config.data.size,
                threshold: best.threshold,
                min_area: best.min_area,
                epoch,
                step,
                val_dice: best.dice,
            };
            if is_best {
                checkpoint::save(&self.folder.file(BEST), &weights, &info)?;
            }
            checkpoint::save(&self.folder.file(LAST), &weights, &info)?;
        }
        let images: usize = self.setup.branches.iter().map(|branch| branch.images()).sum();
        let best = validation.as_ref().map(|v| &v.best);
        let row = EpochRow {
            epoch,
            step,
            train_loss,
            val_loss: validation.as_ref().map(|v| v.loss),
            val_dice: best.map(|b| b.dice),
            val_dice_positives_only: best.and_then(|b| b.dice_positives_only),
            val_iou: best.map(|b| b.iou),
            threshold: best.map(|b| b.threshold),
            learning_rate: learning_rate(&config.train, step - 1, self.total_steps()),
            seconds,
            images_per_s: (self.setup.steps_per_epoch * images) as f64 / seconds,
        };
        for task in tasks {
            self.folder.log_task(task)?;
        }
        self.folder.log_epoch(&row)?;
        if is_best {
            self.log_overlays(&row)?;
        }
        self.setup.watch.epoch(&row);
        self.save_state()?;
        if stopped_early {
            let line = format!("no better validation Dice for {patience} epochs: stopping early");
            self.setup.watch.note(&line);
        }
        Ok(())
    }

    fn read_states(&self, wanted: &[(String, Shape)]) -> Result<Tensors, TrainError> {
        let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let data = self.states.read_all(&self.gpu, &names)?;
        // A loss can be finite and its update not: what was saved before is kept then.
        if let Some(bad) = names.iter().zip(&data).find(|(_, data)| data.iter().any(|x| !x.is_finite())) {
            let (name, step) = ((*bad.0).to_owned(), self.progressed.step);
            return Err(TrainError::StateNotFinite { name, step, key: self.setup.rate_key });
        }
        Ok(wanted
            .iter()
            .zip(data)
            .map(|((name, shape), data)| (name.clone(), (shape.clone(), data)))
            .collect())
    }

    fn save_within_epoch(&mut self) -> Result<(), TrainError> {
        self.drain()?;
        self.progressed.epoch_seconds += self.clock.elapsed().as_secs_f64();
        self.clock = Instant::now();
        self.save_state()
    }

    fn save_state(&self) -> Result<(), TrainError> {
        // After a loss of power the metrics must reach at least as far as the state.
        self.folder.sync()?;
        let mut tensors: Tensors = self.read_states(&self.weights)?;
        tensors.append(&mut self.read_states(&self.others)?);
        Ok(checkpoint::save(&self.folder.file(STATE), &tensors, &self.progressed)?)
    }

    /// Adds what the network makes of some images to what TensorBoard shows of the run.
    fn log_overlays(&mut self, row: &EpochRow) -> Result<(), TrainError> {
        let (Some(predictor), Some(val), Some(shown)) =
            (&mut self.predictor, &self.setup.val, &self.setup.shown)
        else {
            return Ok(());
        };
        // The batch of the validation, whose program is there.
        let batch = self.setup.config.train.batch_size.min(val.len());
        let mut network = Network { predictor, states: &mut self.states, batch };
        let predicted = evaluate(&mut network, shown, self.progressed.threshold)?;
        let title = format!("Epoch {}, Dice {:.4} over all", row.epoch, self.progressed.best_dice);
        let picture = draw_row(shown, &predicted, &title)?;
        Ok(self.folder.log_image(row.step, "val/overlays", &picture)?)
    }

    /// Loads a checkpoint of the run for prediction.
    pub fn load(&mut self, checkpoint: &Path) -> Result<(&mut Predictor, &mut States), TrainError> {
        let checkpoint = Checkpoint::open(checkpoint)?;
        load_weights(&self.gpu, &self.states, self.setup.config, &checkpoint)?;
        let (gpu, config) = (&self.gpu, self.setup.config);
        let predictor = self.predictor.get_or_insert_with(|| Predictor::new(gpu, config, config.data.size));
        Ok((predictor, &mut self.states))
    }
}
