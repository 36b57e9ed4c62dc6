//! Why the method cannot be done as it was asked for.

use std::path::PathBuf;

use crate::config::BadValue;
use crate::report::ReportError;

/// Share of letters that are alike, below which a name is no misspelling of another.
const NEAR_ENOUGH: f64 = 0.6;

/// Why the method cannot be done as it was asked for. All but what is wrong with the files of a run that another needs
/// is found before any training starts.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    #[error(
        "`method.tasks` names the task `{task}`, which there is not; did you mean `{nearest}`? `wgseg plan --tasks` lists all"
    )]
    UnknownTask { task: String, nearest: String },
    #[error("`method.tasks` names the task `{task}` twice; name each once")]
    TaskTwice { task: String },
    #[error(
        "`method.tasks` is empty: there would be zero elite models to learn from; name one task at least; `wgseg plan --tasks` lists all"
    )]
    NoTasks,
    #[error(
        "`method.rivals` names `{rival}`, which there is not; did you mean `{nearest}`? `wgseg plan --methods` lists all"
    )]
    UnknownRival { rival: String, nearest: String },
    #[error("`method.rivals` names `{rival}` twice; name each once")]
    RivalTwice { rival: String },
    #[error(transparent)]
    Value(#[from] BadValue),
    #[error(
        "no folder of unlabelled images was given, and the tasks learn from them; give one or more: --unlabelled DIR"
    )]
    NoUnlabelled,
    #[error("the folder of unlabelled images {} is not there or is no folder; give another: --unlabelled DIR", .path.display())]
    UnlabelledFolder { path: PathBuf },
    #[error("the name of the folder {} is not UTF-8, so plan.json cannot hold it; rename the folder", .path.display())]
    NotUtf8 { path: PathBuf },
    #[error("the folder of unlabelled images {} is given twice; give each once", .path.display())]
    UnlabelledTwice { path: PathBuf },
    #[error("{} holds the masks of the labelled images, which no task may learn from; give images: --unlabelled DIR", .path.display())]
    UnlabelledMasks { path: PathBuf },
    #[error(
        "there are {found} unlabelled images to train on, fewer than a batch of {batch}; give more with --unlabelled, or \
         set method.task_batch_size = {found} or less, or a smaller method.held_out"
    )]
    FewUnlabelled { found: usize, batch: usize },
    #[error(
        "{found} unlabelled images are held out to measure the tasks on, fewer than a batch of {batch}{}; give more with \
         --unlabelled, a larger method.held_out, or a smaller method.task_batch_size", left_out(*copies)
    )]
    FewHeldOut { found: usize, batch: usize, copies: usize },
    #[error(
        "there are {found} labelled images to train on, fewer than a batch of {batch}; label more, raise train.labelled \
         where it is set, or set train.batch_size = {found} or less"
    )]
    FewLabelled { found: usize, batch: usize },
    #[error("{}: the result of a run that is needed cannot be read: {message}; delete its folder and give the same command again, \
         which does that run anew", .path.display())]
    NoResult { path: PathBuf, message: String },
    #[error(
        "{} is not the file that its run left: its SHA-256 is not that in {} beside it; delete it and give the same command \
         again, which does that run anew", .path.display(), super::run::RESULT
    )]
    Weights { path: PathBuf },
    #[error("there is no run `{id}`; {}`{plan}` lists all", meant(nearest.as_deref()))]
    UnknownRun { id: String, nearest: Option<String>, plan: &'static str },
    #[error("--only names `{id}`, which is no run but made of the runs {runs}; give --only each of them")]
    MadeOf { id: String, runs: String },
    #[error("`{id}` is a run of `wgseg compare` that this command does not do{why}")]
    OfCompare { id: String, why: &'static str },
    #[error(
        "`{run}` needs `{missing}`, which is not complete; do that first, by --only {missing} or without --only"
    )]
    Missing { run: String, missing: String },
    #[error(
        "{} was made by another config: `{key}` is {was} there and {now} now; choose another folder, take the \
         config back, or give --redo-changed, by which {effect}",
        .root.display()
    )]
    OtherConfig { root: PathBuf, key: String, was: String, now: String, effect: String },
    #[error(
        "{} was made from other images than these{images}; choose another folder, give the same --data and --unlabelled, or give \
         --redo-changed, by which {effect}",
        .root.display()
    )]
    OtherData { root: PathBuf, images: String, effect: String },
    #[error(
        "{} was made by another version of wgseg ({was}, this is {now}), whose results may differ; go on with that version, choose another \
         folder, or give --redo-changed, by which {effect}",
        .root.display()
    )]
    OtherCode { root: PathBuf, was: String, now: String, effect: String },
    #[error(
        "{} was made with kernels tuned by another table, or by none, and results may differ in their last bits; its own \
         table is `{}` in it, which counts unless --no-tuning or WGSEG_TUNING=off is given: do without these and put \
         the file back, choose another folder, or give --redo-changed, by which {effect}",
        .root.display(), crate::tune::place::COPY
    )]
    OtherTuning { root: PathBuf, effect: String },
    #[error(
        "{error}; so what earlier commands did there is not known. Put the file right, or give --redo-changed to go on \
         without it: complete runs stay, but the report leaves out those that this command does not name"
    )]
    UnreadablePlan { error: ReportError },
    #[error(
        "{error}, or give --redo-changed, by which the runs of this command are removed and done anew, and the report \
         leaves out all others"
    )]
    OtherBuild { error: ReportError },
    #[error("the plan of the folder names no run `{run}`; `plan.json` there lists them under `folder`")]
    NotPlanned { run: String },
    #[error(
        "`{run}` would be made of something else here than the plan says: other images, another build of wgseg or other \
         tuned kernels; see that this machine has the same program and files as the one that gave the command"
    )]
    OtherThanPlanned { run: String },
    #[error(
        "`{run}` cannot go on: {why}; give the command that made the folder again, which does that run anew"
    )]
    Stale { run: String, why: String },
    #[error("{} holds something but no spec.json, so it is not of a run; move it away", .path.display())]
    Foreign { path: PathBuf },
    #[error("{}: {source}; see that it can be read and written", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("cannot write down what `{id}` is made of: {message}")]
    Encode { id: String, message: String },
}

/// That `copies` of images do not count.
fn left_out(copies: usize) -> String {
    match copies {
        0 => String::new(),
        1 => " (1 copy of another image is left out)".into(),
        _ => format!(" ({copies} copies of other images are left out)"),
    }
}

/// A question after a wrong name.
fn meant(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("did you mean `{name}`? ")).unwrap_or_default()
}

/// The name among `known` that is spelt most like `wanted`.
pub(super) fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(wanted, name);
    let best = known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.unwrap_or_default().to_owned()
}

/// The same, where one is near enough to be what was meant.
pub(super) fn near<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let best = nearest(wanted, known);
    (strsim::normalized_damerau_levenshtein(wanted, &best) >= NEAR_ENOUGH).then_some(best)
}
