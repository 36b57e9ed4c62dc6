//! A small experiment folder for tests, whose numbers are known by hand.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::Config;
use crate::config::schema::StudentStart;
use crate::method::plan::{ImageCounts, Method, Mode, Plan, PlannedRun, Role, Which};
use crate::method::run::{
    Candidates, CouplingChoice, RESULT, RunResult, RunSpec, Segmentation, TargetStart, TaskScore, Teacher,
    Work,
};
use crate::report::run_folder::write_json;
use crate::report::{BranchRow, RunFolder, RunInfo, TaskRow};
use crate::train::metrics::{DiceSummary, Evaluation, ImageScore, IouSummary};
use crate::train::threshold::Threshold;

/// A name that must be escaped wherever it is shown.
pub const RIVAL: &str = "a <b> & |c";
pub const IMAGES: usize = 10;
pub const SEEDS: [u64; 3] = [0, 1, 2];

const JOINT: &str = "stage1:rotation:joint";
const PRETRAINED: &str = "stage1:rotation:pretraining";

/// Writes the plan and the results of every run. Dice of image i, before the seeds' −0.01, 0, +0.01:
/// target_only `b = 0.5 + 0.04 i`, the student `b + 0.01 (i + 1)`, the ensemble `b + 0.07`, the rival of
/// the strange name `b + 0.03`, pretrain_all 0.7.
pub fn experiment(root: &Path) -> Plan {
    let plan = plan();
    plan.write(root).unwrap();
    for run in &plan.runs {
        write_run(root, run);
    }
    plan
}

pub fn plan() -> Plan {
    let method = |name: &str, role, run: &str| Method {
        name: name.into(),
        role,
        about: format!("what {name} does"),
        runs: vec![run.into()],
    };
    let mode =
        |mode: &str, run: &str| Mode { task: "rotation".into(), mode: mode.into(), runs: vec![run.into()] };
    let spec = |seed, id: &str, needs: &[&str], work| RunSpec {
        id: id.into(),
        seed,
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        work,
        config: from_scratch(),
    };
    let teachers =
        || vec![Candidates { name: "rotation".into(), runs: vec![JOINT.into(), PRETRAINED.into()] }];
    let tasks = || vec!["rotation".to_owned()];
    let of_seed = |seed| {
        let coupling = CouplingChoice::Fixed(vec![0.1]);
        [
            spec(seed, "target_only", &[], Work::Target { start: TargetStart::Scratch }),
            spec(seed, "pretrain:rotation", &[], Work::Pretrain { tasks: tasks() }),
            spec(seed, JOINT, &[], Work::Joint { tasks: tasks(), coupling }),
            spec(
                seed,
                PRETRAINED,
                &["pretrain:rotation"],
                Work::Target { start: TargetStart::Pretrained("pretrain:rotation".into()) },
            ),
            spec(seed, "two_stage", &[JOINT, PRETRAINED], Work::Distil { teachers: teachers() }),
            spec(seed, "teacher_ensemble", &[JOINT, PRETRAINED], Work::Ensemble { teachers: teachers() }),
            spec(seed, "rival", &[], Work::Target { start: TargetStart::Scratch }),
            spec(seed, "pretrain_all", &[], Work::Target { start: TargetStart::Scratch }),
        ]
    };
    Plan {
        version: "0.1.0".into(),
        command: Which::Compare,
        arguments: ["compare", "c.toml", "--data", "lungs & <co>"].map(str::to_owned).to_vec(),
        earlier: vec![],
        config: Config::default(),
        data: "lungs & <co>".into(),
        unlabelled: vec!["more".into()],
        data_fingerprint: "f1e2".into(),
        images: ImageCounts { train: 20, val: 141, test: IMAGES, unlabelled: 1034, held_out: 113 },
        patients: BTreeMap::new(),
        code: "c0de".into(),
        seeds: SEEDS.to_vec(),
        methods: vec![
            method("two_stage", Role::Method, "two_stage"),
            method("target_only", Role::Baseline, "target_only"),
            method("teacher_ensemble", Role::Ceiling, "teacher_ensemble"),
            method(RIVAL, Role::Rival, "rival"),
            method("pretrain_all", Role::Rival, "pretrain_all"),
        ],
        stage1: vec![mode("joint", JOINT), mode("pretraining", PRETRAINED)],
        runs: SEEDS
            .into_iter()
            .flat_map(of_seed)
            .map(|spec| PlannedRun {
                folder: spec.folder(),
                inputs: format!("hash of {}", spec.folder()),
                spec,
            })
            .collect(),
    }
}

