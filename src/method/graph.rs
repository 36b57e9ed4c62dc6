//! Which runs the method and its rivals are made of, and what each needs.

use super::check::check_method;
use super::coupling;
use super::error::MethodError;
use super::plan::{Method, Mode, Role, Which};
use super::run::{Candidates, CouplingChoice, RunSpec, TargetStart, Work};
use crate::config::Config;
use crate::config::schema::{DistillationConfig, Lambda, MethodConfig, PretrainConfig};
use crate::config::validate::MAX_SEEDS;
use crate::tasks;

/// All runs, and what they are for.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Seed by seed, each run after those that it needs.
    pub runs: Vec<RunSpec>,
    pub methods: Vec<Method>,
    pub stage1: Vec<Mode>,
}

/// A rival by its name in `method.rivals`.
pub struct Rival {
    pub name: String,
    pub about: String,
}

/// Every rival there is.
pub fn rivals() -> Vec<Rival> {
    let abouts = coupling::all().iter().map(|entry| entry.about.to_owned());
    let abouts = abouts.chain(OTHERS.iter().map(|(_, _, about)| (*about).to_owned()));
    let couplings: Vec<_> = coupling::all().iter().map(|entry| entry.name).collect();
    rival_names(&couplings).into_iter().zip(abouts).map(|(name, about)| Rival { name, about }).collect()
}

/// A rival that is not a coupling.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Other {
    TargetLonger,
    JointLambda,
    PretrainAll,
    SingleJoint,
    SinglePretrain,
    SeedEnsemble,
}

/// The target alone with as many trainings in line as a student has at most: to tell tasks from training.
pub const TARGET_LONGER: &str = "target_only_longer";

/// Each with its name and what it is.
const OTHERS: [(Other, &str, &str); 6] = [
    (
        Other::TargetLonger,
        TARGET_LONGER,
        "the target alone, trained three times in line, as a student and its start after pre-training are: is it the tasks or the steps?",
    ),
    (
        Other::JointLambda,
        "joint_lambda",
        "the target and all tasks at once, weighted by λ; by method.lambda where λ is searched",
    ),
    (
        Other::PretrainAll,
        "pretrain_all",
        "all tasks at once with equal weights, then the target from what they learnt",
    ),
    (Other::SingleJoint, "single_joint", "the target and one task at once, for each task"),
    (
        Other::SinglePretrain,
        "single_pretrain",
        "one task alone, then the target from what it learnt, for each task",
    ),
    (
        Other::SeedEnsemble,
        "seed_ensemble_distilled",
        "target-only models of other seeds, as many as there are elite models to choose from and trained as long, chosen and distilled alike",
    ),
];

/// Draws of random numbers, by what they are for; 0 is the seed itself. See [`Builder::draw`].
const STUDENT: usize = 1;
const SECOND: usize = 2;
const THIRD: usize = 3;
/// The first of the tasks' draws: each task that there is has [`DRAWS_OF_A_TASK`].
const TASKS: usize = 4;
/// Joint training, pre-training, and the training after it.
const DRAWS_OF_A_TASK: usize = 3;

/// The first draw of the seed ensemble's members.
fn first_member() -> usize {
    TASKS + DRAWS_OF_A_TASK * tasks::all().len()
}

/// How many draws there are with `members` members of the seed ensemble.
pub(super) fn draws(members: usize) -> usize {
    first_member() + members
}

/// Names of the rivals, those of `couplings` first.
pub(super) fn rival_names(couplings: &[&str]) -> Vec<String> {
    let joint = couplings.iter().map(|name| format!("joint_{name}"));
    joint.chain(OTHERS.iter().map(|(_, name, _)| (*name).to_owned())).collect()
}

impl Graph {
    /// The graph of `config`, for all its seeds.
    ///
    /// # Errors
    /// Names in `[method]` that there are not, that come twice, or no task.
    pub fn of(config: &Config, which: Which) -> Result<Graph, MethodError> {
        let tasks: Vec<_> = tasks::all().iter().map(|task| task.name()).collect();
        let couplings: Vec<_> = coupling::all().iter().map(|entry| (entry.name, entry.about)).collect();
        let names: Vec<_> = couplings.iter().map(|(name, _)| *name).collect();
        check_method(config, &tasks, &names)?;
        Ok(build(config, which, &couplings))
    }

