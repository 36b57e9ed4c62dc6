//! The list of all ops. The tests and `wgseg verify` walk it.

use super::Case;

/// What the project knows of an op besides the op itself.
pub struct Entry {
    /// Its one name: folder, shaders, tests, bench group.
    pub name: &'static str,
    /// Ops, not listed here by themselves, that go with it, most of them in its backward; its cases
    /// check them too.
    pub parts: &'static [&'static str],
    /// Why it has no backward, if it has none.
    pub no_backward: Option<&'static str>,
    pub cases: fn() -> Vec<Case>,
}

/// Every op, in alphabetical order.
pub const ENTRIES: &[Entry] = &[
    super::adam::ENTRY,
    super::add::ENTRY,
    super::bce_with_logits::ENTRY,
    super::channel_sum::ENTRY,
    super::clip_scale::ENTRY,
    super::concat::ENTRY,
    super::conv2d::ENTRY,
    super::conv_transpose2d::ENTRY,
    super::cross_entropy::ENTRY,
    super::fill::ENTRY,
    super::global_average_pool::ENTRY,
    super::global_norm::ENTRY,
    super::kl_distillation::ENTRY,
    super::kl_distillation_binary::ENTRY,
    super::l1::ENTRY,
    super::l2_normalize::ENTRY,
    super::leaky_relu::ENTRY,
    super::linear::ENTRY,
    super::loss_scale_update::ENTRY,
    super::max_pool2d::ENTRY,
    super::mean::ENTRY,
    super::mse::ENTRY,
    super::mul::ENTRY,
    super::norm::ENTRY,
    super::pack::ENTRY,
    super::pair_similarity::ENTRY,
    super::relu::ENTRY,
    super::running_update::ENTRY,
    super::scale::ENTRY,
    super::sgd::ENTRY,
    super::sigmoid::ENTRY,
    super::slice::ENTRY,
    super::soft_dice::ENTRY,
    super::soft_dice_sums::ENTRY,
    super::softmax::ENTRY,
    super::sum::ENTRY,
    super::unscale::ENTRY,
    super::upsample_bilinear::ENTRY,
    super::upsample_nearest::ENTRY,
    super::weighted_sum::ENTRY,
];

/// The entry of an op, or of the op whose part it is.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|e| e.name == name || e.parts.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sorted_and_have_cases_with_distinct_names() {
        assert!(ENTRIES.is_sorted_by_key(|e| e.name));
        for entry in ENTRIES {
            let cases = (entry.cases)();
            assert!(!cases.is_empty(), "{} has no cases", entry.name);
            let mut names: Vec<&str> = cases.iter().map(|c| c.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), cases.len(), "{}: two cases of one name", entry.name);
            for case in &cases {
                assert_eq!(case.op.name(), entry.name, "{}", case.name);
                assert!(!case.why.is_empty(), "{} {}: no reason", entry.name, case.name);
            }
        }
    }
}
