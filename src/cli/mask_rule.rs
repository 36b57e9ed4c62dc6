//! Options that say how probabilities become masks.

use crate::train::checkpoint::CheckpointInfo;
use crate::train::mask_rule::MaskRule;
use crate::train::min_area::MinArea;
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
