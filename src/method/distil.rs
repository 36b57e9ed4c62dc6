//! Stage two: the branches of a training by which a student learns from its teachers.
//!
//! Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015: on labelled images
//! `(1 − alpha) · L_seg + alpha · T² · KL(teacher ‖ student)`, on unlabelled ones `alpha · T² · KL`. The
//! teacher is the mean of the elite models' probabilities, taken back to a logit.

use std::sync::Arc;

use rand::RngExt;

use super::faculty::Faculty;
use crate::config::Config;
use crate::config::schema::{AugmentConfig, DistillationConfig, LossConfig, TeacherOutputs, Teachers};
use crate::data::augment::{Key, augment};
use crate::data::{Cache, DataError, Sampler, Unlabelled};
use crate::nn::{Layers, unet};
use crate::report::words::count;
use crate::rng::{Purpose, rng, seed_of};
use crate::tape::{Tape, TapeError, Value};
use crate::tasks::Dims;
use crate::train::TrainError;
use crate::train::branch::{Branch, Feed, IMAGES, MASKS, TARGET, segment};
use crate::train::model::Model;
use crate::train::setup::Teach;
use crate::train::step::segmentation_loss;

/// Name of the branch of unlabelled images.
pub(super) const UNLABELLED: &str = "unlabelled";
/// Names of the inputs that hold the teachers' logits.
const TEACHER: &str = "teacher";

/// A teacher's probability counts as this far from 0 and 1 at least, so that its logit is finite.
const LEAST: f32 = 1e-6;

/// Which teacher is asked at a step.
fn draw(weights: &[f64], seed: u64, step: u64) -> usize {
    let mut left = rng(seed, Purpose::Teacher, step).random::<f64>();
    for (i, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return i;
        }
    }
    weights.len().saturating_sub(1)
}

/// Answers of the teachers, asked once: for each set of answers the probabilities of each image.
#[derive(Clone)]
struct Answers {
    sets: Arc<Vec<Vec<Vec<f32>>>>,
    weights: Vec<f64>,
    seed: u64,
}

impl Answers {
    /// One set of means, or a set for each teacher where one is drawn for each step.
    fn ask(
        faculty: &mut Faculty,
        one_per_step: bool,
        images: &[&[f32]],
        seed: u64,
    ) -> Result<Answers, TrainError> {
        let sets = match one_per_step {
            true => {
                faculty.models.iter_mut().map(|model| model.predict_all(images)).collect::<Result<_, _>>()?
            }
            false => vec![faculty.predict_all(images)?],
        };
        Ok(Answers { sets: Arc::new(sets), weights: faculty.weights.clone(), seed })
    }

    /// The answers of a step.
    fn of(&self, step: u64) -> &[Vec<f32>] {
        match self.sets.len() {
            1 => &self.sets[0],
            _ => &self.sets[draw(&self.weights, self.seed, step)],
        }
    }
}

fn logits(probabilities: &[f32]) -> Vec<f32> {
    let logit = |p: &f32| {
        let p = p.clamp(LEAST, 1.0 - LEAST);
        (p / (1.0 - p)).ln()
    };
    probabilities.iter().map(logit).collect()
}

/// The branches of a student's training, their weights, and what asks the teachers at each step
/// where their answers cannot be kept.
pub struct Lesson {
    pub branches: Vec<Arc<dyn Branch>>,
    pub weights: Vec<f64>,
    pub teach: Option<Teach>,
    /// How the teachers are asked, and what that costs.
    pub note: String,
}

/// Whether the teachers are asked once for each image, and not at every step.
pub(super) fn asked_once(config: &Config) -> bool {
    match config.distillation.teacher_outputs {
        TeacherOutputs::Once => true,
        TeacherOutputs::EveryStep => false,
        TeacherOutputs::Auto => config.augment.moves_whole_pixels(),
    }
}

/// Images that a teacher answers at once, at most.
pub(super) fn answered_at_once(config: &Config) -> usize {
    config.train.batch_size.max(config.task_batch())
}

