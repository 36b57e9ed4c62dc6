//! Training: the step, the loop, the schedule, the scores, the checkpoints.

pub mod branch;
pub mod checkpoint;
pub mod coupled;
pub mod cross_validation;
pub mod loss_scale;
pub mod mask_rule;
pub mod metrics;
pub mod min_area;
pub mod mirror;
pub mod model;
pub mod predictor;
pub mod resume;
pub mod schedule;
pub mod setup;
pub mod sheet;
pub mod single;
pub mod step;
pub mod task_branch;
pub mod threshold;
pub mod trainer;
pub mod validation;
pub mod watch;
pub mod window;

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Tape(#[from] crate::tape::TapeError),
    #[error(transparent)]
    Compile(#[from] crate::program::CompileError),
    #[error(transparent)]
    Gpu(#[from] crate::gpu::GpuError),
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    #[error(transparent)]
    Metrics(#[from] metrics::MetricsError),
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::CheckpointError),
    #[error(transparent)]
    Method(#[from] crate::method::error::MethodError),
    #[error(
        "the loss became {value} at step {step} (epoch {epoch}); training stopped, {kept}; use a smaller \
         {key}, or set train.clip_norm (1.0, say){also}"
    )]
    LossNotFinite {
        step: usize,
        epoch: usize,
        value: f64,
        kept: String,
        key: &'static str,
        also: &'static str,
    },
    #[error(
        "step {step}: the gradients do not fit f16 even with the loss times {scale:e}; training stopped, {kept}; set \
         train.precision = \"f32\", or use a smaller {key}"
    )]
    LossScale { step: usize, scale: f64, kept: String, key: &'static str },
    #[error(
        "{name} holds a value that is not finite after step {step}; training stopped, the files of the run are as \
         they were before; use a smaller {key}, or set train.clip_norm (1.0, say)"
    )]
    StateNotFinite { name: String, step: usize, key: &'static str },
    #[error(
        "after step {step} what the network answers to validation images is not finite; training stopped, {kept}; use a \
         smaller {key}, or set train.clip_norm (1.0, say)"
    )]
    AnswersNotFinite { step: usize, kept: String, key: &'static str },
    #[error(
        "{path} holds a run already; go on with it by the same command and --resume, choose another folder, or \
         delete it"
    )]
    RunExists { path: PathBuf },
    #[error(
        "{path}: what the coupling of the losses remembers is damaged: {message}; delete the folder and train anew"
    )]
    Coupling { path: PathBuf, message: String },
    #[error(
        "{path}: there is nothing to resume: expected a file written by an interrupted `wgseg train`; \
         without it, remove the folder and train anew"
    )]
    NothingToResume { path: PathBuf },
    #[error(
        "{path}: this run was started with another config; {key} is {found} there and {wanted} now; \
         resume with the config it was started with, or train into a new folder"
    )]
    ResumeConfig { path: PathBuf, key: String, found: String, wanted: String },
    #[error(
        "{path}: fold {fold} was begun with another split of these images than the data folder has now; put the split back, \
         or cross-validate into a new folder"
    )]
    OtherSplit { path: PathBuf, fold: usize },
    #[error(
        "data.fold is {fold}, and cross-validation does all folds: leave it out, or give it to `wgseg train` for that fold \
         alone"
    )]
    OneFold { fold: usize },
    #[error(
        "{path}: the {what} of `{id}`{} another file than when this was begun, and scores of both would be mixed; put the \
         file back, or begin anew in another folder",
        match images - 1 { 0 => " is".to_owned(), more => format!(" (and of {more} more) is") }
    )]
    OtherFiles { path: PathBuf, id: String, what: &'static str, images: usize },
    #[error(
        "{path}: this run was started {}, and would go on {}, by which results differ in their last bits; resume without \
         --no-tuning and WGSEG_TUNING=off, with the `{}` that it began with in its folder, or train into a new folder",
        tuned(found.as_deref()), tuned(wanted.as_deref()), crate::tune::place::COPY
    )]
    ResumeTuning { path: PathBuf, found: Option<String>, wanted: Option<String> },
}

/// How kernels were chosen.
fn tuned(table: Option<&str>) -> String {
    table.map_or("without tuned kernels".to_owned(), |id| format!("with the kernels of tuning table {id}"))
}
