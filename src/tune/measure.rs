//! Times the forms of each kernel at the shapes of a U-Net: each is right first, then how fast.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{TuneError, TunedPoint};
use crate::bench::unet::UnetStep;
use crate::bench::{BenchError, median};
use crate::config::Config;
use crate::gpu::{Gpu, Session};
use crate::ops::{Fill, Op, fill_numbers};
use crate::program::{Caps, Choices, Point, compile};
use crate::reference::Tensor;
use crate::tape::Shape;
use crate::train::step::{inference, train_step};
use crate::verify::OpAlone;
use crate::verify::step::{TOLERANCE, check_step};

/// A form takes the rule's place if it is faster by this factor in the middle of all rounds, and faster at all in
/// all rounds but one.
const MARGIN: f64 = 1.05;

/// Forms that are timed in turns with the rule's.
const FINALISTS: usize = 2;

/// A form that takes so many times as long as the best so far is not timed any more.
const HOPELESS: f64 = 2.0;

/// How much is done for a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Of a sample, at least.
    pub sample: Duration,
    /// In which the rule's form and the finalists take turns.
    pub rounds: usize,
    /// Results of more operations are compared with the rule's, not with the reference.
    pub reference_flops: u64,
}

impl Effort {
    pub const FULL: Effort =
        Effort { sample: Duration::from_millis(20), rounds: 7, reference_flops: 2_000_000_000 };
    pub const QUICK: Effort =
        Effort { sample: Duration::from_millis(5), rounds: 3, reference_flops: 20_000_000 };
}

/// A kernel at a shape that can be computed in several forms, as a network has it.
pub struct Spot {
    pub point: Point,
    /// The rule's first.
    pub forms: Vec<String>,
    op: Arc<dyn Op>,
    inputs: Vec<Shape>,
    output: Shape,
}

/// All of them in the training step of `config`, in its inference in batches and in that of one image, each once.
///
/// # Errors
/// The network has no such shape, or does not fit the adapter.
pub fn spots(gpu: &Gpu, config: &Config) -> Result<Vec<Spot>, TuneError> {
    let (batch, size) = (config.train.batch_size, config.data.size);
    let tapes = [
        train_step(config, batch, size)?.tape,
        inference(config, batch, size)?.0,
        inference(config, 1, size)?.0,
    ];
    let mut seen = HashSet::new();
    let mut spots = vec![];
    for tape in &tapes {
        for choice in compile(tape, &by(gpu, &Choices::default()))?.choices {
            let node = tape.node(choice.node);
            let Some(op) = node.op() else { continue };
            if choice.forms.len() > 1 && seen.insert(choice.point.clone()) {
                spots.push(Spot {
                    point: choice.point,
                    forms: choice.forms,
                    op: Arc::clone(op),
                    inputs: node.inputs.iter().map(|input| tape.shape(*input).clone()).collect(),
                    output: node.shape.clone(),
                });
            }
        }
    }
    Ok(spots)
}

/// What came out at a spot.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub tuned: TunedPoint,
    /// The fastest of the others, and its time in milliseconds; it is taken only where it is faster by a margin.
    pub best: Option<(String, f64)>,
    /// Times that the rule's form takes in one of the best: the middle of all rounds.
    pub gain: f64,
    /// Forms whose results are wrong on this adapter.
    pub wrong: Vec<String>,
}

