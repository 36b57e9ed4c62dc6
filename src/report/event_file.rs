//! The numbers of a run for TensorBoard: one event file in the run folder, in the form of TensorFlow's
//! `event.proto` and `summary.proto`, each event a record of `TFRecord`.

use super::ReportError;
use super::appender::Appender;
use super::metrics_log::{BranchRow, EpochRow, StepRow, TaskRow};
use prost::Message;
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

/// Name of the file in the run folder. TensorBoard reads what has `.tfevents.` in its name.
pub const EVENTS: &str = "events.out.tfevents.wgseg";

/// Bytes of a record before its data: their number and its checksum. One more checksum follows the data.
const HEADER: usize = 12;
const CHECKSUM: usize = 4;

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Content", tags = "2, 4")]
    content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(float, tag = "2")]
    Scalar(f32),
    #[prost(message, tag = "4")]
    Image(Image),
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// Channels.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes, tag = "4")]
    encoded: Vec<u8>,
}

/// A scalar and its tag; the part before the slash is what TensorBoard groups by.
type Scalar = (String, f64);

/// Appends events. Each is handed to the system at once, so that a run that is stopped loses none.
#[derive(Debug)]
pub(super) struct EventFile(Appender);

impl EventFile {
    /// Starts the file in `folder`.
    ///
    /// # Errors
    /// It exists already or cannot be written.
    pub fn create(folder: &Path) -> Result<EventFile, ReportError> {
        let mut events = EventFile(Appender::create(folder.join(EVENTS))?);
        events.write(0, What::FileVersion("brain.Event:2".to_owned()))?;
        Ok(events)
    }

    /// Goes on with the file in `folder` from a checkpoint taken after `step` steps, which metrics of before reach to step
    /// `last`. Events after that are dropped, as those steps will be done again. None, and no file, where the file does not reach as far: it is damaged, or not there.
    ///
    /// The file is cut rather than replaced, so that a TensorBoard that has it open goes on reading.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn resume(folder: &Path, step: usize, last: usize) -> Result<Option<EventFile>, ReportError> {
        let path = folder.join(EVENTS);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ReportError::Read { path, source }),
        };
        let (mut length, mut reached) = (0, None);
        for (record, event) in records(&bytes) {
            let at = usize::try_from(event.step).unwrap_or(usize::MAX);
            if at > step {
                break;
            }
            length += record.len() as u64;
            reached = Some(at);
        }
        if reached.is_none_or(|reached| reached < last) {
            std::fs::remove_file(&path).map_err(|source| ReportError::write(&path, source))?;
            return Ok(None);
        }
        let file = Appender::existing(path)?;
        file.cut(length)?;
        Ok(Some(EventFile(file)))
    }

    /// Waits until the file is on the disk.
    ///
    /// # Errors
    /// The file cannot be written, as when the disk is full.
    pub fn sync(&self) -> Result<(), ReportError> {
        self.0.sync()
    }

    pub fn step(&mut self, row: &StepRow) -> Result<(), ReportError> {
        let scalars = [("train/loss", row.loss), ("train/learning_rate", row.learning_rate)];
        self.scalars(row.step, scalars.map(|(tag, value)| (tag.to_owned(), value)).to_vec())
    }

    pub fn branch(&mut self, row: &BranchRow) -> Result<(), ReportError> {
        let values = [("loss", Some(row.loss)), ("weight", Some(row.weight)), ("cosine", row.cosine)];
        self.scalars(row.step, there(values, &format!("branch_{}", row.branch)))
    }

    pub fn task(&mut self, row: &TaskRow) -> Result<(), ReportError> {
        let values = [(row.metric.as_str(), Some(row.value)), ("trivial", Some(row.trivial))];
        self.scalars(row.step, there(values, &format!("task_{}", row.task)))
    }

    pub fn epoch(&mut self, row: &EpochRow) -> Result<(), ReportError> {
        let train = [("mean_loss_of_epoch", Some(row.train_loss)), ("images_per_s", Some(row.images_per_s))];
        let val = [
            ("loss", row.val_loss),
            ("dice", row.val_dice),
            ("dice_positives_only", row.val_dice_positives_only),
            ("iou", row.val_iou),
            ("threshold", row.threshold.map(f64::from)),
        ];
        self.scalars(row.step, [there(train, "train"), there(val, "val")].concat())
    }

    /// Appends a picture, as the bytes of a PNG file of 8-bit RGB.
    pub fn image(
        &mut self,
        step: usize,
        tag: &str,
        size: (u32, u32),
        png: Vec<u8>,
    ) -> Result<(), ReportError> {
        let (width, height) = (size.0 as i32, size.1 as i32);
        let content = Content::Image(Image { height, width, colorspace: 3, encoded: png });
        self.summary(step, vec![SummaryValue { tag: tag.to_owned(), content: Some(content) }])
    }

    fn scalars(&mut self, step: usize, scalars: Vec<Scalar>) -> Result<(), ReportError> {
        let value = |(tag, value)| SummaryValue { tag, content: Some(Content::Scalar(value as f32)) };
        self.summary(step, scalars.into_iter().map(value).collect())
    }

    fn summary(&mut self, step: usize, values: Vec<SummaryValue>) -> Result<(), ReportError> {
        self.write(step, What::Summary(Summary { values }))
    }

    fn write(&mut self, step: usize, what: What) -> Result<(), ReportError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let event = Event { wall_time: now.as_secs_f64(), step: step as i64, what: Some(what) };
        self.0.append(&record(&event.encode_to_vec()))
    }
}

