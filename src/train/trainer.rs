//! The training loop.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::checkpoint::{self, Checkpoint, CheckpointInfo, Tensors};
use super::predictor::{Predictor, load_weights};
use super::schedule::learning_rate;
use super::sheet::write_sheet;
use super::step::{HYPER, IMAGES, LOSS, MASKS, TrainStep, train_step};
use super::threshold::Threshold;
use super::validation::{Validation, validate};
use crate::config::Config;
use crate::data::{Batch, Cache, Dataset, Loader, Part, Sampler};
use crate::gpu::{Gpu, Session, States};
use crate::ops::Hyper;
use crate::program::compile;
use crate::report::console::tell;
use crate::report::{self, EpochRow, Progress, RunFolder, RunInfo, StepRow};
use crate::tape::Shape;

/// Names of the files of a run folder that hold weights.
pub const BEST: &str = "best.safetensors";
pub const LAST: &str = "last.safetensors";
/// Weights, moments and progress: what `--resume` goes on from.
pub const STATE: &str = "training_state.safetensors";

/// Longest time between two savings of the training state, so that a run that is killed loses
/// no more than this.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// What to train, on what, into where.
pub struct TrainOptions<'a> {
    pub config: &'a Config,
    pub data: &'a Path,
    pub out: &'a Path,
    /// Go on with the run in `out`.
    pub resume: bool,
    /// Set from outside to stop after the current step.
    pub stop: &'a AtomicBool,
}

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
}

/// How far a run is; saved with the training state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Progressed {
    /// Steps done.
    step: usize,
    /// Epochs done.
    epoch: usize,
    /// Sum of the losses of the current epoch's steps.
    epoch_loss: f64,
    best_epoch: usize,
    best_dice: f64,
    threshold: Threshold,
    /// Stopped early: nothing is left to do.
    finished: bool,
}

/// Trains by `options`. The run folder is made only when the data is read and the program fits.
pub fn train(gpu: &Arc<Gpu>, options: &TrainOptions) -> Result<TrainSummary, TrainError> {
    let mut trainer = Trainer::new(gpu, options)?;
    trainer.run(options.stop)
}

struct Trainer {
    gpu: Arc<Gpu>,
    config: Config,
    folder: RunFolder,
    train_images: Arc<Cache>,
    val_images: Cache,
    sampler: Sampler,
    session: Session,
    predictor: Predictor,
    states: States,
    /// The network's states; the optimiser's moments.
    weights: Vec<(String, Shape)>,
    moments: Vec<(String, Shape)>,
    steps_per_epoch: usize,
    progressed: Progressed,
    /// Steps whose loss has not been read yet, with their learning rate.
    unread: VecDeque<(usize, f64)>,
}