/// Times the forms of a spot.
///
/// # Errors
/// The rule's form gives a wrong result; the device fails.
pub fn measure(gpu: &Arc<Gpu>, spot: &Spot, effort: &Effort) -> Result<Measured, TuneError> {
    let numbers = |(i, shape): (usize, &Shape)| {
        Tensor::new(shape.clone(), fill_numbers(Fill::Uniform(-1.0, 1.0), shape.len(), i as u64))
    };
    let inputs: Vec<Tensor> = spot.inputs.iter().enumerate().map(numbers).collect();
    let shapes: Vec<&Shape> = spot.inputs.iter().collect();
    let all: Vec<&Tensor> = inputs.iter().collect();
    let [rule, others @ ..] = &spot.forms[..] else { return Err(no_form(spot)) };

    let alone = |expected| OpAlone { op: &spot.op, case: &spot.point.shape, inputs: all.clone(), expected };
    let program = |form: &String| {
        let choices = Choices::new([(spot.point.clone(), form.clone())]);
        compile(&alone(&[]).tape()?, &by(gpu, &choices)).map_err(TuneError::from)
    };
    let small = spot.op.flops(&shapes, &spot.output) <= effort.reference_flops;
    // What is compared with the rule's result may be off by as much as that.
    let (expected, slack) = match small {
        true => (spot.op.reference(&all, &spot.output), 1.0),
        false => {
            let (_, found) = alone(&[]).run(gpu, program(rule)?)?;
            let widened = found.into_iter().map(|result| result.into_iter().map(f64::from).collect());
            (widened.collect(), 2.0)
        }
    };
    let checked = |form: &String| -> Result<Option<Session>, TuneError> {
        let (session, row) = alone(&expected).check(gpu, program(form)?)?;
        let right = row.not_finite == 0 && row.max_error.is_some_and(|error| error <= slack * row.bound);
        Ok(right.then_some(session))
    };

    let Some(session) = checked(rule)? else { return Err(no_form(spot)) };
    let mut rule_timed = Timed::new(session, effort)?;
    let mut finalists: Vec<(&String, Timed)> = vec![];
    let mut wrong = vec![];
    let mut least = rule_timed.first;
    for form in others {
        let Some(session) = checked(form)? else {
            wrong.push(form.clone());
            continue;
        };
        let mut timed = Timed::new(session, effort)?;
        if timed.first > HOPELESS * least {
            continue;
        }
        for _ in 0..2 {
            timed.first = timed.first.min(timed.sample()?);
        }
        least = least.min(timed.first);
        finalists.push((form, timed));
        finalists.sort_by(|a, b| a.1.first.total_cmp(&b.1.first));
        finalists.truncate(FINALISTS);
    }

    let mut times = vec![vec![]; 1 + finalists.len()];
    for round in 0..effort.rounds {
        // The one that begins is another each time.
        for i in 0..times.len() {
            let i = (i + round) % times.len();
            let timed = if i == 0 { &mut rule_timed } else { &mut finalists[i - 1].1 };
            times[i].push(timed.sample()?);
        }
    }
    Ok(judge(spot, rule, &times, &finalists.iter().map(|(form, _)| *form).collect::<Vec<_>>(), wrong))
}

fn no_form(spot: &Spot) -> TuneError {
    TuneError::Wrong { point: spot.point.clone(), form: spot.forms.first().cloned().unwrap_or_default() }
}

/// `times` are seconds of each round, of the rule's form first.
fn judge(spot: &Spot, rule: &str, times: &[Vec<f64>], finalists: &[&String], wrong: Vec<String>) -> Measured {
    let milliseconds = |times: &[f64]| 1e3 * median(times);
    let gains: Vec<Vec<f64>> = times[1..]
        .iter()
        .map(|own| times[0].iter().zip(own).map(|(rule, own)| rule / own).collect())
        .collect();
    let best = (0..gains.len()).max_by(|a, b| median(&gains[*a]).total_cmp(&median(&gains[*b])));
    let gain = best.map_or(1.0, |best| median(&gains[best]));
    let wins = best.map_or(0, |best| gains[best].iter().filter(|gain| **gain > 1.0).count());
    let rule_ms = milliseconds(&times[0]);
    let best = best.map(|best| (finalists[best].clone(), milliseconds(&times[best + 1])));
    let (form, ms) = match &best {
        Some(best) if gain >= MARGIN && wins + 1 >= times[0].len() => best.clone(),
        _ => (rule.to_owned(), rule_ms),
    };
    let tuned = TunedPoint { point: spot.point.clone(), rule: rule.to_owned(), rule_ms, form, ms };
    Measured { tuned, best, gain, wrong }
}

/// A session with as many runs as make a sample.
struct Timed {
    session: Session,
    runs: u64,
    /// Seconds of a run, before it takes turns with others.
    first: f64,
}

impl Timed {
    fn new(mut session: Session, effort: &Effort) -> Result<Timed, TuneError> {
        // A driver compiles in the first run.
        session.time_submission(1)?;
        let once = session.time_submission(1)?;
        let wanted = effort.sample.as_secs_f64() / once.max(1e-6);
        let runs = (wanted.ceil() as u64).clamp(1, session.most_runs());
        let mut timed = Timed { session, runs, first: 0.0 };
        timed.first = timed.sample()?;
        Ok(timed)
    }

