//! What must hold before any training starts and a value's range alone does not tell.

use std::path::{Path, PathBuf};

use super::error::{MethodError, nearest};
use super::graph::{draws, rival_names};
use crate::config::validate::MAX_SEEDS;
use crate::config::{BadValue, Config};
use crate::tasks;
use crate::train::single::steps_per_epoch;

/// Checks `[method]`: its names against those there are, what tasks ask of a batch, and that all trainings can have
/// seeds.
///
/// # Errors
/// An unknown name, a name given twice, no task, a batch too small, `train.seed` too large.
pub fn check_method(config: &Config, known: &[&str], couplings: &[&str]) -> Result<(), MethodError> {
    let method = &config.method;
    if method.tasks.is_empty() {
        return Err(MethodError::NoTasks);
    }
    for (i, task) in method.tasks.iter().enumerate() {
        if !known.contains(&task.as_str()) {
            let nearest = nearest(task, known.iter().copied());
            return Err(MethodError::UnknownTask { task: task.clone(), nearest });
        }
        if method.tasks[..i].contains(task) {
            return Err(MethodError::TaskTwice { task: task.clone() });
        }
    }
    let rivals = rival_names(couplings);
    for (i, rival) in method.rivals.iter().enumerate() {
        if !rivals.contains(rival) {
            let nearest = nearest(rival, rivals.iter().map(String::as_str));
            return Err(MethodError::UnknownRival { rival: rival.clone(), nearest });
        }
        if method.rivals[..i].contains(rival) {
            return Err(MethodError::RivalTwice { rival: rival.clone() });
        }
    }
    // The seeds of all trainings must have a form in TOML.
    let most_modes = 1 + method.lambda_candidates.len().max(1);
    let above = (MAX_SEEDS * draws(method.tasks.len() * most_modes)) as u64;
    let most = i64::MAX as u64 - above;
    if config.train.seed > most {
        let expected = format!("at most {most}: the other trainings have seeds up to {above} above it");
        let found = config.train.seed.to_string();
        return Err(BadValue { key: "train.seed".into(), found, expected }.into());
    }
    let batch = config.task_batch();
    let named = method.tasks.iter().filter_map(|name| tasks::by_name(name));
    if let Some(task) = named.into_iter().find(|task| batch < task.least_batch()) {
        let key =
            if method.task_batch_size.is_some() { "method.task_batch_size" } else { "train.batch_size" };
        let expected = format!("{} or more with the task `{}`", task.least_batch(), task.name());
        return Err(BadValue { key: key.into(), found: batch.to_string(), expected }.into());
    }
    Ok(())
}

/// Tells of λ that is given for a task that is not among those of the method.
pub fn unused_lambdas(config: &Config) -> Vec<String> {
    let unused = config.lambda.keys().filter(|task| !config.method.tasks.contains(task));
    unused.map(|task| format!("lambda.{task} has no effect: method.tasks does not name {task}")).collect()
}

/// Checks that there are folders of unlabelled images.
///
/// # Errors
/// None was given, one is not there, or one is given twice.
pub fn check_folders(unlabelled: &[impl AsRef<Path>]) -> Result<(), MethodError> {
    if unlabelled.is_empty() {
        return Err(MethodError::NoUnlabelled);
    }
    let mut seen = vec![];
    for path in unlabelled.iter().map(AsRef::as_ref) {
        // By its real path, as a folder has many names.
        let real = images_in(path).canonicalize().ok().filter(|path| path.is_dir());
        let real = real.ok_or_else(|| MethodError::UnlabelledFolder { path: path.into() })?;
        if seen.contains(&real) {
            return Err(MethodError::UnlabelledTwice { path: path.into() });
        }
        seen.push(real);
    }
    Ok(())
}