impl Trainer {
    fn new(gpu: &Arc<Gpu>, options: &TrainOptions) -> Result<Trainer, TrainError> {
        let config = options.config.clone();
        let saved = if options.resume { Some(open_saved(options.out, &config)?) } else { None };
        if saved.is_none() {
            if options.out.join(STATE).is_file() {
                return Err(TrainError::RunExists { path: options.out.to_owned() });
            }
            report::check_free(options.out)?;
        }

        // A resumed run keeps its split, whatever has come into the folder since.
        let mut data = config.data.clone();
        if saved.is_some() {
            data.split_file = Some(options.out.join("split.csv"));
        }
        let dataset = Dataset::open(options.data, &data)?;
        let labelled = match config.train.labelled {
            Some(count) => dataset.labelled(count, config.data.seed)?,
            None => dataset.part(Part::Train),
        };
        let cache = |indices: &[usize]| {
            let items = indices.iter().map(|i| &dataset.items()[*i]);
            Cache::of_items(items, config.model.in_channels, &config.data)
        };
        let train_images = Arc::new(cache(&labelled)?);
        let val_images = cache(&dataset.part(Part::Val))?;
        if !train_images.positives().contains(&true) {
            return Err(TrainError::NoForeground {
                images: train_images.len(),
                threshold: config.data.mask_threshold.map_or("unset".to_owned(), |t| t.to_string()),
            });
        }
        let batch = config.train.batch_size;
        let sampler = Sampler::new(
            &train_images.positives(),
            batch,
            config.train.positive_fraction,
            config.train.seed,
        )?;
        let steps_per_epoch =
            config.train.steps_per_epoch.unwrap_or_else(|| train_images.len().div_ceil(batch)).max(1);

        let TrainStep { tape, network, moments, .. } = train_step(&config, batch, config.data.size)?;
        let program = compile(&tape, gpu.caps())?;
        tell(&format!(
            "{} labelled and {} validation images, {} steps of {batch}; a step takes {:.1} GFLOP and {:.1} MiB",
            train_images.len(),
            val_images.len(),
            config.train.epochs * steps_per_epoch,
            program.flops() as f64 / 1e9,
            program.peak_bytes() as f64 / f64::from(1 << 20),
        ));
        let mut states = States::new();
        let session = Session::new(gpu, program, &mut states)?;
        let mut predictor = Predictor::new(gpu, &config, config.data.size);
        predictor.prepare(batch.min(val_images.len()), &mut states)?;
        let weights = network.inits.iter().map(|(n, s, _)| (n.clone(), s.clone())).collect();
        let moments = moments
            .into_iter()
            .filter_map(|name| tape.named(&name).map(|v| (name, tape.shape(v).clone())))
            .collect::<Vec<_>>();

        let adapter = gpu.description();
        let info = RunInfo::new(&adapter.name, &adapter.backend, &adapter.driver);
        let (folder, progressed) = match saved {
            None => {
                for (name, shape, init) in &network.inits {
                    states.write(gpu, name, &init.numbers(shape.len(), config.train.seed, name))?;
                }
                let folder = RunFolder::create(options.out)?;
                folder.write_config(&config)?;
                folder.write_info(&info)?;
                dataset.write_split(&folder.file("split.csv"))?;
                (folder, Progressed::default())
            }
            Some((checkpoint, progressed)) => {
                load_weights(gpu, &states, &config, &checkpoint)?;
                for (name, shape) in &moments {
                    states.write(gpu, name, &checkpoint.tensor(name, shape)?)?;
                }
                if RunInfo::read(options.out).is_some_and(|started| started != info) {
                    tell(
                        "the run was started by another adapter, driver or version: it goes on, but not to the same bits",
                    );
                }
                (RunFolder::resume(options.out, progressed.step)?, progressed)
            }
        };
        let trainer = Trainer {
            gpu: Arc::clone(gpu),
            config,
            folder,
            train_images,
            val_images,
            sampler,
            session,
            predictor,
            states,
            weights,
            moments,
            steps_per_epoch,
            progressed,
            unread: VecDeque::new(),
        };
        if !options.resume {
            // From here on a run that is killed can be resumed.
            trainer.save_state()?;
        }
        Ok(trainer)
    }

    fn total_steps(&self) -> usize {
        self.config.train.epochs * self.steps_per_epoch
    }

