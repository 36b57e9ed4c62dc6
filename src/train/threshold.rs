//! The probability above which a pixel is foreground.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Finite, 0 or more and below 1. In JSON and CSV it is a plain number.
///
/// It is an f32, as probabilities are, and all that scores, writes or draws a mask asks it: a mask
/// that is written is the mask that was scored.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub struct Threshold(f32);

/// A number that cannot be a threshold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the threshold is {found}, expected a number, 0 or more and below 1")]
pub struct BadThreshold {
    pub found: String,
}

impl Threshold {
    /// `percent / 100`; 99 is the most.
    pub const fn percent(percent: u8) -> Threshold {
        let percent = if percent < 100 { percent } else { 99 };
        // Divided rather than summed up, so that 35 gives the same number as a written 0.35.
        Threshold(percent as f32 / 100.0)
    }

    pub fn is_foreground(self, probability: f32) -> bool {
        probability > self.0
    }
}

impl Default for Threshold {
    fn default() -> Self {
        Threshold::percent(50)
    }
}

impl TryFrom<f64> for Threshold {
    type Error = BadThreshold;

    /// Nothing is above 1, so a number that f32 rounds to 1 is refused too.
    fn try_from(value: f64) -> Result<Self, BadThreshold> {
        let threshold = value as f32;
        // False for NaN.
        if (0.0..1.0).contains(&threshold) {
            Ok(Threshold(threshold))
        } else {
            Err(BadThreshold { found: value.to_string() })
        }
    }
}

impl From<Threshold> for f64 {
    fn from(threshold: Threshold) -> f64 {
        f64::from(threshold.0)
    }
}

impl FromStr for Threshold {
    type Err = BadThreshold;

    fn from_str(text: &str) -> Result<Self, BadThreshold> {
        let value: f64 = text.parse().map_err(|_| BadThreshold { found: text.to_owned() })?;
        Threshold::try_from(value)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_a_threshold() {
        for text in ["nan", "5", "-1", "1", "inf", "0.99999999999", "half", ""] {
            let error = text.parse::<Threshold>().unwrap_err();
            assert!(error.to_string().contains("0 or more and below 1"), "{error}");
        }
        assert_eq!("0".parse(), Ok(Threshold(0.0)));
        assert!(serde_json::from_str::<Threshold>("1.5").is_err());
    }

    #[test]
    fn a_threshold_is_written_as_it_was_read() {
        for text in ["0.05", "0.35", "0.95", "0.123"] {
            let threshold: Threshold = serde_json::from_str(text).unwrap();
            assert_eq!(text.parse(), Ok(threshold));
            assert_eq!(serde_json::to_string(&threshold).unwrap(), text);
            assert_eq!(threshold.to_string(), text);
        }
        assert_eq!(Threshold::percent(35), "0.35".parse().unwrap());
        assert_eq!(format!("{:.2}", Threshold::default()), "0.50");
    }

    #[test]
    fn a_probability_at_the_threshold_is_background() {
        // 0.35 as f32 is above 0.35 as f64: compared as f64 it would be foreground.
        let threshold = Threshold::percent(35);
        assert!(!threshold.is_foreground(0.35));
        assert!(threshold.is_foreground(0.35f32.next_up()));
        assert!(!threshold.is_foreground(f32::NAN));
    }
}
