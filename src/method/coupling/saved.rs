//! Reads what a method saved, and says what is wrong with it.

use std::ops::RangeInclusive;

use serde_json::Value as Json;

/// Every finite number.
pub const ANY: RangeInclusive<f64> = f64::MIN..=f64::MAX;

/// The state of a method in a checkpoint.
pub struct Saved<'a> {
    method: &'static str,
    state: &'a Json,
}

impl<'a> Saved<'a> {
    pub fn new(method: &'static str, state: &'a Json) -> Saved<'a> {
        Saved { method, state }
    }

    /// `count` numbers, each in `range`.
    pub fn numbers(&self, field: &str, count: usize, range: RangeInclusive<f64>) -> Result<Vec<f64>, String> {
        let number = |value: &Json| value.as_f64().filter(|number| range.contains(number));
        self.state
            .get(field)
            .and_then(Json::as_array)
            .filter(|values| values.len() == count)
            .and_then(|values| values.iter().map(number).collect())
            .ok_or_else(|| {
                let bounds = match (*range.start() > f64::MIN, *range.end() < f64::MAX) {
                    (true, true) => format!(" from {} to {}", range.start(), range.end()),
                    (true, false) => format!(" of at least {}", range.start()),
                    _ => String::new(),
                };
                self.wrong(field, &format!("{count} numbers{bounds}"))
            })
    }

    /// The same, or none where null was saved.
    pub fn numbers_or_none(
        &self,
        field: &str,
        count: usize,
        range: RangeInclusive<f64>,
    ) -> Result<Option<Vec<f64>>, String> {
        match self.state.get(field) {
            Some(Json::Null) => Ok(None),
            _ => self.numbers(field, count, range).map(Some),
        }
    }

    pub fn count(&self, field: &str) -> Result<u64, String> {
        let value = self.state.get(field).and_then(Json::as_u64);
        value.ok_or_else(|| self.wrong(field, "a whole number of at least 0"))
    }

    fn wrong(&self, field: &str, expected: &str) -> String {
        let found = match self.state.get(field) {
            Some(value) => excerpt(value),
            None => "nothing".into(),
        };
        let method = self.method;
        format!("state of the method {method}: field {field} is {found}, expected {expected}; {MEND}")
    }
}

const MEND: &str = "the checkpoint is damaged or of another method or number of tasks: start the run anew";

fn excerpt(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_say_what_was_found_and_expected() {
        let state = json!({"a": [1.0, -1.0], "b": -3, "c": null});
        let saved = Saved::new("dwa", &state);
        assert_eq!(saved.numbers("a", 2, ANY), Ok(vec![1.0, -1.0]));
        assert_eq!(saved.numbers_or_none("c", 2, ANY), Ok(None));
        let error = |result: Result<Vec<f64>, String>| result.unwrap_err();
        let message = error(saved.numbers("a", 2, 0.0..=f64::MAX));
        assert!(message.contains("method dwa: field a is [1.0,-1.0], expected 2 numbers of at least 0;"));
        let message = error(saved.numbers("a", 2, -0.5..=0.5));
        assert!(message.contains("expected 2 numbers from -0.5 to 0.5;"), "{message}");
        assert!(error(saved.numbers("a", 3, ANY)).contains("expected 3 numbers;"));
        assert!(error(saved.numbers("d", 3, ANY)).contains("field d is nothing"));
        assert!(saved.count("b").unwrap_err().contains("field b is -3"));
        let long = json!({"e": "é".repeat(200)});
        assert!(Saved::new("dwa", &long).count("e").unwrap_err().contains('…'));
    }
}