    fn run(&mut self, stop: &AtomicBool) -> Result<TrainSummary, TrainError> {
        let mut progress = Progress::new(self.config.train.epochs, self.total_steps(), self.progressed.step);
        let mut loader = Loader::new(
            Arc::clone(&self.train_images),
            self.sampler.clone(),
            Some(self.config.augment.clone()),
            self.config.train.seed,
            self.progressed.step as u64,
            self.config.data.workers,
        )?;
        let mut last_save = Instant::now();
        let mut epoch_start = Instant::now();
        let mut epoch_first_step = self.progressed.step;
        while self.progressed.step < self.total_steps() && !self.progressed.finished {
            self.step(&loader.next_batch()?, &mut progress)?;
            if self.progressed.step.is_multiple_of(self.steps_per_epoch) {
                self.drain(&mut progress)?;
                self.finish_epoch(epoch_start, epoch_first_step, &mut progress)?;
                epoch_start = Instant::now();
                epoch_first_step = self.progressed.step;
                last_save = Instant::now();
            } else if last_save.elapsed() > SAVE_EVERY {
                self.drain(&mut progress)?;
                self.save_state()?;
                last_save = Instant::now();
            }
            if stop.load(Ordering::Relaxed) && self.progressed.step < self.total_steps() {
                self.drain(&mut progress)?;
                self.save_state()?;
                progress.finish();
                return Ok(self.summary(true));
            }
        }
        progress.finish();
        drop(loader);
        self.write_report()?;
        Ok(self.summary(false))
    }

    fn summary(&self, interrupted: bool) -> TrainSummary {
        TrainSummary {
            interrupted,
            steps: self.progressed.step,
            best_epoch: self.progressed.best_epoch,
            best_dice: self.progressed.best_dice,
            threshold: self.progressed.threshold,
        }
    }

    fn step(&mut self, batch: &Batch, progress: &mut Progress) -> Result<(), TrainError> {
        let step = self.progressed.step;
        let rate = learning_rate(&self.config.train, step, self.total_steps());
        self.session.write(IMAGES, &batch.images)?;
        self.session.write(MASKS, &batch.masks)?;
        self.session.write(HYPER, &Hyper::adam_defaults(rate, step + 1).to_array())?;
        self.unread.push_back((step + 1, rate));
        let read = self.session.run_step()?;
        self.progressed.step += 1;
        self.note(read, progress)
    }

    /// Waits for the losses still under way.
    fn drain(&mut self, progress: &mut Progress) -> Result<(), TrainError> {
        let read = self.session.finish_steps()?;
        self.note(read, progress)
    }

    /// Logs the losses that were read, oldest first.
    fn note(&mut self, read: Vec<Vec<f32>>, progress: &mut Progress) -> Result<(), TrainError> {
        let at = self.session.scalar_names().iter().position(|n| *n == LOSS).unwrap_or(0);
        for values in read {
            let Some((step, learning_rate)) = self.unread.pop_front() else { continue };
            let epoch = (step - 1) / self.steps_per_epoch + 1;
            let value = values.get(at).copied().unwrap_or(f32::NAN);
            if !value.is_finite() {
                let kept = match self.progressed.epoch {
                    0 => "before the first checkpoint".to_owned(),
                    done => format!("{LAST} and {BEST} hold epoch {done} and {}", self.progressed.best_epoch),
                };
                return Err(TrainError::LossNotFinite { step, epoch, value, kept });
            }
            let loss = f64::from(value);
            self.progressed.epoch_loss += loss;
            self.folder.log_step(&StepRow { epoch, step, loss, learning_rate })?;
            progress.step(epoch, step, loss, self.config.train.batch_size);
        }
        Ok(())
    }

