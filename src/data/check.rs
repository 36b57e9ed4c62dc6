//! A full look at a data folder: everything that is wrong with it, and what it holds.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::dataset::{Item, Scan, assign, scan, split_file};
use super::decode::{Raw, decode_raw, values};
use super::error::{DataError, Problem};
use super::parallel;
use super::patients::Patients;
use super::split::{Assignment, Part, shared_patients};
use crate::config::schema::DataConfig;

/// So many mask values are shown in the text form.
const VALUES_SHOWN: usize = 8;
/// So many mask values are reported; wide masks with grey values would swamp the report.
const VALUES_KEPT: usize = 256;

/// What [`check`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckReport {
    pub folder: PathBuf,
    /// Every problem, in the order of the files.
    pub problems: Vec<Finding>,
    /// Images in the folder, with or without a problem.
    pub images: usize,
    /// Where the split was read; none when it is drawn by seed.
    pub split_file: Option<PathBuf>,
    pub parts: Vec<PartCount>,
    /// By the column `fold` of the split; empty where it has none.
    pub folds: Vec<FoldCount>,
    /// None where nothing says which patient an image is of.
    pub patients: Option<PatientCount>,
    /// Pixels, over the sound pairs; none when there are none.
    pub width: Option<Spread>,
    /// Pixels.
    pub height: Option<Spread>,
    /// How many decoded images have which bit depth and channels.
    pub image_pixels: Vec<PixelCount>,
    /// The same for masks.
    pub mask_pixels: Vec<PixelCount>,
    /// How many pixels of all masks have which value, as stored, ascending; the lowest 256 values at most.
    pub mask_values: Vec<ValueCount>,
    /// How many different values the masks have in all.
    pub mask_values_distinct: usize,
    /// Masks with foreground.
    pub positives: usize,
    /// `positives` over the masks that could be read, 0..1.
    pub positive_share: Option<f64>,
    /// Foreground over all pixels of the masks that could be read, 0..1.
    pub foreground_share: Option<f64>,
    /// Foreground over the pixels of a mask, of the masks that have any; none when none has.
    pub foreground_size: Option<ShareSpread>,
    /// Groups of images with the same pixels.
    pub duplicates: Vec<Vec<Duplicate>>,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file or folder; none when a setting is at fault.
    pub file: Option<PathBuf>,
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartCount {
    pub part: Part,
    pub images: usize,
    /// Images whose mask has foreground.
    pub positives: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoldCount {
    pub fold: usize,
    pub images: usize,
    /// Images whose mask has foreground.
    pub positives: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatientCount {
    pub patients: usize,
    /// The most images of one patient.
    pub most_images: usize,
    /// Images of whom nothing is known.
    pub images_without: usize,
}

/// Shares, 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ShareSpread {
    pub min: f64,
    /// The lower of the two in the middle when their number is even.
    pub median: f64,
    pub max: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spread {
    pub min: u32,
    /// The lower of the two in the middle when their number is even.
    pub median: u32,
    pub max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PixelCount {
    pub bits: u8,
    /// 1 (grey) or 3 (colour).
    pub channels: u8,
    pub files: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ValueCount {
    pub value: u16,
    pub pixels: u64,
}

/// An image that shares its pixels with others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    pub id: String,
    /// Its part; none when the split does not say.
    pub part: Option<Part>,
    /// Its fold; none when the split has none.
    pub fold: Option<usize>,
    /// Whether its mask is that of the first of its group.
    pub same_mask: bool,
}

impl CheckReport {
    /// Whether there is no problem. Duplicates within a part, and a fold, are none.
    pub fn is_sound(&self) -> bool {
        let leaks = |group: &Vec<Duplicate>| in_two_parts(group) || in_two_folds(group);
        self.problems.is_empty() && !self.duplicates.iter().any(leaks)
    }
}

impl From<&DataError> for Finding {
    fn from(error: &DataError) -> Self {
        Finding { file: error.path.clone(), what: error.problem.to_string(), mend: error.problem.mend() }
    }
}

/// What decoding one pair showed.
#[derive(Default)]
struct Examined {
    problems: Vec<DataError>,
    image: Option<ImageFacts>,
    mask: Option<MaskFacts>,
}

struct ImageFacts {
    pixel_type: (u8, u8),
    hash: u64,
}

struct MaskFacts {
    pixel_type: (u8, u8),
    hash: u64,
    values: Vec<(u16, u64)>,
    /// Foreground pixels and all pixels; none when the values are not allowed.
    foreground: Option<(u64, u64)>,
}

/// Decodes every image and mask of a data folder and reports all problems, not only the first.
///
/// The folder is read as [`super::Dataset::open`] does, on `config.workers` threads.
pub fn check(dir: &Path, config: &DataConfig) -> CheckReport {
    let Scan { ids, items, mut problems } = scan(dir);
    let split_file = split_file(dir, config);
    let Assignment { parts, folds, patients, problems: split_problems } =
        if ids.is_empty() { Assignment::default() } else { assign(dir, &ids, config, split_file.as_deref()) };
    let examined = parallel::map(items.len(), config.workers, |i| {
        // One file that brings its worker down must not hide the others.
        Ok(parallel::guarded(|| Ok(examine(&items[i], config))).unwrap_or_else(|e| Examined {
            problems: vec![DataError::at(&items[i].image, e.problem)],
            ..Default::default()
        }))
    });
    let mut examined = examined.unwrap_or_else(|error| {
        problems.push(error);
        Vec::new()
    });
    problems.extend(examined.iter_mut().flat_map(|e| std::mem::take(&mut e.problems)));
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    problems.extend(split_problems);
    if let Some(file) = &split_file
        && config.fold.is_none()
    {
        problems.extend(patients_in_folds(file, &ids, &parts, &folds, &patients));
    }
    problems.extend(config.validate().err().map(DataError::from));

    let place_of = |id: &String| ids.binary_search(id).ok();
    let part_of = |id: &String| place_of(id).and_then(|i| parts.get(i).copied().flatten());
    let fold_of = |id: &String| place_of(id).and_then(|i| folds.get(i).copied().flatten());
    let is_positive = |e: &Examined| {
        e.mask.as_ref().and_then(|m| m.foreground).is_some_and(|(foreground, _)| foreground > 0)
    };
    let readable: Vec<(u64, u64)> =
        examined.iter().filter_map(|e| e.mask.as_ref().and_then(|m| m.foreground)).collect();
    let positives = examined.iter().filter(|e| is_positive(e)).count();
    let pixels: u64 = readable.iter().map(|&(_, all)| all).sum();
    let foreground: u64 = readable.iter().map(|&(on, _)| on).sum();
    let mut mask_values = value_counts(&examined);
    let mask_values_distinct = mask_values.len();
    mask_values.truncate(VALUES_KEPT);
    let counts: Vec<PartCount> = Part::ALL
        .map(|part| {
            let of_part = |id: &String| part_of(id) == Some(part);
            let positives =
                items.iter().zip(&examined).filter(|(item, e)| of_part(&item.id) && is_positive(e));
            PartCount {
                part,
                images: ids.iter().filter(|id| of_part(id)).count(),
                positives: positives.count(),
            }
        })
        .to_vec();
    // Where files are at fault, so may be the count.
    if problems.is_empty() {
        let empty = counts.iter().filter(|count| count.images > 0 && count.positives == 0);
        problems.extend(empty.map(|count| {
            let (part, images, threshold) = (count.part, count.images, config.mask_threshold);
            DataError::at(dir, Problem::NoForeground { part, images, threshold })
        }));
    }
    CheckReport {
        folder: dir.to_path_buf(),
        problems: problems.iter().map(Finding::from).collect(),
        images: ids.len(),
        patients: count_patients(&ids, &patients),
        folds: count_folds(&items, &examined, &folds, fold_of, is_positive),
        split_file,
        parts: counts,
        width: spread(items.iter().map(|i| i.width).collect()),
        height: spread(items.iter().map(|i| i.height).collect()),
        image_pixels: pixel_counts(examined.iter().filter_map(|e| e.image.as_ref().map(|f| f.pixel_type))),
        mask_pixels: pixel_counts(examined.iter().filter_map(|e| e.mask.as_ref().map(|f| f.pixel_type))),
        mask_values,
        mask_values_distinct,
        positives,
        positive_share: share(positives as u64, readable.len() as u64),
        foreground_share: share(foreground, pixels),
        foreground_size: share_spread(&readable),
        duplicates: duplicates(&items, &examined, part_of, fold_of),
    }
}

fn examine(item: &Item, config: &DataConfig) -> Examined {
    let mut examined = Examined::default();
    let pixel_type = |raw: &Raw| (raw.header.bits, raw.header.channels);
    match decode_raw(&item.image) {
        Err(error) => examined.problems.push(error),
        Ok(raw) => {
            examined.image = Some(ImageFacts { pixel_type: pixel_type(&raw), hash: hash(&raw) });
            if let Some(&value) = raw.samples.first()
                && raw.samples.iter().all(|sample| *sample == value)
            {
                examined.problems.push(DataError::at(&item.image, Problem::Constant { value }));
            }
        }
    }
    match decode_raw(&item.mask) {
        Err(error) => examined.problems.push(error),
        Ok(raw) => {
            let mask = raw.to_mask(config.mask_threshold);
            let foreground = match mask {
                Ok(mask) => {
                    let on = mask.pixels.iter().filter(|&&v| v == 1).count();
                    Some((on as u64, mask.pixels.len() as u64))
                }
                Err(problem) => {
                    examined.problems.push(DataError::at(&item.mask, problem));
                    None
                }
            };
            examined.mask = Some(MaskFacts {
                pixel_type: pixel_type(&raw),
                hash: hash(&raw),
                values: raw.grey().map(|grey| values(&grey)).unwrap_or_default(),
                foreground,
            });
        }
    }
    examined
}

/// Of size, channels and samples.
fn hash(raw: &Raw) -> u64 {
    let mut hasher = DefaultHasher::new();
    (raw.header.width, raw.header.height, raw.header.channels, &raw.samples).hash(&mut hasher);
    hasher.finish()
}

fn patients_in_folds(
    file: &Path,
    ids: &[String],
    parts: &[Option<Part>],
    folds: &[Option<usize>],
    patients: &Patients,
) -> Option<DataError> {
    let used = ids.iter().zip(parts).zip(folds).filter(|((_, part), _)| **part != Some(Part::Unused));
    let of = used.filter_map(|((id, _), fold)| Some((patients.get(id).map(String::as_str), (*fold)?)));
    shared_patients(file, of, "fold")
}

fn count_patients(ids: &[String], patients: &Patients) -> Option<PatientCount> {
    let mut images: BTreeMap<&String, usize> = BTreeMap::new();
    patients.values().for_each(|patient| *images.entry(patient).or_default() += 1);
    let most_images = images.values().copied().max()?;
    Some(PatientCount { patients: images.len(), most_images, images_without: ids.len() - patients.len() })
}

fn count_folds(
    items: &[Item],
    examined: &[Examined],
    folds: &[Option<usize>],
    fold_of: impl Fn(&String) -> Option<usize>,
    is_positive: impl Fn(&Examined) -> bool,
) -> Vec<FoldCount> {
    let mut counts: BTreeMap<usize, FoldCount> = BTreeMap::new();
    for fold in folds.iter().flatten() {
        counts.entry(*fold).or_insert(FoldCount { fold: *fold, images: 0, positives: 0 }).images += 1;
    }
    for (item, _) in items.iter().zip(examined).filter(|(_, examined)| is_positive(examined)) {
        if let Some(count) = fold_of(&item.id).and_then(|fold| counts.get_mut(&fold)) {
            count.positives += 1;
        }
    }
    counts.into_values().collect()
}

/// Of foreground and all pixels of each mask.
fn share_spread(masks: &[(u64, u64)]) -> Option<ShareSpread> {
    let positive = masks.iter().filter(|(foreground, _)| *foreground > 0);
    let mut shares: Vec<f64> = positive.map(|&(foreground, all)| foreground as f64 / all as f64).collect();
    shares.sort_by(f64::total_cmp);
    let (&min, &max) = shares.first().zip(shares.last())?;
    Some(ShareSpread { min, median: shares[(shares.len() - 1) / 2], max })
}

fn spread(mut sides: Vec<u32>) -> Option<Spread> {
    sides.sort_unstable();
    let (&min, &max) = sides.first().zip(sides.last())?;
    Some(Spread { min, median: sides[(sides.len() - 1) / 2], max })
}

fn pixel_counts(types: impl Iterator<Item = (u8, u8)>) -> Vec<PixelCount> {
    let mut counts: BTreeMap<(u8, u8), usize> = BTreeMap::new();
    types.for_each(|t| *counts.entry(t).or_default() += 1);
    counts.into_iter().map(|((bits, channels), files)| PixelCount { bits, channels, files }).collect()
}

fn value_counts(examined: &[Examined]) -> Vec<ValueCount> {
    let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
    for &(value, pixels) in examined.iter().filter_map(|e| e.mask.as_ref()).flat_map(|m| &m.values) {
        *counts.entry(value).or_default() += pixels;
    }
    counts.into_iter().map(|(value, pixels)| ValueCount { value, pixels }).collect()
}

fn duplicates(
    items: &[Item],
    examined: &[Examined],
    part_of: impl Fn(&String) -> Option<Part>,
    fold_of: impl Fn(&String) -> Option<usize>,
) -> Vec<Vec<Duplicate>> {
    let mut groups: BTreeMap<u64, (Option<u64>, Vec<Duplicate>)> = BTreeMap::new();
    for (item, examined) in items.iter().zip(examined) {
        let Some(image) = &examined.image else { continue };
        let mask = examined.mask.as_ref().map(|mask| mask.hash);
        let (first_mask, group) = groups.entry(image.hash).or_insert((mask, vec![]));
        let (part, fold) = (part_of(&item.id), fold_of(&item.id));
        group.push(Duplicate { id: item.id.clone(), part, fold, same_mask: mask == *first_mask });
    }
    let groups = groups.into_values().map(|(_, group)| group);
    let mut groups: Vec<Vec<Duplicate>> = groups.filter(|group| group.len() > 1).collect();
    groups.sort_by(|a, b| a[0].id.cmp(&b[0].id));
    groups
}

impl CheckReport {
    /// What the share of images with foreground is one of, where masks cannot be read.
    fn of_what(&self) -> &'static str {
        let all = share(self.positives as u64, self.images as u64);
        if self.positive_share == all { "%" } else { "% of the masks that can be read" }
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "data folder  {}", self.folder.display())?;
        writeln!(
            f,
            "images       {}, {} with foreground{}",
            self.images,
            self.positives,
            percent(self.positive_share).replace('%', self.of_what())
        )?;
        for count in &self.parts {
            writeln!(f, "{:<12} {}, {} with foreground", count.part, count.images, count.positives)?;
        }
        for FoldCount { fold, images, positives } in &self.folds {
            writeln!(f, "{:<12} {images}, {positives} with foreground", format!("fold {fold}"))?;
        }
        if let Some(PatientCount { patients, most_images, images_without }) = &self.patients {
            let without = match images_without {
                0 => String::new(),
                n => format!("; {n} images without one"),
            };
            writeln!(f, "patients     {patients}, at most {most_images} images of one{without}")?;
        }
        match &self.split_file {
            Some(file) => writeln!(f, "split        from {}", file.display())?,
            None => writeln!(f, "split        drawn by seed")?,
        }
        for (name, spread) in [("width", self.width), ("height", self.height)] {
            if let Some(Spread { min, median, max }) = spread {
                writeln!(f, "{name:<12} {min} to {max} pixels, median {median}")?;
            }
        }
        for (name, counts) in [("image files", &self.image_pixels), ("mask files", &self.mask_pixels)] {
            let list = counts.iter().map(|c| {
                let kind = if c.channels == 1 { "grey" } else { "colour" };
                format!("{} of {} bit {kind}", c.files, c.bits)
            });
            writeln!(f, "{name:<12} {}", joined(list))?;
        }
        let shown = self.mask_values.iter().take(VALUES_SHOWN);
        let more = if self.mask_values_distinct > VALUES_SHOWN { ", …" } else { "" };
        let values = joined(shown.map(|v| format!("{}: {} pixels", v.value, v.pixels)));
        writeln!(f, "mask values  {values}{more}")?;
        let inverted = |s: f64| if s > 0.5 { ": are the masks inverted?" } else { "" };
        let share = self.foreground_share.map(|s| format!("{:.1}% of all pixels{}", 100.0 * s, inverted(s)));
        writeln!(f, "foreground   {}", share.as_deref().unwrap_or("none"))?;
        if let Some(ShareSpread { min, median, max }) = self.foreground_size {
            let percent = |share: f64| format!("{:.2}%", 100.0 * share);
            let (min, median, max) = (percent(min), percent(median), percent(max));
            writeln!(f, "  of a mask  {min} to {max} of its pixels, median {median}, where there is any")?;
        }
        writeln!(
            f,
            "duplicates   {}",
            if self.duplicates.is_empty() { "none" } else { "the same pixels in" }
        )?;
        for group in &self.duplicates {
            let list = group.iter().map(|d| match d.part {
                Some(part) => format!("{} ({part})", d.id),
                None => d.id.clone(),
            });
            // The same image on both sides of a split makes scores look better than they are.
            let note = match (in_two_parts(group), in_two_folds(group)) {
                (true, _) => ": in different parts, keep one",
                (false, true) => ": in different folds, keep one",
                (false, false) => "",
            };
            let masks = if group.iter().all(|d| d.same_mask) { "" } else { " (with different masks)" };
            writeln!(f, "  {}{masks}{note}", joined(list))?;
        }
        match self.problems.len() {
            0 => write!(f, "problems     none"),
            n => {
                write!(f, "problems     {n}")?;
                for finding in &self.problems {
                    let place = finding.file.as_ref().map(|p| format!("{}: ", p.display()));
                    write!(f, "\n  {}{}. {}", place.unwrap_or_default(), finding.what, finding.mend)?;
                }
                Ok(())
            }
        }
    }
}

/// Whether the same image is in two parts of the split, those that are left out not counted.
fn in_two_parts(group: &[Duplicate]) -> bool {
    let mut parts = group.iter().filter_map(|image| image.part).filter(|part| *part != Part::Unused);
    parts.next().is_some_and(|first| parts.any(|part| part != first))
}

/// Whether the same image is in two folds, what is left out not counted.
fn in_two_folds(group: &[Duplicate]) -> bool {
    let used = group.iter().filter(|image| image.part != Some(Part::Unused));
    let mut folds = used.filter_map(|image| image.fold);
    folds.next().is_some_and(|first| folds.any(|fold| fold != first))
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn percent(share: Option<f64>) -> String {
    share.map(|s| format!(" ({:.1}%)", 100.0 * s)).unwrap_or_default()
}

fn joined(list: impl Iterator<Item = String>) -> String {
    let text = list.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "none".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::{folder, picture, write_grey};

    #[test]
    fn a_sound_folder() {
        let dir = folder(10);
        let report = check(dir.path(), &DataConfig::default());
        assert_eq!(report.problems, []);
        assert_eq!((report.images, report.positives), (10, 5));
        assert_eq!(report.foreground_share, Some(0.5 * 3.0 / 8.0));
        let size = ShareSpread { min: 0.375, median: 0.375, max: 0.375 };
        assert_eq!(
            (report.foreground_size, report.patients.clone(), &report.folds[..]),
            (Some(size), None, &[][..])
        );
        assert_eq!(report.width, Some(Spread { min: 8, median: 8, max: 8 }));
        assert_eq!(report.image_pixels, [PixelCount { bits: 8, channels: 1, files: 10 }]);
        assert_eq!(
            report.mask_values,
            [ValueCount { value: 0, pixels: 520 }, ValueCount { value: 255, pixels: 120 }]
        );
        assert_eq!(report.parts.iter().map(|p| p.images).sum::<usize>(), 10);
        assert_eq!(report.parts.iter().map(|p| p.positives).sum::<usize>(), 5);
        assert_eq!(report.duplicates, Vec::<Vec<Duplicate>>::new());
        let text = report.to_string();
        assert!(text.contains("images       10, 5 with foreground (50.0%)"), "{text}");
        assert!(text.ends_with("problems     none"), "{text}");
    }

    #[test]
    fn every_problem_is_listed() {
        let dir = folder(12);
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("images/a00.png"), "").unwrap();
        std::fs::remove_file(at("masks/a01.png")).unwrap();
        std::fs::remove_file(at("images/a02.png")).unwrap();
        write_grey(&at("masks/a03.png"), 8, &[7; 64]);
        write_grey(&at("masks/a04.png"), 4, &[0; 16]);
        let whole = std::fs::read(at("images/a05.png")).unwrap();
        std::fs::write(at("images/a05.png"), &whole[..whole.len() - 20]).unwrap();
        picture(8, 8, 1, 8).save(at("images/a06.jpg")).unwrap();
        let report = check(dir.path(), &DataConfig::default());
        let files: Vec<String> = report
            .problems
            .iter()
            .filter_map(|p| p.file.as_ref()?.strip_prefix(dir.path()).ok())
            .map(|p| p.to_string_lossy().replace('\\', "/"))
            .collect();
        // a06.jpg comes first by name, so its PNG twin is the one refused.
        let want = [
            "images/a00.png",
            "images/a01.png",
            "images/a05.png",
            "images/a06.png",
            "masks/a02.png",
            "masks/a03.png",
            "masks/a04.png",
        ];
        assert_eq!(files, want);
        assert!(!report.is_sound());
        let text = report.to_string();
        assert!(text.contains("problems     7"), "{text}");
        // Not of the number beside it, some of whose masks cannot be read.
        assert!(text.contains("% of the masks that can be read)"), "{text}");
    }

    #[test]
    fn a_part_without_foreground_and_an_image_without_a_picture() {
        let dir = folder(10);
        let at = |name: &str| dir.path().join(name);
        let rows =
            (0..10).map(|i| format!("a{i:02},{}\n", ["train", "val", "train", "test", "train"][i % 5]));
        std::fs::write(at("split.csv"), "id,split\n".to_owned() + &rows.collect::<String>()).unwrap();
        assert!(check(dir.path(), &DataConfig::default()).is_sound());
        // The test part has a03, whose mask is empty, and a08.
        write_grey(&at("masks/a08.png"), 8, &[0; 64]);
        let report = check(dir.path(), &DataConfig::default());
        let [problem] = &report.problems[..] else { panic!("{report}") };
        assert_eq!(problem.what, "none of the 2 test masks has foreground (data.mask_threshold is unset)");
        write_grey(&at("images/a00.png"), 8, &[9; 64]);
        let report = check(dir.path(), &DataConfig::default());
        let [problem] = &report.problems[..] else { panic!("{report}") };
        assert_eq!(problem.what, "every pixel has the value 9, expected a picture");
        assert!(!report.to_string().contains("inverted"));
        (0..10).for_each(|i| write_grey(&at(&format!("masks/a{i:02}.png")), 8, &[255; 64]));
        let text = check(dir.path(), &DataConfig::default()).to_string();
        assert!(text.contains("100.0% of all pixels: are the masks inverted?"), "{text}");
    }

    #[test]
    fn a_bad_image_is_not_also_missing_from_the_split() {
        let dir = folder(10);
        let data = super::super::Dataset::open(dir.path(), &DataConfig::default()).unwrap();
        data.write_split(&dir.path().join("split.csv")).unwrap();
        std::fs::write(dir.path().join("images/a00.png"), "").unwrap();
        assert_eq!(check(dir.path(), &DataConfig::default()).problems.len(), 1);
    }

    #[test]
    fn duplicates_are_found_by_content() {
        let dir = folder(10);
        let same = picture(8, 8, 1, 8);
        same.save(dir.path().join("images/a03.png")).unwrap();
        std::fs::remove_file(dir.path().join("images/a07.png")).unwrap();
        same.save(dir.path().join("images/a07.tif")).unwrap();
        let report = check(dir.path(), &DataConfig::default());
        let ids: Vec<&str> = report.duplicates[0].iter().map(|d| d.id.as_str()).collect();
        assert_eq!((report.duplicates.len(), ids), (1, vec!["a03", "a07"]));
        assert!(report.duplicates[0].iter().all(|d| d.part.is_some() && d.same_mask));
        // Marked in one, empty in the other.
        write_grey(&dir.path().join("masks/a07.png"), 8, &[255; 64]);
        let text = check(dir.path(), &DataConfig::default()).to_string();
        assert!(text.contains("(with different masks)"), "{text}");
    }

    #[test]
    fn a_patient_or_an_image_in_two_folds_is_found() {
        let dir = folder(6);
        let split = |row: fn(usize) -> String| {
            let rows = (0..6).map(|i| format!("a{i:02},{},{}\n", ["val", "test", "train"][i % 3], row(i)));
            let text = format!("id,split,patient,fold\n{}", rows.collect::<String>());
            std::fs::write(dir.path().join("split.csv"), text).unwrap();
            check(dir.path(), &DataConfig::default())
        };
        // a00 and a03 are of one patient, in fold 0, and so on.
        let report = split(|i| format!("p{},{}", i % 3, i % 3));
        assert_eq!(report.problems, []);
        let patients = PatientCount { patients: 3, most_images: 2, images_without: 0 };
        assert_eq!(report.patients, Some(patients));
        let positives = [(0, 1), (1, 1), (2, 1)];
        let expected = positives.map(|(fold, positives)| FoldCount { fold, images: 2, positives });
        assert_eq!(report.folds, expected);
        // The same parts, but both images of a patient are in another fold.
        let report = split(|i| format!("p{},{i}", i % 3));
        let [problem] = &report.problems[..] else { panic!("{report}") };
        assert!(problem.what.starts_with("3 patients have images in more than one fold"), "{problem:?}");
        std::fs::copy(dir.path().join("images/a00.png"), dir.path().join("images/a03.png")).unwrap();
        let report = split(|i| format!(",{i}"));
        assert!(report.problems.is_empty() && !report.is_sound(), "{report}");
        assert!(
            report.to_string().contains("a00 (val), a03 (val) (with different masks): in different folds")
        );
    }

    #[test]
    fn patients_csv_counts_where_the_split_names_none() {
        let dir = folder(6);
        let rows = (0..6).map(|i| format!("a{i:02},p{}\n", i / 2));
        let text = format!("id,patient\n{}", rows.collect::<String>());
        std::fs::write(dir.path().join("patients.csv"), text).unwrap();
        // Without a split the drawn one keeps patients together.
        assert_eq!(check(dir.path(), &DataConfig::default()).problems, []);
        let rows = (0..6).map(|i| format!("a{i:02},{}\n", ["val", "test", "train"][i % 3]));
        let text = format!("id,split\n{}", rows.collect::<String>());
        std::fs::write(dir.path().join("split.csv"), text).unwrap();
        let report = check(dir.path(), &DataConfig::default());
        let [problem] = &report.problems[..] else { panic!("{report}") };
        assert!(problem.what.starts_with("3 patients have images in more than one part (p0, p1, p2)"));
    }

    #[test]
    fn a_folder_that_is_not_there() {
        let report = check(Path::new("no/such/folder"), &DataConfig::default());
        assert_eq!((report.images, report.problems.len()), (0, 1));
        assert!(serde_json::to_string(&report).is_ok());
    }
}