    /// Seconds of a run, the middle of a sample.
    fn sample(&mut self) -> Result<f64, TuneError> {
        Ok(median(&self.session.time_each(self.runs)?))
    }
}

/// What the adapter can do, with these choices.
fn by(gpu: &Gpu, choices: &Choices) -> Caps {
    Caps { choices: choices.clone(), ..gpu.caps().clone() }
}

/// The whole training step by the rule, and by what was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepTimes {
    /// Milliseconds and bytes of all buffers.
    pub rule: (f64, u64),
    pub chosen: (f64, u64),
    /// Of each round the time by the rule in parts of the other, of these the middle.
    pub gain: f64,
}

/// Times the training step of `config` by the rule and by `choices` in turns, after the one was compared with the
/// reference and the other with it.
///
/// # Errors
/// A step is wrong on this adapter, or does not fit it.
pub fn step_times(
    gpu: &Arc<Gpu>,
    config: &Config,
    choices: &Choices,
    rounds: usize,
) -> Result<StepTimes, TuneError> {
    let checked = check_step(gpu, &by(gpu, &Choices::default()), config)?;
    if !checked.pass(config.train.precision) {
        return Err(BenchError::wrong(checked, config.train.precision).into());
    }
    let mut steps = vec![];
    for choices in [&Choices::default(), choices] {
        let mut step = UnetStep::by(gpu, &by(gpu, choices), config)?;
        step.time(1)?;
        steps.push(step);
    }
    // After as many steps, so that gradients and updates count as well.
    let [rule, chosen] = [steps[0].loss()?, steps[1].loss()?];
    let near = (rule - chosen).abs() <= TOLERANCE * rule.abs();
    if !near {
        return Err(TuneError::WrongStep { rule, chosen });
    }
    let mut times = [vec![], vec![]];
    for round in 0..rounds {
        for i in 0..2 {
            let i = (i + round) % 2;
            times[i].push(steps[i].session.time_submission(1)?);
        }
    }
    let gains: Vec<f64> = times[0].iter().zip(&times[1]).map(|(rule, chosen)| rule / chosen).collect();
    let of = |i: usize| (1e3 * median(&times[i]), steps[i].session.program().peak_bytes());
    Ok(StepTimes { rule: of(0), chosen: of(1), gain: median(&gains) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Family;

    fn judged(times: &[Vec<f64>], finalists: &[&str]) -> Measured {
        let spot = Spot {
            point: Point { family: Family::Cpu, kernel: "relu".into(), shape: "1".into() },
            forms: vec![],
            op: Arc::new(crate::ops::relu::Relu),
            inputs: vec![],
            output: [1].into(),
        };
        let names: Vec<String> = finalists.iter().map(|name| (*name).to_owned()).collect();
        judge(&spot, "rule", times, &names.iter().collect::<Vec<_>>(), vec![])
    }

    #[test]
    fn a_form_must_win_by_a_margin_and_in_all_rounds_but_one() {
        let rule = vec![1.0; 5];
        let taken = |own: [f64; 5]| judged(&[rule.clone(), own.to_vec()], &["other"]).tuned.form;
        assert_eq!(taken([0.9; 5]), "other");
        assert_eq!(taken([0.9, 0.9, 0.9, 0.9, 3.0]), "other");
        assert_eq!(taken([0.9, 0.9, 0.9, 1.1, 1.1]), "rule");
        assert_eq!(taken([0.98; 5]), "rule");
        assert_eq!(judged(&[rule], &[]).tuned.form, "rule");
    }

    #[test]
    fn rounds_are_compared_each_with_itself() {
        // The machine slows down for all alike.
        let measured =
            judged(&[vec![1.0, 2.0, 4.0], vec![1.1, 2.2, 4.4], vec![0.8, 1.6, 3.2]], &["slow", "fast"]);
        assert_eq!(measured.best, Some(("fast".to_owned(), 1_600.0)));
        assert!((measured.gain - 1.25).abs() < 1e-9);
        assert_eq!((measured.tuned.form.as_str(), measured.tuned.rule_ms), ("fast", 2_000.0));
        let slow = judged(&[vec![1.0, 2.0], vec![1.1, 2.2]], &["slow"]);
        assert_eq!((slow.tuned.form.as_str(), slow.tuned.ms), ("rule", slow.tuned.rule_ms));
        assert!(slow.gain < 1.0);
    }
}
