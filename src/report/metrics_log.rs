//! The numbers of a run: `metrics.csv`, one row per epoch, and `metrics.jsonl`, one per step and epoch; the same for
//! TensorBoard.

use super::appender::Appender;
use super::event_file::EventFile;
use super::{EVENTS, ReportError, atomic};
use crate::train::threshold::Threshold;
use serde::{Deserialize, Deserializer, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// Name of the table of epochs in the run folder.
pub const CSV: &str = "metrics.csv";
/// Name of the log of steps and epochs in the run folder.
pub const JSONL: &str = "metrics.jsonl";

/// One training step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// Epoch that the step belongs to, from 1.
    pub epoch: usize,
    /// Steps done, this one included.
    pub step: usize,
    /// Loss of the batch. NaN is written as null.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    pub learning_rate: f64,
}

/// One epoch and the validation after it. Validation values are none without validation images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// From 1.
    pub epoch: usize,
    /// Steps done at the end of the epoch.
    pub step: usize,
    /// Mean loss of the steps of the epoch. NaN is written as null in JSON.
    #[serde(deserialize_with = "null_is_nan")]
    pub train_loss: f64,
    pub val_loss: Option<f64>,
    /// Mean Dice at `threshold`, 0 to 1.
    pub val_dice: Option<f64>,
    /// The same over images with a non-empty mask; none when there are none.
    pub val_dice_positives_only: Option<f64>,
    /// Mean IoU at `threshold`, 0 to 1.
    pub val_iou: Option<f64>,
    /// Probability above which a pixel was predicted.
    pub threshold: Option<Threshold>,
    /// At the last step of the epoch.
    pub learning_rate: f64,
    /// Wall time of the epoch, validation included.
    pub seconds: f64,
    /// Training images per second of wall time.
    pub images_per_s: f64,
}

/// One branch of a training step: the target or a task beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchRow {
    /// Steps done, this one included.
    pub step: usize,
    /// `target`, or the name of the task.
    pub branch: String,
    /// NaN is written as null.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// Of its gradient in that of the shared parameters.
    pub weight: f64,
    /// Between its gradient and the target's, over the shared parameters; none for the target.
    pub cosine: Option<f64>,
}

/// A task on held-out images after an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    /// From 1.
    pub epoch: usize,
    /// Steps done.
    pub step: usize,
    pub task: String,
    /// What `value` and `trivial` are, as in "accuracy".
    pub metric: String,
    pub higher_is_better: bool,
    pub value: f64,
    /// Of an answer that takes no skill.
    pub trivial: f64,
}

/// A line of `metrics.jsonl`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Row {
    Step(StepRow),
    Epoch(EpochRow),
    Branch(BranchRow),
    Task(TaskRow),
}

impl Row {
    /// Steps done.
    fn step(&self) -> usize {
        match self {
            Row::Step(row) => row.step,
            Row::Epoch(row) => row.step,
            Row::Branch(row) => row.step,
            Row::Task(row) => row.step,
        }
    }
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// All rows of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    pub steps: Vec<StepRow>,
    pub epochs: Vec<EpochRow>,
    pub branches: Vec<BranchRow>,
    pub tasks: Vec<TaskRow>,
}

impl History {
    /// Reads `metrics.jsonl`. A damaged end, as a run leaves that was killed or lost its power, is left
    /// out.
    ///
    /// # Errors
    /// The file cannot be read, or a line is no row of metrics but one after it is.
    pub fn read(path: &Path) -> Result<History, ReportError> {
        let mut history = History::default();
        for (_, row) in parse(path, &read_bytes(path)?)? {
            match row {
                Row::Step(row) => history.steps.push(row),
                Row::Epoch(row) => history.epochs.push(row),
                Row::Branch(row) => history.branches.push(row),
                Row::Task(row) => history.tasks.push(row),
            }
        }
        Ok(history)
    }
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, ReportError> {
    std::fs::read(path).map_err(|source| ReportError::Read { path: path.into(), source })
}

/// The lines of a `metrics.jsonl` and their rows, without a damaged end.
fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Vec<(&'a [u8], Row)>, ReportError> {
    let mut rows = Vec::new();
    let mut damaged: Option<(usize, String)> = None;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match (serde_json::from_slice(line), &damaged) {
            (Ok(row), None) => rows.push((line, row)),
            (Ok(_), Some((line, message))) => {
                return Err(ReportError::Row { path: path.into(), line: *line, message: message.clone() });
            }
            (Err(error), None) => damaged = Some((index + 1, error.to_string())),
            (Err(_), Some(_)) => {}
        }
    }
    Ok(rows)
}