/// Checks that the names of folders can be written down, for `plan.json`.
///
/// # Errors
/// One that is not UTF-8.
pub fn check_names<'a>(folders: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), MethodError> {
    let mut folders = folders.into_iter();
    // As they are written down.
    let is_text = |path: &Path| std::path::absolute(path).is_ok_and(|whole| whole.to_str().is_some());
    let bad = folders.find(|path| !is_text(path));
    bad.map_or(Ok(()), |path| Err(MethodError::NotUtf8 { path: path.clone() }))
}

/// The folder that images are read from: a data folder keeps them one below.
pub fn images_in(folder: &Path) -> PathBuf {
    let images = folder.join("images");
    if images.is_dir() { images } else { folder.to_path_buf() }
}

/// Checks that there are enough images for a batch: `labelled` ones to train on, and `unlabelled` ones
/// to train tasks on, those held out not counted.
///
/// # Errors
/// Fewer than a batch of one or the other.
pub fn check_counts(config: &Config, labelled: usize, unlabelled: usize) -> Result<(), MethodError> {
    let batch = config.train.batch_size;
    if labelled < batch {
        return Err(MethodError::FewLabelled { found: labelled, batch });
    }
    let batch = config.task_batch();
    if unlabelled < batch {
        return Err(MethodError::FewUnlabelled { found: unlabelled, batch });
    }
    Ok(())
}

/// Checks that a pre-trained part is not frozen for all of the training that follows, of `labelled` images.
///
/// # Errors
/// It is.
pub fn check_freezing(config: &Config, labelled: usize) -> Result<(), MethodError> {
    let (steps, frozen) =
        (config.train.epochs * steps_per_epoch(config, labelled), config.pretrain.freeze_steps);
    if frozen >= steps {
        let expected = format!("fewer than the {steps} steps of the segmentation training");
        let (key, found) = ("pretrain.freeze_steps".into(), frozen.to_string());
        return Err(BadValue { key, found, expected }.into());
    }
    Ok(())
}

