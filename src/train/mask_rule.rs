//! How probabilities become a mask.

use std::fmt;

use super::min_area::MinArea;
use super::threshold::Threshold;

/// Pixels above the threshold are foreground; a mask of less than the smallest area is emptied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskRule {
    pub threshold: Threshold,
    pub min_area: MinArea,
}

/// By the threshold alone.
impl From<Threshold> for MaskRule {
    fn from(threshold: Threshold) -> MaskRule {
        MaskRule { threshold, min_area: MinArea::default() }
    }
}

/// As in "threshold 0.45, smallest area 0.001".
impl fmt::Display for MaskRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "threshold {:.2}, ", self.threshold)?;
        match self.min_area == MinArea::default() {
            true => write!(f, "no smallest area"),
            false => write!(f, "smallest area {}", self.min_area),
        }
    }
}

/// A mask of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuledMask {
    /// One for each probability.
    pub pixels: Vec<bool>,
    /// Pixels above the threshold in a mask that was emptied; 0 where nothing was.
    pub emptied: usize,
}

impl MaskRule {
    /// The mask of an image's `probabilities`, one for each of its pixels.
    pub fn mask(self, probabilities: &[f32]) -> RuledMask {
        self.mask_of_view(probabilities, probabilities.len())
    }

    /// The same by a smallest area that is a share of `view` pixels: what the network saw at once.
    pub fn mask_of_view(self, probabilities: &[f32], view: usize) -> RuledMask {
        let pixels: Vec<bool> = probabilities.iter().map(|p| self.threshold.is_foreground(*p)).collect();
        let foreground = pixels.iter().filter(|p| **p).count();
        match self.min_area.empties(foreground as u64, view as u64) {
            true => RuledMask { pixels: vec![false; pixels.len()], emptied: foreground },
            false => RuledMask { pixels, emptied: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_kept_whole_or_emptied() {
        let probabilities = [0.9, 0.1, 0.6, 0.5];
        let rule = |area: &str| MaskRule { min_area: area.parse().unwrap(), ..Threshold::default().into() };
        let kept = RuledMask { pixels: vec![true, false, true, false], emptied: 0 };
        for area in ["0", "0.5"] {
            assert_eq!(rule(area).mask(&probabilities), kept);
        }
        assert_eq!(rule("0.51").mask(&probabilities), RuledMask { pixels: vec![false; 4], emptied: 2 });
        // Two pixels are enough of a view of two.
        assert_eq!(rule("0.51").mask_of_view(&probabilities, 2), kept);
        assert_eq!(rule("0.51").mask(&[]), RuledMask { pixels: vec![], emptied: 0 });
    }
}
