//! Numbers and names as people say and type them.

/// "1 image", "2 images".
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Names that are listed before the rest is only counted.
const NAMED: usize = 5;

/// "a, b, c"; of more than five names the rest as "and 3 more".
pub fn listed(names: &[impl AsRef<str>]) -> String {
    let named: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    let rest = names.len() - named.len();
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    named.join(", ") + &rest
}

/// A word of a command line, to be pasted into a shell: quoted where it must be.
pub fn quoted(word: &str) -> String {
    // More than shells need is quoted by shlex, such as what has an equals sign.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    // Only a NUL cannot be quoted, and no name has one.
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), |quoted| quoted.into_owned())
}

/// Seconds in the two largest units that are not zero.
pub fn duration(seconds: f64) -> String {
    // The cast takes what is not finite to a bound.
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 3].map(|n| count(n, "seed")), ["0 seeds", "1 seed", "3 seeds"]);
    }

    #[test]
    fn many_names_are_counted() {
        assert_eq!(listed(&["a", "b"]), "a, b");
        assert_eq!(listed(&["a", "b", "c", "d", "e"]), "a, b, c, d, e");
        assert_eq!(listed(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }

    #[test]
    fn durations_have_two_units() {
        let shown = [0.4, 59.4, 61.0, 3_725.0, f64::NAN].map(duration);
        assert_eq!(shown, ["0 s", "59 s", "1 min 1 s", "1 h 2 min", "0 s"]);
    }
}
