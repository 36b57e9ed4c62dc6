//! Numbers as people read them.

/// What stands where there is no number.
pub const NONE: &str = "–";

/// Four decimals.
pub fn score(value: Option<f64>) -> String {
    value.map_or(NONE.into(), |value| format!("{value:.4}"))
}

/// Four decimals with a sign.
pub fn difference(value: f64) -> String {
    // No "−0.0000".
    let value = if value.abs() < 5e-5 { 0.0 } else { value };
    format!("{value:+.4}").replace('-', "−")
}

pub fn interval(bounds: Option<[f64; 2]>) -> String {
    bounds.map_or(NONE.into(), |[low, high]| format!("{low:.4} to {high:.4}"))
}

/// `mean ± sd`, or the mean alone of one seed.
pub fn mean_sd(mean: Option<f64>, sd: Option<f64>) -> String {
    match (mean, sd) {
        (Some(mean), Some(sd)) => format!("{mean:.4} ± {sd:.4}"),
        (mean, _) => score(mean),
    }
}

/// Two digits that say something, but nothing below 0.0001.
pub fn p(value: f64) -> String {
    match value {
        // With a space that no line is broken at.
        ..0.0001 => "<\u{a0}0.0001".into(),
        ..0.01 => format!("{value:.4}"),
        _ => format!("{value:.3}"),
    }
}

/// `0.012 (0.036)`: p and what the correction made of it.
pub fn p_pair(value: Option<f64>, adjusted: Option<f64>) -> String {
    match (value, adjusted) {
        (Some(value), Some(adjusted)) => format!("{} ({})", p(value), p(adjusted)),
        (value, _) => value.map_or(NONE.into(), p),
    }
}

pub fn seconds(value: Option<f64>) -> String {
    value.map_or(NONE.into(), crate::report::words::duration)
}

/// A mean of counts, without decimals.
pub fn rounded(value: Option<f64>) -> String {
    // The cast takes what is out of range to a bound.
    number(value.map(|value| value.round() as usize))
}

/// A count, with a mark between thousands.
pub fn number(value: Option<usize>) -> String {
    let Some(value) = value else { return NONE.into() };
    let digits = value.to_string();
    let marked = |(place, digit)| match place > 0 && (digits.len() - place) % 3 == 0 {
        true => format!(",{digit}"),
        false => format!("{digit}"),
    };
    digits.chars().enumerate().map(marked).collect()
}

/// Arguments as a shell takes them.
pub fn shell(arguments: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/=:,+".contains(c);
    let quoted = |text: &String| match !text.is_empty() && text.chars().all(plain) {
        true => text.clone(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_given_to_a_shell() {
        let arguments =
            ["compare", "a.toml", "--set", "method.tasks=[\"edges\"]", "it's", ""].map(str::to_owned);
        assert_eq!(shell(&arguments), r#"compare a.toml --set 'method.tasks=["edges"]' 'it'\''s' ''"#);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0.00004, 0.00234, 0.012345, 1.0].map(p), ["<\u{a0}0.0001", "0.0023", "0.012", "1.000"]);
        assert_eq!([0.01234, -0.00999, -0.00001].map(difference), ["+0.0123", "−0.0100", "+0.0000"]);
        assert_eq!(mean_sd(Some(0.9), Some(0.01)), "0.9000 ± 0.0100");
        assert_eq!((mean_sd(Some(0.9), None), mean_sd(None, None)), ("0.9000".into(), "–".into()));
        assert_eq!(interval(Some([0.1, 0.2])), "0.1000 to 0.2000");
        assert_eq!((rounded(Some(40.4)), rounded(None)), ("40".into(), "–".into()));
        assert_eq!([0, 999, 1000, 1_942_289].map(|n| number(Some(n))), ["0", "999", "1,000", "1,942,289"]);
        assert_eq!(p_pair(Some(0.02), Some(0.04)), "0.020 (0.040)");
    }
}