fn write_run(root: &Path, run: &PlannedRun) {
    let (id, seed) = (run.spec.id.as_str(), run.spec.seed);
    let folder = RunFolder::create(&root.join(&run.folder), "state").unwrap();
    folder.write_info(&RunInfo::new("Some GPU", "Vulkan", "driver 1")).unwrap();
    write_metrics(&folder, id);
    let base = |i: f64| 0.5 + 0.04 * i;
    // Seconds are powers of two, so that a sum tells what is in it.
    let (seconds, val_dice, dice): (f64, f64, fn(f64, f64) -> f64) = match id {
        "target_only" => (1.0, 0.6, |_, base| base),
        "pretrain:rotation" => (2.0, 0.0, |_, _| 0.0),
        JOINT => (4.0, 0.8, |_, base| base),
        PRETRAINED => (8.0, 0.7, |_, base| base),
        "two_stage" => (16.0, 0.9, |i, base| base + 0.01 * (i + 1.0)),
        "teacher_ensemble" => (0.0, 0.9, |_, base| base + 0.07),
        "rival" => (32.0, 0.65, |_, base| base + 0.03),
        _ => (64.0, 0.65, |_, _| 0.7),
    };
    let shift = if id == "pretrain_all" { 0.0 } else { 0.01 * (seed as f64 - 1.0) };
    let images: Vec<f64> = (0..IMAGES).map(|i| i as f64).map(|i| dice(i, base(i)) + shift).collect();
    let teacher = Teacher { name: "rotation".into(), run: JOINT.into(), val_dice: 0.8, weight: 1.0 };
    let value = match id {
        "pretrain:rotation" => Some(0.9 + shift),
        JOINT => Some(0.6 + shift),
        _ => None,
    };
    let task = |value| TaskScore { metric: "accuracy".into(), higher_is_better: true, value, trivial: 0.25 };
    let result = RunResult {
        id: id.into(),
        seed,
        inputs: run.inputs.clone(),
        segmentation: (id != "pretrain:rotation").then(|| segmentation(val_dice, &images)),
        tasks: value.map(|value| ("rotation".to_owned(), task(value))).into_iter().collect(),
        teachers: if id == "two_stage" { vec![teacher] } else { vec![] },
        steps: 20,
        train_seconds: seconds,
        parameters: 1000,
        weights: None,
    };
    write_json(&folder.file(RESULT), &result).unwrap();
}

fn segmentation(val_dice: f64, dice: &[f64]) -> Segmentation {
    let image = |(index, dice): (usize, &f64)| ImageScore {
        id: format!("i{index}"),
        dice: *dice,
        iou: dice / 2.0,
        precision: None,
        recall: None,
        truth_pixels: 5,
        predicted_pixels: 5,
    };
    let mean = dice.iter().sum::<f64>() / dice.len() as f64;
    let test = Evaluation {
        dice: DiceSummary { mean, positives_only: Some(mean) },
        iou: IouSummary { mean: mean / 2.0 },
        precision: None,
        recall: None,
        threshold: Threshold::percent(50),
        min_area: Default::default(),
        images: dice.iter().enumerate().map(image).collect(),
    };
    Segmentation { val_dice, threshold: Threshold::percent(50), test }
}

fn write_metrics(folder: &RunFolder, id: &str) {
    let mut lines = String::new();
    for step in [10, 20] {
        let task = TaskRow {
            epoch: step / 10,
            step,
            task: "rotation".into(),
            metric: "accuracy".into(),
            higher_is_better: true,
            value: 0.3 + 0.03 * step as f64,
            trivial: 0.25,
        };
        let branch =
            |branch: &str, cosine| BranchRow { step, branch: branch.into(), loss: 1.0, weight: 1.0, cosine };
        if id == JOINT {
            lines += &row("branch", &branch("target", None));
            lines += &row("branch", &branch("rotation", Some(0.5)));
        }
        if id == JOINT || id == "pretrain:rotation" {
            lines += &row("task", &task);
        }
        if id != "pretrain:rotation" && id != "teacher_ensemble" {
            lines += &row("epoch", &crate::report::metrics_log::tests::epoch(step / 10, step));
        }
    }
    std::fs::write(folder.file(crate::report::JSONL), lines).unwrap();
}

fn row(kind: &str, value: &impl serde::Serialize) -> String {
    let mut json = serde_json::json!({ "kind": kind });
    let fields = serde_json::to_value(value).unwrap();
    json.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    format!("{json}\n")
}

/// A config whose student starts from scratch.
fn from_scratch() -> Config {
    let mut config = Config::default();
    config.distillation.student = StudentStart::Scratch;
    config
}