    /// Validates, logs the epoch, saves checkpoints and decides on an early stop.
    fn finish_epoch(
        &mut self,
        start: Instant,
        first_step: usize,
        progress: &mut Progress,
    ) -> Result<(), TrainError> {
        let batch = self.config.train.batch_size;
        let Validation { loss: val_loss, best } = validate(
            &mut self.predictor,
            &mut self.states,
            &self.val_images,
            batch.min(self.val_images.len()),
            &self.config.loss,
        )?;
        let done = &mut self.progressed;
        done.epoch = done.step / self.steps_per_epoch;
        let (epoch, step) = (done.epoch, done.step);
        let train_loss = done.epoch_loss / self.steps_per_epoch as f64;
        done.epoch_loss = 0.0;
        let is_best = epoch == 1 || best.dice > done.best_dice;
        if is_best {
            (done.best_epoch, done.best_dice, done.threshold) = (epoch, best.dice, best.threshold);
        }
        let patience = self.config.train.early_stop;
        done.finished = patience > 0 && epoch - done.best_epoch >= patience;
        let stopped_early = done.finished && step < self.total_steps();

        let info = CheckpointInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: self.config.model.clone(),
            size: self.config.data.size,
            threshold: best.threshold,
            epoch,
            step,
            val_dice: best.dice,
        };
        let weights = self.read_states(&self.weights)?;
        if is_best {
            checkpoint::save(&self.folder.file(BEST), &weights, &info)?;
        }
        checkpoint::save(&self.folder.file(LAST), &weights, &info)?;
        let seconds = start.elapsed().as_secs_f64();
        let row = EpochRow {
            epoch,
            step,
            train_loss,
            val_loss: Some(val_loss),
            val_dice: Some(best.dice),
            val_dice_positives_only: best.dice_positives_only,
            val_iou: Some(best.iou),
            threshold: Some(best.threshold),
            learning_rate: learning_rate(&self.config.train, step - 1, self.total_steps()),
            seconds,
            images_per_s: ((step - first_step) * batch) as f64 / seconds,
        };
        self.folder.log_epoch(&row)?;
        progress.epoch(&row);
        self.save_state()?;
        if stopped_early {
            progress.note(&format!("no better validation Dice for {patience} epochs: stopping early"));
        }
        Ok(())
    }

    fn read_states(&self, wanted: &[(String, Shape)]) -> Result<Tensors, TrainError> {
        let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let data = self.states.read_all(&self.gpu, &names)?;
        // A loss can be finite and its update not: what was saved before is kept then.
        if let Some(bad) = names.iter().zip(&data).find(|(_, data)| data.iter().any(|x| !x.is_finite())) {
            return Err(TrainError::StateNotFinite { name: (*bad.0).to_owned(), step: self.progressed.step });
        }
        Ok(wanted
            .iter()
            .zip(data)
            .map(|((name, shape), data)| (name.clone(), (shape.clone(), data)))
            .collect())
    }

    fn save_state(&self) -> Result<(), TrainError> {
        // After a loss of power the metrics must reach at least as far as the state.
        self.folder.sync()?;
        let mut tensors: Tensors = self.read_states(&self.weights)?;
        let mut moments: Tensors = self.read_states(&self.moments)?;
        tensors.append(&mut moments);
        Ok(checkpoint::save(&self.folder.file(STATE), &tensors, &self.progressed)?)
    }

    /// Curves, and overlays of the best checkpoint on the validation images.
    fn write_report(&mut self) -> Result<(), TrainError> {
        let pictures = self.folder.file("report");
        report::make_folder(&pictures)?;
        let history = report::History::read(&self.folder.file(report::JSONL))?;
        report::write_curves(&pictures.join("curves.png"), &history)?;
        let best = Checkpoint::open(&self.folder.file(BEST))?;
        load_weights(&self.gpu, &self.states, &self.config, &best)?;
        write_sheet(
            &mut self.predictor,
            &mut self.states,
            &self.val_images,
            self.config.train.batch_size,
            self.progressed.threshold,
            &pictures.join("validation.png"),
        )
    }
}

/// The training state of the run in `out`, if its config is `config`.
fn open_saved(out: &Path, config: &Config) -> Result<(Checkpoint, Progressed), TrainError> {
    let path = out.join(STATE);
    if !path.exists() {
        return Err(TrainError::NothingToResume { path });
    }
    let config_path = out.join("config.toml");
    let found = Config::load(&config_path, &[])?;
    if found != *config {
        let (key, found, wanted) = found.first_difference(config);
        return Err(TrainError::ResumeConfig { path: config_path, key, found, wanted });
    }
    let checkpoint = Checkpoint::open(&path)?;
    let progressed = checkpoint.info()?;
    Ok((checkpoint, progressed))
}