/// Checks that enough unlabelled images are held out for a batch, or no task could be measured; `copies`
/// were left out before.
///
/// # Errors
/// Fewer than a batch.
pub fn check_held_out(config: &Config, held_out: usize, copies: usize) -> Result<(), MethodError> {
    let batch = config.task_batch();
    if held_out < batch { Err(MethodError::FewHeldOut { found: held_out, batch, copies }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Lambda;

    const TASKS: [&str; 3] = ["rotation", "jigsaw", "contrastive"];

    fn refused(change: impl Fn(&mut Config)) -> MethodError {
        let mut config = Config::default();
        config.method.tasks = vec!["rotation".into(), "jigsaw".into()];
        check_method(&config, &TASKS, &["equal", "pcgrad"]).unwrap();
        change(&mut config);
        check_method(&config, &TASKS, &["equal", "pcgrad"]).unwrap_err()
    }

    #[test]
    fn an_unknown_task_is_told_with_the_nearest() {
        let error = refused(|c| c.method.tasks[0] = "rotaton".into());
        assert!(
            matches!(&error, MethodError::UnknownTask { task, nearest } if task == "rotaton" && nearest == "rotation")
        );
        assert!(error.to_string().contains("did you mean `rotation`"), "{error}");
    }

    #[test]
    fn a_task_named_twice_is_refused() {
        let error = refused(|c| c.method.tasks.push("rotation".into()));
        assert!(matches!(error, MethodError::TaskTwice { task } if task == "rotation"));
    }

    #[test]
    fn no_tasks_are_zero_elite_models() {
        let error = refused(|c| c.method.tasks.clear());
        assert!(matches!(error, MethodError::NoTasks));
        assert!(error.to_string().contains("zero elite models"), "{error}");
    }

    #[test]
    fn an_unknown_rival_is_told_with_the_nearest() {
        let error = refused(|c| c.method.rivals = vec!["joint_pcgrd".into()]);
        assert!(matches!(error, MethodError::UnknownRival { nearest, .. } if nearest == "joint_pcgrad"));
        let error = refused(|c| c.method.rivals = vec!["pretrain_all".into(), "pretrain_all".into()]);
        assert!(matches!(error, MethodError::RivalTwice { .. }));
    }

    #[test]
    fn contrastive_needs_two_images() {
        let with = |key: &str, change: fn(&mut Config)| {
            let error = refused(|c| {
                c.method.tasks.push("contrastive".into());
                change(c);
            });
            assert!(matches!(&error, MethodError::Value(value) if value.key == key), "{error}");
        };
        with("method.task_batch_size", |c| c.method.task_batch_size = Some(1));
        with("train.batch_size", |c| c.train.batch_size = 1);
    }

    #[test]
    fn a_lambda_without_its_task_is_told() {
        let mut config = Config::default();
        config.method.tasks = vec!["edges".into()];
        config.lambda =
            [("edges".to_owned(), Lambda::Fixed(1.0)), ("rotation".to_owned(), Lambda::Search)].into();
        let expected = "lambda.rotation has no effect: method.tasks does not name rotation";
        assert_eq!(unused_lambdas(&config), [expected]);
    }

    #[test]
    fn a_seed_must_leave_room_for_the_others() {
        let error = refused(|c| c.train.seed = i64::MAX as u64);
        assert!(matches!(&error, MethodError::Value(value) if value.key == "train.seed"), "{error}");
    }

    #[test]
    fn folders_of_unlabelled_images_must_be_there() {
        let none: [&Path; 0] = [];
        assert!(matches!(check_folders(&none), Err(MethodError::NoUnlabelled)));
        let folder = tempfile::tempdir().unwrap();
        check_folders(&[folder.path()]).unwrap();
        let missing = folder.path().join("missing");
        let error = check_folders(&[folder.path(), &missing]).unwrap_err();
        assert!(matches!(&error, MethodError::UnlabelledFolder { path } if *path == missing), "{error}");
        let again = folder.path().join("images");
        std::fs::create_dir(&again).unwrap();
        let error = check_folders(&[folder.path(), &again]).unwrap_err();
        assert!(matches!(&error, MethodError::UnlabelledTwice { path } if *path == again), "{error}");
    }

    #[test]
    fn a_pretrained_part_must_be_trained_further() {
        let mut config = Config::default();
        config.train.batch_size = 4;
        config.pretrain.freeze_steps = config.train.epochs - 1;
        check_freezing(&config, 4).unwrap();
        config.pretrain.freeze_steps += 1;
        let error = check_freezing(&config, 4).unwrap_err();
        assert!(
            matches!(&error, MethodError::Value(value) if value.key == "pretrain.freeze_steps"),
            "{error}"
        );
    }

    #[test]
    fn fewer_held_out_images_than_a_batch() {
        let mut config = Config::default();
        config.method.task_batch_size = Some(4);
        check_held_out(&config, 4, 0).unwrap();
        let error = check_held_out(&config, 3, 7).unwrap_err();
        assert!(matches!(error, MethodError::FewHeldOut { found: 3, batch: 4, copies: 7 }), "{error}");
        assert!(error.to_string().contains("(7 copies of other images are left out)"), "{error}");
        assert!(error.to_string().contains("method.held_out"), "{error}");
    }

    #[test]
    fn fewer_images_than_a_batch() {
        let mut config = Config::default();
        config.train.batch_size = 4;
        check_counts(&config, 4, 4).unwrap();
        let error = check_counts(&config, 3, 100).unwrap_err();
        assert!(matches!(error, MethodError::FewLabelled { found: 3, batch: 4 }), "{error}");
        let error = check_counts(&config, 4, 3).unwrap_err();
        assert!(matches!(error, MethodError::FewUnlabelled { found: 3, batch: 4 }), "{error}");
        config.method.task_batch_size = Some(8);
        let error = check_counts(&config, 4, 7).unwrap_err();
        assert!(matches!(error, MethodError::FewUnlabelled { found: 7, batch: 8 }), "{error}");
    }
}
