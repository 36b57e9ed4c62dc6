//! The smallest area that a mask may have: one with less foreground is emptied.
//!
//! Where many images show nothing to mark, a few marked pixels are more often a false alarm than a find, and a false alarm
//! takes an image's Dice from 1 to 0. The winners of the SIIM-ACR pneumothorax challenge emptied masks of fewer than 600
//! to 2,000 of 1024² pixels (Anuar Aimoldin, github.com/sneddy/pneumothorax-segmentation); here the area is a share of the
//! image, so that it holds at any size, and is chosen on validation images after the threshold.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A share of the image's pixels: finite, 0 or more and below 1. 0 empties nothing.
///
/// In JSON it is a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub struct MinArea(f64);

/// Number of areas that are tried on validation images.
pub const AREAS: usize = 8;

/// A number that cannot be a smallest area.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "the smallest area is {found}, expected a share of the image's pixels, 0 or more and below 1 (0 is none): 1000 pixels \
     of 1024 × 1024 are 0.00095"
)]
pub struct BadMinArea {
    pub found: String,
}

impl MinArea {
    /// Those that are tried, rising; the first empties nothing.
    pub const TRIED: [MinArea; AREAS] = [
        MinArea(0.0),
        MinArea(0.0002),
        MinArea(0.0005),
        MinArea(0.001),
        MinArea(0.002),
        MinArea(0.005),
        MinArea(0.01),
        MinArea(0.02),
    ];

    /// Whether a mask with `foreground` of `pixels` pixels is emptied.
    pub fn empties(self, foreground: u64, pixels: u64) -> bool {
        (foreground as f64) < self.0 * pixels as f64
    }
}

impl TryFrom<f64> for MinArea {
    type Error = BadMinArea;

    fn try_from(share: f64) -> Result<Self, BadMinArea> {
        // False for NaN. A zero may have a sign, which is not kept.
        if (0.0..1.0).contains(&share) {
            Ok(MinArea(share.abs()))
        } else {
            Err(BadMinArea { found: share.to_string() })
        }
    }
}

impl FromStr for MinArea {
    type Err = BadMinArea;

    fn from_str(text: &str) -> Result<Self, BadMinArea> {
        let share: f64 = text.parse().map_err(|_| BadMinArea { found: text.to_owned() })?;
        MinArea::try_from(share)
    }
}

impl fmt::Display for MinArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_an_area() {
        for text in ["nan", "2000", "-0.1", "1", "inf", "small", ""] {
            let error = text.parse::<MinArea>().unwrap_err();
            assert!(error.to_string().contains("0 or more and below 1"), "{error}");
        }
        assert!(serde_json::from_str::<MinArea>("1.5").is_err());
        assert_eq!("-0".parse::<MinArea>().unwrap().to_string(), "0");
    }

    #[test]
    fn an_area_is_written_as_it_was_read() {
        for area in MinArea::TRIED {
            assert_eq!(area.to_string().parse(), Ok(area));
            assert_eq!(
                serde_json::from_str::<MinArea>(&serde_json::to_string(&area).unwrap()).unwrap(),
                area
            );
        }
        assert!(MinArea::TRIED.is_sorted());
        assert_eq!(MinArea::TRIED[0], MinArea::default());
    }

    #[test]
    fn a_mask_of_the_smallest_area_stays() {
        let area: MinArea = "0.02".parse().unwrap();
        assert!(area.empties(1, 100) && !area.empties(2, 100));
        assert!(!MinArea::default().empties(0, 100));
    }
}