/// Makes the lesson of `config`. The first of the `unlabelled` images are the `labelled` ones, in their
/// order, so one answer serves both.
pub fn lesson(
    config: &Config,
    mut faculty: Faculty,
    labelled: &Arc<Cache>,
    unlabelled: &Arc<Unlabelled>,
) -> Result<Lesson, TrainError> {
    let distillation = &config.distillation;
    let seed = config.train.seed;
    let one_per_step = distillation.teachers == Teachers::OnePerStep;
    let once = asked_once(config);
    let (mut of_labelled, mut of_unlabelled) = (None, None);
    let teachers = count(faculty.models.len(), "teacher");
    let note = if once {
        let images: Vec<&[f32]> = (0..unlabelled.len()).map(|i| unlabelled.image(i)).collect();
        let answers = Answers::ask(&mut faculty, one_per_step, &images, seed)?;
        of_labelled = Some(answers.clone());
        of_unlabelled = Some(answers);
        format!(
            "{teachers}, asked once for each of {} images; the answers move with the images",
            images.len()
        )
    } else {
        let batch = config.train.batch_size + config.task_batch();
        format!("{teachers}, asked at every step, for {batch} images as the student sees them")
    };
    let of_target = LabelledLesson {
        images: Arc::clone(labelled),
        sampler: Sampler::new(
            &labelled.positives(),
            config.train.batch_size,
            config.train.positive_fraction,
            seed,
        )?,
        batch: config.train.batch_size,
        loss: config.loss.clone(),
        distillation: distillation.clone(),
        augment: config.augment.clone(),
        seed,
        answers: of_labelled,
    };
    let own_seed = seed_of(seed, UNLABELLED);
    let of_others = UnlabelledLesson {
        images: Arc::clone(unlabelled),
        sampler: Sampler::new(&vec![false; unlabelled.len()], config.task_batch(), None, own_seed)?,
        batch: config.task_batch(),
        temperature: distillation.temperature,
        augment: config.augment.clone(),
        seed: own_seed,
        answers: of_unlabelled,
    };
    let teach = (!once).then(|| teach(faculty, one_per_step, seed));
    Ok(Lesson {
        branches: vec![Arc::new(of_target), Arc::new(of_others)],
        weights: vec![1.0, distillation.alpha],
        teach,
        note,
    })
}

/// Asks the teachers for the images of a step.
fn teach(mut faculty: Faculty, one_per_step: bool, seed: u64) -> Teach {
    let image_len = faculty.models.first().map_or(1, Model::image_len);
    Box::new(move |step, feed| {
        let chosen = draw(&faculty.weights, seed, step);
        for prefix in [String::new(), format!("{UNLABELLED}.")] {
            let (images, teacher) = (format!("{prefix}{IMAGES}"), format!("{prefix}{TEACHER}"));
            let find = |feed: &Feed, name: &str| feed.iter().position(|(n, _)| n == name);
            let (Some(images), Some(teacher)) = (find(feed, &images), find(feed, &teacher)) else { continue };
            let batch: Vec<&[f32]> = feed[images].1.chunks_exact(image_len).collect();
            let answers = match one_per_step {
                true => faculty.models[chosen].predict_all(&batch)?,
                false => faculty.predict_all(&batch)?,
            };
            let answers = answers.iter().flat_map(|answer| logits(answer)).collect();
            feed[teacher].1 = answers;
        }
        Ok(())
    })
}

/// Labelled images: inputs `images`, `masks`, `teacher`.
struct LabelledLesson {
    images: Arc<Cache>,
    sampler: Sampler,
    batch: usize,
    loss: LossConfig,
    distillation: DistillationConfig,
    augment: AugmentConfig,
    seed: u64,
    answers: Option<Answers>,
}

impl Branch for LabelledLesson {
    fn name(&self) -> &str {
        TARGET
    }

    fn images(&self) -> usize {
        self.batch
    }

    fn build(&self, layers: &mut Layers, tape: &mut Tape) -> Result<Value, TapeError> {
        let (logits, masks) = segment(layers, tape, self.batch, self.images.size())?;
        let teacher = tape.input(TEACHER, tape.shape(logits).clone())?;
        let alpha = self.distillation.alpha as f32;
        let temperature = self.distillation.temperature as f32;
        let segmentation = segmentation_loss(tape, logits, masks, &self.loss)?;
        let segmentation = tape.scale(segmentation, 1.0 - alpha)?;
        let divergence = tape.kl_distillation_binary(logits, teacher, temperature)?;
        let divergence = tape.scale(divergence, alpha)?;
        tape.add(segmentation, divergence)
    }