/// Those scalars that have a value, tagged as of `group`.
fn there<const N: usize>(scalars: [(&str, Option<f64>); N], group: &str) -> Vec<Scalar> {
    let tagged = |(name, value): (&str, Option<f64>)| value.map(|value| (format!("{group}/{name}"), value));
    scalars.into_iter().filter_map(tagged).collect()
}

/// `data` as TFRecord: its length, the length's checksum, itself, its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let checksums = [masked_crc(&length), masked_crc(data)].map(u32::to_le_bytes);
    [&length[..], &checksums[0], data, &checksums[1]].concat()
}

/// The checksum of TFRecord: CRC-32C, rotated and moved so that one of data which hold one is another.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The records in `bytes` and what they hold, up to the first that is damaged.
fn records(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], Event)> {
    std::iter::from_fn(move || {
        let length = u64::from_le_bytes(*bytes.first_chunk()?);
        let end = usize::try_from(length).ok()?.checked_add(HEADER + CHECKSUM)?;
        let (found, rest) = bytes.split_at_checked(end)?;
        let data = &found[HEADER..end - CHECKSUM];
        if record(data) != found {
            return None;
        }
        bytes = rest;
        Some((found, Event::decode(data).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::super::metrics_log::tests::{epoch, step};
    use super::*;

    /// Steps and tags, in order.
    fn told(folder: &Path) -> Vec<(i64, Vec<String>)> {
        let bytes = std::fs::read(folder.join(EVENTS)).unwrap();
        let tags = |what| match what {
            Some(What::Summary(summary)) => summary.values.into_iter().map(|value| value.tag).collect(),
            Some(What::FileVersion(version)) => vec![version],
            None => vec![],
        };
        records(&bytes).map(|(_, event)| (event.step, tags(event.what))).collect()
    }

    /// The check value of CRC-32C, that of the digits 1 to 9, is e3069283; TFRecord's masking of it by hand.
    #[test]
    fn the_checksum_is_that_of_tfrecord() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_crc(b"123456789"), 0xc78a_b0e5);
    }

    #[test]
    fn resume_drops_events_after_the_checkpoint_and_a_damaged_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path()).unwrap();
        for number in 1..=4 {
            events.step(&step(1, number)).unwrap();
        }
        events.epoch(&epoch(1, 4)).unwrap();
        drop(events);
        let path = folder.path().join(EVENTS);
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(told(folder.path()).len(), 6);
        // Cut off within the last record, cut off within a length, a bit turned in the last record.
        let mut turned = whole.clone();
        let last = turned.len() - 9;
        turned[last] ^= 1;
        for damaged in [&whole[..whole.len() - 3], &[&whole[..], &[7, 0, 0]].concat(), &turned] {
            std::fs::write(&path, damaged).unwrap();
            let mut events = EventFile::resume(folder.path(), 2, 2).unwrap().unwrap();
            events.step(&step(1, 3)).unwrap();
            let found = told(folder.path());
            assert_eq!(found.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 1, 2, 3]);
            assert_eq!(found[0].1, ["brain.Event:2"]);
            assert_eq!(found[3].1, ["train/loss", "train/learning_rate"]);
        }
    }

    #[test]
    fn a_picture_is_kept_up_to_the_step_that_is_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path()).unwrap();
        for number in 1..=2 {
            events.step(&step(1, number)).unwrap();
            events.image(number, "val/overlays", (1, 1), vec![]).unwrap();
        }
        let pictures = || told(folder.path()).iter().filter(|(_, tags)| *tags == ["val/overlays"]).count();
        for (gone_on_from, kept) in [(2, 2), (1, 1), (1, 1)] {
            EventFile::resume(folder.path(), gone_on_from, 1).unwrap().unwrap();
            assert_eq!(pictures(), kept);
        }
    }

    #[test]
    fn a_file_that_does_not_reach_the_metrics_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(EVENTS);
        let mut events = EventFile::create(folder.path()).unwrap();
        events.step(&step(1, 1)).unwrap();
        assert!(EventFile::resume(folder.path(), 2, 2).unwrap().is_none());
        std::fs::write(&path, [0xff; 64]).unwrap();
        assert!(EventFile::resume(folder.path(), 2, 0).unwrap().is_none());
        assert!(EventFile::resume(folder.path(), 2, 0).unwrap().is_none() && !path.exists());
    }
}
