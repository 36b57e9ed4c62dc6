//! What a validator says of the kernels.

use serde::Serialize;

use super::kernels::Used;

/// Of one kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    /// It does not translate, or the validator does not take it; in the tool's own words.
    Failed(String),
    /// The target cannot have it.
    Skipped(String),
}

impl From<Result<(), String>> for Verdict {
    fn from(result: Result<(), String>) -> Verdict {
        result.map_or_else(Verdict::Failed, |()| Verdict::Passed)
    }
}

impl Verdict {
    /// In a word, and why.
    pub fn told(&self) -> (&'static str, &str) {
        match self {
            Verdict::Passed => ("passed", ""),
            Verdict::Failed(why) => ("failed", why),
            Verdict::Skipped(why) => ("skipped", why),
        }
    }
}

/// A pipeline for a target.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub kernel: String,
    /// Times that the programs run it.
    pub dispatches: usize,
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Check {
    pub(super) fn of(used: &Used, verdict: Verdict) -> Check {
        Check { kernel: used.label(), dispatches: used.dispatches, verdict }
    }
}

/// All pipelines for a target.
#[derive(Clone, Debug, Serialize)]
pub struct TargetReport {
    pub target: String,
    /// What judged them, as it calls itself.
    pub validator: String,
    /// Whether a compiler or validator of the target has seen them; else they are only translated.
    pub compiled: bool,
    pub rows: Vec<Check>,
}

/// A target in a few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub kernels: usize,
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl TargetReport {
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { kernels: self.rows.len(), ..Counts::default() };
        for row in &self.rows {
            match row.verdict {
                Verdict::Passed => counts.passed += 1,
                Verdict::Failed(_) => counts.failed += 1,
                Verdict::Skipped(_) => counts.skipped += 1,
            }
        }
        counts
    }

    /// Reasons for which kernels are skipped, and how many for each, in the order of the kernels.
    pub fn reasons(&self) -> Vec<(&str, usize)> {
        let mut reasons: Vec<(&str, usize)> = vec![];
        for row in &self.rows {
            let Verdict::Skipped(why) = &row.verdict else { continue };
            match reasons.iter_mut().find(|(known, _)| known == why) {
                Some((_, count)) => *count += 1,
                None => reasons.push((why, 1)),
            }
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_counted_and_reasons_put_together() {
        let verdicts = [
            Verdict::Passed,
            Verdict::Skipped("f16".to_owned()),
            Verdict::Failed("no".to_owned()),
            Verdict::Skipped("f16".to_owned()),
        ];
        let row = |verdict| Check { kernel: "k".to_owned(), dispatches: 1, verdict };
        let rows = verdicts.into_iter().map(row).collect();
        let report = TargetReport { target: "t".to_owned(), validator: "v".to_owned(), compiled: true, rows };
        assert_eq!(report.counts(), Counts { kernels: 4, passed: 1, failed: 1, skipped: 2 });
        assert_eq!(report.reasons(), [("f16", 2)]);
    }
}