    fn feed(&self, step: u64) -> Result<Feed, DataError> {
        let mut batch = self.images.batch(step, &self.sampler.batch(step));
        let (size, channels) = (self.images.size(), self.images.channels());
        let mut teacher = vec![];
        let images = batch.images.chunks_exact_mut(size * size * channels);
        let masks = batch.masks.chunks_exact_mut(size * size);
        for (place, ((image, mask), index)) in images.zip(masks).zip(&batch.indices).enumerate() {
            let key = Key { seed: self.seed, step, place };
            let mut answer = answer(&self.answers, step, *index, size);
            augment(image, &mut [mask, &mut answer], size, channels, &self.augment, key);
            teacher.extend(logits(&answer));
        }
        Ok(vec![
            (IMAGES.to_owned(), batch.images),
            (MASKS.to_owned(), batch.masks),
            (TEACHER.to_owned(), teacher),
        ])
    }
}

/// The kept answer for an image; zeros where it is asked for later.
fn answer(answers: &Option<Answers>, step: u64, index: usize, size: usize) -> Vec<f32> {
    answers.as_ref().map_or_else(|| vec![0.0; size * size], |answers| answers.of(step)[index].clone())
}

/// Unlabelled images: inputs `unlabelled.images`, `unlabelled.teacher`.
struct UnlabelledLesson {
    images: Arc<Unlabelled>,
    sampler: Sampler,
    batch: usize,
    temperature: f64,
    augment: AugmentConfig,
    seed: u64,
    answers: Option<Answers>,
}

impl Branch for UnlabelledLesson {
    fn name(&self) -> &str {
        UNLABELLED
    }

    fn images(&self) -> usize {
        self.batch
    }

    fn build(&self, layers: &mut Layers, tape: &mut Tape) -> Result<Value, TapeError> {
        let (size, channels) = (self.images.size(), self.images.channels());
        put_unlabelled(layers, tape, Dims { batch: self.batch, size, channels }, self.temperature)
    }

    fn feed(&self, step: u64) -> Result<Feed, DataError> {
        let (size, channels) = (self.images.size(), self.images.channels());
        let (mut images, mut teacher) = (vec![], vec![]);
        for (place, index) in self.sampler.batch(step).into_iter().enumerate() {
            let mut image = self.images.image(index).to_vec();
            let mut answer = answer(&self.answers, step, index, size);
            let key = Key { seed: self.seed, step, place };
            augment(&mut image, &mut [&mut answer], size, channels, &self.augment, key);
            images.extend(image);
            teacher.extend(logits(&answer));
        }
        Ok(vec![(format!("{UNLABELLED}.{IMAGES}"), images), (format!("{UNLABELLED}.{TEACHER}"), teacher)])
    }
}

