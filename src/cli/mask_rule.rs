//! Options that say how probabilities are made and become masks.

use crate::report::console::tell;
use crate::train::checkpoint::CheckpointInfo;
use crate::train::mask_rule::MaskRule;
use crate::train::min_area::MinArea;
use crate::train::model::ModelFile;
use crate::train::threshold::Threshold;

#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct MaskRuleArg {
    /// Probability above which a pixel is foreground; default: the one chosen on validation data
    #[arg(long, allow_negative_numbers = true)]
    threshold: Option<Threshold>,
    /// Empty a mask whose foreground is less than this share of the image's pixels, 0 for none; default: the one chosen on
    /// validation data
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    min_area: Option<MinArea>,
}

impl MaskRuleArg {
    /// What was given, else what the model says.
    pub fn or_of(self, info: &CheckpointInfo) -> MaskRule {
        MaskRule {
            threshold: self.threshold.unwrap_or(info.threshold),
            min_area: self.min_area.unwrap_or(info.min_area),
        }
    }
}

#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct MirrorArg {
    /// Predict the mirror image of each image too, and take the mean of both (test-time augmentation); takes twice as long.
    /// Left and right alone, as training mirrors images so (augment.flip) and never turns them upside down
    #[arg(long)]
    tta: bool,
}

impl MirrorArg {
    /// Whether it was given; tells where the model has not learnt from mirror images.
    pub fn of(self, model: &ModelFile) -> bool {
        if self.tta && model.config.augment.flip == 0.0 {
            tell(
                "the model was trained without mirror images (augment.flip = 0), so --tta may make it worse",
            );
        }
        self.tta
    }
}
