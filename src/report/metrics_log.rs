//! The numbers of a run: `metrics.csv`, one row per epoch, and `metrics.jsonl`, one per step and epoch.

use super::{ReportError, atomic};
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

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
    pub threshold: Option<f64>,
    /// At the last step of the epoch.
    pub learning_rate: f64,
    /// Wall time of the epoch, validation included.
    pub seconds: f64,
    /// Training images per second of wall time.
    pub images_per_s: f64,
}

/// A line of `metrics.jsonl`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Row {
    Step(StepRow),
    Epoch(EpochRow),
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// All rows of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    pub steps: Vec<StepRow>,
    pub epochs: Vec<EpochRow>,
}

impl History {
    /// Reads `metrics.jsonl`. A last line that was cut off is left out.
    ///
    /// # Errors
    /// The file cannot be read, or a line before the last is no row of metrics.
    pub fn read(path: &Path) -> Result<History, ReportError> {
        let text = read_text(path)?;
        let mut history = History::default();
        for (index, line) in text.split_inclusive('\n').enumerate() {
            match serde_json::from_str(line) {
                Ok(Row::Step(row)) => history.steps.push(row),
                Ok(Row::Epoch(row)) => history.epochs.push(row),
                Err(_) if !line.ends_with('\n') => {}
                Err(error) => {
                    let (path, message) = (path.into(), error.to_string());
                    return Err(ReportError::Row { path, line: index + 1, message });
                }
            }
        }
        Ok(history)
    }
}

/// Appends rows. Each is handed to the system at once, so that a run that is stopped loses none.
#[derive(Debug)]
pub struct MetricsLog {
    csv: Appender,
    jsonl: Appender,
}

impl MetricsLog {
    /// Starts both files in `folder`.
    ///
    /// # Errors
    /// They exist already or cannot be written.
    pub fn create(folder: &Path) -> Result<MetricsLog, ReportError> {
        let new = || OpenOptions::new().append(true).create_new(true).clone();
        let mut csv = Appender::open(folder.join(CSV), &new())?;
        let jsonl = Appender::open(folder.join(JSONL), &new())?;
        let header = csv_header(&csv.path)?;
        csv.append(&header)?;
        Ok(MetricsLog { csv, jsonl })
    }

    /// Goes on with the files in `folder` from a checkpoint taken after `step`
    /// steps. Rows after that are dropped, as those steps will be done again.
    ///
    /// # Errors
    /// The files cannot be read or written, or are damaged.
    pub fn resume(folder: &Path, step: usize) -> Result<MetricsLog, ReportError> {
        let (csv, jsonl) = (folder.join(CSV), folder.join(JSONL));
        // Read in full first, so that damage is found before anything is dropped.
        History::read(&jsonl)?;
        let steps_of_row = |line: &str| line.split(',').nth(1)?.parse::<usize>().ok();
        keep_lines(&csv, |number, line| number == 1 || steps_of_row(line).is_some_and(|done| done <= step))?;
        keep_lines(&jsonl, |_, line| match serde_json::from_str(line) {
            Ok(Row::Step(row)) => row.step <= step,
            Ok(Row::Epoch(row)) => row.step <= step,
            Err(_) => false,
        })?;
        let existing = OpenOptions::new().append(true).clone();
        Ok(MetricsLog { csv: Appender::open(csv, &existing)?, jsonl: Appender::open(jsonl, &existing)? })
    }

    /// Appends a step to `metrics.jsonl`.
    ///
    /// # Errors
    /// The file cannot be written, as when the disk is full.
    pub fn step(&mut self, row: &StepRow) -> Result<(), ReportError> {
        let line = json_line(&self.jsonl.path, &Row::Step(*row))?;
        self.jsonl.append(&line)
    }

    /// Appends an epoch to both files.
    ///
    /// # Errors
    /// A file cannot be written, as when the disk is full.
    pub fn epoch(&mut self, row: &EpochRow) -> Result<(), ReportError> {
        let line = csv_line(&self.csv.path, row)?;
        self.csv.append(&line)?;
        let line = json_line(&self.jsonl.path, &Row::Epoch(*row))?;
        self.jsonl.append(&line)
    }
}

/// Keeps the lines that `keep` wants, by number from 1 and text, as they are.
fn keep_lines(path: &Path, keep: impl Fn(usize, &str) -> bool) -> Result<(), ReportError> {
    let mut kept = String::new();
    for (index, line) in read_text(path)?.lines().enumerate() {
        if keep(index + 1, line) {
            kept += line;
            kept.push('\n');
        }
    }
    atomic::write(path, kept.as_bytes())
}

fn read_text(path: &Path) -> Result<String, ReportError> {
    std::fs::read_to_string(path).map_err(|source| ReportError::Read { path: path.into(), source })
}

#[derive(Debug)]
struct Appender {
    path: PathBuf,
    file: File,
}

impl Appender {
    fn open(path: PathBuf, options: &OpenOptions) -> Result<Appender, ReportError> {
        let file = options.open(&path).map_err(|source| ReportError::write(&path, source))?;
        Ok(Appender { path, file })
    }

    /// The whole line in one write, unbuffered.
    fn append(&mut self, line: &[u8]) -> Result<(), ReportError> {
        self.file.write_all(line).map_err(|source| ReportError::write(&self.path, source))
    }
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
pub(super) mod tests {
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
            threshold: Some(0.45),
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
    fn a_damaged_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(JSONL);
        std::fs::write(&path, "{\"kind\":\"walk\"}\n").unwrap();
        let error = History::read(&path).unwrap_err();
        assert!(error.to_string().contains("line 1 of"), "{error}");
    }
}