/// Appends rows. Each is handed to the system at once, so that a run that is stopped loses none.
#[derive(Debug)]
pub struct MetricsLog {
    csv: Appender,
    jsonl: Appender,
    events: EventFile,
}

impl MetricsLog {
    /// Starts the files in `folder`.
    ///
    /// # Errors
    /// They exist already or cannot be written.
    pub fn create(folder: &Path) -> Result<MetricsLog, ReportError> {
        let mut csv = Appender::create(folder.join(CSV))?;
        let jsonl = Appender::create(folder.join(JSONL))?;
        let header = csv_header(csv.path())?;
        csv.append(&header)?;
        Ok(MetricsLog { csv, jsonl, events: EventFile::create(folder)? })
    }

    /// Removes what files of metrics there are in `folder`.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn remove(folder: &Path) -> Result<(), ReportError> {
        for path in [CSV, JSONL, EVENTS].map(|name| folder.join(name)) {
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    return Err(ReportError::write(&path, source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Goes on with the files in `folder` from a checkpoint taken after `step`
    /// steps. Rows after that are dropped, as those steps will be done again, and
    /// so is a damaged end. `metrics.csv` is made anew from `metrics.jsonl`.
    ///
    /// # Errors
    /// The files cannot be read or written, or `metrics.jsonl` is damaged before its end.
    pub fn resume(folder: &Path, step: usize) -> Result<MetricsLog, ReportError> {
        let (csv, jsonl) = (folder.join(CSV), folder.join(JSONL));
        let bytes = read_bytes(&jsonl)?;
        let (mut lines, mut rows) = (Vec::new(), Vec::new());
        let mut table = csv_header(&csv)?;
        for (line, row) in parse(&jsonl, &bytes)? {
            if row.step() > step {
                continue;
            }
            lines.extend_from_slice(line);
            lines.push(b'\n');
            if let Row::Epoch(row) = &row {
                table.extend(csv_line(&csv, row)?);
            }
            rows.push(row);
        }
        atomic::write(&csv, &table)?;
        atomic::write(&jsonl, &lines)?;
        let events = events_to(folder, step, &rows)?;
        Ok(MetricsLog { csv: Appender::existing(csv)?, jsonl: Appender::existing(jsonl)?, events })
    }

    /// Waits until the files are on the disk.
    ///
    /// # Errors
    /// A file cannot be written, as when the disk is full.
    pub fn sync(&self) -> Result<(), ReportError> {
        self.csv.sync()?;
        self.jsonl.sync()?;
        self.events.sync()
    }

    /// Appends a step to `metrics.jsonl` and the events.
    ///
    /// # Errors
    /// The file cannot be written, as when the disk is full.
    pub fn step(&mut self, row: &StepRow) -> Result<(), ReportError> {
        let line = json_line(self.jsonl.path(), &Row::Step(*row))?;
        self.jsonl.append(&line)?;
        self.events.step(row)
    }

    /// Appends a branch of a step to `metrics.jsonl` and the events.
    ///
    /// # Errors
    /// The file cannot be written, as when the disk is full.
    pub fn branch(&mut self, row: BranchRow) -> Result<(), ReportError> {
        self.events.branch(&row)?;
        let line = json_line(self.jsonl.path(), &Row::Branch(row))?;
        self.jsonl.append(&line)
    }

    /// Appends a task's scores to `metrics.jsonl` and the events.
    ///
    /// # Errors
    /// The file cannot be written, as when the disk is full.
    pub fn task(&mut self, row: TaskRow) -> Result<(), ReportError> {
        self.events.task(&row)?;
        let line = json_line(self.jsonl.path(), &Row::Task(row))?;
        self.jsonl.append(&line)
    }

    /// Appends an epoch to the files.
    ///
    /// # Errors
    /// A file cannot be written, as when the disk is full.
    pub fn epoch(&mut self, row: &EpochRow) -> Result<(), ReportError> {
        let line = csv_line(self.csv.path(), row)?;
        self.csv.append(&line)?;
        let line = json_line(self.jsonl.path(), &Row::Epoch(*row))?;
        self.jsonl.append(&line)?;
        self.events.epoch(row)
    }

    /// Appends a picture to the events, as the bytes of a PNG file of 8-bit RGB.
    ///
    /// # Errors
    /// The file cannot be written, as when the disk is full.
    pub fn image(
        &mut self,
        step: usize,
        tag: &str,
        size: (u32, u32),
        png: Vec<u8>,
    ) -> Result<(), ReportError> {
        self.events.image(step, tag, size, png)
    }
}

/// The events up to `step`, made anew from `rows` where their file has not all of them.
fn events_to(folder: &Path, step: usize, rows: &[Row]) -> Result<EventFile, ReportError> {
    let last = rows.iter().map(Row::step).max().unwrap_or(0);
    if let Some(events) = EventFile::resume(folder, step, last)? {
        return Ok(events);
    }
    let mut events = EventFile::create(folder)?;
    for row in rows {
        match row {
            Row::Step(row) => events.step(row)?,
            Row::Epoch(row) => events.epoch(row)?,
            Row::Branch(row) => events.branch(row)?,
            Row::Task(row) => events.task(row)?,
        }
    }
    Ok(events)
}

fn json_line(path: &Path, row: &Row) -> Result<Vec<u8>, ReportError> {
    let mut line = serde_json::to_vec(row).map_err(|error| ReportError::encode(path, error))?;
    line.push(b'\n');
    Ok(line)
}

fn csv_line(path: &Path, row: &EpochRow) -> Result<Vec<u8>, ReportError> {
    csv_text(path, row, false)
}

/// The names of the columns, which are those of the fields of [`EpochRow`].
fn csv_header(path: &Path) -> Result<Vec<u8>, ReportError> {
    let row = EpochRow {
        epoch: 0,
        step: 0,
        train_loss: 0.0,
        val_loss: None,
        val_dice: None,
        val_dice_positives_only: None,
        val_iou: None,
        threshold: None,
        learning_rate: 0.0,
        seconds: 0.0,
        images_per_s: 0.0,
    };
    let mut text = csv_text(path, &row, true)?;
    let end = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |index| index + 1);
    text.truncate(end);
    Ok(text)
}

fn csv_text(path: &Path, row: &EpochRow, header: bool) -> Result<Vec<u8>, ReportError> {
    let mut writer = csv::WriterBuilder::new().has_headers(header).from_writer(Vec::new());
    writer.serialize(row).map_err(|error| ReportError::encode(path, error))?;
    writer.into_inner().map_err(|error| ReportError::encode(path, error))
}

#[cfg(test)]
pub(in crate::report) mod tests {
    use super::super::event_file::EVENTS;
    use super::*;

    pub(in crate::report) fn epoch(epoch: usize, step: usize) -> EpochRow {
        EpochRow {
            epoch,
            step,
            train_loss: 0.5,
            val_loss: Some(0.25),
            val_dice: Some(0.75),
            val_dice_positives_only: None,
            val_iou: Some(0.625),
            threshold: Some(Threshold::percent(45)),
            learning_rate: 0.001,
            seconds: 1.5,
            images_per_s: 100.0,
        }
    }

    pub(in crate::report) fn step(epoch: usize, step: usize) -> StepRow {
        StepRow { epoch, step, loss: 1.0 / step as f64, learning_rate: 0.001 }
    }

    fn read(folder: &Path, name: &str) -> String {
        std::fs::read_to_string(folder.join(name)).unwrap()
    }

    const HEADER: &str = "epoch,step,train_loss,val_loss,val_dice,val_dice_positives_only,val_iou,threshold,learning_rate,seconds,images_per_s\n";

    #[test]
    fn rows_are_in_the_files_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::create(folder.path()).unwrap();
        assert_eq!(read(folder.path(), CSV), HEADER);
        log.step(&step(1, 1)).unwrap();
        log.epoch(&epoch(1, 1)).unwrap();
        let csv = format!("{HEADER}1,1,0.5,0.25,0.75,,0.625,0.45,0.001,1.5,100.0\n");
        assert_eq!(read(folder.path(), CSV), csv);
        let jsonl = concat!(
            r#"{"kind":"step","epoch":1,"step":1,"loss":1.0,"learning_rate":0.001}"#,
            "\n",
            r#"{"kind":"epoch","epoch":1,"step":1,"train_loss":0.5,"val_loss":0.25,"val_dice":0.75,"#,
            r#""val_dice_positives_only":null,"val_iou":0.625,"threshold":0.45,"learning_rate":0.001,"#,
            r#""seconds":1.5,"images_per_s":100.0}"#,
            "\n"
        );
        assert_eq!(read(folder.path(), JSONL), jsonl);
    }

    #[test]
    fn history_reads_what_was_written_even_nan() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::create(folder.path()).unwrap();
        log.step(&StepRow { loss: f64::NAN, ..step(1, 1) }).unwrap();
        log.epoch(&epoch(1, 1)).unwrap();
        let history = History::read(&folder.path().join(JSONL)).unwrap();
        assert!(history.steps[0].loss.is_nan());
        assert_eq!(history.epochs, [epoch(1, 1)]);
    }

