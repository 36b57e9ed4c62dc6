//! What comes out of an experiment for people: `results.json`, `results.csv`, `results.md` and
//! `report.html`.

mod bootstrap;
mod cases;
mod charts;
mod compare;
mod explained;
mod format;
mod headline;
mod page;
mod picture;
pub mod results;
mod series;
mod setting;
mod source;
mod stage1;
pub(crate) mod statistics;
mod tables;
#[cfg(test)]
pub(crate) mod testing;
mod units;
mod wilcoxon;

use std::path::{Path, PathBuf};

use self::results::Results;
use self::source::Experiment;
use super::run_folder::write_json;
use super::{ReportError, atomic};
use crate::gpu::GpuOptions;

/// Names of the files in the folder of the whole.
pub const RESULTS: &str = "results.json";
pub const TABLE_CSV: &str = "results.csv";
pub const TABLE_MARKDOWN: &str = "results.md";
pub const PAGE: &str = "report.html";

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The page.
    pub page: PathBuf,
    pub results: Results,
    /// What came out, in sentences.
    pub sentences: Vec<String>,
    /// The command that uses the student.
    pub student: Option<String>,
    /// Why there are no overlays, or what is strange about them.
    pub note: Option<String>,
}

/// Writes results, tables and page of the experiment in `root` into `root`, from what its runs have
/// left so far; returns the path of the page.
///
/// # Errors
/// No `plan.json` in `root`, one that cannot be read, or a file that cannot be written.
pub fn write(root: &Path) -> Result<PathBuf, ReportError> {
    Ok(write_on(root, &GpuOptions::default())?.page)
}

/// The same; the overlays are predicted on that adapter.
///
/// # Errors
/// As [`write`]. Overlays that cannot be drawn are no error: the page says why.
pub fn write_on(root: &Path, adapter: &GpuOptions) -> Result<Written, ReportError> {
    let experiment = Experiment::read(root)?;
    let results = Results::of(&experiment);
    write_json(&root.join(RESULTS), &results)?;
    let csv = root.join(TABLE_CSV);
    atomic::write(&csv, &tables::csv(&csv, &results)?)?;
    atomic::write(&root.join(TABLE_MARKDOWN), tables::markdown(&results).as_bytes())?;
    let cases = cases::draw(&experiment, adapter);
    let page = root.join(PAGE);
    atomic::write(&page, page::page(&experiment, &results, &cases).as_bytes())?;
    let student = results.student_model.as_ref().map(|model| model.command(root));
    Ok(Written { page, sentences: headline::sentences(&results), student, results, note: cases.note })
}