/// Appends the inputs, the network and the divergence of a batch of unlabelled images.
pub(super) fn put_unlabelled(
    layers: &mut Layers,
    tape: &mut Tape,
    Dims { batch, size, channels }: Dims,
    temperature: f64,
) -> Result<Value, TapeError> {
    layers.set_branch(UNLABELLED);
    let images = tape.input(&format!("{UNLABELLED}.{IMAGES}"), [batch, size, size, channels])?;
    let encoded = unet::encode(layers, tape, images)?;
    let features = unet::decode(layers, tape, encoded)?;
    let logits = unet::head(layers, tape, features)?;
    let teacher = tape.input(&format!("{UNLABELLED}.{TEACHER}"), tape.shape(logits).clone())?;
    tape.kl_distillation_binary(logits, teacher, temperature as f32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::data::testing::folder;
    use crate::data::{Dataset, Part};
    use crate::nn::Mode;
    use crate::reference::{Tensor, run};

    const SIZE: usize = 8;

    fn config() -> Config {
        let mut config = Config::default();
        (config.data.size, config.model.base_channels, config.model.depth) = (SIZE, 2, 1);
        (config.train.batch_size, config.distillation.alpha, config.distillation.temperature) = (2, 0.3, 2.5);
        config
    }

    fn images(config: &Config) -> Arc<Cache> {
        let folder = folder(9);
        let dataset = Dataset::open(folder.path(), &config.data).unwrap();
        let items = dataset.part(Part::Train);
        let items = items.iter().map(|i| &dataset.items()[*i]);
        Arc::new(Cache::of_items(items, 1, &config.data).unwrap())
    }

    fn lesson_of(config: &Config, answers: Option<Answers>) -> LabelledLesson {
        let images = images(config);
        LabelledLesson {
            sampler: Sampler::new(&images.positives(), 2, None, 0).unwrap(),
            images,
            batch: 2,
            loss: config.loss.clone(),
            distillation: config.distillation.clone(),
            augment: config.augment.clone(),
            seed: 0,
            answers,
        }
    }

    #[test]
    fn teachers_are_drawn_by_their_shares() {
        let mut counts = [0i32; 3];
        (0..4_000).for_each(|step| counts[draw(&[0.5, 0.2, 0.3], 7, step)] += 1);
        for (count, expected) in counts.into_iter().zip([2_000, 800, 1_200]) {
            assert!((count - expected).abs() < 150, "{counts:?}");
        }
    }

    #[test]
    fn the_loss_is_that_of_hinton_et_al() {
        let config = config();
        let lesson = lesson_of(&config, None);
        let mut tape = Tape::new();
        let mut layers = Layers::new(&config.model, Mode::Train);
        let loss = lesson.build(&mut layers, &mut tape).unwrap();
        let mut plain = Tape::new();
        let (logits, _) = segment(&mut Layers::new(&config.model, Mode::Train), &mut plain, 2, SIZE).unwrap();

        let mut feeds = HashMap::new();
        for (name, shape, init) in layers.into_inits() {
            feeds.insert(name.clone(), Tensor::from_f32(shape.clone(), &init.numbers(shape.len(), 3, &name)));
        }
        let count = 2 * SIZE * SIZE;
        let shape = [2, SIZE, SIZE, 1];
        let wave = |i: usize| ((i * 37 % 101) as f64 / 50.0 - 1.0) * 2.0;
        let masks: Vec<f64> = (0..count).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
        let teacher: Vec<f64> = (0..count).map(|i| wave(i + 11)).collect();
        feeds.insert(IMAGES.to_owned(), Tensor::new(shape, (0..count).map(wave).collect()));
        feeds.insert(MASKS.to_owned(), Tensor::new(shape, masks.clone()));
        feeds.insert(TEACHER.to_owned(), Tensor::new(shape, teacher.clone()));
        let found = run(&tape, &feeds).unwrap().value(loss).data[0];
        let student = run(&plain, &feeds).unwrap().value(logits).data.clone();

        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mean = |f: &dyn Fn(usize) -> f64| (0..count).map(f).sum::<f64>() / count as f64;
        let bce = mean(&|i| {
            let p = sigmoid(student[i]);
            -(masks[i] * p.ln() + (1.0 - masks[i]) * (1.0 - p).ln())
        });
        let dice = |range: std::ops::Range<usize>| {
            let sum = |f: &dyn Fn(usize) -> f64| range.clone().map(f).sum::<f64>();
            let both = sum(&|i| sigmoid(student[i]) * masks[i]);
            1.0 - (2.0 * both + 1.0) / (sum(&|i| sigmoid(student[i])) + sum(&|i| masks[i]) + 1.0)
        };
        let segmentation = bce + (dice(0..count / 2) + dice(count / 2..count)) / 2.0;
        let (alpha, t) = (config.distillation.alpha, config.distillation.temperature);
        let divergence = mean(&|i| {
            let (q, p) = (sigmoid(teacher[i] / t), sigmoid(student[i] / t));
            q * (q / p).ln() + (1.0 - q) * ((1.0 - q) / (1.0 - p)).ln()
        });
        let expected = (1.0 - alpha) * segmentation + alpha * t * t * divergence;
        assert!((found - expected).abs() < 1e-6 * expected, "{found} {expected}");
    }

    #[test]
    fn a_kept_answer_moves_with_its_image() {
        let mut config = config();
        config.augment = AugmentConfig { flip: 1.0, shift: 0.0, scale: 0.0, rotate: 0.0, ..config.augment };
        let count = images(&config).len();
        let answer = |i: usize| (0..SIZE * SIZE).map(|k| (k + i + 1) as f32 / 100.0).collect::<Vec<f32>>();
        let sets = Arc::new(vec![(0..count).map(answer).collect()]);
        let lesson = lesson_of(&config, Some(Answers { sets, weights: vec![1.0], seed: 0 }));
        let feed = lesson.feed(0).unwrap();
        let (name, teacher) = &feed[2];
        assert_eq!(name, TEACHER);
        for (place, index) in lesson.sampler.batch(0).into_iter().enumerate() {
            let expected = logits(&answer(index));
            for k in 0..SIZE * SIZE {
                let mirror = k / SIZE * SIZE + SIZE - 1 - k % SIZE;
                assert_eq!(teacher[place * SIZE * SIZE + k], expected[mirror]);
            }
        }
    }
}