    #[test]
    fn resume_drops_rows_after_the_checkpoint_and_a_cut_off_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::create(folder.path()).unwrap();
        for number in 1..=5 {
            log.step(&step(1 + number / 3, number)).unwrap();
            if number % 2 == 0 {
                log.epoch(&epoch(number / 2, number)).unwrap();
            }
        }
        log.jsonl.append(b"{\"kind\":\"st").unwrap();
        drop(log);
        let mut log = MetricsLog::resume(folder.path(), 3).unwrap();
        log.step(&step(2, 4)).unwrap();
        log.epoch(&epoch(2, 4)).unwrap();
        let history = History::read(&folder.path().join(JSONL)).unwrap();
        assert_eq!(history.steps.iter().map(|row| row.step).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(history.epochs, [epoch(1, 2), epoch(2, 4)]);
        assert_eq!(read(folder.path(), CSV).lines().count(), 3);
        let kinds: Vec<bool> =
            read(folder.path(), JSONL).lines().map(|line| line.contains("\"epoch\",")).collect();
        assert_eq!(kinds, [false, false, true, false, false, true]);
    }

    #[test]
    fn resume_mends_the_events() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::create(folder.path()).unwrap();
        for number in 1..=3 {
            log.step(&step(1, number)).unwrap();
        }
        drop(log);
        let path = folder.path().join(EVENTS);
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&b""[..], &whole[..whole.len() / 2]] {
            std::fs::write(&path, damaged).unwrap();
            MetricsLog::resume(folder.path(), 3).unwrap();
            assert_eq!(std::fs::read(&path).unwrap().len(), whole.len());
        }
        std::fs::remove_file(&path).unwrap();
        MetricsLog::resume(folder.path(), 3).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), whole.len());
    }

    #[test]
    fn resume_drops_a_damaged_end() {
        for end in [&[0; 4096][..], b"{\"kind\":\"walk\"}\n", b"\xff\xfe\n\0\0\n{\"ki"] {
            let folder = tempfile::tempdir().unwrap();
            let mut log = MetricsLog::create(folder.path()).unwrap();
            log.step(&step(1, 1)).unwrap();
            log.epoch(&epoch(1, 1)).unwrap();
            let sound = read(folder.path(), JSONL);
            log.jsonl.append(end).unwrap();
            drop(log);
            let history = History::read(&folder.path().join(JSONL)).unwrap();
            assert_eq!((history.steps.len(), history.epochs.len()), (1, 1));
            MetricsLog::resume(folder.path(), 1).unwrap();
            assert_eq!(read(folder.path(), JSONL), sound);
        }
    }

    #[test]
    fn resume_mends_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::create(folder.path()).unwrap();
        // Numbers that need all their digits.
        let row = |number| EpochRow { train_loss: 0.1 + 0.2, seconds: 1.0 / 3.0, ..epoch(number, number) };
        log.epoch(&row(1)).unwrap();
        log.epoch(&row(2)).unwrap();
        log.sync().unwrap();
        drop(log);
        let whole = read(folder.path(), CSV);
        // A row that lacks columns, one without its line break, zeros, no header.
        for damaged in [&whole[..whole.len() - 20], whole.trim_end(), &format!("{whole}\0\0\0"), ""] {
            std::fs::write(folder.path().join(CSV), damaged).unwrap();
            let mut log = MetricsLog::resume(folder.path(), 2).unwrap();
            assert_eq!(read(folder.path(), CSV), whole);
            log.epoch(&row(3)).unwrap();
            assert_eq!(read(folder.path(), CSV).lines().count(), 4);
            drop(log);
            MetricsLog::resume(folder.path(), 2).unwrap();
        }
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_named_and_nothing_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::create(folder.path()).unwrap();
        log.step(&step(1, 1)).unwrap();
        log.jsonl.append(b"{\"kind\":\"walk\"}\n\0\n").unwrap();
        log.step(&step(1, 2)).unwrap();
        drop(log);
        let before = read(folder.path(), JSONL);
        for error in [
            History::read(&folder.path().join(JSONL)).unwrap_err(),
            MetricsLog::resume(folder.path(), 1).unwrap_err(),
        ] {
            assert!(error.to_string().contains("line 2 of"), "{error}");
        }
        assert_eq!(read(folder.path(), JSONL), before);
    }
}