/// Removes what [`write`] leaves, where it is there.
///
/// # Errors
/// A file cannot be removed.
pub fn remove_report(root: &Path) -> Result<(), ReportError> {
    for name in [PAGE, RESULTS, TABLE_CSV, TABLE_MARKDOWN] {
        let path = root.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ReportError::write(&path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::testing::{IMAGES, RIVAL, experiment};
    use super::*;

    fn near(value: &Value, expected: f64) {
        let found = value.as_f64().unwrap_or(f64::NAN);
        assert!((found - expected).abs() < 1e-9, "{found}, expected {expected}");
    }

    fn read(root: &Path, name: &str) -> String {
        std::fs::read_to_string(root.join(name)).unwrap()
    }

    fn results(root: &Path) -> Value {
        serde_json::from_str(&read(root, RESULTS)).unwrap()
    }

    fn method<'a>(results: &'a Value, name: &str) -> &'a Value {
        results["methods"].as_array().unwrap().iter().find(|method| method["name"] == name).unwrap()
    }

    #[test]
    fn the_numbers_are_those_worked_out_by_hand() {
        let root = tempfile::tempdir().unwrap();
        experiment(root.path());
        write(root.path()).unwrap();
        let results = results(root.path());
        assert_eq!((&results["complete"], &results["best_rival"]), (&true.into(), &RIVAL.into()));

        let student = method(&results, "two_stage");
        // 0.51 + 0.05 i, and ±0.01 for the seeds.
        near(&student["dice_mean"], 0.735);
        near(&student["dice_sd"], 0.01);
        for (index, dice) in [0.725, 0.735, 0.745].into_iter().enumerate() {
            assert_eq!(student["seeds"][index]["seed"], index);
            near(&student["seeds"][index]["test"]["dice"], dice);
            near(&student["seeds"][index]["test"]["dice_positives_only"], dice);
            near(&student["seeds"][index]["test"]["iou"], dice / 2.0);
        }
        // All ten images are better: 2 of 2^10. Three are in the family.
        near(&student["p_vs_target_only"], 2.0 / 1024.0);
        near(&student["p_vs_target_only_adjusted"], 6.0 / 1024.0);
        near(&student["against_target_only"]["difference"], 0.055);
        // −.02 −.01 0 .01 … .07: the lower ranks are 1.5 and 3.5, and 11 of 2^9 sets of these ranks sum to
        // 5 at most. It is the second smallest of the three.
        near(&student["p_vs_best_rival"], 22.0 / 512.0);
        near(&student["p_vs_best_rival_adjusted"], 44.0 / 512.0);
        // Itself, both modes, and what one of them was pre-trained by.
        near(&student["train_seconds"], 16.0 + 8.0 + 4.0 + 2.0);
        near(&student["own_train_seconds"], 16.0);
        near(&student["steps_in_line"], 20.0);

        let baseline = method(&results, "target_only");
        near(&baseline["dice_mean"], 0.68);
        assert_eq!(baseline["p_vs_target_only"], Value::Null);
        let same = method(&results, "pretrain_all");
        near(&same["dice_sd"], 0.0);
        near(&same["dice_interval"][0], 0.7);
        near(&same["dice_interval"][1], 0.7);
        let ensemble = method(&results, "teacher_ensemble");
        near(&ensemble["against_target_only"]["interval"][0], 0.07);
        near(&ensemble["against_target_only"]["interval"][1], 0.07);

        assert_eq!(ensemble["steps_in_line"], Value::Null);

        let stage1 = results["stage1"].as_array().unwrap();
        assert_eq!(stage1.len(), 6);
        assert_eq!((&stage1[0]["task"], &stage1[0]["mode"]), (&"rotation".into(), &"joint".into()));
        near(&stage1[0]["val_dice"], 0.8);
        near(&stage1[0]["lambda"], 0.1);
        assert_eq!((&stage1[0]["chosen"], &stage1[1]["chosen"]), (&true.into(), &false.into()));
    }

    #[test]
    fn the_page_needs_no_network_and_escapes_names() {
        let root = tempfile::tempdir().unwrap();
        experiment(root.path());
        let page = std::fs::read_to_string(write(root.path()).unwrap()).unwrap();
        for resource in ["http://", "https://", "src=\"/", "@import", "url(", "<script", "<link"] {
            assert!(!page.contains(resource), "{resource}");
        }
        let sections =
            ["outcome", "method", "results", "stage1", "curves", "tasks", "scatter", "cases", "cosines"];
        for id in sections.into_iter().chain(["cost", "reproduce"]) {
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert!(page.contains("a &lt;b&gt; &amp; |c") && page.contains("lungs &amp; &lt;co&gt;"));
        assert!(!page.contains("<b> & |c") && !page.contains("<co>"));
        assert!(page.contains("The student is better than the target-only baseline"), "the outcome");
        assert!(page.contains("is not significantly better than the best rival"));
        assert!(page.contains("gains +0.0550, 79 % of that (3 seeds that all three have)"), "of 0.07");
        assert!(
            page.contains("Some GPU (Vulkan, driver 1)") && page.contains("f1e2") && page.contains("c0de")
        );
        for file in [RESULTS, TABLE_CSV, TABLE_MARKDOWN, "plan.json", "seed_0/two_stage/"] {
            let link = format!("href=\"{file}\"");
            assert!(page.contains(&link) && root.path().join(file).exists(), "{file}");
        }
        // Each chart has its curves: two points of accuracy and cosine, ten images.
        // Means over the seeds, whose best have 0.01 more.
        assert!(page.contains(
            "rotation: alone (pre-training) 0.900, no skill 0.250 (3 seeds); joint with the target 0.600, no skill 0.250 \
             (3 seeds); higher is better"
        ));
        assert!(page.contains("uncorrected: its teachers are no rival") && page.contains("1,000"));
        assert!(!page.contains("own_train_seconds"));
        assert!(page.contains("20 labelled training images and 141 labelled validation images, by which"));
        assert!(page.contains("the draw of the labelled images are the same for all seeds"));
        assert!(page.contains("10 test images, each a unit"));
        assert_eq!(page.matches("target-only 0.").count(), IMAGES);
        assert!(page.contains("The overlays could not be drawn"), "there is no data folder");
    }

    #[test]
    fn the_tables_hold_every_method() {
        let root = tempfile::tempdir().unwrap();
        experiment(root.path());
        write(root.path()).unwrap();
        let mut table = csv::Reader::from_path(root.path().join(TABLE_CSV)).unwrap();
        let rows: Vec<csv::StringRecord> = table.records().collect::<Result<_, _>>().unwrap();
        let names: Vec<&str> = rows.iter().map(|row| &row[0]).collect();
        assert_eq!(names, ["two_stage", "target_only", "teacher_ensemble", RIVAL, "pretrain_all"]);
        assert_eq!((&rows[0][1], &rows[1][8], &rows[3][13]), ("3", "", "true"));
        let header = csv::Reader::from_path(root.path().join(TABLE_CSV)).unwrap().headers().unwrap().clone();
        let adjusted = header.iter().position(|name| name == "student_minus_it_p_adjusted").unwrap();
        assert_eq!(
            (&rows[2][adjusted], rows[3][adjusted].is_empty()),
            ("", false),
            "the ceiling is in no family"
        );
        let markdown = read(root.path(), TABLE_MARKDOWN);
        assert!(markdown.contains("| two_stage | 0.7350 ± 0.0100 |"), "{markdown}");
        assert!(markdown.contains("| a \\<b\\> \\& \\|c | 0.7100 ± 0.0100 |"), "{markdown}");
    }

    #[test]
    fn what_is_missing_is_told_and_the_rest_is_reported() {
        let root = tempfile::tempdir().unwrap();
        experiment(root.path());
        let remove = |file: &str| std::fs::remove_file(root.path().join(file)).unwrap();
        remove("seed_1/two_stage/result.json");
        remove("seed_2/stage1/rotation/joint/result.json");
        std::fs::remove_dir_all(root.path().join("seed_2/rival")).unwrap();
        std::fs::write(root.path().join("seed_0/pretrain_all/result.json"), "{").unwrap();
        write(root.path()).unwrap();
        let results = results(root.path());
        assert_eq!((&results["complete"], &results["runs_complete"]), (&false.into(), &20.into()));
        let missing: Vec<(&str, &str)> = (results["missing"].as_array().unwrap().iter())
            .map(|missing| (missing["run"].as_str().unwrap(), missing["state"].as_str().unwrap()))
            .collect();
        let expected = [
            ("seed_0/pretrain_all", "damaged"),
            ("seed_1/two_stage", "not finished"),
            ("seed_2/stage1/rotation/joint", "not finished"),
            ("seed_2/rival", "not begun"),
        ];
        assert_eq!(missing, expected);
        let student = method(&results, "two_stage");
        assert_eq!(student["complete"], false);
        near(&student["dice_mean"], 0.735);
        near(&student["dice_sd"], 0.02 / 2f64.sqrt());
        // What a run of it cost is not known of seed 2, so nothing is said.
        assert_eq!(student["train_seconds"], Value::Null);
        assert_eq!(student["against_target_only"]["seeds"], 2);
        // Neither rival has both seeds of the student.
        assert_eq!(results["best_rival"], "target_only");
        let page = read(root.path(), PAGE);
        assert!(page.contains("Preliminary: 20 of 24 runs are complete"));
        assert!(
            read(root.path(), TABLE_MARKDOWN).contains("- seed_2/rival: not begun")
                && page.contains("seed_2/rival")
        );
        // The elite of seed 1 has no student to tell of it, but both modes.
        let stage1 = results["stage1"].as_array().unwrap();
        assert_eq!((&stage1[2]["chosen"], &stage1[3]["chosen"]), (&true.into(), &false.into()));
        assert_eq!((&stage1[4]["val_dice"], &stage1[4]["chosen"]), (&Value::Null, &true.into()));
    }

    #[test]
    fn a_result_of_something_else_is_not_complete() {
        let root = tempfile::tempdir().unwrap();
        experiment(root.path());
        let path = root.path().join("seed_1/two_stage/result.json");
        let mut result: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        result["inputs"] = "hash of something else".into();
        std::fs::write(&path, result.to_string()).unwrap();
        write(root.path()).unwrap();
        let results = results(root.path());
        assert_eq!((&results["complete"], &results["runs_complete"]), (&false.into(), &23.into()));
        assert_eq!(results["missing"][0]["run"], "seed_1/two_stage");
        assert_eq!(results["missing"][0]["state"], "stale");
        let seeds = method(&results, "two_stage")["seeds"].as_array().unwrap();
        assert_eq!(seeds.iter().map(|seed| &seed["seed"]).collect::<Vec<_>>(), [0, 2]);
        let why = "is of another config, other images or another version";
        assert!(read(root.path(), PAGE).contains(why) && read(root.path(), TABLE_MARKDOWN).contains(why));
    }

    #[test]
    fn patients_are_counted_where_they_are_named() {
        let root = tempfile::tempdir().unwrap();
        let mut plan = experiment(root.path());
        plan.patients = (0..5).map(|i| (format!("i{i}"), "x".to_owned())).collect();
        plan.write(root.path()).unwrap();
        write(root.path()).unwrap();
        let results = results(root.path());
        let student = method(&results, "two_stage");
        // The gains are 0.01 … 0.10: 0.03 of patient x, and those of the others. All six are above 0.
        near(&student["against_target_only"]["difference"], (0.03 + 0.06 + 0.07 + 0.08 + 0.09 + 0.1) / 6.0);
        near(&student["p_vs_target_only"], 2.0 / 64.0);
        near(&student["dice_mean"], 0.735);
        // 0.51 + 0.05 i, the first five drawn together.
        let first = vec![0.51, 0.56, 0.61, 0.66, 0.71];
        let others = [0.76, 0.81, 0.86, 0.91, 0.96].map(|dice| vec![dice]);
        let by_unit = bootstrap::interval(&[&[first], &others[..]].concat()).unwrap();
        near(&student["dice_interval"][0], by_unit[0]);
        near(&student["dice_interval"][1], by_unit[1]);
        let units = "1 patient of 5 images and 5 images without a patient";
        assert!(results["statistics"]["unit"].as_str().unwrap().starts_with(units));
        assert!(read(root.path(), PAGE).contains(&format!("over {units})")));
        assert_eq!(read(root.path(), PAGE).matches("target-only 0.").count(), IMAGES, "dots are images");
    }

    #[test]
    fn what_the_student_keeps_is_of_the_seeds_that_all_have() {
        let root = tempfile::tempdir().unwrap();
        experiment(root.path());
        std::fs::remove_file(root.path().join("seed_2/teacher_ensemble/result.json")).unwrap();
        let sentences = write_on(root.path(), &GpuOptions::default()).unwrap().sentences;
        let verdicts = "In short, by mean test Dice the student is better than target_only; is not significantly better than ";
        assert!(sentences[1].starts_with(verdicts), "{sentences:?}");
        // The third seed is better by 0.01, but the ensemble is 0.07 better than the baseline in each.
        let expected = "The teachers together gain +0.0700 (0.7450) over the baseline, corrected p =\u{a0}0.0059; the \
                        student, at the cost of one model in use, gains +0.0550, 79 % of that (2 seeds that all three have).";
        assert!(sentences.iter().any(|sentence| sentence == expected), "{sentences:?}");
        let uneven =
            "These methods have not the same seeds (two_stage 3, target_only 3, teacher_ensemble 2, ";
        assert!(sentences.iter().any(|sentence| sentence.starts_with(uneven)), "{sentences:?}");
    }

    #[test]
    fn the_best_student_that_is_there_can_be_used() {
        let root = tempfile::tempdir().unwrap();
        experiment(root.path());
        assert_eq!(
            write_on(root.path(), &GpuOptions::default()).unwrap().student,
            None,
            "there are no files"
        );
        for seed in [0, 1, 2] {
            let folder = root.path().join(format!("seed_{seed}/two_stage"));
            std::fs::write(folder.join("best.safetensors"), "weights").unwrap();
            let path = folder.join("result.json");
            let mut result: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            result["weights"] =
                serde_json::json!({"file": "best.safetensors", "bytes": 7, "sha256": "of the weights"});
            result["segmentation"]["val_dice"] = (0.8 + 0.01 * f64::from(seed)).into();
            std::fs::write(&path, result.to_string()).unwrap();
        }
        let model = |seed| root.path().join(format!("seed_{seed}/two_stage/best.safetensors"));
        let command = |seed| format!("wgseg predict --model {} --out", model(seed).display());
        let written = write_on(root.path(), &GpuOptions::default()).unwrap();
        assert!(written.student.as_ref().unwrap().starts_with(&command(2)), "{:?}", written.student);
        // The page may be moved with its folder.
        let on_page = "wgseg predict --model seed_2/two_stage/best.safetensors --out";
        assert!(read(root.path(), PAGE).contains(on_page));
        assert!(!written.sentences.iter().any(|sentence| sentence.contains("without a model")));

        std::fs::remove_file(model(2)).unwrap();
        let written = write_on(root.path(), &GpuOptions::default()).unwrap();
        assert!(written.student.as_ref().unwrap().starts_with(&command(1)), "{:?}", written.student);
        let said = "1 complete run without a model that can be used (seed_2/two_stage: its best.safetensors is gone)";
        assert!(written.sentences.iter().any(|one| one.starts_with(said)), "{:?}", written.sentences);
        let page = read(root.path(), PAGE);
        assert!(page.contains(said) && page.contains("complete, without its weights"));
        let results = results(root.path());
        assert_eq!((&results["complete"], &results["student_model"]["seed"]), (&true.into(), &1.into()));
    }

    #[test]
    fn methods_are_in_the_order_of_role_and_dice() {
        let root = tempfile::tempdir().unwrap();
        let mut plan = experiment(root.path());
        plan.methods.reverse();
        plan.write(root.path()).unwrap();
        write(root.path()).unwrap();
        let results = results(root.path());
        let names: Vec<&Value> =
            results["methods"].as_array().unwrap().iter().map(|method| &method["name"]).collect();
        assert_eq!(names, ["two_stage", "target_only", "teacher_ensemble", RIVAL, "pretrain_all"]);
        assert_eq!(results["best_rival"], RIVAL);
    }

    #[test]
    fn a_plan_alone_makes_a_page() {
        let root = tempfile::tempdir().unwrap();
        testing::plan().write(root.path()).unwrap();
        write(root.path()).unwrap();
        assert_eq!(results(root.path())["runs_complete"], 0);
        let page = read(root.path(), PAGE);
        assert!(page.contains("No student is trained yet") && !page.contains("NaN"));
    }

    #[test]
    fn a_folder_without_a_plan_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = write(root.path()).unwrap_err().to_string();
        assert!(error.contains("there is no plan.json") && error.contains("wgseg compare"), "{error}");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        std::fs::write(root.path().join("plan.json"), "{}").unwrap();
        let error = write(root.path()).unwrap_err().to_string();
        assert!(error.contains("plan.json") && error.contains("missing field"), "{error}");
    }
}
