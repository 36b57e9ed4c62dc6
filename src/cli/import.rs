//! `wgseg data import`: data sets in other forms into a data folder

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Outcome, say};
use crate::config::schema::DataConfig;
use crate::data::import::folder::{FolderOptions, import_folder};
use crate::data::import::monai::{MonaiOptions, import_monai};
use crate::data::import::nnunet::{NnunetOptions, import_nnunet};
use crate::data::import::siim::{SiimOptions, import_siim};
use crate::report::console;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Import the SIIM-ACR pneumothorax set as downloaded: DICOM files and a table of run-length codes.
    Siim(SiimArgs),
    /// Import a folder of images and one of masks whose names may differ by an ending, as _mask or _0000.
    Folder(FolderArgs),
    /// Import the training cases of an nnU-Net raw data set: imagesTr, labelsTr and dataset.json.
    Nnunet(NnunetArgs),
    /// Import a list of MONAI, or of the Medical Segmentation Decathlon: {"training": [{"image": …, "label": …}]}.
    Monai(MonaiArgs),
}

#[derive(clap::Args)]
struct Out {
    /// Folder to make: must be new or empty
    #[arg(long)]
    out: PathBuf,
    /// Resize images and masks to this side in pixels; default: as they are
    #[arg(long, value_name = "N")]
    size: Option<usize>,
}

#[derive(clap::Args)]
pub struct SiimArgs {
    /// Folder of the DICOM files; folders in it are searched
    #[arg(long, value_name = "DIR")]
    dicom: PathBuf,
    /// Table of image ids and run-length codes, as train-rle.csv
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
    #[command(flatten)]
    out: Out,
}

#[derive(clap::Args)]
pub struct FolderArgs {
    /// Folder with the images
    #[arg(long)]
    images: PathBuf,
    /// Folder with the masks
    #[arg(long)]
    masks: PathBuf,
    /// What names of images end in, besides; default: _0000, _image, _img or -image where there is one
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    image_suffix: Option<String>,
    /// What names of masks end in, besides; default: _mask, _seg, _label, _gt and the like where there is one
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    mask_suffix: Option<String>,
    /// Mask values above this are foreground
    #[arg(long, value_name = "VALUE")]
    mask_threshold: Option<f64>,
    #[command(flatten)]
    out: Out,
}

#[derive(clap::Args)]
pub struct NnunetArgs {
    /// Folder with dataset.json, as nnUNet_raw/Dataset001_Name
    dir: PathBuf,
    /// Label that is foreground, by its name or value in dataset.json; default: all above 0
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Channel to take where there are several, from 0
    #[arg(long, value_name = "N")]
    channel: Option<usize>,
    #[command(flatten)]
    out: Out,
}

#[derive(clap::Args)]
pub struct MonaiArgs {
    /// The list, a JSON file
    list: PathBuf,
    /// Folder that paths are relative to; default: that of the list
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Value of the labels that is foreground; may be repeated; default: all above 0
    #[arg(long, value_name = "N")]
    label: Vec<u16>,
    /// Which image to take where a case has several, from 0
    #[arg(long, value_name = "N")]
    channel: Option<usize>,
    #[command(flatten)]
    out: Out,
}

pub fn run(command: Command) -> Outcome {
    let workers = DataConfig::default().workers;
    let summary = match command {
        Command::Siim(args) => {
            let options = SiimOptions { dicom: args.dicom, csv: args.csv, size: args.out.size, workers };
            import_siim(&args.out.out, &options)?
        }
        Command::Folder(args) => import_folder(
            &args.out.out,
            &FolderOptions {
                images: &args.images,
                masks: &args.masks,
                image_suffix: args.image_suffix,
                mask_suffix: args.mask_suffix,
                mask_threshold: args.mask_threshold,
                size: args.out.size,
                workers,
            },
        )?,
        Command::Nnunet(args) => {
            let options =
                NnunetOptions { size: args.out.size, label: args.label, channel: args.channel, workers };
            import_nnunet(&args.dir, &args.out.out, &options)?
        }
        Command::Monai(args) => import_monai(
            &args.list,
            &args.out.out,
            &MonaiOptions {
                root: args.root.as_deref(),
                size: args.out.size,
                labels: args.label,
                channel: args.channel,
                workers,
            },
        )?,
    };
    summary.notes.iter().for_each(|note| console::tell(note));
    if summary.positives == 0 {
        console::tell(
            "no mask has foreground, so nothing can be learnt from them: see skipped.csv and what the labels hold",
        );
    }
    say!("{summary}");
    Ok(ExitCode::SUCCESS)
}
