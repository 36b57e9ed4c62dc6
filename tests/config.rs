//! Bad configs, one each, and what the message must say.

use std::path::Path;
use wgseg::config::{Config, ConfigError};

/// The message for `text` with `overrides`, which must name all of `parts`.
#[track_caller]
fn rejects(text: &str, overrides: &[&str], parts: &[&str]) {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    let error = Config::parse(text, "my.toml", &overrides).expect_err("this config must be refused");
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

macro_rules! rejected {
    ($($name:ident: $text:expr => $($part:expr),+;)*) => {
        $(#[test] fn $name() { rejects($text, &[], &["my.toml", $($part),+]); })*
    };
}

macro_rules! override_rejected {
    ($($name:ident: $set:expr => $($part:expr),+;)*) => {
        $(#[test] fn $name() { rejects("", &[$set], &["--set", $($part),+]); })*
    };
}

// Not a config at all.
rejected! {
    broken_toml: "[train" => "not valid TOML";
    duplicate_key: "[train]\nepochs = 1\nepochs = 2" => "not valid TOML", "epochs";
    section_is_a_value: "train = 3" => "`train`", "the number 3", "[train]";
}

// Keys that do not exist.
rejected! {
    misspelt_key: "[train]\nlerning_rate = 1" => "`train.lerning_rate`", "did you mean `train.learning_rate`";
    misspelt_section: "[trian]\nepochs = 1" => "`trian.epochs`", "`train.epochs`";
    empty_unknown_section: "[trian]" => "`trian`", "`train.";
    key_in_the_wrong_section: "[model]\nbatch_size = 1" => "`model.batch_size`", "`train.batch_size`";
    key_outside_any_section: "epochs = 1" => "`epochs`", "`train.epochs`";
}

// Wrong types.
rejected! {
    text_for_a_whole_number: "[train]\nepochs = \"ten\"" => "`train.epochs`", "the text \"ten\"", "a whole number";
    fraction_for_a_whole_number: "[train]\nepochs = 1.5" => "`train.epochs`", "1.5", "a whole number";
    negative_whole_number: "[train]\nbatch_size = -8" => "`train.batch_size`", "-8", "0 or more";
    list_for_a_number: "[loss]\nbce = [1.0]" => "`loss.bce`", "a list", "a number";
    number_for_a_path: "[data]\nsplit_file = 3" => "`data.split_file`", "the number 3", "text in quotes";
    unknown_schedule: "[train]\nschedule = \"step\"" => "`train.schedule`", "\"step\"", "\"constant\", \"cosine\", \"polynomial\"";
    unknown_norm: "[model]\nnorm = \"layer\"" => "`model.norm`", "\"layer\"", "\"batch\", \"instance\", \"group\"";
    unknown_optimizer: "[train]\noptimizer = \"adam\"" => "`train.optimizer`", "\"adam\"", "\"adamw\", \"sgd\"";
    unknown_upsample: "[model]\nupsample = true" => "`model.upsample`", "true", "\"transposed\", \"bilinear\"";
    unknown_dice_over: "[loss]\ndice_over = \"image\"" => "`loss.dice_over`", "\"sample\", \"batch\"";
}

// Values that cannot work.
rejected! {
    no_base_channels: "[model]\nbase_channels = 0" => "`model.base_channels` is 0", "from 1";
    too_many_base_channels: "[model]\nbase_channels = 9223372036854775807" => "`model.base_channels`", "to 1024";
    depth_zero: "[model]\ndepth = 0" => "`model.depth` is 0", "from 1 to 8";
    depth_above_eight: "[model]\ndepth = 9" => "`model.depth` is 9", "from 1 to 8";
    two_in_channels: "[model]\nin_channels = 2" => "`model.in_channels` is 2", "1 (grey) or 3 (colour)";
    two_out_channels: "[model]\nout_channels = 2" => "`model.out_channels` is 2", "expected 1";
    groups_do_not_divide: "[model]\nnorm = \"group\"\ngroups = 6" => "`model.groups` is 6", "1, 2, 4, 8, 16";
    no_groups: "[model]\nnorm = \"group\"\ngroups = 0" => "`model.groups` is 0", "a divisor";
    size_zero: "[data]\nsize = 0" => "`data.size` is 0", "from 1";
    size_not_divisible: "[data]\nsize = 100" => "`data.size` is 100", "96 or 112", "2^model.depth = 16";
    size_below_one_multiple: "[data]\nsize = 10" => "`data.size` is 10", "such as 16";
    instance_norm_of_one_pixel: "[data]\nsize = 16\n[model]\nnorm = \"instance\"" => "`data.size` is 16", "32 or more";
    negative_val_fraction: "[data]\nval_fraction = -0.1" => "`data.val_fraction` is -0.1", "above 0 and below 1";
    no_validation_images: "[data]\nval_fraction = 0" => "`data.val_fraction` is 0", "above 0";
    no_test_images: "[data]\ntest_fraction = 0" => "`data.test_fraction` is 0", "above 0";
    test_fraction_one: "[data]\ntest_fraction = 1" => "`data.test_fraction` is 1", "below 1";
    nothing_left_to_train_on: "[data]\nval_fraction = 0.5\ntest_fraction = 0.5" => "`data.val_fraction` is 0.5", "data.test_fraction = 0.5";
    negative_mask_threshold: "[data]\nmask_threshold = -1.0" => "`data.mask_threshold` is -1", "0 or more";
    no_workers: "[data]\nworkers = 0" => "`data.workers` is 0", "from 1";
    no_epochs: "[train]\nepochs = 0" => "`train.epochs` is 0", "from 1";
    no_steps_per_epoch: "[train]\nsteps_per_epoch = 0" => "`train.steps_per_epoch` is 0", "from 1";
    no_batch: "[train]\nbatch_size = 0" => "`train.batch_size` is 0", "from 1";
    no_labelled_images: "[train]\nlabelled = 0" => "`train.labelled` is 0", "1 or more";
    positive_fraction_above_one: "[train]\npositive_fraction = 1.5" => "`train.positive_fraction` is 1.5", "0 to 1";
    learning_rate_zero: "[train]\nlearning_rate = 0.0" => "`train.learning_rate` is 0", "above 0";
    learning_rate_negative: "[train]\nlearning_rate = -1e-3" => "`train.learning_rate` is -0.001", "above 0";
    learning_rate_nan: "[train]\nlearning_rate = nan" => "`train.learning_rate` is NaN", "finite";
    learning_rate_infinite: "[train]\nlearning_rate = inf" => "`train.learning_rate` is inf", "finite";
    negative_weight_decay: "[train]\nweight_decay = -0.1" => "`train.weight_decay` is -0.1", "0 or more";
    momentum_one: "[train]\nmomentum = 1.0" => "`train.momentum` is 1", "below 1";
    polynomial_power_zero: "[train]\npolynomial_power = 0.0" => "`train.polynomial_power` is 0", "above 0";
    negative_clip_norm: "[train]\nclip_norm = -1.0" => "`train.clip_norm` is -1", "0 or more";
    negative_loss_weight: "[loss]\ndice = -1.0" => "`loss.dice` is -1", "0 or more";
    both_loss_weights_zero: "[loss]\nbce = 0.0\ndice = 0.0" => "`loss.bce` is 0", "loss.dice is 0";
    positive_weight_zero: "[loss]\npositive_weight = 0.0" => "`loss.positive_weight` is 0", "above 0";
    dice_smooth_zero: "[loss]\ndice_smooth = 0.0" => "`loss.dice_smooth` is 0", "above 0";
    flip_above_one: "[augment]\nflip = 2.0" => "`augment.flip` is 2", "0 to 1";
    negative_shift: "[augment]\nshift = -0.1" => "`augment.shift` is -0.1", "0 or more";
    scale_too_large: "[augment]\nscale = 0.95" => "`augment.scale` is 0.95", "0 to 0.9";
    negative_rotation: "[augment]\nrotate = -5.0" => "`augment.rotate` is -5", "0 to 180";
    negative_brightness: "[augment]\nbrightness = -0.1" => "`augment.brightness` is -0.1", "0 or more";
    contrast_above_one: "[augment]\ncontrast = 1.5" => "`augment.contrast` is 1.5", "0 to 1";
    negative_gamma: "[augment]\ngamma = -0.1" => "`augment.gamma` is -0.1", "0 to 5";
    gamma_too_large: "[augment]\ngamma = 5.5" => "`augment.gamma` is 5.5", "0 to 5";
    brightness_above_f32: "[augment]\nbrightness = 1e39" => "`augment.brightness` is 1e39", "finite";
    no_seeds: "[method]\nseeds = 0" => "`method.seeds` is 0", "from 1";
    no_task_batch: "[method]\ntask_batch_size = 0" => "`method.task_batch_size` is 0", "from 1";
    nothing_held_out: "[method]\nheld_out = 0" => "`method.held_out` is 0", "above 0 and below 1";
    all_held_out: "[method]\nheld_out = 1.0" => "`method.held_out` is 1", "above 0 and below 1";
    negative_lambda: "[method]\nlambda = -0.1" => "`method.lambda` is -0.1", "0 or more";
    lambda_nan: "[method]\nlambda = nan" => "`method.lambda` is NaN", "finite";
    negative_candidate: "[method]\nlambda_candidates = [0.1, -1.0]" => "`method.lambda_candidates` is -1", "0 or more";
    candidate_twice: "[method]\nlambda_candidates = [0.1, 0.1]" => "`method.lambda_candidates`", "each number once";
    number_for_tasks: "[method]\ntasks = 3" => "`method.tasks`", "a list of texts";
    no_pretraining_steps: "[pretrain]\nsteps = 0" => "`pretrain.steps` is 0", "from 1";
    pretraining_rate_zero: "[pretrain]\nlearning_rate = 0.0" => "`pretrain.learning_rate` is 0", "above 0";
    finetune_rate_zero: "[pretrain]\nfinetune_learning_rate = 0.0" => "`pretrain.finetune_learning_rate` is 0", "above 0";
    alpha_above_one: "[distillation]\nalpha = 1.1" => "`distillation.alpha` is 1.1", "0 to 1";
    negative_alpha: "[distillation]\nalpha = -0.1" => "`distillation.alpha` is -0.1", "0 to 1";
    temperature_zero: "[distillation]\ntemperature = 0.0" => "`distillation.temperature` is 0", "0.01 to 100";
    student_of_no_channels: "[distillation]\nbase_channels = 0" => "`distillation.base_channels` is 0", "from 1";
    student_does_not_divide: "[model]\nnorm = \"group\"\n[distillation]\nstudent = \"scratch\"\nbase_channels = 4" => "`model.groups` is 8", "distillation.base_channels = 4";
    elite_of_another_size: "[distillation]\nstudent = \"best_elite\"\nbase_channels = 8" => "`distillation.base_channels` is 8", "model.base_channels = 16";
    unknown_teachers: "[distillation]\nteachers = \"all\"" => "`distillation.teachers`", "\"uniform\", \"weighted\", \"one_per_step\"";
    noise_nan: "[augment]\nnoise = nan" => "`augment.noise` is NaN", "finite";
}

// The same through --set.
override_rejected! {
    override_without_value: "train.epochs" => "train.epochs", "section.key=value";
    override_with_empty_value: "train.epochs=" => "section.key=value";
    override_of_unknown_key: "train.epoch=3" => "`train.epoch`", "`train.epochs`";
    override_of_a_section: "train=3" => "`train`", "did you mean `train.";
    override_of_wrong_type: "train.epochs=many" => "`train.epochs`", "the text \"many\"", "a whole number";
    override_with_impossible_value: "data.size=100" => "--set data.size=100", "`data.size` is 100", "96 or 112";
    override_with_two_values: "train.epochs=3\nseed = 4" => "`train.epochs`", "a whole number";
    required_key_set_to_none: "train.epochs=none" => "`train.epochs`", "a whole number";
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse("", "my.toml", &[]).unwrap(), Config::default());
}

#[test]
fn overrides_win_over_the_file_and_the_last_one_wins() {
    let set = |parts: &[&str]| parts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
    let text = "[train]\nepochs = 3\nlabelled = 20";
    let overrides = set(&[
        "train.schedule=constant",
        "train.epochs=4",
        "train.epochs = 5",
        "train.learning_rate=1",
        "train.labelled=none",
        "data.split_file=2024.csv",
        "model.norm=\"group\"",
    ]);
    let config = Config::parse(text, "my.toml", &overrides).unwrap();
    assert_eq!(config.train.schedule, wgseg::config::schema::Schedule::Constant);
    assert_eq!(config.train.epochs, 5);
    assert_eq!(config.train.learning_rate, 1.0);
    assert_eq!(config.train.labelled, None);
    assert_eq!(config.data.split_file.as_deref(), Some(Path::new("2024.csv")));
    assert_eq!(config.model.norm, wgseg::config::schema::Norm::Group);
}

#[test]
fn a_path_that_looks_like_a_number_stays_text() {
    let config = Config::parse("", "my.toml", &["data.split_file=2024".into()]).unwrap();
    assert_eq!(config.data.split_file.as_deref(), Some(Path::new("2024")));
}

#[test]
fn a_written_config_reads_back_equal() {
    let mut config = Config::default();
    config.data.split_file = Some("folder/split.csv".into());
    config.data.mask_threshold = Some(127.0);
    config.train.steps_per_epoch = Some(100);
    config.train.positive_fraction = Some(1.0 / 3.0);
    config.train.learning_rate = 1.234_567_890_123e-7;
    let text = config.to_toml().unwrap();
    assert_eq!(Config::parse(&text, "run/config.toml", &[]).unwrap(), config);
}

#[test]
fn a_file_on_disk_wins_over_a_builtin_config() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lungs.toml");
    std::fs::write(&path, "[train]\nepochs = 77").unwrap();
    assert_eq!(Config::load(&path, &[]).unwrap().train.epochs, 77);
}

#[test]
fn a_builtin_config_is_found_by_name() {
    let config = Config::load(Path::new("lungs_few"), &["train.seed=3".into()]).unwrap();
    assert_eq!((config.train.labelled, config.train.seed), (Some(20), 3));
}

#[test]
fn a_missing_file_lists_the_builtin_names() {
    let error = Config::load(Path::new("lung.toml"), &[]).unwrap_err();
    assert!(matches!(error, ConfigError::NotFound { .. }));
    assert!(error.to_string().contains("lung.toml"), "{error}");
    assert!(error.to_string().contains("default, lungs, lungs_few, phantom, two_stage_lungs"), "{error}");
}

#[test]
fn a_folder_is_not_a_config() {
    let folder = tempfile::tempdir().unwrap();
    let error = Config::load(folder.path(), &[]).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }), "{error}");
}