    /// The seeds of `config`.
    pub fn seeds(config: &Config) -> Vec<u64> {
        (0..config.method.seeds as u64).map(|i| config.train.seed.saturating_add(i)).collect()
    }
}

fn build(config: &Config, which: Which, couplings: &[(&str, &str)]) -> Graph {
    let mut graph = Graph { runs: vec![], methods: vec![], stage1: vec![] };
    for (i, seed) in Graph::seeds(config).into_iter().enumerate() {
        let one = Builder { config, seed, runs: vec![], methods: vec![], stage1: vec![] };
        let one = one.build(which, couplings);
        graph.runs.extend(one.runs);
        if i == 0 {
            (graph.methods, graph.stage1) = (one.methods, one.stage1);
        }
    }
    graph
}

/// The graph of one seed in the making.
struct Builder<'a> {
    config: &'a Config,
    seed: u64,
    runs: Vec<RunSpec>,
    methods: Vec<Method>,
    stage1: Vec<Mode>,
}

impl Builder<'_> {
    fn build(mut self, which: Which, couplings: &[(&str, &str)]) -> Self {
        self.method(
            "two_stage",
            Role::Method,
            "a student taught by the elite models of all tasks",
            &["two_stage"],
        );
        self.method("target_only", Role::Baseline, "the target alone, from scratch", &["target_only"]);
        let about =
            "the mean of the elite models, which the student learns from; several times its cost in use";
        self.method("teacher_ensemble", Role::Ceiling, about, &["teacher_ensemble"]);

        self.run("target_only", Work::Target { start: TargetStart::Scratch });
        let mut teachers = vec![];
        for task in &self.config.method.tasks.clone() {
            teachers.push(self.elite(task));
        }
        self.run("teacher_ensemble", Work::Ensemble { teachers: teachers.clone() });
        self.run("two_stage", Work::Distil { teachers });
        self.draw(STUDENT);
        let chosen = match which {
            Which::TwoStage => Some(vec![]),
            Which::Compare => Some(self.config.method.rivals.clone()).filter(|chosen| !chosen.is_empty()),
        };
        // Without the longer one nobody could tell what more training alone does.
        self.rivals(couplings, |name| {
            name == TARGET_LONGER
                || chosen.as_ref().is_none_or(|chosen| chosen.iter().any(|rival| rival == name))
        });
        self
    }

    /// Both modes of `task`. Each has draws of its own, as the seed ensemble's members have: models of one
    /// draw are more alike, and a mean of them is worth less. Trainings that only differ in λ share one.
    fn elite(&mut self, task: &str) -> Candidates {
        let position = tasks::all().iter().position(|known| known.name() == task).unwrap_or(0);
        let draw = TASKS + DRAWS_OF_A_TASK * position;
        let joint: Vec<String> = self
            .lambdas(task)
            .into_iter()
            .map(|(id, lambda)| {
                let coupling = CouplingChoice::Fixed(vec![lambda]);
                let run = self.run(&id, Work::Joint { tasks: vec![task.to_owned()], coupling });
                self.draw(draw);
                run
            })
            .collect();
        let pretrain =
            self.run(&format!("stage1:{task}:pretrain"), Work::Pretrain { tasks: vec![task.to_owned()] });
        self.draw(draw + 1);
        let finetune = self.run(
            &format!("stage1:{task}:finetune"),
            Work::Target { start: TargetStart::Pretrained(pretrain) },
        );
        self.draw(draw + 2);
        let mode = |mode: &str, runs| Mode { task: task.to_owned(), mode: mode.to_owned(), runs };
        self.stage1.push(mode("joint", joint.clone()));
        self.stage1.push(mode("pretraining", vec![finetune.clone()]));
        let runs = joint.into_iter().chain([finetune]).collect();
        Candidates { name: task.to_owned(), runs }
    }

    /// Id and λ of each joint training with `task`.
    fn lambdas(&self, task: &str) -> Vec<(String, f64)> {
        let method = &self.config.method;
        let id = format!("stage1:{task}:joint");
        match self.config.lambda.get(task) {
            Some(Lambda::Search) => {
                method.lambda_candidates.iter().map(|lambda| (format!("{id}_{lambda}"), *lambda)).collect()
            }
            Some(Lambda::Fixed(lambda)) => vec![(id, *lambda)],
            None => vec![(id, method.lambda)],
        }
    }

    fn rivals(&mut self, couplings: &[(&str, &str)], wanted: impl Fn(&str) -> bool) {
        let tasks = &self.config.method.tasks;
        for (name, about) in couplings {
            let id = format!("joint_{name}");
            if wanted(&id) {
                let coupling = CouplingChoice::Named((*name).to_owned());
                self.run(&id, Work::Joint { tasks: tasks.clone(), coupling });
                self.method(&id, Role::Rival, about, &[&id]);
            }
        }
        for (other, name, about) in OTHERS {
            if !wanted(name) {
                continue;
            }
            match other {
                Other::TargetLonger => {
                    let second = self.go_on(&format!("{name}:2"), "target_only", SECOND);
                    let third = self.go_on(&format!("{name}:3"), &second, THIRD);
                    self.method(name, Role::Rival, about, &[&third]);
                }
                Other::JointLambda => {
                    let of = |task: &String| match self.config.lambda.get(task) {
                        Some(Lambda::Fixed(lambda)) => *lambda,
                        Some(Lambda::Search) | None => self.config.method.lambda,
                    };
                    let coupling = CouplingChoice::Fixed(tasks.iter().map(of).collect());
                    self.run(name, Work::Joint { tasks: tasks.clone(), coupling });
                    self.method(name, Role::Rival, about, &[name]);
                }
                Other::PretrainAll => {
                    let pretrain =
                        self.run(&format!("{name}:pretrain"), Work::Pretrain { tasks: tasks.clone() });
                    let finetune = self.run(
                        &format!("{name}:finetune"),
                        Work::Target { start: TargetStart::Pretrained(pretrain) },
                    );
                    self.method(name, Role::Rival, about, &[&finetune]);
                }
                Other::SeedEnsemble => {
                    // As many to choose from as there are for each task, trained as often in line, or the
                    // choice or the steps alone would favour the elite models.
                    let mut members = 0;
                    let mut teachers = vec![];
                    for task in tasks {
                        let of_task = self.stage1.iter().filter(|mode| mode.task == *task);
                        let count = of_task.map(|mode| mode.runs.len()).sum();
                        teachers.push(self.members(members, count));
                        members += count;
                    }
                    self.run(name, Work::Distil { teachers });
                    self.draw(STUDENT);
                    self.method(name, Role::Rival, about, &[name]);
                }
                Other::SingleJoint => {
                    self.singles(name, "joint", |task| format!("the target and {task} at once"))
                }
                Other::SinglePretrain => self.singles(name, "pretraining", |task| {
                    format!("{task} alone, then the target from what it learnt")
                }),
            }
        }
    }

    /// The models of stage one by the mode `wanted`, each as a rival of its own.
    fn singles(&mut self, name: &str, wanted: &str, about: impl Fn(&str) -> String) {
        for Mode { task, runs, .. } in self.stage1.clone().into_iter().filter(|mode| mode.mode == wanted) {
            let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
            self.method(&format!("{name}_{task}"), Role::Rival, &about(&task), &runs);
        }
    }

    /// Target-only models of the seed ensemble, of which the best teaches: as there is a joint model for
    /// each λ of a task, and a pre-trained one that has two trainings in line, the last is the one before
    /// it trained on.
    fn members(&mut self, first: usize, count: usize) -> Candidates {
        let mut runs: Vec<String> = vec![];
        let draw = first_member();
        for i in first..first + count {
            let id = format!("seed_ensemble:{i}");
            let run = match runs.last() {
                Some(before) if i + 1 == first + count => self.go_on(&id, before, draw + i),
                _ => {
                    let id = self.run(&id, Work::Target { start: TargetStart::Scratch });
                    self.draw(draw + i);
                    id
                }
            };
            runs.push(run);
        }
        Candidates { name: format!("seed_ensemble_{first}"), runs }
    }

    /// A run that trains the target on from the run `from`.
    fn go_on(&mut self, id: &str, from: &str, draws: usize) -> String {
        let run = self.run(id, Work::Target { start: TargetStart::Continued(from.to_owned()) });
        self.draw(draws);
        run
    }

    /// Gives the last run random numbers of its own, the `draws`-th of this seed: weights that were
    /// trained before must not see the same batches in the same order again.
    fn draw(&mut self, draws: usize) {
        if let Some(run) = self.runs.last_mut() {
            run.config.train.seed = self.seed.saturating_add((MAX_SEEDS * draws) as u64);
        }
    }

    fn run(&mut self, id: &str, work: Work) -> String {
        let needs = match &work {
            Work::Target { start } => start.run().into_iter().cloned().collect(),
            Work::Joint { .. } | Work::Pretrain { .. } => vec![],
            Work::Distil { teachers } | Work::Ensemble { teachers } => {
                teachers.iter().flat_map(|teacher| teacher.runs.clone()).collect()
            }
        };
        let config = read_by(&work, self.config, self.seed);
        self.runs.push(RunSpec { id: id.to_owned(), seed: self.seed, needs, work, config });
        id.to_owned()
    }

    fn method(&mut self, name: &str, role: Role, about: &str, runs: &[&str]) {
        let runs = runs.iter().map(|id| (*id).to_owned()).collect();
        self.methods.push(Method { name: name.to_owned(), role, about: about.to_owned(), runs });
    }
}

