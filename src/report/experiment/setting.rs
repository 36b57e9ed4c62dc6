//! What an experiment was done with, in a sentence.

use crate::method::plan::Plan;
use crate::report::words::count;
use crate::train::task_branch::measured;

/// Images, seeds and network. Validation images have labels as well, so they are told along with the
/// training images.
pub fn sentence(plan: &Plan) -> String {
    let (images, config) = (&plan.images, &plan.config);
    format!(
        "{} and {}, by which epochs, thresholds and elite models are chosen; {}, the labelled training images among \
         them, and {} held out from the tasks, {} of which the tasks are measured on; {}; {}; {} pixels a side; U-Net with {} channels and depth {}.",
        count(images.train, "labelled training image"),
        count(images.val, "labelled validation image"),
        count(images.unlabelled, "unlabelled image"),
        images.held_out,
        measured(images.held_out, config.task_batch()),
        count(images.test, "test image"),
        count(plan.seeds.len(), "seed"),
        config.data.size,
        config.model.base_channels,
        config.model.depth
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::plan;
    use super::*;

    #[test]
    fn every_label_is_told() {
        let text = sentence(&plan());
        let start = "20 labelled training images and 141 labelled validation images, by which epochs, thresholds and \
                     elite models are chosen; 1034 unlabelled images, the labelled training images among them, and \
                     113 held out from the tasks, 112 of which the tasks are measured on; 10 test images; 3 seeds; ";
        assert!(text.starts_with(start), "{text}");
    }
}
