//! Where an op can be computed in several forms: which there are, and which one a table of measured times takes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Family;
use crate::tape::Value;

/// A kernel at one shape, for one family of kernels: what a form is chosen for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    pub family: Family,
    /// Such as `conv2d_grad_weight`.
    pub kernel: String,
    /// All that its time depends on.
    pub shape: String,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} {}", self.family, self.kernel, self.shape)
    }
}

/// The forms that take the place of the rule's, by where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices(Arc<HashMap<Point, String>>);

impl Choices {
    pub fn new(forms: impl IntoIterator<Item = (Point, String)>) -> Choices {
        Choices(Arc::new(forms.into_iter().collect()))
    }

    pub fn form(&self, point: &Point) -> Option<&str> {
        self.0.get(point).map(String::as_str)
    }

    /// Names what they choose, as 16 hexadecimal digits; none where the rule decides everywhere. Forms sum in
    /// different orders, so results have the same bits only where this is the same.
    pub fn id(&self) -> Option<String> {
        let mut lines: Vec<String> =
            self.0.iter().map(|(point, form)| format!("{point}: {form}\n")).collect();
        lines.sort_unstable();
        let hash = Sha256::digest(lines.concat());
        (!lines.is_empty()).then(|| hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A choice that a program was compiled with.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub node: Value,
    pub point: Point,
    /// Of each form that computes it here, the rule's first, which may be the only one. All are right; they differ in
    /// speed.
    pub forms: Vec<String>,
    /// The one that was taken.
    pub taken: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(shape: &str) -> Point {
        Point { family: Family::Cpu, kernel: "conv2d".into(), shape: shape.into() }
    }

    #[test]
    fn an_id_tells_other_choices_and_no_order() {
        let choices =
            |pairs: &[(&str, &str)]| Choices::new(pairs.iter().map(|(p, f)| (point(p), (*f).into())));
        assert_eq!(Choices::default().id(), None);
        let id = choices(&[("a", "naive"), ("b", "cpu")]).id();
        assert_eq!(id.as_ref().map(String::len), Some(16));
        assert_eq!(id, choices(&[("b", "cpu"), ("a", "naive")]).id());
        for other in
            [&[("a", "naive"), ("b", "naive")][..], &[("a", "naive")], &[("a", "naive"), ("c", "cpu")]]
        {
            assert_ne!(id, choices(other).id());
        }
        assert_eq!(choices(&[("a", "naive")]).form(&point("a")), Some("naive"));
        assert_eq!(choices(&[("a", "naive")]).form(&point("b")), None);
    }
}