/// What `work` reads of `config`, the rest as by default: a run is done anew when this changes.
fn read_by(work: &Work, config: &Config, seed: u64) -> Config {
    let default = Config::default();
    let mut read = Config {
        method: MethodConfig::default(),
        lambda: default.lambda.clone(),
        pretrain: PretrainConfig::default(),
        distillation: DistillationConfig::default(),
        ..config.clone()
    };
    read.train.seed = seed;
    let unlabelled = |read: &mut Config| {
        read.method.task_batch_size = config.method.task_batch_size;
        read.method.held_out = config.method.held_out;
    };
    match work {
        Work::Target { start: TargetStart::Scratch | TargetStart::Continued(_) } => {}
        Work::Target { start: TargetStart::Pretrained(_) } => {
            if config.pretrain.finetune_learning_rate.is_some() {
                read.train.learning_rate = default.train.learning_rate;
            }
            read.pretrain.finetune_learning_rate = config.pretrain.finetune_learning_rate;
            read.pretrain.freeze_steps = config.pretrain.freeze_steps;
        }
        Work::Joint { .. } => unlabelled(&mut read),
        Work::Pretrain { .. } => {
            unlabelled(&mut read);
            read.pretrain.steps = config.pretrain.steps;
            if config.pretrain.steps.is_some() {
                read.train.epochs = default.train.epochs;
            }
            read.pretrain.learning_rate = config.pretrain.learning_rate;
            read.train.learning_rate = default.train.learning_rate;
            read.train.early_stop = default.train.early_stop;
            read.train.positive_fraction = default.train.positive_fraction;
            read.loss = default.loss;
        }
        Work::Distil { .. } => {
            unlabelled(&mut read);
            read.distillation = config.distillation.clone();
        }
        Work::Ensemble { .. } => {
            read.distillation.teachers = config.distillation.teachers;
            read.loss = default.loss;
            read.augment = default.augment;
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const COUPLINGS: [(&str, &str); 2] = [("equal", "the sum"), ("pcgrad", "projected")];

    fn config(seeds: usize) -> Config {
        let mut config = Config::default();
        config.method.tasks = vec!["rotation".into(), "jigsaw".into()];
        config.method.seeds = seeds;
        config
    }

    fn ids(config: &Config, which: Which) -> Vec<String> {
        build(config, which, &COUPLINGS).runs.into_iter().map(|run| run.id).collect()
    }

    fn find<'a>(graph: &'a Graph, id: &str) -> &'a RunSpec {
        graph.runs.iter().find(|run| run.id == id).unwrap()
    }

    #[test]
    fn two_stage_trains_both_modes_of_each_task_and_the_baseline() {
        let expected = [
            "target_only",
            "stage1:rotation:joint",
            "stage1:rotation:pretrain",
            "stage1:rotation:finetune",
            "stage1:jigsaw:joint",
            "stage1:jigsaw:pretrain",
            "stage1:jigsaw:finetune",
            "teacher_ensemble",
            "two_stage",
            "target_only_longer:2",
            "target_only_longer:3",
        ];
        assert_eq!(ids(&config(1), Which::TwoStage), expected);
        let graph = build(&config(1), Which::TwoStage, &COUPLINGS);
        let student = find(&graph, "two_stage");
        let teachers = [
            "stage1:rotation:joint",
            "stage1:rotation:finetune",
            "stage1:jigsaw:joint",
            "stage1:jigsaw:finetune",
        ];
        assert_eq!(student.needs, teachers);
        assert_eq!(find(&graph, "teacher_ensemble").needs, teachers);
        assert_eq!(find(&graph, "stage1:rotation:finetune").needs, ["stage1:rotation:pretrain"]);
        let names: Vec<_> = graph.methods.iter().map(|method| method.name.as_str()).collect();
        assert_eq!(names, ["two_stage", "target_only", "teacher_ensemble", "target_only_longer"]);
    }

    #[test]
    fn compare_adds_every_rival_or_those_named() {
        let all = ids(&config(1), Which::Compare);
        let added = &all[9..];
        let expected = [
            "joint_equal",
            "joint_pcgrad",
            "target_only_longer:2",
            "target_only_longer:3",
            "joint_lambda",
            "pretrain_all:pretrain",
            "pretrain_all:finetune",
            "seed_ensemble:0",
            "seed_ensemble:1",
            "seed_ensemble:2",
            "seed_ensemble:3",
            "seed_ensemble_distilled",
        ];
        assert_eq!(added, expected);
        // As many candidates for a place among the teachers as a task has, none of them twice.
        let graph = build(&config(1), Which::Compare, &COUPLINGS);
        let places = |id: &str| match &find(&graph, id).work {
            Work::Distil { teachers } => teachers.iter().map(|t| t.runs.len()).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(places("seed_ensemble_distilled"), places("two_stage"));
        assert_eq!(find(&graph, "seed_ensemble_distilled").needs.iter().collect::<HashSet<_>>().len(), 4);
        // And trained as often in line: the last of each place goes on from the one before.
        assert_eq!(find(&graph, "seed_ensemble:1").needs, ["seed_ensemble:0"]);
        assert_eq!(find(&graph, "seed_ensemble:2").needs, [""; 0]);
        assert_eq!(find(&graph, "seed_ensemble:3").needs, ["seed_ensemble:2"]);

        let mut few = config(1);
        few.method.rivals = vec!["joint_pcgrad".into(), "single_joint".into()];
        let graph = build(&few, Which::Compare, &COUPLINGS);
        assert_eq!(graph.runs.len(), 9 + 2 + 1);
        let names: Vec<_> = graph.methods[3..].iter().map(|method| method.name.as_str()).collect();
        let singles = ["single_joint_rotation", "single_joint_jigsaw"];
        assert_eq!(names, ["joint_pcgrad", TARGET_LONGER, singles[0], singles[1]]);
        assert_eq!(graph.methods[5].runs, ["stage1:rotation:joint"]);
    }

    #[test]
    fn a_searched_lambda_is_a_run_for_each_candidate() {
        let mut config = config(1);
        config.method.lambda_candidates = vec![0.03, 1.0];
        config.lambda.insert("rotation".into(), Lambda::Search);
        config.lambda.insert("jigsaw".into(), Lambda::Fixed(0.7));
        let graph = build(&config, Which::Compare, &COUPLINGS);
        let joint = ["stage1:rotation:joint_0.03", "stage1:rotation:joint_1"];
        assert_eq!(graph.stage1[0].runs, joint);
        let single = graph.methods.iter().find(|m| m.name == "single_joint_rotation").unwrap();
        assert_eq!(single.runs, joint);
        assert_eq!(find(&graph, "two_stage").needs[..3], [joint[0], joint[1], "stage1:rotation:finetune"]);
        let lambda = |id: &str| match &find(&graph, id).work {
            Work::Joint { coupling: CouplingChoice::Fixed(weights), .. } => weights.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [lambda(joint[0]), lambda(joint[1]), lambda("stage1:jigsaw:joint")],
            [[0.03], [1.0], [0.7]]
        );
    }

    #[test]
    fn every_run_comes_after_what_it_needs_and_has_a_folder_of_its_own() {
        let graph = build(&config(3), Which::Compare, &COUPLINGS);
        assert_eq!(graph.runs.len(), 3 * 21);
        let mut seen = HashSet::new();
        for run in &graph.runs {
            for need in &run.needs {
                assert!(seen.contains(&(run.seed, need.clone())), "{need} comes after {}", run.id);
            }
            assert!(seen.insert((run.seed, run.id.clone())));
        }
        // A folder inside another would go when the other is removed.
        let folders: Vec<String> = graph.runs.iter().map(|run| run.folder() + "/").collect();
        for (i, a) in folders.iter().enumerate() {
            for (j, b) in folders.iter().enumerate() {
                assert!(i == j || !b.starts_with(a.as_str()), "{b} lies in {a}");
            }
        }
    }

    #[test]
    fn no_two_models_of_an_ensemble_have_one_seed() {
        let mut config = config(1000);
        config.train.seed = 7;
        let graph = build(&config, Which::Compare, &COUPLINGS);
        let scratch = |run: &&RunSpec| run.work == Work::Target { start: TargetStart::Scratch };
        let seeds: Vec<u64> = graph.runs.iter().filter(scratch).map(|run| run.config.train.seed).collect();
        assert_eq!(seeds.iter().collect::<HashSet<_>>().len(), 3 * 1000);
        let draw = |id: &str| find(&graph, id).config.train.seed;
        assert_eq!(["target_only", "two_stage", "seed_ensemble_distilled"].map(draw), [7, 1007, 1007]);
        assert_eq!(["target_only_longer:2", "target_only_longer:3"].map(draw), [2007, 3007]);
        // Nor have two elite models, nor an elite model and a member of the seed ensemble.
        let of_first = graph.runs.iter().filter(|run| run.seed == 7);
        let teachers = of_first
            .filter(|run| run.id.starts_with("stage1:") || run.id.starts_with("seed_ensemble:"))
            .map(|run| run.config.train.seed);
        let teachers: Vec<u64> = teachers.collect();
        assert_eq!(teachers.len(), 2 * 3 + 4);
        assert_eq!(teachers.iter().collect::<HashSet<_>>().len(), teachers.len());
        assert!(teachers.iter().all(|seed| seed % 1000 == 7 && *seed > 3007), "{teachers:?}");
    }

    #[test]
    fn a_run_keeps_only_what_it_reads() {
        let before = build(&config(1), Which::Compare, &COUPLINGS);
        let changed = |change: fn(&mut Config)| {
            let mut config = config(1);
            change(&mut config);
            let after = build(&config, Which::Compare, &COUPLINGS);
            let pairs = before.runs.iter().zip(&after.runs);
            pairs.filter(|(a, b)| a != b).map(|(a, _)| a.id.clone()).collect::<Vec<_>>()
        };
        let distilled = ["two_stage", "seed_ensemble_distilled"];
        assert_eq!(changed(|c| c.distillation.alpha = 0.9), distilled);
        let pretrained = ["stage1:rotation:pretrain", "stage1:jigsaw:pretrain", "pretrain_all:pretrain"];
        assert_eq!(changed(|c| c.pretrain.steps = Some(9)), pretrained);
        let finetuned = ["stage1:rotation:finetune", "stage1:jigsaw:finetune", "pretrain_all:finetune"];
        assert_eq!(changed(|c| c.pretrain.freeze_steps = 9), finetuned);
        // Where pre-training has steps of its own, the epochs of the others are nothing to it.
        let mut own_steps = config(1);
        own_steps.pretrain.steps = Some(9);
        let before = build(&own_steps, Which::Compare, &COUPLINGS);
        own_steps.train.epochs += 1;
        let after = build(&own_steps, Which::Compare, &COUPLINGS);
        let same = before.runs.iter().zip(&after.runs).filter(|(a, b)| a == b);
        assert_eq!(same.map(|(a, _)| a.id.as_str()).collect::<Vec<_>>(), pretrained);
        let weighed = ["stage1:rotation:joint", "stage1:jigsaw:joint", "joint_lambda"];
        assert_eq!(changed(|c| c.method.lambda = 9.0), weighed);
        let untouched = before.runs.len() - pretrained.len();
        assert_eq!(changed(|c| c.train.learning_rate = 9.0).len(), untouched);
    }
}
